"""The wire format of protocol buffers, as much as OTLP needs: fields by number, and AnyValue.

Source: protobuf.dev, "Encoding"; opentelemetry-proto, ``common/v1/common.proto``. Compared in the tests with the library.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = [
    "MOST_NESTED", "TOO_DEEP", "any_value", "attribute", "data", "fields", "fixed64", "message", "number", "text", "varint",
]  # fmt: skip

#: levels of lists and objects, of which one is three messages: readers stop at 100. Of what lies deeper a note is sent.
MOST_NESTED = 28
TOO_DEEP = "(nested too deeply)"


def varint(value: int) -> bytes:
    """`value` (0 or more) in groups of seven bits."""
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def data(field: int, value: bytes) -> bytes:
    """A field of bytes; an empty one too."""
    size = len(value)
    if size < 0x80 and field < 0x10:  # nearly all of them, at a quarter of the time
        return bytes((field << 3 | 2, size)) + value
    return varint(field << 3 | 2) + varint(len(value)) + value


message = data


def text(field: int, value: str) -> bytes:
    """A field of text, nothing where it is empty. Half of a surrogate pair becomes U+FFFD."""
    return data(field, _utf8(value)) if value else b""


def number(field: int, value: int) -> bytes:
    """A field with a whole number of 0 or more, nothing for 0."""
    return varint(field << 3) + varint(value) if value else b""


def fixed64(field: int, value: int) -> bytes:
    return varint(field << 3 | 1) + value.to_bytes(8, "little")


def any_value(value: Any, depth: int = 0) -> bytes:
    """The content of an AnyValue: exactly one of its fields, also where that is empty; nothing for None."""
    if isinstance(value, str):
        return data(1, _utf8(value))
    if isinstance(value, bool):
        return varint(2 << 3) + varint(value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return varint(3 << 3) + varint(value % 2**64)
    if isinstance(value, float):
        import struct

        return varint(4 << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):  # too large for the format
        return data(1, str(value).encode())
    if depth > MOST_NESTED:
        return data(1, TOO_DEEP.encode())
    if isinstance(value, (list, tuple)):
        return data(5, b"".join(data(1, any_value(one, depth + 1)) for one in value))
    if isinstance(value, dict):
        return data(6, b"".join(attribute(1, name, one, depth + 1) for name, one in value.items()))
    return b""


def attribute(field: int, name: str, value: Any, depth: int = 0) -> bytes:
    """A KeyValue as a field."""
    return data(field, text(1, name) + data(2, any_value(value, depth)))


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields, as far as it can be read; never raises."""
    at = 0
    while at < len(message):
        tag, at = _varint_at(message, at)
        kind, field = tag & 7, tag >> 3
        if kind == 0:
            value, at = _varint_at(message, at)
            yield field, value
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            yield field, message[at : at + size]
            at += size
        elif kind == 2:
            size, at = _varint_at(message, at)
            yield field, message[at : at + size]
            at += size
        else:
            return


def _varint_at(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return value, at


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
