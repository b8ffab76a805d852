"""Writes small ELF files for tests: a header, program headers, an interpreter, a dynamic table. Nothing that would run."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

X86_64, ARM64, I386 = 62, 183, 3
LOADERS = {X86_64: "/lib64/ld-linux-x86-64.so.2", ARM64: "/lib/ld-linux-aarch64.so.1"}
PROGRAM, SHARED = 2, 3


def elf(
    machine: int = X86_64,
    *,
    kind: int = SHARED,
    bits: int = 64,
    order: str = "<",
    interpreter: str = "",
    needed: Sequence[str] = (),
    runpath: str = "",
    rpath: str = "",
    soname: str = "",
    versions: Sequence[tuple[str, str]] = (),
    weak: Sequence[tuple[str, str]] = (),
) -> bytes:
    """The bytes of an ELF file; `versions` and `weak` are pairs of library and version."""
    wide = bits == 64
    strings = bytearray(b"\0")

    def text(value: str) -> int:
        at = len(strings)
        strings.extend(value.encode() + b"\0")
        return at

    tags = [(1, text(name)) for name in needed]
    tags += [(29, text(runpath))] if runpath else []
    tags += [(15, text(rpath))] if rpath else []
    tags += [(14, text(soname))] if soname else []
    wanted = [(library, name, 0) for library, name in versions] + [(library, name, 2) for library, name in weak]
    needs = b"".join(
        struct.pack(order + "HHIII", 1, 1, text(library), 16, 32 if number + 1 < len(wanted) else 0)
        + struct.pack(order + "IHHII", 0, flags, 2 + number, text(name), 0)
        for number, (library, name, flags) in enumerate(wanted)
    )
    dynamic = bool(tags or needs)
    head, entry = (64, 56) if wide else (52, 32)
    count = 1 + bool(interpreter) + dynamic
    path = interpreter.encode() + b"\0" if interpreter else b""
    at_path = head + count * entry
    at_needs = at_path + len(path)
    at_strings = at_needs + len(needs)
    at_table = at_strings + len(strings)
    if dynamic:
        tags += [(5, at_strings), (10, len(strings))]
        tags += [(0x6FFFFFFE, at_needs), (0x6FFFFFFF, len(wanted))] if needs else []
        tags.append((0, 0))
    table = b"".join(struct.pack(order + ("QQ" if wide else "II"), tag, value) for tag, value in tags)
    total = at_table + len(table)
    segments = [(1, 0, total)]
    segments += [(3, at_path, len(path))] if interpreter else []
    segments += [(2, at_table, len(table))] if dynamic else []
    layout = "IIQQQQQQ" if wide else "IIIIIIII"
    headers = b"".join(
        struct.pack(
            order + layout, *((part, 5, at, at, at, size, size, 8) if wide else (part, at, at, at, size, size, 5, 4))
        )
        for part, at, size in segments
    )
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    rest = struct.pack(
        order + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        kind, machine, 1, head, head, 0, 0, head, entry, count, 0, 0, 0,
    )  # fmt: skip
    return ident + rest + headers + path + needs + bytes(strings) + table


def program(machine: int = X86_64, **options: object) -> bytes:
    """A program as a compiler links it by default: dynamic, with glibc's loader."""
    return elf(machine, **{"interpreter": LOADERS[machine], "needed": ("libc.so.6",), **options})  # type: ignore[arg-type]
