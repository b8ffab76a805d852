"""The sections about telemetry: what accepting, decoding and holding it costs. Each is one round, all contenders interleaved.

What is accepted is posted while the extension waits in its ``next``; an invocation follows, in which it may read and forget.
What is decoded is posted within an invocation: INVOKE, batches, of which the last has the end of the request, and the
extension's next ``next``. The CPU is counted over all of it, so it does not matter whether an extension decodes when a batch
arrives, when an event does, or while it waits for the end of the function.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
from pathlib import Path
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
#: where the kit keeps what has arrived, in a folder for each extension
_STORED = Path("/tmp/.extension-kit")
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
        rate, cpu, whole, peak = self._accepted(mixed(), self._effort.posts)
        return medians(accept_rate=rate, accept_cpu=cpu, accept_whole_cpu=whole, accept_peak_mb=peak)

    def small(self) -> Figures:
        """What one short invocation makes at a time."""
        rate, cpu, whole, peak = self._accepted(small(), self._effort.small_posts)
        return medians(small_rate=rate, small_cpu=cpu, small_whole_cpu=whole, small_peak_mb=peak)

    def large(self) -> Figures:
        """As many events at a time as the platform sends at most."""
        rate, cpu, whole, peak = self._accepted(large(), self._effort.large_posts)
        return medians(large_rate=rate, large_cpu=cpu, large_whole_cpu=whole, large_peak_mb=peak)

    def decode(self) -> Figures:
        """256 KiB at a time; decoded, function lines kept, each written again."""
        load, warm, posts = mixed(), self._effort.warm_posts, self._effort.posts
        cpu: Samples = {}
        peak: Samples = {}

        def one_slice(session: Session) -> None:
            session.invocations(load, warm)
            spent = session.invocations(load, posts)
            cpu.setdefault(session.name, []).append(spent / (posts * load.events) / 1e3)

        self._slices(contenders.DECODES, one_slice, (warm + posts) * load.function_events, peak)
        return medians(decode_cpu=cpu, decode_peak_mb=peak)

    def memory(self) -> Figures:
        """One alone at a time, after many invocations, each with its own telemetry."""
        pss: Samples = {}
        rss: Samples = {}
        load, count = small(), self._effort.memory_events
        for name in (*contenders.STORES, *contenders.DECODES):
            with contextlib.ExitStack() as stack:
                for session in self._subscribed(stack, [name]):
                    session.invocations(load, 1, count)
                    proportional, full = session.idle_memory_mb(self._effort.idle_s)
                    pss[name], rss[name] = [proportional], [full]
                    session.end()
                    _check(session, count * (load.events if name in contenders.STORES else load.function_events))
        return medians(telemetry_pss_mb=pss, telemetry_rss_mb=rss)

    def _accepted(self, load: Load, posts: int) -> tuple[Samples, Samples, Samples, Samples]:
        """Thousands of events per second and CPU seconds per million events, as they arrive; the CPU with the invocation in
        which they are read as well; the most that was resident (MB)."""
        warm = self._effort.warm_posts
        rate: Samples = {}
        cpu: Samples = {}
        whole: Samples = {}
        peak: Samples = {}

        def one_slice(session: Session) -> None:
            session.deliver(load, warm)
            session.invocations(load, 1)
            events = posts * load.events
            arriving_ns, took_ns = session.deliver(load, posts)
            reading_ns = session.invocations(load, 1)
            rate.setdefault(session.name, []).append(events / took_ns * 1e6)
            cpu.setdefault(session.name, []).append(arriving_ns / events / 1e3)
            whole.setdefault(session.name, []).append((arriving_ns + reading_ns) / (events + load.events) / 1e3)

        self._slices(contenders.STORES, one_slice, (warm + posts + 2) * load.events, peak)
        return rate, cpu, whole, peak

    def _slices(self, names: Sequence[str], one_slice: Callable[[Session], None], counted: int, peak: Samples) -> None:
        """All are alive, one is served at a time, and every batch of slices has new processes.

        ``counted``: how many events of a slice an extension says to have kept at its end. Adds to ``peak`` what was resident.
        """
        slices = self._effort.telemetry_slices
        for _ in range(self._effort.telemetry_batches):
            with contextlib.ExitStack() as stack:
                sessions = self._subscribed(stack, names)
                for turn in range(slices):
                    for session in rotated(sessions, turn):
                        one_slice(session)
                for session in sessions:
                    peak.setdefault(session.name, []).append(session.peak_memory_mb())
                    session.end()
                    _check(session, slices * counted)

    def _subscribed(self, stack: ExitStack, names: Sequence[str]) -> list[Session]:
        """These contenders, started; one that does not subscribe is absent from now on."""
        sessions = []
        for name in names:
            if name not in self._made or name in self.absent:
                continue
            if name in contenders.OURS:
                stack.callback(forget, name)
            session = stack.enter_context(Session(self._made[name].program, self._placement, _VARIABLES))
            if session.subscribed:
                sessions.append(session)
            else:
                self.absent[name] = NOT_SUBSCRIBED
                session.end()
        return sessions


def _check(session: Session, expected: int) -> None:
    """An extension that leaves something out is fast, and no result. What keeps all has had the last report as well."""
    said = session.said()
    expected += session.name in contenders.STORES
    if session.name not in _DOES_NOT_COUNT and f"kept {expected}" not in said.splitlines():
        raise BenchError(f"{session.name} was sent {expected} events; it said: {said}")


def forget(name: str) -> None:
    """What an extension of ours has stored is of no use to anybody."""
    shutil.rmtree(_STORED / name, ignore_errors=True)
