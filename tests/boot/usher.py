# SPDX-License-Identifier: MIT
"""usherd in a machine: its units, its configuration, its processes; and clients that count what goes wrong."""
import contextlib
import os
import re
import socket
import threading
import time

import harness

CONFIG = "/etc/usher/usherd.conf"
SERVICE = "usherd.service"
SOCKET = "usherd.socket"
# what systemd's units in /etc may be called
OWN_UNITS = "/etc/systemd/system"


class Usher:
    """What is changed here is undone by restore()."""

    def __init__(self, machine):
        self.machine = machine
        self.config_before = machine.read(CONFIG)
        self.files = []
        self.undo = contextlib.ExitStack()
        if machine.property(SERVICE, "ActiveState") != "active":
            machine.systemctl("start", SERVICE)
        machine.mark()

    def restore(self):
        self.undo.close()
        m = self.machine
        m.path(CONFIG).write_text(self.config_before, encoding="utf-8")
        for file in self.files:
            m.path(file).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                m.path(file).parent.rmdir()
        m.systemctl("stop", SOCKET, SERVICE, check=False)
        if self.files:
            m.systemctl("daemon-reload")
        m.systemctl("reset-failed")
        m.systemctl("start", SERVICE)

    # ---- what an administrator writes

    def configure(self, listeners=None, text=None, **top):
        """Writes the configuration, and does no more."""
        if text is None:
            values = {"workers": 2, **top, "listeners": listeners}
            text = "".join(f"{name} = {harness.render(value)};\n" for name, value in values.items())
        self.machine.write(CONFIG, text)

    def unit(self, name, text):
        """A unit file of the administrator's, or a drop-in ("usherd.service.d/x.conf")."""
        file = f"{OWN_UNITS}/{name}"
        self.files.append(file)
        self.machine.write(file, text)
        self.machine.systemctl("daemon-reload")

    def drop_in(self, text, unit=SERVICE):
        self.unit(f"{unit}.d/{len(self.files)}.conf", text)

    def restart(self, listeners=None, **top):
        """Restarts it, with these listeners if there are any."""
        if listeners is not None:
            self.configure(listeners, **top)
        self.machine.systemctl("reset-failed", SERVICE)
        self.machine.systemctl("restart", SERVICE)

    # ---- what it is

    @property
    def pid(self):
        """Its process id in the machine."""
        return int(self.machine.property(SERVICE, "MainPID"))

    @property
    def active(self):
        return self.machine.property(SERVICE, "ActiveState")

    def status(self):
        """Its lines in /proc/PID/status."""
        text = self.machine.run("cat", f"/proc/{self.pid}/status").stdout
        return dict(line.split(":\t", 1) for line in text.splitlines())

    def status_page(self):
        """What systemctl status says."""
        return self.machine.run("systemctl", "status", "--no-pager", "-l", SERVICE, check=False).stdout

    def status_text(self):
        return self.machine.property(SERVICE, "StatusText")

    def worker_thread(self, number):
        """The thread id of a worker, outside of the machine."""
        pid = self.machine.outside(self.pid)
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm", encoding="utf-8") as name:
                if name.read().strip() == f"usherd-w{number}":
                    return int(task)
        raise AssertionError(f"there is no usherd-w{number}")

    def ask(self, address, data=b"hello", **options):
        """What echo says at this address."""
        with self.machine.connect(address, **options) as sock:
            return harness.ask(sock, data)

    def load(self, address, clients=4):
        return Load(self.machine, address, clients)


class Load:
    """Clients that connect to an echo listener, ask, and leave, over and over: `with usher.load(address) as load`. At the end no
    one may have been refused, reset, or left without an answer."""

    def __init__(self, machine, address, clients):
        self.machine = machine
        self.address = address
        self.served = 0
        self.problems = []
        self.over = threading.Event()
        self.counting = threading.Lock()
        self.threads = [threading.Thread(target=self._go, args=(n,), daemon=True) for n in range(clients)]

    def _go(self, number):
        text = f"client {number}".encode()
        with self.machine.inside():
            while not self.over.is_set():
                try:
                    with harness.connect(self.address, timeout=30) as sock:
                        answer = harness.ask(sock, text)
                        sock.shutdown(socket.SHUT_WR)
                        rest = harness.read_all(sock)
                    problem = None if answer == text and not rest else f"{text} got {answer + rest}"
                except OSError as error:
                    problem = repr(error)
                with self.counting:
                    self.served += problem is None
                    if problem:
                        self.problems.append(f"{time.monotonic():.3f} {problem}")
                time.sleep(0.002)

    def wait_for(self, more):
        """Until so many more have been served."""
        until = self.served + more
        harness.wait_until(lambda: self.served >= until or self.problems, "the load to be served")

    def forgive(self, pattern):
        with self.counting:
            self.problems = [p for p in self.problems if not re.search(pattern, p)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.wait_for(1)
        return self

    def __exit__(self, *raised):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        if raised[0] is None:
            assert not self.problems, f"{len(self.problems)} of {self.served + len(self.problems)}: {self.problems[:5]}"
