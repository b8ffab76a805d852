"""The section about the metrics collector: what it takes of each invocation, beside a collector of an afternoon.

All hear of the end of an invocation by telemetry. One of ours without the scan of the processes (the edges only), one with all
families as EMF on stdout, one as OTLP to a sink in this process. Exports are as often as by default: once in ten seconds.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.benchmarks.platform_stub import BenchError, Session
from tests.benchmarks.rounds import Effort, Samples, medians, rotated
from tests.benchmarks.shipping import CountingSink
from tests.benchmarks.telemetry import forget, small

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.benchmarks import measure
    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.report import Figures

#: contender: settings; the peer has none
COLLECTORS = {
    "metrics-collector-edges": {"METRICS_COLLECTOR_FAMILIES": "cpu,memory,tmp,network,io,kernel"},
    "metrics-collector-emf": {},
    "metrics-collector-otlp": {"METRICS_COLLECTOR_EXPORT": "otlp"},
    "python-scan": {},
}
_LONG_S = 0.1


class Collecting:
    """The measurements."""

    def __init__(self, made: dict[str, Contender], placement: measure.Placement, effort: Effort) -> None:
        self._made = {name: made[name] for name in COLLECTORS if name in made}
        self._placement = placement
        self._effort = effort

    def measure(self) -> Figures:
        """CPU (us) of a short invocation and of one of 100 ms, bytes exported for each, and what is resident afterwards."""
        load, count = small(), self._effort.small_posts
        longs = max(2, count // 20)
        short: Samples = {}
        long: Samples = {}
        pss: Samples = {}
        exported: Samples = {}
        with contextlib.ExitStack() as stack:
            sessions = {name: self._started(stack, name) for name in self._made}
            for turn in range(self._effort.telemetry_slices):
                for name in rotated(list(sessions), turn):
                    session, _sink = sessions[name]
                    session.invocations(load, 1, 10)
                    short.setdefault(name, []).append(session.invocations(load, 1, count) / count / 1e3)
                    long.setdefault(name, []).append(session.invocations(load, 1, longs, _LONG_S) / longs / 1e3)
            invocations = self._effort.telemetry_slices * (10 + count + longs)
            for name, (session, sink) in sessions.items():
                pss[name] = [session.idle_memory_mb(self._effort.idle_s)[0]]
                session.end()
                exported[name] = [(sink.bytes or session.written()) / invocations]
        return medians(collect_invoke_us=short, collect_long_us=long, collect_bytes=exported, collect_pss_mb=pss)

    def _started(self, stack: ExitStack, name: str) -> tuple[Session, CountingSink]:
        sink = CountingSink()
        stack.callback(sink.close)
        stack.callback(forget, name)
        variables = {**COLLECTORS[name], "EXTENSION_KIT_FLUSH": "end"}
        if name.startswith("metrics-collector"):
            variables["METRICS_COLLECTOR_ENDPOINT"] = sink.url
        session = stack.enter_context(Session(self._made[name].program, self._placement, variables))
        if not session.subscribed:
            raise BenchError(f"{name} does not subscribe to telemetry: {session.said()}")
        return session, sink
