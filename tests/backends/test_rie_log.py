"""What AWS's emulator writes becomes events; lines as it wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.backends.rie_log import read

STAMP = "23 Nov 2026 11:01:06,399 "
IDENTIFIER = "76d5bf6b-72ab-47de-9e6c-9fcf2d91de71"
LINES = [
    (
        "[DEBUG] (rapid) API request - GET /2020-01-01/extension/event/next, "
        f"Headers:map[Accept:[*/*] Lambda-Extension-Identifier:[{IDENTIFIER}] User-Agent:[x]]",
        {"kind": "request", "method": "GET", "path": "/2020-01-01/extension/event/next", "identifier": IDENTIFIER},
    ),
    (
        "[DEBUG] (rapid) API request - POST /2020-01-01/extension/register, Headers:map[Content-Length:[32]]",
        {"kind": "request", "method": "POST", "path": "/2020-01-01/extension/register"},
    ),
    (
        f"[INFO] (rapid) External agent my ext (1) ({IDENTIFIER}) registered, subscribed to [SHUTDOWN INVOKE]",
        {"kind": "registered", "party": "my ext (1)", "events": ["INVOKE", "SHUTDOWN"], "identifier": IDENTIFIER},
    ),
    (
        "[INFO] (rapid) INIT START(type: on-demand, phase: init)",
        {"kind": "init_start", "init_type": "on-demand", "phase": "init"},
    ),
    (
        "[INFO] (rapid) INIT REPORT(durationMs: 99.290000)",
        {"kind": "init_end", "phase": "init", "status": "success", "duration_ms": 99.29},
    ),
    (
        "[WARNING] (rapid) Reset initiated: SandboxTerminated",
        {"kind": "shutdown_start", "reason": "SandboxTerminated", "budget_ms": 2000},
    ),
    (
        "[DEBUG] (rapid) Handling termination for extension-my-ext-1",
        {"kind": "process_exit", "party": "my-ext", "detail": "ended"},
    ),
    (
        "[DEBUG] (rapid) Handling termination for runtime-1",
        {"kind": "process_exit", "party": "runtime", "detail": "ended"},
    ),
    (
        "[WARNING] (rapid) First fatal error stored in appctx: Extension.Crash",
        {"kind": "fatal", "error_type": "Extension.Crash"},
    ),
    ("[ERROR] (rapid) Something new", {"kind": "rie", "level": "ERROR", "detail": "Something new"}),
    ("[DEBUG] (rapid) Await agents ready", None),
    ("hello from a function", None),
]


@pytest.mark.parametrize(("line", "event"), LINES)
def test_a_line_is_an_event_or_none(line, event):
    """The many others tell nothing that the record needs."""
    assert read(STAMP + line if "(rapid)" in line else line) == event


@given(st.text())
def test_no_line_raises(text):
    """Whatever a newer emulator writes."""
    read(text)
    read(f"{STAMP}[INFO] (rapid) {text}")
