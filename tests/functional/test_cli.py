# SPDX-License-Identifier: MIT
"""The command line."""
import re
import subprocess

import pytest

from harness import USHERD, config, listener, proxy, run


def test_version():
    code, out, _ = run("--version")
    assert code == 0
    assert re.search(r"^usherd \d+\.\d+\.\d+", out)


def test_help_names_every_option():
    code, out, _ = run("--help")
    assert code == 0
    for option in ("--config", "--check", "--dump-config", "--log-level", "--version", "--help"):
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
