"""Byte-code: for the version that will look for it, of the source that lies beside it, the same in every build.

Layout of the files: PEP 552 (magic number, flags, then mtime and size of the source, or a hash of it); magic numbers:
CPython's Include/internal/pycore_magic_number.h (before 3.14: Lib/importlib/_bootstrap_external.py).
"""

from __future__ import annotations

import _imp
import posixpath
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from layer_build.checks.findings import ERROR, NOTE, rule
from layer_build.checks.own import load_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Own, Subject

MISSING = rule(
    "bytecode-missing",
    ERROR,
    "no byte-code for Python {versions} that is used without asking the source",
    "/opt cannot be written, so Python compiles the module at every start, which then takes 7 times as long",
    "build the layer with an interpreter of that version, or name in launcher.conf the versions that it has byte-code for",
)
BAD_MAGIC = rule(
    "bytecode-other-python",
    ERROR,
    "byte-code without source, for {made}",
    "\"ImportError: bad magic number in '{module}'\"",
    "ship the source, or byte-code compiled by the function's version of Python",
)
NONE = rule(
    "bytecode-none",
    NOTE,
    "the layer was built without byte-code",
    "/opt cannot be written, so Python compiles every module at every start, which then takes 7 times as long",
    "build it without --no-bytecode",
)
STALE = rule(
    "bytecode-stale",
    ERROR,
    "byte-code of another source than the one beside it, and never compared with it",
    "what runs is not what one reads",
    "compile it anew: python -m compileall --invalidation-mode unchecked-hash",
)
CACHE_MAGIC = rule(
    "bytecode-not-used",
    NOTE,
    "byte-code for {made}, under a name for Python {tag}",
    "the importer ignores it and compiles the source at every start",
    "compile it anew with that version, the final release",
)
UNUSED = rule(
    "bytecode-unused",
    NOTE,
    "byte-code for Python {tag}",
    "the function's Python does not look at it; it counts against the size",
    "leave it out, or compile it for the function's version",
)
TIMESTAMP = rule(
    "bytecode-timestamp",
    NOTE,
    "byte-code that is valid only while the source has one time stamp",
    "the stamp differs from build to build, so the layer does; and where unpacking changes it, Python compiles every "
    "module at every start, which then takes 7 times as long",
    "python -m compileall --invalidation-mode unchecked-hash",
)
SHORT = rule(
    "bytecode-broken",
    ERROR,
    "byte-code of {length} bytes",
    "'EOFError: reached end of file while reading pyc header', or it is compiled at every start",
    "compile it anew",
)

#: Python version: the magic number of its final releases
MAGIC = {"3.11": 3495, "3.12": 3531, "3.13": 3571, "3.14": 3627}
_BY_MAGIC = {magic: version for version, magic in MAGIC.items()}
_CACHED = re.compile(r"(.*/)?__pycache__/([^/]+)\.cpython-3(\d+)(?:\.opt-[12])?\.pyc")
_INTERPRETER = re.compile(r"extension-kit-python/(3\.\d+)/")
_UNCHECKED = 0b01  # flags: bit 0: by hash; bit 1: the hash is compared with the source's


def check(subject: Subject) -> Iterator[Finding]:
    """Every .pyc, and for our own parts every .py."""
    for path, entry in subject.files.items():
        if path.endswith(".pyc") and not entry.is_link:
            yield from _compiled(subject, path, entry.data)
    for own in subject.own:
        yield from _complete(subject, own)


def version_of(data: bytes) -> str:
    """The Python that compiled it, in words."""
    magic = int.from_bytes(data[:2], "little")
    if data[2:4] != b"\r\n":
        return "no Python"
    return f"Python {_BY_MAGIC[magic]}" if magic in _BY_MAGIC else f"an unknown Python (magic number {magic})"


def is_unchecked(data: bytes, python: str) -> bool:
    """Whether `python` runs it without looking at the source."""
    magic = MAGIC[python].to_bytes(2, "little") + b"\r\n"
    return len(data) > 16 and data[:4] == magic and int.from_bytes(data[4:8], "little") == _UNCHECKED


def _compiled(subject: Subject, path: str, data: bytes) -> Iterator[Finding]:
    if len(data) <= 16:
        yield SHORT.at(path, length=len(data))
        return
    match = _CACHED.fullmatch(path)
    flags = int.from_bytes(data[4:8], "little")
    if not match:
        if "/__pycache__/" not in f"/{path}":
            yield from _alone(subject, path, data)
        return
    folder, name, tag = match[1] or "", match[2], f"3.{match[3]}"
    source = subject.find(f"{folder}{name}.py")
    if tag not in subject.pythons:
        yield UNUSED.at(path, tag=tag)
    elif version_of(data) != f"Python {tag}":
        yield CACHE_MAGIC.at(path, made=version_of(data), tag=tag)
    elif flags == 0:
        yield TIMESTAMP.at(path)
    elif flags == _UNCHECKED and source and data[8:16] != _source_hash(data, source.data):
        yield STALE.at(path)


def _source_hash(compiled: bytes, source: bytes) -> bytes:
    """The hash that the version which compiled it takes of a source: its key is the magic number (PEP 552)."""
    return _imp.source_hash(int.from_bytes(compiled[:4], "little"), source)


def _alone(subject: Subject, path: str, data: bytes) -> Iterator[Finding]:
    """A .pyc in the place of a module: imported as it is, where there is no .py."""
    if path.removesuffix("c") in subject.files:
        return
    wrong = tuple(
        python for python in (_owner(path) or subject.seen_by(path)) if version_of(data) != f"Python {python}"
    )
    if wrong:
        module = posixpath.basename(path).removesuffix(".pyc")
        yield BAD_MAGIC.at(path, subject.only(wrong), made=version_of(data), module=module)


def _owner(path: str) -> tuple[str, ...]:
    """The version of the interpreter that the layer carries, for a file of that one's library."""
    match = _INTERPRETER.match(path)
    return (match[1],) if match else ()


def _complete(subject: Subject, own: Own) -> Iterator[Finding]:
    if own.made_by and not own.made_by.bytecode:
        yield NONE.at(f"{own.name}/lib/")
        return
    manifest = load_manifest(subject, own)
    without = manifest.source_only if manifest is not None else ()
    for path in subject.files:
        if not path.startswith(f"{own.name}/lib/") or not path.endswith(".py"):
            continue
        if any(fnmatchcase(path.removeprefix(f"{own.name}/lib/"), pattern) for pattern in without):
            continue
        folder, name = posixpath.split(path)
        missing = []
        for python in own.pythons:
            cached = f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{python.replace('.', '')}.pyc"
            entry = subject.files.get(cached)
            if python in MAGIC and (entry is None or not is_unchecked(entry.data, python)):
                missing.append(python)
        if missing:
            yield MISSING.at(path, versions=" and ".join(missing))
