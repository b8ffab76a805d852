"""Carries out what the flush policy decides: for an invocation, for Managed Instances, and when the environment ends.

It stands between an event and the next ``next``. While it works nothing is in flight that a freeze could cut: the hooks that it
calls have ended, or were left to themselves after their deadline, when it returns.
"""

from __future__ import annotations

from extension_kit.flush import FLUSH, HISTORY, NEXT, WAIT, Policy, Situation, Turns, decide
from extension_kit.protocol.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extension_kit.events import Invoke
    from extension_kit.flush import Decision
    from extension_kit.host import Hosted
    from extension_kit.io.clock import Clock
    from extension_kit.records import Record
    from extension_kit.settings import KitSettings
    from extension_kit.telemetry import Telemetry

__all__ = ["Flusher"]


_GIVE_WAY_MS = 20
_QUIET_S = 0.1  # longer than a batch waits in the platform's buffer


class Flusher:
    """``telemetry`` may be None: then a plug-in's ``flush`` is called beside the next invocation, and at SHUTDOWN.

    ``tell``: is given a line at the end of each flush, if the level of ``settings`` is debug.
    """

    def __init__(
        self,
        hosted: list[Hosted],
        telemetry: Telemetry | None,
        settings: KitSettings,
        clock: Clock,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self.telemetry = telemetry
        self._last_request = ""
        self._hosted = hosted
        self._is_managed = False
        self._clock = clock
        self._policy = Policy.parse(settings.flush)
        self._margin_ms = settings.flush_margin_ms
        self._flushing = {one: Turns() for one in hosted if "flush" in one.hooks}
        if tell is not None and settings.log_level == "debug":
            for one in self._flushing:
                one.hooks["flush"] = _told(one, tell)
        for one in self._flushing:
            one.judge = judged
        self._consumers = {one.hosted: one for one in telemetry.consumers} if telemetry is not None else {}
        self._wants_end = any("on_runtime_done" in one.hooks for one in hosted)
        self._starts: list[int] = []
        self._durations: list[int] = []
        self._flushed_ms = 0
        self._waits = False  # in the invocation before this one the end was waited for
        # Plug-ins for which something has happened since their last flush that telemetry does not tell.
        self._dirty: set[Hosted] = set()
        self._heard_at_miss = -1  # batches that had come when an end was last waited for in vain

    # an invocation

    def invoked(self, event: Invoke) -> None:
        """From INVOKE until nothing stands against asking for the next event."""
        began_ms = self._clock.wall_ms()
        self._last_request = event.request_id
        if self.telemetry is not None and self.telemetry.stream is not None:
            self.telemetry.stream.invoked(event.request_id)
        self._starts = [*self._starts, began_ms][-HISTORY:]
        if self._waits:
            self._give_way(event.deadline_ms - began_ms)
        self._waits = False
        while True:
            self._pump()
            decision = decide(self._policy, self._situation(event, began_ms))
            if decision.action == NEXT:
                break
            self._waits = self._waits or decision.action == WAIT
            self._carry_out(decision)
        self._note_a_miss(event)
        self._dirty.update(self._flushing)

    def _give_way(self, left_ms: int) -> None:
        """The function is starting on the same core: where there was nothing to do but wait last time, wait first."""
        telemetry = self.telemetry
        if left_ms > 10 * _GIVE_WAY_MS and telemetry is not None and not telemetry.behind:
            telemetry.wait(_GIVE_WAY_MS / 1000)

    def serve(self, over: Callable[[], bool]) -> None:
        """Managed Instances: from the start until ``over()``. Nothing ever freezes, so there is no next to hurry for."""
        self._is_managed = True
        while not over():
            self._pump()
            decision = decide(self._policy, self._situation(None, self._clock.wall_ms()))
            self._carry_out(decision)

    def beside(self, wait_for_event: Callable[[], Any]) -> list[Any]:
        """Wait for an event on a thread of its own; it will be in the list."""
        import _thread

        events: list[Any] = []

        def wait() -> None:
            events.append(wait_for_event())
            self.wake()

        _thread.start_new_thread(wait, ())
        return events

    def wake(self) -> None:
        """End the wait of `serve`, from another thread."""
        if self.telemetry is not None:
            self.telemetry.wake()

    def _carry_out(self, decision: Decision) -> None:
        seconds = (decision.until_ms - self._clock.wall_ms()) / 1000
        if decision.action == FLUSH:
            self.flush(decision.reason, decision.until_ms)
        elif self.telemetry is not None:
            self.telemetry.wait(seconds)
        else:
            self._clock.sleep(max(0.0, seconds))

    def _situation(self, event: Invoke | None, began_ms: int) -> Situation:
        telemetry = self.telemetry
        stream = telemetry.stream if telemetry is not None else None
        request_id = event.request_id if event is not None else ""
        ended = stream is not None and (request_id in stream.ended or request_id in stream.reported)
        now_ms = self._clock.wall_ms()
        pending = self._pending()
        due = [one for one in pending if self._flushing[one].due_ms <= now_ms]
        return Situation(
            now_ms=now_ms,
            invoked_ms=began_ms,
            # Local tools may leave the deadline out: a second is what any function has.
            deadline_ms=(event.deadline_ms or began_ms + 1_000 + self._margin_ms) if event is not None else 0,
            margin_ms=self._margin_ms,
            hears=self._hears(),
            sign=ended or (stream is not None and request_id in stream.started),
            ended=ended,
            pending=bool(due),
            retry_ms=min((self._flushing[one].due_ms for one in pending if one not in due), default=0),
            urgent=any(one.context.urgent for one in due),
            flushed_ms=self._flushed_ms,
            wants_end=self._wants_end,
            starts=tuple(self._starts),
            durations=tuple(self._durations),
        )

    def _hears(self) -> str:
        """See `Situation.hears`."""
        if self.telemetry is None or not self.telemetry.hears:
            return "no"
        return "silent" if self.telemetry.received == self._heard_at_miss else "yes"

    def _pending(self) -> list[Hosted]:
        """The plug-ins that have, or are yet to be handed, what is not delivered."""
        return [one for one in self._flushing if one.has("flush") and (one in self._dirty or self._is_behind(one))]

    def _is_behind(self, one: Hosted) -> bool:
        consumer = self._consumers.get(one)
        return consumer is not None and self.telemetry is not None and self.telemetry.is_pending(consumer)

    def _note_a_miss(self, event: Invoke) -> None:
        """An end that was waited for in vain is not waited for again until the stream has said something."""
        if self.telemetry is None or not self.telemetry.hears or self._policy.kind == "periodic":
            return
        stream = self.telemetry.stream
        if stream is None or event.request_id not in stream.ended:
            self._heard_at_miss = self.telemetry.received

    def _pump(self) -> None:
        if self.telemetry is None or not self.telemetry.hears:
            return
        malformed = self.telemetry.spool.malformed
        self.telemetry.pump(self._on_done if self._wants_end else None)
        self._note_duration()
        if self.telemetry.spool.malformed > malformed:
            self._heard_at_miss = self.telemetry.received  # the end may have been in what could not be read

    def _on_done(self, record: Record) -> None:
        from extension_kit.host import call_all

        call_all([one for one in self._hosted if not one.busy], "on_runtime_done", record)

    def _note_duration(self) -> None:
        """How long the latest invocation ran, for the policy's history."""
        stream = self.telemetry.stream if self.telemetry is not None else None
        if stream is not None and stream.last_done is not None:
            duration = stream.last_done.duration_ms
            stream.last_done = None
            if duration is not None:
                self._durations = [*self._durations, int(duration)][-HISTORY:]

    # a flush

    def flush(self, reason: str, until_ms: int, everybody: bool = False) -> bool:
        """The ``flush`` of every plug-in that is due, side by side, until `until_ms` (epoch); whether nothing was left behind.

        ``everybody``: also of those that are to be let be for a while.
        """
        import time

        now_ms, began = self._clock.wall_ms(), time.monotonic()
        running: list[tuple[Hosted, float]] = []
        left = False
        for one, turns in self._flushing.items():
            if not one.has("flush") or not (everybody or turns.due_ms <= now_ms):
                continue
            given_ms = until_ms - now_ms if everybody else turns.longest_ms(until_ms - now_ms)
            one.result = None
            one.context.urgent = False
            if one.busy or not one.begin("flush", reason, Deadline(now_ms + given_ms, self._clock.wall_ms, 0, reason)):
                self._ended(one, None)
                left = True
            else:
                running.append((one, max(0.0, given_ms / 1000)))
        for one, seconds in running:
            left = self._ended(one, one.finish("flush", began, seconds)) or left
        if self.telemetry is not None and self.telemetry.hears:
            self.telemetry.spool.commit()
        self._flushed_ms = self._clock.wall_ms()
        return not left

    def _ended(self, one: Hosted, ended_well: bool | None) -> bool:
        """A plug-in's ``flush`` has ended well or not (None: was not called); whether it has left something behind.

        One that was given a second and has delivered something in it is given all the time there is: after an outage what waits
        may be more than a second's work, and at one second in thirty it might never be less.
        """
        consumer, pending = self._consumers.get(one), pending_of(one.result)
        before = consumer.cursor.acknowledged if consumer is not None else 0
        if ended_well and consumer is not None:
            assert self.telemetry is not None
            self.telemetry.settle(consumer)
        left = not ended_well or pending > 0
        turns = self._flushing[one]
        recovers = turns.failed > 0 and consumer is not None and consumer.cursor.acknowledged > before
        turns.ended(self._clock.wall_ms(), left and not recovers)
        if not left:
            self._dirty.discard(one)
        return left

    # the end

    def drain(self, limit_ms: int, more_may_come: bool = True) -> None:
        """What is still to come is waited for a little, then everything goes out. ``limit_ms``: epoch, for all of it."""
        from extension_kit.protocol.drain import plan_drain

        self._pump()
        managed = self._is_managed and self._hears() == "yes"
        plan = plan_drain(self._clock.wall_ms(), limit_ms, more_may_come and (managed or self._report_is_missing()))
        while self._report_is_missing() and (left := plan.linger_until_ms - self._clock.wall_ms()) > 0:
            assert self.telemetry is not None
            self.telemetry.wait(left / 1000)
            self._pump()
        if self._report_is_missing():
            self._tell_report_missing()
        if managed:
            self._linger_until_quiet(plan.linger_until_ms)
        self._dirty.update(self._flushing)
        while self._pending() and self._clock.wall_ms() < plan.flush_until_ms:
            if not self.flush("shutdown", plan.flush_until_ms, everybody=True):
                break  # it had all the time there was, or says itself that it cannot
            self._pump()

    def _linger_until_quiet(self, until_ms: int) -> None:
        """Managed Instances: no INVOKE has told what is still to come, so a moment in which nothing does must do."""
        assert self.telemetry is not None
        while (left := until_ms - self._clock.wall_ms()) > 0 and self.telemetry.wait(min(_QUIET_S, left / 1000)):
            self._pump()

    def _report_is_missing(self) -> bool:
        if self.telemetry is None or self._hears() != "yes" or not self._last_request:
            return False
        if not any("platform" in one.cursor.streams for one in self.telemetry.consumers):
            return False  # nobody wants it
        stream = self.telemetry.stream
        return stream is not None and self._last_request not in stream.reported

    def _tell_report_missing(self) -> None:
        from extension_kit.records import notice

        assert self.telemetry is not None
        record = notice("reportMissing", self._clock.wall_ms(), requestId=self._last_request, status="unknown")
        self.telemetry.tell(record)


def _told(one: Hosted, tell: Callable[[str], object]) -> Callable[..., object]:
    """The ``flush`` of a plug-in, which also tells how long it took, however it ends. ``report/words.py`` reads the line."""
    import time

    flush, name = one.hooks["flush"], one.plugin.name

    def flushed(reason: str, deadline: Deadline) -> object:
        began = time.monotonic()
        try:
            return flush(reason, deadline)
        finally:
            tell(f"plug-in {name}: flush ({reason}) took {(time.monotonic() - began) * 1000:.1f} ms")

    return flushed


def pending_of(result: object) -> int:
    """How many records a ``flush`` has said to be pending: a number, or a `Flushed`."""
    count = getattr(result, "pending", result)
    return count if isinstance(count, int) and count > 0 else 0


def judged(result: object) -> BaseException | None:
    """What is wrong with what a ``flush`` has returned. A number below 0 or a truth value is a mistake too, no count."""
    from extension_kit.events import Flushed

    figures: list[object] = [result]
    if isinstance(result, Flushed):
        figures = [result.pending, *result.outcomes.values()]
    if result is None or all(type(one) is int and one >= 0 for one in figures):
        return None
    return TypeError(
        f"flush returned {type(result).__name__}: a count, a Flushed or None is wanted; nothing is delivered"
    )
