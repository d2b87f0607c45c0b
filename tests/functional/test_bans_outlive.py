# SPDX-License-Identifier: MIT
"""Bans that outlive a restart: the file that they are kept in."""
import os
import pathlib
import re
import signal
import time

import pytest

from harness import SANITIZER, Usherd, ask, config, ended, listener, run, visit, wait_until

pytestmark = pytest.mark.slow

# who has one connection and asks for another is banned
BANS = {"after": 1, "within": "1min", "for": "1h", "max": "2h"}


@pytest.fixture(name="state")
def _state(folder):
    """A folder that the daemon may write to, root or not."""
    path = pathlib.Path(folder) / "state"
    path.mkdir()
    path.chmod(0o777)
    return path


def listeners():
    return {"web": listener("echo", limits={"per_source": 1}, ban=BANS), "other": listener("echo")}


def settings(state):
    return config(listeners(), state_directory=str(state))


def offend(daemon, source="127.0.0.1"):
    """Gets a source banned, and waits until that is said."""
    since = daemon.mark()
    first = daemon.connect("web", source=(source, 0))
    assert ask(first) == b"hello"
    assert ended(visit(daemon.address("web"), source=(source, 0))) == "reset"
    daemon.wait_log(rf"^web: {re.escape(source)} is banned for ", since=since)
    first.close()
    daemon.wait_closed("client_closed")


def is_banned(daemon, source="127.0.0.1"):
    sock = visit(daemon.address("web"), source=(source, 0))
    if sock is None:
        return True
    try:
        return ask(sock) != b"hello"
    except (ConnectionResetError, BrokenPipeError):
        return True
    finally:
        sock.close()


def saved(state):
    """(listener, prefix, until, count) of each ban in the file."""
    head, *lines = (state / "bans").read_text().splitlines()
    assert re.fullmatch(r"usher-bans 1 \d+", head)
    return [(*line.split()[:2], *map(int, line.split()[2:])) for line in lines]


def put(state, *lines, saved_at=None):
    """Writes the file as an earlier daemon would have."""
    now = int(time.time()) if saved_at is None else saved_at
    (state / "bans").write_text("\n".join([f"usher-bans 1 {now}", *lines]) + "\n")
    (state / "bans").chmod(0o666)


def test_over_a_restart(usherd, state):
    first = usherd(text=settings(state))
    offend(first)
    offend(first, "127.0.0.2")
    first.stop()
    assert {(name, who, count) for name, who, _, count in saved(state)} == {
        ("web", "127.0.0.1", 1), ("web", "127.0.0.2", 1)}
    assert (state / "bans").stat().st_mode & 0o777 == 0o600
    second = usherd(text=settings(state))
    second.wait_log(rf"^2 bans restored from {re.escape(str(state))}/bans$")
    assert is_banned(second) and is_banned(second, "127.0.0.2")
    assert not is_banned(second, "127.0.0.3")
    assert ask(second.connect("other")) == b"hello"
    second.wait_log(r"^web: refused 1 connection of 127\.0\.0\.1: its source is banned \(banned\)$")


def test_over_a_kill(usherd, folder, state):
    """Bans are saved while it runs: the first one at once."""
    first = Usherd(folder, settings(state))
    try:
        offend(first)
        wait_until(lambda: (state / "bans").exists() and saved(state), "the ban to be saved")
    finally:
        first.kill()
    second = usherd(text=settings(state))
    second.wait_log(r"^1 ban restored from ")
    assert is_banned(second)


def test_in_the_folder_of_systemd(usherd, state):
    text = config(listeners())
    env = {"env": {"STATE_DIRECTORY": f"{state}:/nowhere"}}
    first = usherd(text=text, start_options=env)
    offend(first)
    first.stop()
    second = usherd(text=text, start_options=env)
    second.wait_log(r"^1 ban restored from ")
    assert is_banned(second)


def test_nowhere(usherd):
    """Without a folder nothing is kept, and that is no fault."""
    daemon = usherd(text=config(listeners(), log_level="debug"))
    daemon.wait_log(r"^bans end with usherd: neither state_directory nor systemd's StateDirectory= is set$")
    offend(daemon)
    assert not [line for level, line in daemon.lines if level == "warning"]


def test_over_a_reload(usherd, state):
    """The number of a listener, by which its bans are kept, is its name's."""
    first = usherd(text=settings(state))
    assert first.reload(config({"new": listener("echo"), **listeners()}, state_directory=str(state))).ok
    offend(first)
    assert first.reload(settings(state)).ok
    assert is_banned(first)
    first.stop()
    assert [entry[:2] for entry in saved(state)] == [("web", "127.0.0.1")]


def test_what_is_damaged_is_left_out(usherd, state):
    until = int(time.time()) + 1800
    put(state, f"web 127.0.0.1 {until} 1", f"web 127.0.0.2 {until}", "nonsense", f"web 127.0.0.3 {until} 2",
        f"gone 127.0.0.4 {until} 1", f"other 127.0.0.4 {until} 1", f"web 127.0.0.5 {until - 3600} 1", "web 127.0.")
    daemon = usherd(text=settings(state))
    daemon.wait_log(r"^2 bans restored from \S+; not restored: 1 that had ended, 2 of listeners that are gone or ban "
                    r"nobody, 3 damaged lines$")
    assert is_banned(daemon) and is_banned(daemon, "127.0.0.3")
    assert not is_banned(daemon, "127.0.0.2")


@pytest.mark.parametrize("content, what", [
    ("", "it is no file of bans"), ("PNG\n" * 1000, "it is no file of bans"),
    ("usher-bans 7 100\nx y z\n", "it is of another version of usherd"),
], ids=["empty", "foreign", "newer"])
def test_another_kind_of_file(usherd, state, content, what):
    (state / "bans").write_text(content)
    (state / "bans").chmod(0o666)
    daemon = usherd(text=settings(state))
    daemon.wait_log(rf"^restore bans from {re.escape(str(state))}/bans: {what}; the next ban overwrites it$")
    offend(daemon)
    daemon.stop()
    assert [entry[:2] for entry in saved(state)] == [("web", "127.0.0.1")]


def test_a_clock_that_was_set(usherd, state):
    """Set back, the time in between does not count; no ban is longer than it was, nor than the rule allows."""
    now = int(time.time())
    put(state, f"web 127.0.0.1 {now + 100000 + 600} 1", f"web 127.0.0.2 {now + 10**9} 1", f"web 127.0.0.3 {now + 5} 1",
        saved_at=now + 100000)
    daemon = usherd(text=settings(state))
    daemon.wait_log(r"^2 bans restored from \S+; not restored: 1 that had ended$")
    assert is_banned(daemon) and is_banned(daemon, "127.0.0.2")
    # one more ban, and the file says how long these two last
    offend(daemon, "127.0.0.4")
    daemon.stop()
    until = {who: end - time.time() for _, who, end, _ in saved(state)}
    assert until["127.0.0.1"] <= 601
    assert until["127.0.0.2"] <= 7201


FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.mark.programs("faketime")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer is no second in front of what libfaketime replaces")
@pytest.mark.parametrize("hours", [30, -30], ids=["ahead", "back"])
def test_a_clock_that_is_set_while_it_runs(usherd, folder, state, hours):
    """A ban goes by another clock, and the file is written anew by the new time: who kills the daemon then, and starts it
    again, finds the ban as it was."""
    clock = pathlib.Path(folder) / "clock"

    def set_clock(seconds):
        new = clock.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.rename(clock)

    set_clock(0)
    env = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1",
           "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}

    def left(who, since):
        """What is left of a ban by the clock as it is set, for bans that began at `since`: seconds too many or too few."""
        (end,) = [until for _, source, until, _ in saved(state) if source == who]
        return end - (time.time() + hours * 3600) - (3600 - (time.monotonic() - since))

    first = Usherd(folder, settings(state), env=env)
    try:
        since = time.monotonic()
        offend(first)
        wait_until(lambda: (state / "bans").exists() and saved(state), "the ban to be saved")
        set_clock(hours * 3600)
        wait_until(lambda: abs(left("127.0.0.1", since)) < 60, "the ban to be saved by the new time", timeout=40)
        assert is_banned(first)
        offend(first, "127.0.0.2")
    finally:
        first.kill()
    second = usherd(text=settings(state), start_options={"env": env})
    second.wait_log(r"^[12] bans? restored from \S+$")
    assert is_banned(second)
    second.stop()
    assert abs(left("127.0.0.1", since)) < 60


HUNG_DISK = {"wrapper": ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=600s"]}


def disk_answers(daemon):
    """The one who held it back goes. While it is there nothing ends the daemon."""
    tracer = int(daemon.status()["TracerPid"])
    if tracer:
        os.kill(tracer, signal.SIGKILL)


@pytest.fixture
def hung_usherd(usherd):
    started = []
    yield lambda **options: started.append(usherd(start_options=HUNG_DISK, **options)) or started[-1]
    for daemon in started:
        if daemon.process.poll() is None:
            disk_answers(daemon)


@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_a_disk_that_does_not_answer(hung_usherd, state):
    """Nobody waits for it but the thread that writes; it is said when it takes long, and when it has an end."""
    daemon = hung_usherd(text=settings(state))
    offend(daemon)
    wait_until(lambda: "usherd-bans" in daemon.threads(), "the thread that writes")
    offend(daemon, "127.0.0.2")
    assert ask(daemon.connect("other")) == b"hello"
    assert "usherd-bans" in daemon.threads() and not (state / "bans").exists()
    daemon.wait_log(rf"^save bans to {re.escape(str(state))}/bans: the disk has not answered for 1[0-9.]+s: ", timeout=40)
    assert ask(daemon.connect("other")) == b"hello"
    disk_answers(daemon)
    daemon.wait_log(rf"^save bans to {re.escape(str(state))}/bans: the disk has answered, after ", timeout=40)
    daemon.stop()
    assert [entry[1] for entry in saved(state)] == ["127.0.0.1", "127.0.0.2"]


@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_a_stop_does_not_wait_for_ever_for_a_disk(hung_usherd, state):
    daemon = hung_usherd(text=settings(state))
    offend(daemon)
    wait_until(lambda: "usherd-bans" in daemon.threads(), "the thread that writes")
    daemon.signal(signal.SIGTERM)
    daemon.wait_log(r"^save bans to \S+: the disk does not answer: those that are not there end here$", timeout=60)
    disk_answers(daemon)
    assert daemon.wait_exit() == 0


def test_restored_bans_end(usherd, state):
    put(state, f"web 127.0.0.1 {int(time.time()) + 2} 1")
    daemon = usherd(text=settings(state))
    if not any("1 that had ended" in line for line in daemon.log):
        daemon.wait_log(r"^web: the ban of 127\.0\.0\.1 has ended$")
    assert not is_banned(daemon)


def test_a_folder_that_is_not_there(usherd, state):
    """Said at the start; when it comes, bans are kept."""
    folder = state / "later"
    daemon = usherd(text=settings(folder))
    daemon.wait_log(rf"^save bans to {re.escape(str(folder))}/bans: No such file or directory: those that are not there "
                    r"end with usherd; .*belong to the user")
    offend(daemon)
    folder.mkdir()
    folder.chmod(0o777)
    daemon.stop()
    assert [entry[:2] for entry in saved(folder)] == [("web", "127.0.0.1")]


def test_what_a_crash_left_is_no_obstacle(usherd, state):
    (state / "bans.new").write_text("half a fi")
    daemon = usherd(text=settings(state))
    offend(daemon)
    daemon.stop()
    assert len(saved(state)) == 1
    assert os.listdir(state) == ["bans"]


def test_many_bans(usherd, state):
    """More than one turn of the loop writes."""
    until = int(time.time()) + 3000
    put(state, *(f"web 10.{n >> 16}.{n >> 8 & 255}.{n & 255} {until} 1" for n in range(50000)))
    daemon = usherd(text=settings(state))
    daemon.wait_log(r"^50000 bans restored from ")
    (state / "bans").unlink()
    offend(daemon)
    wait_until(lambda: (state / "bans").exists() and len(saved(state)) == 50001, "all to be saved")


def test_the_option_is_checked(folder):
    code, out, _ = run("--dump-config", text=config(listeners(), state_directory="/var/lib/usher"), folder=folder)
    assert code == 0 and 'state_directory = "/var/lib/usher";' in out
