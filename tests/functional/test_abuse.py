# SPDX-License-Identifier: MIT
"""Peers that behave badly: nothing leaks, nobody else is disturbed."""
import os
import random
import socket
import threading

import pytest

import servers
from harness import SLOW, ask, connect, listener, proxy, reset, visit, wait_until


NAMES = ["echo", "discard", "day", "gen", "proxy", "drop"]


class Witness:
    """Connections that must not notice anything."""

    def __init__(self, daemon):
        self.socks = [daemon.connect("echo"), daemon.connect("proxy")]
        self.check()

    def check(self):
        for sock in self.socks:
            assert ask(sock, b"still here") == b"still here"


@pytest.fixture
def target(usherd, serve):
    upstream = serve(servers.echo)
    dropping = serve(servers.resets_after(0))
    running = usherd({
        "echo": listener("echo"), "discard": listener("discard"), "day": listener("daytime"), "gen": listener("chargen"),
        "proxy": listener(proxy(upstream.address)), "drop": listener(proxy(dropping.address)),
    })
    witness = Witness(running)
    fds = running.fds()
    yield running
    witness.check()
    running.wait_fds(fds)
    for sock in witness.socks:
        sock.close()
    running.stop()


def test_random_bytes(target):
    rng = random.Random(2)
    for name in NAMES * 5:
        sock = visit(target.address(name))
        try:
            for _ in range(rng.randrange(1, 5)):
                sock.sendall(os.urandom(rng.randrange(1, 20000)))
        except (OSError, AttributeError):
            pass
        if sock and rng.random() < 0.5:
            reset(sock)


def test_immediate_resets(target):
    for name in NAMES * 50:
        sock = visit(target.address(name))
        if sock:
            reset(sock)


def test_immediate_ends(target):
    for name in NAMES * 50:
        sock = visit(target.address(name))
        if sock:
            sock.close()


def test_resets_with_data_on_the_way(target):
    for name in NAMES * 20:
        sock = visit(target.address(name))
        if not sock:
            continue
        try:
            sock.sendall(b"x" * 5000)
        except OSError:
            pass
        reset(sock)


def test_half_open_peers(target):
    """Peers that say nothing, or end one direction and stay."""
    socks = []
    for name in NAMES * 20:
        sock = visit(target.address(name))
        if not sock:
            continue
        socks.append(sock)
        if len(socks) % 2:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # reset already
    with connect(target.address("echo")) as sock:
        assert ask(sock) == b"hello"
    for sock in socks:
        sock.close()


def test_urgent_data(target):
    for name in ("echo", "proxy", "discard"):
        with connect(target.address(name)) as sock:
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(b"after")
            sock.shutdown(socket.SHUT_WR)
            wait_until(lambda sock=sock: not sock.recv(100))


def test_one_byte_at_a_time(target):
    with connect(target.address("proxy")) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(500):
            sock.sendall(bytes([number % 256]))
        got = b""
        while len(got) < 500:
            got += sock.recv(500)
        assert got == bytes(number % 256 for number in range(500))


def test_everything_at_once(target):
    """Threads that do all of it while the witnesses talk."""
    failures = []

    def worker(seed):
        rng = random.Random(seed)
        try:
            for _ in range(60):
                try:
                    sock = connect(target.address(rng.choice(NAMES)), timeout=10 * SLOW)
                    if rng.random() < 0.7:
                        sock.sendall(bytes(rng.randrange(1, 100000)))
                    if rng.random() < 0.3:
                        sock.shutdown(socket.SHUT_WR)
                    if rng.random() < 0.5:
                        sock.settimeout(0.01)
                        try:
                            sock.recv(rng.randrange(1, 65536))
                        except TimeoutError:
                            pass
                    if rng.random() < 0.5:
                        reset(sock)
                    else:
                        sock.close()
                except (ConnectionError, TimeoutError, OSError):
                    pass
        except BaseException as problem:  # pylint: disable=broad-except
            failures.append(problem)

    threads = [threading.Thread(target=worker, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_upstream_that_resets_in_the_middle(usherd, serve):
    upstream = serve(servers.resets_after(1))
    good = serve(servers.echo)
    daemon = usherd({"bad": listener(proxy(upstream.address)), "good": listener(proxy(good.address))})
    witness = daemon.connect("good")
    assert ask(witness) == b"hello"
    fds = daemon.fds()
    for _ in range(50):
        with connect(daemon.address("bad")) as sock:
            assert sock.recv(1)
            sock.sendall(b"go")
            with pytest.raises(ConnectionResetError):
                while sock.recv(10):
                    pass
    daemon.wait_closed("upstream_reset", 50)
    daemon.wait_fds(fds)
    assert ask(witness) == b"hello"
