"""A run in the Trace Event Format, which chrome://tracing and Perfetto open.

Source: "Trace Event Format" (Google): complete events (``X``), instants (``i``) and metadata (``M``); ``ts`` and ``dur`` in
microseconds. Events of one thread must lie within each other or apart: spans that overlap have threads of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from extension_kit.report.model import MARKS, SPANS
from extension_kit.report.reading import timeline

if TYPE_CHECKING:
    from extension_kit.report.model import Mark


def trace(record: dict[str, Any]) -> dict[str, Any]:
    """The JSON object of a trace: a process for each lane, a thread for each row of it."""
    found = timeline(record)
    events: list[dict[str, Any]] = []
    rows = [0] * len(found.lanes)
    for span in found.spans:
        rows[span.lane] = max(rows[span.lane], span.row)
        details: dict[str, Any] = {name: str(value) for name, value in span.details.items()}
        if span.invocation:
            details["invocation"] = span.invocation
        events.append(
            {
                "ph": "X",
                "name": span.label,
                "cat": SPANS[span.kind],
                "ts": _us(span.start),
                "dur": _us(span.end) - _us(span.start),
                "pid": span.lane + 1,
                "tid": span.row + 1,
                "args": details,
            }
        )
    events += map(_instant, found.marks)
    events.sort(key=lambda event: event["ts"])
    names = [event for lane, one in enumerate(found.lanes) for event in _names(lane, one.name, rows[lane])]
    return {
        "traceEvents": [*names, *events],
        "displayTimeUnit": "ms",
        "otherData": {"format": str(record.get("format")), "notes": "; ".join(found.notes)},
    }


def _instant(mark: Mark) -> dict[str, Any]:
    return {
        "ph": "i",
        "name": mark.label,
        "cat": MARKS[mark.kind],
        "ts": _us(mark.at),
        "s": "t",
        "pid": mark.lane + 1,
        "tid": 1,
        "args": {"invocation": mark.invocation} if mark.invocation else {},
    }


def _names(lane: int, name: str, last_row: int) -> list[dict[str, Any]]:
    """What a lane is called, where it stands, and what its rows are called."""
    pid = lane + 1
    named = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 1, "ts": 0, "args": {"name": name}},
        {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 1, "ts": 0, "args": {"sort_index": lane}},
    ]
    for row in range(last_row + 1):
        label = name if row == 0 else f"{name}, at the same time ({row + 1})"
        named.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": row + 1, "ts": 0, "args": {"name": label}})
    return named


def _us(milliseconds: float) -> int:
    """Whole microseconds: the record has no more, and no rounding can make neighbours overlap."""
    return round(milliseconds * 1000)
