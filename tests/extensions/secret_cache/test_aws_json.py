"""SDKs that nobody has changed: boto3 with its endpoint at the cache."""

from __future__ import annotations

import json
import socket
import threading

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.extensions.secret_cache.conftest import TOKEN

ONCE = Config(retries={"total_max_attempts": 1}, region_name="us-east-1")


def sdk(cache, service, token=TOKEN):
    return boto3.client(
        service, endpoint_url=f"http://localhost:{cache.port}", config=ONCE, aws_access_key_id="AKIAFUNCTION",
        aws_secret_access_key="function-secret-key", aws_session_token=token,
    )  # fmt: skip


def plain(answer):
    """Without what belongs to one answer only."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def refused(call):
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


@pytest.fixture
def filled(aws):
    aws.put_secret("db", 'x"<\u2028é')
    aws.put_secret("raw", b"\x00\xff")
    aws.rotate("db", "two")
    aws.put_parameter("/app/a", "1")
    aws.put_parameter("/app/a", "2", labels=["Dev"])
    aws.put_parameter("/app/b", "3", "SecureString")
    for number in range(13):
        aws.put_parameter(f"/many/{number:02}", str(number))
    return aws


@pytest.mark.parametrize(
    ("service", "operation", "params"),
    [
        ("secretsmanager", "get_secret_value", {"SecretId": "db"}),
        ("secretsmanager", "get_secret_value", {"SecretId": "db", "VersionStage": "AWSPREVIOUS"}),
        ("secretsmanager", "get_secret_value", {"SecretId": "raw"}),
        ("secretsmanager", "batch_get_secret_value", {"SecretIdList": ["db", "raw", "none"]}),
        ("ssm", "get_parameter", {"Name": "/app/a"}),
        ("ssm", "get_parameter", {"Name": "/app/a:1"}),
        ("ssm", "get_parameter", {"Name": "/app/a:Dev"}),
        ("ssm", "get_parameter", {"Name": "/app/b", "WithDecryption": True}),
        ("ssm", "get_parameters", {"Names": ["/app/a", "/none", "/app/b"], "WithDecryption": True}),
        ("ssm", "get_parameters_by_path", {"Path": "/app", "WithDecryption": True}),
    ],
)  # fmt: skip
def test_the_sdk_reads_the_same_from_the_cache_as_from_aws(filled, cache, service, operation, params):
    direct = boto3.client(
        service, endpoint_url=filled.url, config=ONCE, aws_access_key_id="AKIAFUNCTION",
        aws_secret_access_key="function-secret-key", aws_session_token=TOKEN,
    )  # fmt: skip
    expected = plain(getattr(direct, operation)(**params))
    filled.calls.clear()

    for _ in range(3):
        assert plain(getattr(sdk(cache, service), operation)(**params)) == expected
    assert 1 <= len(filled.calls) <= 3, "asked once, a batch and what it did not bring"


def test_pages_of_a_path(filled, cache):
    pages = sdk(cache, "ssm").get_paginator("get_parameters_by_path").paginate(Path="/many", MaxResults=5)

    found = [[one["Value"] for one in page["Parameters"]] for page in pages]
    assert [len(page) for page in found] == [5, 5, 3]
    assert [value for page in found for value in page] == [str(number) for number in range(13)]


@pytest.mark.parametrize(
    ("service", "operation", "params", "code"),
    [
        ("secretsmanager", "get_secret_value", {"SecretId": "none"}, "ResourceNotFoundException"),
        ("ssm", "get_parameter", {"Name": "/none"}, "ParameterNotFound"),
        ("ssm", "get_parameter", {"Name": "/app/a:99"}, "ParameterVersionNotFound"),
        ("ssm", "get_parameters_by_path", {"Path": "/many", "NextToken": "x"}, "InvalidNextToken"),
        (
            "secretsmanager",
            "batch_get_secret_value",
            {"SecretIdList": [str(n) for n in range(21)]},
            "ValidationException",
        ),
    ],
)
def test_errors_are_those_of_the_service(filled, cache, service, operation, params, code):
    assert refused(lambda: getattr(sdk(cache, service), operation)(**params))[0] == code


def test_what_is_not_served_says_where_to_send_it(cache):
    for service, call in (
        ("secretsmanager", lambda client: client.put_secret_value(SecretId="x", SecretString="y")),
        ("ssm", lambda client: client.put_parameter(Name="x", Value="y", Type="String")),
        ("ssm", lambda client: client.describe_parameters()),
    ):
        code, text = refused(lambda call=call, service=service: call(sdk(cache, service)))
        assert code == "UnknownOperationException"
        assert "GetSecretValue, BatchGetSecretValue, GetParameter, GetParameters and GetParametersByPath" in text
    assert "Filters" in refused(
        lambda: sdk(cache, "secretsmanager").batch_get_secret_value(Filters=[{"Key": "name", "Values": ["d"]}])
    )[1]  # fmt: skip


def test_throttling_is_something_that_sdks_try_again(aws, cache):
    aws.outage("503")

    assert refused(lambda: sdk(cache, "ssm").get_parameter(Name="/a"))[0] == "InternalServiceError"


def test_only_who_holds_the_session_token(filled, cache):
    for token in ("wrong", None):
        code, text = refused(lambda token=token: sdk(cache, "secretsmanager", token).get_secret_value(SecretId="db"))
        assert (code, text) == ("UnrecognizedClientException", "The security token included in the request is invalid.")
    assert filled.calls == []


class Endpoint:
    """The credentials endpoint of an execution environment: issues a new token to whoever asks."""

    def __init__(self):
        self.issued = ["first-token"]
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/x"
        self.asked = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                self.asked += 1
                body = json.dumps({
                    "AccessKeyId": "AKIAFUNCTION", "SecretAccessKey": "function-secret-key", "Token": self.issued[-1],
                    "Expiration": "2100-01-01T00:00:00Z",
                }).encode()  # fmt: skip
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )

    def close(self):
        self._server.close()


def test_under_snap_start_any_token_that_was_issued_will_do(filled, serve, clock):
    """No AWS_SESSION_TOKEN there: credentials come from a local endpoint, and change."""
    endpoint = Endpoint()
    try:
        filled.keys["AKIAFUNCTION"].token = "first-token"
        cache = serve(
            AWS_SESSION_TOKEN="", AWS_ACCESS_KEY_ID="", AWS_CONTAINER_CREDENTIALS_FULL_URI=endpoint.url,
            AWS_CONTAINER_AUTHORIZATION_TOKEN="for the endpoint",
        )  # fmt: skip
        assert sdk(cache, "secretsmanager", "first-token").get_secret_value(SecretId="db")["SecretString"] == "two"
        endpoint.issued.append("second-token")
        clock.ahead_ms += 2_000
        assert sdk(cache, "secretsmanager", "second-token").get_secret_value(SecretId="db")["SecretString"] == "two"
        assert sdk(cache, "secretsmanager", "first-token").get_secret_value(SecretId="db")["SecretString"] == "two"
        asked = endpoint.asked
        for number in range(20):
            assert refused(lambda number=number: sdk(cache, "ssm", f"wrong{number}").get_parameter(Name="/app/a"))[
                0
            ] == ("UnrecognizedClientException")
        assert endpoint.asked <= asked + 1, "strangers do not make us ask more than once a second"
        assert cache.secret("db", token="for the endpoint").value == "two", (
            "SnapStart's own token serves the HTTP interface"
        )
    finally:
        endpoint.close()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no json", "SerializationException"), (b"[]", "SerializationException"), (b"", "ValidationException"),
        (b'{"SecretId":5}', "ValidationException"), (b'{"SecretId":""}', "ValidationException"),
        (b'{"SecretId":"a\\nb"}', "ValidationException"), (b'{"SecretId":"' + b"x" * 3000 + b'"}', "ValidationException"),
    ],
)  # fmt: skip
def test_bodies_that_are_none(cache, body, code):
    lines = [
        "POST / HTTP/1.1", "Host: localhost", "X-Amz-Target: secretsmanager.GetSecretValue",
        f"X-Amz-Security-Token: {TOKEN}", f"Content-Length: {len(body)}", "", "",
    ]  # fmt: skip
    answer = cache.raw("\r\n".join(lines).encode() + body)

    assert (answer.status, answer.json["__type"]) == (400, code)
