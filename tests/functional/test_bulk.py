# SPDX-License-Identifier: MIT
"""Bulk through a plain proxied connection, which goes through pipes (splice): all of it arrives, however it ends, and whoever
stops reading or goes away in the middle of it."""
import hashlib
import os
import random
import socket
import threading

import pytest

import servers
from harness import SANITIZER, listener, proxy, read_all, reset, wait_until

MIB = 1 << 20
TOTAL = (24 if SANITIZER else 96) * MIB
BLOCK = random.Random(1).randbytes(MIB + 4093)  # of no size that anything else has
PIPES = 32  # of a daemon with 1 to 32 workers that may open many descriptors
ENDS = 2


def pour(sock, total):
    """Sends that much of what BLOCK says again and again; returns its sum."""
    digest = hashlib.sha256()
    left = total
    while left:
        part = BLOCK if left >= len(BLOCK) else BLOCK[:left]
        sock.sendall(part)
        digest.update(part)
        left -= len(part)
    return digest.hexdigest()


def drink(sock):
    """All until the end: (how much, its sum)."""
    digest, size = hashlib.sha256(), 0
    while data := sock.recv(MIB):
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()


def expected(total):
    digest, left = hashlib.sha256(), total
    while left:
        part = BLOCK if left >= len(BLOCK) else BLOCK[:left]
        digest.update(part)
        left -= len(part)
    return total, digest.hexdigest()


def pours(total):
    """An upstream that sends so much, ends, and notes in `said` what came of the client."""

    def handler(sock, server):
        pour(sock, total)
        sock.shutdown(socket.SHUT_WR)
        server.said = drink(sock)
        server.add("done")

    return handler


def cuts(sock, server):
    """An upstream that sends until nobody reads any more, then resets."""
    sock.settimeout(1)
    try:
        pour(sock, 1 << 40)
    except TimeoutError:
        reset(sock)
    server.add("cut")


def both(usherd, serve, folder, handler, client="tcp", upstream="tcp", **top):
    """A daemon that listens on the one kind and has the other upstream: (daemon, upstream, client's socket)."""
    if upstream == "unix":
        up = serve(handler, family=socket.AF_UNIX, address=f"{folder}/up")
        os.chmod(f"{folder}/up", 0o666)
    else:
        up = serve(handler)
    where = [f"unix:{folder}/in"] if client == "unix" else []
    daemon = usherd({"web": listener(proxy(up.address), *where)}, **top)
    return daemon, up, daemon.connect("web")


@pytest.mark.parametrize("upstream", ["tcp", "unix"])
@pytest.mark.parametrize("client", ["tcp", "unix"])
def test_both_ways_at_once(usherd, serve, folder, client, upstream):
    """The upstream ends in the middle of what the client sends, or the other way round: the rest arrives all the same."""
    daemon, up, sock = both(usherd, serve, folder, pours(TOTAL), client, upstream)
    before = daemon.pipes()
    sent = []

    def send():
        sent.append(pour(sock, TOTAL // 2))
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    assert drink(sock) == expected(TOTAL)
    sender.join()
    up.wait(lambda server: server.values["done"])
    assert up.said == (TOTAL // 2, sent[0]) == expected(TOTAL // 2)
    record = daemon.wait_closed()
    assert record.bytes_in == f"{TOTAL // 2 // MIB}.0 MiB" and record.bytes_out == f"{TOTAL // MIB}.0 MiB"
    # UNIX sockets have smaller buffers: whether there is ever enough for a pipe is a matter of chance
    if client == upstream == "tcp":
        assert daemon.pipes() > before
    assert daemon.pipes() <= before + PIPES * ENDS
    daemon.stop()


def test_an_end_waits_for_what_is_in_the_pipe(usherd, serve, folder):
    """The upstream has ended and gone long before the client reads."""
    total = 3 * MIB
    gone = threading.Event()

    def sends_and_goes(sock, _server):
        pour(sock, total)
        sock.close()
        gone.set()

    daemon, _, sock = both(usherd, serve, folder, sends_and_goes)
    assert gone.wait(30)
    assert drink(sock) == expected(total)
    sock.close()
    assert daemon.wait_closed().bytes_out == "3.0 MiB"


def test_what_an_upstream_sent_before_its_reset_arrives(usherd, serve, folder):
    """As much as usherd has taken of it; then the client sees the reset, and no end."""
    daemon, up, sock = both(usherd, serve, folder, cuts)
    got = sock.recv(1)
    up.wait(lambda server: server.values["cut"])
    with pytest.raises(ConnectionResetError):
        while data := sock.recv(MIB):
            got += data
    whole = BLOCK * (len(got) // len(BLOCK) + 1)
    assert len(got) > MIB and got == whole[:len(got)]
    daemon.wait_closed("upstream_reset")


@pytest.mark.parametrize("who", ["client", "upstream"])
def test_who_leaves_in_the_middle_leaves_nothing_behind(usherd, serve, folder, who):
    """What was in its pipe is nobody else's: those who come after it get their own bytes only."""
    def handler(sock, server):
        first = server.values["conns"] == 0
        server.add("conns")
        if first and who == "upstream":
            cuts(sock, server)
            return
        pours(TOTAL // 4)(sock, server)

    daemon, up, sock = both(usherd, serve, folder, handler, workers=1)
    before = daemon.pipes()
    # when so much comes at once that a pipe is taken is the kernel's choice; then nobody reads any more
    wait_until(lambda: sock.recv(MIB) and daemon.pipes() > before, "bulk to go through a pipe")
    if who == "client":
        reset(sock)
    else:
        up.wait(lambda server: server.values["cut"])
        with pytest.raises(ConnectionResetError):
            while sock.recv(MIB):
                pass
    daemon.wait_closed(f"{who}_reset")
    for _ in range(4):
        with daemon.connect("web") as other:
            other.shutdown(socket.SHUT_WR)
            assert drink(other) == expected(TOTAL // 4)
    assert up.values["conns"] == 5


def test_more_stopped_readers_than_pipes(usherd, serve, folder):
    """They have all the pipes. Others are copied then, and everybody gets all of it in the end."""
    count = PIPES + 16
    total = (4 if SANITIZER else 8) * MIB
    daemon, _, first = both(usherd, serve, folder, pours(total), workers=2)
    before = daemon.pipes()
    socks = [first] + [daemon.connect("web") for _ in range(count - 1)]
    for sock in socks:
        assert sock.recv(1, socket.MSG_PEEK)
    with daemon.connect("web") as sock:
        assert drink(sock) == expected(total)
    assert daemon.pipes() <= before + PIPES * ENDS
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
        assert drink(sock) == expected(total)
        sock.close()
    daemon.wait_closed(count=count + 1)


def test_few_descriptors_are_not_for_pipes(usherd, serve, folder):
    daemon, _, sock = both(usherd, serve, folder, pours(TOTAL // 4), start_options={"wrapper": ["prlimit", "--nofile=200:200"]})
    before = daemon.pipes()
    assert drink(sock) == expected(TOTAL // 4)
    assert daemon.pipes() == before


@pytest.mark.parametrize("how", ["reload", "drain"])
def test_while_the_daemon_does_something_else(usherd, serve, folder, how):
    daemon, _, sock = both(usherd, serve, folder, pours(TOTAL), drain_timeout="50s")
    got = len(read_all(sock, MIB))
    if how == "reload":
        daemon.reload()
    else:
        daemon.signal(15)
        daemon.wait_log("drain|stop")
    sock.shutdown(socket.SHUT_WR)
    while data := sock.recv(MIB):
        got += len(data)
    assert got == TOTAL
    sock.close()
    daemon.wait_closed("upstream_closed" if daemon.close_records(reason="upstream_closed") else None)
    if how == "drain":
        assert daemon.wait_exit() == 0


def test_small_requests_after_bulk(usherd, serve, folder):
    """The same connection, which asks for something small when bulk is over."""
    def handler(sock, _server):
        while size := sock.recv(16):
            pour(sock, int(size))

    daemon, _, sock = both(usherd, serve, folder, handler)
    for size in (5, TOTAL // 2, 1, 70000, 300000, 1, 2 * MIB, 3):
        sock.sendall(b"%d" % size)
        digest, left = hashlib.sha256(), size
        while left:
            data = sock.recv(min(left, MIB))
            assert data
            digest.update(data)
            left -= len(data)
        assert (size, digest.hexdigest()) == expected(size)
    sock.close()
    daemon.wait_closed("client_closed")


def test_bulk_that_comes_back(usherd):
    """echo: the same stream is both ends."""
    daemon = usherd({"echo": listener("echo")})
    sock = daemon.connect("echo")
    sender = threading.Thread(target=lambda: (pour(sock, TOTAL // 2), sock.shutdown(socket.SHUT_WR)))
    sender.start()
    assert drink(sock) == expected(TOTAL // 2)
    sender.join()
    daemon.wait_closed("client_closed")


def test_urgent_data_in_the_middle(usherd, serve, folder):
    """splice stops before an urgent byte. It is not passed on, as it is not when bytes are copied; all others are. There is one: a
    second that comes before the first was read makes an ordinary byte of that, in the kernel."""
    daemon, up, sock = both(usherd, serve, folder, lambda sock, server: setattr(server, "said", drink(sock)) or server.add("done"))
    pour(sock, TOTAL // 2)
    sock.send(b"!", socket.MSG_OOB)
    pour(sock, TOTAL // 2)
    sock.shutdown(socket.SHUT_WR)
    up.wait(lambda server: server.values["done"])
    assert up.said[0] == TOTAL // 2 * 2
    sock.close()
    daemon.wait_closed()
