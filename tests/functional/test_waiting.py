# SPDX-License-Identifier: MIT
"""limits.at_limit = "wait": clients that are over a limit are kept until there is room."""
import random
import select
import signal
import threading
import time

import pytest

from certificates import tls
from harness import SLOW, ask, config, ended, listener, read_all, visit, wait_until
from tls_peer import TlsStream, client_context, tls_connect

pytestmark = pytest.mark.slow

A = ("127.0.0.2", 0)
B = ("127.0.0.3", 0)


def waits(**limits):
    return {"limits": {**limits, "at_limit": "wait"}}


def line_up(daemon, count=1, source=A, name="web"):
    """Clients that say "hello", one after another; each is in the waiting room before the next comes."""
    socks = []
    for _ in range(count):
        before = daemon.fds()
        sock = daemon.connect(name, source=source)
        sock.sendall(b"hello")
        wait_until(lambda: daemon.fds() > before, "a client to be accepted")
        socks.append(sock)
    return socks


def is_answered(socks):
    """Those that have something to read at this moment."""
    return select.select(socks, [], [], 0)[0]


def answer(sock):
    assert read_all(sock, 5) == b"hello"
    return sock


def test_all_are_served_in_the_end(usherd):
    daemon = usherd({"web": listener("echo", **waits(connections=2))})
    before = daemon.fds()
    socks = [daemon.connect("web") for _ in range(30)]
    for sock in socks:
        sock.sendall(b"hello")
    left = list(socks)
    while left:
        ready, _, _ = select.select(left, [], [], 20 * SLOW)
        assert 1 <= len(ready) <= 2, f"{len(ready)} are served; {len(left)} were left"
        for sock in ready:
            answer(sock).close()
            left.remove(sock)
    daemon.wait_closed("client_closed", 30)
    daemon.wait_fds(before)
    daemon.stop()
    assert daemon.refused() == 0
    assert len(daemon.close_records()) == 30


def test_sources_take_turns(usherd):
    """One with many that wait does not delay another's first."""
    daemon = usherd({"web": listener("echo", **waits(connections=1))})
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    many = line_up(daemon, 5, A)
    other = line_up(daemon, 1, B)
    assert not is_answered(many + other)
    holds.close()
    answer(many[0])
    assert not is_answered(many[1:] + other)
    many[0].close()
    answer(other[0])
    assert not is_answered(many[1:])
    other[0].close()
    for i, sock in enumerate(many[1:]):
        answer(sock)  # in the order in which they came
        assert not is_answered(many[i + 2 :])
        sock.close()
    # somebody who comes then is let in at once
    assert ask(daemon.connect("web", source=B)) == b"hello"


def test_a_newcomer_stands_in_line(usherd):
    """Who comes when there is room again comes after those who wait, and nobody waits for ever at a free limit."""
    daemon = usherd({"web": listener("echo", **waits(connections=1))})
    stop = threading.Event()
    rounds = []

    def visits():
        while not stop.is_set():
            with daemon.connect("web", source=B) as sock:
                assert ask(sock) == b"hello"
            rounds.append(1)

    thread = threading.Thread(target=visits)
    thread.start()
    try:
        for _ in range(20):
            with daemon.connect("web", source=A) as sock:
                assert ask(sock) == b"hello"
    finally:
        stop.set()
        thread.join()
    assert rounds


def test_per_source(usherd):
    """A limit of one source keeps nobody else out."""
    daemon = usherd({"web": listener("echo", **waits(per_source=1))})
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 2, A)
    others = [daemon.connect("web", source=(f"127.0.0.{i}", 0)) for i in range(3, 8)]
    assert [ask(sock) for sock in others] == [b"hello"] * 5
    assert not is_answered(waiting)
    others[0].close()
    daemon.wait_closed("client_closed")
    assert ask(others[1]) == b"hello" and not is_answered(waiting)
    holds.close()
    answer(waiting[0]).close()
    answer(waiting[1])


@pytest.mark.parametrize("limit", ["rate", "rate_per_source"])
def test_rate(usherd, limit):
    """All come in, none faster than the rate."""
    daemon = usherd({"web": listener("echo", **waits(**{limit: "20/s burst 2"}))})
    start = time.monotonic()
    socks = [daemon.connect("web", source=A) for _ in range(12)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 12
    # two at once, then one each 50 ms: a bound from below, which no load can break
    assert time.monotonic() - start >= 0.5
    daemon.stop()
    assert daemon.refused() == 0


def test_limits_of_all_listeners(usherd):
    limits = {"connections": 1, "at_limit": "wait"}
    daemon = usherd({"web": listener("echo"), "mail": listener("echo")}, door={"limits": limits})
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    web = line_up(daemon, 2, A, "web")
    mail = line_up(daemon, 1, A, "mail")
    holds.close()
    answer(web[0]).close()
    answer(mail[0]).close()
    answer(web[1])


def test_unix_clients(usherd, folder):
    daemon = usherd({"web": listener("echo", f"unix:{folder}/s", **waits(connections=1))})
    holds = daemon.connect("web")
    assert ask(holds) == b"hello"
    queue = [daemon.connect("web") for _ in range(3)]
    for sock in queue:
        sock.sendall(b"hello")
    for before, sock in zip([holds] + queue, queue):
        assert not is_answered([sock])
        before.close()
        answer(sock)


def test_trusted_do_not_wait(usherd):
    daemon = usherd({"web": listener("echo", trusted=["127.0.0.3"], **waits(connections=1))})
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 2, A)
    assert ask(daemon.connect("web", source=B)) == b"hello"
    assert not is_answered(waiting)


def test_room_for_one_source(usherd):
    """64 of one source wait; no more, which are told and not banned for."""
    ban = {"after": 1}
    daemon = usherd({"web": listener("echo", ban=ban, **waits(connections=1))})
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 64, A)
    for _ in range(3):
        assert ended(visit(daemon.address("web"), source=A)) == "reset"
    daemon.wait_refused("wait_full", "127.0.0.2")
    other = line_up(daemon, 1, B)
    holds.close()
    answer(waiting[0]).close()
    answer(other[0]).close()
    for sock in waiting[1:]:
        answer(sock).close()
    daemon.stop()
    assert daemon.refused("wait_full") == 3
    assert not any("banned" in message for message in daemon.log)


@pytest.mark.programs("prlimit")
def test_room_in_all(usherd):
    """Those who wait leave descriptors for connections; when there is no room, who has many gives way to another."""
    daemon = usherd(
        {"web": listener("echo", **waits(connections=1)), "free": listener("echo")}, door={"overload": {"percent": 0}},
        start_options={"wrapper": ["prlimit", "--nofile=150:150"]},
    )
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    before = daemon.fds()
    came = [sock for sock in (visit(daemon.address("web"), source=A) for _ in range(60)) if sock]
    # each is either kept, or was reset; main is done with the last when it takes one at another listener
    wait_until(lambda: len(is_answered(came)) + daemon.fds() - before == len(came), "all to be accepted")
    with daemon.connect("free") as sock:
        assert ask(sock) == b"hello"
    gone = is_answered(came)
    assert [ended(sock) for sock in gone] == ["reset"] * len(gone)
    waiting = [sock for sock in came if sock not in gone]
    places = len(waiting)
    assert 10 <= places < 40
    # another source's first takes the place of the last
    other = daemon.connect("web", source=B)
    other.sendall(b"hello")
    assert ended(waiting.pop()) == "reset"
    # connections have descriptors all the time
    free = [daemon.connect("free") for _ in range(30)]
    assert [ask(sock) for sock in free] == [b"hello"] * 30
    assert not any("accepting paused" in message for message in daemon.log)
    holds.close()
    assert ask(waiting[0]) == b"hello"
    waiting[0].close()
    answer(other).close()
    for sock in waiting[1:]:
        assert ask(sock) == b"hello"
        sock.close()
    daemon.stop()
    assert daemon.refused("wait_full") == 61 - places


@pytest.mark.slow
def test_nobody_waits_for_ever_and_waiting_costs_nothing(usherd):
    """It takes the half minute that one waits at the most."""
    daemon = usherd({
        "web": listener("echo", **waits(connections=1)),
        "slow": listener("echo", **waits(rate_per_source="1/h burst 1")),
    })
    before = daemon.fds()
    holds = [daemon.connect("web", source=A), daemon.connect("slow", source=A)]
    assert [ask(sock) for sock in holds] == [b"hello"] * 2
    sources = [(f"127.0.0.{i}", 0) for i in range(2, 12)]
    waiting = [line_up(daemon, 1, source)[0] for source in sources] + line_up(daemon, 3, A, "slow")
    ticks = daemon.cpu_ticks()
    for sock in waiting:
        sock.settimeout(60)
    assert [ended(sock) for sock in waiting] == ["reset"] * 13
    used = daemon.cpu_ticks() - ticks
    assert used < 30 * SLOW, f"{used / 100} s of CPU while 13 clients waited for 30 s"
    assert [ask(sock) for sock in holds] == [b"hello"] * 2
    daemon.wait_fds(before + 2)
    daemon.stop()
    assert daemon.refused("wait_timeout") == 13


def test_those_who_go_meanwhile(usherd):
    """They are found out when it is their turn, leave nothing behind, and keep nobody."""
    daemon = usherd({"web": listener("echo", **waits(connections=1))})
    before = daemon.fds()
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    for sock in line_up(daemon, 5, A) + line_up(daemon, 5, B):
        sock.close()
    last = line_up(daemon, 1, B)
    holds.close()
    answer(last[0]).close()
    daemon.wait_fds(before)
    assert ask(daemon.connect("web")) == b"hello"


def test_reload_with_more_room(usherd):
    def text(connections):
        return config({"web": listener("echo", **waits(connections=connections))})

    daemon = usherd(text=text(1))
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 3, A)
    assert daemon.reload(text(1)).ok
    assert ask(holds) == b"hello" and not is_answered(waiting)
    assert daemon.reload(text(3)).ok
    answer(waiting[0])
    answer(waiting[1])
    assert not is_answered(waiting[2:])
    waiting[0].close()
    answer(waiting[2])


def test_reload_that_listens_elsewhere(usherd, folder):
    """Those who wait belong to the listener, not to the socket that they came by."""
    daemon = usherd(text=config({"web": listener("echo", "127.0.0.1:0", **waits(connections=1))}))
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 2, A)
    assert daemon.reload(config({"web": listener("echo", f"unix:{folder}/s", **waits(connections=1))})).ok
    assert not is_answered(waiting)
    holds.close()
    answer(waiting[0]).close()
    answer(waiting[1])


def test_reload_that_refuses(usherd):
    """Those who wait are asked about by the lists and limits of the new configuration."""
    daemon = usherd(text=config({"web": listener("echo", **waits(connections=1))}))
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 1, A) + line_up(daemon, 1, B)
    assert daemon.reload(config({"web": listener("echo", deny=["127.0.0.3"], **waits(connections=1))})).ok
    holds.close()
    answer(waiting[0]).close()
    assert ended(waiting[1]) == "reset"
    daemon.wait_refused("denied", "127.0.0.3")
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 1, A)
    assert daemon.reload(config({"web": listener("echo", limits={"connections": 1})})).ok
    assert ended(waiting[0]) == "reset"
    daemon.wait_refused("limit_connections", "127.0.0.2")
    assert ask(holds) == b"hello"


def test_reload_without_the_listener(usherd):
    """Nobody is left waiting for a listener that is gone."""
    both = {"web": listener("echo", **waits(connections=1)), "other": listener("echo")}
    daemon = usherd(text=config(both))
    before = daemon.fds()
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 3, A)
    assert daemon.reload(config({"other": both["other"]})).ok
    assert [ended(sock) for sock in waiting] == ["reset"] * 3
    assert ask(holds) == b"hello"
    holds.close()
    daemon.wait_fds(before - 1)
    daemon.stop()
    assert daemon.refused("drain") == 3


def test_stop(usherd):
    """Those for whom there is no room are reset; it does not wait for them."""
    daemon = usherd({"web": listener("echo", **waits(connections=1))})
    holds = daemon.connect("web", source=A)
    assert ask(holds) == b"hello"
    waiting = line_up(daemon, 3, A)
    daemon.signal(signal.SIGTERM)
    assert [ended(sock) for sock in waiting] == ["reset"] * 3
    assert ask(holds) == b"hello"
    holds.close()
    assert daemon.wait_exit() == 0
    daemon.check_reports()
    assert daemon.refused("drain") == 3
    assert not daemon.close_records(reason="drain")


@pytest.mark.parametrize("limits, door", [
    ({"connections": 3}, {}),
    ({"per_source": 1}, {}),
    ({"connections": 3, "rate": "2000/s"}, {}),
    ({"connections": 4}, {"connections": 3, "per_source": 2}),
], ids=["connections", "per_source", "rate", "door"])
def test_many_that_come_and_go(usherd, limits, door):
    """None is forgotten: a room that is free is noticed whenever it comes to be."""
    daemon = usherd({"web": listener("echo", **waits(**limits))}, door=waits(**door))
    before = daemon.fds()
    failures = []

    def visits(number):
        chance = random.Random(number)
        try:
            for _ in range(15):
                with daemon.connect("web", source=(f"127.0.0.{2 + number % 3}", 0)) as sock:
                    if chance.random() < 0.8:
                        assert ask(sock) == b"hello"
        except (OSError, AssertionError) as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=visits, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    daemon.wait_fds(before)
    daemon.stop()
    assert daemon.refused() == 0
    assert len(daemon.close_records()) == 300



def test_a_handshake_s_end_lets_the_next_one_begin(usherd, ca):
    """Also when so few are over that no worker rings for them."""
    daemon = usherd({"web": listener(
        "echo", tls=tls(ca.issue()), timeouts={"handshake": "10min"},
        limits={"connections": 10, "handshakes": 8, "at_limit": "wait"},
    )})
    context = client_context(ca=ca)
    open_ones = [tls_connect(daemon.address("web"), context) for _ in range(10)]
    waiting = []
    for _ in range(9):
        before = daemon.fds()
        waiting.append(daemon.connect("web", timeout=10 * SLOW))
        wait_until(lambda: daemon.fds() > before, "a client to be accepted")
    for sock in open_ones[1:]:
        sock.close()
    daemon.wait_closed("client_closed", 9)
    # eight are within their handshake now; the first ends it, and the last begins
    for sock in (waiting[0], waiting[8]):
        stream = TlsStream(sock, context)
        assert ask(stream) == b"hello"
        stream.close()
    for sock in [*waiting[1:8], open_ones[0]]:
        sock.close()
    daemon.stop()
