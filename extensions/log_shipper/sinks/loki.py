"""Grafana Loki's push API, JSON form. Labels are few and the same for all lines; whatever varies is structured metadata.

Source: Loki HTTP API, "Ingest logs" (``/loki/api/v1/push``): timestamps are strings of nanoseconds; 204; 400 for what is too
old or malformed, 429 where a limit is met.
"""

from __future__ import annotations

from extension_kit.protocol.jsontext import dumps
from extensions.log_shipper.pipeline import tags_of
from extensions.log_shipper.sinks.base import HttpSink
from extensions.log_shipper.sinks.members import Members, apart, is_one_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.outbound import Http
    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["LokiSink"]


class LokiSink(HttpSink):
    """``loki``."""

    path = "/loki/api/v1/push"
    most_lines = 5_000
    most_bytes = 3_500_000  # Loki's own default of gRPC messages is 4 MiB
    most_item_bytes = 262_144  # its max_line_size

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin, http, key)
        labels = tags_of(settings.labels) or {"service_name": origin.service or "lambda"}
        self._head = b'{"streams":[{"stream":%b,"values":[' % dumps(labels)
        names = {"level": "level", "request_id": "request_id", "trace_id": "trace_id", "id": "id"}
        self._members = Members(names, apart(origin.tags, {*names, "type"}))

    def encode(self, line: Line) -> bytes:
        is_text = line.is_text and is_one_value(line.message)
        message = line.message if is_text else dumps(line.message.decode("utf-8", "replace"))
        # Of a time long ago Loki says 400.
        nanoseconds = b"%d" % (line.nanoseconds or self.http.clock.wall_ms() * 1_000_000)
        kind = b',"type":%b' % dumps(line.type) if line.type != "function" else b""
        return b'["%b",%b,{%b}]' % (nanoseconds, message, (self._members.of(line) + kind)[1:])

    def body(self, items: list[Any]) -> bytes:
        return self._head + b",".join(items) + b"]}]}"
