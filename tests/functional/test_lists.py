# SPDX-License-Identifier: MIT
"""List files (file:PATH in allow, deny, trusted): read at the start, taken up when they change, kept when they are wrong."""
import pathlib
import re

import pytest

from harness import config, listener, run, wait_until


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
    fds = daemon.fds()
    put(deny, "192.0.2.0/25\n198.51.100.7 # and one more\n")
    daemon.wait_log(rf"^list renewed: {re.escape(str(deny))} \(door.deny, listeners.web.trusted\): 2 entries$")
    since = daemon.mark()
    put(deny, "192.0.2.0/24\n192.0.2.300\n")
    daemon.wait_log(
        rf"^changed list is not taken up \(door.deny, listeners.web.trusted\); what was read before stays: "
        rf'{re.escape(str(deny))}: 2: "192.0.2.300": no address; ', since=since)
    put(deny, "192.0.2.0/24\n")
    daemon.wait_log(r"^list renewed: .*: 1 entry$", since=since)
    wait_until(lambda: "usherd-lists" not in daemon.threads(), "the thread to end")
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
