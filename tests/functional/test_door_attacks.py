# SPDX-License-Identifier: MIT
"""Attacks with real programs against a web server behind usherd, while a trusted client goes on as if nothing was."""
import http.client
import re
import subprocess
import threading
import time

import pytest

import programs
from conftest import find_program
from harness import SLOW, Flood, listener, proxy, split_address

TRUSTED = "127.0.0.9"


class Visitor:
    """A trusted client that asks for a page on a connection of its own, again and again."""

    def __init__(self, address):
        self.address = split_address(address)
        self.seconds = []
        self.errors = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping.wait(0.02):
            start = time.monotonic()
            try:
                web = http.client.HTTPConnection(*self.address, timeout=30 * SLOW, source_address=(TRUSTED, 0))
                web.request("GET", "/")
                answer = web.getresponse()
                if answer.status != 200 or b"hello" not in answer.read():
                    self.errors.append(answer.status)
                web.close()
            except OSError as error:
                self.errors.append(error)
            self.seconds.append(time.monotonic() - start)

    def stop(self):
        self.stopping.set()
        self.thread.join(60 * SLOW)
        return sorted(self.seconds)


def public(upstream):
    return listener(
        proxy(upstream), trusted=[TRUSTED], limits={"per_source": 50, "rate_per_source": "200/s burst 400"},
        timeouts={"first_byte": "2s", "idle": "5s", "lifetime": "1min"},
    )


def came_from(daemon, source):
    """After its end: how many connections of a source were refused, and how many were let in."""
    return daemon.refused(peer=source), len([r for r in daemon.close_records() if r.peer.startswith(f"{source}:")])


CONNECTIONS = 400
STATUS = re.compile(r"(initializing|pending|connected|error|closed):\s+(\d+)")


def slowhttptest_saw(output):
    """What it says of its connections in the end."""
    plain = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", output)
    return {name: int(n) for name, n in STATUS.findall(plain)}  # the last of each


@pytest.mark.heavy
@pytest.mark.programs("nginx", "slowhttptest")
@pytest.mark.parametrize("kind", ["-H", "-B", "-X"])
def test_slow_http(usherd, folder, kind):
    """Slow headers, slow bodies, slow reading: an attacker has its connections, and no more."""
    with programs.nginx(folder) as upstream:
        daemon = usherd({"web": public(upstream)})
        address = daemon.address("web")
        visitor = Visitor(address)
        done = subprocess.run(
            [find_program("slowhttptest"), kind, "-c", str(CONNECTIONS), "-r", "200", "-i", "2", "-l", "6", "-p", "3",
             "-u", f"http://{address}/"],
            capture_output=True, text=True, check=False, timeout=60 * SLOW,
        )
        seconds = visitor.stop()
        daemon.stop()
        refused, let_in = came_from(daemon, "127.0.0.1")
        saw = slowhttptest_saw(done.stdout)
        print(f"{kind}: {saw}; {refused} refused, {let_in} let in; {len(seconds)} requests of the trusted client, the slowest took "
              f"{seconds[-1] * 1000:.0f} ms")
        assert not visitor.errors, visitor.errors[:5]
        assert len(seconds) > 20
        # the attack took place as it was meant, and each of its connections is accounted for; slowhttptest itself looks
        # now and then whether the server is there
        assert sum(saw.values()) == CONNECTIONS, done.stdout[-1500:]
        assert saw["closed"] >= CONNECTIONS - 50 and saw["connected"] <= 50, saw
        assert CONNECTIONS <= refused + let_in <= CONNECTIONS + 20
        assert refused == daemon.refused("limit_per_source", "127.0.0.1") + daemon.refused("limit_rate_per_source", "127.0.0.1")
        assert refused >= saw["closed"] - let_in
        assert came_from(daemon, TRUSTED) == (0, len(seconds))


@pytest.mark.heavy
@pytest.mark.programs("nginx")
def test_connection_flood(usherd, folder):
    """One source opens connections as fast as it can."""
    with programs.nginx(folder) as upstream:
        web = {**public(upstream), "ban": {"after": 100, "within": "10s", "for": "1h", "max": "1h"}}
        daemon = usherd({"web": web})
        address = daemon.address("web")
        visitor = Visitor(address)
        floods = [Flood(address, 3, "127.0.0.66"), Flood(address, "5000x", "127.0.0.66")]
        attempts = sum(sum(flood.wait()) for flood in floods)
        seconds = visitor.stop()
        daemon.wait_log(r"web: 127\.0\.0\.66 is banned for 1h")
        daemon.stop()
        refused, let_in = came_from(daemon, "127.0.0.66")
        print(f"{attempts} connections, {refused} refused, {let_in} let in; {len(seconds)} requests of the trusted client, the "
              f"slowest took {seconds[-1] * 1000:.0f} ms")
        assert not visitor.errors, visitor.errors[:5]
        assert len(seconds) > 20
        assert attempts >= 5000 and refused + let_in == attempts, "each of them is counted"
        assert let_in <= 400 + 200 * 10 and daemon.refused("banned", "127.0.0.66") > 1000
        assert not daemon.refused(peer=TRUSTED)
        assert came_from(daemon, TRUSTED) == (0, len(seconds))
