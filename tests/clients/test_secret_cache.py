"""What callers get: values, errors that say why, and nothing secret anywhere else."""

from __future__ import annotations

import json

import pytest

from extension_kit.clients import secret_cache
from extension_kit.clients.secret_cache import AccessDenied, NotFound, Refused, SecretCache
from extension_kit.errors import ExtensionKitError, LocalProtocolError
from tests.clients.contract_server import SECRETS, arn_of

NOT_READY = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 39\r\n\r\n"
    b"not ready to serve traffic, please wait"
)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"id": "plain"}, "just text \N{SNOWMAN}"),
        ({"id": "empty"}, ""),
        ({"id": "binary"}, bytes(range(256))),
        ({"id": arn_of("plain")}, "just text \N{SNOWMAN}"),
        ({"id": "db/main", "version_stage": "AWSPREVIOUS"}, "old"),
        ({"id": "db/main", "version_id": "id-of-AWSPREVIOUS"}, "old"),
        ({"id": "many-1", "role_arn": "arn:aws:iam::1:role/a b"}, "value 1 as arn:aws:iam::1:role/a b"),
        ({"id": "db/main", "json_key": "user"}, "admin"),
        ({"id": "db/main", "json_key": "password"}, "p\u00e4ss,w\"o'rd\n"),
        ({"id": "db/main", "json_key": "port"}, "5432"),
        ({"id": "db/main", "json_key": "tls"}, "true"),
        ({"id": "db/main", "json_key": "none"}, "null"),
        ({"id": "db/main", "json_key": ""}, "e"),
    ],
)
def test_a_secret(cache, arguments, value):
    assert cache.secret(**arguments) == value


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"name": "/app/limit"}, "10"),
        ({"name": "plain"}, "bare name"),
        ({"name": "/app/limit", "version": 1}, "5"),
        ({"name": "/app/limit", "label": "first"}, "5"),
        ({"name": "/app/limit:1"}, "5"),
        ({"name": "/app/db/password"}, "hunter2"),
        ({"name": "/app/db/password", "decrypt": False}, "AQICAHciphertext"),
        ({"name": "/app/list"}, "a,b,c"),
        ({"name": "arn:aws:ssm:eu-west-1:123456789012:parameter/app/list"}, "a,b,c"),
    ],
)
def test_a_parameter(cache, arguments, value):
    assert cache.parameter(**arguments) == value


def test_several_secrets_come_under_the_ids_that_were_asked_for(cache, contract):
    """45 and three odd ones: three batches, since a batch has twenty at most."""
    many = [f"many-{number}" for number in range(45)]
    odd = [arn_of("plain"), arn_of("empty")[:-7], "binary"]

    found = cache.secrets([*many, *odd, "many-3"])

    assert found == {
        **{name: SECRETS[name]["AWSCURRENT"] for name in many},
        odd[0]: "just text \N{SNOWMAN}", odd[1]: "", "binary": bytes(range(256)),
    }  # fmt: skip
    assert len(contract.requests) == 3


def test_several_parameters_come_under_the_names_that_were_asked_for(cache, contract):
    found = cache.parameters(["/app/limit", "/app/limit:1", "plain", "/app/db/password"])

    assert found == {"/app/limit": "10", "/app/limit:1": "5", "plain": "bare name", "/app/db/password": "hunter2"}
    assert len(contract.requests) == 1


@pytest.mark.parametrize("recursive", [True, False])
def test_parameters_below_a_path(cache, recursive):
    deep = {"/app/db/password": "hunter2"} if recursive else {}

    assert cache.parameters_by_path("/app", recursive) == {"/app/limit": "10", "/app/list": "a,b,c", **deep}


def test_a_configuration_with_flags_and_context(cache):
    assert json.loads(cache.configuration("shop", "prod env", "flags")) == {
        "beta": {"enabled": True}, "dark/mode": {"enabled": False},
    }  # fmt: skip
    some = cache.configuration("shop", "prod env", "flags", ["dark/mode"], context={"user": "a=b", "plan": "x"})
    assert json.loads(some) == {"dark/mode": {"enabled": False}, "_context": ["user=a=b", "plan=x"]}


@pytest.mark.parametrize(
    ("call", "kind", "code", "status"),
    [
        (lambda cache: cache.secret("none"), NotFound, "ResourceNotFoundException", 400),
        (lambda cache: cache.secret("denied/x"), AccessDenied, "AccessDeniedException", 400),
        (lambda cache: cache.secret("plain", version_stage="X"), NotFound, "ResourceNotFoundException", 400),
        (lambda cache: cache.secrets(["plain", "none"]), NotFound, "ResourceNotFoundException", 400),
        (lambda cache: cache.secrets(["denied/x", "none"]), AccessDenied, "AccessDeniedException", 400),
        (lambda cache: cache.parameter("none"), NotFound, "ParameterNotFound", 400),
        (lambda cache: cache.parameter("/app/limit", version=9), NotFound, "ParameterVersionNotFound", 400),
        (lambda cache: cache.parameters(["none", "plain"]), NotFound, "ParameterNotFound", 400),
        (lambda cache: cache.configuration("shop", "x", "y"), NotFound, "", 404),
        (lambda cache: cache.secret("db/main", json_key="nothing"), NotFound, "", 200),
        (lambda cache: cache.secret("plain", json_key="x"), NotFound, "", 200),
        (lambda cache: cache.secret("binary", json_key="x"), NotFound, "", 200),
    ],
)
def test_an_error_says_what_and_why(cache, call, kind, code, status):
    with pytest.raises(kind) as caught:
        call(cache)

    assert isinstance(caught.value, ExtensionKitError)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert code in str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda cache: cache.secret(""),
        lambda cache: cache.secret("\udc80"),
        lambda cache: cache.secret("a", version_id=""),
        lambda cache: cache.secrets("plain"),
        lambda cache: cache.parameter("a", version=1, label="x"),
        lambda cache: cache.configuration("a", "b", "c", context={"x": "1\r\nX-Forwarded-For: y"}),
    ],
)
def test_what_cannot_be_meant_is_not_sent(cache, contract, call):
    with pytest.raises(LocalProtocolError):
        call(cache)

    assert contract.requests == []


def test_refresh_asks_the_server_to_ask_aws(cache, contract):
    cache.secret("plain", refresh=True)
    cache.secrets(["plain", "empty"], refresh=True)
    cache.parameter("plain", refresh=True)
    cache.parameters_by_path("/app", refresh=True)

    assert contract.reads == 5


def test_aws_own_layer_serves_all_but_paths(cache, contract):
    """It has no batches (they become single requests, remembered), and no error codes."""
    contract.aws_only = True

    assert cache.secret("db/main", json_key="user") == "admin"
    assert cache.secrets(["plain", "empty"]) == {"plain": "just text \N{SNOWMAN}", "empty": ""}
    assert cache.parameters(["plain", "/app/limit"]) == {"plain": "bare name", "/app/limit": "10"}
    assert len(contract.requests) == 1 + 3 + 2
    with pytest.raises(Refused, match="an unexpected error occurred while executing request"):
        cache.secret("none")
    with pytest.raises(NotFound):
        cache.parameters_by_path("/app")


def test_not_ready_is_waited_for(cache, contract):
    contract.scripted += [NOT_READY] * 3

    assert cache.secret("plain") == "just text \N{SNOWMAN}"
    assert len(contract.requests) == 4


def test_not_ready_for_too_long_is_said(contract):
    cache = SecretCache(port=contract.port, token="x", patience=0.1)
    contract.scripted += [NOT_READY] * 50

    with pytest.raises(secret_cache.NotReady, match="from the first invocation on"):
        cache.secret("plain")
    cache.close()
