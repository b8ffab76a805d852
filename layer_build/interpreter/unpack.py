"""Unpacks archives of others: nothing outside of the folder, no devices, no more than was to be expected."""

from __future__ import annotations

import tarfile
import zlib
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LARGEST = 1_000_000_000  # bytes unpacked
_MOST = 100_000  # members


def _everything(_path: str) -> bool:
    return True


def unpack(
    archive: Path, folder: Path, *, strip: int = 1, wanted: Callable[[str], bool] = _everything, largest: int = _LARGEST
) -> None:
    """Put the tar `archive` into `folder`, without the first `strip` parts of its paths; ConfigError for what is unsafe.

    `wanted` is asked of each path after that. Python's filter ``data`` (PEP 706) refuses absolute paths, ``..``, links that
    lead out, and devices.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, _members(tar, strip, wanted, largest), filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise ConfigError(f"{archive.name}: cannot be unpacked: {error}") from error


def _members(
    tar: tarfile.TarFile, strip: int, wanted: Callable[[str], bool], largest: int
) -> Iterator[tarfile.TarInfo]:
    size = 0
    for count, member in enumerate(tar):
        parts = member.name.split("/")
        if member.name.startswith("/") or ".." in parts:
            raise ValueError(f"the path {member.name!r} leads out of the folder")
        parts = [part for part in parts if part not in ("", ".")][strip:]
        size += member.size
        if size > largest or count > _MOST:
            raise ValueError(f"more than {largest} bytes or {_MOST} files")
        name = "/".join(parts)
        if not parts or not wanted(name):
            continue
        changes = {"name": name}
        if member.islnk():  # a hard link names its target from the archive's root, too
            changes["linkname"] = "/".join(
                [part for part in member.linkname.split("/") if part not in ("", ".")][strip:]
            )
        yield member.replace(**changes, deep=False)  # type: ignore[arg-type]
