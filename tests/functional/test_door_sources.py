# SPDX-License-Identifier: MIT
"""The table of sources under floods from more addresses than it has room for."""
import re
import threading
import time

import pytest

from harness import SANITIZER, SLOW, Flood, ask, comes_in, ended, listener, visit, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.root, pytest.mark.programs("ip")]

ENTRIES = 32768
ENTRY_BYTES = 96
# what else grows while connections come as fast as they can: queues, the log, the allocator's own
SLACK_KIB = 3 << 10
ATTACKER = "fd00:bad::1"
# two entries are made of each source, the door's and the listener's
COUNTS = [30000, 60000]


class Honest:
    """One with a connection that stays, and new ones, from all over a network of its own."""

    def __init__(self, network, address):
        self.network, self.address = network, address
        self.stays = network.connect(address, "fd00:600d::1")
        self.came, self.longest, self.errors = 0, 0.0, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with self.network.inside():
            while not self.stopping.wait(0.01):
                start = time.monotonic()
                try:
                    if not comes_in(self.address, f"fd00:600d:0:{self.came % 200:x}::1"):
                        self.errors.append("turned away")
                    assert ask(self.stays) == b"hello"
                except (OSError, AssertionError) as error:
                    self.errors.append(error)
                self.came += 1
                self.longest = max(self.longest, time.monotonic() - start)

    def stop(self):
        self.stopping.set()
        self.thread.join(60 * SLOW)
        self.stays.close()
        assert not self.errors, self.errors[:5]
        assert self.came > 20


def get_banned(daemon, network, address):
    first = network.connect(address, ATTACKER)
    assert ask(first) == b"hello"
    for _ in range(3):
        assert ended(network.visit(address, ATTACKER)) == "reset"
    daemon.wait_log(r"^door: fd00:bad::/64 is banned for 2h")
    first.close()
    wait_until(lambda: not network.comes_in(address, ATTACKER))


# what each source of the flood leaves behind: nothing, something counted for a rate, an offence, a ban
KINDS = {
    "served": {"service": "daytime"},
    "rate": {"service": "daytime", "limits": {"rate_per_source": "1/d burst 2"}},
    "offence": {"service": "echo", "deny": ["fd00:f100::/32"]},
    "ban": {"service": "echo", "deny": ["fd00:f100::/32"], "ban": {"after": 1, "for": "1h", "max": "2h"}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_of_sources(usherd, network, kind):
    options = dict(KINDS[kind])
    web = listener("echo", "[fd00::1]:0", limits={"per_source": 1}, trusted=["fd00:600d::/64"])
    daemon = usherd(
        {"web": web, "flooded": listener(options.pop("service"), "[fd00::1]:0", **options)}, log_level="notice",
        door={"sources": {"entries": ENTRIES}, "ban": {"after": 3, "for": "2h", "max": "2h"}},
        start_options={"wrapper": network.wrapper},
    )
    address, flooded = daemon.address("web"), daemon.address("flooded")
    get_banned(daemon, network, address)
    # what is taken once, whoever comes
    refused, _ = Flood(flooded, "500x", "fd00:f100:ffff::1", wrapper=network.wrapper).wait()
    honest = Honest(network, address)
    memory = [daemon.own_kib()]
    start = time.monotonic()
    for count in COUNTS:
        of_this, answered = Flood(flooded, f"{count}x", "fd00:f100::/32", 64, network.wrapper).wait()
        assert of_this + answered == count
        assert (of_this if "deny" in options else answered) == count
        refused += of_this
        memory.append(daemon.own_kib())
    seconds = time.monotonic() - start
    honest.stop()
    empty, full, after = memory
    print(f"{kind}: {sum(COUNTS)} connections in {seconds:.1f} s; {empty} KiB, {full} KiB with all {ENTRIES} entries "
          f"({(full - empty) * 1024 / ENTRIES:.0f} bytes each), {after} KiB at the end; an honest client came {honest.came} "
          f"times and waited {honest.longest * 1000:.0f} ms at most")
    assert (full - empty) * 1024 >= ENTRIES * ENTRY_BYTES / 2, "they were there"
    # a sanitizer keeps what was freed
    assert SANITIZER or full - empty <= ENTRIES * ENTRY_BYTES / 1024 + SLACK_KIB
    assert SANITIZER or after - full <= SLACK_KIB
    # nobody's ban was forgotten: not in the table, and not in the log
    assert not network.comes_in(address, ATTACKER)
    assert not any("fd00:bad::/64 has ended" in message for message in daemon.log)
    daemon.stop()
    assert daemon.refused("limit_per_source", "fd00:bad::/64", "web") == 3
    assert daemon.refused("banned", "fd00:bad::/64", "web") >= 2
    assert daemon.refused(listener="flooded") == refused, "each of them is counted"
    told = len([m for m in daemon.log if " is banned for " in m])
    told += sum(int(n) for m in daemon.log for n in re.findall(r"^(\d+) more sources were banned", m))
    if kind == "ban":
        assert told == ENTRIES * 3 // 4, "a quarter is left for others"
