"""Batches of telemetry as Lambda sends them, made before anything is measured.

Successive bodies differ, as they do in Lambda: a listener may know a batch that it is sent twice. What changes are eight
digits in the ids of two requests: that of the invocation at the end of the batch, which has its own number, and that of the
report at its beginning, which belongs to the batch before. In between lie whole invocations, the same in every batch.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

_ID_REST = "-58b6-4d0c-8d27-5a7b1f3c2e10"
#: where the numbers go, in the text before it is stamped; of the same width
_THIS, _BEFORE = "<<this>>", "<before>"
_TRACE = "Root=1-6a3f0b1c-0123456789abcdef01234567;Parent=53995c3f42cd8ad8;Sampled=1"


def request_id(number: int) -> bytes:
    """The id of the request that ends with the batch `number`."""
    return b"%08x" % number + _ID_REST.encode()


@dataclass(frozen=True, eq=False)
class Load:
    """A batch. ``this`` and ``before``: where in ``body`` the number of its own request and of the one before it stand."""

    body: bytes
    events: int
    function_events: int
    this: tuple[int, ...]
    before: tuple[int, ...]


def mixed() -> Load:
    """256 KiB, the platform's default limit: 928 events of 282 bytes on average."""
    return _load(928, lines=("order", "order", "object", "order", "object", "object", "order"))


def small() -> Load:
    """What one short invocation makes: 6 events, 1.5 KB."""
    return _load(6, lines=("order", "object", "order"), tracing=False)


def large() -> Load:
    """10,000 events, the most that a batch may have, 2 MB: the function logs a lot of short lines."""
    return _load(10_000, lines=("short", "short", "object", "short") * 12)


def closing() -> Load:
    """What is left at the end: the report of the batch before."""
    return _joined([_Writer(tracing=False).report(_BEFORE + _ID_REST)])


def _load(events: int, lines: tuple[str, ...], tracing: bool = True) -> Load:
    """The report of the batch before, whole invocations, and one that ends with the batch; `events` events in all."""
    writer = _Writer(tracing)
    made = [writer.report(_BEFORE + _ID_REST)]
    last = len(lines) + 2
    for number in itertools.count(0xA0000000):
        if events - len(made) < 2 * last + 1:
            break
        request = request_id(number).decode()
        made += [*writer.invocation(request, lines), writer.report(request)]
    # What is left is one invocation more, with as many lines as it takes.
    lines = tuple(itertools.islice(itertools.cycle(lines), events - len(made) - 2))
    return _joined(made + writer.invocation(_THIS + _ID_REST, lines))


def _joined(made: list[str]) -> Load:
    body = ("[" + ",".join(made) + "]").encode()
    function = sum('"type":"function"' in event for event in made)
    return Load(body, len(made), function, _places(body, _THIS), _places(body, _BEFORE))


def _places(body: bytes, marker: str) -> tuple[int, ...]:
    """Everywhere in `body` where `marker` begins."""
    pieces = body.split(marker.encode())
    ends = itertools.accumulate(len(piece) + len(marker) for piece in pieces[:-1])
    return tuple(end - len(marker) for end in ends)


class _Writer:
    """Writes events, each some milliseconds after the one before."""

    def __init__(self, tracing: bool) -> None:
        self._ms = 28_800_700  # since midnight
        self._orders = itertools.count(100_000)
        self._tracing = {"tracing": {"spanId": "24cd7d670fa45510", "type": "X-Amzn-Trace-Id", "value": _TRACE}}
        if not tracing:
            self._tracing = {}

    def invocation(self, request: str, lines: tuple[str, ...]) -> list[str]:
        """From ``platform.start`` to ``platform.runtimeDone``."""
        began = self._now()
        start = self._event("platform.start", {"requestId": request, "version": "$LATEST", **self._tracing})
        written = [self._event("function", self._line(kind, request)) for kind in lines]
        done = {
            "requestId": request, "status": "success", "metrics": {"durationMs": 124.902, "producedBytes": 52},
            "spans": [
                {"name": "responseLatency", "start": began, "durationMs": 124.138},
                {"name": "responseDuration", "start": began, "durationMs": 0.041},
            ],
            **self._tracing,
        }  # fmt: skip
        return [start, *written, self._event("platform.runtimeDone", done)]

    def report(self, request: str) -> str:
        metrics = {"durationMs": 168.417, "billedDurationMs": 169, "memorySizeMB": 256, "maxMemoryUsedMB": 97}
        return self._event("platform.report", {"requestId": request, "status": "success", "metrics": metrics})

    def _line(self, kind: str, request: str) -> str | dict[str, Any]:
        """A line as Python's and Node's runtimes write it, as text or as JSON."""
        order = next(self._orders)
        if kind == "short":
            return f"{self._now()}\t{request}\tINFO\torder {order} accepted\n"
        if kind == "order":
            return (
                f"[INFO]\t{self._now()}\t{request}\torder {order} accepted: 3 items, 142.50 EUR, customer 7781204, "
                f'coupon "WINTER-26", depot eu-west-1b\n'
            )
        return {
            "timestamp": self._now(), "level": "INFO", "requestId": request, "message": f"order {order} accepted",
            "logger": "orders.api", "items": 3, "total": 142.5, "cold_start": False,
        }  # fmt: skip

    def _event(self, kind: str, record: str | dict[str, Any]) -> str:
        self._ms += 3
        return json.dumps({"time": self._now(), "type": kind, "record": record}, separators=(",", ":"))

    def _now(self) -> str:
        seconds, ms = divmod(self._ms, 1000)
        return f"2026-11-23T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}Z"
