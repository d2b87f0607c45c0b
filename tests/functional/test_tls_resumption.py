# SPDX-License-Identifier: MIT
"""Session tickets: when a session is resumed, and, above all, when it must not be."""
import pytest

from certificates import Authority, tls
from harness import SLOW, ask, config, listener, wait_until
from tls_peer import client_context, tls_connect, verdict

BOTH = pytest.mark.parametrize("version", ["1.2", "1.3"])


class Client:
    """Keeps its context and its session, as a browser does."""

    def __init__(self, version, certificate=None, name=None):
        self.context = client_context(version=version, certificate=certificate)
        self.name = name
        self.session = None

    def visit(self, address, name=None, keep=True):
        """True if the session was resumed. `keep`: the newest ticket is used the next time."""
        with tls_connect(address, self.context, name=name or self.name, session=self.session) as sock:
            assert ask(sock) == b"hello"
            if keep or self.session is None:
                assert sock.session.has_ticket
                self.session = sock.session
            return sock.resumed


def web(ca, dns=("www.example",), **options):
    return listener("echo", tls=tls(ca.issue(dns=list(dns)), **options))


@BOTH
def test_resumed(usherd, ca, version):
    daemon = usherd({"web": web(ca)}, workers=4)
    client = Client(version, name="www.example")
    assert [client.visit(daemon.address("web")) for _ in range(8)] == [False] + [True] * 7, "on whichever worker"


@BOTH
def test_one_ticket_serves_many(usherd, ca, version):
    """TLS 1.3 tickets that are used twice, and side by side."""
    daemon = usherd({"web": web(ca)})
    client = Client(version)
    client.visit(daemon.address("web"))
    assert all(client.visit(daemon.address("web"), keep=False) for _ in range(4))


@BOTH
def test_switched_off(usherd, ca, version):
    daemon = usherd({"web": web(ca, ticket_rotation="0s")})
    context = client_context(version=version)
    with tls_connect(daemon.address("web"), context) as first:
        assert ask(first) == b"hello"
        session = first.session
        assert session is None or not session.has_ticket
    with tls_connect(daemon.address("web"), context, session=session) as second:
        assert ask(second) == b"hello" and not second.resumed


@BOTH
def test_over_a_reload(usherd, ca, version):
    text = config({"web": web(ca)})
    daemon = usherd(text=text)
    client = Client(version)
    client.visit(daemon.address("web"))
    assert daemon.reload(text).ok
    assert client.visit(daemon.address("web"))
    outcome = daemon.reload(text.replace("echo = {", 'timeouts = { idle = "5min"; };\n echo = {'))
    assert outcome.ok and any("idle" in line for line in outcome.lines), outcome
    assert client.visit(daemon.address("web"))


@BOTH
def test_over_a_renewed_certificate(usherd, ca, version):
    """certbot's renewal costs nobody a full handshake."""
    one = ca.issue(dns=["www.example"])
    daemon = usherd({"web": listener("echo", tls=tls(one))})
    client = Client(version, name="www.example")
    client.visit(daemon.address("web"))
    fresh = ca.issue(dns=["www.example"])
    assert daemon.reload(config({"web": listener("echo", tls=tls(fresh))})).ok
    assert tls_connect(daemon.address("web")).peer_der == fresh.der
    assert client.visit(daemon.address("web"), keep=False)


def test_tickets_rotate(usherd, ca):
    """One of the newest three generations is taken, and one that is older is not."""
    daemon = usherd({"web": web(ca, ticket_rotation="1s")})
    clients = [Client("1.2"), Client("1.3")]
    for client in clients:
        client.visit(daemon.address("web"))
        assert client.visit(daemon.address("web"), keep=False)
    for client in clients:
        wait_until(lambda c=client: not c.visit(daemon.address("web"), keep=False), "the ticket to be forgotten")
    for fresh in (Client("1.2"), Client("1.3")):
        fresh.visit(daemon.address("web"))
        assert fresh.visit(daemon.address("web"))


# ---- when it must not be resumed


@BOTH
def test_not_at_another_listener(usherd, ca, version):
    one = tls(ca.issue(dns=["www.example"]))
    daemon = usherd({"web": listener("echo", tls=one), "other": listener("echo", tls=one)})
    client = Client(version, name="www.example")
    client.visit(daemon.address("web"))
    assert not client.visit(daemon.address("other"), keep=False)
    assert client.visit(daemon.address("web"), keep=False), "the ticket itself was good"


@BOTH
def test_not_under_another_name(usherd, ca, version):
    certificates = [ca.issue(dns=["a.example"]), ca.issue(dns=["b.example"])]
    daemon = usherd({"web": listener("echo", tls=tls(*certificates))})
    client = Client(version)
    client.visit(daemon.address("web"), name="a.example")
    assert not client.visit(daemon.address("web"), name="b.example", keep=False)
    assert client.visit(daemon.address("web"), name="a.example", keep=False)


@BOTH
def test_not_at_another_daemon(usherd, ca, version):
    text = config({"web": web(ca)})
    first, second = usherd(text=text), usherd(text=text)
    client = Client(version)
    client.visit(first.address("web"))
    assert not client.visit(second.address("web"), keep=False)


def test_a_ticket_made_without_a_certificate_does_not_come_in_where_one_is_required(usherd, ca):
    """The bypass that others had: a session of the open listener shown to the closed one, by name or by listener."""
    one = tls(ca.issue(dns=["www.example"]))
    daemon = usherd({
        "open": listener("echo", tls=one), "closed": listener("echo", tls={**one, "client": {"ca": [ca.path]}}),
    })
    for version, alert in (("1.2", "handshake_failure"), ("1.3", "certificate_required")):
        client = Client(version, name="www.example")
        client.visit(daemon.address("open"))
        heard = verdict(daemon.address("closed"), context=client.context, name="www.example", session=client.session)
        assert heard.endswith(alert), heard
    daemon.wait_closed("tls_no_certificate", 2)


@BOTH
def test_client_certificates_are_resumed_with_who_they_are(usherd, ca, version):
    group = {"ca": [ca.path], "allow": ["cn:alice"]}
    daemon = usherd({"web": web(ca, client=group)})
    client = Client(version, certificate=ca.issue("alice"))
    assert [client.visit(daemon.address("web")) for _ in range(3)] == [False, True, True]
    daemon.wait_closed(count=3)
    assert all("CN=alice" in record.tls for record in daemon.close_records()), daemon.tail()


@BOTH
@pytest.mark.parametrize("change", ["allow", "ca", "crl", "verify"])
def test_a_changed_policy_decides_anew(usherd, ca, folder, version, change):
    """A session of who was welcome once is not resumed under other rules, and these decide."""
    alice = ca.issue("alice")
    one = tls(ca.issue())
    before = {"ca": [ca.path], "allow": ["cn:alice", "cn:bob"]}
    if change == "verify":
        before["verify"] = "optional"
    after, refused = {
        "allow": ({**before, "allow": ["cn:bob"]}, "tls_refused"),
        "ca": ({**before, "ca": [Authority(folder, "Other CA").path]}, "tls_untrusted"),
        "crl": ({**before, "crl": [ca.crl(alice)]}, "tls_untrusted"),
        "verify": ({**before, "verify": "required"}, "tls_no_certificate"),
    }[change]
    daemon = usherd({"web": listener("echo", tls={**one, "client": before})})
    client = Client(version, certificate=None if change == "verify" else alice)
    client.visit(daemon.address("web"))
    assert client.visit(daemon.address("web"))
    assert daemon.reload(config({"web": listener("echo", tls={**one, "client": after})})).ok
    assert verdict(daemon.address("web"), context=client.context, session=client.session) != "ok"
    daemon.wait_closed(refused)


@BOTH
def test_a_wider_policy_wants_a_full_handshake_too(usherd, ca, version):
    alice = ca.issue("alice")
    one = tls(ca.issue())
    daemon = usherd({"web": listener("echo", tls={**one, "client": {"ca": [ca.path], "allow": ["cn:alice"]}})})
    client = Client(version, certificate=alice)
    client.visit(daemon.address("web"))
    assert daemon.reload(config({"web": listener("echo", tls={**one, "client": {"ca": [ca.path]}})})).ok
    assert not client.visit(daemon.address("web"))
    assert client.visit(daemon.address("web"))


@BOTH
def test_who_was_revoked_is_not_resumed(usherd, ca, version):
    """The list's file changes while usherd runs; nobody reloads."""
    alice, bob = ca.issue("alice"), ca.issue("bob")
    crl = ca.crl()
    daemon = usherd({"web": web(ca, client={"ca": [ca.path], "crl": [crl]})})
    clients = [Client(version, certificate=one) for one in (alice, bob)]
    for client in clients:
        client.visit(daemon.address("web"))
        assert client.visit(daemon.address("web"))
    ca.crl(alice, path=crl)

    def is_refused():
        return verdict(daemon.address("web"), context=clients[0].context, session=clients[0].session) != "ok"

    wait_until(is_refused, "the list to count")
    daemon.wait_closed("tls_untrusted")
    assert not clients[1].visit(daemon.address("web")), "the list is another: who was welcome is asked again"
    assert clients[1].visit(daemon.address("web"))


@BOTH
def test_a_spoilt_ticket_is_no_harm(usherd, ca, version):
    """A session whose ticket was made by nobody we know: a full handshake, and service."""
    first, second = usherd({"web": web(ca)}), usherd({"web": web(ca)})
    client = Client(version)
    client.visit(first.address("web"))
    for _ in range(3):
        assert not client.visit(second.address("web"), keep=False)
    assert not second.close_records(reason="tls_handshake")


def test_a_certificate_that_expired_since_is_not_resumed(usherd, ca):
    """A client's certificate that ends while its session would go on."""
    daemon = usherd({"web": web(ca, client={"ca": [ca.path]})})
    brief = ca.issue("brief", days=(-1, 3 * SLOW / 86400))
    clients = [Client(version, certificate=brief) for version in ("1.2", "1.3")]
    for client in clients:
        client.visit(daemon.address("web"))
    for client in clients:
        wait_until(lambda c=client: verdict(daemon.address("web"), context=c.context, session=c.session) != "ok", "it to expire")
    daemon.wait_closed("tls_untrusted", 2)
