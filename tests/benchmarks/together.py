"""The section about one process for all: the four extensions in one process beside the same four in four.

All are beside a real function that needs a secret, fetched over TLS, in the emulator: extensions and function on one core, the
emulator on the other. The chaos injector is armed, with a fault that never happens, and its proxy in between; that holds back
the registration, during which the others load where they are in processes of their own, and after which where they are not.
What four processes take is the sum over them. In turns, so that whatever disturbs the machine disturbs both.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from extension_kit.protocol.timestamps import format_ms
from tests.benchmarks import measure
from tests.benchmarks.first_response import WITH_SECRET
from tests.benchmarks.platform_stub import BenchError
from tests.benchmarks.rounds import Effort, Samples, medians, rotated
from tests.benchmarks.secrets import aws_behind_tls
from tests.benchmarks.shipping import CountingSink

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.report import Figures

ONE, FOUR = "one process", "four processes"
#: what is sent: the collector's exporter, the shipper's sink ("": none)
EXPORTERS = {
    "EMF": ("emf", ""),
    "OTLP": ("otlp", ""),
    "http sink": ("emf", "http"),
    "OTLP, http sink": ("otlp", "http"),
}
#: of which times and CPU are told
_MAIN = "OTLP, http sink"
_PATIENCE = 60.0  # seconds
_SETTLED = 5  # invocations, before those that are measured: exporters are imported after the first response


class Together:
    """The measurements."""

    def __init__(self, made: dict[str, Contender], placement: measure.Placement, effort: Effort) -> None:
        wanted = {ONE: ("extension-kit",), FOUR: FOUR_NAMES}
        self._layers = {
            name: tuple(made[part].layer for part in parts)
            for name, parts in wanted.items()
            if all(part in made for part in parts)
        }
        missing = [name for name in wanted if name not in self._layers]
        #: in the words of the figures
        self.absent = dict.fromkeys(missing, "not all of the four could be made")
        self.absent |= {f"{name}, {exporter}": self.absent[name] for name in missing for exporter in EXPORTERS}
        self._placement = placement
        self._effort = effort

    def measure(self) -> Figures:
        """Init, CPU until the first response and for an invocation afterwards; PSS, also with each exporter alone."""
        found: dict[str, Samples] = {metric: {} for metric in METRICS}
        for turn in range(self._effort.environments):
            for name in rotated(list(self._layers), turn):
                for exporter in EXPORTERS:
                    one = self._one(self._layers[name], exporter)
                    found["together_pss_mb"].setdefault(f"{name}, {exporter}", []).append(one.pop("together_pss_mb"))
                    for metric, value in one.items() if exporter == _MAIN else ():
                        found[metric].setdefault(name, []).append(value)
        return medians(**found)

    def _one(self, layers: tuple[Path, ...], exporter: str) -> dict[str, float]:
        """One environment from its start to its end."""
        watch = _Watch(len(layers), self._placement)
        with contextlib.ExitStack() as stack:
            given, folder = stack.enter_context(aws_behind_tls())
            sink = stack.enter_context(contextlib.closing(CountingSink()))
            layout = Layout(
                function=WITH_SECRET,
                layers=layers,
                namespaces=not namespaces.unavailable(),
                variables={**given, **_variables(exporter, sink.url)},
                visible=(folder,),
            )
            profile = Profile(handler="app.handler", timeout=_PATIENCE, init_limit=_PATIENCE)
            environment = stack.enter_context(Environment(profile, layout, watch))
            for _ in range(1 + _SETTLED):
                _invoke(environment)
            before, count = watch.cpu_ns(), max(10, self._effort.small_posts // 5)
            for _ in range(count):
                _invoke(environment)
            spent = watch.cpu_ns() - before
            time.sleep(self._effort.idle_s)
            pss = sum(measure.memory_mb(pid)[0] for pid in watch.pids)
        return {
            "together_register_ms": watch.registered_ms,
            "together_next_ms": watch.next_ms,
            "together_response_cpu_ms": watch.response_ns / 1e6,
            "together_invoke_us": spent / count / 1e3,
            "together_pss_mb": pss,
        }


METRICS = (
    "together_register_ms", "together_next_ms", "together_response_cpu_ms", "together_invoke_us", "together_pss_mb",
)  # fmt: skip
FOUR_NAMES = ("secret-cache", "log-shipper", "metrics-collector", "chaos-injector")


class _Watch:
    """Places each process as soon as it has been started, and notes how far the extensions are."""

    def __init__(self, extensions: int, placement: measure.Placement) -> None:
        self._extensions = extensions
        self._placement = placement
        self._began_ms = 0.0
        self._registered = 0
        self._waiting: set[str] = set()
        self.pids: list[int] = []
        self.registered_ms = self.next_ms = 0.0
        self.response_ns = 0

    def __call__(self, event: dict[str, Any]) -> None:
        """One event of the record, on the emulator's own thread."""
        kind = event["kind"]
        if kind == "process_start":
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(event["pid"], {self._placement.extension})
            if event["party"] != "runtime":
                self._began_ms = self._began_ms or event["t_ms"]
                self.pids.append(event["pid"])
        elif kind == "registered":
            self._registered += 1
            if self._registered == self._extensions:
                self.registered_ms = event["t_ms"] - self._began_ms
        elif event.get("call") == "extension/event/next" and kind == "request" and not self.next_ms:
            self._waiting.add(event["party"])
            if len(self._waiting) == self._extensions:
                self.next_ms = event["t_ms"] - self._began_ms
        elif kind == "response" and not self.response_ns:
            self.response_ns = self.cpu_ns()

    def cpu_ns(self) -> int:
        """CPU of all extensions so far."""
        return sum(measure.cpu_ns(pid) for pid in self.pids)


def _invoke(environment: Environment) -> None:
    result = environment.invoke(b"{}").result(_PATIENCE)
    if result.function_error or not environment.idle(_PATIENCE):
        raise BenchError(f"the function failed beside the four: {result.payload[:500]!r}")


def _variables(exporter: str, url: str) -> dict[str, str]:
    metrics, sink = EXPORTERS[exporter]
    shipper = {"LOG_SHIPPER_SINK": sink, "LOG_SHIPPER_ENDPOINT": url} if sink else {}
    now_ms = time.time_ns() // 1_000_000
    experiment = (
        f'{{"version": 1, "id": "bench", "owner": "bench", "armed_until": "{format_ms(now_ms + 1_800_000)}", '
        '"scope": {"functions": ["*"]}, "faults": [{"type": "delay", "percentage": 0, "params": {"ms": 1}}]}'
    )
    return {
        **shipper, "METRICS_COLLECTOR_EXPORT": metrics, "METRICS_COLLECTOR_ENDPOINT": url, "EXTENSION_KIT_FLUSH": "end",
        "METRICS_COLLECTOR_INTERVAL": "1s", "CHAOS_ENABLED": "1", "CHAOS_EXPERIMENT": experiment, "CHAOS_LOG_SKIPS": "few",
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/chaos-injector/wrapper",
    }  # fmt: skip
