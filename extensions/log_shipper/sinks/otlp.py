"""OTLP/HTTP logs (opentelemetry-proto 1.x, ``/v1/logs``), as protobuf or as JSON, written by hand: it takes no library.

Source: OTLP specification 1.x (status codes, ``partial_success``, JSON encoding: enums as integers, 64-bit integers as strings,
ids as hex digits); semantic conventions for FaaS and cloud resources.
"""

from __future__ import annotations

from extension_kit.delivery import DELIVERED, Verdict
from extension_kit.protocol.jsontext import dumps, loads
from extensions.log_shipper.line import trace_ids
from extensions.log_shipper.sinks import protobuf as pb
from extensions.log_shipper.sinks.base import HttpSink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.outbound import Answer, Http
    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["OtlpSink"]

#: SeverityNumber of each level: the first of its four (specification, "Field: SeverityNumber").
_SEVERITIES = {"": 0, "TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
_SCOPE = "lambda-extension-kit/log-shipper"


class OtlpSink(HttpSink):
    """``otlp``. An item is one LogRecord, encoded."""

    path = "/v1/logs"
    most_lines = 5_000
    most_bytes = 4_000_000
    most_item_bytes = 1_048_576
    overhead = 6
    again = frozenset((429, 502, 503, 504))  # and no other: specification, "Retryable Response Codes"
    again_from = 600

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin, http, key)
        self._is_json = settings.encoding == "json"
        self.content_type = "application/json" if self._is_json else "application/x-protobuf"
        attributes = _resource(origin)
        if self._is_json:
            resource = {"attributes": [_attribute(name, value) for name, value in attributes.items()]}
            scope = {"name": _SCOPE}
            self._head = b'{"resourceLogs":[{"resource":%b,"scopeLogs":[{"scope":%b,"logRecords":[' % (
                dumps(resource), dumps(scope))  # fmt: skip
        else:
            self._resource = pb.message(1, b"".join(pb.attribute(1, name, value) for name, value in attributes.items()))
            self._scope = pb.message(1, pb.text(1, _SCOPE))

    def encode(self, line: Line) -> bytes:
        return self._as_json(line) if self._is_json else self._as_protobuf(line)

    def _about(self, line: Line) -> dict[str, str]:
        """A record's attributes."""
        about = {"log.record.uid": line.id}
        if line.request_id:
            about["faas.invocation_id"] = line.request_id
        if line.type != "function":
            about["lambda.type"] = line.type
        return about

    def _as_protobuf(self, line: Line) -> bytes:
        nanoseconds = line.nanoseconds
        trace, span = trace_ids(line.trace)
        content = line.content
        body = content.rstrip("\r\n") if isinstance(content, str) else content
        parts = [
            pb.fixed64(1, nanoseconds) if nanoseconds else b"",
            pb.number(2, _SEVERITIES[line.level]),
            pb.text(3, line.level),
            pb.message(5, pb.any_value(body)),
            *(pb.attribute(6, name, value) for name, value in self._about(line).items()),
            pb.data(9, bytes.fromhex(trace)) if trace else b"",
            pb.data(10, bytes.fromhex(span)) if span else b"",
            pb.fixed64(11, nanoseconds) if nanoseconds else b"",
        ]
        return pb.message(2, b"".join(parts))

    def _as_json(self, line: Line) -> bytes:
        nanoseconds = str(line.nanoseconds)
        trace, span = trace_ids(line.trace)
        content = line.content
        record: dict[str, Any] = {"timeUnixNano": nanoseconds, "observedTimeUnixNano": nanoseconds}
        if line.level:
            record |= {"severityNumber": _SEVERITIES[line.level], "severityText": line.level}
        if content is not None:
            record["body"] = _value(content.rstrip("\r\n") if isinstance(content, str) else content)
        record["attributes"] = [_attribute(name, value) for name, value in self._about(line).items()]
        if trace:
            record["traceId"] = trace
        if span:
            record["spanId"] = span
        return dumps(record)

    def body(self, items: list[Any]) -> bytes:
        if self._is_json:
            return self._head + b",".join(items) + b"]}]}]}"
        return pb.message(1, self._resource + pb.message(2, self._scope + b"".join(items)))

    def judge(self, answer: Answer, items: list[Any]) -> Verdict:
        """A partial success names a number and no records, and must not be sent again: so many are lost, whichever."""
        rejected, why = _partial(answer.body, self._is_json)
        if not rejected:
            return Verdict(DELIVERED)
        rejected = min(rejected, len(items))
        return Verdict(DELIVERED, why, lost={"rejected by the receiver": range(len(items) - rejected, len(items))})


def _partial(body: bytes, is_json: bool) -> tuple[int, str]:
    """``rejected_log_records`` and ``error_message`` of an answer, which comes in the encoding of the request."""
    if is_json:
        try:
            partial = loads(body).get("partialSuccess", {})
            return int(partial.get("rejectedLogRecords", 0)), str(partial.get("errorMessage", ""))
        except (ValueError, AttributeError, TypeError):
            return 0, ""
    for number, value in pb.fields(body):
        if number == 1 and isinstance(value, bytes):
            inner = dict(pb.fields(value))
            rejected, why = inner.get(1, 0), inner.get(2, b"")
            return (
                rejected if isinstance(rejected, int) else 0,
                why.decode("utf-8", "replace") if isinstance(why, bytes) else "",
            )
    return 0, ""


def _resource(origin: Origin) -> dict[str, str | int]:
    """Source: semantic conventions, FaaS and cloud attributes. What an extension cannot know is left out, never guessed."""
    memory = origin.memory_mb * 1_048_576 if origin.memory_mb else ""
    found: dict[str, str | int] = {
        "service.name": origin.service, "faas.name": origin.function, "faas.version": origin.version,
        "faas.max_memory": memory, "cloud.provider": "aws", "cloud.platform": "aws_lambda", "cloud.region": origin.region,
        "cloud.account.id": origin.account_id, **origin.tags,
    }  # fmt: skip
    if origin.account_id and origin.region and origin.function:
        partition = "aws-cn" if origin.region.startswith("cn-") else "aws-us-gov" if "-gov-" in origin.region else "aws"
        found["cloud.resource_id"] = (
            f"arn:{partition}:lambda:{origin.region}:{origin.account_id}:function:{origin.function}"
        )
    return {name: value for name, value in found.items() if value != ""}


def _attribute(name: str, value: Any, depth: int = 0) -> dict[str, Any]:
    """A KeyValue. Nothing, as protobuf has it, is no value at all: receivers refuse an empty object."""
    return {"key": name} if value is None else {"key": name, "value": _value(value, depth)}


def _value(value: Any, depth: int = 0) -> dict[str, Any]:
    """An AnyValue in JSON."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return {"intValue": str(value)}
    if isinstance(value, float) and value - value == 0:
        return {"doubleValue": value}
    if isinstance(value, (int, float)):  # too large, or infinite
        return {"stringValue": str(value)}
    if depth > pb.MOST_NESTED:
        return {"stringValue": pb.TOO_DEEP}
    if isinstance(value, list):
        # A list has no way to say nothing, in JSON.
        return {"arrayValue": {"values": [_value("" if one is None else one, depth + 1) for one in value]}}
    return {"kvlistValue": {"values": [_attribute(name, one, depth + 1) for name, one in value.items()]}}
