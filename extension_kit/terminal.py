"""What `extension-kit run` prints: one line for each thing that happens, and a summary at the end."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, TextIO

from extension_kit import pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    "telemetry_subscribed": lambda e: f"{e['party']} subscribes to {', '.join(e['types'])} ({e['schema']})",
    "report": lambda e: f"platform: {_report(e['metrics'])}",
    "log": lambda e: f"  {e['party']} | {readable(e['text'])}",
    "process_exit": lambda e: f"{e['party']} ended: {e['detail']}",
    "shutdown_start": lambda e: f"shutdown ({e['reason']}), {e['budget_ms']} ms",
    "out_of_memory": lambda e: (
        f"out of memory: a process was killed at the limit of {e['limit_mb']} MB (/tmp counts too)"
    ),
    "fatal": lambda e: f"fatal: {e['error_type']}",
    "reset": lambda _e: "environment reset: the next invoke starts everything anew",
    "swept": lambda e: f"process {e['pid']} was left behind and has been ended",
}


def _report(metrics: dict[str, float]) -> str:
    """The platform's own figures of an invocation, as its report has them."""
    figures = [f"duration {metrics['durationMs']:.1f} ms"]
    if "billedDurationMs" in metrics:
        figures.append(f"billed {metrics['billedDurationMs']} ms")
    if "initDurationMs" in metrics:
        figures.append(f"init {metrics['initDurationMs']:.1f} ms")
    if "maxMemoryUsedMB" in metrics:
        figures.append(f"{metrics['maxMemoryUsedMB']} of {metrics['memorySizeMB']} MB used")
    return ", ".join(figures)


def _more(event: dict[str, Any]) -> str:
    if event["status"] == "success":
        return f" after {event['duration_ms']:.1f} ms"
    return f": {event['error_type']}: {event['detail']}"


def readable(text: str) -> str:
    """A line of EMF as its figures; any other line as it is (the record holds all of them as they were)."""
    content = pictures.document(text)
    metrics = pictures.metrics(content) if content is not None else {}
    if content is None or not metrics:
        return text
    figures = (f"{name} {pictures.quantity(pictures.points(content[name]), unit)}" for name, unit in metrics.items())
    return f"metrics: {', '.join(figures)}"


def costs(events: Sequence[dict[str, Any]]) -> str:
    """A table of what each process cost: time to register, CPU and peak memory, over all that were started."""
    rows: dict[str, list[Any]] = {}
    started: dict[str, float] = {}
    for event in events:
        row = rows.setdefault(event["party"], ["-", 0.0, 0]) if event["kind"] in _COST_KINDS else []
        if event["kind"] == "process_start":
            started[event["party"]] = event["t_ms"]
        elif event["kind"] == "registered" and event["party"] in started:
            row[0] = f"{event['t_ms'] - started[event['party']]:.1f} ms"
        elif event["kind"] == "process_usage":
            row[1] += event["cpu_ms"]
            row[2] = max(row[2], event["peak_bytes"])
    lines = [f"{'what each process cost':<28} {'to register':>12} {'CPU':>10} {'peak memory':>12}"]
    for party, (register, cpu, peak) in rows.items():
        memory = f"{peak / 1_000_000:.1f} MB" if peak else "-"
        lines.append(f"  {party:<26} {register:>12} {cpu:>7.1f} ms {memory:>12}")
    return "\n".join(lines) + "\n"


_COST_KINDS = ("process_start", "registered", "process_usage")


def summary(outcome: Outcome) -> str:
    """The last line: what came of the run."""
    failed = sum(1 for one in outcome.invoked if one.function_error)
    responses = [event["duration_ms"] for event in outcome.events if event["kind"] == "response"]
    inits = [event["duration_ms"] for event in outcome.events if event["kind"] == "init_end" and "duration_ms" in event]
    extensions = {event["party"] for event in outcome.events if event["kind"] == "registered"}
    health = "healthy" if outcome.healthy else "NOT healthy"
    notes = "".join(f"note: {note}\n" for note in outcome.notes)
    times = f", init {inits[0]:.1f} ms" if inits else ""
    times += f", median response {statistics.median(responses):.1f} ms" if responses else ""
    return (
        f"{notes}{health}: {len(outcome.invoked)} invoke(s), {failed} with an error, "
        f"{len(extensions)} extension(s){times}"
    )
