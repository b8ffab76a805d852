"""One run of one of the two functions, with any of the four extensions, on any backend."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.backends.plan import Plan
from extension_kit.errors import ConfigError
from tests.demo import functions, receivers
from tests.demo.homesick.dependency import HOME
from tests.demo.layers import EXTENSIONS, JOINT, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.backends.plan import Outcome

    Listener = Callable[[dict[str, Any]], object]

_REFUSED = re.compile(r"refused in all: connections (\d+)")
_HELLO = ROOT / "tests" / "functions" / "hello"
MEMORY_MB = 256
TIMEOUT = 10.0  # seconds
_GAP_MS = 20
PLAN = Path(__file__).with_name("experiment.toml")


@dataclass(frozen=True)
class Demo:
    """What every run needs. ``layers``: the zips by extension; ``staged``: the functions' folders; ``more``: of the user."""

    backend: str
    seed: int
    layers: dict[str, Path]
    staged: dict[str, Path]
    receivers: receivers.Receivers
    more: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        function: str,
        events: list[dict[str, Any]],
        layers: tuple[str, ...] = EXTENSIONS,
        group: str = receivers.SHOWN,
        listener: Listener | None = None,
    ) -> Outcome:
        """ConfigError for what cannot be run, or did not stay healthy."""
        shop = function == "shop"
        plan = Plan(
            function=self.staged[function] if shop else None,
            handler="app.handler" if shop else "",
            bootstrap=None if shop else self.staged[function] / "bootstrap",
            layers=tuple(self.layers[name] for name in layers),
            events=functions.payloads(events),
            invokes=len(events),
            gap_ms=_GAP_MS,
            timeout=TIMEOUT,
            memory_mb=MEMORY_MB,
            variables=self._variables(EXTENSIONS if JOINT in layers else layers, group),
            request_ids=self._request_ids(function, len(events)),
            seed=self.seed,
        )
        outcome: Outcome = importlib.import_module(f"extension_kit.backends.{self.backend}").run(plan, listener)
        if not outcome.healthy:
            raise ConfigError(
                f"{function} with {', '.join(layers) or 'nothing'} did not stay healthy; {'; '.join(outcome.notes)}"
            )
        return outcome

    def refused(self) -> tuple[int, str] | None:
        """How many connections of a dependency that phones home the egress guard refused in one invocation, and what it said.

        None: the backend runs nothing but layers.
        """
        if self.backend == "docker":
            return None
        plan = Plan(_HELLO, "app.handler", plugins=("tests.demo.homesick.plugin:Homesick",))
        outcome: Outcome = importlib.import_module(f"extension_kit.backends.{self.backend}").run(plan, None)
        lines = [
            event["text"] for event in outcome.events if event["kind"] == "log" and "egress guard: " in event["text"]
        ]
        counts = [int(found[1]) for found in map(_REFUSED.search, lines) if found]
        return sum(counts), next((text for text in lines if HOME[0] in text), "nothing")

    def _request_ids(self, function: str, count: int) -> tuple[str, ...]:
        """The same for the same seed, and so the same faults; AWS's emulator chooses its own."""
        if self.backend != "emulator":
            return ()
        return tuple(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed} {function} {n}")) for n in range(count))

    def _variables(self, extensions: tuple[str, ...], group: str) -> dict[str, str]:
        aws = self.receivers.moto.url
        settings = {
            "secret-cache": {"SECRET_CACHE_ALLOW": "shop/*"},
            "log-shipper": {
                "LOG_SHIPPER_SINK": "cloudwatch", "LOG_SHIPPER_TARGET": group, "LOG_SHIPPER_MIN_LEVEL": "info",
            },
            "metrics-collector": {
                "METRICS_COLLECTOR_EXPORT": "otlp", "METRICS_COLLECTOR_ENDPOINT": self.receivers.rotel.url,
            },
            "chaos-injector": {
                "CHAOS_ENABLED": "1", "CHAOS_SOURCE": f"file:/var/task/{functions.EXPERIMENT}",
                "AWS_LAMBDA_EXEC_WRAPPER": "/opt/chaos-injector/wrapper",
            },
        }  # fmt: skip
        given = {
            "EXTENSION_KIT_AWS_ENDPOINT_URL": aws,
            # Of what is shown there is a page, with every flush on it.
            "EXTENSION_KIT_LOG_LEVEL": "debug" if group == receivers.SHOWN else "info",
            "AWS_REGION": receivers.REGION,
        }
        for name in extensions:
            given |= settings[name]
        if "secret-cache" not in extensions:
            given["SHOP_SIGNING_KEY"] = receivers.KEY
        return given | self.more


def planned() -> str:
    """The experiment's faults, in a line."""
    return ", ".join(f"{one['type']} {one['percentage']} %" for one in tomllib.loads(PLAN.read_text())["faults"])


def arm(demo: Demo) -> None:
    """The experiment, armed for both functions by the injector's own command."""
    text = f'seed = "{demo.seed}"\n{PLAN.read_text()}'
    for place in demo.staged.values():
        _driver("arm", "-", "--for", "10m", "--source", _source(place), typed=text)


def disarm(demo: Demo) -> None:
    for place in demo.staged.values():
        _driver("disarm", "--source", _source(place))


def _source(place: Path) -> str:
    return f"file:{place / functions.EXPERIMENT}"


def _driver(*words: str, typed: str = "") -> None:
    command = [sys.executable, "-m", "extensions.chaos_injector", *words]
    done = subprocess.run(command, cwd=ROOT, input=typed, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise ConfigError(f"chaos injector {words[0]}: {(done.stderr or done.stdout).strip()}")
