"""Records written by hand: one as the emulator tells a run, one as AWS's emulator does, and one that is very long."""

from __future__ import annotations

from typing import Any

FORMAT = "extension-kit-run/1"


def record(*events: tuple[float, str, dict[str, Any]], **profile: Any) -> dict[str, Any]:
    """From (time, kind, fields)."""
    told = [{"t_ms": at, "kind": kind, **fields} for at, kind, fields in events]
    return {"format": FORMAT, "profile": {"function_name": "f", **profile}, "notes": ["a note"], "events": told}


def asks(at: float, party: str, call: str) -> tuple[float, str, dict[str, Any]]:
    return at, "request", {"call": call, "method": "GET", "path": "/", "party": party}


def given(at: float, party: str, event: str = "INVOKE") -> tuple[float, str, dict[str, Any]]:
    return at, "event", {"party": party, "event": event, "delivered": True}


RUNTIME_NEXT, NEXT = "runtime/invocation/next", "extension/event/next"


def one_invocation() -> dict[str, Any]:
    """Init, one invocation with work after the response, a pause, the end; every time is a round number."""
    return record(
        (0, "init_start", {"phase": "init", "init_type": "on-demand"}),
        (10, "process_start", {"party": "ext", "pid": 1}),
        (30, "registered", {"party": "ext", "party_kind": "external extension", "events": ["INVOKE", "SHUTDOWN"]}),
        (40, "process_start", {"party": "runtime", "pid": 2}),
        (50, "telemetry_subscribed", {"party": "ext", "types": ["platform"], "schema": "2025-01-29"}),
        asks(60, "ext", NEXT),
        asks(100, "runtime", RUNTIME_NEXT),
        (100, "init_end", {"phase": "init", "status": "success", "duration_ms": 100.0}),
        (110, "invoke_start", {"request_id": "a"}),
        (110, "invoke_given", {"request_id": "a", "trace": ""}),
        given(110, "ext"),
        given(110, "runtime"),
        (115, "log", {"party": "runtime", "source": "function", "text": "hello"}),
        (120, "telemetry_batch", {"party": "ext", "events": 3, "bytes": 300, "taken": True}),
        (140, "response", {"request_id": "a", "error_type": "", "duration_ms": 30.0, "bytes": 4}),
        asks(145, "runtime", RUNTIME_NEXT),
        (145, "runtime_done", {"request_id": "a", "status": "success", "duration_ms": 35.0}),
        asks(190, "ext", NEXT),
        (190, "invoke_end", {"request_id": "a", "status": "success", "duration_ms": 80.0}),
        (190, "report", {"request_id": "a", "metrics": {"billedDurationMs": 180, "maxMemoryUsedMB": 40}}),
        (190, "freeze", {}),
        (690, "thaw", {}),
        (700, "shutdown_start", {"reason": "spindown", "budget_ms": 2000}),
        (700, "signal", {"party": "runtime", "signal": "SIGTERM"}),
        (720, "process_usage", {"party": "runtime", "cpu_ms": 50.0, "peak_bytes": 15_000_000}),
        (720, "process_exit", {"party": "runtime", "detail": "signal: term", "state": "Exited"}),
        given(720, "ext", "SHUTDOWN"),
        (790, "process_usage", {"party": "ext", "cpu_ms": 20.0, "peak_bytes": 9_000_000}),
        (790, "process_exit", {"party": "ext", "detail": "exit status 0", "state": "Exited"}),
        (800, "shutdown_end", {"reason": "spindown"}),
        memory_mb=128,
        init_type="on-demand",
        faults={"chosen": {}},
    )


def under_rie() -> dict[str, Any]:
    """The same function under AWS's emulator, which inits inside the first invoke and tells no events."""
    path, identifier = "/2020-01-01/extension/event/next", "8254dd08-2ad5-49bb-8c0b-5bf8573b8282"
    runtime = {"method": "GET", "path": "/2018-06-01/runtime/invocation/next"}
    answer = {"method": "POST", "path": "/2018-06-01/runtime/invocation/x/response"}
    extension = {"method": "GET", "path": path, "identifier": identifier}
    return record(
        (10, "invoke_start", {"request_id": "a"}),
        (10, "init_start", {"phase": "init", "init_type": "on-demand"}),
        (30, "registered", {"party": "ext", "events": ["INVOKE", "SHUTDOWN"], "identifier": identifier}),
        (50, "request", extension),
        (90, "request", runtime),
        (90, "init_end", {"phase": "init", "status": "success", "duration_ms": 80.0}),
        (115, "log", {"party": "output", "source": "function or extension", "text": "hello"}),
        (120, "request", answer),
        (125, "request", runtime),
        (150, "request", extension),
        (151, "response", {"request_id": "a", "error_type": "", "duration_ms": 141.0, "bytes": 4}),
        (151, "invoke_end", {"request_id": "a", "status": "success", "duration_ms": 141.0}),
        (152, "process_start", {"party": "ext", "pid": 1}),
        (152, "process_start", {"party": "runtime", "pid": 2}),
        (200, "invoke_start", {"request_id": "b"}),
        (220, "request", answer),
        (221, "request", runtime),
        (221, "request", extension),
        (222, "response", {"request_id": "b", "error_type": "Oops", "duration_ms": 22.0, "bytes": 4}),
        (222, "invoke_end", {"request_id": "b", "status": "success", "duration_ms": 22.0}),
        (300, "shutdown_start", {"reason": "SandboxTerminated", "budget_ms": 2000}),
        (310, "process_exit", {"party": "ext", "detail": "ended"}),
        (312, "process_usage", {"party": "ext", "cpu_ms": 70.0, "peak_bytes": 18_000_000}),
    )


def very_long(invocations: int) -> dict[str, Any]:
    """Many invocations with all that belongs to them: 13 events each, of which 10 are drawn."""
    whole = one_invocation()
    start, end = whole["events"][:8], whole["events"][22:]
    events = list(start)
    at = 100.0
    for number in range(invocations):
        request_id = f"request-{number}"
        for one in whole["events"][8:22]:
            moved = {**one, "t_ms": round(at + (one["t_ms"] - 110 if one["t_ms"] < 690 else 100), 3)}
            if "request_id" in moved:
                moved["request_id"] = request_id
            if moved["kind"] == "log":
                moved["text"] = f"line {number}"
            events.append(moved)
        at += 101
    events += [{**one, "t_ms": at + one["t_ms"] - 700} for one in end]
    return {**whole, "events": events}


def cut_short() -> dict[str, Any]:
    """`one_invocation`, and another one: the record ends before that has answered."""
    whole = one_invocation()
    more = record((200, "invoke_start", {"request_id": "b"}), (200, "invoke_given", {"request_id": "b", "trace": ""}))
    return {**whole, "events": [one for one in whole["events"] if one["t_ms"] <= 190] + more["events"]}


def crowded(processes: int, at_once: int) -> dict[str, Any]:
    """Many extensions, and many invocations that overlap."""
    return record(
        *((number, "process_start", {"party": f"ext-{number}", "pid": number}) for number in range(processes)),
        *((5_000 + number, "invoke_start", {"request_id": f"{number}"}) for number in range(at_once)),
        *(
            (10_000 + at_once + number, "invoke_end", {"request_id": f"{number}", "status": "success"})
            for number in range(at_once)
        ),
    )
