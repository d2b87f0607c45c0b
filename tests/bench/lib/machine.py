# SPDX-License-Identifier: MIT
"""Processes and what the kernel has counted of them."""
import ctypes
import os
import pathlib
import platform
import re
import resource
import signal
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[3]
BINS = TOP / "build" / "tests" / "bench"
FILES = min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
CORES = len(os.sched_getaffinity(0))
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
TIMEOUT = 90


class Failure(Exception):
    """A candidate did not do what it was to do: there is no figure."""


def prepare_child():
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def fields_of(pid):
    """What follows the name in /proc/PID/stat, or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
            return stat.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def descendants(roots):
    """These processes and all that descend from them."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = fields_of(name)
            if fields:
                children.setdefault(int(fields[1]), []).append(int(name))
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def carriers():
    """ksoftirqd, one a core, where they can be seen. What they do for a candidate counts for none."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if pathlib.Path(f"/proc/{name}/comm").read_text(encoding="latin-1").startswith("ksoftirqd/"):
                    found.append(int(name))
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


CARRIERS = carriers()


class Cpu:
    """CPU time so far of processes and their descendants, those included that have ended: ns in all, and the parts of user
    and system, which the kernel only samples, in ticks."""

    def __init__(self, roots):
        self.ns = self.user = self.system = 0
        for pid in descendants(roots):
            fields = fields_of(pid)
            if not fields:
                continue
            user, system, dead_user, dead_system = map(int, fields[11:15])
            try:
                # its clock, exact, with all threads that ever were
                self.ns += int(time.clock_gettime((~pid << 3) | 2) * 1e9)
            except OSError:
                continue
            self.ns += (dead_user + dead_system) * TICK_NS
            self.user += user + dead_user
            self.system += system + dead_system


def machine_busy_ns():
    """CPU time that all cores have spent on anything, sampled."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_NS


def own_ns():
    """CPU time of all that this program is and has started, and of the kernel's threads that carry packets for it."""
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cpu([os.getpid(), *CARRIERS]).ns - _reaped_ns() + int((gone.ru_utime + gone.ru_stime) * 1e9)


def _reaped_ns():
    fields = fields_of(os.getpid())
    return (int(fields[13]) + int(fields[14])) * TICK_NS


class Window:
    """From begin to end: what a candidate's processes used, and how much of the machine others had."""

    def __init__(self, roots):
        self.roots = roots
        self.busy, self.own, self.at = machine_busy_ns(), own_ns(), time.monotonic_ns()
        self.cpu = Cpu(roots)

    def end(self):
        now = Cpu(self.roots)
        took = max(time.monotonic_ns() - self.at, 1)
        others = machine_busy_ns() - self.busy - (own_ns() - self.own)
        ns = now.ns - self.cpu.ns
        user, system = now.user - self.cpu.user, now.system - self.cpu.system
        share = user / (user + system) if user + system else 0.0
        return {"us": ns / 1e3, "user_share": share, "others": max(0.0, others / (took * CORES))}


def pss_kib(roots):
    total = 0
    for pid in descendants(roots):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
                total += int(re.search(r"^Pss:\s+(\d+)", rollup.read(), re.M).group(1))
        except (FileNotFoundError, ProcessLookupError, AttributeError):
            pass
    return total


class Process:
    """One that this program started, and ends."""

    def __init__(self, name, argv, folder, talks=False):
        self.name = name
        self.log = folder / f"{name}.log"
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(
                [str(a) for a in argv], cwd=folder, stderr=log, preexec_fn=prepare_child, text=True,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL, stdout=subprocess.PIPE if talks else log,
            )
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def tail(self):
        return " / ".join(self.log.read_text(errors="replace").splitlines()[-3:])[-400:]

    def line(self):
        """The next one that it says. A load generator has time limits of its own."""
        text = self.popen.stdout.readline()
        if not text:
            self.popen.wait()
            raise Failure(f"{self.name}: {self.tail()}")
        return text.rstrip("\n")

    def say(self, text="\n"):
        try:
            self.popen.stdin.write(text)
            self.popen.stdin.flush()
        except BrokenPipeError:
            pass  # line() tells why it has ended

    def leave(self):
        """The end of its stdin, on which it ends."""
        try:
            self.popen.stdin.close()
        except BrokenPipeError:
            pass
        if self.popen.wait(TIMEOUT) != 0:
            raise Failure(f"{self.name}: {self.tail()}")

    def stop(self):
        if self.popen.stdin:
            try:
                self.popen.stdin.close()
            except BrokenPipeError:
                pass
        pids = descendants([self.pid]) if self.alive() else []
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(2)
            except subprocess.TimeoutExpired:
                for pid in pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.popen.wait()
        if self.popen.stdout:
            self.popen.stdout.close()


def run(argv, folder):
    """Runs a load generator to its end; returns what it printed."""
    try:
        done = subprocess.run([str(a) for a in argv], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=TIMEOUT, preexec_fn=prepare_child, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{pathlib.Path(argv[0]).name} took more than {TIMEOUT} s") from None
    if done.returncode != 0:
        raise Failure((done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}")[-600:])
    return done.stdout


class Ports:
    """Free ports of loopback, below those that the kernel gives to clients."""

    def __init__(self):
        self.next = 20000

    def take(self, count=1):
        while True:
            first = self.next
            self.next = first + count
            if self.next > 32000:
                self.next = 20000
                continue
            if all(self._is_free(port) for port in range(first, first + count)):
                return first

    @staticmethod
    def _is_free(port):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return False
        return True


def takes_connections(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def answers(port):
    """Whether the backend behind this port answers a request."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            sock.sendall(b"d" + bytes(7) + (64).to_bytes(8, "little") + bytes(48))
            have = 0
            while have < 64:
                data = sock.recv(64)
                if not data:
                    return False
                have += len(data)
            return True
    except OSError:
        return False


def wait_for(condition, what, timeout=20, pause=0.001):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"waited {timeout} s in vain for {what}")
        time.sleep(pause)


def facts():
    """What a figure depends on."""
    cpu = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii"), re.M)
    git = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=TOP, capture_output=True, text=True, check=False)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"), "kernel": platform.release(), "cores": CORES,
        "cpu": cpu.group(1) if cpu else platform.machine(), "commit": git.stdout.strip(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }
