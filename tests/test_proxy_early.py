"""Upstream speaks before it has all of what hooks have changed: it is heard, and what it still wants it gets."""

from __future__ import annotations

import threading

import pytest

from extension_kit.protocol import http1
from extension_kit.proxy import Answer, Cut, Stream
from tests.proxying import OK, PATIENCE, event, posted
from tests.test_proxy_hooks import Stage

EARLY = b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"
HEAD = (
    b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
ONE = http1.encode_chunk(b"one")
LARGE = b"x" * 30_000_000


@pytest.fixture
def stage():
    made = Stage()
    yield made
    made.close()
    assert made.proxy.figures()["connections"] == 0


def begun(stage, transform=lambda chunks: chunks):
    """A stream whose first chunk is upstream."""
    stage.hooks.response = lambda invocation, response: Stream(transform)
    stage.deliver()
    stage.runtime.send(HEAD, ONE)
    assert stage.up.exactly(len(HEAD) + len(ONE)).endswith(ONE)


def test_a_stream_that_is_accepted_early_arrives_whole(stage):
    """As without hooks: the runtime hears it at the next chunk, and is not told a second time."""
    begun(stage)
    stage.up.send(OK)
    stage.runtime.send(http1.encode_chunk(b"two"), b"0\r\nX: y\r\n\r\n")
    rest = http1.encode_chunk(b"two") + b"0\r\nx: y\r\n\r\n"
    assert stage.up.exactly(len(rest)).lower() == rest
    assert stage.runtime.message().head.status == 202
    assert stage.asked().head.method == b"GET"


@pytest.mark.parametrize("early", [http1.CONTINUE, EARLY, EARLY + EARLY], ids=["continue", "hints", "two"])
def test_interim_answers_in_the_middle_of_a_stream(stage, early):
    begun(stage)
    stage.up.send(early)
    stage.runtime.send(http1.encode_chunk(b"two"), b"0\r\n\r\n")
    rest = http1.encode_chunk(b"two") + b"0\r\n\r\n"
    assert stage.up.exactly(len(rest)) == rest
    stage.up.send(OK)
    assert stage.runtime.exactly(len(early)) == early
    assert stage.runtime.message().head.status == 202
    assert stage.asked().head.method == b"GET"


def test_a_refusal_right_behind_an_interim_answer(stage):
    """In one piece: nothing more is said to whom will not read it."""
    begun(stage, lambda chunks: (LARGE if chunk == b"two" else chunk for chunk in chunks))
    refusal = http1.encode_response(413, (), b"too large")
    stage.up.send(EARLY + refusal)
    stage.runtime.send(http1.encode_chunk(b"two"), b"0\r\n\r\n")
    assert stage.runtime.exactly(len(EARLY + refusal)) == EARLY + refusal
    stage.up = None
    assert stage.asked().head.method == b"GET"


def test_a_stream_is_cut_after_it_was_accepted(stage):
    """The runtime has its answer: one is enough."""

    def cut(chunks):
        yield next(chunks)
        yield next(chunks)
        raise Cut

    begun(stage, cut)
    stage.up.send(OK)
    stage.runtime.send(http1.encode_chunk(b"two"), b"0\r\n\r\n")
    assert stage.up.rest()[0] == http1.encode_chunk(b"two")
    assert stage.runtime.message().head.status == 202
    stage.up = None
    stage.deliver(b"r2")


@pytest.mark.parametrize("early", [EARLY, OK], ids=["interim", "accepted"])
def test_what_hooks_post_arrives_whole(stage, early):
    """Whatever upstream says in the middle of it."""
    stage.hooks.event = lambda invocation: Answer(LARGE) if invocation.request_id == "r1" else None
    stage.asked()
    stage.up.send(event(b"r1"))
    data = stage.up.exactly(1_000)
    stage.up.send(early)
    head = data.partition(b"\r\n\r\n")[0]
    got = []
    thread = threading.Thread(target=lambda: got.append(stage.up.exactly(len(head) + 4 + len(LARGE) - len(data))))
    thread.start()
    thread.join(PATIENCE)
    assert data + got[0] == head + b"\r\n\r\n" + LARGE
    if early == EARLY:
        stage.up.send(OK)
        assert stage.runtime.exactly(len(EARLY)) == EARLY
    assert stage.up.message().head.method == b"GET"
    stage.up.send(event(b"r2"))
    assert stage.runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    assert stage.said == []
