"""Has this process been frozen and resumed elsewhere, or later? Nobody says so; the clocks do.

While an environment is frozen between two invocations both clocks go on, as for any stopped process: that is daily life, and no
reason to do anything. After a snapshot was resumed the wall clock has moved on and the monotonic clock has not, or has begun
anew: they have parted.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.io.clock import Clock

__all__ = ["FreezeWatch"]

_PARTED_MS = 1_000  # what time servers correct is less


class FreezeWatch:
    """Looks at both clocks; `jumped_ms` since it looked last."""

    __slots__ = ("_apart", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart = self._now()

    def jumped_ms(self) -> int:
        """By how much the clocks have parted since the last look, 0 where it is nothing to speak of."""
        before, self._apart = self._apart, self._now()
        jump = self._apart - before
        return jump if abs(jump) >= _PARTED_MS else 0

    def _now(self) -> int:
        return self._clock.wall_ms() - self._clock.monotonic_ns() // 1_000_000
