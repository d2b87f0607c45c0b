# SPDX-License-Identifier: MIT
"""usherd --reload PID: it waits for the reload, and tells how it went."""
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from harness import SANITIZER, TIMEOUT, USHERD, ask, config, connect, listener, run, wait_until


def request(daemon):
    """Asks, and returns (exit code, what was said)."""
    code, out, err = run("--reload", str(daemon.pid))
    assert not out
    return code, err


def begin(daemon):
    """Asks without waiting for the answer."""
    wrapper = ["setarch", "-R"] if SANITIZER == "thread" else []
    return subprocess.Popen([*wrapper, USHERD, "--reload", str(daemon.pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def listens(process):
    """Whether this asker waits for its answer."""
    with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
        return f"@usherd-reload-{process.pid}-" in file.read()


def test_a_reload_that_is_right(usherd):
    daemon = usherd({"web": listener("echo")})
    more = f"unix:{daemon.folder}/more.sock"
    daemon.path.write_text(config({"web": listener("echo"), "more": listener("echo", more)}))
    assert request(daemon) == (0, "")
    with connect(more) as sock:  # the answer does not come before the reload is over
        assert ask(sock) == b"hello"
    assert ask(daemon.connect("web")) == b"hello"


def test_a_reload_that_is_wrong_says_why_and_fails(usherd):
    daemon = usherd({"web": listener("echo")})
    daemon.path.write_text("first = 1;\nsecond = 2;\n" + config({"web": listener("echo")}))
    code, said = request(daemon)
    assert code == 2
    assert re.search(r"usherd\.conf:1: first: ", said) and re.search(r"usherd\.conf:2: second: ", said)
    assert said.endswith("usherd: reload failed: the running configuration stays\n")
    assert ask(daemon.connect("web")) == b"hello"
    daemon.path.write_text(config({"web": listener("echo")}))
    assert request(daemon) == (0, "")


def test_all_errors_fit(usherd):
    daemon = usherd({"web": listener("echo")})
    names = [f"{'x' * 200}{i}" for i in range(15)]
    daemon.path.write_text("".join(f"{name} = 1;\n" for name in names) + config({"web": listener("echo")}))
    code, said = request(daemon)
    assert code == 2 and all(name in said for name in names)


def test_an_address_in_use_fails(usherd):
    daemon = usherd({"web": listener("echo")})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        daemon.path.write_text(config({"web": listener("echo", f"127.0.0.1:{taken.getsockname()[1]}")}))
        code, said = request(daemon)
    assert code == 2 and "already in use" in said.lower()


@pytest.mark.root
def test_a_file_that_its_user_may_not_read(usherd):
    """Root could read it at the start; a reload reads it as nobody."""
    daemon = usherd({"web": listener("echo")})
    daemon.path.chmod(0o600)
    os.chown(daemon.path, 0, 0)
    assert request(daemon) == (2, f"{daemon.path}: Permission denied; the user that usherd runs as must be able to read it\n"
                                  "usherd: reload failed: the running configuration stays\n")


def test_many_ask_at_once(usherd):
    """The kernel keeps one SIGHUP: who is not heard asks again, and all are answered."""
    daemon = usherd({"web": listener("echo")})
    askers = [begin(daemon) for _ in range(30)]
    for asker in askers:
        assert asker.wait(TIMEOUT) == 0, asker.stderr.read()
        asker.stderr.close()


def test_a_signal_without_a_question_goes_as_before(usherd):
    daemon = usherd({"web": listener("echo")})
    assert daemon.reload().ok
    assert request(daemon) == (0, "")


def test_who_has_gone_is_not_waited_for(usherd):
    daemon = usherd({"web": listener("echo")})
    daemon.signal(signal.SIGSTOP)
    asker = begin(daemon)
    wait_until(lambda: int(daemon.status()["ShdPnd"], 16) & 1 << signal.SIGHUP - 1, "the question")
    asker.kill()
    asker.wait()
    asker.stderr.close()
    daemon.signal(signal.SIGCONT)
    daemon.wait_log("^reloaded")
    assert request(daemon) == (0, "")


def test_a_daemon_that_stops_says_so(usherd):
    daemon = usherd({"web": listener("echo")}, drain_timeout="1h")
    sock = daemon.connect("web")
    assert ask(sock) == b"hello"
    daemon.signal(signal.SIGTERM)
    daemon.wait_log("^stopping")
    code, said = request(daemon)
    assert code == 2 and said.startswith("usherd is stopping\n")


def test_a_daemon_that_ends_is_no_success(usherd):
    daemon = usherd({"web": listener("echo")})
    daemon.signal(signal.SIGSTOP)
    asker = begin(daemon)
    wait_until(lambda: listens(asker), "the question")
    daemon.kill()
    assert asker.wait(TIMEOUT) == 1
    assert "it has ended" in asker.stderr.read()
    asker.stderr.close()


ANSWER = """
import socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.connect("\\0" + sys.argv[1])
try:
    sock.send(b"ok")
    sock.recv(1)
except OSError:
    pass
"""


def test_nobody_else_can_answer(usherd):
    """An answer of another process counts for nothing, even if it comes first."""
    daemon = usherd({"web": listener("echo")})
    daemon.path.write_text("nonsense = 1;\n")
    daemon.signal(signal.SIGSTOP)
    asker = begin(daemon)
    wait_until(lambda: listens(asker), "the question")
    with open("/proc/net/unix", encoding="ascii", errors="replace") as file:
        name = re.search(rf"@(usherd-reload-{asker.pid}-\w+)", file.read()).group(1)
    subprocess.run([sys.executable, "-c", ANSWER, name], check=True, timeout=TIMEOUT)
    assert asker.poll() is None
    daemon.signal(signal.SIGCONT)
    assert asker.wait(TIMEOUT) == 2
    asker.stderr.close()


@pytest.mark.parametrize("pid, code", [("x", 64), ("", 64), ("-1", 64), ("0", 64), ("4194305", 1), ("4711x", 64), ("99999999999", 64)])
def test_what_is_no_process(pid, code):
    assert run("--reload", pid)[0] == code


def test_another_program_gets_no_signal():
    code, _, said = run("--reload", str(os.getpid()))
    assert code == 1 and "it is not usherd" in said
