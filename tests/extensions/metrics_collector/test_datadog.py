"""Profile ``datadog``: the names, units, counts and tags of Datadog's enhanced Lambda metrics, in both outputs."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from extension_kit.events import Registration
from extension_kit.io.clock import Clock
from extension_kit.pictures import unit_of_name
from extension_kit.plugin import Context, Log
from extensions.metrics_collector.exporters.datadog import static_tags
from extensions.metrics_collector.exporters.emf import Emf
from extensions.metrics_collector.exporters.otlp import Otlp
from extensions.metrics_collector.invocations import Book, Point
from extensions.metrics_collector.measures import BY_FIGURE, DATADOG, MEASURES, PROMOTED
from tests.extensions.metrics_collector.test_invocations import T0, done, event
from tests.receivers.emf import read, total
from tests.receivers.otlp_metrics import streams

NOW_MS = Clock().wall_ms()
#: Datadog's documentation, "Enhanced Lambda Metrics": the name behind ``aws.lambda.enhanced.``, and its unit
DOCUMENTED = {
    "invocations": "Count", "errors": "Count", "timeouts": "Count", "out_of_memory": "Count",
    "duration": "Seconds", "billed_duration": "Seconds", "init_duration": "Seconds", "snapstart_restore_duration": "Seconds",
    "runtime_duration": "Milliseconds", "post_runtime_duration": "Milliseconds", "response_latency": "Milliseconds",
    "response_duration": "Milliseconds", "produced_bytes": "Bytes", "max_memory_used": "Megabytes", "memorysize": "Megabytes",
    "estimated_cost": "None", "cpu_user_time": "Milliseconds", "cpu_system_time": "Milliseconds",
    "cpu_total_time": "Milliseconds", "cpu_total_utilization_pct": "Percent", "cpu_total_utilization": "Count",
    "num_cores": "Count", "cpu_max_utilization": "Percent", "cpu_min_utilization": "Percent", "rx_bytes": "Bytes",
    "tx_bytes": "Bytes", "total_network": "Bytes", "tmp_max": "Bytes", "tmp_used": "Bytes", "tmp_free": "Bytes",
    "fd_max": "Count", "fd_use": "Count", "threads_max": "Count", "threads_use": "Count",
}  # fmt: skip
#: documented as well, and nothing that we know
NOT_OURS = {"shutdowns", "unused_init"}
#: what OTLP calls the units
UCUM = {
    "Seconds": "s",
    "Milliseconds": "ms",
    "Bytes": "By",
    "Megabytes": "MiBy",
    "Percent": "%",
    "None": "USD",
}
TAGS = {"functionname": "orders", "region": "eu-west-1"}


def point(figures, at=0, error_type="", **about):
    return Point(NOW_MS, NOW_MS + at, figures, error_type, about)


def everything(**about):
    figures = {measure.figure: float(place) for place, measure in enumerate(MEASURES, 1)}
    return point({**figures, "errors_count": 0.0, "timeouts_count": 0.0}, **about)


def emf(points, **options):
    made = Emf("Shop", DATADOG, {"functionname": "orders"}, about={"region": "eu-west-1"}, **options)
    return [read(line, NOW_MS) for line in made.documents(points)]


def otlp(points):
    request = ExportMetricsServiceRequest.FromString(Otlp(DATADOG, {"service.name": "orders"}, TAGS).request(points))
    return request, streams(request)


def test_names_and_units_are_those_that_are_documented():
    """And all of them, but for two that we do not know; what is lost keeps its own name, so that it is not silent."""
    ours = {name.name: name for measure in MEASURES if (name := measure.named(DATADOG))}
    theirs = {f"aws.lambda.enhanced.{name}": unit for name, unit in DOCUMENTED.items()}
    assert not NOT_OURS & set(DOCUMENTED)
    assert {name: ours[name].emf_unit for name in theirs} == theirs
    rest = ours.keys() - theirs.keys()
    assert all(name.startswith("lambda.") for name in rest)
    assert "lambda.extension.points_lost" in rest
    for name, unit in theirs.items():
        assert ours[name].unit == UCUM.get(unit) or (unit == "Count" and ours[name].unit[0] == "{"), name
    assert {BY_FIGURE[figure].datadog for figure in PROMOTED[DATADOG]} <= {*ours.values()}


def test_values_are_in_those_units():
    """A second of code, half of two cores, 64 MiB."""
    figures = {
        "runtime_duration_ms": 1000.0, "duration_ms": 1500.0, "billed_duration_ms": 1501.0, "memory_max_bytes": 64.0 * 2**20,
        "cpu_utilization_ratio": 0.5, "cpu_cores_busy_count": 1.0, "cpu_cores_count": 2.0, "init_duration_ms": 250.0,
    }  # fmt: skip
    expected = {
        "runtime_duration": 1000.0, "duration": 1.5, "billed_duration": 1.501, "max_memory_used": 64.0,
        "cpu_total_utilization_pct": 50.0, "cpu_total_utilization": 1.0, "num_cores": 2.0, "init_duration": 0.25,
    }  # fmt: skip
    expected = {f"aws.lambda.enhanced.{name}": value for name, value in expected.items()}
    assert {one.name: one.value for one in otlp([point(figures)])[1]} == pytest.approx(expected)
    (document,) = emf([point(figures)], promote=tuple(figures))
    assert {name: values[0] for (name, _), values in document.values.items()} == pytest.approx(expected)


def test_every_invocation_counts_and_a_timeout_is_an_error_too():
    """As Datadog counts; with the other profiles the three exclude each other."""
    points = [
        point({"invocations_count": 1.0}, 1),
        point({"errors_count": 1.0}, 2, "ValueError"),
        point({"timeouts_count": 1.0}, 3),
        point({"duration_ms": 5.0}, 4),
    ]
    names = [f"aws.lambda.enhanced.{name}" for name in ("invocations", "errors", "timeouts")]
    taken = {one.name: one.value for one in otlp(points)[1]}
    assert [taken[name] for name in names] == [3, 2, 1]
    assert [total(emf(points), name) for name in names] == [3, 2, 1]
    assert "error.type" not in {key for one in otlp(points)[1] for key in one.attributes}


def test_tags_tell_cold_starts_apart():
    """Of OTLP they are attributes; of EMF properties, with a document for each set: dimensions would be paid for."""
    points = [
        everything(request_id="a", cold_start=True, timeout=False),
        everything(request_id="b", cold_start=False, proactive_initialization=True),
        everything(request_id="c", cold_start=False),
        everything(request_id="d", cold_start=False),
        point({"own_cpu_ms": 3.0, "points_lost_count": 2.0}),
    ]
    request, taken = otlp(points)
    (resource,) = request.resource_metrics
    assert resource.resource.attributes[0].key == "service.name"
    found = [one for one in taken if one.name == "aws.lambda.enhanced.invocations"]
    cold, proactive, warm = ({"cold_start": kind} for kind in ("true", "false", "false"))
    proactive["proactive_initialization"] = "true"
    one = BY_FIGURE["invocations_count"]
    each = points[0].figures[one.figure]
    assert [(stream.attributes, stream.value) for stream in found] == [
        ({**TAGS, **cold}, each), ({**TAGS, **proactive}, each), ({**TAGS, **warm}, 2 * each),
    ]  # fmt: skip
    documents = emf(points[:4])
    tags = [{key: one.properties.get(key) for key in ("cold_start", "proactive_initialization")} for one in documents]
    assert tags == [
        {"cold_start": "true", "proactive_initialization": None},
        {"cold_start": "false", "proactive_initialization": "true"},
        {"cold_start": "false", "proactive_initialization": None},
    ]
    assert [one.properties["request_ids"] for one in documents] == [["a"], ["b"], ["c", "d"]]
    assert {dimensions for one in documents for _, dimensions in one.values} == {(("functionname", "orders"),)}
    assert {one.properties["region"] for one in documents} == {"eu-west-1"}


def test_a_line_without_metrics_is_for_logs_insights():
    """What is lost is a property there."""
    (line,) = Emf("Shop", DATADOG, {"functionname": "orders"}).documents([point({"points_lost_count": 2.0})])
    assert line == b'{"lambda.extension.points_lost":2.0,"functionname":"orders"}'


def test_many_invocations_become_several_documents():
    """Within the format's limits, whatever the tags are."""
    points = [point({"invocations_count": 1.0}, number, cold_start=number % 50 == 0) for number in range(300)]
    documents = emf(points)
    assert total(documents, "aws.lambda.enhanced.invocations") == 300
    assert len(documents) == 5


def test_tags_that_stay_the_same_have_datadogs_names():
    """As far as an extension is told."""
    environ = {
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512", "AWS_REGION": "eu-west-1",
    }  # fmt: skip
    about = {"functionName": "orders", "functionVersion": "7", "accountId": "123456789012"}
    context = Context("c", environ, Log("c", lambda _line: None), Clock(), None, Registration("id", about))
    common = {
        "functionname": "orders", "region": "eu-west-1", "account_id": "123456789012", "aws_account": "123456789012",
        "memorysize": "512", "init_type": "on-demand", "architecture": "arm64",
    }  # fmt: skip
    assert static_tags(context, "aarch64") == {**common, "resource": "orders:7", "executedversion": "7"}
    context.registration = Registration("id", {**about, "functionVersion": "$LATEST"})
    assert static_tags(context, "x86_64") == {**common, "resource": "orders", "architecture": "x86_64"}
    context.registration = None
    assert "functionname" not in static_tags(context, "x86_64")


def test_an_init_that_nobody_waited_for_is_told():
    """Once, with the invocation that came long after it."""
    book = Book(lambda start, end: {}, lambda billed, size: None)
    book.told(event("platform.initReport", T0, initializationType="on-demand", metrics={"durationMs": 5}), T0)
    for number, at in enumerate((60_000, 61_000)):
        book.invoked(f"r{number}", T0 + at, None)
        book.ended(done(f"r{number}", T0 + at + 5), T0 + at + 5, None)
    about = [one.about for one in book.take() if "request_id" in one.about]
    assert [one.get("proactive_initialization") for one in about] == [True, None]
    assert [one["cold_start"] for one in about] == [False, False]


def test_pictures_show_the_units_that_are_meant():
    """``extension-kit run`` knows the properties by their names, since EMF has no units for them."""
    for measure in MEASURES:
        name = measure.named(DATADOG)
        if name is not None and name.name.startswith("aws."):
            shown = unit_of_name(name.name)
            assert shown == ("None" if name.emf_unit == "Count" else name.emf_unit), name.name
