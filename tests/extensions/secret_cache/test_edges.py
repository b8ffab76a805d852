"""What a fresh reader has found, and what must not come back: another's secret, memory without a limit, callers that hang."""

from __future__ import annotations

import email.utils
import socket
import struct
import time

import pytest

from extension_kit.aws import Aws, AwsError, Role
from extension_kit.aws.credentials import AssumedRoles
from extension_kit.aws.transport import Answer
from extension_kit.io.clock import Clock
from extension_kit.protocol import http1
from tests.extensions.secret_cache.conftest import TOKEN

ROLE = Role("arn:aws:iam::111122223333:role/r")


def test_part_of_an_arn_is_no_other_secret(aws, cache):
    """``...:secret:db`` stands for db and its six characters, not for everything that begins so; not in a batch either."""
    arn, _ = aws.put_secret("db", "value of db")
    aws.put_secret("db-prod", "value of db-prod")
    aws.put_secret("db-AbCdEf", "value of another")
    partial = arn[: -len("-AbCdEf")]
    answers = cache.get(f"/secretsmanager/batch?secretId={partial}&secretId=db-prod&secretId=db-AbCdEf").json
    assert {one["Name"]: one["SecretString"] for one in answers["SecretValues"]} == {
        "db": "value of db", "db-prod": "value of db-prod", "db-AbCdEf": "value of another"}  # fmt: skip
    assert cache.secret(partial).value == "value of db"
    assert cache.secret("db-prod").value == "value of db-prod"


def test_the_memory_of_answers_has_a_limit(aws, cache):
    """However many forms of a request there are: each is one that could be remembered, with its answer."""
    aws.put_secret("large", "s" * 60_000)
    aws.put_secret("small", "s" * 6_000)
    for number in range(600):
        for id in ("large", "small"):
            assert cache.secret(id, traceparent=f"00-{number:032x}-{number:016x}-01").status == 200
    quick = cache.service._quick
    assert 0 < quick._size <= 2_097_152
    assert (
        sum(len(data) + len(before) + len(after) for data, (_, _, before, after) in quick._memo.items()) == quick._size
    )
    quick.forget()
    assert quick._size == 0


def test_callers_that_insist_do_not_insist_against_a_throttle(aws, serve, clock):
    """While AWS wants to be left alone the value in hand is the answer, and says until when."""
    aws.put_secret("db", "one")
    cache = serve(SECRET_CACHE_REFRESH_MIN_S=1)
    cache.secret("db")
    clock.ahead_ms += 2_000
    aws.outage("throttle")
    first = cache.secret("db", "&refreshNow=true")
    assert first.value == "one"
    asked = len(aws.calls)
    for _ in range(20):
        assert cache.secret("db", "&refreshNow=true").value == "one"
    assert len(aws.calls) <= asked + 1


def test_an_answer_of_more_than_a_megabyte(aws, cache):
    """AppConfig's configurations may have two, and twenty secrets more than one."""
    aws.put_configuration("app", "env", "profile", b"x" * 2_000_000, "text/plain")
    answer = cache.configuration()
    assert (answer.status, len(answer.body)) == (200, 2_000_000)
    for number in range(20):
        aws.put_secret(f"s{number}", "s" * 60_000)
    ids = "&".join(f"secretId=s{number}" for number in range(20))
    assert len(cache.get(f"/secretsmanager/batch?{ids}").json["SecretValues"]) == 20


def test_a_parameter_that_was_made_anew_is_another(aws, serve):
    """It counts from version 1 again; its tag is not that number alone."""
    aws.put_parameter("/a", "one")
    cache = serve(SECRET_CACHE_REFRESH_MIN_S=0)
    tag = cache.parameter("/a").headers["etag"]
    assert cache.parameter("/a", If_None_Match=tag).status == 304
    del aws.account().parameters["/a"]
    aws.put_parameter("/a", "two")
    answer = cache.parameter("/a", "&refreshNow=true", If_None_Match=tag)
    assert (answer.status, answer.value) == (200, "two")


def test_a_token_with_a_line_end_leaves_nobody_waiting(aws, serve, monkeypatch):
    """Nor does an endpoint for credentials that ends in a mistake of ours, nor a thread that cannot be had."""
    variables = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/x",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "abc\n",
    }
    cache = serve(**variables)

    def ask():
        body = '{"SecretId":"db"}'
        fields = (
            "Host: localhost", "X-Amz-Target: secretsmanager.GetSecretValue", "X-Amz-Security-Token: unknown",
            "Content-Type: application/x-amz-json-1.1", f"Content-Length: {len(body)}",
        )  # fmt: skip
        return cache.raw(
            f"POST / HTTP/1.1\r\n{''.join(f'{field}{chr(13)}{chr(10)}' for field in fields)}\r\n{body}".encode()
        ).status

    assert ask() >= 400

    def fail(**_options):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(cache.service._aws, "issued_tokens", fail)
    assert ask() >= 400
    assert cache.service._learners == []

    def no_thread(*_arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("extensions.secret_cache.service._thread.start_new_thread", no_thread)
    assert ask() >= 400
    assert cache.service._learners == []


def test_a_role_is_assumed_by_the_deadline_or_not_at_all():
    """STS that does not answer holds nobody longer than anything else."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {
            "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
            "EXTENSION_KIT_AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }  # fmt: skip
        now_ms = Clock().wall_ms()
        with pytest.raises(AwsError) as caught:
            Aws(environ, retries=3).call(
                "secretsmanager", "GetSecretValue", {"SecretId": "x"}, role=ROLE, deadline_ms=now_ms + 600
            )
        assert caught.value.kind == "timeout"
        assert Clock().wall_ms() - now_ms < 3_000, "three attempts of three seconds each would be nine"


def test_clocks_that_part_are_brought_together_once():
    """Two calls that learn of it at the same time correct the same difference."""
    client = Aws({"AWS_REGION": "eu-west-1"})
    theirs = email.utils.formatdate(time.time() + 600, usegmt=True).encode()
    refusal = Answer(400, http1.Headers([(b"Date", theirs)]), b'{"__type":"InvalidSignatureException","message":"x"}')
    errors = [client._error(refusal, 0) for _ in range(2)]
    for error in errors:
        assert client._mend(error, None) == "clock"
    assert abs(client._skew_ms - 600_000) < 2_000
    assert client._mend(client._error(refusal, client._skew_ms), None) == "", "it is right now"


def test_roles_that_come_to_nothing_leave_nothing():
    """Callers name them as they like."""

    def deny(_form, _deadline_ms):
        raise AwsError("AccessDenied", "no", status=403)

    roles = AssumedRoles(Clock(), deny)
    for number in range(500):
        with pytest.raises(AwsError):
            roles.get(Role(f"arn:aws:iam::111122223333:role/{number}"))
    assert (len(roles), len(roles._asking)) == (0, 0)


def test_a_peer_that_has_gone_is_no_news(cache, capfd):
    """Nonsense and a reset before the answer: nothing is written about it."""
    for _ in range(20):
        with cache.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(b"BAD\r\n\r\n")
    time.sleep(0.2)
    assert cache.get("/ping", TOKEN).status == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "what",
    [
        "extensions.secret_cache.answers.secrets",
        "extensions.secret_cache.answers.parameters",
        "extensions.secret_cache.answers.dumps",
        "extensions.secret_cache.appconfig.select",
    ],
)
def test_an_answer_that_cannot_be_written_is_a_500(aws, cache, monkeypatch, what, capfd):
    """A mistake of ours ends the exchange; nobody waits for what never comes."""
    aws.put_secret("db", "one")
    aws.put_parameter("/a", "one")
    aws.put_configuration("app", "env", "profile", b"x", "text/plain")

    def fail(*_arguments, **_options):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(what, fail)
    body = '{"SecretId":"db"}'
    fields = (
        "Host: localhost", "X-Amz-Target: secretsmanager.GetSecretValue", f"X-Amz-Security-Token: {TOKEN}",
        "Content-Type: application/x-amz-json-1.1", f"Content-Length: {len(body)}",
    )  # fmt: skip
    request = "POST / HTTP/1.1\r\n" + "".join(f"{field}\r\n" for field in fields) + f"\r\n{body}"
    statuses = [
        cache.get("/secretsmanager/batch?secretId=db").status,
        cache.get("/systemsmanager/parameters/batch?name=/a").status,
        cache.raw(request.encode()).status,
        cache.configuration().status,
    ]
    assert 500 in statuses
    assert set(statuses) <= {200, 500}
    capfd.readouterr()
