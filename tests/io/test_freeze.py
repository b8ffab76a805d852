"""The freeze watch: what two clocks say about a process that was resumed."""

from __future__ import annotations

import pytest

from extension_kit.io.freeze import FreezeWatch


class Clock:
    """Both clocks, set by hand (ms)."""

    wall = 1_795_420_800_000
    monotonic = 5_000

    def wall_ms(self):
        return self.wall

    def monotonic_ns(self):
        return self.monotonic * 1_000_000

    def go_on(self, wall, monotonic):
        self.wall += wall
        self.monotonic += monotonic


@pytest.mark.parametrize(
    ("wall", "monotonic", "jumped"),
    [
        (10, 10, 0),
        (3_600_000, 3_600_000, 0),  # frozen between two invocations: both clocks go on
        (3_600_000, 20, 3_599_980),  # a snapshot: the monotonic clock has stood still
        (100, -4_000, 4_100),  # or has begun anew
        (-3_600_000, 10, -3_600_010),  # somebody has set the clock
        (500, 10, 0),  # time servers do that
    ],
)
def test_a_jump_is_told_once(wall, monotonic, jumped):
    """By how much the clocks have parted; afterwards they go together again."""
    clock = Clock()
    watch = FreezeWatch(clock)
    clock.go_on(wall, monotonic)

    assert watch.jumped_ms() == jumped
    clock.go_on(50, 50)
    assert watch.jumped_ms() == 0
