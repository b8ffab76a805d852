"""Which certificates are trusted where nobody names a file: the system's, wherever it keeps them."""

from __future__ import annotations

import ssl

import pytest

from extension_kit.aws import AwsError, transport
from tests.receivers.aws.tls import Authority


@pytest.fixture
def bundle(tmp_path):
    return str(Authority(tmp_path).bundle)


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """OpenSSL's own places, empty: a file that is not there, a folder without hashed names, as Amazon Linux has it."""
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "ca-bundle.crt").write_text("not looked at\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    monkeypatch.setattr(transport.sys, "prefix", str(tmp_path / "python"))
    return tmp_path


def trusted(*bundles):
    """What was taken, and how many certificates that gives."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return transport.trust_system(context, bundles), context.cert_store_stats()["x509"]


def test_a_file_that_openssl_does_not_look_for(bundle):
    """Amazon Linux's certs/ca-bundle.crt lies in OpenSSL's folder, which it does not help."""
    assert trusted("/no/such/file", bundle) == (bundle, 1)


def test_openssls_own_file_comes_first(places, bundle):
    (places / "cert.pem").write_bytes((places / "ca.pem").read_bytes())

    assert trusted(bundle) == (str(places / "cert.pem"), 1)


def test_a_folder_of_hashed_names_is_enough(places, bundle):
    """Debian's: nothing is read before it is needed."""
    (places / "certs" / "4042bcee.0").write_bytes((places / "ca.pem").read_bytes())

    assert trusted(bundle) == (str(places / "certs"), 0)


@pytest.mark.parametrize("content", [b"", b"not a certificate\n"])
def test_a_file_without_certificates_is_passed_over(places, bundle, content):
    (places / "empty").write_bytes(content)

    assert trusted(str(places / "empty"), bundle) == (bundle, 1)


def test_what_a_layers_own_python_brings_comes_last(places, bundle):
    (places / "python").mkdir()
    brought = places / "python" / "cacert.pem"
    brought.write_bytes((places / "ca.pem").read_bytes())

    assert trusted("/no/such/file") == (str(brought), 1)
    assert trusted(bundle) == (bundle, 1)


def test_none_at_all_is_said(monkeypatch):
    """Else each connection would fail with words that nobody connects with that."""
    monkeypatch.setattr(transport.trust_system, "__defaults__", ((),))

    with pytest.raises(
        AwsError, match="no CA certificates are on this system: name a file of them in EXTENSION_KIT_CA_BUNDLE"
    ):
        transport._context("")
