"""The fake is held to what botocore's clients make of it: every operation, every error."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.receivers.aws import AwsFake, Fault

ONCE = Config(retries={"total_max_attempts": 1}, region_name="us-east-1")


@pytest.fixture
def aws():
    with AwsFake() as fake:
        yield fake


def client(aws, service, **keys):
    given = {"aws_access_key_id": "AKIAFUNCTION", "aws_secret_access_key": "function-secret-key"}
    token = {"aws_session_token": "function-session-token"}
    return boto3.client(service, endpoint_url=aws.url, config=ONCE, **{**given, **token, **keys})


def code(call):
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


def test_secrets(aws):
    arn, first = aws.put_secret("db", "one")
    aws.put_secret("raw", b"\x00\xff")
    manager = client(aws, "secretsmanager")

    answer = manager.get_secret_value(SecretId="db")
    assert (answer["SecretString"], answer["ARN"], answer["VersionStages"]) == ("one", arn, ["AWSCURRENT"])
    assert answer["CreatedDate"].microsecond % 1000 == 0
    assert manager.get_secret_value(SecretId="raw")["SecretBinary"] == b"\x00\xff"
    assert manager.get_secret_value(SecretId=arn[:-7])["Name"] == "db"

    second = aws.rotate("db", "two")
    assert manager.get_secret_value(SecretId=arn)["SecretString"] == "two"
    assert manager.get_secret_value(SecretId="db", VersionStage="AWSPREVIOUS")["VersionId"] == first
    assert manager.get_secret_value(SecretId="db", VersionId=first)["SecretString"] == "one"
    described = manager.describe_secret(SecretId="db")["VersionIdsToStages"]
    assert described == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}

    assert code(lambda: manager.get_secret_value(SecretId="no")) == "ResourceNotFoundException"
    assert code(lambda: manager.get_secret_value(SecretId="db", VersionStage="X")) == "ResourceNotFoundException"


def test_secrets_in_batches(aws):
    aws.put_secret("db", "one", tags={"team": "a"})
    aws.put_secret("mail", "two", tags={"team": "b"})
    manager = client(aws, "secretsmanager")

    answer = manager.batch_get_secret_value(SecretIdList=["db", "no"])
    assert [one["SecretString"] for one in answer["SecretValues"]] == ["one"]
    assert [(one["SecretId"], one["ErrorCode"]) for one in answer["Errors"]] == [("no", "ResourceNotFoundException")]
    tagged = manager.batch_get_secret_value(
        Filters=[{"Key": "tag-key", "Values": ["team"]}, {"Key": "tag-value", "Values": ["b"]}]
    )
    assert [one["Name"] for one in tagged["SecretValues"]] == ["mail"]
    assert (
        code(lambda: manager.batch_get_secret_value(SecretIdList=[str(n) for n in range(21)])) == "ValidationException"
    )


def test_parameters(aws):
    aws.put_parameter("/app/a", "1")
    aws.put_parameter("/app/a", "2", labels=["Dev"])
    aws.put_parameter("/app/b/c", "3", "SecureString")
    aws.put_secret("db", "one")
    store = client(aws, "ssm")

    assert store.get_parameter(Name="/app/a")["Parameter"]["Value"] == "2"
    assert store.get_parameter(Name="/app/a:1")["Parameter"]["Selector"] == ":1"
    assert store.get_parameter(Name="/app/a:Dev")["Parameter"]["Version"] == 2
    assert store.get_parameter(Name="/app/b/c")["Parameter"]["Value"] != "3"
    assert store.get_parameter(Name="/app/b/c", WithDecryption=True)["Parameter"]["Value"] == "3"
    reference = store.get_parameter(Name="/aws/reference/secretsmanager/db", WithDecryption=True)["Parameter"]
    assert (reference["Value"], reference["Version"]) == ("one", 0)
    answer = store.get_parameters(Names=["/app/a", "/no"])
    assert ([one["Name"] for one in answer["Parameters"]], answer["InvalidParameters"]) == (["/app/a"], ["/no"])
    assert [one["Name"] for one in store.get_parameters_by_path(Path="/app")["Parameters"]] == ["/app/a"]
    below = store.get_parameters_by_path(Path="/app", Recursive=True, MaxResults=1)
    assert below["NextToken"]

    assert code(lambda: store.get_parameter(Name="/no")) == "ParameterNotFound"
    assert code(lambda: store.get_parameter(Name="/app/a:9")) == "ParameterVersionNotFound"
    assert code(lambda: store.get_parameters(Names=[str(n) for n in range(11)])) == "ValidationException"


def test_configurations_whose_tokens_serve_once(aws):
    aws.put_configuration("app", "env", "profile", b'{"a":1}', label="v1")
    data = client(aws, "appconfigdata")
    start = {
        "ApplicationIdentifier": "app",
        "EnvironmentIdentifier": "env",
        "ConfigurationProfileIdentifier": "profile",
    }

    token = data.start_configuration_session(**start)["InitialConfigurationToken"]
    first = data.get_latest_configuration(ConfigurationToken=token)
    assert (first["Configuration"].read(), first["VersionLabel"]) == (b'{"a":1}', "v1")
    again = data.get_latest_configuration(ConfigurationToken=first["NextPollConfigurationToken"])
    assert again["Configuration"].read() == b""
    assert code(lambda: data.get_latest_configuration(ConfigurationToken=token)) == "BadRequestException"
    missing = {**start, "ApplicationIdentifier": "no"}
    assert code(lambda: data.start_configuration_session(**missing)) == "ResourceNotFoundException"


def test_roles(aws):
    aws.allow_role("arn:aws:iam::444455556666:role/r", external_id="ext", tags={"team": "a"}, account="444455556666")
    aws.put_secret("theirs", "1", account="444455556666")
    sts = client(aws, "sts")
    role = {"RoleArn": "arn:aws:iam::444455556666:role/r", "RoleSessionName": "session"}

    found = sts.assume_role(**role, ExternalId="ext", Tags=[{"Key": "team", "Value": "a"}])["Credentials"]
    there = client(
        aws, "secretsmanager", aws_access_key_id=found["AccessKeyId"], aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["SessionToken"],
    )  # fmt: skip
    assert there.get_secret_value(SecretId="theirs")["SecretString"] == "1"
    assert code(lambda: sts.assume_role(**role)) == "AccessDenied"
    assert code(lambda: sts.assume_role(**role, ExternalId="ext")) == "AccessDenied"


def test_who_calls(aws):
    aws.put_secret("db", "one")

    def get(**keys):
        return lambda: client(aws, "secretsmanager", **keys).get_secret_value(SecretId="db")

    assert code(get(aws_secret_access_key="wrong")) == "InvalidSignatureException"
    assert code(get(aws_session_token="wrong")) == "UnrecognizedClientException"
    assert code(get(aws_access_key_id="AKIANOBODY")) == "UnrecognizedClientException"
    aws.keys["AKIAFUNCTION"].expires = 1.0
    assert code(get()) == "ExpiredTokenException"
    aws.keys["AKIAFUNCTION"].expires = 0.0
    aws.skew = 3600.0
    assert code(get()) == "InvalidSignatureException"
    aws.skew = 0.0
    aws.denied.add("GetSecretValue")
    assert code(get()) == "AccessDeniedException"


def test_faults(aws):
    aws.put_secret("db", "one")
    manager = client(aws, "secretsmanager")
    aws.script(Fault("throttle"), Fault("status", status=503), Fault("code", code="DecryptionFailure", status=400))

    assert code(lambda: manager.get_secret_value(SecretId="db")) == "ThrottlingException"
    assert code(lambda: manager.get_secret_value(SecretId="db")) == "InternalServiceError"
    assert code(lambda: manager.get_secret_value(SecretId="db")) == "DecryptionFailure"
    assert manager.get_secret_value(SecretId="db")["SecretString"] == "one"
    assert aws.count("GetSecretValue", "db") == 4
