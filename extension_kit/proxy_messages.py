"""Requests and answers whose heads have been read, on their way through the proxy.

The usual heads are read by a few searches (`passing`), all others by the codec; what that refuses is `Unreadable`.
"""

from __future__ import annotations

from extension_kit.errors import RemoteProtocolError
from extension_kit.protocol import http1, passing
from extension_kit.proxy_bodies import Incoming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

__all__ = ["MAX_HEAD", "Reply", "Request", "Unreadable", "may_be_head", "reply_from", "request_from"]

MAX_HEAD = 65_536  # bytes
_LIMITS = http1.Limits(MAX_HEAD, 1_000, None)


class Unreadable(Exception):
    """What has come is no head: ``up``, all of it, from the runtime, or ``down``, from upstream."""

    def __init__(self, up: bytes = b"", down: bytes = b"") -> None:
        super().__init__()
        self.up = up
        self.down = down


class Request:
    """``head``: as it goes upstream; ``expects``: to be told to continue; ``first``: the runtime's init ends here."""

    __slots__ = ("call", "expects", "first", "head", "incoming", "keep_alive", "method")

    def __init__(
        self, call: int, method: bytes, head: bytes, incoming: Incoming, keep_alive: bool = True, expects: bool = False
    ) -> None:
        self.call = call
        self.method = method
        self.head = head
        self.incoming = incoming
        self.keep_alive = keep_alive
        self.expects = expects
        self.first = False


class Reply:
    """``interim``: another one follows; its first bytes are ``incoming.extra``."""

    __slots__ = ("head", "incoming", "keep_alive", "status")

    def __init__(self, status: int, head: bytes, incoming: Incoming, keep_alive: bool = True) -> None:
        self.status = status
        self.head = head
        self.incoming = incoming
        self.keep_alive = keep_alive

    @property
    def interim(self) -> bool:
        return self.status < 200


def may_be_head(data: bytes) -> bool:
    """Whether it is worth waiting for the end of it."""
    return len(data) < MAX_HEAD and 0x21 <= data[0] <= 0x7E


def request_from(runtime: socket, data: bytes, end: int, own_port: bytes, host: bytes) -> Request:
    """The request of which `data` is the beginning, the head (`end` bytes) and what came with it. `Unreadable`.

    Its Host, where that names us (``:PORT``), becomes `host`, as the runtime would have written it without us.
    """
    head, begun = data[:end], data[end:]
    sent = passing.host_replaced(head, own_port, host)
    found = passing.quick_request(head)
    if found is not None:
        method = b"GET" if found[0] == passing.NEXT else b"POST"
        return Request(found[0], method, sent, Incoming(runtime, found[1], begun))
    reader = http1.Reader(http1.SERVER, _LIMITS)
    reader.receive(data)
    try:
        parsed = reader.next_event()
    except RemoteProtocolError:
        raise Unreadable(sent + begun) from None
    assert isinstance(parsed, http1.RequestHead)
    incoming = Incoming(runtime, parsed.content_length, begun, reader if parsed.chunked else None, parsed.chunked)
    if parsed.expect_continue:
        incoming.before_reading(lambda: runtime.sendall(http1.CONTINUE))
    call = passing.call_of(parsed.method, parsed.target)
    return Request(call, parsed.method, sent, incoming, parsed.keep_alive, parsed.expect_continue)


def reply_from(upstream: socket, data: bytes, end: int, method: bytes) -> Reply:
    """The answer to a `method`, likewise. `Unreadable`."""
    head, begun = data[:end], data[end:]
    found = passing.quick_response(head) if method != b"HEAD" else None
    if found is not None:
        return Reply(found[0], head, Incoming(upstream, found[1], begun))
    reader = http1.Reader(http1.CLIENT, _LIMITS)
    reader.expect_response_to(method)
    reader.receive(data)
    try:
        parsed = reader.next_event()
    except RemoteProtocolError:
        raise Unreadable(down=data) from None
    assert isinstance(parsed, http1.ResponseHead)
    if parsed.status < 200 or parsed.status in (204, 304) or method == b"HEAD":
        incoming = Incoming(upstream, 0, begun)
    elif parsed.content_length is not None:
        incoming = Incoming(upstream, parsed.content_length, begun)
    else:
        incoming = Incoming(upstream, None, begun, reader, parsed.chunked)
    return Reply(parsed.status, head, incoming, parsed.keep_alive)
