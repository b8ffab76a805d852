"""One connection of a runtime, with its own connection upstream, on its own thread: requests go up, answers come down.

What nobody has an interest in passes as it comes: heads as they are (but for Host, which names the Runtime API again), bodies
by `relay`, in chunks as they were. A message that the codec refuses is no reason to refuse anything: from there on the two
connections are tied together, byte for byte, and the two ends see to it themselves.
"""

from __future__ import annotations

import _socket
import select

from extension_kit.io.relay import ANSWERED, IGNORE, WATCH, Ended, linger_reset, offer, tunnel
from extension_kit.protocol import passing
from extension_kit.proxy_messages import Reply, Request, Unreadable, may_be_head, reply_from, request_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.proxy import RuntimeProxy
    from extension_kit.proxy_bodies import Incoming

__all__ = ["Connection"]

_FIRST = 65_536  # bytes that are read at once
_TRIES = 4  # to connect upstream, before anything has been sent
_PAUSE = 0.05  # seconds, doubled each time
_IN, _BAD = select.POLLIN, select.POLLERR | select.POLLHUP


class Connection:
    """`serve` it on a thread; `hang_up` from any other."""

    def __init__(self, proxy: RuntimeProxy, runtime: _socket.socket) -> None:
        self.proxy = proxy
        self.runtime = runtime
        self.upstream: _socket.socket | None = None
        self.asked = 0  # how many times for the next event
        self.exchanges = 0
        self._ahead = b""  # of the next request, come early
        self._behind = b""  # of the answer that follows an interim one
        self._generation = 0
        self._usual = self._usual_sent = b""  # the request for the next event, as it came last: it is always the same
        self._fd = runtime.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, _IN)
        self._muted = False  # the runtime has said something out of turn, or nothing more will come from it
        self._answered = False  # while the request is still on its way
        self._over = False

    # its life

    def serve(self) -> None:
        """Until either end closes; the other end is closed in the same way. Never raises."""
        reset = True
        try:
            self.runtime.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            while self.exchange():
                self.exchanges += 1
            reset = False
        except Ended:
            reset = False
        except OSError:
            reset = not self._answered
        except Exception as error:
            self.proxy.trouble("exchange", f"a connection is given up: {type(error).__name__}: {error}")
        finally:
            self._close(reset)
            self.proxy.left(self)

    def hang_up(self) -> None:
        """End both connections; the thread then ends by itself."""
        self._over = True
        for sock in (self.runtime, self.upstream):
            if sock is not None:
                try:
                    sock.shutdown(_socket.SHUT_RDWR)
                except OSError:
                    pass

    def _close(self, reset: bool) -> None:
        for sock in (self.runtime, self.upstream):
            if sock is not None:
                try:
                    if reset and not self._over:
                        linger_reset(sock)
                    sock.close()
                except OSError:
                    pass

    # one exchange

    def exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            data = self._ahead or self._wait_for_request()
            self._ahead = b""
            if not data:
                return False
            steering = self.proxy.steering
            if steering is None and data == self._usual:
                self.asked += 1
                self.send(self._usual_sent)
                return self.answer()
            request = self.read_request(data)
            if request.call in (passing.NEXT, passing.RESTORE_NEXT):
                self.asked += 1
                request.first = self.proxy.is_first()  # whether anybody wants to know or not: init ends once
            if steering is not None:
                again: bool = steering.exchange(self, request)
                return again
            return self.forward(request)
        except Unreadable as unreadable:
            return self._tunnel(unreadable.up, unreadable.down)

    def forward(self, request: Request, heard: Callable[[], object] | None = None) -> bool:
        """It goes upstream, its answer comes down; `heard`: see `answer`."""
        return self.pass_up(request) and self.answer(request.method, heard) and request.keep_alive

    def pass_up(self, request: Request) -> bool:
        """It goes upstream, body and all; False where everything is over with that."""
        incoming = request.incoming
        self._answered = False
        self.send(request.head + incoming.begun())
        if incoming.left and self.upstream is not None:
            try:
                if not incoming.pass_on(self.upstream, self._early):
                    self.drop_upstream()  # it has refused what it has not seen whole
                    if not self._answered:
                        return False
            except OSError:
                if not self._answered and not self.last_words():
                    raise
                return False
        if incoming.broken:
            return self._tunnel(incoming.extra)
        self._ahead = incoming.extra
        return True

    def answer(self, method: bytes = b"GET", heard: Callable[[], object] | None = None) -> bool:
        """The answer comes down; whether the connections can be used again. ``heard()`` before the runtime hears it."""
        if self.was_answered():
            return True
        while True:
            reply = self.read_reply(method)
            if reply is not None and heard is not None and not reply.interim:
                heard()
            if reply is None or not self.pass_down(reply):
                return False
            if not reply.interim:
                return reply.keep_alive

    def pass_down(self, reply: Reply, head: bytes = b"") -> bool:
        incoming = reply.incoming
        self.runtime.sendall((head or reply.head) + incoming.begun())
        if incoming.left:
            incoming.pass_on(self.runtime, self._runtime_spoke)
        if reply.status == 101 or incoming.broken:
            return self._tunnel(b"", incoming.extra + self._behind)
        if incoming.extra:
            self.drop_upstream()  # it says more than it was asked for
        return True

    def was_answered(self) -> bool:
        """Whether the runtime had its answer while its request was on its way; told once."""
        answered, self._answered = self._answered, False
        return answered

    def _early(self) -> int:
        """Upstream says something while the request is on its way."""
        try:
            return self.early(self._told_early)
        except Unreadable as unreadable:
            self.runtime.sendall(unreadable.down)
            self._answered = True
            return ANSWERED

    def early(self, tell: Callable[[Reply | None], object]) -> int:
        """The same: interim answers come down, ``tell(reply)`` is given the last one, None where it hangs up. `Unreadable`."""
        reply = self.read_reply(b"POST")
        while reply is not None and reply.interim:
            self.pass_down(reply)
            if not self._behind:
                return WATCH
            reply = self.read_reply(b"POST")
        tell(reply)
        return (
            IGNORE if reply is not None and reply.status < 300 else ANSWERED
        )  # who has accepted it may still want all

    def _told_early(self, reply: Reply | None) -> None:
        if reply is None:
            self.runtime.shutdown(_socket.SHUT_WR)
        else:
            self._answered = True
            self.pass_down(reply)

    def last_words(self) -> bool:
        """Upstream has hung up in the middle of a request: why, if it has said so."""
        try:
            data = self.upstream.recv(_FIRST, _socket.MSG_DONTWAIT) if self.upstream is not None else b""
            if data:
                self.runtime.sendall(data)
            return bool(data)
        except OSError:
            return False

    # heads

    def read_request(self, data: bytes) -> Request:
        """The request that begins with `data`. `Unreadable`."""
        end = data.find(b"\r\n\r\n") + 4
        while end < 4:
            more = self.runtime.recv(_FIRST) if may_be_head(data) else b""
            if not more:
                raise Unreadable(data)
            begin = max(0, len(data) - 3)
            data += more
            end = data.find(b"\r\n\r\n", begin) + 4
        request = request_from(self.runtime, data, end, self.proxy.own_port, self.proxy.host)
        if request.call == passing.NEXT and end == len(data) and request.keep_alive and not request.incoming.left:
            self._usual, self._usual_sent = data, request.head
        return request

    def read_reply(self, method: bytes = b"GET") -> Reply | None:
        """The head of the answer, an interim one too; None where upstream closes instead. `Unreadable`."""
        data = self._wait_for_reply()
        if not data:
            return None
        end = data.find(b"\r\n\r\n") + 4
        while end < 4:
            more = self._wait_for_reply() if may_be_head(data) else b""
            if not more:
                raise Unreadable(down=data)
            begin = max(0, len(data) - 3)
            data += more
            end = data.find(b"\r\n\r\n", begin) + 4
        assert self.upstream is not None
        reply = reply_from(self.upstream, data, end, method)
        if reply.interim:
            self._behind, reply.incoming.extra = reply.incoming.extra, b""
        return reply

    def read_final_reply(self, method: bytes = b"GET") -> Reply | None:
        """As `read_reply`; interim ones come down on their own. `Unreadable`."""
        while (reply := self.read_reply(method)) is not None and reply.interim:
            self.pass_down(reply)
        return reply

    # upstream

    def send(self, data: bytes) -> None:
        """To upstream, on a connection that is open. What fails before a byte has left is tried again on a new one."""
        if self.upstream is None or self._generation != self.proxy.generation or self._is_stale():
            self._connect()
        assert self.upstream is not None
        try:
            sent = self.upstream.send(data)
        except (BrokenPipeError, ConnectionResetError):
            self.proxy.count("reconnected")
            self._connect()
            sent = self.upstream.send(data)
        if sent < len(data):
            self.upstream.sendall(memoryview(data)[sent:])

    def _is_stale(self) -> bool:
        """Whether upstream has hung up while a hook took its time."""
        if self.proxy.steering is None or self.upstream is None:
            return False
        try:
            self.upstream.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def offer(self, data: bytes | memoryview, spoken: Callable[[], int] | None = None) -> bool:
        """To upstream, after `send`; False where it refuses, or hangs up, before it has all.

        What it says meanwhile comes down to the runtime (see `was_answered`), or is for ``spoken()`` (see `relay`).
        """
        upstream = self.upstream
        if upstream is None:
            return False
        try:
            if self._answered:  # it has accepted: nothing but its next answer can come
                upstream.sendall(data)
                return True
            return offer(upstream, data, spoken or self._early)
        except OSError:
            return False

    def took(self, incoming: Incoming) -> None:
        """A request's body has been read to its end: what follows is the next request."""
        self._ahead = incoming.extra

    def _connect(self) -> None:
        self.drop_upstream()
        for attempt in range(_TRIES):
            if self._over:
                raise ConnectionResetError("the proxy is closed")
            if attempt:
                self.proxy.sleep(_PAUSE * 2**attempt)
            self._generation = self.proxy.generation
            family = _socket.AF_INET6 if ":" in self.proxy.address[0] else _socket.AF_INET
            sock = None
            try:
                sock = _socket.socket(family, _socket.SOCK_STREAM)
                sock.connect(self.proxy.address)
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            except OSError as error:
                if sock is not None:
                    sock.close()
                failure = error
                continue
            self.upstream = sock
            self._poll.register(sock.fileno(), _IN)
            if self._over:  # it was closed before it could hang this up
                raise ConnectionResetError("the proxy is closed")
            return
        self.proxy.trouble("upstream", f"{self.proxy.host.decode()} cannot be reached: {failure.strerror or failure}")
        raise failure

    def drop_upstream(self) -> None:
        if self.upstream is not None:
            self._poll.unregister(self.upstream.fileno())
            self.upstream.close()
            self.upstream = None
        self._behind = b""

    # waiting

    def _wait_for_request(self) -> bytes:
        if self._muted:
            self._muted = False
            self._poll.modify(self._fd, _IN)
        while True:
            ready = self._poll.poll()
            if ready[0][0] != self._fd or len(ready) > 1:
                self.drop_upstream()  # idle, and closed: the next request makes a new one
            if ready[0][0] == self._fd or len(ready) > 1:
                return self.runtime.recv(_FIRST)

    def _wait_for_reply(self) -> bytes:
        if self._behind:
            data, self._behind = self._behind, b""
            return data
        upstream = self.upstream
        assert upstream is not None
        while True:
            ready = self._poll.poll()
            for fd, events in ready:
                if fd != self._fd:
                    return upstream.recv(_FIRST)
                if self._muted and events & _BAD:
                    raise ConnectionResetError("the runtime has gone")
                self._runtime_spoke()
                self._muted = True
                self._poll.modify(self._fd, 0)

    def _runtime_spoke(self) -> int:
        """Out of turn: the next request waits in the socket; an end is passed on, and upstream decides what that means."""
        if not self.runtime.recv(1, _socket.MSG_PEEK) and self.upstream is not None:
            try:
                self.upstream.shutdown(_socket.SHUT_WR)
            except OSError:
                pass  # it has gone as well: that shows when it is read
        return IGNORE

    # byte for byte

    def _tunnel(self, up: bytes, down: bytes = b"") -> bool:
        """`up` and `down` are what has come of either side and not gone on."""
        self.proxy.count("tunnelled")
        if up:
            self.send(up)
        if down:
            self.runtime.sendall(down)
        assert self.upstream is not None
        tunnel(self.runtime, self.upstream, b"")
        return False
