# SPDX-License-Identifier: MIT
"""TLS at a listener: versions, names, what is agreed on, every service behind it, and both ends of a connection."""
import os
import re
import signal
import socket
import ssl
import threading

import pytest

import servers
from certificates import Authority, tls, write
from harness import SLOW, ask, config, connect, ended, listener, proxy, read_all, reset, wait_until
from tls_peer import TlsStream, Truncated, client_context, tls_connect, verdict

BIG = 8 << 20 if SLOW == 1 else 2 << 20


def echo(ca, **options):
    """A listener whose certificate is for www.example."""
    return listener("echo", tls=tls(ca.issue("www.example", dns=["www.example"]), **options))


# ---- what is agreed on


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_versions(usherd, ca, version):
    daemon = usherd({"web": echo(ca)})
    context = client_context(ca=ca, version=version)
    context.check_hostname = True
    with tls_connect(daemon.address("web"), context, name="www.example") as sock:
        assert sock.version == f"TLSv{version}"
        assert ask(sock) == b"hello"
        data = os.urandom(BIG)
        writer = threading.Thread(target=sock.sendall, args=(data,))
        writer.start()
        assert read_all(sock, len(data)) == data
        writer.join()
    record = daemon.wait_closed("client_closed")
    assert record.tls == f"TLSv{version}"
    daemon.stop()


def test_the_newest_version_is_taken(usherd, ca):
    daemon = usherd({"web": echo(ca)})
    assert tls_connect(daemon.address("web"), ca=ca).version == "TLSv1.3"


def test_minimum_version(usherd, ca):
    daemon = usherd({"web": echo(ca, minimum_version="1.3")})
    assert verdict(daemon.address("web"), version="1.3") == "ok"
    assert verdict(daemon.address("web"), version="1.2") == "protocol_version"
    assert daemon.wait_closed("tls_version").bytes_in == "0 B"


def test_certificates_by_name(usherd, ca):
    """The exact name, else a wildcard's, else the first; whatever their order."""
    of = {
        "default": ca.issue("default", dns=["default.test"]),
        "wild": ca.issue("wild", dns=["*.example", "*.deep.example"]),
        "exact": ca.issue("exact", dns=["www.example", "other.test"]),
        "cn": ca.issue("by-cn.test"),
    }
    daemon = usherd({"web": listener("echo", tls=tls(*of.values()))})
    for name, expected in (
        ("www.example", "exact"), ("WWW.Example", "exact"), ("other.test", "exact"), ("api.example", "wild"), ("API.EXAMPLE", "wild"),
        ("a.deep.example", "wild"), ("a.b.example", "default"), ("example", "default"), ("default.test", "default"),
        ("nobody.test", "default"), (None, "default"), ("wwww.example", "wild"),
    ):
        with tls_connect(daemon.address("web"), name=name) as sock:
            assert sock.peer_der == of[expected].der, f"{name}: {expected}"


def test_rsa_and_ecdsa_for_one_name(usherd, ca):
    both = [ca.issue("www.example", dns=["www.example"], key=kind) for kind in ("rsa", "ec")]
    other = [ca.issue("other", dns=["other.example"], key=kind) for kind in ("ec", "rsa")]
    daemon = usherd({"web": listener("echo", tls=tls(*both, *other))})
    for name, pair in (("www.example", both), ("other.example", other[::-1]), (None, both)):
        for ciphers, expected in (("ECDHE-RSA-AES128-GCM-SHA256", pair[0]), ("ECDHE-ECDSA-AES128-GCM-SHA256", pair[1])):
            with tls_connect(daemon.address("web"), version="1.2", ciphers=ciphers, name=name, ca=ca) as sock:
                assert sock.cipher == ciphers and sock.peer_der == expected.der
                assert ask(sock) == b"hello"


def test_one_file_for_both(usherd, ca):
    """Without `key` each key is in its certificate's file, before or after it."""
    first, second = ca.issue("first", dns=["first.test"]), ca.issue("second", dns=["second.test"])
    turned = write(second.both, second.key_pem + second.pem, 0o600)
    daemon = usherd({"web": listener("echo", tls={"certificate": [first.both, turned]})})
    for name, one in (("first.test", first), ("second.test", second)):
        with tls_connect(daemon.address("web"), ca=ca, name=name) as sock:
            assert sock.peer_der == one.der


def test_a_single_file_needs_no_list(usherd, ca):
    one = ca.issue()
    daemon = usherd({"web": listener("echo", tls={"certificate": one.cert, "key": one.key})})
    assert verdict(daemon.address("web"), ca=ca) == "ok"


def test_chain(usherd, ca, folder):
    """Intermediate certificates in the file are sent."""
    middle = Authority(folder, "Middle CA", parent=ca)
    daemon = usherd({
        "whole": listener("echo", tls=tls(middle.issue(chain=True))),
        "lacks": listener("echo", tls=tls(middle.issue())),
    })
    assert verdict(daemon.address("whole"), ca=ca) == "ok"
    assert verdict(daemon.address("lacks"), ca=ca) == "certificate_verify_failed"


def test_a_client_that_does_not_trust_us(usherd, ca, folder):
    daemon = usherd({"web": echo(ca)})
    assert verdict(daemon.address("web"), ca=Authority(folder, "Other CA")) == "certificate_verify_failed"
    record = daemon.wait_closed("tls_alert")
    assert record.bytes_in == record.bytes_out == "0 B"


def test_alpn(usherd, ca):
    daemon = usherd({"web": echo(ca, alpn=["h2", "http/1.1"]), "none": echo(ca)})
    web = daemon.address("web")
    for offered, chosen in ((["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["x", "h2"], "h2"), (None, None)):
        with tls_connect(web, alpn=offered) as sock:
            assert sock.alpn == chosen
            assert ask(sock) == b"hello"
    assert verdict(web, alpn=["h3", "http/1.0"]) == "no_application_protocol"
    daemon.wait_closed("tls_nothing_shared", listener="web")
    with tls_connect(daemon.address("none"), alpn=["h2"]) as sock:
        assert sock.alpn is None
        assert ask(sock) == b"hello"


def test_ciphers(usherd, ca):
    daemon = usherd({
        "old": echo(ca, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"),
        "new": echo(ca, minimum_version="1.3", ciphersuites="TLS_CHACHA20_POLY1305_SHA256"),
    })
    assert tls_connect(daemon.address("old"), version="1.2").cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert tls_connect(daemon.address("new")).cipher == "TLS_CHACHA20_POLY1305_SHA256"
    heard = verdict(daemon.address("old"), version="1.2", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    assert heard in ("handshake_failure", "alert_handshake_failure")
    daemon.wait_closed("tls_nothing_shared")


def test_groups(usherd, ca):
    daemon = usherd({"web": echo(ca, groups="P-384")})
    context = client_context(ca=ca)
    context.set_ecdh_curve("prime256v1")
    with pytest.raises(ssl.SSLError, match="(?i)handshake.failure"):
        tls_connect(daemon.address("web"), context)
    daemon.wait_closed("tls_nothing_shared")
    assert verdict(daemon.address("web"), ca=ca) == "ok"


# ---- services and listeners of every kind


def test_services(usherd, ca):
    one = tls(ca.issue())
    daemon = usherd({name: listener(name, tls=one) for name in ("echo", "discard", "daytime", "chargen")})
    with tls_connect(daemon.address("echo"), ca=ca) as sock:
        assert ask(sock) == b"hello"
    with tls_connect(daemon.address("daytime"), ca=ca) as sock:
        assert re.match(rb"^[^\r\n]+\r\n$", read_all(sock)), "the whole answer, then close_notify"
    with tls_connect(daemon.address("chargen"), ca=ca) as sock:
        assert len(read_all(sock, 1 << 20)) == 1 << 20
        sock.reset()
    with tls_connect(daemon.address("discard"), ca=ca) as sock:
        sock.sendall(bytes(BIG))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b""
    daemon.wait_closed(listener="daytime", reason="service_done")
    assert daemon.wait_closed(listener="discard").reason == "client_closed"
    daemon.stop()


def test_unix_listener(usherd, ca, folder):
    daemon = usherd({"local": listener("echo", f"unix:{folder}/l", tls=tls(ca.issue()))})
    assert verdict(f"unix:{folder}/l", ca=ca) == "ok"
    daemon.stop()


def test_many_listeners_each_its_own(usherd, ca, folder):
    other = Authority(folder, "Other CA")
    daemon = usherd({"plain": listener("echo"), "one": echo(ca), "two": echo(other)})
    assert ask(daemon.connect("plain")) == b"hello"
    assert verdict(daemon.address("one"), ca=ca) == "ok"
    assert verdict(daemon.address("two"), ca=other) == "ok"
    assert verdict(daemon.address("two"), ca=ca) == "certificate_verify_failed"


def test_reload_puts_tls_before_a_listener_and_takes_it_away(usherd, ca):
    plain, behind = config({"web": listener("echo")}), config({"web": echo(ca)})
    daemon = usherd(text=plain)
    address = daemon.address("web")
    first = daemon.connect("web")
    assert ask(first) == b"hello"
    outcome = daemon.reload(behind)
    assert outcome.ok and any("tls" in line for line in outcome.lines), outcome
    second = tls_connect(address, ca=ca)
    assert ask(second) == b"hello" and ask(first) == b"hello"
    assert daemon.reload(plain).ok
    assert ask(connect(address)) == b"hello" and ask(second) == b"hello" and ask(first) == b"hello"
    second.close()
    first.close()


def test_reload_changes_what_is_agreed_on(usherd, ca):
    one = tls(ca.issue())
    daemon = usherd({"web": listener("echo", tls=one)})
    first = tls_connect(daemon.address("web"), version="1.2")
    outcome = daemon.reload(config({"web": listener("echo", tls={**one, "minimum_version": "1.3"})}))
    assert "reload: listener web: tls.minimum_version: 1.2 -> 1.3" in outcome.lines, outcome
    assert ask(first) == b"hello"
    assert verdict(daemon.address("web"), version="1.2") == "protocol_version"


# ---- both ends of a connection


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_half_close_of_the_client(usherd, serve, ca, version):
    """close_notify becomes the upstream's end; the answer still comes, whole, then close_notify."""
    upstream = serve(servers.digests)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    data = os.urandom(BIG)
    sock = tls_connect(daemon.address("web"), ca=ca, version=version)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == servers.digest_of(data)
    sock.close()
    assert daemon.wait_closed().reason in ("client_closed", "upstream_closed")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_half_close_of_the_upstream(usherd, serve, ca, version):
    """The upstream's end becomes close_notify; the client still sends, and that arrives."""
    got = []

    def handler(sock, server):
        sock.sendall(b"all there is")
        sock.shutdown(socket.SHUT_WR)
        got.append(read_all(sock))
        server.add("done")

    upstream = serve(handler)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    data = os.urandom(BIG)
    sock = tls_connect(daemon.address("web"), ca=ca, version=version)
    assert read_all(sock) == b"all there is"
    sock.sendall(data)
    sock.close()
    upstream.wait(lambda s: s.values["done"])
    assert got[0] == data
    daemon.wait_closed()


def test_both_send_much_and_read_late(usherd, serve, ca):
    """Both sides' buffers are full before either reads."""
    data = os.urandom(BIG)
    got = []

    def handler(sock, server):
        writer = threading.Thread(target=sock.sendall, args=(data[::-1],))
        writer.start()
        server.add("sending")
        server.wait(lambda s: s.values["go"])
        got.append(read_all(sock, len(data)))
        writer.join()
        sock.shutdown(socket.SHUT_WR)
        server.add("done")

    upstream = serve(handler, buffer=65536)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca)
    writer = threading.Thread(target=sock.sendall, args=(data,))
    writer.start()
    upstream.wait(lambda s: s.values["sending"])
    stuck_at = -1

    def stands_still():
        nonlocal stuck_at
        before, stuck_at = stuck_at, daemon.cpu_ticks()
        return before == stuck_at

    wait_until(stands_still, "both directions to fill up")
    upstream.add("go")
    assert read_all(sock) == data[::-1]
    writer.join()
    upstream.wait(lambda s: s.values["done"])
    assert got[0] == data
    sock.close()
    daemon.wait_closed()


def test_a_slow_reader_holds_no_memory(usherd, serve, ca):
    """Backpressure goes through TLS: what a client does not read, the upstream does not get rid of."""
    upstream = serve(servers.source(256 << 20))
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca)
    before = daemon.own_kib()
    sock.recv(1)
    sent = [-1]

    def stands_still():
        sent.append(upstream.values["sent"])
        return sent[-1] == sent[-2] and sent[-1] > 0

    wait_until(stands_still, "the upstream to be held up")
    assert sent[-1] < 64 << 20
    assert daemon.own_kib() - before < 4096 * SLOW
    sock.reset()
    daemon.wait_closed("client_reset")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_truncation(usherd, serve, ca, version):
    """A TCP end without close_notify: the upstream must not take what it got for the whole."""
    upstream = serve(servers.notes_end)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca, version=version)
    sock.sendall(b"pay 100")
    upstream.wait(lambda s: s.values["bytes"] == 7)
    sock.truncate()
    upstream.wait(lambda s: s.values["reset"] + s.values["end"])
    assert upstream.values["reset"] == 1
    record = daemon.wait_closed("client_truncated")
    assert record.bytes_in == "7 B" and record.upstream == upstream.address
    sock.close()


def test_truncation_after_close_notify_is_none(usherd, serve, ca):
    upstream = serve(servers.digests)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca)
    sock.sendall(b"whole")
    sock.shutdown(socket.SHUT_WR)
    sock.truncate()
    assert read_all(sock) == servers.digest_of(b"whole")
    assert daemon.wait_closed().reason in ("client_closed", "upstream_closed")


def test_silence_after_the_whole_answer_is_no_truncation(usherd, serve, ca):
    """Many clients close without close_notify once they have all; but the upstream sees no clean end."""
    upstream = serve(servers.answers_then_notes_end)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca)
    sock.sendall(b"question")
    assert read_all(sock) == b"answer"
    sock.truncate()
    record = daemon.wait_closed()
    assert record.reason == "upstream_closed" and record.bytes_out == "6 B"
    upstream.wait(lambda s: s.values["reset"] + s.values["end"])
    assert upstream.values["reset"] == 1


def test_truncation_with_an_answer_under_way(usherd, serve, ca):
    upstream = serve(servers.source(64 << 20))
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca)
    read_all(sock, 1 << 20)
    sock.truncate()
    daemon.wait_closed("client_truncated")
    with pytest.raises((Truncated, ConnectionResetError)):
        read_all(sock)


def test_reset_of_the_client(usherd, serve, ca):
    upstream = serve(servers.notes_end)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca)
    sock.sendall(b"x")
    upstream.wait(lambda s: s.values["bytes"] == 1)
    sock.reset()
    daemon.wait_closed("client_reset")
    upstream.wait(lambda s: s.values["reset"])


def test_reset_of_the_upstream(usherd, serve, ca):
    """The client gets no close_notify: what it has is not the whole."""
    upstream = serve(servers.resets_after(10))
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))})
    sock = tls_connect(daemon.address("web"), ca=ca)
    assert read_all(sock, 10) == b"x" * 10
    sock.sendall(b"y")
    with pytest.raises((Truncated, ConnectionResetError)):
        read_all(sock)
    daemon.wait_closed("upstream_reset")


def test_upstream_that_refuses(usherd, ca, refused):
    daemon = usherd({"web": listener(proxy(refused), tls=tls(ca.issue()))})
    try:
        with pytest.raises((Truncated, ConnectionError)):
            read_all(tls_connect(daemon.address("web"), ca=ca))
    except (ssl.SSLError, ConnectionError):
        pass  # it may be told within its handshake
    daemon.wait_closed("upstream_refused")


def test_what_is_sent_with_the_handshake_is_not_lost(usherd, serve, ca):
    """Data and close_notify in one segment with the handshake's end."""
    upstream = serve(servers.digests)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue())), "echo": echo(ca)})
    for name, expected in (("web", servers.digest_of(b"early")), ("echo", b"early")):
        sock = connect(daemon.address(name))
        stream = TlsStream(sock, client_context(ca=ca, version="1.3"), handshake=False)
        sock.sendall(stream.hello())
        finished = b""
        while not finished:
            stream.incoming.write(sock.recv(65536))
            finished = stream.hello()
        stream.tls.write(b"early")
        with pytest.raises(ssl.SSLWantReadError):
            stream.tls.unwrap()
        sock.sendall(finished + stream.outgoing.read())
        assert read_all(stream) == expected
        sock.close()


def test_idle(usherd, ca):
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()), timeouts={"idle": "300ms"})})
    sock = tls_connect(daemon.address("web"), ca=ca)
    assert ask(sock) == b"hello"
    with pytest.raises((Truncated, ConnectionResetError)):
        read_all(sock)
    daemon.wait_closed("idle")


def test_stop_ends_what_is_open(usherd, serve, ca):
    """At a stop: nothing new, what is open may end in time, the rest is cut, and stalled handshakes hold nobody up."""
    upstream = serve(servers.digests)
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))}, drain_timeout="1h")
    done, cut = (tls_connect(daemon.address("web"), ca=ca) for _ in range(2))
    stalled = daemon.connect("web")
    upstream.wait(lambda s: s.count == 2)
    daemon.signal(signal.SIGTERM)
    daemon.wait_log(r"(?i)stop|drain")
    done.sendall(b"the rest")
    done.shutdown(socket.SHUT_WR)
    assert read_all(done) == servers.digest_of(b"the rest")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    with pytest.raises((Truncated, ConnectionResetError)):
        read_all(cut)
    assert ended(stalled) in ("end", "reset")
    daemon.wait_closed("drain", 2)


def test_stop_with_an_answer_under_way(usherd, serve, ca):
    """What is sent ends whole, with close_notify, when time allows."""
    upstream = serve(servers.source(BIG))
    daemon = usherd({"web": listener(proxy(upstream.address), tls=tls(ca.issue()))}, drain_timeout="1h")
    sock = tls_connect(daemon.address("web"), ca=ca)
    first = sock.recv(1000)
    daemon.signal(signal.SIGTERM)
    daemon.wait_log(r"(?i)stop|drain")
    assert len(read_all(sock)) == BIG - len(first)
    sock.close()
    assert daemon.wait_exit() == 0


# ---- the log


@pytest.mark.root
@pytest.mark.programs("unshare", "mount")
def test_close_record_in_the_journal(usherd, journal, ca):
    usherd({"web": echo(ca, alpn=["h2"])}, start_options=journal.start_options)
    address = journal.address("web")
    context = client_context(ca=ca, version="1.3", alpn=["h2"])
    with tls_connect(address, context, name="www.example") as sock:
        assert ask(sock) == b"hello"
        session = sock.session
        facts = sock.version, sock.cipher
    fields = journal.wait(USHER_REASON="client_closed")
    assert (fields["USHER_TLS_VERSION"], fields["USHER_TLS_CIPHER"]) == facts
    assert (fields["USHER_TLS_SNI"], fields["USHER_TLS_ALPN"], fields["USHER_TLS_RESUMED"]) == ("www.example", "h2", "0")
    assert "USHER_TLS_CLIENT" not in fields and "USHER_TLS_ERROR" not in fields
    assert fields["USHER_BYTES_IN"] == fields["USHER_BYTES_OUT"] == "5", "what TLS adds is not counted"
    with tls_connect(address, context, name="www.example", session=session) as sock:
        assert ask(sock) == b"hello" and sock.resumed
    fields = journal.wait(USHER_REASON="client_closed")
    assert (fields["USHER_TLS_SNI"], fields["USHER_TLS_ALPN"], fields["USHER_TLS_RESUMED"]) == ("www.example", "h2", "1")
    verdict(address, version="1.1")
    fields = journal.wait(USHER_REASON="tls_version")
    assert fields["USHER_TLS_ERROR"]
    assert "USHER_TLS_VERSION" not in fields or fields["USHER_TLS_VERSION"] != "TLSv1.3"


def test_a_name_that_would_spoil_the_log(usherd, ca):
    """SNI is a stranger's bytes."""
    daemon = usherd({"web": echo(ca)})
    stream = TlsStream(daemon.connect("web"), client_context(), name="abcdefghijklmnop.test", handshake=False)
    flight = stream.hello()
    assert b"abcdefghijklmnop" in flight
    stream.send_raw(flight.replace(b"abcdefghijklmnop", b"\x1b[31m\r\n\x07\xff\xfe fake"))
    reset(stream.sock)
    daemon.wait_closed()
    daemon.stop()
    assert not any(ord(char) < 32 or ord(char) == 127 for line in daemon.raw for char in line)
