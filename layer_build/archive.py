"""A layer as its zip has it, entry by entry: what `tree.read` refuses or smooths over is what `verify` wants to see.

Nothing that an entry says about itself is trusted: what cannot be read is a `Member` with a problem, not an exception.
"""

from __future__ import annotations

import lzma
import posixpath
import stat
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import tree

if TYPE_CHECKING:
    from pathlib import Path

_UNIX = (3, 19)  # "made by" Unix or macOS: these write modes
_ENCRYPTED = 1
#: what Lambda unpacks
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class Member:
    """One entry of a zip. ``place``: where it would lie below /opt, "" where it would leave it."""

    name: str
    place: str
    is_folder: bool
    has_mode: bool
    encrypted: bool
    problem: str = ""


@dataclass(frozen=True)
class Archive:
    """A layer: ``files`` by their place below /opt; ``members`` and ``zipped`` (bytes) only where it is a zip."""

    path: Path
    files: tree.Tree
    folders: frozenset[str]
    members: tuple[Member, ...] = ()
    zipped: int | None = None


def read(path: Path) -> Archive:
    """The layer at `path`, a zip or a folder; ConfigError in one line for what is neither."""
    if path.is_dir():
        files = tree.read(path)
        folders = {inside.relative_to(path).as_posix() for inside in path.rglob("*") if inside.is_dir()}
        return Archive(path, files, frozenset(folders))
    try:
        with zipfile.ZipFile(path) as archive:
            return _from_zip(archive, path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file or directory") from None
    except _DAMAGE as error:
        raise ConfigError(f"{path}: not a readable zip: {error}") from error


def unzipped_size(path: Path) -> int:
    """Bytes that a zip or a folder takes once it is unpacked, without reading what is in the files."""
    if path.is_dir():
        return sum(one.lstat().st_size for one in path.rglob("*") if one.is_symlink() or not one.is_dir())
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(info.file_size for info in archive.infolist())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file or directory, and no number of bytes") from None
    except _DAMAGE as error:
        raise ConfigError(f"{path}: not a readable zip: {error}") from error


def _from_zip(archive: zipfile.ZipFile, path: Path) -> Archive:
    infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    if total > tree.READ_LIMIT:
        raise ConfigError(f"{path}: {total} bytes unzipped; more than {tree.READ_LIMIT} are not read")
    files: tree.Tree = {}
    folders: set[str] = set()
    members = []
    for info in infos:
        place = _place(info.filename)
        is_folder = info.filename.endswith("/")  # `is_dir` fails on an empty name
        data, problem = (b"", "") if is_folder else _content(archive, info)
        mode = info.external_attr >> 16 if info.create_system in _UNIX else 0
        encrypted = bool(info.flag_bits & _ENCRYPTED)
        members.append(Member(info.filename, place, is_folder, bool(mode), encrypted, problem))
        if place and not is_folder:
            files[place] = tree.Entry(data, stat.S_IMODE(mode), stat.S_ISLNK(mode))
        folders |= _above(place) | ({place} if place and is_folder else set())
    return Archive(path, files, frozenset(folders), tuple(members), path.stat().st_size)


def _place(name: str) -> str:
    """Where an entry of this name lies below /opt; "" for one that leaves it, or is /opt itself."""
    place = posixpath.normpath(name)
    return "" if place.startswith(("/", "../")) or place in ("..", ".") else place


def _above(place: str) -> set[str]:
    parts = place.split("/")[:-1]
    return {"/".join(parts[: number + 1]) for number in range(len(parts))}


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[bytes, str]:
    if info.flag_bits & _ENCRYPTED:
        return b"", "encrypted"
    if info.compress_type not in _METHODS:
        return b"", f"compressed with method {info.compress_type}"
    try:
        return archive.read(info), ""
    except _DAMAGE as error:
        return b"", f"damaged: {error}"
