"""What the marks of a timeline say: a kind and a few words for each event of a record that is shown as a moment."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from extension_kit.terminal import readable

if TYPE_CHECKING:
    from collections.abc import Callable

Event = dict[str, Any]
_LONGEST = 2_000  # characters of a line; the record has all of it
_CHAOS = "chaos-injector"
_FLUSHED = ": flush ("
_FLUSH = re.compile(r"\[([^]\s]{1,128})\] plug-in (\S{1,128}): flush \(([^()]{1,100})\) took (\d{1,9}\.\d) ms")
#: of the chaos injector's decisions, those that let an invocation be
_HARMLESS = ("skip", "note", "clean")


def mark(event: Event) -> tuple[str, str] | None:
    """Kind and label of the mark that an event is; None for what is no moment of its own."""
    kind = str(event["kind"])
    if kind == "log":
        return line(str(event.get("text", "")))
    found = _MARKS.get(kind)
    if found is None:
        return None
    shown, words = found
    try:
        return shown, shortened(words(_Fields(event)))
    except (TypeError, ValueError):
        return shown, kind.replace("_", " ")  # its fields are of another kind than ours


def line(text: str) -> tuple[str, str]:
    """Of a line of output: a decision of the chaos injector is a fault, EMF is read as its figures."""
    decision = _decision(text)
    if decision is not None:
        return decision
    return "log", shortened(readable(text))


def flush(text: str) -> tuple[str, str, str, float] | None:
    """Of the line that tells of a flush (`flusher.told`): extension, plug-in, reason, milliseconds; None for other lines."""
    found = _FLUSH.fullmatch(text) if _FLUSHED in text else None
    return (found[1], found[2], found[3], float(found[4])) if found is not None else None


def shortened(text: str) -> str:
    """As much of a text as a picture can hold."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ... ({len(text) - _LONGEST} more characters)"


def _decision(text: str) -> tuple[str, str] | None:
    if _CHAOS not in text or not text.startswith("{"):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("source") != _CHAOS or "action" not in content:
        return None
    action = str(content["action"])
    what = [str(content[name]) for name in ("type", "fault", "experiment") if content.get(name)]
    reason = f": {content['reason']}" if content.get("reason") else ""
    kind = "log" if action in _HARMLESS else "fault"
    return kind, shortened(f"chaos: {action.replace('_', ' ')} {', '.join(dict.fromkeys(what))}".rstrip() + reason)


class _Fields(dict[str, Any]):
    """An event whose missing fields read as a question mark: a record may be of another version than this."""

    def __missing__(self, key: str) -> str:
        return "?"


def _batch(e: Event) -> str:
    size = e["bytes"]
    how = "" if e["taken"] else ", NOT taken"
    return f"{e['events']} telemetry event(s), {size} bytes{how}"


_MARKS: dict[str, tuple[str, Callable[[Event], str]]] = {
    "registered": ("step", lambda e: f"registers for {', '.join(map(str, e['events'])) or 'no events'}"),
    "telemetry_subscribed": (
        "step", lambda e: f"subscribes to {', '.join(map(str, e['types']))} ({e['schema']})"),
    "telemetry_batch": ("batch", _batch),
    "response": (
        "response", lambda e: "response" + (f": {e['error_type']}" if e.get("error_type") else f", {e['bytes']} bytes")),
    "reset": ("step", lambda _e: "environment reset: the next invoke starts everything anew"),
    "clock_step": ("fault", lambda e: f"the wall clock is set by {e['milliseconds']} ms"),
    "launch_error": ("error", lambda e: f"could not be started: {e['error_type']}: {e['detail']}"),
    "refused": ("error", lambda e: f"refused: {e['status']} {e['error_type']}: {e['detail']}"),
    "extension_error": ("error", lambda e: f"reports {e['step']}: {e['error_type']}"),
    "runtime_error": ("error", lambda e: f"reports {e['step']}: {e['error_type']}"),
    "out_of_memory": ("error", lambda e: f"out of memory: a process was killed at the limit of {e['limit_mb']} MB"),
    "fatal": ("error", lambda e: f"fatal: {e['error_type']}"),
    "rie": ("error", lambda e: f"AWS's emulator: {e['level']}: {e['detail']}"),
    "swept": ("error", lambda e: f"process {e['pid']} was left behind and has been ended"),
    "signal": ("exit", lambda e: f"{e['signal']} sent"),
    "process_exit": ("exit", lambda e: f"ended: {e['detail']}"),
}  # fmt: skip
