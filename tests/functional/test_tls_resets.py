# SPDX-License-Identifier: MIT
"""Clients that reset a connection with TLS."""
import os
import select
import signal
import socket
import ssl
import subprocess

import pytest

from harness import TIMEOUT, TOP, connect, listener, proxy, reset, wait_until

pytestmark = pytest.mark.programs("openssl")


@pytest.mark.parametrize("first, reason", [
    (b"GET / HTTP/1.0\r\n\r\n", "tls_plain"),
    (bytes.fromhex("1603010005") + b"hello", "tls_handshake"),
    (bytes.fromhex("16030100040e000000"), "tls_handshake"),
])
def test_the_failure_stays_the_reason(usherd, folder, first, reason):
    """The client is gone by the time its alert would go out; what was wrong with it is still what is logged."""
    subprocess.run([TOP / "conf" / "demo-certificate", folder], check=True)
    daemon = usherd({"web": listener("echo", tls={"certificate": f"{folder}/cert.pem", "key": f"{folder}/key.pem"})})
    os.kill(daemon.pid, signal.SIGSTOP)
    sock = connect(daemon.address("web"))
    sock.sendall(first)
    reset(sock)
    os.kill(daemon.pid, signal.SIGCONT)
    daemon.wait_log(rf"closed after .* \({reason}\)$")


def tls_proxy(usherd, folder, *upstreams):
    subprocess.run([TOP / "conf" / "demo-certificate", folder], check=True)
    return usherd({"web": listener(proxy(*upstreams),
                                   tls={"certificate": f"{folder}/cert.pem", "key": f"{folder}/key.pem"})}, workers=1)


def tls_client(address):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connect(address), suppress_ragged_eofs=False)


@pytest.fixture
def upstream():
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock:
        sock.settimeout(TIMEOUT)
        yield sock


def address_of(sock):
    return "127.0.0.1:%d" % sock.getsockname()[1]


def take(upstream):
    """What the next connection brings, to its end."""
    peer, _ = upstream.accept()
    peer.settimeout(TIMEOUT)
    data = b""
    with peer:
        while more := peer.recv(1 << 16):
            data += more
    return data


@pytest.mark.parametrize("tickets", ["are there", "come later"])
def test_who_sends_all_and_closes_has_sent_all(usherd, upstream, folder, tickets):
    """A client that reads nothing has not read its session tickets either, so that the kernel makes a reset of its
    close: before or after the upstream has answered the dial, but always behind what it sent."""
    daemon = tls_proxy(usherd, folder, address_of(upstream))
    for _ in range(20):
        sock = tls_client(daemon.address("web"))
        if tickets == "are there":
            select.select([sock], [], [], TIMEOUT)
        sock.sendall(b"x" * 5000)
        sock.settimeout(0)
        with pytest.raises(ssl.SSLError):  # close_notify is out; the answer is not waited for
            sock.unwrap()
        sock.close()
        assert take(upstream) == b"x" * 5000
    wait_until(lambda: daemon.text().count("(client_closed)") == 20, daemon.tail)


def test_a_reset_without_close_notify_is_one(usherd, upstream, folder):
    daemon = tls_proxy(usherd, folder, address_of(upstream))
    for _ in range(20):
        sock = tls_client(daemon.address("web"))
        select.select([sock], [], [], TIMEOUT)  # the tickets: our handshake has arrived
        sock.sendall(b"x" * 5000)
        reset(sock)
        with pytest.raises(ConnectionResetError):
            take(upstream)
    wait_until(lambda: daemon.text().count("(client_reset)") == 20, daemon.tail)
