"""What exporters share: a bounded queue of points, and the kit's delivery in front of a destination."""

from __future__ import annotations

from extension_kit.delivery import AGAIN, DELIVERED, Delivery, Limits, Parcel, Verdict
from extension_kit.flush import Turns
from extensions.metrics_collector.statsd import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from extension_kit.io.clock import Clock
    from extension_kit.protocol.deadline import Deadline
    from extensions.metrics_collector.invocations import Point
    from extensions.metrics_collector.statsd import Identity, Series

    T = TypeVar("T")

__all__ = ["Outlet"]

_AT_A_TIME = 900  # points in one request
_LEAST_S = 0.03  # seconds: a further item is not begun with less


class Outlet:
    """One destination. ``encode(points)``: the items of a parcel, each with the number of points that it has;
    ``encode_series``: the same of what the function has sent by StatsD; ``post(item, seconds)``: one exchange.

    Points are encoded when their turn comes, so what waits is small; beyond ``most`` the oldest are dropped, and counted. Of a
    series no more than one waits: what comes meanwhile is added to it, as far as there is room (``most_values`` of a
    distribution, where each value is encoded). ``turns``: kept by whoever calls `send`.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Sequence[Point]], list[tuple[bytes, int]]],
        post: Callable[[bytes, float], Verdict],
        clock: Clock,
        *,
        most: int,
        timeout_ms: int,
        say: Callable[[str], object],
        abort: Callable[[], object] = lambda: None,
        forget: Callable[[], object] = lambda: None,
        encode_series: Callable[[Sequence[Series]], list[tuple[bytes, int]]] = lambda _series: [],
        most_values: int | None = None,
    ) -> None:
        self.name = name
        self.forget = forget
        self.turns = Turns()
        self._encode = encode
        self._encode_series = encode_series
        self._post = post
        self._clock = clock
        self._reservation = ""
        self._most = most
        self._most_values = most_values
        self._say = say
        self._queue: list[Point] = []
        self._series: dict[Identity, Series] = {}
        self._failed = self._lost = self._overflow = 0
        self._delivery = Delivery(self._send, clock, limits=Limits(timeout_ms=timeout_ms), say=self._tell, abort=abort)

    @property
    def pending(self) -> int:
        return len(self._queue) + len(self._series) + self._delivery.pending

    def add(self, points: Sequence[Point], series: Sequence[Series] = ()) -> None:
        self._queue += points
        for one in series:
            waiting = self._series.get(one.identity)
            if waiting is not None:
                one, lost = joined(waiting, one, self._most_values)  # noqa: PLW2901
                self._overflow += lost
            self._series[one.identity] = one
        beyond = len(self._queue) - self._most
        if beyond > 0:
            del self._queue[:beyond]
            self._lost += beyond
            self._say(f"{self.name}: {beyond} points are dropped, since no more than {self._most} wait to be sent")

    @property
    def lost(self) -> int:
        """Points and values that `troubles` has not told of."""
        return self._points_lost() + self._overflow

    def troubles(self) -> dict[str, int]:
        """Figures of this exporter's own since the last time."""
        found = {
            "exports_failed_count": self._failed, "points_lost_count": self._points_lost(),
            "statsd_overflow_count": self._overflow,
        }  # fmt: skip
        self._delivery.outcomes.clear()
        self._failed = self._lost = self._overflow = 0
        return {figure: number for figure, number in found.items() if number}

    def send(self, deadline: Deadline) -> None:
        """As much as the deadline allows."""
        while self._queue or self._series or self._delivery.parcels:
            if not self._delivery.parcels:
                points, self._queue = self._queue[:_AT_A_TIME], self._queue[_AT_A_TIME:]
                if points:
                    self._delivery.add(self._parcel(points, self._encode))
                elif self._series:
                    self._delivery.add(self._parcel(self._next_series(), self._encode_series))
            if not self._delivery.deliver(deadline):
                break

    def _points_lost(self) -> int:
        outcomes = self._delivery.outcomes.items()
        return self._lost + sum(records for name, records in outcomes if name.startswith("dropped: "))

    def _next_series(self) -> list[Series]:
        """Where each value is encoded, no more at a time than one series may have: the clock is looked at in between."""
        some: list[Series] = []
        values = 0
        for one in [*self._series.values()][:_AT_A_TIME]:
            values += max(1, one.count)
            if some and self._most_values is not None and values > self._most_values:
                break
            some.append(self._series.pop(one.identity))
        return some

    def _parcel(self, things: list[T], encode: Callable[[Sequence[T]], list[tuple[bytes, int]]]) -> Parcel:
        refused = 0

        def encoded(some: list[T]) -> list[tuple[bytes, int]]:
            nonlocal refused
            try:
                return encode(some)
            except Exception as error:  # noqa: BLE001 - a library's opinion of a value costs that point, and is said
                if len(some) > 1:  # which one is it?
                    half = len(some) // 2
                    return encoded(some[:half]) + encoded(some[half:])
                refused += 1
                self._tell(f"a point cannot be encoded: {type(error).__name__}: {error}"[:300])
                return []

        items = encoded(things)
        outcomes = {"dropped: cannot be encoded": refused} if refused else {}
        return Parcel(len(things), [item for item, _ in items], outcomes, [number for _, number in items])

    def _send(self, items: list[Any], seconds: float) -> Verdict:
        """One after the other, in the time of one exchange; what one of them meets does not count for those before it."""
        until_ns = self._clock.monotonic_ns() + int(seconds * 1e9)
        lost: dict[str, list[int]] = {}
        for at, item in enumerate(items):
            left = (until_ns - self._clock.monotonic_ns()) / 1e9
            if at and left < _LEAST_S:
                return Verdict(DELIVERED, again=range(at, len(items)), lost=lost)
            try:
                verdict = self._post(item, left)
            except OSError as error:
                verdict = Verdict(AGAIN, str(error) or type(error).__name__)
            if verdict.kind == DELIVERED:
                self._note(verdict.why)
                continue
            self._failed += 1
            if len(items) == 1 or (verdict.kind == AGAIN and at == 0):
                return verdict
            if verdict.kind != AGAIN:
                lost.setdefault(verdict.reason, []).append(at)
            else:
                return Verdict(DELIVERED, verdict.why, verdict.retry_after_ms, range(at, len(items)), lost)
        return Verdict(DELIVERED, lost=lost)

    def _note(self, reservation: str) -> None:
        """Taken, but not all of it, and what was not must not come again: said when it begins and when it changes."""
        if reservation:
            self._failed += 1
            if reservation != self._reservation:
                self._tell(reservation)
        self._reservation = reservation

    def _tell(self, text: str) -> None:
        self._say(f"{self.name}: {text}")
