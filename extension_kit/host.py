"""Loads and runs plug-ins so that none can harm the function, the other plug-ins or the process.

They are loaded on the main thread, as for any program: what they import may rely on it. One that does not come to an end is
interrupted by a timer, so that what it holds is given up, and left out.

Each plug-in has a worker thread, started when its first hook is due. The loop hands a hook over and waits for it, but no
longer than the hook's time budget: a hook that overruns goes on alone, and while it does, the plug-in's next hooks are
skipped. ``_thread`` is used because importing ``threading`` costs as much as a whole start of the kit.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import time

from extension_kit.errors import ConfigError
from extension_kit.io import environ
from extension_kit.plugin import HOOKS, Context, Log, load, overridden
from extension_kit.settings import KitSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from extension_kit.commons import Commons
    from extension_kit.io.clock import Clock
    from extension_kit.plugin import Plugin

__all__ = ["STRIKES", "Hosted", "Loader"]

#: failures in a row after which a plug-in is put to rest
STRIKES = 3
#: memory with which a function has a whole core (AWS docs, Lambda: configure memory); with less it has its share of one
_WHOLE_CORE_MB = 1_769
_EACH_S = 4.0  # for loading one plug-in
_ALL_S = 6.0  # for all, of the 10 s that Lambda gives an init (AWS docs, Lambda execution environment)
_LEAST_S = 0.25  # for the next one when that is used up
_AGAIN_S = 0.5  # where the interruption was swallowed
_SHORT_S = 0.05  # what a hook of an invocation may take


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
        self.judge: Callable[[Any], BaseException | None] | None = None  # of what a flush may return
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
        if default > _SHORT_S:
            return default
        return default * max(1.0, _WHOLE_CORE_MB / (self.context.memory_mb or _WHOLE_CORE_MB))

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
        if error is None and hook == "flush" and self.judge is not None:
            error = self.judge(self.result)
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


class _TooLong(BaseException):
    """No Exception: what a library does about one must not keep it."""


class Loader:
    """``there``: names of all plug-ins, also of those that are not wanted; ``left_out``: whether one could not be loaded."""

    def __init__(
        self,
        specs: tuple[Any, ...],
        declared: tuple[tuple[str, ...], tuple[str, ...]] | None,
        sockets: dict[str, list[socket]],
        clock: Clock,
        say: Callable[[str], object],
        write: Callable[[str], object],
    ) -> None:
        self.settings, self.complaints = KitSettings.parse(environ.mapping())
        self.hosted: list[Hosted] = []
        self.there: list[str] = []
        self.left_out = False
        self._specs: list[Any] = list(specs)
        self._sockets = sockets
        self._clock = clock
        self._say = say
        self._write = write
        self._names: set[str] = set()
        self._left_s = _ALL_S
        self._is_loading = False
        # Before the first plug-in is imported: its dependencies may want to reach somebody right then.
        self.guard, why = None, ""
        try:
            from extension_kit.egress import guard

            self.guard, why = guard(
                self._specs, declared, self.settings.egress_allow, environ.mapping(), clock, say, self._owner
            )
        except Exception as error:
            say(f"internal error: {''.join(describe(error))}; there is no egress guard")
        if why and self.settings.log_level == "debug":
            say(f"no egress guard: {why}")

    def load_first(self, indexes: list[int]) -> list[Hosted]:
        """These of the plug-ins, before the registration; those that want to be called then."""
        found: list[Hosted] = []
        for index in indexes:
            self._specs[index] = self._load(self._specs[index])
            found += self._specs[index]
        return [hosted for hosted in found if hosted.has("before_register")]

    def load(self) -> tuple[list[Hosted], Commons | None]:
        """All of them, and what looks after what they share; one that is wrong is told and left out."""
        there = 0
        for spec in self._specs:
            parts = spec if isinstance(spec, list) else self._load(spec)
            there += bool(parts)
            self.hosted += parts
        commons = None
        if there > 1:
            from extension_kit.commons import Commons

            commons = Commons(self._say)
            for hosted in self.hosted:
                hosted.commons = commons
        wanted = self.settings.plugins
        if unknown := [name for name in wanted if name not in self.there]:
            from extension_kit.declarations import clean

            rest = "" if len(unknown) < len(wanted) else "; none is run"
            told = clean(", ".join(map(repr, unknown)))
            self._say(f"EXTENSION_KIT_PLUGINS: no plug-in is called {told}; there are {', '.join(self.there)}{rest}")
        return self.hosted, commons

    def _owner(self, thread: int) -> Context | None:
        """Whose hook runs on a thread; of threads that a library has started, of the only plug-in there is."""
        for hosted in self.hosted:
            if hosted.thread == thread or len(self.hosted) == 1:
                return hosted.context
        return None

    def _load(self, spec: Any) -> list[Hosted]:
        """The plug-in, or the parts that it splits into, ready to be called; none where it cannot be, which was told, or
        where the operator wants others.
        """
        name = _name_in(spec) if isinstance(spec, str) else ""
        if name:
            self.there.append(name)
            if not self._is_wanted(name):
                return []
        try:
            self._require_new(name)
            parts = self._in_time(spec, name)
            for hosted in parts:
                self._require_new(hosted.plugin.name)
            self._names.update(hosted.plugin.name for hosted in parts)
            return parts
        except ConfigError as error:
            why = str(error)
        except _TooLong as error:
            why = f"plug-in {spec!r}: {error}"
        except BaseException as error:  # noqa: BLE001 - a plug-in's own code; SystemExit too may not end the process
            kind, text = describe(error)
            why = f"plug-in {spec!r}: {kind}{text}"
        self.left_out = True
        self._say(f"{why}; it is left out, the function goes on without it")
        return []

    def _in_time(self, spec: Any, name: str) -> list[Hosted]:
        """The same, interrupted by `_TooLong` when its time is over."""
        seconds = max(_LEAST_S, min(_EACH_S, self._left_s))

        def interrupt(_number: int, frame: FrameType | None) -> None:
            if self._is_loading and frame is not None:
                place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise _TooLong(f"loading it takes longer than {seconds:.2g} s, and was at {place}")

        began = time.monotonic()
        before = _signal.signal(_signal.SIGALRM, interrupt)
        self._is_loading = True
        _signal.setitimer(_signal.ITIMER_REAL, seconds, _AGAIN_S)
        try:
            return self._made(spec, name)
        finally:
            self._is_loading = False
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, before)
            self._left_s -= time.monotonic() - began

    def _made(self, spec: Any, name: str) -> list[Hosted]:
        plugin = load(spec)
        if not name:
            self.there.append(plugin.name)
            if not self._is_wanted(plugin.name):
                return []
        variables = environ.mapping()
        settings, warnings = plugin.settings.parse(variables) if plugin.settings is not None else (None, [])
        log = Log(plugin.name, self._write)
        for line in warnings:
            log.warning(line)
        context = Context(plugin.name, variables, log, self._clock, settings, sockets=self._sockets)
        context._egress = self.guard
        if settings is not None:
            context.may_reach(settings)
        parts = [(plugin, context)]
        if overridden(plugin, "split"):
            from extension_kit.parts import parts_of

            parts = parts_of(plugin, context)
        return [Hosted(*part, self._say) for part in parts]

    def _require_new(self, name: str) -> None:
        """A name stands for one plug-in: in the log, in the accounts, in /tmp and in EXTENSION_KIT_PLUGINS."""
        if name in self._names:
            raise ConfigError(f"plug-in {name} is there twice: this is the second of that name")

    def _is_wanted(self, name: str) -> bool:
        return not self.settings.plugins or name in self.settings.plugins


def _name_in(spec: str) -> str:
    """Of ``NAME=MODULE:CLASS``; "" where it has none."""
    return spec.rpartition("=")[0]
