"""The table of what extensions measured: from any line that may be EMF, within 100 columns."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.pictures import ASCII, BLOCKS, document, human, levels, metrics, points, sparkline, table


def emf(units, **values):
    """A document with ``units`` as its metrics."""
    declared = [{"Name": name, "Unit": unit} for name, unit in units.items()]
    return {"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Namespace": "N", "Metrics": declared}]}, **values}


def log(content, party="ext", source="extension"):
    text = content if isinstance(content, str) else json.dumps(content)
    return {"kind": "log", "party": party, "source": source, "text": text, "t_ms": 1.0}


def invokes(*request_ids):
    return [{"kind": "invoke_start", "request_id": request_id, "t_ms": 1.0} for request_id in request_ids]


def cells(events, name):
    """The row of a figure: sparkline, n, min, max, last, unit."""
    return next(line.split()[1:] for line in table(events).splitlines() if line.split()[0] == name)


def test_a_row_has_a_character_for_each_invocation_and_the_figures_beside_it():
    """One document an invocation; zero is the ground, so that half the height is half as much."""
    events = [*invokes("a"), *(log(emf({"Cpu": "Milliseconds"}, Cpu=value)) for value in (100, 50, 0, 25.5))]

    assert cells(events, "Cpu") == ["█▅▁▃", "4", "0", "100", "25.5", "ms"]


def test_values_of_a_late_document_go_where_their_invocation_was():
    """Reports come at the end, and in any order; they name their request, whatever the property is called."""
    events = [*invokes("a", "b", "c"), *(log(emf({"M": "Count"}, M=n, id=name)) for name, n in (("c", 3), ("a", 1)))]
    events.append(log(emf({"M": "Count"}, M=2, request="b")))

    assert cells(events, "M") == ["▃▆█", "3", "1", "3", "3"]


def test_a_document_of_several_invocations_is_told_apart():
    """An array has a value for each; sums have a mean, and nothing can be said of the last one."""
    sums = {"x.duration": {"sum": 3, "min": 1, "max": 2, "count": 2}}
    events = [*invokes("a", "b"), log(emf({"T": "Seconds"}, T=[0.5, 1.5], ids=["a", "b"], **sums))]

    assert cells(events, "T") == ["▃█", "2", "500", "1500", "1500", "ms"]
    assert cells(events, "x.duration") == ["█", "2", "1000", "2000", "-", "ms"]
    assert table(events).splitlines()[-1].startswith("  1 document(s) of several invocations")


def test_a_figure_that_is_a_metric_now_and_a_property_then_is_one_row():
    """With the metric's unit, and each value in its own."""
    events = [log(emf({}, T=1)), log(emf({"T": "Seconds"}, T=2)), log(emf({"T": "Milliseconds"}, T=500))]

    assert cells(events, "T") == ["▅█▃", "3", "500", "2000", "500", "ms"]


def test_metrics_come_first_and_properties_of_interest_in_turn():
    """What does not change comes after what does; what is of no interest is only counted."""
    values = {"Flat": 1, "Up": [1, 2], "b_cpu": 1, "a_cpu": 1, "fd_use": 9, "net_rx": 5, "cpu_limit": 2, "text": "x"}
    lines = table([log(emf({"Flat": "Count", "Up": "Count"}, **values))]).splitlines()

    assert [line.split()[0] for line in lines[1:-1]] == ["Up", "Flat", "a_cpu", "net_rx", "b_cpu"]
    assert lines[-1] == "  ... and 2 more in the record (--json FILE)"


def test_twelve_rows_at_most_and_a_word_on_the_others():
    """Thirty metrics: a hint instead of a wall."""
    names = [f"metric{number}" for number in range(30)]
    lines = table([log(emf(dict.fromkeys(names, "Count"), **dict.fromkeys(names, 1)))]).splitlines()

    assert len(lines) == 1 + 12 + 1
    assert "and 18 more" in lines[-1]


def test_two_extensions_with_the_same_figure_have_a_row_each():
    """Their names are beside the figures then; what the function writes is not an extension's."""
    line = emf({"M": "Count"}, M=1)
    drawn = table([log(line, "one"), log(line, "two"), log(line, "runtime", "function")])

    assert [row.split()[:2] for row in drawn.splitlines()[1:]] == [["one", "M"], ["two", "M"]]


MALFORMED = [
    "",
    "plain",
    '{"_aws"',
    '{"_aws": 1}',
    '["_aws"]',
    '{"_aws": {}}',
    '{"_aws": {"CloudWatchMetrics": 1}}',
    '{"_aws": {"CloudWatchMetrics": [1, {}, {"Metrics": 2}, {"Metrics": [1, {}, {"Name": 3}, {"Name": "gone"}]}]}}',
    '{"_aws": {"CloudWatchMetrics": [{"Metrics": [{"Name": "_aws"}]}]}}',
    '{"_aws": {}, "x": ' + "[" * 100_000,
    '{"_aws": {}, "cpu": ' + "9" * 5_000 + "}",
]


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_emf_is_no_row(text):
    """Nothing is drawn, and nothing raised."""
    assert table([log(text)]) == ""
    assert metrics(document(text) or {"_aws": {}}) == {}


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e109", "9" * 400, "true", "null", '"1"', "[]", "{}"]
)
def test_a_value_that_cloudwatch_refuses_is_left_out(value):
    """The others of the same metric are drawn."""
    text = json.dumps(emf({"M": "Count"}, M="HERE")).replace('"HERE"', value)
    among = json.dumps(emf({"M": "Count"}, M=[1, "HERE", 2])).replace('"HERE"', value)

    assert table([log(text)]) == ""
    assert cells([log(among)], "M") == ["▅█", "2", "1", "2", "2"]


@pytest.mark.parametrize(
    "value", [{"sum": 1, "min": 1, "max": 1, "count": 0}, {"sum": 1}, {"a": 1}, {"count": float("nan")}]
)
def test_half_a_distribution_is_none(value):
    """Without all four there is nothing to draw."""
    assert points(value) == []


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([5], "█"),
        ([0], "▁"),
        ([7, 7, 7], "███"),
        ([0, 0], "▁▁"),
        ([-1, 0, 1], "▁▅█"),
        ([-2, -1], "▁▅"),
        ([0.0] * 99_999 + [1.0], "▁" * 19 + "█"),
        ([-1e108, 1e108], "▁█"),
    ],
)
def test_sparklines(values, line):
    """Empty, one, all equal, negative, huge; of many the highest is seen."""
    assert sparkline(values) == line


@pytest.mark.parametrize(
    ("values", "unit", "shown"),
    [
        ([0.0123, 0.5], "s", (["12.3", "500"], "ms")),
        ([90.0], "s", (["90"], "s")),
        ([2.5e-5], "s", (["25.0"], "us")),
        ([0.0], "s", (["0"], "ms")),
        ([512.0, 2_621_440.0], "B", (["0.000488", "2.5"], "MiB")),
        ([3 * 1024.0**3], "B", (["3"], "GiB")),
        ([-2048.0], "B/s", (["-2"], "KiB/s")),
        ([12.34], "%", (["12.3"], "%")),
        ([1e12], "", (["1e+12"], "")),
        ([], "B", ([], "B")),
    ],
)
def test_figures_for_people(values, unit, shown):
    """One unit for a row: the one that suits its largest figure."""
    assert human(values, unit) == shown


@pytest.mark.parametrize(
    ("encoding", "characters"),
    [("utf-8", BLOCKS), ("ascii", ASCII), ("latin-1", ASCII), ("cp437", ASCII), ("no such", ASCII), (None, ASCII)],
)
def test_blocks_where_the_encoding_has_them(encoding, characters):
    """All eight, or none; ASCII is anywhere."""
    assert levels(encoding) == characters
    assert ASCII.isascii()
    assert len(ASCII) == len(BLOCKS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just("r"),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=40), inner, max_size=5),
    max_leaves=30,
)
NAMES = st.text(max_size=60) | st.sampled_from(
    ["x.cpu.time", "a.memory.usage", "net\x1b[2J", "cpu\u202e", "rx\n", "内存 mem"]
)


@given(st.dictionaries(NAMES, JSON, max_size=8), st.dictionaries(NAMES, st.text(max_size=20), max_size=8))
def test_whatever_is_written_is_drawn_within_the_table(values, units):
    """100 columns, no control character, nothing but ASCII where that is asked for."""
    line = log({**emf(units), **{name: value for name, value in values.items() if name != "_aws"}})
    numbers = log({**{name: [-(2.0**360), 2.0**360] for name in units}, **emf(units)})
    drawn = table([*invokes("r"), line, numbers], ASCII)

    assert all(len(row) <= 100 for row in drawn.split("\n"))
    assert drawn.replace("\n", "").isprintable()
    assert drawn.isascii()
