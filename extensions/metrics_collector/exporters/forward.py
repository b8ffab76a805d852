"""OTLP requests of the function's on their way to the same endpoint as ours, as they are."""

from __future__ import annotations

from extension_kit.delivery import AGAIN, DELIVERED, Delivery, Limits, Parcel, Verdict
from extension_kit.flush import Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extension_kit.io.clock import Clock
    from extension_kit.protocol.deadline import Deadline
    from extensions.metrics_collector.intake import Request, Requests

__all__ = ["Forward"]


class Forward:
    """An outlet, for what is not made of points: takes from `requests` what has come, and keeps it until it is delivered.

    How much that may be is for `Requests` to say, which takes no more.
    """

    name = "otlp from the function"

    def __init__(
        self,
        requests: Requests,
        post: Callable[[Request, float], Verdict],
        clock: Clock,
        *,
        timeout_ms: int,
        say: Callable[[str], object],
        abort: Callable[[], object],
        forget: Callable[[], object],
    ) -> None:
        self.forget = forget
        self.turns = Turns()
        self._requests = requests
        self._post = post
        self._say = say
        self._failed = 0
        self._reservation = ""
        self._sizes: list[int] = []  # weights of the requests that are with the delivery, the oldest first
        self._delivery = Delivery(self._send, clock, limits=Limits(timeout_ms=timeout_ms), say=self._tell, abort=abort)

    @property
    def pending(self) -> int:
        return self._delivery.pending

    def add(self, _points: Sequence[object], _series: Sequence[object] = ()) -> None:
        """What the function has sent goes out with ours."""
        for request in self._requests.take():
            self._sizes.append(request.weight)
            self._delivery.add(Parcel(1, [request]))

    @property
    def lost(self) -> int:
        """Requests that `troubles` has not told of."""
        return sum(requests for name, requests in self._delivery.outcomes.items() if name.startswith("dropped: "))

    def troubles(self) -> dict[str, int]:
        """Figures of its own since the last time."""
        found = {"exports_failed_count": self._failed, "otlp_lost_count": self.lost}
        self._delivery.outcomes.clear()
        self._failed = 0
        return {figure: number for figure, number in found.items() if number}

    def send(self, deadline: Deadline) -> None:
        """As much as the deadline allows."""
        self._delivery.deliver(deadline)
        del self._sizes[: len(self._sizes) - self._delivery.parcels]
        self._requests.in_hand = sum(self._sizes)

    def _send(self, items: list[Request], seconds: float) -> Verdict:
        try:
            verdict = self._post(items[0], seconds)
        except OSError as error:
            verdict = Verdict(AGAIN, str(error) or type(error).__name__)
        if verdict.kind != DELIVERED:
            self._failed += 1
            return verdict
        if verdict.why and verdict.why != self._reservation:
            self._tell(verdict.why)
        self._reservation = verdict.why
        return verdict

    def _tell(self, text: str) -> None:
        self._say(f"{self.name}: {text}")
