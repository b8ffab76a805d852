"""Batches of the Telemetry API as bytes: where one event ends and the next begins, without reading what is inside.

A batch is a JSON array of envelopes ``{"time":...,"type":...,"record":...}`` (AWS docs, Telemetry API). An extension that
only forwards must not pay for parsing, so `split` cuts a batch at the text between two envelopes, which costs a tenth of a
parser. The cut is exact, not a guess:

* the text ``},{"time":"`` cannot stand inside a JSON string, where its quotes would be escaped;
* outside of strings ``},{`` stands only between two elements of an array: those of the batch, or those of an array inside a
  record. So an envelope whose record is a string, or one without any ``[``, is whole wherever the cut falls; so is one that
  the platform itself has written, none of which has such an array;
* the few others (a line in JSON with an array) are looked at by the JSON scanner; if one turns out not to be whole, the batch
  is read again by the scanner alone, as is every batch that is written in another way than Lambda's. (What this does
  not look for are elements of another form, in a batch that begins and ends as Lambda writes it.)

Nothing here raises: what cannot be read is handed back as bytes, and costs nothing else of its batch.
"""

from __future__ import annotations

from extension_kit.protocol.jsontext import scan
from extension_kit.protocol.values import Value, set_field

__all__ = ["HEAD", "TAIL", "Batch", "cut", "is_json", "scan_all", "split", "type_of"]

_OPEN = b'[{"time":"'
_CLOSE = b"}]"
_BETWEEN = b'},{"time":"'
#: how every envelope begins, and ends
HEAD = b'{"time":"'
TAIL = b"}"
_WHITE = " \t\r\n"
# {"time":"2026-11-23T08:00:00.700Z","type":"function",...: where the type stands in an envelope of the usual form
_TYPE_KEY = b',"type":"'
_TYPE_KEY_AT = 34
_TYPE_AT = 43
_PLATFORM = b"platform."
_TRUSTED = (_PLATFORM, b'function","record":"', b'extension","record":"')


class Batch(Value):
    """``pieces``: the text of one envelope each (bytes). ``whole``: it was an array from its start to its end; else ``rest``
    is what could not be read (b"" where it was cut off between two events)."""

    __slots__ = ("pieces", "rest", "whole")

    pieces: list[bytes]
    rest: bytes
    whole: bool

    def __init__(self, pieces: list[bytes], rest: bytes = b"", whole: bool = True) -> None:
        set_field(self, "pieces", pieces)
        set_field(self, "rest", rest)
        set_field(self, "whole", whole)


def split(body: bytes) -> Batch:
    """The envelopes of a batch. Whatever else the array holds is a piece as well; text that is no JSON is the rest."""
    middles = cut(body)
    if middles is not None:
        pieces = [HEAD + middle + TAIL for middle in middles]
        if all(is_json(piece) for piece in pieces if b"[" in piece and not piece.startswith(_TRUSTED, _TYPE_AT)):
            return Batch(pieces)
    return scan_all(body)


def cut(body: bytes) -> list[bytes] | None:
    """The envelopes, each without `HEAD` and `TAIL`; None where the batch is not written as Lambda writes it.

    Whoever uses them must look at those that have a ``[`` and are not the platform's own (`is_json`), as `split` does.
    """
    if not body.startswith(_OPEN) or not body.endswith(_CLOSE):
        return None
    middles = body[10:-2].split(_BETWEEN)
    # The last one is always read: a body that was cut off may end in anything.
    return middles if is_json(HEAD + middles[-1] + TAIL) else None


def is_json(piece: bytes) -> bool:
    """Whether a piece is one JSON value from its start to its end."""
    try:
        _value, end = scan(text := piece.decode("latin-1"), 0)
    except ValueError:
        return False
    return end == len(text)


def scan_all(body: bytes) -> Batch:
    """One element after the other, up to the first that is no JSON. Latin-1: a character is a byte, whatever the encoding."""
    text = body.decode("latin-1")
    pieces: list[bytes] = []
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        return Batch(pieces, body, False)
    at = _skip(text, at + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        while True:
            try:
                _value, end = scan(text, at)
            except ValueError:
                return Batch(pieces, body[at:], False)
            pieces.append(body[at:end])
            at = _skip(text, end)
            mark, at = text[at : at + 1], at + 1
            if mark == "]":
                break
            if mark != ",":
                return Batch(pieces, body[end:], False)
            at = _skip(text, at)
    whole = _skip(text, at) == len(text)
    return Batch(pieces, b"" if whole else body[at:], whole)


def _skip(text: str, at: int) -> int:
    """Past white space."""
    while at < len(text) and text[at] in _WHITE:
        at += 1
    return at


def type_of(piece: bytes) -> bytes:
    """The event's type as written, b"" where there is none to be seen: then the envelope is not Lambda's."""
    if piece[_TYPE_KEY_AT:_TYPE_AT] == _TYPE_KEY:
        end = piece.find(b'"', _TYPE_AT)
        return piece[_TYPE_AT:end]
    try:
        content = scan(piece.decode("utf-8", "replace"), 0)[0]
    except ValueError:
        return b""
    kind = content.get("type") if isinstance(content, dict) else None
    return kind.encode("utf-8", "replace") if isinstance(kind, str) else b""
