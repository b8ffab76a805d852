"""Listening sockets on loopback, for what an extension offers to its function.

The launcher binds the ports of a layer before Python is up, by the same rules (layer_build/launcher/ports.c): the first
variable that is set overrides the default; 127.0.0.1 and ::1 have the same number, and a machine without IPv6 has one address;
a port with a file takes any free number where its own is taken, since whoever looks for it reads the file.
"""

from __future__ import annotations

import _socket
import errno

from extension_kit.io import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Port", "bind", "open_port"]

#: name, default (0: any free one), the variables that override it, the file that the number is written to or ""
Port = tuple[str, int, tuple[str, ...], str]

BACKLOG = 1024  # callers that may wait while the interpreter boots
_MOST = 65_535
_TRIES = 16  # for a free number that is free on both addresses


def bind(host: str, port: int = 0, backlog: int = 128) -> _socket.socket:
    """A listening TCP socket on `host` (an IP literal) and `port` (0: any free one)."""
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    sock = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def open_port(port: Port, say: Callable[[str], object]) -> list[_socket.socket]:
    """The sockets of `port`, listening; OSError, whose text names the number, where there are none to be had.

    ``say`` is told, in a line, of a variable that is no port and of a file that cannot be written.
    """
    name, _default, _variables, file = port
    number = _wanted(port, say)
    try:
        sockets = _bind_both(number) if number else _bind_anywhere()
    except OSError as error:
        if not number or not file:
            if file:
                _remove(file)
            raise OSError(error.errno, f"port {number}: {error.strerror}") from error
        sockets = _bind_anywhere()
    if file:
        try:
            _write(file, sockets[0].getsockname()[1])
        except OSError as error:
            say(f"the number of port {name} cannot be written to {file}: {error.strerror}")
    return sockets


def _wanted(port: Port, say: Callable[[str], object]) -> int:
    _name, default, variables, _file = port
    for variable in variables:
        value = environ.get(variable).strip()
        if value:
            if value.isascii() and value.isdigit() and len(value) < 9 and 0 < int(value) <= _MOST:
                return int(value)
            say(f"{variable}={value!r} is no port, 1 to {_MOST}: {default} is used")
            break
    return default


def _bind_both(number: int) -> list[_socket.socket]:
    first = bind("127.0.0.1", number, BACKLOG)
    try:
        return [first, bind("::1", first.getsockname()[1], BACKLOG)]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            first.close()
            raise
        return [first]  # no IPv6 here


def _bind_anywhere() -> list[_socket.socket]:
    for _ in range(_TRIES):
        try:
            return _bind_both(0)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return [bind("127.0.0.1", 0, BACKLOG)]


def _write(path: str, number: int) -> None:
    """Whole or not at all: others read it while it is written. Folders that are missing are made, for us alone."""
    import posix

    at = path.find("/", 1)
    while at > 0:
        try:
            posix.mkdir(path[:at], 0o700)
        except FileExistsError:
            pass
        at = path.find("/", at + 1)
    part = f"{path}.new"
    _remove(part)
    handle = posix.open(part, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC, 0o600)
    try:
        posix.write(handle, b"%d\n" % number)
    finally:
        posix.close(handle)
    posix.rename(part, path)


def _remove(path: str) -> None:
    import posix

    try:
        posix.unlink(path)
    except OSError:
        pass
