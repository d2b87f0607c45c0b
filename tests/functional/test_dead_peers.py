# SPDX-License-Identifier: MIT
"""Peers that are gone without a word, or take nothing: user_timeout finds those with data under way, keepalive idle ones."""
import contextlib
import itertools
import os
import re
import subprocess

import pytest

import servers
from harness import TIMEOUT, ask, ended, listener, proxy, wait_until

HOSTS = itertools.count()
KEEPALIVE = {"idle": "1s", "interval": "1s", "count": 2}


def test_a_client_that_takes_nothing(usherd):
    daemon = usherd({"gen": listener("chargen", user_timeout="500ms", timeouts={"idle": "1h"})})
    sock = daemon.connect("gen")
    daemon.wait_closed("client_timeout")
    assert ended(sock) == "reset"


def test_an_upstream_that_takes_nothing(usherd, serve):
    upstream = serve(servers.hang)
    daemon = usherd({"web": listener(proxy(upstream.address), user_timeout="500ms", timeouts={"idle": "1h"})})
    sock = daemon.connect("web")
    sock.settimeout(0.2)
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        for _ in range(400):
            sock.sendall(bytes(262144))
    daemon.wait_closed("upstream_timeout")
    assert ended(sock) == "reset"


def keepalive_s(port):
    """Of the established connections to this port: in how many seconds the kernel asks whether the peer is there; None: never."""
    out = subprocess.run(["ss", "-Htno", "state", "established", f"( dport = :{port} )"], capture_output=True, text=True, check=True).stdout
    assert out
    timer = re.search(r"timer:\(keepalive,(?:1min)?(?:([\d.]+)(ms|sec))?", out)
    if not timer:
        return None
    return ("1min" in timer.group()) * 60 + float(timer.group(1) or 0) / (1000 if timer.group(2) == "ms" else 1)


@pytest.mark.programs("ss")
@pytest.mark.slow
def test_an_upstream_that_lasts_is_asked_whether_it_is_there(usherd, serve):
    """Its socket gets the options after a while, and then it is as if it had had them from the beginning."""
    upstream = serve(servers.echo)
    soon = serve(servers.echo)
    daemon = usherd({
        "web": listener(proxy(upstream.address)), "soon": listener(proxy(soon.address), keepalive={"idle": "9s"}),
    })
    sock, soon_sock = daemon.connect("web"), daemon.connect("soon")
    assert ask(sock) == b"hello" and ask(soon_sock) == b"hello"
    assert keepalive_s(soon.port) is not None, "what is to be found soon does not wait"
    assert keepalive_s(upstream.port) is None
    wait_until(lambda: keepalive_s(upstream.port) is not None, "the options", timeout=4 * TIMEOUT)
    assert keepalive_s(upstream.port) <= 51, "a minute, from the last that was heard of it"
    assert ask(sock) == b"hello"


@pytest.fixture
def far():
    """A host of its own behind a cable: (this end's address, the other's, a prefix to run commands there, pulls the cable)."""
    name = f"ush{os.getpid()}x{next(HOSTS)}"  # a namespace goes in its own time: never the same again
    near_link, far_link = f"{name}a", f"{name}b"

    def ip(*args):
        subprocess.run(["ip", *args], check=True, capture_output=True)

    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace to be had: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", near_link, "type", "veth", "peer", "name", far_link, "netns", name)
        ip("addr", "add", "198.18.77.1/30", "dev", near_link)
        ip("link", "set", near_link, "up")
        inside = ["ip", "netns", "exec", name]
        subprocess.run([*inside, "ip", "addr", "add", "198.18.77.2/30", "dev", far_link], check=True)
        subprocess.run([*inside, "ip", "link", "set", far_link, "up"], check=True)

        def pull():
            ip("-n", name, "link", "set", far_link, "down")
            ip("neigh", "flush", "dev", near_link)  # so the kernel asks for the host anew, in vain: EHOSTUNREACH

        yield "198.18.77.1", inside, pull
    finally:
        subprocess.run(["ip", "link", "del", near_link], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


CLIENT = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.sendall(b"hello")
assert sock.recv(5) == b"hello"
print("served", flush=True)
sys.stdin.read()
"""


@pytest.mark.root
@pytest.mark.programs("ip")
@pytest.mark.parametrize("kind", ["idle", "owed"])
def test_a_client_whose_cable_is_pulled(usherd, serve, far, kind):
    """Found without a word from it, idle or with data on the way; the upstream gets a reset, others go on."""
    near, inside, pull = far
    upstream = serve(servers.echo)
    options = {"keepalive": KEEPALIVE, "user_timeout": "5s", "timeouts": {"idle": "1h"}}
    daemon = usherd({
        "far": listener(proxy(upstream.address), f"{near}:0", **options), "other": listener("echo"),
        "gen": listener("chargen", f"{near}:0", **options),
    })
    name = "far" if kind == "idle" else "gen"
    script = CLIENT if kind == "idle" else CLIENT.replace('sock.recv(5) == b"hello"', "sock.recv(5)")
    client = subprocess.Popen(
        [*inside, "/usr/bin/python3", "-c", script, near, str(daemon.port(name))], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )
    try:
        assert client.stdout.readline() == b"served\n"
        pull()
        daemon.wait_closed("client_timeout", listener=name)
        assert ask(daemon.connect("other")) == b"hello"
        wait_until(lambda: len(daemon.close_records(listener=name)) == 1)
    finally:
        client.kill()
        client.communicate()
