"""The HTTP/1.1 codec: what it reads, what it refuses, what it writes."""

from __future__ import annotations

import pytest

from extension_kit.errors import LocalProtocolError, RemoteProtocolError
from extension_kit.protocol import http1 as h


def read_all(role: str, data: bytes, *, eof: bool = False, limits: h.Limits = h.DEFAULT_LIMITS, method: bytes = b""):
    """Every event of `data`; message after message."""
    reader = h.Reader(role, limits)
    if method:
        reader.expect_response_to(method)
    reader.receive(data)
    if eof:
        reader.receive_eof()
    events = []
    while (event := reader.next_event()) is not h.NEED_DATA:
        if event is h.PAUSED:
            if reader.at_message_boundary:
                break
            reader.start_next_message()
        else:
            events.append(event)
    return events


def body_of(events) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, h.Data))


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_without_a_body():
    """Head, end; nothing between."""
    head, end = read_all(h.SERVER, GET)

    assert (head.method, head.target, head.version) == (b"GET", b"/", b"1.1")
    assert (head.content_length, head.chunked, head.keep_alive, head.expect_continue) == (0, False, True, False)
    assert end == h.EndOfMessage(h.Headers())


def test_pipelined_requests_come_one_by_one():
    """The second message waits until the first is left behind."""
    reader = h.Reader(h.SERVER)
    reader.receive(GET + GET)

    first = [reader.next_event() for _ in range(3)]
    reader.start_next_message()

    assert first[2] is h.PAUSED
    assert isinstance(reader.next_event(), h.RequestHead)


def test_chunks_and_trailers():
    """Chunk extensions are skipped, trailers are kept."""
    events = read_all(h.SERVER, CHUNKED + b'3;x="y"\r\nabc\r\nA \r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n')

    assert body_of(events) == b"abc0123456789"
    assert events[-1].trailers == h.Headers([(b"X-Sum", b"1")])
    assert events[0].chunked
    assert events[0].content_length is None


def test_one_byte_at_a_time_gives_the_same():
    """Whatever the pieces, the message is the same."""
    data = CHUNKED + h.encode_chunk(b"hello") + h.encode_last_chunk([(b"T", b"v")])
    reader = h.MessageReader(h.SERVER)
    message = h.NEED_DATA
    for byte in data:
        assert message is h.NEED_DATA
        reader.receive(bytes([byte]))
        message = reader.next_message()

    assert isinstance(message, h.Message)
    assert (message.body, message.trailers) == (b"hello", h.Headers([(b"T", b"v")]))
    assert reader.at_message_boundary


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/1.12\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nSpace : v\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
        (b"\x16\x03\x01", 400),
        (b"\r\n" + GET, 400),
        (b"\rX", 400),
        (CHUNKED + b"x\r\n", 400),
        (CHUNKED + b"\r\n", 400),
        (CHUNKED + b"-1\r\n", 400),
        (CHUNKED + b"1;\x00\r\n", 400),
        (CHUNKED + b"1\r\nabc", 400),
        (CHUNKED + b"1\r\nab", 400),
        (CHUNKED + b"9" * 40 + b"\r\n", 400),
        (CHUNKED + b"0" * 5000, 400),
        (CHUNKED + b"0\r\nbad trailer\r\n\r\n", 400),
        (CHUNKED + b"0\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n", 400),
        (b"G" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 300 + b"\r\n", 431),
        (CHUNKED + b"0\r\n" + b"A: " + b"b" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8388609\r\n\r\n", 413),
        (CHUNKED + b"800001\r\n", 413),
    ],
)
def test_requests_that_are_refused(data, status):
    """Each with the status that a server answers; the error stays."""
    reader = h.Reader(h.SERVER)
    reader.receive(data)

    def pull():
        while reader.next_event() not in (h.NEED_DATA, h.PAUSED):
            pass

    with pytest.raises(RemoteProtocolError) as caught:
        pull()
    assert caught.value.status_hint == status
    with pytest.raises(RemoteProtocolError):
        reader.next_event()


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 1000 High\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 \x00\r\n\r\n",
        b"HTTP/3 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_responses_that_are_refused(data):
    """The client refuses what no server may send."""
    with pytest.raises(RemoteProtocolError):
        read_all(h.CLIENT, data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc",
        CHUNKED,
        CHUNKED + b"5\r\nabc",
        CHUNKED + b"3\r\nabc\r",
        CHUNKED + b"3\r\nabc",
        CHUNKED + b"0\r\n",
        CHUNKED + b"0\r\nX: y\r\n",
    ],
)
def test_a_connection_that_ends_inside_a_message(data):
    """An early end is an error, never a short message."""
    with pytest.raises(RemoteProtocolError, match="ended inside"):
        read_all(h.SERVER, data, eof=True)


def test_an_end_between_messages_is_no_error():
    """Nothing is owed then."""
    reader = h.Reader(h.SERVER)
    reader.receive_eof()

    assert reader.next_event() is h.NEED_DATA


def test_a_response_until_the_end_of_the_connection():
    """Without a length the body ends with the connection, which cannot be kept then."""
    events = read_all(h.CLIENT, b"HTTP/1.1 200 OK\r\n\r\nall of it", eof=True)

    assert body_of(events) == b"all of it"
    assert not events[0].keep_alive
    assert read_all(h.CLIENT, b"HTTP/1.1 200 OK\r\n\r\n") == events[:1]


def test_bodies_that_cannot_be():
    """HEAD, 204 and 304 have none, whatever their head announces."""
    for start, method in ((b"200 OK", b"HEAD"), (b"204 No Content", b"GET"), (b"304 Not Modified", b"GET")):
        events = read_all(h.CLIENT, b"HTTP/1.1 " + start + b"\r\nContent-Length: 5\r\n\r\n", method=method)
        assert isinstance(events[-1], h.EndOfMessage)


def test_interim_responses_go_before_the_real_one():
    """100 Continue is a head of its own; whole messages skip it."""
    data = h.CONTINUE + b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok"
    reader = h.MessageReader(h.CLIENT)
    reader.receive(data)

    message = reader.next_message()

    assert [event.status for event in read_all(h.CLIENT, data) if isinstance(event, h.ResponseHead)] == [100, 200]
    assert (message.head.status, message.body) == (200, b"ok")


def test_keep_alive_rules():
    """RFC 9112 9.3."""
    assert not read_all(h.SERVER, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n")[0].keep_alive
    assert not read_all(h.SERVER, b"GET / HTTP/1.0\r\n\r\n")[0].keep_alive
    assert read_all(h.SERVER, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")[0].keep_alive


def test_a_repeated_equal_content_length_counts_once():
    """As RFC 9112 6.3 allows."""
    events = read_all(h.SERVER, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\nab")

    assert body_of(events) == b"ab"


def test_expect_continue_is_told_once_and_only_before_the_body():
    """The server sends 100 when the peer waits for it."""
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
    waiting, sending = h.MessageReader(h.SERVER), h.MessageReader(h.SERVER)
    waiting.receive(head)
    sending.receive(head + b"a")

    assert not waiting.wants_continue
    assert (waiting.next_message(), sending.next_message()) == (h.NEED_DATA, h.NEED_DATA)
    assert [waiting.wants_continue, waiting.wants_continue, sending.wants_continue] == [True, False, False]
    waiting.receive(b"ab")
    assert waiting.next_message().body == b"ab"


def test_a_body_without_limit():
    """max_body None takes any."""
    limits = h.Limits(max_body=None)

    assert (
        len(body_of(read_all(h.CLIENT, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(9_000_000), eof=True, limits=limits)))
        == 9_000_000
    )


def test_going_on_too_early_is_our_own_error():
    """start_next_message is for a finished message."""
    with pytest.raises(LocalProtocolError):
        h.Reader(h.SERVER).start_next_message()


def test_what_is_held_is_told():
    """buffered counts bytes that no event has taken."""
    reader = h.Reader(h.SERVER)
    reader.receive(b"GET")

    assert reader.buffered == 3
    assert not reader.at_message_boundary
    assert repr(reader.next_event()) == "NEED_DATA"


def test_headers_are_kept_as_they_came():
    """Order and spelling stay; look-ups take lower case."""
    headers = h.Headers([(b"A", b"1, 2"), (b"a", b"3"), (b"B", b"")])

    assert headers.get(b"a") == b"1, 2"
    assert headers.get(b"c", b"none") == b"none"
    assert headers.get_all(b"a") == [b"1, 2", b"3"]
    assert headers.tokens(b"a") == [b"1", b"2", b"3"]
    assert b"b" in headers
    assert b"c" not in headers
    assert (len(headers), list(headers)[2]) == (3, (b"B", b""))
    assert headers == h.Headers(headers.items)
    assert headers != 3
    assert len({headers, h.Headers(headers.items)}) == 1
    assert repr(h.Headers([(b"A", b"1")])) == "Headers([(b'A', b'1')])"


def test_requests_and_responses_are_written_in_one_piece():
    """With the length that the body has."""
    assert h.encode_request(b"GET", b"/", [(b"Host", b"a")]) == GET
    assert b"Content-Length: 0\r\n" in h.encode_request(b"POST", b"/", [])
    assert h.encode_request(b"PUT", b"/", [(b"content-length", b"2")], b"ab").count(b"ength") == 1
    assert h.encode_response(200, [], b"ok") == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert h.encode_response(200, [], b"ok", head_only=True).endswith(b"2\r\n\r\n")
    assert h.encode_response(204) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert b"Connection: close" in h.encode_response(599, keep_alive=False)
    assert h.encode_chunk(b"") == b""
    assert h.encode_last_chunk() == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "write",
    [
        lambda: h.encode_response(200, [(b"A", b"b\r\nC: d")]),
        lambda: h.encode_response(200, [(b"A b", b"")]),
        lambda: h.encode_response(200, [(b"Content-Length", b"9")], b"ab"),
        lambda: h.encode_response(200, [(b"Transfer-Encoding", b"chunked")], b"ab"),
        lambda: h.encode_response(204, [], b"ab"),
        lambda: h.encode_request(b"G T", b"/", []),
        lambda: h.encode_request(b"GET", b"/ x", []),
        lambda: h.encode_request(b"GET", b"", []),
    ],
)
def test_what_would_break_out_of_its_line_is_not_written(write):
    """A LocalProtocolError, and nothing is sent."""
    with pytest.raises(LocalProtocolError):
        write()


def test_what_waits_to_be_looked_at_is_counted():
    """A server stops reading when too much of it waits."""
    reader = h.MessageReader(h.SERVER)
    reader.receive(GET + b"GET")
    assert reader.buffered == len(GET) + 3
    reader.next_message()
    assert (reader.buffered, reader.at_message_boundary) == (3, False)
