"""What a run's metrics look like: a table with a sparkline for each figure, made from lines of CloudWatch's EMF.

Only the format is known here, not who writes it. Source: CloudWatch user guide, "Specification: Embedded metric format"; a
property is any other member of the document.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-:=+*#"
ROWS = 12
_NAME, _LINE = 28, 20  # columns; with the figures beside them a row has 100
#: of a row of the table: where its sparkline begins, and how many columns it takes with its space
NAME_COLUMNS, LINE_COLUMNS = _NAME + 2, _LINE + 1
_LARGEST = 2**360  # CloudWatch API reference, MetricDatum: beyond it, and NaN and Infinity, values are refused

#: unit of CloudWatch: what it counts, and how many of that
_UNITS = {
    "Seconds": ("s", 1.0),
    "Milliseconds": ("s", 1e-3),
    "Microseconds": ("s", 1e-6),
    "Bytes": ("B", 1.0),
    # As Lambda counts: its MB are 1,048,576 bytes.
    "Kilobytes": ("B", 1024.0),
    "Megabytes": ("B", 1024.0**2),
    "Gigabytes": ("B", 1024.0**3),
    "Terabytes": ("B", 1024.0**4),
    "Percent": ("%", 1.0),
    "Count": ("", 1.0),
    "None": ("", 1.0),
}
_SCALES = {
    "s": (("s", 10.0, 1.0), ("ms", 1e-3, 1e-3), ("us", 0.0, 1e-6)),
    "B": (("GiB", 1024.0**3, 1024.0**3), ("MiB", 1024.0**2, 1024.0**2), ("KiB", 1024.0, 1024.0), ("B", 0.0, 1.0)),
}
#: of Lambda Insights' properties: what their names do not tell (AWS docs, "Metrics collected by Lambda Insights")
_INSIGHTS = {
    "agent_memory_max": "Megabytes", "duration": "Milliseconds", "billed_duration": "Milliseconds",
    "cpu_user_time": "Milliseconds", "cpu_system_time": "Milliseconds",
    "tmp_used": "Bytes", "tmp_free": "Bytes", "tmp_max": "Bytes",
}  # fmt: skip
#: of Datadog's enhanced metrics likewise (its documentation, "Enhanced Lambda Metrics")
_DATADOG = "aws.lambda.enhanced."
_DATADOG_UNITS = {
    **dict.fromkeys(("duration", "billed_duration", "init_duration", "snapstart_restore_duration"), "Seconds"),
    **dict.fromkeys(
        ("runtime_duration", "post_runtime_duration", "response_latency", "response_duration"), "Milliseconds"
    ),
    **dict.fromkeys(("cpu_user_time", "cpu_system_time", "cpu_total_time"), "Milliseconds"),
    **dict.fromkeys(("cpu_total_utilization_pct", "cpu_max_utilization", "cpu_min_utilization"), "Percent"),
    **dict.fromkeys(
        ("produced_bytes", "rx_bytes", "tx_bytes", "total_network", "tmp_used", "tmp_free", "tmp_max"), "Bytes"
    ),
    **dict.fromkeys(("max_memory_used", "memorysize"), "Megabytes"),
}
#: which properties are shown, if there is room: one of each kind in turn
_KINDS = (
    frozenset(("duration", "latency")),
    frozenset(("cpu",)),
    frozenset(("memory", "mem", "rss")),
    frozenset(("network", "net", "rx", "tx")),
)
#: what of them nobody has spent
_LIMITS = frozenset(("limit", "available", "free", "count", "errors", "dropped"))


@dataclass(frozen=True)
class Point:
    """One value, or what is told of several: ``value`` is their mean then."""

    value: float
    low: float
    high: float
    count: int = 1


@dataclass
class Row:
    """One figure over a run, in a unit of ``_SCALES`` or as it was written."""

    party: str
    name: str
    unit: str
    promoted: bool
    points: list[Point] = field(default_factory=list)

    @property
    def low(self) -> float:
        return min(point.low for point in self.points)

    @property
    def high(self) -> float:
        return max(point.high for point in self.points)

    @property
    def flat(self) -> bool:
        return self.low == self.high


# reading ----------------------------------------------------------------------------------------------------------------


def document(text: str) -> dict[str, Any] | None:
    """The document in a line of EMF; None where it is something else."""
    if '"_aws"' not in text or not text.lstrip().startswith("{"):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("_aws"), dict) else None


def metrics(content: dict[str, Any]) -> dict[str, str]:
    """The metrics of a document, in order, with their units; those with no value that CloudWatch takes are left out."""
    blocks = content["_aws"].get("CloudWatchMetrics")
    found: dict[str, str] = {}
    for block in blocks if isinstance(blocks, list) else ():
        declared = block.get("Metrics") if isinstance(block, dict) else None
        for metric in declared if isinstance(declared, list) else ():
            name = metric.get("Name") if isinstance(metric, dict) else None
            if isinstance(name, str) and name != "_aws" and points(content.get(name)):
                unit = metric.get("Unit")
                found.setdefault(name, unit if isinstance(unit, str) else "None")
    return found


def points(value: Any) -> list[Point]:
    """What there is in a number, an array of numbers or ``{"sum", "min", "max", "count"}``; nothing in anything else."""
    if isinstance(value, list):
        return [Point(one, one, one) for item in value if (one := _number(item)) is not None]
    if isinstance(value, dict):
        said = {key.lower(): number for key, item in value.items() if (number := _number(item)) is not None}
        if not {"sum", "min", "max", "count"} <= said.keys() or said["count"] < 1:
            return []
        return [Point(said["sum"] / said["count"], said["min"], said["max"], int(said["count"]))]
    one = _number(value)
    return [] if one is None else [Point(one, one, one)]


def _number(value: Any) -> float | None:
    """Compared before it is converted: an integer of JSON may be larger than any float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -_LARGEST <= value <= _LARGEST:
        return None
    return float(value)


def rows(events: Sequence[dict[str, Any]]) -> tuple[list[Row], int]:
    """Every figure of the extensions' EMF, in the order of the invocations; how many documents are of several of these."""
    order: dict[str, int] = {}
    #: by extension and name: the invocation that a value belongs to, the value, its unit where it is a metric
    found: dict[tuple[str, str], list[tuple[int, Point, str | None]]] = {}
    together = 0
    for event in events:
        if event["kind"] == "invoke_start":
            order.setdefault(event["request_id"], len(order))
        if event["kind"] != "log" or event["source"] == "function":
            continue
        content = document(event["text"])
        if content is None:
            continue
        requests = _requests(content, order)
        together += len(requests) > 1
        # What comes late, as the last report does, names its request; other lines are of the newest one.
        place = order[requests[0]] if len(requests) == 1 else len(order) - 1
        declared = metrics(content)
        for name in [*declared, *(name for name in content if name not in declared and name != "_aws")]:
            if given := points(content[name]):
                told = found.setdefault((event["party"], name), [])
                told.extend((place, point, declared.get(name)) for point in given)
    return [_row(key, told) for key, told in found.items()], together


def _requests(content: dict[str, Any], order: dict[str, int]) -> list[str]:
    """The invocations that a document names, whatever it calls the property."""
    named: dict[str, None] = {}
    for value in content.values():
        items = value if isinstance(value, list) else (value,)
        named.update((item, None) for item in items if isinstance(item, str) and item in order)
    return list(named)


def _row(key: tuple[str, str], told: list[tuple[int, Point, str | None]]) -> Row:
    """What is a metric in one document may be a property in another; its unit is known by then."""
    declared = next((unit for _place, _point, unit in told if unit is not None), None)
    usual = unit_of_name(key[1]) if declared is None else declared
    row = Row(*key, _base(usual)[0], declared is not None)
    for _place, point, unit in sorted(told, key=lambda one: one[0]):
        factor = _base(unit or usual)[1]
        row.points.append(Point(point.value * factor, point.low * factor, point.high * factor, point.count))
    return row


def _base(unit: str) -> tuple[str, float]:
    if unit == "Ratio":
        return "%", 100.0
    amount, slash, _second = unit.partition("/")
    base, factor = _UNITS.get(amount, (amount, 1.0))
    return (base + "/s" if slash else base), factor


def unit_of_name(name: str) -> str:
    """Of a property, which EMF has no unit for: what OpenTelemetry's and Lambda Insights' names mean, else ``None``.

    Names with dots are OpenTelemetry's, and their times seconds; a wrong unit would be worse than none.
    """
    words = _words(name)
    if name in _INSIGHTS:
        return _INSIGHTS[name]
    if name.startswith(_DATADOG):
        return _DATADOG_UNITS.get(name.removeprefix(_DATADOG), "None")
    if words[-1:] in (["ms"], ["milliseconds"]):
        return "Milliseconds"
    if words[-1:] == ["bytes"]:
        return "Bytes"
    if "." not in name:
        return "None"
    known = set(words)
    if "utilization" in known:
        return "Ratio"
    if known & {"memory", "mem"} and "time" not in known:
        return "Bytes"
    if known & {"duration", "latency", "time"} and not known & {"memory", "mem"}:
        return "Seconds"
    if "io" in known or name == "lambda.response.size":
        return "Bytes"
    return "None"


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


# choosing ---------------------------------------------------------------------------------------------------------------


def chosen(all_rows: Sequence[Row]) -> list[Row]:
    """All that are of interest: metrics first, and of these the ones that change; then properties."""
    promoted = sorted((row for row in all_rows if row.promoted), key=lambda row: row.flat)
    kinds: list[list[Row]] = [[] for _ in _KINDS]
    for row in all_rows:
        words = frozenset(_words(row.name))
        kind = next((place for place, named in enumerate(_KINDS) if words & named), None)
        if kind is not None and not row.promoted and not words & _LIMITS:
            kinds[kind].append(row)
    for kind_rows in kinds:
        # What an extension has spent itself comes last; the order of properties in a document means nothing.
        kind_rows.sort(
            key=lambda row: (
                bool({"extension", "agent"} & set(_words(row.name))), -len(row.points), row.flat, row.name
            )
        )  # fmt: skip
    return [*promoted, *_in_turn(kinds)]


def _in_turn(kinds: Sequence[Sequence[Row]]) -> Iterator[Row]:
    for place in range(max(map(len, kinds), default=0)):
        yield from (kind[place] for kind in kinds if place < len(kind))


# drawing ----------------------------------------------------------------------------------------------------------------


def levels(encoding: str | None) -> str:
    """The characters of a sparkline, lowest first: blocks where the terminal's encoding has them."""
    try:
        BLOCKS.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def sparkline(values: Sequence[float], characters: str = BLOCKS, width: int = _LINE) -> str:
    """A character for each value, from zero to the highest: twice the height is twice as much.

    Where there are more than ``width``, neighbours share one and the highest counts: a spike is what one looks for.
    """
    size = len(values)
    if size > width:
        values = [max(values[at * size // width : (at + 1) * size // width]) for at in range(width)]
    low = min(0.0, *values, 0.0)
    span = max(0.0, *values, 0.0) - low
    top = len(characters) - 1
    return "".join(characters[round((value - low) / span * top) if span else 0] for value in values)


def human(values: Sequence[float], unit: str) -> tuple[list[str], str]:
    """Figures that fit ten columns, and the one unit that suits the largest of them."""
    base, slash, _second = unit.partition("/")
    name, factor = base, 1.0
    greatest = max(map(abs, values), default=0.0)
    if base in _SCALES and greatest:
        name, factor = next((name, factor) for name, least, factor in _SCALES[base] if greatest >= least)
    elif base == "s":
        name = "ms"  # of nothing at all
    return [_figure(value / factor) for value in values], name + ("/s" if slash else "")


def quantity(given: Sequence[Point], unit: str) -> str:
    """A metric's values in a few words."""
    base, factor = _base(unit)
    (low, high), name = human([min(p.low for p in given) * factor, max(p.high for p in given) * factor], base)
    text = low if low == high else f"{low} to {high}"
    return f"{text} {_plain(name)}".rstrip()


def _figure(value: float) -> str:
    if abs(value) >= 1e6 or (value and abs(value) < 0.001):
        return f"{value:.3g}"
    if value.is_integer():
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3f}"


def _plain(text: str) -> str:
    """A name is anybody's text: what would move the cursor or be as wide as two columns is not printed."""
    return re.sub(r"[^ -~]", "?", text)


def _short(text: str, width: int) -> str:
    """Both ends of a long name: the last word is what tells it from its neighbours."""
    if len(text) <= width:
        return text
    head = (width - 2) // 2
    return f"{text[:head]}..{text[head + 2 - width :]}"


def table(events: Sequence[dict[str, Any]], characters: str = BLOCKS) -> str:
    """What the extensions have measured in a run; nothing where none has written EMF. ``events``: the record's."""
    all_rows, together = rows(events)
    order = chosen(all_rows)
    shown = order[:ROWS]
    if not shown:
        return ""
    several = len({row.party for row in all_rows}) > 1
    lines = [_line("what extensions measured", "over the invocations", "n", ("min", "max", "last"), "unit", indent="")]
    lines += [_drawn(row, characters, several) for row in shown]
    if hidden := len(all_rows) - len(shown):
        lines.append(f"  ... and {hidden} more in the record (--json FILE)")
    if together:
        lines.append(
            f"  {together} document(s) of several invocations: there, what is not a metric is one number for all"
        )
    return "\n".join(lines) + "\n"


def _drawn(row: Row, characters: str, several: bool) -> str:
    line = sparkline([point.value for point in row.points], characters)
    last = row.points[-1]
    figures, unit = human([row.low, row.high, last.value], row.unit)
    if last.count > 1:
        figures[2] = "-"  # of several only the mean is known
    count = sum(point.count for point in row.points)
    size = str(count) if count < 1_000_000 else f"{count:.0e}"
    return _line(f"{row.party} {row.name}" if several else row.name, line, size, figures, unit)


def _line(name: str, line: str, size: str, figures: Iterable[str], unit: str, indent: str = "  ") -> str:
    name = _short(_plain(name), _NAME)
    numbers = "".join(f" {figure:>10}" for figure in figures)
    return f"{indent + name:<{_NAME + 2}} {line:<{_LINE}} {size:>6}{numbers} {_short(_plain(unit), 8)}".rstrip()


__all__ = ["ASCII", "BLOCKS", "document", "human", "levels", "metrics", "points", "quantity", "sparkline", "table"]
