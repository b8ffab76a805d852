"""The Chaos Toolkit module: its actions and probes, and the example, whose every step can be called as it stands."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest

from extension_kit.errors import ConfigError
from extension_kit.io.clock import Clock
from extensions.chaos_injector import chaostoolkit
from tests.extensions.chaos_injector.rails_bench import document

FOLDER = Path(__file__).parents[3] / "extensions" / "chaos_injector"
EXAMPLE = json.loads((FOLDER / "chaostoolkit.json").read_text())
CLOCK = Clock()


@pytest.fixture
def ask(environ, ask, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return ask


def steps():
    return [one for one in EXAMPLE["method"] + EXAMPLE["rollbacks"] if one["provider"]["type"] == "python"]


@pytest.mark.parametrize("step", steps(), ids=lambda step: step["name"])
def test_every_step_of_the_example_can_be_called(step):
    function = getattr(importlib.import_module(step["provider"]["module"]), step["provider"]["func"])
    inspect.signature(function).bind(**step["provider"]["arguments"], configuration={})


def test_the_example(ask):
    """Armed, seen, counted, rolled back; and nothing else is asked of AWS than that parameter and the logs."""
    logs = ask("logs")
    logs.create_log_group(logGroupName="/aws/lambda/checkout")
    logs.create_log_stream(logGroupName="/aws/lambda/checkout", logStreamName="s")
    line = '{"source":"chaos-injector","action":"%s","experiment":"%s"}'
    messages = [
        line % ("inject", "slow-checkout"), line % ("skip", "slow-checkout"), line % ("inject", "other"),
        "chaos-injector inject",
        json.dumps({"time": "x", "type": "extension", "record": line % ("inject", "slow-checkout")}),
    ]  # fmt: skip
    logs.put_log_events(
        logGroupName="/aws/lambda/checkout", logStreamName="s",
        logEvents=[{"timestamp": CLOCK.wall_ms(), "message": one} for one in messages],
    )  # fmt: skip
    outcomes = []
    for step in steps():
        provider = step["provider"]
        outcomes.append(
            getattr(chaostoolkit, provider["func"])(**provider["arguments"], configuration={"aws_region": "eu-west-1"})
        )
    armed, seen, count, rolled_back = outcomes
    assert (armed["state"], seen, count, rolled_back["state"]) == ("armed", True, 2, "disarmed")
    assert armed["experiment"]["owner"] == "chaostoolkit"
    assert not chaostoolkit.is_armed("ssm:/chaos/checkout")


def test_the_rollback_of_the_example_leaves_alone_what_somebody_else_has_armed(tmp_path):
    """Chaos Toolkit rolls back also where `arm` was refused because of that."""
    source = f"file:{tmp_path}/e.json"
    chaostoolkit.arm(document(now_ms=CLOCK.wall_ms()), source)
    (rollback,) = EXAMPLE["rollbacks"]
    with pytest.raises(RuntimeError, match="another document than slow-checkout"):
        chaostoolkit.disarm(**{**rollback["provider"]["arguments"], "source": source})
    assert chaostoolkit.is_armed(source, "slow")


def test_actions_that_fail_raise(tmp_path):
    """What Chaos Toolkit goes by. The rollback does not fail where nothing is armed."""
    source = f"file:{tmp_path}/e.json"
    assert chaostoolkit.disarm(source)["state"] == "none"
    with pytest.raises(RuntimeError, match="nothing is armed"):
        chaostoolkit.extend(source)
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(document(now_ms=0)))
    assert chaostoolkit.arm(str(path), source)["state"] == "armed"
    with pytest.raises(RuntimeError, match="has a document already"):
        chaostoolkit.arm(str(path), source)
    with pytest.raises(RuntimeError, match="use --owner jane"):
        chaostoolkit.extend(source)
    assert chaostoolkit.extend(source, 900, owner="jane")["state"] == "extended"
    assert chaostoolkit.is_armed(source, "slow")
    assert not chaostoolkit.is_armed(source, "other")
    with pytest.raises(ConfigError, match="nothing is armed"):
        chaostoolkit.arm({"version": 1, "off": True}, f"file:{tmp_path}/other.json")
