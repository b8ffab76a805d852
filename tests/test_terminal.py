"""What a run prints for people: figures instead of JSON, what each process cost, one closing line."""

from __future__ import annotations

import io
import json

import pytest

from extension_kit.backends.plan import Invoked, Outcome
from extension_kit.terminal import Progress, costs, summary

EVENTS = (
    {"t_ms": 10.0, "kind": "process_start", "party": "ext", "pid": 1},
    {"t_ms": 25.0, "kind": "registered", "party": "ext", "events": ["INVOKE"]},
    {"t_ms": 30.0, "kind": "process_start", "party": "runtime", "pid": 2},
    {"t_ms": 60.0, "kind": "init_end", "phase": "init", "status": "success", "duration_ms": 50.0},
    {"t_ms": 70.0, "kind": "response", "request_id": "a", "error_type": "", "duration_ms": 7.0, "bytes": 1},
    {"t_ms": 80.0, "kind": "response", "request_id": "b", "error_type": "", "duration_ms": 9.0, "bytes": 1},
    {"t_ms": 90.0, "kind": "process_usage", "party": "runtime", "cpu_ms": 100.0, "peak_bytes": 15_000_000},
    {"t_ms": 91.0, "kind": "process_usage", "party": "ext", "cpu_ms": 20.0, "peak_bytes": 9_000_000},
    {"t_ms": 92.0, "kind": "process_start", "party": "ext", "pid": 3},
    {"t_ms": 95.0, "kind": "process_usage", "party": "ext", "cpu_ms": 1.5, "peak_bytes": 0},
)


def shown(text: str) -> str:
    out = io.StringIO()
    Progress(out)({"t_ms": 1.0, "kind": "log", "party": "ext", "source": "extension", "text": text})
    return out.getvalue().partition("| ")[2].rstrip("\n")


def test_a_line_of_emf_is_shown_as_figures():
    """Names, values and units; nobody reads the envelope."""
    units = {"CpuUser": "Milliseconds", "MemoryUsed": "Bytes", "NetworkRx": "Bytes", "Calls": "Count"}
    declared = [{"Name": name, "Unit": unit} for name, unit in units.items()]
    values = {"CpuUser": 12.5, "MemoryUsed": [2_621_440.0], "NetworkRx": [12, 40, 13], "Calls": 7}
    line = json.dumps({"_aws": {"CloudWatchMetrics": [{"Namespace": "N", "Metrics": declared}]}, **values})

    assert shown(line) == "metrics: CpuUser 12.5 ms, MemoryUsed 2.5 MiB, NetworkRx 12 to 40 B, Calls 7"


@pytest.mark.parametrize(
    "text", ["plain", '{"_aws":', '{"_aws":{}}', '{"_aws":{"CloudWatchMetrics":[{"Metrics":[1]}]}}']
)
def test_any_other_line_is_shown_as_it_is(text):
    """What only begins like EMF is no figure."""
    assert shown(text) == text


def test_costs_count_every_process_of_a_party():
    """CPU adds up over resets; an unknown peak is a dash."""
    lines = costs(EVENTS).splitlines()

    assert [line.split() for line in lines[1:]] == [
        ["ext", "15.0", "ms", "21.5", "ms", "9.0", "MB"],
        ["runtime", "-", "100.0", "ms", "15.0", "MB"],
    ]


def test_the_summary_tells_init_and_the_median_response():
    """The median of what the function took; the cold start is told apart."""
    invoked = tuple(Invoked(request_id, 99.0, b"", "", "") for request_id in "ab")

    assert summary(Outcome(True, invoked, EVENTS, ("a note",), "")) == (
        "note: a note\nhealthy: 2 invoke(s), 0 with an error, 1 extension(s), init 50.0 ms, median response 8.0 ms"
    )


def test_a_run_measures_what_its_processes_used(lab):
    """CPU from the kernel's account at the end of the process, memory from its own page."""
    script = "register()\nfiller = b'x' * 60_000_000\nend = time.process_time() + 0.2\n"
    environment = lab.start(lab.extension("ext", script + "while time.process_time() < end: pass\nloop()"))
    lab.invoke(environment)
    environment.shutdown()

    usage = {event["party"]: event for event in environment.log.of_kind("process_usage")}

    assert usage["ext"]["cpu_ms"] >= 200
    assert 60_000_000 < usage["ext"]["peak_bytes"] < 120_000_000
    assert 0 < usage["runtime"]["peak_bytes"] < 60_000_000
