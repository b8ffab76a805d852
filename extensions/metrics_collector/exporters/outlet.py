"""What exporters share: a bounded queue of points, and the kit's delivery in front of a destination."""

from __future__ import annotations

from extension_kit.delivery import Delivery, Limits, Parcel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from extension_kit.delivery import Verdict
    from extension_kit.io.clock import Clock
    from extension_kit.protocol.deadline import Deadline
    from extensions.metrics_collector.invocations import Point

__all__ = ["Outlet"]

_AT_A_TIME = 900  # points in one request


class Outlet:
    """One destination. ``encode(points)``: the items of a parcel, bytes; ``post(item, seconds)``: one exchange.

    Points are encoded when their turn comes, so what waits is small; beyond ``most`` the oldest are dropped, and counted.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Sequence[Point]], list[bytes]],
        post: Callable[[bytes, float], Verdict],
        clock: Clock,
        *,
        most: int,
        timeout_ms: int,
        say: Callable[[str], object],
        abort: Callable[[], object] = lambda: None,
        forget: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.forget = forget
        self._encode = encode
        self._post = post
        self._most = most
        self._say = say
        self._queue: list[Point] = []
        self._failed = self._lost = 0
        self._delivery = Delivery(
            self._send, clock, limits=Limits(timeout_ms=timeout_ms), say=self._tell, abort=abort, count=self._count
        )
        self._attempts = 0

    @property
    def pending(self) -> int:
        return len(self._queue) + self._delivery.pending

    def add(self, points: Sequence[Point]) -> None:
        self._queue += points
        beyond = len(self._queue) - self._most
        if beyond > 0:
            del self._queue[:beyond]
            self._lost += beyond
            self._say(f"{self.name}: {beyond} points are dropped, since no more than {self._most} wait to be sent")

    def troubles(self) -> dict[str, int]:
        """Figures of this exporter's own since the last time."""
        outcomes = sum(records for name, records in self._delivery.outcomes.items() if name.startswith("dropped: "))
        self._delivery.outcomes.clear()
        found = {"exports_failed_count": self._failed, "points_lost_count": self._lost + outcomes}
        self._failed = self._lost = 0
        return {figure: number for figure, number in found.items() if number}

    def send(self, deadline: Deadline) -> None:
        """As much as the deadline allows."""
        while self._queue or self._delivery.parcels:
            if not self._delivery.parcels:
                points, self._queue = self._queue[:_AT_A_TIME], self._queue[_AT_A_TIME:]
                self._delivery.add(self._parcel(points))
            if not self._delivery.deliver(deadline):
                break

    def _parcel(self, points: list[Point]) -> Parcel:
        try:
            items: list[Any] = self._encode(points)
        except Exception as error:  # noqa: BLE001 - a library's opinion of a value costs these points, and is said
            self._tell(f"points cannot be encoded: {type(error).__name__}: {error}"[:300])
            return Parcel(len(points), [], {"dropped: cannot be encoded": len(points)})
        if not items:
            return Parcel(len(points), [])
        # The first item stands for the points, so that the sum is theirs whatever they were encoded to.
        weights = [len(points), *[0] * (len(items) - 1)]
        return Parcel(len(points), items, {}, weights)

    def _send(self, items: list[Any], seconds: float) -> Verdict:
        """One exchange for one item; the others follow in the next."""
        from extension_kit.delivery import AGAIN, DELIVERED, Verdict

        for at, item in enumerate(items):
            try:
                verdict = self._post(item, seconds)
            except OSError as error:
                verdict = Verdict(AGAIN, str(error) or type(error).__name__)
            if verdict.kind != DELIVERED:
                self._failed += 1
                if at == 0:
                    return verdict
                return Verdict(DELIVERED, verdict.why, verdict.retry_after_ms, again=range(at, len(items)))
        return Verdict(DELIVERED)

    def _tell(self, text: str) -> None:
        self._say(f"{self.name}: {text}")

    def _count(self, name: str, number: int) -> None:
        if name == "attempts":
            self._attempts += number
