# SPDX-License-Identifier: MIT
"""TLS connections that nobody uses: they cost little, and are what they were when they are used again."""
import os
import signal
import socket

import pytest

import servers
from certificates import tls
from harness import SANITIZER, SLOW, ask, listener, proxy, read_all, wait_until
from tls_peer import Truncated, client_context, server_context, tls_connect, tls_server

COUNT = 100 if SLOW == 1 else 20


def wait_asleep(daemon, count):
    """Waits until `count` connections have given back memory: some seconds after their last use."""
    if SANITIZER:  # under which nothing sleeps
        return
    most = daemon.own_kib()

    def has_fallen():
        nonlocal most
        now = daemon.own_kib()
        most = max(most, now)
        return now <= most - count * 4

    wait_until(has_fallen, lambda: f"memory to be given back; {daemon.own_kib()} of {most} KiB are there")


def crowd(daemon, name, count=COUNT, **options):
    """Connections of both versions, some resumed, each with something sent and got."""
    socks = []
    for version in ("1.2", "1.3"):
        context = client_context(version=version, **options)
        session = None
        for number in range(count // 2):
            sock = tls_connect(daemon.address(name), context, session=session if number % 2 else None)
            assert ask(sock, b"x" * 20000) == b"x" * 20000
            session = sock.session
            socks.append(sock)
    return socks


@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer's memory says nothing")
def test_memory_of_an_idle_connection(usherd, ca):
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()))})
    for sock in crowd(daemon, "web", 20):  # what is kept for later is there
        sock.close()
    daemon.wait_closed(count=20)
    before = daemon.own_kib()
    socks = crowd(daemon, "web")
    wait_asleep(daemon, COUNT // 2)
    wait_until(lambda: (daemon.own_kib() - before) / len(socks) <= 10,
               lambda: f"10 KiB a connection; it is {(daemon.own_kib() - before) / len(socks):.1f}")
    for sock in socks:
        sock.close()


def test_used_again(usherd, serve, ca):
    """Small and large, both ways, twice; through a proxy with TLS on both sides too."""
    upstream = serve(tls_server(servers.echo, server_context(ca.issue(ips=["127.0.0.1"]))))
    one = ca.issue()
    daemon = usherd({
        "echo": listener("echo", tls=tls(one, client={"ca": [ca.path]})),
        "proxy": listener(proxy(upstream.address, tls={"ca": [ca.path]}), tls=tls(one)),
    })
    socks = crowd(daemon, "echo", certificate=ca.issue("alice")) + crowd(daemon, "proxy", COUNT // 5)
    data = os.urandom(100000)
    for _ in range(2):
        wait_asleep(daemon, len(socks) // 2)
        for sock in socks:
            assert ask(sock) == b"hello"
        for sock in socks[:: max(1, len(socks) // 20)]:
            assert ask(sock, data) == data
    for sock in socks:
        sock.close()
    daemon.wait_closed(count=len(socks))
    assert {record.reason for record in daemon.close_records()} == {"client_closed"}
    assert all("CN=alice" in record.tls for record in daemon.close_records("echo"))
    daemon.stop()


def test_every_end_after_a_rest(usherd, serve, ca):
    """What ends a connection does so too when it was asleep: close_notify, half a close, truncation, reset, garbage."""
    upstream = serve(servers.notes_end)
    digests = serve(servers.digests)
    one = tls(ca.issue())
    daemon = usherd({
        "web": listener(proxy(upstream.address), tls=one), "digests": listener(proxy(digests.address), tls=one),
        "echo": listener("echo", tls=one),
    })
    whole, cut, resets, garbage = (tls_connect(daemon.address("web")) for _ in range(4))
    half = tls_connect(daemon.address("digests"))
    half.sendall(b"first ")
    others = crowd(daemon, "echo", 20)
    upstream.wait(lambda s: s.count == 4)
    wait_asleep(daemon, 20)
    half.sendall(b"second")
    half.shutdown(socket.SHUT_WR)
    assert read_all(half) == servers.digest_of(b"first second")
    whole.close()
    upstream.wait(lambda s: s.values["end"] == 1)
    cut.truncate()
    resets.reset()
    garbage.send_raw(b"\x17\x03\x03\x00\x40" + os.urandom(64))
    upstream.wait(lambda s: s.values["reset"] == 3)
    for reason in ("client_truncated", "client_reset", "client_tls"):
        daemon.wait_closed(reason)
    for sock in others:
        assert ask(sock) == b"hello"


def test_the_upstream_speaks_first_after_a_rest(usherd, serve, ca):
    """Its data and its end wake the client's side."""

    def handler(sock, server):
        sock.sendall(b"greeting")
        server.add("greeted")
        server.wait(lambda s: s.values["go"], 60)
        sock.sendall(b"good bye")

    upstream = serve(tls_server(handler, server_context(ca.issue(ips=["127.0.0.1"]))))
    daemon = usherd({"web": listener(proxy(upstream.address, tls={"ca": [ca.path]}), tls=tls(ca.issue()))})
    socks = [tls_connect(daemon.address("web")) for _ in range(20)]
    for sock in socks:
        assert read_all(sock, 8) == b"greeting"
    wait_asleep(daemon, 20)
    upstream.add("go")
    for sock in socks:
        assert read_all(sock) == b"good bye"


@pytest.mark.parametrize("how", ["stop", "kill_all"])
def test_stop_while_they_sleep(usherd, ca, how):
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()))}, drain_timeout="1h" if how == "stop" else "0s")
    socks = crowd(daemon, "web", 20)
    wait_asleep(daemon, 10)
    daemon.signal(signal.SIGTERM)
    if how == "stop":
        daemon.wait_log(r"^stopping")
        for sock in socks:
            assert ask(sock) == b"hello"
            sock.close()
    else:
        for sock in socks:
            with pytest.raises((Truncated, ConnectionResetError)):
                read_all(sock)
    assert daemon.wait_exit() == 0


def test_renewal_while_they_sleep(usherd, ca):
    """What they came in under is gone from the files, not from them."""
    old, new = ca.issue(), ca.issue()
    daemon = usherd({"web": listener("echo", tls=tls(old))})
    socks = crowd(daemon, "web", 20)
    wait_asleep(daemon, 10)
    os.rename(new.key, old.key)
    os.rename(new.cert, old.cert)
    wait_until(lambda: tls_connect(daemon.address("web")).peer_der == new.der, "the new certificate to be shown")
    for sock in socks:
        assert ask(sock, b"y" * 50000) == b"y" * 50000
        sock.close()
