"""The plug-in between its events: what is exported when, what happens when nobody can be written to, and in which modes."""

from __future__ import annotations

import json
import os
import time
import tomllib
from pathlib import Path

import pytest

from extension_kit.events import Invoke, Registration, Restore, Shutdown
from extension_kit.io.clock import Clock
from extension_kit.plugin import Context, Log, load
from extension_kit.protocol.deadline import Deadline
from extensions.metrics_collector.plugin import MetricsCollector
from extensions.metrics_collector.prices import AS_OF, cost_usd
from extensions.metrics_collector.settings import CollectorSettings
from tests.extensions.metrics_collector.names import markdown
from tests.extensions.metrics_collector.test_invocations import T0, done, event, report
from tests.receivers.collector import Collector

HOME = Path(__file__).parents[3] / "extensions" / "metrics_collector"


def deadline(ms=2_000, reason="end"):
    return Deadline(int(time.time() * 1000) + ms, lambda: int(time.time() * 1000), 0, reason)


@pytest.fixture
def said():
    return []


@pytest.fixture
def collector_of(said):
    """A plug-in that was started; settings by keyword."""
    made = []

    def make(init_type="on-demand", stream_id="cafe", registration=None, **settings):
        known = registration or Registration("id", {"functionName": "orders", "functionVersion": "7"})
        environ = {"AWS_LAMBDA_INITIALIZATION_TYPE": init_type, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}
        context = Context(
            "metrics-collector",
            environ,
            Log("metrics-collector", said.append),
            Clock(),
            CollectorSettings(**settings),
            known,
        )
        context.stream_id = stream_id
        plugin = load("extensions.metrics_collector.plugin:MetricsCollector")
        plugin.start(context)
        made.append(plugin)
        return plugin

    yield make
    for plugin in made:
        plugin._sampler.close()


def invoke(request_id: str) -> Invoke:
    return Invoke({"requestId": request_id})


def run(plugin, request_id, **more):
    plugin.on_invoke(invoke(request_id))
    record = done(request_id, int(time.time() * 1000), **more)
    plugin.on_telemetry([record])
    plugin.on_runtime_done(record)


def documents(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_invocations_that_follow_each_other_go_together(collector_of, capfd):
    """Nothing is written before the end; a document for what came within the interval."""
    plugin = collector_of()
    run(plugin, "r1")
    assert documents(capfd) == []
    plugin.flush("end", deadline())
    (first,) = documents(capfd)
    assert (first["faas.invocations"], first["request_ids"], first["faas.name"]) == ([1.0], ["r1"], "orders")
    for name in ("r2", "r3"):
        run(plugin, name)
        plugin.flush("end", deadline())
    assert documents(capfd) == []
    plugin.on_telemetry([report("r3")])
    plugin.flush("shutdown", deadline(reason="shutdown"))
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline())
    (second,) = documents(capfd)
    assert (second["faas.invocations"], second["request_ids"]) == ([1.0, 1.0], ["r2", "r3"])
    assert second["lambda.estimated_cost"] > 0


def test_one_document_for_each_invocation_where_dashboards_count_them(collector_of, capfd):
    """Profile lambda_insights: when its report has come, or at the end."""
    plugin = collector_of(profile="lambda_insights", interval=0)
    run(plugin, "r1")
    plugin.flush("end", deadline())
    assert documents(capfd) == []
    plugin.on_telemetry([report("r1")])
    run(plugin, "r2")
    plugin.flush("end", deadline())
    (first,) = documents(capfd)
    assert (first["request_id"], first["used_memory_max"], first["event_type"]) == ("r1", [64.0], "performance")
    assert first["cpu_total_time"][0] >= 0
    plugin.flush("shutdown", deadline(reason="shutdown"))
    (second,) = documents(capfd)
    assert second["request_id"] == "r2"


def test_a_sample_is_taken_at_each_edge_and_no_more_often(collector_of, monkeypatch):
    """At INVOKE the one of the end before it, unless something of ours was sent since."""
    plugin = collector_of()
    taken = []
    sample = plugin._sampler.sample
    monkeypatch.setattr(plugin._sampler, "sample", lambda: taken.append(1) or sample())
    run(plugin, "r1")
    assert len(taken) == 2
    run(plugin, "r2")
    assert len(taken) == 3
    plugin.flush("end", deadline())
    run(plugin, "r3")
    assert len(taken) == 5
    plugin.on_restore(Restore("snapshot"))
    run(plugin, "r4")
    assert len(taken) == 7


def test_an_environment_without_telemetry(collector_of, capfd):
    """The edges alone: how many, and what they took; the last one by the reason of the end."""
    plugin = collector_of(stream_id="")
    for name in ("r1", "r2"):
        plugin.on_invoke(invoke(name))
    plugin.on_shutdown(Shutdown({"shutdownReason": "timeout"}), deadline())
    (document,) = documents(capfd)
    assert (document["faas.invocations"], document["faas.timeouts"], document["faas.coldstarts"]) == (
        [1.0],
        [1.0],
        [1.0],
    )
    assert len(document["faas.cpu_usage"]) == 2


def test_a_flush_amid_an_invocation_is_no_edge_of_it(collector_of, capfd):
    """Without telemetry the kit flushes beside the handler: what it takes belongs to this invocation and not to the next."""
    plugin = collector_of(stream_id="", interval=0)
    for name in ("r1", "r2"):
        plugin.on_invoke(invoke(name))
        plugin.flush("interval", deadline())
        assert plugin._last is None
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline())
    assert sum(len(one.get("faas.cpu_usage", ())) for one in documents(capfd)) == 2


def test_a_burst_is_exported_before_there_is_no_more_room(collector_of, said, capfd):
    """However long the interval is."""
    plugin = collector_of(interval=600_000, families=("memory",))
    for number in range(3_000):
        run(plugin, f"r{number}")
        if number % 100 == 0:
            plugin.flush("end", deadline())
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline(10_000))
    assert sum(len(one["faas.invocations"]) for one in documents(capfd)) == 3_000
    assert said == []


def test_an_exporter_that_hangs_leaves_time_for_the_other(collector_of, capfd):
    """Whichever comes first."""
    from tests.receivers.collector import Fault

    with Collector() as receiver:
        plugin = collector_of(export=("otlp", "emf"), endpoint=receiver.url)
        receiver.faults = [Fault(hang=5.0)]
        run(plugin, "r1")
        plugin.flush("shutdown", deadline(600, "shutdown"))
        assert documents(capfd)[0]["faas.invocations"] == [1.0]


def test_managed_instances(collector_of, capfd):
    """Several requests at a time: each is counted, the kernel's figures are of the time between two exports."""
    plugin = collector_of(init_type="lambda-managed-instances", interval=0)
    for name in ("r1", "r2"):
        plugin.on_telemetry([done(name, int(time.time() * 1000))])
    plugin.flush("periodic", deadline())
    plugin.on_telemetry([done("r3", int(time.time() * 1000), status="error")])
    plugin.flush("periodic", deadline())
    first, second = documents(capfd)
    assert (first["faas.invocations"], second["faas.errors"]) == ([1.0, 1.0], [1.0])
    assert len(first["faas.cpu_usage"]) == len(second["faas.cpu_usage"]) == 1
    assert "lambda.estimated_cost" not in first
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline())


def test_a_long_invocation_is_looked_at_in_between(collector_of):
    """And nobody looks between two invocations."""
    plugin = collector_of(sample=5)
    watched = []
    plugin._sampler.watch = lambda: watched.append(1)
    plugin.on_invoke(invoke("r1"))
    until = time.monotonic() + 5
    while len(watched) < 3 and time.monotonic() < until:
        time.sleep(0.005)
    record = done("r1")
    plugin.on_telemetry([record])
    time.sleep(0.02)
    seen = len(watched)
    time.sleep(0.05)
    assert seen >= 3
    assert len(watched) == seen
    plugin.on_invoke(invoke("r2"))
    while len(watched) == seen and time.monotonic() < until:
        time.sleep(0.005)
    assert len(watched) > seen
    plugin.on_telemetry([done("r2")])


def test_without_a_function_name_the_dimension_is_not_empty(collector_of, capfd):
    """CloudWatch drops what has an empty dimension."""
    plugin = collector_of(registration=Registration("id", {}))
    run(plugin, "r1")
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline())
    assert documents(capfd)[0]["faas.name"] == "unknown"


def test_a_short_write_is_continued(collector_of, capfd, monkeypatch):
    write = os.write
    plugin = collector_of()
    run(plugin, "r1")
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    plugin.flush("end", deadline())
    monkeypatch.undo()
    assert documents(capfd)[0]["request_ids"] == ["r1"]


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), OSError(9, "Bad file descriptor")])
def test_a_stdout_that_is_gone_costs_the_points_and_nothing_else(collector_of, said, capfd, monkeypatch, error):
    """They are counted, one line says so; what comes later is exported, with how many were lost."""
    plugin = collector_of(interval=0)
    run(plugin, "r1")

    def fail(_fd, _data):
        raise error

    monkeypatch.setattr(os, "write", fail)
    plugin.flush("end", deadline())
    monkeypatch.undo()
    assert said == [f"[metrics-collector] WARNING emf: standard output: {error.strerror}\n"]
    run(plugin, "r2")
    plugin.flush("end", deadline())
    (document,) = documents(capfd)
    assert (document["faas.invocations"], document["lambda.extension.points_lost"]) == ([1.0], 1.0)


def test_a_figure_that_cannot_be_read_is_left_out_and_counted(collector_of, capfd):
    plugin = collector_of()
    plugin._sampler._tmp = "/nowhere"
    run(plugin, "r1")
    plugin.flush("end", deadline())
    assert plugin._context.counters == {"missing_tmp": 3}  # and one after the export
    (document,) = documents(capfd)
    assert "system.filesystem.limit" not in document
    assert "system.cpu.time.user" in document


def test_families_that_are_not_wanted_are_not_there(collector_of, capfd):
    plugin = collector_of(families=("memory",))
    run(plugin, "r1")
    plugin.flush("end", deadline())
    (document,) = documents(capfd)
    assert "system.memory.usage" in document
    assert not any(name.startswith(("system.cpu", "system.network", "process.")) for name in document)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"export": ("otlp",)},
            "ERROR otlp: METRICS_COLLECTOR_ENDPOINT must be a URL that begins with https:// or http://;",
        ),
        ({"export": ("otlp",), "endpoint": "http://127.0.0.1:1"}, "WARNING otlp: Connection refused"),
        (
            {"promote": ("cpu",)},
            'WARNING METRICS_COLLECTOR_PROMOTE names "cpu", which is no figure: use some of invocations_count,',
        ),
    ],
)
def test_what_cannot_work_is_one_line(collector_of, said, settings, line):
    """The function goes on, and so does the other exporter."""
    plugin = collector_of(interval=0, **settings)
    for name in ("r1", "r2", "r3"):
        run(plugin, name)
        plugin.flush("end", deadline())
    assert len(said) == 1
    assert line in said[0]


def test_an_exporter_that_hangs_keeps_to_the_deadline(collector_of, said):
    """What it did not take waits, is counted, and goes with the next."""
    from tests.receivers.collector import Fault

    with Collector() as receiver:
        plugin = collector_of(export=("otlp",), endpoint=receiver.url, interval=0, timeout=60_000)
        receiver.faults = [Fault(hang=3.0)]
        run(plugin, "r1")
        until = deadline(300)
        plugin.flush("end", until)
        assert until.remaining_ms() > -200
        assert plugin._collecting.pending == 1
        assert said == ["[metrics-collector] WARNING otlp: no answer in time\n"]


def test_what_the_check_finds(collector_of):
    plugin = collector_of(export=("emf", "otlp"), endpoint="http://127.0.0.1:1")
    assert plugin.check(plugin._context) == ["[metrics-collector] WARNING otlp: Connection refused"]
    plugin = collector_of()
    assert plugin.check(plugin._context) == []


def test_what_an_invocation_costs():
    """The documentation's example: 128 MB for a million times 30 ms of x86."""
    assert cost_usd(30, 128, "x86_64") * 1e6 == pytest.approx(0.2 + 0.0625, abs=0.001)
    assert cost_usd(1000, 1024, "aarch64") < cost_usd(1000, 1024, "x86_64")
    assert cost_usd(1000, 1024, "x86_64", gb_second=1.0, request=2.0) == 3.0
    assert AS_OF in (HOME / "README.md").read_text()


def test_records_that_make_no_sense_cost_nothing(collector_of, capfd):
    """Numbers that are none, no request id, times from nowhere."""
    plugin = collector_of()
    plugin.on_telemetry([
        event("platform.runtimeDone", status=7, metrics="x"), event("platform.report", metrics={"durationMs": "NaN"}),
        event("platform.initReport", metrics={"durationMs": -1e300}), event("platform.logsDropped", droppedRecords={}),
        event("platform.runtimeDone", T0, requestId=["x"]),
        event("platform.report", requestId="r", metrics={"memorySizeMB": -1}),
    ])  # fmt: skip
    plugin.flush("end", deadline())
    (document,) = documents(capfd)
    told = {"faas.invocations", "faas.errors", "faas.coldstarts", "error.types", "request_ids"}
    assert set(document) <= {"_aws", "faas.name", "faas.version"} | told


@pytest.mark.parametrize(("written", "wrong"), [("My App/prod_#1:a.b-c", False), ("näme", True), ("x" * 256, True)])
def test_a_namespace_that_cloudwatch_would_refuse_is_not_used(written, wrong):
    settings, warnings = CollectorSettings.parse({"METRICS_COLLECTOR_NAMESPACE": written})
    assert len(warnings) == wrong
    assert settings.namespace == ("LambdaExtensionKit" if wrong else written)


def test_an_unknown_family_is_one_line():
    settings, warnings = CollectorSettings.parse({"METRICS_COLLECTOR_FAMILIES": "cpu,gpu"})
    assert len(warnings) == 1
    assert "gpu" in warnings[0]
    assert settings.families == CollectorSettings().families


def test_readme_and_manifest_say_what_the_declaration_says():
    manifest, readme = tomllib.loads((HOME / "manifest.toml").read_text()), (HOME / "README.md").read_text()
    assert CollectorSettings.markdown() in readme
    assert markdown() in readme
    assert manifest["name"] == MetricsCollector.name
    assert isinstance(load(manifest["plugins"][0]), MetricsCollector)
