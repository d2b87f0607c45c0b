# SPDX-License-Identifier: MIT
"""Overload by memory and by workers that do not keep up: who holds much goes without, and it ends by itself."""
import contextlib
import ctypes
import itertools
import os
import pathlib

import pytest

from harness import SANITIZER, ask, config, connect, listener, visit, wait_until

pytestmark = pytest.mark.slow

PTRACE_ATTACH, PTRACE_DETACH = 16, 17
WALL = 0x40000000


def comes_in(address, source):
    """Whether a client gets an answer; it goes again."""
    sock = visit(address, source=(source, 0))
    if sock is None:
        return False
    try:
        return ask(sock) == b"hello"
    except (ConnectionResetError, BrokenPipeError):
        return False
    finally:
        sock.close()


def put(path, lines):
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n")
    new.chmod(0o644)
    new.rename(path)


def resident(daemon):
    """Bytes that it holds."""
    return int(pathlib.Path(f"/proc/{daemon.pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


def test_memory(usherd, folder):
    """A large list is what takes it; when it shrinks, all come in again."""
    path = pathlib.Path(folder) / "deny.txt"
    small = ["192.0.2.1"]
    put(path, small)
    listeners = {"web": listener("echo")}
    door = {"deny": [f"file:{path}"], "trusted": ["127.0.0.9"]}
    daemon = usherd(listeners, door=door)
    address = daemon.address("web")
    limit = max(16 << 20, resident(daemon) + (12 << 20))
    text = config(listeners, door={**door, "overload": {"memory": f"{limit}B", "percent": 0}})
    assert daemon.reload(text).ok
    socks = [daemon.connect("web", source=("127.0.0.66", 0)) for _ in range(3)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 3
    assert comes_in(address, "127.0.0.66")

    put(path, (f"2001:db8:{n >> 16:x}:{n & 0xffff:x}::1" for n in range(800000)))
    daemon.wait_log("^list renewed: .*: 800000 entries")
    assert resident(daemon) > limit, "the list is large enough for this test"
    wait_until(lambda: not comes_in(address, "127.0.0.66"), "the one who holds three to be shed")
    daemon.wait_log(r"^room is short \(of memory, of which usherd holds \d+\.\d MiB\): those whose source holds the most ")

    def exceed(percent):
        """As if it held so many percent of the limit."""
        limited = {"memory": f"{resident(daemon) * 100 // percent}B", "percent": 0}
        assert daemon.reload(config(listeners, door={**door, "overload": limited})).ok
        return [comes_in(address, source) for source in ("127.0.0.66", "127.0.0.67", "127.0.0.9")]

    # little above the limit it is those who hold the most, far above it everybody but who is trusted
    wait_until(lambda: exceed(103) == [False, True, True], "others to come in")
    wait_until(lambda: exceed(125) == [False, False, True], "all others to be shed")
    trusted = [daemon.connect("web", source=("127.0.0.9", 0)) for _ in range(5)]
    assert [ask(sock) for sock in trusted + socks] == [b"hello"] * 8

    if SANITIZER:
        return  # it keeps what was freed
    since = daemon.mark()
    put(path, small)
    daemon.wait_log("^list renewed: .*: 1 entry$", since=since)
    assert daemon.reload(text).ok
    wait_until(lambda: comes_in(address, "127.0.0.66"), "memory to be given back")
    daemon.wait_log("^there is room again", since=since)


@contextlib.contextmanager
def stopped(thread):
    """Stops one thread of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(PTRACE_ATTACH, thread, None, None) != 0:
        pytest.skip(f"this machine does not let one stop a thread: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, WALL)
    try:
        yield
    finally:
        assert libc.ptrace(PTRACE_DETACH, thread, None, None) == 0


def worker_of(daemon):
    for task in os.listdir(f"/proc/{daemon.pid}/task"):
        if pathlib.Path(f"/proc/{daemon.pid}/task/{task}/comm").read_text(encoding="ascii") == "usherd-w0\n":
            return int(task)
    raise AssertionError("no worker")


def test_a_worker_that_does_not_keep_up(usherd):
    """Who waits for it too long is a sign: the next ones of a source that has some are shed, in the end all but trusted ones."""
    daemon = usherd({"web": listener("echo")}, workers=1,
                    door={"overload": {"queue_age": "200ms", "percent": 0}, "trusted": ["127.0.0.9"]})
    address = daemon.address("web")
    waiting = []
    with stopped(worker_of(daemon)):
        # four of a source wait in the queue, and then those that come are shed
        def is_shed(source="127.0.0.66"):
            sock = visit(address, source=(source, 0))
            if sock is None:
                return True
            sock.settimeout(0.05)
            try:
                return sock.recv(1) == b""
            except ConnectionResetError:
                return True
            except TimeoutError:
                waiting.append(sock)
                return False

        wait_until(is_shed, "somebody to be shed")
        said = daemon.wait_log(r"^room is short \(on the CPUs, where a connection has waited (\d+)ms for its worker thread, "
                               r"and door\.overload\.queue_age is 200ms\)")
        assert int(said.group(1)) >= 200
        assert len(waiting) >= 3
        news = itertools.count(1)
        wait_until(lambda: is_shed(f"127.0.1.{next(news)}"), "one who has none to be shed")
        others = [connect(address, source=("127.0.0.9", 0)) for _ in range(3)]
    daemon.sockets += waiting + others
    assert [ask(sock) for sock in waiting + others] == [b"hello"] * len(waiting + others), "who was let in is served"
    wait_until(lambda: comes_in(address, "127.0.0.66"), "the worker to keep up")
    daemon.wait_log("^there is room again")
    daemon.wait_log(r"^web: refused \d+ connections? of 127\.0\.0\.66: .*\(overload\)$")
