"""One layer, built as `make layers` builds it, in the emulator, under AWS's emulator, and in the image: the records agree.

AWS's emulator delivers no telemetry: an invocation ends there with the next event, and its line lacks the platform's own
figures. That is the only difference, and it is checked as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import Any

import pytest

from layer_build import interpreters
from layer_build.tree import read
from tests.conftest import ROOT
from tests.docker import engine as engines
from tests.docker.engine import PYTHON

engines.require()

EVENTS = ({"n": 1}, {"n": "two"}, {"n": [3]})
FUNCTION = """
import json
def handler(event, context):
    answer = {"had": event["n"]}
    print("answer " + json.dumps(answer) + "\\n", end="")
    return answer
"""
#: what the platform tells of an invocation, where it tells anything
PLATFORMS = {"faas.invoke_duration", "faas.mem_usage"}


@dataclass(frozen=True)
class Told:
    """What a record tells that must be the same wherever the layer ran."""

    healthy: bool
    registered: list[tuple[str, list[str]]]
    extensions: list[str]
    invokes: int
    answers: list[str]
    sizes: list[int]
    errors: list[str]
    #: invocations that the metrics count, of which the last are written at SHUTDOWN at the latest
    counted: float
    metrics: set[str]
    dimensions: set[str]
    ended: list[str]
    fatal: list[str]


@pytest.fixture
def layer(built):
    """The metrics collector's."""
    return built("metrics-collector")


@pytest.fixture
def record(layer, lab):
    """Runs the layer on a backend; its exit status and the record."""
    function = lab.function(FUNCTION)
    payloads = []
    for number, event in enumerate(EVENTS):
        path = lab.folder / f"event-{number}.json"
        path.write_text(json.dumps(event))
        payloads += ["--event", str(path)]

    def run(backend: str, *options: str) -> tuple[int, dict[str, Any]]:
        out = lab.folder / f"{backend}.json"
        done = subprocess.run(
            [sys.executable, "-m", "extension_kit.cli", "run", "--backend", backend, "--function", str(function),
             "--handler", "app.handler", "--layer", str(layer), *payloads, "--gap-ms", "50", "--timeout", "10",
             "--json", str(out), *options],
            cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert out.exists(), done.stdout + done.stderr
        return done.returncode, json.loads(out.read_text())

    return run


def told(status: int, record: dict[str, Any]) -> Told:
    def of(kind: str) -> list[dict[str, Any]]:
        return [event for event in record["events"] if event["kind"] == kind]

    texts = [event["text"] for event in of("log")]
    emf = [json.loads(text) for text in texts if text.startswith('{"_aws":')]
    blocks = [block for line in emf for block in line["_aws"]["CloudWatchMetrics"]]
    return Told(
        healthy=status == 0,
        registered=[(event["party"], event["events"]) for event in of("registered")],
        extensions=record["profile"]["extensions"],
        invokes=len(of("invoke_start")),
        answers=[text for text in texts if text.startswith("answer ")],
        sizes=[event["bytes"] for event in of("response")],
        errors=[event["error_type"] for event in of("response")],
        counted=sum(sum(line.get("faas.invocations", ())) for line in emf),
        metrics={metric["Name"] for block in blocks for metric in block["Metrics"]},
        dimensions={name for block in blocks for names in block["Dimensions"] for name in names},
        ended=[event["party"] for event in of("process_exit") if event["party"] != "runtime"],
        fatal=[event["error_type"] for event in of("fatal")],
    )


def test_the_three_records_agree(record, image):
    """Registrations, invocations, answers, metrics, the end."""
    # Outside Lambda, somebody has to say which Python; in the image it is where it is on Lambda.
    here = ["--env", f"EXTENSION_KIT_PYTHON={interpreters.find(PYTHON)[0]}"]
    in_emulator = told(*record("emulator", *here))
    under_rie = told(*record("rie", *here))
    in_image = told(*record("docker"))

    assert in_image == under_rie
    assert in_image == Told(
        healthy=True,
        registered=[("metrics-collector", ["INVOKE", "SHUTDOWN"])],
        extensions=["metrics-collector"],
        invokes=3,
        answers=['answer {"had": 1}', 'answer {"had": "two"}', 'answer {"had": [3]}'],
        sizes=[len(json.dumps({"had": event["n"]})) for event in EVENTS],
        errors=["", "", ""],
        counted=3,
        metrics=in_image.metrics,
        dimensions={"faas.name"},
        ended=["metrics-collector"],
        fatal=[],
    )
    assert {"faas.invocations", "faas.cpu_usage"} <= in_image.metrics
    assert in_emulator == replace(in_image, metrics=in_image.metrics | PLATFORMS)


def test_the_layer_is_in_the_image_as_it_was_built(layer, run, lab):
    """Every file, its bytes and mode; nothing of it in the function's sys.path and environment."""
    function = lab.function(LISTS)
    outcome = run(function, layer)
    found = json.loads(outcome.invoked[0].payload)

    assert outcome.healthy
    assert found["files"] == {path: [len(entry.data), entry.executable] for path, entry in read(layer).items()}
    assert [path for path in found["path"] if "metrics-collector" in path] == []
    assert [name for name in found["variables"] if "EXTENSION" in name] == []


LISTS = """
import os, sys
def handler(event, context):
    files = {}
    for parent, folders, names in os.walk("/opt"):
        for name in names:
            path = os.path.join(parent, name)
            files[os.path.relpath(path, "/opt")] = [os.path.getsize(path), os.access(path, os.X_OK)]
    return {"files": files, "path": sys.path, "variables": list(os.environ)}
"""
