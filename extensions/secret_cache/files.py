"""Secrets as files, for programs that read nothing else: whole or not there, for their owner only, gone at shutdown.

/tmp and /dev/shm are the only places of a Lambda environment that can be written. They are world-writable, so nothing
below them is trusted: every folder on the way is opened in its parent, never through a symbolic link, and a file
becomes visible under its name only when it is complete (rename(2)).
"""

from __future__ import annotations

import errno
import os
import stat
from _thread import allocate_lock

from extension_kit.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ROOTS", "Files", "check", "write"]

#: Below these only; the second is memory, and no larger than half of it.
ROOTS = ("/tmp", "/dev/shm")  # noqa: S108 - named in the design

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LONGEST_NAME = 200  # bytes of a name that its temporary file repeats: 255 are the limit of a name


class Files:
    """Which secret or parameter goes to which file. ``paths``: id -> absolute path; ConfigError where one cannot be.

    Nothing else may write to these paths: what is there is replaced. Methods may be called from any thread.
    """

    def __init__(self, paths: Mapping[str, str], roots: tuple[str, ...] = ROOTS) -> None:
        taken: dict[str, str] = {}
        for id, path in paths.items():
            check(path, roots)
            if path in taken:
                raise ConfigError(f"{path} cannot hold both {taken[path]} and {id}")
            taken[path] = id
        self._paths = dict(paths)
        self._roots = roots
        self._written: set[str] = set()
        self._made: list[str] = []  # folders, parents first
        self._lock = allocate_lock()

    @property
    def ids(self) -> tuple[str, ...]:
        """What is wanted as a file."""
        return tuple(self._paths)

    def update(self, id: str, data: bytes) -> bool:
        """Bring the file of `id` up to date; whether it had to be written. OSError, ConfigError as `write`.

        The file itself tells whether it is: one that was changed or removed comes back.
        """
        path = self._paths[id]
        with self._lock:
            self._written.add(path)
            if _holds(path, data, self._roots):
                return False
            write(path, data, self._roots, self._made)
            return True

    def remove(self) -> None:
        """Take away every file that was written, and the folders that were made where they are empty. Never raises."""
        with self._lock:
            for path in self._written:
                _unlink(path, self._roots)
            for path in reversed(self._made):
                _rmdir(path, self._roots)
            self._written.clear()
            self._made.clear()


def check(path: str, roots: tuple[str, ...] = ROOTS) -> tuple[str, list[str]]:
    """The root and the names below it; ConfigError for what is not below one of them, or not written plainly."""
    for root in roots:
        if path.startswith(root + "/"):
            names = path[len(root) + 1 :].split("/")
            if any(name in ("", ".", "..") or len(os.fsencode(name)) > 255 for name in names) or "\0" in path:
                raise ConfigError(f"{path!r} is no path of a file: no '.', '..', '//' or '/' at its end")
            return root, names
    raise ConfigError(f"{path!r} is not below {' or '.join(roots)}, the only places that can be written")


def write(path: str, data: bytes, roots: tuple[str, ...] = ROOTS, made: list[str] | None = None) -> None:
    """`data` into `path` at once, mode 0600; folders that are missing are made with 0700 and added to `made`.

    ConfigError where a folder on the way is no folder of ours, OSError where the file cannot be written: then the file is
    what it was before.
    """
    root, names = check(path, roots)
    folder = _open_folder(root, names[:-1], [] if made is None else made)
    try:
        _replace(folder, names[-1], data)
    finally:
        os.close(folder)


def _open_folder(root: str, names: list[str], made: list[str] | None) -> int:
    """A descriptor of the last folder; each is made where it is missing and `made` is a list, which then names it."""
    folder = os.open(root, _FOLDER)
    path = root
    try:
        for name in names:
            path += "/" + name
            if made is not None and _made(folder, name):
                made.append(path)
            inner = _open_inner(folder, name, path)
            os.close(folder)
            folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder


def _made(folder: int, name: str) -> bool:
    try:
        os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _open_inner(folder: int, name: str, path: str) -> int:
    """ConfigError for a link, a file, and for a folder that somebody else could put things into."""
    try:
        inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise ConfigError(f"{path} is a link or a file: only a folder is gone into") from None
    status = os.fstat(inner)
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_IWOTH:
        os.close(inner)
        raise ConfigError(f"{path} belongs to somebody else, or everybody may write there: no secret is put into it")
    return inner


def _temporary(name: str) -> bytes:
    """Where the new content grows. Always the same for a name, so that one that a crash has left is found and removed."""
    return b"." + os.fsencode(name)[:_LONGEST_NAME] + b".new"


def _replace(folder: int, name: str, data: bytes) -> None:
    temporary = _temporary(name)
    _quietly_unlink(temporary, folder)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            os.fchmod(fd, 0o600)  # a strict umask would leave it unreadable
            left = memoryview(data)
            while left:
                left = left[os.write(fd, left) :]
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _quietly_unlink(temporary, folder)
        raise


def _holds(path: str, data: bytes, roots: tuple[str, ...]) -> bool:
    """Whether `path` is a file of ours, readable for us only, with just this in it."""
    root, names = check(path, roots)
    try:
        folder = _open_folder(root, names[:-1], None)
        try:
            fd = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o777 == 0o600
        return ours and status.st_size == len(data) and _read(fd, len(data)) == data
    finally:
        os.close(fd)


def _read(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := os.read(fd, size - len(data))):
        data += piece
    return data


def _unlink(path: str, roots: tuple[str, ...]) -> None:
    root, names = check(path, roots)
    try:
        folder = _open_folder(root, names[:-1], None)
    except (OSError, ConfigError):
        return  # it has been moved away, and is no longer ours
    _quietly_unlink(os.fsencode(names[-1]), folder)
    _quietly_unlink(_temporary(names[-1]), folder)
    os.close(folder)


def _quietly_unlink(name: bytes, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass


def _rmdir(path: str, roots: tuple[str, ...]) -> None:
    root, names = check(path, roots)
    try:
        folder = _open_folder(root, names[:-1], None)
    except (OSError, ConfigError):
        return
    try:
        os.rmdir(names[-1], dir_fd=folder)
    except OSError:
        pass  # the function has put something of its own there
    finally:
        os.close(folder)
