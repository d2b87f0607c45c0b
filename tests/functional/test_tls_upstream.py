# SPDX-License-Identifier: MIT
"""TLS to the upstream: who is believed, what is said to it, both ends of a connection, usherd at both ends."""
import os
import re
import socket
import threading

import pytest

import servers
from certificates import Authority, tls
from harness import SLOW, TIMEOUT, ask, config, connect, ended, listener, proxy, read_all, reset, visit, wait_until
from tls_peer import Truncated, both_ends, server_context, tls_connect, tls_server, verdict

BIG = 8 << 20 if SLOW == 1 else 2 << 20
BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])


def local(ca, **fields):
    """A certificate for 127.0.0.1."""
    return ca.issue(**{"cn": "upstream", "ips": ["127.0.0.1"], **fields})


def to(upstream, ca, **options):
    """A listener in plain that goes on in TLS."""
    return listener(proxy(upstream.address if hasattr(upstream, "address") else upstream, tls={"ca": [ca.path], **options}))


@BOTH
def test_passes_on_both_ways(usherd, serve, ca, version):
    upstream = serve(tls_server(servers.echo, server_context(local(ca), version)))
    daemon = usherd({"web": to(upstream, ca)})
    sock = daemon.connect("web")
    assert ask(sock) == b"hello"
    data = os.urandom(BIG)
    writer = threading.Thread(target=sock.sendall, args=(data,))
    writer.start()
    assert read_all(sock, len(data)) == data
    writer.join()
    sock.close()
    record = daemon.wait_closed("client_closed")
    assert record.upstream.startswith(upstream.address)
    daemon.stop()


def test_what_the_client_sends_first_is_not_lost(usherd, serve, ca):
    """Data and end are there before the upstream's handshake is done."""
    upstream = serve(tls_server(servers.digests, server_context(local(ca))))
    daemon = usherd({"web": to(upstream, ca)})
    sock = daemon.connect("web")
    sock.sendall(b"early")
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == servers.digest_of(b"early")


def sends(daemon, name):
    """A client that sends at once: how its connection ends, "end" or "reset"."""
    try:
        sock = connect(daemon.address(name))
        sock.sendall(b"secret")
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    return ended(sock)


# ---- who is believed


def bad(ca, folder):
    """What an upstream may show that must not be believed, by kind."""
    return {
        "expired": local(ca, days=(-10, -1)),
        "not valid yet": local(ca, days=(1, 10)),
        "for another address": local(ca, ips=["127.0.0.2"]),
        "for a name": local(ca, ips=[], dns=["upstream.test"]),
        "without a name": local(ca, ips=[]),
        "the address as a common name": local(ca, cn="127.0.0.1", ips=[]),
        "the address as a DNS name": local(ca, ips=[], dns=["127.0.0.1"]),
        "wrong purpose": local(ca, purpose="client"),
        "self-signed": local(ca, self_signed=True),
        "unknown authority": local(Authority(folder, "Other CA")),
        "unknown authority of the same name": local(Authority(folder)),
    }


@BOTH
def test_bad_certificates(usherd, serve, ca, folder, version):
    """Nothing of the client's is sent to whom is not believed."""
    number = 0
    cases = {kind: serve(tls_server(servers.notes_end, server_context(certificate, version)))
             for kind, certificate in bad(ca, folder).items()}
    names = {kind: f"l{number}" for number, kind in enumerate(cases)}
    daemon = usherd({names[kind]: to(upstream, ca) for kind, upstream in cases.items()})
    for number, (kind, upstream) in enumerate(cases.items(), 1):
        assert sends(daemon, names[kind]) == "reset", kind
        record = daemon.wait_closed("upstream_untrusted", number)
        assert record.listener == names[kind], kind
        assert record.upstream is None or upstream.address in record.upstream
        assert upstream.values["bytes"] == 0, kind


@BOTH
def test_revoked(usherd, serve, ca, version):
    good, revoked = local(ca), local(ca)
    crl = ca.crl(revoked)
    daemon = usherd({
        name: to(serve(tls_server(servers.echo, server_context(certificate, version))), ca, crl=[crl])
        for name, certificate in (("good", good), ("revoked", revoked))
    })
    assert ask(daemon.connect("good")) == b"hello"
    ended(visit(daemon.address("revoked")))
    daemon.wait_closed("upstream_untrusted", listener="revoked")
    ca.crl(good, path=crl)

    def is_refused():
        try:
            return ask(daemon.connect("good")) != b"hello"
        except OSError:
            return True

    wait_until(is_refused, "the new list to count")
    assert ask(daemon.connect("revoked")) == b"hello"


def test_the_systems_authorities_are_the_default(usherd, serve, ca):
    """Ours is not among them."""
    upstream = serve(tls_server(servers.echo, server_context(local(ca))))
    daemon = usherd({"web": listener(proxy(upstream.address, tls={}))})
    assert ended(visit(daemon.address("web"))) == "reset"
    daemon.wait_closed("upstream_untrusted")


def heard_names(certificate, heard):
    """A server context that notes the SNI it is told."""
    context = server_context(certificate)
    context.sni_callback = lambda _sock, name, _context: heard.append(name)
    return context


@pytest.mark.parametrize("options, shown, expected_sni, good", [
    ({}, {"ips": ["127.0.0.1"]}, None, True),
    ({"name": "db.example"}, {"dns": ["db.example"]}, "db.example", True),
    ({"name": "a.db.example"}, {"dns": ["*.db.example"]}, "a.db.example", True),
    ({"name": "db.example"}, {"dns": ["*.db.example"]}, "db.example", False),
    ({"name": "a.b.db.example"}, {"dns": ["*.db.example"]}, "a.b.db.example", False),
    ({"name": "db.example"}, {"dns": ["*.example"]}, "db.example", False),  # a whole top level domain
    ({"name": "db.example"}, {"dns": ["db.example.evil"]}, "db.example", False),
    ({"name": "db.example"}, {"ips": ["127.0.0.1"]}, "db.example", False),
    ({"name": "db.example"}, {"cn": "db.example", "dns": ["other.example"]}, "db.example", False),
    ({"name": "10.1.2.3"}, {"ips": ["10.1.2.3"]}, None, True),
    ({"name": "10.1.2.3"}, {"ips": ["127.0.0.1"]}, None, False),
    ({"name": "fd00::1"}, {"ips": ["fd00::1"]}, None, True),
    ({"sni": "front.example"}, {"ips": ["127.0.0.1"]}, "front.example", True),
    ({"name": "db.example", "sni": "front.example"}, {"dns": ["db.example"]}, "front.example", True),
    ({"name": "db.example", "sni": "front.example"}, {"dns": ["front.example"]}, "front.example", False),
    ({"name": "db.example", "sni": ""}, {"dns": ["db.example"]}, None, True),
])
def test_names(usherd, serve, ca, options, shown, expected_sni, good):
    heard = []
    certificate = local(ca, **{"ips": [], **shown})
    upstream = serve(tls_server(servers.echo, heard_names(certificate, heard)))
    daemon = usherd({"web": to(upstream, ca, **options)})
    if good:
        assert ask(daemon.connect("web")) == b"hello"
    else:
        assert ended(visit(daemon.address("web"))) == "reset"
        daemon.wait_closed("upstream_untrusted")
    assert heard == [expected_sni]


def test_a_name_that_is_resolved_is_verified_and_sent(usherd, serve, dns, ca):
    """The name in the file counts, not the address that it has, nor an alias."""
    heard = []
    good = serve(tls_server(servers.echo, heard_names(local(ca, ips=[], dns=["up.test"]), heard)))
    wrong = serve(tls_server(servers.echo, heard_names(local(ca, dns=["real.test"]), heard)))
    dns.names.update({"up.test": [("127.0.0.1", 60)], "real.test": [("127.0.0.1", 60)]})
    dns.aliases["alias.test"] = ("real.test", 60)
    daemon = usherd(
        {"good": to(f"up.test:{good.port}", ca), "wrong": to(f"alias.test:{wrong.port}", ca)}, resolver={"servers": [dns.address]},
    )
    assert ask(daemon.connect("good")) == b"hello"
    assert ended(visit(daemon.address("wrong"))) == "reset"
    daemon.wait_closed("upstream_untrusted", listener="wrong")
    assert heard == ["up.test", "alias.test"]


def test_a_unix_upstream_needs_a_name(usherd, serve, ca, folder):
    upstream = serve(tls_server(servers.echo, server_context(local(ca, dns=["db.example"]))), family=socket.AF_UNIX,
                     address=f"{folder}/up")
    os.chmod(f"{folder}/up", 0o666)
    daemon = usherd({"web": to(upstream, ca, name="db.example"), "other": to(upstream, ca, name="other.example")})
    assert ask(daemon.connect("web")) == b"hello"
    ended(visit(daemon.address("other")))
    daemon.wait_closed("upstream_untrusted", listener="other")


def test_insecure_skip_verify(usherd, serve, ca, folder):
    """Anybody is believed, and that is said at the start and at a reload that brings it."""
    upstream = serve(tls_server(servers.echo, server_context(local(Authority(folder, "Other CA"), ips=[], days=(-10, -1)))))
    text = config({"web": listener(proxy(upstream.address, tls={"insecure_skip_verify": True}))})
    daemon = usherd(text=text)
    match = daemon.wait_log(r"web.*insecure_skip_verify|insecure_skip_verify.*web")
    assert next(level for level, message in daemon.lines if message == match.string) == "warning"
    assert ask(daemon.connect("web")) == b"hello"
    other = usherd({"web": to(upstream, ca)})
    assert not any("insecure_skip_verify" in message for message in other.log)
    since = other.mark()
    assert other.reload(text).ok
    other.wait_log("insecure_skip_verify", since=since)
    assert ask(other.connect("web")) == b"hello"


# ---- what is said to it


@BOTH
def test_client_certificate(usherd, serve, ca, folder, version):
    me, stranger = ca.issue("me", purpose="client"), Authority(folder, "Other CA").issue("stranger")
    seen = []

    def who(sock, _server):
        seen.append(sock.peer_der)
        servers.echo(sock, _server)

    upstream = serve(tls_server(who, server_context(local(ca), version, client_ca=ca)))
    daemon = usherd({
        "split": to(upstream, ca, certificate=me.cert, key=me.key), "whole": to(upstream, ca, certificate=me.both),
        "none": to(upstream, ca), "stranger": to(upstream, ca, certificate=stranger.cert, key=stranger.key),
    })
    for name in ("split", "whole"):
        assert ask(daemon.connect(name)) == b"hello"
    assert seen == [me.der] * 2
    for name in ("none", "stranger"):
        assert sends(daemon, name) == "reset"
        # in TLS 1.3 the upstream says so when our handshake is done
        assert daemon.wait_closed(listener=name).reason in ("upstream_tls", "upstream_tls_error")
    assert upstream.values["handshakes"] == 2


def test_minimum_version(usherd, serve, ca):
    old = serve(tls_server(servers.echo, server_context(local(ca), "1.2")))
    ancient = serve(tls_server(servers.echo, server_context(local(ca), "1.1")))
    daemon = usherd({"new": to(old, ca, minimum_version="1.3"), "old": to(old, ca), "ancient": to(ancient, ca)})
    assert ask(daemon.connect("old")) == b"hello"
    for name in ("new", "ancient"):
        assert ended(visit(daemon.address(name))) == "reset"
        daemon.wait_closed("upstream_tls", listener=name)


def test_alpn_is_passed_on(usherd, serve, ca):
    """What the client's side agreed on is offered alone; else what is configured."""
    seen = []

    def which(sock, _server):
        seen.append(sock.alpn)
        servers.echo(sock, _server)

    upstream = serve(tls_server(which, server_context(local(ca), alpn=["http/1.1", "h2", "acme"])))
    front = tls(ca.issue(), alpn=["h2", "http/1.1"])
    options = {"ca": [ca.path], "alpn": ["acme"]}
    daemon = usherd({
        "both": listener(proxy(upstream.address, tls=options), tls=front),
        "bare": listener(proxy(upstream.address, tls={"ca": [ca.path]}), tls=front),
        "plain": listener(proxy(upstream.address, tls=options)),
        "nothing": listener(proxy(upstream.address, tls={"ca": [ca.path]})),
    })
    for name, offered, expected in (("both", ["h2"], "h2"), ("both", ["http/1.1"], "http/1.1"), ("both", None, "acme"),
                                    ("bare", ["h2"], "h2"), ("bare", None, None)):
        with tls_connect(daemon.address(name), alpn=offered) as sock:
            assert ask(sock) == b"hello"
        assert seen.pop() == expected, (name, offered)
    for name, expected in (("plain", "acme"), ("nothing", None)):
        assert ask(daemon.connect(name)) == b"hello"
        assert seen.pop() == expected


# ---- upstreams that fail


def test_the_next_is_tried_when_a_handshake_fails(usherd, serve, ca, folder):
    """One that is not believed, one that is no TLS, one that ends at once; the fourth serves."""
    good = serve(tls_server(servers.echo, server_context(local(ca))))
    wrong = [
        serve(tls_server(servers.echo, server_context(local(Authority(folder, "Other CA"))))), serve(servers.says(b"220 plain\r\n")),
        serve(lambda sock, server: None),
    ]
    daemon = usherd({"web": listener(proxy(*(up.address for up in wrong), good.address, tls={"ca": [ca.path]}))}, workers=1)
    for _ in range(4):
        with daemon.connect("web") as sock:
            sock.sendall(b"hello")
            assert read_all(sock, 5) == b"hello"
    daemon.wait_closed(count=4)
    assert all(record.upstream.startswith(good.address) for record in daemon.close_records()), daemon.tail()
    assert all(up.count >= 1 for up in wrong)


def test_no_tls_there(usherd, serve, ca):
    upstream = serve(servers.says(b"220 mail.example ESMTP\r\n"))
    daemon = usherd({"web": to(upstream, ca)})
    assert ended(visit(daemon.address("web"))) == "reset"
    daemon.wait_closed("upstream_tls")


def test_one_that_ends_in_the_handshake(usherd, serve, ca):
    def leaves(sock, _server):
        sock.recv(100)

    def resets(sock, _server):
        sock.recv(100)
        reset(sock)

    daemon = usherd({"leaves": to(serve(leaves), ca), "resets": to(serve(resets), ca)})
    for name in ("leaves", "resets"):
        assert ended(visit(daemon.address(name))) == "reset"
        assert daemon.wait_closed(listener=name).reason in ("upstream_tls", "upstream_reset")


def test_one_that_says_nothing(usherd, serve, ca):
    """The handshake is part of the time to connect."""
    upstream = serve(servers.hang)
    daemon = usherd({"web": listener(proxy(upstream.address, tls={"ca": [ca.path]}), timeouts={"connect": "300ms", "handshake": "1h"})})
    assert ended(visit(daemon.address("web"))) == "reset"
    assert daemon.wait_closed().reason in ("connect_timeout", "upstream_tls")
    daemon.stop()


def test_one_that_says_nothing_is_followed_by_the_next(usherd, serve, ca):
    silent, good = serve(servers.hang), serve(tls_server(servers.echo, server_context(local(ca))))
    daemon = usherd({"web": listener(proxy(silent.address, good.address, tls={"ca": [ca.path]}), timeouts={"connect": "2s"})}, workers=1)
    assert [ask(daemon.connect("web")) for _ in range(2)] == [b"hello"] * 2


def test_a_client_that_leaves_meanwhile(usherd, serve, ca):
    upstream = serve(servers.hang)
    daemon = usherd({"web": listener(proxy(upstream.address, tls={"ca": [ca.path]}), timeouts={"connect": "1h"})})
    before = daemon.fds_at_rest()
    sock = daemon.connect("web")
    upstream.wait(lambda s: s.count == 1)
    reset(sock)
    daemon.wait_closed("client_reset")
    daemon.wait_fds(before)


def test_garbage_after_the_handshake(usherd, serve, ca):
    def handler(sock, server):
        sock.sendall(b"good")
        server.wait(lambda s: s.values["go"])
        sock.send_raw(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        server.stopping.wait(TIMEOUT)

    upstream = serve(tls_server(handler, server_context(local(ca))))
    daemon = usherd({"web": to(upstream, ca)})
    sock = daemon.connect("web")
    assert read_all(sock, 4) == b"good"
    upstream.add("go")
    assert ended(sock) == "reset"
    daemon.wait_closed("upstream_tls_error")


# ---- both ends of a connection


@BOTH
def test_half_close_both_ways(usherd, serve, ca, version):
    got = []

    def ends_first(sock, server):
        sock.sendall(b"all there is")
        sock.shutdown(socket.SHUT_WR)
        got.append(read_all(sock))
        server.add("done")

    context = server_context(local(ca), version)
    digests, first = serve(tls_server(servers.digests, context)), serve(tls_server(ends_first, context))
    daemon = usherd({"digests": to(digests, ca), "first": to(first, ca)})
    data = os.urandom(BIG)
    sock = daemon.connect("digests")
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == servers.digest_of(data)
    sock = daemon.connect("first")
    assert read_all(sock) == b"all there is"
    sock.sendall(data)
    sock.close()
    first.wait(lambda s: s.values["done"])
    assert got[0] == data


@BOTH
@pytest.mark.parametrize("behind_tls", [False, True])
def test_truncation_of_the_upstream(usherd, serve, ca, version, behind_tls):
    """It ends without close_notify: the client gets no clean end."""

    def handler(sock, server):
        sock.sendall(b"half of")
        server.wait(lambda s: s.values["go"])
        sock.sock.shutdown(socket.SHUT_WR)
        server.stopping.wait(TIMEOUT)

    upstream = serve(tls_server(handler, server_context(local(ca), version)))
    front = {"tls": tls(ca.issue())} if behind_tls else {}
    daemon = usherd({"web": listener(proxy(upstream.address, tls={"ca": [ca.path]}), **front)})
    sock = tls_connect(daemon.address("web")) if behind_tls else daemon.connect("web")
    assert read_all(sock, 7) == b"half of"
    upstream.add("go")
    if behind_tls:
        with pytest.raises((Truncated, ConnectionResetError)):
            read_all(sock)
    else:
        assert ended(sock) == "reset"
    daemon.wait_closed("upstream_truncated")


def test_reset_of_the_client_reaches_the_upstream(usherd, serve, ca):
    """As a reset, or without close_notify: never as a clean end."""
    upstream = serve(tls_server(servers.notes_end, server_context(local(ca))))
    daemon = usherd({"web": to(upstream, ca)})
    sock = daemon.connect("web")
    sock.sendall(b"pay 100")
    upstream.wait(lambda s: s.values["bytes"] == 7)
    reset(sock)
    daemon.wait_closed("client_reset")
    upstream.wait(lambda s: s.values["reset"] + s.values["truncated"] + s.values["end"])
    assert upstream.values["end"] == 0


def test_slow_upstream_holds_the_client_up(usherd, serve, ca):
    """Backpressure, and nothing lost: the upstream reads when it is told to."""
    got = []

    def handler(sock, server):
        server.wait(lambda s: s.values["go"], TIMEOUT)
        got.append(read_all(sock))
        server.add("done")

    upstream = serve(tls_server(handler, server_context(local(ca))), buffer=65536)
    daemon = usherd({"web": to(upstream, ca)})
    data = os.urandom(BIG)
    sock = daemon.connect("web")
    before = daemon.own_kib()
    writer = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
    writer.start()
    ticks = [-1]

    def stands_still():
        ticks.append(daemon.cpu_ticks())
        return ticks[-1] == ticks[-2]

    wait_until(stands_still, "everything to be full")
    assert daemon.own_kib() - before < 4096 * SLOW
    upstream.add("go")
    upstream.wait(lambda s: s.values["done"])
    writer.join()
    assert got[0] == data


# ---- usherd at both ends


def test_usherd_at_both_ends(usherd, serve, ca):
    upstream = serve(servers.echo)
    near, far = both_ends(usherd, ca, upstream.address)
    data = os.urandom(BIG)
    sock = near.connect("out")
    writer = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
    writer.start()
    assert read_all(sock) == data
    writer.join()
    sock.close()
    assert "CN=near" in far.wait_closed().tls
    near.wait_closed()
    # nobody else comes in
    assert verdict(far.address("in"), ca=ca) != "ok"
    assert verdict(far.address("in"), ca=ca, certificate=ca.issue("eve", purpose="client")) != "ok"
    far.wait_closed("tls_refused")


def test_ends_travel_through_both(usherd, serve, ca):
    """Half a close and a reset mean the same at the other end of two TLS daemons."""
    upstream, ends = serve(servers.digests), serve(servers.notes_end)
    near, _ = both_ends(usherd, ca, upstream.address)
    sock = near.connect("out")
    sock.sendall(b"question")
    sock.shutdown(socket.SHUT_WR)
    assert read_all(sock) == servers.digest_of(b"question")
    near, _ = both_ends(usherd, ca, ends.address)
    sock = near.connect("out")
    sock.sendall(b"pay 100")
    ends.wait(lambda s: s.values["bytes"] == 7)
    reset(sock)
    ends.wait(lambda s: s.values["reset"] + s.values["end"])
    assert ends.values["reset"] == 1 and ends.values["end"] == 0


def test_an_upstream_that_is_gone_at_the_far_end(usherd, ca, refused):
    near, far = both_ends(usherd, ca, refused)
    assert ended(visit(near.address("out"))) == "reset"
    far.wait_closed("upstream_refused")
    near.wait_closed()


# ---- the log and files


@pytest.mark.root
@pytest.mark.programs("unshare", "mount")
def test_close_record_in_the_journal(usherd, serve, journal, ca):
    upstream = serve(tls_server(servers.echo, server_context(local(ca), "1.2")))
    usherd({"web": to(upstream, ca)}, start_options=journal.start_options)
    with connect(journal.address("web")) as sock:
        assert ask(sock) == b"hello"
    fields = journal.wait(USHER_REASON="client_closed")
    assert fields["USHER_UPSTREAM_TLS_VERSION"] == "TLSv1.2"
    assert re.match(r"^ECDHE-ECDSA-", fields["USHER_UPSTREAM_TLS_CIPHER"])
    assert "USHER_TLS_VERSION" not in fields and "USHER_UPSTREAM_TLS_ERROR" not in fields


@pytest.mark.root
@pytest.mark.programs("unshare", "mount")
def test_a_failed_handshake_in_the_journal(usherd, serve, journal, ca, folder):
    upstream = serve(tls_server(servers.echo, server_context(local(Authority(folder, "Other CA")))))
    usherd({"web": to(upstream, ca)}, start_options=journal.start_options)
    ended(visit(journal.address("web")))
    fields = journal.wait(USHER_REASON="upstream_untrusted")
    assert "self-signed" in fields["USHER_UPSTREAM_TLS_ERROR"] or "issuer" in fields["USHER_UPSTREAM_TLS_ERROR"], fields


def test_the_authoritys_file_changes(usherd, serve, ca, folder):
    """proxy.tls' files are renewed too."""
    other = Authority(folder, "Other CA")
    upstream = serve(tls_server(servers.echo, server_context(local(other))))
    daemon = usherd({"web": to(upstream, ca)})
    assert ended(visit(daemon.address("web"))) == "reset"
    os.rename(other.path, ca.path)

    def is_served():
        try:
            return ask(daemon.connect("web")) == b"hello"
        except OSError:
            return False

    wait_until(is_served, "the new authority to count")


def test_a_renewed_client_certificate_is_shown(usherd, serve, ca):
    seen = []

    def who(sock, _server):
        seen.append(sock.peer_der)
        servers.echo(sock, _server)

    upstream = serve(tls_server(who, server_context(local(ca), client_ca=ca)))
    old, new = ca.issue("me"), ca.issue("me")
    daemon = usherd({"web": to(upstream, ca, certificate=old.cert, key=old.key)})
    assert ask(daemon.connect("web")) == b"hello"
    os.rename(new.key, old.key)
    os.rename(new.cert, old.cert)

    def shows_the_new():
        assert ask(daemon.connect("web")) == b"hello"
        return seen[-1] == new.der

    wait_until(shows_the_new, "the new certificate to be shown")
    assert seen[0] == old.der
