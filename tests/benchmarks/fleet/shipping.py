"""Environments with the log shipper: the real flusher and flush policy, the real delivery with its retries and breaker.

What is replaced: hooks run at once instead of on a thread, telemetry comes from a list instead of a listener, the spool counts
instead of keeping bytes, and an exchange takes time on the environment's own clock.

Aggregated: environments touch each other through the sink only, so a few hundred stand for all, their phases spread evenly;
each counts for as many as it stands for. Lines of one post of the platform are one item that weighs as many records.
"""

from __future__ import annotations

from heapq import heappop, heappush
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from extension_kit.cursor import Cursor
from extension_kit.delivery import Delivery, Limits, Parcel, Verdict
from extension_kit.flusher import Flusher, pending_of
from extension_kit.runner import _DRAIN_MARGIN_MS
from extension_kit.settings import KitSettings
from extension_kit.spool import _THINNED_AT_A_TIME, FULL, MAX_BATCHES
from extensions.log_shipper.settings import ShipperSettings
from extensions.log_shipper.sinks.generic import GenericSink
from tests.benchmarks.fleet.world import START_MS, OwnClock, Sink

if TYPE_CHECKING:
    from random import Random

    from extension_kit.events import Flushed
    from extension_kit.protocol.deadline import Deadline

#: after so many ms the platform posts what it has (Telemetry API: the least that can be asked for)
_POST_MS = 25
_SHUTDOWN_MS = 2_000  # AWS docs, lifecycle: with an external extension
_PLATFORM = 3  # records of an invocation: start, runtimeDone, report
_PLATFORM_BYTES = 250  # of one
_SPREAD_MS = 60_000.0  # within which environments have begun
ENDED = "the environment has ended"


class Setting:
    """``variables``: what an operator sets, for the kit and for the shipper."""

    def __init__(self, name: str, variables: dict[str, str] | None = None) -> None:
        self.name = name
        self.kit, wrong = KitSettings.parse(variables or {})
        self.shipper, more = ShipperSettings.parse(variables or {})
        assert [*wrong, *more] == []


class Room:
    """The spool's bound, by its rules, in numbers: when it is full the oldest ordinary lines go first, then the newest.

    A batch is ``[records, bytes, ordinary records, ordinary bytes]``; what is not ordinary is protected.
    """

    def __init__(self, cursor: Cursor, most_bytes: int) -> None:
        self.batches: dict[int, list[int]] = {}
        self.next = 1
        self.used = 0
        self.highest = 0
        self.cursor = cursor
        cursor.seq = cursor.next_seq = 1
        self._most = most_bytes
        self._thinned = 0

    def store(self, records: int, size: int, ordinary: int, ordinary_size: int) -> None:
        batch = [records, size, ordinary, ordinary_size]
        seq, self.next = self.next, self.next + 1
        if not self._fits(size):
            self._make_room(size)
        if not self._fits(size):
            self._thin(batch)
            if batch[1] and self.used + batch[1] > self._most:
                self.cursor.drop(FULL, batch[0], batch[1])
                batch[1] = 0
        if batch[1]:
            self.batches[seq] = batch
            self.used += batch[1]
            self.highest = max(self.highest, self.used)

    def release(self) -> None:
        """What is acknowledged is let go of."""
        while self.batches and (seq := next(iter(self.batches))) < self.cursor.seq:
            self.used -= self.batches.pop(seq)[1]

    def _fits(self, size: int) -> bool:
        return len(self.batches) < MAX_BATCHES and self.used + size <= self._most - self._most // 16

    def _make_room(self, length: int) -> None:
        more, most = _THINNED_AT_A_TIME
        size = 4 * length + more
        for _ in range(most):
            if size <= 0 or self._fits(length):
                break
            seq = next((one for one in range(self._first_to_thin(), self.next) if self._may_go(one)), 0)
            if not seq:
                break
            self._thinned = seq
            batch = self.batches[seq]
            size -= batch[1]
            self.used -= batch[1]
            self._thin(batch)
            self.used += batch[1]
            if not batch[1]:
                del self.batches[seq]

    def _first_to_thin(self) -> int:
        return max(next(iter(self.batches), self.next), self._thinned + 1, self.cursor.next_seq)

    def _may_go(self, seq: int) -> bool:
        return seq in self.batches and self.cursor.untouched(seq)

    def _thin(self, batch: list[int]) -> None:
        self.cursor.drop(FULL, batch[2], batch[3])
        batch[0] -= batch[2]
        batch[1] = batch[1] - batch[3] if batch[0] else 0
        batch[2] = batch[3] = 0


class Telemetry:
    """What `Flusher` asks of `extension_kit.telemetry.Telemetry`, fed from a list of posts to come."""

    def __init__(self, hosted: Hosted, setting: Setting, clock: OwnClock) -> None:
        self.hears = True
        self.received = 0
        self.cursor = Cursor("log-shipper", ("platform", "function"))
        self.consumers = [SimpleNamespace(hosted=hosted, cursor=self.cursor)]
        self.stream: Any = _Stream()
        self.spool: Any = SimpleNamespace(malformed=0, commit=lambda: None)
        self.room = Room(self.cursor, setting.kit.spool_max_bytes)
        self.coming: list[tuple[float, tuple[int, int, int, int], str, str]] = []  # when, batch, what it tells of whom
        self.held: list[list[int]] = []  # batches that the shipper was handed
        self.most_held = 0
        self._clock = clock
        self._most_held = setting.kit.spool_memory_bytes
        self._told: list[tuple[str, str]] = []

    def expect(self, at_ms: float, batch: tuple[int, int, int, int], kind: str, request_id: str) -> None:
        heappush(self.coming, (at_ms, batch, kind, request_id))

    @property
    def behind(self) -> bool:
        self._receive()
        return bool(self._told)

    def wait(self, seconds: float) -> bool:
        if self.behind:
            return True
        until = self._clock.now + max(0.0, seconds) * 1000
        if self.coming and self.coming[0][0] <= until:
            self._clock.now = max(self._clock.now, self.coming[0][0])
            self._receive()
            return True
        self._clock.now = until
        return False

    def _receive(self) -> None:
        while self.coming and self.coming[0][0] <= self._clock.now:
            _, batch, kind, request_id = heappop(self.coming)
            self.room.store(*batch)
            self.received += 1
            self._told.append((kind, request_id))

    def pump(self, _on_done: object = None) -> None:
        self._receive()
        for kind, request_id in self._told:
            self.stream.tell(kind, request_id)
        self._told = []
        self._hand_over()

    def _hand_over(self) -> None:
        cursor, room = self.cursor, self.room
        while cursor.next_seq < room.next and cursor.held_bytes < self._most_held:
            batch = room.batches.get(cursor.next_seq)
            records, size = (batch[0], batch[1]) if batch is not None else (0, 0)
            cursor.hand(cursor.next_seq, 0, records, size, True)
            if batch is not None:
                self.held.append(batch)
        self.most_held = max(self.most_held, cursor.held_bytes)

    def is_pending(self, _consumer: object) -> bool:
        return self.cursor.held > 0 or self.cursor.next_seq < self.room.next

    def settle(self, consumer: Any) -> None:
        result = consumer.hosted.result
        self.cursor.acknowledge(pending_of(result), getattr(result, "outcomes", None))
        self.room.release()


class _Stream:
    """What is known of the last invocation."""

    def __init__(self) -> None:
        self.started: set[str] = set()
        self.ended: set[str] = set()
        self.reported: set[str] = set()
        self.last_done: Any = None
        self.duration_ms = 0.0

    def invoked(self, request_id: str) -> None:
        """Those before it are of no interest any more."""
        for known in (self.started, self.ended, self.reported):
            known.intersection_update((request_id,))

    def tell(self, kind: str, request_id: str) -> None:
        if kind == "start":
            self.started.add(request_id)
        elif kind == "done":
            self.ended.add(request_id)
            self.last_done = SimpleNamespace(duration_ms=self.duration_ms)
        else:
            self.reported.add(request_id)


class Hosted:
    """A plug-in whose hooks run at once, on the environment's clock."""

    def __init__(self, environment: Environment) -> None:
        self.hooks = {"flush": environment.flush}
        self.context = SimpleNamespace(urgent=False)
        self.busy = False
        self.result: Any = None

    def has(self, hook: str) -> bool:
        return hook in self.hooks

    def begin(self, _hook: str, reason: str, deadline: Deadline) -> bool:
        self.result = self.hooks["flush"](reason, deadline)
        return True

    def finish(self, _hook: str, _began: float, _seconds: float) -> bool:
        return True


class _AtOnce:
    """Instead of a thread for an exchange: it is over when it was begun, and its time has passed on the environment's clock."""

    def __init__(self) -> None:
        self._result: Verdict | None = None

    def run(self, call: Any, _seconds: float) -> bool:
        self._result = call()
        return True

    def verdict(self) -> Verdict | None:
        return self._result


class Environment:
    """One, which stands for ``weight`` of them."""

    def __init__(self, fleet: ShipFleet, phase_ms: float, weight: int) -> None:
        self.fleet = fleet
        self.weight = weight
        self.clock = OwnClock()
        self.next = START_MS + phase_ms  # when it is invoked
        self.ticks = 0
        self.lives = 0
        self.recovered_ms = 0.0
        self._backlog = 0  # the first batch that came after the bad time
        self.delivery: Delivery = None  # type: ignore[assignment]
        self._begin()

    def _begin(self) -> None:
        setting = self.fleet.setting
        self.hosted = Hosted(self)
        self.telemetry = Telemetry(self.hosted, setting, self.clock)
        self.flusher = Flusher([self.hosted], self.telemetry, setting.kit, self.clock)  # type: ignore[list-item, arg-type]
        limits = Limits(attempts=setting.shipper.attempts, timeout_ms=setting.shipper.timeout)
        self.delivery = Delivery(self._send, self.clock, limits=limits, draw=self.fleet.random.random)
        self.delivery._aside = _AtOnce()  # type: ignore[assignment]
        self.lives += 1

    def _send(self, items: list[int], seconds: float) -> Verdict:
        return self.fleet.sink.send(items, seconds, self.clock, self.weight)

    # what `Shipper.flush` and `Shipper._pack` do, without lines

    def flush(self, _reason: str, deadline: Deadline) -> Flushed:
        while not deadline.expired:
            if not self.delivery.parcels and not self._pack():
                break
            if not self.delivery.deliver(deadline):
                break
        return self.delivery.flushed(sum(batch[0] for batch in self.telemetry.held))

    def _pack(self) -> bool:
        held, sizes = self.telemetry.held, [0, 0]
        items: list[int] = []
        while held and sizes[0] < GenericSink.usual_lines and sizes[1] < GenericSink.most_bytes:
            records, size = held.pop(0)[:2]
            items.append(records)
            sizes = [sizes[0] + records, sizes[1] + size]
        if items:
            self.delivery.add(Parcel(sizes[0], items, weights=items))
        return bool(items)

    # an invocation

    def invoke(self) -> float:
        """From INVOKE until the environment may freeze; when the next one comes, epoch ms."""
        fleet, clock = self.fleet, self.clock
        load = fleet.load
        clock.now = began = self.next
        request_id, ends = str(self.ticks), began + load.duration_ms
        before = 1 if self.ticks else 0  # the report of the last one, which was frozen meanwhile
        platform = (1 + before, (1 + before) * _PLATFORM_BYTES, 0, 0)
        self.telemetry.expect(began + _POST_MS, platform, "start", request_id)
        size = load.lines * load.line_bytes
        batch = (load.lines + 1, size + _PLATFORM_BYTES, load.lines, size)
        self.telemetry.expect(ends + _POST_MS, batch, "done", request_id)
        self.telemetry.stream.duration_ms = load.duration_ms
        fleet.produced += (load.lines + 2 + before) * self.weight
        deadline_ms = int(began) + load.timeout_ms
        self.flusher.invoked(SimpleNamespace(request_id=request_id, deadline_ms=deadline_ms))  # type: ignore[arg-type]
        fleet.note_billed(began, max(0.0, clock.now - ends), self.weight)
        clock.now = max(clock.now, ends)
        self._note_recovery()
        self.ticks += 1
        self.next = max(clock.now, began + load.gap_ms * fleet.random.uniform(0.8, 1.2))
        return self.next

    def _note_recovery(self) -> None:
        """Over is the bad time for an environment with the last batch that came before its end."""
        if self.recovered_ms or self.clock.now < self.fleet.sink.bad[1]:
            return
        self._backlog = self._backlog or self.telemetry.room.next
        if self.telemetry.cursor.seq >= self._backlog:
            self.recovered_ms = self.clock.now

    def shut_down(self) -> None:
        """SHUTDOWN, and a new environment in the place of this one."""
        clock = self.clock
        self.telemetry.expect(clock.now + _POST_MS, (1, _PLATFORM_BYTES, 0, 0), "report", str(self.ticks - 1))
        self.fleet.produced += self.weight
        self.flusher._last_request = str(self.ticks - 1)
        self.flusher.drain(int(clock.now) + _SHUTDOWN_MS - _DRAIN_MARGIN_MS)
        clock.now += _SHUTDOWN_MS
        self.telemetry.pump()
        self.account(final=True)
        self.next = max(self.next, clock.now)
        self.ticks = 0
        self._backlog = 0
        self._begin()

    def account(self, *, final: bool) -> None:
        """What has become of all that was produced in this life."""
        fleet, telemetry = self.fleet, self.telemetry
        pending = telemetry.cursor.held + sum(
            batch[0] for seq, batch in telemetry.room.batches.items() if seq >= telemetry.cursor.next_seq
        )
        pending += sum(batch[0] for _, batch, _, _ in telemetry.coming)
        for reason, (records, _size) in telemetry.cursor.dropped.items():
            fleet.drop(reason, records * self.weight)
        for outcome, records in self.delivery.outcomes.items():
            fleet.drop(outcome.removeprefix("dropped: "), records * self.weight)
        if final:
            fleet.drop(ENDED, pending * self.weight)
        else:
            fleet.pending += pending * self.weight
        fleet.most_held = max(fleet.most_held, telemetry.most_held)
        fleet.most_spooled = max(fleet.most_spooled, telemetry.room.highest)


class Load:
    """What the function does: an invocation every ``gap_ms``, a fifth sooner or later, which takes ``duration_ms`` and writes
    ``lines`` of ``line_bytes``.
    """

    def __init__(
        self, gap_ms: float, duration_ms: float, lines: int, line_bytes: int, timeout_ms: int = 30_000
    ) -> None:
        self.gap_ms = gap_ms
        self.duration_ms = duration_ms
        self.lines = lines
        self.line_bytes = line_bytes
        self.timeout_ms = timeout_ms


class ShipFleet:
    """``number`` environments, of which ``run`` drives at most ``most``. ``lives_ms``: as in `CacheFleet`."""

    def __init__(
        self, setting: Setting, sink: Sink, load: Load, random: Random, number: int, *, most: int, lives_ms: float = 0.0
    ) -> None:
        self.setting = setting
        self.sink = sink
        self.load = load
        self.random = random
        self.lives_ms = lives_ms
        self.produced = self.pending = self.most_held = self.most_spooled = 0
        self.dropped: dict[str, int] = {}
        self.billed = {False: [0.0, 0], True: [0.0, 0]}  # during the bad time or not: ms, invocations
        driven = min(number, most)
        spread_ms = max(load.gap_ms, _SPREAD_MS)
        self.environments = [
            Environment(self, (at + random.random()) * spread_ms / driven, number // driven + (at < number % driven))
            for at in range(driven)
        ]

    def run(self, until_ms: float) -> None:
        """In the order in which invocations begin; what an environment does in one of them happens at once for the others."""
        events: list[tuple[float, int]] = [(one.next, at) for at, one in enumerate(self.environments)]
        events.sort()
        # Ends of lives are spread as if the fleet had been there for long.
        ends = [START_MS + self.lives_ms * (at + 1) / len(events) for at in range(len(events))]
        self.random.shuffle(ends)
        while events and events[0][0] < until_ms:
            now, at = heappop(events)
            environment = self.environments[at]
            if self.lives_ms and now >= ends[at] and environment.ticks:
                environment.shut_down()
                ends[at] += self.lives_ms
            heappush(events, (environment.invoke(), at))
        for environment in self.environments:
            environment.account(final=False)

    def drop(self, reason: str, records: int) -> None:
        if records:
            self.dropped[reason] = self.dropped.get(reason, 0) + records

    def note_billed(self, began: float, ms: float, weight: int) -> None:
        entry = self.billed[self.sink.bad[0] <= began < self.sink.bad[1]]
        entry[0] += ms * weight
        entry[1] += weight

    @property
    def recovered_ms(self) -> float | None:
        """When the last environment had nothing left of the bad time; None where one still has."""
        times = [one.recovered_ms for one in self.environments]
        return max(times) if all(times) else None
