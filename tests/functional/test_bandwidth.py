# SPDX-License-Identifier: MIT
"""bandwidth: how fast bytes go, of a connection, of all of a source, of all of a listener."""
import contextlib
import socket
import ssl
import subprocess
import threading
import time

import pytest

import servers
from harness import TIMEOUT, TOP, ask, config, ended, listener, proxy, read_all, reset, wait_until

pytestmark = pytest.mark.slow

RATE = 2_000_000  # bytes a second
LIMIT = f"{RATE}B/s burst 64KiB"
BURST = 65536
# of what should flow in that time; a machine that is busy with other things gives less, never more
LEAST, MOST = 0.5, 1.15


class Meter:
    """Takes what comes for `seconds` after the first byte: how much, how fast, and the longest pause."""

    def __init__(self, sock, seconds=2.0):
        self.bytes = 0
        self.pause = 0.0
        sock.settimeout(TIMEOUT)
        start = last = None
        now = 0.0
        while start is None or now < start + seconds:
            n = len(sock.recv(262144))
            assert n, "the other side has ended"
            now = time.monotonic()
            if start is None:
                start = last = now
            self.pause = max(self.pause, now - last)
            last = now
            self.bytes += n
        self.seconds = last - start

    def expect(self, rate=RATE, burst=BURST):
        quantum = max(rate * 16 // 1000, 4096)
        assert self.bytes <= rate * self.seconds * MOST + burst + quantum, vars(self)
        assert self.bytes >= rate * self.seconds * LEAST, vars(self)


def flood(sock):
    """Sends as fast as it may until the other side has gone."""

    def run():
        with contextlib.suppress(OSError):
            while True:
                sock.sendall(bytes(65536))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_out_of_a_proxied_connection(usherd, serve):
    upstream = serve(servers.source(1 << 30))
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"out": LIMIT})})
    Meter(daemon.connect("web")).expect()
    # and the upstream was held back: what it has sent beyond is in the kernel's buffers at the most
    assert upstream.values["sent"] < 64 << 20


def test_in_of_a_proxied_connection(usherd, serve):
    meters = []
    upstream = serve(lambda sock, server: (meters.append(Meter(sock)), server.add("done")))
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"in": LIMIT})})
    flood(daemon.connect("web"))
    upstream.wait(lambda s: s.values["done"])
    meters[0].expect()


def test_the_other_direction_is_free(usherd, serve):
    size = 64 << 20
    upstream = serve(servers.says(bytes(size)))
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"in": "1KiB/s"})})
    sock = daemon.connect("web")
    start = time.monotonic()
    assert len(read_all(sock, size)) == size
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("service", ["echo", "chargen"])
def test_services(usherd, service):
    daemon = usherd({"web": listener(service, bandwidth={"out": LIMIT})})
    sock = daemon.connect("web")
    if service == "echo":
        flood(sock)
    Meter(sock).expect()


def test_discard_reads_no_faster(usherd):
    """What it has not read yet is in the kernel's buffers: they are small here."""
    daemon = usherd({"web": listener("discard", bandwidth={"in": LIMIT}, receive_buffer="32KiB")})
    sock = daemon.connect("web")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    sent, start = 0, time.monotonic()
    while time.monotonic() < start + 2:
        sent += sock.send(bytes(16384))
    seconds = time.monotonic() - start
    assert RATE * seconds * LEAST <= sent <= RATE * seconds * MOST + BURST + (1 << 20)


def test_a_listener_is_shared_fairly(usherd, serve):
    upstream = serve(servers.source(1 << 30))
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"listener_out": LIMIT})})
    socks = [daemon.connect("web") for _ in range(8)]
    meters = [None] * len(socks)
    barrier = threading.Barrier(len(socks))

    def measure(i):
        barrier.wait()
        meters[i] = Meter(socks[i], 4)

    threads = [threading.Thread(target=measure, args=(i,)) for i in range(len(socks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(meter.bytes for meter in meters)
    seconds = max(meter.seconds for meter in meters)
    assert RATE * seconds * LEAST <= total <= RATE * (seconds + 0.5) * MOST + BURST, [vars(m) for m in meters]
    # what the kernel still held of each counts for it too
    for meter in meters:
        assert meter.bytes >= total / len(meters) * 0.5, [vars(m) for m in meters]
        assert meter.bytes <= total / len(meters) * 2, [vars(m) for m in meters]


SOURCES = ["127.0.0.2", "127.0.0.2", "127.0.0.3"]


def measured(usherd, serve, way, limits):
    """A meter for each of SOURCES, all of which go at once."""
    meters = [None] * len(SOURCES)
    barrier = threading.Barrier(len(SOURCES))

    def measure(i, sock):
        barrier.wait(TIMEOUT)
        meters[i] = Meter(sock, 4)

    def taking(sock, server):
        measure(sock.recv(1)[0], sock)
        server.add("done")

    upstream = serve(servers.source(1 << 30) if way == "out" else taking)
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth=limits)})
    socks = [daemon.connect("web", source=(source, 0)) for source in SOURCES]
    if way == "out":
        threads = [threading.Thread(target=measure, args=item) for item in enumerate(socks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        for i, sock in enumerate(socks):
            sock.sendall(bytes([i]))
            flood(sock)
        upstream.wait(lambda s: s.values["done"] == len(SOURCES))
    return meters


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_source_shares_its_rate(usherd, serve, way):
    """Two connections of one source have it together; another source has its own."""
    *two, other = measured(usherd, serve, way, {f"source_{way}": LIMIT})
    total = sum(meter.bytes for meter in two)
    seconds = max(meter.seconds for meter in two)
    assert RATE * seconds * LEAST <= total <= RATE * (seconds + 0.5) * MOST + BURST, [vars(m) for m in two]
    for meter in two:
        assert total * 0.25 <= meter.bytes <= total * 0.75, [vars(m) for m in two]
    other.expect()


@pytest.mark.parametrize("way", ["in", "out"])
def test_the_tightest_limit_counts(usherd, serve, way):
    """Of a connection, its source and its listener: here it is the source's."""
    limits = {way: f"{RATE}B/s", f"source_{way}": f"{RATE // 2}B/s burst 64KiB", f"listener_{way}": f"{RATE * 4}B/s"}
    *two, other = measured(usherd, serve, way, limits)
    total = sum(meter.bytes for meter in two)
    seconds = max(meter.seconds for meter in two)
    assert RATE / 2 * seconds * LEAST <= total <= RATE / 2 * (seconds + 0.5) * MOST + BURST, [vars(m) for m in two]
    other.expect(rate=RATE // 2)


def test_a_low_rate_is_no_stop_and_go(usherd):
    daemon = usherd({"web": listener("chargen", bandwidth={"out": "8KiB/s burst 1KiB"})})
    meter = Meter(daemon.connect("web"), 4)
    meter.expect(rate=8192, burst=1024)
    assert meter.pause < 2, vars(meter)


def test_what_is_small_does_not_wait(usherd, serve):
    """A burst is there again after a pause: questions and answers go as if there were no limit."""
    upstream = serve(servers.echo)
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"in": LIMIT, "out": LIMIT})})
    sock = daemon.connect("web")
    start = time.monotonic()
    for _ in range(1000):
        assert ask(sock, b"x" * 50) == b"x" * 50
    assert time.monotonic() - start < TIMEOUT


def test_all_of_it_arrives(usherd, serve):
    data = bytes(range(256)) * 4096
    upstream = serve(servers.echo)
    limits = {"in": "1MiB/s", "out": "1MiB/s", "listener_in": "2MiB/s", "listener_out": "3MiB/s"}
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth=limits), "own": listener("echo", bandwidth=limits)})
    for name in ("web", "own"):
        sock = daemon.connect(name)
        sender = threading.Thread(target=lambda s=sock: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(sock) == data
        sender.join()
        daemon.wait_closed("client_closed", listener=name)


SLOW_LIMIT = "1KiB/s burst 1KiB"


def full(usherd, serve, service=None, **bandwidth):
    """A daemon with a connection whose bytes wait: (daemon, client, upstream)."""
    upstream = serve(servers.hang)
    daemon = usherd({"web": listener(service or proxy(upstream.address), bandwidth=bandwidth)})
    sock = daemon.connect("web")
    return daemon, sock, upstream


@pytest.mark.parametrize("service", ["proxy", "echo", "discard"])
def test_a_reset_is_seen_at_once(usherd, serve, service):
    daemon, sock, upstream = full(usherd, serve, None if service == "proxy" else service, **{"in": "1B/s burst 1B"})
    sock.sendall(bytes(10000))
    if service == "proxy":
        upstream.wait(lambda s: s.count == 1)
    reset(sock)
    daemon.wait_closed("client_reset")


def test_a_reset_of_a_reader_is_seen_at_once(usherd):
    daemon = usherd({"web": listener("chargen", bandwidth={"out": "1B/s burst 1B"})})
    sock = daemon.connect("web")
    sock.recv(1)
    reset(sock)
    daemon.wait_closed("client_reset")


def test_an_end_without_bytes_before_it_is_passed_on_at_once(usherd, serve):
    """The direction has nothing left for an hour; an end needs nothing."""
    ends = []

    def handler(sock, server):
        assert read_all(sock, 100) == bytes(100)
        server.add("got")
        ends.append(sock.recv(1))
        server.add("ended")

    upstream = serve(handler)
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"in": "100B/h burst 100B"})})
    sock = daemon.connect("web")
    sock.sendall(bytes(100))
    upstream.wait(lambda s: s.values["got"])
    sock.shutdown(socket.SHUT_WR)
    upstream.wait(lambda s: s.values["ended"])
    assert ends == [b""]
    assert ended(sock) == "end"


def test_an_upstream_that_resets_with_bytes_waiting(usherd, serve):
    """What it sent before is still the client's, in its time; then comes the reset."""
    upstream = serve(servers.resets_after(30000))
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"out": "100KiB/s burst 16KiB"})})
    sock = daemon.connect("web")
    got = 0
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            got += len(data)
            if got == 30000:
                sock.sendall(b"x")
    assert got == 30000
    daemon.wait_closed("upstream_reset")


def test_waiting_is_not_idle(usherd, serve):
    """A byte in five seconds goes: that is longer than idle, and the connection lives on."""
    upstream = serve(servers.sink)
    text = {"web": listener(proxy(upstream.address), bandwidth={"in": "12B/min burst 1B"}, timeouts={"idle": "1s"})}
    daemon = usherd(text)
    sock = daemon.connect("web")
    sock.sendall(bytes(100))
    upstream.wait(lambda s: s.values["bytes"] >= 2)
    assert not daemon.close_records()
    reset(sock)
    daemon.wait_closed("client_reset")


def test_many_wait_at_little_cost(usherd, serve):
    """A listener with a low limit and 200 connections that all want more."""
    upstream = serve(servers.source(1 << 30, block=65536))
    daemon = usherd({"web": listener(proxy(upstream.address), bandwidth={"listener_out": "512KiB/s"})})
    socks = [daemon.connect("web") for _ in range(200)]
    for sock in socks:
        assert sock.recv(1), "everybody gets a turn"
    ticks, start = daemon.cpu_ticks(), time.monotonic()
    time.sleep(2)
    used = (daemon.cpu_ticks() - ticks) / 100 / (time.monotonic() - start)
    assert used < 0.2, f"{used * 100:.0f}% of a CPU for 512 KiB a second"


@pytest.fixture
def tls(usherd, folder):
    """start(upstream, bandwidth): a daemon with TLS, and a client's socket."""
    subprocess.run([TOP / "conf" / "demo-certificate", folder], check=True)
    certificate = {"certificate": f"{folder}/cert.pem", "key": f"{folder}/key.pem"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF

    def start(service, **bandwidth):
        daemon = usherd({"web": listener(service, tls=certificate, bandwidth=bandwidth)})
        sock = context.wrap_socket(daemon.connect("web"))
        daemon.sockets.append(sock)
        return daemon, sock

    return start


@pytest.mark.programs("openssl")
def test_tls_counts_what_is_inside(tls, serve):
    upstream = serve(servers.source(1 << 30))
    _, sock = tls(proxy(upstream.address), out=LIMIT)
    Meter(sock).expect()


@pytest.mark.programs("openssl")
def test_tls_in(tls, serve):
    meters = []
    upstream = serve(lambda sock, server: (meters.append(Meter(sock)), server.add("done")))
    _, sock = tls(proxy(upstream.address), **{"in": LIMIT})
    flood(sock)
    upstream.wait(lambda s: s.values["done"])
    meters[0].expect()


@pytest.mark.programs("openssl")
@pytest.mark.parametrize("more", [b"", b"x" * 1000], ids=["alone", "behind bytes that wait"])
def test_a_tls_end_is_seen_at_once(tls, serve, more):
    """close_notify, without the descriptor's end behind it, over a direction that has nothing left for an hour. Behind bytes
    that wait it has to wait too; a reset does not."""

    def handler(sock, server):
        assert read_all(sock, 100) == bytes(100)
        sock.sendall(b"got")  # a client that was told nothing may reset because of tickets that it did not read
        assert sock.recv(1) == b""
        server.add("ended")

    upstream = serve(handler)
    daemon, sock = tls(proxy(upstream.address), **{"in": "100B/h burst 100B"})
    sock.sendall(bytes(100))
    assert read_all(sock, 3) == b"got"
    if more:
        sock.sendall(more)
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.unwrap()
        assert not upstream.values["ended"]
        reset(sock)
        daemon.wait_log(r"\(client_reset\)$")
    else:
        sock.unwrap()
        upstream.wait(lambda s: s.values["ended"])
        daemon.wait_log(r"\(client_closed\)$")


def test_a_reload_brings_new_limits_for_new_connections(usherd):
    def text(limit):
        return config({"web": listener("chargen", bandwidth={"out": limit})})

    daemon = usherd(text=text("1B/s burst 100B"))
    old = daemon.connect("web")
    assert len(read_all(old, 100)) == 100
    assert daemon.reload(text("0/s")).ok
    new = daemon.connect("web")
    assert len(read_all(new, 10 << 20)) == 10 << 20
    wait_until(lambda: not daemon.close_records(), "the old one lives on")
