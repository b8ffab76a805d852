"""A run as text, and as a trace for Chrome's viewer and Perfetto."""

from __future__ import annotations

import json

import pytest

from extension_kit.report import text, timeline, trace
from tests.report.records import one_invocation, record, under_rie, very_long

RECORDS = {"emulator": one_invocation(), "rie": under_rie(), "long": very_long(300)}


@pytest.mark.parametrize("width", [1, 80, 100, 120, 400])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", None])
@pytest.mark.parametrize("which", RECORDS)
def test_the_text_fits_a_terminal(which, width, encoding):
    """80 to 120 columns, in characters that the terminal has."""
    shown = text(RECORDS[which], width, encoding)

    assert max(map(len, shown.splitlines())) <= max(80, min(120, width))
    shown.encode(encoding or "ascii")


def test_lanes_are_drawn_to_scale():
    """What takes half of the time takes half of the columns; a long pause is folded, and that is said."""
    whole = one_invocation()
    drawn = text(whole, 100, "ascii").partition("\ntimeline")[2].partition("\ninvocations")[0]
    lines = {line.split()[0]: line for line in drawn.splitlines()}
    platform, runtime, extension = (lines[name][21:] for name in ("platform", "runtime", "ext"))

    assert "pauses are folded: 1 " in text(whole)
    assert {one: platform.count(one) for one in "i=.x"} == pytest.approx({"i": 25, "=": 20, ".": 3, "x": 25}, abs=2)
    assert {one: runtime.count(one) for one in "s#x"} == pytest.approx({"s": 15, "#": 8, "x": 5}, abs=2)
    assert {one: extension.count(one) for one in "sp+%x"} == pytest.approx(
        {"s": 5, "p": 8, "+": 8, "%": 12, "x": 17}, abs=2
    )
    assert platform.index("x") == runtime.index("x"), "the same time is the same column"


def test_the_text_says_what_the_record_says():
    """Parts, invocations, costs, notes."""
    shown = text(one_invocation(), 100)

    assert "f: 1 invocation in 0.80 s" in shown
    assert "  frozen                       500.0 ms  62%" in shown
    assert "  1             110.0 ms     0.0 ms    30.0 ms    50.0 ms     180 ms  success" in shown
    assert "  ext                           20.0 ms    50.0 ms    20.0 ms    9.0 MB    50.0 ms          3" in shown
    assert shown.endswith("note: a note\n")


def test_texts_of_others_do_not_reach_the_terminal_raw():
    """No control character, no line of their own."""
    shown = text(
        record((0, "process_start", {"party": "e\x1b[2J\nvil", "pid": 1}), (9, "process_exit", {"party": "x"}))
    )

    assert "e?[2J?vil" in shown
    assert "\x1b" not in shown


def test_of_many_invocations_the_interesting_ones_are_shown():
    """The first, those with an error, the longest; and how many more there are."""
    long = very_long(300)
    for one in long["events"]:
        if one["kind"] == "response" and one["request_id"] == "request-150":
            one["error_type"] = "Oops"
    shown = text(long)

    assert "success Oops" in shown
    assert "... and 280 more" in shown


# the trace --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", RECORDS)
def test_the_trace_keeps_the_formats_rules(which):
    """Phases, whole microseconds, names for every process and thread, spans of a thread within each other or apart."""
    made = json.loads(json.dumps(trace(RECORDS[which])))
    events = made["traceEvents"]

    assert {one["ph"] for one in events} == {"X", "i", "M"}
    assert all(isinstance(one["ts"], int) and one["ts"] >= 0 for one in events)
    assert all(isinstance(one["pid"], int) and isinstance(one["tid"], int) and one["pid"] > 0 for one in events)
    assert all(one["dur"] >= 0 for one in events if one["ph"] == "X")
    assert all(one["s"] == "t" for one in events if one["ph"] == "i")
    threads = {(one["pid"], one["tid"]) for one in events if one["ph"] != "M"}
    assert threads <= {(one["pid"], one["tid"]) for one in events if one["name"] == "thread_name"}
    assert {pid for pid, _tid in threads} <= {one["pid"] for one in events if one["name"] == "process_name"}
    for thread in threads:
        assert_nested([one for one in events if one["ph"] == "X" and (one["pid"], one["tid"]) == thread])


def assert_nested(spans):
    ends: list[int] = []
    for span in sorted(spans, key=lambda one: (one["ts"], -one["dur"])):
        while ends and ends[-1] <= span["ts"]:
            ends.pop()
        assert not ends or span["ts"] + span["dur"] <= ends[-1], span
        ends.append(span["ts"] + span["dur"])


def test_the_trace_has_every_span_and_mark():
    """With its times and its words."""
    found, made = timeline(one_invocation()), trace(one_invocation())["traceEvents"]

    assert sum(one["ph"] == "X" for one in made) == len(found.spans)
    assert sum(one["ph"] == "i" for one in made) == len(found.marks)
    (invocation,) = [one for one in made if one["name"] == "invocation 1"]
    assert (invocation["ts"], invocation["dur"], invocation["args"]) == (
        110_000, 80_000, {"request_id": "a", "invocation": 1})  # fmt: skip
