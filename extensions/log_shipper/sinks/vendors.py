"""Splunk, Datadog and New Relic: each is a few names and limits over an HTTP sink.

Sources: Splunk, "Format events for HTTP Event Collector" and "HEC error codes"; Datadog API reference, "Send logs" (v2: 1,000
entries, 5 MB uncompressed, 1 MB each); New Relic, "Introduction to the Log API" (1 MB compressed, ``Api-Key``).
"""

from __future__ import annotations

from extension_kit.delivery import AGAIN, DELIVERED, Verdict
from extension_kit.protocol.jsontext import dumps, loads
from extensions.log_shipper.sinks.base import HttpSink
from extensions.log_shipper.sinks.members import Members, apart, is_one_value, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.outbound import Answer, Http
    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["DatadogSink", "NewRelicSink", "SplunkSink"]


class SplunkSink(HttpSink):
    """``splunk``; ``target``: the index. 200 says that the event is accepted, not that it is indexed."""

    path = "/services/collector/event"
    most_lines = 5_000
    most_bytes = 800_000  # Splunk's default max_content_length is 1,000,000
    most_item_bytes = 800_000

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin, http, key)
        about = {
            "source": "aws:lambda",
            "sourcetype": "aws:lambda:telemetry",
            "host": origin.function,
            "index": settings.target,
        }
        self._about = members(about)
        names = {"level": "level", "request_id": "request_id", "trace_id": "trace_id", "id": "id"}
        tags = apart(origin.tags, {*names, "type"})
        self._members = Members(names, {"service": origin.service, "function_version": origin.version, **tags})

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Splunk {self.api_key}", **super().headers()}

    def encode(self, line: Line) -> bytes:
        time = b'"time":%d.%03d,' % divmod(line.time_ms, 1000) if line.time_ms is not None else b""
        fields = (self._members.of(line) + members({"type": line.type}))[1:]
        event = line.message
        if event in (b'""', b"null"):
            event = b'" "'  # an empty one is refused, with all its batch
        elif not is_one_value(event):
            event = dumps(event.decode("utf-8", "replace"))
        return b'{%b"event":%b%b,"fields":{%b}}' % (time, event, self._about, fields)

    def body(self, items: list[Any]) -> bytes:
        return b"\n".join(items)

    def judge(self, answer: Answer, items: list[Any]) -> Verdict:  # noqa: ARG002 - one answer for all
        try:
            code = loads(answer.body).get("code", 0)
        except (ValueError, AttributeError):
            return Verdict(DELIVERED)
        return Verdict(DELIVERED) if code == 0 else Verdict(AGAIN, f"answers code {code}{self._said(answer)}")


class DatadogSink(HttpSink):
    """``datadog``."""

    path = "/api/v2/logs"
    most_lines = 1_000
    most_bytes = 4_900_000
    most_item_bytes = 990_000

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin, http, key)
        self.url = self.url or "https://http-intake.logs.datadoghq.com/api/v2/logs"
        tags = ",".join(f"{name}:{value}" for name, value in origin.tags.items())
        constant = {
            "ddsource": "lambda", "ddtags": tags, "service": origin.service, "hostname": origin.function,
            "functionversion": origin.version,
        }  # fmt: skip
        names = {"level": "status", "request_id": "lambda.request_id", "trace_id": "trace_id", "id": "id"}
        self._members = Members(names, constant)

    def headers(self) -> dict[str, str]:
        return {"DD-API-KEY": self.api_key, **super().headers()}

    def encode(self, line: Line) -> bytes:
        known = members({"timestamp": line.time_ms, "lambda.type": line.type})
        return b'{"message":%b%b%b}' % (line.message, known, self._members.of(line))

    def body(self, items: list[Any]) -> bytes:
        return b"[" + b",".join(items) + b"]"


class NewRelicSink(HttpSink):
    """``newrelic``. Its limit counts compressed bytes; these are not, which is on the safe side."""

    path = "/log/v1"
    most_lines = 5_000
    most_bytes = 1_000_000
    most_item_bytes = 900_000

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin, http, key)
        self.url = self.url or "https://log-api.newrelic.com/log/v1"
        common = {
            "plugin": "lambda-extension-kit", "service.name": origin.service, "faas.name": origin.function,
            "faas.version": origin.version, "aws.region": origin.region, "aws.accountId": origin.account_id, **origin.tags,
        }  # fmt: skip
        attributes = {name: value for name, value in common.items() if value}
        self._head = b'[{"common":{"attributes":%b},"logs":[' % dumps(attributes)
        names = {"level": "level", "request_id": "faas.execution", "trace_id": "trace.id", "id": "id"}
        self._members = Members(names, {})

    def headers(self) -> dict[str, str]:
        return {"Api-Key": self.api_key, **super().headers()}

    def encode(self, line: Line) -> bytes:
        known = members({"timestamp": line.time_ms})
        message = line.message if line.is_text else dumps(line.message.decode("utf-8", "replace"))
        attributes = (self._members.of(line) + members({"lambda.type": line.type}))[1:]
        return b'{"message":%b%b,"attributes":{%b}}' % (message, known, attributes)

    def body(self, items: list[Any]) -> bytes:
        return self._head + b",".join(items) + b"]}]"
