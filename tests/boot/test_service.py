# SPDX-License-Identifier: MIT
"""systemctl and usherd.service: start, stop, restart, reload, a crash, a stuck worker, what systemctl status says."""
import ctypes
import os
import socket

import pytest

import harness
from harness import listener, wait_until
from usher import CONFIG, SERVICE

ECHO = "127.0.0.1:7001"
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def daytime(machine):
    """The time, as the configuration of a fresh install has it told."""
    with harness.connect(f"unix:{machine.path('/run/usher/daytime.sock')}") as sock:
        return harness.read_all(sock)


def test_a_fresh_install_serves(usher):
    """It runs, enabled, and nobody on a network can reach it."""
    assert usher.active == "active"
    assert usher.machine.out("systemctl", "is-enabled", SERVICE) == "enabled"
    assert daytime(usher.machine).startswith(b"20")
    with usher.machine.inside():
        rows = [line.split() for file in ("tcp", "tcp6") for line in open(f"/proc/thread-self/net/{file}", encoding="ascii")]
    assert [row[1] for row in rows if row[3] == "0A"] == []


def test_stop_and_start(usher):
    m = usher.machine
    usher.restart({"echo": listener("echo", ECHO)})
    before = usher.pid
    m.systemctl("stop", SERVICE)
    assert usher.active == "inactive"
    assert m.property(SERVICE, "Result") == "success"
    with pytest.raises(ConnectionRefusedError):
        m.connect(ECHO)
    m.systemctl("start", SERVICE)
    assert usher.active == "active" and usher.pid != before
    assert usher.ask(ECHO) == b"hello"


def test_restart(usher):
    before = usher.pid
    usher.restart({"echo": listener("echo", ECHO)})
    assert usher.active == "active" and usher.pid != before
    assert usher.ask(ECHO) == b"hello"


def test_a_stop_lets_connections_finish(usher):
    usher.restart({"echo": listener("echo", ECHO)}, drain_timeout="20s")
    m = usher.machine
    with m.connect(ECHO) as sock:
        harness.ask(sock)
        m.systemctl("stop", "--no-block", SERVICE)
        wait_until(lambda: usher.active == "deactivating", "it to stop")
        assert harness.ask(sock, b"still here") == b"still here"
    wait_until(lambda: usher.active == "inactive", "its end")
    assert m.property(SERVICE, "Result") == "success"


def test_reload(usher):
    """A reload that succeeded is in effect: systemctl reload has waited for it."""
    usher.restart({"echo": listener("echo", ECHO)})
    before = usher.pid
    with usher.machine.connect(ECHO) as stays:
        usher.configure({"echo": listener("echo", ECHO), "more": listener("echo", "127.0.0.1:7002")})
        usher.machine.systemctl("reload", SERVICE)
        assert usher.ask("127.0.0.1:7002") == b"hello"
        assert harness.ask(stays) == b"hello"
    assert usher.machine.wait_journal("MESSAGE_ID=da0b7c4488c248c1bdad087dc6ae41ad")[0]["MESSAGE"] == "reloaded: 1 change"
    assert usher.pid == before and usher.active == "active"


def test_a_wrong_file_fails_the_reload(usher):
    """systemctl reload fails, its status says why, and all goes on as before."""
    m = usher.machine
    usher.restart({"echo": listener("echo", ECHO)})
    before = usher.pid
    usher.configure({"echo": listener("echo", ECHO, backlogg=3)})
    failed = m.systemctl("reload", SERVICE, check=False)
    assert failed.returncode != 0
    said = "listeners.echo.backlogg: no such option; did you mean backlog?"
    wait_until(lambda: CONFIG in usher.status_page() and said in usher.status_page(), usher.status_page)
    assert usher.active == "active" and usher.pid == before
    assert usher.ask(ECHO) == b"hello"
    # and mended
    usher.configure({"echo": listener("echo", ECHO, backlog=3)})
    m.systemctl("reload", SERVICE)
    assert usher.pid == before


def test_a_wrong_file_fails_the_start(usher):
    """It is not tried for ever, and systemctl status says what is wrong."""
    m = usher.machine
    usher.configure({"echo": listener("echoo", ECHO)})
    failed = m.systemctl("restart", SERVICE, check=False)
    assert failed.returncode != 0
    assert usher.active == "failed"
    wait_until(lambda: "did not start" in usher.status_text() and "echoo" in usher.status_text(), usher.status_page)
    assert int(m.property(SERVICE, "NRestarts")) == 0


def test_a_killed_daemon_is_started_again(usher):
    usher.restart({"echo": listener("echo", ECHO)})
    before = usher.pid
    usher.machine.kill(before)
    wait_until(lambda: usher.pid not in (0, before) and usher.active == "active", "another daemon")
    assert usher.ask(ECHO) == b"hello"
    assert int(usher.machine.property(SERVICE, "NRestarts")) == 1


def test_the_watchdog_ends_a_daemon_whose_worker_is_stuck(usher):
    """One thread is stopped in its tracks; main, which feeds the watchdog, goes on, and sees it."""
    usher.drop_in("[Service]\nWatchdogSec=2s\n")
    usher.restart({"echo": listener("echo", ECHO)})
    m = usher.machine
    before = usher.pid
    thread = usher.worker_thread(0)
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        assert libc.ptrace(request, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(thread, WALL)
    waiting = [m.connect(ECHO) for _ in range(4)]  # work for both workers
    # a traced thread that was killed stays until its tracer has heard of it
    wait_until(lambda: os.waitpid(thread, WALL | os.WNOHANG) != (0, 0), "the end of the thread")
    wait_until(lambda: usher.pid not in (0, before) and usher.active == "active", "another daemon")
    for sock in waiting:
        sock.close()
    (stuck,) = m.wait_journal("MESSAGE_ID=d455038a1174449eb5c2be4195136980")
    assert "worker 0 has made no progress" in stuck["MESSAGE"]
    assert m.wait_journal("UNIT=usherd.service", pattern="[Ww]atchdog timeout")
    assert m.wait_journal("UNIT=usherd.service", pattern="result 'watchdog'")
    assert usher.ask(ECHO) == b"hello"


def test_a_watchdog_that_is_fed_ends_nobody(usher):
    usher.drop_in("[Service]\nWatchdogSec=1s\n")
    usher.restart({"echo": listener("echo", ECHO)})
    before = usher.pid
    with usher.load(ECHO, clients=2) as load:
        for _ in range(3):
            stamp = usher.machine.property(SERVICE, "WatchdogTimestampMonotonic")
            wait_until(lambda: usher.machine.property(SERVICE, "WatchdogTimestampMonotonic") != stamp, "a sign of life")  # pylint: disable=cell-var-from-loop
            load.wait_for(10)
    assert usher.pid == before


def test_status_text(usher):
    """systemctl status counts listeners and connections, and says when a reload was wrong."""
    usher.restart({"echo": listener("echo", ECHO), "other": listener("echo", "127.0.0.1:7002")})
    assert usher.status_text().startswith("2 listeners, 0 connections")
    with usher.machine.connect(ECHO) as sock:
        harness.ask(sock)
        wait_until(lambda: usher.status_text().startswith("2 listeners, 1 connection"), usher.status_text)
        assert 'Status: "2 listeners, 1 connection' in usher.status_page()
    # SIGHUP by hand goes past the check of systemctl reload
    usher.configure({"echo": listener("echo", ECHO, backlogg=3)})
    usher.machine.kill(usher.pid, "HUP")
    wait_until(lambda: "the last reload failed" in usher.status_text(), usher.status_text)


def test_a_daemon_that_cannot_listen_says_so(usher):
    """Its port is taken: the start fails, and systemctl status says why."""
    m = usher.machine
    with m.inside(), socket.create_server(("127.0.0.1", 7009)):
        usher.configure({"echo": listener("echo", "127.0.0.1:7009")})
        failed = m.systemctl("restart", SERVICE, check=False)
        assert failed.returncode != 0
        said = "listeners.echo.listen: listen 127.0.0.1:7009: Address already in use"
        wait_until(lambda: f'Status: "did not start: {CONFIG}:' in usher.status_page() and said in usher.status_page(), usher.status_page)
    # and goes on trying for a while: what was in the way may go
    wait_until(lambda: usher.active == "active", usher.status_page)


def test_sigterm_by_hand_is_a_stop(usher):
    """No restart: it has ended well."""
    m = usher.machine
    m.kill(usher.pid, "TERM")
    wait_until(lambda: usher.active == "inactive", "its end")
    assert int(m.property(SERVICE, "NRestarts")) == 0
