# SPDX-License-Identifier: MIT
"""How few segments a connection takes over TCP: each costs both sides and the network more than the bytes in it. Bytes and ends wait
in the kernel while the daemon is stopped, so that it finds them together."""
import fcntl
import socket
import struct
import termios

from harness import connect, listener, proxy, wait_until

SEGS_IN = 140  # tcpi_segs_in in struct tcp_info


def segments_in(sock):
    return struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGS_IN + 4), SEGS_IN)[0]


def greet(sock, server):
    """So that the client knows that both sides are connected. Returns once there is a "go"."""
    sock.sendall(b"hello")
    wait_until(lambda: fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)) == bytes(4), "the greeting's confirmation")
    server.add("greeted")
    server.wait(lambda s: s.values["go"])


def test_the_last_bytes_and_the_end_are_one(usherd, serve):
    """Of the upstream, to the client."""
    def answers(sock, server):
        greet(sock, server)
        sock.sendall(b"answer")

    upstream = serve(answers)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    client = daemon.connect("web")
    assert client.recv(100) == b"hello"
    before = segments_in(client)
    with daemon.stopped():
        upstream.add("go")
        upstream.wait(lambda s: not s.conns)
    assert client.recv(100) == b"answer" and client.recv(100) == b""
    assert segments_in(client) - before == 1
    client.close()
    daemon.wait_closed("upstream_closed")


def test_the_last_bytes_and_the_end_are_one_to_the_upstream(usherd, serve):
    seen = []

    def counts(sock, server):
        greet(sock, server)
        before = segments_in(sock)
        server.add("ready")
        assert sock.recv(100) == b"question" and sock.recv(100) == b""
        seen.append(segments_in(sock) - before)
        sock.sendall(b"answer")

    upstream = serve(counts)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    client = daemon.connect("web")
    assert client.recv(100) == b"hello"
    upstream.wait(lambda s: s.values["greeted"])
    with daemon.stopped():
        upstream.add("go")
        upstream.wait(lambda s: s.values["ready"])
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b"answer" and client.recv(100) == b""
    assert seen == [1]
    daemon.wait_closed("client_closed")


def test_the_first_bytes_end_the_handshake(usherd, serve):
    """With an upstream: what the client said before it was dialed. Where the upstream speaks first nobody waits for bytes."""
    seen = []

    def counts(sock, _server):
        assert sock.recv(100) == b"question"
        seen.append(segments_in(sock))
        sock.sendall(b"answer")

    def greets(sock, server):
        seen.append(segments_in(sock))
        sock.sendall(b"hello")
        counts(sock, server)

    upstream, first = serve(counts), serve(greets)
    daemon = usherd({"web": listener(proxy(upstream.address)), "greets": listener(proxy(first.address))})
    with daemon.stopped():
        client = connect(daemon.address("web"))
        client.sendall(b"question")
    assert client.recv(100) == b"answer"
    assert seen == [2]  # with the first one of the handshake
    client = daemon.connect("greets")
    assert client.recv(100) == b"hello"
    assert seen == [2, 2]
    client.sendall(b"question")
    assert client.recv(100) == b"answer"


def test_bytes_before_a_reset_are_passed_on(usherd, serve):
    """What the upstream had sent is not kept back for an end that does not come."""
    def resets(sock, server):
        greet(sock, server)
        sock.sendall(b"answer")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    upstream = serve(resets)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    client = daemon.connect("web")
    assert client.recv(100) == b"hello"
    upstream.wait(lambda s: s.values["greeted"])
    with daemon.stopped():
        upstream.add("go")
        upstream.wait(lambda s: not s.conns)
    assert client.recv(100) == b"answer"
    client.close()
    daemon.wait_closed("upstream_reset")
