# SPDX-License-Identifier: MIT
"""The files of TLS: what is wrong with them is said clearly, at --check, at the start and at a reload; credentials;
certificates that end soon."""
import os
import re

import pytest

from certificates import Authority, key_pem, make_key, tls, write
from harness import ask, config, listener, proxy, run
from tls_peer import tls_connect, verdict


def errors(folder, group, service="echo"):
    """What --check says of a listener with this group `tls`, each error in its line."""
    code, out, err = run("--check", text=config({"web": listener(service, tls=group)}), folder=folder)
    assert code == 2, out + err
    return err


def complains(err, option, *patterns):
    """An error with file, line and the option, whose text matches all the patterns."""
    lines = re.findall(rf"usherd\.conf:\d+: listeners\.web\.{re.escape(option)}\S*: (.*)", err)
    assert any(all(re.search(pattern, line) for pattern in patterns) for line in lines), err


# ---- what is wrong


def test_a_file_that_is_not_there(folder, ca):
    one = ca.issue()
    complains(errors(folder, {"certificate": f"{folder}/none.pem"}), "tls.certificate", f"{folder}/none.pem", "No such file")
    complains(errors(folder, {"certificate": one.cert, "key": f"{folder}/none.key"}), "tls.key", "none.key", "No such file")
    complains(errors(folder, tls(one, client={"ca": [f"{folder}/none.ca"]})), "tls.client.ca", "none.ca", "No such file")
    complains(errors(folder, tls(one, client={"ca": [ca.path], "crl": [f"{folder}/none.crl"]})), "tls.client.crl", "none.crl",
              "No such file")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o777])
def test_a_key_that_others_can_read(folder, ca, mode):
    one = ca.issue()
    os.chmod(one.key, mode)
    complains(errors(folder, tls(one)), "tls.key", re.escape(one.key), "(?i)others|chmod", "chmod|mode")
    both = one.both
    os.chmod(both, mode)
    complains(errors(folder, {"certificate": both}), "tls.", re.escape(both), "(?i)others|chmod")


def test_a_key_that_its_group_can_read(folder, ca):
    """As Debian's ssl-cert has it."""
    one = ca.issue()
    os.chmod(one.key, 0o640)
    code, out, err = run("--check", text=config({"web": listener("echo", tls=tls(one))}), folder=folder)
    assert code == 0, out + err


def test_a_link_to_a_key_that_others_can_read(folder, ca):
    one = ca.issue()
    os.chmod(one.key, 0o644)
    os.symlink(one.key, f"{folder}/link.key")
    complains(errors(folder, {"certificate": one.cert, "key": f"{folder}/link.key"}), "tls.key", "(?i)others|chmod")


def test_a_key_of_another_certificate(folder, ca):
    one, other, rsa = ca.issue(), ca.issue(), ca.issue(key="rsa")
    for wrong in (other, rsa):
        complains(errors(folder, {"certificate": one.cert, "key": wrong.key}), "tls.", "(?i)match|belong")
    # the second pair of two
    complains(errors(folder, {"certificate": [one.cert, rsa.cert], "key": [one.key, other.key]}), "tls.", "(?i)match|belong")


def test_a_key_with_a_passphrase(folder, ca):
    one = ca.issue()
    write(one.key, key_pem(one.private, password=b"secret"), 0o600)
    complains(errors(folder, tls(one)), "tls.key", re.escape(one.key), "(?i)encrypted|passphrase|password")


def test_files_that_hold_something_else(folder, ca):
    one = ca.issue()
    for data in (b"", b"nonsense\n", b"\0" * 1000, one.key_pem, one.pem[: len(one.pem) // 2],
                 b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"):
        complains(errors(folder, {"certificate": write(f"{folder}/x.pem", data, 0o600), "key": one.key}), "tls.certificate", "x.pem")
    for data in (b"", b"nonsense\n", one.pem, one.key_pem[:80]):
        complains(errors(folder, {"certificate": one.cert, "key": write(f"{folder}/x.key", data, 0o600)}), "tls.key", "x.key")
    for data in (b"", b"nonsense\n", one.key_pem):
        bad = write(f"{folder}/x.ca", data, 0o600)
        complains(errors(folder, tls(one, client={"ca": [bad]})), "tls.client.ca", "x.ca")
    for data in (b"", one.pem):
        bad = write(f"{folder}/x.crl", data, 0o600)
        complains(errors(folder, tls(one, client={"ca": [ca.path], "crl": [bad]})), "tls.client.crl", "x.crl")
    complains(errors(folder, {"certificate": folder, "key": one.key}), "tls.certificate", "(?i)directory|regular file")


def test_files_that_never_end(folder, ca):
    """A FIFO, a device: no start hangs, nothing grows."""
    one = ca.issue()
    os.mkfifo(f"{folder}/fifo", 0o600)
    for path in (f"{folder}/fifo", "/dev/zero"):
        complains(errors(folder, {"certificate": path, "key": one.key}), "tls.certificate", path)
    with open(f"{folder}/huge.pem", "wb") as file:
        file.truncate(1 << 30)
    complains(errors(folder, {"certificate": f"{folder}/huge.pem", "key": one.key}), "tls.certificate", "huge.pem")


@pytest.mark.parametrize("options, option, says", [
    ({"ciphers": "NONSENSE"}, "tls.ciphers", "NONSENSE|cipher"),
    ({"ciphersuites": "TLS_NONSENSE"}, "tls.ciphersuites", "TLS_NONSENSE|cipher"),
    ({"groups": "P-999"}, "tls.groups", "P-999|group"),
    ({"minimum_version": "1.1"}, "tls.minimum_version", r"1\.2.*1\.3"),
    ({"minimum_version": "1.4"}, "tls.minimum_version", r"1\.2.*1\.3"),
    ({"alpn": [""]}, "tls.alpn", "empty|255|1 to"),
    ({"alpn": ["x" * 256]}, "tls.alpn", "255|long"),
    ({"ticket_rotation": "soon"}, "tls.ticket_rotation", "unit|s, min"),
    ({"certificats": "x"}, "tls.certificats", "did you mean certificate"),
    ({"client": {"ca": []}}, "tls.client.ca", "1 to"),
    ({"client": {"verify": "maybe"}}, "tls.client.verify", "required.*optional"),
    ({"client": {"alow": ["cn:x"]}}, "tls.client.alow", "did you mean allow"),
])
def test_options_that_nobody_understands(folder, ca, options, option, says):
    if "client" in options:
        options = {"client": {"ca": [ca.path], **options["client"]}}
    complains(errors(folder, tls(ca.issue(), **options)), option, says)


@pytest.mark.parametrize("pattern", [
    "", "backup", "cn:", "nc:x", "dns:", "uri:", "ou:", "pin:", "pin:sha256:", "pin:sha256:xyz", "pin:sha1:" + "0" * 40,
    "pin:sha256:" + "0" * 63, "pin:sha256:" + "0" * 65, "email:x@y",
])
def test_patterns_that_nobody_understands(folder, ca, pattern):
    complains(errors(folder, tls(ca.issue(), client={"ca": [ca.path], "allow": [pattern]})), "tls.client.allow")


def test_keys_and_certificates_must_be_as_many(folder, ca):
    one, two = ca.issue(), ca.issue()
    complains(errors(folder, {"certificate": [one.cert, two.cert], "key": [one.key]}), "tls.key", "(?i)as many|each|one key")
    complains(errors(folder, {"key": one.key}), "tls.certificate", "given")
    complains(errors(folder, {"certificate": []}), "tls.certificate")


def test_a_group_without_a_certificate(folder):
    complains(errors(folder, {}), "tls.certificate", "given")


def test_upstream_files(folder, ca):
    one = ca.issue()
    os.chmod(one.key, 0o644)
    for options, option, says in (
        ({"ca": [f"{folder}/none.ca"]}, "proxy.tls.ca", "none.ca"),
        ({"certificate": one.cert, "key": one.key}, "proxy.tls.key", "(?i)others|chmod"),
        ({"certificate": one.cert, "key": f"{folder}/none.key"}, "proxy.tls.key", "No such file"),
        ({"name": "a b"}, "proxy.tls.name", "."),
        ({"insecure_skip_verify": "yes"}, "proxy.tls.insecure_skip_verify", "true"),
        ({"insecure_skip_verfy": True}, "proxy.tls.insecure_skip_verfy", "did you mean insecure_skip_verify"),
    ):
        code, out, err = run("--check", text=config({"web": listener(proxy("127.0.0.1:1", tls=options))}), folder=folder)
        assert code == 2, (options, out, err)
        complains(err, option, says)


def test_all_errors_at_once(folder, ca):
    one = ca.issue()
    os.chmod(one.key, 0o644)
    text = config({
        "a": listener("echo", tls=tls(one)), "b": listener("echo", tls={"certificate": f"{folder}/none.pem"}),
        "c": listener("echo", limits={"connectoins": 3}),
    })
    code, _, err = run("--check", text=text, folder=folder)
    assert code == 2
    assert "did you mean connections" in err
    # files are read once the file that names them is right
    text = text.replace("connectoins", "connections")
    code, _, err = run("--check", text=text, folder=folder)
    assert code == 2
    assert "listeners.a.tls" in err and "listeners.b.tls" in err, err


def test_the_start_fails_as_the_check_does(folder, ca):
    one = ca.issue()
    os.chmod(one.key, 0o644)
    code, _, err = run(text=config({"web": listener("echo", tls=tls(one))}), folder=folder)
    assert code == 2, err
    complains(err, "tls.key", "(?i)others|chmod")


def test_check_prints_certificates(folder, ca):
    ec = ca.issue("one", dns=["www.example", "*.example"], days=(-1, 77))
    rsa = ca.issue("two", dns=["two.example"], key="rsa", days=(-1, 3))
    text = config({"web": listener(proxy("127.0.0.1:1", tls={"ca": [ca.path], "certificate": ec.cert, "key": ec.key}), tls=tls(ec, rsa))})
    code, out, err = run("--check", text=text, folder=folder)
    assert code == 0, err
    said = out + err
    for expected in (ec.cert, rsa.cert, "www.example, *.example", "two.example", "P-256", "RSA 2048",
                     ec.x509.not_valid_after.strftime("%Y-%m-%d"), rsa.x509.not_valid_after.strftime("%Y-%m-%d")):
        assert expected in said, said


def test_dump_config_has_it(folder, ca):
    text = config({"web": listener("echo", tls=tls(ca.issue(), minimum_version="1.3", client={"ca": [ca.path], "allow": ["cn:x"]}))})
    code, out, err = run("--dump-config", text=text, folder=folder)
    assert code == 0, err
    assert re.search(r'minimum_version = "1\.3"', out) and re.search(r'allow = .*"cn:x"', out), out
    code, again, err = run("--dump-config", text=out, folder=folder)
    assert code == 0 and again == out, err


# ---- reload


def test_reload_with_a_wrong_certificate_keeps_the_old(usherd, ca):
    one, other = ca.issue(), ca.issue()
    daemon = usherd({"web": listener("echo", tls=tls(one))})
    for wrong in ({"certificate": one.cert, "key": other.key}, {"certificate": f"{daemon.folder}/none.pem"}, {"certificate": one.cert}):
        outcome = daemon.reload(config({"web": listener("echo", tls=wrong), "more": listener("echo")}))
        assert not outcome.ok
        assert any(re.search(r"usherd\.conf:\d+: listeners\.web\.tls", line) for line in outcome.lines), outcome
        assert "more" not in daemon.addresses, "a reload is taken whole or not at all"
        with tls_connect(daemon.address("web"), ca=ca) as sock:
            assert sock.peer_der == one.der and ask(sock) == b"hello"


def test_reload_takes_another_certificate(usherd, ca):
    one, other = ca.issue(), ca.issue()
    daemon = usherd({"web": listener("echo", tls=tls(one))})
    first = tls_connect(daemon.address("web"), ca=ca)
    assert daemon.reload(config({"web": listener("echo", tls=tls(other))})).ok
    assert tls_connect(daemon.address("web"), ca=ca).peer_der == other.der
    assert ask(first) == b"hello"


# ---- credentials


def test_credentials(usherd, ca, folder):
    """credential:NAME is a file of $CREDENTIALS_DIRECTORY."""
    one, client = ca.issue(), ca.issue("me")
    os.mkdir(f"{folder}/cred")
    os.chmod(f"{folder}/cred", 0o755)
    for name, data in (("web.pem", one.pem), ("web.key", one.key_pem), ("ca", ca.pem), ("crl", open(ca.crl(), "rb").read())):
        write(f"{folder}/cred/{name}", data, 0o600)
    group = {"certificate": "credential:web.pem", "key": "credential:web.key",
             "client": {"ca": ["credential:ca"], "crl": ["credential:crl"]}}
    daemon = usherd({"web": listener("echo", tls=group)}, start_options={"env": {"CREDENTIALS_DIRECTORY": f"{folder}/cred"}})
    assert verdict(daemon.address("web"), ca=ca, certificate=client) == "ok"


def test_credentials_that_are_not_there(folder, ca):
    group = {"certificate": "credential:web.pem"}
    complains(errors(folder, group), "tls.certificate", "(?i)credential")
    text = config({"web": listener("echo", tls=group)})
    for env in ({"CREDENTIALS_DIRECTORY": folder}, {"CREDENTIALS_DIRECTORY": f"{folder}/none"}, {"CREDENTIALS_DIRECTORY": ""}):
        code, _, err = run("--check", text=text, folder=folder, env=env)
        assert code == 2
        complains(err, "tls.certificate", "web.pem")
    os.mkdir(f"{folder}/cred")
    write(f"{folder}/outside.pem", ca.issue().pem + ca.issue().key_pem, 0o600)
    for name in ("credential:", "credential:../outside.pem", "credential:.", "credential:a/b"):
        text = config({"web": listener("echo", tls={"certificate": name})})
        code, _, err = run("--check", text=text, folder=folder, env={"CREDENTIALS_DIRECTORY": f"{folder}/cred"})
        assert code == 2, name
        complains(err, "tls.certificate", ".")


# ---- what ends soon


def test_expiry_is_said(usherd, ca):
    """At 30, 7 and 1 days; and what has ended is said too. The start does not fail for it."""
    of = {days: ca.issue(f"d{days}", dns=[f"d{days}.test"], days=(-60, days)) for days in (100, 20, 5, 0.5, -2)}
    daemon = usherd({"web": listener("echo", tls=tls(*of.values()))})
    for days in (20, 5, 0.5, -2):
        match = daemon.wait_log(rf"{re.escape(of[days].cert)}.*(expire|ends|ended)")
        level = next(level for level, message in daemon.lines if message == match.string)
        assert level in ("warning", "error", "notice"), match.string
    daemon.wait_log(rf"{re.escape(of[-2].cert)}.*(has expired|expired|ended)")
    assert not any(of[100].cert in message for level, message in daemon.lines if level in ("warning", "error"))
    assert verdict(daemon.address("web"), name="d100.test", ca=ca) == "ok"
    assert verdict(daemon.address("web"), name="d-2.test", ca=ca) == "certificate_verify_failed"


def test_expiry_is_not_said_again_at_each_reload(usherd, ca):
    one = ca.issue(days=(-60, 20))
    daemon = usherd({"web": listener("echo", tls=tls(one))})
    daemon.wait_log(rf"{re.escape(one.cert)}.*(expire|ends)")
    since = daemon.mark()
    for _ in range(3):
        assert daemon.reload().ok
    assert not [message for message in daemon.log[since:] if one.cert in message]


def test_not_valid_yet(usherd, ca):
    one = ca.issue(days=(2, 90))
    daemon = usherd({"web": listener("echo", tls=tls(one))})
    assert verdict(daemon.address("web"), ca=ca) == "certificate_verify_failed"
    daemon.wait_closed("tls_alert")


# ---- weak ones


def test_a_short_key(folder, ca):
    """OpenSSL's security level refuses it; so do we, before a client hears of it."""
    complains(errors(folder, tls(ca.issue(key="rsa1024"))), "tls.", "(?i)small|short|weak|bits")


def test_a_key_of_another_kind_works(usherd, folder):
    other = Authority(folder, "EC only")
    key = make_key("rsa3072")
    daemon = usherd({"web": listener("echo", tls=tls(other.issue(key=key)))})
    assert verdict(daemon.address("web"), ca=other) == "ok"
