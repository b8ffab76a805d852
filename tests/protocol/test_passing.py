"""Heads on their way through a proxy: what is read by a few searches, the codec reads alike."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit.errors import RemoteProtocolError
from extension_kit.protocol import http1, passing

EXAMPLES = int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "300"))
ASK = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"
POST = b"POST /2018-06-01/runtime/invocation/r-1/response HTTP/1.1\r\n"
ERROR = b"POST /2018-06-01/runtime/invocation/r-1/error HTTP/1.1\r\n"

LINES = (
    b"Host: a",
    b"host:a",
    b"Content-Length: 5",
    b"content-length:7",
    b"Content-Length: 5, 5",
    b"Content-Length: x",
    b"Content-Length:",
    b"Content-Length : 5",
    b"Content-Length: 1234567890123456789",
    b"CONTENT-LENGTH: \t0 ",
    b"Content-Length: +5",
    b"Content-Lengthy: 9",
    b"X-Content-Length: 9",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: gzip",
    b"Transfer-Encoding : x",
    b"Expect: 100-continue",
    b"Connection: keep-alive",
    b"connection: close",
    b"Connection: Keep-Alive, x",
    b"Upgrade: h2c",
    b"X: connection: close",
    b"X: \r",
    b"X: a\nContent-Length: 3",
    b" Content-Length: 3",
    b"\tX: y",
    b"X: \0",
    b"Content-Length: 3\r",
    b"Connection",
    b"X",
    b": y",
    b"Lambda-Runtime-Aws-Request-Id: r-1",
)
FIRST = (
    ASK,
    POST,
    ERROR,
    b"GET / HTTP/1.1\r\n",
    b"POST /2018-06-01/runtime/invocation/r-1/other HTTP/1.1\r\n",
    b"POST /2018-06-01/runtime/invocation/r-1/response HTTP/1.0\r\n",
    b"POST /2018-06-01/runtime/invocation//response HTTP/1.1\r\n",
    b"POST /2018-06-01/runtime/invocation/r 1/response HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 202\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n",
    b"HTTP/1.1 304 x\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 20 OK\r\n",
    b"HTTP/1.1 2000 OK\r\n",
    b"HTTP/1.1 413 \r\n",
    b"HTTP/1.1 200 a\nb\r\n",
)


def heads():
    lines = st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=20)), max_size=6)
    return st.builds(
        lambda first, more: first + b"".join(line + b"\r\n" for line in more) + b"\r\n", st.sampled_from(FIRST), lines
    )


def by_codec(role, head):
    """What the codec makes of it; None where it refuses."""
    end = head.find(b"\r\n\r\n") + 4
    reader = http1.Reader(role)
    reader.receive(head[:end])
    try:
        return reader.next_event()
    except RemoteProtocolError:
        return None


@settings(max_examples=EXAMPLES, deadline=None)
@given(heads())
def test_a_request_is_read_as_the_codec_reads_it(head):
    """Or not at all; where the codec refuses it, it is for what does not tell where the message ends."""
    head = head[: head.find(b"\r\n\r\n") + 4]
    found = passing.quick_request(head)
    codec = by_codec(http1.SERVER, head)
    if found is not None and codec is not None:
        call, length = found
        assert (codec.content_length, codec.chunked, codec.keep_alive, codec.expect_continue) == (
            length,
            False,
            True,
            False,
        )
        assert passing.call_of(codec.method, codec.target) == call


@settings(max_examples=EXAMPLES, deadline=None)
@given(heads())
def test_an_answer_is_read_as_the_codec_reads_it(head):
    head = head[: head.find(b"\r\n\r\n") + 4]
    found = passing.quick_response(head)
    codec = by_codec(http1.CLIENT, head)
    if found is not None and codec is not None:
        assert (codec.status, codec.content_length, codec.chunked, codec.keep_alive) == (*found, False, True)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (ASK + b"Host: a\r\n\r\n", (passing.NEXT, 0)),
        (ASK + b"Host: a\r\nContent-Length: 0\r\n\r\n", None),
        (ASK + b"Host: a\r\nConnection: keep-alive\r\n\r\n", (passing.NEXT, 0)),
        (ASK + b"Host: a\r\nConnection: close\r\n\r\n", None),
        (ASK + b"Host: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", None),
        (POST + b"Content-Length: 5\r\n\r\n", (passing.RESPONSE, 5)),
        (ERROR + b"content-length:5\t\r\n\r\n", (passing.ERROR, 5)),
        (POST + b"Host: a\r\n\r\n", None),
        (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", None),
        (POST + b"Content-Length : 5\r\n\r\n", None),
        (POST + b"Content-Length: 5a\r\n\r\n", None),
        (POST + b"Content-Length: 1111111111111111111\r\n\r\n", None),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", None),
        (POST + b"Content-Length: 5\r\nUpgrade: x\r\n\r\n", None),
        (POST + b"X: a\nContent-Length: 5\r\n\r\n", None),
        (POST + b"X: a\r\n Content-Length: 5\r\n\r\n", None),
        (b"POST /2018-06-01/runtime/invocation/a/other HTTP/1.1\r\nContent-Length: 5\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\n\r\n", None),
    ],
)
def test_requests(head, found):
    assert passing.quick_request(head) == found


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (200, 5)),
        (b"HTTP/1.1 413\r\nContent-Length: 0\r\n\r\n", (413, 0)),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"HTTP/1.1 2x0 OK\r\nContent-Length: 5\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", None),
    ],
)
def test_answers(head, found):
    assert passing.quick_response(head) == found


@pytest.mark.parametrize(
    ("method", "target", "call"),
    [
        (b"GET", b"/2018-06-01/runtime/invocation/next", passing.NEXT),
        (b"GET", b"/2018-06-01/runtime/restore/next", passing.RESTORE_NEXT),
        (b"POST", b"/2018-06-01/runtime/invocation/a/response", passing.RESPONSE),
        (b"POST", b"/2018-06-01/runtime/invocation/a/error", passing.ERROR),
        (b"POST", b"/2018-06-01/runtime/invocation/a/b/error", passing.OTHER),
        (b"POST", b"/2018-06-01/runtime/invocation/next", passing.OTHER),
        (b"POST", b"/2018-06-01/runtime/init/error", passing.OTHER),
        (b"PUT", b"/2018-06-01/runtime/invocation/a/response", passing.OTHER),
    ],
)
def test_calls(method, target, call):
    assert passing.call_of(method, target) == call


def test_the_request_id_in_a_path():
    assert passing.request_id_of(POST) == "r-1"


@pytest.mark.parametrize(
    ("head", "after"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1:99\r\nX: y\r\n\r\n", b"GET / HTTP/1.1\r\nHost: up:1\r\nX: y\r\n\r\n"),
        (
            b"GET / HTTP/1.1\r\nX: y\r\nhOST:\t localhost:99 \r\n\r\n",
            b"GET / HTTP/1.1\r\nX: y\r\nhOST:\t up:1 \r\n\r\n",
        ),
        (b"GET / HTTP/1.1\r\nHost: elsewhere:98\r\n\r\n", b"GET / HTTP/1.1\r\nHost: elsewhere:98\r\n\r\n"),
        (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"),
    ],
)
def test_host(head, after):
    """Ours becomes the Runtime API's; any other name was meant as it is."""
    assert passing.host_replaced(head, b":99", b"up:1") == after


def test_fields_are_replaced_added_and_left_out():
    head = b"HTTP/1.1 200 OK\r\nA: 1\r\nb: 2\r\nB: 3\r\nC: 4\r\n\r\n"
    after = passing.edited(head, ((b"B", b"9"), (b"D", b"5")), frozenset({b"c"}))
    assert after == b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 9\r\nD: 5\r\n\r\n"
    assert passing.fields(after) == [(b"A", b"1"), (b"B", b"9"), (b"D", b"5")]


@pytest.mark.parametrize(
    ("field", "sayable"),
    [
        ((b"A", b"b"), True),
        ((b"", b"b"), False),
        ((b"A\r\nB", b"b"), False),
        ((b"A", b"b\nc"), False),
        ((b"A:", b"b"), False),
        ((b"A", b"\0"), False),
        ((b"Content-Length", b"3"), False),
        ((b"transfer-encoding", b"chunked"), False),
    ],
)
def test_what_can_be_a_field(field, sayable):
    assert passing.sayable([field]) is sayable
