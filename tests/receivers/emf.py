"""CloudWatch's side of the embedded metric format: a document is read as the specification has it, or refused.

CloudWatch itself refuses silently: what is wrong with a document costs its metrics, and nobody is told. So this says why.

Sources: CloudWatch user guide, "Specification: Embedded metric format" (structure, limits, its JSON schema); CloudWatch API
reference, "MetricDatum" and "Dimension" (units, range of values, characters of a dimension).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

MOST_BYTES = 1_048_576  # "the maximum log event size"
MOST_METRICS = MOST_VALUES = 100
MOST_DIMENSIONS = 30
DAYS_BACK, HOURS_AHEAD = 14, 2
_RANGE = 2.0**360
UNITS = frozenset((
    "Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits",
    "Kilobits", "Megabits", "Gigabits", "Terabits", "Percent", "Count", "Bytes/Second", "Kilobytes/Second",
    "Megabytes/Second", "Gigabytes/Second", "Terabytes/Second", "Bits/Second", "Kilobits/Second", "Megabits/Second",
    "Gigabits/Second", "Terabits/Second", "Count/Second", "None",
))  # fmt: skip


class Refused(ValueError):
    """Why CloudWatch makes no metrics of a document."""


Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Document:
    """``values``: by name and dimensions, what CloudWatch takes; ``properties``: the members that are neither of them."""

    at_ms: int
    namespaces: frozenset[str]
    values: dict[tuple[str, Dimensions], list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> list[float]:
        """The values of a metric that has one set of dimensions."""
        found = [values for (metric, _), values in self.values.items() if metric == name]
        assert len(found) < 2, f"{name} has {len(found)} sets of dimensions"
        return found[0] if found else []


def read(line: str | bytes, now_ms: int) -> Document:
    """One event of a log."""
    data = line.encode() if isinstance(line, str) else line
    if len(data) > MOST_BYTES:
        raise Refused(f"{len(data)} bytes")
    if b"\n" in data or b"\r" in data:
        raise Refused("more than one line: of each, an event is made")
    root = _parsed(data)
    about = _member(_an_object(root, "the document"), "_aws", dict)
    at_ms = _member(about, "Timestamp", int)
    if not now_ms - DAYS_BACK * 86_400_000 <= at_ms <= now_ms + HOURS_AHEAD * 3_600_000:
        raise Refused(f"Timestamp {at_ms} is too far from {now_ms}")
    found = Document(at_ms, frozenset(_directive(root, one) for one in _member(about, "CloudWatchMetrics", list)))
    used = {"_aws"}
    for directive in about["CloudWatchMetrics"]:
        for dimensions in directive["Dimensions"]:
            pairs = tuple((name, root[name]) for name in dimensions)
            used.update(dimensions)
            for metric in directive["Metrics"]:
                name = metric["Name"]
                if (name, pairs) in found.values:
                    raise Refused(f"{name} is there twice")
                target = root[name]
                found.values[name, pairs] = list(target) if isinstance(target, list) else [target]
                found.units[name] = metric.get("Unit", "None")
                used.add(name)
    found.properties.update({name: value for name, value in root.items() if name not in used})
    return found


def total(documents: list[Document], name: str) -> float:
    """What CloudWatch's statistic Sum says of a metric."""
    return math.fsum(value for document in documents for value in document.of(name))


# inside


def _parsed(data: bytes) -> Any:
    def no_constant(name: str) -> None:
        raise Refused(f"{name} is not JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise Refused("a member is there twice")
        return dict(pairs)

    try:
        return json.loads(data.decode(), parse_constant=no_constant, object_pairs_hook=once)
    except Refused:
        raise
    except ValueError as error:
        raise Refused(f"no JSON: {error}") from error


def _an_object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{what} is no object")
    return value


def _member(owner: dict[str, Any], name: str, kind: type) -> Any:
    value = owner.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Refused(f"{name}: {value!r} is no {kind.__name__}")
    return value


def _text(value: Any, what: str, most: int) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise Refused(f"{what}: {str(value)[:60]!r} has to be a text of 1 to {most} characters, not blank")
    return value


def _directive(root: dict[str, Any], directive: Any) -> str:
    """The namespace; everything in it has been checked."""
    directive = _an_object(directive, "a directive")
    namespace = _text(directive.get("Namespace"), "Namespace", 1024)
    sets = _member(directive, "Dimensions", list)
    if not sets:
        raise Refused("Dimensions: at least one set")
    for dimensions in sets:
        if not isinstance(dimensions, list) or not 1 <= len(dimensions) <= MOST_DIMENSIONS:
            raise Refused(f"a set of dimensions is an array of 1 to {MOST_DIMENSIONS}")
        for name in dimensions:
            _dimension(root, name)
        if len(set(dimensions)) < len(dimensions):
            raise Refused("a dimension is there twice")
    metrics = _member(directive, "Metrics", list)
    if len(metrics) > MOST_METRICS:
        raise Refused(f"{len(metrics)} metrics")
    for metric in metrics:
        _metric(root, _an_object(metric, "a metric"))
    return namespace


def _dimension(root: dict[str, Any], name: Any) -> None:
    _text(name, "name of a dimension", 250)
    if not name.isascii() or not name.isprintable() or name.startswith(":"):
        raise Refused(f"name of a dimension: {name!r}")
    value = _text(root.get(name), f"dimension {name}", 1024)
    if not value.isascii() or not value.isprintable():
        raise Refused(f"dimension {name}: {value!r}")


def _metric(root: dict[str, Any], metric: dict[str, Any]) -> None:
    name = _text(metric.get("Name"), "name of a metric", 1024)
    if metric.get("Unit", "None") not in UNITS:
        raise Refused(f"{name}: unit {metric['Unit']!r}")
    resolution = metric.get("StorageResolution", 60)
    if isinstance(resolution, bool) or resolution not in (1, 60):
        raise Refused(f"{name}: StorageResolution {resolution!r}")
    if more := metric.keys() - {"Name", "Unit", "StorageResolution"}:
        raise Refused(f"{name}: unknown {more}")
    target = root.get(name)
    values = target if isinstance(target, list) else [target]
    if not 1 <= len(values) <= MOST_VALUES:
        raise Refused(f"{name}: {len(values)} values")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _RANGE:
            raise Refused(f"{name}: {value!r} is no number that CloudWatch takes")
