"""The AppConfig agent's interface on its port: configurations, flags, versions, tokens that serve once."""

from __future__ import annotations

import json
import shutil

import pytest
from aws_lambda_powertools.utilities.parameters import AppConfigExtensionProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

from tests.extensions.secret_cache.test_caching import until
from tests.receivers.aws import Fault

PATH = "/applications/app/environments/env/configurations/profile"
FLAGS = {
    "plain": {"enabled": True, "limit": 5},
    "off": {"enabled": False},
    "many": {
        "_variants": [
            {
                "name": "qa",
                "rule": '(ends_with $email "@qa.example")',
                "enabled": True,
                "attributeValues": {"dark": True},
            },
            {"name": "default", "enabled": False, "attributeValues": {"dark": False}},
        ]
    },
}


@pytest.fixture
def flags(aws):
    aws.put_configuration("app", "env", "profile", json.dumps(FLAGS).encode())
    return aws


def test_a_configuration_byte_for_byte(aws, cache):
    aws.put_configuration("app", "env", "profile", b"\x00 raw \xff", "text/x-thing", "v7")

    first, second = cache.configuration(), cache.configuration()

    for answer, state in ((first, "miss"), (second, "hit")):
        assert (answer.status, answer.body, answer.cache) == (200, b"\x00 raw \xff", state)
        assert answer.headers["content-type"] == "text/x-thing"
        assert (answer.headers["configuration-version"], answer.headers["configurationversion"]) == ("v7", "v7")
    assert aws.count("GetLatestConfiguration") == 1


def test_polls_and_tokens(aws, cache, clock):
    """Each token serves once, and an empty answer says that nothing has changed."""
    aws.put_configuration("app", "env", "profile", b"one", label="1")
    assert cache.configuration().body == b"one"
    for _ in range(3):
        clock.ahead_ms += 46_000
        assert (cache.configuration().body, cache.configuration().cache) == (b"one", "hit")
    aws.put_configuration("app", "env", "profile", b"two", label="2")
    clock.ahead_ms += 46_000

    assert (cache.configuration().body, cache.configuration().headers["configuration-version"]) == (b"two", "2")
    assert (aws.count("StartConfigurationSession"), aws.count("GetLatestConfiguration")) == (1, 5)
    assert aws.refusals == []


def test_a_token_whose_answer_was_lost_is_replaced(aws, cache, clock):
    aws.put_configuration("app", "env", "profile", b"one")
    cache.configuration()
    aws.tokens.clear()  # as after 24 hours
    clock.ahead_ms += 46_000

    assert cache.configuration().body == b"one"
    assert (aws.count("StartConfigurationSession"), aws.refusals) == (2, ["BadRequestException"])


@pytest.mark.parametrize("trouble", ["reset", "503", "throttle"])
def test_the_last_data_are_used_while_appconfig_is_in_trouble(aws, cache, clock, trouble):
    aws.put_configuration("app", "env", "profile", b"one")
    cache.configuration()
    aws.outage(trouble)
    clock.ahead_ms += 46_000
    assert (cache.configuration().body, cache.configuration().cache) == (b"one", "stale")
    aws.outage("")
    aws.put_configuration("app", "env", "profile", b"two", label="2")
    clock.ahead_ms += 60_000

    assert cache.configuration().body == b"two"


def test_appconfig_says_how_often_it_may_be_asked(aws, serve, clock):
    aws.put_configuration("app", "env", "profile", b"one")
    aws.poll_seconds = 60
    cache = serve(AWS_APPCONFIG_EXTENSION_POLL_INTERVAL_SECONDS="5s", SECRET_CACHE_REFRESH_AHEAD=0)
    cache.configuration()
    started = next(call for call in aws.calls if call.operation == "StartConfigurationSession")
    assert started.body["RequiredMinimumPollIntervalInSeconds"] == 15, "the least that the service takes"
    clock.ahead_ms += 59_000
    assert cache.configuration().cache == "hit"
    clock.ahead_ms += 2_000
    cache.configuration()

    assert aws.count("GetLatestConfiguration") == 2


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (None, 404, "ResourceNotFoundException"), (Fault("throttle", 9), 502, "ThrottlingException"),
        (Fault("status", 9, status=500), 502, "InternalServiceError"), (Fault("reset", 9), 502, "NetworkError"),
        (Fault("code", 9, code="AccessDeniedException", status=403), 400, "AccessDeniedException"),
        (Fault("code", 9, code="BadRequestException", status=400), 400, "BadRequestException"),
    ],
)  # fmt: skip
def test_statuses_of_the_agent(aws, cache, fault, status, code):
    if fault is not None:
        aws.put_configuration("app", "env", "profile", b"one")
        aws.script(fault)

    answer = cache.configuration()

    assert (answer.status, answer.headers["x-amzn-errortype"]) == (status, code)
    assert answer.body.startswith(code.encode())


def test_a_slow_appconfig(aws, serve):
    aws.script(Fault("hang", 9, seconds=20))
    cache = serve(AWS_APPCONFIG_EXTENSION_POLL_TIMEOUT_MILLIS=200)

    assert cache.configuration().status == 504


@pytest.mark.parametrize(
    ("query", "headers", "status", "body"),
    [
        ("?flag=plain", {}, 200, {"enabled": True, "limit": 5}),
        ("?flag=off&flag=plain", {}, 200, {"off": {"enabled": False}, "plain": {"enabled": True, "limit": 5}}),
        ("?flag=many", {}, 200, {"_variant": "default", "enabled": False}),
        ("?flag=many", {"Context": "email=me@qa.example"}, 200, {"dark": True, "_variant": "qa", "enabled": True}),
        ("?flag=none", {}, 404, b"this configuration has no such flag"),
        ("?flag=many", {"Context": "nonsense"}, 400, b"a header Context is not key=value"),
    ],
)
def test_flags(flags, cache, query, headers, status, body):
    answer = cache.configuration(PATH + query, **headers)

    assert (answer.status, answer.json if status == 200 else answer.body) == (status, body)


def test_all_flags_have_their_variants_chosen(flags, cache):
    answer = cache.configuration(Context="email=a@b").json

    assert answer == {
        "plain": FLAGS["plain"], "off": FLAGS["off"], "many": {"_variant": "default", "enabled": False},
    }  # fmt: skip


def test_flags_with_their_rules(aws, cache):
    """AppConfig sends rules in Ion, and only to whom asks for it; the function is answered JSON."""
    document = """f::[[(eq $tier "gold"), "{\\"enabled\\":true}"], "{\\"enabled\\":false}"]"""
    aws.put_configuration(
        "app", "env", "profile", document.encode(), "application/ion; type=AWS.AppConfig.FeatureFlags"
    )

    answer = cache.configuration(PATH + "?flag=f", Context="tier=gold")
    assert (answer.body, answer.headers["content-type"]) == (b'{"enabled":true}', "application/json")
    assert cache.configuration().json == {"f": {"enabled": False}}


def test_paths(aws, cache):
    aws.put_configuration("my app", "env", "a/b", b"one")

    assert cache.configuration("/ping").status == 200
    assert cache.configuration("/applications/my%20app/environments/env/configurations/a%2Fb").body == b"one"
    for path in ("/", "/applications/a", PATH + "/x", PATH.replace("app/", "/", 1), "/secretsmanager/get"):
        assert cache.configuration(path).status == 404, path
    assert cache.configuration(PATH, method="POST").status == 405
    for name, value in (("X-Forwarded-For", "1.2.3.4"), ("Origin", "http://a"), ("Host", "evil.example")):
        assert cache.configuration(PATH, **{name.replace("-", "_"): value}).status == 400


def test_prefetch_by_name_and_by_path(aws, serve):
    for profile in ("one", "two"):
        aws.put_configuration("app", "env", profile, profile.encode())
    listed = "app:env:one,/applications/app/environments/env/configurations/two,nonsense"
    cache = serve(AWS_APPCONFIG_EXTENSION_PREFETCH_LIST=listed)
    until(lambda: aws.count("GetLatestConfiguration") == 2)
    until(lambda: len(cache.service.cache.store) == 2)

    for profile in ("one", "two"):
        answer = cache.configuration(f"/applications/app/environments/env/configurations/{profile}")
        assert (answer.body, answer.cache) == (profile.encode(), "hit")
    assert any("nonsense is not allowed" in text for _, text in cache.said)


def test_a_role_of_the_agent(aws, serve):
    role = "arn:aws:iam::444455556666:role/reader"
    aws.allow_role(role, external_id="ext")
    aws.put_configuration("app", "env", "profile", b"one")
    cache = serve(
        AWS_APPCONFIG_EXTENSION_ROLE_ARN=role, AWS_APPCONFIG_EXTENSION_ROLE_EXTERNAL_ID="ext",
        AWS_APPCONFIG_EXTENSION_SERVICE_REGION="eu-west-1",
    )  # fmt: skip

    assert cache.configuration().body == b"one"
    got = next(call for call in aws.calls if call.operation == "GetLatestConfiguration")
    assert (got.access_key[:4], got.region) == ("ASIA", "eu-west-1")


def test_powertools_own_provider(flags, cache, monkeypatch):
    """A client that we did not write."""
    monkeypatch.setenv("AWS_APPCONFIG_EXTENSION_HTTP_PORT", str(cache.appconfig_port))
    provider = AppConfigExtensionProvider(environment="env", application="app")

    assert json.loads(provider.get("profile")) == {
        **FLAGS,
        "many": {"_variant": "default", "enabled": False},
    }
    assert provider.get("profile", transform="json", force_fetch=True, flag="plain") == FLAGS["plain"]
    with pytest.raises(GetParameterError, match="returned HTTP 404"):
        provider.get("none", force_fetch=True)


ROLE = "arn:aws:iam::444455556666:role/reader"
MANIFEST = {
    "app:env:profile": {"credentials": {"roleArn": ROLE, "roleExternalId": "ext", "credentialsDuration": "2h"}},
    "nonsense": {}, "app:env:other": "x",
}  # fmt: skip


def role_of(aws, profile):
    """Whose credentials have read a configuration."""
    started = {call.access_key[:4] for call in aws.calls if f"app:env:{profile}" in call.ids}
    return "role" if started == {"ASIA"} else "function" if started == {"AKIA"} else started


@pytest.mark.parametrize("wait", ["true", "false"])
def test_a_manifest_in_appconfig(aws, serve, wait):
    """Roles for single configurations; those that it names are fetched ahead; what is asked early waits for it."""
    aws.allow_role(ROLE, external_id="ext")
    aws.put_configuration("app", "env", "manifest", json.dumps(MANIFEST).encode())
    for profile in ("profile", "plain"):
        aws.put_configuration("app", "env", profile, profile.encode())
    aws.latency = 0.2
    cache = serve(AWS_APPCONFIG_EXTENSION_MANIFEST="app:env:manifest", AWS_APPCONFIG_EXTENSION_WAIT_ON_MANIFEST=wait)

    assert cache.configuration().body == b"profile"
    assert cache.configuration("/applications/app/environments/env/configurations/plain").body == b"plain"
    assert role_of(aws, "plain") == "function"
    if wait == "true":
        assert role_of(aws, "profile") == "role"
        assumed = next(call.body for call in aws.calls if call.operation == "AssumeRole")
        assert (assumed["ExternalId"], assumed["DurationSeconds"]) == ("ext", "7200")
        assert sum("left out" in text for _, text in cache.said) == 2


def test_a_manifest_in_a_file_and_configurations_as_files(aws, serve, tmp_path):
    folder = f"/tmp/extension-kit-test-{tmp_path.name}"  # noqa: S108 - only there may be written
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"app:env:profile": {"writeTo": {"path": folder + "/"}}}))
    aws.put_configuration("app", "env", "profile", b"one")
    cache = serve(AWS_APPCONFIG_EXTENSION_MANIFEST=f"file:{manifest}")
    try:
        until(lambda: aws.count("GetLatestConfiguration") == 1)
        cache.calm()
        assert cache.configuration().cache == "hit"
        with open(f"{folder}/app:env:profile", "rb") as file:
            assert file.read() == b"one"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("where", ["file:/no/such/file", "nonsense", "app:env:none"])
def test_a_manifest_that_cannot_be_had_stops_nothing(aws, serve, where):
    aws.put_configuration("app", "env", "profile", b"one")
    cache = serve(AWS_APPCONFIG_EXTENSION_MANIFEST=where)

    assert cache.configuration().body == b"one"
    assert [level for level, _ in cache.said] == ["error"]
