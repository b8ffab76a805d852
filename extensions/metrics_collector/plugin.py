"""The plug-in: a sample at INVOKE, another at the next event, the difference as one EMF line.

The end of an invocation is the next event for now, since an extension sees no other edge without telemetry: work that the
environment does between two invocations counts for the first of them.
"""

from __future__ import annotations

import os

from extension_kit.plugin import Plugin
from extensions.metrics_collector.sampling import Sample, Sampler
from extensions.metrics_collector.settings import CollectorSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.events import Invoke, Shutdown
    from extension_kit.plugin import Context
    from extension_kit.protocol.deadline import Deadline
    from extension_kit.records import RuntimeDone

__all__ = ["MetricsCollector"]

_FIGURES = (
    "cpu_user_ms", "cpu_system_ms", "memory_used_bytes", "tmp_used_bytes", "network_rx_bytes", "network_tx_bytes",
)  # fmt: skip


class MetricsCollector(Plugin):
    """CPU, memory, /tmp and network of each invocation, on stdout in CloudWatch's embedded metric format.

    An invocation ends with the platform's ``platform.runtimeDone``, whose own figures join the line; where there is no
    telemetry it ends with the next event.
    """

    name = "metrics-collector"
    settings = CollectorSettings

    def start(self, context: Context) -> None:
        self._context = context
        self._sampler = Sampler(context.clock.monotonic_ns, frozenset({"cpu", "memory", "tmp", "network"}))
        self._open: tuple[Invoke, Sample, int] | None = None
        self._last: Sample | None = None

    def on_invoke(self, event: Invoke) -> None:
        self._close()
        # The function starts at this moment, on the same core: the sample that ended the invocation before will do.
        start, self._last = self._last or self._sampler.sample(), None
        self._open = (event, start, self._context.clock.wall_ms())

    def on_runtime_done(self, record: RuntimeDone) -> None:
        if self._open is not None and self._open[0].request_id == record.request_id:
            figures = {
                "runtime_duration_ms": record.duration_ms,
                "response_latency_ms": record.span_ms("responseLatency"),
            }
            self._close({name: figure for name, figure in figures.items() if figure is not None})

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:
        self._close()

    def _close(self, told: dict[str, float] | None = None) -> None:
        """End the open invocation and write its line, dated to when the invocation began. ``told``: the platform's figures."""
        if self._open is None:
            return
        (event, start, began_ms), self._open = self._open, None
        from extensions.metrics_collector import emf
        from extensions.metrics_collector.spending import spent

        end = self._last = self._sampler.sample()
        for source in end.missing:
            self._context.count(f"missing_{source}")
        registration = self._context.registration
        of_all = spent(start, end, None)
        figures = {**{name: of_all[name] for name in _FIGURES if name in of_all}, **(told or {})}
        if figures:
            self._write(
                emf.line(
                    figures,
                    namespace=self._context.settings.namespace,
                    # CloudWatch drops a metric whose dimension is empty.
                    dimensions={"FunctionName": (registration.function_name if registration else "") or "unknown"},
                    properties={"requestId": event.request_id},
                    at_ms=began_ms,
                )
            )

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(1, line) :]
        except OSError:
            self._context.count("lines_lost")
