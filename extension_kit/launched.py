"""Goes on where the launcher has left off: it has registered already, and listens on the ports (layer_build/README.md).

``boot.py`` of a layer calls `run` with the words that the launcher has put on the command line; with none where the layer has
no launcher, so that what the launcher does is done here.
"""

from __future__ import annotations

import _socket

from extension_kit.runner import run_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from extension_kit.io.ports import Port

__all__ = ["run"]


def run(
    name: str,
    plugins: tuple[str, ...],
    handed: list[str],
    *,
    ports: tuple[Port, ...] = (),
    late: bool = False,
    may: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
    events: tuple[str, ...] = ("INVOKE", "SHUTDOWN"),
) -> NoReturn:
    """Run `plugins` (``MODULE:CLASS``) as the extension `name`; `handed`: IDENTIFIER ANSWER CONNECTION [PORT...], or [].

    `late`: a plug-in wants to run before the registration, so that all are imported first; `may`: the hosts that the manifest
    names ("HOST when VARIABLE" for some), and the programs. Never returns.
    """
    if not handed:
        run_as(name, plugins, open_ports=lambda say: _opened(ports, say), load_first=late, declared=may, events=events)
    identifier, answer, connection, *words = handed
    fd = int(connection) if connection.isdigit() else -1
    registered = (identifier, answer.encode("utf-8", "surrogateescape"), fd) if identifier else None
    run_as(
        name, plugins, registered=registered, open_ports=lambda _say: _adopted(words), load_first=late, declared=may,
        events=events,
    )  # fmt: skip


def _opened(
    ports: tuple[Port, ...], say: Callable[[str], object]
) -> tuple[dict[str, list[_socket.socket]], dict[str, str]]:
    """The sockets of each port by its name; and why, where a port has none."""
    from extension_kit.io.ports import open_port

    sockets: dict[str, list[_socket.socket]] = {}
    missing: dict[str, str] = {}
    for port in ports:
        try:
            sockets[port[0]] = open_port(port, say)
        except OSError as error:
            missing[port[0]] = error.strerror or str(error)
    return sockets, missing


def _adopted(words: list[str]) -> tuple[dict[str, list[_socket.socket]], dict[str, str]]:
    """The same of what the launcher says: ``NAME=FD,FD`` or ``NAME!WHY NOT``."""
    import posix

    sockets: dict[str, list[_socket.socket]] = {}
    missing: dict[str, str] = {}
    for word in words:
        name, found, descriptors = word.partition("=")
        if "!" in name or not found:
            name, _, missing[name] = word.partition("!")
            continue
        sockets[name] = []
        for descriptor in descriptors.split(","):
            fd = int(descriptor)
            posix.set_inheritable(fd, False)  # not for programs that a plug-in starts
            sockets[name].append(_socket.socket(fileno=fd))
    return sockets, missing
