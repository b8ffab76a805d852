"""Time as columns of text: long pauses, in which the platform wants nothing of anybody, are drawn shorter than they were."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extension_kit.report.model import Timeline

#: of the time that is not frozen: what one pause, and what all of them, are drawn as at most
_ONE, _ALL = 0.04, 0.12


def pauses(found: Timeline) -> list[tuple[float, float]]:
    """From when to when there was no init, no invocation and no shutdown: frozen, or nothing there at all."""
    quiet: list[tuple[float, float]] = []
    busy_until = 0.0
    for span in found.of("init", "restore", "invoke", "shutdown"):
        if span.lane == 0:
            if span.start > busy_until:
                quiet.append((busy_until, span.start))
            busy_until = max(busy_until, span.end)
    return quiet


class Scale:
    """``cells`` columns over a whole run. ``folded``: how many pauses are shorter here than they were."""

    def __init__(self, found: Timeline, cells: int) -> None:
        self.cells = cells
        quiet = pauses(found)
        active = max(found.end - sum(end - start for start, end in quiet), 0.001)
        longest = active * min(_ONE, _ALL / max(len(quiet), 1))
        self.folded = sum(end - start > longest for start, end in quiet)
        # Corners of the line that leads from time to width.
        self._times, self._widths = [0.0], [0.0]
        for start, end in quiet:
            self._corner(start, start - self._times[-1])
            self._corner(end, min(end - start, longest))
        self._corner(max(found.end, self._times[-1] + 0.001), max(found.end - self._times[-1], 0.001))

    def _corner(self, time: float, width: float) -> None:
        self._times.append(time)
        self._widths.append(self._widths[-1] + width)

    def cell(self, time: float) -> int:
        """The column that a time (ms) falls into."""
        part = min(max(bisect_right(self._times, time) - 1, 0), len(self._times) - 2)
        return max(0, min(self.cells - 1, int(_along(time, part, self._times, self._widths) / self._step)))

    def bounds(self, cell: int) -> tuple[float, float]:
        """The times (ms) at the edges of a column."""
        return self._time(cell * self._step), self._time((cell + 1) * self._step)

    def _time(self, width: float) -> float:
        part = min(max(bisect_right(self._widths, width) - 1, 0), len(self._widths) - 2)
        return _along(width, part, self._widths, self._times)

    @property
    def _step(self) -> float:
        return self._widths[-1] / self.cells

    def ruler(self) -> str:
        """The times at some columns."""
        line = ""
        for cell in range(0, self.cells - 10, 20):
            at = self.bounds(cell)[0]
            mark = f"|{at:.0f} ms" if at < 10_000 else f"|{at / 1000:.1f} s"
            line = f"{line:<{cell}}{mark}"
        return line


def _along(value: float, part: int, given: list[float], wanted: list[float]) -> float:
    """Where `value`, which lies between two corners of `given`, is on the line of `wanted`."""
    length = given[part + 1] - given[part]
    share = (value - given[part]) / length if length else 0.0
    return wanted[part] + share * (wanted[part + 1] - wanted[part])
