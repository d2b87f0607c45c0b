# SPDX-License-Identifier: MIT
"""9,000 idle proxied connections under 20,000 descriptors."""
import pathlib
import resource
import subprocess

import pytest

from harness import SANITIZER, listener, proxy, wait_until

PAIRS = 9000
KIB_A_PAIR = 0.6
CROWD = [
    "/usr/bin/python3", str(pathlib.Path(__file__).parent / "crowd.py"),
]


@pytest.fixture
def crowd():
    """Starts crowd.py processes; they end with their stdin."""
    started = []

    def start(*args):
        process = subprocess.Popen([*CROWD, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   preexec_fn=raise_limit)
        started.append(process)
        return process

    yield start
    for process in started:
        process.stdin.close()
        process.stdout.close()
        process.terminate()
        process.wait()


def raise_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.mark.heavy
@pytest.mark.skipif(SANITIZER is not None, reason="memory is measured in the normal build")
def test_9000_idle_pairs(usherd, crowd):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pairs = min(PAIRS, (hard - 200) // 2)
    assert pairs >= 1000, f"the limit of {hard} descriptors is too low for this test"
    server = crowd("server")
    daemon = usherd({"web": listener(proxy(f"127.0.0.1:{server.stdout.readline().strip()}"))}, log_level="info",
                    start_options={"wrapper": ["prlimit", f"--nofile={min(hard, 20000)}:{min(hard, 20000)}"]})
    port = daemon.port("web")

    def visit(count):
        client = crowd("client", port, count)
        assert client.stdout.readline() == "open\n"
        return client

    def leave(client, count):
        client.stdin.close()
        client.wait(60)
        wait_until(lambda: len(daemon.close_records()) >= count, "all close records")

    leave(visit(200), 200)  # what is allocated once is there now
    fds = daemon.fds()
    before = daemon.pss_kib()
    client = visit(pairs)
    wait_until(lambda: daemon.fds() >= fds + 2 * pairs)
    full = daemon.pss_kib()
    a_pair = (full - before) / pairs
    print(f"{pairs} pairs: {before} KiB before, {full} KiB with them, {a_pair:.3f} KiB a pair")
    assert a_pair <= KIB_A_PAIR
    client.stdin.write("again\n")
    client.stdin.flush()
    assert client.stdout.readline() == "asked\n"
    assert not any("accepting paused" in message for message in daemon.log)
    leave(client, 200 + pairs)
    daemon.wait_fds(fds)
    after = daemon.pss_kib()
    print(f"{after} KiB after they left")
    wait_until(lambda: daemon.pss_kib() - before < max(1024, (full - before) * 0.25), lambda: f"memory to return: {daemon.pss_kib()} KiB")
    assert {record.reason for record in daemon.close_records()} == {"client_closed"}
    daemon.stop()
