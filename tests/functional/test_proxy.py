# SPDX-License-Identifier: MIT
"""The proxy: upstreams and their choice, names, both ends of a connection, backpressure."""
import hashlib
import os
import pathlib
import socket
import threading
import time

import pytest

import servers
from harness import SANITIZER, TIMEOUT, ask, connect, ended, listener, proxy, read_all, reset, visit, wait_until


def test_passes_on_both_ways(usherd, serve):
    upstream = serve(servers.echo)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    assert ask(sock) == b"hello"
    sock.close()
    record = daemon.wait_closed("client_closed")
    assert record.upstream == upstream.address
    assert record.bytes_in == "5 B" and record.bytes_out == "5 B"
    daemon.stop()


@pytest.mark.parametrize("kind", ["v6", "unix", "abstract"])
def test_upstream_kinds(usherd, serve, folder, kind):
    if kind == "v6":
        upstream = serve(servers.echo, family=socket.AF_INET6)
    elif kind == "unix":
        upstream = serve(servers.echo, family=socket.AF_UNIX, address=f"{folder}/up.sock")
        os.chmod(f"{folder}/up.sock", 0o666)
    else:
        upstream = serve(servers.echo, family=socket.AF_UNIX, address=f"\0usher-up-{os.getpid()}")
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    assert ask(sock) == b"hello"
    sock.close()
    assert daemon.wait_closed().upstream == upstream.address


def test_round_robin(usherd, serve):
    ups = [serve(servers.says(b"%d" % i)) for i in range(3)]
    daemon = usherd({"web": listener(proxy(*(up.address for up in ups)))}, workers=1)
    answers = [read_all(daemon.connect("web")) for _ in range(9)]
    assert sorted(answers) == [b"0"] * 3 + [b"1"] * 3 + [b"2"] * 3
    assert answers[:3] == answers[3:6] == answers[6:]


def test_round_robin_over_all_workers(usherd, serve):
    ups = [serve(servers.says(b"%d" % i)) for i in range(3)]
    daemon = usherd({"web": listener(proxy(*(up.address for up in ups)))}, workers=4)
    for _ in range(60):
        read_all(daemon.connect("web"))
    assert sum(up.count for up in ups) == 60
    assert min(up.count for up in ups) >= 10, [up.count for up in ups]


def test_next_upstream_when_one_refuses(usherd, serve, refused):
    upstream = serve(servers.says(b"yes"))
    daemon = usherd({"web": listener(proxy(refused, upstream.address))}, workers=1)
    for _ in range(6):
        with connect(daemon.address("web")) as sock:
            assert read_all(sock) == b"yes"
    daemon.wait_closed(count=6)
    assert {record.upstream for record in daemon.close_records()} == {upstream.address}


def test_all_refuse(usherd, refused):
    daemon = usherd({"web": listener(proxy(refused))})
    ended(visit(daemon.address("web")))
    record = daemon.wait_closed("upstream_refused")
    assert record.bytes_in == "0 B"
    daemon.stop()


def test_unix_upstream_that_is_not_there(usherd, folder):
    daemon = usherd({"web": listener(proxy(f"unix:{folder}/none.sock"))})
    ended(visit(daemon.address("web")))
    assert daemon.wait_closed().reason in ("upstream_refused", "upstream_unreachable")


def test_upstream_that_comes_later(usherd, serve, folder):
    """What could not be reached once is tried again for the next connection."""
    path = f"{folder}/up.sock"
    daemon = usherd({"web": listener(proxy(f"unix:{path}"))})
    ended(visit(daemon.address("web")))
    serve(servers.echo, family=socket.AF_UNIX, address=path)
    os.chmod(path, 0o666)
    assert ask(daemon.connect("web")) == b"hello"


def test_connect_timeout(usherd, blackhole):
    daemon = usherd({"web": listener(proxy(blackhole), timeouts={"connect": "300ms"})})
    ended(visit(daemon.address("web")))
    assert daemon.wait_closed().reason == "connect_timeout"


def test_client_that_leaves_while_connecting(usherd, blackhole):
    daemon = usherd({"web": listener(proxy(blackhole), timeouts={"connect": "1h"})})
    before = daemon.fds()
    reset(daemon.connect("web"))
    daemon.wait_closed("client_reset")
    daemon.wait_fds(before)


def test_what_the_client_sends_while_connecting_is_not_lost(usherd, serve, dns, folder):
    upstream = serve(servers.echo)
    dns.silent.add("late.test")
    daemon = usherd(
        {"web": listener(proxy(f"late.test:{upstream.port}"), timeouts={"connect": "30s"})},
        resolver={"servers": [dns.address], "timeout": "200ms", "tries": 10},
    )
    sock = daemon.connect("web")
    sock.sendall(b"early")
    sock.shutdown(socket.SHUT_WR)
    with dns.changed:
        assert dns.changed.wait_for(lambda: any("late.test" in q[0] for q in dns.queries), TIMEOUT)
    dns.names["late.test"] = [("127.0.0.1", 60)]
    dns.silent.clear()
    assert read_all(sock) == b"early"


def test_upstream_that_hangs_idles_out(usherd, serve):
    upstream = serve(servers.hang)
    daemon = usherd({"web": listener(proxy(upstream.address), timeouts={"idle": "300ms"})})
    sock = daemon.connect("web")
    sock.sendall(b"question")
    assert ended(sock) == "reset", "what was cut must not look complete"
    record = daemon.wait_closed()
    assert record.reason == "idle" and record.upstream == upstream.address


# ---- names


def named(usherd, dns, *upstreams, **options):
    return usherd(
        {"web": listener(proxy(*upstreams), **options)}, workers=1,
        resolver={"servers": [dns.address], "timeout": "500ms", "tries": 2, "ttl_min": "1s"},
    )


def test_name(usherd, serve, dns):
    upstream = serve(servers.echo)
    dns.names["up.test"] = [("127.0.0.1", 300)]
    daemon = named(usherd, dns, f"up.test:{upstream.port}")
    for _ in range(5):
        assert ask(daemon.connect("web")) == b"hello"
    assert dns.count("up.test", "A") == 1, "an answer is kept for its TTL"
    daemon.stop()


def test_name_is_renewed_by_its_ttl(usherd, serve, dns):
    first = serve(servers.says(b"first"))
    dns.names["up.test"] = [("127.0.0.1", 1)]
    second = serve(servers.says(b"second"), address=("127.0.0.2", first.port))
    daemon = named(usherd, dns, f"up.test:{first.port}")
    assert read_all(daemon.connect("web")) == b"first"
    dns.names["up.test"] = [("127.0.0.2", 300)]
    wait_until(lambda: read_all(daemon.connect("web")) == b"second", "the new address to be used")
    assert second.count >= 1


def test_every_address_of_a_name_is_tried(usherd, serve, dns):
    upstream = serve(servers.says(b"yes"), address=("127.0.0.4", 0))
    dns.names["up.test"] = [("127.0.0.2", 300), ("127.0.0.3", 300), ("::1", 300), ("127.0.0.4", 300)]
    daemon = named(usherd, dns, f"up.test:{upstream.port}")
    for _ in range(5):
        assert read_all(daemon.connect("web")) == b"yes"


def test_unknown_name_stops_neither_start_nor_others(usherd, serve, dns):
    upstream = serve(servers.says(b"yes"))
    daemon = named(usherd, dns, "none.test:80", upstream.address)
    for _ in range(4):
        assert read_all(daemon.connect("web")) == b"yes"
    daemon.wait_log("none.test")


def test_unknown_name_alone(usherd, dns):
    daemon = named(usherd, dns, "none.test:80")
    ended(visit(daemon.address("web")))
    daemon.wait_closed("upstream_unresolved")


def test_silent_name_server_disturbs_nobody(usherd, serve, dns):
    upstream = serve(servers.says(b"yes"))
    dns.silent.add("quiet.test")
    daemon = usherd(
        {"web": listener(proxy("quiet.test:80"), timeouts={"connect": "1h"}), "other": listener(proxy(upstream.address))},
        workers=1, resolver={"servers": [dns.address], "timeout": "30s", "tries": 2},
    )
    waits = daemon.connect("web")
    with dns.changed:
        assert dns.changed.wait_for(lambda: dns.queries, TIMEOUT)
    for _ in range(5):
        assert read_all(daemon.connect("other")) == b"yes"
    waits.close()


def test_a_name_is_asked_for_once_at_a_time(usherd, serve, dns):
    upstream = serve(servers.echo)
    dns.silent.add("up.test")
    daemon = usherd(
        {"web": listener(proxy(f"up.test:{upstream.port}"), timeouts={"connect": "60s"})}, workers=1,
        resolver={"servers": [dns.address], "timeout": "1s", "tries": 10},
    )
    socks = [daemon.connect("web") for _ in range(20)]
    with dns.changed:
        assert dns.changed.wait_for(lambda: dns.queries, TIMEOUT)
    dns.names["up.test"] = [("127.0.0.1", 300)]
    dns.silent.clear()
    assert [ask(sock) for sock in socks] == [b"hello"] * 20
    assert dns.count("up.test", "A") < 10


# ---- ends


def test_half_close_of_the_client(usherd, serve):
    def answers_after_the_end(sock, _server):
        got = read_all(sock)
        sock.sendall(b"got %d" % len(got))

    upstream = serve(answers_after_the_end)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    sock.sendall(b"x" * 100000)
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == b"got 100000"
    daemon.wait_closed("upstream_closed" if daemon.close_records(reason="upstream_closed") else None)


def test_half_close_of_the_upstream(usherd, serve):
    def ends_and_listens_on(sock, server):
        sock.sendall(b"bye")
        sock.shutdown(socket.SHUT_WR)
        server.add("got", len(read_all(sock)))
        server.add("end")

    upstream = serve(ends_and_listens_on)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    assert read_all(sock) == b"bye"
    sock.sendall(b"x" * 50000)
    sock.sendall(b"y" * 50000)
    sock.shutdown(socket.SHUT_WR)
    upstream.wait(lambda server: server.values["end"])
    assert upstream.values["got"] == 100000


def test_half_close_on_unix_sockets(usherd, serve, folder):
    upstream = serve(lambda sock, _: sock.sendall(b"got %d" % len(read_all(sock))), family=socket.AF_UNIX, address=f"{folder}/up")
    os.chmod(f"{folder}/up", 0o666)
    usherd({"web": listener(proxy(upstream.address), f"unix:{folder}/in")})
    with connect(f"unix:{folder}/in") as sock:
        sock.sendall(b"x" * 1000)
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"got 1000"


def test_reset_of_the_client_becomes_one_upstream(usherd, serve):
    def notes_the_end(sock, server):
        sock.sendall(b"ready")
        server.add(ended(sock))

    upstream = serve(notes_the_end)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    sock.sendall(b"half of it")
    assert read_all(sock, 5) == b"ready"
    reset(sock)
    upstream.wait(lambda server: server.values["end"] or server.values["reset"])
    assert upstream.values["reset"] == 1
    daemon.wait_closed("client_reset")


@pytest.mark.parametrize("after", [0, 5])
def test_reset_of_the_upstream_becomes_one_at_the_client(usherd, serve, after):
    upstream = serve(servers.resets_after(after))
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = visit(daemon.address("web"))
    if after:
        assert read_all(sock, after) == b"x" * after
        sock.sendall(b"go")
    assert ended(sock) == "reset"
    # one that comes before the worker has seen the connect succeed is the connect's
    expected = ("upstream_reset",) if after else ("upstream_reset", "upstream_refused")
    assert daemon.wait_closed().reason in expected


def test_reset_after_the_clients_half_close(usherd, serve):
    """The client waits for an answer that is cut: it must not look complete."""

    def cuts(sock, _server):
        read_all(sock)
        sock.sendall(b"half an ans")
        reset(sock)

    upstream = serve(cuts)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    sock.sendall(b"question")
    sock.shutdown(socket.SHUT_WR)
    assert ended(sock) == "reset"
    daemon.wait_closed("upstream_reset")


def test_upstream_dies_with_data_on_the_way(usherd, serve):
    """An upstream that ends without reading what the client sent resets: so does usherd."""

    def closes_unread(sock, server):
        server.add("in")
        sock.recv(1)

    upstream = serve(closes_unread)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    sock.sendall(b"x" * 300000)
    assert ended(sock) == "reset"
    assert daemon.wait_closed().reason in ("upstream_reset", "upstream_unread", "upstream_error")


# ---- amounts


@pytest.mark.parametrize("mebibytes", [64])
def test_integrity_both_ways(usherd, serve, mebibytes):
    upstream = serve(servers.echo)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    block = os.urandom(1 << 20)
    sent = hashlib.sha256()

    def send():
        for number in range(mebibytes):
            data = block[number * 1000 :] + block[: number * 1000]
            sent.update(data)
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    got, size = hashlib.sha256(), 0
    while data := sock.recv(1 << 20):
        got.update(data)
        size += len(data)
    sender.join()
    assert size == mebibytes << 20
    assert got.digest() == sent.digest()
    record = daemon.wait_closed()
    assert record.bytes_in == record.bytes_out == f"{mebibytes}.0 MiB"


def stuck(value):
    """A condition: value() has not changed for a while."""
    seen = []

    def condition():
        seen.append((time.monotonic(), value()))
        return next((True for when, then in seen if then == seen[-1][1] and seen[-1][0] - when > 0.4), False)

    return condition


def on_the_way():
    """The most that can be on its way through two TCP connections, and in usherd: how large their buffers become is the kernel's
    choice, up to these limits, and depends on how fast they were read."""
    most = sum(int(pathlib.Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text(encoding="ascii").split()[2]) for way in "rw")
    return 2 * most + (4 << 20)


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_backpressure(usherd, serve, folder, transport):
    """Bulk towards a reader that stops: the source is held, the daemon's memory too; then all of it arrives."""
    total = max((64 if SANITIZER else 1024) << 20, 2 * on_the_way())
    if transport == "tcp":
        upstream = serve(servers.source(total))
        daemon = usherd({"web": listener(proxy(upstream.address)), "echo": listener("echo")})
    else:
        upstream = serve(servers.source(total), family=socket.AF_UNIX, address=f"{folder}/up")
        os.chmod(f"{folder}/up", 0o666)
        daemon = usherd({"web": listener(proxy(upstream.address), f"unix:{folder}/in"), "echo": listener("echo")})
    warm = daemon.connect("echo")
    assert ask(warm) == b"hello"
    before = daemon.own_kib()
    sock = daemon.connect("web")
    assert sock.recv(1)
    upstream.wait(lambda server: server.values["sent"])
    wait_until(stuck(lambda: upstream.values["sent"]), "the source to be held")
    assert upstream.values["sent"] < on_the_way(), "more than the kernel's buffers and a pipe was taken"
    if not SANITIZER:
        assert daemon.own_kib() - before < 1024, "memory grows with what is not read"
    assert ask(warm) == b"hello", "another connection is disturbed"
    size = 1
    buffer = bytearray(1 << 20)
    while n := sock.recv_into(buffer):
        size += n
    assert size == total
    sock.close()
    daemon.wait_closed(listener="web")


def test_backpressure_of_the_client(usherd, serve):
    """The same towards an upstream that stops reading."""
    upstream = serve(servers.hang)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    sock = daemon.connect("web")
    sock.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < on_the_way():
            sent += sock.send(bytes(262144))
    reset(sock)
    daemon.wait_closed("client_reset")


def test_many_small_connections(usherd, serve):
    upstream = serve(servers.echo)
    daemon = usherd({"web": listener(proxy(upstream.address))})
    before = daemon.fds()
    for _ in range(300):
        with connect(daemon.address("web")) as sock:
            assert ask(sock) == b"hello"
    daemon.wait_closed(count=300)
    assert {record.reason for record in daemon.close_records()} == {"client_closed"}
    daemon.wait_fds(before)
    daemon.stop()
