# SPDX-License-Identifier: MIT
"""The journal: what its records have (each that comes is held against log_kinds.def), and a journal that is behind or gone."""
import os
import re
import signal
import socket
import subprocess
import time

import pytest

from certificates import tls
from harness import ask, config, connect, ended, listener, proxy, visit
from tls_peer import verdict

pytestmark = [pytest.mark.root, pytest.mark.programs("unshare", "mount")]

CONNECTED = "cee39507943f4aa5986dc5ff7d64d8ab"
CONNECTING = "829e3cce572e483eb5cb3f06a7d751e0"
UPSTREAM_FAILED = "c2da8a557818470a8a24bfb82c55d57d"
CLOSED = "06a060f10d264167b0354111a570285b"
LOST = "4d734d95b0764930b4941caca5ac9e74"

# one needs about 500 bytes of the queue's 1 MiB
MORE_THAN_THE_QUEUE_HAS = 5000


def visits(address, count):
    """Short connections, each of which is answered: usherd waits for nothing."""
    for _ in range(count):
        with connect(address) as sock:
            assert ask(sock) == b"hello"


# ---- what the records have


def test_the_life_of_a_connection(usherd, journal, serve, refused):
    upstream = serve(lambda sock, _: sock.sendall(b"x"))
    usherd({"web": listener(proxy(refused, upstream.address))}, start_options=journal.start_options, log_level="debug")
    address = journal.address("web")
    with connect(address) as sock:
        source, port = sock.getsockname()
        assert ended(sock) == "end"
    life = [journal.wait(USHER_CONNECTION=r".")]
    while life[-1]["MESSAGE_ID"] != CLOSED:
        life.append(journal.wait(USHER_CONNECTION=r"."))
    assert [r["MESSAGE_ID"] for r in life] == [CONNECTED, CONNECTING, UPSTREAM_FAILED, CONNECTING, CLOSED]
    for record in life:
        assert record["USHER_CONNECTION"] == life[0]["USHER_CONNECTION"]
        assert (record["USHER_LISTENER"], record["USHER_PEER"], record["USHER_SOURCE"]) == ("web", f"{source}:{port}", source)
    assert [r["USHER_UPSTREAM"] for r in life[1:]] == [refused, refused, upstream.address, upstream.address]
    # who makes few records says where in the source
    assert ["CODE_FILE" in r for r in life] == [True, True, True, True, False]
    assert life[2]["CODE_FILE"] == "src/worker/dial.c" and life[2]["CODE_FUNC"] == "report_failure"


def test_a_source_is_one_in_all_records(usherd, journal):
    ban = {"after": 3, "within": "1min", "for": "1min"}
    name = f"unix:@usher-journal-{os.getpid()}"
    usherd(
        {"web": listener("echo", limits={"per_source": 1}, ban=ban), "local": listener("echo", name)},
        start_options=journal.start_options,
    )
    address = journal.address("web")
    with connect(address) as first:
        assert ask(first) == b"hello"
        for _ in range(3):
            ended(visit(address))
        banned = journal.wait(MESSAGE=r"^web: 127\.0\.0\.1 is banned for ")
    closed = journal.wait(MESSAGE_ID=CLOSED)
    refusals = [r for r in journal.records if "USHER_COUNT" in r and "USHER_REASON" in r]
    assert refusals and all(r["USHER_REASON"] == "limit_per_source" for r in refusals)
    assert {r["USHER_SOURCE"] for r in [banned, closed, *refusals]} == {"127.0.0.1"}
    with connect(name) as sock:
        assert ask(sock) == b"hello"
    assert journal.wait(MESSAGE_ID=CLOSED, USHER_LISTENER="local")["USHER_SOURCE"] == f"unix uid {os.getuid()}"


@pytest.mark.programs("ip")
@pytest.mark.parametrize("prefix, source", [(64, "fd00:0:0:9::/64"), (56, "fd00::/56"), (128, "fd00:0:0:9::7")])
def test_an_ipv6_source_is_one_in_all_records(usherd, journal, network, prefix, source):
    """As limits and bans count it: one search finds what was closed, refused and banned; another the one address."""
    options = {**journal.start_options, "wrapper": [*network.wrapper, *journal.start_options["wrapper"]]}
    ban = {"after": 3, "within": "1min", "for": "1min"}
    usherd({"web": listener("echo", "[::1]:7001", limits={"per_source": 1}, ban=ban)}, start_options=options,
           door={"sources": {"ipv6_prefix": prefix}})
    address = journal.address("web")
    with network.connect(address, "fd00:0:0:9::7") as first:
        assert ask(first) == b"hello"
        for _ in range(3):
            ended(network.visit(address, "fd00:0:0:9::7"))
        banned = journal.wait(MESSAGE="^web: .* is banned for ")
    closed = journal.wait(MESSAGE_ID=CLOSED)
    refusals = [r for r in journal.records if "USHER_COUNT" in r and "USHER_REASON" in r]
    assert refusals and {r["USHER_SOURCE"] for r in [banned, closed, *refusals]} == {source}
    assert closed["USHER_PEER_ADDRESS"] == "fd00:0:0:9::7"


def test_a_unix_source_without_a_name_is_one_in_all_records(usherd, journal):
    """To a daemon in a user namespace of its own, as PrivateUsers= makes one, most users are the same number: nobody's."""
    if subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no user namespace to be had")
    options = {**journal.start_options, "wrapper": [*journal.start_options["wrapper"], "unshare", "--user"]}
    name = f"unix:@usher-journal-{os.getpid()}"
    text = config({"open": listener("echo", name), "shut": listener("echo", f"{name}-shut", deny=["uid:4001"])})
    usherd(text=text.replace('user = "nobody";\n', ""), start_options=options)
    journal.address("shut")
    assert ended(visit(f"{name}-shut"))
    with connect(name) as sock:
        assert ask(sock) == b"hello"
    found = [journal.wait(USHER_LISTENER=where, USHER_REASON=".") for where in ("shut", "open")]
    assert [r["USHER_SOURCE"] for r in found] == ["unix", "unix"]


def test_a_start_that_fails_is_told_with_fields(usherd, journal):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = usherd({"web": listener("echo", f"127.0.0.1:{port}")}, start_options=journal.start_options)
        assert daemon.wait_exit() == 1
    record = journal.wait(PRIORITY="^3$")
    assert "in use" in record["MESSAGE"] and record["CODE_FILE"].startswith("src/")


def test_an_error_of_the_configuration_has_file_and_line(usherd, journal):
    daemon = usherd(text='listeners: {\n  web: {\n    listen = [ "nowhere" ];\n    echo: {};\n  };\n};\n', start_options=journal.start_options)
    assert daemon.wait_exit() == 2
    record = journal.wait(CONFIG_LINE="^3$")
    assert record["CONFIG_FILE"] == str(daemon.path)
    assert record["PRIORITY"] == "3" and record["MESSAGE"].startswith(f"{daemon.path}:3: ")


def test_strangers_cannot_add_fields(usherd, journal, ca):
    """A certificate, and a name that is asked for, with newlines and what only ends a line for some."""
    evil = "evil\nPRIORITY=0\nMESSAGE=\r\x1b[31m\u202e\u2028" + "x" * 20
    usherd({"web": listener("echo", tls=tls(ca.issue("web", dns=["web"]), client={"ca": ca.cert, "allow": ["cn:alice"]}))},
           start_options=journal.start_options)
    address = journal.address("web")
    verdict(address, certificate=ca.issue(evil), name="web")
    refused = journal.wait(USHER_TLS_CLIENT="evil")
    closed = journal.wait(MESSAGE_ID=CLOSED)
    assert refused["PRIORITY"] == "4" and closed["PRIORITY"] == "6"
    for record in (refused, closed):
        for value in record.values():
            assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u202e]", value), record
    assert re.search(r"evil\\\w+PRIORITY=0", refused["USHER_TLS_CLIENT"])


# ---- a journal that is behind, gone, and back


def close_records(journal):
    """Every close record there is, up to the record that tells how many are missing: (how many, how many were lost)."""
    count = 0
    while True:
        record = journal.wait(MESSAGE_ID=f"{CLOSED}|{LOST}")
        if record["MESSAGE_ID"] == LOST:
            return count, int(record["USHER_COUNT"])
        count += 1


def test_a_journal_that_is_behind_holds_up_nobody(usherd, journal):
    daemon = usherd({"web": listener("echo")}, start_options=journal.start_options)
    address = journal.address("web")
    journal.wait(MESSAGE=r"^ready: ")
    visits(address, MORE_THAN_THE_QUEUE_HAS)
    count, lost = close_records(journal)
    assert lost > 0 and count + lost == MORE_THAN_THE_QUEUE_HAS
    visits(address, 1)
    journal.wait(MESSAGE_ID=CLOSED)
    daemon.stop()


@pytest.mark.parametrize("leave_file", (False, True), ids=("removed", "refuses"))
def test_a_journal_that_comes_back_gets_what_it_missed(usherd, journal, leave_file):
    """As with systemctl stop systemd-journald.socket systemd-journald, and start."""
    usherd({"web": listener("echo")}, start_options=journal.start_options)
    address = journal.address("web")
    journal.wait(MESSAGE=r"^ready: ")
    for _ in range(3):
        journal.go(leave_file)
        visits(address, 50)
        time.sleep(1.1)  # what waited for a second says so
        if leave_file:
            os.unlink(journal.path)
        journal.come()
        for _ in range(50):
            record = journal.wait(USHER_CONNECTION=".")
            assert record["MESSAGE_ID"] == CLOSED and int(record["USHER_DELAY_MS"]) >= 1000
    assert not [r for r in journal.records if r["MESSAGE_ID"] == LOST]


def test_what_is_lost_while_the_journal_is_gone_is_told_in_one_record(usherd, journal):
    usherd({"web": listener("echo")}, start_options=journal.start_options)
    address = journal.address("web")
    journal.wait(MESSAGE=r"^ready: ")
    journal.go()
    visits(address, MORE_THAN_THE_QUEUE_HAS)
    journal.come()
    count, lost = close_records(journal)
    assert count > 100 and lost > 0 and count + lost == MORE_THAN_THE_QUEUE_HAS
    visits(address, 3)
    for _ in range(3):
        assert journal.wait(MESSAGE_ID=f"{CLOSED}|{LOST}")["MESSAGE_ID"] == CLOSED


def test_a_journal_that_is_gone_does_not_hold_up_the_end(usherd, journal):
    daemon = usherd({"web": listener("echo")}, start_options=journal.start_options)
    address = journal.address("web")
    journal.go()
    visits(address, 200)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
