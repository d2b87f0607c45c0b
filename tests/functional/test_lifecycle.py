# SPDX-License-Identifier: MIT
"""Start, end, what systemd is told, sockets that it passes, privileges."""
import os
import pwd
import re
import signal
import socket
import subprocess
import time

import pytest

import programs
import servers
from harness import HOOKS, SANITIZER, TIMEOUT, USHERD, ask, config, connect, ended, free_port, listener, proxy, read_all, wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(usherd, number):
    daemon = usherd({"web": listener("echo")})
    daemon.signal(number)
    assert daemon.wait_exit() == 0
    assert daemon.log[-1] == "stopped"


def test_drain_lets_connections_finish(usherd, serve):
    upstream = serve(servers.echo)
    daemon = usherd({"web": listener(proxy(upstream.address)), "echo": listener("echo")}, drain_timeout="1h")
    socks = [daemon.connect("web"), daemon.connect("echo")]
    assert [ask(sock) for sock in socks] == [b"hello"] * 2
    address = daemon.address("web")
    daemon.signal(signal.SIGTERM)
    daemon.wait_log(r"^stopping: 2 connections have 1h")
    with pytest.raises(ConnectionRefusedError):
        connect(address)
    assert [ask(sock) for sock in socks] == [b"hello"] * 2
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert daemon.wait_exit() == 0
    assert {record.reason for record in daemon.close_records()} == {"client_closed"}


def test_drain_timeout_closes_the_rest_with_a_reason(usherd):
    daemon = usherd({"echo": listener("echo")}, drain_timeout="300ms")
    socks = [daemon.connect("echo") for _ in range(3)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 3
    daemon.signal(signal.SIGTERM)
    for sock in socks:
        ended(sock)
    assert daemon.wait_exit() == 0
    assert len(daemon.close_records(reason="drain")) == 3


def test_second_signal_ends_at_once(usherd):
    daemon = usherd({"echo": listener("echo")}, drain_timeout="1h")
    sock = daemon.connect("echo")
    assert ask(sock) == b"hello"
    daemon.signal(signal.SIGTERM)
    daemon.wait_log(r"^stopping: 1 connection")
    daemon.signal(signal.SIGTERM)
    ended(sock)
    assert daemon.wait_exit() >= 0
    assert len(daemon.close_records(reason="drain")) == 1


def test_stop_without_connections_does_not_wait(usherd):
    daemon = usherd({"echo": listener("echo")}, drain_timeout="1h")
    daemon.stop()


def test_every_connection_has_a_close_record_at_the_end(usherd):
    daemon = usherd({"echo": listener("echo")}, drain_timeout="0s", workers=4)
    socks = [daemon.connect("echo") for _ in range(100)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 100
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert len(daemon.close_records(reason="drain")) == 100


def test_start_takes_no_child_and_ignores_sigpipe(usherd):
    daemon = usherd({"gen": listener("chargen")})
    for _ in range(20):
        sock = connect(daemon.address("gen"))
        sock.recv(1)
        sock.close()
    daemon.wait_closed(count=20)
    assert daemon.process.poll() is None


def test_threads_have_names(usherd):
    daemon = usherd({"echo": listener("echo")}, workers=3)
    names = daemon.threads()
    assert {"usherd-w0", "usherd-w1", "usherd-w2", "usherd-log"} <= set(names)


def test_empty_systemd_environment_reaches_no_child(usherd, notify):
    """A run without NOTIFY_SOCKET says nothing to anybody."""
    daemon = usherd({"echo": listener("echo")})
    daemon.stop()
    assert not notify.messages


def test_what_to_do_next_is_said_until_it_is_done(usherd):
    daemon = usherd({"echo": listener("echo"), "day": listener("daytime")})
    daemon.wait_log(f"^nothing is served yet .*{daemon.path}.*systemctl reload usherd")
    daemon.stop()
    daemon = usherd({"echo": listener("echo"), "web": listener(proxy("127.0.0.1:1"))})
    daemon.stop()
    assert not any(line.startswith("nothing is served") for line in daemon.log)


# ---- what systemd is told


def test_notify(usherd, notify):
    daemon = usherd({"web": listener("echo"), "day": listener("daytime")}, start_options={"env": {"NOTIFY_SOCKET": notify.path}})
    notify.wait("READY")
    notify.wait("STATUS", lambda status: status.startswith("2 listeners"))
    before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    assert daemon.reload(config({"web": listener("echo")})).ok
    message = notify.wait("RELOADING")
    assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
    notify.wait("READY", count=2)
    notify.wait("STATUS", lambda status: status.startswith("1 listener,"))
    daemon.stop()
    notify.wait("STOPPING")
    assert notify.count("READY") == 2 and notify.count("STOPPING") == 1


@pytest.mark.parametrize("pad", range(4))
def test_status_is_what_systemd_takes(usherd, notify, pad):
    """It drops a text that is cut within a character, or ends in half an escape, and of two backslashes it shows one."""
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"NOTIFY_SOCKET": notify.path}})
    notify.wait("READY")
    path = "/" + "x" * pad + "\u00e4\\\n" * 100
    assert not daemon.reload(config({"web": listener("echo", tls={"certificate": path, "key": path})})).ok
    status = notify.wait("STATUS", lambda status: "reload failed" in status)["STATUS"]
    shown = re.sub(r"\\(.)", r"\1", status)
    assert (len(status) - len(status.rstrip("\\"))) % 2 == 0, status
    (why,) = [line for line in daemon.log if line.startswith("reload failed")]
    assert shown.split("reload failed: ")[1] in why and len(shown) > 200


def test_failed_reload_is_visible(usherd, notify):
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"NOTIFY_SOCKET": notify.path}})
    assert not daemon.reload("nonsense = 1;\n").ok
    notify.wait("RELOADING")
    notify.wait("READY", count=2)  # the reload is over
    notify.wait("STATUS", lambda status: "reload failed" in status.lower())
    assert daemon.reload(config({"web": listener("echo")})).ok
    assert notify.wait("READY", count=3)
    wait_until(lambda: "failed" not in [m["STATUS"] for m in notify.messages if "STATUS" in m][-1])


def test_status_counts_connections(usherd, notify):
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"NOTIFY_SOCKET": notify.path}})
    socks = [daemon.connect("web") for _ in range(3)]
    assert ask(socks[2]) == b"hello"
    notify.wait("STATUS", lambda status: "3 connections" in status)


def test_watchdog_is_fed(usherd, notify):
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "600000"}})
    first = time.monotonic()
    notify.wait("WATCHDOG", count=4)
    assert time.monotonic() - first < 2 * TIMEOUT
    assert daemon.process.poll() is None


def test_watchdog_of_another_process_is_not_fed(usherd, notify):
    env = {"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
    daemon = usherd({"web": listener("echo")}, start_options={"env": env})
    for _ in range(50):
        assert ask(daemon.connect("web")) == b"hello"
    assert daemon.reload().ok
    assert notify.count("WATCHDOG") == 0


def thread_id(daemon, name):
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        with open(f"/proc/{daemon.pid}/task/{task}/comm", encoding="ascii") as comm:
            if comm.read().strip() == name:
                return int(task)
    raise AssertionError(name)


@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_watchdog_is_not_fed_while_a_worker_is_stuck(usherd, notify, folder):
    """A worker that hangs in a call (made so from outside) makes no progress: no WATCHDOG=1, and the log says who."""
    daemon = usherd({"web": listener("echo")}, workers=2,
                    start_options={"env": {"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "400000"}})
    notify.wait("WATCHDOG", count=2)
    socks = [daemon.connect("web") for _ in range(2)]  # one a worker
    assert [ask(sock) for sock in socks] == [b"hello"] * 2
    task = thread_id(daemon, "usherd-w1")
    calls = "read,recvfrom,recvmsg,readv"
    strace = subprocess.Popen(
        ["strace", "-qq", "-p", str(task), "-e", f"trace={calls}", "-o", f"{folder}/trace", "-e", f"inject={calls}:delay_enter=60s"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as status:
            wait_until(lambda: status.seek(0) == 0 and f"TracerPid:\t{strace.pid}" in status.read(), "strace to be attached")
        for sock in socks:
            sock.sendall(b"x")
        daemon.wait_log("no progress")
        count = notify.count("WATCHDOG")
        for _ in range(20):
            time.sleep(0.02)  # ten of its intervals
        assert notify.count("WATCHDOG") <= count + 1
    finally:
        strace.kill()
        strace.wait()
    count = notify.count("WATCHDOG")
    notify.wait("WATCHDOG", count=count + 2)


def test_a_build_for_tests_has_a_worker_that_sticks(usherd, notify, folder):
    """What the booted tests use. The other worker goes on; the hook works once."""
    os.chmod(folder, 0o777)
    stuck = f"{folder}/stuck"
    env = {"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "400000", "USHER_TEST_STUCK": stuck}
    daemon = usherd({"web": listener("echo")}, workers=2, start_options={"env": env, "program": HOOKS})
    assert ask(daemon.connect("web")) == b"hello"
    notify.wait("WATCHDOG", count=2)
    with open(stuck, "w", encoding="ascii"):
        pass
    daemon.connect("web")
    wait_until(lambda: not os.path.exists(stuck), "a worker to stick")
    daemon.wait_log("worker . has made no progress")
    count = notify.count("WATCHDOG")
    for _ in range(20):
        time.sleep(0.02)  # ten of its intervals
    assert notify.count("WATCHDOG") <= count + 1
    # as the watchdog does it
    daemon.kill()


def test_the_normal_build_has_no_hooks(usherd, folder):
    os.chmod(folder, 0o777)
    stuck = f"{folder}/stuck"
    with open(stuck, "w", encoding="ascii"):
        pass
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"USHER_TEST_STUCK": stuck}})
    assert ask(daemon.connect("web")) == b"hello"
    assert os.path.exists(stuck)


# ---- sockets that systemd passes

def activated(usherd, listeners, passed, inner=(), top=None, **options):
    """Starts the daemon as systemd does, with (name, socket) pairs; `inner` is a command before it."""
    start_options = servers.activation([(name, sock.fileno()) for name, sock in passed], inner)
    return usherd(listeners, start_options={**start_options, **options}, **(top or {}))


def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)
    sock.listen(100)
    return sock


def test_passed_sockets_by_name(usherd, folder):
    web, other, local = listening(), listening(), listening(socket.AF_UNIX, f"{folder}/passed.sock")
    os.chmod(f"{folder}/passed.sock", 0o777)
    daemon = activated(usherd, {
        "web": listener("echo", "systemd:web"), "mixed": listener("daytime", "127.0.0.1:0", "systemd:other"),
    }, [("web", web), ("other", other), ("web", local)])
    assert len(daemon.addresses["web"]) == 2 and len(daemon.addresses["mixed"]) == 2
    assert "passed by systemd" in daemon.text()
    assert ask(connect(web.getsockname())) == b"hello"
    assert ask(connect(f"unix:{folder}/passed.sock")) == b"hello"
    assert read_all(connect(other.getsockname())).endswith(b"\r\n")
    assert ask(connect(web.getsockname())) == b"hello"
    daemon.stop()
    assert os.path.exists(f"{folder}/passed.sock"), "a socket's file that systemd owns was removed"


def test_passed_sockets_stay_over_a_reload(usherd):
    web = listening()
    daemon = activated(usherd, {"web": listener("echo", "systemd:web")}, [("web", web)])
    for _ in range(3):
        assert daemon.reload(config({"web": listener("echo", "systemd:web", timeouts={"idle": "1min"})})).ok
        assert ask(connect(web.getsockname())) == b"hello"


def test_passed_socket_that_is_missing(folder):
    from harness import run

    code, _, err = run(text=config({"web": listener("echo", "systemd:web")}), folder=folder)
    assert code != 0
    assert "systemd:web" in err and "enable the socket unit that has FileDescriptorName=web" in err


def test_passed_socket_that_nobody_wants_is_said(usherd):
    web, spare = listening(), listening()
    daemon = activated(usherd, {"web": listener("echo", "systemd:web")}, [("web", web), ("spare", spare)])
    assert "spare" in daemon.text()


@pytest.mark.programs("systemd-socket-activate")
def test_systemd_socket_activate(folder):
    port = free_port()
    with open(f"{folder}/usherd.conf", "w", encoding="ascii") as file:
        file.write(config({"web": listener("echo", "systemd:web"), "local": listener("daytime", "systemd:local")}))
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", "-l", f"{folder}/s.sock", "--fdname=web:local"]
    command += (["setarch", "-R"] if SANITIZER == "thread" else []) + [USHERD, "--config", f"{folder}/usherd.conf"]
    log = f"{folder}/activate.log"

    def bound():
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read().count("Listening on") >= 2

    with programs.running(command, log, bound) as process:
        assert ask(connect(("127.0.0.1", port))) == b"hello"
        assert read_all(connect(f"unix:{folder}/s.sock")).endswith(b"\r\n")
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    with open(log, encoding="utf-8", errors="replace") as file:
        assert "(web, passed by systemd)" in file.read()


# ---- privileges


@pytest.mark.root
def test_root_is_dropped(usherd):
    daemon = usherd({"low": listener("echo", "127.0.0.1:0")}, user="nobody")
    status = daemon.status()
    nobody = pwd.getpwnam("nobody")
    assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
    assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
    assert [g for g in status["Groups"].split() if g != str(nobody.pw_gid)] == []
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        with open(f"/proc/{daemon.pid}/task/{task}/status", encoding="ascii") as file:
            text = file.read()
        assert re.search(rf"^Uid:\s+{nobody.pw_uid}\b", text, re.M), f"a thread is still root:\n{text}"
        assert re.search(r"^CapEff:\s+0+$", text, re.M)
    assert ask(daemon.connect("low")) == b"hello"


@pytest.mark.root
def test_group_of_its_own(usherd):
    daemon = usherd({"web": listener("echo")}, user="nobody", group="daemon")
    import grp

    assert daemon.status()["Gid"].split() == [str(grp.getgrnam("daemon").gr_gid)] * 4


@pytest.mark.root
def test_privileged_port_is_bound_before(usherd):
    daemon = usherd({"low": listener("echo", f"127.77.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}:7")}, user="nobody")
    assert ask(daemon.connect("low")) == b"hello"


@pytest.mark.root
def test_unknown_user_is_an_error(folder):
    from harness import run

    code, _, err = run(text=config({"web": listener("echo")}, user="no-such-user"), folder=folder)
    assert code != 0 and "no-such-user" in err
