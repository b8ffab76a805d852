"""The wire contract, row by row: AWS's Parameters and Secrets extension, the Workload Credentials Provider, and our own."""

from __future__ import annotations

import json

import pytest

from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings

UNEXPECTED = b"an unexpected error occurred while executing request"
BAD_TOKEN = b"bad session token or header key"


def test_a_secret_as_go_writes_it(aws, cache):
    """Fields, nulls, ResultMetadata last, RFC 3339 (captures of 2022 in fedonev/lambda-params-secrets)."""
    arn, version = aws.put_secret("db", 'a<b>&"\u2028é')
    aws.account().secrets["db"].versions[version]["created"] = 1668586960.499

    answer = cache.secret("db")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert list(answer.json) == [
        "ARN", "CreatedDate", "Name", "SecretBinary", "SecretString", "VersionId", "VersionStages", "ResultMetadata",
    ]  # fmt: skip
    assert answer.json == {
        "ARN": arn, "CreatedDate": "2022-11-16T08:22:40.499Z", "Name": "db", "SecretBinary": None,
        "SecretString": 'a<b>&"\u2028é', "VersionId": version, "VersionStages": ["AWSCURRENT"], "ResultMetadata": {},
    }  # fmt: skip
    assert rb'"a\u003cb\u003e\u0026\"\u2028' in answer.body


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (1668586960.0, "2022-11-16T08:22:40Z"),
        (1668586960.5, "2022-11-16T08:22:40.5Z"),
        (1523477145.713, "2018-04-11T20:05:45.713Z"),
    ],
)
def test_dates_have_no_zeros_at_their_end(aws, cache, seconds, written):
    _, version = aws.put_secret("db", "x")
    aws.account().secrets["db"].versions[version]["created"] = seconds

    assert cache.secret("db").json["CreatedDate"] == written


def test_a_binary_secret_is_base64(aws, cache):
    aws.put_secret("raw", b"\x00\xff\x10")

    assert (cache.secret("raw").json["SecretBinary"], cache.secret("raw").json["SecretString"]) == ("AP8Q", None)


def test_versions_and_stages(aws, cache):
    _, first = aws.put_secret("db", "one")
    second = aws.rotate("db", "two")

    assert cache.secret("db").value == "two"
    assert cache.secret("db", "&versionStage=AWSCURRENT").value == "two"
    assert cache.secret("db", "&versionStage=AWSPREVIOUS").value == "one"
    assert cache.secret("db", f"&versionId={first}").value == "one"
    assert cache.secret("db", f"&versionId={second}&versionStage=AWSCURRENT").value == "two"
    refused = cache.secret("db", f"&versionId={first}&versionStage=AWSCURRENT")
    assert (refused.status, refused.body, refused.headers["x-amzn-errortype"]) == (
        400,
        UNEXPECTED,
        "ResourceNotFoundException",
    )


@pytest.mark.parametrize("path", ["/systemsmanager/parameters/get", "/systemsmanager/parameters/get/"])
def test_a_parameter_with_and_without_the_trailing_slash(aws, cache, path):
    aws.put_parameter("/app/limit", "5")

    answer = cache.get(f"{path}?name=%2Fapp%2Flimit")

    assert list(answer.json) == ["Parameter", "ResultMetadata"]
    assert answer.json["ResultMetadata"] == {}
    found = answer.json["Parameter"]
    assert list(found) == [
        "ARN", "DataType", "LastModifiedDate", "Name", "Selector", "SourceResult", "Type", "Value", "Version",
    ]  # fmt: skip
    assert found["LastModifiedDate"].endswith("Z")
    assert (found["Name"], found["Selector"], found["SourceResult"], found["Type"], found["Value"], found["Version"]) == (
        "/app/limit", None, None, "String", "5", 1,
    )  # fmt: skip
    assert cache.get("/secretsmanager/get/?secretId=none").status == 400


@pytest.mark.parametrize(
    ("query", "value", "selector"),
    [
        ("&version=1", "one", ":1"), ("&label=Dev", "two", ":Dev"), ("&version=1&label=Dev", "one", ":1"),
        ("&label=Dev&version=1", "two", ":Dev"), ("", "three", None),
    ],
)  # fmt: skip
def test_of_version_and_label_the_first_counts(aws, cache, query, value, selector):
    for text, labels in (("one", ()), ("two", ("Dev",)), ("three", ())):
        aws.put_parameter("/p", text, labels=labels)

    found = cache.parameter("/p", query).json["Parameter"]

    assert (found["Value"], found["Selector"]) == (value, selector)


@pytest.mark.parametrize("query", ["&version=0", "&version=99", "&label=none"])
def test_selectors_that_are_not_there(aws, cache, query):
    aws.put_parameter("/p", "one")

    assert (cache.parameter("/p", query).status, cache.parameter("/p", query).body) == (400, UNEXPECTED)


def test_decryption_is_asked_for(aws, cache):
    aws.put_parameter("/s", "hidden", "SecureString")

    assert cache.parameter("/s").value != "hidden"
    assert cache.parameter("/s", "&withDecryption=false").value != "hidden"
    assert cache.parameter("/s", "&withDecryption=true").value == "hidden"
    assert cache.parameter("/s", "&withDecryption=TRUE").value == "hidden"


def test_references_arns_and_lists(aws, cache):
    arn, _ = aws.put_secret("db", "one")
    aws.put_secret("raw", b"\x00")
    aws.put_parameter("/l", "a,b", "StringList")

    reference = cache.parameter("/aws/reference/secretsmanager/db", "&withDecryption=true").json["Parameter"]
    assert (reference["ARN"], reference["DataType"], reference["Version"], reference["Value"]) == (arn, None, 0, "one")
    assert json.loads(reference["SourceResult"]) == {}
    binary = cache.parameter("/aws/reference/secretsmanager/raw", "&withDecryption=true").json["Parameter"]
    assert binary["Value"] is None
    assert cache.parameter("arn:aws:ssm:us-east-1:111122223333:parameter/l").value == "a,b"


def test_who_does_not_know_the_token(aws, cache):
    """401 comes before method and path: a signed POST of an SDK got it too (awslabs/aws-sdk-rust#905)."""
    aws.put_secret("db", "one")
    for answer in (
        cache.secret("db", token="wrong"), cache.secret("db", token=None), cache.secret("db", token=""),
        cache.get("/nowhere", token="wrong"), cache.get("/secretsmanager/get", token="x", method="DELETE"),
    ):  # fmt: skip
        assert (answer.status, answer.body) == (401, BAD_TOKEN)
        assert answer.headers["content-type"] == "text/plain"
        assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"
    assert aws.calls == []


@pytest.mark.parametrize("name", ["X-Aws-Parameters-Secrets-Token", "x-aws-parameters-secrets-token", "X-Vault-Token"])
def test_names_of_the_tokens_header(aws, cache, name):
    aws.put_secret("db", "one")

    assert cache.secret("db", token=None, **{name: "function-session-token"}).value == "one"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("ResourceNotFoundException", None),
        ("AccessDeniedException", 400),
        ("DecryptionFailure", 400),
        ("ValidationException", 400),
    ],
)
def test_whatever_fails_has_one_text_and_its_true_code(aws, cache, fault, code):
    from tests.receivers.aws import Fault

    if code:
        aws.put_secret("db", "one")
        aws.script(Fault("code", 5, code=fault, status=code))

    answer = cache.secret("db")

    assert (answer.status, answer.body) == (400, UNEXPECTED)
    assert answer.headers["x-amzn-errortype"] == fault
    assert [level for level, text in cache.said if fault in text] == ["error"]


def test_additions_of_the_workload_credentials_provider(aws, serve):
    arn, version = aws.put_secret("db/main +x", "one")
    cache = serve(SECRET_CACHE_REFRESH_MIN_S=0)

    assert (cache.get("/ping", token=None).status, cache.get("/ping", token=None).body) == (200, b"healthy")
    assert cache.get("/v1/db%2Fmain%20%2Bx").json["ARN"] == arn
    assert cache.get("/v1/db/main%20+x").json["VersionId"] == version
    assert aws.count("GetSecretValue") == 1
    for written in ("true", "1", "TRUE"):
        cache.get(f"/v1/db/main%20+x?refreshNow={written}")
    assert aws.count("GetSecretValue") == 4
    assert cache.get("/v1/db/main%20+x?refreshNow=0").cache == "hit"
    assert (cache.get("/v1/x?refreshNow=maybe").status, cache.get("/v1/x?refreshNow=maybe").body) == (
        400, b"invalid refreshNow value",
    )  # fmt: skip
    assert (cache.get("/other").status, cache.get("/other").body) == (404, b"Not found")
    posted = cache.get("/secretsmanager/get?secretId=x", method="PUT")
    assert (posted.status, posted.body, posted.headers["allow"]) == (405, b"Not allowed", "GET")
    missing = cache.get("/secretsmanager/get")
    assert (missing.status, missing.body) == (400, b"missing parameter secretId")


def test_a_role(aws, serve):
    role = "arn:aws:iam::444455556666:role/reader"
    aws.allow_role(role, external_id="ext", tags={"team": "a"}, account="444455556666")
    aws.put_secret("db", "ours")
    aws.put_secret("db", "theirs", account="444455556666")
    cache = serve(
        SECRET_CACHE_ROLE_EXTERNAL_ID="ext", SECRET_CACHE_ROLE_TAGS="team=a", SECRET_CACHE_ROLE_SESSION_NAME="me"
    )

    assert cache.secret("db", f"&roleArn={role}").value == "theirs"
    assert cache.secret("db").value == "ours"
    assert cache.secret("db", f"&roleArn={role}").cache == "hit"
    sent = next(call.body for call in aws.calls if call.operation == "AssumeRole")
    assert sent["RoleSessionName"] == "me"
    assert cache.secret("db", "&roleArn=nonsense").body == b"roleArn is no ARN of a role"
    assert cache.secret("db", f"&roleArn={role}2").headers["x-amzn-errortype"] == "AccessDenied"


def test_headers_of_an_answer(aws, cache, clock):
    _, version = aws.put_secret("db", "one")
    first, second = cache.secret("db"), cache.secret("db")
    clock.ahead_ms += 7_500
    third = cache.secret("db")

    assert [one.cache for one in (first, second, third)] == ["miss", "hit", "hit"]
    assert [one.headers["age"] for one in (first, second, third)] == ["0", "0", "7"]
    assert third.headers["etag"] == f'"{version}"'
    unchanged = cache.secret("db", If_None_Match=f'"other", "{version}"')
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert cache.secret("db", If_None_Match='"other"').status == 200


@pytest.mark.parametrize(
    ("query", "status", "content_type", "body"),
    [
        ("&jsonKey=user", 200, "text/plain; charset=utf-8", b"me"),
        ("&jsonKey=port", 200, "application/json", b"5432"),
        ("&jsonKey=a.b", 200, "application/json", b"null"),
        ("&jsonPointer=/list/1/x", 200, "application/json", b"true"),
        ("&jsonPointer=/a~1b", 200, "text/plain; charset=utf-8", "ü".encode()),
        ("&jsonKey=none", 400, "text/plain", b"the value has no such key"),
        ("&jsonPointer=/list/7", 400, "text/plain", b"the value has no such key"),
        ("&jsonPointer=list", 400, "text/plain", b"jsonPointer must begin with /"),
    ],
)
def test_a_part_of_a_value(aws, cache, query, status, content_type, body):
    text = json.dumps({"user": "me", "port": 5432, "a.b": None, "list": [1, {"x": True}], "a/b": "ü"})
    aws.put_secret("db", text)
    aws.put_parameter("/db", text)

    for answer in (cache.secret("db", query), cache.secret("db", query), cache.parameter("/db", query)):
        assert (answer.status, answer.headers["content-type"], answer.body) == (status, content_type, body)
    assert cache.secret("db").json["SecretString"] == text, "the whole is another answer"


def test_a_part_of_what_is_no_json(aws, cache):
    aws.put_secret("text", "just text")
    aws.put_secret("raw", b"\x00")

    for id in ("text", "raw"):
        assert cache.secret(id, "&jsonKey=a").body == b"the value is no JSON"


def test_several_at_once(aws, cache):
    for name in ("a", "b"):
        aws.put_secret(name, f"value {name}")
        aws.put_parameter(f"/app/{name}", f"value {name}")
    aws.put_parameter("/app/deep/c", "value c", "SecureString")

    secrets = cache.get("/secretsmanager/batch?secretId=a&secretId=no&secretId=b").json
    assert [one["SecretString"] for one in secrets["SecretValues"]] == ["value a", "value b"]
    assert [(one["SecretId"], one["ErrorCode"]) for one in secrets["Errors"]] == [("no", "ResourceNotFoundException")]
    parameters = cache.get("/systemsmanager/parameters/batch?name=/app/a&name=/no&withDecryption=true").json
    assert [one["Value"] for one in parameters["Parameters"]] == ["value a"]
    assert (parameters["InvalidParameters"], parameters["Errors"]) == (["/no"], [])
    below = cache.get("/systemsmanager/parameters/path?path=/app&recursive=true&withDecryption=true").json
    assert [one["Value"] for one in below["Parameters"]] == ["value a", "value b", "value c"]
    assert cache.parameter("/app/deep/c", "&withDecryption=true").cache == "hit", "it came with its path"
    assert cache.get("/secretsmanager/batch").body == b"missing parameter secretId"
    many = "&".join(f"secretId={number}" for number in range(101))
    assert cache.get(f"/secretsmanager/batch?{many}").body == b"more than 100 of secretId"


def test_errors_as_aws_has_them(aws, serve):
    aws.put_secret("db", "one")
    cache = serve(SECRET_CACHE_ERRORS="aws")

    answer = cache.secret("no")

    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json == {
        "__type": "ResourceNotFoundException", "message": "Secrets Manager can't find the specified secret.",
    }  # fmt: skip
    aws.outage("503")
    assert cache.secret("other").status == 503
    aws.outage("reset")
    assert cache.secret("third").status == 502


@pytest.mark.parametrize(
    ("variable", "setting", "default", "written", "used", "warned"),
    [
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", "enabled", True, "FALSE", False, False),
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "size", 1000, "0", 0, False),
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "size", 1000, "1001", 1000, True),
        ("PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE", "size", 1000, "-1", 0, True),
        ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "port", 2773, "65535", 65535, False),
        ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT", "port", 2773, "0", 2773, True),
        ("PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS", "max_connections", 3, "7", 7, False),
        ("PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS", "max_connections", 3, "0", 1, True),
        ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "log_level", "info", "WARN", "warn", False),
        ("PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL", "log_level", "info", "none", "none", False),
        ("SECRETS_MANAGER_TTL", "secrets_ttl_s", 300, "0", 0, False),
        ("SSM_PARAMETER_STORE_TTL", "parameters_ttl_s", 300, "17", 17, False),
        ("SECRETS_MANAGER_TIMEOUT_MILLIS", "secrets_timeout_ms", 0, "500", 500, False),
        ("SSM_PARAMETER_STORE_TIMEOUT_MILLIS", "parameters_timeout_ms", 0, "0.5", 0, True),
    ],
)
def test_variables_of_awss_extension(variable, setting, default, written, used, warned):
    assert getattr(SecretCacheSettings(), setting) == default
    settings, warnings = SecretCacheSettings.parse({variable: written})
    assert (getattr(settings, setting), bool(warnings)) == (used, warned)


@pytest.mark.parametrize(
    ("written", "used"), [("45", 45_000), ("45s", 45_000), ("5m", 300_000), ("1h", 3_600_000), ("0", 45_000)]
)
def test_the_agents_poll_interval(written, used):
    settings, _ = AppConfigSettings.parse({"AWS_APPCONFIG_EXTENSION_POLL_INTERVAL_SECONDS": written})

    assert settings.poll_interval_seconds == used


def test_a_ttl_above_the_ceiling_is_clamped_and_said(aws, serve, clock):
    """aws-samples/aws-lambda-extensions#104."""
    aws.put_secret("db", "one")
    cache = serve(SECRETS_MANAGER_TTL=2700)
    assert (
        "warning",
        "SECRETS_MANAGER_TTL=2700 is above 300 s, which is used instead: SECRET_CACHE_TTL_MAX_S allows more",
    ) in cache.said
    longer = serve(SECRETS_MANAGER_TTL=2700, SECRET_CACHE_TTL_MAX_S=3600)
    assert longer.said == []
    for one in (cache, longer):
        one.secret("db")
    clock.ahead_ms += 301_000

    assert (cache.secret("db").cache, longer.secret("db").cache) == ("miss", "hit")


def test_the_workload_credentials_providers_form(aws, serve):
    """By a switch: 403, its own date, nothing that is not there, AWS's status and JSON for errors."""
    arn, version = aws.put_secret("db", "one<")
    aws.account().secrets["db"].versions[version]["created"] = 1523477145.713
    aws.put_secret("raw", b"\x00")
    cache = serve(SECRET_CACHE_ERRORS="agent")

    for _ in range(3):
        assert (
            cache.secret("db").body
            == (
                f'{{"ARN":"{arn}","Name":"db","VersionId":"{version}","SecretString":"one<","VersionStages":["AWSCURRENT"],'
                '"CreatedDate":"1523477145.713"}'
            ).encode()
        )
    assert "SecretString" not in cache.secret("raw").json
    wrong = cache.secret("db", token="wrong")
    assert (wrong.status, wrong.body) == (403, b"Bad Token")
    missing = cache.get("/v1/none")
    assert (missing.status, missing.json["__type"]) == (400, "ResourceNotFoundException")
    unknown = cache.secret("db", "&versionid=x")
    assert (unknown.status, unknown.body) == (400, b"unknown parameter: versionid")
    aws.outage("reset")
    assert cache.secret("other").status == 502
