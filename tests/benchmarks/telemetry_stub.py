"""The platform's side of the Telemetry API, with as little between as in the rest of the stub: takes a subscription, posts.

A closed loop on one keep-alive connection: the next batch leaves when the last has been answered. Sockets block, with the
kernel's own time limits, and messages are made beforehand: between two posts a few digits are written over.
"""

from __future__ import annotations

import _socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.telemetry_load import Load

SUBSCRIBED = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n"OK"'

_PATIENCE_S = 5  # for any single system call
_HEAD = (
    b"POST / HTTP/1.1\r\nHost: sandbox.localdomain:%d\r\nUser-Agent: Go-http-client/1.1\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class DeliveryError(Exception):
    """A batch did not arrive, or was not answered with 200."""


def is_subscription(request: bytes) -> bool:
    """Whether this request subscribes to telemetry."""
    return request.startswith(b"PUT /2022-07-01/telemetry ")


def port_of(request: bytes) -> int:
    """The port of a subscription's ``destination.URI``; 0 where that is none that the platform would deliver to."""
    for host in (b"http://sandbox.localdomain:", b"http://sandbox:"):
        _, found, rest = request.partition(host)
        if found:
            return int(rest.partition(b'"')[0].partition(b"/")[0])
    return 0


class Delivery:
    """Posts batches to a listener on this machine, to ``/`` whatever the path of its URI, as AWS's own emulator does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._connected = False
        self._messages: dict[Load, tuple[bytearray, list[int], list[int]]] = {}

    def prepare(self, load: Load) -> None:
        """Make the message, and the connection where there is none."""
        if load not in self._messages:
            head = _HEAD % (self._port, len(load.body))
            places = [[len(head) + at for at in places] for places in (load.this, load.before)]
            self._messages[load] = (bytearray(head + load.body), *places)
        if not self._connected:
            try:
                self._socket.connect(("127.0.0.1", self._port))
            except OSError as error:
                raise DeliveryError(f"does not listen on port {self._port}: {error.strerror}") from error
            for option in (_socket.SO_SNDTIMEO, _socket.SO_RCVTIMEO):
                self._socket.setsockopt(_socket.SOL_SOCKET, option, struct.pack("@ll", _PATIENCE_S, 0))
            self._socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            self._connected = True

    def post(self, load: Load, number: int) -> None:
        """One batch, which has this number; returns when it has been answered. Needs `prepare`."""
        message, this, before = self._messages[load]
        digits = b"%08x" % number
        for at in this:
            message[at : at + 8] = digits
        digits = b"%08x" % (number - 1)
        for at in before:
            message[at : at + 8] = digits
        try:
            self._socket.sendall(message)
            self._take_answer()
        except BlockingIOError as error:  # what a time limit of the kernel's looks like
            raise DeliveryError(f"does not take a batch within {_PATIENCE_S} s") from error
        except OSError as error:
            raise DeliveryError(f"does not take a batch: {error.strerror}") from error

    def _take_answer(self) -> None:
        data = b""
        while not whole(data):
            more = self._socket.recv(65_536)
            if not more:
                raise DeliveryError("closes the connection on which telemetry is delivered")
            data += more
        if not data.startswith(b"HTTP/1.1 200 "):
            raise DeliveryError(f"answers a batch with {data[:100]!r}")

    def close(self) -> None:
        self._socket.close()


def whole(data: bytes) -> bool:
    """Whether this is a whole request or answer; without a length it has no body."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    at = head.lower().find(b"\r\ncontent-length:")
    return at < 0 or len(body) >= int(head[at + 17 :].partition(b"\r")[0])
