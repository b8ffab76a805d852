"""What hooks return, and what comes of it on both sides."""

from __future__ import annotations

import json

import pytest

from extension_kit.protocol import http1
from extension_kit.proxy import Answer, Cut, Deliver, Fail, Hooks, Replace, RuntimeProxy, Stream
from tests.proxying import OK, Runtime, Upstream, event


class Scripted(Hooks):
    """Returns what the test holds ready; writes down what it was told."""

    def __init__(self):
        self.told = []
        self.next = self.event = self.response = self.error = lambda *given: None

    def on_next(self, first):
        self.told.append(("next", first))
        return self.next(first)

    def on_event(self, invocation):
        self.told.append(("event", invocation.request_id))
        return self.event(invocation)

    def on_response(self, invocation, response):
        self.told.append(("response", invocation.request_id))
        return self.response(invocation, response)

    def on_error(self, invocation, error):
        self.told.append(("error", invocation.request_id))
        return self.error(invocation, error)

    def on_done(self, invocation):
        self.told.append(("done", invocation.request_id))


class Stage:
    """A runtime, our proxy with hooks, an upstream."""

    def __init__(self):
        self.upstream = Upstream()
        self.hooks = Scripted()
        self.said = []
        self.proxy = RuntimeProxy(self.upstream.address, self.hooks, say=self.said.append)
        port = self.proxy.listen()
        self.proxy.serve()
        self.runtime = Runtime(port)
        self.up = None

    def asked(self):
        """The runtime asks; upstream has the request."""
        self.runtime.ask()
        self.up = self.up or self.upstream.accept()
        return self.up.message()

    def deliver(self, request_id=b"r1", body=b'{"n":1}'):
        self.asked()
        self.up.send(event(request_id, body))
        return self.runtime.message()

    def respond(self, body=b"[1]", what=b"response", fields=(), request_id=b"r1"):
        self.runtime.post(request_id, body, what, fields)
        message = self.up.message()
        self.up.send(OK)
        return message

    def close(self):
        self.runtime.close()
        self.proxy.close()
        self.upstream.close()


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.close()
    assert made.proxy.figures()["connections"] == 0


def test_hooks_are_told_and_nothing_changes(stage):
    got = stage.deliver()
    response = stage.respond()
    assert stage.runtime.message().head.status == 202
    stage.asked()

    assert (got.body, response.body) == (b'{"n":1}', b"[1]")
    assert stage.hooks.told == [("next", True), ("event", "r1"), ("response", "r1"), ("done", "r1"), ("next", False)]
    assert stage.said == []


def test_an_answer_before_the_runtime(stage):
    """The runtime sees the second event only."""
    stage.hooks.event = lambda invocation: Answer(b"no", "text/plain") if invocation.request_id == "r1" else None
    stage.asked()
    stage.up.send(event(b"r1", b"x" * 100_000))
    response = stage.up.message()
    stage.up.send(OK)
    again = stage.up.message()
    stage.up.send(event(b"r2"))

    assert (response.head.target.split(b"/")[-2:], response.body) == ([b"r1", b"response"], b"no")
    assert response.head.headers.get(b"content-type") == b"text/plain"
    assert again.head.method == b"GET"
    assert stage.runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    assert stage.hooks.told == [("next", True), ("event", "r1"), ("done", "r1"), ("event", "r2")]


def test_an_error_before_the_runtime(stage):
    stage.hooks.event = lambda invocation: Fail("Chaos.Injected", 'as "planned"')
    stage.asked()
    stage.up.send(event(b"r1"))
    error = stage.up.message()

    assert error.head.target.endswith(b"/r1/error")
    assert error.head.headers.get(b"lambda-runtime-function-error-type") == b"Chaos.Injected"
    assert json.loads(error.body) == {"errorType": "Chaos.Injected", "errorMessage": 'as "planned"', "stackTrace": []}


def test_a_changed_event(stage):
    stage.hooks.event = lambda invocation: Deliver(
        invocation.body() + b" ", ((b"Lambda-Runtime-Deadline-Ms", b"%d" % (invocation.deadline_ms - 5)),)
    )
    got = stage.deliver()

    assert got.body == b'{"n":1} '
    assert got.head.headers.get_all(b"lambda-runtime-deadline-ms") == [b"4102444799995"]


def test_an_event_twice(stage):
    """The first answer is swallowed; the same event follows, and its answer goes upstream."""
    stage.hooks.event = lambda invocation: Deliver(twice=True)
    got = stage.deliver()
    stage.runtime.post(b"r1", b"[1]")
    swallowed = stage.runtime.message()
    stage.runtime.ask()
    again = stage.runtime.message()
    response = stage.respond(b"[2]")

    assert (swallowed.head.status, again) == (202, got)
    assert response.body == b"[2]"
    assert stage.runtime.message().head.status == 202


@pytest.mark.parametrize("mode", ["known length", "in chunks"])
def test_a_replaced_response(stage, mode):
    stage.hooks.response = lambda invocation, response: Replace(b"other" + response.body(), "text/x")
    stage.deliver()
    if mode == "in chunks":
        stage.runtime.send(
            b"POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\nHost: a\r\n"
            b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n"
        )
    else:
        stage.runtime.post(b"r1", b"[1]")
    response = stage.up.message()
    stage.up.send(OK)

    assert response.body == b"other[1]"
    assert not response.head.chunked
    assert response.head.headers.get_all(b"content-type") == [b"text/x"]
    assert stage.runtime.message().head.status == 202


def test_an_error_after_the_runtime(stage):
    """Its body is thrown away; it is told that all is well."""
    stage.hooks.response = lambda invocation, response: Fail("Chaos.After", "x")
    stage.deliver()
    error = stage.respond(b"y" * 300_000)

    assert error.head.target.endswith(b"/r1/error")
    assert stage.runtime.message().head.status == 202
    stage.asked()


def test_an_error_becomes_an_answer(stage):
    stage.hooks.error = lambda invocation, error: Answer(b"fine")
    stage.deliver()
    response = stage.respond(b"{}", b"error")

    assert (response.head.target.split(b"/")[-1], response.body) == (b"response", b"fine")
    assert stage.runtime.message().head.status == 202


def test_a_stream_is_transformed_and_keeps_its_trailers(stage):
    stage.hooks.response = lambda invocation, response: Stream(lambda chunks: (chunk.upper() for chunk in chunks))
    stage.deliver()
    stage.runtime.send(
        b"POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\nHost: a\r\n"
        b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    stage.runtime.send(http1.encode_chunk(b"ab"), b"0\r\nX: y\r\n\r\n")
    response = stage.up.message()
    stage.up.send(OK)

    assert (response.body, response.trailers.get(b"x")) == (b"AB", b"y")
    assert stage.runtime.message().head.status == 202


def test_a_stream_is_cut(stage):
    """Upstream sees a body without an end; the runtime is told that all is well, and goes on."""

    def cut(chunks):
        yield next(chunks)
        raise Cut

    stage.hooks.response = lambda invocation, response: Stream(cut)
    stage.deliver()
    stage.runtime.post(b"r1", b"z" * 1000)
    data, how = stage.up.rest()
    stage.up = None

    assert (data.endswith(http1.encode_chunk(b"z" * 1000)), how) == (True, "closed")
    assert stage.runtime.message().head.status == 202
    stage.asked()


def test_init_is_made_to_fail(stage):
    stage.hooks.next = lambda first: Fail("Chaos.Init", "no")
    stage.runtime.ask()
    up = stage.upstream.accept()
    assert up.message().head.target == b"/2018-06-01/runtime/init/error"
    up.send(OK)
    assert stage.runtime.rest() == (b"", "reset")


@pytest.mark.parametrize("hook", ["next", "event", "response", "error"])
def test_a_hook_that_raises_changes_nothing(stage, hook):
    setattr(stage.hooks, hook, lambda *given: 1 / 0)
    assert stage.deliver().body == b'{"n":1}'
    assert stage.respond(what=b"error" if hook == "error" else b"response").body == b"[1]"
    assert stage.runtime.message().head.status == 202
    assert len(stage.said) == 1
    assert f"on_{hook} raised ZeroDivisionError" in stage.said[0]
    assert stage.proxy.figures()[f"on_{hook}_failed"] == 1


def test_what_upstream_refuses_is_reported(stage):
    stage.hooks.event = lambda invocation: Answer(b"x" * 50) if invocation.request_id == "r1" else None
    stage.asked()
    stage.up.send(event(b"r1"))
    stage.up.message()
    stage.up.send(http1.encode_response(413, (), b"too large"))
    stage.up.message()
    stage.up.send(event(b"r2"))

    assert stage.runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    assert "refused with 413" in stage.said[0]
