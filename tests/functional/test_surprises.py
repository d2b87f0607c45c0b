# SPDX-License-Identifier: MIT
"""What seldom happens, and must not matter then: others that share a socket, name servers that fall silent, closed
standard streams, an upstream that answers without listening to the end."""
import fcntl
import os
import socket
import struct
import subprocess
import termios

import pytest

import servers
from harness import USHERD, ask, config, connect, ended, listener, proxy, read_all, wait_until
from test_lifecycle import activated, listening


def test_a_passed_socket_that_its_other_owner_shuts_down(usherd):
    """accept4 fails for ever then, and the socket is always ready: no spin, and the log says so."""
    web = listening()
    daemon = activated(usherd, {"web": listener("echo", "systemd:web"), "other": listener("echo")}, [("web", web)])
    assert ask(connect(web.getsockname())) == b"hello"
    web.shutdown(socket.SHUT_RD)
    daemon.wait_log(r"no longer accepting from it")
    before = daemon.cpu_ticks()
    for _ in range(50):
        assert ask(daemon.connect("other")) == b"hello"
    assert daemon.cpu_ticks() - before < 50
    assert daemon.text().count("no longer accepting") == 1


def test_old_addresses_serve_while_the_name_server_is_silent(usherd, serve, dns):
    upstream = serve(servers.says(b"here"))
    dns.names["up.test"] = [("127.0.0.1", 1)]
    daemon = usherd(
        {"web": listener(proxy(f"up.test:{upstream.port}"), timeouts={"connect": "10s"})}, workers=1,
        resolver={"servers": [dns.address], "timeout": "500ms", "tries": 2, "ttl_min": "1s"},
    )
    assert read_all(daemon.connect("web")) == b"here"
    dns.silent.add("up.test")
    daemon_asked = dns.count("up.test", "A")
    # until a renewal was tried and has failed, each connection is served all the same
    wait_until(lambda: read_all(daemon.connect("web")) == b"here" and "resolve up.test" in daemon.text())
    assert dns.count("up.test", "A") > daemon_asked
    assert "its old addresses go on being used" in daemon.text()
    assert read_all(daemon.connect("web")) == b"here"
    assert {r.reason for r in daemon.close_records()} <= {"upstream_closed", "client_closed"}


def test_a_name_that_is_gone_is_gone(usherd, serve, dns):
    upstream = serve(servers.says(b"here"))
    dns.names["up.test"] = [("127.0.0.1", 1)]
    daemon = usherd(
        {"web": listener(proxy(f"up.test:{upstream.port}"))}, workers=1,
        resolver={"servers": [dns.address], "timeout": "500ms", "tries": 2, "ttl_min": "1s"},
    )
    assert read_all(daemon.connect("web")) == b"here"
    del dns.names["up.test"]
    wait_until(lambda: ended(daemon.connect("web")) == "reset" and daemon.wait_closed("upstream_unresolved"))


def test_standard_streams_may_be_closed(folder):
    """A socket must never become descriptor 2: the log would be written to a client."""
    path, where = f"{folder}/closed.conf", f"{folder}/s"
    with open(path, "w", encoding="ascii") as file:
        file.write(config({"web": listener("echo", f"unix:{where}")}))
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$0" --config "$1" <&- >&- 2>&-', USHERD, path], stdin=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: os.path.exists(where) and not _refused(where), "the socket to listen")
        for fd in range(3):
            assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == "/dev/null"
        assert ask(connect(f"unix:{where}")) == b"hello"
    finally:
        process.terminate()
        assert process.wait(30) == 0


def _refused(path):
    try:
        connect(f"unix:{path}").close()
        return False
    except ConnectionRefusedError:
        return True


@pytest.mark.parametrize("amount", [1, 4 << 20])
def test_an_answer_given_before_the_end_of_the_question_arrives(usherd, serve, amount):
    """An upstream that answers and closes while the client still sends: the client gets the whole answer."""
    answer = b"413 too much, " + b"a" * 200000

    def hasty(sock, _server):
        sock.recv(1)
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        # the kernel throws away what is not confirmed when a close becomes a reset, as this one does: what the client
        # sent is unread
        wait_until(lambda: struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0] == 0)

    upstream = serve(hasty)
    daemon = usherd({"web": listener(proxy(upstream.address), timeouts={"linger": "500ms"})})
    sock = daemon.connect("web")
    sock.settimeout(10)
    sock.setblocking(False)
    sent = 0
    got = b""
    while len(got) < len(answer):
        try:
            if sent < amount:
                sent += sock.send(b"q" * min(65536, amount - sent))
        except (BlockingIOError, ConnectionResetError, BrokenPipeError):
            pass
        try:
            more = sock.recv(65536)
            assert more, f"the answer ended after {len(got)} bytes"
            got += more
        except BlockingIOError:
            pass
    assert got == answer
    sock.close()
    assert daemon.wait_closed().reason in ("upstream_closed", "upstream_unread", "upstream_reset", "client_reset", "client_closed")
