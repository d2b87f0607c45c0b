# SPDX-License-Identifier: MIT
"""limits.connections, and running out of descriptors."""
import select
import time

import pytest

import servers
from harness import SANITIZER, SLOW, TIMEOUT, ask, config, ended, listener, proxy, visit, wait_until


def test_connections(usherd):
    daemon = usherd({"few": listener("echo", limits={"connections": 3}), "other": listener("echo")})
    socks = [daemon.connect("few") for _ in range(3)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 3
    ended(visit(daemon.address("few")))
    daemon.wait_refused("limit_connections", "127.0.0.1", "few")
    assert ask(daemon.connect("other")) == b"hello"
    assert [ask(sock) for sock in socks] == [b"hello"] * 3
    socks.pop().close()
    daemon.wait_closed("client_closed")
    assert ask(daemon.connect("few")) == b"hello"


def test_connections_hold_over_reloads(usherd):
    """What was open before a reload counts after it."""
    text = config({"few": listener("echo", limits={"connections": 2})})
    daemon = usherd(text=text)
    socks = [daemon.connect("few") for _ in range(2)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 2
    assert daemon.reload(text).ok
    ended(visit(daemon.address("few")))
    daemon.wait_refused("limit_connections")
    assert daemon.reload(config({"few": listener("echo", limits={"connections": 3})})).ok
    assert ask(daemon.connect("few")) == b"hello"


def test_flood_over_the_limit_costs_little_and_leaks_nothing(usherd):
    daemon = usherd({"few": listener("echo", limits={"connections": 1})})
    keeps = daemon.connect("few")
    assert ask(keeps) == b"hello"
    before = daemon.fds()
    for _ in range(300):
        ended(visit(daemon.address("few")))
    daemon.wait_fds(before)
    assert ask(keeps) == b"hello"
    daemon.stop()
    assert daemon.refused("limit_connections", "127.0.0.1", "few") == 300
    assert len(daemon.refusals) <= 2 + SLOW, "the first, a sum a minute, and the rest at the end"


# for tests that are about descriptors that have run out: usherd sheds before that, and all clients are one source
UNSHED = {"overload": {"percent": 0}}


def full(usherd, limit=100):
    """A daemon that is out of descriptors: (daemon, the served clients, the waiting ones)."""
    wrapper = ["prlimit", f"--nofile={limit}:{limit}"]
    daemon = usherd({"web": listener("echo")}, door=UNSHED, start_options={"wrapper": wrapper})
    socks = []
    while not any("accepting paused" in message for message in daemon.log):
        assert len(socks) < limit + 8, daemon.text()
        sock = daemon.connect("web")
        sock.sendall(b"x")
        socks.append(sock)
        sock.settimeout(0.05)
        try:
            sock.recv(1)
        except TimeoutError:
            pass
        sock.settimeout(TIMEOUT)
    served = all_served(socks)
    return daemon, served, [sock for sock in socks if sock not in served]


def all_served(socks):
    """Those of the clients that get an answer."""
    asked = []
    for sock in socks:
        try:
            sock.sendall(b"y")
            asked.append(sock)
        except OSError:
            pass  # it was turned away
    answered, left = [], asked
    while left:
        ready, _, _ = select.select(left, [], [], 0.3 * SLOW)
        if not ready:
            break
        left = [sock for sock in left if sock not in ready]
        answered += [sock for sock in ready if has_data(sock)]
    return answered


def has_data(sock):
    try:
        return bool(sock.recv(100))
    except OSError:
        return False


def is_served(sock):
    sock.sendall(b"y")
    sock.settimeout(0.2 * SLOW)
    try:
        return bool(sock.recv(100))
    except TimeoutError:
        return False
    finally:
        sock.settimeout(TIMEOUT)


@pytest.mark.programs("prlimit")
def test_no_descriptors(usherd):
    daemon, served, waiting = full(usherd)
    assert len(served) >= 10, daemon.text()
    more = [daemon.connect("web") for _ in range(5)]  # the backlog holds them
    # no spin: the one place where time itself is what is tested
    ticks, start = daemon.cpu_ticks(), time.monotonic()
    time.sleep(1)
    used = (daemon.cpu_ticks() - ticks) / 100 / (time.monotonic() - start)
    assert used < 0.05 * SLOW, f"{used * 100:.0f}% of a CPU while out of descriptors"
    assert ask(served[0]) == b"hello", "existing connections go on"
    assert len([m for m in daemon.log if "accepting paused" in m]) == 1
    for sock in served[1:]:
        sock.close()
    for sock in more:
        assert ask(sock) == b"hello"
    daemon.wait_log("accepting resumed")
    assert waiting is not None


@pytest.mark.programs("prlimit")
def test_no_descriptors_one_is_free_again(usherd):
    """As soon as one descriptor is free the next client is served; the log does not repeat itself each time."""
    daemon, served, waiting = full(usherd)
    for sock in waiting:
        sock.close()
    for _ in range(5):
        sock = daemon.connect("web")
        served.pop(0).close()
        served.append(sock)
    for sock in served[-5:]:
        wait_until(lambda sock=sock: is_served(sock), "a client to be served")
    assert len([m for m in daemon.log if "accepting paused" in m]) == 1


@pytest.mark.programs("prlimit")
def test_no_descriptor_for_the_upstream(usherd, serve):
    """A proxied connection needs two: whoever gets none ends with the reason, the others go on."""
    upstream = serve(servers.echo)
    wrapper = ["prlimit", "--nofile=100:100"]
    daemon = usherd({"web": listener(proxy(upstream.address))}, door=UNSHED, start_options={"wrapper": wrapper})
    before = daemon.fds()
    socks = [daemon.connect("web") for _ in range(100)]
    wait_until(lambda: daemon.close_records(reason="no_descriptors") or any("accepting paused" in m for m in daemon.log))
    assert len(all_served(socks)) >= 5, daemon.tail()
    for sock in socks:
        sock.close()
    daemon.wait_fds(before + 2)
    wait_until(lambda: is_served(daemon.connect("web")), "service to go on")


@pytest.mark.programs("prlimit")
def test_reload_without_descriptors_keeps_the_configuration(usherd):
    """A reload that cannot open its file or sockets fails whole."""
    daemon, served, _ = full(usherd)
    text = config({"web": listener("daytime"), **{f"l{i}": listener("echo") for i in range(150)}})
    outcome = daemon.reload(text)
    assert not outcome.ok, outcome
    assert ask(served[0]) == b"hello"
    for sock in served:
        sock.close()
    assert ask(daemon.connect("web")) == b"hello"


@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOMEM", "ECONNABORTED", "EPROTO", "EPERM"])
def test_accept_fails_three_times(usherd, error):
    daemon = usherd(
        {"web": listener("echo")},
        start_options={"wrapper": ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4",
                                   "-e", f"inject=accept4:error={error}:when=1..3"]},
    )
    socks = [daemon.connect("web") for _ in range(5)]
    assert [ask(sock) for sock in socks] == [b"hello"] * 5
    if error in ("EMFILE", "ENFILE"):
        daemon.wait_log("accepting paused")
        assert len([m for m in daemon.log if "accepting paused" in m]) == 1
