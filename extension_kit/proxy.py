"""The Runtime API proxy: it stands between a function's runtime and the platform, for a plug-in that wants to see or change
what passes there.

A wrapper (``AWS_LAMBDA_EXEC_WRAPPER``) starts the runtime with ``AWS_LAMBDA_RUNTIME_API=127.0.0.1:PORT``. The proxy listens
before the registration leaves, so that no runtime finds nobody there; what connects waits in the backlog until
`RuntimeProxy.serve`.

It must never harm: whatever it does not know passes, nothing has a time limit, and what it cannot do is done as if it was
not there. README.md beside this file says what that means in detail.
"""

from __future__ import annotations

import _socket
import _thread

from extension_kit.proxy_hooks import Answer, Cut, Deliver, Fail, Hooks, Invocation, Posted, Replace, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from extension_kit.io.clock import Clock
    from extension_kit.proxy_connection import Connection

__all__ = [
    "Answer", "Cut", "Deliver", "Fail", "Hooks", "Invocation", "Posted", "Replace", "RuntimeProxy", "Stream",
]  # fmt: skip

#: Connections at a time; more wait in the backlog. Lambda allows 1,024 descriptors for a process, and each takes two.
MAX_CONNECTIONS = 400
_MAX_OPEN = 4_096  # invocations that have been delivered and not been answered
_MAX_REPLAYS = 8
_PAUSE = 0.1  # seconds without new connections when no descriptor or thread is left for them
_HOOKS = ("on_next", "on_event", "on_response", "on_error", "on_done")


def _to_stderr(text: str) -> None:
    import sys

    sys.stderr.write(f"extension-kit: proxy: {text}\n")


class RuntimeProxy:
    """Stands between a runtime and the Runtime API at `upstream` (``host:port``, an IP literal or a name).

    ``say`` is told what went wrong, a line each, once for each kind. ``clock``: see `extension_kit.io.clock`. ``concurrent``:
    several invocations at once (the init type ``lambda-managed-instances``): whoever asks for the next event is not done with
    all others, and their workers may share connections.
    """

    def __init__(
        self,
        upstream: str,
        hooks: Hooks | None = None,
        *,
        say: Callable[[str], object] = _to_stderr,
        clock: Clock | None = None,
        concurrent: bool = False,
    ) -> None:
        host, _, port = upstream.rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            from extension_kit.errors import ConfigError

            raise ConfigError(f"{upstream!r} is no address of a Runtime API: HOST:PORT is wanted")
        self.address = (host.strip("[]"), int(port))
        self.host = upstream.encode("latin-1", "replace")
        self.own_port = b""
        self.generation = 0
        self.steering: ModuleType | None = None  # what looks into an exchange, once somebody wants that
        self.wants: frozenset[str] = frozenset()  # hooks that are overridden
        self.open: dict[str, Invocation] = {}
        self.replays: list[Invocation] = []
        self._concurrent = concurrent
        self._first = True
        self._say = say
        self._clock = clock
        self._lock = _thread.allocate_lock()
        self._ended = _thread.allocate_lock()  # held while there are connections, once closed
        self._listeners: list[_socket.socket] = []
        self._connections: set[Connection] = set()
        self._figures: dict[str, int] = {}
        self._told: set[str] = set()
        self._asked = 0  # by connections that are gone
        self._exchanges = 0
        self._serving = self._closed = False
        self._hooks: Hooks | None = None
        self.hooks = hooks

    # hooks

    @property
    def hooks(self) -> Hooks | None:
        """May be set and unset at any time; None: bytes are piped, and nothing is looked at beyond heads.

        An event that was delivered before is answered without them.
        """
        return self._hooks

    @hooks.setter
    def hooks(self, hooks: Hooks | None) -> None:
        wants: frozenset[str] = frozenset()
        if hooks is not None:
            wants = frozenset(name for name in _HOOKS if getattr(type(hooks), name, None) is not getattr(Hooks, name))
        with self._lock:
            self.wants, self._hooks = wants, hooks
        if self._serving:
            self.settle()

    def settle(self) -> None:
        """Look into exchanges where somebody wants to, or something is left over from when somebody did."""
        from extension_kit import proxy_steering

        with self._lock:
            self.steering = proxy_steering if self.wants or self.open or self.replays else None

    # its life

    def listen(self, sockets: list[_socket.socket] | None = None) -> int:
        """Take the launcher's listening `sockets`, or one of our own on 127.0.0.1; the port. OSError where there is none."""
        if sockets:
            self._listeners = list(sockets)
            for listener in sockets:
                listener.setblocking(True)
        else:
            from extension_kit.io.ports import BACKLOG, bind

            self._listeners = [bind("127.0.0.1", 0, BACKLOG)]
        port: int = self._listeners[0].getsockname()[1]
        self.own_port = b":%d" % port
        return port

    def serve(self) -> None:
        """Start to serve, on threads; returns at once. RuntimeError where no thread can be had."""
        from extension_kit import proxy_connection  # noqa: F401 - not when the first runtime waits

        self._serving = True
        if self.wants:
            self.settle()
        for listener in self._listeners:
            _thread.start_new_thread(self._accept, (listener,))

    def close(self, patience_s: float = 2.0) -> None:
        """Stop, and hang up; waits `patience_s` seconds for threads to end (a hook may keep one for longer)."""
        with self._lock:
            self._closed = True
            listeners, self._listeners = self._listeners, []
            connections = list(self._connections)
            if connections:
                self._ended.acquire(blocking=False)
        for listener in listeners:
            try:
                listener.shutdown(_socket.SHUT_RDWR)  # wakes accept
            except OSError:
                pass
            listener.close()
        for connection in connections:
            connection.hang_up()
        if self._ended.acquire(timeout=patience_s):
            self._ended.release()
        if self.steering is not None:
            for invocation in self.rest():
                self.steering.done(self, invocation)

    def forget(self) -> None:
        """After a restore: connections upstream were made by an earlier life, so the next request makes a new one.

        One on which an answer is awaited is left: it is answered, or fails, as it would for the runtime.
        """
        self.generation += 1

    # figures

    @property
    def asked(self) -> int:
        """How many times a runtime has asked for its next event; 0: nothing honours the wrapper."""
        with self._lock:
            return self._asked + sum(connection.asked for connection in self._connections)

    def figures(self) -> dict[str, int]:
        """Counters since the start; those that have counted nothing are absent, but for the first three.

        asked, exchanges, connections (now); reconnected, tunnelled; what hooks have done: short_circuited, delivered_changed,
        delivered_again, answers_changed, streams_cut, init_failed; what went wrong: HOOK_failed, HOOK_misused, stream_failed,
        twice, unsayable, unposted, refused_STATUS, upstream, crowded, accept, thread, exchange.
        """
        with self._lock:
            figures = dict(self._figures)
            figures["connections"] = len(self._connections)
            figures["asked"] = self._asked + sum(connection.asked for connection in self._connections)
            figures["exchanges"] = self._exchanges + sum(connection.exchanges for connection in self._connections)
        return figures

    def count(self, what: str) -> None:
        with self._lock:
            self._figures[what] = self._figures.get(what, 0) + 1

    def trouble(self, kind: str, text: str) -> None:
        """Count it, and say it once."""
        self.count(kind)
        with self._lock:
            if kind in self._told:
                return
            self._told.add(kind)
        try:
            self._say(text)
        except Exception:
            pass  # whoever listens must not end what serves a function

    def sleep(self, seconds: float) -> None:
        if self._clock is None:
            import time

            time.sleep(seconds)
        else:
            self._clock.sleep(seconds)

    # invocations

    def is_first(self) -> bool:
        """Whether this is where the runtime's init ends; once."""
        with self._lock:
            first, self._first = self._first, False
            return first

    def opened(self, invocation: Invocation) -> Invocation | None:
        """It is being delivered. The oldest of too many, which will not be followed any longer."""
        with self._lock:
            self.open[invocation.request_id] = invocation
            oldest = self.open.pop(next(iter(self.open))) if len(self.open) > _MAX_OPEN else None
        if self.steering is None:  # hooks were unset meanwhile, and what they have said of this one is still to be done
            self.settle()
        return oldest

    def over(self) -> list[Invocation]:
        """A runtime asks for its next event: those that have had no answer and will have none; they are no longer open.

        Of several at once nothing is known until their deadline (epoch ms) has passed.
        """
        with self._lock:
            found = list(self.open.values())
            if self._concurrent and found:
                now_ms = self._wall_ms()
                found = [invocation for invocation in found if 0 < invocation.deadline_ms < now_ms]
            for invocation in found:
                del self.open[invocation.request_id]
            return found

    def rest(self) -> list[Invocation]:
        """All that are open; none is afterwards."""
        with self._lock:
            found = list(self.open.values())
            self.open.clear()
            return found

    def _wall_ms(self) -> int:
        if self._clock is not None:
            return self._clock.wall_ms()
        import time

        return time.time_ns() // 1_000_000

    def answered(self, request_id: str) -> Invocation | None:
        """Its answer is here: it is open no longer."""
        with self._lock:
            return self.open.pop(request_id, None)

    def take_replay(self) -> Invocation | None:
        with self._lock:
            return self.replays.pop(0) if self.replays else None

    def add_replay(self, invocation: Invocation) -> bool:
        with self._lock:
            if len(self.replays) >= _MAX_REPLAYS:
                return False
            self.replays.append(invocation)
            return True

    # connections

    def _accept(self, listener: _socket.socket) -> None:
        from extension_kit.proxy_connection import Connection

        while not self._closed:
            try:
                if len(self._connections) >= MAX_CONNECTIONS:
                    self.trouble(
                        "crowded", f"{MAX_CONNECTIONS} connections are open: more must wait until one of them ends"
                    )
                    self.sleep(_PAUSE)
                    continue
                fd, _address = listener._accept()  # type: ignore[attr-defined]
                sock = _socket.socket(fileno=fd)
            except OSError as error:
                if self._closed:
                    return
                self.trouble("accept", f"a connection cannot be taken: {error.strerror or error}")
                self.sleep(_PAUSE)
                continue
            connection = Connection(self, sock)
            with self._lock:
                if self._closed:
                    sock.close()
                    return
                self._connections.add(connection)
            try:
                _thread.start_new_thread(connection.serve, ())
            except RuntimeError as error:
                self.trouble("thread", f"no thread can be had for a connection: {error}")
                sock.close()
                self.left(connection)

    def left(self, connection: Connection) -> None:
        """A connection has ended."""
        with self._lock:
            if connection in self._connections:
                self._connections.discard(connection)
                self._asked += connection.asked
                self._exchanges += connection.exchanges
                if self._closed and not self._connections and self._ended.locked():
                    self._ended.release()
