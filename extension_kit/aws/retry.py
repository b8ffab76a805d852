"""When to try again, and when not: waiting times, a budget of retries, and going slower after a throttle. No I/O.

The budget is that of the SDKs' standard mode (AWS docs, SDKs and tools reference, "Retry behavior"): 500 tokens, 5 for a retry,
10 after a time-out, given back when a call succeeds.
"""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.aws.values import AwsError

__all__ = ["Retries"]

_BASE_S, _MOST_S = 0.05, 2.0
_BUDGET, _COST, _TIMEOUT_COST = 500, 5, 10
_PACE_S, _PACE_MOST_S, _PACE_LEAST_S = 0.05, 2.0, 0.005
_RECOVERY = 0.75  # of the time between calls, with each that succeeds


class Retries:
    """``attempts``: of one call, the first included; ``draw()``: a number from 0 up to 1."""

    def __init__(self, attempts: int, draw: Callable[[], float]) -> None:
        self._attempts = attempts
        self._draw = draw
        self._lock = _thread.allocate_lock()
        self._left = _BUDGET
        self._pace: dict[str, float] = {}  # seconds between calls of a service that throttles
        self._next_ms: dict[str, int] = {}

    def wait_first(self, service: str, now_ms: int) -> float:
        """Seconds to wait before a call of `service` that has throttled us lately; 0.0 for any other."""
        pace = self._pace.get(service)
        if pace is None:
            return 0.0
        with self._lock:
            at = min(max(now_ms, self._next_ms.get(service, 0)), now_ms + int(_PACE_MOST_S * 1000))
            self._next_ms[service] = at + int(pace * 1000)
            return (at - now_ms) / 1000

    def wait_again(self, attempt: int, error: AwsError) -> float | None:
        """Seconds to wait before the attempt after `attempt` (1 for the first); None: it is not worth another."""
        if not error.transient or attempt >= self._attempts:
            return None
        cost = _TIMEOUT_COST if error.kind == "timeout" else _COST
        with self._lock:
            if self._left < cost:
                return None
            self._left -= cost
        full: float = min(_MOST_S, _BASE_S * (1 << (attempt - 1)))
        return max(full * self._draw(), min(error.retry_after or 0.0, _MOST_S))

    def failed(self, service: str, error: AwsError, now_ms: int) -> None:
        """After each attempt that failed: half as fast after a throttle."""
        if error.kind == "throttled":
            with self._lock:
                pace = self._pace[service] = min(self._pace.get(service, _PACE_S / 2) * 2, _PACE_MOST_S)
                self._next_ms[service] = now_ms + int(pace * 1000)

    def succeeded(self, service: str, attempts: int) -> None:
        """After a call that took so many attempts."""
        with self._lock:
            self._left = min(_BUDGET, self._left + (_COST if attempts > 1 else 1))
            pace = self._pace.pop(service, 0.0) * _RECOVERY
            if pace >= _PACE_LEAST_S:
                self._pace[service] = pace
