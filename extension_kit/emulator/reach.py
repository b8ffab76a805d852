"""What a function may reach from inside its own network: servers on this machine's loopback that a variable names.

An environment with a network namespace of its own has no way out, which keeps its ports free and its tests honest; but an
emulated AWS, a collector or a database on this machine is what one develops against. So whatever a function's variables
name as ``127.0.0.1:PORT`` or ``localhost:PORT``, and listens there when the environment is made, is led in under that address.
"""

from __future__ import annotations

import re
import socket
import threading
from typing import TYPE_CHECKING

from extension_kit.io.ports import bind

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable

__all__ = ["Reach", "named_ports"]

_NAMED = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\]):(\d{1,5})(?!\d)")
_PATIENCE = 5.0  # seconds to connect
_CHUNK = 65_536


def named_ports(values: Iterable[str]) -> list[int]:
    """The loopback ports that `values` name, each once."""
    found = (int(port) for value in values for port in _NAMED.findall(value))
    return sorted({port for port in found if 0 < port < 65_536})


class Reach:
    """Leads what is asked inside to this machine. ``enter(call)`` runs a call inside and returns what it returns.

    ``ports``: those that are led in; a port that something inside has taken already is not.
    """

    def __init__(self, values: Iterable[str], enter: Callable[[Callable[[], _socket.socket]], _socket.socket]) -> None:
        self.ports: list[int] = []
        self._listeners: list[socket.socket] = []
        for port in named_ports(values):
            if not _listens(port):
                continue
            try:
                inner = enter(lambda port=port: bind("127.0.0.1", port))  # type: ignore[misc]
            except OSError:
                continue
            listener = socket.socket(fileno=inner.detach())
            self.ports.append(port)
            self._listeners.append(listener)
            threading.Thread(target=_serve, args=(listener, port), name=f"reach-{port}", daemon=True).start()

    def close(self) -> None:
        """Lead nothing in any more; what is open ends with the processes."""
        for listener in self._listeners:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()
        self._listeners.clear()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), _PATIENCE).close()
    except OSError:
        return False
    return True


def _serve(listener: socket.socket, port: int) -> None:
    while True:
        try:
            inside, _peer = listener.accept()
        except OSError:
            if listener.fileno() < 0 or not _is_listening(listener):
                return
            continue  # a peer that was gone before it was accepted, say
        try:
            outside = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        except OSError:
            inside.close()
            continue
        outside.settimeout(None)
        for one in (inside, outside):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        both = _Pair(inside, outside)
        threading.Thread(target=both.pump, args=(inside, outside), daemon=True).start()
        threading.Thread(target=both.pump, args=(outside, inside), daemon=True).start()


def _is_listening(listener: socket.socket) -> bool:
    """Whether it has not been shut down."""
    try:
        return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


class _Pair:
    """Two connections that are one: closed when both directions have ended."""

    def __init__(self, inside: socket.socket, outside: socket.socket) -> None:
        self._sockets = (inside, outside)
        self._left = 2
        self._lock = threading.Lock()

    def pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for one in self._sockets:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            for one in self._sockets:
                one.close()
