"""What the loader will ask of an ELF file: machine, interpreter, libraries, versions of symbols. Bytes in, values out.

Only what the kernel and ``ld.so`` go by is read (program headers, the dynamic table), not the sections, which a file may lack.
Files come from strangers: a broken one gives `Broken` with the reason, whatever its bytes say; every loop is bounded.
Source of the layout: elf(5), and the "Symbol Versioning" chapter of the Linux Standard Base.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"\x7fELF"
#: e_machine: the kernel's name; only the first two are Lambda's
_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm", 243: "riscv64", 21: "ppc64", 22: "s390x", 8: "mips"}
_KINDS = {1: "relocatable", 2: "executable", 3: "shared", 4: "core"}
_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29
_VERNEED, _VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_WEAK = 2  # VER_FLG_WEAK: the loader goes on without it
_LONGEST_STRING = 4096  # bytes; PATH_MAX
_MOST_ENTRIES = 20_000  # of any table; real files have hundreds
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")
#: GLIBC_ABI_DT_RELR and its kind name features that came with glibc 2.36 or later (glibc NEWS)
_GLIBC_ABI = (2, 36)


@dataclass(frozen=True)
class Broken:
    """An ELF file that cannot be loaded, and why."""

    reason: str


@dataclass(frozen=True)
class Elf:
    """One file. ``machine`` as the kernel names it; ``interpreter`` "" where there is none.

    ``search``: RUNPATH, or RPATH where there is no RUNPATH; ``versions``: (library, version) that must be there.
    """

    machine: str
    bits: int
    little_endian: bool
    kind: str
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    soname: str = ""
    search: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def static(self) -> bool:
        """Whether it runs without any file but itself."""
        return not self.interpreter and not self.needed

    @property
    def glibc(self) -> tuple[int, int] | None:
        """The oldest glibc that it can run with; None where it asks for none."""
        found = [wanted for _library, version in self.versions if (wanted := glibc_of(version))]
        return max(found, default=None)


def glibc_of(version: str) -> tuple[int, int] | None:
    """The glibc that has the symbol version `version`; None where that is none of glibc's."""
    match = _GLIBC.fullmatch(version)
    if match:
        return int(match[1]), int(match[2])
    return _GLIBC_ABI if version.startswith("GLIBC_ABI_") else None


def read(data: bytes) -> Elf | Broken:
    """The facts about the ELF file `data`; never raises. `data` begins with `MAGIC`, else it is `Broken` as well."""
    try:
        return _File(data).facts()
    except _BrokenError as error:
        return Broken(str(error))


class _BrokenError(Exception):
    pass


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


class _File:
    """The reader of one file: offsets are checked where bytes are taken, in `_take` and nowhere else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        if data[:4] != MAGIC:
            raise _BrokenError("it does not begin with the ELF magic")
        if len(data) < 52:
            raise _BrokenError(f"{len(data)} bytes: cut off in its header")
        if data[4] not in (1, 2) or data[5] not in (1, 2):
            raise _BrokenError(f"class {data[4]}, byte order {data[5]}: neither 32 nor 64 bits, or no byte order")
        self._wide = data[4] == 2
        self._order = "<" if data[5] == 1 else ">"
        self._segments: list[_Segment] = []

    def _take(self, layout: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self._order + layout, self._data, offset)
        except (struct.error, OverflowError):
            raise _BrokenError(f"cut off: {len(self._data)} bytes, something is said to be at {offset}") from None

    def facts(self) -> Elf:
        kind, machine = self._take("HH", 16)
        self._segments = list(self._program_headers()) if kind in (2, 3) else []
        strings, tags = self._dynamic()
        runpath = [self._string(strings, value) for tag, value in tags if tag == _RUNPATH]
        rpath = [self._string(strings, value) for tag, value in tags if tag == _RPATH]
        sonames = [self._string(strings, value) for tag, value in tags if tag == _SONAME]
        return Elf(
            machine=_MACHINES.get(machine, f"machine {machine}"),
            bits=64 if self._wide else 32,
            little_endian=self._order == "<",
            kind=_KINDS.get(kind, f"type {kind}"),
            interpreter=self._interpreter(),
            needed=tuple(self._string(strings, value) for tag, value in tags if tag == _NEEDED),
            soname=sonames[0] if sonames else "",
            search=tuple(part for path in runpath or rpath for part in path.split(":") if part),
            versions=tuple(self._versions(strings, dict(tags))),
        )

    def _program_headers(self) -> Iterator[_Segment]:
        (start,) = self._take("Q", 32) if self._wide else self._take("I", 28)
        size, count = self._take("HH", 54 if self._wide else 42)
        if size < (56 if self._wide else 32) and count:
            raise _BrokenError(f"program headers of {size} bytes")
        for number in range(count):
            at = start + number * size
            if self._wide:
                kind, _flags, offset, address, _physical, length = self._take("IIQQQQ", at)
            else:
                kind, offset, address, _physical, length = self._take("IIIII", at)
            if kind in (_LOAD, _DYNAMIC, _INTERP) and offset + length > len(self._data):
                raise _BrokenError(f"cut off: a segment ends at {offset + length}, the file at {len(self._data)}")
            yield _Segment(kind, offset, address, length)

    def _interpreter(self) -> str:
        for segment in self._segments:
            if segment.kind == _INTERP:
                name = self._data[segment.offset : segment.offset + min(segment.size, _LONGEST_STRING)]
                return name.split(b"\0")[0].decode("utf-8", "backslashreplace")
        return ""

    def _dynamic(self) -> tuple[bytes, list[tuple[int, int]]]:
        """The dynamic table's strings and its (tag, value) pairs up to the end mark."""
        table = next((segment for segment in self._segments if segment.kind == _DYNAMIC), None)
        if table is None:
            return b"", []
        layout, width = ("QQ", 16) if self._wide else ("II", 8)
        tags = []
        for number in range(min(table.size // width, _MOST_ENTRIES)):
            tag, value = self._take(layout, table.offset + number * width)
            if tag == 0:
                break
            tags.append((tag, value))
        found = dict(tags)
        if _STRTAB not in found:
            return b"", tags
        at = self._offset(found[_STRTAB])
        return self._data[at : at + min(found.get(_STRSZ, 0), len(self._data))], tags

    def _offset(self, address: int) -> int:
        """Where in the file lies what will be at `address` in memory."""
        for segment in self._segments:
            if segment.kind == _LOAD and segment.address <= address < segment.address + segment.size:
                return segment.offset + address - segment.address
        raise _BrokenError(f"address {address:#x} lies in no segment")

    def _string(self, strings: bytes, at: int) -> str:
        end = strings.find(b"\0", at, at + _LONGEST_STRING) if at < len(strings) else -1
        if end < 0:
            raise _BrokenError(f"no string at {at} of the string table's {len(strings)} bytes")
        return strings[at:end].decode("utf-8", "backslashreplace")

    def _versions(self, strings: bytes, tags: dict[int, int]) -> Iterator[tuple[str, str]]:
        """(library, version) of ``.gnu.version_r`` that the loader insists on."""
        if _VERNEED not in tags:
            return
        at = self._offset(tags[_VERNEED])
        budget = _MOST_ENTRIES
        for _library in range(min(tags.get(_VERNEEDNUM, 0), _MOST_ENTRIES)):
            _version, count, file, aux, following = self._take("HHIII", at)
            library = self._string(strings, file)
            inner = at + aux
            for _entry in range(count):
                _hash, flags, _other, name, step = self._take("IHHII", inner)
                if not flags & _WEAK:
                    yield library, self._string(strings, name)
                budget -= 1
                if budget < 0:
                    raise _BrokenError(f"more than {_MOST_ENTRIES} versions of symbols")
                if step == 0:
                    break
                inner += step
            if following == 0:
                break
            at += following
