"""OTLP/HTTP metrics: points as `opentelemetry-sdk`'s own data model, encoded by OpenTelemetry's encoder.

Deltas, each with the times of the events that it comes from. That is why there is no MeterProvider and no metric reader here:
an instrument of the SDK stamps what it is told with the time of the collection, which in an environment that was frozen is
another hour; and a delta that its exporter could not send is gone, while ours waits. (Its exporter's own retries sleep for as
long as they like, and OTEL_* variables, which are the function's, steer it.)
"""

from __future__ import annotations

from bisect import bisect_left

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from extensions.metrics_collector.measures import GAUGE, MEASURES, SCHEMA_URL, SUM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extensions.metrics_collector.invocations import Point
    from extensions.metrics_collector.measures import Measure, Name

__all__ = ["Otlp", "rejected"]

_NS = 1_000_000
_DIGITS = 12  # after the point, less what floats add: the price of a short invocation begins with seven zeros
_SCOPE = "lambda-extension-kit/metrics-collector"


class Otlp:
    """Makes requests. ``resource``: attributes; empty ones are left out."""

    def __init__(self, profile: str, resource: Mapping[str, str | int]) -> None:
        self._profile = profile
        # Not Resource.create, which reads OTEL_RESOURCE_ATTRIBUTES: that is the function's.
        self._resource = Resource({name: value for name, value in resource.items() if value}, SCHEMA_URL)

    def request(self, points: Sequence[Point]) -> bytes:
        """An ExportMetricsServiceRequest with every figure of the points; b"" where there is none."""
        metrics = self._metrics(points)
        if not metrics:
            return b""
        scope = ScopeMetrics(InstrumentationScope(_SCOPE, "", SCHEMA_URL), metrics, SCHEMA_URL)
        data = MetricsData([ResourceMetrics(self._resource, [scope], SCHEMA_URL)])
        encoded: bytes = encode_metrics(data).SerializeToString()
        return encoded

    def _metrics(self, points: Sequence[Point]) -> list[Metric]:
        """One for each name: figures that differ by an attribute only are data points of the same metric."""
        found: dict[str, tuple[Measure, list[NumberDataPoint | HistogramDataPoint]]] = {}
        for measure in MEASURES:
            name = measure.named(self._profile)
            if name is None:
                continue
            for (error_type, chaos), told in _series(measure.figure, points).items():
                attributes: dict[str, str | bool] = dict(name.attributes)
                if error_type:
                    attributes["error.type"] = error_type
                if chaos:
                    attributes["chaos.active"] = True
                found.setdefault(name.name, (measure, []))[1].append(_data_point(measure, name, attributes, told))
        return [self._metric(measure, data_points) for measure, data_points in found.values()]

    def _metric(self, measure: Measure, data_points: list[NumberDataPoint | HistogramDataPoint]) -> Metric:
        name = measure.named(self._profile)
        assert name is not None
        delta = AggregationTemporality.DELTA
        data: Sum | Gauge | Histogram
        if measure.kind == SUM:
            data = Sum([one for one in data_points if isinstance(one, NumberDataPoint)], delta, True)
        elif measure.kind == GAUGE:
            data = Gauge([one for one in data_points if isinstance(one, NumberDataPoint)])
        else:
            data = Histogram([one for one in data_points if isinstance(one, HistogramDataPoint)], delta)
        return Metric(name.name, measure.about, name.unit, data)


def rejected(body: bytes) -> tuple[int, str]:
    """How many data points the receiver has not taken, and why, from its answer (partial success). Must not be sent again."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    try:
        partial = ExportMetricsServiceResponse.FromString(body).partial_success
    except DecodeError:
        return 0, ""
    return int(partial.rejected_data_points), str(partial.error_message)


def _series(figure: str, points: Sequence[Point]) -> dict[tuple[str, bool], list[Point]]:
    """The points that have a figure: by their error type, which tells apart errors only, and by whether a chaos experiment was
    armed.
    """
    found: dict[tuple[str, bool], list[Point]] = {}
    for point in points:
        if figure in point.figures:
            error_type = point.error_type if figure == "errors_count" else ""
            found.setdefault((error_type, bool(point.about.get("chaos.active"))), []).append(point)
    return found


def _data_point(
    measure: Measure, name: Name, attributes: dict[str, str | bool], points: list[Point]
) -> NumberDataPoint | HistogramDataPoint:
    values = [round(point.figures[measure.figure] * name.scale, _DIGITS) for point in points]
    since, at = min(point.since_ms for point in points) * _NS, max(point.at_ms for point in points) * _NS
    if measure.kind == GAUGE:
        newest = max(range(len(points)), key=lambda index: (points[index].at_ms, index))
        return NumberDataPoint(attributes, since, at, values[newest])
    if measure.kind == SUM:
        total = round(sum(values), _DIGITS)
        return NumberDataPoint(attributes, since, at, int(total) if name.unit.startswith("{") else total)
    bounds = tuple(
        bound * name.scale / measure.otel.scale for bound in measure.bounds
    )  # they are in the unit of `otel`
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1  # a bound belongs to the bucket that it ends
    return HistogramDataPoint(
        attributes,
        since,
        at,
        len(values),
        round(sum(values), _DIGITS),
        counts,
        bounds,
        min(values),
        max(values),
    )
