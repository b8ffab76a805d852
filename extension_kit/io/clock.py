"""The clocks. Ages and deadlines use the wall clock: it is the platform's, and it goes on while the process is frozen."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """Real time; tests hand in another object with the same methods."""

    __slots__ = ()

    def wall_ms(self) -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that is never set."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
