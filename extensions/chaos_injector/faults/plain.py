"""One request in plain HTTP and its answer, on their way through the proxy for outgoing requests.

A client that speaks to a proxy may ask for another host on the same connection, so there is one request a connection: its
server and its client are both told so (``Connection: close``), and what comes after the request's body goes nowhere. With an
upgrade the connection is that request's for good.
"""

from __future__ import annotations

from extension_kit.errors import RemoteProtocolError
from extension_kit.protocol import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Exchange", "target_of"]

_MOST_HEAD = 65_536  # bytes of an answer's head; what is longer passes as it is
_MOST_EARLY = 65_536  # bytes behind a request for an upgrade that are kept until it is granted
_HOP = (b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive")
_FRAMING = (b"content-length", b"transfer-encoding")
_END = b"\r\n\r\n"
_CLOSE = b"Connection: close"


def target_of(head: bytes) -> tuple[str, int, bytes] | None:
    """Host, port, and what the server is sent of the head (b"" for CONNECT); None for what is no request to a proxy."""
    line, _, fields = head.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3:
        return None
    method, address, version = words
    if method == b"CONNECT":
        found = _host_port(address, None)
        return (*found, b"") if found else None
    if not address.lower().startswith(b"http://"):
        return None
    authority, slash, path = address[7:].partition(b"/")
    found = _host_port(authority.rpartition(b"@")[2], 80)
    if found is None:
        return None
    given = [field for field in fields.split(b"\r\n") if field]
    kept = [field for field in given if _name(field) not in _HOP]
    lines = [b" ".join((method, slash + path or b"/", version)), *kept]
    return (*found, b"\r\n".join([*lines, b"Connection: Upgrade" if _upgrades(given) else _CLOSE]) + _END)


class Exchange:
    """``head``: as the server is sent it. ValueError where it does not say how long the request's body is.

    ``granted(bytes)``: called when the connection is upgraded, with what the client has said too early.
    """

    def __init__(self, head: bytes, granted: Callable[[bytes], object]) -> None:
        line, *fields = head[: -len(_END)].split(b"\r\n")
        framing = [field for field in fields if _name(field) in _FRAMING]
        self._body = http1.Reader(http1.SERVER, http1.Limits(max_body=None))
        # Only what tells its length is read: all else is the server's to judge.
        self._body.receive(b"\r\n".join([b"POST / " + line.rpartition(b" ")[2], b"Host: h", *framing]) + _END)
        try:
            self._body.next_event()
        except RemoteProtocolError as error:
            raise ValueError(str(error)) from None
        self._is_sent = False  # the request, all of it
        self._granted = granted
        self._may_change = _upgrades(fields)
        self._early = b""
        self._answer = b""  # a head that has begun
        self._is_raw = False  # the connection is upgraded
        self._is_told = False  # the answer's head has passed

    def request(self, data: bytes) -> bytes:
        """What the server is sent of this; ValueError for a body that is none."""
        if self._is_raw:
            return data
        if self._is_sent:
            if self._may_change and len(self._early) < _MOST_EARLY:
                self._early += data
            return b""
        self._body.receive(data)
        try:
            while not isinstance(event := self._body.next_event(), http1.Sentinel):
                self._is_sent = self._is_sent or isinstance(event, http1.EndOfMessage)
        except RemoteProtocolError as error:
            raise ValueError(str(error)) from None
        if not self._is_sent:
            return data
        end = len(data) - self._body.buffered  # chunks and trailers go on as they are, to the byte
        self._early = data[end:] if self._may_change else b""
        return data[:end]

    def answer(self, data: bytes) -> bytes:
        """What the client is sent of this."""
        if self._is_told:
            return data
        self._answer += data
        out = []
        while not self._is_told:
            head, end, rest = self._answer.partition(_END)
            status = _status(head)
            if not end or status is None:
                if end or len(self._answer) > _MOST_HEAD or not b"HTTP/".startswith(self._answer[:5]):
                    out.append(self.answer_ends())
                break
            self._answer = rest
            if 100 <= status < 200 and status != 101:
                out.append(head + end)  # an interim one: the answer is still to come
                continue
            self._is_told = True
            if status == 101:
                self._is_raw = True
                out.append(head + end + rest)
            else:
                line, *fields = head.split(b"\r\n")
                kept = [field for field in fields if _name(field) not in _HOP]
                out.append(b"\r\n".join([line, *kept, _CLOSE]) + _END + rest)
        if self._is_told:
            self._answer = b""
        if self._is_raw:
            self._granted(self._early)
            self._early = b""
        return b"".join(out)

    def answer_ends(self) -> bytes:
        """What is still due to the client: a head that is none, or half of one."""
        self._is_told, left = True, self._answer
        self._answer = b""
        return left


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].strip().lower()


def _upgrades(fields: list[bytes]) -> bool:
    """Whether a request is for another protocol on its connection (WebSocket)."""
    said = b",".join(field.partition(b":")[2] for field in fields if _name(field) == b"connection")
    return b"upgrade" in [word.strip() for word in said.lower().split(b",")] and any(
        _name(field) == b"upgrade" for field in fields
    )


def _status(head: bytes) -> int | None:
    words = head.partition(b"\r\n")[0].split(b" ")
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None


def _host_port(text: bytes, default: int | None) -> tuple[str, int] | None:
    host, colon, port = text.rpartition(b":")
    if not colon or b"]" in port:
        host, port = text, b""
    name = host.strip(b"[]").decode("ascii", "replace").rstrip(".").lower()
    if not port:
        return (name, default) if name and default else None
    return (name, int(port)) if name and port.isdigit() and len(port) < 6 and 0 < int(port) < 65_536 else None
