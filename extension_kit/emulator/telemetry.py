"""The platform's end of the Telemetry API: buffers, deliveries, retries, losses, and a ledger of what was sent.

Each subscriber has a buffer that is cut at its three limits, and a short queue of batches. One batch is in flight at a time;
one that fails is posted again, with back-off, for as long as the subscriber lives. When the queue is full, new events are lost,
and ``platform.logsDropped`` says how many. Nothing is delivered while the environment is frozen: what was due then comes after.

What is not known of Lambda is decided here, and said: batches of a subscriber that died are posted again to the extension of
the same name once it subscribes anew after a reset (unverified on AWS; the stable port of some extensions suggests it).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from extension_kit.emulator import legacy
from extension_kit.protocol.telemetry_api import LOGS_SCHEMAS, SCHEMAS
from extension_kit.protocol.timestamps import format_ms

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from extension_kit.emulator.faults import Faults
    from extension_kit.emulator.model import Cancellable
    from extension_kit.protocol.telemetry_api import Subscription

QUEUE = 8  # batches of one subscriber
_BACK_OFF = (0.1, 2.0)  # seconds
_LONGEST_DELAY_MS = 1_000  # of platform.report after the end of its invocation


class Deliveries(Protocol):
    """What carries batches to a listener; implemented over sockets, and by tests."""

    def post(self, subscription: Subscription, body: bytes, done: Callable[[bool], object]) -> None: ...
    def call_later(self, seconds: float, call: Callable[[], object]) -> Cancellable: ...
    def now_ms(self) -> int: ...


@dataclass
class Ledger:
    """What the platform sent to one extension: events that it has taken (``sent``), by stream, and those it never got."""

    sent: dict[str, int] = field(default_factory=dict)
    sent_bytes: int = 0
    batches: int = 0
    largest: int = 0  # bytes of one batch
    posts: int = 0
    dropped: int = 0
    undelivered: int = 0

    @property
    def total(self) -> int:
        return sum(self.sent.values())


@dataclass(frozen=True)
class _Event:
    stream: str
    kind: str
    time: str
    record: Any

    def encode(self, schema: str, json_format: bool) -> str:
        """As text; a line in JSON becomes an object where both the schema and the function's log format allow it."""
        record = self.record
        if self.stream != "platform" and json_format and schema in SCHEMAS[:-1]:
            record = _as_object(record)
        envelope = {"time": self.time, "type": self.kind, "record": record}
        return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False)


class Source:
    """All subscriptions of one environment. Everything runs on the loop's thread."""

    def __init__(
        self,
        deliveries: Deliveries,
        faults: Faults,
        random: Random,
        json_format: bool,
        late_reports: bool = True,
        tell: Callable[..., object] | None = None,
    ) -> None:
        """``tell``: takes the kind and the fields of what the record of the run should hold."""
        self.tell = tell
        self.ledgers: dict[str, Ledger] = {}
        self._deliveries = deliveries
        self._faults = faults
        self._random = random
        self._json_format = json_format
        self._late_reports = late_reports
        self._early: list[_Event] = []  # since this environment began to initialise
        self._subscribers: dict[str, _Subscriber] = {}
        self._orphans: dict[str, list[_Batch]] = {}
        self._report_ms = 0.0  # when the latest report is due
        self._frozen = False
        self._held: list[Callable[[], object]] = []  # what fell due while frozen

    # what happens

    def emit(self, kind: str, record: Any) -> None:
        """One event, now; the report of an invocation later, since it is written when all is over."""
        if kind == "platform.initStart":
            self._early.clear()
        if (kind == "platform.runtimeDone" and "telemetry-lost-end" in self._faults) or (
            kind == "platform.report" and "telemetry-lost-report" in self._faults
        ):
            return
        if kind == "platform.report" and self._late_reports:
            # Reports keep their order, so one may be waited for by those behind it.
            due = self._deliveries.now_ms() + self._random.uniform(0, _LONGEST_DELAY_MS)
            self._report_ms = due = max(due, self._report_ms)
            self.call_later((due - self._deliveries.now_ms()) / 1000, lambda: self._publish(kind, record))
        else:
            self._publish(kind, record)

    def _publish(self, kind: str, record: Any) -> None:
        event = _Event(kind.partition(".")[0], kind, format_ms(self._deliveries.now_ms()), record)
        if len(self._early) < 10_000:
            self._early.append(event)
        for subscriber in list(self._subscribers.values()):
            subscriber.add(event)

    def subscribe(self, name: str, subscription: Subscription) -> None:
        """`name` wants telemetry: it gets what an earlier process of that name left, then all since the environment began."""
        ledger = self.ledgers.setdefault(name, Ledger())
        subscriber = _Subscriber(self, name, subscription, ledger, self._faults)
        self._subscribers[name] = subscriber
        subscriber.queue += self._orphans.pop(name, [])
        ledger.undelivered -= sum(len(batch.events) for batch in subscriber.queue)
        for event in self._early:
            subscriber.add(event)
        subscriber.pump()

    def is_subscribed(self, name: str) -> bool:
        return name in self._subscribers

    def reset(self) -> None:
        """The processes have gone; what they were not given waits for others of the same name."""
        for name, subscriber in self._subscribers.items():
            left = subscriber.close()
            self._orphans.setdefault(name, []).extend(left)
            self.ledgers[name].undelivered += sum(len(batch.events) for batch in left)
        self._subscribers.clear()

    def flush(self) -> None:
        """Cut every batch now: the runtime has ended, its streams are closed (AWS docs)."""
        for subscriber in self._subscribers.values():
            subscriber.cut()

    # time

    def freeze(self) -> None:
        self._frozen = True

    def thaw(self) -> None:
        self._frozen = False
        held, self._held = self._held, []
        for call in held:
            call()

    def step_clock(self, milliseconds: int) -> None:
        """The wall clock was set: a report that was due by the old one keeps its delay."""
        self._report_ms += milliseconds

    def call_later(self, seconds: float, call: Callable[[], object]) -> Cancellable:
        """As the loop's; what falls due while everything is frozen happens at the thaw."""
        return self._deliveries.call_later(seconds, lambda: self._held.append(call) if self._frozen else call())

    def post(self, subscription: Subscription, body: bytes, done: Callable[[bool], object]) -> None:
        """Now, or at the thaw."""
        if self._frozen:
            self._held.append(lambda: self.post(subscription, body, done))
        else:
            self._deliveries.post(subscription, body, done)

    def encode(self, event: _Event, schema: str) -> str:
        return event.encode(schema, self._json_format)


@dataclass(eq=False)
class _Batch:
    body: bytes
    events: list[str]  # the stream of each
    changes_places: bool = False


class _Subscriber:
    def __init__(self, source: Source, name: str, subscription: Subscription, ledger: Ledger, faults: Faults) -> None:
        self.queue: list[_Batch] = []
        self._name = name
        self._source = source
        self._subscription = subscription
        self._ledger = ledger
        self._faults = faults
        self._texts: list[str] = []
        self._streams: list[str] = []
        self._bytes = 0
        self._timer: Cancellable | None = None
        self._in_flight = False
        self._closed = False
        self._failures = 0
        self._cut = 0
        self._lost = [0, 0]  # records and bytes since the last platform.logsDropped

    def add(self, event: _Event) -> None:
        """One event, in the words of the API that was subscribed to."""
        if self._subscription.schema in LOGS_SCHEMAS:
            for kind, record in legacy.events(event.kind, event.record, self._subscription.schema):
                self._add(_Event(event.stream, kind, event.time, record))
        else:
            self._add(event)

    def _add(self, event: _Event) -> None:
        if event.stream not in self._subscription.types or "telemetry-silent" in self._faults:
            return
        text = self._source.encode(event, self._subscription.schema)
        if len(self.queue) >= QUEUE and event.kind != "platform.logsDropped":
            self._lost[0] += 1
            self._lost[1] += len(text.encode("utf-8", "replace"))
            self._ledger.dropped += 1
            return
        self._texts.append(text)
        self._streams.append(event.stream)
        self._bytes += len(text) + 1
        if len(self._texts) >= self._subscription.max_items or self._bytes >= self._subscription.max_bytes:
            self.cut()
        elif self._timer is None:
            self._timer = self._source.call_later(self._subscription.timeout_ms / 1000, self.cut)

    def cut(self) -> None:
        """Close the batch that is being filled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._texts and not self._closed:
            self._cut += 1
            body = f"[{','.join(self._texts)}]".encode("utf-8", "replace")
            if self._faults.every("telemetry-truncated", self._cut):
                body = body[:-7]
            changes_places = self._faults.every("telemetry-reordered", self._cut)
            self.queue.append(_Batch(body, self._streams, changes_places))
            self._texts, self._streams, self._bytes = [], [], 0
        self.pump()

    def pump(self) -> None:
        """Post the oldest batch, unless one is on its way."""
        if self._in_flight or self._closed or not self.queue:
            return
        if self.queue[0].changes_places and not self._change_places():
            return
        self._in_flight = True
        batch = self.queue[0]
        delay = self._faults.value("telemetry-slow", "ms") / 1000
        if delay:
            self._source.call_later(delay, lambda: self._post(batch))
        else:
            self._post(batch)

    def _change_places(self) -> bool:
        """A fault: the oldest batch waits, a second at most, for the one behind it to go first."""
        oldest = self.queue[0]
        if len(self.queue) > 1:
            oldest.changes_places = False
            self.queue[:2] = [self.queue[1], oldest]
            return True

        def give_up() -> None:
            oldest.changes_places = False
            self.pump()

        self._source.call_later(1.0, give_up)
        return False

    def _post(self, batch: _Batch) -> None:
        self._ledger.posts += 1
        self._source.post(self._subscription, batch.body, lambda taken: self._posted(batch, taken))

    def _posted(self, batch: _Batch, taken: bool) -> None:
        self._in_flight = False
        self._tell_posted(batch, taken)
        if self._closed:
            return
        if not taken:
            self._failures += 1
            wait = min(_BACK_OFF[0] * 2 ** min(self._failures - 1, 10), _BACK_OFF[1])
            self._source.call_later(wait, self.pump)
            return
        self._failures = 0
        self.queue.remove(batch)
        self._count(batch)
        if self._faults.every("telemetry-duplicated", self._ledger.batches):
            self._ledger.posts += 1
            self._in_flight = True
            self._source.post(self._subscription, batch.body, lambda taken: self._again_posted(batch, taken))
            return
        self._tell_lost()
        self.pump()

    def _again_posted(self, batch: _Batch, taken: bool) -> None:
        self._in_flight = False
        self._tell_posted(batch, taken)
        self.pump()

    def _tell_posted(self, batch: _Batch, taken: bool) -> None:
        if self._source.tell is not None:
            self._source.tell(
                "telemetry_batch", party=self._name, events=len(batch.events), bytes=len(batch.body), taken=taken
            )

    def _count(self, batch: _Batch) -> None:
        self._ledger.batches += 1
        self._ledger.sent_bytes += len(batch.body)
        self._ledger.largest = max(self._ledger.largest, len(batch.body))
        for stream in batch.events:
            self._ledger.sent[stream] = self._ledger.sent.get(stream, 0) + 1

    def _tell_lost(self) -> None:
        if not self._lost[0]:
            return
        (records, size), self._lost = self._lost, [0, 0]
        record = {"droppedBytes": size, "droppedRecords": records, "reason": "Consumer seems to have fallen behind"}
        self._source.emit("platform.logsDropped", record)

    def close(self) -> list[_Batch]:
        """No more of it; what was not taken."""
        self.cut()
        self._closed = True
        return self.queue


def _as_object(line: Any) -> Any:
    """The object that a line in JSON is; any other line as it is."""
    if not isinstance(line, str) or not line.lstrip().startswith("{"):
        return line
    try:
        value = json.loads(line)
    except ValueError:
        return line
    return value if isinstance(value, dict) else line
