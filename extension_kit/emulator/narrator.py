"""What the platform tells about an environment, as Telemetry API events; made from the record of the run.

Everything that happens is noted in the record first; this module turns it into AWS's words. Sources of the fields: AWS docs,
Telemetry API event schema reference; AWS's Managed Instances emulator for order and types.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from extension_kit.emulator.model import MANAGED_INSTANCES
from extension_kit.protocol.timestamps import format_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Profile
    from extension_kit.emulator.registry import Registry

#: type and record; an event's stream is its type up to the dot
Told = tuple[str, Any]
_FAILURES = ("Sandbox.",)


class _Invocation:
    """What is known of one request until its report is written."""

    def __init__(self, trace: str, started_ms: int) -> None:
        self.trace = trace
        self.started_ms = started_ms
        self.latency_ms = 0.0
        self.produced = 0
        self.responded = False
        self.done_ms: int | None = None
        self.runtime_ms = 0.0


class Narrator:
    """``tell(kind, fields)``: the events that follow from one entry of the record, in order."""

    def __init__(self, profile: Profile, now_ms: Callable[[], int], peak_bytes: Callable[[], int]) -> None:
        """``peak_bytes``: resident memory of all processes so far."""
        self._profile = profile
        self._now_ms = now_ms
        self._peak_bytes = peak_bytes
        self._init_ms: float | None = None  # until the first report has told it
        self._init_runtime_started = False
        self._phase = "init"
        self._restore_began_ms = 0
        self._restore_ms: float | None = None
        self._open: dict[str, _Invocation] = {}
        self._managed = profile.init_type == MANAGED_INSTANCES

    def tell(self, kind: str, fields: dict[str, Any], registry: Registry) -> list[Told]:
        """``registry``: who takes part at this moment."""
        teller = _TELLERS.get(kind)
        return teller(self, fields, registry) if teller is not None else []

    # init

    def _init_start(self, fields: dict[str, Any], _registry: Registry) -> list[Told]:
        self._phase, self._init_runtime_started = fields["phase"], False
        record = {"initializationType": self._profile.init_type, "phase": self._phase, **self._where()}
        return [("platform.initStart", record)]

    def _where(self) -> dict[str, Any]:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        region = self._profile.region
        return {
            "runtimeVersion": f"python:{version}.emulator",
            "runtimeVersionArn": f"arn:aws:lambda:{region}::runtime:emulator",
            "functionName": self._profile.function_name,
            "functionVersion": self._profile.function_version,
            "instanceId": f"emulator/[{self._profile.function_version}]",
            "instanceMaxMemory": self._profile.memory_mb * 1_048_576,
        }

    def _process_start(self, fields: dict[str, Any], _registry: Registry) -> list[Told]:
        self._init_runtime_started = self._init_runtime_started or fields["party"] == "runtime"
        return []

    def _subscribed(self, fields: dict[str, Any], _registry: Registry) -> list[Told]:
        record = {"name": fields["party"], "state": "Subscribed", "types": fields["types"]}
        return [("platform.telemetrySubscription", record)]

    def _init_end(self, fields: dict[str, Any], registry: Registry) -> list[Told]:
        status, error = _outcome(fields)
        common = {"initializationType": self._profile.init_type, "phase": self._phase, "status": status, **error}
        told: list[Told] = [("platform.initRuntimeDone", common)] if self._init_runtime_started else []
        for party in registry.extensions():
            state: dict[str, Any] = {"name": party.name, "state": party.state, "events": sorted(party.events)}
            if party.error_type:
                state["errorType"] = party.error_type
            told.append(("platform.extension", state))
        duration = fields.get("duration_ms", 0.0)
        told.append(("platform.initReport", {**common, "metrics": {"durationMs": _ms(duration)}}))
        if status == "success" and self._phase == "init" and self._profile.init_type == "on-demand":
            self._init_ms = duration
        return told

    # restore

    def _restore_start(self, _fields: dict[str, Any], _registry: Registry) -> list[Told]:
        self._restore_began_ms = self._now_ms()
        return [("platform.restoreStart", self._where())]

    def _restore_end(self, fields: dict[str, Any], _registry: Registry) -> list[Told]:
        status, error = _outcome(fields)
        self._restore_ms = float(self._now_ms() - self._restore_began_ms)
        report = {"status": status, "metrics": {"durationMs": self._restore_ms}, **error}
        return [("platform.restoreRuntimeDone", {"status": status, **error}), ("platform.restoreReport", report)]

    # an invocation

    def _invoke_given(self, fields: dict[str, Any], _registry: Registry) -> list[Told]:
        request_id = fields["request_id"]
        self._open[request_id] = _Invocation(fields["trace"], self._now_ms())
        record: dict[str, Any] = {"requestId": request_id, "version": self._profile.function_version}
        if self._managed:
            record["functionArn"] = self._profile.arn
        return [("platform.start", {**record, **self._tracing(fields["trace"])})]

    @staticmethod
    def _tracing(trace: str) -> dict[str, Any]:
        if not trace:
            return {}
        fields = dict(part.split("=", 1) for part in trace.split(";") if "=" in part)
        span = {"spanId": fields["Parent"]} if "Parent" in fields else {}
        return {"tracing": {**span, "type": "X-Amzn-Trace-Id", "value": trace}}

    def _response(self, fields: dict[str, Any], _registry: Registry) -> list[Told]:
        invocation = self._open.get(fields["request_id"])
        if invocation is not None:
            invocation.responded = True
            invocation.latency_ms = fields["duration_ms"]
            invocation.produced = fields["bytes"]
        return []

    def _runtime_done(self, fields: dict[str, Any], _registry: Registry) -> list[Told]:
        invocation = self._open.get(fields["request_id"])
        if invocation is None or invocation.done_ms is not None:
            return []
        invocation.done_ms = self._now_ms()
        invocation.runtime_ms = fields["duration_ms"]
        status, error = _outcome(fields)
        record: dict[str, Any] = {"requestId": fields["request_id"], "status": status, **error}
        record["metrics"] = {"durationMs": _ms(fields["duration_ms"]), "producedBytes": invocation.produced}
        if invocation.responded:
            record["spans"] = self._runtime_spans(invocation)
        return [] if self._managed else [("platform.runtimeDone", {**record, **self._tracing(invocation.trace)})]

    def _runtime_spans(self, invocation: _Invocation) -> list[dict[str, Any]]:
        answered = invocation.started_ms + int(invocation.latency_ms)
        overhead = max(0.0, invocation.runtime_ms - invocation.latency_ms)
        spans = [
            ("responseLatency", invocation.started_ms, invocation.latency_ms),
            ("responseDuration", answered, 0.03),
            ("runtimeOverhead", answered, overhead),
        ]
        return [
            {"name": name, "start": format_ms(start), "durationMs": _ms(duration)}
            for name, start, duration in spans[: 2 if self._managed else 3]
        ]

    def _invoke_end(self, fields: dict[str, Any], registry: Registry) -> list[Told]:
        request_id = fields["request_id"]
        told = self._runtime_done(fields, registry)
        invocation = self._open.pop(request_id, None)
        if invocation is None:
            return told
        status, error = _outcome(fields)
        record: dict[str, Any] = {"requestId": request_id, "status": status, **error}
        if self._managed:
            record["metrics"] = {"durationMs": _ms(fields["duration_ms"])}
            if invocation.responded:
                record["spans"] = self._runtime_spans(invocation)
            return [*told, ("platform.report", {**record, **self._tracing(invocation.trace)})]
        record["metrics"] = self._report_metrics(fields["duration_ms"])
        overhead = max(0.0, fields["duration_ms"] - invocation.runtime_ms)
        start = format_ms(invocation.done_ms or self._now_ms())
        record["spans"] = [{"name": "extensionOverhead", "start": start, "durationMs": _ms(overhead)}]
        return [*told, ("platform.report", {**record, **self._tracing(invocation.trace)})]

    def _report_metrics(self, duration_ms: float) -> dict[str, Any]:
        billed = duration_ms + (self._init_ms or 0.0)  # init is billed since August 2025
        metrics: dict[str, Any] = {
            "durationMs": _ms(duration_ms),
            "billedDurationMs": math.ceil(billed),
            "memorySizeMB": self._profile.memory_mb,
            "maxMemoryUsedMB": max(1, math.ceil(self._peak_bytes() / 1_048_576)),
        }
        if self._init_ms is not None:
            metrics["initDurationMs"] = _ms(self._init_ms)
        if self._restore_ms is not None:
            metrics["restoreDurationMs"] = _ms(self._restore_ms)
        self._init_ms = self._restore_ms = None
        return metrics


_TELLERS: dict[str, Callable[[Narrator, dict[str, Any], Registry], list[Told]]] = {
    "init_start": Narrator._init_start,
    "process_start": Narrator._process_start,
    "telemetry_subscribed": Narrator._subscribed,
    "init_end": Narrator._init_end,
    "restore_start": Narrator._restore_start,
    "restore_end": Narrator._restore_end,
    "invoke_given": Narrator._invoke_given,
    "response": Narrator._response,
    "runtime_done": Narrator._runtime_done,
    "invoke_end": Narrator._invoke_end,
}


def _outcome(fields: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Status and, where there is one, error type, in the words of the Telemetry API (lambda-apis 4.5)."""
    status, error_type = fields["status"], fields.get("error_type", "")
    if status in ("success", "timeout"):
        return status, {}
    status = "failure" if error_type.startswith(_FAILURES) else "error"
    return status, {"errorType": error_type or "Runtime.Unknown"}


def _ms(duration: float) -> float:
    return round(float(duration), 3)
