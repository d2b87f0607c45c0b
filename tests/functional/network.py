# SPDX-License-Identifier: MIT
"""A network of a test's own, in which every address of 10.0.0.0/8, 127.0.0.0/8 and fd00::/16 is one of the test's."""
import contextlib
import ctypes
import itertools
import os
import subprocess

from harness import comes_in, connect, visit

CLONE_NEWNET = 0x40000000
NUMBERS = itertools.count()
libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd):
    if libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")


@contextlib.contextmanager
def inside_of(path):
    """Sockets that this thread makes are in the network that this file in /run/netns or /proc is."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            _setns(fd)
        finally:
            os.close(fd)
        try:
            yield
        finally:
            _setns(before)
    finally:
        os.close(before)


class Network:
    """`wrapper` is what a daemon in it is started with. Raises CalledProcessError when there can be none."""

    def __init__(self):
        self.name = f"usn{os.getpid()}x{next(NUMBERS)}"  # a namespace goes in its own time: never the same again
        self.wrapper = ["ip", "netns", "exec", self.name]
        subprocess.run(["ip", "netns", "add", self.name], check=True, capture_output=True)
        try:
            for line in ("link set lo up", "route add local 10.0.0.0/8 dev lo", "route add local fd00::/16 dev lo"):
                family = ["-6"] if "fd00" in line else []
                subprocess.run(["ip", *family, "-n", self.name, *line.split()], check=True, capture_output=True)
            with self.inside(), open("/proc/sys/net/ipv6/ip_nonlocal_bind", "w", encoding="ascii") as setting:
                setting.write("1")
        except BaseException:
            self.remove()
            raise

    def inside(self):
        """Sockets that this thread makes are in this network."""
        return inside_of(f"/run/netns/{self.name}")

    def ip(self, *args):
        """Runs ip(8) in it."""
        subprocess.run(["ip", "-n", self.name, *args], check=True, capture_output=True)

    def connect(self, address, source, **options):
        with self.inside():
            return connect(address, source=(source, 0), **options)

    def visit(self, address, source):
        with self.inside():
            return visit(address, source=(source, 0))

    def comes_in(self, address, source):
        with self.inside():
            return comes_in(address, source)

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
