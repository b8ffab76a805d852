"""One sink's part of the plug-in: what it was handed, what it has sent, what it still answers for."""

from __future__ import annotations

import time

from extension_kit.delivery import Delivery, Limits, Parcel
from extension_kit.plugin import Plugin
from extension_kit.protocol.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.events import Flushed, Restore, Shutdown
    from extension_kit.plugin import Context
    from extension_kit.records import Record
    from extensions.log_shipper.dead_letters import DeadLetters
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.pipeline import Pipeline, Taken
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Sink

__all__ = ["Shipper"]

_LEAST_LINES = 50
_BURIAL_MS = 500  # of an environment's last flush, for dead letters
_BAD = (b"error", b"timeout", b"failure")
_ERRORS = (b'"level":"ERROR"', b'"level":"FATAL"', b"[ERROR]", b"\\tERROR\\t", b"Traceback (most recent", b"[CRITICAL]")


class Shipper(Plugin):
    """Sends to one sink. Nothing of what sending needs is imported before the first flush."""

    telemetry: tuple[str, ...] = ("platform", "function")

    def __init__(self, name: str, settings: ShipperSettings) -> None:
        self.name = name
        self.sink_settings = settings
        if "extension" in settings.types and settings.sink != "stdout":
            self.telemetry = ("platform", "function", "extension")
        self._held: list[Record] = []
        self._first = 0  # of those that are in no parcel yet
        self._sink: Sink | None = None
        self._pipeline: Pipeline | None = None
        self._delivery: Delivery | None = None
        self._dead_letters: DeadLetters | None = None
        self._trouble = ""  # with the last line that could not be made ready
        self._line_ms = 0.1  # what a line takes to be made ready, by what earlier ones took
        self._watches = self.prompt = settings.flush_on_error

    def start(self, context: Context) -> None:
        self._context = context

    def on_telemetry(self, records: list[Record]) -> None:
        self._held += records
        if self._watches and not self._context.urgent and any(map(_is_alarming, records)):
            self._context.flush_soon()

    def flush(self, reason: str, deadline: Deadline) -> Flushed:
        delivery = self._delivery or self._prepare()
        last = reason == "shutdown"
        kept_ms = _BURIAL_MS if last and self._dead_letters is not None else 0
        sending = Deadline(deadline.at_ms - kept_ms, self._context.clock.wall_ms, deadline.margin_ms, reason)
        while not sending.expired:
            if not delivery.parcels and not self._pack(last, sending.remaining_ms()):
                break
            if not delivery.deliver(sending):
                break
        if last and self._dead_letters is not None:
            self._bury_what_is_left(delivery, self._dead_letters, deadline)
        self._tell_figures()
        return delivery.flushed(self._unpacked())

    def on_restore(self, event: Restore) -> None:  # noqa: ARG002
        if self._sink is not None:
            self._sink.forget()

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:  # noqa: ARG002
        left = self._unpacked() + (self._delivery.pending if self._delivery is not None else 0)
        if left:
            self._context.log.warning(f"{left} records could not be sent before the end")

    def _bury_what_is_left(self, delivery: Delivery, dead_letters: DeadLetters, deadline: Deadline) -> None:
        """The environment ends, and its /tmp with it. What an exchange is still about may have arrived: it comes last."""

        def outcome_of(items: list[Any]) -> str:
            return "dead-lettered" if dead_letters.bury(items, "the environment has ended") else ""

        while True:
            delivery.give_up(outcome_of)
            if dead_letters.trouble or deadline.expired or not self._pack(True, deadline.remaining_ms()):
                break
        if not deadline.expired:
            delivery.give_up(outcome_of, in_flight=True)
        if dead_letters.trouble:
            self._context.log.warning(dead_letters.trouble)

    def _unpacked(self) -> int:
        """Records that are in no parcel yet."""
        return sum(1 for record in self._held[self._first :] if record[2])

    # inside

    def _prepare(self) -> Delivery:
        from extensions.log_shipper.parts import make_dead_letters, make_parts

        context, settings = self._context, self.sink_settings
        self._sink, self._pipeline = make_parts(settings, context)
        dead_letters = self._dead_letters = make_dead_letters(settings, context)
        delivery = self._delivery = Delivery(
            self._send,
            context.clock,
            limits=Limits(attempts=settings.attempts, timeout_ms=settings.timeout),
            say=context.log.warning,
            abort=self._sink.abort,
            bury=dead_letters.bury if dead_letters is not None else None,
            count=context.count,
        )
        return delivery

    def _send(self, items: list[Any], seconds: float) -> Any:
        assert self._sink is not None
        return self._sink.send(items, seconds)

    def _pack(self, last: bool, left_ms: int) -> bool:
        """Make parcels of some of what is held; False where there is nothing, or nothing that is whole yet.

        So many lines that it takes a quarter of the time that is left: a small function has a fourteenth of a core.
        """
        assert self._pipeline is not None
        assert self._sink is not None
        assert self._delivery is not None
        sink = self._sink
        most_lines = min(sink.most_lines, max(_LEAST_LINES, int(left_ms / 4 / self._line_ms)))
        began = time.monotonic()
        taken = self._pipeline.take(
            self._held, self._first, most_lines, sink.most_bytes, last, whole_batches=sink.whole_batches
        )
        if not taken.span:
            return False
        parcels = _parcels(sink, taken)
        self._first += taken.span
        if self._first >= len(self._held):
            self._held, self._first = [], 0
        for parcel in parcels:
            self._delivery.add(parcel)
        if taken.trouble and taken.trouble != self._trouble:
            self._trouble = taken.trouble
            self._context.log.warning(f"a line cannot be made ready and is dropped: {taken.trouble}")
        took_ms = (time.monotonic() - began) * 1000 / taken.span
        self._line_ms = max(took_ms, 0.9 * self._line_ms)  # slower at once, faster by and by
        return True

    def _tell_figures(self) -> None:
        if self._pipeline is not None:
            self._context.counters["redacted"] = self._pipeline.redactions
            self._context.counters["cut"] = self._pipeline.cut


def _parcels(sink: Sink, taken: Taken) -> list[Parcel]:
    """The lines as items, in parcels that the sink takes; what becomes of a line that cannot be one is said in the last."""
    parcels: list[Parcel] = []
    items: list[bytes] = []
    weights: list[int] = []
    kept_back = sum(taken.outcomes.values())
    size = batch = 0
    for line in taken.lines:
        item, outcome = _item(sink, line, taken)
        if item is None:
            taken.outcomes[outcome] = taken.outcomes.get(outcome, 0) + line.weight
            kept_back += line.weight
            continue
        batch, before = line.record[2], batch
        if items and (size + len(item) + sink.overhead > sink.most_bytes or (sink.whole_batches and batch != before)):
            parcels.append(Parcel(sum(weights), items, weights=weights))
            items, weights, size = [], [], 0
        items.append(item)
        weights.append(line.weight)
        size += len(item) + sink.overhead
    parcels.append(Parcel(sum(weights) + kept_back, items, taken.outcomes, weights))
    return parcels


def _item(sink: Sink, line: Line, taken: Taken) -> tuple[bytes | None, str]:
    """A line as one item, cut where that is what it takes; else None, and what has become of it.

    Whatever is wrong with one line costs that line: those beside it have been accepted as well.
    """
    try:
        item = sink.encode(line)
        if len(item) > sink.most_item_bytes:
            from extensions.log_shipper.pipeline import shortened

            line.change(shortened(line, sink.most_item_bytes - 4_096))
            item = sink.encode(line)
    except Exception as error:  # noqa: BLE001 - a function writes what it likes
        from extensions.log_shipper.pipeline import UNREADABLE

        taken.trouble = f"{type(error).__name__}: {error}"[:200]
        return None, UNREADABLE
    return (item, "") if len(item) <= sink.most_item_bytes else (None, "dropped: too large")


def _is_alarming(record: Record) -> bool:
    """Whether a record is a reason to flush at once: an invocation that has failed, or a line that says ERROR."""
    kind, raw = record.type, record[0]
    if kind == "platform.runtimeDone":
        return getattr(record, "status", "").encode() in _BAD
    return kind == "function" and any(mark in raw for mark in _ERRORS)
