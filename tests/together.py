"""The four extensions beside one function, in one process or in four, and all of the outside world that they talk to."""

from __future__ import annotations

import json
import random
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from extension_kit.backends import prepare
from extension_kit.emulator import environment as emulated
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from extension_kit.testing import _ACCOUNT, _CLOCK, _STEPPED_CLOCK, _write_clock
from tests.conftest import ISOLATED, ROOT
from tests.receivers.aws import AwsFake
from tests.receivers.collector import Collector
from tests.receivers.otlp_metrics import OtlpMetrics

PLUGINS = {
    "secret-cache": "extensions.secret_cache.plugin:SecretCache",
    "log-shipper": "extensions.log_shipper.plugin:LogShipper",
    "metrics-collector": "extensions.metrics_collector.plugin:MetricsCollector",
    "chaos-injector": "extensions.chaos_injector.plugin:ChaosInjector",
}
ONE = "extension-kit"
SHIPPER = "log-shipper.http"
WRAPPER = "/opt/chaos-injector/wrapper"
#: Asks for both secrets each time, and prints so many lines; what it returns holds all that it was told.
FUNCTION = """
import http.client, json, os, sys
ASK = {"X-Aws-Parameters-Secrets-Token": os.environ["AWS_SESSION_TOKEN"]}
def get(path):
    connection = http.client.HTTPConnection("localhost", 2773, timeout=9)
    connection.request("GET", path, headers=ASK)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {body}")
    return json.loads(body)
def handler(event, context):
    for line in range(event.get("lines", 2)):
        print("line", event["n"], line)
    sys.stdout.flush()
    secret = get("/secretsmanager/get?secretId=db")["SecretString"]
    parameter = get("/systemsmanager/parameters/get?name=/app/limit")["Parameter"]["Value"]
    if "exit" in event:
        os._exit(event["exit"])
    if event.get("fail"):
        raise ValueError(event["n"])
    given = {"from_cache": os.environ["FROM_CACHE"]} if "FROM_CACHE" in os.environ else {}
    return {**event, **given, "secret": secret, "parameter": parameter}
"""


@dataclass
class World:
    """AWS, a sink for lines, a receiver of metrics: each as strict as we could make it. A context manager."""

    aws: AwsFake = field(default_factory=AwsFake)
    lines: Collector = field(default_factory=Collector)
    metrics: OtlpMetrics = field(default_factory=OtlpMetrics)

    def __enter__(self) -> Self:
        self.aws.__enter__()
        self.aws.put_secret("db", "one")
        self.aws.put_parameter("/app/limit", "5")
        return self

    def __exit__(self, *exc: object) -> None:
        self.metrics.close()
        self.lines.close()
        self.aws.__exit__()

    def variables(self, **more: str) -> dict[str, str]:
        """Of a function whose extensions talk to this world."""
        return {
            **self.aws.environ(), "SECRET_CACHE_JITTER": "0", "EXTENSION_KIT_FLUSH": "end",
            "LOG_SHIPPER_SINK": "http", "LOG_SHIPPER_ENDPOINT": self.lines.url, "LOG_SHIPPER_REDACT": "none",
            "METRICS_COLLECTOR_EXPORT": "otlp", "METRICS_COLLECTOR_ENDPOINT": self.metrics.url,
            "METRICS_COLLECTOR_INTERVAL": "0ms", **more,
        }  # fmt: skip


def armed(experiment: str) -> dict[str, str]:
    """The variables of a function with the chaos injector's wrapper and this document."""
    return {"CHAOS_ENABLED": "1", "CHAOS_EXPERIMENT": experiment, "AWS_LAMBDA_EXEC_WRAPPER": WRAPPER}


def launchers(folder: Path, groups: dict[str, tuple[str, ...]], prelude: str = "") -> tuple[Path, ...]:
    """Extension files that run plug-ins (`MODULE:CLASS`) of this checkout, one process for each of `groups`."""
    folder.mkdir(exist_ok=True)
    for name, plugins in groups.items():
        prepare.write_launcher(folder / name, plugins, prepare.search_path(str(ROOT)), _STEPPED_CLOCK + prelude)
    return tuple(folder / name for name in groups)


def one_process(*more: str) -> dict[str, tuple[str, ...]]:
    return {ONE: (*more, *PLUGINS.values())}


def four_processes() -> dict[str, tuple[str, ...]]:
    return {name: (plugin,) for name, plugin in PLUGINS.items()}


def _is_said(event: dict[str, Any]) -> bool:
    return event["kind"] == "log" and event["party"] != "runtime" and not event["text"].startswith(("{", "blocks "))


class Running:
    """An environment with the four, and what the tests look at. A context manager.

    Request ids come from the seed `ids`, so that what is decided by them is decided alike in every environment.
    """

    def __init__(
        self, folder: Path, groups: dict[str, tuple[str, ...]], variables: dict[str, str], *, ids: int = 1,
        prelude: str = "", world: World | None = None, **profile: Any,
    ) -> None:  # fmt: skip
        layer = folder / "layer"
        (layer / "chaos-injector").mkdir(parents=True)
        shutil.copy(ROOT / "extensions" / "chaos_injector" / "wrapper", layer / "chaos-injector" / "wrapper")
        (layer / "chaos-injector" / "wrapper").chmod(0o755)
        (layer / _CLOCK).parent.mkdir()
        _write_clock(layer, 0)
        function = folder / "task"
        function.mkdir()
        (function / "app.py").write_text(FUNCTION)
        layout = Layout(
            function=function,
            layers=(layer,),
            extensions=launchers(folder / "files", groups, prelude),
            variables=variables,
            namespaces=ISOLATED,
            visible=tuple(map(Path, prepare.search_path(str(ROOT)))),
        )
        self.parties = tuple(groups)
        self._ids = random.Random(ids)
        self._world = world
        self._offset_ms = 0
        self.environment = Environment(Profile(**{"handler": "app.handler", "timeout": 10.0, **profile}), layout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.environment.shutdown()

    def invoke(self, n: int, patience: float = 30.0, **event: Any) -> Any:
        """What the caller gets: the answer, or the type of its error."""
        request_id = str(uuid.UUID(int=self._ids.getrandbits(128), version=4))
        payload = json.dumps({"n": n, **event}).encode()
        future: emulated.Future[Any] = emulated.Future()
        invocation = emulated.Invocation(request_id, payload, future.set_result, "", emulated.new_trace())
        self.environment.call(lambda: self.environment.platform.invoke(invocation))
        result = future.result(patience)
        assert self.environment.idle(patience), self.environment.platform.phase
        answer = json.loads(result.payload)
        return answer["errorType"] if result.function_error else answer

    def step_clock(self, seconds: float) -> None:
        """The wall clock of the platform, of the plug-ins and of AWS jumps."""
        self._offset_ms += round(seconds * 1000)
        if self._world is not None:
            self._world.aws.skew = self._offset_ms / 1000
        _write_clock(self.environment.opt, self._offset_ms)
        self.environment.call(lambda: self.environment.step_clock(round(seconds * 1000)))

    def shutdown(self) -> None:
        self.environment.shutdown()

    def forget(self) -> None:
        """Of the record so far all but what is looked at here: it would be the largest thing of a long run."""
        events = self.environment.log.events
        events[:] = [event for event in events if event["kind"] == "process_start" or _is_said(event)]

    @property
    def said(self) -> list[str]:
        """Lines of the extensions, but for the chaos injector's audit."""
        return [text for text in self._texts if not text.startswith("{")]

    @property
    def _texts(self) -> list[str]:
        return [event["text"] for event in self.environment.log.of_kind("log") if event["party"] in self.parties]

    def audit(self, action: str = "inject") -> list[tuple[str, str]]:
        """(request, fault) of what the chaos injector did."""
        found = [json.loads(text) for text in self._texts if text.startswith('{"source":"chaos-injector"')]
        return [(one["request_id"], one["fault"]) for one in found if one["action"] == action]

    def count(self, kind: str) -> int:
        return len(self.environment.log.of_kind(kind))

    def accounts(self) -> dict[str, list[str]]:
        """What each plug-in's lines say has become of its records, one for each life of its process."""
        found: dict[str, list[str]] = {}
        for text in self.said:
            if match := _ACCOUNT.search(text):
                found.setdefault(match[1], []).append(match[0])
        return found

    def pids(self) -> list[int]:
        """Processes of the extensions that run now: the last ones, since the kernel uses numbers again."""
        started = {event["party"]: event["pid"] for event in self.environment.log.of_kind("process_start")}
        return [started[party] for party in self.parties]
