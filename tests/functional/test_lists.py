# SPDX-License-Identifier: MIT
"""List files (file:PATH in allow, deny, trusted): read at the start, taken up when they change, kept when they are wrong."""
import os
import pathlib
import pwd
import re
import signal
import subprocess
import time

import pytest

from harness import SANITIZER, USHERD, ask, comes_in, config, listener, run, wait_until


@pytest.fixture(name="place")
def _place(folder):
    return pathlib.Path(folder)


def put(path, text):
    """Writes a file as careful writers do: whole, or not at all."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    new.rename(path)



def test_a_changed_list_is_taken_up(usherd, place):
    deny = place / "deny.txt"
    put(deny, "192.0.2.0/24\n")
    daemon = usherd({"web": listener("echo", trusted=[f"file:{deny}"])}, door={"deny": [f"file:{deny}"]})
    fds = daemon.fds_at_rest()
    put(deny, "192.0.2.0/25\n198.51.100.7 # and one more\n")
    daemon.wait_log(rf"^list renewed: {re.escape(str(deny))} \(door.deny, listeners.web.trusted\): 2 entries$")
    since = daemon.mark()
    put(deny, "192.0.2.0/24\n192.0.2.300\n")
    daemon.wait_log(
        rf"^changed list is not taken up \(door.deny, listeners.web.trusted\); what was read before stays: "
        rf'{re.escape(str(deny))}: 2: "192.0.2.300": no address; ', since=since)
    put(deny, "192.0.2.0/24\n")
    daemon.wait_log(r"^list renewed: .*: 1 entry$", since=since)
    daemon.wait_fds(fds)


def test_a_reload_reads_new_lists_and_keeps_known_ones(usherd, place):
    known, new = place / "known.txt", place / "new.txt"
    put(known, "192.0.2.0/24\n")
    daemon = usherd({"web": listener("echo")}, door={"deny": [f"file:{known}"]})
    text = config({"web": listener("echo", deny=[f"file:{new}"])}, door={"deny": [f"file:{known}"]})
    outcome = daemon.reload(text)
    assert not outcome.ok
    assert outcome.lines[-1].endswith(f"listeners.web.deny: {new}: No such file or directory")
    put(new, "198.51.100.0/24\n")
    assert daemon.reload(text).ok
    since = daemon.mark()
    put(new, "198.51.100.0/25\n")
    daemon.wait_log(rf"^list renewed: {re.escape(str(new))} \(listeners.web.deny\): 1 entry$", since=since)
    put(known, "192.0.2.0/25\n")
    daemon.wait_log(rf"^list renewed: {re.escape(str(known))} \(door.deny\): 1 entry$", since=since)
    # without lists nothing is watched
    fds = daemon.fds()
    assert daemon.reload(config({"web": listener("echo")})).ok
    daemon.wait_fds(fds - 1)
    wait_until(lambda: "usherd-lists" not in daemon.threads(), "the thread to end")


def test_a_stop_while_a_list_is_read(usherd, place):
    deny = place / "deny.txt"
    put(deny, "192.0.2.0/24\n")
    daemon = usherd({"web": listener("echo")}, door={"deny": [f"file:{deny}"]})
    put(deny, "".join(f"10.{n >> 15 & 255}.{n >> 7 & 255}.{n << 1 & 255}\n" for n in range(300000)))
    wait_until(lambda: "usherd-lists" in daemon.threads() or "list renewed" in daemon.text(), "the list to be read")
    daemon.stop()


def test_a_wrong_list_is_an_error_of_the_configuration(place):
    (place / "deny.txt").write_text("10.0.0.0/8\nnobody\n")
    text = config({"web": listener("echo", deny=[f"file:{place}/deny.txt"], allow=[f"file:{place}/none.txt"])})
    for args in ([], ["--check"]):
        code, out, err = run(*args, text=text, folder=place)
        assert code == 2 and out == ""
        assert f"listeners.web.deny: {place}/deny.txt: 2: \"nobody\": no address; " in err
        assert f"listeners.web.allow: {place}/none.txt: No such file or directory\n" in err


def test_a_user_who_is_not_there_is_an_error_of_the_configuration(place):
    text = config({"web": listener("echo", f"unix:{place}/x.sock", allow=["user:nobdy"])})
    for args in ([], ["--check"]):
        code, out, err = run(*args, text=text, folder=place)
        assert code == 2 and out == ""
        assert 'listeners.web.allow: "user:nobdy": there is no such user; uid:NUMBER needs none\n' in err
    assert not (place / "x.sock").exists()


def test_check_tells_of_lists(place):
    (place / "deny.txt").write_text("10.0.0.0/8\n11.0.0.0/8\n")
    text = config({"web": listener("echo", deny=["file:deny.txt"])}, door={"trusted": ["file:deny.txt", "::1"]})
    code, out, err = run("--check", text=text, folder=place)
    assert (code, err) == (0, "")
    assert "list deny.txt (door.trusted, listeners.web.deny): 2 entries in 1 range\n" in out


@pytest.mark.root
def test_a_list_that_may_not_be_read_any_more(usherd, place):
    """What was read before stays; said once; taken up when it may be read again."""
    deny = place / "deny.txt"
    put(deny, "127.0.0.2\n")
    daemon = usherd({"web": listener("echo", deny=[f"file:{deny}"])}, user="nobody")
    assert daemon.status()["Uid"].split()[0] == str(pwd.getpwnam("nobody").pw_uid)
    since = daemon.mark()
    deny.chmod(0)
    failed = rf"^changed list is not taken up \(listeners.web.deny\); what was read before stays: {re.escape(str(deny))}: "
    daemon.wait_log(failed + "Permission denied$", since=since)
    deny.write_text("127.0.0.3\n")  # by root
    put(place / "unrelated.txt", "x")
    assert [comes_in(daemon.address("web"), f"127.0.0.{n}") for n in (2, 3)] == [False, True]
    deny.chmod(0o644)
    daemon.wait_log(r"^list renewed: .*: 1 entry$", since=since)
    assert [comes_in(daemon.address("web"), f"127.0.0.{n}") for n in (2, 3)] == [True, False]
    said = [line for line in daemon.log[since:] if re.search(failed, line)]
    assert 1 <= len(said) <= 2, said  # once for each state of the file that was seen
    assert not [line for line in said if not line.endswith("Permission denied")]


def test_a_list_that_is_written_in_place(usherd, place):
    """Slowly, and cut in the midst of an address: no part of it is ever in effect, and nobody complains."""
    deny = place / "deny.txt"
    put(deny, "127.0.0.2\n127.0.0.3\n")
    daemon = usherd({"web": listener("echo", deny=[f"file:{deny}"])})
    since = daemon.mark()

    def allowed():
        return [n for n in (2, 3, 4, 5) if comes_in(daemon.address("web"), f"127.0.0.{n}")]

    with deny.open("w") as file:
        for part in ("127.0.0.3\n127.0.", "0.4\n127.", "0.0.50"):
            file.write(part)
            file.flush()
            written = time.monotonic()
            for _ in range(4):
                time.sleep(0.1)  # all together shorter than what it may rest: two seconds
                now = allowed()
                if time.monotonic() - written > 1.5:
                    pytest.skip("this machine is too slow for it")
                assert now == [4, 5]
        file.write("-127.0.0.50\n")
    daemon.wait_log(r"^list renewed: .*: 3 entries( in 2 ranges)?$", since=since)
    assert allowed() == [2, 5]
    assert len([line for line in daemon.log[since:] if line.startswith("list renewed")]) == 1
    assert not [line for line in daemon.log[since:] if "not taken up" in line]


# ---- reloads that name new lists

def whole(place, name, text):
    """Writes a file in place, as careless writers do."""
    (place / name).write_text(text)
    (place / name).chmod(0o644)


def test_a_reload_waits_for_a_list_that_is_being_written(usherd, place, notify):
    """Main accepts by the old rules meanwhile; the manager is told of one reload, in order, however many signals come."""
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"NOTIFY_SOCKET": notify.path}})
    notify.wait("READY")
    whole(place, "deny.txt", "127.0.0.2\n127.0.0.30")  # half of an address, or all of it
    daemon.path.write_text(config({"web": listener("echo", deny=[f"file:{place}/deny.txt"])}))
    since = daemon.mark()
    daemon.signal(signal.SIGHUP)
    notify.wait("RELOADING")
    assert comes_in(daemon.address("web"), "127.0.0.2")
    assert ask(daemon.connect("web")) == b"hello"
    assert not [line for line in daemon.log[since:] if line.startswith("reload")]
    assert (notify.count("RELOADING"), notify.count("READY")) == (1, 1)
    whole(place, "deny.txt", "127.0.0.2\n127.0.0.3\n127.0.0.4\n")
    daemon.wait_log("^reloaded", since=since)
    notify.wait("READY", count=2)
    assert notify.count("RELOADING") == 1
    assert [comes_in(daemon.address("web"), f"127.0.0.{n}") for n in (1, 2, 3, 4, 30)] == [True, False, False, False, True]


def test_signals_while_a_reload_reads(usherd, place, notify):
    """All of them together are one more reload, after this one, with what the file says then."""
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"NOTIFY_SOCKET": notify.path}})
    whole(place, "deny.txt", "127.0.0.2")
    daemon.path.write_text(config({"web": listener("echo", deny=[f"file:{place}/deny.txt"])}))
    since = daemon.mark()
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "usherd-lists" in daemon.threads(), "the list to be read")
    daemon.path.write_text(config({"web": listener("echo", deny=[f"file:{place}/deny.txt", "127.0.0.3"])}))
    for _ in range(5):
        daemon.signal(signal.SIGHUP)
    notify.wait("RELOADING", count=2)
    notify.wait("READY", count=3)
    said = wait_until(lambda: len(lines := [line for line in daemon.log[since:] if line.startswith("reload")]) >= 4 and lines,
                      "two reloads to be told")
    assert said == [f'reload: listener web: deny: not set -> "file:{place}/deny.txt"', "reloaded: 1 change",
                    f'reload: listener web: deny: "file:{place}/deny.txt" -> "file:{place}/deny.txt", "127.0.0.3"',
                    "reloaded: 1 change"]
    assert [comes_in(daemon.address("web"), f"127.0.0.{n}") for n in (1, 2, 3)] == [True, False, False]
    assert (notify.count("RELOADING"), notify.count("READY")) == (2, 3)


def test_who_asks_for_a_reload_asks_for_one(usherd, place, notify):
    """usherd --reload sends its signal again while there is no answer."""
    daemon = usherd({"web": listener("echo")}, start_options={"env": {"NOTIFY_SOCKET": notify.path}})
    whole(place, "deny.txt", "127.0.0.2")  # without an end: it is left alone for two seconds
    daemon.path.write_text(config({"web": listener("echo", deny=[f"file:{place}/deny.txt"])}))
    assert run("--reload", str(daemon.pid)) == (0, "", "")
    assert not comes_in(daemon.address("web"), "127.0.0.2")
    daemon.wait_log("^reloaded: 1 change$")
    assert run("--reload", str(daemon.pid)) == (0, "", "")
    daemon.wait_log("^reloaded: 0 changes$")
    notify.wait("READY", count=3)
    assert (notify.count("RELOADING"), notify.count("READY")) == (2, 3)


def test_a_reload_does_not_take_a_list_that_is_never_whole(usherd, place):
    daemon = usherd({"web": listener("echo")})
    text = config({"web": listener("echo", deny=[f"file:{place}/deny.txt"])})
    daemon.path.write_text(text)
    since = daemon.mark()
    with (place / "deny.txt").open("w") as file:
        file.write("127.0.0.2")
        file.flush()
        daemon.signal(signal.SIGHUP)

        def is_over():
            file.write("\n127.0.0.3")
            file.flush()
            return [line for line in daemon.log[since:] if line.startswith("reload")]

        (line,) = wait_until(is_over, "the reload to fail", timeout=40)
    assert line.startswith("reload failed: ") and line.endswith(
        f"listeners.web.deny: {place}/deny.txt: it changed just now or while it was read, and may be half written; write another "
        "file and rename it to this one")
    assert comes_in(daemon.address("web"), "127.0.0.2")


def test_a_stop_while_a_reload_reads(usherd, place):
    daemon = usherd({"web": listener("echo")})
    whole(place, "deny.txt", "127.0.0.2")
    daemon.path.write_text(config({"web": listener("echo", deny=[f"file:{place}/deny.txt"])}))
    with subprocess.Popen([USHERD, "--reload", str(daemon.pid)], stderr=subprocess.PIPE, text=True) as asks:
        wait_until(lambda: "usherd-lists" in daemon.threads(), "the list to be read")
        daemon.stop()
        said = asks.communicate()[1]
    assert asks.returncode != 0
    assert "usherd is stopping" in said


def hung(path):
    """Opening this file hangs, until disk_answers()."""
    return {"wrapper": ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", str(path), "-e", "trace=openat",
                        "-e", "inject=openat:delay_enter=600s"]}


def disk_answers(daemon):
    """The one who held it back goes. While it is there nothing ends the daemon."""
    tracer = int(daemon.status()["TracerPid"])
    if tracer:
        os.kill(tracer, signal.SIGKILL)


@pytest.fixture
def hung_usherd(usherd):
    started = []
    yield lambda *args, path, **options: started.append(usherd(*args, start_options=hung(path), **options)) or started[-1]
    for daemon in started:
        if daemon.process.poll() is None:
            disk_answers(daemon)


@pytest.mark.slow
@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_a_reload_and_a_disk_that_does_not_answer(hung_usherd, place):
    """It fails in the end, and says why; the next one, without that file, succeeds."""
    deny = place / "deny.txt"
    put(deny, "127.0.0.2\n")
    put(place / "other.txt", "127.0.0.3\n")
    daemon = hung_usherd({"web": listener("echo")}, path=deny)
    daemon.path.write_text(config({"web": listener("echo", deny=[f"file:{deny}"])}))
    with subprocess.Popen([USHERD, "--reload", str(daemon.pid)], stderr=subprocess.PIPE, text=True) as asks:
        assert ask(daemon.connect("web")) == b"hello"
        daemon.wait_log(rf"^list file {re.escape(str(deny))}: the disk that it is on has not answered for 1[0-9.]+s: until it "
                        r"does, the reload waits for it$", timeout=40)
        assert ask(daemon.connect("web")) == b"hello"
        said = asks.communicate(timeout=60)[1]
    assert asks.returncode == 2
    assert f"list file {deny} was not read within 30.0s: the disk that it is on does not answer" in said
    assert comes_in(daemon.address("web"), "127.0.0.2")
    daemon.wait_log("^reload failed")
    # other lists are read by another thread
    assert daemon.reload(config({"web": listener("echo", deny=[f"file:{place}/other.txt"])})).ok
    assert not comes_in(daemon.address("web"), "127.0.0.3")
    disk_answers(daemon)
    wait_until(lambda: daemon.threads().count("usherd-lists") == 1, "the thread that was left to end")
    daemon.stop()


@pytest.mark.slow
@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_a_disk_that_does_not_answer(usherd, place):
    """It is said once, with the file's name, and when it is over; a reload that does without it is not held up by it."""
    deny, other = place / "deny.txt", place / "other.txt"
    put(deny, "127.0.0.2\n")
    put(other, "127.0.0.3\n")
    lists = [f"file:{deny}", f"file:{other}"]
    daemon = usherd({"web": listener("echo", deny=lists)})
    hang = rf"^list file {re.escape(str(deny))}: the disk that it is on "

    def traced():
        """All threads are, by the one who makes opening this file hang."""
        tasks = pathlib.Path(f"/proc/{daemon.pid}/task")
        return all(f"TracerPid:\t{tracer.pid}\n" in (task / "status").read_text("ascii") for task in tasks.iterdir())

    with subprocess.Popen(["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(daemon.pid), "-P", str(deny), "-e", "trace=openat",
                           "-e", "inject=openat:delay_enter=600s"], stdin=subprocess.DEVNULL) as tracer:
        try:
            wait_until(traced, "strace to be attached")
            since = daemon.mark()
            put(deny, "127.0.0.4\n")
            daemon.wait_log(hang + r"has not answered for 1[0-9.]+s: until it does, what changes in list files is not taken up$",
                            timeout=60)
            assert ask(daemon.connect("web")) == b"hello"
            assert [comes_in(daemon.address("web"), f"127.0.0.{n}") for n in (2, 3, 4)] == [False, False, True]
            # one that is not named any more is nobody's business
            assert daemon.reload(config({"web": listener("echo", deny=lists[1:])})).ok
            put(other, "127.0.0.5\n")
            daemon.wait_log(rf"^list renewed: {re.escape(str(other))} ", since=since)
            assert not comes_in(daemon.address("web"), "127.0.0.5")
        finally:
            tracer.kill()
    wait_until(lambda: daemon.threads().count("usherd-lists") == 1, "the thread that was left to end")
    daemon.stop()
    assert len([line for line in daemon.log if re.search(hang, line)]) == 1


@pytest.mark.slow
@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_a_disk_that_answers_late(usherd, place):
    """All calls that touch files hang, even stat: main is not among those who make them."""
    deny = place / "deny.txt"
    put(deny, "127.0.0.2\n")
    daemon = usherd({"web": listener("echo", deny=[f"file:{deny}"])})
    (task,) = [t for t in os.listdir(f"/proc/{daemon.pid}/task")
               if pathlib.Path(f"/proc/{daemon.pid}/task/{t}/comm").read_text("ascii") == "usherd-lists\n"]
    trace = place / "trace"
    calls = "newfstatat,openat,readlink,inotify_add_watch"
    with subprocess.Popen(["strace", "-f", "-qq", "-o", str(trace), "-p", str(daemon.pid), "-e", f"trace={calls}", "-P", str(deny),
                           "-e", "inject=newfstatat:delay_enter=18s:when=1"], stdin=subprocess.DEVNULL) as tracer:
        try:
            wait_until(lambda: f"TracerPid:\t{tracer.pid}\n" in pathlib.Path(f"/proc/{daemon.pid}/task/{task}/status").read_text("ascii"),
                       "strace to be attached")
            put(deny, "127.0.0.3\n")
            daemon.wait_log(rf"^list file {re.escape(str(deny))}: the disk that it is on has not answered for 1[0-9.]+s: ", timeout=60)
            daemon.wait_log(rf"^list file {re.escape(str(deny))}: the disk has answered, after 1[0-9.]+s$", timeout=60)
            daemon.wait_log("^list renewed: ", timeout=60)
        finally:
            tracer.terminate()
    touched = [line.split()[0] for line in trace.read_text().splitlines() if str(deny) in line]
    assert touched and set(touched) == {task}, trace.read_text()
    assert not comes_in(daemon.address("web"), "127.0.0.3")
