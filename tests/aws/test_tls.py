"""TLS: the server's certificate and name are checked, against the authority that was chosen."""

from __future__ import annotations

import pytest

from extension_kit.aws import Aws, AwsError
from tests.receivers.aws import AwsFake
from tests.receivers.aws.tls import Authority


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def bundle(authority):
    return str(authority.bundle)


@pytest.fixture
def serve(authority):
    """Starts the fake behind TLS for the host names given; returns it and its URL."""
    started = []

    def start(*names):
        fake, url = authority.behind_tls(*names)
        fake.put_secret("db", "one")
        started.append(fake.__enter__())
        return fake, url

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

    assert call(fake, url, **{variable: bundle}) == "one"


def test_ours_comes_first(serve, bundle):
    fake, url = serve("localhost")

    assert call(fake, url, EXTENSION_KIT_CA_BUNDLE=bundle, AWS_CA_BUNDLE="/no/such/file") == "one"


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
    given = {"AWS_CA_BUNDLE": bundle} if more.pop("bundle", False) else more

    with pytest.raises(AwsError) as caught:
        call(fake, url, **given)

    assert caught.value.kind == "network"
    assert why in caught.value.message
    assert fake.calls == []


def test_plain_http_where_tls_is_expected(bundle):
    with AwsFake() as fake:
        with pytest.raises(AwsError) as caught:
            call(fake, fake.url.replace("http://127.0.0.1", "https://localhost"), AWS_CA_BUNDLE=bundle)
        assert caught.value.kind in ("network", "timeout")
        assert fake.calls == []
