"""From what passes the Runtime API proxy to faults, by way of the rails: nothing is made that `Rails.decide` has not allowed.

Several faults at once are made in the order of `BEFORE` and `AFTER`, whatever the order in the document; of two that answer in
the function's place the first counts, and those behind it are not asked for. What lasts longer than a call (resources, egress,
sinks) belongs to its invocation and ends with it.
"""

from __future__ import annotations

import _thread
import time

from extension_kit.proxy import Hooks
from extensions.chaos_injector.faults import before, init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extension_kit.io.clock import Clock
    from extension_kit.proxy import Answer, Deliver, Fail, Invocation, Posted, Replace, Stream
    from extensions.chaos_injector.faults.egress import Egress
    from extensions.chaos_injector.faults.process import Killer
    from extensions.chaos_injector.faults.resources import Resources
    from extensions.chaos_injector.faults.sinks import Sinks
    from extensions.chaos_injector.plan import Experiment, Fault
    from extensions.chaos_injector.rails import Rails

__all__ = ["AFTER", "BEFORE", "Injector"]

_EGRESS = (
    "egress_latency", "egress_bandwidth", "egress_slow_close", "egress_timeout", "egress_reset", "egress_slicer",
    "egress_limit", "egress_refuse", "egress_dns",
)  # fmt: skip
_RESOURCES = ("tmp", "inodes", "memory", "cpu", "descriptors")
#: failure-lambda's order as far as it goes: latency, timeout, disk, denylist, status code, exception
BEFORE = (
    "delay", "timeout", *_RESOURCES, *_EGRESS, "sink", "mutate_event", "deadline_lie", "duplicate", "http_response", "error",
    "kill",
)  # fmt: skip
AFTER = ("error_after", "status_code", "body", "slow_stream", "cut_stream")

_LOOK_S = 0.1  # how often is looked whether something that lasts must be stopped
_EVENT = "chaos.event"
_INJECTED = "chaos.injected"
_FAILED = "chaos.failed"


class Injector(Hooks):
    """The proxy's hooks. ``told(experiment)``: called after every injection."""

    def __init__(
        self,
        rails: Rails,
        clock: Clock,
        *,
        resources: Resources,
        sinks: Sinks,
        killer: Killer,
        egress: Egress | None,
        told: Callable[[Experiment], object],
    ) -> None:
        self._rails = rails
        self._clock = clock
        self._resources = resources
        self._sinks = sinks
        self._killer = killer
        self._egress = egress
        self._told = told
        self._lock = _thread.allocate_lock()
        self._looking = False
        self._made_for: Experiment | None = None  # what lasts was begun for it
        self._running: dict[str, Invocation] = {}

    # hooks

    def on_next(self, first: bool) -> Fail | None:
        experiment = self._rails.now() if first else None
        if experiment is not None:
            for fault in _ordered(experiment, init.ORDER):
                if self._rails.decide(fault, None, dict):
                    self._told(experiment)
                    ended = init.make(fault, self.is_on)
                    if ended is not None:
                        return ended
        return None

    def on_event(self, invocation: Invocation) -> Answer | Fail | Deliver | None:
        experiment = self._rails.now()
        if experiment is None:
            self.stop_what_must()
            return None
        self._running[invocation.request_id] = invocation
        read = _Reader(invocation)
        most = experiment.limits.max_fraction_of_deadline
        event = before.Event(invocation, experiment.seed, most, self._clock.wall_ms, self.is_on)
        answer = None
        for fault in _ordered(experiment, BEFORE):
            if self._rails.decide(fault, invocation, read):
                answer = self._make(fault, experiment, invocation, event)
                if answer is not None:
                    break
        self._sinks_are_as_decided(invocation)
        if answer is not None:
            return answer
        if any(fault.match and fault.phase == "after" for fault in experiment.faults):
            invocation.notes[_EVENT] = read()  # its body cannot be had later
        return event.delivery()

    def on_response(self, invocation: Invocation, response: Posted) -> Replace | Fail | Stream | None:
        experiment = self._rails.now()
        faults = _ordered(experiment, AFTER) if experiment is not None else ()
        if not faults:
            return None
        assert experiment is not None
        from extensions.chaos_injector.faults.after import Response

        deadline_ms = invocation.deadline_ms
        left_ms = max(0, deadline_ms - self._clock.wall_ms())
        room_ms = left_ms * experiment.limits.max_fraction_of_deadline if deadline_ms else None
        changed = Response(invocation.request_id, experiment.seed, response, self.is_on, room_ms)
        for fault in faults:
            if self._rails.decide(fault, invocation, lambda: invocation.notes.get(_EVENT)):
                try:
                    ended = changed.make(fault)
                except Exception as error:
                    self._cannot(fault, invocation, _why(error))
                    continue
                self._injected(experiment, invocation)
                if ended is not None:
                    return ended
        return changed.outcome()

    def on_error(self, invocation: Invocation, _error: Posted) -> None:
        invocation.notes[_FAILED] = True

    def on_done(self, invocation: Invocation) -> None:
        self._running.pop(invocation.request_id, None)
        self._resources.done(invocation.request_id)
        if self._egress is not None:
            self._egress.done(invocation.request_id)
        notes = invocation.notes
        self._rails.ended(invocation.request_id, _FAILED in notes, _INJECTED in notes)
        notes.pop(_EVENT, None)

    # for the plug-in

    def is_on(self) -> bool:
        """Whether a fault may go on: what sleeps asks it many times a second."""
        return self._rails.now() is not None

    @property
    def busy(self) -> bool:
        """Whether anything lasts."""
        egress = self._egress is not None and self._egress.busy
        return egress or self._resources.busy or self._sinks.busy or self._killer.stopped

    def stop(self) -> None:
        """Everything that lasts ends, now."""
        was_busy, experiment = self.busy, self._made_for
        self._resources.stop()
        if self._egress is not None:
            self._egress.stop()
        if self._sinks.busy:
            self._sinks.stop()
        self._killer.resume()
        self._running.clear()  # whose ends nobody may tell any more
        if was_busy:
            self._rails.cleaned("what was going on has been stopped", experiment)

    def stop_what_must(self) -> None:
        """The same where the rails say that it must be."""
        if self.busy and self._rails.clean(self._made_for):
            self.stop()

    # inside

    def _make(
        self, fault: Fault, experiment: Experiment, invocation: Invocation, event: before.Event
    ) -> Answer | Fail | None:
        """One fault that has been decided; what is returned is the answer in the function's place."""
        answer, why = None, ""
        if fault.phase == "before":
            try:
                answer = event.make(fault)
            except Exception as error:
                why = _why(error)
        elif fault.phase == "process":
            why = self._kill(fault, experiment, invocation)
        else:
            why = self._begin(fault, experiment, invocation)
        if why:
            self._cannot(fault, invocation, why)
        else:
            self._injected(experiment, invocation)
        return answer

    def _begin(self, fault: Fault, experiment: Experiment, invocation: Invocation) -> str:
        """What lasts; "" or why it cannot be."""
        why = ""
        if fault.phase == "resource":
            most_ms = experiment.limits.min_remaining_ms
            why = self._resources.begin(
                fault,
                invocation.request_id,
                experiment.limits,
                lambda: self.is_on() and self._has_time(invocation, most_ms),
            )
        elif fault.phase == "telemetry":
            why = self._sinks.begin(fault, self._clock.wall_ms(), experiment.armed_until_ms)
            invocation.notes["chaos.sink"] = True
        elif self._egress is None:
            why = "there is no proxy for outgoing requests: set CHAOS_EGRESS=1"
        else:
            self._egress.begin(fault, invocation.request_id)
        if not why:
            self._made_for = experiment
            self._look_after()
            if not self.is_on():  # it has been switched off meanwhile
                self.stop()
        return why

    def _sinks_are_as_decided(self, invocation: Invocation) -> None:
        """An order outlives its invocation, since extensions send after it; it ends with the next one that is spared."""
        if self._sinks.busy and "chaos.sink" not in invocation.notes:
            self._sinks.stop()

    def _kill(self, fault: Fault, experiment: Experiment, invocation: Invocation) -> str:
        params: Any = fault.params
        if not params["after_ms"]:
            return self._signal(params["signal"], experiment)

        def runs() -> bool:
            return self._running.get(invocation.request_id) is invocation

        def later() -> None:
            before.pause(params["after_ms"], lambda: self.is_on() and runs())
            if not self.is_on():
                why = "the experiment had ended before that"
            elif not runs():
                why = "the invocation had ended before that"
            else:
                why = self._signal(params["signal"], experiment)
            if why:
                self._cannot(fault, invocation, why, experiment)

        try:
            _thread.start_new_thread(later, ())
        except RuntimeError as error:
            return str(error)
        return ""

    def _signal(self, signal: str, experiment: Experiment) -> str:
        why = self._killer.kill(signal)
        if self._killer.stopped:  # it lasts until it is taken back
            self._made_for = experiment
            self._look_after()
        return why

    def _has_time(self, invocation: Invocation, least_ms: int) -> bool:
        return not invocation.deadline_ms or invocation.deadline_ms - self._clock.wall_ms() > least_ms

    def _injected(self, experiment: Experiment, invocation: Invocation) -> None:
        invocation.notes[_INJECTED] = True
        self._told(experiment)

    def _cannot(self, fault: Fault, invocation: Invocation, why: str, experiment: Experiment | None = None) -> None:
        """It was allowed, and this environment, event or response is not made for it."""
        of = experiment or self._rails.now()
        self._rails.audit.line("unable", of, fault, request_id=invocation.request_id, reason=why)

    def _look_after(self) -> None:
        """While something lasts, a thread looks whether it may; there is none at other times."""
        with self._lock:
            if self._looking:
                return
            self._looking = True
        try:
            _thread.start_new_thread(self._look, ())
        except RuntimeError:
            self._looking = False

    def _look(self) -> None:
        while self.busy:
            time.sleep(_LOOK_S)
            self.stop_what_must()
        with self._lock:
            self._looking = False
        if self.busy:
            self._look_after()


class _Reader:
    """The event, parsed once and only when a condition is to be looked at; None where it is no JSON."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._event: object = None
        self._is_read = False

    def __call__(self) -> object:
        if not self._is_read:
            import json

            self._is_read = True
            try:
                self._event = json.loads(self._invocation.body())
            except Exception:  # no JSON, or too large to be had
                self._event = None
        return self._event


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, before.Unfit) else f"{type(error).__name__}: {error}"[:300]


def _ordered(experiment: Experiment, order: tuple[str, ...]) -> list[Fault]:
    """The faults of these types, in this order; of one type, as they are written."""
    return [fault for kind in order for fault in experiment.faults if fault.type == kind]
