# SPDX-License-Identifier: MIT
"""The command line, and the demonstration."""
import itertools
import os
import pathlib
import pwd
import re
import signal
import stat
import subprocess

import pytest

from harness import IS_ROOT, SANITIZER, TIMEOUT, TOP, USHERD, config, free_port, listener, proxy, run


def test_version():
    code, out, _ = run("--version")
    assert code == 0
    assert re.search(r"^usherd \d+\.\d+\.\d+", out)


def test_help_names_every_option():
    code, out, _ = run("--help")
    assert code == 0
    for option in ("--config", "--check", "--dump-config", "--explain", "--uid", "--gid", "--unit", "--sni", "--log-level",
                   "--version", "--help"):
        assert option in out
    assert "/usherd.conf" in out


@pytest.mark.parametrize("args", [["--nonsense"], ["extra"], ["--config"], ["--log-level", "loud"]])
def test_wrong_usage(args):
    code, out, err = run(*args)
    assert code not in (0, 2) or "usage" in err.lower() or "--help" in err
    assert code != 0
    assert out == ""
    assert err


def test_missing_file(folder):
    code, _, err = run("--config", f"{folder}/none.conf")
    assert code != 0
    assert f"{folder}/none.conf" in err and "No such file" in err


def test_check_says_where_it_would_listen(folder):
    text = config({
        "web": listener(proxy("127.0.0.1:80"), "127.0.0.1:8080", "[::1]:8080"),
        "all": listener("echo", "*:7007"),
        "local": listener("echo", f"unix:{folder}/x.sock", "unix:@usher-check"),
        "passed": listener("discard", "systemd:web"),
    })
    code, out, err = run("--check", text=text, folder=folder)
    assert code == 0, err
    for where in ("127.0.0.1:8080", "[::1]:8080", "7007", f"unix:{folder}/x.sock", "unix:@usher-check", "systemd:web"):
        assert re.search(rf"would listen on .*{re.escape(where)}", out + err), where


def test_check_finds_errors(folder):
    code, _, err = run("--check", text="workers = 2;\nlistenrs = { };\n", folder=folder)
    assert code == 2
    assert re.search(r"usherd\.conf:2: listenrs: .*did you mean listeners", err)


def test_start_with_errors_fails_as_check_does(folder):
    code, _, err = run(text="workers = -1;\n", folder=folder)
    assert code != 0
    assert "usherd.conf:1: workers" in err


def test_a_failed_start_says_why_in_its_status(folder, notify):
    """Until the next one: systemd shows few lines of the log, and the last ones are its own."""
    code, _, _ = run(text="workers = -1;\n", folder=folder, env={"NOTIFY_SOCKET": notify.path})
    assert code != 0
    status = notify.wait("STATUS")["STATUS"]
    assert status.startswith("did not start: ") and "usherd.conf:1: workers" in status


def test_log_level_on_the_command_line_wins(usherd):
    daemon = usherd({"echo": listener("echo")}, log_level="info", start_options={"args": ["--log-level", "debug"]})
    assert daemon.port("echo")
    daemon.stop()


def test_the_default_file():
    """Whatever the prefix is; and what cannot be printed is an error."""
    code, out, _ = run("--help")
    assert code == 0 and "/etc/usher/usherd.conf" in out and "/usr/local/etc" not in out
    for option in ("--help", "--version"):
        with open("/dev/full", "w", encoding="ascii") as full:
            assert subprocess.run([USHERD, option], stdout=full, stderr=subprocess.DEVNULL, check=False).returncode == 1


# ---- the demonstration


@pytest.fixture
def demo_conf(folder):
    """conf/demo.conf on ports that are free, and the certificate that it names, in a folder of the test's own."""
    ports = {}
    text = (TOP / "conf" / "demo.conf").read_text()
    text = re.sub(r"\b7\d\d\d\b", lambda found: ports.setdefault(found[0], str(free_port())), text)
    path = f"{folder}/demo.conf"
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    subprocess.run([TOP / "conf" / "demo-certificate", "build/demo"], cwd=folder, check=True)
    return path


@pytest.mark.programs("openssl")
def test_the_demonstration_is_right(demo_conf, folder):
    code, _, err = run("--check", "--config", demo_conf, wrapper=["env", "-C", folder])
    assert code == 0, err
    key = os.stat(f"{folder}/build/demo/key.pem")
    assert stat.S_IMODE(key.st_mode) == 0o600
    assert not IS_ROOT or key.st_uid == pwd.getpwnam("nobody").pw_uid, "a renewal is read as the user of the configuration"


@pytest.mark.programs("openssl")
def test_the_demonstration_keeps_its_certificate(demo_conf, folder):
    def make(*args):
        subprocess.run([TOP / "conf" / "demo-certificate", *args, "build/demo"], cwd=folder, check=True)
        with open(f"{folder}/build/demo/cert.pem", "rb") as cert, open(f"{folder}/build/demo/key.pem", "rb") as key:
            return cert.read(), key.read()

    first = make()
    assert make() == first
    anew = make("--anew")
    assert anew[0] != first[0] and anew[1] != first[1]
    assert sorted(os.listdir(f"{folder}/build/demo")) == ["cert.pem", "key.pem"]


@pytest.mark.programs("openssl", "nc")
def test_every_line_to_try_works(demo_conf, folder):
    """conf/run-demo prints them once the daemon listens; each does something, and ends well."""
    wrapper = ["setarch", "-R"] if SANITIZER == "thread" else []
    command = [*wrapper, str(TOP / "conf" / "run-demo"), USHERD, demo_conf]
    with open(f"{folder}/log", "wb") as log, subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
    ) as demo:
        try:
            printed = iter(demo.stdout.readline, b"")
            assert any(line.startswith(b"Try,") for line in printed), "it ended before it listened"
            lines = [line.decode().strip() for line in itertools.takewhile(bytes.strip, printed)]
            tries = re.findall(r"^ *# try: (.*)$", pathlib.Path(demo_conf).read_text(encoding="ascii"), re.M)
            assert lines == tries and len(tries) >= 6
            for line in tries:
                done = subprocess.run(
                    ["bash", "-c", line], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False
                )
                assert done.returncode == 0, (line, done.stdout[-1000:], done.stderr[-1000:])
                assert done.stdout or "/dev/zero" in line, line
            demo.send_signal(signal.SIGINT)
            assert demo.wait(TIMEOUT) == 0
        finally:
            demo.kill()
