"""Imports, makes and checks the plug-ins of a process; whatever one of them does meanwhile, the others are loaded.

All on the main thread, as for any program: what a plug-in imports may rely on it. One that does not come to an end is
interrupted by a timer, so that what it holds is given up, and left out.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import time

from extension_kit.errors import ConfigError
from extension_kit.host import Hosted, describe, slowness
from extension_kit.io import environ
from extension_kit.plugin import Context, Log, load, overridden
from extension_kit.settings import KitSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from extension_kit.commons import Commons
    from extension_kit.egress import Guard
    from extension_kit.io.clock import Clock

__all__ = ["Loader"]

_EACH_S = 3.0  # for one plug-in, with a whole core
_EACH_MOST_S = 5.0  # with any share of one
_ALL_S = 7.0  # for all, of the 10 s that Lambda gives an init (AWS docs, Lambda execution environment)
_LEAST_S = 0.25  # for the next one when that is used up
_AGAIN_S = 0.5  # where the interruption was swallowed


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
        self._declared = declared
        self._sockets = sockets
        self._clock = clock
        self._say = say
        self._write = write
        memory = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self._slowness = slowness(int(memory) if memory.isascii() and memory.isdigit() else None)
        self._names: set[str] = set()
        self._guard: tuple[Guard | None] | None = None
        self._left_s = _ALL_S
        self._is_loading = False

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

    @property
    def guard(self) -> Guard | None:
        """Of what leaves the process; there before the first plug-in is imported: its dependencies may reach out right then."""
        if self._guard is None:
            from extension_kit.egress import guard

            found, why = guard(
                self._specs, self._declared, self.settings.egress_allow, environ.mapping(), self._clock, self._say,
                self._owner,
            )  # fmt: skip
            self._guard = (found,)
            if why and self.settings.log_level == "debug":
                self._say(f"no egress guard: {why}")
        return self._guard[0]

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
        guard = self.guard
        name = _name_in(spec) if isinstance(spec, str) else ""
        if name:
            self.there.append(name)
            if not self._is_wanted(name):
                return []
        try:
            self._require_new(name)
            parts = self._in_time(spec, name, guard)
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

    def _in_time(self, spec: Any, name: str, guard: Guard | None) -> list[Hosted]:
        """The same, interrupted by `_TooLong` when its time is over."""
        each = min(_EACH_MOST_S, _EACH_S * self._slowness)
        seconds = max(_LEAST_S, min(each, self._left_s))

        def interrupt(_number: int, frame: FrameType | None) -> None:
            if self._is_loading and frame is not None:
                place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise _TooLong(f"loading it takes longer than {seconds:.2g} s, and was at {place}")

        began = time.monotonic()
        try:
            before = _signal.signal(_signal.SIGALRM, interrupt)
        except ValueError:  # not the main thread: no extension of Lambda's
            return self._made(spec, name, guard)
        self._is_loading = True
        _signal.setitimer(_signal.ITIMER_REAL, seconds, _AGAIN_S)
        try:
            return self._made(spec, name, guard)
        finally:
            self._is_loading = False
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, before)
            self._left_s -= time.monotonic() - began

    def _made(self, spec: Any, name: str, guard: Guard | None) -> list[Hosted]:
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
        context._egress = guard
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
