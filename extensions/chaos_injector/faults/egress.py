"""A proxy on loopback for what the function's code connects to: CONNECT, and plain HTTP; faults in Toxiproxy's vocabulary.

One thread for all connections (`extension_kit.io.loop`); what blocks, resolving a name and connecting, has a thread of its own
for as long as it takes. A host that no fault is for passes untouched. What is inside TLS is not seen.
"""

from __future__ import annotations

import _socket
import _thread
import time

from extension_kit.egress import OnBehalfOfFunction
from extension_kit.io.loop import READ, Loop
from extensions.chaos_injector.faults.tunnel import Connection
from extensions.chaos_injector.matching import host_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extensions.chaos_injector.plan import Fault

__all__ = ["MOST_CONNECTIONS", "Egress"]

#: at a time; Lambda allows 1,024 descriptors for a process, and each takes two
MOST_CONNECTIONS = 400
_MOST_DIALS = 32  # names that are being resolved, connections that are being made
_DIAL_S = 60.0
_IDLE_S = 10.0  # of which nothing was heard for so long is closed where there is no room; clients are used to that
_PAUSE_S = 0.1  # without new connections when there are too many


class Egress:
    """Faults for what goes to hosts that they name; `begin` and those after it may be called from any thread."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._server: _socket.socket | None = None
        self._lock = _thread.allocate_lock()
        self._orders: dict[str, tuple[Fault, set[str]]] = {}  # by the fault's id, and for which invocations
        self._faults: tuple[Fault, ...] = ()
        self._connections: set[Connection] = set()
        self._dials = 0
        self._to_dial: list[tuple[str, int, Callable[[_socket.socket | str], object]]] = []
        self.accepted = 0

    def listen(self) -> int:
        """Bind 127.0.0.1 and serve; the port. OSError where that cannot be."""
        from extension_kit.io.ports import bind

        self._server = bind("127.0.0.1", 0)
        self._server.setblocking(False)
        self._loop.watch(self._server.fileno(), READ, self._accept)
        _thread.start_new_thread(self._serve, ())
        return int(self._server.getsockname()[1])

    def _serve(self) -> None:
        self._loop.run()
        self._loop.close()

    def close(self) -> None:
        """End every connection; no new ones."""
        self._loop.call_soon_threadsafe(self._shut)
        self._loop.stop()

    # orders, from the injector's threads

    @property
    def busy(self) -> bool:
        """Whether any fault is on."""
        return bool(self._orders)

    def begin(self, fault: Fault, request_id: str) -> None:
        """From now on `fault` is made of what goes to its hosts, until that invocation is `done`."""
        with self._lock:
            self._orders.setdefault(fault.id, (fault, set()))[1].add(request_id)
            self._changed()

    def done(self, request_id: str) -> None:
        """The invocation has ended, and with it its faults."""
        if self._orders:
            with self._lock:
                for key, (_fault, users) in list(self._orders.items()):
                    users.discard(request_id)
                    if not users:
                        del self._orders[key]
                self._changed()

    def stop(self) -> None:
        """No faults any more."""
        with self._lock:
            self._orders.clear()
            self._changed()

    def _changed(self) -> None:
        faults = tuple(fault for fault, _users in self._orders.values())
        if faults != self._faults:
            self._faults = faults
            self._loop.call_soon_threadsafe(self._apply)

    def faults_for(self, host: str) -> tuple[Fault, ...]:
        """The faults that are on for `host`."""
        return tuple(fault for fault in self._faults if host_matches(fault.params["hosts"], host))

    # on the loop's thread

    def _apply(self) -> None:
        for connection in list(self._connections):
            connection.apply()

    def _shut(self) -> None:
        if self._server is not None:
            self._loop.unwatch(self._server.fileno())
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.close()

    def _accept(self, _events: int) -> None:
        assert self._server is not None
        try:
            if len(self._connections) >= MOST_CONNECTIONS and not self._make_room():
                raise OSError("too many connections")
            fd, _peer = self._server._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        except OSError:
            self._loop.change(self._server.fileno(), 0)
            self._loop.call_later(_PAUSE_S, self._accept_again)
            return
        self.accepted += 1
        self._connections.add(Connection(self, self._loop, _socket.socket(fileno=fd)))

    def _make_room(self) -> bool:
        """Close the connection that has been idle the longest; whether there was one."""
        longest = min(self._connections, key=lambda one: one.used_at)
        if time.monotonic() - longest.used_at < _IDLE_S:
            return False
        longest.close()
        return True

    def _accept_again(self) -> None:
        if self._server is not None:
            self._loop.change(self._server.fileno(), READ)

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def dial(self, host: str, port: int, done: Callable[[_socket.socket | str], object]) -> None:
        """Connect, on another thread; `done` is called on the loop with the socket or why there is none."""
        if self._dials >= _MOST_DIALS:
            self._to_dial.append((host, port, done))
            return
        self._dials += 1

        def work() -> None:
            found = _connect(host, port)

            def tell() -> None:
                self._dials -= 1
                if self._to_dial:
                    self.dial(*self._to_dial.pop(0))
                done(found)

            self._loop.call_soon_threadsafe(tell)

        try:
            _thread.start_new_thread(work, ())
        except RuntimeError as error:
            self._dials -= 1
            done(str(error))


def _connect(host: str, port: int) -> _socket.socket | str:
    """Where the function wants to, not we: the egress guard lets it pass while CHAOS_EGRESS is on."""
    with OnBehalfOfFunction():
        return _connect_to(host, port)


def _connect_to(host: str, port: int) -> _socket.socket | str:
    why = "no address"
    try:
        found = _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
    except OSError as error:
        return f"{host}: {error.strerror or error}"
    except UnicodeError:
        return f"{host[:80]!r} is no host name"
    until = time.monotonic() + _DIAL_S
    for family, kind, protocol, _name, address in found:
        sock = _socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(0.1, until - time.monotonic()))
            sock.connect(address)
        except OSError as error:
            sock.close()
            why = f"{host}:{port}: {error.strerror or error}"
        else:
            return sock
    return why
