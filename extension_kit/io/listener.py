"""The telemetry listener: takes what the platform posts, stores it, says 200. On a thread of its own.

The handler never parses, waits or logs: while it does anything at all the platform's buffer fills, and what does not fit there
is lost (aws-samples #88). It goes on accepting until the process ends, also while the rest is being drained.
"""

from __future__ import annotations

import _socket
import _thread

from extension_kit.io.loop import Loop
from extension_kit.io.server import Server
from extension_kit.protocol import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.io.server import Exchange

__all__ = ["Listener", "sandbox_address"]

LOOPBACK = "127.0.0.1"
#: Twice the largest buffer that can be asked for, and what stands around it (lambda-apis 4.2), with room to spare.
_LIMITS = http1.Limits(max_body=8 * 1_048_576)
_HOSTS = "/etc/hosts"
_LARGE_BLOCK = 2 * 1_048_576
_PATIENCE = 0.5  # seconds for a resolver


class Listener:
    """``port`` is known, and connections are taken, as soon as it is made. OSError where no port can be had at all."""

    def __init__(self, store: Callable[[bytes], object], arrived: Callable[[], object], port: int = 0) -> None:
        """``store(body)`` keeps a batch, ``arrived()`` wakes whoever reads them; ``port``: 0 for any free one.

        A port that is taken falls back to a free one; ``fell_back`` says so.
        """
        self._store = store
        self._arrived = arrived
        self._loop = Loop()
        self._server = Server(self._loop, self._handle, _LIMITS)
        self.fell_back = ""
        address = sandbox_address()
        try:
            self.port = self._server.listen(address, port)
        except OSError as error:
            self.fell_back = f"{address} port {port}: {error.strerror}"
            try:
                self.port = self._server.listen(address)
            except OSError:
                self.port = self._server.listen(LOOPBACK)

    def start(self) -> None:
        """Serve. RuntimeError where no thread can be had."""
        # glibc gives a large block back to the kernel as soon as it is freed, until it has seen a larger one freed; then it
        # keeps as much. Batches come again and again: their pages would be fetched anew each time. (These are never touched.)
        _kept = bytes(_LARGE_BLOCK)
        del _kept
        _thread.start_new_thread(self._loop.run, ())

    def _handle(self, exchange: Exchange) -> None:
        if exchange.head.method != b"POST":
            exchange.respond(405)
            return
        self._store(exchange.body)
        exchange.respond(200)
        self._arrived()


def sandbox_address() -> str:
    """The IPv4 address of ``sandbox.localdomain``, to which Lambda delivers; loopback where that name does not resolve.

    The hosts file first: where the name is not known at all, a resolver may take seconds to say so, while the function waits.
    """
    found = _in_hosts_file()
    if found:
        return found
    result: list[str] = []
    done = _thread.allocate_lock()
    done.acquire()

    def ask() -> None:  # in bytes: for text the codec for international names would be imported, a megabyte of it
        try:
            answers = _socket.getaddrinfo(b"sandbox.localdomain", None, _socket.AF_INET, _socket.SOCK_STREAM)
            result.extend(str(answer[4][0]) for answer in answers)
        except OSError:
            pass
        done.release()

    _thread.start_new_thread(ask, ())
    done.acquire(timeout=_PATIENCE)
    return result[0] if result else LOOPBACK


def _in_hosts_file() -> str:
    try:
        with open(_HOSTS, "rb") as file:
            lines = file.read(65_536).splitlines()
    except OSError:
        return ""
    for line in lines:
        address, *names = line.partition(b"#")[0].split() or [b""]
        if b"sandbox.localdomain" in names and b":" not in address:
            return address.decode("ascii", "replace")
    return ""
