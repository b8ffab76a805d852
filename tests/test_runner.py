"""The extension's side of the wire, against a server that answers strangely."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripted_api import CLOSE, INVOKE, REGISTERED, SHUTDOWN, Server, answer

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from extension_kit import Plugin, run
class Seen(Plugin):
    name = "seen"
    def on_invoke(self, event): print("invoke", flush=True)
    def on_shutdown(self, event, deadline): print("shutdown", event.reason, flush=True)
run(Seen(), name="ext")
"""


def run(*answers: bytes, **environ: str) -> tuple[subprocess.CompletedProcess[str], Server]:
    """Run the script against a server with these answers."""
    server = Server(list(answers))
    server.start()
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(ROOT)],
        env={"AWS_LAMBDA_RUNTIME_API": server.address, **environ}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done, server


def test_one_connection_serves_register_and_every_next():
    """Keep-alive, no proxy, the identifier in every request."""
    done, server = run(REGISTERED, answer(INVOKE), answer(INVOKE), answer(SHUTDOWN), HTTP_PROXY="http://127.0.0.1:1")

    assert done.returncode == 0
    assert done.stdout.split() == ["invoke", "invoke", "shutdown"]
    assert server.connections == 1
    assert all(b"Lambda-Extension-Identifier: abc\r\n" in request for request in server.requests[1:])


def test_managed_instances_get_a_registration_for_shutdown_only():
    """INVOKE would be refused there."""
    _done, server = run(REGISTERED, answer(SHUTDOWN), AWS_LAMBDA_INITIALIZATION_TYPE="lambda-managed-instances")

    assert server.requests[0].endswith(b'{"events":["SHUTDOWN"]}')


@pytest.mark.parametrize(
    "strange",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n16\r\n" + INVOKE + b"<pause>\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(INVOKE),
        b"HTTP/1.1 200 OK\r\nCONTENT-LENGTH:22\r\n\r\n" + INVOKE,
        answer(INVOKE)[:30] + b"<pause>" + answer(INVOKE)[30:],
        answer(INVOKE, headers=b"Connection: close\r\n"),
        answer(b'{"eventType":"SOMETHING","more":1}') + b"",
    ],
)
def test_unusual_answers_are_understood(strange):
    """Chunks, interim answers, pieces, other spellings, a connection that ends, an unknown event."""
    done, _server = run(REGISTERED, strange, answer(SHUTDOWN))

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "shutdown"
    assert done.stderr == ""


def test_an_idle_connection_that_was_closed_is_made_anew():
    """One fresh try, and no word about it."""
    done, server = run(REGISTERED, CLOSE, answer(SHUTDOWN))

    assert (done.returncode, done.stderr) == (0, "")
    assert server.connections == 2


def test_a_refused_next_is_said_once_and_tried_again_slowly():
    """403 is our bug: no hot loop, no exit."""
    refusal = answer(b'{"errorType":"Extension.X","errorMessage":"why"}', b"403 Forbidden")
    done, _server = run(REGISTERED, refusal, refusal, answer(SHUTDOWN))

    assert done.returncode == 0
    assert done.stderr == "[ext] next: 403 Extension.X: why: trying again, slowly\n"


def test_a_container_error_drains_and_exits():
    """500 on next: the environment is going away."""
    done, _server = run(REGISTERED, answer(b"", b"500 Internal Server Error"))

    assert done.returncode == 1
    assert done.stdout.split() == ["shutdown", "failure"]


def test_a_platform_that_is_gone_drains_and_exits():
    """The port no longer accepts."""
    done, _server = run(REGISTERED, CLOSE)

    assert done.returncode == 1
    assert done.stdout.split() == ["shutdown", "failure"]
    assert "no longer answers" in done.stderr


def test_a_refused_registration_is_one_line():
    """With AWS's own words; other 4xx are not tried again."""
    body = b'{"errorType":"Extension.InvalidEventType","errorMessage":"no"}'
    done, server = run(answer(body, b"403 Forbidden"))

    assert done.returncode == 1
    assert done.stderr == "[ext] cannot register: register: 403 Extension.InvalidEventType: no\n"
    assert len(server.requests) == 1


def test_a_registration_is_tried_again_after_a_server_error():
    """5xx and transport errors pass."""
    done, server = run(answer(b"", b"503 Busy"), CLOSE, REGISTERED, answer(SHUTDOWN))

    assert done.returncode == 0
    assert len(server.requests) == 4


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:", "127.0.0.1:1"])
def test_outside_an_environment_it_says_so(address):
    """One line; with what to do where nothing is set."""
    environ = {"AWS_LAMBDA_RUNTIME_API": address} if address else {}
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(ROOT)], env=environ, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == (1 if address else 2)
    assert len(done.stderr.splitlines()) == 1
    assert "extension-kit run" in done.stderr or "cannot register" in done.stderr


ODD = [
    b'{"eventType":"INVOKE","tracing":{},"deadlineMs":0}',
    b'{"eventType":"INVOKE","tracing":null,"deadlineMs":1}',
    b'{"eventType":"INVOKE","tracing":"Root","deadlineMs":99999999999999999999}',
    b'{"eventType":"INVOKE","deadlineMs":"soon","requestId":7}',
    b'{"eventType":"INVOKE","deadlineMs":1.5e3,"invokedFunctionArn":[]}',
]


@pytest.mark.parametrize("event", ODD)
def test_an_odd_invoke_is_an_invoke(event):
    """Empty tracing, deadlines that have passed, are far, or are none: the hook is called, nothing is said."""
    done, _server = run(REGISTERED, answer(event), answer(SHUTDOWN))

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["invoke", "shutdown"], "")


@pytest.mark.parametrize(
    "event", [b"[]", b"", b"garbage", b'{"eventType":"MOON"}', b'{"eventType":["INVOKE"]}', b"\xff"]
)
def test_what_is_no_event_is_passed_over(event):
    """No hook is called, the next event is asked for."""
    done, _server = run(REGISTERED, answer(event), answer(INVOKE), answer(SHUTDOWN))

    assert (done.returncode, done.stdout.split()) == (0, ["invoke", "shutdown"])


@pytest.mark.parametrize("deadline", [b"1", b"0", b"-5", b"99999999999999", b'"x"', b"null"])
def test_a_shutdown_with_an_odd_deadline_is_drained_all_the_same(deadline):
    """Hooks get a little time even where the deadline has passed."""
    done, _server = run(REGISTERED, answer(b'{"eventType":"SHUTDOWN","deadlineMs":%b}' % deadline))

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["shutdown"], "")


@pytest.mark.parametrize("garbage", [b"\x00\xff\r\n\r\n", b"HTTP/1.1 banana\r\n\r\n", b"SSH-2.0-x\r\n\r\n"])
def test_garbage_is_said_once_and_asked_again(garbage):
    """Not HTTP at all: the connection is made anew."""
    done, _server = run(REGISTERED, garbage, answer(INVOKE), answer(SHUTDOWN))

    assert (done.returncode, done.stdout.split()) == (0, ["invoke", "shutdown"])
    assert len(done.stderr.splitlines()) == 1
