"""Files below /tmp: made new, replaced whole, never through somebody's link; removed without fuss."""

from __future__ import annotations

import posix

__all__ = ["create", "remove", "remove_tree", "write"]

_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC


def create(path: str) -> int:
    """A descriptor of a new file, mode 0600; OSError where one is there."""
    return posix.open(path, _NEW, 0o600)


def write(path: str, content: bytes) -> None:
    """Whole or not at all: others read it while it is written."""
    part = f"{path}.new"
    remove(part)
    handle = create(part)
    try:
        posix.write(handle, content)
    except OSError:
        remove(part)
        raise
    finally:
        posix.close(handle)
    posix.rename(part, path)


def remove(path: str) -> None:
    """It may not be there."""
    try:
        posix.unlink(path)
    except OSError:
        pass


def remove_tree(folder: str) -> None:
    """A folder of folders of files, as far as it is there."""
    try:
        inside = posix.listdir(folder)
    except OSError:
        return
    for name in inside:
        path = f"{folder}/{name}"
        try:
            for file in posix.listdir(path):
                remove(f"{path}/{file}")
            posix.rmdir(path)
        except OSError:
            remove(path)
    try:
        posix.rmdir(folder)
    except OSError:
        pass
