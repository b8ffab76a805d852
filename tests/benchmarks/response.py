"""What an extension adds to the time in which a function responds: pairs of invokes, with and without it, one after the other.

Two environments live side by side, equal but for the extension; each pair invokes both, in turns who is first, and waits until
everybody is done. What is looked at is the median of the differences, with its interval by order statistics: no assumption
about how times are spread, and one slow pair in twenty moves nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from tests.benchmarks.platform_stub import BenchError
from tests.benchmarks.shipping import CountingSink
from tests.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks import measure

ROOT = Path(__file__).parents[2]
FUNCTION = ROOT / "tests" / "functions" / "hello"
HEALTHY, DEAD, SLOW, COLLECTOR = (
    "shipper, sink healthy",
    "shipper, sink dead",
    "shipper, sink slow",
    "metrics-collector",
)
SECRETS = "secret-cache"
LINES = "log-shipper"
NAMES = (HEALTHY, DEAD, SLOW, COLLECTOR, SECRETS, LINES)
ALONE = "function alone"
#: an extension in C that does nothing: what any extension adds here, the emulator's own share included
FLOOR = "c"
_GAP_S = 0.04  # before each invoke: longer than any of these works on after a response
_MOST = 5  # times the pairs that were asked for, until there is a result
_WIDE = 0.2  # ms; an interval of which half is wider is no result
_ENTRY = """#!{python} -IS
import sys
sys.path.insert(0, {root!r})
from extension_kit import Plugin, run
{code}
"""


def interval(differences: list[float]) -> tuple[float, float, float]:
    """The median of some differences and its 95 % interval (low, median, high), by the sign test."""
    ranked = sorted(differences)
    count = len(ranked)
    # Of n fair coins 1.96 standard deviations show between these two ranks.
    reach = math.ceil(1.96 * math.sqrt(count) / 2)
    low, high = max(0, count // 2 - reach), min(count - 1, count // 2 + reach)
    middle = (ranked[(count - 1) // 2] + ranked[count // 2]) / 2
    return ranked[low], middle, ranked[high]


@dataclass(frozen=True)
class Added:
    """What an extension adds (ms), with the ends of its interval; and the median response of the function ``alone``."""

    low: float
    median: float
    high: float
    alone: float


def added_ms(name: str, pairs: int, placement: measure.Placement, python: str, program: Path | None = None) -> Added:
    """What the extension `name` adds; BenchError where even many pairs tell nothing. ``program``: it, where it is a program."""
    with _environments(name, placement, python, program) as (bare, beside):
        differences: list[float] = []
        alone: list[float] = []
        for _ in range(3):
            _response_ms(bare), _response_ms(beside)  # warm
        while True:
            for number in range(pairs):
                first, second = (bare, beside) if number % 2 else (beside, bare)
                times = {first: _response_ms(first), second: _response_ms(second)}
                differences.append(times[beside] - times[bare])
                alone.append(times[bare])
            low, middle, high = interval(differences)
            if high - low <= 2 * _WIDE:
                return Added(low, middle, high, statistics.median(alone))
            if len(differences) >= _MOST * pairs:
                raise BenchError(f"{name}: no result: +-{(high - low) / 2:.2f} ms after {len(differences)} pairs")


def _response_ms(environment: Environment) -> float:
    """One invoke, until everybody is done with it; the time up to the function's response.

    A gap comes first, the same for both: who is invoked again at once finds its core awake and its caches warm, which an
    extension that works on after the response could not, whatever it does (one that only sleeps 30 ms "adds" 0.08 ms that way).
    """
    time.sleep(_GAP_S)
    result = environment.invoke(b'{"spend_ms": 0}').result(30)
    environment.idle(30)
    if result.function_error:
        raise BenchError(f"the function failed: {result.payload[:200]!r}")
    return float(next(e["duration_ms"] for e in reversed(environment.log.events) if e["kind"] == "response"))


@contextlib.contextmanager
def _environments(
    name: str, placement: measure.Placement, python: str, given: Path | None
) -> Iterator[tuple[Environment, Environment]]:
    """The function alone, and with the extension."""

    def place(event: dict[str, Any]) -> None:
        if event["kind"] == "process_start":
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(event["pid"], {placement.extension})

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        sink = Sink()
        stack.callback(sink.close)
        sink.dead, sink.delay = name == DEAD, 60.0 if name == SLOW else 0.0
        code = sink.plugin()
        if name == COLLECTOR:
            code = "run('extensions.metrics_collector.plugin:MetricsCollector')"
        elif name == SECRETS:
            code = "run('extensions.secret_cache.plugin:SecretCache')"
        variables = {}
        if name == LINES:
            taking = stack.enter_context(contextlib.closing(CountingSink()))
            variables = {"LOG_SHIPPER_SINK": "http", "LOG_SHIPPER_ENDPOINT": taking.url}
            code = "sys.path.append(%r)\nrun('extensions.log_shipper.plugin:LogShipper')" % os.path.dirname(
                requests.__path__[0]
            )
        program = given or folder / "extension"
        if given is None:
            program.write_text(_ENTRY.format(python=python, root=str(ROOT), code=code))
            program.chmod(0o755)
        # A sink that never answers holds a flush until the deadline, now and then: the timeout is short.
        profile = Profile(handler="app.handler", timeout=1.0)
        isolated = not namespaces.unavailable()
        made = [
            stack.enter_context(
                Environment(
                    profile,
                    Layout(function=FUNCTION, extensions=extensions, namespaces=isolated, variables=variables),
                    place,
                )
            )
            for extensions in ((), (program,))
        ]
        yield made[0], made[1]
