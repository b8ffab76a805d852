"""Cutting a batch into events: exact, total, and nothing but bytes."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from extension_kit.protocol import telemetry

EXAMPLES = int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "300"))
TIME = "2026-11-23T08:00:00.700Z"
TEXT = st.sampled_from(['},{"time":"', "[", "]", "{", "}", "}]", '"', "\\", "a", "é", "\n"]) | st.text(max_size=4)
JSON = st.recursive(
    TEXT | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT, inner, max_size=3)
        | st.builds(lambda a, b: [{"x": a}, {"time": b, "type": "function", "record": a}], inner, inner)
    ),
    max_leaves=8,
)
EVENT = st.builds(lambda kind, record: {"time": TIME, "type": kind, "record": record}, TEXT | st.just("function"), JSON)
ODD = st.dictionaries(TEXT, JSON, max_size=3) | JSON
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


@settings(max_examples=EXAMPLES)
@given(st.lists(EVENT, max_size=6), st.booleans())
def test_platform_batches_are_cut_exactly(events, ascii_only):
    """Whatever the records hold, brackets and look-alikes in strings and nested arrays included."""
    body = json.dumps(events, separators=(",", ":"), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")

    batch = telemetry.split(body)

    assert [json.loads(piece) for piece in batch.pieces] == events
    assert (batch.rest, batch.whole) == (b"", True)
    assert [telemetry.type_of(piece).decode() for piece in batch.pieces if b"\\" not in piece] == [
        event["type"] for event, piece in zip(events, batch.pieces, strict=True) if b"\\" not in piece
    ]


@settings(max_examples=EXAMPLES)
@given(st.lists(EVENT | ODD, max_size=6), SEPARATORS, st.sampled_from(["", " ", "\r\n"]))
def test_any_json_array_is_cut_into_its_elements(values, separators, white):
    """Written in any way. (Elements of another form in a batch that is otherwise Lambda's own are nobody's concern.)"""
    usual = all(isinstance(value, dict) and next(iter(value), "") == "time" for value in values)
    assume(usual or separators != (",", ":") or not str(values).startswith("[{'time': '"))
    body = (white + json.dumps(values, separators=separators) + white).encode()

    batch = telemetry.split(body)

    assert [json.loads(piece) for piece in batch.pieces] == values
    assert (batch.rest, batch.whole) == (b"", True)


def _ends(events):
    """Where each event ends in the body."""
    return [len(json.dumps(events[: count + 1], separators=(",", ":"))) - 1 for count in range(len(events))]


@settings(max_examples=EXAMPLES)
@given(st.lists(EVENT, min_size=1, max_size=5), st.data())
def test_a_truncated_batch_costs_its_last_event_only(events, data):
    """All whole events before the cut are kept, the rest is handed back."""
    body = json.dumps(events, separators=(",", ":")).encode()
    at = data.draw(st.integers(0, len(body) - 1))

    batch = telemetry.split(body[:at])

    assert [json.loads(piece) for piece in batch.pieces] == events[: len(batch.pieces)]
    assert len(batch.pieces) >= len([True for event in _ends(events) if event <= at])
    assert not batch.whole


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=80) | st.text('[]{}:,"\\te1 ', max_size=40).map(str.encode))
def test_any_bytes_can_be_cut(body):
    """Never an error; what is no JSON is the rest."""
    batch = telemetry.split(body)

    assert all(piece in body for piece in batch.pieces)
    assert batch.rest in body


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        (b'{"time":"2026-11-23T08:00:00.700Z","type":"function","record":1}', b"function"),
        (b'{"type":"platform.start","record":{}}', b"platform.start"),
        (b'{"time":"2026-11-23T08:00:00Z","type":"platform.end"}', b"platform.end"),
        (b'{"type":7}', b""),
        (b"[1]", b""),
        (b"nonsense", b""),
    ],
)
def test_types_are_found_wherever_they_stand(piece, kind):
    """Cheaply in an envelope of the usual form, by parsing elsewhere."""
    assert telemetry.type_of(piece) == kind


@pytest.mark.parametrize(
    ("body", "pieces", "rest"),
    [
        (b"", [], b""),
        (b"{}", [], b"{}"),
        (b"[]", [], b""),
        (b"[1 2]", [b"1"], b" 2]"),
        (b"[1]x", [b"1"], b"x"),
        (b"[1,]", [b"1"], b"]"),
        (b"[", [], b""),
    ],
)
def test_what_is_left_over(body, pieces, rest):
    """Exactly what could not be read."""
    batch = telemetry.split(body)

    assert (batch.pieces, batch.rest, batch.whole) == (pieces, rest, body == b"[]")
