"""CloudWatch's embedded metric format, by Powertools: one document for many invocations.

A few figures are metrics (each costs money), with a value for each invocation; all others are properties, which cost what their
bytes cost and can be asked for in Logs Insights: sums of what adds up, the newest of levels, ``{"sum","min","max","count"}`` of
distributions. With profile ``lambda_insights`` there is a document for each invocation, and properties are plain numbers, since
that is what dashboards for it expect. With ``datadog`` there is one for each set of tags, which are properties too. What the
function has sent by StatsD is metrics, all of it, in documents of its own: one for each set of tags, which are dimensions.

Source: CloudWatch user guide, "Specification: Embedded metric format" (100 metrics, 100 values of each, 30 dimensions, 1 MB;
a time within 14 days back and 2 hours ahead).
"""

from __future__ import annotations

import json

from aws_lambda_powertools.metrics import EphemeralMetrics

from extensions.metrics_collector import statsd
from extensions.metrics_collector.exporters.datadog import as_datadog, tags_of
from extensions.metrics_collector.measures import BY_FIGURE, DATADOG, GAUGE, INSIGHTS, PROMOTED, SUM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from extensions.metrics_collector.invocations import Point
    from extensions.metrics_collector.measures import Name

__all__ = ["MOST_POINTS", "Emf"]

#: points of a document: Powertools prints by itself what has 100 values
MOST_POINTS = 90
_MOST_PROMOTED = 90
_LONGEST_KEY, _LONGEST_VALUE = 250, 1_024  # of a dimension
_STATSD_UNITS = {"ms": "Milliseconds", statsd.COUNTER: "Count", statsd.SET: "Count"}
_DIGITS = 12  # after the point, less what floats add: the price of a short invocation begins with seven zeros


class Emf:
    """Makes documents. ``promote``: figures that are metrics; () means the profile's own eight."""

    def __init__(
        self,
        namespace: str,
        profile: str,
        dimensions: Mapping[str, str],
        promote: Sequence[str] = (),
        about: Mapping[str, str] | None = None,
    ) -> None:
        self._namespace = namespace
        self._profile = profile
        # CloudWatch drops a metric whose dimension is empty.
        self._dimensions = {name: value for name, value in dimensions.items() if value}
        self._promoted = tuple(dict.fromkeys(promote or PROMOTED[profile]))[:_MOST_PROMOTED]
        self._about = dict(about or {})

    def documents(self, points: Sequence[Point]) -> list[bytes]:
        """JSON in one line each; together they have every figure of every point once."""
        return [document for document, _ in self.weighed(points)]

    def weighed(self, points: Sequence[Point]) -> list[tuple[bytes, int]]:
        """Each document with the number of points that it has."""
        groups: list[Sequence[Point]]
        if self._profile == INSIGHTS:
            groups = [*_by_request(points)]
        else:
            alike = _alike(as_datadog(points), tags_of) if self._profile == DATADOG else _alike(points)
            groups = [some[at : at + MOST_POINTS] for some in alike for at in range(0, len(some), MOST_POINTS)]
        return [(document, len(group)) for group in groups if (document := self._document(group))]

    def sent(self, series: Sequence[statsd.Series]) -> list[tuple[bytes, int]]:
        """Documents of what the function has sent, each with the number of series of which it has values.

        A series that is in several is counted in each: whichever of them is lost, it is no more than was told.
        """
        found: list[tuple[bytes, int]] = []
        for dimensions, alike in self._by_dimensions(series).items():
            for group in _apart(alike):
                values = [(one, _values(one)) for one in group]
                longest = max(len(numbers) for _, numbers in values)
                for cut in range(0, longest, MOST_POINTS):
                    part = [(one, some) for one, numbers in values if (some := numbers[cut : cut + MOST_POINTS])]
                    found.append((self._of_series(dict(dimensions), part), len(part)))
        return found

    def _by_dimensions(self, series: Sequence[statsd.Series]) -> dict[statsd.Tags, list[statsd.Series]]:
        found: dict[statsd.Tags, list[statsd.Series]] = {}
        for one in series:
            tags = {_ascii(key, _LONGEST_KEY): _ascii(value, _LONGEST_VALUE) for key, value in one.tags}
            if "_aws" in tags:  # CloudWatch's own member of the document
                tags["statsd:_aws"] = tags.pop("_aws")
            # What the function says of itself counts, as in OTLP: so no two series become one.
            found.setdefault(tuple({**tags, **self._dimensions, **tags}.items()), []).append(one)
        return found

    def _of_series(self, dimensions: dict[str, str], part: Sequence[tuple[statsd.Series, list[float]]]) -> bytes:
        metrics = EphemeralMetrics(namespace=self._namespace, service="")
        for name, value in dimensions.items():
            metrics.add_dimension(name, value)
        metrics.set_timestamp(max(one.at_ms for one, _ in part))
        for one, numbers in part:
            # Both are members of the same object: CloudWatch would take the tag for the metric. No name of the function's and
            # no tag has a colon.
            name = f"statsd:{one.name}" if one.name in dimensions else one.name
            for number in numbers:
                metrics.add_metric(name, _STATSD_UNITS.get(one.unit or one.kind, "None"), number)
        return json.dumps(metrics.serialize_metric_set(), separators=(",", ":"), allow_nan=False).encode()

    def _document(self, points: Sequence[Point]) -> bytes:
        values: dict[str, list[float]] = {}
        # In the order of events: of a level that is a property, the newest counts.
        for point in sorted(points, key=lambda point: point.at_ms):
            for figure, value in point.figures.items():
                name = BY_FIGURE[figure].named(self._profile) if figure in BY_FIGURE else None
                if name is not None:
                    values.setdefault(figure, []).append(round(value * name.scale, _DIGITS))
        if not values:
            return b""
        metrics = EphemeralMetrics(namespace=self._namespace, service="")
        for dimension, named in self._dimensions.items():
            metrics.add_dimension(dimension, named)
        metrics.set_timestamp(max(point.at_ms for point in points))
        promoted = [figure for figure in self._promoted if figure in values]
        for figure in promoted:
            name = self._name(figure)
            for one in values[figure]:
                metrics.add_metric(name.emf, name.emf_unit, one)
        for key, about in self._properties(points, values, promoted).items():
            metrics.add_metadata(key, about)
        if promoted:
            document: dict[str, Any] = dict(metrics.serialize_metric_set())
        else:  # nothing of it is a metric: a line for Logs Insights
            document = {**metrics.metadata_set, **self._dimensions}
        # NaN is no JSON: CloudWatch would make nothing of the whole line.
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()

    def _name(self, figure: str) -> Name:
        name = BY_FIGURE[figure].named(self._profile)
        assert name is not None
        return name

    def _properties(
        self, points: Sequence[Point], values: dict[str, list[float]], promoted: Sequence[str]
    ) -> dict[str, Any]:
        found: dict[str, Any] = dict(self._about)
        for figure in values.keys() - set(promoted):
            found[self._name(figure).emf] = self._together(figure, values[figure])
        if self._profile == INSIGHTS:
            for point in points:
                found.update(point.about)
            found["event_type"] = "performance"
            return found
        if self._profile == DATADOG:
            found.update(tags_of(points[0]))  # they are alike
        if points[0].about.get("chaos.active"):
            found["chaos.active"] = True
        if requests := list(
            dict.fromkeys(point.about["request_id"] for point in points if "request_id" in point.about)
        ):
            found["request_ids"] = requests
        types: dict[str, int] = {}
        for point in points:
            if point.error_type:
                types[point.error_type] = types.get(point.error_type, 0) + 1
        if types:
            found["error.types"] = types
        return found

    def _together(self, figure: str, values: list[float]) -> Any:
        kind = BY_FIGURE[figure].kind
        if kind == GAUGE:
            return values[-1]
        if kind == SUM or self._profile == INSIGHTS:
            return round(sum(values), _DIGITS)
        return {"sum": round(sum(values), _DIGITS), "min": min(values), "max": max(values), "count": len(values)}


def _by_request(points: Sequence[Point]) -> list[list[Point]]:
    """The points of an invocation together, in the order of the first of each."""
    groups: dict[object, list[Point]] = {}
    for at, point in enumerate(points):
        groups.setdefault(point.about.get("request_id") or at, []).append(point)
    return list(groups.values())


def _alike(points: Sequence[Point], tags: Callable[[Point], object] = lambda _point: None) -> list[list[Point]]:
    """The points that go together: with the same tags, and what the chaos injector may have disturbed by itself."""
    groups: dict[object, list[Point]] = {}
    for point in points:
        groups.setdefault((tags(point), bool(point.about.get("chaos.active"))), []).append(point)
    return list(groups.values())


def _values(series: statsd.Series) -> list[float]:
    """What CloudWatch is told of a series: each value of a distribution, so that its percentiles are true."""
    if series.kind == statsd.DISTRIBUTION:
        return [value for value, times in sorted(series.values.items()) for _ in range(times)]
    return [float(len(series.members)) if series.kind == statsd.SET else statsd.plain(series.value)]


def _apart(series: Sequence[statsd.Series]) -> list[list[statsd.Series]]:
    """As few groups as are possible in which no name is twice (tags may be alike to CloudWatch only), and not too many."""
    groups: list[dict[str, statsd.Series]] = []
    for one in series:
        place = next((group for group in groups if one.name not in group and len(group) < _MOST_PROMOTED), None)
        if place is None:
            groups.append(place := {})
        place[one.name] = one
    return [[*group.values()] for group in groups]


def _ascii(text: str, most: int) -> str:
    """CloudWatch takes no other characters in a dimension: they are written as in a URL, so that they stay different."""
    if text.isascii():
        return text
    letters = (one if one.isascii() else "".join(f"%{byte:02X}" for byte in one.encode()) for one in text)
    return "".join(letters)[:most]
