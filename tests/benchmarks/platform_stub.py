"""A platform that does nothing but answer at once, and a watch on the extension that it started.

The emulator is no measure: it keeps lifecycles, writes records, and would be most of what is measured. This one knows three
requests, takes them from blocking sockets with answers made beforehand, and stamps them on the monotonic clock. It is not
made of the kit's own server either, so that a change there does not move the figures of every peer.

`Session` is one extension from its start to its end. Several may be alive at once; each has a port of its own, and one that
is not being served sleeps in its ``next``.
"""

from __future__ import annotations

import _socket
import os
import select
import tempfile
import time
from typing import TYPE_CHECKING

from tests.benchmarks import measure, telemetry_stub
from tests.benchmarks.telemetry_load import closing, request_id
from tests.benchmarks.telemetry_stub import whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from tests.benchmarks.telemetry_load import Load

_PATIENCE = 20.0  # seconds for any single step of an extension
_IDENTIFIER = b"6f1c1c52-5f0c-4b3e-9d0a-3f7c53a1f0de"
_REGISTERED = b'{"functionName":"bench","functionVersion":"$LATEST","handler":"app.handler","accountId":"012345678912"}'
_REQUEST_ID = request_id(0x9A3B1AD4)
_INVOKE = (
    b'{"eventType":"INVOKE","deadlineMs":4102444800000,"requestId":"' + _REQUEST_ID + b'",'
    b'"invokedFunctionArn":"arn:aws:lambda:us-east-1:012345678912:function:bench","tracing":{"type":"X-Amzn-Trace-Id",'
    b'"value":"Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1"}}'
)
_SHUTDOWN = b'{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":4102444800000}'


def _answer(body: bytes, field: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%b: %b\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (field, _IDENTIFIER, len(body), body)
    )


REGISTERED = _answer(_REGISTERED, b"Lambda-Extension-Identifier")
INVOKE = _answer(_INVOKE, b"Lambda-Extension-Event-Identifier")
SHUTDOWN = _answer(_SHUTDOWN, b"Lambda-Extension-Event-Identifier")


def readable(source: Any, seconds: float) -> bool:
    """Whether there is something to read within so long; with descriptors above 1,023 too, of which select(2) knows none."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class BenchError(Exception):
    """An extension did not do what every extension must; the figures would mean nothing."""


class Session:
    """One extension, from its start to its end. A context manager: the process does not outlive it."""

    def __init__(self, program: Path, placement: measure.Placement, variables: Mapping[str, str] | None = None) -> None:
        """``variables``: added to the extension's environment."""
        self.name = program.name
        self.register_ns = 0
        self.next_ns = 0
        self._connections: dict[int, _socket.socket] = {}
        self._asking: _socket.socket | None = None  # the connection on which the latest request came
        self._delivery: telemetry_stub.Delivery | None = None
        self._posted = 0
        self._poll = select.poll()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the session
        self._written = tempfile.TemporaryFile()  # noqa: SIM115 - likewise
        self._listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self._poll.register(self._listener, select.POLLIN)
        self.pid = 0
        self._ended = -1  # a descriptor that becomes readable when the process has ended
        try:
            self._start(program, placement, variables or {})
        except BaseException:
            self.__exit__()
            raise

    def _start(self, program: Path, placement: measure.Placement, variables: Mapping[str, str]) -> None:
        environment = {
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % self._listener.getsockname()[1],
            "AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_REGION": "us-east-1",
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "en_US.UTF-8",
            **variables,
        }  # fmt: skip
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._written.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, self._said.fileno(), 2),
        ]
        with placement.as_extension():  # a child inherits the core of the thread that starts it
            began = time.monotonic_ns()
            self.pid = os.posix_spawn(program, [str(program)], environment, file_actions=files)
        self._ended = os.pidfd_open(self.pid)
        self._poll.register(self._ended, select.POLLIN)
        self._take()
        self.register_ns = time.monotonic_ns() - began
        self._send(REGISTERED)
        request = self._take()
        while telemetry_stub.is_subscription(request):
            self._subscribe(request)
            request = self._take()
        self.next_ns = time.monotonic_ns() - began

    def _subscribe(self, request: bytes) -> None:
        port = telemetry_stub.port_of(request)
        if not port or self._delivery is not None:
            raise self._error(f"subscribes in a way that is not expected here: {request!r}")
        self._delivery = telemetry_stub.Delivery(port)
        self._send(telemetry_stub.SUBSCRIBED)

    @property
    def subscribed(self) -> bool:
        """Whether it has asked for telemetry before its first ``next``: later it is not allowed to."""
        return self._delivery is not None

    def events(self, count: int, gap_s: float = 0.0) -> int:
        """Have `count` events served; returns the CPU (ns) that the extension used for them."""
        before = self._cpu_ns()
        for _ in range(count):
            if gap_s:
                time.sleep(gap_s)
            self._send(INVOKE)
            self._take()
        return self._cpu_ns() - before

    def deliver(self, load: Load, posts: int) -> tuple[int, int]:
        """`posts` batches of telemetry while the extension waits in its ``next``: the CPU and the time (ns) that they took."""
        before = self._cpu_ns()
        began = time.monotonic_ns()
        self._post(load, posts)
        took = time.monotonic_ns() - began
        return self._cpu_ns() - before, took

    def invocations(self, load: Load, posts: int, count: int = 1, lasts_s: float = 0.0) -> int:
        """`count` times: INVOKE, `posts` batches of which the last has the end of its request, the next ``next``.

        ``lasts_s``: how long after the INVOKE the function is done.

        Returns the CPU (ns) that the extension used for all of it.
        """
        before = self._cpu_ns()
        for _ in range(count):
            self._send(INVOKE.replace(_REQUEST_ID, request_id(self._posted + posts)))
            time.sleep(lasts_s)
            self._post(load, posts)
            self._take()
        return self._cpu_ns() - before

    def _post(self, load: Load, posts: int) -> None:
        assert self._delivery is not None
        try:
            self._delivery.prepare(load)
            for number in range(self._posted + 1, self._posted + posts + 1):
                self._delivery.post(load, number)
        except telemetry_stub.DeliveryError as error:
            raise self._error(str(error)) from error
        self._posted += posts

    def _cpu_ns(self) -> int:
        """The extension's CPU clock, once it sleeps in its ``next``: a process is charged when it stops running."""
        time.sleep(0.0005)
        return measure.cpu_ns(self.pid)

    def idle_memory_mb(self, seconds: float) -> tuple[float, float]:
        """PSS and RSS (MB) of the extension after it has had nothing to do for some seconds."""
        time.sleep(seconds)
        return measure.memory_mb(self.pid)

    def peak_memory_mb(self) -> float:
        """The most that has been resident (MB) since the extension was started."""
        return measure.peak_memory_mb(self.pid)

    def end(self) -> None:
        """SHUTDOWN; BenchError where the extension does not exit with 0.

        Whoever has had telemetry is sent what Lambda sends before the end as well, the last report: it may wait for it.
        """
        if self._posted:
            self._post(closing(), 1)
        self._send(SHUTDOWN)
        if not readable(self._ended, _PATIENCE):
            raise self._error("does not end after SHUTDOWN")
        pid, self.pid = self.pid, 0
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise self._error(f"ends with status {status}")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.pid:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
            self.pid = 0
        if self._ended >= 0:
            os.close(self._ended)
            self._ended = -1
        if self._delivery is not None:
            self._delivery.close()
        for connection in (*self._connections.values(), self._listener, self._said, self._written):
            connection.close()

    def _send(self, data: bytes) -> None:
        assert self._asking is not None
        self._asking.sendall(data)

    def _take(self) -> bytes:
        """Wait for one whole request, on whichever connection it comes."""
        data = b""
        while not whole(data):
            ready = self._poll.poll(_PATIENCE * 1000)
            if not ready:
                raise self._error(f"has not asked for anything for {_PATIENCE:.0f} s")
            for fd, _events in ready:
                connection = self._connections.get(fd)
                if fd == self._ended:
                    raise self._error("has ended before SHUTDOWN")
                if connection is None:
                    self._accept()
                elif more := _received(connection):
                    self._asking = connection
                    data += more
                else:
                    self._drop(fd)
        return data

    def _accept(self) -> None:
        fd, _peer = self._listener._accept()
        connection = self._connections[fd] = _socket.socket(fileno=fd)
        connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._poll.register(fd, select.POLLIN)

    def _drop(self, fd: int) -> None:
        self._poll.unregister(fd)
        self._connections.pop(fd).close()

    def _error(self, what: str) -> BenchError:
        said = self.said()
        return BenchError(f"{self.name} {what}" + (f"; it said: {said}" if said else ""))

    def written(self) -> int:
        """Bytes that it has written to stdout."""
        return self._written.seek(0, os.SEEK_END)

    def said(self) -> str:
        """The end of what it has written to stderr."""
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 1000))
        return self._said.read().decode("utf-8", "replace").strip()


def _received(connection: _socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""
