# SPDX-License-Identifier: MIT
"""Who may come in by certificate."""
import re

import pytest

from certificates import Authority, tls
from harness import ask, config, listener, wait_until
from tls_peer import client_context, tls_connect, verdict

BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])


def web(authority, **client):
    return listener("echo", tls=tls(authority.issue(dns=["www.example"]), client={"ca": [authority.path], **client}))


@BOTH
def test_required(usherd, ca, version):
    daemon = usherd({"web": web(ca)})
    address = daemon.address("web")
    with tls_connect(address, version=version, certificate=ca.issue("alice", o="Example")) as sock:
        assert ask(sock) == b"hello"
    record = daemon.wait_closed("client_closed")
    assert re.search(rf"^TLSv{version}, client .*CN=alice", record.tls), record
    expected = "certificate_required" if version == "1.3" else "handshake_failure"
    assert verdict(address, version=version).endswith(expected)
    record = daemon.wait_closed("tls_no_certificate")
    assert record.bytes_in == record.bytes_out == "0 B"


@BOTH
def test_optional(usherd, ca, folder, version):
    """Nobody's is fine, a good one too, a bad one is refused."""
    daemon = usherd({"web": web(ca, verify="optional", allow=["cn:alice"])})
    address = daemon.address("web")
    assert verdict(address, version=version) == "ok"
    assert verdict(address, version=version, certificate=ca.issue("alice")) == "ok"
    assert verdict(address, version=version, certificate=Authority(folder, "Other").issue("alice")).endswith("unknown_ca")
    daemon.wait_closed("tls_untrusted")
    assert verdict(address, version=version, certificate=ca.issue("bob")) != "ok"
    daemon.wait_closed("tls_refused")


def bad(ca, folder):
    """Certificates that must not come in, and the alert for each."""
    other = Authority(folder, "Other CA")
    return {
        "expired": (ca.issue("alice", days=(-10, -1)), "certificate_expired"),
        "not yet valid": (ca.issue("alice", days=(1, 10)), "bad_certificate|certificate_expired"),
        "wrong purpose": (ca.issue("alice", purpose="server"), "unsupported_certificate"),
        "for mail": (ca.issue("alice", purpose="mail"), "unsupported_certificate"),
        "self-signed": (ca.issue("alice", self_signed=True), "unknown_ca"),
        "unknown authority": (other.issue("alice"), "unknown_ca"),
        "not by a CA": (fake_authority(ca, folder), "unknown_ca|certificate_unknown|bad_certificate"),
        "expired authority": (Authority(folder, "Old CA", parent=ca, days=(-10, -1)).issue("alice", chain=True), "certificate_expired"),
    }


def fake_authority(ca, folder):
    """Signed by one who has a good certificate and is no authority."""
    leaf = ca.issue("leaf")
    forger = Authority(folder, "Forger")
    forger.x509, forger.private, forger.pem = leaf.x509, leaf.private, leaf.pem
    return forger.issue("alice", chain=True)


@BOTH
def test_bad_certificates(usherd, ca, folder, version):
    daemon = usherd({"web": web(ca)})
    for number, (kind, (certificate, alert)) in enumerate(bad(ca, folder).items(), 1):
        heard = verdict(daemon.address("web"), version=version, certificate=certificate)
        assert re.search(alert, heard), f"{kind}: {heard}"
        assert daemon.wait_closed("tls_untrusted", number).bytes_in == "0 B"
    assert verdict(daemon.address("web"), version=version, certificate=ca.issue("alice")) == "ok"


@BOTH
def test_revoked(usherd, ca, version):
    alice, bob = ca.issue("alice"), ca.issue("bob")
    daemon = usherd({"web": web(ca, crl=[ca.crl(alice)])})
    assert verdict(daemon.address("web"), version=version, certificate=bob) == "ok"
    assert verdict(daemon.address("web"), version=version, certificate=alice).endswith("certificate_revoked")
    daemon.wait_closed("tls_untrusted")


def test_a_list_that_is_out_of_date_or_of_somebody_else(usherd, ca, folder):
    """Nobody comes in on the word of a list that says nothing about them."""
    other = Authority(folder, "Other CA")
    daemon = usherd({"old": web(ca, crl=[ca.crl(days=(-10, -1))]), "other": web(ca, crl=[other.crl()])})
    for name in ("old", "other"):
        assert verdict(daemon.address(name), certificate=ca.issue("bob")) != "ok"
        daemon.wait_closed("tls_untrusted", listener=name)


def test_revoked_while_it_runs(usherd, ca, folder):
    """A CRL's file is renewed as certificates are; connections that are open stay."""
    alice, bob = ca.issue("alice"), ca.issue("bob")
    crl = ca.crl()
    daemon = usherd({"web": web(ca, crl=[crl])})
    stays = tls_connect(daemon.address("web"), certificate=alice)
    assert ask(stays) == b"hello"
    ca.crl(alice, path=crl)
    wait_until(lambda: verdict(daemon.address("web"), certificate=alice).endswith("certificate_revoked"), "the list to count")
    assert verdict(daemon.address("web"), certificate=bob) == "ok"
    assert ask(stays) == b"hello"
    since = daemon.mark()
    with open(crl, "w", encoding="ascii") as file:
        file.write("nonsense")
    daemon.wait_log(re.escape(crl), since=since)
    assert verdict(daemon.address("web"), certificate=alice).endswith("certificate_revoked"), "the old list stays"
    assert verdict(daemon.address("web"), certificate=bob) == "ok"
    ca.crl(bob, path=crl)
    wait_until(lambda: verdict(daemon.address("web"), certificate=alice) == "ok", "the next list to count")
    assert verdict(daemon.address("web"), certificate=bob).endswith("certificate_revoked")


def test_several_authorities(usherd, ca, folder):
    """In one file or in two; an intermediate that the client sends."""
    other, third = Authority(folder, "Other CA"), Authority(folder, "Third CA")
    with open(other.path, "ab") as file:
        file.write(third.pem)
    daemon = usherd({"web": web(ca, ca=[ca.path, other.path])})
    middle = Authority(folder, "Middle CA", parent=ca)
    for certificate in (ca.issue("a"), other.issue("b"), third.issue("c"), middle.issue("d", chain=True)):
        assert verdict(daemon.address("web"), certificate=certificate) == "ok"
    assert verdict(daemon.address("web"), certificate=middle.issue("d")) != "ok"


# ---- the list of those who may come in

SPIFFE = "spiffe://example/ns/prod/sa/web"


@pytest.mark.parametrize("pattern, fits, fits_not", [
    ("cn:backup-*", [{"cn": "backup-1"}, {"cn": "backup-"}], [{"cn": "backup"}, {"cn": "xbackup-1"}, {"cn": "x", "dns": ["backup-1"]}]),
    ("cn:alice", [{"cn": "alice"}], [{"cn": "alice2"}, {"cn": "Malice"}, {"cn": "al"}, {"cn": "x", "ou": "alice"}]),
    ("dns:*.db.example", [{"dns": ["a.db.example"]}, {"dns": ["other", "B.DB.Example"]}],
     [{"dns": ["db.example"]}, {"dns": ["a.b.db.example"]}, {"dns": ["a.db.example.evil"]}, {"cn": "a.db.example"},
      {"uris": ["a.db.example"]}]),
    ("dns:**.example", [{"dns": ["a.b.example"]}, {"dns": ["a.example"]}], [{"dns": ["a.example.evil"]}]),
    ("uri:spiffe://example/**", [{"uris": [SPIFFE]}], [{"uris": ["spiffe://example.evil/ns"]}, {"dns": ["example"]}, {"cn": SPIFFE}]),
    ("uri:spiffe://example/ns/*/sa/web", [{"uris": [SPIFFE]}], [{"uris": ["spiffe://example/ns/a/b/sa/web"]}, {"uris": [SPIFFE + "x"]}]),
    ("ou:Operations", [{"ou": "Operations"}], [{"ou": "Operation"}, {"ou": "Operations 2"}, {"cn": "Operations"}, {"o": "Operations"}]),
])
def test_patterns(usherd, ca, pattern, fits, fits_not):
    daemon = usherd({"web": web(ca, allow=["cn:nobody-else", pattern])})
    for fields in fits:
        certificate = ca.issue(**{"cn": "somebody", **fields})
        assert verdict(daemon.address("web"), certificate=certificate) == "ok", fields
    for number, fields in enumerate(fits_not, 1):
        certificate = ca.issue(**{"cn": "somebody", **fields})
        assert verdict(daemon.address("web"), certificate=certificate) != "ok", fields
        assert daemon.wait_closed("tls_refused", number).bytes_in == "0 B"


def test_pin(usherd, ca):
    alice, bob = ca.issue("alice"), ca.issue("bob")
    renewed = ca.issue("alice", key=alice.private)
    daemon = usherd({"web": web(ca, allow=[f"pin:sha256:{alice.pin}"]), "loud": web(ca, allow=[f"pin:sha256:{alice.pin.upper()}"])})
    for name in ("web", "loud"):
        assert verdict(daemon.address(name), certificate=alice) == "ok"
        assert verdict(daemon.address(name), certificate=renewed) == "ok", "it is the key that is pinned"
        assert verdict(daemon.address(name), certificate=bob) != "ok"


def test_a_pin_lets_nobody_in_that_the_authority_does_not(usherd, ca, folder):
    alice = Authority(folder, "Other CA").issue("alice")
    daemon = usherd({"web": web(ca, allow=[f"pin:sha256:{alice.pin}"])})
    assert verdict(daemon.address("web"), certificate=alice).endswith("unknown_ca")
    daemon.wait_closed("tls_untrusted")


def test_names_with_a_nul_fit_nothing(usherd, ca):
    """alice\\0.evil is not alice."""
    daemon = usherd({"web": web(ca, allow=["cn:alice"])})
    assert verdict(daemon.address("web"), certificate=ca.issue("alice\0.evil")) != "ok"
    daemon.wait_closed("tls_refused")
    assert "\0" not in daemon.text()


@BOTH
def test_a_refusal_is_heard_and_logged(usherd, ca, version):
    """An alert for the client; subject, issuer, serial and fingerprint for the administrator."""
    mallory = ca.issue("mallory", o="Example", ou="Sales")
    daemon = usherd({"web": web(ca, allow=["cn:alice"])})
    heard = verdict(daemon.address("web"), version=version, certificate=mallory)
    assert heard in ("access_denied", "handshake_failure"), "OpenSSL has no way to the first"
    daemon.wait_closed("tls_refused")
    level, message = next((lv, m) for lv, m in daemon.lines if "CN=mallory" in m and lv == "warning")
    assert level == "warning"
    for part in ("OU=Sales", "CN=Test CA", "web"):
        assert part in message, message


@pytest.mark.root
@pytest.mark.programs("unshare", "mount")
def test_a_refusal_in_the_journal(usherd, journal, ca, folder):
    mallory = ca.issue("mallory")
    stranger = Authority(folder, "Other CA").issue("stranger")
    alice = ca.issue("alice", o="Example")
    usherd({"web": web(ca, allow=["cn:alice"])}, start_options=journal.start_options)
    address = journal.address("web")
    for certificate, reason in ((mallory, "tls_refused"), (stranger, "tls_untrusted")):
        verdict(address, certificate=certificate)
        first = journal.wait(MESSAGE=r".", PRIORITY="^4$")
        values = " ".join(first.values()).replace(":", "").lower()
        for part in (certificate.serial, certificate.fingerprint):
            assert part.lower() in values, first
        assert f"cn={'mallory' if certificate is mallory else 'stranger'}" in values, first
        fields = journal.wait(USHER_REASON=reason)
        assert fields["USHER_TLS_ERROR"], fields
    verdict(address, certificate=alice)
    fields = journal.wait(USHER_REASON="client_closed")
    assert "CN=alice" in fields["USHER_TLS_CLIENT"] and "O=Example" in fields["USHER_TLS_CLIENT"]


def test_refusals_do_not_flood_the_log(usherd, ca):
    daemon = usherd({"web": web(ca, allow=["cn:alice"])})
    context = client_context(certificate=ca.issue("mallory"))
    for _ in range(60):
        assert verdict(daemon.address("web"), context=context) != "ok"
    daemon.wait_closed("tls_refused", 60)
    warnings = [message for level, message in daemon.lines if level == "warning" and "mallory" in message]
    assert 1 <= len(warnings) <= 20, len(warnings)


def test_subjects_are_escaped(usherd, ca):
    daemon = usherd({"web": web(ca, verify="optional", allow=["cn:alice"]), "open": web(ca)})
    evil = ca.issue("evil\x1b[31m\r\n2026-01-01 fake line\x07 (client_closed)", ou="ü\u202e")
    assert verdict(daemon.address("web"), certificate=evil) != "ok"
    assert verdict(daemon.address("open"), certificate=evil) == "ok"
    daemon.wait_log("evil")
    wait_until(lambda: any("client_closed)" in message for message in daemon.log), "both to end")
    daemon.stop()
    assert not any(ord(char) < 32 or ord(char) == 127 for line in daemon.raw for char in line)


def test_a_long_subject(usherd, ca):
    """Nothing is cut into what is not there any more; the reason still ends the line."""
    daemon = usherd({"web": web(ca)})
    certificate = ca.issue("a" * 64, ou="b" * 64, o="c" * 64, dns=[f"{'d' * 60}{i}.example" for i in range(200)])
    assert verdict(daemon.address("web"), certificate=certificate) == "ok"
    assert daemon.wait_closed().reason == "client_closed"


def test_reload_changes_who_may_come_in(usherd, ca):
    one = tls(ca.issue())
    of = {name: ca.issue(name) for name in ("alice", "bob")}
    daemon = usherd({"web": listener("echo", tls={**one, "client": {"ca": [ca.path], "allow": ["cn:alice"]}})})
    stays = tls_connect(daemon.address("web"), certificate=of["alice"])
    assert ask(stays) == b"hello"
    outcome = daemon.reload(config({"web": listener("echo", tls={**one, "client": {"ca": [ca.path], "allow": ["cn:bob"]}})}))
    assert outcome.ok and any("tls.client.allow" in line for line in outcome.lines), outcome
    assert verdict(daemon.address("web"), certificate=of["bob"]) == "ok"
    assert verdict(daemon.address("web"), certificate=of["alice"]) != "ok"
    assert ask(stays) == b"hello", "who is in stays"
    assert daemon.reload(config({"web": listener("echo", tls=one)})).ok
    assert verdict(daemon.address("web")) == "ok"
