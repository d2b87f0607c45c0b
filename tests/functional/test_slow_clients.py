# SPDX-License-Identifier: MIT
"""timeouts.first_byte, lifetime and minimum_rate: clients that say nothing, stay too long, or take too slowly."""
import socket
import threading
import time

import pytest

import servers
from harness import TIMEOUT, ask, ended, listener, proxy, read_all, wait_until

pytestmark = pytest.mark.slow


def test_a_client_that_says_nothing(usherd, serve):
    upstream = serve(servers.hang)
    quick = {"first_byte": "300ms"}
    daemon = usherd({
        "web": listener(proxy(upstream.address), timeouts=quick),
        "echo": listener("echo", timeouts=quick),
        "gen": listener("chargen", timeouts=quick),
    })
    for name in ("web", "echo", "gen"):
        assert ended(daemon.connect(name)) == "reset"
        daemon.wait_closed("first_byte_timeout", listener=name)


def test_a_client_that_spoke_may_be_silent(usherd):
    daemon = usherd({"web": listener("echo", timeouts={"first_byte": "200ms"})})
    spoke = daemon.connect("web")
    assert ask(spoke) == b"hello"
    silent = daemon.connect("web")
    assert ended(silent) == "reset"
    assert ended(daemon.connect("web")) == "reset"
    assert ask(spoke) == b"hello"
    daemon.wait_closed("first_byte_timeout", count=2)
    assert len(daemon.close_records()) == 2


def test_a_client_that_ends_at_once_has_spoken(usherd, serve):
    """An end without a byte is something too: the answer may still come."""

    def late(sock, server):
        assert sock.recv(1) == b""
        server.add("asked")
        server.wait(lambda s: s.values["go"])
        sock.sendall(b"answer")

    upstream = serve(late)
    daemon = usherd({"web": listener(proxy(upstream.address), timeouts={"first_byte": "200ms"})})
    sock = daemon.connect("web")
    sock.shutdown(socket.SHUT_WR)
    upstream.wait(lambda s: s.values["asked"])
    assert ended(daemon.connect("web")) == "reset", "time enough has passed"
    upstream.add("go")
    assert read_all(sock) == b"answer"


def test_it_is_not_the_client_that_a_slow_connect_tells_of(usherd, blackhole):
    daemon = usherd({"web": listener(proxy(blackhole), timeouts={"first_byte": "100ms", "connect": "1s"})})
    assert ended(daemon.connect("web")) == "reset"
    daemon.wait_closed("connect_timeout")


def test_what_waits_to_be_read_counts_as_heard(usherd):
    """Its bytes are there, and wait for their time."""
    limits = {"bandwidth": {"in": "1B/h burst 1B"}, "timeouts": {"first_byte": "200ms"}}
    daemon = usherd({"web": listener("echo", **limits), "other": listener("echo", timeouts={"first_byte": "200ms"})})
    first = daemon.connect("web")
    first.sendall(b"xx")
    second = daemon.connect("web")
    second.sendall(b"xx")
    for _ in range(2):
        assert ended(daemon.connect("other")) == "reset"
    daemon.wait_closed("first_byte_timeout", count=2, listener="other")
    assert not daemon.close_records(listener="web")


@pytest.mark.parametrize("busy", [False, True])
def test_lifetime(usherd, busy):
    daemon = usherd({"web": listener("chargen" if busy else "echo", timeouts={"lifetime": "500ms"})})
    sock = daemon.connect("web")
    assert ended(sock) == "reset"
    daemon.wait_closed("lifetime")


def test_a_client_that_takes_too_slowly(usherd, serve):
    """Three clients of a fast upstream: one takes nothing, one a little now and then, one enough. Only the last may stay."""
    upstream = serve(servers.source(1 << 30))
    text = {"web": listener(proxy(upstream.address), timeouts={"minimum_rate": "64KiB/s"}, send_buffer="64KiB")}
    daemon = usherd(text)
    start = time.monotonic()
    dead, slow, good = (daemon.connect("web") for _ in range(3))
    done = threading.Event()

    def take(sock, n, pause):
        try:
            while not done.wait(pause):
                if not sock.recv(n):
                    break
        except OSError:
            pass

    threads = [threading.Thread(target=take, args=args) for args in ((slow, 4096, 0.5), (good, 262144, 0.1))]
    for thread in threads:
        thread.start()
    # looked at each 5 s, and compared with what was 10 s before: the first answer comes after 15 s
    daemon.wait_closed("slow_client", count=2, timeout=15 + TIMEOUT)
    assert time.monotonic() - start >= 10, "there is a time of grace"
    assert len(daemon.close_records()) == 2
    good.sendall(b"x")
    done.set()
    for thread in threads:
        thread.join()
    assert read_all(good, 1 << 20), "it lives"
    assert ended(dead) == "reset"


@pytest.mark.slow
def test_a_sender_with_pauses_makes_no_slow_client(usherd, serve):
    """What is owed was taken each time; that there was little of it is not the client's fault."""

    def drops(sock, server):
        while not server.stopping.wait(0.3):
            sock.sendall(b"x")

    upstream = serve(drops)
    daemon = usherd({"web": listener(proxy(upstream.address), timeouts={"minimum_rate": "1MiB/s"})})
    sock = daemon.connect("web")
    start = time.monotonic()
    while time.monotonic() < start + 21:
        assert sock.recv(100)
    assert not daemon.close_records()
    wait_until(lambda: sock.recv(100))
