"""What each process cost, and where the time of a run went; from its record."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extension_kit.report.reading import figure, timeline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extension_kit.report.model import Span, Timeline


@dataclass(frozen=True, slots=True)
class Cost:
    """One extension, or the runtime. ``None``: the record does not tell.

    ``register_ms``: from the start of the process to its registration, ``init_ms``: to its first ``next`` (medians over the
    times that it was started); ``cpu_ms``: of all its processes, as far as they have ended; ``peak_mb``: the most memory
    (megabytes of 10^6 bytes) that one of them held; ``after_ms``: median over the invocations of its work after the response.
    """

    party: str
    kind: str
    starts: int
    register_ms: float | None
    init_ms: float | None
    cpu_ms: float | None
    peak_mb: float | None
    after_ms: float | None
    after_total_ms: float
    batches: int
    telemetry_events: int
    log_lines: int


def costs(record: dict[str, Any]) -> list[Cost]:
    """A row for each process of the record, the runtime first."""
    return costs_of(timeline(record), record["events"])


def costs_of(found: Timeline, events: Iterable[dict[str, Any]]) -> list[Cost]:
    """As `costs`, where the timeline is there already."""
    told = _Told()
    for event in events:
        told.take(event)
    rows = []
    for lane, one in enumerate(found.lanes):
        if one.kind not in ("runtime", "extension"):
            continue
        spans = [span for span in found.spans if span.lane == lane]
        starts = [span for span in spans if span.kind == "start" and "note" not in span.details]
        ready = _until_ready(found, lane)
        after = _after(spans)
        usage = told.usage.get(one.name)
        batches = told.batches.get(one.name, [0, 0])
        rows.append(
            Cost(
                one.name,
                one.kind,
                sum(span.kind == "start" for span in spans),
                _median(span.duration for span in starts) if one.kind == "extension" else None,
                _median(ready),
                usage[0] if usage else None,
                usage[1] / 1e6 if usage and usage[1] else None,
                _median(after),
                sum(after),
                batches[0],
                batches[1],
                told.lines.get(one.name, 0),
            )
        )
    return rows


def _after(spans: Iterable[Span]) -> list[float]:
    """For each invocation that a process had: how long it worked after the response; nothing, where it was done before."""
    found: dict[int, float] = {}
    for span in spans:
        if span.kind in ("function", "beside", "after"):
            found.setdefault(span.invocation, 0.0)
        if span.kind == "after":
            found[span.invocation] += span.duration
    return list(found.values())


class _Told:
    """What the record tells of each party that is not a span."""

    def __init__(self) -> None:
        self.usage: dict[str, list[float]] = {}
        self.batches: dict[str, list[int]] = {}
        self.lines: dict[str, int] = {}

    def take(self, event: dict[str, Any]) -> None:
        party, kind = str(event.get("party")), event["kind"]
        if kind == "process_usage":
            row = self.usage.setdefault(party, [0.0, 0.0])
            row[0] += figure(event.get("cpu_ms")) or 0.0
            row[1] = max(row[1], figure(event.get("peak_bytes")) or 0.0)
        elif kind == "telemetry_batch" and event.get("taken"):
            batches = self.batches.setdefault(party, [0, 0])
            batches[0] += 1
            batches[1] += int(figure(event.get("events")) or 0)
        elif kind == "log":
            self.lines[party] = self.lines.get(party, 0) + 1


def _until_ready(found: Timeline, lane: int) -> list[float]:
    """From the start of each process of a lane to its first ``next``, where both are told."""
    times = []
    began: float | None = None
    for span in found.spans:
        if span.lane != lane:
            continue
        if span.kind == "start":
            began = None if "note" in span.details else span.start
        elif span.kind == "wait" and began is not None:
            times.append(span.start - began)
            began = None
    return times


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


# where the time went ----------------------------------------------------------------------------------------------------

#: what a moment is counted as, where several are going on: the first that is
PARTS = ("restore", "init", "function", "after", "shutdown", "frozen", "idle")


def parts(found: Timeline) -> dict[str, float]:
    """Milliseconds of the run by what the environment was doing; they add up to all of it."""
    changes: list[tuple[float, int, int]] = []
    for rank, (begin, end) in _intervals(found):
        changes += [(begin, rank, 1), (end, rank, -1)]
    changes.sort()
    counts = [0] * len(PARTS)
    spent = dict.fromkeys(PARTS, 0.0)
    before = 0.0
    for at, rank, change in [*changes, (found.end, 0, 0)]:
        doing = next((part for part, count in zip(PARTS, counts, strict=True) if count), "idle")
        spent[doing] += at - before
        before = at
        counts[rank] += change
    return spent


def _intervals(found: Timeline) -> Iterable[tuple[int, tuple[float, float]]]:
    for span in found.of("restore", "init", "shutdown", "frozen"):
        if span.lane == 0:
            yield PARTS.index(span.kind), (span.start, span.end)
    for one in found.invocations:
        end = one.end if one.end is not None else found.end
        response = min(end, one.response) if one.response is not None else end
        yield PARTS.index("function"), (one.start, response)
        yield PARTS.index("after"), (response, end)
