"""The Logs API 2020-08-15: what it says instead of the Telemetry API's events (AWS docs, Logs API; lambda-apis 5)."""

from __future__ import annotations

from typing import Any

#: said in the same words by both, as far as the Logs API has them
_KEPT = ("function", "extension", "platform.extension", "platform.logsDropped")


def events(kind: str, record: Any, schema: str) -> list[tuple[str, Any]]:
    """What stands for one event of the Telemetry API; nothing for those that the Logs API does not know."""
    if kind in _KEPT:
        return [(kind, record)]
    if kind == "platform.telemetrySubscription":
        return [("platform.logsSubscription", record)]
    if kind == "platform.start":
        return [(kind, {"requestId": record["requestId"], "version": record["version"]})]
    if kind == "platform.runtimeDone" and schema != "2020-08-15":
        status = {"error": "failure"}.get(record["status"], record["status"])
        return [(kind, {"requestId": record["requestId"], "status": status})]
    if kind == "platform.report":
        return _ended(record)
    return []


def _ended(record: Any) -> list[tuple[str, Any]]:
    """An end and a report; before them, where it went wrong, a fault, which is a sentence."""
    request_id, error_type = record["requestId"], record.get("errorType", "")
    told: list[tuple[str, Any]] = []
    if record["status"] == "timeout":
        told.append(("platform.fault", f"RequestId: {request_id} Task timed out"))
    elif error_type:
        told.append(("platform.fault", f"RequestId: {request_id} Error: {error_type}"))
    end, report = {"requestId": request_id}, {"requestId": request_id, "metrics": record["metrics"]}
    return [*told, ("platform.end", end), ("platform.report", report)]
