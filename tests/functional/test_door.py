# SPDX-License-Identifier: MIT
"""Who may come in: allow, deny, trusted, limits of sources and rates, bans, overload, and what is told of it."""
import contextlib
import os
import pathlib
import random
import select
import socket
import threading
import time

import pytest

import certificates
import servers
from harness import ask, comes_in, config, connect, ended, free_port, listener, proxy, reset, run, visit, wait_until
from test_lifecycle import activated
from test_lists import put
from tls_peer import TlsStream, client_context, hello, tls_connect, verdict

HOME = "127.0.0.1"


def come(daemon, name, source=HOME):
    """A client that is let in, and stays."""
    sock = daemon.connect(name, source=(source, 0))
    assert ask(sock) == b"hello", daemon.tail()
    return sock


def turned_away(daemon, name, source=HOME):
    """How a client that is refused sees it: "reset" or "end"."""
    sock = visit(daemon.address(name), source=(source, 0))
    try:
        return ended(sock)
    finally:
        if sock:
            sock.close()


# ---- allow and deny


def test_deny(usherd, folder):
    deny = pathlib.Path(folder) / "deny.txt"
    put(deny, "127.0.4.1\n127.0.5.0/24 # a network\n")
    daemon = usherd(
        {"web": listener("echo", deny=["127.0.1.1", "127.0.2.0/24", "127.0.3.5-127.0.3.9", f"file:{deny}"]),
         "other": listener("echo")},
        door={"deny": ["127.0.9.0/24"]},
    )
    address, other = daemon.address("web"), daemon.address("other")
    inside = [HOME, "127.0.1.2", "127.0.3.4", "127.0.3.10", "127.0.4.2", "127.0.6.1"]
    outside = ["127.0.1.1", "127.0.2.0", "127.0.2.255", "127.0.3.5", "127.0.3.9", "127.0.4.1", "127.0.5.77"]
    assert [source for source in inside + outside if comes_in(address, source)] == inside
    assert all(comes_in(other, source) for source in outside)
    assert not comes_in(address, "127.0.9.1") and not comes_in(other, "127.0.9.1")
    assert turned_away(daemon, "web", "127.0.1.1") == "reset"
    daemon.stop()
    assert daemon.refused("denied", listener="web") == len(outside) + 2
    assert daemon.refused("denied", "127.0.1.1") == 2
    assert daemon.refused("denied", "127.0.9.1", "other") == 1
    assert not daemon.close_records(reason="denied")


def test_allow(usherd, folder):
    allow = pathlib.Path(folder) / "allow.txt"
    put(allow, "127.0.4.1\n")
    daemon = usherd(
        {"web": listener("echo", allow=["127.0.1.1", "127.0.2.0/24", f"file:{allow}"], deny=["127.0.2.9"]),
         "other": listener("echo")},
        door={"allow": ["127.0.0.0/16"]},
    )
    sources = [HOME, "127.0.1.1", "127.0.2.1", "127.0.2.9", "127.0.4.1", "127.0.4.2", "127.1.0.1"]
    inside = [source for source in sources if comes_in(daemon.address("web"), source)]
    assert inside == ["127.0.1.1", "127.0.2.1", "127.0.4.1"]
    inside = [source for source in sources if comes_in(daemon.address("other"), source)]
    assert inside == sources[:-1]
    daemon.stop()
    assert daemon.refused("not_allowed") == 4
    assert daemon.refused("denied", "127.0.2.9", "web") == 1


@pytest.mark.root
@pytest.mark.programs("ip")
def test_ipv6(usherd, network):
    daemon = usherd(
        {"web": listener("echo", "[fd00::1]:0", deny=["fd00:1::/32", "fd00:2::5", "fd00:3::1-fd00:3::f", "::/96"])},
        start_options={"wrapper": network.wrapper},
    )
    address = daemon.address("web")
    inside = ["fd00::2", "fd00:2::4", "fd00:3::10"]
    outside = ["fd00:1::1", "fd00:1:ffff::1", "fd00:2::5", "fd00:3::f"]
    assert [source for source in inside + outside if network.comes_in(address, source)] == inside
    daemon.stop()
    assert daemon.refused("denied", "fd00:1::/64") == 1
    assert daemon.refused("denied") == len(outside)


@pytest.mark.root
@pytest.mark.programs("ip")
def test_a_zone_does_not_count(usherd, network):
    """Link-local clients, whose addresses have a zone, are matched by address and prefix."""
    for last in "123459":
        network.ip("addr", "add", f"fe80::{last}/64", "dev", "lo")
    network.ip("addr", "add", "fe80:0:0:7::1/64", "dev", "lo")
    text = config({"web": listener("echo", "[fe80::1%lo]:0", allow=["fe80::/64"], deny=["fe80::3", "fe80::4-fe80::5"],
                                   trusted=["fe80::9"], limits={"per_source": 1})})
    daemon = usherd(text=text, start_options={"wrapper": network.wrapper})
    address = daemon.address("web")
    outcomes = {"fe80::2": None, "fe80::3": "denied", "fe80::4": "denied", "fe80::5": "denied", "fe80::9": None,
                "fe80:0:0:7::1": "not_allowed"}
    for source, reason in outcomes.items():
        assert network.comes_in(address, f"{source}%lo") == (reason is None), source
        code, out, _ = run("--config", str(daemon.path), "--explain", "web", f"{source}%lo", wrapper=network.wrapper)
        assert code == (1 if reason else 0) and out.splitlines()[-1].startswith(f"web {source}%lo: "), out
        assert reason is None or out.rstrip().endswith(f"({reason})"), out
    # a source is the /64, with or without a zone; who is trusted has no limit
    with network.connect(address, "fe80::2%lo") as sock:
        assert ask(sock) == b"hello"
        assert not network.comes_in(address, "fe80::2%lo")
        assert network.comes_in(address, "fe80::9%lo")
    daemon.stop()
    assert daemon.refused("denied", "fe80::/64") == 3
    assert daemon.refused("not_allowed", "fe80:0:0:7::/64") == 1
    assert daemon.refused("limit_per_source", "fe80::/64") == 1


def test_a_mapped_address_is_the_ipv4_one(usherd):
    """A socket for both families, which systemd passes, says ::ffff:127.0.0.2."""
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    daemon = activated(usherd, {"web": listener("echo", "systemd:web", deny=["127.0.0.2"], limits={"per_source": 1})},
                       [("web", both)])
    address = ("127.0.0.1", both.getsockname()[1])
    assert comes_in(("::1", address[1]))
    assert not comes_in(address, "127.0.0.2")
    daemon.wait_refused("denied", "127.0.0.2")
    with connect(address, source=("127.0.0.3", 0)) as sock:
        assert ask(sock) == b"hello"
        assert not comes_in(address, "127.0.0.3")
    daemon.wait_refused("limit_per_source", "127.0.0.3")


def test_a_list_is_renewed_while_it_decides(usherd, folder):
    deny = pathlib.Path(folder) / "deny.txt"
    put(deny, "127.0.0.2\n")
    daemon = usherd({"web": listener("echo")}, door={"deny": [f"file:{deny}"]})
    address = daemon.address("web")

    def who():
        return [source for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3") if comes_in(address, source)]

    assert who() == ["127.0.0.1", "127.0.0.3"]
    put(deny, "127.0.0.3\n")
    daemon.wait_log("^list renewed: ")
    assert who() == ["127.0.0.1", "127.0.0.2"]
    since = daemon.mark()
    put(deny, "127.0.0.1\nnobody\n")  # half of it would do harm
    daemon.wait_log("^changed list is not taken up ", since=since)
    assert who() == ["127.0.0.1", "127.0.0.2"]
    assert daemon.reload(daemon.path.read_text()).ok
    assert who() == ["127.0.0.1", "127.0.0.2"]
    os.unlink(deny)
    since = daemon.mark()
    put(deny, "# all are welcome\n")
    daemon.wait_log("^list renewed: ", since=since)
    assert who() == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def test_open_connections_stay_when_a_list_changes(usherd, folder):
    deny = pathlib.Path(folder) / "deny.txt"
    put(deny, "")
    daemon = usherd({"web": listener("echo", deny=[f"file:{deny}"])})
    sock = come(daemon, "web", "127.0.0.2")
    put(deny, "127.0.0.2\n")
    daemon.wait_log("^list renewed: ")
    assert ask(sock) == b"hello"
    assert not comes_in(daemon.address("web"), "127.0.0.2")


# ---- limits


def test_per_source(usherd):
    daemon = usherd({"web": listener("echo", limits={"per_source": 2}), "other": listener("echo")})
    address = daemon.address("web")
    socks = [come(daemon, "web", "127.0.0.2") for _ in range(2)]
    assert not comes_in(address, "127.0.0.2")
    assert comes_in(daemon.address("other"), "127.0.0.2")
    assert comes_in(address, "127.0.0.3")
    daemon.wait_refused("limit_per_source", "127.0.0.2", "web")
    socks.pop().close()
    wait_until(lambda: comes_in(address, "127.0.0.2"), "its place to be free")
    assert ask(socks[0]) == b"hello"


@pytest.mark.root
@pytest.mark.programs("ip")
def test_a_source_of_ipv6_is_a_64(usherd, network):
    daemon = usherd(
        {"web": listener("echo", "[fd00::1]:0", "10.0.0.1:0", limits={"per_source": 1})},
        start_options={"wrapper": network.wrapper},
    )
    ipv6, ipv4 = sorted(daemon.addresses["web"], key=lambda a: "[" not in a)
    keeps = [network.connect(ipv6, "fd00:1::1"), network.connect(ipv4, "10.0.0.2")]
    assert [ask(sock) for sock in keeps] == [b"hello"] * 2
    assert not network.comes_in(ipv6, "fd00:1::1")
    assert not network.comes_in(ipv6, "fd00:1::ffff:ffff:ffff:ffff")
    assert network.comes_in(ipv6, "fd00:1:0:1::1")
    assert not network.comes_in(ipv4, "10.0.0.2")
    assert network.comes_in(ipv4, "10.0.0.3")
    text = config({"web": listener("echo", "[fd00::1]:0", "10.0.0.1:0", limits={"per_source": 1})},
                  door={"sources": {"ipv4_prefix": 24, "ipv6_prefix": 128}})
    assert daemon.reload(text).ok
    with network.connect(ipv4, "10.0.1.2") as sock:
        assert ask(sock) == b"hello"
        assert not network.comes_in(ipv4, "10.0.1.3")
    with network.connect(ipv6, "fd00:2::1") as sock:
        assert ask(sock) == b"hello"
        assert network.comes_in(ipv6, "fd00:2::2")
    for sock in keeps:
        sock.close()
    daemon.stop()
    assert daemon.refused("limit_per_source", "fd00:1::/64") == 2
    assert daemon.refused("limit_per_source", "10.0.1.0/24") == 1


def test_the_doors_limits_are_those_of_all_listeners(usherd):
    daemon = usherd({"a": listener("echo"), "b": listener("echo")}, door={"limits": {"connections": 3, "per_source": 2}})
    come(daemon, "a", "127.0.0.2")
    come(daemon, "b", "127.0.0.2")
    assert turned_away(daemon, "a", "127.0.0.2") == "reset"
    daemon.wait_refused("limit_per_source", "127.0.0.2", "a")
    come(daemon, "a", "127.0.0.3")
    assert turned_away(daemon, "b", "127.0.0.4") == "reset"
    daemon.wait_refused("limit_connections", "127.0.0.4", "b")


@pytest.mark.parametrize("limit, reason", [({"rate": "2/d burst 2"}, "limit_rate"),
                                           ({"rate_per_source": "2/d burst 2"}, "limit_rate_per_source")])
def test_rates(usherd, limit, reason):
    def text(door=None, **limits):
        return config({"web": listener("echo", limits=limits)}, **({"door": {"limits": door}} if door else {}))

    daemon = usherd(text=text(**limit))
    address = daemon.address("web")
    assert comes_in(address, "127.0.0.2") and comes_in(address, "127.0.0.2")
    assert not comes_in(address, "127.0.0.2")
    daemon.wait_refused(reason, "127.0.0.2")
    assert comes_in(address, "127.0.0.3") == (reason == "limit_rate_per_source")
    # a reload empties and fills nothing
    assert daemon.reload(text(**limit)).ok
    assert not comes_in(address, "127.0.0.2")
    assert daemon.reload(text()).ok
    assert comes_in(address, "127.0.0.2")
    # the same limit of the door counts by itself
    assert daemon.reload(text(door=limit)).ok
    assert comes_in(address, "127.0.0.2") and comes_in(address, "127.0.0.2")
    assert not comes_in(address, "127.0.0.2")


def test_a_rate_lets_in_again(usherd):
    daemon = usherd({"web": listener("echo", limits={"rate_per_source": "5/s burst 1"})})
    for _ in range(3):
        wait_until(lambda: comes_in(daemon.address("web")), "its turn")


def test_at_limit(usherd):
    daemon = usherd(
        {"reset": listener("echo", limits={"connections": 1}),
         "close": listener("echo", limits={"connections": 1, "at_limit": "close"}),
         "listed": listener("echo", deny=["127.0.0.2"], limits={"at_limit": "close"})},
    )
    for name in ("reset", "close"):
        come(daemon, name)
    assert turned_away(daemon, "reset") == "reset"
    assert turned_away(daemon, "close") == "end"
    assert turned_away(daemon, "listed", "127.0.0.2") == "reset"
    daemon.stop()
    assert daemon.refused("limit_connections") == 2


def test_a_lower_limit_cuts_nobody(usherd):
    def text(**limits):
        return config({"web": listener("echo", limits=limits)})

    daemon = usherd(text=text())
    address = daemon.address("web")
    socks = [come(daemon, "web") for _ in range(4)]
    for limits in ({"per_source": 2}, {"connections": 2}):
        assert daemon.reload(text(**limits)).ok
        assert not comes_in(address)
        assert [ask(sock) for sock in socks] == [b"hello"] * 4
    while len(socks) > 2:
        socks.pop().close()
    daemon.wait_closed("client_closed", 2)
    assert not comes_in(address), "two are open yet"
    socks.pop().close()
    wait_until(lambda: comes_in(address), "a place to be free")
    assert ask(socks[0]) == b"hello"


def test_trusted(usherd):
    nothing = {"connections": 1, "per_source": 1, "rate": "1/d burst 1", "rate_per_source": "1/d burst 1"}
    daemon = usherd(
        {"web": listener("echo", limits=nothing, trusted=["127.0.0.9"], ban={"after": 1}),
         "other": listener("echo", limits=nothing)},
        door={"trusted": ["127.0.0.8"], "deny": ["127.0.0.9-127.0.0.10"]},
    )
    come(daemon, "web")
    assert not comes_in(daemon.address("web"), "127.0.0.2")
    for name in ("web", "other"):
        socks = [come(daemon, name, "127.0.0.8") for _ in range(5)]
        assert [ask(sock) for sock in socks] == [b"hello"] * 5
    assert not comes_in(daemon.address("web"), "127.0.0.9"), "deny wins"
    assert daemon.reload(daemon.path.read_text().replace("127.0.0.9-", "")).ok
    for _ in range(3):
        come(daemon, "web", "127.0.0.9")
    assert not comes_in(daemon.address("other"), "127.0.0.9"), "it is trusted elsewhere"


# ---- counts


def storm(daemon, ports, texts, choose):
    """Clients of all kinds that come, wait, are refused, banned and cut, while listeners come, go and change their limits."""
    socks = []
    for i in range(400):
        if i % 20 == 0:
            assert daemon.reload(choose.choice(texts)).ok
        try:
            sock = connect(f"127.0.0.1:{choose.choice(ports)}", source=(f"127.0.{choose.randint(0, 20)}.{choose.randint(2, 4)}", 0))
            socks.append(sock)
            sock.setblocking(False)
            sock.send(choose.choice([b"x", hello(), b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.0\r\n\r\n", b"y" * 5000]))
        except OSError:
            pass
        while len(socks) > choose.randint(0, 40):
            socks.pop(choose.randrange(len(socks))).close()
    for sock in socks:
        sock.close()


@pytest.mark.parametrize("seed", range(2))
def test_after_a_storm_all_counts_are_right(usherd, ca, seed):
    """Whatever became of them: what they took is given back, to the last connection, handshake and descriptor."""
    choose = random.Random(seed)
    ports = [free_port() for _ in range(3)]
    secure = {"tls": certificates.tls(ca.issue(ips=[HOME]))}

    def stormy():
        limits = {"connections": 6, "per_source": choose.choice([1, 3]), "handshakes": 4, "rate": "300/s burst 20",
                  "at_limit": choose.choice(["wait", "wait", "reset"])}
        more = {"limits": limits, "enforce": True, "bandwidth": {"source_in": "1KiB/s burst 1KiB"},
                "timeouts": {"handshake": "100ms", "first_byte": "100ms", "linger": "100ms"},
                "deny": [f"127.0.0.0-127.0.{choose.randint(0, 3)}.3"],
                "ban": {"after": 10, "within": "1s", "for": "1s", "max": "1s"}}
        names = [choose.choice(["a", "a2"]), "b", choose.choice(["c", "c2"])][:choose.choice([2, 3])]
        return config(
            {name: listener("echo", f"127.0.0.1:{port}", **more, **(secure if port == ports[0] else {}))
             for name, port in zip(names, ports)},
            door={"limits": {"handshakes": 5, "connections": 10, "at_limit": "wait"}, "sources": {"entries": 16}},
        )

    calm = config(
        {"a": listener("echo", f"127.0.0.1:{ports[0]}", limits={"connections": 3, "per_source": 3, "handshakes": 1}, **secure),
         "b": listener("echo", f"127.0.0.1:{ports[1]}", limits={"connections": 4, "per_source": 2})},
        door={"limits": {"connections": 7, "handshakes": 1}, "sources": {"entries": 16}},
    )
    daemon = usherd(text=calm)
    before = daemon.fds_at_rest()
    storm(daemon, ports, [stormy() for _ in range(8)], choose)
    assert daemon.reload(calm).ok
    daemon.wait_fds(before)
    time.sleep(1)  # the bans that began last end
    socks = []
    for source in ("127.0.0.2", "127.0.0.2", "127.0.1.2", "127.0.1.2"):
        socks.append(daemon.connect("b", source=(source, 0)))
        assert ask(socks[-1]) == b"hello", daemon.tail()
    for _ in range(3):
        socks.append(TlsStream(daemon.connect("a", source=("127.0.0.2", 0)), client_context(ca=ca)))
        assert ask(socks[-1]) == b"hello", daemon.tail()
    for address in (daemon.address("a"), daemon.address("b")):
        ended(visit(address, source=("127.0.9.9", 0)))
    daemon.wait_refused("limit_connections", "127.0.9.9", "a")
    daemon.wait_refused("limit_connections", "127.0.9.9", "b")


# ---- bans


def test_refusals_become_a_ban_that_ends(usherd):
    ban = {"after": 3, "within": "1min", "for": "1s", "factor": 3}
    daemon = usherd({"web": listener("echo", limits={"per_source": 1}, ban=ban), "other": listener("echo")})
    address = daemon.address("web")
    sock = come(daemon, "web", "127.0.0.2")
    for length in ("1.0", "3.0"):
        since = daemon.mark()
        for _ in range(3):
            assert turned_away(daemon, "web", "127.0.0.2") == "reset"
        told = daemon.wait_log(r"^web: 127\.0\.0\.2 is banned for (.+)$", since=since)
        assert told.group(1) in (f"{length}s", f"{length[0]}s"), told.group(0)
        assert comes_in(address, "127.0.0.3") and comes_in(daemon.address("other"), "127.0.0.2")
        assert ask(sock) == b"hello", "what is open stays"
        daemon.wait_log(r"^web: the ban of 127\.0\.0\.2 has ended$", since=since)
    sock.close()
    wait_until(lambda: comes_in(address, "127.0.0.2"), "it to come in again")


def test_a_ban_holds_over_reloads(usherd):
    def text(**ban):
        return config({"web": listener("echo", limits={"per_source": 1}, **({"ban": ban} if ban else {})),
                       "other": listener("echo")})

    daemon = usherd(text=text(after=3))
    address = daemon.address("web")
    sock = come(daemon, "web", "127.0.0.2")
    assert turned_away(daemon, "web", "127.0.0.2") == "reset"
    assert turned_away(daemon, "web", "127.0.0.2") == "reset"
    assert daemon.reload(text(after=3)).ok
    assert turned_away(daemon, "web", "127.0.0.2") == "reset"  # the third: what was counted before counts
    daemon.wait_log(r"^web: 127\.0\.0\.2 is banned for 10min")
    sock.close()
    daemon.wait_closed("client_closed")
    for next_text in (text(after=3), text()):
        assert daemon.reload(next_text).ok
        assert not comes_in(address, "127.0.0.2")
        assert comes_in(daemon.address("other"), "127.0.0.2")
    # the way to let it in before that
    assert daemon.reload(config({"web": listener("echo", trusted=["127.0.0.2"])})).ok
    assert comes_in(address, "127.0.0.2")
    daemon.stop()
    assert daemon.refused("limit_per_source", "127.0.0.2") == 3
    assert daemon.refused("banned", "127.0.0.2") == 2


def plain(address, source):
    with connect(address, source=(source, 0)) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        ended(sock)


def aborted(address, source):
    with connect(address, source=(source, 0)) as sock:
        sock.sendall(hello())
        sock.recv(1)
        reset(sock)


def garbled(address, source):
    """A good handshake, then a record that nobody has the key for."""
    with connect(address, source=(source, 0)) as sock:
        stream = TlsStream(sock, client_context())
        assert ask(stream) == b"hello"
        sock.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
        ended(sock)


@pytest.mark.parametrize("offend, reason", [(plain, "tls_plain"), (aborted, "tls_aborted"), (garbled, "client_tls")])
def test_failed_handshakes_become_a_ban(usherd, ca, offend, reason):
    secure = {"tls": certificates.tls(ca.issue(ips=[HOME])), "trusted": ["127.0.0.9"]}
    daemon = usherd(
        {"web": listener("echo", **secure), "other": listener("echo")}, door={"ban": {"after": 5}},
    )
    address = daemon.address("web")
    for source in ("127.0.0.9", "127.0.0.2"):
        for _ in range(5):
            offend(address, source)
    daemon.wait_closed(reason, 10)
    daemon.wait_log(r"^door: 127\.0\.0\.2 is banned for 10min")
    assert not comes_in(daemon.address("other"), "127.0.0.2")
    daemon.wait_refused("banned", "127.0.0.2", "other")
    assert comes_in(daemon.address("other"), "127.0.0.9"), "who is trusted is never banned"
    with tls_connect(address, ca=ca) as stream:
        assert ask(stream) == b"hello"
    assert verdict(address, ca=ca) == "ok"
    assert len([m for m in daemon.log if " is banned for " in m]) == 1


def test_who_waited_for_a_busy_usherd_has_done_no_offence(usherd, ca):
    """A worker that comes to a handshake's bytes when its time is over: that was not the client."""
    text = config(
        {"web": listener("echo", tls=certificates.tls(ca.issue(ips=[HOME])), timeouts={"handshake": "3s"}, ban={"after": 20}),
         "next": listener("echo")},
        workers=1,
    )
    daemon = usherd(text=text)
    before = daemon.fds_at_rest()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(daemon.connect("web", source=("127.0.0.2", 0))) for _ in range(60)]
        wait_until(lambda: daemon.fds() == before + 60, "these to be accepted: of two listeners either may come first")
        assert comes_in(daemon.address("next")), "the worker has them all, and is done with them for now"
        with daemon.stopped():
            for sock in socks:
                sock.sendall(hello())
            time.sleep(3.2)  # no wait for the daemon: its time goes by while it does nothing
        for sock in socks:
            ended(sock)
    daemon.wait_closed("handshake_timeout", 40)
    with daemon.connect("web", source=("127.0.0.2", 0)) as sock:
        assert ask(TlsStream(sock, client_context(ca=ca))) == b"hello"
    assert not any(" is banned " in message for message in daemon.log)


@pytest.mark.parametrize("reason", ["tls_no_certificate", "tls_untrusted", "tls_refused"])
def test_refused_identities_become_a_ban(usherd, ca, folder, reason):
    certificate = {
        "tls_no_certificate": None, "tls_untrusted": certificates.Authority(folder, "Other CA").issue("alice"),
        "tls_refused": ca.issue("mallory"),
    }[reason]
    client = {"ca": [ca.path], "allow": ["cn:alice"]}
    daemon = usherd(
        {"web": listener("echo", tls=certificates.tls(ca.issue(ips=[HOME]), client=client), ban={"after": 3}),
         "other": listener("echo")},
    )
    address = daemon.address("web")
    assert verdict(address, certificate=ca.issue("alice")) == "ok"
    for _ in range(3):
        assert verdict(address, certificate=certificate) not in ("ok", "reset")
    daemon.wait_closed(reason, 3)
    daemon.wait_log(r"^web: 127\.0\.0\.1 is banned for 10min")
    assert verdict(address, certificate=ca.issue("alice")) == "reset", "it is the source that is banned"
    daemon.wait_refused("banned", HOME, "web")
    assert comes_in(daemon.address("other"))
    with connect(address, source=("127.0.0.2", 0)) as sock:
        assert ask(TlsStream(sock, client_context(certificate=ca.issue("alice")))) == b"hello"
    assert len(daemon.close_records(reason=reason)) == 3


# ---- floods and overload


def test_a_flood_from_one_source_is_counted_and_disturbs_nobody(usherd):
    daemon = usherd({"web": listener("echo")}, door={"deny": ["127.0.0.66"], "trusted": [HOME], "ban": {"after": 100}})
    address = daemon.address("web")
    count = 1500
    sock = come(daemon, "web")
    fds = daemon.fds()
    problems = []

    def flood():
        try:
            for _ in range(count):
                if turned_away(daemon, "web", "127.0.0.66") != "reset":
                    problems.append("no reset")
        except OSError as error:
            problems.append(error)

    floods = [threading.Thread(target=flood) for _ in range(2)]
    for thread in floods:
        thread.start()
    served = 0
    while any(thread.is_alive() for thread in floods):
        assert comes_in(address), daemon.tail()
        assert ask(sock, b"here") == b"here"
        served += 1
    for thread in floods:
        thread.join()
    assert not problems, problems[:3]
    assert served > 0
    daemon.wait_fds(fds)
    daemon.stop()
    assert daemon.refused(peer="127.0.0.66") == daemon.refused() == 2 * count
    assert daemon.refused("denied") == 2 * count, "deny is asked before bans"


def test_many_refused_sources_are_each_told_of_once(usherd):
    daemon = usherd({"web": listener("echo")}, door={"deny": ["127.0.1.0/24"]})
    for _ in range(3):
        for i in range(200):
            assert turned_away(daemon, "web", f"127.0.1.{i}") == "reset"
    daemon.stop()
    assert daemon.refused() == 600
    assert all(daemon.refused("denied", f"127.0.1.{i}") == 3 for i in range(200))


def crowd_out(daemon, name, source, most):
    """Opens connections until one is refused; returns those that are open."""
    socks = []
    while len(socks) < most:
        sock = visit(daemon.address(name), source=(source, 0))
        try:
            if sock is None or ask(sock) != b"hello":
                return socks
        except (ConnectionResetError, BrokenPipeError):
            return socks
        socks.append(sock)
        daemon.sockets.append(sock)
    raise AssertionError(f"{most} came in\n" + daemon.tail())


def overload(daemon, hog, others):
    """What holds however room comes to be short."""
    address = daemon.address("web")
    socks = crowd_out(daemon, "web", hog, 1000)
    daemon.wait_log("^room is short ")
    daemon.wait_refused("overload", hog)
    new = [come(daemon, "web", source) for source in others]
    assert not comes_in(address, hog)
    assert [ask(sock) for sock in new + socks] == [b"hello"] * len(new + socks), "what is open stays"
    for _ in range(3):
        come(daemon, "web", "127.0.0.9")
    assert len([m for m in daemon.log if "room is short" in m]) == 1
    for sock in socks + new:
        sock.close()
    daemon.wait_log("^there is room again")
    assert comes_in(address, hog)
    assert len([m for m in daemon.log if "room is short" in m]) == 1
    assert not any("accepting paused" in m for m in daemon.log)
    return len(socks)


@pytest.mark.programs("prlimit")
def test_overload_of_descriptors(usherd):
    daemon = usherd(
        {"web": listener("echo")}, door={"overload": {"percent": 80}, "trusted": ["127.0.0.9"]},
        start_options={"wrapper": ["prlimit", "--nofile=200:200"]},
    )
    assert overload(daemon, "127.0.0.66", [f"127.0.1.{i}" for i in range(10)]) > 50


def test_overload_of_connections(usherd):
    door = {"overload": {"percent": 60}, "limits": {"connections": 50}, "trusted": ["127.0.0.9"]}
    daemon = usherd({"web": listener("echo")}, door=door)
    # beyond 60%, and with more than an eighth of what is left
    assert overload(daemon, "127.0.0.66", [f"127.0.1.{i}" for i in range(10)]) == 31


def crowd(daemon, name, most):
    """Sources with one connection each, until one is refused; returns their sockets."""
    socks = []
    while len(socks) < most:
        source = f"127.0.{2 + len(socks) // 200}.{1 + len(socks) % 200}"
        sock = visit(daemon.address(name), source=(source, 0))
        try:
            if sock is None or ask(sock) != b"hello":
                return socks
        except (ConnectionResetError, BrokenPipeError):
            return socks
        socks.append(sock)
        daemon.sockets.append(sock)
    raise AssertionError(f"{most} came in\n" + daemon.tail())


@pytest.mark.programs("prlimit")
@pytest.mark.parametrize("service", ["echo", "proxy"])
def test_some_descriptors_are_kept_for_trusted_clients(usherd, serve, service):
    """However many sources there are, with how little each. When those are used up too, all wait."""
    front = listener("echo") if service == "echo" else listener(proxy(serve(servers.echo).address))
    daemon = usherd({"web": front}, door={"trusted": ["127.0.0.9"], "deny": ["127.0.0.66"]},
                    start_options={"wrapper": ["prlimit", "--nofile=200:200"]})
    address = daemon.address("web")
    strangers = crowd(daemon, "web", 200)
    assert len(strangers) > 30
    daemon.wait_refused("overload")
    trusted = [come(daemon, "web", "127.0.0.9")]
    assert not comes_in(address, "127.0.0.1")
    assert turned_away(daemon, "web", "127.0.0.66") == "reset"
    daemon.wait_refused("denied", "127.0.0.66")
    assert not any("accepting paused" in m for m in daemon.log)
    # what was kept
    def paused():
        return any(m.startswith("accepting paused: out of descriptors") for m in daemon.log)

    while True:
        waits = daemon.connect("web", source=("127.0.0.9", 0))
        waits.sendall(b"hello")
        wait_until(lambda: select.select([waits], [], [], 0)[0] or paused(), "an answer or a pause")
        if not select.select([waits], [], [], 0)[0]:
            break
        assert waits.recv(5) == b"hello"
        trusted.append(waits)
    assert len(trusted) <= 8
    trusted.pop().close()
    assert waits.recv(5) == b"hello"
    # the room is for strangers again when they go
    for sock in strangers:
        sock.close()
    daemon.wait_log("^there is room again")
    assert comes_in(address, "127.0.0.1")


@pytest.mark.programs("prlimit")
def test_who_waits_takes_nothing_of_what_is_kept_for_trusted_clients(usherd):
    daemon = usherd({"few": listener("echo", limits={"connections": 1, "at_limit": "wait"}), "web": listener("echo")},
                    door={"trusted": ["127.0.0.9"]}, start_options={"wrapper": ["prlimit", "--nofile=200:200"]})
    come(daemon, "few", "127.0.0.1")
    crowd(daemon, "web", 200)
    for i in range(12):
        assert turned_away(daemon, "few", f"127.0.1.{i}") == "reset"
    daemon.wait_refused("wait_full", "127.0.1.0")
    for name in ("few", "web", "few"):
        come(daemon, name, "127.0.0.9")
    assert not any("accepting paused" in m for m in daemon.log)


def test_what_is_shed_is_not_banned(usherd):
    door = {"overload": {"percent": 10}, "limits": {"connections": 40}, "ban": {"after": 1}}
    daemon = usherd({"web": listener("echo")}, door=door)
    crowd_out(daemon, "web", "127.0.0.66", 100)
    assert turned_away(daemon, "web", "127.0.0.66") == "reset"
    daemon.stop()
    assert daemon.refused("overload", "127.0.0.66") == daemon.refused() == 2
    assert " is banned for " not in daemon.text()


def test_the_upstream_sees_nobody_who_is_refused(usherd, serve):
    def handler(sock, server):
        server.add("came")
        while data := sock.recv(4096):
            sock.sendall(data)

    upstream = serve(handler)
    daemon = usherd({"web": listener(proxy(upstream.address), deny=["127.0.0.2"])})
    for _ in range(20):
        assert turned_away(daemon, "web", "127.0.0.2") == "reset"
    assert comes_in(daemon.address("web"))
    daemon.wait_closed("client_closed")
    assert upstream.values["came"] == 1
