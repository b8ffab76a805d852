"""Any HTTP endpoint: the platform's own envelope with what is known besides, as NDJSON or as one array."""

from __future__ import annotations

from extensions.log_shipper.sinks.base import HttpSink
from extensions.log_shipper.sinks.members import Members, apart, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.outbound import Http
    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["Envelopes", "GenericSink"]


class Envelopes:
    """A line as the platform's envelope, ``{"time":...,"type":...,"record":...}``, and more members behind."""

    def __init__(self, origin: Origin) -> None:
        constant = {
            "service": origin.service, "functionName": origin.function, "functionVersion": origin.version,
            "region": origin.region, "accountId": origin.account_id,
        }  # fmt: skip
        taken = {*constant, "time", "type", "record", "id", "level", "requestId", "traceId"}
        names = {"level": "level", "request_id": "requestId", "trace_id": "traceId", "id": "id"}
        self._members = Members(names, {**constant, **apart(origin.tags, taken)})

    def encode(self, line: Line) -> bytes:
        raw: bytes = line.record[0]
        if raw.endswith(line.message + b"}") and raw.startswith(b'{"time":"'):
            return b"%b%b}" % (raw[:-1], self._members.of(line))  # nothing of it has changed
        known = members({"time": line.time, "type": line.type or "unknown"})[1:]
        return b'{%b,"record":%b%b}' % (known, line.message, self._members.of(line))


class GenericSink(HttpSink):
    """``http``. A destination that answers 2xx has taken everything."""

    most_lines = 10_000
    usual_lines = 1_000  # with 10,000 a third more is resident, and nothing is faster
    most_bytes = 4_194_304
    most_item_bytes = 1_048_576

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin, http, key)
        self.content_type = "application/x-ndjson" if settings.format == "ndjson" else "application/json"
        self.encode = Envelopes(origin).encode  # type: ignore[method-assign]

    def body(self, items: list[Any]) -> bytes:
        if self.settings.format == "ndjson":
            return b"\n".join(items) + b"\n"
        return b"[" + b",".join(items) + b"]"
