"""Services that take logs, as strict as their documentation: Loki, Elasticsearch/OpenSearch, Splunk, Datadog, New Relic.

Kept honest by senders that we did not write (`test_log_services.py`): these must be accepted, and known-bad bodies refused.
"""

from __future__ import annotations

import json
import math
import re

from tests.receivers.collector import Collector, Refused


class Loki(Collector):
    """``POST /loki/api/v1/push``, JSON. Source: Loki HTTP API, "Ingest logs"; defaults of its limits_config.

    ``oldest``: nanoseconds; what is older is refused, and the rest of such a push is stored all the same, as Loki does it
    (`reject_old_samples`).
    """

    MAX_LINE = 262_144
    oldest = 0

    def take(self, path, headers, body):
        if path != "/loki/api/v1/push":
            raise Refused(404, "404 page not found")
        if headers.get("content-type", "").split(";")[0] != "application/json":
            raise Refused(400, "unsupported content type")
        taken = []
        for stream in _loads(body)["streams"]:
            labels = stream["stream"]
            if not labels:
                raise Refused(400, "at least one label pair is required per stream")
            if len(labels) > 15 or not all(
                re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", name) and isinstance(value, str)
                for name, value in labels.items()
            ):
                raise Refused(400, "invalid labels")
            for entry in stream["values"]:
                at, line, *more = entry
                if not isinstance(at, str) or not at.isdigit() or len(at) != 19:
                    raise Refused(400, "loghttp.PushRequest: unexpected timestamp: a string of nanoseconds is wanted")
                if not isinstance(line, str):
                    raise Refused(400, "a line is a string")
                if len(line.encode()) > self.MAX_LINE:
                    raise Refused(400, "max entry size exceeded")
                metadata = more[0] if more else {}
                if len(more) > 1 or not all(isinstance(value, str) for value in metadata.values()):
                    raise Refused(400, "structured metadata: strings by name are wanted")
                taken.append({"labels": labels, "ns": int(at), "line": line, "metadata": metadata})
        young = [entry for entry in taken if entry["ns"] >= self.oldest]
        self.accepted += young
        if len(young) < len(taken):
            raise Refused(400, "entry has timestamp too old")
        return 204, b""


class Bulk(Collector):
    """``POST /_bulk``. Source: Elasticsearch and OpenSearch, "Bulk". ``busy``: ids that are answered 429, once each.

    `Fault.items` fails items by their number. An ``_id`` that is too long fails the request as a whole, and no item of it is
    stored: their `BulkRequest.validate` looks before anything is done.
    """

    MAX_BODY = 100 * 1_048_576
    MAX_ID = 512

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, object] = {}
        self.busy: set[str] = set()
        self.repeated = 0

    def take(self, path, headers, body):
        if not re.fullmatch(r"(/[^/]+)?/_bulk", path.partition("?")[0]):
            raise Refused(405, "Incorrect HTTP method")
        if headers.get("content-type", "").split(";")[0] not in ("application/json", "application/x-ndjson"):
            raise Refused(406, "Content-Type header is not supported")
        if not body.endswith(b"\n"):
            raise Refused(400, "The bulk request must be terminated by a newline [\\n]")
        lines = body[:-1].split(b"\n")
        if len(lines) % 2:
            raise Refused(400, "an action without a document")
        pairs = [(_loads(lines[at]), _loads(lines[at + 1])) for at in range(0, len(lines), 2)]
        named = [next(iter(action.values())).get("_id") for action, _document in pairs]
        if any(name is not None and not 0 < len(name.encode()) <= self.MAX_ID for name in named):
            raise Refused(
                400,
                "id is too long, must be no longer than 512 bytes",
                _failed(400, "action_request_validation_exception"),
            )
        items = [
            self._failed_item(path, action, self.failing[number])
            if number in self.failing
            else self._item(path, action, document)
            for number, (action, document) in enumerate(pairs)
        ]
        errors = any(next(iter(item.values()))["status"] >= 300 for item in items)
        return 200, json.dumps({"took": 3, "errors": errors, "items": items}).encode()

    def _failed_item(self, path, action, status):
        ((verb, about),) = action.items()
        kind = "es_rejected_execution_exception" if status == 429 else "scripted_exception"
        place = {"_index": about.get("_index") or path.strip("/").partition("/")[0], "_id": about.get("_id")}
        return {verb: place | _failure(status, kind, "scripted")}

    def _item(self, path, action, document):
        ((verb, about),) = action.items()
        index = about.get("_index") or path.strip("/").partition("/")[0]
        if verb not in ("create", "index") or index in ("", "_bulk"):
            raise Refused(400, f"Malformed action/metadata line: {action}")
        name = about.get("_id") or f"made-{len(self.stored)}"
        answer = {"_index": index, "_id": name}
        if name in self.busy:
            self.busy.discard(name)
            return {verb: answer | _failure(429, "es_rejected_execution_exception", "rejected execution")}
        if not isinstance(document, dict) or isinstance(document.get("message"), dict):
            return {verb: answer | _failure(400, "mapper_parsing_exception", "failed to parse field [message]")}
        if verb == "create" and name in self.stored:
            self.repeated += 1
            return {verb: answer | _failure(409, "version_conflict_engine_exception", "document already exists")}
        self.stored[name] = document
        self.accepted.append(document | {"_id": name, "_index": index})
        return {verb: answer | {"status": 201, "result": "created"}}


def _failed(status, kind):
    return json.dumps({"error": {"type": kind}, "status": status}).encode()


def _failure(status, kind, why):
    return {"status": status, "error": {"type": kind, "reason": why}}


class Splunk(Collector):
    """HTTP Event Collector. Source: Splunk, "Format events for HEC", "HEC error codes"."""

    TOKEN = "00000000-0000-0000-0000-000000000001"  # noqa: S105 - the fake's
    MAX_BODY = 1_000_000  # Splunk Cloud's advice; the server's own limit is a setting
    indexes: frozenset[str] | None = None  # those that the token is for; None: any
    KEYS = frozenset(("time", "host", "source", "sourcetype", "index", "fields", "event"))

    def take(self, path, headers, body):
        if path.partition("?")[0] not in (
            "/services/collector",
            "/services/collector/event",
            "/services/collector/event/1.0",
        ):
            raise Refused(404, "not found")
        authorization = headers.get("authorization", "")
        if not authorization:
            raise Refused(401, "no token", _code(2, "Token is required"))
        if not authorization.startswith("Splunk "):
            raise Refused(401, "another scheme", _code(3, "Invalid authorization"))
        if authorization != f"Splunk {self.TOKEN}":
            raise Refused(403, "wrong token", _code(4, "Invalid token"))
        text, decoder, at, taken = body.decode(), json.JSONDecoder(), 0, []
        if not text.strip():
            raise Refused(400, "no data", _code(5, "No data"))
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            try:
                event, at = decoder.raw_decode(text, at)
            except ValueError:
                raise Refused(400, "no JSON", _code(6, "Invalid data format", len(taken))) from None
            self._check(event, len(taken))
            taken.append(event)
        self.accepted += taken
        return 200, _code(0, "Success")

    def too_large(self):
        return _code(27, "Content-Length too large")

    def _check(self, event, number):
        if not isinstance(event, dict) or not set(event) <= self.KEYS:
            raise Refused(
                400, f"not an event, or unknown keys: {str(event)[:80]}", _code(6, "Invalid data format", number)
            )
        if event.get("event") is None:
            raise Refused(400, "no event", _code(12, "Event field is required", number))
        if event["event"] == "":
            raise Refused(400, "a blank event", _code(13, "Event field cannot be blank", number))
        if self.indexes is not None and event.get("index", "main") not in self.indexes:
            raise Refused(400, "an index that the token is not for", _code(7, "Incorrect index", number))
        if not all(isinstance(value, (str, int, float, bool)) for value in event.get("fields", {}).values()):
            raise Refused(400, "fields that are not flat", _code(15, "Error in handling indexed fields", number))
        if "time" in event and not math.isfinite(float(event["time"])):
            raise Refused(400, "no time", _code(6, "Invalid data format", number))


def _code(code, text, number=None):
    return json.dumps(
        {"text": text, "code": code} | ({} if number is None else {"invalid-event-number": number})
    ).encode()


class Datadog(Collector):
    """``POST /api/v2/logs``. Source: Datadog API reference, "Send logs".

    The real one cuts an entry of more than 1 MB off and takes it; ours refuses it, since a sender should have seen to that.
    """

    KEY = "0123456789abcdef0123456789abcdef"
    MAX_BODY = 5 * 1_048_576
    MAX_ENTRIES = 1_000
    MAX_ENTRY = 1_048_576

    def take(self, path, headers, body):
        if path.partition("?")[0] != "/api/v2/logs":
            raise Refused(404, "not found")
        if "dd-api-key" not in headers:
            raise Refused(401, "no key", b'{"errors":[{"status":"401","title":"Unauthorized"}]}')
        if headers["dd-api-key"] != self.KEY:
            raise Refused(403, "wrong key", b'{"errors":[{"status":"403","title":"Forbidden"}]}')
        if headers.get("content-type", "").split(";")[0] != "application/json":
            raise Refused(400, "content type")
        entries = _loads(body)
        entries = entries if isinstance(entries, list) else [entries]
        if len(entries) > self.MAX_ENTRIES:
            raise Refused(413, "more than 1,000 entries")
        for entry in entries:
            if len(json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode()) > self.MAX_ENTRY:
                raise Refused(413, "an entry of more than 1 MB")
            if not isinstance(entry, dict) or "message" not in entry:
                raise Refused(400, "an entry without a message")
        self.accepted += entries
        return 202, b"{}"


class NewRelic(Collector):
    """``POST /log/v1``. Source: New Relic, "Introduction to the Log API"."""

    KEY = "f" * 36 + "NRAL"
    MAX_COMPRESSED = 1_000_000

    def take(self, path, headers, body):
        if path.partition("?")[0] != "/log/v1":
            raise Refused(404, "not found")
        if headers.get("api-key") != self.KEY:
            raise Refused(403, "wrong key")
        if headers.get("content-type", "").split(";")[0] not in ("application/json", "application/gzip"):
            raise Refused(415, "content type")
        if self.requests[-1][2] > self.MAX_COMPRESSED:
            raise Refused(413, "more than 1 MB compressed")
        found = _loads(body)
        blocks = found if isinstance(found, list) else [found]
        taken = []
        for block in blocks:
            common = block.get("common", {}).get("attributes", {})
            logs = block.get("logs", [block])
            for log in logs:
                if not isinstance(log["message"], str) or not isinstance(log.get("timestamp", 0), int):
                    raise Refused(400, "message: a string; timestamp: a whole number")
                taken.append({**log, "attributes": {**common, **log.get("attributes", {})}})
        self.accepted += taken
        return 202, b'{"requestId":"x"}'


def _loads(body):
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads(body, parse_constant=refuse)
