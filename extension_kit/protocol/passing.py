"""Heads that pass through a proxy of the Runtime API: which call it is, and where the message ends, in a microsecond or two.

The usual head is read right here, with a few searches; None says that the codec (`http1`) must be asked. What is read here the
codec reads alike: the tests hold one against the other. No head is ever refused here, and none is changed but on demand.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "CALLS", "ERROR", "FRAMING", "NEXT", "OTHER", "RESPONSE", "RESTORE_NEXT",
    "call_of", "edited", "fields", "host_replaced", "quick_request", "quick_response", "request_id_of", "sayable",
]  # fmt: skip

#: which call a request is, as far as a proxy has to know
OTHER, NEXT, RESPONSE, ERROR, RESTORE_NEXT = range(5)
CALLS = {
    (b"GET", b"/2018-06-01/runtime/invocation/next"): NEXT,
    (b"GET", b"/2018-06-01/runtime/restore/next"): RESTORE_NEXT,
}

#: the fields that say where a message ends
FRAMING = frozenset({b"content-length", b"transfer-encoding", b"trailer"})
_NEXT_LINE = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"
_INVOCATION = b"/2018-06-01/runtime/invocation/"
_POSTED = b"POST " + _INVOCATION
_LONGEST_LENGTH = 18  # digits, as in the codec


def call_of(method: bytes, target: bytes) -> int:
    """The call that a request line names."""
    if method == b"POST" and target.startswith(_INVOCATION):
        _, _slash, what = target[len(_INVOCATION) :].partition(b"/")
        return RESPONSE if what == b"response" else ERROR if what == b"error" else OTHER
    return CALLS.get((method, target), OTHER)


def request_id_of(head: bytes) -> str:
    """The request id in the path of a `RESPONSE` or an `ERROR`."""
    begin = len(_POSTED)
    return head[begin : head.find(b"/", begin)].decode("latin-1")


def quick_request(head: bytes) -> tuple[int, int] | None:
    """The call and the length of the body in bytes, for a head (up to its empty line) of the usual form on a connection that
    is kept; None for any other.
    """
    if head.startswith(_NEXT_LINE):
        call = NEXT
    elif head.startswith(_POSTED):
        line = head[5 : head.find(b"\r\n")]
        target, _, version = line.partition(b" ")
        call = call_of(b"POST", target)
        if call == OTHER or version != b"HTTP/1.1":
            return None
    else:
        return None
    length = _length(head)
    if call == NEXT:
        return (NEXT, 0) if length is None else None
    return None if length is None or length < 0 else (call, length)


def quick_response(head: bytes) -> tuple[int, int] | None:
    """The status and the length of the body, likewise."""
    if not head.startswith(b"HTTP/1.1 "):
        return None
    digits = head[9:12]
    if not digits.isdigit() or head[12:13] not in (b" ", b"\r") or digits < b"200" or digits in (b"204", b"304"):
        return None
    length = _length(head)
    return None if length is None or length < 0 else (int(digits), length)


def _length(head: bytes) -> int | None:
    """Content-Length; None where there is none; -1 where the head has anything that the codec must look at."""
    lower = head.lower()
    lines = lower.count(b"\n")
    if lines != lower.count(b"\r\n") or lines != lower.count(b"\r") or b"\n " in lower or b"\n\t" in lower:
        return -1
    if b"\ntransfer-encoding" in lower or b"\nexpect" in lower or b"\nupgrade" in lower:
        return -1
    at = lower.find(b"\nconnection")
    if at >= 0 and (lower[at : at + 25] != b"\nconnection: keep-alive\r\n" or lower.find(b"\nconnection", at + 1) >= 0):
        return -1
    at = lower.find(b"\ncontent-length")
    if at < 0:
        return None
    digits = lower[at + 16 : lower.find(b"\r", at)].strip(b" \t")
    if (
        lower[at + 15 : at + 16] != b":"
        or not digits.isdigit()
        or len(digits) > _LONGEST_LENGTH
        or lower.find(b"\ncontent-length", at + 1) >= 0
    ):
        return -1
    return int(digits)


def host_replaced(head: bytes, ours: bytes, upstream: bytes) -> bytes:
    """The head with `upstream` for Host where it has `ours` (``:PORT``): as the runtime would have written it without us."""
    at = head.find(b"\r\nHost:")
    if at < 0:
        at = head.lower().find(b"\r\nhost:")
        if at < 0:
            return head
    begin, end = at + 7, head.find(b"\r\n", at + 7)
    value = head[begin:end]
    host = value.strip(b" \t")
    return head[:begin] + value.replace(host, upstream) + head[end:] if host.endswith(ours) else head


def edited(head: bytes, fields: Iterable[tuple[bytes, bytes]], without: frozenset[bytes] = frozenset()) -> bytes:
    """The head with `fields` instead of those of the same names, and without those `without` (lower case)."""
    fields = tuple(fields)
    gone = without | {name.lower() for name, _value in fields}
    first, *lines = head[:-4].split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in gone]
    return b"\r\n".join([first, *kept, *(b"%b: %b" % field for field in fields)]) + b"\r\n\r\n"


def fields(head: bytes) -> list[tuple[bytes, bytes]]:
    """The header fields of a head that has been read before."""
    pairs = (line.partition(b":") for line in head[:-4].split(b"\r\n")[1:])
    return [(name, value.strip(b" \t")) for name, _colon, value in pairs]


def sayable(pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether these can be header fields, and none of them says where the message ends."""
    for name, value in pairs:
        text = name + value
        if not name or b"\r" in text or b"\n" in text or b"\0" in text or b":" in name or name.lower() in FRAMING:
            return False
    return True
