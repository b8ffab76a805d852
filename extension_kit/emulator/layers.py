"""/opt: layers, as directories or zips, laid over each other as Lambda does it; later ones win."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_UNZIPPED = 262_144_000  # bytes; Lambda's limit for a function and its layers together


def lay_out(opt: Path, layers: list[Path], extensions: list[Path]) -> None:
    """Fill `opt` from `layers`, in order, then put each of the files `extensions` into ``extensions/``.

    ConfigError, with the path and the reason, for what cannot be read or would leave `opt`.
    """
    opt.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        if layer.is_dir():
            _copy_tree(layer, opt)
        elif layer.is_file():
            _unzip(layer, opt)
        else:
            raise ConfigError(f"layer {layer}: no such file or directory")
    for extension in extensions:
        if not extension.is_file():
            raise ConfigError(
                f"extension {extension}: no such file (one executable is wanted; for a folder, use --layer)"
            )
        folder = opt / "extensions"
        folder.mkdir(exist_ok=True)
        shutil.copy(extension, folder / extension.name)


def settle(paths: Iterable[Path], seconds: float = 2.0) -> None:
    """Wait until nobody has any of these files open for writing: a program that somebody may still write to cannot be started.

    That somebody is a child which another thread has just forked: it has our descriptors until it becomes another program.
    """
    deadline = time.monotonic() + seconds
    for path in paths:
        while not _is_settled(path) and time.monotonic() < deadline:
            time.sleep(0.001)


def _is_settled(path: Path) -> bool:
    """A read lease is granted where no descriptor is open for writing (fcntl(2), F_SETLEASE)."""
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        pass  # it cannot be read, or there are no leases here: nothing to wait for
    return True


def extension_files(opt: Path) -> list[str]:
    """Names of what Lambda would start: every file directly inside ``extensions/``, and every link, also one to a folder."""
    if (opt / "disable-extensions-jwigqn8j").exists():
        return []
    folder = opt / "extensions"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if not entry.is_dir(follow_symlinks=False))


def _copy_tree(layer: Path, opt: Path) -> None:
    try:
        shutil.copytree(layer, opt, symlinks=True, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise ConfigError(f"layer {layer}: cannot be read: {error}") from error


def _unzip(layer: Path, opt: Path) -> None:
    try:
        with zipfile.ZipFile(layer) as archive:
            total = sum(info.file_size for info in archive.infolist())
            if total > _MAX_UNZIPPED:
                raise ConfigError(f"layer {layer}: {total} bytes unzipped, allowed are {_MAX_UNZIPPED}")
            for info in archive.infolist():
                _extract(archive, info, layer, opt)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ConfigError(f"layer {layer}: not a readable zip: {error}") from error


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, layer: Path, opt: Path) -> None:
    target = Path(os.path.normpath(opt / info.filename))
    if not target.is_relative_to(opt) or not target.parent.resolve().is_relative_to(opt.resolve()):
        raise ConfigError(f"layer {layer}: the entry {info.filename!r} would land outside /opt")
    mode = info.external_attr >> 16
    if info.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        target.unlink()
    if stat.S_ISLNK(mode):
        target.symlink_to(os.fsdecode(archive.read(info)))
        return
    with archive.open(info) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
    target.chmod(stat.S_IMODE(mode) or 0o644)
