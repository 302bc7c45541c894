"""The server's own certificate authority, which nodes know by its sha256, and the certificate of the agents'
listener.

Both keys lie in <state_dir>/agents/, readable for the server's user alone. They are no part of a backup of
the database: a server that is set up anew needs this folder, or its nodes have to join again.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pxeserver import durable

_CA_YEARS = 20
_LEAF_DAYS = 365
_RENEW_DAYS = 120
"""The listener's certificate is renewed when it ends within so many days."""
_BEFORE = datetime.timedelta(days=1)
"""Certificates are valid from this long ago: clocks differ."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority's certificate and key."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def open(cls, folder: Path, now: float) -> Authority:
        """Read it, or make it where there is none. `now`: seconds since the epoch.

        OSError; ValueError where what lies there is damaged.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
        # The key is written first: with both there, both are whole.
        if certificate_file.exists():
            key = _read_key(key_file)
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            if certificate.public_key() != key.public_key():
                raise ValueError(f"{certificate_file} does not belong to {key_file}")
            return cls(folder, certificate, key)
        key = _new_key(key_file)
        certificate = _sign_own(key, now)
        durable.put(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return cls(folder, certificate, key)

    @property
    def pem(self) -> str:
        """The certificate, for agents."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def pin(self) -> str:
        """sha256 of the certificate's DER, hex: what a node is given to know this server by."""
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()

    def listener(
        self, addresses: Iterable[str], names: Iterable[str], now: float, file: str = "listener.pem"
    ) -> Path:
        """The file with a listener's key and certificate for these addresses and DNS names: the one that is
        there, or a new one where that is for others or ends soon. Each listener has a file of its own.
        """
        path = self.folder / file
        wanted = _alternatives(addresses, names)
        if not self._serves(path, wanted, now):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._sign(key, wanted, now)
            durable.put(path, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM), 0o600)
        return path

    def _serves(self, path: Path, wanted: list[x509.GeneralName], now: float) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            certificate.verify_directly_issued_by(self.certificate)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (FileNotFoundError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        ends = _time(now) + datetime.timedelta(days=_RENEW_DAYS)
        begun = certificate.not_valid_before_utc <= _time(now)
        return set(names) >= set(wanted) and begun and ends < certificate.not_valid_after_utc

    def _sign(
        self, key: ec.EllipticCurvePrivateKey, wanted: list[x509.GeneralName], now: float
    ) -> x509.Certificate:
        public = key.public_key()
        builder = _builder("pxeserver", self.certificate.subject, public, now, _LEAF_DAYS)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName(wanted), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        builder = builder.add_extension(usage, critical=False).add_extension(issuer, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def context(path: Path) -> ssl.SSLContext:
    """TLS 1.3 for the listener, with this key and certificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(path)
    return made


def _sign_own(key: ec.EllipticCurvePrivateKey, now: float) -> x509.Certificate:
    # A name of its own for each authority: a node that meets two must not take one for the other.
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:12]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pxeserver agents {mark}")])
    builder = _builder(name, name, key.public_key(), now, _CA_YEARS * 365)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    own = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return builder.add_extension(own, critical=False).sign(key, hashes.SHA256())


def _builder(
    subject: str | x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, days: int
) -> x509.CertificateBuilder:
    if isinstance(subject, str):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now) - _BEFORE)
        .not_valid_after(_time(now) + datetime.timedelta(days=days))
        # Python 3.13 verifies strictly: without the key identifiers it refuses (RFC 5280 4.2.1.1, 4.2.1.2).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(addresses: Iterable[str], names: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(a)) for a in sorted({"127.0.0.1", *addresses})
    ]
    return [*found, *(x509.DNSName(name) for name in sorted({"localhost", *names}))]


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    durable.put(path, _pem(key), 0o600)
    return key


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} holds a key of another kind")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
