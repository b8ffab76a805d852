"""TLS: the server's certificate and name are checked, against the authority that was chosen."""

from __future__ import annotations

import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from extension_kit.aws import Aws, AwsError
from tests.receivers.aws import AwsFake

DAY = datetime.timedelta(days=1)


def certificate(subject, names, issuer=None, authority=False):
    """Key and certificate, signed by `issuer` (such a pair) or itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer[1].subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
    )
    return key, builder.sign(issuer[0] if issuer else key, hashes.SHA256())


def pem(path, *parts):
    path.write_bytes(b"".join(parts))
    return str(path)


@pytest.fixture
def bundle(tmp_path):
    """A certificate authority, as a pair and as a file."""
    pair = certificate("test authority", ["authority"], authority=True)
    return pair, pem(tmp_path / "ca.pem", pair[1].public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def serve(tmp_path, bundle):
    """Starts the fake behind TLS for the host names given; returns its URL."""
    started = []

    def start(*names):
        key, made = certificate("server", names, issuer=bundle[0])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = pem(tmp_path / "server.pem", private, made.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        fake = AwsFake()
        fake._server.socket = context.wrap_socket(fake._server.socket, server_side=True)
        fake._server.handle_error = lambda *_args: None  # clients that refuse us
        fake.put_secret("db", "one")
        started.append(fake.__enter__())
        return fake, fake.url.replace("http://127.0.0.1", "https://localhost")

    yield start
    for fake in started:
        fake.__exit__()


def call(fake, url, **more):
    client = Aws({**fake.environ(), "EXTENSION_KIT_AWS_ENDPOINT_URL": url, **more}, retries=1)
    try:
        return client.call("secretsmanager", "GetSecretValue", {"SecretId": "db"})["SecretString"]
    finally:
        client.forget_connections()


@pytest.mark.parametrize("variable", ["EXTENSION_KIT_CA_BUNDLE", "AWS_CA_BUNDLE"])
def test_a_private_authority(serve, bundle, variable):
    fake, url = serve("localhost")

    assert call(fake, url, **{variable: bundle[1]}) == "one"


def test_ours_comes_first(serve, bundle):
    fake, url = serve("localhost")

    assert call(fake, url, EXTENSION_KIT_CA_BUNDLE=bundle[1], AWS_CA_BUNDLE="/no/such/file") == "one"


@pytest.mark.parametrize(
    ("names", "more", "why"),
    [
        (["localhost"], {}, "certificate verify failed"),
        (["other.example"], {"bundle": True}, "certificate verify failed"),
        (["localhost"], {"AWS_CA_BUNDLE": "/no/such/file"}, "CA bundle /no/such/file: No such file"),
    ],
    ids=["unknown authority", "wrong host", "no bundle"],
)
def test_who_cannot_be_trusted_is_not_asked(serve, bundle, names, more, why):
    fake, url = serve(*names)
    given = {"AWS_CA_BUNDLE": bundle[1]} if more.pop("bundle", False) else more

    with pytest.raises(AwsError) as caught:
        call(fake, url, **given)

    assert caught.value.kind == "network"
    assert why in caught.value.message
    assert fake.calls == []


def test_plain_http_where_tls_is_expected(bundle):
    with AwsFake() as fake:
        with pytest.raises(AwsError) as caught:
            call(fake, fake.url.replace("http://127.0.0.1", "https://localhost"), AWS_CA_BUNDLE=bundle[1])
        assert caught.value.kind in ("network", "timeout")
        assert fake.calls == []
