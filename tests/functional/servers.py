# SPDX-License-Identifier: MIT
"""Servers that stand behind the proxy in tests, each in threads of the test's own process."""
import collections
import contextlib
import hashlib
import os
import re
import socket
import struct
import threading

import kinds
from harness import reset


class Server:
    """Accepts and runs handler(sock, self) in a thread for each connection; the socket is closed after it."""

    def __init__(self, handler, family=socket.AF_INET, address=None, backlog=1024, buffer=None):
        self.handler = handler
        self.count = 0  # connections so far
        self.changed = threading.Condition()
        self.conns = []
        self.values = collections.Counter()  # for handlers
        self.stopping = threading.Event()
        self.listening = socket.socket(family, socket.SOCK_STREAM)
        if family != socket.AF_UNIX:
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            address = address or (("127.0.0.1", 0) if family == socket.AF_INET else ("::1", 0))
        if buffer:
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.listening.bind(address)
        self.listening.listen(backlog)
        self.path = address if family == socket.AF_UNIX else None
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    @property
    def address(self):
        """As usher writes it."""
        name = self.listening.getsockname()
        if self.path is not None:
            return "unix:" + ("@" + self.path[1:] if self.path.startswith("\0") else self.path)
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    @property
    def port(self):
        return self.listening.getsockname()[1]

    def _accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listening.accept()
            except OSError:
                return
            with self.changed:
                self.count += 1
                self.conns.append(sock)
                self.changed.notify_all()
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError):
            self.handler(sock, self)
        with contextlib.suppress(OSError):
            sock.close()
        with self.changed:
            if sock in self.conns:
                self.conns.remove(sock)
            self.changed.notify_all()

    def add(self, name, n=1):
        with self.changed:
            self.values[name] += n
            self.changed.notify_all()

    def wait(self, condition, timeout=30):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self), timeout), (self.count, dict(self.values))

    def stop(self):
        self.stopping.set()
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for sock in list(self.conns):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        if self.path and not self.path.startswith("\0"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


# ---- handlers


def echo(sock, _server):
    while data := sock.recv(262144):
        sock.sendall(data)


def sink(sock, server):
    while data := sock.recv(262144):
        server.add("bytes", len(data))
    server.add("ends")


def digests(sock, _server):
    """Answers all that came, once it has ended, with its length and SHA-256, and ends."""
    digest, total = hashlib.sha256(), 0
    while data := sock.recv(262144):
        digest.update(data)
        total += len(data)
    sock.sendall(f"{total} {digest.hexdigest()}".encode())


def digest_of(data):
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()


def notes_end(sock, server):
    """values["end"], ["reset"] or ["truncated"]: how what came has ended."""
    try:
        while data := sock.recv(262144):
            server.add("bytes", len(data))
        server.add("end")
    except ConnectionResetError:
        server.add("reset")
    except OSError:
        server.add("truncated")


def answers_then_notes_end(sock, server):
    """Answers what comes first, ends its own side, then as notes_end."""
    sock.recv(65536)
    sock.sendall(b"answer")
    sock.shutdown(socket.SHUT_WR)
    notes_end(sock, server)


def hang(_sock, server):
    server.stopping.wait()


def says(data):
    """Sends data and ends."""

    def handler(sock, _server):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    return handler


def source(total, block=262144):
    """Sends `total` bytes and ends; values["sent"] tells how far it is."""

    def handler(sock, server):
        data = bytes(block)
        left = total
        while left:
            n = sock.send(data[:left] if left < block else data)
            left -= n
            server.add("sent", n)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    return handler


def resets_after(n):
    """Sends n bytes, then resets."""

    def handler(sock, server):
        sock.sendall(b"x" * n)
        if n:
            sock.recv(1)  # the peer has it all when it says so
        server.add("resets")
        reset(sock)

    return handler


def refusing():
    """A bound socket that does not listen: connects to it are refused. Returns (socket, address)."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, "127.0.0.1:%d" % sock.getsockname()[1]


class Blackhole:
    """A listener whose backlog is full: connects to it get no answer."""

    def __init__(self):
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(0)
        self.fill = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(self.listening.getsockname())
            self.fill.append(sock)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.listening.getsockname()[1]

    def stop(self):
        for sock in self.fill:
            sock.close()
        self.listening.close()


class Dns:
    """A name server: names[NAME] is a list of (address, ttl), aliases[NAME] is (NAME, ttl); silent names get no answer,
    unknown ones NXDOMAIN, long ones are answered in full over TCP only."""

    def __init__(self):
        self.names = {}
        self.aliases = {}
        self.silent = set()
        self.long = set()
        self.silent_kinds = set()  # "AAAA": only that is not answered
        self.queries = []  # (name, "A" or "AAAA")
        self.changed = threading.Condition()
        while True:  # until a port is free for both
            self.tcp = socket.create_server(("127.0.0.1", 0))
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.sock.bind(self.tcp.getsockname())
                break
            except OSError:
                self.sock.close()
                self.tcp.close()
        self.threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.sock.getsockname()[1]

    def count(self, name, kind=None):
        with self.changed:
            return sum(1 for asked, type_ in self.queries if asked == name and kind in (None, type_))

    def _serve(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            answer = self._answer(query)
            if answer:
                self.sock.sendto(answer, peer)

    def _serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError, struct.error):
                while True:
                    (size,) = struct.unpack("!H", sock.recv(2, socket.MSG_WAITALL))
                    answer = self._answer(sock.recv(size, socket.MSG_WAITALL), over_tcp=True)
                    sock.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, query, over_tcp=False):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question_end = at + 5
        name = ".".join(labels).lower()
        kind = {1: "A", 28: "AAAA"}.get(struct.unpack("!H", query[at + 1 : at + 3])[0], "other")
        with self.changed:
            self.queries.append((name, kind))
            self.changed.notify_all()
        if name in self.silent or kind in self.silent_kinds:
            return None
        records = []
        owner = b"\xc0\x0c"
        while name in self.aliases:
            name, ttl = self.aliases[name]
            target = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
            records.append(owner + struct.pack("!HHIH", 5, 1, ttl, len(target)) + target)
            owner = target
        for address, ttl in self.names.get(name, []):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            if (family == socket.AF_INET6) == (kind == "AAAA") and kind != "other":
                data = socket.inet_pton(family, address)
                type_ = 28 if kind == "AAAA" else 1
                records.append(owner + struct.pack("!HHIH", type_, 1, ttl, len(data)) + data)
        code = 0 if name in self.names else 3
        cut = 0
        if name in self.long and not over_tcp:
            records, cut = [], 0x200
        header = query[:2] + struct.pack("!HHHHH", 0x8580 | cut | code, 1, len(records), 0, 0)
        return header + query[12:question_end] + b"".join(records)

    def stop(self):
        with contextlib.suppress(OSError):
            self.sock.sendto(b"", self.sock.getsockname())
        with contextlib.suppress(OSError):
            self.tcp.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(5)
        self.sock.close()
        self.tcp.close()


class NotifySocket:
    """What a daemon tells systemd."""

    def __init__(self, path):
        self.path = str(path)
        self.messages = []  # each a dict
        self.changed = threading.Condition()
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        os.chmod(self.path, 0o777)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            data = self.sock.recv(8192).decode()
            if data == "stop":
                return
            message = dict(line.split("=", 1) for line in data.splitlines() if "=" in line)
            with self.changed:
                self.messages.append(message)
                self.changed.notify_all()

    def count(self, key):
        with self.changed:
            return sum(1 for message in self.messages if key in message)

    def wait(self, key, value=None, count=1, timeout=30):
        """Waits for `count` messages with this key (and value, a predicate) and returns the last of them."""

        def found():
            return [m for m in self.messages if key in m and (value is None or value(m[key]))]

        with self.changed:
            assert self.changed.wait_for(lambda: len(found()) >= count, timeout), (key, self.messages)
            return found()[count - 1]

    def stop(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(self.path)
            sock.send(b"stop")
        self.thread.join(5)
        self.sock.close()


ACTIVATE = """
import os, sys
names, fds = sys.argv[1], [int(fd) for fd in sys.argv[2].split(",")]
base = 3 + len(fds) + max(fds)
high = [os.dup2(fd, base + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=names)
os.closerange(3 + len(fds), base)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def activation(passed, inner=()):
    """How a daemon is started as systemd does it, with (name, descriptor) pairs; `inner` is a command before it."""
    fds = [fd for _, fd in passed]
    if not fds:
        return {"wrapper": list(inner), "pass_fds": ()}
    wrapper = ["/usr/bin/python3", "-c", ACTIVATE, ":".join(name for name, _ in passed), ",".join(map(str, fds)), *inner]
    return {"wrapper": wrapper, "pass_fds": fds}


class Manager(NotifySocket):
    """systemd with its descriptor store: manager.start_options() of the next start has what it keeps."""

    def __init__(self, path, size=1024):
        self.size = size
        self.store = []  # (name, descriptor)
        self.polled = []  # names of those that it was to watch
        self.running = threading.Event()
        self.running.set()
        super().__init__(path)

    def _read(self):
        while True:
            self.running.wait()
            data, fds, _, _ = socket.recv_fds(self.sock, 8192, 64)
            if data == b"stop":
                return
            message = dict(line.split("=", 1) for line in data.decode().splitlines() if "=" in line)
            with self.changed:
                self._obey(message, fds)
                self.messages.append(message)
                self.changed.notify_all()

    def _obey(self, message, fds):
        name = message.get("FDNAME", "stored")
        assert len(name) <= 255 and ":" not in name and name.isprintable() and name.isascii()
        if message.get("FDSTORE") == "1":
            known = {os.fstat(fd).st_ino for _, fd in self.store}
            while fds and len(self.store) < self.size:
                fd = fds.pop()
                if os.fstat(fd).st_ino in known:
                    os.close(fd)
                    continue
                self.store.append((name, fd))
                if message.get("FDPOLL") != "0":
                    self.polled.append(name)
        if message.get("FDSTOREREMOVE") == "1":
            for _, fd in [pair for pair in self.store if pair[0] == name]:
                os.close(fd)
            self.store = [pair for pair in self.store if pair[0] != name]
        # what there is no room for; of BARRIER=1 this is the answer
        for fd in fds:
            os.close(fd)

    def wait_stored(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.store) == count, 30), (count, self.store, self.messages[-20:])

    def sockets(self):
        """What is stored, as Python's sockets."""
        with self.changed:
            return [socket.socket(fileno=os.dup(fd)) for _, fd in self.store]

    def start_options(self, passed=(), inner=(), env=None):
        """With sockets of socket units, (name, socket), before those of the store."""
        with self.changed:
            pairs = [(name, sock.fileno()) for name, sock in passed] + self.store
        env = {"NOTIFY_SOCKET": self.path, "FDSTORE": str(self.size), **(env or {})}
        return {**activation(pairs, inner), "env": env}

    def stop(self):
        self.running.set()
        super().stop()
        for _, fd in self.store:
            os.close(fd)


class Journal:
    """A journal in a private /run, for a daemon whose stderr is the journal's stream. Only root can have one."""

    def __init__(self, folder):
        os.mkdir(f"{folder}/journal")
        self.path = f"{folder}/journal/socket"
        self.sock = None
        self.come()
        self.read_end, self.write_end = os.pipe()
        found = os.fstat(self.write_end)
        mount = (
            f'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd && ln -s "{folder}/journal" /run/systemd/journal && exec "$@"'
        )
        self.start_options = {
            "wrapper": ["unshare", "-m", "sh", "-c", mount, "sh"], "stderr": self.write_end,
            "env": {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
        }
        self.records = []  # dicts of fields, as they came
        self.taken = 0

    def come(self):
        """Begins, or is there again, with a new socket in the place of the old one."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.settimeout(30)
        os.chmod(self.path, 0o777)

    def go(self, leave_file=False):
        """Ends; what was not received is lost."""
        self.sock.close()
        if not leave_file:
            os.unlink(self.path)

    def wait(self, **wanted):
        """The next record with these fields (patterns); those before it are passed over."""
        while True:
            if self.taken == len(self.records):
                self.records.append(self.receive())
            fields = self.records[self.taken]
            self.taken += 1
            if all(re.search(pattern, fields.get(key, "")) for key, pattern in wanted.items()):
                return fields

    def receive(self):
        data, files, _, _ = socket.recv_fds(self.sock, 1 << 20, 1)
        for fd in files:  # what is larger than a datagram may be
            with open(fd, "rb") as file:
                file.seek(0)
                data = file.read()
        fields = journal_fields(data)
        kinds.check(fields)
        return fields

    def address(self, name):
        """A listener's address."""
        return self.wait(MESSAGE=rf"^listening on \S+ \({name}\)")["MESSAGE"].split()[2]

    def stop(self):
        for fd in (self.read_end, self.write_end):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.sock.close()


def journal_fields(datagram):
    """A datagram of the journal's native protocol as a dict."""
    fields = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        if b"=" in line:
            key, _, value = line.partition(b"=")
            fields[key.decode()] = value.decode()
            datagram = rest
        else:
            size = struct.unpack("<Q", rest[:8])[0]
            fields[line.decode()] = rest[8 : 8 + size].decode()
            datagram = rest[8 + size + 1 :]
    return fields
