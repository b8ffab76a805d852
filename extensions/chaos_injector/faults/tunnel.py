"""One connection through the proxy for outgoing requests: a client, its server, and a pipe each way with the faults in it."""

from __future__ import annotations

import _socket
import time
from collections import deque

from extension_kit.io.loop import READ, WRITE
from extensions.chaos_injector.faults.plain import Exchange, target_of
from extensions.chaos_injector.faults.toxics import Toxics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.io.loop import Loop, Timer
    from extensions.chaos_injector.faults.egress import Egress
    from extensions.chaos_injector.plan import Fault

__all__ = ["Connection"]

_HEAD = 65_536  # bytes of a request's head
_HEAD_S = 30.0
_CHUNK = 65_536
_AHEAD = 262_144  # bytes of one direction that may wait here; then no more are read
_AT_ONCE = b"\1\0\0\0\0\0\0\0"  # struct linger of a little-endian machine, as Lambda's are: on, 0 s


class Connection:
    """A client of ours and, once it has said where to, its server."""

    def __init__(self, egress: Egress, loop: Loop, client: _socket.socket) -> None:
        self._egress = egress
        self._loop = loop
        self._client = client
        self._server: _socket.socket | None = None
        self._head = b""
        self.host = ""
        self.used_at = time.monotonic()
        self._exchange: Exchange | None = None  # of plain HTTP
        self._pipes: tuple[_Pipe, ...] = ()
        self._watched: dict[_socket.socket, int] = {}
        self._reset_at: Timer | None = None
        self.is_closed = False
        client.setblocking(False)
        client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        loop.watch(client.fileno(), READ, self._read_head)
        self._patience = loop.call_later(_HEAD_S, self.close)

    # the request's head

    def _read_head(self, _events: int) -> None:
        try:
            data = self._client.recv(_HEAD)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._head += data
        if not data:
            self.close()
        elif b"\r\n\r\n" in self._head:
            self._patience.cancel()
            self._loop.unwatch(self._client.fileno())
            head, _, rest = self._head.partition(b"\r\n\r\n")
            self._head = b""
            self._route(head, rest)
        elif len(self._head) > _HEAD:
            self._refuse(431, "the request's head is too large")

    def _route(self, head: bytes, rest: bytes) -> None:
        target = target_of(head)
        if target is None:
            self._refuse(400, "a proxy wants CONNECT host:port or an absolute http:// address")
            return
        self.host, port, first = target
        if first:
            try:
                self._exchange = Exchange(first, lambda early: self._pipes[0].feed(early))
            except ValueError as error:
                self._refuse(400, str(error))
                return
        for fault in self._egress.faults_for(self.host):
            if fault.type == "egress_dns":
                self._refuse(502, f"{self.host}: Name or service not known")
                return
            if fault.type == "egress_refuse":
                self._refuse(502, f"{self.host}:{port}: Connection refused")
                return
        self._egress.dial(self.host, port, lambda found: self._dialled(found, first, rest))

    def _dialled(self, found: _socket.socket | str, first: bytes, rest: bytes) -> None:
        if isinstance(found, str):
            self._refuse(502, found)
            return
        if self.is_closed:
            found.close()
            return
        found.setblocking(False)
        found.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._server = found
        up = _Pipe(self, self._loop, self._client, found, "upstream")
        down = _Pipe(self, self._loop, found, self._client, "downstream")
        self._pipes = (up, down)
        up.other, down.other = down, up
        self.apply()
        if self._exchange is not None:
            up.rewrite, down.rewrite, down.left = (
                self._exchange.request,
                self._exchange.answer,
                self._exchange.answer_ends,
            )
            up.feed(first)
            up.take(rest)
        else:
            down.write_now(b"HTTP/1.1 200 Connection established\r\n\r\n")
            if rest:
                up.feed(rest)
        for pipe in self._pipes:
            pipe.begin()

    def _refuse(self, status: int, why: str) -> None:
        if self.is_closed:
            return
        text = f"chaos-injector: {why}\n".encode("utf-8", "replace")
        reason = {502: "Bad Gateway", 400: "Bad Request"}.get(status, "Error")
        fields = f"Content-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close"
        head = f"HTTP/1.1 {status} {reason}\r\n{fields}\r\n\r\n"
        try:
            self._client.send(head.encode() + text)
        except OSError:
            pass
        self.close()

    # faults

    def apply(self) -> None:
        """The faults have changed."""
        if not self._pipes:
            return
        faults = self._egress.faults_for(self.host)
        resets = [fault for fault in faults if fault.type == "egress_reset"]
        if self._reset_at is not None:
            self._reset_at.cancel()
            self._reset_at = None
        if resets:
            wait_ms = min(float(fault.params["timeout"]) for fault in resets)
            self._reset_at = self._loop.call_later(wait_ms / 1000, self.reset)
        for pipe in self._pipes:
            pipe.apply(faults)

    def reset(self) -> None:
        """Both ends get RST: what is on its way is lost."""
        for sock in (self._client, self._server):
            if sock is not None and not self.is_closed:
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _AT_ONCE)
        self.close()

    def close(self) -> None:
        """End both sides; what waits is lost."""
        if self.is_closed:
            return
        self.is_closed = True
        self._patience.cancel()
        if self._reset_at is not None:
            self._reset_at.cancel()
        for pipe in self._pipes:
            pipe.stop()
        for sock in (self._client, self._server):
            if sock is not None:
                self._loop.unwatch(sock.fileno())
                sock.close()
        self._egress.forget(self)

    def watch(self) -> None:
        """Wait for what the pipes can do something with."""
        if self.is_closed:
            return
        for sock in (self._client, self._server):
            assert sock is not None
            events = 0
            for pipe in self._pipes:
                events |= READ if pipe.source is sock and pipe.wants_read else 0
                events |= WRITE if pipe.sink is sock and pipe.wants_write else 0
            if events != self._watched.get(sock, 0):
                self._watched[sock] = events
                self._loop.unwatch(sock.fileno())
                if events:  # where nothing is waited for, hang-ups would be told without end
                    self._loop.watch(sock.fileno(), events, lambda ready, sock=sock: self._ready(sock, ready))  # type: ignore[misc]

    def _ready(self, sock: _socket.socket, events: int) -> None:
        self.used_at = time.monotonic()
        for pipe in self._pipes:
            if not self.is_closed and pipe.sink is sock and pipe.wants_write and events & ~READ:
                pipe.write()
            if not self.is_closed and pipe.source is sock and pipe.wants_read and events & ~WRITE:
                pipe.read()
        self.watch()

    def ended(self) -> None:
        """One direction has come to its end; with both it is over."""
        if all(pipe.is_over for pipe in self._pipes):
            self.close()


class _Pipe:
    """One direction: read, made later or smaller by the faults, written when it is due."""

    def __init__(
        self, connection: Connection, loop: Loop, source: _socket.socket, sink: _socket.socket, direction: str
    ) -> None:
        self.source = source
        self.sink = sink
        self.other: _Pipe | None = None
        self.rewrite: Callable[[bytes], bytes] | None = None  # what of it goes on, and how
        self.left: Callable[[], bytes] | None = None  # what that has kept, at the end
        self.is_over = False
        self._connection = connection
        self._loop = loop
        self._toxics = Toxics(direction)
        self._waiting: deque[tuple[float, bytes]] = deque()  # when it is due, and what
        self._size = 0
        self._out = b""
        self._at_end: float | None = None  # the source has ended: when the sink is told
        self._timer: Timer | None = None
        self._limit: Timer | None = None
        self._begun = False
        self._is_cut = False  # its end is the end of both directions

    @property
    def wants_read(self) -> bool:
        return self._begun and self._at_end is None and self._size < _AHEAD

    @property
    def wants_write(self) -> bool:
        return bool(self._out)

    def begin(self) -> None:
        self._begun = True
        self._connection.watch()

    def stop(self) -> None:
        for timer in (self._timer, self._limit):
            if timer is not None:
                timer.cancel()

    def apply(self, faults: tuple[Fault, ...]) -> None:
        held = self._toxics.holds
        self._toxics.set(faults)
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        if self._toxics.holds:
            if self._toxics.close_after_ms:
                self._limit = self._loop.call_later(self._toxics.close_after_ms / 1000, self._connection.close)
        elif held:
            self._connection.close()  # what was held back is lost, as with Toxiproxy
            return
        if self._toxics.is_idle and self._begun:  # what waits has waited long enough
            self._waiting = deque((0.0, piece) for _due, piece in self._waiting)
            self._at_end = self._at_end and 0.0
            self._next()
            self._connection.watch()

    def read(self) -> None:
        try:
            data = self.source.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._connection.close()
            return
        if data:
            self.take(data)
        else:
            if self.left is not None:
                self.feed(self.left())
            self._at_end = time.monotonic() + self._toxics.close_later_s
            self._next()

    def take(self, data: bytes) -> None:
        """What was read is to go on, as far as it is to."""
        try:
            self.feed(data if self.rewrite is None else self.rewrite(data))
        except ValueError:  # the client says something that is no request: its server would not know where it ends
            self._connection.close()

    def feed(self, data: bytes) -> None:
        """So much goes on."""
        if not data:
            return
        pieces, ends = self._toxics.shape(data, time.monotonic())
        for due, piece in pieces:
            self._waiting.append((due, piece))
            self._size += len(piece)
        if ends:  # so much may pass, and no more
            self._at_end = max(time.monotonic(), self._waiting[-1][0] if self._waiting else 0.0)
            self._is_cut = True
        self._next()

    def write_now(self, data: bytes) -> None:
        """Before everything else, and no fault is made of it."""
        self._out += data
        self._next()

    def write(self) -> None:
        """The sink takes more."""
        self._next()

    def _next(self) -> None:
        """Write what is due; wait for what is not."""
        if self.is_over:
            return
        now = time.monotonic()
        while self._send() and self._take_due(now):
            pass
        if self._out or self.is_over or self._connection.is_closed:
            return
        at = self._waiting[0][0] if self._waiting else self._at_end
        if at is None:
            return
        if at > now:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._due)
        elif self._at_end is not None and not self._waiting:
            self._end()

    def _send(self) -> bool:
        """Whether everything that is to be written has been."""
        try:
            while self._out:
                self._out = self._out[self.sink.send(self._out) :]
        except BlockingIOError:
            return False
        except OSError:
            self._connection.close()
            return False
        return True

    def _take_due(self, now: float) -> bool:
        """What is due is to be written: all of it, or the first piece where they are to go one by one."""
        due: list[bytes] = []
        while self._waiting and self._waiting[0][0] <= now and not (due and self._toxics.slices):
            due.append(self._waiting.popleft()[1])
        self._out = b"".join(due)
        self._size -= len(self._out)
        return bool(due)

    def _due(self) -> None:
        self._timer = None
        self._next()
        self._connection.watch()

    def _end(self) -> None:
        self.is_over = True
        if self._is_cut:
            self._connection.close()
            return
        try:
            self.sink.shutdown(_socket.SHUT_WR)
        except OSError:
            pass
        self._connection.ended()
