"""Who must get nothing, and what must not stop the others; and that no secret is anywhere but in an answer."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tests.extensions.secret_cache.conftest import TOKEN, Answer, read

SECRET = "attack-on-this-value-7f3a"  # noqa: S105 - the bait


@pytest.fixture
def bait(aws):
    aws.put_secret("db", SECRET)
    aws.put_parameter("/p", SECRET, "SecureString")
    return aws


def request(target="/secretsmanager/get?secretId=db", *lines, host="localhost"):
    fields = [f"Host: {host}", f"X-Aws-Parameters-Secrets-Token: {TOKEN}", *lines]
    return f"GET {target} HTTP/1.1\r\n".encode() + "\r\n".join(fields).encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["X-Forwarded-For: 1.2.3.4"], b"Forwarded"), (["Forwarded: for=1.2.3.4"], b"Forwarded"),
        (["Via: 1.1 proxy"], b"Forwarded"), (["X-Forwarded-Host: a"], b"Forwarded"), (["x-real-ip: 1.2.3.4"], b"Forwarded"),
        (["Origin: http://localhost:2773"], b"requests of a browser are not answered"),
        (["Origin: null"], b"requests of a browser"),
        (["Sec-Fetch-Site: cross-site"], b"requests of a browser"), (["sec-ch-ua: x"], b"requests of a browser"),
    ],
)  # fmt: skip
def test_requests_from_elsewhere(bait, cache, lines, body):
    answer = cache.raw(request("/secretsmanager/get?secretId=db", *lines))

    assert (answer.status, answer.body[: len(body)]) == (400, body)
    assert cache.raw(request("/ping", *lines)).status == 400
    assert bait.calls == []


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "169.254.169.254", "localhost:x", "[::2]", "127.0.0.2"]
)
def test_a_foreign_host(bait, cache, host):
    """A name of somebody else that resolves to loopback (DNS rebinding)."""
    assert cache.raw(request(host=host)).status == 400
    assert bait.calls == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:2773", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:2773"])
def test_names_of_our_own(bait, cache, host):
    assert cache.raw(request(host=host)).value == SECRET


@pytest.mark.parametrize(
    "data",
    [
        request().replace(b"\r\n\r\n", b"\r\nX-Aws-Parameters-Secrets-Token: other\r\n\r\n"),
        request().replace(b"\r\n\r\n", b"\r\nX-Vault-Token: other\r\n\r\n"),
        request().replace(TOKEN.encode(), TOKEN[:-1].encode()),
        request().replace(TOKEN.encode(), TOKEN.upper().encode()),
        request().replace(TOKEN.encode(), b""),
        request().replace(TOKEN.encode(), b"\xff" * 50),
    ],
    ids=["two", "two names", "shorter", "upper case", "empty", "bytes"],
)
def test_tokens_that_are_not_it(bait, cache, data):
    assert cache.raw(data).status == 401
    assert bait.calls == []


def test_no_token_is_known_so_nobody_may_ask(bait, serve):
    cache = serve(AWS_SESSION_TOKEN="")

    assert cache.secret("db", token="").status == 401
    assert any("nobody can ask" in text for _, text in cache.said)


@pytest.mark.parametrize(
    "data",
    [
        b"GET http://evil.example/secretsmanager/get?secretId=db HTTP/1.1\r\n" + request().partition(b"\r\n")[2],
        request().replace(b"\r\n\r\n", b"\r\nHost: evil.example\r\n\r\n"),
        request().replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        request().replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        request().replace(b"\r\n\r\n", b"\r\nTransfer-Encoding : chunked\r\n\r\n"),
        request().replace(b"\r\nHost", b"\r\n Host"),
        request().replace(b" HTTP/1.1", b" HTTP/1.1 x"),
        request("/secretsmanager/get?secretId=db\x00"),
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
    ids=[
        "absolute",
        "two hosts",
        "both framings",
        "two lengths",
        "blank before colon",
        "folded",
        "extra word",
        "zero",
        "TLS",
        "9.9",
    ],
)
def test_smuggling(bait, cache, data):
    answer = cache.raw(data + b"\r\n" * 4)

    assert answer == b"" or answer.status >= 400
    assert bait.calls == []


def test_what_comes_behind_a_request_is_another_request(bait, cache):
    """Pipelined: the second is looked at by itself, and has no token."""
    with cache.connect() as connection:
        connection.sendall(request() + request().replace(TOKEN.encode(), b"wrong") + request())
        data = b""
        while data.count(b"HTTP/1.1 ") < 3 or not data.endswith(b"}"):
            data += connection.recv(65_536)

    assert [part[:3] for part in data.split(b"HTTP/1.1 ")[1:]] == [b"200", b"401", b"200"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/secretsmanager/get/../get?secretId=db", 404), ("//secretsmanager/get?secretId=db", 404),
        ("/SecretsManager/get?secretId=db", 404), ("/secretsmanager%2Fget?secretId=db", 404),
        ("/secretsmanager/get?secretId=%zz", 400), ("/secretsmanager/get?secretId=%ff", 400),
        ("/secretsmanager/get?secretId=a%0d%0aX: y", 400), ("/secretsmanager/get?secretId=", 400),
        ("/secretsmanager/get?secretId=" + "x" * 3000, 400), ("/v1/", 400), ("/v1/%2e%2e/%2e%2e", 400),
        ("/secretsmanager/get?secretid=db", 400), ("/systemsmanager/parameters/get?name=/p&withDecryption=perhaps", 400),
        ("/secretsmanager/get?secretId=other&secretId=db", 400), ("/secretsmanager/get#?secretId=db", 404),
    ],
)  # fmt: skip
def test_paths_and_queries(bait, cache, target, status):
    answer = cache.raw(request(target.replace(" ", "%20")))

    assert answer.status == status
    assert SECRET.encode() not in answer.body
    assert "x" not in answer.headers


@pytest.mark.parametrize(
    "id",
    [
        "other", "prod/../db", "dbx", "PROD/db", "arn:aws:secretsmanager:us-east-1:111122223333:secret:other-AbCdEf",
        "prod/db:x", "%70rod/db".replace("%70", "%2570"),
    ],
)  # fmt: skip
def test_ids_outside_the_allow_list(bait, serve, id):
    for name in ("other", "dbx"):
        bait.put_secret(name, SECRET)
    cache = serve(SECRET_CACHE_ALLOW="prod/*,/app/*")

    answer = cache.secret(id)

    assert answer.status == 400
    assert SECRET.encode() not in answer.body
    if not id.startswith("prod/"):
        assert answer.headers["x-amzn-errortype"] == "AccessDeniedException"
        assert bait.calls == []


def test_an_arn_without_its_suffix_is_not_a_way_around(bait, serve):
    """It reads like the ARN of a secret with a shorter name: ``db-secret`` without its suffix, or ``db`` with one."""
    arn, _ = bait.put_secret("db-secret", SECRET)
    cache = serve(SECRET_CACHE_ALLOW="db")
    assert cache.secret("db").value == SECRET

    answer = cache.secret(arn[:-7])

    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "AccessDeniedException")
    assert cache.secret("db-secret").status == 400
    batch = cache.get(f"/secretsmanager/batch?secretId={arn[:-7]}&secretId=db").json
    assert ([one["Name"] for one in batch["SecretValues"]], len(batch["Errors"])) == (["db"], 1)


def test_the_allow_list_holds_for_every_way_of_asking(bait, serve):
    import boto3
    from botocore.config import Config

    for name in ("/app/a", "/app/deep/b", "/other/c"):
        bait.put_parameter(name, SECRET)
    bait.put_configuration("app", "env", "profile", SECRET.encode())
    cache = serve(SECRET_CACHE_ALLOW="/app/*", SECRET_CACHE_PREFETCH="secret:db,path:/,tag:x")

    assert cache.parameter("/app/a").value == SECRET
    assert cache.parameter("/app/a", "&version=1").value == SECRET
    for answer in (
        cache.parameter("/other/c"),
        cache.parameter("/other/c:1"),
        cache.secret("db"),
        cache.configuration(),
    ):
        assert answer.status == 400
        assert SECRET.encode() not in answer.body
    below = cache.get("/systemsmanager/parameters/path?path=/app&recursive=true").json
    assert [one["Name"] for one in below["Parameters"]] == ["/app/a", "/app/deep/b"]
    assert cache.get("/systemsmanager/parameters/path?path=/&recursive=true").status == 400
    keys = {
        "aws_access_key_id": "A",
        "aws_secret_access_key": "S",
        "aws_session_token": TOKEN,
        "region_name": "us-east-1",
    }
    config = Config(retries={"total_max_attempts": 1})
    sdk = boto3.client("ssm", endpoint_url=f"http://127.0.0.1:{cache.port}", config=config, **keys)
    with pytest.raises(sdk.exceptions.ClientError, match="AccessDeniedException"):
        sdk.get_parameter(Name="/other/c")
    assert {id for call in bait.calls for id in call.ids} <= {"/app/a", "/app/a:1", "/app"}


def test_a_head_of_a_megabyte(bait, cache):
    with cache.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        try:
            for _ in range(16):
                connection.sendall(b"x" * 65_536)
        except ConnectionError:
            pass
        try:
            answer = read(connection)
        except OSError:
            answer = b""
    assert answer == b"" or answer.status == 431
    assert cache.secret("db").value == SECRET


def test_a_body_that_is_too_long(bait, cache):
    answer = cache.raw(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")

    assert answer.status == 413


def test_slow_callers_stop_nobody(bait, cache):
    """256 requests that never end (slowloris), byte after byte."""
    slow = [cache.connect() for _ in range(256)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall(request()[: 20 + number % 100])
        for _ in range(5):
            assert cache.secret("db").value == SECRET
    finally:
        for connection in slow:
            connection.close()


def test_ten_thousand_connections(bait, cache):
    opened = []
    before = len(os.listdir("/proc/self/fd"))
    try:
        for _ in range(10_000):
            try:
                connection = socket.socket()
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", cache.port))
            except OSError:
                break
            opened.append(connection)
            if len(opened) >= 400:  # this process has descriptors for so many; the oldest go, as an attacker's would
                opened.pop(0).close()
        assert cache.secret("db").value == SECRET
    finally:
        for connection in opened:
            connection.close()
    limit = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before + 280 and time.monotonic() < limit:
        cache.secret("db")
    assert len(os.listdir("/proc/self/fd")) <= before + 280


def test_secrets_are_only_in_answers(bait, cache):
    cache.secret("db")
    cache.parameter("/p", "&withDecryption=true")
    cache.secret("db", token="wrong")
    bait.outage("reset")
    cache.secret("other")
    service = cache.service
    store = service.cache.store
    shown = " ".join(
        [repr(one) for one in (service, service.cache, store, *store, service._aws, service._tokens, service._quick)]
        + [repr(entry.found) for entry in store]
        + [text for _, text in cache.said]
        + [f"{name} {n}" for name, n in cache.counters.items()]
    )

    for hidden in (SECRET, TOKEN, "function-secret-key"):
        assert hidden not in shown
    for folder in ("/dev/shm", "/tmp/.extension-kit"):  # noqa: S108 - where it would lie
        for path in Path(folder).rglob("*") if Path(folder).exists() else ():
            try:
                assert SECRET.encode() not in path.read_bytes(), path
            except OSError:
                continue


def test_the_memo_of_answers_is_bound_to_what_it_knew(bait, serve):
    cache = serve(SECRET_CACHE_REFRESH_MIN_S=0)
    with cache.connect() as connection:

        def ask(data=None):
            connection.sendall(data or request())
            answer = read(connection)
            assert isinstance(answer, Answer)
            return answer

        assert [ask().cache for _ in range(4)] == ["miss", "hit", "hit", "hit"]
        assert cache.service._quick.hits >= 2, "it was not used at all"
        bait.rotate("db", "two")
        assert ask(request("/secretsmanager/get?secretId=db&refreshNow=1")).value == "two"
        assert ask().value == "two"
        assert ask(request().replace(TOKEN.encode(), b"wrong")).status == 401
        assert ask().value == "two"
        cache.service.restored(snapshot=True)
        cache.settle()
        assert ask().cache in ("miss", "hit")
        assert ask().value == "two"


def test_no_core_is_dumped():
    import resource
    import subprocess
    import sys

    code = (
        "from extensions.secret_cache.plugin import SecretCache\nimport resource, types\n"
        "plugin = SecretCache(); plugin._forbid_core_dumps()\nprint(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
                          cwd=Path(__file__).parents[3])  # fmt: skip
    assert done.stdout.strip() in ("(1, 1)", "(0, 0)")
    assert resource.getrlimit(resource.RLIMIT_CORE) != (1, 1), "it is the child's own"


def test_a_token_that_was_replaced_in_its_file_is_worth_nothing(bait, serve, clock, tmp_path):
    """Not even for a request that was answered before, byte for byte."""
    path = tmp_path / "token"
    path.write_text("first-token")
    cache = serve(AWS_SESSION_TOKEN="", AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path))
    bait.keys["AKIAFUNCTION"].token = ""
    first = request().replace(TOKEN.encode(), b"first-token")
    with cache.connect() as connection:

        def ask(data):
            connection.sendall(data)
            return read(connection).status

        assert [ask(first) for _ in range(4)] == [200] * 4
        path.write_text("second-token")
        clock.ahead_ms += 2_000
        assert ask(first) == 401
        assert ask(first.replace(b"first-token", b"second-token")) == 200
