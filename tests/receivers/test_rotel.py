"""rotel reads what an exporter of OpenTelemetry's sends, and we read what rotel printed of it."""

from __future__ import annotations

import gzip

import pytest
import requests

from tests.receivers.programs import or_skip
from tests.receivers.rotel import DataPoint, Decoded, Rotel, measured


@pytest.fixture
def rotel(tmp_path):
    with or_skip(Rotel, tmp_path) as running:
        yield running


def text(value):
    return {"stringValue": value}


def pair(name, value):
    return {"key": name, "value": value}


def body(**changes):
    """A request with one record of every kind of value."""
    record = {
        "timeUnixNano": "1790000000000000000", "observedTimeUnixNano": "1790000000000000001", "severityNumber": 9,
        "severityText": "INFO", "body": text("one\n\ntwo: Str(x)"), "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174", "flags": 1,
        "attributes": [
            pair("faas.invocation_id", text("id\n1")), pair("n", {"intValue": "-7"}), pair("ok", {"boolValue": True}),
            pair("share", {"doubleValue": 1.5}),
        ],
    }  # fmt: skip
    names = {"arrayValue": {"values": [text("/aws/lambda/f")]}}
    resource = {"attributes": [pair("service.name", text("shop")), pair("aws.log.group.names", names)]}
    scoped = {"scope": {"name": "s", "version": "1"}, "logRecords": [{**record, **changes}, {"body": text("bare")}]}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [scoped]}]}


def send(rotel, content):
    return requests.post(f"{rotel.url}/v1/logs", json=content, timeout=5).status_code


def test_every_field_of_json_arrives(rotel):
    """Texts of several lines too."""
    assert send(rotel, body()) == 200
    resource = {"service.name": "shop", "aws.log.group.names": "Slice(Str(/aws/lambda/f))"}
    attributes = {"faas.invocation_id": "id\n1", "n": -7, "ok": True, "share": 1.5}
    ids = ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    at = 1_790_000_000_000_000_000
    assert rotel.records(2) == [
        Decoded(at, at + 1, 9, "INFO", "one\n\ntwo: Str(x)", *ids, 1, attributes, resource, "s 1"),
        Decoded(0, 0, 0, "", "bare", "", "", 0, {}, resource, "s 1"),
    ]


def test_names_of_enums_are_refused(rotel):
    """The trap that protobuf's ``json_format`` sets, which is why this receiver is here."""
    assert send(rotel, body(severityNumber="SEVERITY_NUMBER_INFO")) == 400
    assert send(rotel, body(traceId="no hex")) == 400
    assert rotel.records() == []


def test_opentelemetrys_own_classes_are_understood(rotel):
    """Protobuf with gzip, written by what OpenTelemetry generates from its definitions."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    content = body(traceId="", spanId="", severityNumber=13)
    data = gzip.compress(json_format.ParseDict(content, ExportLogsServiceRequest()).SerializeToString())
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    assert requests.post(f"{rotel.url}/v1/logs", data=data, headers=headers, timeout=5).status_code == 200
    record, bare = rotel.records(2)
    assert (record.number, record.trace, record.attributes["n"], bare.body) == (13, "", -7, "bare")


def test_only_this_machine_reaches_it(rotel):
    """Tests open nothing to the network."""
    assert rotel.listens() == {"127.0.0.1"}


# metrics


@pytest.fixture
def meter(tmp_path):
    """One that prints metrics."""
    with or_skip(Rotel, tmp_path, prints="metrics") as running:
        yield running


def send_metrics(meter, data):
    return requests.post(
        f"{meter.url}/v1/metrics", data=data, headers={"Content-Type": "application/x-protobuf"}, timeout=5
    )


def metrics(*of):
    scope = {"schemaUrl": "https://x/2", "scope": {"name": "s", "version": "1"}, "metrics": list(of)}
    resource = {"attributes": [pair("service.name", text("shop"))]}
    return {"resourceMetrics": [{"schemaUrl": "https://x/1", "resource": resource, "scopeMetrics": [scope]}]}


AT = 1_790_000_000_000_000_000
SUM = {
    "name": "a.sum", "description": "of: things", "unit": "{x}",
    "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [
        {"attributes": [pair("error.type", text("E: x")), pair("n", {"intValue": "2"})], "startTimeUnixNano": str(AT),
         "timeUnixNano": str(AT + 1), "asInt": "5"},
        {"startTimeUnixNano": "1", "timeUnixNano": "2", "asDouble": -5.25},
    ]},
}  # fmt: skip
GAUGE = {"name": "a.gauge", "unit": "By", "gauge": {"dataPoints": [{"timeUnixNano": "7", "asDouble": 0.1}]}}
HISTOGRAM = {
    "name": "a.histogram", "unit": "s",
    "histogram": {"aggregationTemporality": 2, "dataPoints": [
        {"attributes": [pair("k", text("v"))], "startTimeUnixNano": "1", "timeUnixNano": "2", "count": "3", "sum": 1.5,
         "bucketCounts": ["1", "2", "0"], "explicitBounds": [0.005, 1.0], "min": 0.001, "max": 0.9},
        {"timeUnixNano": "2", "count": "0"},
    ]},
}  # fmt: skip


def test_every_field_of_a_data_point(meter):
    """Messages made of OpenTelemetry's definitions, by hand."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    message = json_format.ParseDict(metrics(SUM, GAUGE, HISTOGRAM), ExportMetricsServiceRequest())
    assert send_metrics(meter, message.SerializeToString()).status_code == 200
    rest = {"resource": {"service.name": "shop"}, "scope": "s 1", "schemas": ("https://x/1", "https://x/2")}
    attributes = {"error.type": "E: x", "n": 2}
    assert meter.data_points(5) == [
        DataPoint("a.sum", "of: things", "{x}", "Sum", "DELTA", True, AT, AT + 1, 5, attributes=attributes, **rest),
        DataPoint("a.sum", "of: things", "{x}", "Sum", "DELTA", True, 1, 2, -5.25, **rest),
        DataPoint("a.gauge", "", "By", "Gauge", "", False, 0, 7, 0.1, **rest),
        DataPoint(
            "a.histogram", "", "s", "Histogram", "CUMULATIVE", False, 1, 2, None, 3, 1.5, 0.001, 0.9, (0.005, 1.0),
            (1, 2, 0), {"k": "v"}, **rest,
        ),
        DataPoint("a.histogram", "", "s", "Histogram", "CUMULATIVE", False, 0, 2, None, 0, **rest),
    ]  # fmt: skip


def test_half_of_a_data_point_is_not_read(meter):
    """Whatever was printed so far, a data point is either as it was sent or not there."""
    from google.protobuf import json_format
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    message = json_format.ParseDict(metrics(SUM, HISTOGRAM), ExportMetricsServiceRequest())
    send_metrics(meter, message.SerializeToString())
    whole = meter.data_points(4)
    printed = meter.said()
    for end in range(0, len(printed), 3):
        found = measured(printed[:end])
        # Bounds and buckets come last and are told from nothing by what follows.
        assert [one for one in found if one.kind == "Sum"] == whole[: min(len(found), 2)]


def test_opentelemetrys_sdk_is_understood(meter):
    """Its own instruments, reader and encoder."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    one = provider.get_meter("m", "2", "https://x/3")
    one.create_counter("c", "{x}", "a counter").add(2, {"k": "v"})
    histogram = one.create_histogram("h", "s", explicit_bucket_boundaries_advisory=[0.5, 1.0])
    for value in (0.5, 0.75, 3.0):
        histogram.record(value)
    data = reader.get_metrics_data()
    assert send_metrics(meter, encode_metrics(data).SerializeToString()).status_code == 200
    counted, spread = meter.data_points(2)
    sent = [metric.data.data_points[0] for metric in data.resource_metrics[0].scope_metrics[0].metrics]
    assert (counted.name, counted.about, counted.unit, counted.value) == ("c", "a counter", "{x}", 2)
    assert (counted.start, counted.at, counted.attributes) == (*_times(sent[0]), {"k": "v"})
    assert (counted.monotonic, counted.temporality, counted.schemas[1]) == (True, "CUMULATIVE", "https://x/3")
    assert (spread.count, spread.sum, spread.min, spread.max) == (3, 4.25, 0.5, 3.0)
    assert (spread.bounds, list(spread.buckets)) == ((0.5, 1.0), list(sent[1].bucket_counts))
    provider.shutdown()


def _times(data_point):
    return data_point.start_time_unix_nano, data_point.time_unix_nano
