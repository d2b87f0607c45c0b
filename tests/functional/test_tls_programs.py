# SPDX-License-Identifier: MIT
"""Real programs through TLS: clients of many makes, scanners, and services that know nothing of it."""
import hashlib
import imaplib
import json
import os
import re
import subprocess
import xml.etree.ElementTree

import pytest

import programs
import servers
from certificates import tls
from harness import SANITIZER, TIMEOUT, connect, listener, proxy
from tls_peer import both_ends, client_context, tls_connect

SHORT = 2


def run(*command, text=None, **options):
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT * 4, check=False, **options)


@pytest.fixture
def web(usherd, serve, ca):
    """A listener for localhost, with an RSA and an ECDSA certificate, that answers with a digest of what came."""
    both = [ca.issue("localhost", dns=["localhost"], ips=["127.0.0.1"], key=kind) for kind in ("ec", "rsa")]
    daemon = usherd({"web": listener(proxy(serve(servers.digests).address), tls=tls(*both, alpn=["h2", "http/1.1"]))})
    daemon.certificates = both
    return daemon


@pytest.mark.programs("openssl")
@pytest.mark.parametrize("options, expected", [
    (["-tls1_3"], ["TLSv1.3", "TLS_AES_128_GCM_SHA256|TLS_AES_256_GCM_SHA384", "ECDSA"]),
    (["-tls1_2"], ["TLSv1.2", "ECDHE-ECDSA"]),
    (["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"], ["TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"]),
    (["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"], ["TLSv1.2", "DHE-RSA-AES128-GCM-SHA256", "DH, 2048|DH, 3072"]),
    (["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], ["TLSv1.3", "RSA-PSS"]),
    (["-tls1_3", "-sigalgs", "ECDSA+SHA256"], ["TLSv1.3", "ECDSA"]),
    (["-groups", "P-384"], ["P-384|secp384r1"]),
    (["-groups", "X25519"], ["X25519"]),
    (["-alpn", "http/1.1"], ["ALPN protocol: http/1.1"]),
    (["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], ["TLS_CHACHA20_POLY1305_SHA256"]),
])
def test_openssl(web, ca, options, expected):
    done = run("openssl", "s_client", "-connect", web.address("web"), "-CAfile", ca.path, "-verify_return_error", "-servername",
               "localhost", "-verify_hostname", "localhost", *options, text="Q\n")
    assert done.returncode == 0 and "Verify return code: 0 (ok)" in done.stdout, done
    for pattern in expected:
        assert re.search(pattern, done.stdout), done.stdout
    assert "Compression: NONE" in done.stdout and "No client certificate CA names sent" in done.stdout


@pytest.mark.programs("openssl")
def test_openssl_resumes(usherd, ca, folder):
    daemon = usherd({"web": listener("echo", tls=tls(ca.issue()))})
    client = ["openssl", "s_client", "-connect", daemon.address("web")]
    done = run(*client, "-tls1_2", "-reconnect", text="Q\n")
    assert done.stdout.count("Reused, TLSv1.2") == 5, done.stdout
    with subprocess.Popen([*client, "-tls1_3", "-sess_out", f"{folder}/session"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as make:
        make.stdin.write("hello\n")  # its answer shows that a ticket has come
        make.stdin.flush()
        while (line := make.stdout.readline()) != "hello\n":
            assert line, "no answer came"
        make.communicate("Q\n", timeout=TIMEOUT)
    done = run(*client, "-tls1_3", "-sess_in", f"{folder}/session", text="Q\n")
    assert "Reused, TLSv1.3" in done.stdout, done.stdout


@pytest.mark.programs("nginx", "curl")
def test_curl(usherd, ca, folder):
    """A web server behind TLS, HTTP/1.1, big answers, many connections, resumption."""
    with programs.nginx(folder) as upstream:
        data = os.urandom(20 << 20)
        with open(f"{folder}/files/data", "wb") as file:
            file.write(data)
        one = ca.issue("localhost", dns=["localhost"], ips=["127.0.0.1"])
        daemon = usherd({"web": listener(proxy(upstream), tls=tls(one, alpn=["http/1.1"]))})
        url = f"https://localhost:{daemon.port('web')}"
        curl = ["curl", "-sS", "--cacert", ca.path, "--resolve", f"localhost:{daemon.port('web')}:127.0.0.1"]
        for options in (["--tls-max", "1.2"], ["--tlsv1.3"], ["--http1.1", "--no-alpn"], ["--http2"]):
            done = run(*curl, *options, f"{url}/")
            assert done.stdout == "hello from nginx\n", done
        out = subprocess.run([*curl, f"{url}/files/data"], capture_output=True, check=True).stdout
        assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
        done = run(*curl, "-w", "%{ssl_verify_result} %{http_version}", f"{url}/", f"{url}/")
        assert done.stdout.count("0 1.1") == 2, done
        assert run("curl", "-sS", f"{url}/").returncode == 60, "who does not know the authority is told so"
        daemon.wait_closed("tls_alert")
        upload = subprocess.run([*curl, "-T", f"{folder}/files/data", "-o", "/dev/null", "-w", "%{http_code}", f"{url}/up"],
                                capture_output=True, text=True, check=False)
        assert upload.returncode == 0 and upload.stdout in ("200", "405"), upload
        assert not daemon.close_records(reason="internal")


@pytest.mark.programs("nginx", "wrk")
@pytest.mark.parametrize("close", [False, True])
def test_wrk(usherd, ca, folder, close):
    with programs.nginx(folder) as upstream:
        daemon = usherd({"web": listener(proxy(upstream), tls=tls(ca.issue("localhost", dns=["localhost"])))})
        fds = daemon.fds_at_rest()
        headers = ["-H", "Connection: close"] if close else []
        done = run("wrk", "-t1", "-c8", f"-d{SHORT}s", "--timeout", "10s", *headers, f"https://{daemon.address('web')}/")
        result = programs.Wrk(done.stdout)
        assert result.requests > 50 and result.errors == 0 and result.bad == 0, done
        daemon.wait_fds(fds)


# ---- scanners

BAD = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")


@pytest.mark.slow
@pytest.mark.programs("testssl", "nginx", "openssl")
def test_testssl(usherd, ca, folder):
    """testssl.sh finds nothing worse than "low"."""
    with programs.nginx(folder) as upstream:
        both = [ca.issue("localhost", dns=["localhost"], ips=["127.0.0.1"], key=kind, crl_at="http://localhost/crl") for kind in ("ec", "rsa")]
        daemon = usherd({"web": listener(proxy(upstream), tls=tls(*both, alpn=["http/1.1"]))})
        found = f"{folder}/testssl.json"
        done = run("testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "min", "--ip", "127.0.0.1", "--add-ca", ca.path,
                   "--jsonfile", found, "-p", "-s", "-f", "-P", "-S", "-U", f"localhost:{daemon.port('web')}",
                   env={**os.environ, "TERM": "dumb"})
        with open(found, encoding="utf-8") as file:
            findings = json.load(file)
        by_id = {finding["id"]: finding for finding in findings}
        assert {"TLS1_2", "TLS1_3", "heartbleed", "ROBOT", "secure_renego", "CRIME_TLS"} <= set(by_id), done.stdout
        bad = [finding for finding in findings if finding["severity"] in BAD]
        assert not bad, json.dumps(bad, indent=1)
        assert by_id["TLS1_2"]["severity"] == by_id["TLS1_3"]["severity"] == "OK", by_id["TLS1_3"]
        assert "not offered" in by_id["TLS1"]["finding"] and "not offered" in by_id["TLS1_1"]["finding"]
        assert not daemon.close_records(reason="internal")


@pytest.mark.programs("sslscan")
def test_sslscan(web, folder):
    found = f"{folder}/sslscan.xml"
    done = run("sslscan", "--no-colour", f"--xml={found}", "--sni-name=localhost", web.address("web"))
    assert done.returncode == 0, done
    test = xml.etree.ElementTree.parse(found).getroot().find("ssltest")
    protocols = {(p.get("type"), p.get("version")): p.get("enabled") for p in test.findall("protocol")}
    assert {key for key, enabled in protocols.items() if enabled == "1"} == {("tls", "1.2"), ("tls", "1.3")}, protocols
    assert all(c.get("supported") == "0" for c in test.findall("compression"))
    assert test.find("renegotiation").get("supported") == "0" or test.find("renegotiation").get("secure") == "1"
    assert all(beat.get("vulnerable") == "0" for beat in test.findall("heartbleed"))
    ciphers = [(c.get("sslversion"), c.get("cipher"), c.get("strength")) for c in test.findall("cipher")]
    assert len(ciphers) >= 6 and all(strength in ("strong", "acceptable") for _, _, strength in ciphers), ciphers
    assert all("GCM" in name or "CHACHA20" in name for _, name, _ in ciphers), ciphers
    assert all("DHE" in name or version == "TLSv1.3" for version, name, _ in ciphers), ciphers


# ---- services that know nothing of TLS


@pytest.mark.programs("psql", "pgbench")
def test_postgresql_over_two_daemons(usherd, ca, folder):
    """Plain at both ends, TLS with certificates of both between: as for two machines."""
    if not programs.postgres_program("initdb"):
        pytest.skip("not installed: postgresql")
    with programs.postgres(folder) as upstream:
        near, far = both_ends(usherd, ca, upstream)
        target = ["-h", "127.0.0.1", "-p", str(near.port("out")), "-U", "usher"]
        done = run("psql", *target, "-Atc", "select sum(i) from generate_series(1, 1000000) i", "postgres")
        assert done.stdout.strip() == "500000500000", done
        done = run("psql", *target, "-Atc", "select repeat('x', 5000000)", "postgres")
        assert len(done.stdout.strip()) == 5000000
        assert run("pgbench", *target, "-i", "-q", "postgres").returncode == 0
        for extra in ([], ["-C"]):  # one connection a client, one a transaction
            done = run("pgbench", *target, "-n", "-c", "4", "-T", str(SHORT), *extra, "postgres")
            assert done.returncode == 0 and "number of failed transactions: 0" in done.stdout, done
        assert not near.close_records(reason="internal") and not far.close_records(reason="internal")


@pytest.mark.programs("redis-server", "redis-benchmark", "redis-cli")
def test_redis(usherd, ca, folder):
    """Redis' own tools speak TLS to usherd, with a certificate; redis itself does not."""
    me = ca.issue("me", purpose="client")
    with programs.redis(folder) as upstream:
        group = tls(ca.issue("localhost", dns=["localhost"]), client={"ca": [ca.path], "allow": ["cn:me"]})
        daemon = usherd({"cache": listener(proxy(upstream), tls=group)})
        port = str(daemon.port("cache"))
        with_tls = ["--tls", "--cacert", ca.path, "--cert", me.cert, "--key", me.key, "--sni", "localhost"]
        assert run("redis-cli", "-p", port, *with_tls, "set", "a", "b").stdout.strip() == "OK"
        big = "x" * 3000000
        assert run("redis-cli", "-p", port, *with_tls, "-x", "set", "big", text=big).stdout.strip() == "OK"
        assert run("redis-cli", "-p", port, *with_tls, "get", "big").stdout.strip() == big
        requests = "20000" if not SANITIZER else "3000"
        for extra in ([], ["-P", "16"]):
            done = run("redis-benchmark", "-p", port, *with_tls, "-n", requests, "-c", "20", "-q", "-t", "set,get", *extra)
            assert done.returncode == 0 and "rror" not in done.stdout + done.stderr, done
        done = run("redis-cli", "-p", port, "--tls", "--cacert", ca.path, "ping")
        assert "PONG" not in done.stdout
        daemon.wait_closed("tls_no_certificate")


@pytest.mark.programs("dovecot")
def test_imap(usherd, ca, folder):
    """A mail server's plain port becomes the port that mail programs expect."""
    os.chmod(folder, 0o755)
    with programs.dovecot(folder) as upstream:
        daemon = usherd({"imaps": listener(proxy(upstream), tls=tls(ca.issue("mail.example", dns=["localhost"])))})
        context = client_context(ca=ca)
        context.check_hostname = True
        letter = b"Subject: hello\r\n\r\n" + b"x" * 70 + b"\r\n"
        letter += (b"y" * 70 + b"\r\n") * 20000
        with imaplib.IMAP4_SSL("localhost", daemon.port("imaps"), ssl_context=context, timeout=TIMEOUT) as mail:
            assert mail.login("somebody", "secret")[0] == "OK"
            assert mail.append("INBOX", None, None, letter)[0] == "OK"
            assert mail.select()[1] == [b"1"]
            assert mail.fetch("1", "(BODY.PEEK[])")[1][0][1] == letter
        record = daemon.wait_closed(listener="imaps")
        assert record.tls.startswith("TLSv1.3"), record
        # after the answer to LOGOUT both end, and imaplib does so without close_notify: whoever is first
        assert record.reason in ("upstream_closed", "client_truncated"), record


@pytest.mark.programs("nc")
def test_nc_through_two_daemons(usherd, serve, ca):
    """Half a close passes through TLS in the middle."""
    near, _ = both_ends(usherd, ca, serve(servers.digests).address)
    data = b"x" * 1000000
    done = subprocess.run(["nc", "-N", "127.0.0.1", str(near.port("out"))], input=data, capture_output=True, check=True, timeout=TIMEOUT)
    assert done.stdout == servers.digest_of(data)


@pytest.mark.programs("nginx", "curl")
def test_nginx_with_tls_as_an_upstream(usherd, ca, folder):
    """A program that has TLS itself; usherd takes it off for clients that have none."""
    one = ca.issue("localhost", dns=["localhost"])
    with programs.nginx(folder, tls=one) as upstream:
        daemon = usherd({"web": listener(proxy(upstream, tls={"ca": [ca.path], "name": "localhost", "alpn": ["http/1.1"]}))})
        done = run("curl", "-sS", f"http://{daemon.address('web')}/", f"http://{daemon.address('web')}/")
        assert done.stdout == "hello from nginx\n" * 2, done
        with connect(daemon.address("web")) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert b"hello from nginx" in b"".join(iter(lambda: sock.recv(4096), b""))
