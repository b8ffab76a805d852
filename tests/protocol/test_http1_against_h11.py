"""The codec beside h11, the judge: equal on what is valid, no more lenient on what is not.

``KIT_TESTS_FUZZ_EXAMPLES`` sets the number of examples (300; `make soak` takes 10,000).
"""

from __future__ import annotations

import os

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit.errors import RemoteProtocolError
from extension_kit.protocol import http1

fuzz = settings(max_examples=int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "300")), deadline=None)

TOKEN = st.text("abcXYZ019-_!~", min_size=1, max_size=8).map(str.encode)
VALUE = st.text("abc XYZ,;=/\t019\u00e9", max_size=12).map(lambda text: text.encode("latin-1").strip(b" \t"))
FRAMING = (b"content-length", b"transfer-encoding", b"host", b"expect", b"connection", b"upgrade")
HEADERS = st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in FRAMING), VALUE), max_size=5)
BODY = st.binary(max_size=60)


def framed(draw, body: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    if draw(st.booleans()):
        return [(b"Content-Length", b"%d" % len(body))], body
    size = draw(st.integers(1, 20))
    chunks = b"".join(http1.encode_chunk(body[at : at + size]) for at in range(0, len(body), size))
    return [(b"Transfer-Encoding", b"chunked")], chunks + http1.encode_last_chunk(draw(HEADERS))


@st.composite
def requests(draw) -> bytes:
    """One valid request."""
    framing, body = framed(draw, draw(BODY))
    connection = draw(st.sampled_from([[], [(b"Connection", b"close")], [(b"connection", b"Keep-Alive")]]))
    headers = [(b"Host", b"a"), *draw(HEADERS), *framing, *connection]
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"X-OWN"]))
    return http1.encode_head(method + b" /" + draw(TOKEN) + b" HTTP/1.1", headers) + body


@st.composite
def responses(draw) -> bytes:
    """One valid response to a GET."""
    framing, body = framed(draw, draw(BODY))
    status = draw(st.sampled_from([200, 202, 400, 403, 500]))
    return http1.encode_head(b"HTTP/1.1 %d Some Reason" % status, [*draw(HEADERS), *framing]) + body


def ours(role: str, pieces: list[bytes], *, eof: bool = True):
    """Start line, headers, body, trailers of the first message; "refused"; or "incomplete"."""
    reader = http1.Reader(role)
    head, body, trailers = None, b"", None
    try:
        for piece in [*pieces, None]:
            if piece is None:
                if not eof:
                    break
                reader.receive_eof()
            else:
                reader.receive(piece)
            while (event := reader.next_event()) is not http1.NEED_DATA and event is not http1.PAUSED:
                assert reader.buffered <= http1.DEFAULT_LIMITS.max_head + 4096 + sum(map(len, pieces))
                if isinstance(event, http1.Data):
                    body += event.data
                elif isinstance(event, http1.EndOfMessage):
                    trailers = lowered(event.trailers)
                else:
                    head = event
            if trailers is not None:
                break
    except RemoteProtocolError:
        return "refused"
    if head is None or trailers is None:
        return "incomplete"
    start = (head.method, head.target) if isinstance(head, http1.RequestHead) else (head.status, head.reason)
    return start, lowered(head.headers), body, trailers


def theirs(role: str, data: bytes):
    """The same, by h11."""
    connection = h11.Connection(h11.SERVER if role == http1.SERVER else h11.CLIENT)
    if role == http1.CLIENT:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    start, headers, body, trailers = None, None, b"", None
    try:
        connection.receive_data(data)
        if data:
            connection.receive_data(b"")
        while trailers is None:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                start, headers = (event.method, event.target), list(event.headers)
            elif isinstance(event, h11.Response):
                start, headers = (event.status_code, event.reason), list(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers = list(event.headers)
            elif not isinstance(event, h11.InformationalResponse):
                return "incomplete"
    except h11.RemoteProtocolError:
        return "refused"
    return start, [tuple(map(bytes, pair)) for pair in headers], body, [tuple(map(bytes, pair)) for pair in trailers]


def lowered(headers: http1.Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers]


def comparable(result):
    """h11 shows the framing headers in its own way (lower case, duplicates joined): compare the rest."""
    if isinstance(result, str):
        return result
    start, headers, body, trailers = result
    return start, [pair for pair in headers if pair[0] not in (b"content-length", b"transfer-encoding")], body, trailers


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True) if a != b]


PLACES = st.lists(st.integers(0, 10_000), max_size=6)


@fuzz
@given(requests(), PLACES)
def test_valid_requests_read_alike(data, places):
    """Whatever the pieces in which they come."""
    result = ours(http1.SERVER, cut(data, places))

    assert not isinstance(result, str)
    assert comparable(result) == comparable(theirs(http1.SERVER, data))


@fuzz
@given(responses(), PLACES)
def test_valid_responses_read_alike(data, places):
    """Whatever the pieces in which they come."""
    result = ours(http1.CLIENT, cut(data, places))

    assert not isinstance(result, str)
    assert comparable(result) == comparable(theirs(http1.CLIENT, data))


WILD = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\x00", b"0", b"5", b"-1", b"+5", b"0x5", b"1_0", b"\xb2",
     b"HTTP/1.1", b"HTTP/1.0",
     b"Host: b\r\n", b"Content-Length: 5\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
     b"Transfer-Encoding: gzip, chunked\r\n", b"chunked", b"; x", b"\x7f", b"\xff"]
)  # fmt: skip


@st.composite
def mutated(draw, valid) -> bytes:
    """A valid message with a few bytes put in, taken out or doubled."""
    data = draw(valid)
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(data))), draw(st.integers(0, 4))
        data = data[:at] + draw(WILD | st.just(b"")) + data[at + length :]
    return data


def never_more_lenient(role: str, data: bytes, places: list[int]) -> None:
    mine, judge = ours(role, cut(data, places)), theirs(role, data)
    assert mine == ours(role, [data] if data else [])
    if judge == "refused":
        assert mine in ("refused", "incomplete")
    elif not isinstance(mine, str):
        assert comparable(mine) == comparable(judge)


@fuzz
@given(mutated(requests()) | st.binary(max_size=80), PLACES)
def test_wild_requests_are_not_read_more_leniently(data, places):
    """What h11 refuses we refuse; what both read is the same; how it is cut never matters."""
    never_more_lenient(http1.SERVER, data, places)


@fuzz
@given(mutated(responses()) | st.binary(max_size=80), PLACES)
def test_wild_responses_are_not_read_more_leniently(data, places):
    """What h11 refuses we refuse; what both read is the same; how it is cut never matters."""
    never_more_lenient(http1.CLIENT, data, places)
