"""Reads the debug log of AWS's emulator as events of a run's record: requests, phases, registrations, ends of processes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Fields = dict[str, Any]

_PREFIX = re.compile(r"^\d\d \w{3} \d{4} [\d:,]+ \[(?P<level>\w+)\] \(rapid\) (?P<text>.*)$")


def _identified(found: re.Match[str]) -> Fields:
    """Who it was: its name stands in the line of its registration only."""
    return {"identifier": found["id"]} if found["id"] else {}


def _init_end(found: re.Match[str]) -> Fields:
    return {"kind": "init_end", "phase": "init", "status": "success", "duration_ms": float(found["duration"])}


_LINES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Fields]], ...] = (
    (
        re.compile(
            r"API request - (?P<method>\w+) (?P<path>\S+), Headers:"
            r"(?:.*\bLambda-Extension-Identifier:\[(?P<id>[-0-9a-f]{36})\])?"
        ),
        lambda found: {"kind": "request", "method": found["method"], "path": found["path"], **_identified(found)},
    ),
    (
        re.compile(
            r"External agent (?P<name>.+) \((?P<id>[-0-9a-f]{36})\) registered, subscribed to \[(?P<events>.*)\]"
        ),
        lambda found: {
            "kind": "registered",
            "party": found["name"],
            "events": sorted(found["events"].split()),
            **_identified(found),
        },
    ),
    (
        re.compile(r"INIT START\(type: (?P<type>[-\w]+), phase: (?P<phase>\w+)\)"),
        lambda found: {"kind": "init_start", "init_type": found["type"], "phase": found["phase"]},
    ),
    (re.compile(r"INIT REPORT\(durationMs: (?P<duration>[\d.]+)\)$"), _init_end),
    (
        re.compile(r"Reset initiated: (?P<reason>\w+)"),
        lambda found: {"kind": "shutdown_start", "reason": found["reason"], "budget_ms": 2000},
    ),
    (
        re.compile(r"Handling termination for (?:extension-(?P<name>.+)|(?P<runtime>runtime))-\d+$"),
        lambda found: {"kind": "process_exit", "party": found["name"] or "runtime", "detail": "ended"},
    ),
    (
        re.compile(r"First fatal error stored in appctx: (?P<type>\w+\.\w+)"),
        lambda found: {"kind": "fatal", "error_type": found["type"]},
    ),
)


def read(line: str) -> Fields | None:
    """The event that a line of the log tells of, with its ``kind``; None for the many that tell of none."""
    whole = _PREFIX.match(line)
    if whole is None:
        return None
    for pattern, event in _LINES:
        found = pattern.match(whole["text"])
        if found is not None:
            return event(found)
    if whole["level"] in ("WARNING", "ERROR", "FATAL", "PANIC"):
        return {"kind": "rie", "level": whole["level"], "detail": whole["text"]}
    return None
