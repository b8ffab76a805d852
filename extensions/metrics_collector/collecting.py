"""The half of the plug-in that works after the response: the book, and the exporters as the settings have them."""

from __future__ import annotations

import os

from extension_kit.io import environ
from extension_kit.protocol.deadline import Deadline
from extensions.metrics_collector.invocations import Book
from extensions.metrics_collector.measures import INSIGHTS
from extensions.metrics_collector.prices import cost_usd
from extensions.metrics_collector.spending import spent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Context
    from extensions.metrics_collector.exporters.forward import Forward
    from extensions.metrics_collector.exporters.outlet import Outlet
    from extensions.metrics_collector.intake import Intake
    from extensions.metrics_collector.invocations import Point
    from extensions.metrics_collector.sent import Sent
    from extensions.metrics_collector.statsd import Series

__all__ = ["MOST_POINTS", "Collecting"]

#: that wait to be exported; the oldest are dropped, and counted
MOST_POINTS = 4_000
_LONGEST_WAIT_MS = 30_000
_FAIR_MS = 250  # with less an exporter is not to blame for what it leaves


class Collecting:
    """``book``: what has happened. `export` sends what it hands out to every exporter, each with its own queue.

    ``intake``: where the function may send metrics of its own; they go the same way.
    """

    def __init__(self, context: Context, intake: Intake | None = None) -> None:
        settings = context.settings
        self._context = context
        self._priced = context.init_type in ("", "on-demand", "snap-start")
        self._machine = os.uname().machine
        self._faults = 0  # of the chaos injector, that have been counted
        self.book = Book(
            lambda start, end: spent(start, end, context.memory_mb),
            self._cost,
            error_types=settings.error_types,
            injected=self._injected if environ.get("CHAOS_ENABLED") else None,
        )
        #: dashboards for Lambda Insights count documents: one for each invocation
        self._whole = settings.profile == INSIGHTS
        self._outlets: list[Outlet | Forward] | None = None
        self._sent: Sent | None = None
        if intake is not None:
            from extensions.metrics_collector.sent import Sent

            self._sent = Sent(context, intake)
        self._exported_ms: int | None = None

    @property
    def pending(self) -> int:
        """Points that have not been exported everywhere."""
        waiting = self._sent.pending if self._sent is not None else 0
        return self.book.pending + waiting + max((outlet.pending for outlet in self._outlets or ()), default=0)

    def export(self, deadline: Deadline, at_once: bool) -> bool:
        """Send what is due; whether anything was tried. Not at every flush: invocations that follow each other go together."""
        now_ms = self._context.clock.wall_ms()
        waited = self._exported_ms is None or not 0 <= now_ms - self._exported_ms < self._context.settings.interval
        waited = waited or self.book.pending >= MOST_POINTS // 4
        if self._sent is not None:
            waited = waited or self._sent.is_urgent
        untold = any(outlet.lost for outlet in self._outlets or ())
        if not (at_once or waited) or not (self.pending or untold):
            if self._sent is not None:
                self._sent.make_room(now_ms, deadline)
            return False
        self._exported_ms = now_ms
        outlets = self._open_outlets()
        series: list[Series] = []
        if self._sent is not None:
            self._count(self._sent.troubles(now_ms, deadline), now_ms)
            series = self._sent.take()
        for outlet in outlets:
            self._count(outlet.troubles(), now_ms)
        points: list[Point] = self.book.take(whole=self._whole and bool(self._context.stream_id) and not at_once)
        for outlet in outlets:
            outlet.add(points, series)
        self._send(outlets, deadline, at_once)
        return True

    def _count(self, troubles: dict[str, int], now_ms: int) -> None:
        for figure, number in troubles.items():
            self.book.count(figure, number, now_ms)

    def _send(self, outlets: list[Outlet | Forward], deadline: Deadline, at_once: bool) -> None:
        """One that has just failed is let be for a while, and then has little time (`Turns`), however the others fare: an
        endpoint that never answers costs one long flush. ``at_once``: there may be no other.
        """
        clock = self._context.clock
        now_ms = clock.wall_ms()  # which may have been stepped back
        due = [one for one in outlets if at_once or not 0 < one.turns.due_ms - now_ms <= _LONGEST_WAIT_MS]
        for done, outlet in enumerate(due):
            share, before = self._share(deadline, len(due) - done), outlet.pending
            if not at_once and outlet.turns.failed:
                at_ms = clock.wall_ms() + outlet.turns.longest_ms(share.remaining_ms())
                share = Deadline(at_ms, clock.wall_ms, 0, deadline.reason)
            was_fair = share.remaining_ms() >= _FAIR_MS
            outlet.send(share)
            if was_fair or not outlet.pending:
                outlet.turns.ended(clock.wall_ms(), left_something=outlet.pending >= before > 0)

    def _open_outlets(self) -> list[Outlet | Forward]:
        if self._outlets is None:
            from extensions.metrics_collector.exporters.make import make_outlets

            self._outlets = [*make_outlets(self._context)]
            if self._sent is not None and (forward := self._sent.make_forward()) is not None:
                self._outlets.append(forward)
        return self._outlets

    def _share(self, deadline: Deadline, of: int) -> Deadline:
        """What an exporter may take of the time, so that one that hangs leaves something for those after it."""
        wall_ms = self._context.clock.wall_ms
        at_ms = deadline.at_ms if of == 1 else wall_ms() + deadline.remaining_ms() // of
        return Deadline(at_ms, wall_ms, deadline.margin_ms if of == 1 else 0, deadline.reason)

    def forget(self) -> None:
        """A snapshot was resumed: connections are dead, credentials another environment's."""
        for outlet in self._outlets or ():
            outlet.forget()

    def _injected(self) -> int | None:
        """Faults since the last time; None where no experiment is armed."""
        from extension_kit import chaos

        mark = chaos.marked(self._context.clock.wall_ms()) if chaos.enabled() else None
        if mark is None:
            return None
        before, self._faults = self._faults, mark[1]
        return mark[1] - before if mark[1] >= before else mark[1]  # the injector may have been started anew

    def _cost(self, billed_ms: float, memory_mb: float) -> float | None:
        """None where an environment is paid for in another way: provisioned concurrency, Managed Instances."""
        if not self._priced:
            return None
        settings = self._context.settings
        return cost_usd(billed_ms, memory_mb, self._machine, settings.price_gb_second, settings.price_request)
