"""The callers' side against the real extension, as functions use it."""

from __future__ import annotations

import pytest

from extension_kit.clients.powertools import SecretCacheProvider
from extension_kit.clients.secret_cache import AccessDenied, NotFound, SecretCache, SecretCacheError
from tests.extensions.secret_cache.conftest import TOKEN, aws, clock, serve  # noqa: F401 - fixtures


@pytest.fixture
def running(aws, serve):  # noqa: F811
    aws.put_secret("db", '{"user":"me","password":"p\\u00e4ss"}')
    aws.put_secret("raw", b"\x00\xff")
    for number in range(45):
        aws.put_secret(f"many-{number}", f"value {number}")
    for version in ("5", "10"):
        aws.put_parameter("/app/limit", version)
    aws.put_parameter("/app/db/password", "hidden", "SecureString")
    aws.put_configuration("shop", "prod env", "flags", b'{"beta":{"enabled":true}}')
    return serve(SECRET_CACHE_REFRESH_MIN_S=0)


@pytest.fixture
def caller(running):
    caller = SecretCache(port=running.port, appconfig_port=running.appconfig_port, token=TOKEN)
    yield caller
    caller.close()


def test_secrets(aws, caller):  # noqa: F811
    assert caller.secret("db", json_key="password") == "päss"
    assert caller.secret("raw") == b"\x00\xff"
    names = [f"many-{number}" for number in range(45)]
    assert caller.secrets(names) == {name: f"value {name[5:]}" for name in names}
    assert aws.count("BatchGetSecretValue") == 3
    aws.rotate("db", "new")
    assert caller.secret("db", refresh=True) == "new"
    with pytest.raises(NotFound) as caught:
        caller.secret("none")
    assert caught.value.code == "ResourceNotFoundException"
    with pytest.raises(NotFound):
        caller.secrets(["db", "none"])


def test_parameters(caller):
    assert caller.parameter("/app/limit") == "10"
    assert caller.parameter("/app/limit", version=1) == "5"
    assert caller.parameters(["/app/limit", "/app/limit:1", "/app/db/password"]) == {
        "/app/limit": "10", "/app/limit:1": "5", "/app/db/password": "hidden",
    }  # fmt: skip
    assert caller.parameters_by_path("/app") == {"/app/limit": "10", "/app/db/password": "hidden"}
    with pytest.raises(NotFound):
        caller.parameter("/none")


def test_configurations(caller):
    assert caller.configuration("shop", "prod env", "flags", ["beta"]) == b'{"enabled":true}'
    with pytest.raises(SecretCacheError):
        caller.configuration("shop", "prod env", "none")


def test_a_wrong_token(running):
    with pytest.raises(AccessDenied):
        SecretCache(port=running.port, token="wrong").secret("db")


def test_powertools(caller):
    provider = SecretCacheProvider(kind="secret", cache=caller)

    assert provider.get("db", transform="json") == {"user": "me", "password": "päss"}
    assert SecretCacheProvider(kind="parameter", cache=caller).get_multiple("/app", recursive=True) == {
        "limit": "10", "db/password": "hidden",
    }  # fmt: skip
