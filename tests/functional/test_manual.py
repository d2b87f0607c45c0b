# SPDX-License-Identifier: MIT
"""The door's examples in usherd.conf(5) do what the page says, to the words of its log records and of --explain."""
import pathlib
import re

import pytest

from harness import ask, ended, run, visit, wait_until
from test_door_unix import outcome

PAGE = (pathlib.Path(__file__).parents[2] / "doc" / "usherd.conf.5.in").read_text(encoding="utf-8")


def blocks(title):
    """The literal blocks of a part of the page; lines that are wrapped there are whole."""
    part = re.search(rf"^\.Ss {title}\n(.*?)(?=^\.S[sh] )", PAGE, re.S | re.M).group(1)
    found = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed", part, re.S | re.M)
    return [block if block.startswith(("listeners:", "door:")) else re.sub(r"\n {4}", " ", block).replace("\\-", "-")
            for block in found]


def changed(text, *changes):
    """The example with what this machine does not have put otherwise."""
    for pattern, by in changes:
        text, count = re.subn(pattern, by, text)
        assert count > 0, pattern
    return 'user = "nobody";\n' + text


@pytest.mark.root
@pytest.mark.programs("ip")
def test_a_database_for_one_subnet(usherd, network, folder):
    example, question, log = blocks("A database for one subnet")
    daemon = usherd(text=changed(example, (r"proxy *: .*", "echo: {};")), start_options={"wrapper": network.wrapper})
    address = "10.0.0.1:5432"
    socks = [network.connect(address, "10.0.0.7") for _ in range(50)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 50
    assert [network.comes_in(address, source) for source in ("10.0.0.7", "10.0.0.8", "10.0.0.254", "10.0.1.7")] == [
        False, True, False, False]
    daemon.wait_refused("limit_per_source", "10.0.0.7")
    daemon.wait_refused("denied", "10.0.0.254")
    daemon.wait_log("^" + re.escape(log.splitlines()[0]) + "$")
    # who is taken off the list loses its sessions
    daemon.path.write_text(daemon.path.read_text().replace('"10.0.0.0/24"', '"10.0.0.8"'))
    assert daemon.reload(daemon.path.read_text()).ok
    assert [ended(sock) for sock in socks] == ["reset"] * 50
    # and what can be asked beforehand
    command, *answer = question.splitlines()
    _, out, _ = run(*command.split()[2:], text=example, folder=folder)
    assert out.splitlines() == [line.replace("@CONFIG_FILE@:", f"{folder}/usherd.conf:") for line in answer]


def test_a_public_service_with_caps_and_bans(usherd, folder, ca):
    example, log, _ = blocks("A public service with caps and bans")
    certificate = ca.issue()
    blocked = pathlib.Path(folder) / "blocked"
    blocked.write_text("")
    daemon = usherd(text=changed(
        example, (r"proxy *: .*", "echo: {};"), ("/etc/usher/blocked", str(blocked)), (r"\*:443", "127.0.0.1:0"),
        ("/etc/usher/tls/www.pem", certificate.cert), ("/etc/usher/tls/www.key", certificate.key),
    ))
    refused, banned, _ = log.replace("198.51.100.9", "127.0.0.2").splitlines()
    socks = []

    def comes_too_often():
        socks.extend(visit(daemon.address("www"), source=("127.0.0.2", 0)) for _ in range(40))
        return banned in daemon.log

    wait_until(comes_too_often, "the ban")
    daemon.wait_log("^" + re.escape(refused) + "$")
    # a network that is blocked at once
    assert visit(daemon.address("www"), source=("127.0.0.3", 0))
    new = blocked.with_suffix(".new")
    new.write_text("127.0.0.3\n")
    new.rename(blocked)
    daemon.wait_log("^list renewed: ")
    assert ended(visit(daemon.address("www"), source=("127.0.0.3", 0))) == "reset"
    daemon.wait_refused("denied", "127.0.0.3")


@pytest.mark.root
@pytest.mark.programs("setpriv")
def test_a_socket_for_two_users(usherd, folder):
    example, log = blocks("A socket for two users")
    path = f"{folder}/cache.sock"
    daemon = usherd(text=changed(example, ("/run/usher/cache.sock", path), ("user:alice", "uid:4711"),
                                 ("user:bob", "uid:4712"), (r"proxy *: .*", "echo: {};")))
    assert [outcome(path, uid) for uid in (4711, 4712, 1003, 0)] == ["served", "served", "refused", "refused"]
    daemon.wait_log("^" + re.escape(log.strip()) + "$")
