"""One HTTP/1.1 codec, both roles, no I/O: bytes in, events out (RFC 9110, RFC 9112).

The server loop, the telemetry listener, the secret cache, the proxy and the emulator read with it; whatever is unusual on
the extension's own connection is read with it too. It is deliberately stricter than the RFC allows where leniency has been
used for request smuggling: a message with both Content-Length and Transfer-Encoding, folded header lines, a bare CR or LF,
white space before a colon and unlike Content-Lengths are refused. Nothing that arrives makes it hold more than its limits
and what it was handed last.

It imports nothing: it is loaded on the way to an extension's ``register``.
"""

from __future__ import annotations

from extension_kit.errors import LocalProtocolError, RemoteProtocolError
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "CLIENT",
    "CONTINUE",
    "DEFAULT_LIMITS",
    "NEED_DATA",
    "PAUSED",
    "SERVER",
    "Data",
    "EndOfMessage",
    "Headers",
    "Limits",
    "Message",
    "MessageReader",
    "Reader",
    "RequestHead",
    "ResponseHead",
    "encode_chunk",
    "encode_head",
    "encode_last_chunk",
    "encode_request",
    "encode_response",
]

SERVER = "server"
CLIENT = "client"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
#: Deleted from a field value, nothing forbidden may remain (RFC 9110 5.5): control characters other than tab.
_FORBIDDEN = bytes(code for code in (*range(0x20), 0x7F) if code != 0x09)
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_CHUNK_LINE = 4096  # bytes of a chunk-size line, extensions included
_LENGTH_DIGITS = 18

REASONS = {
    100: b"Continue", 200: b"OK", 202: b"Accepted", 204: b"No Content", 206: b"Partial Content", 304: b"Not Modified",
    400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 409: b"Conflict", 413: b"Content Too Large", 417: b"Expectation Failed",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}  # fmt: skip


class Sentinel:
    """A named constant that `Reader.next_event` returns instead of an event."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: More bytes are needed.
NEED_DATA = Sentinel("NEED_DATA")
#: A message is complete; `Reader.start_next_message` goes on.
PAUSED = Sentinel("PAUSED")


class Limits(Value):
    """``max_head``: bytes of a head, and of trailers; ``max_headers``: fields; ``max_body``: decoded bytes, None for any."""

    __slots__ = ("max_body", "max_head", "max_headers")

    max_body: int | None
    max_head: int
    max_headers: int

    def __init__(self, max_head: int = 65_536, max_headers: int = 200, max_body: int | None = 8_388_608) -> None:
        set_field(self, "max_head", max_head)
        set_field(self, "max_headers", max_headers)
        set_field(self, "max_body", max_body)


DEFAULT_LIMITS = Limits()


class Headers:
    """Header fields in the order and spelling in which they came: pairs of bytes. Look-ups take lower-case names."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.items = tuple(items)

    def get(self, lower_name: bytes, default: bytes | None = None) -> bytes | None:
        for name, value in self.items:
            if name.lower() == lower_name:
                return value
        return default

    def get_all(self, lower_name: bytes) -> list[bytes]:
        return [value for name, value in self.items if name.lower() == lower_name]

    def tokens(self, lower_name: bytes) -> list[bytes]:
        """The members of a comma-separated field, lower case, over all its lines."""
        joined = b",".join(self.get_all(lower_name))
        return [part.strip(b" \t").lower() for part in joined.split(b",") if part.strip(b" \t")]

    def __contains__(self, lower_name: object) -> bool:
        return any(name.lower() == lower_name for name, _value in self.items)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.items == other.items

    def __hash__(self) -> int:
        return hash(self.items)

    def __repr__(self) -> str:
        return f"Headers({list(self.items)!r})"


class RequestHead(Value):
    """``content_length`` is None when the body is chunked; a request without either has 0."""

    __slots__ = (
        "chunked", "content_length", "expect_continue", "headers", "keep_alive", "method", "target", "version",
    )  # fmt: skip

    method: bytes
    target: bytes
    version: bytes
    headers: Headers
    keep_alive: bool
    expect_continue: bool
    content_length: int | None
    chunked: bool

    def __init__(self, method: bytes, target: bytes, version: bytes, headers: Headers, length: int | None) -> None:
        set_field(self, "method", method)
        set_field(self, "target", target)
        set_field(self, "version", version)
        set_field(self, "headers", headers)
        set_field(self, "chunked", length == _CHUNKED)
        set_field(self, "content_length", None if length == _CHUNKED else length or 0)
        set_field(self, "keep_alive", _keep_alive(version, headers))
        expects = version == b"1.1" and b"100-continue" in headers.tokens(b"expect")
        set_field(self, "expect_continue", expects)


class ResponseHead(Value):
    """``content_length`` None and not ``chunked``: the body ends where the connection does."""

    __slots__ = ("chunked", "content_length", "headers", "keep_alive", "reason", "status", "version")

    status: int
    reason: bytes
    version: bytes
    headers: Headers
    keep_alive: bool
    content_length: int | None
    chunked: bool

    def __init__(self, status: int, reason: bytes, version: bytes, headers: Headers, length: int | None) -> None:
        set_field(self, "status", status)
        set_field(self, "reason", reason)
        set_field(self, "version", version)
        set_field(self, "headers", headers)
        set_field(self, "chunked", length == _CHUNKED)
        set_field(self, "content_length", None if length == _CHUNKED else length)
        set_field(self, "keep_alive", _keep_alive(version, headers) and length is not None)


class Data(Value):
    """A piece of a body: ``data`` (bytes, never empty)."""

    __slots__ = ("data",)

    data: bytes

    def __init__(self, data: bytes) -> None:
        set_field(self, "data", data)


class EndOfMessage(Value):
    """A message is complete; ``trailers`` may be empty."""

    __slots__ = ("trailers",)

    trailers: Headers

    def __init__(self, trailers: Headers) -> None:
        set_field(self, "trailers", trailers)


_CHUNKED = -1
_NO_HEADERS = Headers()

# what a Reader expects next
_HEAD, _BODY, _UNTIL_EOF, _CHUNK_SIZE, _CHUNK_DATA, _CHUNK_END, _TRAILERS, _DONE = range(8)


class Reader:
    """Turns the bytes of one direction of a connection into events; pull them with `next_event`.

    ``role``: `SERVER` reads requests, `CLIENT` responses. A `RemoteProtocolError` is final: it is raised again at every call.
    """

    def __init__(self, role: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._server = role == SERVER
        self._limits = limits
        self._buffer: bytes | bytearray = (
            b""  # bytes, as received, until something must be added to what is left of them
        )
        self._at = 0  # where in the buffer that which has not been taken begins
        self._searched = 0  # how far a line end was looked for in vain, from there
        self._expecting = _HEAD
        self._left = 0  # bytes of the body or chunk that are still to come
        self._taken = 0  # bytes of the body so far
        self._eof = False
        self._no_body = False
        self._error: RemoteProtocolError | None = None

    @property
    def at_message_boundary(self) -> bool:
        """Whether nothing of an unfinished message has been received."""
        return self._expecting in (_HEAD, _DONE) and not self.buffered

    @property
    def buffered(self) -> int:
        """Bytes that are held."""
        return len(self._buffer) - self._at

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer."""
        if self._at == len(self._buffer):
            self._buffer = bytes(data)
        else:
            if self._at or isinstance(self._buffer, bytes):
                self._buffer = bytearray(memoryview(self._buffer)[self._at :])
            self._buffer += data
        self._at = 0

    def receive_eof(self) -> None:
        """The peer has closed its side."""
        self._eof = True

    def expect_response_to(self, method: bytes) -> None:
        """Client: the method that the next response answers; one to HEAD has no body."""
        self._no_body = method == b"HEAD"

    def start_next_message(self) -> None:
        """Go on after `PAUSED`; LocalProtocolError at any other time."""
        if self._expecting != _DONE:
            raise LocalProtocolError("start_next_message: the present message is not complete")
        self._expecting = _HEAD
        self._taken = 0
        self._no_body = False

    def next_event(self) -> RequestHead | ResponseHead | Data | EndOfMessage | Sentinel:
        """The next event, `NEED_DATA` or `PAUSED`; RemoteProtocolError with a ``status_hint`` for what is not allowed."""
        if self._error is not None:
            raise self._error
        try:
            return self._next()
        except RemoteProtocolError as error:
            self._error = error
            self._buffer, self._at = b"", 0
            raise

    def _next(self) -> RequestHead | ResponseHead | Data | EndOfMessage | Sentinel:
        event: RequestHead | ResponseHead | Data | EndOfMessage | Sentinel | None = None
        while event is None:
            if self._expecting == _HEAD:
                event = self._read_head()
            elif self._expecting == _BODY or self._expecting == _CHUNK_DATA:
                event = self._read_data()
            elif self._expecting == _CHUNK_SIZE:
                event = self._read_chunk_size()
            elif self._expecting == _CHUNK_END:
                event = self._read_chunk_end()
            elif self._expecting == _TRAILERS:
                event = self._read_trailers()
            elif self._expecting == _UNTIL_EOF:
                event = self._read_until_eof()
            else:
                event = PAUSED
        return event

    # pieces of the buffer

    def _take(self, count: int) -> bytes:
        end = self._at + count
        taken = bytes(memoryview(self._buffer)[self._at : end])
        self._at = end
        self._searched = 0
        return taken

    def _find(self, end: bytes, limit: int, status: int, what: str) -> int:
        """Where `end` begins, or -1; remembers how far it has looked, so that a slow peer costs no second look."""
        begin = self._at + max(0, self._searched - len(end) + 1)
        found = self._buffer.find(end, begin, self._at + limit + len(end))
        if found < 0:
            if self.buffered >= limit + len(end):
                raise RemoteProtocolError(f"{what} is longer than {limit} bytes", status)
            if self._eof and self.buffered:
                raise RemoteProtocolError(f"the connection ended inside {what}")
            self._searched = self.buffered
            return -1
        return found - self._at

    # heads

    def _read_head(self) -> RequestHead | ResponseHead | Sentinel | None:
        self._check_early()
        end = self._find(b"\r\n\r\n", self._limits.max_head, 431, "the head")
        if end < 0:
            return NEED_DATA
        first, *lines = self._take(end + 4)[:-4].split(b"\r\n")
        headers = _parse_fields(lines, self._limits.max_headers)
        return self._request(first, headers) if self._server else self._response(first, headers)

    def _check_early(self) -> None:
        """Refuse what can never become a head without waiting for its end: a peer that speaks TLS, or a bare line feed."""
        if self.buffered and not 0x21 <= self._buffer[self._at] <= 0x7E:
            raise RemoteProtocolError("this is not HTTP/1.1")

    def _request(self, line: bytes, headers: Headers) -> RequestHead:
        method, target, version = _parse_request_line(line)
        hosts = len(headers.get_all(b"host"))
        if hosts > 1 or (version == b"1.1" and hosts == 0):
            raise RemoteProtocolError("exactly one Host is wanted")
        expect = headers.tokens(b"expect")
        if expect and expect != [b"100-continue"]:
            raise RemoteProtocolError("the only expectation is 100-continue", 417)
        length = _framing(headers, version)
        self._begin_body(length or 0)
        return RequestHead(method, target, version, headers, length)

    def _response(self, line: bytes, headers: Headers) -> ResponseHead:
        version, status, reason = _parse_status_line(line)
        if status < 200:
            return ResponseHead(status, reason, version, headers, 0)  # an interim answer: the real one follows
        length = 0 if self._no_body or status in (204, 304) else _framing(headers, version)
        self._begin_body(length)
        return ResponseHead(status, reason, version, headers, length)

    def _begin_body(self, length: int | None) -> None:
        if length is None:
            self._expecting = _UNTIL_EOF
        elif length == _CHUNKED:
            self._expecting = _CHUNK_SIZE
        else:
            self._admit(length)
            self._left = length
            self._expecting = _BODY

    def _admit(self, more: int) -> None:
        self._taken += more
        if self._limits.max_body is not None and self._taken > self._limits.max_body:
            raise RemoteProtocolError(f"the body is larger than {self._limits.max_body} bytes", 413)

    # bodies

    def _read_data(self) -> Data | EndOfMessage | Sentinel | None:
        if self._left:
            if not self.buffered:
                if self._eof:
                    raise RemoteProtocolError("the connection ended inside a body")
                return NEED_DATA
            data = self._take(min(self._left, self.buffered))
            self._left -= len(data)
            return Data(data)
        if self._expecting == _CHUNK_DATA:
            self._expecting = _CHUNK_END
            return None
        self._expecting = _DONE
        return EndOfMessage(_NO_HEADERS)

    def _read_until_eof(self) -> Data | EndOfMessage | Sentinel:
        if self.buffered:
            self._admit(self.buffered)
            return Data(self._take(self.buffered))
        if not self._eof:
            return NEED_DATA
        self._expecting = _DONE
        return EndOfMessage(_NO_HEADERS)

    def _read_chunk_size(self) -> Sentinel | None:
        end = self._find(b"\r\n", _CHUNK_LINE, 400, "a chunk size")
        if end < 0:
            return self._need_more("a chunk size")
        line = self._take(end + 2)[:-2]
        digits, _, extension = line.partition(b";")
        digits = digits.rstrip(b" \t")
        if (
            not 0 < len(digits) <= _LENGTH_DIGITS
            or digits.strip(_HEX)
            or extension.translate(None, _FORBIDDEN) != extension
        ):
            raise RemoteProtocolError("a chunk size is not a hexadecimal number")
        size = int(digits, 16)
        self._admit(size)
        self._left = size
        self._expecting = _CHUNK_DATA if size else _TRAILERS
        return None

    def _read_chunk_end(self) -> Sentinel | None:
        if self.buffered < 2:
            if not b"\r\n".startswith(self._buffer[self._at :]):
                raise RemoteProtocolError("a chunk is longer than its size")
            return self._need_more("a chunk")
        if self._take(2) != b"\r\n":
            raise RemoteProtocolError("a chunk is longer than its size")
        self._expecting = _CHUNK_SIZE
        return None

    def _read_trailers(self) -> EndOfMessage | Sentinel:
        if self._buffer[self._at : self._at + 2] == b"\r\n":
            self._take(2)
            self._expecting = _DONE
            return EndOfMessage(_NO_HEADERS)
        end = self._find(b"\r\n\r\n", self._limits.max_head, 431, "the trailers")
        if end < 0:
            return self._need_more("the trailers")
        trailers = _parse_fields(self._take(end + 4)[:-4].split(b"\r\n"), self._limits.max_headers)
        if b"transfer-encoding" in trailers or b"content-length" in trailers:
            raise RemoteProtocolError("a trailer may not say how the message is framed", 400)
        self._expecting = _DONE
        return EndOfMessage(trailers)

    def _need_more(self, what: str) -> Sentinel:
        if self._eof:
            raise RemoteProtocolError(f"the connection ended inside {what}")
        return NEED_DATA


class Message(Value):
    """A whole message: ``head``, ``body`` (bytes), ``trailers``."""

    __slots__ = ("body", "head", "trailers")

    head: RequestHead | ResponseHead
    body: bytes
    trailers: Headers

    def __init__(self, head: RequestHead | ResponseHead, body: bytes, trailers: Headers) -> None:
        set_field(self, "head", head)
        set_field(self, "body", body)
        set_field(self, "trailers", trailers)


_PIECE = 48  # bytes that a piece of a body costs beside its own


class MessageReader:
    """Whole messages over a `Reader`; interim (1xx) responses are skipped."""

    def __init__(self, role: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._reader = Reader(role, limits)
        self.receive = self._reader.receive
        self.receive_eof = self._reader.receive_eof
        self.expect_response_to = self._reader.expect_response_to
        self._head: RequestHead | ResponseHead | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._continue_told = False

    @property
    def at_message_boundary(self) -> bool:
        """Whether nothing of an unfinished message has been received."""
        return self._head is None and self._reader.at_message_boundary

    @property
    def buffered(self) -> int:
        """Bytes that have been received and not been looked at yet."""
        return self._reader.buffered

    @property
    def held(self) -> int:
        """Bytes that are kept of a message that has not come whole, with some for each piece: chunks may be tiny."""
        return self._size + self._reader.buffered

    @property
    def wants_continue(self) -> bool:
        """Once for each request with ``Expect: 100-continue`` whose body has not begun: send `CONTINUE` now."""
        head = self._head
        wants = isinstance(head, RequestHead) and head.expect_continue and not self._continue_told
        if not wants or self._pieces or self._reader.buffered:
            return False
        self._continue_told = True
        return True

    def next_message(self) -> Message | Sentinel:
        """The next message or `NEED_DATA`; RemoteProtocolError as `Reader.next_event`."""
        while True:
            event = self._reader.next_event()
            if isinstance(event, Data):
                self._pieces.append(event.data)
                self._size += len(event.data) + _PIECE
            elif isinstance(event, (RequestHead, ResponseHead)):
                self._head = event
            elif isinstance(event, EndOfMessage):
                return self._complete(event.trailers)
            else:
                return event

    def _complete(self, trailers: Headers) -> Message:
        assert self._head is not None
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        message = Message(self._head, body, trailers)
        self._head = None
        self._pieces = []
        self._size = 0
        self._continue_told = False
        self._reader.start_next_message()
        return message


# parsing heads ----------------------------------------------------------------------------------------------------------


def _parse_fields(lines: list[bytes], max_headers: int) -> Headers:
    if len(lines) > max_headers:
        raise RemoteProtocolError(f"more than {max_headers} header fields", 431)
    items = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _is_token(name):
            raise RemoteProtocolError("a header line is not NAME: VALUE")
        if value.translate(None, _FORBIDDEN) != value:
            raise RemoteProtocolError("a header value holds a control character")
        items.append((name, value.strip(b" \t")))
    return Headers(items)


def _is_token(text: bytes) -> bool:
    return bool(text) and _TOKEN.issuperset(text)


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _is_token(parts[0]) or not _is_visible(parts[1]):
        raise RemoteProtocolError("the request line is not METHOD TARGET HTTP/1.1")
    return parts[0], parts[1], _parse_version(parts[2])


def _is_visible(text: bytes) -> bool:
    return bool(text) and min(text) > 0x20 and max(text) < 0x7F


def _parse_version(text: bytes) -> bytes:
    if text in (b"HTTP/1.1", b"HTTP/1.0"):
        return text[5:]
    if (
        len(text) == 8
        and text.startswith(b"HTTP/")
        and text[5:6].isdigit()
        and text[6:7] == b"."
        and text[7:].isdigit()
    ):
        raise RemoteProtocolError(f"{text.decode()} is not spoken here, HTTP/1.1 is", 505)
    raise RemoteProtocolError("the HTTP version cannot be read")


def _parse_status_line(line: bytes) -> tuple[bytes, int, bytes]:
    version, _, rest = line.partition(b" ")
    digits, _, reason = rest.partition(b" ")
    if len(digits) != 3 or digits.strip(_DIGITS) or digits < b"100":
        raise RemoteProtocolError("the status is not a number from 100 to 999")
    if reason.translate(None, _FORBIDDEN) != reason:
        raise RemoteProtocolError("the reason phrase holds a control character")
    return _parse_version(version), int(digits), reason


def _framing(headers: Headers, version: bytes) -> int | None:
    """The length of the body in bytes, `_CHUNKED`, or None where the head says neither (RFC 9112 6.3)."""
    codings = headers.tokens(b"transfer-encoding")
    lengths = headers.get_all(b"content-length")
    if b"transfer-encoding" in headers:
        if lengths:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
        if codings != [b"chunked"] or version == b"1.0":
            raise RemoteProtocolError("the only transfer coding is chunked", 501)
        return _CHUNKED
    if not lengths:
        return None
    values = {part.strip(b" \t") for value in lengths for part in value.split(b",")}
    digits = values.pop()
    if values or not 0 < len(digits) <= _LENGTH_DIGITS or digits.strip(_DIGITS):
        raise RemoteProtocolError("Content-Length is not one number")
    return int(digits)


def _keep_alive(version: bytes, headers: Headers) -> bool:
    tokens = headers.tokens(b"connection")
    if b"close" in tokens:
        return False
    return version == b"1.1" or b"keep-alive" in tokens


# writing ----------------------------------------------------------------------------------------------------------------


def encode_head(start_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A head as bytes; LocalProtocolError for a name or value that would break out of its line."""
    pieces = [start_line]
    for name, value in headers:
        if not _is_token(name) or value.translate(None, _FORBIDDEN) != value:
            raise LocalProtocolError(f"header {name!r} holds a character that a header cannot")
        pieces.append(name + b": " + value)
    return b"\r\n".join(pieces) + b"\r\n\r\n"


def encode_request(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> bytes:
    """A whole request, Content-Length included where the method has a body; the caller supplies Host."""
    if not _is_token(method) or not _is_visible(target):
        raise LocalProtocolError(f"{method!r} {target!r} is not a request line")
    items = list(headers)
    if body or method in (b"POST", b"PUT", b"PATCH"):
        _add_length(items, body)
    return encode_head(method + b" " + target + b" HTTP/1.1", items) + body


def encode_response(
    status: int,
    headers: Iterable[tuple[bytes, bytes]] = (),
    body: bytes = b"",
    *,
    keep_alive: bool = True,
    head_only: bool = False,
) -> bytes:
    """A whole response in one buffer, Content-Length included; ``head_only`` for HEAD."""
    items = list(headers)
    if status >= 200 and status not in (204, 304):
        _add_length(items, body)
    elif body:
        raise LocalProtocolError(f"a {status} response has no body")
    if not keep_alive:
        items.append((b"Connection", b"close"))
    line = b"HTTP/1.1 %d %s" % (status, REASONS.get(status, b""))
    return encode_head(line, items) + (b"" if head_only else body)


def _add_length(items: list[tuple[bytes, bytes]], body: bytes) -> None:
    for name, value in items:
        lower = name.lower()
        if lower == b"transfer-encoding" or (lower == b"content-length" and value != b"%d" % len(body)):
            raise LocalProtocolError("the headers announce another body than the one given")
        if lower == b"content-length":
            return
    items.append((b"Content-Length", b"%d" % len(body)))


def encode_chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; nothing for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The end of a chunked body, with trailers."""
    return encode_head(b"0", trailers)
