# SPDX-License-Identifier: MIT
"""Clients that reset a connection whose handshake has failed."""
import os
import signal
import subprocess

import pytest

from harness import TOP, connect, listener, reset

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
