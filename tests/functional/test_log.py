# SPDX-License-Identifier: MIT
"""The log: lines on stderr, the journal, what peers can put into it, a reader that stops."""
import os
import re
import signal
import socket
import struct
import threading

import pytest

import servers
from harness import LINE, ask, config, connect, ended, listener, proxy, visit, wait_until


def test_lines_have_time_and_level(usherd):
    daemon = usherd({"web": listener("echo")})
    with daemon.connect("web") as sock:
        assert ask(sock) == b"hello"
    daemon.wait_closed()
    daemon.stop()
    for line in daemon.raw:
        assert LINE.match(line), line
        assert "\x1b" not in line


def test_close_record(usherd, serve):
    upstream = serve(servers.echo)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    me = "%s:%d" % sock.getsockname()
    assert ask(sock, b"x" * 2048) == b"x" * 2048
    sock.close()
    record = daemon.wait_closed()
    assert (record.listener, record.peer, record.upstream) == ("web", me, upstream.address)
    assert (record.bytes_in, record.bytes_out) == ("2.0 KiB", "2.0 KiB")
    assert re.match(r"^\d+(\.\d+)?(ms|s)", record.duration)


def test_log_level_leaves_records_out(usherd):
    daemon = usherd({"web": listener("daytime")}, log_level="notice")
    before = daemon.fds()
    for _ in range(5):
        with daemon.connect("web") as sock:
            assert sock.recv(100)
    daemon.wait_fds(before)
    assert daemon.reload(config({"web": listener("daytime")}, log_level="info")).ok
    assert connect(daemon.address("web")).recv(100)
    daemon.wait_closed()
    assert len(daemon.close_records()) == 1


def test_what_peers_choose_is_escaped(usherd, folder):
    daemon = usherd({"local": listener("echo", f"unix:{folder}/l")})
    name = b"\0evil\x1b[31m\r\n2026-01-01 fake line\x07\xff"
    with connect(f"unix:{folder}/l", source=name) as sock:
        assert ask(sock) == b"hello"
    daemon.wait_closed()
    daemon.stop()
    assert all(LINE.match(line) for line in daemon.raw), daemon.text()
    assert not any(ord(char) < 32 or ord(char) == 127 for line in daemon.raw for char in line)


def test_repeated_warnings_are_held_back(usherd, refused):
    daemon = usherd({"web": listener(proxy(refused))})
    for _ in range(200):
        ended(visit(daemon.address("web")))
    daemon.wait_closed("upstream_refused", 200)
    warnings = [message for level, message in daemon.lines if level == "warning" and refused in message]
    assert 1 <= len(warnings) <= 20, len(warnings)


def test_a_reader_that_stops_holds_nobody(usherd):
    """stderr is a full pipe: service goes on, the loss is counted and said."""
    daemon = usherd({"web": listener("echo")})
    daemon.reading.clear()
    sock = daemon.connect("web")
    number = 12000
    for _ in range(number):
        with connect(daemon.address("web")) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(sock) == b"hello"
    # each worker has come to the end of what waited for it: new ones are spread over them, and stand behind all others
    last = [daemon.connect("web") for _ in range(8)]
    for other in last * 2:
        assert ask(other) == b"hello"
    daemon.reading.set()
    daemon.wait_log(r"(?i)\b\d+ .*lost")
    assert ask(daemon.connect("web")) == b"hello"


def test_end_does_not_wait_for_a_reader_that_stops(usherd):
    daemon = usherd({"web": listener("echo")})
    daemon.reading.clear()
    for _ in range(3000):
        with connect(daemon.address("web")) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(30) == 0


def test_stderr_that_is_closed(usherd):
    """Nobody reads any more (EPIPE): service goes on."""
    read_end, write_end = os.pipe()
    name = f"usher-pipe-{os.getpid()}"
    daemon = usherd({"web": listener("echo", f"unix:@{name}")}, start_options={"stderr": write_end})
    os.close(write_end)

    def listens():
        try:
            connect(f"unix:@{name}").close()
        except OSError:
            return False
        return True

    wait_until(listens)
    os.close(read_end)
    for _ in range(100):
        with connect(f"unix:@{name}") as sock:
            assert ask(sock) == b"hello"
    assert daemon.process.poll() is None


def test_colours_on_a_terminal_only(usherd):
    primary, secondary = os.openpty()
    name = f"usher-tty-{os.getpid()}"
    usherd({"web": listener("echo", f"unix:@{name}")}, start_options={"stderr": secondary, "env": {"TERM": "xterm"}})
    os.close(secondary)
    text = b""
    while b"ready" not in text:
        text += os.read(primary, 4096)
    assert b"\x1b[" in text
    # it is drained until the end, or the daemon's last lines would have no room
    threading.Thread(target=drain, args=(primary,), daemon=True).start()


def drain(fd):
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass
    os.close(fd)


# ---- the journal


@pytest.mark.root
@pytest.mark.programs("unshare", "mount")
def test_journal(usherd, journal):
    """Native records when stderr is the journal's stream: a private /run holds a journal of the test's."""
    name = f"usher-journal-{os.getpid()}"
    usherd({"web": listener("echo", f"unix:@{name}", "127.0.0.1:0")}, start_options=journal.start_options)
    address = journal.wait(MESSAGE=r"^listening on 127").get("MESSAGE").split()[2]
    ready = journal.wait(MESSAGE=r"^ready: ")
    assert re.fullmatch(r"[0-9a-f]{32}", ready["MESSAGE_ID"])
    assert ready["SYSLOG_IDENTIFIER"] == "usherd"
    with connect(address) as sock:
        assert ask(sock) == b"hello"
        peer = "%s:%d" % sock.getsockname()
    closed = journal.wait(USHER_REASON="client_closed")
    assert closed["USHER_LISTENER"] == "web" and closed["USHER_PEER"] == peer
    assert closed["USHER_BYTES_IN"] == closed["USHER_BYTES_OUT"] == "5"
    assert closed["PRIORITY"] == "6"
    assert closed["MESSAGE_ID"] == "06a060f10d264167b0354111a570285b"
    assert int(closed["USHER_DURATION_MS"]) >= 0
    journal.sock.close()  # the journal goes away: service goes on
    for _ in range(20):
        with connect(address) as sock:
            assert ask(sock) == b"hello"
