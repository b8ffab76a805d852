"""What hooks return, and what comes of it on both sides."""

from __future__ import annotations

import json
import os
import threading

import pytest

from extension_kit.errors import RemoteProtocolError
from extension_kit.protocol import http1
from extension_kit.proxy import Answer, Cut, Deliver, Fail, Hooks, Replace, RuntimeProxy, Stream
from tests.proxying import NEXT, OK, PATIENCE, Runtime, Upstream, event, posted


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

    def __init__(self, **settings):
        self.upstream = Upstream()
        self.hooks = Scripted()
        self.said = []
        self.proxy = RuntimeProxy(self.upstream.address, self.hooks, say=self.said.append, **settings)
        self.port = self.proxy.listen()
        self.proxy.serve()
        self.runtime = Runtime(self.port)
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
def stage(request):
    made = Stage(**getattr(request, "param", {}))
    yield made
    made.close()
    assert made.proxy.figures()["connections"] == 0


SEVERAL = pytest.mark.parametrize("stage", [{"concurrent": True}], indirect=True, ids=["several"])


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


# before the runtime


def test_an_answer_as_large_as_may_be(stage):
    body = b"x" * 6_291_556
    stage.hooks.event = lambda invocation: Answer(body) if invocation.request_id == "r1" else None
    stage.asked()
    stage.up.send(event(b"r1"))
    assert stage.up.message().body == body
    stage.up.send(OK)
    stage.up.message()


@pytest.mark.parametrize("closes", [False, True], ids=["it stays", "it closes"])
def test_a_refusal_while_an_answer_is_posted(stage, closes):
    """413 before the body was taken: never a hang; the next event comes on a new connection."""
    stage.hooks.event = lambda invocation: Answer(b"x" * 30_000_000) if invocation.request_id == "r1" else None
    stage.asked()
    stage.up.send(event(b"r1"))
    stage.up.sock.recv(1_000)
    stage.up.send(http1.encode_response(413, (), b"too large", keep_alive=not closes))
    again = stage.upstream.accept()
    again.message()
    again.send(event(b"r2"))
    assert stage.runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    assert stage.said == ["what a hook returned was refused with 413: b'too large'"]
    assert stage.proxy.figures()["refused_413"] == 1


def test_upstream_goes_while_an_answer_is_posted(stage):
    """Reported; the runtime is served on."""
    stage.hooks.event = lambda invocation: Answer(b"x") if invocation.request_id == "r1" else None
    stage.asked()
    stage.up.send(event(b"r1"))
    stage.up.message()
    stage.up.close()
    again = stage.upstream.accept()
    again.message()
    again.send(event(b"r2"))
    assert stage.runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    assert stage.said == ["what a hook returned was not taken: the connection was closed"]


def test_upstream_closes_while_a_hook_takes_its_time(stage):
    """As an idle connection: what was not sent is sent on a new one."""

    def slow(_invocation, _response):
        stage.up.close()
        while not stage.up.sock._closed:
            pass

    stage.deliver()
    stage.hooks.response = slow
    stage.runtime.post(b"r1", b"[1]")
    again = stage.upstream.accept()
    assert again.message().body == b"[1]"
    again.send(OK)
    assert stage.runtime.message().head.status == 202


def test_a_request_that_closes_its_connection(stage):
    """A short circuit needs another one, and finds it."""
    stage.hooks.event = lambda invocation: Answer(b"x") if invocation.request_id == "r1" else None
    stage.runtime.send(http1.encode_request(b"GET", NEXT, [(b"Host", b"a"), (b"Connection", b"close")]))
    first = stage.upstream.accept()
    first.message()
    first.send(event(b"r1"))
    assert first.rest() == (b"", "closed")
    second = stage.upstream.accept()
    assert second.message().body == b"x"
    second.send(OK)
    second.message()
    second.send(event(b"r2"))
    assert stage.runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    assert stage.runtime.rest() == (b"", "closed")


def test_a_runtime_with_a_new_connection_for_every_call(stage):
    """As a shell script with curl: hooks see the answer all the same."""
    stage.deliver()
    stage.runtime.close()
    stage.up.rest()
    answering = Runtime(stage.port)
    answering.post(b"r1")
    up = stage.upstream.accept()
    up.message()
    up.send(OK)
    assert answering.message().head.status == 202
    answering.close()
    asking = Runtime(stage.port)
    asking.ask()
    stage.upstream.accept().message()
    assert stage.hooks.told == [("next", True), ("event", "r1"), ("response", "r1"), ("done", "r1"), ("next", False)]
    asking.close()


def test_an_event_that_is_never_answered_is_over_at_the_next(stage):
    stage.deliver()
    stage.asked()
    assert stage.hooks.told == [("next", True), ("event", "r1"), ("done", "r1"), ("next", False)]


def test_an_event_that_is_never_answered_is_over_at_the_end(stage):
    stage.deliver()
    stage.proxy.close()
    assert stage.hooks.told[-1] == ("done", "r1")


@SEVERAL
def test_concurrent_events_keep_apart(stage):
    """Managed Instances: each invocation has its own notes."""

    def note(invocation):
        invocation.notes["n"] = invocation.body()

    stage.hooks.event = note
    stage.hooks.response = lambda invocation, response: Replace(response.body() + invocation.notes["n"])
    runtimes = [Runtime(stage.port) for _ in range(8)]
    ups = []
    for number, runtime in enumerate(runtimes):
        runtime.ask()
        ups.append(stage.upstream.accept())
        ups[-1].message()
        ups[-1].send(event(b"r%d" % number, b"event %d" % number))
        runtime.message()
    for number in (3, 0, 7, 1, 6, 2, 5, 4):
        runtimes[number].post(b"r%d" % number, b"[]")
        assert ups[number].message().body == b"[]event %d" % number
    for runtime in runtimes:
        runtime.close()


@SEVERAL
def test_too_many_open_events_are_forgotten(stage, monkeypatch):
    """Bounded: the oldest is over, and its answer passes as it is."""
    monkeypatch.setattr("extension_kit.proxy._MAX_OPEN", 1)
    stage.deliver()
    other = Runtime(stage.port)
    other.ask()
    up = stage.upstream.accept()
    up.message()
    up.send(event(b"r2"))
    other.message()
    assert stage.respond().body == b"[1]"
    assert [what for what, _ in stage.hooks.told if what == "response"] == []
    assert ("done", "r1") in stage.hooks.told
    other.close()


def test_interim_answers_pass(stage):
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    stage.asked()
    stage.up.send(early + event(b"r1"))
    assert stage.runtime.exactly(len(early)) == early
    assert stage.runtime.message().head.status == 200
    assert ("event", "r1") in stage.hooks.told


def test_an_event_without_an_id_is_none_for_hooks(stage):
    stage.asked()
    stage.up.send(http1.encode_response(200, (), b"{}"))
    assert stage.runtime.message().body == b"{}"
    assert stage.hooks.told == [("next", True)]


def test_an_event_too_large_for_twice(stage, monkeypatch):
    monkeypatch.setattr("extension_kit.proxy_hooks.MAX_BODY", 3)
    stage.hooks.event = lambda invocation: Deliver(twice=True)
    assert stage.deliver().body == b'{"n":1}'
    assert stage.respond().body == b"[1]"
    assert stage.said == ["an event is too large to be delivered twice"]


def test_an_answer_to_what_hooks_post_that_is_no_http(stage):
    stage.hooks.event = lambda invocation: Answer(b"x") if invocation.request_id == "r1" else None
    stage.asked()
    stage.up.send(event(b"r1"))
    stage.up.message()
    stage.up.send(b"\0\1\2")
    again = stage.upstream.accept()
    again.message()
    again.send(event(b"r2"))
    assert stage.runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    assert "was not taken" in stage.said[0]


def test_a_platform_that_refuses_next(stage):
    """No event: the refusal passes, no hook is asked."""
    stage.asked()
    refusal = http1.encode_response(403, ((b"X", b"y"),), b"{}")
    stage.up.send(refusal)
    assert stage.runtime.exactly(len(refusal)) == refusal
    assert stage.hooks.told == [("next", True)]


def test_restore_next_ends_init(stage):
    """SnapStart: it is the first request, and what follows is not."""
    stage.runtime.send(b"GET /2018-06-01/runtime/restore/next HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.up = stage.upstream.accept()
    stage.up.message()
    stage.up.send(http1.encode_response(200))
    stage.runtime.message()
    stage.asked()
    assert stage.hooks.told == [("next", True), ("next", False)]


def test_init_is_over_it_cannot_fail_any_more(stage):
    stage.hooks.next = lambda first: None if first else Fail("Late", "x")
    stage.deliver()
    stage.respond()
    stage.runtime.message()
    stage.asked()
    assert stage.said == ["on_next returned Fail after init: the exchange goes on unchanged"]


# what hooks may not do


@pytest.mark.parametrize(
    "verdict",
    [
        "text", Replace(b"x"), Answer("text"), Answer(b"x", "a\r\nb: c"), Answer(b"x", 5), Deliver(headers=((b"A\n", b"b"),)),
        Deliver(headers=((b"Content-Length", b"1"),)), Deliver(body="text"), Deliver(headers=5), Fail("x", "y", body=3),
    ],
    ids=repr,
)  # fmt: skip
def test_what_on_event_may_not_return_changes_nothing(stage, verdict):
    stage.hooks.event = lambda invocation: verdict
    assert stage.deliver().body == b'{"n":1}'
    assert stage.respond().body == b"[1]"
    assert len(stage.said) == 1
    assert stage.said[0].endswith("allowed are None, Answer, Fail, Deliver: the exchange goes on unchanged")


def test_a_request_id_that_no_path_can_hold(stage):
    stage.hooks.event = lambda invocation: Answer(b"x")
    assert stage.deliver(b"r 1").body == b'{"n":1}'
    assert "cannot be posted" in stage.said[0]


def test_a_hook_that_fails_with_an_oserror_changes_nothing(stage):
    """It is the hook's own, not one of the connections'."""
    stage.hooks.event = lambda invocation: os.stat("/no such file")
    stage.hooks.response = lambda invocation, response: os.stat("/no such file")
    assert stage.deliver().body == b'{"n":1}'
    assert stage.respond().body == b"[1]"
    assert len(stage.said) == 2


def test_say_that_fails_harms_nothing(stage):
    stage.hooks.event = lambda invocation: 1 / 0
    stage.proxy._say = lambda text: 1 / 0
    assert stage.deliver().body == b'{"n":1}'


@pytest.mark.parametrize("size", [100, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_for_a_hook(stage, monkeypatch, size, chunked):
    """RemoteProtocolError in the hook; what was read goes on with the rest."""
    monkeypatch.setattr("extension_kit.proxy_hooks.MAX_BODY", 50)
    body = bytes(range(200)) * (size // 200) or b"y" * size
    seen = []

    def read(_invocation, response):
        with pytest.raises(RemoteProtocolError, match="larger than 50 bytes"):
            response.body()
        seen.append(response.length)

    stage.hooks.response = read
    stage.deliver()
    if chunked:
        head = b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        data = head + http1.encode_chunk(body) + b"0\r\nX: y\r\n\r\n"
        thread = threading.Thread(target=stage.runtime.send, args=(data,))
    else:
        thread = threading.Thread(target=stage.runtime.post, args=(b"r1", body))
    thread.start()
    got = stage.up.message()
    stage.up.send(OK)
    thread.join(PATIENCE)

    assert (got.body, got.trailers.get(b"x")) == (body, b"y" if chunked else None)
    assert seen == [None if chunked else size]
    assert stage.runtime.message().head.status == 202


# responses and errors


@pytest.mark.parametrize("verdict", [None, "replace", "fail", "stream"])
def test_a_runtime_that_waits_to_be_told_to_continue(stage, verdict):
    """Where a hook wants the body it is we who tell it; upstream is not asked twice."""
    made = {"replace": Replace(b"other"), "fail": Fail("X", "y"), "stream": Stream(lambda chunks: chunks), None: None}[
        verdict
    ]

    def read(_invocation, response):
        if verdict is None:
            response.body()
        return made

    stage.hooks.response = read
    stage.deliver()
    stage.runtime.send(
        b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    assert stage.runtime.exactly(len(http1.CONTINUE)) == http1.CONTINUE
    stage.runtime.send(b"[1]")
    got = stage.up.message()
    stage.up.send(OK)
    assert b"expect" not in got.head.headers
    assert got.body == {"replace": b"other", "stream": b"[1]", None: b"[1]"}.get(verdict, got.body)
    assert stage.runtime.message().head.status == 202


def test_a_replaced_response_that_is_refused(stage):
    """The runtime has no part in that: to it all is well. It is reported."""
    stage.hooks.response = lambda invocation, response: Replace(b"x" * 100)
    stage.deliver()
    stage.runtime.post(b"r1")
    stage.up.message()
    stage.up.send(http1.encode_response(413, (), b"too large"))
    assert stage.runtime.message().head.status == 202
    assert stage.proxy.figures()["refused_413"] == 1
    stage.asked()


def test_a_response_of_the_runtime_that_is_refused(stage):
    """413 is the runtime's to know."""
    stage.deliver()
    stage.runtime.post(b"r1", b"x" * 100)
    stage.up.message()
    refusal = http1.encode_response(413, (), b"too large")
    stage.up.send(refusal)
    assert stage.runtime.exactly(len(refusal)) == refusal


def test_an_error_with_another_body_keeps_its_fields(stage):
    stage.hooks.error = lambda invocation, error: Replace(error.body().upper())
    stage.deliver()
    fields = ((b"Lambda-Runtime-Function-Error-Type", b"A.B"), (b"Lambda-Runtime-Function-XRay-Error-Cause", b"{}"))
    error = stage.respond(b"abc", b"error", fields)
    assert error.body == b"ABC"
    assert [error.head.headers.get(name.lower()) for name, _value in fields] == [b"A.B", b"{}"]


def test_an_error_of_one_s_own(stage):
    stage.hooks.error = lambda invocation, error: Fail("Other", "x", b"whole")
    stage.deliver()
    error = stage.respond(b"abc", b"error")
    assert (error.body, error.head.headers.get(b"lambda-runtime-function-error-type")) == (b"whole", b"Other")


def test_twice_where_the_first_answer_is_an_error(stage):
    stage.hooks.event = lambda invocation: Deliver(b"changed", twice=True)
    got = stage.deliver()
    stage.runtime.post(b"r1", b"{}", b"error")
    assert stage.runtime.message().head.status == 202
    stage.hooks.event = lambda invocation: None
    stage.runtime.ask()
    assert stage.runtime.message() == got
    assert stage.respond(b"[2]").body == b"[2]"
    assert stage.runtime.message().head.status == 202
    assert stage.asked().head.method == b"GET"
    assert [what for what, _ in stage.hooks.told] == ["next", "event", "next", "response", "done", "next"]


def test_too_many_twice(stage, monkeypatch):
    monkeypatch.setattr("extension_kit.proxy._MAX_REPLAYS", 0)
    stage.hooks.event = lambda invocation: Deliver(twice=True)
    stage.deliver()
    assert stage.respond().body == b"[1]"
    assert stage.said == ["too many events wait to be delivered twice: this one is not"]


# streams


def streaming(stage, transform, *chunks, end=b"0\r\nX: y\r\n\r\n"):
    """A streamed response through `transform`, whose chunks arrive before the next is written."""
    stage.hooks.response = lambda invocation, response: Stream(transform)
    stage.deliver()
    stage.runtime.send(
        b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for chunk in chunks:
        stage.runtime.send(http1.encode_chunk(chunk))
    stage.runtime.send(end)


def test_chunks_are_transformed_as_they_come(stage):
    """The second is written when the first, changed, is upstream."""
    stage.hooks.response = lambda invocation, response: Stream(lambda chunks: (chunk.upper() for chunk in chunks))
    stage.deliver()
    head = b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    stage.runtime.send(head)
    assert stage.up.exactly(len(head)) == head
    for letter in (b"a", b"b"):
        stage.runtime.send(http1.encode_chunk(letter * 5))
        assert stage.up.exactly(10) == http1.encode_chunk(letter.upper() * 5)
    stage.runtime.send(b"0\r\n\r\n")
    assert stage.up.exactly(5) == b"0\r\n\r\n"


def test_a_transform_that_raises_lets_the_rest_pass(stage):
    def fails(chunks):
        yield next(chunks).upper()
        raise ValueError("oops")

    streaming(stage, fails, b"ab", b"cd")
    got = stage.up.message()
    stage.up.send(OK)
    assert (got.body.lower(), got.body[:2], got.trailers.get(b"x")) == (b"abcd", b"AB", b"y")
    assert stage.said == ["the transform of a stream raised ValueError: oops: its rest passes unchanged"]
    assert stage.runtime.message().head.status == 202


def test_a_transform_that_is_none(stage):
    streaming(stage, lambda chunks: 5, b"ab")
    assert stage.up.message().body == b"ab"
    assert "TypeError" in stage.said[0]


def test_a_transform_that_ends_early(stage):
    """The body is as long as it has made it; the runtime's rest is thrown away."""
    streaming(stage, lambda chunks: iter([next(chunks)]), b"ab", b"cd")
    stage.up.message()
    stage.up.send(OK)
    assert stage.runtime.message().head.status == 202


@pytest.mark.parametrize("closes", [False, True], ids=["it stays", "it closes"])
def test_a_stream_that_upstream_refuses(stage, closes):
    """In mid-body: the runtime is told, and what it still says is thrown away. Never a hang."""
    going_on = threading.Event()

    def endless(chunks):
        yield next(chunks)
        going_on.wait(PATIENCE)
        while True:
            yield b"x" * 60_000

    streaming(stage, endless, b"ab", b"cd")
    head = stage.up.sock.recv(65_536)
    while not head.endswith(http1.encode_chunk(b"ab")):
        head += stage.up.sock.recv(65_536)
    refusal = http1.encode_response(413, (), b"too large", keep_alive=not closes)
    stage.up.send(refusal)
    going_on.set()
    assert stage.runtime.exactly(len(refusal)) == refusal
    if not closes:
        stage.up = None
        assert stage.asked().head.method == b"GET"


def test_a_transform_that_makes_no_bytes(stage):
    streaming(stage, lambda chunks: iter([10**12]), b"ab")
    assert stage.up.message().body == b"ab"
    assert "TypeError" in stage.said[0]


def test_a_stream_whose_runtime_dies(stage):
    """Upstream sees a body without an end."""
    stage.hooks.response = lambda invocation, response: Stream(lambda chunks: chunks)
    stage.deliver()
    stage.runtime.send(
        b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    )
    stage.up.sock.recv(65_536)
    stage.runtime.close()
    assert not stage.up.rest()[0].endswith(b"0\r\n\r\n")


def test_a_stream_is_cut_at_its_very_beginning(stage):
    def cut(chunks):
        raise Cut
        yield

    streaming(stage, cut, b"ab")
    data, how = stage.up.rest()
    assert (data.partition(b"\r\n\r\n")[2], how) == (b"", "closed")
    assert stage.runtime.message().head.status == 202
