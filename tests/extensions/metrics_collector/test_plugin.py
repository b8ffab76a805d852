"""The plug-in between its events: which request a line belongs to, and what happens when there is nobody to write to."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from extension_kit.events import Invoke, Registration, Shutdown
from extension_kit.io.clock import Clock
from extension_kit.plugin import Context, Log, load
from extension_kit.protocol.deadline import Deadline
from extensions.metrics_collector.plugin import MetricsCollector
from extensions.metrics_collector.settings import CollectorSettings

HOME = Path(__file__).parents[3] / "extensions" / "metrics_collector"
DEADLINE = Deadline(0, lambda: 0)


@pytest.fixture
def context():
    registration = Registration("id", {"functionName": "orders", "functionVersion": "7"})
    log = Log("metrics-collector", lambda _line: None)
    return Context("metrics-collector", {}, log, Clock(), CollectorSettings(), registration)


@pytest.fixture
def collector(context):
    plugin = load("extensions.metrics_collector.plugin:MetricsCollector")
    plugin.start(context)
    yield plugin
    plugin._sampler.close()


def invoke(request_id: str) -> Invoke:
    return Invoke({"requestId": request_id})


def shutdown() -> Shutdown:
    return Shutdown({"shutdownReason": "spindown"})


def test_each_invocation_is_one_line_with_its_own_request_id(collector, capfd):
    """A line is written when the invocation has ended, that is at the next event."""
    collector.on_invoke(invoke("one"))
    assert capfd.readouterr().out == ""
    collector.on_invoke(invoke("two"))
    assert [json.loads(line)["requestId"] for line in capfd.readouterr().out.splitlines()] == ["one"]
    collector.on_shutdown(shutdown(), DEADLINE)
    (last,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert (last["requestId"], last["FunctionName"]) == ("two", "orders")
    assert last["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "LambdaExtensionKit"
    assert len(last["_aws"]["CloudWatchMetrics"][0]["Metrics"]) == 6


def test_a_shutdown_without_an_invocation_writes_nothing(collector, capfd):
    collector.on_shutdown(shutdown(), DEADLINE)
    assert capfd.readouterr().out == ""


def test_without_a_function_name_the_dimension_is_not_empty(collector, context, capfd):
    """CloudWatch drops what has an empty dimension."""
    context.registration = None
    collector.on_invoke(invoke("one"))
    collector.on_shutdown(shutdown(), DEADLINE)
    assert json.loads(capfd.readouterr().out)["FunctionName"] == "unknown"


def test_a_short_write_is_continued(collector, capfd, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    collector.on_invoke(invoke("one"))
    collector.on_shutdown(shutdown(), DEADLINE)
    assert json.loads(capfd.readouterr().out)["requestId"] == "one"


@pytest.mark.parametrize("error", [BrokenPipeError(), BlockingIOError(), OSError(9, "Bad file descriptor")])
def test_a_stdout_that_is_gone_costs_the_line_and_nothing_else(collector, context, monkeypatch, error):
    def fail(_fd, _data):
        raise error

    monkeypatch.setattr(os, "write", fail)
    collector.on_invoke(invoke("one"))
    collector.on_invoke(invoke("two"))
    monkeypatch.undo()
    assert context.counters == {"lines_lost": 1}


def test_a_figure_that_cannot_be_read_is_left_out_and_counted(collector, context, capfd):
    collector._sampler._tmp = "/nowhere"
    collector.on_invoke(invoke("one"))
    collector.on_shutdown(shutdown(), DEADLINE)
    assert context.counters == {"missing_tmp": 1}
    line = json.loads(capfd.readouterr().out)
    assert "TmpUsed" not in line
    assert "CpuUser" in line


@pytest.mark.parametrize(("written", "wrong"), [("My App/prod_#1:a.b-c", False), ("näme", True), ("x" * 256, True)])
def test_a_namespace_that_cloudwatch_would_refuse_is_not_used(written, wrong):
    settings, warnings = CollectorSettings.parse({"METRICS_COLLECTOR_NAMESPACE": written})
    assert len(warnings) == wrong
    assert settings.namespace == ("LambdaExtensionKit" if wrong else written)


def test_readme_and_manifest_say_what_the_declaration_says():
    manifest = tomllib.loads((HOME / "manifest.toml").read_text())
    assert CollectorSettings.markdown() in (HOME / "README.md").read_text()
    assert manifest["name"] == MetricsCollector.name
    assert isinstance(load(manifest["plugins"][0]), MetricsCollector)
    assert manifest["capabilities"]["variables"] == [setting.variable for setting in CollectorSettings.declared()]
