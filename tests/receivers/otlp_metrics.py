"""A strict receiver of OTLP/HTTP metrics whose answers a test scripts; `rotel.py` is the judge that we did not write.

Sources: OTLP specification 1.x, "OTLP/HTTP Request"; the comments of OpenTelemetry's ``metrics.proto``; metrics data model,
"Instrument name syntax", "Single-Writer" (one stream of an identity).
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field

import requests
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA, Metric

from tests.receivers.collector import Collector, Refused

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./-]{0,254}")


@dataclass(frozen=True)
class Stream:
    """A data point. ``value``: of a number, or the sum of a histogram."""

    name: str
    value: float
    at: int
    attributes: dict[str, object] = field(default_factory=dict)


class OtlpMetrics(Collector):
    """``accepted`` has `Stream`s. ``judge``: the URL of another receiver, which has to take every request as well.

    ``rejects``: how many data points the answer says were not taken.
    """

    def __init__(self, judge: str = "") -> None:
        super().__init__()
        self.judge = judge
        self.rejects = 0

    def take(self, path, headers, body):
        if path != "/v1/metrics":
            raise Refused(404, "404 page not found")
        if headers.get("content-type") != "application/x-protobuf":
            raise Refused(415, "unsupported content type")
        try:
            request = ExportMetricsServiceRequest.FromString(body)
        except DecodeError as error:
            raise Refused(400, str(error)) from error
        taken = streams(request)
        if self.judge:
            kind = {"Content-Type": "application/x-protobuf"}
            said = requests.post(f"{self.judge}/v1/metrics", data=body, headers=kind, timeout=10)
            if said.status_code != 200:
                raise Refused(400, f"the judge answers {said.status_code}: {said.text}")
        self.accepted += taken
        answer = ExportMetricsServiceResponse()
        if self.rejects:
            answer.partial_success.rejected_data_points = self.rejects
            answer.partial_success.error_message = "too many series"
        return 200, answer.SerializeToString()

    def total(self, name: str) -> float:
        """Of deltas: all that was counted."""
        with self.lock:
            return math.fsum(one.value for one in self.accepted if one.name == name)


def streams(request: ExportMetricsServiceRequest) -> list[Stream]:
    """Every data point, or `Refused`."""
    found: list[Stream] = []
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            names = [metric.name for metric in scope.metrics]
            if len(set(names)) < len(names):
                raise Refused(400, "a metric is there twice")
            for metric in scope.metrics:
                found += _streams(metric)
    if not found:
        raise Refused(400, "nothing is in it")
    return found


def _streams(metric: Metric) -> list[Stream]:
    name, kind = metric.name, metric.WhichOneof("data")
    if not _NAME.fullmatch(name) or len(metric.unit) > 63:
        raise Refused(400, f"name {name!r}, unit {metric.unit!r}")
    if kind not in ("sum", "gauge", "histogram"):
        raise Refused(400, f"{name}: {kind}")
    data = getattr(metric, kind)
    if kind != "gauge" and data.aggregation_temporality != AGGREGATION_TEMPORALITY_DELTA:
        raise Refused(400, f"{name}: deltas are wanted")
    found: list[Stream] = []
    for one in data.data_points:
        attributes = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in one.attributes}
        if len(attributes) < len(one.attributes) or any(attributes == other.attributes for other in found):
            raise Refused(400, f"{name}: {attributes} twice")
        least = 0 if kind == "gauge" else 1  # the start of a gauge is optional
        if not least <= one.start_time_unix_nano <= one.time_unix_nano or not one.time_unix_nano:
            raise Refused(400, f"{name}: from {one.start_time_unix_nano} to {one.time_unix_nano}")
        if kind == "histogram":
            _check_histogram(name, one)
            value = one.sum
        else:
            if one.WhichOneof("value") is None:
                raise Refused(400, f"{name}: no value")
            value = getattr(one, one.WhichOneof("value"))
        if not math.isfinite(value) or (kind == "sum" and data.is_monotonic and value < 0):
            raise Refused(400, f"{name}: {value}")
        found.append(Stream(name, value, one.time_unix_nano, attributes))
    if not found:
        raise Refused(400, f"{name}: no data point")
    return found


def _check_histogram(name, one):
    bounds, buckets = list(one.explicit_bounds), list(one.bucket_counts)
    if len(buckets) != len(bounds) + 1 or sum(buckets) != one.count:
        raise Refused(400, f"{name}: {buckets} of {one.count}, bounds {bounds}")
    if any(low >= high for low, high in itertools.pairwise(bounds)):
        raise Refused(400, f"{name}: bounds {bounds}")
    if one.min < 0 and one.HasField("sum"):
        raise Refused(400, f"{name}: a sum, though there are values below 0")
    if one.min >= 0 and one.count and not one.min * (1 - 1e-9) <= one.sum / one.count <= one.max * (1 + 1e-9):
        raise Refused(400, f"{name}: the mean is not within {one.min} and {one.max}")
