"""What OpenTelemetry's SDK sends is taken, and what is wrong with a data point is refused."""

from __future__ import annotations

import pytest
import requests
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from tests.receivers.collector import Refused
from tests.receivers.otlp_metrics import OtlpMetrics, Stream, streams

AT = "1790000000000000000"
TIMES = {"startTimeUnixNano": AT, "timeUnixNano": AT}
DATA_POINT = {**TIMES, "asInt": "1"}
SPREAD = {
    **TIMES,
    "count": "2",
    "sum": 3.0,
    "min": 1.0,
    "max": 2.0,
    "bucketCounts": ["1", "1"],
    "explicitBounds": [1.5],
}


def request(*metrics):
    content = {"resourceMetrics": [{"scopeMetrics": [{"metrics": list(metrics)}]}]}
    return json_format.ParseDict(content, ExportMetricsServiceRequest())


def counter(name="a", temporality=1, points=(DATA_POINT,)):
    return {
        "name": name,
        "sum": {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": list(points)},
    }


def histogram(**changes):
    return {"name": "h", "histogram": {"aggregationTemporality": 1, "dataPoints": [{**SPREAD, **changes}]}}


BAD = {
    "nothing": [],
    "a metric twice": [counter(), counter()],
    "a blank name": [counter("")],
    "a name with a space": [counter("a b")],
    "no data": [{"name": "a"}],
    "no data points": [counter(points=[])],
    "cumulative": [counter(temporality=2)],
    "no temporality": [counter(temporality=0)],
    "no value": [counter(points=[TIMES])],
    "no time": [counter(points=[{"asInt": "1"}])],
    "an end before its start": [counter(points=[{**DATA_POINT, "timeUnixNano": "5"}])],
    "a counter that falls": [counter(points=[{**DATA_POINT, "asInt": "-1"}])],
    "NaN": [counter(points=[{**TIMES, "asDouble": "NaN"}])],
    "a series twice": [counter(points=[DATA_POINT, DATA_POINT])],
    "too few buckets": [histogram(bucketCounts=["2"])],
    "buckets of others": [histogram(bucketCounts=["1", "2"])],
    "bounds that fall": [histogram(bucketCounts=["1", "1", "0"], explicitBounds=[2.0, 1.0])],
    "a sum that cannot be": [histogram(sum=30.0)],
}


@pytest.mark.parametrize("metrics", BAD.values(), ids=BAD)
def test_refused(metrics):
    with pytest.raises(Refused):
        streams(request(*metrics))


def test_good_ones_of_each_kind():
    gauge = {"name": "g", "gauge": {"dataPoints": [{**TIMES, "asDouble": -0.5}]}}
    found = [(one.name, one.value) for one in streams(request(counter(), histogram(), gauge))]
    assert found == [("a", 1), ("h", 3.0), ("g", -0.5)]


def test_the_sdk_is_taken():
    """Deltas of its own instruments; the answer can say that not all was taken."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
    from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
    from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

    reader = InMemoryMetricReader(dict.fromkeys((Counter, Histogram), AggregationTemporality.DELTA))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("m")
    meter.create_counter("c").add(2, {"k": "v"})
    meter.create_histogram("h", "s").record(0.25)
    data = encode_metrics(reader.get_metrics_data()).SerializeToString()
    with OtlpMetrics() as receiver:
        receiver.rejects = 3
        kind = {"Content-Type": "application/x-protobuf"}
        answer = requests.post(f"{receiver.url}/v1/metrics", data=data, headers=kind, timeout=5)
        assert ExportMetricsServiceResponse.FromString(answer.content).partial_success.rejected_data_points == 3
        found = receiver.accepted
        assert found == [Stream("c", 2, found[0].at, {"k": "v"}), Stream("h", 0.25, found[1].at)]
        assert receiver.total("c") == 2
        for path, headers in (("/v1/traces", kind), ("/v1/metrics", {"Content-Type": "application/json"})):
            assert requests.post(receiver.url + path, data=data, headers=headers, timeout=5).status_code in (404, 415)
        assert requests.post(f"{receiver.url}/v1/metrics", data=b"\xff", headers=kind, timeout=5).status_code == 400
    provider.shutdown()
