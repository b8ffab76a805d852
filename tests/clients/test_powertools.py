"""Code that was written for Powertools' parameters, on top of the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError, TransformParameterError

from extension_kit.clients.powertools import SecretCacheProvider
from extension_kit.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_a_secret_is_kept_until_it_is_fetched_by_force(cache, contract):
    provider = SecretCacheProvider(cache=cache)

    assert [provider.get("plain") for _ in range(3)] == ["just text \N{SNOWMAN}"] * 3
    assert len(contract.requests) == 1
    assert provider.get("plain", force_fetch=True) == "just text \N{SNOWMAN}"
    assert contract.requests[1:] == ["/secretsmanager/get?secretId=plain&refreshNow=true"]
    assert provider.get("plain", max_age=0) == "just text \N{SNOWMAN}"
    assert len(contract.requests) == 2


def test_max_age_0_keeps_nothing(cache, contract):
    provider = SecretCacheProvider(cache=cache)

    assert [provider.get("plain", max_age=0) for _ in range(3)] == ["just text \N{SNOWMAN}"] * 3
    assert len(contract.requests) == 3


def test_transforms(cache):
    provider = SecretCacheProvider(cache=cache)

    assert provider.get("db/main", transform="json")["port"] == 5432
    assert provider.get("binary") == bytes(range(256))
    with pytest.raises(TransformParameterError):
        provider.get("plain", transform="json")


def test_options_have_the_names_of_boto3_or_ours_and_do_not_leak_into_the_bare_name(cache):
    """Powertools' own cache knows a value by its name only."""
    provider = SecretCacheProvider(cache=cache)

    assert provider.get("db/main", VersionStage="AWSPREVIOUS") == "old"
    assert provider.get("db/main", json_key="user") == "admin"
    assert provider.get("db/main").startswith("{")
    assert provider.get("db/main", version_id="id-of-AWSPREVIOUS") == "old"


def test_parameters_and_paths(cache, contract):
    provider = SecretCacheProvider("parameter", cache)

    assert provider.get("/app/db/password") == "hunter2"
    assert provider.get("/app/db/password", decrypt=False) == "AQICAHciphertext"
    assert provider.get_multiple("/app") == {"limit": "10", "list": "a,b,c"}
    assert provider.get_multiple("/app/", recursive=True) == {
        "limit": "10",
        "list": "a,b,c",
        "db/password": "hunter2",
    }
    before = len(contract.requests)
    assert provider.get_multiple("/app") == {"limit": "10", "list": "a,b,c"}
    assert len(contract.requests) == before
    assert provider.get_multiple("/app", force_fetch=True)["limit"] == "10"
    assert "refreshNow=true" in contract.requests[-1]


def test_several_secrets(cache, contract):
    provider = SecretCacheProvider(cache=cache)

    assert provider.get_multiple(["plain", "empty"]) == {"plain": "just text \N{SNOWMAN}", "empty": ""}
    assert provider.get_multiple(["plain", "empty"], force_fetch=True)["empty"] == ""
    assert len(contract.requests) == 3


def test_errors_are_those_of_powertools(cache):
    with pytest.raises(GetParameterError, match="ResourceNotFoundException"):
        SecretCacheProvider(cache=cache).get("none")
    with pytest.raises(GetParameterError, match="AccessDenied"):
        SecretCacheProvider(cache=cache).get_multiple(["denied/x", "plain"])


def test_a_kind_that_is_none():
    with pytest.raises(ConfigError, match="secret or parameter, not 'dynamodb'"):
        SecretCacheProvider("dynamodb")


def test_without_powertools_the_error_names_what_is_missing():
    """An interpreter that has the standard library and the kit only."""
    code = f"import sys; sys.path[0:0] = [{str(ROOT)!r}]; import extension_kit.clients.powertools"

    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)

    assert "ImportError: extension_kit.clients.powertools needs the package aws-lambda-powertools" in done.stderr
