# SPDX-License-Identifier: MIT
"""A certificate authority for tests: good certificates, and every kind of bad one."""
import datetime
import hashlib
import ipaddress
import itertools
import os
import pathlib
import pwd

import pytest

from harness import IS_ROOT

pytest.importorskip("cryptography", reason="not installed: python3-cryptography")

# pylint: disable=wrong-import-position
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

PURPOSES = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    "mail": [ExtendedKeyUsageOID.EMAIL_PROTECTION],
}
_numbers = itertools.count(1)
_rsa_keys = {}


def make_key(kind="ec"):
    """A private key; those of RSA are slow to make and used again."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    bits = int(kind[3:] or 2048)
    if bits not in _rsa_keys:
        _rsa_keys[bits] = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return _rsa_keys[bits]


def write(path, data, mode=0o644):
    """A file that the daemon may read, also once it is nobody; a file that is there keeps its inode."""
    path = pathlib.Path(path)
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
    os.chmod(path, mode)
    if IS_ROOT:
        os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    return str(path)


def key_pem(key, password=None):
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def name_of(cn, ou=None, o=None):
    parts = [(NameOID.ORGANIZATION_NAME, o), (NameOID.ORGANIZATIONAL_UNIT_NAME, ou), (NameOID.COMMON_NAME, cn)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


class Certificate:
    """One with its key, as files: `cert` (with its chain), `key`, and `both` in one."""

    def __init__(self, folder, x, key, chain=b""):
        self.x509 = x
        self.private = key
        self.pem = x.public_bytes(serialization.Encoding.PEM) + chain
        self.key_pem = key_pem(key)
        self.folder = folder
        self.number = next(_numbers)
        self.cert = write(f"{folder}/{self.number}.pem", self.pem)
        self.key = write(f"{folder}/{self.number}.key", self.key_pem, 0o600)

    @property
    def both(self):
        return write(f"{self.folder}/{self.number}.both", self.pem + self.key_pem, 0o600)

    @property
    def pair(self):
        """As Python's load_cert_chain takes it."""
        return self.cert, self.key

    @property
    def serial(self):
        """Hexadecimal, as OpenSSL prints it."""
        text = "%X" % self.x509.serial_number
        return text if len(text) % 2 == 0 else "0" + text

    @property
    def der(self):
        return self.x509.public_bytes(serialization.Encoding.DER)

    @property
    def fingerprint(self):
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pin(self):
        """SHA-256 of the public key's SubjectPublicKeyInfo."""
        spki = self.x509.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()


class Authority(Certificate):
    """A CA; `path` is its certificate's file."""

    def __init__(self, folder, cn="Test CA", parent=None, days=(-1, 3650)):
        key = make_key()
        issuer, signer = (parent.x509.subject, parent.private) if parent else (name_of(cn), key)
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder().subject_name(name_of(cn)).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        super().__init__(folder, builder.sign(signer, hashes.SHA256()), key)

    @property
    def path(self):
        return self.cert

    def issue(self, cn="server", dns=(), ips=(), uris=(), ou=None, o=None, purpose="both", days=(-1, 90), key="ec",
              self_signed=False, chain=False, crl_at=None):
        """A certificate that this CA signed, or, self-signed, nobody did. `days`: from when to when, from now. `crl_at`: an
        URL that is named for the list of revoked ones."""
        private = key if hasattr(key, "public_key") else make_key(key)
        subject = name_of(cn, ou, o)
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(subject if self_signed else self.x509.subject)
            .public_key(private.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0])).not_valid_after(now + datetime.timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        names = [x509.DNSName(name) for name in dns] + [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        names += [x509.UniformResourceIdentifier(uri) for uri in uris]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if purpose:
            builder = builder.add_extension(x509.ExtendedKeyUsage(PURPOSES[purpose]), critical=False)
        if crl_at:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_at)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        signer = private if self_signed else self.private
        return Certificate(self.folder, builder.sign(signer, hashes.SHA256()), private, self.pem if chain else b"")

    def crl(self, *revoked, path=None, days=(-1, 30)):
        """A list of revoked certificates; the path of its file (that of an earlier one is written anew)."""
        now = datetime.datetime.utcnow()
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(self.x509.subject)
            .last_update(now + datetime.timedelta(days=days[0])).next_update(now + datetime.timedelta(days=days[1]))
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.x509.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now - datetime.timedelta(hours=1)).build())
        data = builder.sign(self.private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return write(path or f"{self.folder}/{next(_numbers)}.crl", data)


def tls(*certificates, **options):
    """A listener's group `tls` with these certificates."""
    return {"certificate": [c.cert for c in certificates], "key": [c.key for c in certificates], **options}
