"""Runs a scenario on a backend and writes down, field by field, what its extensions and its caller were told."""

from __future__ import annotations

import http.client
import json
import re
import time
from typing import TYPE_CHECKING, Any

from extension_kit.backends import rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.faults import Faults
from extension_kit.emulator.model import Profile
from tests.conformance.scenarios import PRELUDE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conformance.scenarios import Scenario

Transcript = dict[str, Any]
Asked = tuple[int, dict[str, str], bytes]

_VARIABLE = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\b1\d{12}\b"), "<epoch ms>"),
    (re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0"), "<new trace>"),
)
_HEADERS = ("x-amz-function-error",)


def run(scenario: Scenario, backend: str, folder: Path) -> Transcript:
    """What came of `scenario` on ``emulator`` or ``rie``; `folder` is empty and ours."""
    layout = _layout(scenario, folder)
    profile = Profile(
        function_name="myfn", function_version="7", handler="app.handler", timeout=float(scenario.timeout),
        runtime_share_ms=600, freeze=False, init_limit=scenario.init_limit,
        # AWS's emulator has telemetry in its Managed Instances mode only: that comparison stands in test_telemetry_shapes.
        faults=Faults.parse(("telemetry-unsupported",)),
    )  # fmt: skip
    if backend == "rie":
        judge = RieEnvironment(profile, layout, rie_binary.binary())
        with judge:
            answers = _invokes(scenario, judge.ask)
        return _transcript(answers, judge.log.events)
    environment = Environment(profile, layout)
    with environment:
        answers = _invokes(scenario, lambda payload, trace: _ask(environment, payload, trace))
        environment.idle(5)
    return _transcript(answers, environment.log.events)


def _layout(scenario: Scenario, folder: Path) -> Layout:
    function = folder / "function"
    function.mkdir(parents=True)
    (function / "app.py").write_text(scenario.function)
    paths = []
    for name, script in scenario.extensions.items():
        path = folder / name
        path.write_bytes(script if isinstance(script, bytes) else (PRELUDE + script).encode())
        path.chmod(scenario.modes.get(name, 0o755))
        paths.append(path)
    return Layout(function=function, extensions=tuple(paths))


def _invokes(scenario: Scenario, ask: Any) -> list[Asked]:
    answers = []
    for number, payload in enumerate(scenario.invokes):
        if number:
            time.sleep(scenario.pause)
        try:
            answers.append(ask(payload, scenario.trace))
        except (OSError, http.client.HTTPException) as error:
            answers.append((0, {}, type(error).__name__.encode()))
    return answers


def _ask(environment: Environment, payload: bytes, trace: str) -> Asked:
    environment.idle(
        10
    )  # the judge's answer waits for the extensions: so that invokes meet the same state, ours waits here
    connection = http.client.HTTPConnection("127.0.0.1", environment.invoke_port, timeout=30)
    headers = {"X-Amzn-Trace-Id": trace} if trace else {}
    connection.request("POST", "/2015-03-31/functions/function/invocations", payload, headers)
    answer = connection.getresponse()
    fields = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read()
    connection.close()
    return answer.status, fields, body


def _transcript(answers: list[Asked], events: list[dict[str, Any]]) -> Transcript:
    fields: Transcript = {}
    for number, (status, headers, body) in enumerate(answers, 1):
        place = f"invoke {number}"
        fields[f"{place}: status"] = status
        for name in _HEADERS:
            fields[f"{place}: {name}"] = headers.get(name, "absent")
        _body(fields, place, body.decode("utf-8", "replace"))
    told: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event["kind"] == "log" and event["text"].startswith("@@"):
            exchange = json.loads(event["text"][2:])
            told.setdefault(exchange.pop("who"), []).append(exchange)
    for who, exchanges in sorted(told.items()):
        fields[f"{who}: exchanges"] = len(exchanges)
        for number, exchange in enumerate(exchanges, 1):
            body = exchange.pop("body")
            place = f"{who} {number} {exchange.pop('step')}"
            fields.update({f"{place}: {name}": value for name, value in exchange.items()})
            _body(fields, place, body)
    return fields


def _body(fields: Transcript, place: str, body: str) -> None:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        fields[f"{place}: body"] = _steady(body)
        return
    fields[f"{place}: body keys"] = " ".join(content)
    for name, value in content.items():
        fields[f"{place}: body.{name}"] = _steady(json.dumps(value)) if name != "stackTrace" else type(value).__name__


def _steady(text: str) -> str:
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return text
