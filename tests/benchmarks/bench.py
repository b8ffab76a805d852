"""``make bench``: the kit beside its peers, in one run. README.md in this folder says what is measured and how to read it.

Exit status: 0 every budget is met, 1 one is missed in every round, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import contenders, first_response, measure, report, response
from tests.benchmarks import guard as guarding
from tests.benchmarks.collecting import Collecting
from tests.benchmarks.platform_stub import BenchError, Session
from tests.benchmarks.proxying import Proxying
from tests.benchmarks.quota import NoQuota, Quota
from tests.benchmarks.rounds import QUICK, Effort, Samples, medians, rotated
from tests.benchmarks.secrets import Secrets, aws_behind_tls
from tests.benchmarks.shipping import CountingSink, Shipping
from tests.benchmarks.telemetry import Telemetry
from tests.benchmarks.together import METRICS, Together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.report import Budget, Figures

#: what is started beside a real function: each takes most of a second there, several under the quota
_BESIDE_A_FUNCTION = ("kit", "metrics-collector", "log-shipper", "secret-cache", "python-requests")
_GAP_S = 0.002


class Bench:
    """The measurements; each is one round of one section, all contenders interleaved."""

    def __init__(
        self, made: dict[str, Contender], placement: measure.Placement, effort: Effort, python: str = sys.executable
    ) -> None:
        self.absent: dict[str, str] = {}
        self._python = python
        self.telemetry = Telemetry(made, placement, effort)
        self.secrets = Secrets(made, placement, effort)
        self.shipping = Shipping(made, placement, effort)
        self.collecting = Collecting(made, placement, effort)
        self.proxying = Proxying(made, placement, effort)
        self._guard = guarding.Guard(placement, effort, python)
        self.together = Together(made, placement, effort)
        self._made = {name: contender for name, contender in made.items() if name in contenders.LOOPS}
        self._beside = {name: contender for name, contender in made.items() if name in _BESIDE_A_FUNCTION}
        self._floor = made.get(response.FLOOR)
        self._placement = placement
        self._effort = effort

    def start(self) -> Figures:
        """Start, register, first next, SHUTDOWN, one after the other. The first turn warms the page cache."""
        register: Samples = {name: [] for name in self._made}
        first_next: Samples = {name: [] for name in self._made}
        for turn in range(self._effort.starts + 1):
            for contender in rotated(list(self._made.values()), turn):
                with Session(contender.program, self._placement) as session:
                    session.end()
                if turn:
                    register[contender.name].append(session.register_ns / 1e6)
                    first_next[contender.name].append(session.next_ns / 1e6)
        return medians(register_ms=register, next_ms=first_next)

    def loop(self) -> Figures:
        """All are alive, one is served at a time, in slices: whatever disturbs the machine disturbs all of them alike.

        Every batch has new processes: how one process lies in memory, and so in the caches, moves its figures by half.
        """
        back_to_back: Samples = {name: [] for name in self._made}
        with_gaps: Samples = {name: [] for name in self._made}
        for _ in range(self._effort.batches):
            with contextlib.ExitStack() as stack:
                sessions = [
                    stack.enter_context(Session(contender.program, self._placement))
                    for contender in self._made.values()
                ]
                self._slices(sessions, self._effort.slices, self._effort.events, 0.0, back_to_back)
                self._slices(sessions, self._effort.gap_slices, self._effort.gap_events, _GAP_S, with_gaps)
                for session in sessions:
                    session.end()
        return medians(event_us=back_to_back, gap_event_us=with_gaps)

    def _slices(self, sessions: list[Session], slices: int, count: int, gap_s: float, samples: Samples) -> None:
        """A slice begins with events that are not counted: the last extension left the core's caches full of its own."""
        for turn in range(slices):
            for session in rotated(sessions, turn):
                session.events(self._effort.warm_events, gap_s)
                samples[session.name].append(session.events(count, gap_s) / count / 1e3)

    def memory(self) -> Figures:
        """One alone at a time: pages that several processes share would count for each of them only in part."""
        pss: Samples = {}
        rss: Samples = {}
        for contender in self._made.values():
            with Session(contender.program, self._placement) as session:
                session.events(self._effort.memory_events)
                proportional, full = session.idle_memory_mb(self._effort.idle_s)
                pss[contender.name], rss[contender.name] = [proportional], [full]
                session.end()
        return medians(pss_mb=pss, rss_mb=rss)

    def first_response(self) -> Figures:
        """Beside a real function, on a whole core."""
        return medians(response_cpu_ms=self._beside_a_function(self._effort.environments, None))

    def first_response_quota(self) -> Figures:
        """Beside a real function, with a small share of a core for both. NoQuota where that cannot be had."""
        with Quota() as quota:
            return medians(quota_response_cpu_ms=self._beside_a_function(self._effort.quota_environments, quota))

    def guard(self) -> Figures:
        """What the egress guard adds to calls that are audited."""
        with tempfile.TemporaryDirectory(prefix="extension-kit-guard-") as folder:
            return self._guard.measure(Path(folder))

    def response(self) -> Figures:
        """The upper end of what each adds to a function's response time; what cannot be told is absent."""
        upper: dict[str, float] = {}
        middle: dict[str, float] = {}
        programs = dict.fromkeys(response.NAMES) | ({response.FLOOR: self._floor.program} if self._floor else {})
        for name, program in programs.items():
            try:
                added = response.added_ms(name, self._effort.pairs, self._placement, self._python, program)
            except BenchError as error:
                self.absent[name] = str(error)
                continue
            upper[name], middle[name] = added.high, added.median
            upper[response.ALONE] = middle[response.ALONE] = added.alone
        return {"response_added_ms": upper, "response_median_ms": middle}

    def _beside_a_function(self, times: int, quota: Quota | None) -> Samples:
        chosen = list(self._beside.values())
        samples: Samples = {contender.name: [] for contender in chosen}
        for turn in range(times):
            for contender in rotated(chosen, turn):
                with contextlib.ExitStack() as stack:
                    more: tuple[dict[str, str], tuple[Path, ...]] = ({}, ())
                    if contender.name == "secret-cache":
                        given, folder = stack.enter_context(aws_behind_tls())
                        more = (given, (folder,))
                    elif contender.name == "log-shipper":
                        sink = stack.enter_context(contextlib.closing(CountingSink()))
                        more = ({"LOG_SHIPPER_SINK": "http", "LOG_SHIPPER_ENDPOINT": sink.url}, ())
                    samples[contender.name].append(first_response.cpu_ms(contender, self._placement, quota, *more))
        return samples


@dataclass(frozen=True)
class Section:
    """How it is measured, what that gives, and which contenders it needs."""

    measure: Callable[[Bench], Figures]
    metrics: tuple[str, ...]
    names: tuple[str, ...]


def _accepted(what: str) -> tuple[str, ...]:
    return tuple(f"{what}_{metric}" for metric in ("rate", "cpu", "whole_cpu", "peak_mb"))


_HIT = ("hit_us", "hit_new_us", "hit_cpu_us", "hit_busy_cpu_us", "hit_pss_mb", "hit_rss_mb")
_ALL_TELEMETRY = (*contenders.STORES, *contenders.DECODES)
SECTIONS = {
    "start": Section(Bench.start, ("register_ms", "next_ms"), contenders.LOOPS),
    "loop": Section(Bench.loop, ("event_us", "gap_event_us"), contenders.LOOPS),
    "memory": Section(Bench.memory, ("pss_mb", "rss_mb"), contenders.LOOPS),
    "first-response": Section(Bench.first_response, ("response_cpu_ms",), _BESIDE_A_FUNCTION),
    "first-response-quota": Section(Bench.first_response_quota, ("quota_response_cpu_ms",), _BESIDE_A_FUNCTION),
    "response": Section(Bench.response, ("response_added_ms", "response_median_ms"), (response.FLOOR,)),
    "telemetry-accept": Section(lambda bench: bench.telemetry.accept(), _accepted("accept"), contenders.STORES),
    "telemetry-small": Section(lambda bench: bench.telemetry.small(), _accepted("small"), contenders.STORES),
    "telemetry-large": Section(lambda bench: bench.telemetry.large(), _accepted("large"), contenders.STORES),
    "telemetry-decode": Section(
        lambda bench: bench.telemetry.decode(), ("decode_cpu", "decode_peak_mb"), contenders.DECODES
    ),
    "secret-hit": Section(lambda bench: bench.secrets.hit(), _HIT, contenders.CACHES),
    "secret-start": Section(lambda bench: bench.secrets.first_hit(), ("first_hit_ms",), ("secret-cache",)),
    "secret-callers": Section(lambda bench: bench.secrets.callers(), ("caller_us",), ("secret-cache",)),
    "shipping": Section(
        lambda bench: bench.shipping.deliver(), ("ship_cpu", "ship_rate", "ship_pss_mb"), contenders.SHIPPERS
    ),
    "shipping-billed": Section(lambda bench: bench.shipping.billed(), ("ship_billed_ms",), ("log-shipper",)),
    "shipping-redaction": Section(lambda bench: bench.shipping.redaction(), ("redact_us",), ()),
    "shipping-short": Section(
        lambda bench: bench.shipping.short(), ("ship_invoke_us", "ship_small_pss_mb"), contenders.SHIPPERS
    ),
    "collecting": Section(
        lambda bench: bench.collecting.measure(),
        ("collect_invoke_us", "collect_long_us", "collect_bytes", "collect_pss_mb"),
        contenders.COLLECTORS,
    ),
    "proxying": Section(
        lambda bench: bench.proxying.measure(),
        (
            "proxy_small_us",
            "proxy_large_ms",
            "proxy_small_cpu_us",
            "proxy_large_cpu_ms",
            "proxy_rss_mb",
            "proxy_peak_mb",
        ),
        contenders.PROXIES,
    ),
    "guard": Section(Bench.guard, guarding.METRICS, ()),
    "together": Section(lambda bench: bench.together.measure(), METRICS, contenders.TOGETHER),
    "telemetry-memory": Section(
        lambda bench: bench.telemetry.memory(), ("telemetry_pss_mb", "telemetry_rss_mb"), _ALL_TELEMETRY
    ),
}


def run(
    names: Sequence[str],
    sections: Sequence[str],
    rounds: int,
    effort: Effort,
    python: str,
    say: Callable[[str], object],
) -> tuple[list[Figures], dict[str, str], dict[str, object]]:
    """The figures of every round; what is absent, and why; what they were measured with."""
    absent = dict.fromkeys(set(contenders.NAMES) - set(names), "left out")
    needed = {name for section in sections for name in SECTIONS[section].names}
    with tempfile.TemporaryDirectory(prefix="extension-kit-bench-") as folder, _placed() as placement:
        workshop = contenders.Workshop(Path(folder), contenders.cache_folder(), python)
        made: dict[str, Contender] = {}
        say("making the extensions (the first time, compiling those in C and Go takes a minute)")
        for name in filter(needed.__contains__, names):
            try:
                made[name] = workshop.make(name)
            except contenders.Absent as error:
                absent[name] = str(error)
        bench = Bench(made, placement, effort, python)
        measured: list[Figures] = []
        for number in range(1, rounds + 1):
            figures: Figures = {}
            for section in sections:
                say(f"round {number} of {rounds}: {section}")
                try:
                    figures |= SECTIONS[section].measure(bench)
                except NoQuota as error:
                    absent |= dict.fromkeys(SECTIONS[section].metrics, str(error))
            measured.append(figures)
        absent |= (
            bench.telemetry.absent | bench.secrets.absent | bench.shipping.absent | bench.together.absent | bench.absent
        )
        about = {
            "kernel": platform.release(), "machine": platform.machine(), "placement": placement.text, "python": python,
            "made_by": {name: contender.made_by for name, contender in made.items()}, "absent": absent,
        }  # fmt: skip
    return measured, absent, about


def main(
    arguments: Sequence[str] | None = None,
    budgets: Sequence[Budget] = report.BUDGETS,
    names: Sequence[str] = contenders.NAMES,
    effort: Effort | None = None,
) -> int:
    """The command. Tests hand in other budgets, fewer contenders, less effort."""
    options = _parser().parse_args(arguments)
    if not sys.platform.startswith("linux"):
        print("bench: needs Linux (CPU clocks of other processes, smaps_rollup, pinning)", file=sys.stderr)
        return 2
    sections = options.only or list(SECTIONS)
    effort = effort or (QUICK if options.quick else Effort())
    say = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731 - one line, used once
    try:
        rounds, absent, about = run(names, sections, options.rounds, effort, options.python, say)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    wanted = {metric for section in sections for metric in SECTIONS[section].metrics}
    rows = [report.judge(budget, rounds, absent) for budget in budgets if budget.metric in wanted]
    print(f"{about['placement']}; Python: {options.python}; medians of {options.rounds} interleaved rounds\n")
    print(report.table(rows))
    for name, made_by in about["made_by"].items():
        print(f"{name}: {made_by}")
    if options.json:
        Path(options.json).write_text(json.dumps(report.as_json(rows, rounds, about), indent=1) + "\n")
    return int(any(row.verdict == report.MISSED for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured as JSON")
    parser.add_argument("--rounds", type=int, default=3, help="a budget is missed when it is missed in every round (3)")
    parser.add_argument("--quick", action="store_true", help="a fraction of the work, to see that all of it runs")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="one section; may be repeated")
    parser.add_argument("--python", default=contenders.find_python(), help="the interpreter of the Python extensions")
    return parser


@contextlib.contextmanager
def _placed() -> Iterator[measure.Placement]:
    """Pinned, and without the garbage collector, which would stop the platform in the middle of an event."""
    gc.disable()
    try:
        with measure.Placement() as placement:
            yield placement
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
