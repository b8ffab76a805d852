"""Where a function may send metrics of its own: StatsD by UDP, OTLP by HTTP, on loopback. Imported where a port is set.

Before the response nothing is looked into. Datagrams wait in the kernel; twenty milliseconds after the first of them all are
fetched from there, since it has room for a few hundred (and counts what it drops). Requests are answered as soon as they are
whole. What waits is bounded, and what has no room is counted.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import sys

from extension_kit.io.loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extension_kit.errors import RemoteProtocolError
    from extension_kit.io.server import Exchange
    from extension_kit.plugin import Context

__all__ = ["Datagrams", "Intake", "Request", "Requests"]

_LOOPBACK = ("127.0.0.1", "::1")
_BUFFER = 4_194_304  # bytes; the kernel gives what net.core.rmem_max allows, mostly 200 KiB
_TOGETHER_S = 0.02  # seconds between the first datagram and the look for those after it
_MOST_BYTES = 1_048_576  # of datagrams that wait here; each counts a hundred more than it has
_LARGEST = 65_535
_MOST_REQUESTS_BYTES = (
    4_194_304  # that wait, each with `_REQUEST` more than it has; and as many that have not come whole
)
_REQUEST = 1_000
_HEADS = 65_536  # bytes of a head beside the largest body
_SO_MEMINFO = 55  # include/uapi/asm-generic/socket.h
_DROPS = slice(32, 36)  # the ninth of the 32-bit numbers, SK_MEMINFO_DROPS: include/uapi/linux/sock_diag.h
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_TYPES = (b"application/x-protobuf", b"application/json")


class Intake:
    """``datagrams``, ``requests``: None where their port is off or cannot be had, which is said in a line."""

    def __init__(self, context: Context) -> None:
        settings = context.settings
        self.datagrams: Datagrams | None = None
        self.requests: Requests | None = None
        self._loop = Loop()
        if settings.statsd_port:
            sockets = _opened(settings.statsd_port, "STATSD", _udp, context)
            self.datagrams = Datagrams(self._loop, sockets) if sockets else None
        if settings.otlp_port:
            from extension_kit.io.ports import bind

            sockets = _opened(settings.otlp_port, "OTLP", bind, context)
            self.requests = Requests(self._loop, sockets, _why_not(context), context) if sockets else None
        if self.datagrams is not None or self.requests is not None:
            _thread.start_new_thread(self._loop.run, ())

    @property
    def pending(self) -> int:
        """Datagrams and requests that nobody has come for."""
        found = 0
        if self.datagrams is not None:
            found += self.datagrams.pending
        if self.requests is not None:
            found += self.requests.pending
        return found

    def close(self) -> None:
        """For tests: a process keeps its ports until it ends."""
        for one in (self.datagrams, self.requests):
            if one is not None:
                self._loop.call_soon_threadsafe(one.close)
        self._loop.stop()


class Datagrams:
    """What has come by UDP and was not read. `take` is for another thread than the loop's."""

    def __init__(self, loop: Loop, sockets: Sequence[_socket.socket]) -> None:
        self._loop = loop
        self._sockets = sockets
        self._lock = _thread.allocate_lock()
        self._waiting: list[bytes] = []
        self._size = 0
        self._is_full = False
        self._drops = 0  # of the kernel's, that were told
        for sock in sockets:
            loop.watch(sock.fileno(), READ, lambda _events, sock=sock: self._arrived(sock))  # type: ignore[misc]

    @property
    def pending(self) -> int:
        """At least: what is still in the kernel cannot be counted. How full this list is shows in `share`."""
        with self._lock:
            self._fetch()
            return len(self._waiting)

    @property
    def share(self) -> float:
        """Of the room that there is."""
        return self._size / _MOST_BYTES

    def take(self) -> list[bytes]:
        """Everything that has come so far."""
        with self._lock:
            self._fetch()
            waiting, self._waiting, self._size = self._waiting, [], 0
            was_full, self._is_full = self._is_full, False
        if was_full:
            self._loop.call_soon_threadsafe(self._watch_again)
        return waiting

    def put_back(self, datagrams: list[bytes]) -> None:
        """There was no time for these."""
        with self._lock:
            self._waiting[:0] = datagrams
            self._size += sum(map(_weight, datagrams))

    def lost(self) -> int:
        """How many the kernel has dropped since the last time, having no room."""
        drops = sum(map(_drops_of, self._sockets))
        news, self._drops = max(0, drops - self._drops), drops
        return news

    def close(self) -> None:
        for sock in self._sockets:
            self._loop.unwatch(sock.fileno())
            sock.close()

    # the loop's thread

    def _arrived(self, sock: _socket.socket) -> None:
        """Others will follow: one look for all of them."""
        self._loop.change(sock.fileno(), 0)
        self._loop.call_later(_TOGETHER_S, self._look, sock)

    def _look(self, sock: _socket.socket) -> None:
        with self._lock:
            self._fetch()
            full = self._is_full
        if not full and sock.fileno() >= 0:
            self._loop.change(sock.fileno(), READ)

    def _watch_again(self) -> None:
        for sock in self._sockets:
            if sock.fileno() >= 0:
                self._loop.change(sock.fileno(), READ)

    # any thread, with the lock

    def _fetch(self) -> None:
        """From the kernel into the list, while there is room: what is left there is the kernel's to keep or to drop."""
        for sock in self._sockets:
            while not self._is_full:
                try:
                    datagram = sock.recv(_LARGEST)
                except OSError:  # nothing more
                    break
                self._waiting.append(datagram)
                self._size += _weight(datagram)
                self._is_full = self._size >= _MOST_BYTES


class Request:
    """An ExportMetricsServiceRequest as the function has sent it: ``body`` with its ``headers``, which say what it is."""

    __slots__ = ("body", "headers")

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self.body = body
        self.headers = headers

    @property
    def weight(self) -> int:
        """Bytes that it takes while it waits, with what is around it."""
        return len(self.body) + _REQUEST


class Requests:
    """OTLP/HTTP, metrics only. ``why_not``: why nothing can be forwarded; "" where it can.

    ``in_hand``: weight of those that were taken and are not delivered, which whoever takes them keeps up.
    """

    def __init__(self, loop: Loop, sockets: Sequence[_socket.socket], why_not: str, context: Context) -> None:
        from extension_kit.io.server import Server
        from extension_kit.protocol import http1

        self.in_hand = 0
        self.why_not = why_not
        self._say = context.log.warning
        self._said: set[object] = set()
        self._lock = _thread.allocate_lock()
        self._waiting: list[Request] = []
        self._size = 0
        self._refused = 0
        self._server = Server(loop, self._handle, http1.Limits(max_body=_MOST_REQUESTS_BYTES))
        self._server.most_held = _MOST_REQUESTS_BYTES + _HEADS
        self._server.on_refused = self._not_read
        for sock in sockets:
            self._server.adopt(sock)
        if why_not:
            self._say_once(why_not, f"METRICS_COLLECTOR_OTLP_PORT: {why_not}: what the function sends there is refused")

    @property
    def pending(self) -> int:
        return len(self._waiting) + (1 if self._refused else 0)

    @property
    def share(self) -> float:
        """Of the room that there is, what nobody has come for."""
        return self._size / _MOST_REQUESTS_BYTES

    def take(self) -> list[Request]:
        """For another thread than the loop's."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self.in_hand += self._size
            self._size = 0
        return waiting

    def refused(self) -> int:
        """How many were not taken since the last time."""
        with self._lock:
            refused, self._refused = self._refused, 0
        return refused

    def close(self) -> None:
        self._server.close()

    def _handle(self, exchange: Exchange) -> None:
        head = exchange.head
        path = head.target.partition(b"?")[0]
        kind = (head.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        encoding = (head.headers.get(b"content-encoding") or b"identity").strip().lower()
        if path != b"/v1/metrics":
            self._refuse(exchange, 404, "only /v1/metrics is taken here, no traces and no logs")
        elif head.method != b"POST":
            exchange.respond(405, (_TEXT, (b"Allow", b"POST")), b"POST is expected\n")
        elif self.why_not:
            self._refuse(exchange, 403, self.why_not)
        elif kind not in _TYPES or encoding not in (b"identity", b"gzip"):
            self._refuse(
                exchange, 415, "application/x-protobuf or application/json is taken, as it is or compressed with gzip"
            )
        elif not self._keep(exchange.body, kind, encoding):
            # No 429 and no 5xx: a client would wait and try again, in the function's time.
            self._refuse(exchange, 413, f"{_MOST_REQUESTS_BYTES} bytes wait to be forwarded, and there is no more room")
        else:
            exchange.respond(200, ((b"Content-Type", kind),), b"{}" if kind == b"application/json" else b"")

    def _keep(self, body: bytes, kind: bytes, encoding: bytes) -> bool:
        headers = {"Content-Type": kind.decode()}
        if encoding != b"identity":
            headers["Content-Encoding"] = encoding.decode()
        request = Request(body, headers)
        with self._lock:
            if self._size + self.in_hand + request.weight > _MOST_REQUESTS_BYTES:
                return False
            self._waiting.append(request)
            self._size += request.weight
        return True

    def _refuse(self, exchange: Exchange, status: int, why: str) -> None:
        self._count(why, status, why)
        exchange.respond(status, (_TEXT,), f"{why}\n".encode())

    def _not_read(self, error: RemoteProtocolError) -> None:
        """Too large, or no HTTP; the server answers."""
        self._count(error.status_hint, error.status_hint, str(error))

    def _count(self, key: object, status: int, why: str) -> None:
        with self._lock:
            self._refused += 1
        self._say_once(key, f"OTLP from the function is refused with {status}: {why}")

    def _say_once(self, key: object, text: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._say(text)


def _why_not(context: Context) -> str:
    if "otlp" not in context.settings.export:
        return "METRICS_COLLECTOR_EXPORT has no otlp, so there is nowhere to forward it to"
    if not context.settings.endpoint.startswith(("http://", "https://")):
        return "METRICS_COLLECTOR_ENDPOINT is no URL, so there is nowhere to forward it to"
    return ""


def _opened(
    number: int, name: str, make: Callable[[str, int], _socket.socket], context: Context
) -> list[_socket.socket]:
    """On 127.0.0.1 and, where there is IPv6, on ::1; none, and a line, where the first cannot be had.

    Where another process has the second, what is sent to "localhost" may go there: that is said.
    """
    found: list[_socket.socket] = []
    for host in _LOOPBACK:
        try:
            found.append(make(host, number))
        except OSError as error:
            if not found:
                context.log.error(
                    f"METRICS_COLLECTOR_{name}_PORT: port {number}: {error.strerror}; nothing is taken there"
                )
                break
            if error.errno == errno.EADDRINUSE:
                context.log.warning(
                    f"METRICS_COLLECTOR_{name}_PORT: port {number} on {host}: {error.strerror}; only what is sent to "
                    f"{_LOOPBACK[0]} is taken"
                )
    return found


def _udp(host: str, port: int) -> _socket.socket:
    sock = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _BUFFER)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _weight(datagram: bytes) -> int:
    return len(datagram) + 100


def _drops_of(sock: _socket.socket) -> int:
    """0 where the kernel does not tell."""
    try:
        told = sock.getsockopt(_socket.SOL_SOCKET, _SO_MEMINFO, _DROPS.stop)
    except OSError:
        return 0
    return int.from_bytes(told[_DROPS], sys.byteorder)
