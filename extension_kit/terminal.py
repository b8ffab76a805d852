"""What `extension-kit run` prints: one line for each thing that happens, and a summary at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.backends.plan import Outcome


class Progress:
    """Prints the events of a record as they happen; requests and answers stay in the record."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: dict[str, Any]) -> None:
        text = _LINES.get(event["kind"], _nothing)(event)
        if text:
            print(f"{event['t_ms']:>10.1f} ms  {text}", file=self._out, flush=True)


def _nothing(_event: dict[str, Any]) -> str:
    return ""


_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "init_start": lambda e: f"init ({e['init_type']}{', inside an invoke' if e['phase'] == 'invoke' else ''})",
    "process_start": lambda e: f"{e['party']} starts, pid {e['pid']}",
    "launch_error": lambda e: f"{e['party']} could not be started: {e['error_type']}: {e['detail']}",
    "registered": lambda e: f"{e['party']} registers for {', '.join(e['events']) or 'no events'}",
    "refused": lambda e: f"refused: {e['status']} {e['error_type']}: {e['detail']}",
    "extension_error": lambda e: f"{e['party']} reports {e['step']}: {e['error_type']}",
    "runtime_error": lambda e: f"runtime reports {e['step']}: {e['error_type']}",
    "restore_start": lambda _e: "a snapshot is resumed",
    "init_end": lambda e: f"init {e['status']}" + _more(e),
    "invoke_start": lambda e: f"invoke {e['request_id']}",
    "response": lambda e: (
        f"response after {e['duration_ms']:.1f} ms" + (f": {e['error_type']}" if e["error_type"] else "")
    ),
    "invoke_end": lambda e: f"invoke ends: {e['status']}, {e['duration_ms']:.1f} ms with extensions",
    "log": lambda e: f"  {e['party']} | {e['text']}",
    "process_exit": lambda e: f"{e['party']} ended: {e['detail']}",
    "shutdown_start": lambda e: f"shutdown ({e['reason']}), {e['budget_ms']} ms",
    "reset": lambda _e: "environment reset: the next invoke starts everything anew",
    "swept": lambda e: f"process {e['pid']} was left behind and has been ended",
}


def _more(event: dict[str, Any]) -> str:
    if event["status"] == "success":
        return f" after {event['duration_ms']:.1f} ms"
    return f": {event['error_type']}: {event['detail']}"


def summary(outcome: Outcome) -> str:
    """The last line: what came of the run."""
    failed = sum(1 for one in outcome.invoked if one.function_error)
    latencies = sorted(one.latency_ms for one in outcome.invoked)
    median = latencies[len(latencies) // 2] if latencies else 0.0
    extensions = {event["party"] for event in outcome.events if event["kind"] == "registered"}
    health = "healthy" if outcome.healthy else "NOT healthy"
    notes = "".join(f"note: {note}\n" for note in outcome.notes)
    return (
        f"{notes}{health}: {len(outcome.invoked)} invoke(s), {failed} with an error, "
        f"{len(extensions)} extension(s), median response {median:.1f} ms"
    )
