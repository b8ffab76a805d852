"""Carries telemetry to an extension's listener: one keep-alive connection for each port, on the environment's loop.

The sockets are made where the listeners are, in the environment's network namespace, and served from outside.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from extension_kit.errors import RemoteProtocolError
from extension_kit.io.loop import READ, WRITE
from extension_kit.protocol import http1

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Cancellable
    from extension_kit.io.loop import Loop
    from extension_kit.protocol.telemetry_api import Subscription

_HOST = "127.0.0.1"
_PATIENCE = 30.0  # seconds for an answer; a frozen listener gives none


class Carrier:
    """Implements `telemetry.Deliveries`. ``enter``: runs a function where the extension's network is."""

    def __init__(self, loop: Loop, enter: Callable[[Callable[[], Any]], Any], now_ms: Callable[[], int]) -> None:
        self._loop = loop
        self._enter = enter
        self.now_ms = now_ms
        self._connections: dict[int, _Connection] = {}

    def call_later(self, seconds: float, call: Callable[[], object]) -> Cancellable:
        return self._loop.call_later(seconds, call)

    def post(self, subscription: Subscription, body: bytes, done: Callable[[bool], object]) -> None:
        """One batch; ``done(taken)`` on the loop's thread: whether it was answered with 2xx (TCP: written)."""
        connection = self._connections.get(subscription.port)
        if connection is None or connection.closed:
            made: socket.socket = self._enter(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            connection = self._connections[subscription.port] = _Connection(self._loop, made, subscription.port)
        if subscription.protocol == "TCP":
            connection.send(_lines(body), done, answered=False)
            return
        head = (
            f"POST {subscription.path} HTTP/1.1\r\nHost: sandbox.localdomain:{subscription.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.send(head.encode() + body, done)

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


class _Connection:
    def __init__(self, loop: Loop, sock: socket.socket, port: int) -> None:
        self.closed = False
        self._loop = loop
        self._sock = sock
        self._out = b""
        self._reader = http1.MessageReader(http1.CLIENT, http1.Limits(max_body=65_536))
        self._done: Callable[[bool], object] | None = None
        self._answered = True
        self._timer: Cancellable | None = None
        self._events = WRITE
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._refused = sock.connect_ex((_HOST, port)) not in (0, errno.EINPROGRESS)
        loop.watch(sock.fileno(), WRITE, self._ready)

    def send(self, data: bytes, done: Callable[[bool], object], answered: bool = True) -> None:
        self._out, self._done, self._answered = data, done, answered
        self._timer = self._loop.call_later(0 if self._refused else _PATIENCE, lambda: self._finish(False))
        self._watch(WRITE)

    def _watch(self, events: int) -> None:
        if not self.closed and events != self._events:
            self._events = events
            self._loop.change(self._sock.fileno(), events)

    def _ready(self, _events: int) -> None:
        try:
            if self._out:
                self._out = self._out[self._sock.send(self._out) :]
            if self._out:
                return
            if not self._answered:
                self._finish(True)
            else:
                self._watch(READ)
                self._receive()
        except BlockingIOError:
            pass
        except OSError:
            self._finish(False)

    def _receive(self) -> None:
        data = self._sock.recv(65_536)
        try:
            if data:
                self._reader.receive(data)
            else:
                self._reader.receive_eof()
            message = self._reader.next_message()
        except RemoteProtocolError:
            self._finish(False)
            return
        if isinstance(message, http1.Message):
            assert isinstance(message.head, http1.ResponseHead)
            taken = 200 <= message.head.status < 300
            self._finish(taken, keep=message.head.keep_alive)
        elif not data:
            self._finish(False)

    def _finish(self, taken: bool, keep: bool = True) -> None:
        if self._timer is not None:
            self._timer.cancel()
        done, self._done = self._done, None
        if not taken or not keep:
            self.close()
        else:
            self._watch(READ if self._answered else 0)
        if done is not None:
            done(taken)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()


def _lines(body: bytes) -> bytes:
    """A batch as one event a line."""
    from extension_kit.protocol.telemetry import split

    return b"".join(piece + b"\n" for piece in split(body).pieces)
