"""What every sender shares: parcels, attempts, retry with full jitter, Retry-After, a breaker, deadlines, and a true account.

A plug-in puts what it was handed into `Parcel`s, in order, and gives them to a `Delivery` together with a function that makes
one exchange with the destination and says what has become of each item (a `Verdict`). `Delivery.deliver`, called from the
plug-in's ``flush``, sends for as long as the deadline allows and never longer: an exchange that hangs (a name server, say,
which nothing can interrupt) is left to itself on a thread of its own, and its verdict is taken at the next flush. What is not
delivered stays in order, so that the plug-in can tell the kit exactly how many records it still answers for.
"""

from __future__ import annotations

import _thread
from posix import urandom

from extension_kit.events import Flushed
from extension_kit.io import environ
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from extension_kit.io.clock import Clock
    from extension_kit.protocol.deadline import Deadline

__all__ = ["Breaker", "Delivery", "Limits", "Parcel", "Verdict", "retry_after_ms"]

DELIVERED = "delivered"
AGAIN = "again"  # nothing of it, and another try may help
REFUSED = "refused"  # nothing of it, and no other try will help
TOO_LARGE = "too large"  # nothing of it; halves may do

_LEAST_S = 0.03  # seconds: an exchange is not begun with less
_RETURN_S = (
    0.05  # seconds kept of a deadline for coming back: a flush that overruns it counts as a failure of the plug-in
)
_LATE_S = 0.2  # seconds that one which should be over is waited for, before it is ended and after


class Limits(Value):
    """``attempts`` in one flush, the first included; ``timeout_ms`` of one; ``base_ms``, ``cap_ms``: of the waits between them;
    ``failures`` in a row that open the breaker.
    """

    __slots__ = ("attempts", "base_ms", "cap_ms", "failures", "timeout_ms")

    attempts: int
    timeout_ms: int
    base_ms: int
    cap_ms: int
    failures: int

    def __init__(
        self, attempts: int = 3, timeout_ms: int = 5_000, base_ms: int = 100, cap_ms: int = 5_000, failures: int = 4
    ) -> None:
        for name, value in locals().copy().items():
            if name != "self":
                set_field(self, name, value)


class Verdict(Value):
    """What has become of the items of one exchange.

    ``kind``: `DELIVERED` (all but those named in ``again`` and ``lost``), `AGAIN`, `REFUSED` or `TOO_LARGE`, each of all of
    them. ``again``: indexes of items that are to be sent again; ``lost``: reason: indexes of those that never will be taken.
    ``why``: for a log line; ``reason``: the same in the few words of an account. ``retry_after_ms``: what the destination has
    asked for, None where it has not.
    """

    __slots__ = ("again", "kind", "lost", "reason", "retry_after_ms", "why")

    kind: str
    why: str
    reason: str
    retry_after_ms: int | None
    again: Sequence[int]
    lost: Mapping[str, Sequence[int]]

    def __init__(
        self,
        kind: str,
        why: str = "",
        retry_after_ms: int | None = None,
        again: Sequence[int] = (),
        lost: Mapping[str, Sequence[int]] | None = None,
        reason: str = REFUSED,
    ) -> None:
        set_field(self, "kind", kind)
        set_field(self, "why", why)
        set_field(self, "retry_after_ms", retry_after_ms)
        set_field(self, "reason", reason)
        set_field(self, "again", tuple(again))
        set_field(self, "lost", dict(lost or {}))


class Parcel:
    """A run of records, in the order in which they were handed over, and what is to be sent of them.

    ``records``: how many it covers; ``items``: what is sent; ``weights``: how many records each item stands for (None: one);
    ``outcomes``: what has become of records that are in no item, e.g. ``filtered``.
    """

    __slots__ = ("items", "outcomes", "portions", "records", "weights")

    def __init__(
        self, records: int, items: list[Any], outcomes: dict[str, int] | None = None, weights: list[int] | None = None
    ) -> None:
        self.records = records
        self.items = items
        self.weights = weights
        self.outcomes = outcomes if outcomes is not None else {}
        #: indexes of items that are still to be delivered, in the groups in which they are sent
        self.portions: list[Sequence[int]] = [range(len(items))] if items else []

    def give_up(self, indexes: Sequence[int], outcome: str) -> None:
        """These items will not be delivered; what has become of them instead."""
        weight = len(indexes) if self.weights is None else sum(self.weights[index] for index in indexes)
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + weight

    def left(self) -> list[Any]:
        """The items that are still to be delivered."""
        return [self.items[index] for portion in self.portions for index in portion]


class Breaker:
    """Open after some failures in a row: then nothing is tried for a while, ever longer, and one try decides how it goes on.

    It is open as well for as long as the destination has asked for, whatever came before; for five minutes at most, since who
    asks for a day would have everything lost that does not fit into the spool meanwhile.
    """

    __slots__ = ("_asked_until_ms", "_failures", "_limit", "open_until_ms")

    _PAUSES_MS = (1_000, 60_000)
    _MOST_ASKED_MS = 300_000

    def __init__(self, failures: int) -> None:
        self._limit = failures
        self._failures = 0
        self._asked_until_ms = 0
        self.open_until_ms = 0

    @property
    def half_open(self) -> bool:
        return self._failures >= self._limit

    def allows(self, now_ms: int) -> bool:
        # A clock that was stepped back must not close a door for hours.
        asked = 0 < self._asked_until_ms - now_ms <= self._MOST_ASKED_MS
        failing = self.half_open and 0 < self.open_until_ms - now_ms <= self._PAUSES_MS[1]
        return not asked and not failing

    def succeeded(self, now_ms: int, pause_ms: int | None) -> None:
        """``pause_ms``: what the destination has asked for all the same; it may have taken some and not the rest."""
        self._failures = self.open_until_ms = 0
        self._asked(now_ms, pause_ms)

    def failed(self, now_ms: int, pause_ms: int | None) -> None:
        """``pause_ms``: what the destination has asked for."""
        self._failures += 1
        first, longest = self._PAUSES_MS
        self.open_until_ms = now_ms + min(first << min(max(0, self._failures - self._limit), 10), longest)
        self._asked(now_ms, pause_ms)

    def _asked(self, now_ms: int, pause_ms: int | None) -> None:
        self._asked_until_ms = now_ms + min(pause_ms or 0, self._MOST_ASKED_MS)


class Delivery:
    """The parcels of one destination. Used by one thread at a time.

    ``send(items, seconds)`` makes one exchange and must not raise but for what the network does (OSError). ``bury(items,
    reason)`` is given what will never be taken; it returns whether it has kept it, which is then called dead-lettered.
    ``abort()`` ends an exchange that goes on for too long. ``say(text)`` is told of trouble when it begins and when it is over;
    ``count(name, n)`` of attempts and retries. ``draw()``: a number from 0 up to 1, for the jitter.
    """

    def __init__(
        self,
        send: Callable[[list[Any], float], Verdict],
        clock: Clock,
        *,
        limits: Limits | None = None,
        say: Callable[[str], object] = lambda _text: None,
        bury: Callable[[list[Any], str], bool] | None = None,
        abort: Callable[[], object] = lambda: None,
        count: Callable[[str, int], object] = lambda _name, _n: None,
        draw: Callable[[], float] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.breaker = Breaker(self.limits.failures)
        self.outcomes: dict[str, int] = {}
        self._send = send
        if environ.get("CHAOS_ENABLED"):
            from extension_kit import chaos

            self._send = chaos.sending(send, clock) if chaos.enabled() else send
        self._clock = clock
        self._say = say
        self._bury = bury
        self._abort = abort
        self._count = count
        self._draw = draw or _random
        self._queue: list[Parcel] = []
        self._aside = _Aside()
        self._sent: tuple[Parcel, Sequence[int]] | None = None  # what the exchange that goes on aside is about
        self._trouble = ""

    def add(self, parcel: Parcel) -> None:
        self._queue.append(parcel)

    @property
    def parcels(self) -> int:
        return len(self._queue)

    @property
    def pending(self) -> int:
        """Records of the parcels that are not done with."""
        return sum(parcel.records for parcel in self._queue)

    def flushed(self, waiting: int = 0) -> Flushed:
        """What a plug-in's ``flush`` returns; ``waiting``: records that are in no parcel yet."""
        return Flushed(self.pending + waiting, self.outcomes)

    def deliver(self, deadline: Deadline) -> bool:
        """Send until `deadline`; whether nothing is left. False also where the destination is to be let be for a while."""
        attempts = 0
        last_chance = deadline.reason.startswith("shutdown")  # then whatever the deadline allows is tried
        if self._sent is not None and not self._take_late_verdict(deadline):
            return False
        self._settle()
        while self._queue:
            now_ms = self._clock.wall_ms()
            if not last_chance and not self.breaker.allows(now_ms):
                return False
            seconds = min(self.limits.timeout_ms / 1000, deadline.remaining_ms() / 1000 - _RETURN_S)
            if seconds < _LEAST_S:
                return False
            parcel = next(parcel for parcel in self._queue if parcel.portions)
            attempts += 1
            verdict = self._exchange(parcel, seconds)
            if verdict is None:
                return False
            if self._judge(parcel, parcel.portions.pop(0), verdict):
                attempts = 0
            elif (attempts >= self.limits.attempts and not last_chance) or not self._pause(attempts, verdict, deadline):
                return False
            self._settle()
        return True

    def give_up(self, outcome_of: Callable[[list[Any]], str], in_flight: bool = False) -> None:
        """Nothing more will be tried: what is left becomes what `outcome_of` the items says; "" leaves it pending.

        ``in_flight``: also what an exchange that has not ended is about, which may have arrived.
        """
        if in_flight:
            self._sent = None
        for parcel in self._queue:
            if self._sent is not None and self._sent[0] is parcel:
                continue
            if items := parcel.left():
                outcome = outcome_of(items)
                if outcome:
                    for portion in parcel.portions:
                        parcel.give_up(portion, outcome)
                    parcel.portions = []
        self._settle()

    # one exchange

    def _exchange(self, parcel: Parcel, seconds: float) -> Verdict | None:
        """None where it has not ended in time; then it goes on aside."""
        portion = parcel.portions[0]
        items = parcel.items if len(portion) == len(parcel.items) else [parcel.items[index] for index in portion]
        self._count("attempts", 1)
        if self._aside.run(lambda: self._send(items, seconds), seconds + _LEAST_S / 2):
            return self._aside.verdict()
        self._sent = (parcel, portion)
        self.breaker.failed(self._clock.wall_ms(), None)
        self._tell(f"no end of an exchange after {seconds:.1f} s")
        return None

    def _take_late_verdict(self, deadline: Deadline) -> bool:
        """Whether the exchange that went on aside has ended; what it says counts."""
        assert self._sent is not None
        seconds = deadline.remaining_ms() / 1000
        if not self._aside.wait(min(seconds / 2, _LATE_S)):
            self._abort()
            if not self._aside.wait(min(seconds / 2, _LATE_S)):
                return False
        (parcel, portion), self._sent = self._sent, None
        parcel.portions.remove(portion)
        self._judge(parcel, portion, self._aside.verdict())
        return True

    def _judge(self, parcel: Parcel, portion: Sequence[int], verdict: Verdict) -> bool:
        """Enter what has become of each item; whether the destination is there and takes things."""
        now_ms = self._clock.wall_ms()
        if verdict.kind == AGAIN or (portion and len(verdict.again) == len(portion)):
            parcel.portions.insert(0, portion)
            self.breaker.failed(now_ms, verdict.retry_after_ms)
            self._tell(verdict.why)
            return False
        if verdict.kind == TOO_LARGE and len(portion) > 1:
            half = len(portion) // 2
            parcel.portions[:0] = [portion[:half], portion[half:]]
            return True
        if verdict.kind != DELIVERED:
            self._lose(parcel, portion, verdict.reason if verdict.kind == REFUSED else TOO_LARGE)
            self._tell(verdict.why)
        else:
            for reason, indexes in verdict.lost.items():
                self._lose(parcel, [portion[index] for index in indexes], reason)
                self._tell(reason)
            if not verdict.lost and not verdict.again:
                self._tell("")
        self.breaker.succeeded(now_ms, verdict.retry_after_ms)
        if verdict.again:
            parcel.portions.insert(0, [portion[index] for index in verdict.again])
            self._tell(verdict.why)
            return False
        return True

    def _lose(self, parcel: Parcel, indexes: Sequence[int], reason: str) -> None:
        kept = self._bury is not None and self._bury([parcel.items[index] for index in indexes], reason)
        parcel.give_up(indexes, "dead-lettered" if kept else f"dropped: {reason}")

    def _pause(self, attempts: int, verdict: Verdict, deadline: Deadline) -> bool:
        """Wait before the next try (full jitter); whether there is time for it."""
        most = min(self.limits.cap_ms, self.limits.base_ms << min(attempts - 1, 16))
        wait_ms = max(int(self._draw() * most), verdict.retry_after_ms or 0)
        if wait_ms + (_LEAST_S + _RETURN_S) * 1000 >= deadline.remaining_ms():
            return False
        self._count("retries", 1)
        self._clock.sleep(wait_ms / 1000)
        return True

    def _settle(self) -> None:
        """Let go of the parcels that are done with, the oldest first: the kit counts what is pending from the newest."""
        while self._queue and not self._queue[0].portions:
            for outcome, records in self._queue.pop(0).outcomes.items():
                self.outcomes[outcome] = self.outcomes.get(outcome, 0) + records

    def _tell(self, trouble: str) -> None:
        """Say what is wrong when it begins, when it changes, and when it is over; not at every attempt."""
        if trouble != self._trouble:
            self._say(trouble or f"delivers again, after: {self._trouble}")
            self._trouble = trouble


class _Aside:
    """One call at a time, on a thread of its own, which may go on when nobody waits for it any more."""

    def __init__(self) -> None:
        self._go: _thread.LockType | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self._call: Callable[[], Verdict] | None = None
        self._result: Verdict | BaseException | None = None

    def run(self, call: Callable[[], Verdict], seconds: float) -> bool:
        """Begin `call` and wait for its end; whether it has ended within `seconds`."""
        self._call = call
        if self._go is None:
            go = _thread.allocate_lock()
            go.acquire()
            try:
                _thread.start_new_thread(self._serve, (go,))
            except RuntimeError as error:  # no thread can be had
                self._result = OSError(str(error))
                return True
            self._go = go
        self._go.release()
        return self.wait(seconds)

    def wait(self, seconds: float) -> bool:
        return self._done.acquire(timeout=max(0.0, seconds))

    def verdict(self) -> Verdict:
        """Of the call that has ended."""
        result, self._result = self._result, None
        if isinstance(result, Verdict):
            return result
        if isinstance(result, OSError):
            return Verdict(AGAIN, str(result) or type(result).__name__)
        if isinstance(result, MemoryError):  # no fault of the lines: there may be more when the function has ended
            return Verdict(AGAIN, "not enough memory for a request")
        return Verdict(REFUSED, f"internal error: {type(result).__name__}: {result}"[:200], reason="internal error")

    def _serve(self, go: _thread.LockType) -> None:
        while True:
            go.acquire()
            call = self._call
            assert call is not None
            try:
                self._result = call()
            except BaseException as error:  # noqa: BLE001 - whatever a sender does is judged, not died of
                self._result = error
            del call
            self._call = None
            self._done.release()


def retry_after_ms(written: str, now_ms: int) -> int | None:
    """What a ``Retry-After`` asks for: seconds, or a date (RFC 9110, 10.2.3); None for anything else. At most a day."""
    written = written.strip()
    if written.isascii() and written.isdigit() and len(written) < 10:
        return min(int(written) * 1000, 86_400_000)
    from email.utils import parsedate_to_datetime

    try:
        at_ms = int(parsedate_to_datetime(written).timestamp() * 1000)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0, at_ms - now_ms), 86_400_000)


def _random() -> float:
    """From 0 up to 1, without the module ``random``, which imports ``hashlib``."""
    return int.from_bytes(urandom(4), "big") / 2**32
