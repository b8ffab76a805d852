"""Time as columns of text: long pauses, in which everything is frozen, are drawn shorter than they were."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extension_kit.report.model import Timeline

_LONGEST = 0.04  # of the time that is not frozen; what a pause is drawn as at most


class Scale:
    """``cells`` columns over a whole run. ``folded``: how many pauses are shorter here than they were."""

    def __init__(self, found: Timeline, cells: int) -> None:
        self.cells = cells
        pauses = [span for span in found.of("frozen") if span.duration > 0]
        active = max(found.end - sum(pause.duration for pause in pauses), 0.001)
        longest = active * _LONGEST
        self.folded = sum(pause.duration > longest for pause in pauses)
        # Corners of the line that leads from time to width.
        self._times, self._widths = [0.0], [0.0]
        for pause in pauses:
            self._corner(pause.start, pause.start - self._times[-1])
            self._corner(pause.end, min(pause.duration, longest))
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
