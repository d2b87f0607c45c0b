# SPDX-License-Identifier: MIT
"""Runs the daemon for a test: its configuration, its log, its processes' numbers."""
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
USHERD = os.environ.get("USHERD") or str(TOP / "build" / "usherd")
# the same with src/base/test_hook.h in it
HOOKS = str(pathlib.Path(USHERD).parent / "hooks" / "usherd")
# flood.c
FLOOD = pathlib.Path(USHERD).parent / "tests" / "functional" / "flood"
SANITIZER = next((kind for kind in ("thread", "address") if f"san-{kind}" in USHERD), None)
IS_ROOT = os.geteuid() == 0
# how much longer things may take under a sanitizer
SLOW = 5 if SANITIZER else 1
TIMEOUT = 15 * SLOW

LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (\w+) +(.*)$")
LISTENING = re.compile(r"^listening on (\S+) \((.+?)(, passed by systemd|, kept from before the start)?\)$")
CLOSED = re.compile(
    r"^(?P<listener>\S+): (?P<peer>.+) closed after (?P<duration>.+?), (?P<bytes_in>[\d.]+ \w+) in, "
    r"(?P<bytes_out>[\d.]+ \w+) out(?P<sides>.*) \((?P<reason>\w+)\)$"
)
# what TLS says of the client, the upstream, what TLS says of it
CLOSED_SIDES = re.compile(r"(?:, (?!to )(?P<tls>.+?))?(?:, to (?P<upstream>\S+?(?: \(\S+\))?)(?:, (?P<upstream_tls>.+))?)?")
REFUSED = re.compile(
    r"^(?:(?P<listener>\S+): )?refused (?P<count>\d+) connections? of (?P<peer>.+?)(?: at other listeners)?"
    r"(?: in (?P<seconds>\d+) s)?: (?:(?P<text>[^\d].*) \((?P<reason>\w+)\)|(?P<reasons>\d+ .*))$"
)
CLOSE_REASON = re.compile(r'^CLOSE_REASON\((\w+), \d, \w+, \d,\s+((?:"[^"]*"\s*)+)\)', re.M)
# the text of each reason
REASONS = {
    name: "".join(re.findall('"([^"]*)"', text))
    for name, text in CLOSE_REASON.findall((TOP / "src/worker/close_reasons.def").read_text(encoding="ascii"))
}
SANITIZER_REPORT = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|must\(|usherd: bug")


def wait_until(condition, what="the condition", timeout=TIMEOUT):
    """Polls until condition() is true and returns its value; `what` may be a function that explains a failure."""
    end = time.monotonic() + timeout
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s in vain for {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def render(value, depth=0):
    """Python values as libconfig's: a dict is a group, a list an array."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        pad = "  " * (depth + 1)
        body = "".join(f"{pad}{name} = {render(v, depth + 1)};\n" for name, v in value.items())
        return "{\n" + body + "  " * depth + "}"
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(render(v) for v in value) + " ]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def config(listeners=None, **top):
    """The text of a configuration. Without `workers` there are two; root becomes nobody."""
    values = {"workers": 2, **({"user": "nobody"} if IS_ROOT else {}), **top}
    if listeners is not None:
        values["listeners"] = listeners
    return "".join(f"{name} = {render(value)};\n" for name, value in values.items())


def listener(service, *where, **options):
    """A listener's group: listener("echo"), listener(proxy("127.0.0.1:80"), "unix:/x", backlog=3)."""
    group = {"listen": list(where) or ["127.0.0.1:0"], **options}
    group.update(service if isinstance(service, dict) else {service: {}})
    return group


def proxy(*upstreams, **options):
    return {"proxy": {"to": list(upstreams), **options}}


def split_address(text):
    """("127.0.0.1", 80) of "127.0.0.1:80"; a path or abstract name of "unix:..."."""
    if text.startswith("unix:@"):
        return "\0" + text[6:]
    if text.startswith("unix:"):
        return text[5:]
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def with_zone(address):
    """Python takes the zone of "fe80::1%lo" as a number only."""
    if isinstance(address, tuple) and "%" in address[0]:
        return socket.getaddrinfo(*address[:2], type=socket.SOCK_STREAM)[0][4]
    return address


def connect(address, timeout=TIMEOUT, source=None):
    """A client's socket, to a split address or its text."""
    if isinstance(address, str) and (address.startswith("unix:") or re.search(r":\d+$", address)):
        address = split_address(address)
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    try:
        if source is not None:
            sock.bind(with_zone(source))
        sock.connect(with_zone(address))
    except BaseException:
        sock.close()
        raise
    return sock


def reset(sock):
    """Ends a TCP connection with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock, most=None):
    """What comes until the end (or `most` bytes)."""
    parts = []
    have = 0
    while most is None or have < most:
        data = sock.recv(262144 if most is None else min(262144, most - have))
        if not data:
            break
        parts.append(data)
        have += len(data)
    return b"".join(parts)


def visit(address, **options):
    """connect() where the answer may be a reset so quick that connect() itself tells of it: then None."""
    try:
        return connect(address, **options)
    except ConnectionResetError:
        return None


def comes_in(address, source=None):
    """Whether echo serves a new client of this source, which leaves at once."""
    sock = visit(address, source=(source, 0) if source else None)
    if sock is None:
        return False
    with sock:
        try:
            return ask(sock) == b"hello"
        except (ConnectionResetError, BrokenPipeError):
            return False


def ended(sock):
    """Waits for the end of what the other side sends: "end" or "reset"."""
    if sock is None:
        return "reset"
    try:
        while sock.recv(65536):
            pass
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    return "end"


def ask(sock, data=b"hello"):
    """Sends data and reads as much back."""
    sock.sendall(data)
    return read_all(sock, len(data))


def free_port(host="127.0.0.1"):
    """A port that nothing used a moment ago, for programs that cannot choose one themselves. It is none of those that the
    kernel gives to clients, of which another test may get it at any time."""
    for _ in range(1000):
        port = random.randrange(15000, 32000)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            try:
                sock.bind(("::" if ":" in host else "", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


class Flood:
    """Connections by flood.c, as fast as they go: `how_long` in seconds, or "5000x". With a prefix for a source
    each comes from another address of it."""

    def __init__(self, address, how_long, source=None, at_once=32, wrapper=()):
        if not FLOOD.exists():
            pytest.skip(f"{FLOOD} is not there: make unit-bins")
        command = [*wrapper, FLOOD, address, str(how_long), str(at_once), *([source] if source else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def runs(self):
        return self.process.poll() is None

    def wait(self, timeout=120 * SLOW):
        """How many were refused, and how many answered."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert self.process.returncode == 0, err
        return tuple(int(word.split()[0]) for word in out.split(", "))


class Closed(dict):
    """A close record; its fields are attributes."""

    __getattr__ = dict.__getitem__


class Refused(dict):
    """What was told of refused connections, the first or a sum; its fields are attributes."""

    __getattr__ = dict.__getitem__

    def __init__(self, match):
        super().__init__(match.groupdict())
        self["count"] = int(self.count)
        if self.reason:
            assert self.text == REASONS[self.reason], match.string
            self["reasons"] = {self.reason: self.count}
        else:
            parts = [part.split(" ", 1) for part in self.reasons.split(", ")]
            self["reasons"] = {name: int(n) for n, name in parts}
            assert sum(self.reasons.values()) == self.count, match.string


class Reload:
    def __init__(self, ok, lines):
        self.ok = ok
        self.lines = lines

    def __repr__(self):
        return f"Reload(ok={self.ok}, lines={self.lines})"


class Usherd:
    """One running daemon."""

    def __init__(self, folder, text, args=(), env=None, wrapper=(), ready=True, pass_fds=(), stderr=None, program=USHERD):
        self.folder = pathlib.Path(folder)
        self.path = self.folder / "usherd.conf"
        if text is not None:
            self.path.write_text(text)
        self.lines = []  # (level, message)
        self.lines_read = 0  # of them, for close records and refusals
        self.records = []
        self.refusals = []
        self.raw = []  # lines as they came
        self.addresses = {}
        self.changed = threading.Condition()
        self.reading = threading.Event()
        self.reading.set()
        self.closed_log = False
        self.killed = False
        self.sockets = []
        command = [*wrapper]
        if SANITIZER == "thread":
            command += ["setarch", "-R"]
        command += [program, "--config", str(self.path), *args]
        environ = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_USEC")}
        environ.update(env or {})
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr or subprocess.PIPE,
            env=environ, pass_fds=pass_fds, cwd=self.folder,
        )
        self.pid = self.process.pid
        self.reader = None
        if stderr is None:
            self.reader = threading.Thread(target=self._read, daemon=True)
            self.reader.start()
        if ready and stderr is None:
            try:
                self.wait_log(r"^ready: ", timeout=TIMEOUT)
            except BaseException:
                self.kill()
                raise

    # ---- its log

    def _read(self):
        pending = b""
        stream = self.process.stderr.fileno()
        while True:
            self.reading.wait()
            data = os.read(stream, 65536)
            *whole, pending = (pending + data).split(b"\n")
            with self.changed:
                for line in whole:
                    self._take(line.decode(errors="replace"))
                if not data:
                    if pending:
                        self._take(pending.decode(errors="replace"))
                    self.closed_log = True
                self.changed.notify_all()
            if not data:
                self.process.stderr.close()
                return

    def _take(self, line):
        self.raw.append(line)
        match = LINE.match(line)
        level, message = match.groups() if match else ("", line)
        self.lines.append((level, message))
        match = LISTENING.match(message)
        if match:
            self.addresses.setdefault(match.group(2), []).append(match.group(1))

    @property
    def log(self):
        """All messages so far."""
        with self.changed:
            return [message for _, message in self.lines]

    def tail(self):
        """The end of the log, for the message of a failure."""
        return "\n".join(self.raw[-40:])

    def text(self):
        return "\n".join(self.raw)

    def mark(self):
        """A place in the log, for wait_log(since=)."""
        with self.changed:
            return len(self.lines)

    def wait_log(self, pattern, timeout=TIMEOUT, since=0):
        """The first match of a message from `since` on, past or to come."""
        pattern = re.compile(pattern)
        end = time.monotonic() + timeout
        at = since
        with self.changed:
            while True:
                while at < len(self.lines):
                    match = pattern.search(self.lines[at][1])
                    if match:
                        return match
                    at += 1
                left = end - time.monotonic()
                if self.closed_log or left <= 0:
                    why = "the daemon ended" if self.closed_log else f"waited {timeout} s"
                    raise AssertionError(f"no log line matches {pattern.pattern!r} ({why}):\n" + self.tail())
                self.changed.wait(left)

    def _read_records(self):
        """Each line is read once: there may be tens of thousands, and they are asked for again and again."""
        with self.changed:
            lines = self.lines[self.lines_read :]
            self.lines_read += len(lines)
        for _, message in lines:
            match = REFUSED.match(message)
            if match:
                self.refusals.append(Refused(match))
            match = CLOSED.match(message)
            if not match:
                continue
            record = Closed(match.groupdict())
            record["text"] = REASONS[record.reason]
            sides = CLOSED_SIDES.fullmatch(record.sides.removesuffix(f": {record.text}"))
            assert record.sides.endswith(record.text) and sides, message
            record.update(sides.groupdict())
            self.records.append(record)

    def close_records(self, listener=None, reason=None):
        self._read_records()
        return [r for r in self.records if listener in (None, r.listener) and reason in (None, r.reason)]

    def wait_closed(self, reason=None, count=1, listener=None, timeout=TIMEOUT):
        """Waits for `count` close records of this kind and returns the last of them."""
        wait_until(
            lambda: len(self.close_records(listener, reason)) >= count,
            lambda: f"{count} x {reason or 'any close'} at {listener or 'any listener'}; the log:\n" + self.tail(),
            timeout,
        )
        return self.close_records(listener, reason)[count - 1]

    def refused(self, reason=None, peer=None, listener=None):
        """How many refused connections of this kind were told of. Of each source at each listener the first is told at
        once, and all after stop()."""
        self._read_records()
        return sum(
            n for r in self.refusals if listener in (None, r.listener) and peer in (None, r.peer)
            for name, n in r.reasons.items() if reason in (None, name)
        )

    def wait_refused(self, reason=None, peer=None, listener=None):
        """Waits for the first of this kind to be told of."""
        wait_until(
            lambda: self.refused(reason, peer, listener),
            lambda: f"{reason or 'a refusal'} of {peer or 'anybody'} at {listener or 'any listener'}; the log:\n" + self.tail(),
        )

    # ---- its addresses

    def address(self, name, index=0):
        with self.changed:
            assert name in self.addresses, f"{name} does not listen:\n{self.tail()}"
            return self.addresses[name][index]

    def port(self, name, index=0):
        return split_address(self.address(name, index))[1]

    def connect(self, name, index=0, **options):
        sock = connect(self.address(name, index), **options)
        self.sockets.append(sock)
        return sock

    # ---- steering

    def signal(self, number):
        self.process.send_signal(number)

    @contextlib.contextmanager
    def stopped(self):
        """No thread of it runs meanwhile: on a busy machine some go on for a while after the signal was sent."""
        def states():
            tasks = pathlib.Path(f"/proc/{self.pid}/task")
            return {(task / "stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] for task in tasks.iterdir()}

        self.signal(signal.SIGSTOP)
        try:
            wait_until(lambda: states() <= {"T", "t"}, "all threads to be stopped")
            yield
        finally:
            self.signal(signal.SIGCONT)

    def reload(self, text=None):
        """SIGHUP, with a new configuration if given, and the outcome."""
        if text is not None:
            self.path.write_text(text)
        since = self.mark()
        self.signal(signal.SIGHUP)
        outcome = self.wait_log(r"^(reloaded|reload failed)", since=since)
        lines = self.log[since:]
        return Reload(outcome.group(1) == "reloaded", lines)

    def wait_exit(self, timeout=TIMEOUT):
        """Its exit code; all of its log has been read then."""
        code = self.process.wait(timeout)
        if self.reader:
            self.reader.join(timeout)
        return code

    def stop(self, expect=0):
        """Clients go, SIGTERM, and all that must hold at the end."""
        for sock in self.sockets:
            sock.close()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait_exit()
        assert code == expect, f"exit code {code}:\n{self.tail()}"
        self.check_reports()

    def check_reports(self):
        found = SANITIZER_REPORT.search(self.text())
        assert not found, self.text()[found.start() :][:20000]

    def kill(self):
        if self.process.poll() is None:
            self.killed = True
            self.process.kill()
        self.process.wait()
        self.reading.set()
        if self.reader:
            self.reader.join(TIMEOUT)

    def finish(self):
        """At the test's end: clients go, the daemon is stopped if it still runs, nothing may be reported."""
        for sock in self.sockets:
            sock.close()
        self.reading.set()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)
        try:
            code = self.wait_exit(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.kill()
            raise AssertionError("two SIGTERM did not end the daemon:\n" + self.tail()) from None
        self.check_reports()
        assert (code >= 0 or self.killed) and code != 66, f"the daemon ended with {code}:\n{self.tail()}"

    # ---- its numbers

    def _fd_links(self):
        folder = f"/proc/{self.pid}/fd"
        for fd in os.listdir(folder):
            try:
                yield os.readlink(f"{folder}/{fd}")
            except FileNotFoundError:
                pass

    def fds(self):
        """Open descriptors, but for the pipes that workers keep for bulk."""
        return sum(not link.startswith("pipe:") for link in self._fd_links())

    def pipes(self):
        """Ends of pipes that are open."""
        return sum(link.startswith("pipe:") for link in self._fd_links())

    def fds_at_rest(self):
        """The same, of a daemon with certificates or lists once it watches their files, which it begins to do after its start."""

        wait_until(lambda: any("inotify" in link for link in self._fd_links()), "files to be watched")
        return self.fds()

    def pss_kib(self):
        """Its share of all memory. It changes too when another process of the same program comes or goes."""
        return self._memory_kib("Pss")

    def own_kib(self):
        """Memory that is its own alone."""
        return self._memory_kib("Anonymous")

    def _memory_kib(self, kind):
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as rollup:
            return int(re.search(rf"^{kind}:\s+(\d+)", rollup.read(), re.M).group(1))

    def cpu_ticks(self):
        """User and system time so far, in 1/100 s."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def status(self):
        """/proc/PID/status as a dict."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)

    def threads(self):
        names = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            names.append(pathlib.Path(f"/proc/{self.pid}/task/{task}/comm").read_text(encoding="ascii").strip())
        return names

    def wait_fds(self, count):
        """Waits until no more than `count` descriptors are open."""
        wait_until(lambda: self.fds() <= count, lambda: f"{count} descriptors; there are {self.fds()}")


def run(*args, text=None, folder=None, timeout=TIMEOUT * 2, env=None, wrapper=(), pass_fds=()):
    """Runs the daemon to its end: (exit code, stdout, stderr)."""
    if text is not None:
        path = pathlib.Path(folder) / "usherd.conf"
        path.write_text(text)
        args = ("--config", str(path), *args)
    command = [*wrapper, *(["setarch", "-R"] if SANITIZER == "thread" else []), USHERD, *args]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, cwd=folder,
        env={**os.environ, **(env or {})}, pass_fds=pass_fds, check=False,
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert not SANITIZER_REPORT.search(err), err
    assert done.returncode >= 0, f"ended by signal {-done.returncode}: {err}"
    return done.returncode, out, err
