"""StatsD as functions send it: lines become series, and series are what is exported. Pure: no clock, no socket.

A line is ``name:value|type``, with ``|@rate`` and Datadog's ``|#tag:value,tag`` behind it; several lines, and several values of
one (``name:1:2:3|d``), may come together. Types: ``c`` counter, ``g`` gauge (``+1`` and ``-1`` change it), ``ms``, ``h`` and
``d`` distributions, ``s`` set. Sources: statsd/statsd, ``docs/metric_types.md``; Datadog's documentation, "DogStatsD datagram
format" (versions 1.0 to 1.4: what they add behind the tags is passed over; events and service checks are no metrics).
"""

from __future__ import annotations

import math
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "COUNTER",
    "DISTRIBUTION",
    "GAUGE",
    "MOST_VALUES",
    "SET",
    "Aggregator",
    "Identity",
    "Series",
    "Tags",
    "joined",
    "plain",
]

Tags = tuple[tuple[str, str], ...]
#: name and tags
Identity = tuple[str, Tags]
COUNTER, GAUGE, DISTRIBUTION, SET = "counter", "gauge", "distribution", "set"

_KINDS = {"c": COUNTER, "g": GAUGE, "ms": DISTRIBUTION, "h": DISTRIBUTION, "d": DISTRIBUTION, "s": SET}
_PASSED_OVER = ("c:", "T", "e:", "card:")  # container, time, external data, cardinality
_NO_METRICS = ("_e{", "_sc|")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_./-]")  # OpenTelemetry's "instrument name syntax"
_LONGEST_NAME = 255
_LONGEST_TAG = 200  # Datadog's limit
_MOST_TAGS = 20  # CloudWatch has 30 dimensions
_MOST_MEMBERS = 1_000  # of a set
_MOST_DISTINCT = 1_000  # values of a distribution that are told apart; beyond that they are rounded
#: of a distribution, until it is exported, where each becomes a number in a document (EMF)
MOST_VALUES = 2_000
_LARGEST = 2.0**360  # CloudWatch takes no more: of a value, and so of a sum
_LEAST_RATE = 1e-6  # below it a value would stand for more than there can have been


class Wrong(ValueError):
    """Why a line is no metric."""


class Series:
    """What came of one name with one set of tags: of a counter ``value`` is the sum, of a gauge the newest.

    ``values``: of a distribution, how often each was seen; ``sum``, ``least``, ``most`` are exact where ``values`` are rounded.
    ``members``: of a set. ``unit``: "ms" or "". ``since_ms``, ``at_ms``: when the first and the last of it were read.
    """

    __slots__ = (
        "at_ms",
        "count",
        "kind",
        "least",
        "members",
        "most",
        "name",
        "since_ms",
        "sum",
        "tags",
        "unit",
        "value",
        "values",
    )

    def __init__(self, identity: Identity, kind: str, unit: str, at_ms: int) -> None:
        self.name, self.tags = identity
        self.kind = kind
        self.unit = unit
        self.since_ms = self.at_ms = at_ms
        self.value = 0.0
        self.values: dict[float, int] = {}
        self.count = 0
        self.sum = 0.0
        self.least, self.most = math.inf, -math.inf
        self.members: set[str] = set()

    @property
    def identity(self) -> Identity:
        return self.name, self.tags

    def seen(self, value: float, times: int) -> None:
        """A value of a distribution."""
        self.values[value] = self.values.get(value, 0) + times
        self.count += times
        self.sum += value * times
        self.least, self.most = min(self.least, value), max(self.most, value)
        if len(self.values) > _MOST_DISTINCT:
            self._round()

    def add(self, other: Series) -> None:
        """The values of another distribution."""
        for value, times in other.values.items():
            self.values[value] = self.values.get(value, 0) + times
        self.count += other.count
        self.sum += other.sum
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)
        if len(self.values) > _MOST_DISTINCT:
            self._round()

    def _round(self) -> None:
        """To two digits, so that there are ninety values between 1 and 10; to one where that does not do."""
        for digits in (1, 0):
            found: dict[float, int] = {}
            for value, times in self.values.items():
                rounded = min(max(float(f"{value:.{digits}e}"), self.least), self.most)
                found[rounded] = found.get(rounded, 0) + times
            self.values = found
            if len(found) <= _MOST_DISTINCT // 2:
                break


def plain(value: float) -> float:
    """Without what floats add when they are summed up: 0.3, not 0.30000000000000004."""
    return round(value, 12) if abs(value) >= 0.001 else value


def joined(older: Series, newer: Series, most_values: int | None = None) -> tuple[Series, int]:
    """Both as one, and how many of the newer's values are left out, being beyond a limit (``most_values`` of a distribution).

    They have the same identity. Neither is changed: exporters share them.
    """
    found = Series(older.identity, older.kind, older.unit, newer.at_ms)
    found.since_ms, found.at_ms = min(older.since_ms, newer.since_ms), max(older.at_ms, newer.at_ms)
    lost = 0
    if older.kind == GAUGE:
        found.value = newer.value
    elif abs(older.value + newer.value) <= _LARGEST:
        found.value = older.value + newer.value
    else:
        found.value, lost = older.value, 1
    members = sorted(newer.members - older.members)
    room = max(0, _MOST_MEMBERS - len(older.members))
    found.members = older.members.union(members[:room])
    lost += len(members[room:])
    if older.kind == DISTRIBUTION:
        found.add(older)
        fits = _first(newer, most_values - older.count) if most_values is not None else newer
        if abs(older.sum + fits.sum) > _LARGEST:
            fits = _first(newer, 0)
        found.add(fits)
        lost += newer.count - fits.count
    return found, lost


def _first(series: Series, most: int) -> Series:
    """A distribution of `most` of the values at most."""
    if series.count <= most:
        return series
    found = Series(series.identity, series.kind, series.unit, series.at_ms)
    for value, times in series.values.items():
        if (some := min(times, most - found.count)) > 0:
            found.seen(value, some)
    return found


class Aggregator:
    """``most``: how many series are told apart in an environment's life; ``most_values``: of a distribution until `take`.

    ``malformed``, ``overflow``: lines that were none, and values beyond a limit, since `take` was last called.
    ``trouble``: the first line that was none, and why; "" for none so far.
    """

    def __init__(self, most: int, most_values: int | None = None) -> None:
        self.malformed = self.overflow = 0
        self.trouble = ""
        self._most = most
        self._most_values = most_values
        self._kinds: dict[str, tuple[str, str]] = {}  # by name: kind and unit
        self._known: set[Identity] = set()
        self._levels: dict[Identity, float] = {}  # of gauges
        self._live: dict[Identity, Series] = {}

    @property
    def pending(self) -> int:
        return len(self._live) + (1 if self.malformed or self.overflow else 0)

    def read(self, datagrams: Iterable[bytes], at_ms: int) -> None:
        """``at_ms``: when they were read; a line does not tell its time."""
        for datagram in datagrams:
            for line in datagram.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
                if not line:
                    continue
                try:
                    self._take_in(line, at_ms)
                except Exception as wrong:  # noqa: BLE001 - whatever is wrong with a line costs that line, not those with it
                    self.malformed += 1
                    self.trouble = self.trouble or f"{line[:80]!r}: {wrong}"

    def take(self) -> list[Series]:
        """The series of which something has come since the last time."""
        live, self._live = self._live, {}
        self.malformed = self.overflow = 0
        return [
            one for one in live.values() if one.count or one.kind != DISTRIBUTION
        ]  # its first value may have been too much

    # a line

    def _take_in(self, line: str, at_ms: int) -> None:
        if line.startswith(_NO_METRICS):
            raise Wrong("events and service checks are no metrics")
        head, _, rest = line.partition("|")
        name, colon, written = head.partition(":")
        kind_written, *fields = rest.split("|")
        kind = _KINDS.get(kind_written)
        if not name or not colon or not written:
            raise Wrong("name:value|type is expected")
        if kind is None:
            raise Wrong(f"no type {kind_written[:8]!r}: {', '.join(_KINDS)}")
        rate, tags = _read(fields)
        values = [written] if kind == SET else written.split(":")
        numbers = [] if kind == SET else [_number(value) for value in values]
        series = self._series((_name(name), tags), kind, "ms" if kind_written == "ms" else "", at_ms)
        if series is None:
            self.overflow += len(values)
        elif kind == COUNTER:
            for number in numbers:
                self._change(series, series.value + number / rate)
        elif kind == GAUGE:
            for value, number in zip(values, numbers, strict=True):
                self._change(series, series.value + number if value[0] in "+-" else number)
            self._levels[series.identity] = series.value
        elif kind == SET:
            self._add_member(series, written)
        else:
            for number in numbers:
                self._add_value(series, number, max(1, round(1 / rate)))

    def _series(self, identity: Identity, kind: str, unit: str, at_ms: int) -> Series | None:
        """None where it is one too many."""
        series = self._live.get(identity)
        if series is None:
            if identity not in self._known and len(self._known) >= self._most:
                return None
            kind_before, unit = self._kinds.setdefault(identity[0], (kind, unit))
            if kind_before != kind:
                raise Wrong(f"{identity[0]} is a {kind_before}")
            self._known.add(identity)
            series = self._live[identity] = Series(identity, kind, unit, at_ms)
            series.value = self._levels.get(identity, 0.0)
        elif series.kind != kind:
            raise Wrong(f"{identity[0]} is a {series.kind}")
        series.at_ms = max(series.at_ms, at_ms)
        return series

    def _change(self, series: Series, value: float) -> None:
        if abs(value) <= _LARGEST:
            series.value = value
        else:
            self.overflow += 1

    def _add_member(self, series: Series, member: str) -> None:
        if member in series.members or len(series.members) < _MOST_MEMBERS:
            series.members.add(member[:_LONGEST_NAME])
        else:
            self.overflow += 1

    def _add_value(self, series: Series, value: float, times: int) -> None:
        too_many = self._most_values is not None and series.count + times > self._most_values
        if too_many or abs(series.sum + value * times) > _LARGEST:
            self.overflow += 1
        else:
            series.seen(value, times)


def _read(fields: list[str]) -> tuple[float, Tags]:
    """Sample rate and tags."""
    rate, tags = 1.0, dict[str, str]()
    for field in fields:
        if field.startswith("@"):
            rate = _number(field[1:])
            if not _LEAST_RATE <= rate <= 1:
                raise Wrong("a sample rate is from 0.000001 to 1")
        elif field.startswith("#"):
            for tag in field[1:].split(","):
                key, _, value = tag.partition(":")
                if key := _printable(key):
                    tags[key] = _printable(value) or "true"
        elif not field.startswith(_PASSED_OVER):
            raise Wrong(f"{field[:20]!r} is neither a rate nor tags")
    if len(tags) > _MOST_TAGS:
        raise Wrong(f"more than {_MOST_TAGS} tags")
    return rate, tuple(sorted(tags.items()))


def _number(written: str) -> float:
    if not _NUMBER.fullmatch(written):
        raise Wrong(f"{written[:20]!r} is no number")
    number = float(written)
    if not abs(number) <= _LARGEST:
        raise Wrong(f"{written[:20]!r} is too large")
    return number


def _name(written: str) -> str:
    """As OpenTelemetry and CloudWatch take it: other characters become ``_``, a letter is first."""
    name = _NOT_IN_NAMES.sub("_", written)
    if not ("A" <= name[0] <= "Z" or "a" <= name[0] <= "z"):
        name = f"statsd.{name}"
    if len(name) > _LONGEST_NAME:
        raise Wrong(f"a name of more than {_LONGEST_NAME} characters")
    return name


def _printable(written: str) -> str:
    return "".join(letter if letter.isprintable() else "_" for letter in written[:_LONGEST_TAG]).strip()
