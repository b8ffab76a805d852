"""One HTTP/1.1 server on the loop: for the emulator's API, and for whatever an extension offers to its function.

A connection reads one request at a time; what the peer sends meanwhile (pipelining) stays in the reader until the answer is
out. A handler answers at once or keeps the `Exchange` and answers later from the loop's thread: that is how a long poll
waits without a thread. Head and body leave in one write, TCP_NODELAY is set: two small writes on a keep-alive connection
cost 40 ms with Nagle's algorithm and delayed acknowledgement.

Nothing that a peer does makes a server grow: requests that come before their turn are left in the socket, answers that are not
read hold back the next request, connections and file descriptors that run out cost idle connections or a short wait.
"""

from __future__ import annotations

import _socket
import errno

from extension_kit.errors import RemoteProtocolError
from extension_kit.io.loop import READ, WRITE
from extension_kit.io.ports import bind
from extension_kit.protocol import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extension_kit.io.loop import Loop

__all__ = ["Exchange", "Server"]

_CHUNK = 262_144
_FIRST = 8_192  # bytes of a read that most likely gets less: a large buffer costs more than the request
_AHEAD = 65_536  # bytes of requests that may wait for their turn; the rest waits in the socket
_LINGER = 1.0  # seconds in which a peer that is refused may go on sending, so that it reads why
_PAUSE = 0.1  # seconds without new connections when no descriptor is left for them
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
MAX_CONNECTIONS = 256  # of one server; Lambda allows 1,024 descriptors for a whole process


class Exchange:
    """One request and the right to answer it, once.

    ``head``: `http1.RequestHead`; ``body``: bytes; ``trailers``: `http1.Headers`. ``closed`` is true when the peer has gone.
    ``raw``: the bytes of a request that came in one piece, has no body and is not the connection's last; else b"".
    """

    __slots__ = ("_connection", "answered", "body", "head", "raw", "trailers")

    def __init__(self, connection: _Connection, message: http1.Message, raw: bytes = b"") -> None:
        assert isinstance(message.head, http1.RequestHead)
        self._connection = connection
        self.head: http1.RequestHead = message.head
        self.body = message.body
        self.trailers = message.trailers
        self.raw = raw
        self.answered = False

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> bool:
        """Send the answer; False where the peer has gone. A second answer is a programming error (RuntimeError)."""
        if self.answered:
            raise RuntimeError("this exchange has been answered already")
        self.answered = True
        return self._connection.answer(self, status, headers, body)


class _Connection:
    __slots__ = (
        "_between",
        "_chunk",
        "_events",
        "_keep_alive",
        "_out",
        "_reader",
        "_refused",
        "_server",
        "_sock",
        "busy",
        "closed",
    )

    def __init__(self, server: Server, sock: _socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._reader = http1.MessageReader(http1.SERVER, server.limits)
        self._out = bytearray()
        self._chunk = _FIRST
        self._between = True  # nothing of a request is in the reader
        self.busy = False  # an exchange is with the handler
        self._keep_alive = True
        self._refused = False  # answered and over; what still comes is thrown away
        self.closed = False
        self._events = READ
        server.loop.watch(sock.fileno(), READ, self._ready)

    def _watch(self) -> None:
        """Wait for what is due: room for the answer, else input, unless enough of it waits already."""
        ahead = self.busy and self._reader.buffered > _AHEAD
        events = WRITE if self._out else 0 if ahead else READ
        if events != self._events and not self.closed:
            self._events = events
            self._server.loop.change(self._sock.fileno(), events)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & ~WRITE and not self.closed:
            self._receive()
        self._watch()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(self._chunk)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._chunk = _CHUNK if len(data) == self._chunk else _FIRST
        if self._refused:
            return
        alone = self._between and not (self.busy or self._out)
        if alone and self._server.quick is not None:
            answer = self._server.quick(data)
            if answer is not None:
                self._send(answer)
                return
        self._between = False
        self._reader.receive(data)
        self._advance(data if alone else b"")
        most = self._server.most_held
        if most is not None and self.held and not (self.busy or self._refused) and self._server.held > most:
            self._refuse(RemoteProtocolError(f"{most} bytes wait for the rest of their requests: no more room", 413))

    @property
    def held(self) -> int:
        """Bytes of a request that has not come whole."""
        return 0 if self.closed or self.busy else self._reader.held

    def _advance(self, raw: bytes = b"") -> None:
        """Hand the next whole request to the handler, one at a time. `raw`: all that there is to read."""
        while not (self.busy or self.closed or self._refused or self._out):
            try:
                message = self._reader.next_message()
            except RemoteProtocolError as error:
                self._refuse(error)
                return
            if not isinstance(message, http1.Message):
                if self._reader.wants_continue:
                    self._send(http1.CONTINUE)
                return
            self.busy = True
            assert isinstance(message.head, http1.RequestHead)
            self._keep_alive = message.head.keep_alive
            is_raw = self._keep_alive and self._reader.at_message_boundary and not message.body
            exchange, raw = Exchange(self, message, raw if is_raw else b""), b""
            try:
                self._server.handler(exchange)
            except Exception:
                if not exchange.answered:
                    exchange.respond(500)
                raise

    def _refuse(self, error: RemoteProtocolError) -> None:
        self._reader = http1.MessageReader(http1.SERVER, self._server.limits)  # what has come is no use to anybody
        if self._server.on_refused is not None:
            self._server.on_refused(error)
        self._keep_alive = False
        body = f"{error}\n".encode()
        headers = [(b"Content-Type", b"text/plain; charset=utf-8")]
        self._send(http1.encode_response(error.status_hint, headers, body, keep_alive=False))
        self._refused = True
        self._server.loop.call_later(_LINGER, self.close)
        self._finish()

    def answer(self, exchange: Exchange, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        if self.closed:
            return False
        head_only = exchange.head.method == b"HEAD"
        data = http1.encode_response(status, headers, body, keep_alive=self._keep_alive, head_only=head_only)
        self.busy = False
        self._send(data)
        self._finish()
        self._watch()
        return not self.closed

    def _finish(self) -> None:
        """After an answer: close, wait for the socket to take the rest, or go on to a pipelined request."""
        if self.closed or self._out:
            return
        if self._refused:
            # Closing now, with input unread, would make the kernel reset the connection and the answer with it.
            try:
                self._sock.shutdown(_socket.SHUT_WR)
            except OSError:  # the peer has gone already
                self.close()
        elif not self._keep_alive:
            self.close()
        elif self._reader.at_message_boundary:
            self._between = True
        else:
            # Not from here: an answer given inside the handler would recurse once for each pipelined request.
            self._server.loop.call_soon_threadsafe(self._advance)

    def _send(self, data: bytes) -> None:
        if self._out:
            self._out += data
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._out += memoryview(data)[sent:]

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if not self._out:
            self._finish()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._server.forget(self)
        self._server.loop.unwatch(self._sock.fileno())
        self._sock.close()


class Server:
    """Listening sockets whose requests go to ``handler(exchange)``, on the thread of `loop`."""

    def __init__(
        self, loop: Loop, handler: Callable[[Exchange], object], limits: http1.Limits = http1.DEFAULT_LIMITS
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.limits = limits
        #: Given what has arrived, the answer to it, where that is known without reading it (see `Exchange.raw`), or None.
        self.quick: Callable[[bytes], bytes | None] | None = None
        #: Told why, of a request that is refused before a handler has seen it; `status_hint` is what it was answered with.
        self.on_refused: Callable[[RemoteProtocolError], object] | None = None
        #: Bytes of requests that have not come whole, of all connections together; beyond it the one that grows is refused
        #: with 413. None: each connection may have what `limits` allow.
        self.most_held: int | None = None
        self._listeners: list[_socket.socket] = []
        self._connections: dict[_Connection, None] = {}  # in the order in which they came

    def listen(self, host: str, port: int = 0) -> int:
        """Bind `host` (an IPv4 or IPv6 literal) and return the port; OSError where it cannot be had."""
        return self.adopt(bind(host, port))

    def adopt(self, sock: _socket.socket) -> int:
        """Serve a socket that listens already; returns its port."""
        sock.setblocking(False)
        self._listeners.append(sock)
        self.loop.watch(sock.fileno(), READ, lambda _events: self._accept(sock))
        return int(sock.getsockname()[1])

    def close(self) -> None:
        """Stop listening and drop every connection."""
        for sock in self._listeners:
            self.loop.unwatch(sock.fileno())
            sock.close()
        self._listeners.clear()
        for connection in list(self._connections):
            connection.close()

    @property
    def held(self) -> int:
        """Bytes of requests that have not come whole."""
        return sum(connection.held for connection in self._connections)

    def forget(self, connection: _Connection) -> None:
        self._connections.pop(connection, None)

    def _accept(self, listener: _socket.socket) -> None:
        while True:
            try:
                fd, _peer = listener._accept()  # type: ignore[attr-defined]
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._pause(listener)
                return  # nothing (more) to accept, or the peer has gone already
            sock = _socket.socket(fileno=fd)
            sock.setblocking(False)
            try:
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except OSError:
                sock.close()
                continue
            if len(self._connections) >= MAX_CONNECTIONS and not self._drop_idle():
                sock.close()
                continue
            self._connections[_Connection(self, sock)] = None

    def _drop_idle(self) -> bool:
        """Close the oldest connection that waits for a request; False where all are being answered."""
        idle = next((connection for connection in self._connections if not connection.busy), None)
        if idle is not None:
            idle.close()
        return idle is not None

    def _pause(self, listener: _socket.socket) -> None:
        """No descriptor is left: wait a little instead of asking again and again; callers wait in the backlog."""
        self.loop.change(listener.fileno(), 0)
        self.loop.call_later(_PAUSE, self._resume, listener)

    def _resume(self, listener: _socket.socket) -> None:
        if listener in self._listeners:
            self.loop.change(listener.fileno(), READ)
