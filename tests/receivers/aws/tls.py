"""The fake behind TLS, with a certificate authority that is made for the occasion."""

from __future__ import annotations

import datetime
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.receivers.aws.fake import AwsFake

if TYPE_CHECKING:
    from pathlib import Path

_DAY = datetime.timedelta(days=1)
_PEM = serialization.Encoding.PEM


class Authority:
    """Signs certificates of servers. ``bundle``: the file that a client is given to trust it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key, self._certificate = _certificate("test authority", ["authority"], authority=True)
        self.bundle = folder / "ca.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(_PEM))

    def signed(self, subject: str, *names: str) -> Path:
        """A file with a key and its certificate: what a server shows, or a client where that is asked for."""
        key, certificate = _certificate(subject, names, issuer=(self._key, self._certificate))
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self._folder / f"{subject}.pem"
        path.write_bytes(private + certificate.public_bytes(_PEM))
        return path

    def behind_tls(self, *names: str) -> tuple[AwsFake, str]:
        """A fake whose certificate has these `names`, not serving yet; and its URL."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.signed("server", *names))
        fake = AwsFake()
        fake._server.socket = context.wrap_socket(fake._server.socket, server_side=True)
        fake._server.handle_error = lambda *_args: None  # clients that refuse us
        return fake, fake.url.replace("http://127.0.0.1", "https://localhost")


def _certificate(subject, names, issuer=None, authority=False):
    """Key and certificate, signed by `issuer` (such a pair) or itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer[0] if issuer else key
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[1].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        # From here on: what RFC 5280 asks for, and Python 3.13 with it.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_usage(authority), critical=True)
    )
    return key, builder.sign(signer, hashes.SHA256())


def _usage(authority):
    names = [
        "digital_signature",
        "key_cert_sign",
        "crl_sign",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
    ]
    names += ["key_agreement", "encipher_only", "decipher_only"]
    wanted = ("key_cert_sign", "crl_sign") if authority else ("digital_signature",)
    return x509.KeyUsage(**{name: name in wanted for name in names})
