"""Elasticsearch's and OpenSearch's ``_bulk``, with an id for every line, so that what comes twice is stored once.

Source: Elasticsearch and OpenSearch API references, "Bulk": NDJSON that ends with a line feed; 200 with ``errors`` and an
answer for each item; ``create`` answers 409 for an id that is there already. OpenSearch takes ids of up to 512 bytes.
"""

from __future__ import annotations

from extension_kit.delivery import AGAIN, DELIVERED, Verdict
from extension_kit.protocol.jsontext import dumps, loads
from extensions.log_shipper.sinks.base import HttpSink
from extensions.log_shipper.sinks.members import Members, apart, members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.outbound import Answer, Http
    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["BulkSink"]

_STORED_BEFORE = 409
_AGAIN = frozenset((408, 429))
_MEND = frozenset((401, 403, 404))  # permission or index: the operator's to mend, as they are for a whole request


class BulkSink(HttpSink):
    """``bulk``; ``target``: the index or data stream."""

    path = "/_bulk"
    content_type = "application/x-ndjson"
    most_lines = 5_000
    most_bytes = 5_000_000
    most_item_bytes = 1_048_576

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin, http, key)
        self._index = dumps(settings.target or "lambda-logs")
        names = {"level": "log.level", "request_id": "faas.execution", "trace_id": "trace.id"}
        constant = {
            "service.name": origin.service, "faas.name": origin.function, "faas.version": origin.version,
            "cloud.region": origin.region, "cloud.account.id": origin.account_id,
            **apart(origin.tags, {"@timestamp", "event.type", "message", "record", *names.values()}),
        }  # fmt: skip
        self._members = Members(names, constant)

    def headers(self) -> dict[str, str]:
        headers = super().headers()
        if self.api_key and "Authorization" not in headers:
            headers["Authorization"] = f"ApiKey {self.api_key}"
        return headers

    def encode(self, line: Line) -> bytes:
        action = b'{"create":{"_index":%b,"_id":"%b"}}\n' % (self._index, line.id.encode())
        message = b',"message":%b' % line.message if line.is_text else b',"record":%b' % line.message
        known = members({"@timestamp": line.time, "event.type": line.type})[1:]
        return b"%b{%b%b%b}\n" % (action, known, message, self._members.of(line))

    def body(self, items: list[Any]) -> bytes:
        return b"".join(items)

    def judge(self, answer: Answer, items: list[Any]) -> Verdict:
        """Each item has a status of its own."""
        if b'"errors":false' in answer.body[:200].replace(b" ", b""):
            return Verdict(DELIVERED)
        try:
            answers = loads(answer.body).get("items", [])
            statuses = [next(iter(one.values())) for one in answers]
        except (ValueError, AttributeError, TypeError, StopIteration):
            return Verdict(AGAIN, "has answered no JSON with items")
        if len(statuses) != len(items):
            return Verdict(AGAIN, f"has answered for {len(statuses)} of {len(items)} lines")
        again: list[int] = []
        lost: dict[str, list[int]] = {}
        why = mend = ""
        for index, one in enumerate(statuses):
            status = one.get("status") if isinstance(one, dict) else None
            if isinstance(status, int) and status in _MEND:
                again.append(index)
                mend = mend or f"lines wait until it is mended: one was answered {status}: {_type_of(one)}"
            elif not isinstance(status, int) or status in _AGAIN or status >= self.again_from:
                again.append(index)
                why = why or f"a line was answered {status}: {_type_of(one)}"
            elif status >= 300 and status != _STORED_BEFORE:
                lost.setdefault(f"refused with {status}", []).append(index)
                why = why or f"a line was refused with {status}: {_type_of(one)}"
        return Verdict(DELIVERED, mend or why, self.asked_ms(answer) if again else None, again, lost)


def _type_of(one: Any) -> str:
    error = one.get("error") if isinstance(one, dict) else None
    return str(error.get("type", "no type"))[:80] if isinstance(error, dict) else "no type"
