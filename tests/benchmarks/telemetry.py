"""The sections about telemetry: what accepting, decoding and holding it costs. Each is one round, all contenders interleaved.

A slice is one invocation: INVOKE, batches, of which the last has the end of the request, and the extension's next ``next``.
The CPU is counted over all of it, so it does not matter whether an extension decodes when a batch arrives, when an event
does, or while it waits for the end of the function.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

from tests.benchmarks import contenders, telemetry_load
from tests.benchmarks.platform_stub import BenchError, Session
from tests.benchmarks.rounds import Effort, Samples, medians, rotated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

    from tests.benchmarks import measure
    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.report import Figures
    from tests.benchmarks.telemetry_load import Load

NOT_SUBSCRIBED = "does not subscribe to telemetry"
#: the kit delivers within the invocation; by default it would begin to leave that to later ones when many come
_VARIABLES = {"EXTENSION_KIT_FLUSH": "end"}
#: has no hook that could count
_DOES_NOT_COUNT = ("kit-telemetry",)

mixed = functools.cache(telemetry_load.mixed)
small = functools.cache(telemetry_load.small)
large = functools.cache(telemetry_load.large)


class Telemetry:
    """The measurements. ``absent``: contenders that turned out to have no telemetry, and what they did instead."""

    def __init__(self, made: dict[str, Contender], placement: measure.Placement, effort: Effort) -> None:
        self.absent: dict[str, str] = {}
        self._made = made
        self._placement = placement
        self._effort = effort

    def accept(self) -> Figures:
        """256 KiB at a time."""
        rate, cpu, peak = self._slices(contenders.STORES, mixed(), self._effort.posts)
        return medians(accept_rate=rate, accept_cpu=cpu, accept_peak_mb=peak)

    def small(self) -> Figures:
        """What one short invocation makes at a time."""
        rate, cpu, peak = self._slices(contenders.STORES, small(), self._effort.small_posts)
        return medians(small_rate=rate, small_cpu=cpu, small_peak_mb=peak)

    def large(self) -> Figures:
        """As many events at a time as the platform sends at most."""
        rate, cpu, peak = self._slices(contenders.STORES, large(), self._effort.large_posts)
        return medians(large_rate=rate, large_cpu=cpu, large_peak_mb=peak)

    def decode(self) -> Figures:
        """256 KiB at a time; decoded, function lines kept, each written again."""
        _, cpu, peak = self._slices(contenders.DECODES, mixed(), self._effort.posts, _function_events)
        return medians(decode_cpu=cpu, decode_peak_mb=peak)

    def memory(self) -> Figures:
        """One alone at a time, after many invocations, each with its own telemetry."""
        pss: Samples = {}
        rss: Samples = {}
        for name in (*contenders.STORES, *contenders.DECODES):
            with contextlib.ExitStack() as stack:
                for session in self._subscribed(stack, [name]):
                    for _ in range(self._effort.memory_events):
                        session.invocation(small(), 1)
                    proportional, full = session.idle_memory_mb(self._effort.idle_s)
                    pss[name], rss[name] = [proportional], [full]
                    session.end()
        return medians(telemetry_pss_mb=pss, telemetry_rss_mb=rss)

    def _slices(
        self, names: Sequence[str], load: Load, posts: int, counted: Callable[[Load], int] | None = None
    ) -> tuple[Samples, Samples, Samples]:
        """Thousands of events per second, CPU seconds per million events, the most that was resident (MB).

        ``counted``: how many events of a batch an extension says to have kept at its end; all, unless told otherwise.
        """
        rate: Samples = {}
        cpu: Samples = {}
        peak: Samples = {}
        warm, slices = self._effort.warm_posts, self._effort.telemetry_slices
        for _ in range(self._effort.telemetry_batches):
            with contextlib.ExitStack() as stack:
                sessions = self._subscribed(stack, names)
                for turn in range(slices):
                    for session in rotated(sessions, turn):
                        session.invocation(load, warm)
                        cpu_ns, took_ns = session.invocation(load, posts)
                        events = load.events * posts
                        rate.setdefault(session.name, []).append(events / took_ns * 1e6)
                        cpu.setdefault(session.name, []).append(cpu_ns / events / 1e3)
                for session in sessions:
                    peak.setdefault(session.name, []).append(session.peak_memory_mb())
                    session.end()
                    _check(session, slices * (warm + posts) * (counted or _events)(load))
        return rate, cpu, peak

    def _subscribed(self, stack: ExitStack, names: Sequence[str]) -> list[Session]:
        """These contenders, started; one that does not subscribe is absent from now on."""
        sessions = []
        for name in names:
            if name not in self._made or name in self.absent:
                continue
            session = stack.enter_context(Session(self._made[name].program, self._placement, _VARIABLES))
            if session.subscribed:
                sessions.append(session)
            else:
                self.absent[name] = NOT_SUBSCRIBED
                session.end()
        return sessions


def _events(load: Load) -> int:
    return load.events


def _function_events(load: Load) -> int:
    return load.function_events


def _check(session: Session, expected: int) -> None:
    """An extension that leaves something out is fast, and no result."""
    last = session.said().rpartition("\n")[2]
    if session.name not in _DOES_NOT_COUNT and last != f"kept {expected}":
        raise BenchError(f"{session.name} was sent {expected} events; its last words: {last!r}")
