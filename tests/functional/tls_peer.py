# SPDX-License-Identifier: MIT
"""TLS clients and servers for tests. Over memory, so that each byte and each end can be told apart and chosen: half a
close, a truncation, a reset, what lies between two records."""
import contextlib
import re
import socket
import ssl
import struct
import threading
import warnings

from certificates import tls
from harness import TIMEOUT, connect, listener, proxy, reset

RECORD_ALERT, RECORD_HANDSHAKE, RECORD_DATA = 21, 22, 23
ALERTS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
    42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
    46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
    51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
    90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension", 112: "unrecognized_name", 116: "certificate_required",
    120: "no_application_protocol",
}
VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Truncated(OSError):
    """TCP ended without close_notify."""


def client_context(ca=None, version=None, certificate=None, alpn=None, ciphers=None):
    """`ca`: an Authority, or None: nobody is verified. `version`: "1.2" for that alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca.path)
    _common(context, version, certificate, alpn, ciphers)
    return context


def server_context(certificate, version=None, client_ca=None, alpn=None, ciphers=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca.path)
    _common(context, version, certificate, alpn, ciphers)
    return context


def _common(context, version, certificate, alpn, ciphers):
    if version:
        with warnings.catch_warnings():  # old versions are deprecated, which is what is tested
            warnings.simplefilter("ignore")
            context.minimum_version = context.maximum_version = VERSIONS[version]
    if version in ("1.0", "1.1"):
        ciphers = "ALL:@SECLEVEL=0"
    if ciphers:
        context.set_ciphers(ciphers)
    if certificate:
        context.load_cert_chain(*certificate.pair)
    if alpn:
        context.set_alpn_protocols(alpn)


class TlsStream:
    """A TLS connection with the methods of a socket. One thread may send while another receives."""

    def __init__(self, sock, context, server_side=False, name=None, session=None, handshake=True):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side, server_hostname=name,
                                    session=session)
        self.lock = threading.Lock()  # of the BIOs and the SSL, never held over a system call that may wait
        self.sending = threading.Lock()
        self.ready = b""  # decrypted before somebody asked
        self.sent_end = self.got_end = False
        if handshake:
            self.handshake()

    def hello(self):
        """The first flight, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert
                raise

    def _flush(self):
        with self.sending:
            with self.lock:
                data = self.outgoing.read()
            if data:
                self.sock.sendall(data)

    def _feed(self):
        data = self.sock.recv(65536)
        with self.lock:
            if data:
                self.incoming.write(data)
            else:
                self.incoming.write_eof()

    def _read(self, most):
        """What is there, b"" at close_notify, None when more must come."""
        try:
            data = self.tls.read(most)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLEOFError:
            raise Truncated from None
        self.got_end = not data
        return data

    def recv(self, most=65536):
        while True:
            with self.lock:
                if self.ready or self.got_end:
                    data, self.ready = self.ready[:most], self.ready[most:]
                    return data
                try:
                    data = self._read(most)
                except ssl.SSLError:
                    self.sock.sendall(self.outgoing.read())  # the alert
                    raise
            if data is not None:
                return data
            self._feed()

    def send(self, data):
        self.sendall(data)
        return len(data)

    def sendall(self, data):
        view = memoryview(data)
        for at in range(0, len(view), 65536):
            with self.lock:
                self.tls.write(view[at : at + 65536])
            self._flush()

    def shutdown(self, how):
        """Sends close_notify; the other direction stays."""
        assert how == socket.SHUT_WR
        with self.lock:
            # what has come is taken first: OpenSSL's shutdown would trip over it
            while not self.got_end:
                data = self._read(65536)
                if data is None:
                    break
                self.ready += data
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
            self.sent_end = True
        self._flush()

    def send_raw(self, data):
        self.sock.sendall(data)

    def close(self):
        if not self.sent_end:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_WR)
        self.sock.close()

    def truncate(self):
        """TCP's end alone."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        reset(self.sock)

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- what was agreed on

    @property
    def version(self):
        return self.tls.version()

    @property
    def cipher(self):
        return self.tls.cipher()[0]

    @property
    def alpn(self):
        return self.tls.selected_alpn_protocol()

    @property
    def peer_der(self):
        return self.tls.getpeercert(True)

    @property
    def resumed(self):
        return self.tls.session_reused

    @property
    def session(self):
        return self.tls.session


def tls_connect(address, context=None, name=None, session=None, timeout=TIMEOUT, handshake=True, **options):
    """A client whose handshake is done; `options` are client_context()'s."""
    context = context or client_context(**options)
    sock = connect(address, timeout=timeout)
    try:
        return TlsStream(sock, context, name=name, session=session, handshake=handshake)
    except BaseException:
        sock.close()
        raise


def tls_server(handler, context, on_failure=None):
    """A handler for servers.Server: the handshake, then `handler`, and close_notify at the end."""

    def serve(sock, server):
        try:
            stream = TlsStream(sock, context, server_side=True)
        except ssl.SSLError as error:
            server.add("failed")
            if on_failure:
                on_failure(error)
            return
        server.add("handshakes")
        try:
            handler(stream, server)
        finally:
            if stream.sock.fileno() >= 0:
                stream.close()

    return serve


def verdict(address, **options):
    """What a client hears: "ok" when it is served by echo, else the alert's name, "end" or "reset".
    In TLS 1.3 a client is told after its own part of the handshake."""
    try:
        with tls_connect(address, **options) as stream:
            stream.sendall(b"hello")
            data = stream.recv(5)
            return "ok" if data == b"hello" else "end"
    except ssl.SSLError as error:
        alert = re.search(r" alert ([a-z ]+) \(", str(error))
        return alert.group(1).replace(" ", "_") if alert else (error.reason or str(error)).lower()
    except Truncated:
        return "end"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"


def both_ends(usherd, ca, target):
    """Plain, usherd, TLS with certificates on both sides, usherd, plain: (the near daemon, the far one)."""
    far_certificate, near_certificate = ca.issue("far", dns=["far.example"]), ca.issue("near", purpose="client")
    far = usherd({"in": listener(proxy(target), tls=tls(far_certificate, client={"ca": [ca.path], "allow": ["cn:near"]}))})
    near = usherd({"out": listener(proxy(
        far.address("in"),
        tls={"ca": [ca.path], "name": "far.example", "certificate": near_certificate.cert, "key": near_certificate.key}))})
    return near, far


# ---- records, by hand


def records(data):
    """[(type, payload)] of plain records."""
    found = []
    while len(data) >= 5:
        kind, _, size = struct.unpack("!BHH", data[:5])
        found.append((kind, data[5 : 5 + size]))
        data = data[5 + size :]
    return found


def record(kind, payload, version=0x0301):
    return struct.pack("!BHH", kind, version, len(payload)) + payload


def fragmented(flight, size):
    """Plain records cut into records of at most `size` bytes."""
    out = b""
    for kind, payload in records(flight):
        for at in range(0, len(payload), size):
            out += record(kind, payload[at : at + size])
    return out


def hello(name=None, **options):
    """A ClientHello's record, as Python's ssl makes it."""
    context = client_context(**options)
    return TlsStream(None, context, name=name, handshake=False).hello()


def answer(sock):
    """Reads to the end: (the name of the alert or None, "end" or "reset"). Only while nothing is encrypted."""
    data = b""
    how = "end"
    try:
        while part := sock.recv(65536):
            data += part
    except (ConnectionResetError, BrokenPipeError):
        how = "reset"
    alert = None
    for kind, payload in records(data):
        if kind == RECORD_ALERT and len(payload) == 2:
            alert = ALERTS.get(payload[1], str(payload[1]))
    return alert, how
