"""What is exported is what was measured: by receivers that we did not write, by CloudWatch's specification, by each other."""

from __future__ import annotations

import gzip
import importlib
import inspect
import itertools
import json
import math
import os
import pkgutil
import re
import threading

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.semconv.schemas import Schemas

from extension_kit.delivery import AGAIN, DELIVERED, REFUSED, Verdict
from extension_kit.events import Registration
from extension_kit.io.clock import Clock
from extension_kit.plugin import Context, Log
from extension_kit.protocol.deadline import Deadline
from extensions.metrics_collector.exporters.emf import Emf
from extensions.metrics_collector.exporters.make import make_outlets
from extensions.metrics_collector.exporters.otlp import Otlp
from extensions.metrics_collector.exporters.outlet import Outlet
from extensions.metrics_collector.invocations import Point
from extensions.metrics_collector.measures import BY_FIGURE, DATADOG, INSIGHTS, MEASURES, OTEL, PROMOTED, SCHEMA_URL
from extensions.metrics_collector.settings import CollectorSettings
from tests.receivers.collector import Fault
from tests.receivers.emf import read, total
from tests.receivers.otlp_metrics import OtlpMetrics, streams
from tests.receivers.programs import or_skip
from tests.receivers.rotel import Rotel

#: of the machine's clock, since Powertools warns of times that are far from it
NOW_MS = Clock().wall_ms()
FUNCTION = {"faas.name": "orders"}
NS = 1_000_000


def point(figures, at=0, since=0, error_type="", **about):
    """``at``, ``since``: milliseconds after `NOW_MS`."""
    return Point(NOW_MS + since, NOW_MS + at, figures, error_type, about)


def everything(number=1, **about):
    """A point with every figure of the table, each with a value of its own."""
    figures = {measure.figure: float(place + number) for place, measure in enumerate(MEASURES, 1)}
    return point(figures, number, 0, "", **about)


def otlp(points, profile=OTEL, resource=None):
    return Otlp(profile, resource or {"service.name": "orders", "faas.max_memory": 1 << 27}).request(points)


def emf(points, profile=OTEL, **options):
    dimensions = FUNCTION if profile == OTEL else {"function_name": "orders"}
    return [read(line, NOW_MS) for line in Emf("Shop", profile, dimensions, **options).documents(points)]


# OTLP


@pytest.fixture
def rotel(tmp_path):
    with or_skip(Rotel, tmp_path, prints="metrics") as running:
        yield running


def test_rotel_reads_every_measure_of_the_table(rotel):
    """Names, units, kinds, temporality, attributes, times of events, and every value."""
    first, second = everything(1), everything(500)
    body = gzip.compress(otlp([first, second]))
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    assert requests.post(f"{rotel.url}/v1/metrics", data=body, headers=headers, timeout=5).status_code == 200
    found = {(one.name, tuple(one.attributes.items())): one for one in rotel.data_points(len(MEASURES))}
    assert len(found) == len(MEASURES)
    for measure in MEASURES:
        name = measure.otel
        one = found[name.name, name.attributes]
        values = [each.figures[measure.figure] * name.scale for each in (first, second)]
        kinds = {
            "sum": ("Sum", "DELTA", True),
            "gauge": ("Gauge", "", False),
            "histogram": ("Histogram", "DELTA", False),
        }
        assert (one.unit, (one.kind, one.temporality, one.monotonic)) == (name.unit, kinds[measure.kind])
        # OpenTelemetry's encoder has no start of a gauge: it needs none.
        assert (one.start, one.at) == (0 if measure.kind == "gauge" else NOW_MS * NS, (NOW_MS + 500) * NS)
        assert one.schemas == (SCHEMA_URL, SCHEMA_URL)
        assert one.resource == {"service.name": "orders", "faas.max_memory": 1 << 27}
        if measure.kind == "gauge":
            assert one.value == pytest.approx(values[1])
        elif measure.kind == "sum":
            assert one.value == pytest.approx(sum(values))
        else:
            assert (one.count, one.min, one.max) == (2, pytest.approx(values[0]), pytest.approx(values[1]))
            assert one.sum == pytest.approx(sum(values))
            assert one.bounds == pytest.approx(measure.bounds)


def test_errors_are_series_of_their_types():
    """And nothing else is told apart by them."""
    points = [
        point({"errors_count": 1.0, "runtime_duration_ms": 5.0}, number, error_type=kind, request_id=str(number))
        for number, kind in enumerate(("ValueError", "KeyError", "ValueError", "_OTHER"))
    ]
    found = streams(ExportMetricsServiceRequest.FromString(otlp(points)))
    errors = {one.attributes["error.type"]: (one.value, one.at) for one in found if one.name == "faas.errors"}
    at = NOW_MS * NS
    assert errors == {"ValueError": (2, at + 2 * NS), "KeyError": (1, at + NS), "_OTHER": (1, at + 3 * NS)}
    assert [one.attributes for one in found if one.name != "faas.errors"] == [{}]


def test_what_chaos_may_have_disturbed_is_a_series_of_its_own():
    points = [
        point({"errors_count": 1.0, "chaos_injected_count": 2.0}, 1, error_type="A", **{"chaos.active": True}),
        point({"errors_count": 1.0}, 2, error_type="A"),
    ]
    found = streams(ExportMetricsServiceRequest.FromString(otlp(points)))
    assert [(one.name, one.attributes, one.value) for one in found] == [
        ("faas.errors", {"error.type": "A", "chaos.active": True}, 1), ("faas.errors", {"error.type": "A"}, 1),
        ("chaos.injected", {"chaos.active": True}, 2),
    ]  # fmt: skip


def test_of_a_level_the_newest_is_sent():
    """By the time of its event, whatever the order."""
    points = [
        point({"memory_used_bytes": 1.0}, 5),
        point({"memory_used_bytes": 2.0}, 9),
        point({"memory_used_bytes": 3.0}, 7),
    ]
    (one,) = streams(ExportMetricsServiceRequest.FromString(otlp(points)))
    assert (one.value, one.at) == (2.0, (NOW_MS + 9) * NS)
    (document,) = Emf("N", OTEL, FUNCTION).documents(points)
    assert json.loads(document)["system.memory.usage"] == 2.0


def test_nothing_makes_no_request():
    assert otlp([]) == otlp([point({"unheard_of": 1.0})]) == b""
    assert emf([]) == []


def test_the_schema_is_one_that_opentelemetry_knows():
    assert SCHEMA_URL in {schema.value for schema in Schemas}


VALUES = st.lists(st.floats(0, 1e12, allow_nan=False), min_size=1, max_size=40)


@given(VALUES, st.sampled_from([measure for measure in MEASURES if measure.kind == "histogram"]))
def test_buckets_are_those_of_the_sdk(values, measure):
    """The SDK's own aggregation gets the same values; a bound belongs to the bucket that it ends."""
    from opentelemetry.sdk.metrics import Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

    values = [*values, *(bound / measure.otel.scale for bound in measure.bounds[:3])]
    view = View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation(measure.bounds))
    reader = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})
    provider = MeterProvider([reader], views=[view], shutdown_on_exit=False)
    instrument = provider.get_meter("m").create_histogram("h")
    for value in values:
        instrument.record(round(value * measure.otel.scale, 12))
    theirs = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    provider.shutdown()
    request = ExportMetricsServiceRequest.FromString(otlp([point({measure.figure: value}) for value in values]))
    ours = request.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    assert list(ours.bucket_counts) == list(theirs.bucket_counts)
    assert list(ours.explicit_bounds) == list(theirs.explicit_bounds)
    assert (ours.count, ours.min, ours.max) == (theirs.count, theirs.min, theirs.max)
    assert ours.sum == pytest.approx(theirs.sum)


# names


def conventions():
    """Name: (instrument, unit), as the package's own functions make instruments."""
    import opentelemetry.semconv._incubating.metrics as package

    class Meter:
        def __getattr__(self, kind):
            return lambda name, *_, unit="", **__: (
                name,
                kind.removeprefix("create_").removeprefix("observable_"),
                unit,
            )

    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        members = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
        for name, member in members.items():
            if name.startswith("create_") and inspect.isfunction(member):
                arguments = [None] * (len(inspect.signature(member).parameters) - 1)
                metric, kind, unit = member(Meter(), *arguments)
                found[metric] = (kind, unit)
    return found


def test_names_of_the_semantic_conventions_are_theirs():
    """Each faas.*, system.* and process.* is known to the package, with its unit; what is not is lambda.*."""
    known = conventions()
    assert known["faas.invocations"] == ("counter", "{invocation}")
    for measure in MEASURES:
        name = measure.otel.name
        assert (name in known) != name.startswith(("lambda.", "chaos.")), name
        if name in known:
            kind, unit = known[name]
            assert measure.otel.unit == unit, name
            # A counter that goes up and down is a level: a delta of it could not be told from a count.
            ours = {
                "sum": ("counter",),
                "histogram": ("histogram",),
                "gauge": ("gauge", "up_down_counter", "updowncounter"),
            }
            assert kind in ours[measure.kind], f"{name} is a {kind}"


def test_the_table_is_consistent():
    """Figures of one name are told apart by attributes; of EMF no two have the same name."""
    assert len(BY_FIGURE) == len(MEASURES)
    series = [(measure.otel.name, measure.otel.attributes) for measure in MEASURES]
    assert len(set(series)) == len(series)
    for profile in (OTEL, INSIGHTS, DATADOG):
        names = [name.emf for measure in MEASURES if (name := measure.named(profile))]
        assert len(set(names)) == len(names)
        assert set(PROMOTED[profile]) <= {measure.figure for measure in MEASURES if measure.named(profile)}
        assert len(PROMOTED[profile]) <= 8
    for _, same in itertools.groupby(sorted(MEASURES, key=lambda one: one.otel.name), lambda one: one.otel.name):
        assert len({(measure.kind, measure.otel.unit, measure.bounds) for measure in same}) == 1


# EMF


def test_eight_are_metrics_and_the_rest_are_properties():
    """Every figure is in the document once."""
    (document,) = emf([everything(1, request_id="a"), everything(2, request_id="b")])
    promoted = {BY_FIGURE[figure].otel.emf for figure in PROMOTED[OTEL]}
    assert {name for name, _ in document.values} == promoted
    assert len(promoted) == 8
    rest = {measure.otel.emf for measure in MEASURES} - promoted
    assert document.properties.keys() == rest | {"request_ids"}
    assert document.properties["request_ids"] == ["a", "b"]
    assert document.namespaces == {"Shop"}
    assert {dimensions for _, dimensions in document.values} == {(("faas.name", "orders"),)}
    assert document.at_ms == NOW_MS + 2


def test_what_is_promoted_can_be_chosen():
    """As many as a document can have, with room to spare; even those it cannot."""
    (document,) = emf([everything()], promote=("duration_ms", "cost_usd"))
    assert {name for name, _ in document.values} == {"lambda.duration", "lambda.estimated_cost"}
    (document,) = emf([everything()], promote=tuple(measure.figure for measure in MEASURES))
    assert len(document.values) == min(len(MEASURES), 90)


@pytest.mark.parametrize("count", [1, 89, 90, 91, 99, 100, 101, 250, 900])
def test_many_points_become_several_documents(count, capfd):
    """None has a hundred values of a metric, where Powertools would print it by itself."""
    documents = emf([point({"invocations_count": 1.0}, number) for number in range(count)])
    assert len(documents) == math.ceil(count / 90)
    assert max(len(document.of("faas.invocations")) for document in documents) <= 90
    assert total(documents, "faas.invocations") == count
    assert capfd.readouterr().out == ""


def test_what_chaos_may_have_disturbed_is_in_documents_of_its_own():
    marks = ({}, {"chaos.active": True})
    points = [point({"invocations_count": 1.0}, number, **marks[number % 2]) for number in range(5)]
    calm, disturbed = emf(points)
    assert (calm.of("faas.invocations"), calm.properties) == ([1.0] * 3, {})
    assert (disturbed.of("faas.invocations"), disturbed.properties) == ([1.0] * 2, {"chaos.active": True})


def test_error_types_are_a_property():
    points = [point({"errors_count": 1.0}, error_type=kind) for kind in ("A", "B", "A")]
    (document,) = emf(points)
    assert (document.of("faas.errors"), document.properties) == ([1.0] * 3, {"error.types": {"A": 2, "B": 1}})


#: AWS docs, "Metrics collected by Lambda Insights"; what is stated there for each name. Units as its sample event has them.
INSIGHTS_UNITS = {
    "cpu_total_time": "Milliseconds", "init_duration": "Milliseconds", "memory_utilization": "Percent",
    "rx_bytes": "Bytes", "tx_bytes": "Bytes", "total_memory": "Megabytes", "total_network": "Bytes",
    "used_memory_max": "Megabytes",
}  # fmt: skip
INSIGHTS_PROPERTIES = {
    "agent_memory_max", "billed_duration", "billed_mb_ms", "cpu_system_time", "cpu_user_time", "duration", "fd_max", "fd_use",
    "threads_max", "tmp_free", "tmp_max", "tmp_used",
}  # fmt: skip


def test_lambda_insights_has_a_document_for_each_invocation():
    """With its names, units and plain numbers; what comes late goes to its own invocation."""
    points = [
        everything(1, request_id="a", cold_start=True),
        everything(2, request_id="b"),
        point({"duration_ms": 7.0}),
    ]
    points.insert(1, point({"billed_duration_ms": 5.0}, request_id="b"))
    first, second = (one for one in emf(points[:3], INSIGHTS))
    assert first.units == second.units == INSIGHTS_UNITS
    about = {"request_id", "event_type"}
    assert first.properties.keys() == INSIGHTS_PROPERTIES | about | {"cold_start"}
    assert second.properties.keys() == INSIGHTS_PROPERTIES | about
    assert (first.properties["request_id"], second.properties["request_id"]) == ("a", "b")
    assert all(isinstance(second.properties[name], (int, float)) for name in INSIGHTS_PROPERTIES)
    megabyte = 1_048_576
    (used,) = first.of("used_memory_max")
    assert used == pytest.approx(points[0].figures["memory_max_bytes"] / megabyte, abs=1e-9)
    (share,) = first.of("memory_utilization")
    assert share == points[0].figures["memory_max_ratio"] * 100
    assert {dimensions for _, dimensions in first.values} == {(("function_name", "orders"),)}


# both


def counted(figures):
    """What is counted is a whole number."""
    return {
        name: float(int(value)) if BY_FIGURE[name].otel.unit[0] == "{" else value for name, value in figures.items()
    }


def points_of(most):
    values = st.integers(0, 10**12).map(lambda value: value / 1000)
    figures = st.dictionaries(st.sampled_from(list(BY_FIGURE)), values, min_size=1, max_size=8).map(counted)
    times = st.integers(0, 10_000), st.integers(-10_000, 0)
    return st.lists(st.builds(point, figures, *times, st.sampled_from(["", "E"])), min_size=1, max_size=most)


@given(points_of(20), st.sampled_from([OTEL, DATADOG]))
@settings(deadline=None)
def test_both_outputs_agree_figure_by_figure(points, profile):
    """The sums of each are the sums of the other, the levels are the same."""
    lines = Emf("Shop", profile, FUNCTION).documents(points)
    request = otlp(points, profile)
    taken = streams(ExportMetricsServiceRequest.FromString(request)) if request else []
    if not any(BY_FIGURE[figure].named(profile) for point in points for figure in point.figures):
        assert (lines, taken) == ([], [])
        return
    (document,) = map(json.loads, lines)
    for measure in MEASURES:
        name = measure.named(profile)
        if name is None:
            continue
        there = [
            one.value
            for one in taken
            if one.name == name.name and dict(name.attributes).items() <= one.attributes.items()
        ]
        here = document.get(name.emf)
        if here is None:
            assert there == []
            continue
        if isinstance(here, list):  # promoted: a value for each
            here = math.fsum(here)
        elif isinstance(here, dict):
            here = here["sum"]
        assert math.fsum(there) == pytest.approx(here, rel=1e-9, abs=1e-9), measure.figure


# one destination


class Still:
    """A clock that moves when somebody sleeps."""

    def __init__(self):
        self.now_ms = NOW_MS

    def wall_ms(self):
        return self.now_ms

    def monotonic_ns(self):
        return self.now_ms * NS

    def sleep(self, seconds):
        self.now_ms += int(seconds * 1000)


class Peer:
    """Verdicts as a test says, then takes everything."""

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts)
        self.taken = []

    def __call__(self, item, _seconds):
        verdict = self.verdicts.pop(0) if self.verdicts else Verdict(DELIVERED)
        if isinstance(verdict, BaseException):
            raise verdict
        if verdict.kind == DELIVERED:
            self.taken.append(item)
        return verdict


def each(points):
    """An item for every point."""
    return [(f"{one.figures['n']:.0f}".encode(), 1) for one in points]


def numbers(*of):
    return [point({"n": float(number)}) for number in of]


def outlet(post, clock=None, encode=each, most=100, said=None):
    say = said.append if said is not None else lambda _text: None
    return Outlet("x", encode, post, clock or Still(), most=most, timeout_ms=1_000, say=say)


def until(clock, ms=5_000, reason="end of the invocation"):
    return Deadline(clock.wall_ms() + ms, clock.wall_ms, 0, reason)


def test_what_waits_is_bounded_and_the_oldest_goes():
    """Said and counted."""
    clock, peer, said = Still(), Peer(), []
    one = outlet(peer, clock, most=5, said=said)
    one.add(numbers(*range(8)))
    one.add(numbers(8))
    assert one.pending == 5
    one.send(until(clock))
    assert peer.taken == [b"4", b"5", b"6", b"7", b"8"]
    assert one.troubles() == {"points_lost_count": 4}
    assert one.troubles() == {}
    assert len(said) == 2


def test_failures_are_counted_and_nothing_is_lost_or_sent_twice():
    """Whichever item it is that fails, and however."""
    clock = Still()
    peer = Peer(Verdict(DELIVERED), Verdict(AGAIN, "busy"), Verdict(DELIVERED), OSError("reset"))
    one = outlet(peer, clock)
    one.add(numbers(1, 2, 3, 4))
    one.send(until(clock))
    assert (peer.taken, one.pending) == ([b"1", b"2", b"3", b"4"], 0)
    assert one.troubles() == {"exports_failed_count": 2}


def test_what_is_refused_is_lost_alone():
    """Those before it and after it arrive; the count is that of its points."""
    clock = Still()
    peer = Peer(Verdict(DELIVERED), Verdict(REFUSED, "answers 400", reason="refused with 400"), Verdict(AGAIN, "busy"))
    one = outlet(peer, clock, encode=lambda points: [(f"{at}".encode(), 2) for at in range(0, len(points), 2)])
    one.add(numbers(*range(8)))
    one.send(until(clock))
    assert (peer.taken, one.pending) == ([b"0", b"4", b"6"], 0)
    assert one.troubles() == {"exports_failed_count": 2, "points_lost_count": 2}


def test_a_value_that_the_library_refuses_costs_its_point_only():
    """With 300 others, which arrive."""
    said = []
    clock, peer = Still(), Peer()
    encode = Emf("Shop", OTEL, FUNCTION).weighed
    one = outlet(peer, clock, encode, most=1_000, said=said)
    one.add(
        [point({"invocations_count": 1.0, "duration_ms": math.nan if number == 123 else 1.0}) for number in range(300)]
    )
    one.send(until(clock))
    documents = [read(line, NOW_MS) for line in peer.taken]
    assert total(documents, "faas.invocations") == 299
    assert one.troubles() == {"points_lost_count": 1}
    assert [text for text in said if "cannot be encoded" in text]


@pytest.mark.parametrize("value", [math.nan, math.inf, 2.0**70])
def test_a_count_that_protobuf_refuses_costs_its_point_only(value):
    clock, peer = Still(), Peer()
    one = outlet(peer, clock, lambda points: [(otlp(points), len(points))])
    one.add([point({"invocations_count": value if number == 3 else 1.0}) for number in range(9)])
    one.send(until(clock))
    taken = [stream for item in peer.taken for stream in streams(ExportMetricsServiceRequest.FromString(item))]
    assert sum(stream.value for stream in taken) == 8
    assert one.troubles() == {"points_lost_count": 1}


def test_a_destination_that_hangs_is_left_to_itself():
    """`send` comes back by its deadline; what hangs is taken up again, and arrives once."""
    clock, go, taken = Clock(), threading.Event(), []

    def post(item, _seconds):
        go.wait(20)
        taken.append(item)
        return Verdict(DELIVERED)

    one = outlet(post, clock)
    one.add(numbers(1, 2))
    one.send(until(clock, 150))
    assert (taken, one.pending) == ([], 2), "it came back although nobody has answered"
    go.set()
    for _ in range(3):
        one.send(until(clock, 5_000))
    assert (sorted(taken), one.pending) == ([b"1", b"2"], 0)


def test_no_item_is_begun_when_the_time_is_over():
    """One after the other in the time of one exchange; what is left goes with the next."""
    clock, taken = Still(), []

    def post(item, _seconds):
        clock.sleep(0.6)
        taken.append(item)
        return Verdict(DELIVERED)

    one = outlet(post, clock)
    one.add(numbers(1, 2, 3, 4, 5))
    one.send(until(clock, 1_260))
    assert taken == [b"1", b"2"]
    one.send(until(clock, 60_000))
    assert (taken, one.pending) == ([b"1", b"2", b"3", b"4", b"5"], 0)


# as the settings make them


@pytest.fixture
def receiver():
    with OtlpMetrics() as made:
        yield made


def context_of(clock=None, said=None, **written):
    parsed, warnings = CollectorSettings.parse(
        {f"METRICS_COLLECTOR_{name.upper()}": value for name, value in written.items()}
    )
    assert not warnings
    registration = Registration("id", {"functionName": "orders", "functionVersion": "7", "accountId": "123456789012"})
    log = Log("metrics-collector", said.append if said is not None else lambda _line: None)
    return Context("metrics-collector", {}, log, clock or Clock(), parsed, registration)


def sending(receiver, clock=None, said=None, **written):
    (made,) = make_outlets(context_of(clock, said, export="otlp", endpoint=receiver.url, **written))
    return made


def invocations(count):
    return [point({"invocations_count": 1.0}, number) for number in range(count)]


@pytest.mark.parametrize("status", [401, 403, 404, 407, 429, 502, 503, 504])
def test_what_can_be_mended_waits(receiver, status):
    """Nothing is lost, and everything is counted once when it is well again."""
    clock = Still()
    one = sending(receiver, clock)
    receiver.faults = [Fault(status=status)] * 5
    one.add(invocations(3))
    one.send(until(clock, 10_000))
    assert (one.pending, receiver.accepted) == (3, [])
    receiver.faults = []
    clock.now_ms += 120_000
    one.send(until(clock))
    assert (one.pending, receiver.total("faas.invocations")) == (0, 3)
    assert one.troubles()["exports_failed_count"] >= 1


@pytest.mark.parametrize("status", [400, 413, 500, 501, 302])
def test_what_otlp_does_not_let_one_repeat_is_lost_and_counted(receiver, status):
    """OTLP specification, "Failures": all but 429, 502, 503 and 504 MUST NOT be retried."""
    clock, said = Still(), []
    one = sending(receiver, clock, said)
    receiver.faults = [Fault(status=status)]
    one.add(invocations(3))
    one.send(until(clock))
    assert (one.pending, receiver.accepted) == (0, [])
    assert one.troubles() == {"exports_failed_count": 1, "points_lost_count": 3}
    assert any(f"answers {status}" in line for line in said)
    one.add(invocations(2))
    one.send(until(clock))
    assert receiver.total("faas.invocations") == 2


def test_retry_after_is_honoured(receiver):
    """Not asked again before, however much time there is; then it is."""
    clock = Still()
    one = sending(receiver, clock)
    receiver.faults = [Fault(status=503, headers={"Retry-After": "3"})]
    one.add(invocations(1))
    one.send(until(clock, 2_000))
    assert (one.pending, receiver.asked) == (1, 1)
    one.send(until(clock, 10_000))
    assert (one.pending, receiver.asked) == (1, 1)
    clock.sleep(3)
    one.send(until(clock, 10_000))
    assert one.pending == 0
    receiver.faults = [Fault(status=429, headers={"Retry-After": "4"})]
    one.add(invocations(1))
    before = clock.wall_ms()
    one.send(until(clock, 10_000))
    assert (one.pending, clock.wall_ms() - before) == (0, 4_000)


def test_a_partial_success_is_said_and_not_repeated(receiver):
    clock, said = Still(), []
    receiver.rejects = 2
    one = sending(receiver, clock, said)
    for _ in range(2):
        one.add(invocations(3))
        one.send(until(clock))
    assert one.pending == 0
    assert len(receiver.requests) == 2
    assert one.troubles() == {"exports_failed_count": 2}
    assert len([line for line in said if "2 data points were rejected: too many series" in line]) == 1


@pytest.mark.parametrize("fault", [Fault(reset="early"), Fault(reset="middle")], ids=["early", "middle"])
def test_a_connection_that_breaks_is_made_again(receiver, fault):
    clock = Still()
    one = sending(receiver, clock)
    receiver.faults = [fault]
    one.add(invocations(3))
    one.send(until(clock))
    assert (one.pending, receiver.total("faas.invocations")) == (0, 3)


def test_headers_and_path(receiver):
    one = sending(receiver, headers="X-Key=a=b, X-Tenant = t ")
    one.add(invocations(1))
    one.send(until(Clock()))
    ((path, headers, _),) = receiver.requests
    assert path == "/v1/metrics"
    assert (headers["x-key"], headers["x-tenant"]) == ("a=b", "t")
    assert headers["content-encoding"] == "gzip"


def test_one_that_cannot_work_is_left_out():
    """The other works."""
    said = []
    made = make_outlets(context_of(said=said, export="otlp,emf", endpoint="collector:4318"))
    assert [one.name for one in made] == ["emf"]
    assert any("METRICS_COLLECTOR_ENDPOINT" in line for line in said)


FOREIGN = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_HEADERS": "x-foreign=1",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "CUMULATIVE", "OTEL_RESOURCE_ATTRIBUTES": "service.name=theirs,a=b",
    "OTEL_SERVICE_NAME": "theirs", "OTEL_SDK_DISABLED": "true", "OTEL_METRICS_EXPORTER": "none",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1", "OTEL_ATTRIBUTE_COUNT_LIMIT": "1",
    "POWERTOOLS_METRICS_NAMESPACE": "Theirs", "POWERTOOLS_SERVICE_NAME": "theirs", "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_METRICS_FUNCTION_NAME": "theirs", "POWERTOOLS_DEV": "true", "POWERTOOLS_DEBUG": "false",
}  # fmt: skip


def test_the_functions_own_variables_change_nothing(receiver, monkeypatch, capfd):
    """They are in the environment of extensions too."""

    def sent():
        (text, protobuf) = make_outlets(context_of(export="emf,otlp", endpoint=receiver.url))
        for one in (text, protobuf):
            one.add([everything(1, request_id="a")])
            one.send(until(Clock()))
            assert one.pending == 0
        found, receiver.accepted = receiver.accepted, []
        path, headers, size = receiver.requests.pop()
        del headers["host"]
        return capfd.readouterr().out, found, path, headers, size

    before = sent()
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    assert sent() == before
    resource = ExportMetricsServiceRequest.FromString(otlp([everything()])).resource_metrics[0].resource
    assert sorted(pair.key for pair in resource.attributes) == ["faas.max_memory", "service.name"]
    (line,) = before[0].splitlines()
    assert read(line, NOW_MS).namespaces == {"LambdaExtensionKit"}


def test_a_standard_output_that_is_gone_is_counted(monkeypatch):
    (one,) = make_outlets(context_of())
    one.add(invocations(100))

    def fail(*_arguments):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(os, "write", fail)
    one.send(until(Clock()))
    monkeypatch.undo()
    assert one.troubles() == {"exports_failed_count": 2, "points_lost_count": 100}


def test_powertools_prints_nothing_by_itself(capfd):
    """All lines are whole, and all are ours."""
    (one,) = make_outlets(context_of(promote=",".join(BY_FIGURE)))
    one.add([everything(number, request_id=str(number)) for number in range(200)])
    one.send(until(Clock()))
    documents = [read(line, NOW_MS) for line in capfd.readouterr().out.splitlines()]
    assert [len(document.of("faas.invocations")) for document in documents] == [90, 90, 20]
    assert re.fullmatch("[a-z_.]+", "".join(name for name, _ in documents[0].values))


def test_bounds_are_in_the_unit_of_the_profile():
    """Milliseconds and megabytes of Lambda Insights are no seconds and bytes, and Datadog has a third choice."""
    at_ms = Clock().wall_ms()
    point = Point(at_ms, at_ms, {"init_duration_ms": 350.0, "memory_max_bytes": 100.0 * 1_048_576})
    places = {}
    for profile in (OTEL, INSIGHTS, DATADOG):
        request = ExportMetricsServiceRequest.FromString(Otlp(profile, {}).request([point]))
        for metric in request.resource_metrics[0].scope_metrics[0].metrics:
            (one,) = metric.histogram.data_points
            places.setdefault(profile, []).append(list(one.bucket_counts).index(1))
    assert places[OTEL] == places[INSIGHTS] == places[DATADOG]
    assert 0 < places[OTEL][0] < 14
