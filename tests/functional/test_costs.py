# SPDX-License-Identifier: MIT
"""What a request and a connection cost, without a clock: system calls and blocks of the heap, counted exactly. One
connection at a time, and the daemon is at rest before and after each step, so that nothing is done together with something
else. A number that went up is a regression until its commit says why; one that went down belongs into the tables here."""
import collections
import os
import pathlib
import re
import struct
import time

import pytest

import servers
from harness import SANITIZER, TIMEOUT, USHERD, ask, ended, listener, proxy, visit, wait_until

ROUNDS = 5
# Calls of the main thread and of the worker. "waits" are those that brought an event; those that ended by the clock are
# not counted. Two events may come with one of them or with two, where that is nobody's doing: (least, most).
SYSTEM_CALLS = {
    # in and out again, both ways; one wait each
    "a request on a kept proxied connection": {"recvfrom": 2, "sendto": 2, "waits": 2},
    # main: accept4; the worker is woken. It looks whether the client has said something
    # (ioctl). The upstream's socket gets one option that an accepted one has from its listener; the other five wait until it has
    # lasted for 10 s. Of the two ends the second one is sent by closing. At the end the log wants to know both sides' TCP_INFO, and where it came in.
    "a proxied connection with one request": {
        "accept4": 1, "write": 1, "epoll_ctl": 2, "socket": 1, "ioctl": 1, "setsockopt": 1, "connect": 1, "recvfrom": 4, "sendto": 2,
        "shutdown": 1, "getsockname": 1, "getsockopt": 2, "close": 2, "waits": (7, 8),
    },
    "an echo connection with one request": {
        "accept4": 1, "write": 1, "epoll_ctl": 1, "recvfrom": 2, "sendto": 1, "getsockname": 1, "getsockopt": 1, "close": 1,
        "waits": 5,
    },
    # it never gets to a worker, nor into an epoll
    "a connection refused for its address": {"accept4": 1, "setsockopt": 1, "close": 1, "waits": 1},
}
# taken, grown, given back
HEAP = {
    "a request on a kept proxied connection": (0, 0, 0),
    "a proxied connection with one request": (2, 0, 2),
    "an echo connection with one request": (1, 0, 1),
    "a connection refused for its address": (0, 0, 0),
}
NOT_COUNTED = {
    "futex",  # wakes the log's thread, if it sleeps just then
    "restart_syscall", "brk", "mmap", "munmap", "mprotect", "madvise",  # the heap's, now and then
}
BEGUN = re.compile(r"^(\d+) +(\w+)\(", re.M)
# some architectures have but the latter
WAITED = re.compile(r"^\d+ +(?:epoll_p?wait\(.*|<\.\.\. epoll_p?wait resumed>.*)\) = [1-9]\d*$", re.M)

pytestmark = pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer has system calls and a heap of its own")


class Costs:
    """A daemon that serves one at a time, and what was counted of it: `read` returns all so far, as a Counter."""

    def __init__(self, usherd, serve, start_options, read):
        self.upstream = serve(servers.echo)
        self.daemon = usherd({
            "web": listener(proxy(self.upstream.address)),
            "echo": listener("echo"),
            "closed": listener("echo", deny=["127.0.0.0/8"]),
        }, workers=1, start_options=start_options)
        self.read = lambda: read(self.daemon)
        self.closed = 0
        self.kept = self.daemon.connect("web")

    def at_rest(self):
        """Waits until no thread runs and nothing is counted any more: what has come wakes a thread at once, so one that
        sleeps has nothing left to do. Returns the counts."""
        end = time.monotonic() + TIMEOUT
        before = None
        while time.monotonic() < end:
            states = {pathlib.Path(f"/proc/{self.daemon.pid}/task/{task}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
                      for task in os.listdir(f"/proc/{self.daemon.pid}/task")}
            now = self.read() if states == {"S"} else None
            if now is not None and now == before:
                return now
            before = now
            time.sleep(0.02)
        raise AssertionError("the daemon is never at rest")

    def request(self):
        assert ask(self.kept) == b"hello"

    def connection(self):
        count = self.upstream.count
        with self.daemon.connect("web") as sock:
            wait_until(lambda: self.upstream.count > count, "the upstream's side")
            self.at_rest()
            assert ask(sock) == b"hello"
            self.at_rest()
        self.wait_closed()

    def echo(self):
        with self.daemon.connect("echo") as sock:
            self.at_rest()
            assert ask(sock) == b"hello"
            self.at_rest()
        self.wait_closed()

    def wait_closed(self):
        self.closed += 1
        self.daemon.wait_closed(count=self.closed)

    def refused(self):
        sock = visit(self.daemon.address("closed"))
        assert ended(sock) == "reset"

    def count(self):
        """What each step takes, of ROUNDS of them, after some that make what is made once."""
        steps = {
            "a request on a kept proxied connection": self.request,
            "a proxied connection with one request": self.connection,
            "an echo connection with one request": self.echo,
            "a connection refused for its address": self.refused,
        }
        taken = {}
        for name, step in steps.items():
            for _ in range(3):
                step()
            before = self.at_rest()
            for _ in range(ROUNDS):
                step()
                after = self.at_rest()
            after.subtract(before)
            taken[name] = {what: n for what, n in after.items() if n}
        return taken


def per_step(total):
    """5 of them become 1, where it divides."""
    return {what: n // ROUNDS if n % ROUNDS == 0 else n / ROUNDS for what, n in sorted(total.items())}


def fits(n, bound):
    least, most = bound if isinstance(bound, tuple) else (bound, bound)
    return ROUNDS * least <= n <= ROUNDS * most


@pytest.mark.programs("strace")
def test_system_calls(usherd, serve, folder):
    trace = pathlib.Path(folder) / "trace"

    def read(daemon):
        text = trace.read_text(encoding="ascii", errors="replace")
        log = next((task for task in os.listdir(f"/proc/{daemon.pid}/task")
                    if pathlib.Path(f"/proc/{daemon.pid}/task/{task}/comm").read_text(encoding="ascii") == "usherd-log\n"), None)
        calls = collections.Counter(name for task, name in BEGUN.findall(text) if task != log and name not in NOT_COUNTED)
        del calls["epoll_wait"], calls["epoll_pwait"]
        calls["waits"] = len(WAITED.findall(text))
        return calls

    costs = Costs(usherd, serve, {"wrapper": ["strace", "-D", "-f", "-qq", "-o", str(trace)]}, read)
    wrong = {}
    for step, total in costs.count().items():
        expected = SYSTEM_CALLS[step]
        if set(total) != set(expected) or not all(fits(n, expected[name]) for name, n in total.items()):
            wrong[step] = per_step(total)
    assert not wrong, f"system calls are {wrong}"


def test_heap(usherd, serve, folder):
    shim = pathlib.Path(USHERD).parent / "tests" / "functional" / "count_heap.so"
    if not shim.exists():
        pytest.skip(f"there is no {shim}")
    counts = pathlib.Path(folder) / "counts"
    counts.write_bytes(bytes(24))
    counts.chmod(0o666)

    def read(_daemon):
        return collections.Counter(dict(zip(("taken", "grown", "given"), struct.unpack("3Q", counts.read_bytes()))))

    costs = Costs(usherd, serve, {"env": {"LD_PRELOAD": str(shim), "USHER_COUNT_HEAP": str(counts)}}, read)
    assert read(None)["taken"] > 100, "it counts"
    taken = {step: per_step({what: total.get(what, 0) for what in ("taken", "grown", "given")}) for step, total in costs.count().items()}
    assert taken == {step: dict(zip(("taken", "grown", "given"), n)) for step, n in HEAP.items()}
