# SPDX-License-Identifier: MIT
"""echo, discard, daytime, chargen (RFC 862 to 867)."""
import os
import re
import socket

from harness import ask, connect, ended, listener, read_all, wait_until


def test_echo(usherd):
    daemon = usherd({"echo": listener("echo")})
    sock = daemon.connect("echo")
    for data in (b"x", b"line\r\n", bytes(range(256)), b"y" * 100000):
        assert ask(sock, data) == data
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""
    record = daemon.wait_closed("client_closed")
    assert record.listener == "echo" and record.peer.startswith("127.0.0.1:")
    daemon.stop()


def test_echo_sends_all_back_after_the_clients_end(usherd):
    daemon = usherd({"echo": listener("echo")})
    sock = daemon.connect("echo")
    data = os.urandom(50000)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == data


def test_echo_holds_what_a_slow_client_does_not_take(usherd):
    """A client that only sends is not read for ever."""
    daemon = usherd({"echo": listener("echo")})
    sock = daemon.connect("echo")
    sock.settimeout(0.5)
    sent = 0
    try:
        while sent < 200 << 20:
            sent += sock.send(bytes(65536))
    except TimeoutError:
        pass
    assert sent < 100 << 20
    sock.settimeout(30)
    assert len(read_all(sock, sent)) == sent


def test_discard(usherd):
    daemon = usherd({"discard": listener("discard")})
    sock = daemon.connect("discard")
    sock.sendall(b"x" * 1000000)
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""
    assert daemon.wait_closed().bytes_in == "976.5 KiB"


def test_daytime(usherd):
    daemon = usherd({"day": listener("daytime")})
    sock = daemon.connect("day")
    line = read_all(sock)
    assert line.endswith(b"\r\n") and line.count(b"\n") == 1
    assert re.search(rb"\b20\d\d\b", line) and re.search(rb"\d\d:\d\d:\d\d", line)
    sock.close()
    assert daemon.wait_closed().reason == "service_done"


def test_daytime_ignores_what_the_client_sends(usherd):
    daemon = usherd({"day": listener("daytime")})
    sock = daemon.connect("day")
    sock.sendall(b"anything\r\n")
    assert read_all(sock).endswith(b"\r\n")


def test_chargen(usherd):
    """RFC 864: lines of 72 characters, each starting one further in the printable ones."""
    daemon = usherd({"gen": listener("chargen")})
    sock = daemon.connect("gen")
    lines = read_all(sock, 74 * 200).split(b"\r\n")
    assert all(len(line) == 72 for line in lines[:200])
    ring = lines[0]
    assert len(set(lines[:200])) in (94, 95)
    for first, second in zip(lines[:199], lines[1:200]):
        assert second[:-1] == first[1:]
    assert ring
    sock.close()
    daemon.wait_closed(listener="gen")
    daemon.stop()


def test_chargen_stops_for_a_reader_that_stops(usherd):
    daemon = usherd({"gen": listener("chargen")})
    before = daemon.own_kib()
    socks = [daemon.connect("gen") for _ in range(20)]
    assert all(sock.recv(1) for sock in socks)
    ticks = [daemon.cpu_ticks()]

    def calm():
        ticks.append(daemon.cpu_ticks())
        return len(ticks) > 10 and ticks[-1] == ticks[-8]

    wait_until(calm, "the daemon to stop generating")
    assert daemon.own_kib() - before < 20 * 300 + 4096


def test_services_on_unix_sockets(usherd, folder):
    daemon = usherd({"echo": listener("echo", f"unix:{folder}/e"), "day": listener("daytime", f"unix:{folder}/d")})
    assert ask(connect(f"unix:{folder}/e")) == b"hello"
    with connect(f"unix:{folder}/d") as sock:
        assert read_all(sock).endswith(b"\r\n")
    record = daemon.wait_closed(listener="day")
    assert record.peer.startswith("unix")


def test_idle_timeout(usherd):
    daemon = usherd({"echo": listener("echo", timeouts={"idle": "200ms"}), "stay": listener("echo")})
    stays = daemon.connect("stay")
    sock = daemon.connect("echo")
    assert ask(sock) == b"hello"
    ended(sock)
    assert daemon.wait_closed("idle").listener == "echo"
    assert ask(stays) == b"hello"


def test_use_keeps_a_connection_from_idling(usherd):
    daemon = usherd({"echo": listener("echo", timeouts={"idle": "1s"})})
    sock = daemon.connect("echo")
    other = daemon.connect("echo")
    while not daemon.close_records(reason="idle"):  # the other one
        assert ask(sock, b"x") == b"x"
    assert ask(sock) == b"hello"
    other.close()


def test_many_connections_at_once(usherd):
    daemon = usherd({"echo": listener("echo")})
    before = daemon.fds()
    socks = [daemon.connect("echo") for _ in range(500)]
    for number, sock in enumerate(socks):
        sock.sendall(b"%d" % number)
    for number, sock in enumerate(socks):
        assert read_all(sock, len(b"%d" % number)) == b"%d" % number
    for sock in socks:
        sock.close()
    daemon.wait_closed("client_closed", 500)
    daemon.wait_fds(before)
    daemon.stop()
