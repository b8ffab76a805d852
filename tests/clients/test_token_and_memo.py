"""Who asks, where, and what is kept meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from socket import create_connection
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.clients import secret_cache
from extension_kit.clients.asking import TOKEN_FILE_VARIABLE, TOKEN_VARIABLES, port_from, quoted, token_from
from extension_kit.clients.secret_cache import AccessDenied, SecretCache
from extension_kit.errors import LocalProtocolError
from tests.clients.contract_server import TOKEN

ROOT = Path(__file__).parents[2]
VALUE = "just text \N{SNOWMAN}"


@pytest.fixture
def unset(monkeypatch):
    """No token in the environment."""
    for name in (*TOKEN_VARIABLES, TOKEN_FILE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def asking(contract):
    """A caller that takes its token from the environment."""
    cache = SecretCache(port=contract.port)
    yield cache
    cache.close()


@pytest.mark.parametrize("name", TOKEN_VARIABLES)
def test_the_token_is_found_in_each_variable(asking, unset, name):
    unset.setenv(name, TOKEN)

    assert asking.secret("plain") == VALUE


def test_the_token_is_found_in_files(asking, unset, tmp_path):
    """One that a container's credentials are refreshed into, and AWS's agent's way of writing a path."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    unset.setenv(TOKEN_FILE_VARIABLE, str(file))
    assert asking.secret("plain") == VALUE

    unset.setenv("AWS_TOKEN", f"file://{file}")
    assert asking.secret("plain") == VALUE
    file.write_text("another")
    with pytest.raises(AccessDenied):
        asking.secret("plain")


def test_the_order_of_the_variables():
    every = {name: name.lower() for name in TOKEN_VARIABLES} | {TOKEN_FILE_VARIABLE: "/nowhere"}
    found = []
    while every:
        found.append(token_from(every))
        del every[next(iter(every))]
    assert found == [*(name.lower() for name in TOKEN_VARIABLES), ""]


def test_a_token_that_changes_is_used_at_once(asking, unset):
    """A restored snapshot gets another one."""
    unset.setenv("AWS_SESSION_TOKEN", "old")
    with pytest.raises(AccessDenied, match="401"):
        asking.secret("plain")
    unset.setenv("AWS_SESSION_TOKEN", TOKEN)
    assert asking.secret("plain") == VALUE


def test_no_token_is_said(asking, unset):
    with pytest.raises(AccessDenied, match="no token was sent") as caught:
        asking.secret("plain")
    assert (caught.value.status, caught.value.code) == (401, "AccessDeniedException")


@pytest.mark.parametrize("token", ["s3cret\r\nX-Forwarded-For: x", "s3cret\n", "s3cr\u00e9t", "s3cret\x7f"])
def test_a_token_that_breaks_out_of_its_line_is_not_sent(asking, unset, contract, token):
    unset.setenv("AWS_SESSION_TOKEN", token)
    with pytest.raises(LocalProtocolError) as caught:
        asking.secret("plain")

    assert "s3cr" not in str(caught.value)
    assert contract.requests == []


@pytest.mark.parametrize("body", [b"bad: %s", b'{"__type":"a.b#AccessDenied","message":"bad: %s"}'])
def test_a_token_that_the_server_repeats_is_not_repeated(cache, contract, body):
    body %= TOKEN.encode()
    contract.scripted.append(b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(secret_cache.Refused, match=r"bad: \*\*\*") as caught:
        cache.secret("plain")

    assert TOKEN not in repr(caught.value)


def test_the_shape_of_aws_errors_is_understood(cache, contract):
    """As AWS's agent writes it, with a body that is sometimes no valid JSON."""
    answers = [
        b'{"__type":"com.amazonaws#ResourceNotFoundException","message":"no \\u0073uch"}',
        b'{"__type":"ResourceNotFoundException","message":"said "so""}',
        b"{}",
    ]
    for body in answers:
        contract.scripted.append(b"HTTP/1.1 400 Oh\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    with pytest.raises(secret_cache.NotFound, match="secret 'a': 400 ResourceNotFoundException: no such"):
        cache.secret("a")
    for _ in range(2):
        with pytest.raises(secret_cache.Refused) as caught:
            cache.secret("a")
        assert caught.value.code == ""


def test_nothing_secret_is_in_a_repr(cache, contract):
    cache.secret("many-1", max_age=60)

    assert (
        repr(cache) == f"SecretCache(host='localhost', port={contract.port}, appconfig_port={contract.appconfig_port})"
    )


class Clocks:
    """Both clocks, in seconds; set by hand."""

    def __init__(self, monkeypatch):
        self.wall, self.monotonic = 1_800_000_000.0, 0.0
        monkeypatch.setattr(secret_cache, "time_ns", lambda: int(self.wall * 1e9))
        monkeypatch.setattr(secret_cache, "monotonic_ns", lambda: int(self.monotonic * 1e9))


@pytest.mark.parametrize(
    ("wall", "monotonic", "asked"),
    [(0, 0, 1), (59, 59, 1), (60, 60, 2), (3600, 1, 2), (1, 3600, 2), (-3600, 1, 2)],
    ids=["at once", "young", "old", "slept in a snapshot", "clock set back", "clock set far back"],
)
def test_a_value_is_kept_for_max_age_by_both_clocks(cache, contract, monkeypatch, wall, monotonic, asked):
    """The monotonic clock begins near 0 in a fresh machine: 0 must not mean "never"."""
    clocks = Clocks(monkeypatch)
    assert cache.secret("plain", max_age=60) == VALUE
    clocks.wall += wall
    clocks.monotonic += monotonic

    assert cache.secret("plain", max_age=60) == VALUE
    assert len(contract.requests) == asked


def test_what_max_age_keeps_is_told_apart(cache, contract):
    """By everything that was asked for; a key is taken from what is kept."""

    def ask():
        return [
            cache.secret("db/main", json_key="user", max_age=60), cache.secret("db/main", json_key="port", max_age=60),
            cache.secret("db/main", version_stage="AWSPREVIOUS", max_age=60), cache.parameter("plain", max_age=60),
            cache.parameter("/app/db/password", max_age=60), cache.parameter("/app/db/password", decrypt=False, max_age=60),
            cache.configuration("shop", "prod env", "flags", ["beta"], context={"a": "b"}, max_age=60),
            cache.configuration("shop", "prod env", "flags", ["beta"], max_age=60),
            cache.parameters_by_path("/app", max_age=60),
        ]  # fmt: skip

    first = ask()
    first[-1].clear()
    asked = len(contract.requests)
    assert asked == 8
    second = ask()
    assert second[:-1] == first[:-1]
    assert len(second[-1]) == 3
    assert len(contract.requests) == asked


def test_refresh_and_no_max_age_go_past_what_is_kept(cache, contract):
    for arguments in ({"max_age": 60}, {}, {"max_age": 60, "refresh": True}, {"max_age": 60}):
        cache.secret("plain", **arguments)
    assert len(contract.requests) == 3
    cache.close()
    cache.secret("plain", max_age=60)
    assert len(contract.requests) == 4


def test_an_error_is_not_kept(cache, contract):
    for _ in range(2):
        with pytest.raises(secret_cache.NotFound):
            cache.secret("none", max_age=60)
    assert len(contract.requests) == 2


def test_what_is_kept_is_bounded(cache, contract, monkeypatch):
    monkeypatch.setattr(secret_cache, "_REMEMBERED", 3)
    for number in (0, 1, 2, 3, 3, 2, 1, 0):
        cache.secret(f"many-{number}", max_age=60)

    assert len(contract.requests) == 5


@pytest.mark.parametrize(
    ("written", "port"),
    [
        (None, 2773), ("", 2773), (" ", 2773), ("1", 1), (" 65535 ", 65535), ("0", 2773), ("65536", 2773), ("x", 2773),
        ("-1", 2773), ("1" * 5000, 2773), ("\u0661", 2773),
    ],
)  # fmt: skip
def test_ports(written, port):
    assert port_from({} if written is None else {"A": written}, "A", 2773) == port


@given(st.text(min_size=1))
def test_whatever_an_id_holds_arrives(text):
    try:
        written = quoted(text, "x")
    except LocalProtocolError:
        assert not text.isascii()  # half of a surrogate pair
        return
    assert unquote(written, errors="strict") == text
    assert written.isascii()
    assert not set(written) & set(" /?#&+=\r\n\"'<>")


COSTLY = {
    "json",
    "re",
    "enum",
    "ssl",
    "http",
    "http.client",
    "urllib",
    "urllib.parse",
    "threading",
    "socket",
    "email",
    "typing",
}


def test_the_functions_of_the_module_need_an_environment_and_little_else(contract):
    """In an interpreter of its own: what they find in the environment, and what they import on the way."""
    code = f"""
import sys; sys.path[0:0] = [{str(ROOT)!r}]
from extension_kit.clients import secret_cache as cache
found = [
    cache.secret("db/main", json_key="user"), cache.secrets(["plain", "empty"]), cache.parameter("plain"),
    cache.parameters(["plain", "/app/limit"]), cache.parameters_by_path("/app", False),
    cache.configuration("shop", "prod env", "flags", ["beta"]).decode(), sorted(set(sys.modules) & set({sorted(COSTLY)!r})),
]
import json; print(json.dumps(found))
"""
    environment = {
        "PATH": os.environ["PATH"], "AWS_SESSION_TOKEN": TOKEN,
        "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(contract.port),
        "AWS_APPCONFIG_EXTENSION_HTTP_PORT": str(contract.appconfig_port),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert json.loads(done.stdout) == [
        "admin", {"plain": VALUE, "empty": ""}, "bare name", {"plain": "bare name", "/app/limit": "10"},
        {"/app/limit": "10", "/app/list": "a,b,c"}, '{"beta": {"enabled": true}}', [],
    ]  # fmt: skip


def test_the_strict_server_can_say_no(contract):
    """Were it to let everything pass, the tests of callers would show nothing."""
    good = "GET /secretsmanager/get?secretId=plain HTTP/1.1\r\nHost: localhost:{port}\r\n"
    good += "X-Aws-Parameters-Secrets-Token: {token}"
    for request in (
        good.replace("GET", "DELETE"),
        good.replace("localhost", "example.com"),
        good + "\r\nX-Forwarded-For: 1",
        good + "\r\nX-Aws-Parameters-Secrets-Token: {token}",
        good.replace("secretId=plain", "secretId=plain&x=1"),
        good.replace("secretId=plain", "secretId=plain&refreshNow=yes"),
        good.replace("secretId=plain", "secretId=a+b"),
    ):
        with create_connection(("127.0.0.1", contract.port)) as connection:
            connection.sendall((request.format(port=contract.port, token=TOKEN) + "\r\n\r\n").encode())
            connection.recv(65_536)
        assert len(contract.violations) == 1, request
        contract.violations.clear()
