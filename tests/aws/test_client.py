"""Calls to AWS: answers, errors, retries, credentials, time. Against a strict fake on real sockets, and against moto."""

from __future__ import annotations

import socket
import threading
import time

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from extension_kit.aws import Aws, AwsError, Role
from extension_kit.io.clock import Clock
from tests.receivers.aws import Fault

ROLE = "arn:aws:iam::444455556666:role/r"


def get(client, id="db", **more):
    return client.call("secretsmanager", "GetSecretValue", {"SecretId": id}, **more)


def failure(call):
    with pytest.raises(AwsError) as caught:
        call()
    return caught.value


def test_answers(aws, connect):
    arn, version = aws.put_secret("db", 'päss"<\u2028')
    client = connect()

    assert get(client) == get(client, arn)
    assert (get(client)["SecretString"], get(client)["VersionId"]) == ('päss"<\u2028', version)
    assert client.counters == {"calls": 4, "attempts": 4, "retries": 0, "throttled": 0, "errors": 0}


@pytest.mark.parametrize(
    ("fault", "code", "kind", "transient"),
    [
        (Fault("throttle", 9), "ThrottlingException", "throttled", True),
        (Fault("status", 9, status=500), "InternalServiceError", "unavailable", True),
        (Fault("status", 9, status=503), "InternalServiceError", "unavailable", True),
        (Fault("code", 9, code="TooManyRequestsException", status=400), "TooManyRequestsException", "throttled", True),
        (Fault("code", 9, code="Unheard", status=502), "Unheard", "unavailable", True),
        (Fault("code", 9, code="DecryptionFailure", status=400), "DecryptionFailure", "refused", False),
        (Fault("code", 9, code="AccessDeniedException", status=400), "AccessDeniedException", "denied", False),
        (Fault("reset", 9), "NetworkError", "network", True),
        (Fault("half", 9), "BadAnswer", "unavailable", True),
        (Fault("garbage", 9), "BadAnswer", "unavailable", True),
    ],
    ids=lambda value: value.code or value.kind if isinstance(value, Fault) else None,
)
def test_errors_by_their_code(aws, connect, fault, code, kind, transient):
    aws.put_secret("db", "one")
    aws.script(fault)

    error = failure(lambda: get(connect()))

    assert (error.code, error.kind, error.transient) == (code, kind, transient)
    assert aws.count("GetSecretValue") == (3 if transient and fault.kind != "garbage" else 1)


@pytest.mark.parametrize("token", ["s3cr3t\u0142", "s3\ncr3t"])
def test_credentials_that_cannot_be_sent(connect, token):
    error = failure(lambda: get(connect(AWS_SESSION_TOKEN=token)))

    assert (error.code, error.kind) == ("BadRequest", "credentials")
    assert "s3" not in str(error)


def test_a_region_that_no_host_can_have(clock):
    environ = {"AWS_REGION": "\u0142", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}

    error = failure(lambda: get(Aws(environ, clock=clock)))

    assert error.code in ("BadRequest", "BadEndpoint")


def test_what_passes_is_tried_again(aws, connect, clock):
    aws.put_secret("db", "one")
    aws.script(Fault("reset"), Fault("throttle"))
    client = connect()

    assert get(client)["SecretString"] == "one"
    assert client.counters["retries"] == 2
    assert all(0 <= seconds <= 0.1 for seconds in clock.slept)


def test_retry_after_is_heard(aws, connect, clock):
    aws.put_secret("db", "one")
    aws.script(Fault("code", code="ServiceUnavailable", status=503, headers={"Retry-After": "1"}))
    aws.script(Fault("throttle", headers={"Retry-After": "1"}))

    assert get(connect())["SecretString"] == "one"
    assert clock.slept[-1] == 1.0


def test_after_a_throttle_calls_are_spaced(aws, connect, clock):
    aws.put_secret("db", "one")
    aws.script(Fault("throttle", 2))
    client = connect()
    get(client)
    clock.slept.clear()
    get(client)
    get(client)

    assert sum(clock.slept) > 0, "it did not slow down"
    for _ in range(12):
        get(client)
    clock.slept.clear()
    get(client)
    assert clock.slept == []


def test_a_deadline_ends_it(aws, connect, clock):
    aws.script(Fault("hang", 9, seconds=20))
    began = time.monotonic()

    error = failure(lambda: get(connect({"read_timeout": 30.0}), deadline_ms=clock.wall_ms() + 300))

    assert (error.code, error.kind) == ("TimeoutError", "timeout")
    assert time.monotonic() - began < 10
    assert failure(lambda: get(connect(), deadline_ms=clock.wall_ms() - 1)).code == "TimeoutError"


def test_a_slow_body_does_not_stretch_the_time(aws, connect):
    aws.script(Fault("slow", 9, seconds=20))
    began = time.monotonic()

    error = failure(lambda: get(connect({"retries": 1}), timeout=0.4))

    assert error.kind == "timeout"
    assert time.monotonic() - began < 10


def test_no_wait_past_the_deadline(aws, connect, clock):
    """The error of before is told, not that of a time that was not left."""
    aws.script(Fault("throttle", 9, headers={"Retry-After": "2"}))

    error = failure(lambda: get(connect(), deadline_ms=clock.wall_ms() + 1_000))

    assert error.kind == "throttled"
    assert clock.slept == []


def test_connections_are_kept_and_dead_ones_replaced(aws, connect, clock):
    aws.put_secret("db", "one")
    accepted = []
    original = aws._server.process_request
    aws._server.process_request = lambda *args: (accepted.append(args[0]), original(*args))
    client = connect()
    get(client)
    get(client)
    assert len(accepted) == 1
    accepted[0].shutdown(socket.SHUT_RDWR)
    get(client)
    assert len(accepted) == 2
    client.forget_connections()
    get(client)
    assert len(accepted) == 3
    clock.ahead_ms += 60_000  # a freeze
    get(client)
    assert len(accepted) == 4
    assert client.counters["retries"] == 0


def test_many_threads(aws, connect):
    for number in range(8):
        aws.put_secret(f"s{number}", f"v{number}")
    client = connect()
    found = {}

    def fetch(number):
        found[number] = [get(client, f"s{number}")["SecretString"] for _ in range(10)]

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [f"v{number}"] * 10 for number in range(8)}


# clocks and credentials -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_clock_that_is_wrong_is_corrected(aws, connect, seconds):
    aws.put_secret("db", "one")
    aws.skew = seconds
    client = connect()

    assert get(client)["SecretString"] == "one"
    assert get(client)["SecretString"] == "one"
    assert aws.refusals == ["InvalidSignatureException"], "the second call knew"


def test_a_clock_that_is_wrong_is_corrected_for_several_threads_at_once(aws, connect):
    """What one of them learns while the others' requests are under way is no reason to give up on those."""
    aws.put_secret("db", "one")
    aws.skew, aws.latency = 3600, 0.2
    client, found = connect(), []
    threads = [threading.Thread(target=lambda: found.append(get(client)["SecretString"])) for _ in range(4)]
    for number, thread in enumerate(threads):
        thread.start()
        time.sleep(0.04 * (number < 3))  # so that they are answered one after the other
    for thread in threads:
        thread.join(30)

    assert found == ["one"] * 4


def test_clients_of_one_process_share_connections_and_credentials(aws, connect):
    """Those that have the same clock and variables: the plug-ins of one process."""
    aws.put_secret("db", "one")
    one, two = connect(), connect()
    other = connect(AWS_SECRET_ACCESS_KEY="another")
    own = Aws(aws.environ())

    assert one._transport is two._transport
    assert one._own is two._own
    assert len({id(client._transport) for client in (one, other, own)}) == 3
    assert [get(client)["SecretString"] for client in (one, two)] == ["one", "one"]
    assert one.counters["calls"] == two.counters["calls"] == 1, "what is counted is each one's own"


def test_a_wrong_key_is_no_wrong_clock(aws, connect):
    error = failure(lambda: get(connect(AWS_SECRET_ACCESS_KEY="wrong")))

    assert (error.code, error.kind, error.transient) == ("InvalidSignatureException", "credentials", False)
    assert len(aws.refusals) == 1


def test_no_credentials(aws, connect):
    error = failure(lambda: get(connect(AWS_ACCESS_KEY_ID="")))

    assert (error.code, error.kind) == ("NoCredentials", "credentials")
    assert failure(lambda: get(connect(AWS_REGION=""))).code == "NoRegion"


def test_a_role(aws, connect, clock):
    aws.allow_role(ROLE, external_id="x", tags={"team": "a"}, account="444455556666")
    aws.put_secret("db", "ours")
    aws.put_secret("db", "theirs", account="444455556666")
    role = Role(ROLE, external_id="x", session_name="s", tags=(("team", "a"),))
    client = connect()

    assert get(client, role=role)["SecretString"] == "theirs"
    assert get(client)["SecretString"] == "ours"
    assert get(client, role=role)["SecretString"] == "theirs"
    assert aws.count("AssumeRole") == 1
    clock.ahead_ms = aws.skew = 0
    clock.ahead_ms += 3_400_000  # 200 s before its end: too near
    aws.skew = 3_400.0
    assert get(client, role=role)["SecretString"] == "theirs"
    assert aws.count("AssumeRole") == 2

    error = failure(lambda: get(client, role=Role(ROLE, external_id="wrong")))
    assert (error.code, error.kind) == ("AccessDenied", "denied")


def test_threads_share_the_assuming_of_a_role(aws, connect):
    aws.allow_role(ROLE)
    aws.put_secret("db", "one")
    aws.latency = 0.05
    client = connect()
    threads = [threading.Thread(target=get, args=(client,), kwargs={"role": Role(ROLE)}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert aws.count("AssumeRole") == 1
    assert aws.count("GetSecretValue") == 8


def test_roles_do_not_pile_up(aws, connect):
    client = connect()
    aws.put_secret("db", "one")
    for number in range(60):
        aws.allow_role(f"{ROLE}{number}")
        get(client, role=Role(f"{ROLE}{number}"))

    assert repr(client._roles) == "AssumedRoles(50)"


def test_a_token_that_died_is_replaced_once(aws, connect):
    aws.allow_role(ROLE)
    aws.put_secret("db", "one")
    client = connect()
    get(client, role=Role(ROLE))
    for access_key, key in aws.keys.items():
        if access_key != "AKIAFUNCTION":
            key.expires = 1.0

    assert get(client, role=Role(ROLE))["SecretString"] == "one"
    assert aws.refusals == ["ExpiredTokenException"]


class CredentialsEndpoint:
    """The local endpoint of SnapStart: answers what it is told to, and remembers who asked how."""

    def __init__(self):
        self.asked = []
        self.answer = (500, b"")
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/credentials"
        threading.Thread(target=self._serve, daemon=True).start()

    def issue(self, access_key, secret, token, expiration="2100-01-01T00:00:00Z"):
        text = f'{{"AccessKeyId":"{access_key}","SecretAccessKey":"{secret}","Token":"{token}","Expiration":"{expiration}"}}'
        self.answer = (200, text.encode())

    def _serve(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.asked.append(connection.recv(65_536).decode())
                status, body = self.answer
                connection.sendall(
                    b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body
                )

    def close(self):
        self._server.close()


@pytest.fixture
def endpoint():
    endpoint = CredentialsEndpoint()
    yield endpoint
    endpoint.close()


def test_credentials_of_the_local_endpoint(aws, connect, endpoint, tmp_path):
    aws.put_secret("db", "one")
    (tmp_path / "token").write_text("first\n")
    client = connect(
        AWS_ACCESS_KEY_ID="", AWS_CONTAINER_CREDENTIALS_FULL_URI=endpoint.url,
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(tmp_path / "token"), AWS_CONTAINER_AUTHORIZATION_TOKEN="not this",
    )  # fmt: skip
    assert failure(lambda: get(client)).code == "NoCredentials"
    endpoint.issue("AKIAFUNCTION", "function-secret-key", "function-session-token")

    assert get(client)["SecretString"] == "one"
    assert "Authorization: first\r\n" in endpoint.asked[-1]
    (tmp_path / "token").write_text("second")
    client.forget_credentials()
    get(client)
    assert "Authorization: second\r\n" in endpoint.asked[-1]
    assert len(endpoint.asked) == 3


def test_under_snap_start_the_endpoint_comes_first(aws, connect, endpoint):
    aws.put_secret("db", "one")
    endpoint.issue("AKIAFUNCTION", "function-secret-key", "function-session-token")
    given = {"AWS_SECRET_ACCESS_KEY": "of the snapshot", "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.url}

    assert get(connect(AWS_LAMBDA_INITIALIZATION_TYPE="snap-start", **given))["SecretString"] == "one"
    assert failure(lambda: get(connect(**given))).code == "InvalidSignatureException"


def test_tokens_that_were_issued_are_known_until_they_end(connect, endpoint, clock):
    client = connect(AWS_ACCESS_KEY_ID="", AWS_SESSION_TOKEN="", AWS_CONTAINER_CREDENTIALS_FULL_URI=endpoint.url)
    assert client.issued_tokens(refresh=True) == ()
    for token, end in (("one", "2030-01-01T00:00:00Z"), ("two", "2040-01-01T00:00:00Z")):
        endpoint.issue("A", "S", token, end)
        clock.ahead_ms += 2_000
        client.issued_tokens(refresh=True)

    asked = len(endpoint.asked)
    assert client.issued_tokens(refresh=True) == ("two", "one")
    assert len(endpoint.asked) == asked, "at most once a second"
    clock.ahead_ms += 1_893_456_000_000 - clock.wall_ms() + 1  # 2030 begins
    assert client.issued_tokens() == ("two",)
    assert "two" not in repr(client)


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "http://169.254.169.254/x", "ftp://127.0.0.1/x", "http://127.0.0.1.example.com/x"]
)
def test_only_local_endpoints_are_told_the_token(connect, url):
    client = connect(AWS_ACCESS_KEY_ID="", AWS_CONTAINER_CREDENTIALS_FULL_URI=url)

    assert client.issues_tokens is False
    assert failure(lambda: get(client)).code == "NoCredentials"


# AppConfig, moto, proxies -----------------------------------------------------------------------------------------------


def test_configurations(aws, connect):
    aws.put_configuration("app", "env", "profile", b"\x00raw", "text/plain", "v1")
    aws.poll_seconds = 60
    client = connect()

    token = client.appconfig_start("app", "env", "profile", min_poll_seconds=15)
    body, content_type, label, following, seconds = client.appconfig_get(token)
    assert (body, content_type, label, seconds) == (b"\x00raw", "text/plain", "v1", 60)
    assert client.appconfig_get(following)[0] == b""
    assert failure(lambda: client.appconfig_get(token)).code == "BadRequestException"
    assert failure(lambda: client.appconfig_start("no", "env", "profile")).code == "ResourceNotFoundException"


def test_moto_agrees():
    client = Aws({})
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        environ = {
            "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S",
            "EXTENSION_KIT_AWS_ENDPOINT_URL": url,
        }  # fmt: skip
        keys = {"aws_access_key_id": "A", "aws_secret_access_key": "S", "region_name": "us-east-1", "endpoint_url": url}
        requests.post(f"{url}/moto-api/reset", timeout=10)
        boto3.client("secretsmanager", **keys).create_secret(Name="db", SecretString="one")
        boto3.client("ssm", **keys).put_parameter(Name="/a", Value="1", Type="String")
        client = Aws(environ, clock=Clock())
        assert get(client)["SecretString"] == "one"
        assert client.call("ssm", "GetParameter", {"Name": "/a"})["Parameter"]["Value"] == "1"
        assert failure(lambda: get(client, "no")).code == "ResourceNotFoundException"
        assert failure(lambda: client.call("ssm", "GetParameter", {"Name": "/no"})).code == "ParameterNotFound"
    finally:
        client.forget_connections()
        server.stop()


def test_the_functions_own_endpoints_and_proxies_are_not_ours(aws, connect):
    aws.put_secret("db", "one")
    dead = "http://127.0.0.1:9"
    client = connect(
        AWS_ENDPOINT_URL=dead, AWS_ENDPOINT_URL_SECRETS_MANAGER=dead, HTTP_PROXY=dead, HTTPS_PROXY=dead, http_proxy=dead
    )

    assert get(client)["SecretString"] == "one"


def test_an_override_that_is_no_url_is_said(connect):
    error = failure(lambda: get(connect(EXTENSION_KIT_AWS_ENDPOINT_URL_SECRETS_MANAGER="localhost:4566")))

    assert error.code == "BadEndpoint"
    assert "use http://HOST[:PORT] or https://HOST[:PORT]" in error.message


def test_nothing_secret_is_shown(aws, connect):
    aws.put_secret("db", "very-secret")
    client = connect()
    get(client)
    error = failure(lambda: get(client, "no"))

    shown = " ".join(
        map(repr, (client, client._own, client._roles, client._signer, error, Role(ROLE, external_id="ext-id")))
    )
    for secret in ("very-secret", "function-secret-key", "function-session-token", "ext-id"):
        assert secret not in shown
