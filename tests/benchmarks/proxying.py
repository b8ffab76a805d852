"""The section about the Runtime API proxy: what it adds to an invocation, beside a C program that copies bytes, and others.

Runtime and Runtime API are this process, one thread with raw sockets and messages that are made beforehand: what it takes to
hand a message to itself is measured as well, and subtracted. What remains is the proxy, on the other core, and the ways to it.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import select
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

from tests.benchmarks import contenders, measure
from tests.benchmarks.platform_stub import BenchError, readable
from tests.benchmarks.rounds import Effort, Samples, medians, rotated

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.report import Figures

DIRECT = "direct"
SMALL, LARGE = 1_024, 6 * 1_048_576
_PATIENCE = 20.0
_BEGINNING = 1_000  # bytes
_REQUEST_ID = b"8476a536-e9f4-11e8-9739-2dfe598c3fcd"


def _next(host: str) -> bytes:
    return (
        f"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {host}\r\n"
        "User-Agent: AWS_Lambda_Cpp/0.2.6\r\nAccept: */*\r\n\r\n"
    ).encode()


def _posted(host: str, size: int) -> bytes:
    return (
        b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: %b\r\nUser-Agent: AWS_Lambda_Cpp/0.2.6\r\n"
        b"Accept: */*\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (_REQUEST_ID, host.encode(), size, b"r" * size)
    )


def _event(size: int) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: %b\r\n"
        b"Lambda-Runtime-Deadline-Ms: 4102444800000\r\n"
        b"Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:012345678912:function:bench\r\n"
        b"Lambda-Runtime-Trace-Id: Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1\r\n"
        b"Date: Mon, 23 Nov 2026 09:00:00 GMT\r\nContent-Length: %d\r\n\r\n%b" % (_REQUEST_ID, size, b"e" * size)
    )


_TAKEN = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\n"
    b'Content-Length: 16\r\n\r\n{"status":"OK"}\n'
)


class Route:
    """A runtime's connection and the one that arrives at the platform, with a proxy between them or without."""

    def __init__(self, stack: ExitStack, contender: Contender | None, placement: measure.Placement) -> None:
        self.pid = 0
        self._name = contender.name if contender is not None else DIRECT
        listener = stack.enter_context(contextlib.closing(_listening()))
        port: int = listener.getsockname()[1]
        if contender is not None:
            self.pid, port = _started(stack, contender, port, placement)
        self._host = f"127.0.0.1:{port}"
        self._runtime = stack.enter_context(contextlib.closing(_connected(port)))
        self._listener = listener
        self._stack = stack
        self._platform: _socket.socket | None = None
        self._buffer = memoryview(bytearray(1_048_576))

    def invoke(self, size: int, times: int) -> list[int]:
        """Nanoseconds of each: ``next``, the event, the response, its receipt."""
        asked, event, posted = _next(self._host), _event(size), _posted(self._host, size)
        took = []
        for _ in range(times):
            began = time.perf_counter_ns()
            self._up(asked)
            self._down(event)
            self._up(posted)
            self._down(_TAKEN)
            took.append(time.perf_counter_ns() - began)
        return took

    def _up(self, message: bytes) -> None:
        if self._platform is None or _has_hung_up(self._platform):
            # Go's gives a connection up whose request was not written quite yet when the answer came.
            self._runtime.send(message[:_BEGINNING])
            self._platform = self._stack.enter_context(contextlib.closing(_accepted(self._listener)))
            self._hand(self._runtime, self._platform, message, _BEGINNING)
        else:
            self._hand(self._runtime, self._platform, message)

    def _down(self, message: bytes) -> None:
        assert self._platform is not None
        self._hand(self._platform, self._runtime, message)

    def _hand(self, sender: _socket.socket, receiver: _socket.socket, message: bytes, sent: int = 0) -> None:
        if len(message) >= 65_536:
            self._hand_large(sender, receiver, message, sent)
            return
        if sent < len(message):
            sender.send(message[sent:])
        self._take(receiver, message)

    def _take(self, receiver: _socket.socket, message: bytes) -> None:
        """One message: a proxy may change its head, so that the body's end is what tells."""
        got = receiver.recv_into(self._buffer)
        head = bytes(self._buffer[:4096]).partition(b"\r\n\r\n")[0]
        body = len(message) - len(message.partition(b"\r\n\r\n")[0]) - 4
        while got < len(head) + 4 + body:
            more = receiver.recv_into(self._buffer[got:])
            if not more:
                raise BenchError(f"{self._name} has closed a connection in the middle of a message")
            got += more
            head = bytes(self._buffer[:4096]).partition(b"\r\n\r\n")[0]

    def _hand_large(self, sender: _socket.socket, receiver: _socket.socket, message: bytes, sent: int) -> None:
        """As the sockets are ready; whatever fits is written, whatever is there is read."""
        left, got, wanted = memoryview(message)[sent:], 0, -1
        poll = select.poll()
        poll.register(receiver, select.POLLIN)
        poll.register(sender, select.POLLOUT)
        sender.setblocking(False)
        try:
            while wanted < 0 or got < wanted:
                for fd, _events in poll.poll(_PATIENCE * 1e3) or [(-1, 0)]:
                    if fd == sender.fileno():
                        left = left[sender.send(left) :]
                        if not left:
                            poll.unregister(sender)
                    elif fd == receiver.fileno():
                        count = receiver.recv_into(self._buffer)
                        if not count:
                            raise BenchError(f"{self._name} has closed a connection in the middle of a message")
                        if wanted < 0:
                            head = bytes(self._buffer[:4096]).partition(b"\r\n\r\n")[0]
                            wanted = len(head) + 4 + len(message) - len(message[:4096].partition(b"\r\n\r\n")[0]) - 4
                        got += count
                    else:
                        raise BenchError(f"{self._name} has stopped in the middle of a message")
        finally:
            sender.setblocking(True)
            sender.settimeout(_PATIENCE)


class Proxying:
    """The measurements."""

    def __init__(self, made: dict[str, Contender], placement: measure.Placement, effort: Effort) -> None:
        self._made = {name: made[name] for name in contenders.PROXIES if name in made}
        self._placement = placement
        self._effort = effort

    def measure(self) -> Figures:
        """Added to the median invocation of 1 KB and of 6 MB each way, the proxy's CPU for it (us, ms); most and now resident
        afterwards (MB).
        """
        took: dict[int, Samples] = {SMALL: {}, LARGE: {}}
        cpu: dict[int, Samples] = {SMALL: {}, LARGE: {}}
        resident: Samples = {}
        peak: Samples = {}
        effort = self._effort
        for _ in range(-(-effort.batches // 2)):
            with contextlib.ExitStack() as stack:
                routes = {DIRECT: Route(stack, None, self._placement)}
                routes |= {name: Route(stack, made, self._placement) for name, made in self._made.items()}
                for turn in range(effort.slices):
                    for size, warm, times in (
                        (SMALL, effort.warm_hits // 4, effort.hits // 4), (LARGE, 1, effort.posts // 2),
                    ):  # fmt: skip
                        for name in rotated(list(routes), turn):
                            median, spent = _slice(routes[name], size, warm, times)
                            took[size].setdefault(name, []).append(median)
                            if name != DIRECT:
                                cpu[size].setdefault(name, []).append(spent)
                for name in self._made:
                    resident.setdefault(name, []).append(measure.memory_mb(routes[name].pid)[1])
                    peak.setdefault(name, []).append(measure.peak_memory_mb(routes[name].pid))
        return {
            "proxy_small_us": _added(took[SMALL], 1e3),
            "proxy_large_ms": _added(took[LARGE], 1e6),
            **medians(proxy_small_cpu_us=_in(cpu[SMALL], 1e3), proxy_large_cpu_ms=_in(cpu[LARGE], 1e6)),
            **medians(proxy_rss_mb=resident, proxy_peak_mb=peak),
        }


def _slice(route: Route, size: int, warm: int, times: int) -> tuple[float, float]:
    """The median of `times` invocations, and the proxy's CPU for one, in ns."""
    route.invoke(size, warm)
    before = measure.cpu_ns(route.pid) if route.pid else 0
    median = statistics.median(route.invoke(size, times))
    return median, (measure.cpu_ns(route.pid) - before) / times if route.pid else 0.0


def _in(samples: Samples, unit: float) -> Samples:
    return {name: [value / unit for value in values] for name, values in samples.items()}


def _added(samples: Samples, unit: float) -> dict[str, float]:
    """Medians, less that of the direct way, but for that one, which stays as it is."""
    direct = statistics.median(samples[DIRECT])
    added = {name: (statistics.median(values) - direct) / unit for name, values in samples.items() if name != DIRECT}
    return {DIRECT: direct / unit, **added}


def _started(stack: ExitStack, contender: Contender, upstream: int, placement: measure.Placement) -> tuple[int, int]:
    """Its process id, and the port that it listens on."""
    with placement.as_extension():
        variables = {"PATH": os.environ["PATH"], "PROXY_UPSTREAM": f"127.0.0.1:{upstream}"}
        process = subprocess.Popen([str(contender.program)], stdout=subprocess.PIPE, env=variables)
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    line = process.stdout.readline().strip() if readable(process.stdout, _PATIENCE) else b""
    if not line.isdigit():
        raise BenchError(f"{contender.name} does not say on which port it listens")
    return process.pid, int(line)


def _listening() -> _socket.socket:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(8)
    sock.settimeout(_PATIENCE)
    return sock


def _connected(port: int) -> _socket.socket:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    sock.settimeout(_PATIENCE)
    sock.connect(("127.0.0.1", port))
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    return sock


def _has_hung_up(sock: _socket.socket) -> bool:
    """Nothing is to be read but its end."""
    return readable(sock, 0)


def _accepted(listener: _socket.socket) -> _socket.socket:
    fd, _address = listener._accept()  # type: ignore[attr-defined]
    sock = _socket.socket(fileno=fd)
    sock.settimeout(_PATIENCE)
    sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    return sock
