# SPDX-License-Identifier: MIT
"""What seldom happens, and must not matter then: others that share a socket, name servers that fall silent, closed
standard streams, an upstream that answers without listening to the end."""
import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import termios

import pytest

import servers
from harness import (
    SANITIZER, USHERD, ask, config, connect, ended, listener, proxy, read_all, reset, split_address, wait_until,
)
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


def test_what_a_reset_upstream_had_sent_is_still_the_clients(usherd, serve):
    """All of it was confirmed before the reset: without a proxy the client would get it, and then the reset."""
    amount = 400000

    def cuts(sock, _server):
        sock.sendall(bytes(amount))
        wait_until(lambda: struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0] == 0)
        reset(sock)

    upstream = serve(cuts)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    sock.connect(split_address(daemon.address("web")))
    got = 0
    with pytest.raises(ConnectionResetError):
        while True:
            more = sock.recv(4096)
            assert more, f"a clean end after {got} bytes of a cut transfer"
            got += len(more)
    assert got == amount
    daemon.wait_closed("upstream_reset")


def backlog(daemon, name, number):
    """Clients that wait, because the daemon stands still."""
    os.kill(daemon.pid, signal.SIGSTOP)
    return [connect(daemon.address(name)) for _ in range(number)]


@pytest.mark.parametrize("number", [200, 3000])
@pytest.mark.parametrize("how", ["reload", "move", "stop"])
def test_who_waits_in_a_backlog_comes_in(usherd, number, how):
    """More than the workers' queues hold, at a socket that is about to be closed."""
    daemon = usherd({"stays": listener("echo"), "goes": listener("daytime")}, workers=1, log_level="notice")
    port = daemon.port("goes")
    fixed = {"stays": listener("echo"), "goes": listener("daytime", f"127.0.0.1:{port}")}
    assert daemon.reload(config(fixed, workers=1, log_level="notice")).ok
    clients = backlog(daemon, "goes", number)
    after = {
        "reload": {"stays": listener("echo")},
        "move": {"stays": listener("echo"), "goes": listener("daytime", f"*:{port}")},
    }.get(how)
    if after:
        daemon.path.write_text(config(after, workers=1, log_level="notice"), encoding="ascii")
    os.kill(daemon.pid, signal.SIGHUP if after else signal.SIGTERM)
    os.kill(daemon.pid, signal.SIGCONT)
    for sock in clients:
        assert read_all(sock).endswith(b"\r\n")
        sock.close()
    if after:
        daemon.wait_log("^reloaded: ")
        assert ask(daemon.connect("stays")) == b"hello"


@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_an_error_that_stays_does_not_spin(usherd, folder):
    """A security module that refuses every accept4 leaves the connections in the backlog, always ready."""
    daemon = usherd({"web": listener("echo"), "other": listener("echo")})
    trace = f"{folder}/trace"
    strace = subprocess.Popen(
        ["strace", "-qq", "-p", str(daemon.pid), "-e", "trace=accept4", "-e", "inject=accept4:error=EACCES:when=1+", "-o", trace],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
            wait_until(lambda: status.seek(0) == 0 and f"TracerPid:\t{strace.pid}" in status.read(), "strace to be attached")
        sock = daemon.connect("web")
        daemon.wait_log("Permission denied")
        with open(trace, encoding="ascii") as file:
            wait_until(lambda: file.seek(0) == 0 and file.read().count("accept4") >= 5, "some tries")
            file.seek(0)
            assert file.read().count("accept4") < 200
    finally:
        strace.terminate()
        strace.wait()
    assert ask(sock) == b"hello"


@pytest.mark.programs("prlimit")
def test_a_lost_socket_stays_lost(usherd):
    """It is not tried again each time that accepting resumes."""
    web = listening()
    daemon = activated(
        usherd, {"web": listener("echo", "systemd:web"), "other": listener("echo")}, [("web", web)],
        inner=["prlimit", "--nofile=120:120"], top={"door": {"overload": {"percent": 0}}},
    )
    web.shutdown(socket.SHUT_RD)
    daemon.wait_log(r"no longer accepting from it")
    socks = [connect(daemon.address("other")) for _ in range(100)]
    daemon.wait_log("accepting paused")
    for _ in range(20):
        socks.pop(0).close()
        socks.append(connect(daemon.address("other")))
    assert ask(socks[0]) == b"hello"
    assert daemon.text().count("no longer accepting") == 1


def test_the_folder_of_a_socket_may_be_locked(usherd, folder):
    """Anybody who can read it may do that: it must not hold up the others."""
    daemon = usherd({"web": listener("echo")})
    many = {"web": listener("echo")}
    os.chmod(folder, 0o777)
    for i in range(20):
        path = f"{folder}/s{i}"
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        os.chmod(path, 0o777)
        many[f"u{i}"] = {**listener("echo", f"unix:{path}"), "unix": {"mode": "0777"}}
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert daemon.reload(config(many)).ok
    for i in range(20):
        assert ask(connect(f"unix:{folder}/s{i}")) == b"hello"
    os.close(lock)


@pytest.mark.root
def test_a_link_at_a_sockets_path_is_not_followed(usherd, folder):
    os.chmod(folder, 0o777)
    victim = f"{folder}/victim"
    with open(victim, "w", encoding="ascii"):
        os.chmod(victim, 0o600)
    path = f"{folder}/s"
    daemon = usherd({"u": listener("echo", f"unix:{path}")}, user="root")
    os.unlink(path)
    os.symlink(victim, path)
    outcome = daemon.reload(config({"u": {**listener("echo", f"unix:{path}"), "unix": {"mode": "0666"}}}, user="root"))
    assert not outcome.ok, "the path is taken by something that is no socket"
    assert os.stat(victim).st_mode & 0o777 == 0o600


def test_a_socket_whose_file_is_gone_is_opened_anew(usherd, folder):
    os.chmod(folder, 0o777)
    path = f"{folder}/s"
    daemon = usherd({"u": listener("echo", f"unix:{path}")})
    os.unlink(path)
    assert daemon.reload().ok
    assert ask(connect(f"unix:{path}")) == b"hello"


@pytest.mark.root
def test_a_user_that_is_only_a_number(usherd):
    daemon = usherd({"web": listener("echo")}, user="54321", group="54322")
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        status = file.read()
    assert "Uid:\t54321\t54321\t54321\t54321" in status and "Gid:\t54322\t54322\t54322\t54322" in status
    assert "Groups:\t \n" in status and "CapEff:\t0000000000000000" in status
    assert ask(daemon.connect("web")) == b"hello"


@pytest.mark.heavy
def test_the_watchdog_is_fed_under_load(usherd, notify):
    """A worker that has work each time that main looks is not stuck."""
    daemon = usherd({"web": listener("daytime")}, workers=1, log_level="notice",
                    start_options={"env": {"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "400000"}})
    notify.wait("WATCHDOG", count=2)
    before = notify.count("WATCHDOG")
    script = """
import socket, sys
for _ in range(6000):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
        sock.recv(64)
"""
    crowd = [subprocess.Popen(["/usr/bin/python3", "-c", script, str(daemon.port("web"))]) for _ in range(3)]
    for process in crowd:
        assert process.wait(120) == 0
    assert notify.count("WATCHDOG") > before
    assert "no progress" not in daemon.text()


def test_a_stop_leaves_the_backlog_of_a_passed_socket_to_the_next_start(usherd):
    """But for those that it takes in the turns that pass until the signal is seen."""
    web = listening()
    web.listen(2000)
    first = activated(usherd, {"web": listener("echo", "systemd:web")}, [("web", web)], top={"drain_timeout": "100ms"})
    os.kill(first.pid, signal.SIGSTOP)
    clients = [connect(web.getsockname()) for _ in range(1000)]
    os.kill(first.pid, signal.SIGTERM)
    os.kill(first.pid, signal.SIGCONT)
    assert first.process.wait(30) == 0
    activated(usherd, {"web": listener("echo", "systemd:web")}, [("web", web)])
    served = 0
    for sock in clients:
        with contextlib.suppress(ConnectionError):
            served += ask(sock) == b"hello"
    taken = len(first.close_records())
    assert served == 1000 - taken and taken < 500


def test_a_client_that_ends_and_then_resets_is_noticed_while_it_is_cut(usherd, serve):
    """It keeps no connection until timeouts.linger."""

    def cuts(sock, _server):
        sock.sendall(bytes(4 << 20))
        reset(sock)

    upstream = serve(cuts)
    daemon = usherd({"web": listener(proxy(upstream.address), timeouts={"linger": "1h"}, send_buffer="64KiB")})
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(split_address(daemon.address("web")))
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)
    reset(sock)
    daemon.wait_closed()
