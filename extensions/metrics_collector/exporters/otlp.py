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

from extensions.metrics_collector import statsd
from extensions.metrics_collector.exporters.datadog import as_datadog, tags_of
from extensions.metrics_collector.measures import DATADOG, GAUGE, MEASURES, SCHEMA_URL, SUM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from extensions.metrics_collector.invocations import Point
    from extensions.metrics_collector.measures import Measure, Name

__all__ = ["Otlp", "rejected"]

_NS = 1_000_000
_DIGITS = 12  # after the point, less what floats add: the price of a short invocation begins with seven zeros
_SCOPE = "lambda-extension-kit/metrics-collector"
_STATSD_SCOPE = f"{_SCOPE}/statsd"
#: of what the function has measured: the SDK's own default
_BOUNDS = (0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0)


class Otlp:
    """Makes requests. ``resource``: attributes; empty ones are left out. ``tags``: attributes of every data point."""

    def __init__(self, profile: str, resource: Mapping[str, str | int], tags: Mapping[str, str] | None = None) -> None:
        self._profile = profile
        self._tags = dict(tags or {})
        # Not Resource.create, which reads OTEL_RESOURCE_ATTRIBUTES: that is the function's.
        self._resource = Resource({name: value for name, value in resource.items() if value}, SCHEMA_URL)

    def request(self, points: Sequence[Point], series: Sequence[statsd.Series] = ()) -> bytes:
        """An ExportMetricsServiceRequest with every figure of the points, and what the function has sent; b"" for nothing."""
        scopes = []
        if metrics := self._metrics(as_datadog(points) if self._profile == DATADOG else points):
            scopes.append(ScopeMetrics(InstrumentationScope(_SCOPE, "", SCHEMA_URL), metrics, SCHEMA_URL))
        if metrics := _statsd_metrics(series, self._tags):
            scopes.append(ScopeMetrics(InstrumentationScope(_STATSD_SCOPE, ""), metrics, ""))
        if not scopes:
            return b""
        data = MetricsData([ResourceMetrics(self._resource, scopes, SCHEMA_URL)])
        encoded: bytes = encode_metrics(data).SerializeToString()
        return encoded

    def _metrics(self, points: Sequence[Point]) -> list[Metric]:
        """One for each name: figures that differ by an attribute only are data points of the same metric."""
        found: dict[str, tuple[Measure, list[NumberDataPoint | HistogramDataPoint]]] = {}
        for measure in MEASURES:
            name = measure.named(self._profile)
            if name is None:
                continue
            for (own, chaos), told in self._series(measure.figure, points).items():
                attributes: dict[str, str | bool] = {**self._tags, **dict(name.attributes), **dict(own)}
                if chaos:
                    attributes["chaos.active"] = True
                found.setdefault(name.name, (measure, []))[1].append(_data_point(measure, name, attributes, told))
        return [self._metric(measure, data_points) for measure, data_points in found.values()]

    def _series(self, figure: str, points: Sequence[Point]) -> dict[tuple[statsd.Tags, bool], list[Point]]:
        """The points that have a figure, by what tells them apart: of errors their type; of Datadog's metrics their tags; of
        all, whether a chaos experiment was armed.
        """
        found: dict[tuple[statsd.Tags, bool], list[Point]] = {}
        for point in points:
            if figure in point.figures:
                own: statsd.Tags = ()
                if self._profile == DATADOG:
                    own = tags_of(point)
                elif figure == "errors_count" and point.error_type:
                    own = (("error.type", point.error_type),)
                found.setdefault((own, bool(point.about.get("chaos.active"))), []).append(point)
        return found

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


def _statsd_metrics(series: Sequence[statsd.Series], tags: Mapping[str, str]) -> list[Metric]:
    """One for each name, with a data point for each set of tags; no two of `series` are of the same."""
    found: dict[str, list[statsd.Series]] = {}
    for one in series:
        found.setdefault(one.name, []).append(one)
    return [_statsd_metric(name, alike, tags) for name, alike in found.items()]


def _statsd_metric(name: str, series: list[statsd.Series], tags: Mapping[str, str]) -> Metric:
    delta, kind = AggregationTemporality.DELTA, series[0].kind
    if kind == statsd.DISTRIBUTION:
        data = Histogram([_distribution(one, {**tags, **dict(one.tags)}) for one in series], delta)
        return Metric(name, "", series[0].unit, data)
    points = [
        NumberDataPoint(
            {**tags, **dict(one.tags)}, one.since_ms * _NS, one.at_ms * _NS,
            len(one.members) if kind == statsd.SET else statsd.plain(one.value),
        )
        for one in series
    ]  # fmt: skip
    if kind != statsd.COUNTER:
        return Metric(name, "", series[0].unit, Gauge(points))
    # StatsD's counters may go down. Only where one has is it said, since backends make something else of those.
    return Metric(name, "", series[0].unit, Sum(points, delta, all(one.value >= 0 for one in series)))


def _distribution(series: statsd.Series, attributes: dict[str, str]) -> HistogramDataPoint:
    counts = [0] * (len(_BOUNDS) + 1)
    for value, times in series.values.items():
        counts[bisect_left(_BOUNDS, value)] += times
    # "sum should only be filled out when measuring non-negative discrete events": metrics.proto
    total: Any = statsd.plain(series.sum) if series.least >= 0 else None
    return HistogramDataPoint(
        attributes, series.since_ms * _NS, series.at_ms * _NS, series.count, total, counts, _BOUNDS, series.least, series.most,
    )  # fmt: skip


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
