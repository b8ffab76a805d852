"""What is in a layer, in memory: paths to files; read from a zip or a folder, written as a zip that is always the same.

The same tree gives the same bytes, wherever and whenever it is written: entries are sorted, dated 1980, owned by nobody. Only
the compressor may differ between machines (another zlib may deflate otherwise); `tree_hash` gives a hash that does without it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DATE = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip can say
_UNIX = 3
_LEVEL = 9
#: bytes; what is read into memory of one archive: twice Lambda's limit, so that what is too large can still be told its size
READ_LIMIT = 524_288_000


@dataclass(frozen=True)
class Entry:
    """One file: its bytes and Unix mode (0 where the archive has none). A link's ``data`` is where it points."""

    data: bytes
    mode: int = 0o644
    is_link: bool = False

    @property
    def executable(self) -> bool:
        return bool(self.mode & 0o111)


Tree = dict[str, Entry]


def read(path: Path) -> Tree:
    """The files of a layer, from a zip or a folder; ConfigError in one line for what cannot be read."""
    if path.is_dir():
        return _from_folder(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _from_zip(archive, path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file or directory") from None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error) as error:
        raise ConfigError(f"{path}: not a readable zip: {error}") from error


def _from_zip(archive: zipfile.ZipFile, path: Path) -> Tree:
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    size = sum(info.file_size for info in infos)
    if size > READ_LIMIT:
        raise ConfigError(f"{path}: {size} bytes unzipped; more than {READ_LIMIT} are not read")
    found: Tree = {}
    for info in infos:
        # A zip that was made on Windows knows no Unix modes.
        mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
        found[info.filename] = Entry(archive.read(info), stat.S_IMODE(mode), stat.S_ISLNK(mode))
    return found


def _from_folder(folder: Path) -> Tree:
    found: Tree = {}
    try:
        for parent, folders, names in os.walk(folder):
            links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
            for name in (*names, *links):
                path = Path(parent, name)
                inside = path.relative_to(folder).as_posix()
                if path.is_symlink():
                    found[inside] = Entry(os.fsencode(os.readlink(path)), 0o777, is_link=True)
                elif path.is_file():
                    found[inside] = Entry(path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error}") from error
    return dict(sorted(found.items()))


def size(tree: Mapping[str, Entry]) -> int:
    """Bytes unzipped, as Lambda counts them."""
    return sum(len(entry.data) for entry in tree.values())


def tree_hash(tree: Mapping[str, Entry]) -> str:
    """SHA-256 over paths, modes and contents in order: the same for the same layer, whatever compressed it."""
    digest = hashlib.sha256()
    for path in sorted(tree):
        entry = tree[path]
        kind = "link" if entry.is_link else f"{entry.mode:04o}"
        digest.update(f"{kind} {hashlib.sha256(entry.data).hexdigest()} {path}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def write_zip(tree: Mapping[str, Entry], path: Path) -> str:
    """Write the zip in one go, or not at all; its SHA-256. OSError where the folder cannot be written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
            for name in sorted(tree):
                archive.writestr(_info(name, tree[name]), tree[name].data, zipfile.ZIP_DEFLATED, _LEVEL)
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return digest


def _info(name: str, entry: Entry) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = _UNIX
    info.external_attr = ((stat.S_IFLNK if entry.is_link else stat.S_IFREG) | entry.mode) << 16
    return info
