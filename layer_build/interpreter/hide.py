"""Hides the symbols of a static library, so that the interpreter does not export them.

A wheel may bring an OpenSSL of its own. CPython's executable exports its symbols to the modules that it loads, and OpenSSL's
assembly knows no ``-fvisibility=hidden``: its routines would be taken for the ones of the wheel's library.

Formats: ar(5) as GNU writes it; ELF-64, little-endian: System V ABI, "Symbol Table" (st_other holds the visibility).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AR = b"!<arch>\n"
_MEMBER = 60  # bytes of a member's head; its size stands in decimal at 48 to 58
_ELF = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _LOCAL, _HIDDEN = 2, 0, 2


def hide(library: Path) -> int:
    """Makes every symbol that `library` (a .a) defines invisible outside of what it is linked into; how many were not."""
    data = bytearray(library.read_bytes())
    if not data.startswith(_AR):
        raise ConfigError(f"{library.name}: not a static library")
    try:
        changed = sum(_hide_in(data, begin) for begin in _members(data))
    except (struct.error, ValueError) as error:
        raise ConfigError(f"{library.name}: damaged: {error}") from error
    library.write_bytes(data)
    return changed


def _members(data: bytearray) -> Iterator[int]:
    """Where each member's content begins."""
    at = len(_AR)
    while at < len(data):
        size = int(data[at + 48 : at + 58])
        if at + _MEMBER + size > len(data):
            raise ValueError("it ends too early")
        yield at + _MEMBER
        at += _MEMBER + size + size % 2


def _hide_in(data: bytearray, begin: int) -> int:
    if data[begin : begin + len(_ELF)] != _ELF:
        return 0  # the library's index, or its long names
    (table,) = struct.unpack_from("<Q", data, begin + 0x28)
    size, count = struct.unpack_from("<HH", data, begin + 0x3A)
    changed = 0
    for index in range(count):
        section = _SECTION.unpack_from(data, begin + table + index * size)
        if section[1] == _SYMTAB:
            changed += _hide_symbols(data, begin + section[4], section[5] // _SYMBOL.size)
    return changed


def _hide_symbols(data: bytearray, begin: int, count: int) -> int:
    changed = 0
    for at in range(begin, begin + count * _SYMBOL.size, _SYMBOL.size):
        _name, info, other, where, _value, _size = _SYMBOL.unpack_from(data, at)
        if info >> 4 != _LOCAL and where != 0 and other & 3 != _HIDDEN:
            data[at + 5] = (other & ~3) | _HIDDEN
            changed += 1
    return changed
