# SPDX-License-Identifier: MIT
"""Attacks with real programs against a web server behind usherd, while a trusted client goes on as if nothing was."""
import contextlib
import http.client
import re
import subprocess
import threading
import time

import pytest

import programs
from conftest import find_program
from harness import SLOW, connect, listener, proxy, reset, split_address

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
            [find_program("slowhttptest"), kind, "-c", "400", "-r", "200", "-i", "2", "-l", "6", "-p", "3",
             "-u", f"http://{address}/"],
            capture_output=True, text=True, check=False, timeout=60 * SLOW,
        )
        seconds = visitor.stop()
        print(f"{kind}: {len(seconds)} requests of the trusted client, the slowest took {seconds[-1] * 1000:.0f} ms")
        assert not visitor.errors, visitor.errors[:5]
        assert len(seconds) > 20
        assert re.search(r"closed|error|connections", done.stdout), done.stdout[-500:]
        daemon.wait_refused("limit_per_source", "127.0.0.1")


@pytest.mark.heavy
@pytest.mark.programs("nginx")
def test_connection_flood(usherd, folder):
    """One source opens connections as fast as it can."""
    with programs.nginx(folder) as upstream:
        web = {**public(upstream), "ban": {"after": 100, "within": "10s", "for": "1h", "max": "1h"}}
        daemon = usherd({"web": web})
        address = daemon.address("web")
        visitor = Visitor(address)
        tried = 0
        held = []
        end = time.monotonic() + 3
        while time.monotonic() < end or tried < 2000:
            with contextlib.suppress(OSError):
                sock = connect(address, source=("127.0.0.66", 0))
                held.append(sock)
            tried += 1
            if len(held) > 500:
                reset(held.pop(0))
        seconds = visitor.stop()
        print(f"{tried} connections; {len(seconds)} requests of the trusted client, the slowest took {seconds[-1] * 1000:.0f} ms")
        for sock in held:
            sock.close()
        assert not visitor.errors, visitor.errors[:5]
        assert len(seconds) > 20
        daemon.wait_log(r"web: 127\.0\.0\.66 is banned for 1")
        daemon.stop()
        assert daemon.refused(peer="127.0.0.66") > 1000
        assert not daemon.refused(peer=TRUSTED)
