"""Goes on where the launcher has left off: it has registered already, and listens on the ports (layer_build/README.md).

``boot.py`` of a layer calls `run` with the words that the launcher has put on the command line; with none where the layer has
no launcher, so that what the launcher does is done here.
"""

from __future__ import annotations

import _socket

from extension_kit.io import environ
from extension_kit.runner import run_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from extension_kit.io.ports import Port

__all__ = ["run"]


def run(
    name: str,
    plugins: tuple[str, ...],
    handed: list[str],
    *,
    ports: tuple[Port, ...] = (),
    late: bool | tuple[str, ...] = False,
    only: Mapping[str, tuple[str, ...]] | None = None,
    events: tuple[str, ...] = ("INVOKE", "SHUTDOWN"),
) -> NoReturn:
    """Run `plugins` (``[NAME=]MODULE:CLASS``) as the extension `name`; `handed`: IDENTIFIER ANSWER CONNECTION [PORT...], or [].

    `late`: plug-ins that want to run before the registration, as PLUGIN or PLUGIN:VARIABLE (while that is true); True: all
    are to be imported first. `only`: by a port's name, whose it is, in the same words. Never returns.
    """
    first = late if isinstance(late, bool) else tuple(word.partition(":")[0] for word in late if _applies(word))
    if not handed:
        wanted = tuple(port for port in ports if any(map(_applies, (only or {}).get(port[0], ("",)))))
        run_as(name, plugins, open_ports=lambda say: _opened(wanted, say), load_first=first, events=events)
    identifier, answer, connection, *words = handed
    fd = int(connection) if connection.isdigit() else -1
    registered = (identifier, answer.encode("utf-8", "surrogateescape"), fd) if identifier else None
    run_as(
        name, plugins, registered=registered, open_ports=lambda _say: _adopted(words), load_first=first, events=events
    )


def _applies(word: str) -> bool:
    """Whether PLUGIN or PLUGIN:VARIABLE is to run, by the launcher's rules (layer_build/launcher/config.c); "" is."""
    plugin, _, variable = word.partition(":")
    chosen = environ.get("EXTENSION_KIT_PLUGINS").strip()
    refused = any(one < " " or one == "\x7f" for one in chosen)
    names = [] if refused else [one.strip() for one in chosen.split(",")]
    if plugin and any(names) and plugin not in names:
        return False
    return not variable or environ.get(variable).strip().lower() in ("1", "true", "yes", "on")


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
