"""What a telemetry stream says: one typed, frozen value for each event, decoded only when it is asked for something.

A record keeps the text that the platform sent (``raw``); a plug-in that forwards it never pays for parsing. Every field is
tolerant: a number may be a float or an integer, a log line a string or an object, a time may be odd, anything may be missing.
What is missing is "" or None; what is not known stays in ``content``. Source: AWS docs, Telemetry API event schema reference
(2022-07-01, 2022-12-13, 2025-01-29), and the Logs API's types, which old environments send.
"""

from __future__ import annotations

from _operator import itemgetter

from extension_kit.protocol.jsontext import loads
from extension_kit.protocol.telemetry import type_of
from extension_kit.protocol.timestamps import parse_ms
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = [
    "DROPPED",
    "MALFORMED",
    "REPORT_MISSING",
    "CLASSES",
    "ExtensionState",
    "InitReport",
    "InitRuntimeDone",
    "InitStart",
    "LogLine",
    "LogsDropped",
    "Record",
    "Report",
    "Request",
    "RestoreReport",
    "RestoreRuntimeDone",
    "RestoreStart",
    "RuntimeDone",
    "Span",
    "Start",
    "Subscribed",
    "make",
    "notice",
]

#: types of our own: what the kit had to drop, what it could not read, what the platform did not send before the end
DROPPED = "extension-kit.dropped"
MALFORMED = "extension-kit.malformed"
REPORT_MISSING = "extension-kit.reportMissing"


class Request(tuple):  # type: ignore[type-arg]
    """Whose a line is, by its place in the stream. ``request_id``: "" during init, and where it cannot be told.

    ``late``: the function's code had ended already when the line came. ``source``: the request's ``platform.start`` as text,
    or the trace header itself; what of it is the trace is looked for when somebody asks.
    """

    __slots__ = ()

    def __new__(cls, request_id: str = "", source: bytes | str = "", late: bool = False) -> Request:
        return tuple.__new__(cls, (request_id, source, late))

    @property
    def request_id(self) -> str:
        return self[0]  # type: ignore[no-any-return]

    @property
    def late(self) -> bool:
        return self[2]  # type: ignore[no-any-return]

    @property
    def trace(self) -> str:
        """The trace header's value, "" where there is none."""
        source = self[1]
        return source if isinstance(source, str) else Start((source, NO_REQUEST, 0, 0)).trace


NO_REQUEST = Request()


_REQUEST_ID = b',"record":{"requestId":"'
_REQUEST_ID_LENGTH = len(_REQUEST_ID)


class Span(Value):
    """A part of an invocation. ``start_ms``: epoch ms or None where it cannot be read; ``duration_ms``: float or None."""

    __slots__ = ("duration_ms", "name", "start", "start_ms")

    name: str
    start: str
    start_ms: int | None
    duration_ms: float | None

    def __init__(self, raw: Mapping[str, Any]) -> None:
        set_field(self, "name", _text(raw, "name"))
        set_field(self, "start", _text(raw, "start"))
        set_field(self, "start_ms", parse_ms(self.start))
        set_field(self, "duration_ms", _float(raw, "durationMs"))


class Record(tuple):  # type: ignore[type-arg]
    """One event: ``raw`` (bytes, the platform's own text) and what follows from it, each decoded when it is asked for.

    A tuple of (raw, request, batch, index), since nothing else is made as fast: a function that logs a lot makes millions.
    """

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be set")

    if TYPE_CHECKING:

        @property
        def raw(self) -> bytes: ...
    else:
        raw = property(itemgetter(0))  # in C: a forwarder asks every record for it

    @property
    def request(self) -> Request:
        """By the order of the stream; see `Request`."""
        return self[1]  # type: ignore[no-any-return]

    @property
    def id(self) -> str:
        """``batch-index``: the same whenever this record is handed over again, after a crash as well; unique in /tmp's life."""
        return f"{self[2]}-{self[3]}"

    @property
    def type(self) -> str:
        """AWS's word, e.g. ``platform.start``; "" where there is none."""
        return type_of(self[0]).decode("utf-8", "replace")

    @property
    def time(self) -> str:
        return _text(self._envelope, "time")

    @property
    def time_ms(self) -> int | None:
        """Epoch ms; None where the time cannot be read."""
        return parse_ms(self.time)

    @property
    def content(self) -> Any:
        """The envelope's ``record``: a dictionary for platform events, a string or a dictionary for log lines."""
        return self._envelope.get("record")

    @property
    def text(self) -> str:
        """The content as text without its trailing line end; an object as compact JSON."""
        content = self.content
        if isinstance(content, str):
            return content.rstrip("\r\n")
        from json import dumps

        return dumps(content, separators=(",", ":"), ensure_ascii=False)

    @property
    def json(self) -> Mapping[str, Any] | None:
        """The content as a dictionary: an object, or a string that holds one as JSON; None for anything else."""
        content = self.content
        if isinstance(content, str):
            try:
                content = loads(content.encode("utf-8", "replace")) if content.lstrip()[:1] == "{" else None
            except ValueError:
                content = None
        return content if isinstance(content, dict) else None

    @property
    def request_id(self) -> str:
        """The request that this record belongs to, "" where that is unknown."""
        return self[1].request_id or self._own_request_id

    @property
    def trace(self) -> str:
        """The trace header's value of that request or ""."""
        return self[1].trace  # type: ignore[no-any-return]

    @property
    def late(self) -> bool:
        """Whether it came after the end of its request's code."""
        return self[1].late  # type: ignore[no-any-return]

    @property
    def _own_request_id(self) -> str:
        content = self.json
        return "" if content is None else _text(content, "requestId") or _text(content, "AWSRequestId")

    @property
    def _envelope(self) -> Mapping[str, Any]:
        kept = self.__dict__
        if "envelope" not in kept:
            kept["envelope"] = _object(self[0])
        return kept["envelope"]  # type: ignore[no-any-return]

    @property
    def _fields(self) -> Mapping[str, Any]:
        content = self.content
        return content if isinstance(content, dict) else {}

    def __repr__(self) -> str:
        text = self[0][:200].decode("utf-8", "replace")
        return f"{type(self).__name__}({text}{'...' if len(self[0]) > 200 else ''})"


class LogLine(Record):
    """A line of the function or of an extension. A string, or an object (JSON log format, schema from 2022-12-13)."""

    @property
    def level(self) -> str:
        """Upper case, from a line in JSON; "" where it does not say."""
        content = self.json
        return "" if content is None else _text(content, "level").upper()


class FunctionLine(LogLine):
    type = "function"


class ExtensionLine(LogLine):
    type = "extension"


class _Platform(Record):
    """What most platform events share."""

    @property
    def request_id(self) -> str:
        return request_id_of(self[0]) or _text(self._fields, "requestId")

    @property
    def late(self) -> bool:
        """Never: platform events name their request themselves."""
        return False

    @property
    def status(self) -> str:
        """success, failure, error, timeout; "" where it is not told."""
        return _text(self._fields, "status")

    @property
    def error_type(self) -> str:
        return _text(self._fields, "errorType")

    @property
    def init_type(self) -> str:
        return _text(self._fields, "initializationType")

    @property
    def phase(self) -> str:
        """init, or invoke for an init that is repeated inside an invocation; an open set."""
        return _text(self._fields, "phase")

    @property
    def metrics(self) -> Mapping[str, float]:
        """AWS's names, all that are numbers (durations in ms, memory in MB, which are MiB)."""
        metrics = self._fields.get("metrics")
        if not isinstance(metrics, dict):
            return {}
        numbers = ((name, _float(metrics, name)) for name in metrics)
        return {name: number for name, number in numbers if number is not None}

    @property
    def duration_ms(self) -> float | None:
        return self.metrics.get("durationMs")

    @property
    def spans(self) -> tuple[Span, ...]:
        spans = self._fields.get("spans")
        return tuple(Span(span) for span in spans if isinstance(span, dict)) if isinstance(spans, list) else ()

    def span_ms(self, name: str) -> float | None:
        """The duration of the first span with this name, ms."""
        return next((span.duration_ms for span in self.spans if span.name == name), None)

    @property
    def trace(self) -> str:
        """This event's own trace header, else that of its request."""
        tracing = self._fields.get("tracing")
        return (_text(tracing, "value") if isinstance(tracing, dict) else "") or self[1].trace

    @property
    def tenant_id(self) -> str:
        return _text(self._fields, "tenantId")


class _Where(_Platform):
    """``function_name``, ``function_version``, ``instance_id``, ``runtime_version``: "" where they are not told."""

    @property
    def function_name(self) -> str:
        return _text(self._fields, "functionName")

    @property
    def function_version(self) -> str:
        return _text(self._fields, "functionVersion")

    @property
    def instance_id(self) -> str:
        return _text(self._fields, "instanceId")

    @property
    def instance_max_memory(self) -> float | None:
        """The documentation's example is in MB, AWS's Managed Instances send bytes; text is read as a number."""
        return _float(self._fields, "instanceMaxMemory")

    @property
    def runtime_version(self) -> str:
        return _text(self._fields, "runtimeVersion")

    @property
    def runtime_version_arn(self) -> str:
        return _text(self._fields, "runtimeVersionArn")


class InitStart(_Where):
    type = "platform.initStart"


class InitRuntimeDone(_Platform):
    type = "platform.initRuntimeDone"


class InitReport(_Platform):
    type = "platform.initReport"


class RestoreStart(_Where):
    type = "platform.restoreStart"


class RestoreRuntimeDone(_Platform):
    type = "platform.restoreRuntimeDone"


class RestoreReport(_Platform):
    type = "platform.restoreReport"


class Start(_Platform):
    type = "platform.start"

    @property
    def version(self) -> str:
        return _text(self._fields, "version")


class RuntimeDone(_Platform):
    type = "platform.runtimeDone"

    @property
    def produced_bytes(self) -> float | None:
        return self.metrics.get("producedBytes")


class Report(_Platform):
    type = "platform.report"

    @property
    def billed_duration_ms(self) -> float | None:
        return self.metrics.get("billedDurationMs")

    @property
    def memory_size_mb(self) -> float | None:
        return self.metrics.get("memorySizeMB")

    @property
    def max_memory_used_mb(self) -> float | None:
        return self.metrics.get("maxMemoryUsedMB")

    @property
    def init_duration_ms(self) -> float | None:
        """Told for a cold start only."""
        return self.metrics.get("initDurationMs")

    @property
    def restore_duration_ms(self) -> float | None:
        return self.metrics.get("restoreDurationMs")

    @property
    def billed_restore_duration_ms(self) -> float | None:
        return self.metrics.get("billedRestoreDurationMs")


class _Named(_Platform):
    """``name`` of the extension, its ``state``."""

    @property
    def name(self) -> str:
        return _text(self._fields, "name")

    @property
    def state(self) -> str:
        return _text(self._fields, "state")


class ExtensionState(_Named):
    type = "platform.extension"

    @property
    def events(self) -> tuple[str, ...]:
        return _texts(self._fields, "events")


class Subscribed(_Named):
    type = "platform.telemetrySubscription"

    @property
    def types(self) -> tuple[str, ...]:
        return _texts(self._fields, "types")


class LogsSubscribed(Subscribed):
    type = "platform.logsSubscription"


class LogsDropped(_Platform):
    """The platform itself had to drop events: the extension was too slow."""

    type = "platform.logsDropped"

    @property
    def dropped_records(self) -> float | None:
        return _float(self._fields, "droppedRecords")

    @property
    def dropped_bytes(self) -> float | None:
        return _float(self._fields, "droppedBytes")

    @property
    def reason(self) -> str:
        return _text(self._fields, "reason")


class Dropped(LogsDropped):
    """The kit itself had to drop records of this plug-in's; ``reason`` says why."""

    type = DROPPED


class ReportMissing(_Platform):
    """The environment ended and this request's ``platform.report`` had not come; ``status`` is unknown."""

    type = REPORT_MISSING


class End(_Platform):
    type = "platform.end"


class Fault(_Platform):
    """Of the Logs API: an invocation failed; what the platform says about it is the text."""

    type = "platform.fault"


class Malformed(Record):
    """Bytes that the platform sent and that are no event; they are in ``raw``."""

    type = MALFORMED


_ALL = (
    *(FunctionLine, ExtensionLine, InitStart, InitRuntimeDone, InitReport, RestoreStart, RestoreRuntimeDone, RestoreReport),
    *(Start, RuntimeDone, Report, ExtensionState, Subscribed, LogsSubscribed, LogsDropped, Dropped, ReportMissing, End, Fault),
)  # fmt: skip
#: the class of each type that is known, by the type as it is written
CLASSES: dict[bytes, type[Record]] = {one.type.encode(): one for one in _ALL}


def make(raw: bytes, request: Request = NO_REQUEST, batch: int = 0, index: int = 0) -> Record:
    """The record of one envelope. Total: what is no envelope is `Malformed`, a type that is not known a plain `Record`."""
    kind = type_of(raw)
    found = CLASSES.get(kind, Record if kind else Malformed)
    return tuple.__new__(found, (raw, request, batch, index))


def request_id_of(raw: bytes) -> str:
    """The request id where it stands first in the record, as Lambda writes it; found without decoding. Else ""."""
    at = raw.find(_REQUEST_ID, 34, 160) + _REQUEST_ID_LENGTH
    if raw[at + 36 : at + 37] != b'"' or b"\\" in (found := raw[at : at + 36]) or at < _REQUEST_ID_LENGTH:
        return ""  # not there, or no UUID: the parser finds it
    return found.decode("utf-8", "replace")


def notice(kind: str, at_ms: int, **fields: int | str) -> Record:
    """A record of the kit's own, of type ``extension-kit.<kind>``; it stands in no batch."""
    from json import dumps

    from extension_kit.protocol.timestamps import format_ms

    content = {"time": format_ms(at_ms), "type": f"extension-kit.{kind}", "record": fields}
    return make(dumps(content, separators=(",", ":")).encode())


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        value = loads(raw.decode("utf-8", "replace").encode())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = fields.get(name)
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


def _float(fields: Mapping[str, Any], name: str) -> float | None:
    """A number, also where an emulator writes it as text; None for anything else, NaN and infinities included."""
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if number - number == 0 else None
