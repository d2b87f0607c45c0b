# SPDX-License-Identifier: MIT
"""What strangers do to a TLS port: each gets the right alert and reason, and costs little and nobody else."""
import os
import random
import re
import select
import socket
import ssl
import struct
import subprocess

import pytest

import servers
from certificates import tls
from harness import SANITIZER, SLOW, TIMEOUT, ask, ended, listener, proxy, read_all, reset, visit, wait_until
from tls_peer import (RECORD_ALERT, RECORD_HANDSHAKE, TlsStream, answer, client_context, fragmented, hello, record, records,
                      tls_connect, verdict)


@pytest.fixture
def web(usherd, ca):
    """Starts a daemon whose listener `web` echoes behind TLS."""

    def start(**options):
        return usherd({"web": listener("echo", tls=tls(ca.issue(dns=["www.example"])), **options)})

    return start


def sends(daemon, data, end=False):
    """What comes back for these bytes: (alert, "end" or "reset")."""
    with daemon.connect("web") as sock:
        sock.sendall(data)
        if end:
            sock.shutdown(socket.SHUT_WR)
        return answer(sock)


# ---- old versions, other protocols


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_versions(web, version):
    daemon = web()
    assert sends(daemon, hello(version=version)) == ("protocol_version", "end")
    daemon.wait_closed("tls_version")
    assert verdict(daemon.address("web")) == "ok"


def test_ssl_3_and_2(web):
    daemon = web()
    sslv3 = hello(version="1.0").replace(b"\x03\x01", b"\x03\x00")
    assert sends(daemon, sslv3) in (("protocol_version", "end"), ("handshake_failure", "end"))
    daemon.wait_closed("tls_version")
    sslv2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\x01\x00\x80\x02\x00\x80\x03\x00\x80\x04\x00\x80\x05\x00\x80\x06\x00\x40\x07\x00\xc0" + bytes(16)
    _, how = sends(daemon, sslv2)
    assert how == "end"
    assert daemon.wait_closed(count=2).reason in ("tls_version", "tls_plain", "tls_handshake")


@pytest.mark.parametrize("data", [
    b"\r\n", b"x",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.0\r\n\r\n", b"HELO mail.example\r\n", b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", b"*1\r\n$4\r\nPING\r\n", b"\r\n\r\nx",
])
def test_plain_text(web, data):
    """It is told by its first bytes, and the end is clean, so that whatever answer there is arrives."""
    daemon = web(timeouts={"handshake": f"{2 * SLOW}s"})
    _, how = sends(daemon, data)
    assert how == "end"
    assert daemon.wait_closed("tls_plain").bytes_in == "0 B"


def test_fallback_scsv(web):
    """A client that was talked down to TLS 1.2 (RFC 7507)."""
    daemon = web()
    flight = hello(version="1.2")
    at = 5 + 4 + 2 + 32
    at += 1 + flight[at]
    size = struct.unpack("!H", flight[at : at + 2])[0]
    suites = flight[at + 2 : at + 2 + size]
    assert b"\x00\xff" in suites
    flight = flight[: at + 2] + suites.replace(b"\x00\xff", b"\x56\x00") + flight[at + 2 + size :]
    assert sends(daemon, flight) == ("inappropriate_fallback", "end")
    daemon.wait_closed()


# ---- slow and stalled


def test_one_byte_at_a_time(web):
    """The timeout counts from the connection's start, not from the last byte."""
    daemon = web(timeouts={"handshake": "500ms"})
    sock = daemon.connect("web")
    flight = hello()
    sent = 0
    for byte in flight:
        try:
            sock.sendall(bytes([byte]))
        except OSError:
            break
        sent += 1
        if select.select([sock], [], [], 0.05)[0]:
            break
    assert sent < len(flight)
    daemon.wait_closed("handshake_timeout")
    assert ended(sock) in ("end", "reset")


@pytest.mark.parametrize("sent", [0, 1, 5, 100])
def test_stalled(web, sent):
    daemon = web(timeouts={"handshake": "200ms"})
    before = daemon.fds_at_rest()
    sock = daemon.connect("web")
    sock.sendall(hello()[:sent])
    assert ended(sock) in ("end", "reset")
    assert daemon.wait_closed("handshake_timeout").bytes_in == "0 B"
    daemon.wait_fds(before)


def test_stalled_after_the_servers_flight(web):
    daemon = web(timeouts={"handshake": "200ms"})
    sock = daemon.connect("web")
    sock.sendall(hello())
    assert ended(sock) in ("end", "reset")
    daemon.wait_closed("handshake_timeout")


def test_the_timeout_ends_with_the_handshake(web):
    """What is slow later is none of its business."""
    daemon = web(timeouts={"handshake": "300ms"})
    stalled = daemon.connect("web")
    with tls_connect(daemon.address("web")) as sock:
        assert ended(stalled) in ("end", "reset")  # as long as the timeout is
        daemon.wait_closed("handshake_timeout")
        assert ask(sock) == b"hello"


def test_others_are_not_held_up(usherd, ca):
    """One worker, many stalled handshakes at every stage."""
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()), timeouts={"handshake": "1h"})}, workers=1)
    flight = hello()
    for sent in list(range(0, 100, 5)) + [len(flight)] * 20:
        daemon.connect("web").sendall(flight[:sent])
    for _ in range(5):
        assert verdict(daemon.address("web"), ca=ca) == "ok"


def stall(daemon, count, source="127.0.0.1"):
    """Clients that begin a handshake and do not go on."""
    socks = [daemon.connect("web", source=(source, 0)) for _ in range(count)]
    for sock in socks:
        sock.sendall(hello()[:10])
    return socks


def served(daemon, source, ca, **options):
    """A client that is through with its handshake."""
    stream = TlsStream(daemon.connect("web", source=(source, 0), **options), client_context(ca=ca))
    assert ask(stream) == b"hello"
    return stream


def test_handshakes_under_way_are_limited(usherd, ca):
    """Further ones are reset, until one is over; those that are done do not count, and nobody else has to do with it."""
    daemon = usherd({
        "web": listener("echo", tls=tls(ca.issue()), limits={"handshakes": 3}, timeouts={"handshake": "1h"},
                        trusted=["127.0.0.9"], deny=["127.0.0.66"]),
        "other": listener("echo", tls=tls(ca.issue())),
    })
    done = [served(daemon, "127.0.0.1", ca) for _ in range(5)]
    stalled = stall(daemon, 3)
    for _ in range(4):
        assert ended(visit(daemon.address("web"))) == "reset"
    daemon.wait_refused("limit_handshakes", "127.0.0.1")
    assert ended(visit(daemon.address("web"), source=("127.0.0.66", 0))) == "reset"
    daemon.wait_refused("denied", "127.0.0.66")
    assert verdict(daemon.address("other"), ca=ca) == "ok"
    assert [ask(sock) for sock in done] == [b"hello"] * 5
    served(daemon, "127.0.0.9", ca).close()
    reset(stalled.pop())
    daemon.wait_closed("tls_aborted")
    assert verdict(daemon.address("web"), ca=ca) == "ok"
    for sock in stalled:
        reset(sock)
    daemon.stop()
    assert daemon.refused("limit_handshakes") == 4
    assert daemon.refused() == 5


def test_handshakes_of_all_listeners_are_limited(usherd, ca):
    """By door.limits; who comes without TLS has nothing to do with it, also where others wait for it."""
    limits = {"handshakes": 3, "at_limit": "wait"}
    daemon = usherd({
        "web": listener("echo", tls=tls(ca.issue()), timeouts={"handshake": "1h"}),
        "other": listener("echo", tls=tls(ca.issue()), limits={"handshakes": 1}),
        "plain": listener("echo"),
    }, door={"limits": limits})
    before = daemon.fds_at_rest()
    stalled = stall(daemon, 3)
    wait_until(lambda: daemon.fds() == before + 3, "these to be accepted: of two listeners either may come first")
    waits = TlsStream(daemon.connect("other"), client_context(ca=ca), handshake=False)
    waits.send_raw(waits.hello())
    assert not select.select([waits.sock], [], [], 0.3)[0], "a fourth handshake was begun"
    assert [ask(daemon.connect("plain")) for _ in range(3)] == [b"hello"] * 3
    reset(stalled.pop())
    waits.handshake()
    assert ask(waits) == b"hello"
    daemon.stop()
    assert daemon.refused() == 0


def test_handshakes_wait_by_turns(usherd, ca):
    """One source that has many waiting does not delay another's first."""
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()), limits={"handshakes": 3, "at_limit": "wait"},
                                     timeouts={"handshake": "1h"})})
    before = daemon.fds_at_rest()
    stalled = stall(daemon, 3, "127.0.0.2")
    wait_until(lambda: daemon.fds() == before + 3, "the first to be accepted")
    waiting = stall(daemon, 10, "127.0.0.2")
    wait_until(lambda: daemon.fds() == before + 13, "all to be accepted")
    other = TlsStream(daemon.connect("web", source=("127.0.0.3", 0)), client_context(ca=ca), handshake=False)
    other.send_raw(other.hello())
    wait_until(lambda: daemon.fds() == before + 14, "the other to be accepted")
    reset(stalled.pop())
    daemon.wait_closed("tls_aborted")
    assert not select.select([other.sock], [], [], 0.3)[0], "it went past those who came before"
    reset(stalled.pop())
    other.handshake()
    assert ask(other) == b"hello"
    for sock in waiting:
        reset(sock)
    assert verdict(daemon.address("web"), ca=ca) == "ok"
    daemon.stop()
    assert daemon.refused("limit_handshakes") == 0


def test_many_that_come_back_at_once_are_not_reset(usherd, ca):
    """By the defaults, and though none of them goes on."""
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()), timeouts={"handshake": "1h"})}, door={"overload": {"percent": 0}})
    for _ in range(1100):
        daemon.connect("web")
    assert verdict(daemon.address("web"), ca=ca) == "ok"
    daemon.stop()
    assert daemon.refused() == 0


def test_who_waits_for_a_handshake_may_leave(usherd, ca):
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()), limits={"handshakes": 1, "at_limit": "wait"},
                                     timeouts={"handshake": "1h"})})
    before = daemon.fds_at_rest()
    stalled = daemon.connect("web")
    stalled.sendall(b"\x16")
    for _ in range(10):
        reset(daemon.connect("web"))
    reset(stalled)
    assert verdict(daemon.address("web"), ca=ca) == "ok"
    daemon.wait_fds(before)


def test_a_flood_of_stalled_handshakes_is_bounded(usherd, ca):
    """Memory by the connection, before anybody has said who they are."""
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()), timeouts={"handshake": "1h"})})
    assert verdict(daemon.address("web"), ca=ca) == "ok"
    before = daemon.own_kib()
    count = 300
    head = record(RECORD_HANDSHAKE, b"\x01\x00\xff\xff" + bytes(3000))
    for _ in range(count):
        daemon.connect("web").sendall(head)
    assert verdict(daemon.address("web"), ca=ca) == "ok"
    each = (daemon.own_kib() - before) / count
    assert SANITIZER or each < 64, f"{each:.0f} KiB a stalled handshake"


# ---- too large, in pieces, nonsense


def test_an_oversized_hello(web):
    """A header that claims 16 MiB, and 100 KiB that come: refused at once, not collected."""
    daemon = web()
    claimed = b"\x01\xff\xff\xff" + bytes(20000)
    flight = b"".join(record(RECORD_HANDSHAKE, claimed[at : at + 16000]) for at in range(0, len(claimed), 16000))
    alert, how = sends(daemon, flight)
    assert alert in ("illegal_parameter", "decode_error", "record_overflow", "unexpected_message", "handshake_failure"), alert
    assert how == "end"
    daemon.wait_closed("tls_handshake")


def test_a_hello_of_100_kib(web):
    daemon = web()
    flight = hello()
    body = flight[9:]
    extra = struct.pack("!HH", 0xFAFA, 60000) + bytes(60000)
    size_at = body.rfind(struct.pack("!H", len(body) - body_extensions(body)))
    assert size_at > 0
    body = body[:size_at] + struct.pack("!H", 0xFFFF) + body[size_at + 2 :] + extra + bytes(40000)
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    assert len(message) > 100000
    flight = b"".join(record(RECORD_HANDSHAKE, message[at : at + 16000]) for at in range(0, len(message), 16000))
    before = daemon.own_kib()
    alert, how = sends(daemon, flight)
    assert alert and how == "end"
    daemon.wait_closed("tls_handshake")
    assert SANITIZER or daemon.own_kib() - before < 1024


def body_extensions(body):
    """Where the extensions of a ClientHello's body begin."""
    at = 2 + 32
    at += 1 + body[at]
    at += 2 + struct.unpack("!H", body[at : at + 2])[0]
    at += 1 + body[at]
    return at + 2


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("size", [1, 7])
def test_a_hello_in_pieces(web, version, size):
    """Records of one byte are allowed; each in its own segment too."""
    daemon = web()
    stream = TlsStream(daemon.connect("web"), client_context(version=version), name="www.example", handshake=False)
    pieces = fragmented(stream.hello(), size)
    stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, 300, 6):
        stream.send_raw(pieces[at : at + 6])
    stream.send_raw(pieces[300:])
    stream.handshake()
    assert ask(stream) == b"hello"


def test_empty_records_without_end(web):
    """A stream of nothing is not read for ever."""
    daemon = web(timeouts={"handshake": "2s"})
    alert, how = sends(daemon, record(RECORD_HANDSHAKE, b"") * 1000)
    assert how in ("end", "reset") and (alert or how)
    assert daemon.wait_closed().reason in ("tls_handshake", "handshake_timeout")


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\xff\xff" + bytes(100),  # longer than any record
    b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
    b"\x17\x03\x03\x00\x05hello",  # data before the handshake
    b"\x14\x03\x03\x00\x01\x01",
    b"\x16\x03\x01\x00\x26\x01\x00\x00\x22\x03\x03" + bytes(32),  # cut
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
    b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
])
def test_nonsense_in_records(web, data):
    daemon = web()
    alert, how = sends(daemon, data, end=True)
    assert alert and how == "end"
    record_of = daemon.wait_closed()
    assert record_of.reason in ("tls_handshake", "tls_version"), record_of


def test_random_bytes(web):
    """Nothing hangs, falls or stays open; behind each the next is served."""
    daemon = web(timeouts={"handshake": "30s"})
    before = daemon.fds_at_rest()
    chance = random.Random(7)
    good = hello(name="www.example")
    for number in range(150):
        if number % 3 == 0:
            data = chance.randbytes(chance.randrange(1, 2000))
        elif number % 3 == 1:
            data = b"\x16\x03\x01" + struct.pack("!H", 200) + chance.randbytes(200)
        else:
            data = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        sock = daemon.connect("web")
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        assert ended(sock) in ("end", "reset"), data
        sock.close()
    daemon.wait_closed(count=150)
    allowed = {"tls_plain", "tls_version", "tls_nothing_shared", "tls_alert", "tls_handshake", "tls_aborted"}
    assert {r.reason for r in daemon.close_records()} <= allowed, daemon.tail()
    assert verdict(daemon.address("web")) == "ok"
    daemon.wait_fds(before)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_garbage_after_the_handshake(usherd, serve, ca, version):
    """A record whose seal is broken: an alert for the client, a reset for the upstream."""
    upstream = serve(servers.notes_end)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), version=version)
    sock.sendall(b"pay 100")
    upstream.wait(lambda s: s.values["bytes"] == 7)
    sock.send_raw(b"\x17\x03\x03\x00\x40" + os.urandom(64))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        sock.recv()
    daemon.wait_closed("client_tls")
    upstream.wait(lambda s: s.values["reset"] + s.values["end"])
    assert upstream.values["reset"] == 1


def test_plain_bytes_after_the_handshake(web):
    daemon = web()
    sock = tls_connect(daemon.address("web"))
    assert ask(sock) == b"hello"
    sock.send_raw(b"now in plain text, please, all of this")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        sock.recv()
    daemon.wait_closed("client_tls")


# ---- leaving


def test_connect_and_leave(web):
    """A port scan."""
    daemon = web()
    before = daemon.fds_at_rest()
    for number in range(100):
        sock = daemon.connect("web")
        if number % 2:
            reset(sock)
        else:
            sock.close()
    daemon.wait_closed("tls_aborted", 100)
    daemon.wait_fds(before)
    assert not [level for level, _ in daemon.lines if level in ("warning", "error")]


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("sent", [1, 200, None])
def test_leave_in_mid_handshake(web, leave, sent):
    daemon = web()
    before = daemon.fds_at_rest()
    sock = daemon.connect("web")
    sock.sendall(hello()[:sent])
    if sent is None:
        assert sock.recv(1)
    reset(sock) if leave == "reset" else sock.close()
    daemon.wait_closed("tls_aborted")
    daemon.wait_fds(before)


def test_half_closed_in_mid_handshake(web):
    """It has said that nothing more comes: there is nothing to wait for."""
    daemon = web(timeouts={"handshake": "1h"})
    _, how = sends(daemon, hello()[:50], end=True)
    assert how in ("end", "reset")
    daemon.wait_closed("tls_aborted")


# ---- what TLS could do and must not


def s_client(daemon, *options, text=""):
    done = subprocess.run(["openssl", "s_client", "-connect", daemon.address("web"), *options], input=text, capture_output=True,
                          text=True, timeout=TIMEOUT, check=False)
    return done.stdout + done.stderr


@pytest.mark.programs("openssl")
def test_renegotiation_is_refused(web):
    daemon = web()
    process = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-connect", daemon.address("web")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    process.stdin.write("hello\n")
    process.stdin.flush()
    said = ""
    while "\nhello\n" not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.stdin.write("R\n")
    process.stdin.flush()
    rest, _ = process.communicate(timeout=TIMEOUT)
    assert "RENEGOTIATING" in rest and re.search("(?i)no.renegotiation|handshake failure", rest), rest
    assert daemon.wait_closed().reason in ("client_tls", "client_closed", "client_truncated", "client_reset")
    assert verdict(daemon.address("web")) == "ok"


@pytest.mark.programs("openssl")
def test_key_updates(web):
    """New keys on the way, asked for and not, with an answer to each word behind them."""
    daemon = web()
    with subprocess.Popen(["openssl", "s_client", "-tls1_3", "-connect", daemon.address("web")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
        for number in range(6):
            for word, said in ((f"word {number}\n", f"word {number}\n"), ("K\n" if number % 2 else "k\n", "KEYUPDATE\n")):
                client.stdin.write(word)
                client.stdin.flush()
                while (line := client.stdout.readline()) != said:
                    assert line, "the connection ended"
        client.communicate("Q\n", timeout=TIMEOUT)
    assert daemon.wait_closed().reason == "client_closed"


def test_no_compression(web):
    """A client that offers DEFLATE is answered with none."""
    daemon = web()
    flight = hello(version="1.2")
    body = flight[9:]
    at = 2 + 32
    at += 1 + body[at]
    at += 2 + struct.unpack("!H", body[at : at + 2])[0]
    assert body[at : at + 2] == b"\x01\x00"
    body = body[:at] + b"\x02\x01\x00" + body[at + 2 :]
    message = b"\x01" + struct.pack("!I", len(body))[1:] + body
    sock = daemon.connect("web")
    sock.sendall(record(RECORD_HANDSHAKE, message))
    data = read_all(sock, 5)
    data += read_all(sock, struct.unpack("!H", data[3:5])[0])
    kind, payload = records(data)[0]
    assert kind == RECORD_HANDSHAKE and payload[0] == 2, "a ServerHello"
    at = 4 + 2 + 32
    at += 1 + payload[at]
    assert payload[at + 2] == 0
    reset(sock)


@pytest.mark.programs("openssl")
def test_no_early_data(web, folder):
    """Tickets allow none; a client that insists is not heard before its handshake is done."""
    daemon = web()
    assert "Max Early Data: 0" in session_of(daemon, folder)
    with open(f"{folder}/early", "w", encoding="ascii") as file:
        file.write("too early\n")
    said = s_client(daemon, "-tls1_3", "-sess_in", f"{folder}/session", "-early_data", f"{folder}/early", text="Q\n")
    assert "Early data was accepted" not in said and "too early" not in said, said


def session_of(daemon, folder):
    """Has a session written to FOLDER/session; what s_client says of it."""
    process = subprocess.Popen(
        ["openssl", "s_client", "-tls1_3", "-connect", daemon.address("web"), "-sess_out", f"{folder}/session"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    said = ""
    process.stdin.write("hello\n")  # its answer shows that the ticket has come
    process.stdin.flush()
    while "hello" not in said.split("\n"):
        line = process.stdout.readline()
        assert line, said
        said += line
    rest, _ = process.communicate("Q\n", timeout=TIMEOUT)
    return said + rest


def test_alerts_without_end(web):
    """Warnings are counted."""
    daemon = web(timeouts={"handshake": "2s"})
    alert, how = sends(daemon, record(RECORD_ALERT, b"\x01\x5a") * 1000)
    assert how in ("end", "reset") and (alert or how)
    assert daemon.wait_closed().reason in ("tls_handshake", "tls_alert", "handshake_timeout", "tls_version", "tls_aborted")
