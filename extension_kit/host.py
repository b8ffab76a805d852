"""Runs plug-ins so that none can harm the function, the other plug-ins or the process.

Each plug-in has a worker thread, started when its first hook is due. The loop hands a hook over and waits for it, but no
longer than the hook's time budget: a hook that overruns goes on alone, and while it does, the plug-in's next hooks are
skipped. ``_thread`` is used because importing ``threading`` costs as much as a whole start of the kit.
"""

from __future__ import annotations

import _thread
import time

from extension_kit.plugin import HOOKS, overridden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extension_kit.commons import Commons
    from extension_kit.plugin import Context, Plugin

__all__ = ["STRIKES", "Hosted"]

#: failures in a row after which a plug-in is put to rest
STRIKES = 3
#: memory with which a function has a whole core (AWS docs, Lambda: configure memory); with less it has its share of one
_WHOLE_CORE_MB = 1_769
_SHORT_S = 0.05  # what a hook of an invocation may take
_TURN_S = 0.1  # after which the next plug-in's hook of the init begins
_LEAST_S = 0.25  # for a hook of the init where others have used up the time


class Hosted:
    """One plug-in with its worker thread, its strikes and its figures (``calls``, ``failures``, ``overruns``, ``spent_ns``)."""

    def __init__(self, plugin: Plugin, context: Context, report: Callable[[str], object]) -> None:
        self.plugin = plugin
        self.context = context
        self.resting = False
        self.calls = 0
        self.failures = 0
        self.overruns = 0
        self.spent_ns = 0
        self.thread = 0  # the number of the worker's thread
        self.faults: dict[str, int] = {}
        self.commons: Commons | None = None  # where there are several plug-ins
        self._report = report
        self._strikes = 0
        self.result: Any = None  # what the hook that ended last has returned
        self._busy_with = ""
        self._work: tuple[Callable[..., Any], tuple[Any, ...]] | None = None
        self._error: BaseException | None = None
        self._go: _thread.LockType | None = None
        self._done = _thread.allocate_lock()
        self._done.acquire()
        self.hooks = {hook: getattr(plugin, hook) for hook in HOOKS if overridden(plugin, hook)}

    def has(self, hook: str) -> bool:
        """Whether the plug-in wants this hook and may have it."""
        return hook in self.hooks and not self.resting

    @property
    def busy(self) -> bool:
        """Whether a hook that overran is still at it; the next one would be skipped."""
        return bool(self._busy_with) and not self._take_late_end()

    def begin(self, hook: str, *arguments: Any) -> bool:
        """Hand a hook to the worker thread; False where it cannot be, which is a strike."""
        if self._busy_with and not self._take_late_end():
            self._strike(f"{hook} skipped", f": {self._busy_with} is still running")
            return False
        self._busy_with = hook
        self._work = (self.hooks[hook], arguments)
        self.calls += 1
        try:
            self._wake()
        except RuntimeError as error:  # no thread can be had: the environment is at its limit of 1,024
            self._busy_with = ""
            self._strike(f"{hook} could not run", f": {error}")
            return False
        return True

    def finish(self, hook: str, began: float, seconds: float) -> bool:
        """Wait for the hook that `begin` handed over, until `seconds` after `began` (monotonic); whether it ended well."""
        waited = time.monotonic()
        in_time = self._done.acquire(timeout=max(0.0, began + seconds - waited))
        self.spent_ns += int((time.monotonic() - waited) * 1e9)
        if not in_time:
            self.overruns += 1
            self._strike(f"{hook} overran", f" its time budget of {seconds * 1000:.0f} ms and is left to itself")
            return False
        return self._ended(hook)

    def budget(self, hook: str) -> float:
        """Seconds that a hook without a deadline may take.

        The short ones are meant for a whole core: with a small share of one the kernel stops everything for most of each tenth
        of a second, and three such stops would put a plug-in to rest that has done nothing wrong. Those of the init stay: all
        wait for it, and Lambda for no longer than 10 s.
        """
        own = self.plugin.budgets.get(hook)
        if own is not None:
            return own
        default = HOOKS[hook][1] or 2.0
        return default if default > _SHORT_S else default * slowness(self.context.memory_mb)

    def give_a_turn(self, seconds: float) -> None:
        """Wait for the hook that `begin` handed over, for a moment; `finish` is still to come."""
        if self._done.acquire(timeout=seconds):
            self._done.release()

    # the worker

    def _wake(self) -> None:
        if self._go is None:
            go = _thread.allocate_lock()
            go.acquire()
            _thread.start_new_thread(self._serve, (go,))
            self._go = go
        self._go.release()

    def _serve(self, go: _thread.LockType) -> None:
        self.thread = _thread.get_ident()
        while True:
            go.acquire()
            work = self._work
            assert work is not None
            call, arguments = work
            commons = self.commons
            if commons is not None:
                commons.before()
            try:
                self.result = call(*arguments)
                self._error = None
            except BaseException as error:  # noqa: BLE001 - SystemExit too: a plug-in may not end the process
                self._error = error
            if commons is not None:
                commons.after(self.plugin.name, self._busy_with)
            del work, call, arguments
            self._work = None
            self._done.release()

    def _take_late_end(self) -> bool:
        """Whether the hook that overran has ended since."""
        if not self._done.acquire(blocking=False):
            return False
        self._busy_with = ""
        self._error = None
        return True

    def _ended(self, hook: str) -> bool:
        self._busy_with = ""
        error, self._error = self._error, None
        if error is None and hook == "flush" and not _is_outcome(self.result):
            self.failures += 1
            kind, self.result = type(self.result).__name__, None
            self._strike(
                f"flush returned {kind}", ": a count, a Flushed or None is wanted; nothing counts as delivered"
            )
            return False
        if error is None:
            self._strikes = 0
            return True
        self.failures += 1
        kind, text = describe(error)
        self._strike(f"{hook} raised {kind}", text)
        return False

    def _strike(self, fault: str, detail: str) -> None:
        """Count a fault; it is reported when it is new, and when it is the one that puts the plug-in to rest."""
        self._strikes += 1
        count = self.faults[fault] = self.faults.get(fault, 0) + 1
        rest = ""
        if self._strikes >= STRIKES:
            self.resting = True
            rest = f"; {STRIKES} failures in a row: it is put to rest, the function goes on without it"
        if rest or count == 1:
            self._report(f"plug-in {self.plugin.name}: {fault}{detail}{rest}")

    def account(self) -> str:
        """What has gone wrong in all, in one line; "" where nothing has."""
        if not self.faults:
            return ""
        faults = ", ".join(f"{fault} ({count}x)" for fault, count in self.faults.items())
        return f"plug-in {self.plugin.name}: in {self.calls} calls: {faults}"


def slowness(memory_mb: int | None) -> float:
    """How many times longer a function of so much memory takes than one with a whole core."""
    return max(1.0, _WHOLE_CORE_MB / (memory_mb or _WHOLE_CORE_MB))


def _is_outcome(result: object) -> bool:
    """Whether a ``flush`` may return this. A number below 0 or a truth value is somebody's mistake, not a count."""
    if result is None or (type(result) is int and result >= 0):
        return True
    from extension_kit.events import Flushed

    if not isinstance(result, Flushed):
        return False
    figures = [result.pending, *result.outcomes.values()]
    return all(type(one) is int and one >= 0 for one in figures) and all(type(one) is str for one in result.outcomes)


def describe(error: BaseException) -> tuple[str, str]:
    """The type of an error, and its text and place for the same line; a long text is cut."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" at {code.co_filename}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - a plug-in's own __str__
        text = "(its text cannot be had)"
    return type(error).__name__, f": {text[:500]}{place}"


def call_all(plugins: list[Hosted], hook: str, *arguments: Any, seconds: float | None = None) -> int:
    """One hook of every plug-in that has it, side by side; each may take its own budget (or `seconds`). Failures counted."""
    wanted = [hosted for hosted in plugins if hosted.has(hook)]
    began = time.monotonic()
    running = [hosted for hosted in wanted if hosted.begin(hook, *arguments)]
    ended_well = 0
    for hosted in running:
        budget = hosted.budget(hook) if seconds is None else seconds
        ended_well += hosted.finish(hook, began, budget)
    return len(wanted) - ended_well


def call_in_turn(plugins: list[Hosted], hook: str, ends: float) -> int:
    """A hook of the init, given each plug-in's context: one after another, as long as none is slow. Failures counted.

    What is imported in them is imported by one at a time; but no plug-in waits for another longer than a moment, and all of
    them end by `ends` (monotonic), or are left to themselves.
    """
    wanted = [hosted for hosted in plugins if hosted.has(hook)]
    running = []
    for hosted in wanted:
        began = time.monotonic()
        if hosted.begin(hook, hosted.context):
            running.append((hosted, began))
            hosted.give_a_turn(min(_TURN_S, hosted.budget(hook)))
    ended_well = 0
    for hosted, began in running:
        seconds = min(hosted.budget(hook), max(_LEAST_S, ends - began))
        ended_well += hosted.finish(hook, began, seconds)
    return len(wanted) - ended_well
