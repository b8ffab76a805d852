"""rotel, an OpenTelemetry collector written in Rust: the judge of what we send as OTLP.

It takes protobuf and JSON, refuses what protobuf's own JSON printer gets wrong (names of enums), and prints each record that it
decoded. Source: the wheel ``rotel`` on PyPI, of its authors at Streamfold; ``rotel-agent start --help`` has the options.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.receivers.programs import Program, free_port, from_wheel

if TYPE_CHECKING:
    from pathlib import Path

REQUIREMENT = "rotel==0.0.1a15"
TAGS = {"x86_64": "manylinux_2_34_x86_64", "aarch64": "manylinux_2_34_aarch64"}
DIGESTS = {
    "x86_64": "182f2a4ad68346bb1ca3bb87b8d52c80595f89aa9751dc8d80f0feb9ca18ca5d",
    "aarch64": "07e945ad635d2f9054dc304d5537ae74aa58dcb34844bd8190fdafe4084c3b5b",
}
_SCALAR = re.compile(r"(Str|Int|Double|Bool)\((.*)\)", re.DOTALL)
# A text is printed as it is, so one that imitates this layout would be read wrongly.
_RECORD = re.compile(
    r"\AObservedTimestamp: (?P<observed>\d+)\nTimestamp: (?P<at>\d+)\nSeverityText: (?P<text>.*)\n"
    r"SeverityNumber: \w*\((?P<number>\d+)\)\n(?:Body: (?P<body>.*?)\n)?(?:Attributes:\n(?P<attributes>.*?)\n)?"
    r"    Trace ID       : (?P<trace>\w*)\n    Span ID        : (?P<span>\w*)\nFlags: (?P<flags>\d+)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Decoded:
    """A log record as rotel read it. Numbers, truths and texts are Python's; lists and maps are as it prints them."""

    at: int
    observed: int
    number: int
    text: str
    body: object
    trace: str
    span: str
    flags: int
    attributes: dict[str, object] = field(default_factory=dict)
    resource: dict[str, object] = field(default_factory=dict)
    scope: str = ""


@dataclass(frozen=True)
class DataPoint:
    """A data point as rotel read it, beside what it says of its metric, scope and resource.

    ``kind``: Sum, Gauge or Histogram; ``temporality``: DELTA, CUMULATIVE or "", of gauges; ``value``: of a number;
    ``count`` and what follows: of a histogram. What was not sent is None, but ``start``, which rotel prints as 0.
    """

    name: str
    about: str
    unit: str
    kind: str
    temporality: str
    monotonic: bool
    start: int
    at: int
    value: float | None = None
    count: int | None = None
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    bounds: tuple[float, ...] = ()
    buckets: tuple[int, ...] = ()
    attributes: dict[str, object] = field(default_factory=dict)
    resource: dict[str, object] = field(default_factory=dict)
    scope: str = ""
    schemas: tuple[str, str] = ("", "")  # of the resource, of the scope


class Rotel(Program):
    """``with or_skip(Rotel, tmp_path) as rotel``: POST to ``url`` + "/v1/logs", or "/v1/metrics" with ``prints="metrics"``."""

    def __init__(self, folder: Path, prints: str = "logs") -> None:
        agent = from_wheel("rotel", REQUIREMENT, TAGS, "rotel/rotel-agent", DIGESTS)
        http, grpc = free_port(), free_port()
        self.url = f"http://127.0.0.1:{http}"
        super().__init__("rotel", [
            agent, "start", "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
            "--exporter", "blackhole", "--debug-log", prints, "--debug-log-verbosity", "detailed",
        ], folder)  # fmt: skip
        self.ready(http, grpc)

    def records(self, count: int = 0, seconds: float = 10) -> list[Decoded]:
        """What it decoded so far; waits until that is `count` records."""
        until = time.monotonic() + seconds
        while len(found := decoded(self.said())) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} records came"
            time.sleep(0.02)
        return found

    def data_points(self, count: int = 0, seconds: float = 10) -> list[DataPoint]:
        """Of metrics, where it prints these: what it decoded so far; waits until that is `count` of them."""
        until = time.monotonic() + seconds
        found, before = measured(self.said()), None
        # Nothing marks the end of a histogram: it is whole when nothing more comes of it.
        while len(found) < count or found != before:
            assert time.monotonic() < until, f"{len(found)} of {count} data points came"
            time.sleep(0.02)
            found, before = measured(self.said()), found
        return found


def decoded(printed: str) -> list[Decoded]:
    """The records in what ``--debug-log logs`` prints. One that is half written is not among them."""
    found: list[Decoded] = []
    for group in re.split(r"^ResourceLog #\d+\n", printed, flags=re.MULTILINE)[1:]:
        resource, *scopes = re.split(r"^ScopeLogs #\d+\n", group, flags=re.MULTILINE)
        about = _attributes(resource.partition("Resource attributes:\n")[2].rstrip("\n"))
        for scope in scopes:
            head, *records = re.split(r"^LogRecord #\d+\n", scope, flags=re.MULTILINE)
            name = re.search("^InstrumentationScope (.*)$", head, re.MULTILINE)
            whole = filter(None, map(_RECORD.match, records))
            found.extend(_record(read, about, name[1].strip() if name else "") for read in whole)
    return found


def measured(printed: str) -> list[DataPoint]:
    """The data points in what ``--debug-log metrics`` prints. One whose time has not been printed yet is not among them."""
    found: list[DataPoint] = []
    for group in _split("ResourceMetrics", printed)[1:]:
        resource, *scopes = _split("ScopeMetrics", group)
        about = _attributes(resource.partition("Resource attributes:\n")[2].rstrip("\n"))
        for scope in scopes:
            head, *metrics = _split("Metric", scope)
            schemas = (_line(resource, "Resource SchemaURL: "), _line(head, "ScopeMetrics SchemaURL: "))
            name = _line(head, "InstrumentationScope ")
            for metric in metrics:
                descriptor, *data_points = _split(r"(?:Number|Histogram)DataPoints", metric)
                found.extend(
                    _data_point(descriptor, one, about, name, schemas) for one in data_points if _is_whole(one)
                )
    return found


def _split(heading: str, printed: str) -> list[str]:
    return re.split(rf"^{heading} #\d+\n", printed, flags=re.MULTILINE)


def _line(printed: str, label: str) -> str:
    """What follows a label; "" where there is none."""
    read = re.search(f"^(?:     -> )?{re.escape(label)}(.*)$", printed, re.MULTILINE)
    return read[1].strip() if read else ""


def _is_whole(printed: str) -> bool:
    """Its last line is known by what it is: the value, or as many buckets as its bounds ask for."""
    if "\nValue: " in printed:
        return printed.endswith("\n")
    bounds = printed.count("\nExplicitBounds #")
    buckets = len(re.findall(r"^Buckets #\d+, Count: \d+\n", printed, re.MULTILINE))
    return "\nCount: " in printed and printed.endswith("\n") and (not bounds or buckets == bounds + 1)


def _data_point(
    descriptor: str, printed: str, resource: dict[str, object], scope: str, schemas: tuple[str, str]
) -> DataPoint:
    attributes, _, rest = printed.rpartition("StartTimestamp: ")
    rest = f"StartTimestamp: {rest}"

    def number(label: str) -> float | None:
        written = _line(rest, f"{label}: ")
        return None if not written else float(written) if re.search(r"[.eEN]|inf", written) else int(written)

    def numbers(pattern: str) -> list[str]:
        return re.findall(f"^{pattern}: (.*)$", rest, re.MULTILINE)

    count = number("Count")
    return DataPoint(
        _line(descriptor, "Name: "), _line(descriptor, "Description: "), _line(descriptor, "Unit: "),
        _line(descriptor, "DataType: "),
        _line(descriptor, "AggregationTemporality: ").removeprefix("AGGREGATION_TEMPORALITY_"),
        _line(descriptor, "IsMonotonic: ") == "true", int(_line(rest, "StartTimestamp: ")), int(_line(rest, "Timestamp: ")),
        number("Value"), None if count is None else int(count), number("Sum"), number("Min"), number("Max"),
        tuple(map(float, numbers(r"ExplicitBounds #\d+"))), tuple(map(int, numbers(r"Buckets #\d+, Count"))),
        _attributes(attributes.partition("Data point attributes:\n")[2]), resource, scope, schemas,
    )  # fmt: skip


def _record(read: re.Match[str], resource: dict[str, object], scope: str) -> Decoded:
    return Decoded(
        int(read["at"]), int(read["observed"]), int(read["number"]), read["text"], _value(read["body"] or ""),
        read["trace"], read["span"], int(read["flags"]), _attributes(read["attributes"] or ""), resource, scope,
    )  # fmt: skip


def _attributes(printed: str) -> dict[str, object]:
    pairs = re.split(r"^     -> ", printed, flags=re.MULTILINE)[1:]
    return {name: _value(value.removesuffix("\n")) for name, _, value in (pair.partition(": ") for pair in pairs)}


def _value(printed: str) -> object:
    read = _SCALAR.fullmatch(printed)
    if read is None:
        return printed
    kind, inside = read.groups()
    if kind == "Bool":
        return bool(inside == "true")
    return {"Int": int, "Double": float}[kind](inside) if kind != "Str" else inside
