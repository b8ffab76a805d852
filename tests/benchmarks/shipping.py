"""The section about the log shipper: from a batch of telemetry to a sink that has answered, beside a shipper of an afternoon.

Batches are posted within an invocation; at its end everything is sent to a sink in this process, on the other core, which
counts what has come: one that leaves something out is fast, and no result. The CPU is the extension's own, over all of it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from tests.benchmarks.first_response import FUNCTION
from tests.benchmarks.platform_stub import BenchError, Session
from tests.benchmarks.rounds import Effort, Samples, medians, rotated
from tests.benchmarks.telemetry import forget, mixed, small
from tests.extensions.log_shipper.corpus import cost_per_line

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.benchmarks import measure
    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.report import Figures

#: contender: settings; the peer reads the endpoint only
SHIPPERS = {
    "log-shipper": {"LOG_SHIPPER_SINK": "http"},
    "log-shipper-plain": {"LOG_SHIPPER_SINK": "http", "LOG_SHIPPER_REDACT": "none"},
    "log-shipper-otlp": {"LOG_SHIPPER_SINK": "otlp"},
    "python-shipper": {},
}
#: as ``EXTENSION_KIT_FLUSH`` has them
STRATEGIES = ("end", "continuous", "periodic,10", "pipeline")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class CountingSink:
    """Takes what is posted, and counts lines of NDJSON, or records of OTLP by the attribute that each has."""

    def __init__(self) -> None:
        self.lines = 0
        self.bytes = 0  # of bodies, as they came
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = connection.recv(262_144)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                while len(data) < length:
                    data += connection.recv(262_144)
                body, data = data[:length], data[length:]
                connection.sendall(_ANSWER)
                self.bytes += length
                body = zlib.decompress(body, 31)
                self.lines += body.count(b"log.record.uid") if b"x-protobuf" in head else body.count(b"\n")


class Shipping:
    """The measurements."""

    def __init__(self, made: dict[str, Contender], placement: measure.Placement, effort: Effort) -> None:
        self.absent: dict[str, str] = {}
        self._made = {name: made[name] for name in SHIPPERS if name in made}
        self._placement = placement
        self._effort = effort

    def deliver(self) -> Figures:
        """256 KiB at a time: CPU seconds of a million events, thousands of events a second, what is resident after it."""
        load, warm, posts = mixed(), self._effort.warm_posts, self._effort.posts
        cpu: Samples = {}
        rate: Samples = {}
        pss: Samples = {}
        for _ in range(self._effort.telemetry_batches):
            for name in self._made:
                with contextlib.ExitStack() as stack:
                    session, sink = self._started(stack, name)
                    for _ in range(self._effort.telemetry_slices):
                        session.invocations(load, warm)
                        began = time.monotonic_ns()
                        spent = session.invocations(load, posts)
                        took = time.monotonic_ns() - began
                        events = posts * load.events
                        cpu.setdefault(name, []).append(spent / events / 1e3)
                        rate.setdefault(name, []).append(events / took * 1e6)
                    pss.setdefault(name, []).append(session.idle_memory_mb(self._effort.idle_s)[0])
                    session.end()
                    sent = self._effort.telemetry_slices * (warm + posts) * load.events + 1
                    if sink.lines != sent:
                        raise BenchError(f"{name} was sent {sent} events; {sink.lines} came: {session.said()}")
        return medians(ship_cpu=cpu, ship_rate=rate, ship_pss_mb=pss)

    def short(self) -> Figures:
        """What one short invocation makes: the CPU (us) of each invocation, sent at its end; what is resident then."""
        load, count = small(), self._effort.small_posts
        cpu: Samples = {}
        pss: Samples = {}
        with contextlib.ExitStack() as stack:
            sessions = [self._started(stack, name)[0] for name in self._made]
            for turn in range(self._effort.telemetry_slices):
                for session in rotated(sessions, turn):
                    session.invocations(load, 1, 10)
                    spent = session.invocations(load, 1, count)
                    cpu.setdefault(session.name, []).append(spent / count / 1e3)
            for session in sessions:
                pss[session.name] = [session.idle_memory_mb(self._effort.idle_s)[0]]
                session.end()
        return medians(ship_invoke_us=cpu, ship_small_pss_mb=pss)

    def billed(self) -> Figures:
        """What each flush strategy costs after the response: from the response until nobody works for the invoke any more."""
        billed: Samples = {}
        if "log-shipper" not in self._made:
            self.absent |= dict.fromkeys(STRATEGIES, "log-shipper is absent")
            return {"ship_billed_ms": {}}
        for strategy in STRATEGIES:
            with contextlib.ExitStack() as stack:
                sink = CountingSink()
                stack.callback(sink.close)
                environment = stack.enter_context(_environment(self._made["log-shipper"], sink.url, strategy))
                for number in range(self._effort.starts * 2):
                    environment.invoke(b'{"spend_ms": 5}').result(30)
                    environment.idle(30)
                    if number:  # the first one imports what sending takes
                        billed.setdefault(strategy, []).append(_after_the_response(environment.log.events))
        return medians(ship_billed_ms=billed)

    def redaction(self) -> Figures:
        """An ordinary line, in which nothing is found."""
        return {"redact_us": {"log-shipper": cost_per_line()}}

    def _started(self, stack: ExitStack, name: str) -> tuple[Session, CountingSink]:
        sink = CountingSink()
        stack.callback(sink.close)
        stack.callback(forget, name)
        variables = {**SHIPPERS[name], "LOG_SHIPPER_ENDPOINT": sink.url, "EXTENSION_KIT_FLUSH": "end"}
        session = stack.enter_context(Session(self._made[name].program, self._placement, variables))
        if not session.subscribed:
            raise BenchError(f"{name} does not subscribe to telemetry: {session.said()}")
        return session, sink


def _environment(contender: Contender, url: str, strategy: str) -> Environment:
    variables = {"LOG_SHIPPER_SINK": "http", "LOG_SHIPPER_ENDPOINT": url, "EXTENSION_KIT_FLUSH": strategy}
    layout = Layout(
        function=FUNCTION, layers=(contender.layer,), namespaces=not namespaces.unavailable(), variables=variables
    )
    return Environment(Profile(handler="app.handler", timeout=10.0), layout)


def _after_the_response(events: list[dict[str, Any]]) -> float:
    """ms from the last response to the end of its invoke."""
    ended = next(event["t_ms"] for event in reversed(events) if event["kind"] == "invoke_end")
    return float(ended - next(event["t_ms"] for event in reversed(events) if event["kind"] == "response"))
