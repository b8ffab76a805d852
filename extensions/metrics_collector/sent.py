"""What the function has sent, read after the response: StatsD becomes series, requests of OTLP are forwarded."""

from __future__ import annotations

from extensions.metrics_collector.statsd import MOST_VALUES, Aggregator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Context
    from extension_kit.protocol.deadline import Deadline
    from extensions.metrics_collector.exporters.forward import Forward
    from extensions.metrics_collector.intake import Intake
    from extensions.metrics_collector.statsd import Series

__all__ = ["Sent"]

_FULL = (
    0.25  # of the room: then datagrams are read though nothing is exported, and requests do not wait for the interval
)
_AT_A_TIME = 100  # datagrams between two looks at the clock
_TURNS = 2  # looks in a flush, for what is in the list and in the kernel: a function that floods us must not keep it
_KEPT_MS = 100  # of the time, for what is to be sent


class Sent:
    """What `intake` has; `make_room`, then `troubles`, then `take`."""

    def __init__(self, context: Context, intake: Intake) -> None:
        settings = context.settings
        self._context = context
        self._intake = intake
        self._said = False
        self._aggregator = Aggregator(settings.statsd_series, MOST_VALUES if "emf" in settings.export else None)

    @property
    def pending(self) -> int:
        return self._intake.pending + self._aggregator.pending

    @property
    def is_urgent(self) -> bool:
        """Requests that were answered with 200 take so much room that others would soon be refused."""
        requests = self._intake.requests
        return requests is not None and requests.share >= _FULL

    def make_room(self, now_ms: int, deadline: Deadline) -> None:
        """Where much waits, it is read, so that more finds room."""
        datagrams = self._intake.datagrams
        if datagrams is not None and datagrams.pending and datagrams.share >= _FULL:
            self._read(now_ms, deadline)

    def troubles(self, now_ms: int, deadline: Deadline) -> dict[str, int]:
        """Reads what waits; figures of what is lost, since the last time."""
        self._read(now_ms, deadline)
        requests = self._intake.requests
        found = {
            "statsd_malformed_count": self._aggregator.malformed, "statsd_overflow_count": self._aggregator.overflow,
            "statsd_lost_count": self._intake.datagrams.lost() if self._intake.datagrams is not None else 0,
            "otlp_refused_count": requests.refused() if requests is not None else 0,
        }  # fmt: skip
        return {figure: number for figure, number in found.items() if number}

    def take(self) -> list[Series]:
        return self._aggregator.take()

    def make_forward(self) -> Forward | None:
        """None where nothing can be forwarded, which the intake has said."""
        requests = self._intake.requests
        if requests is None or requests.why_not:
            return None
        from extensions.metrics_collector.exporters.make import make_forward

        return make_forward(self._context, requests)

    def _read(self, now_ms: int, deadline: Deadline) -> None:
        datagrams = self._intake.datagrams
        # More may be in the kernel than there is room for here at a time. What is left waits, or the kernel counts it as lost;
        # at the end nothing more comes, and all of it is read.
        turns = 0 if deadline.reason.startswith("shutdown") else _TURNS
        while datagrams is not None and deadline.remaining_ms() >= _KEPT_MS and (waiting := datagrams.take()):
            turns -= 1
            for at in range(0, len(waiting), _AT_A_TIME):
                if deadline.remaining_ms() < _KEPT_MS:
                    datagrams.put_back(waiting[at:])
                    break
                self._aggregator.read(waiting[at : at + _AT_A_TIME], now_ms)
            if turns == 0:
                break
        if self._aggregator.trouble and not self._said:
            self._said = True
            self._context.log.warning(
                f"StatsD from the function: {self._aggregator.trouble}; it and others like it are left out, and counted"
            )
