"""Shapes keep what two sources must agree on, names and types, and drop the values."""

from __future__ import annotations

import pytest

from tests.telemetry_shapes import shape, shapes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["text"], "string"),
        ([None], "null"),
        ([True], "boolean"),
        ([1, 1.5], "number"),  # JSON knows one kind of number, and 2.0 ms may be written 2
        ([{"a": 1, "b": {"c": "x"}}], {"a": "number", "b": {"c": "string"}}),
        ([{"a": 1}, {"a": 2, "b": 3}], {"a": "number", "b?": "number"}),
        ([[]], []),
        ([[], [{"a": 1}, {}]], [{"a?": "number"}]),
        ([["x", 1]], [("number", "string")]),
        (["line", {"level": "INFO"}], ({"level": "string"}, "string")),
        ([[1], {"a": 1}, None], ({"a": "number"}, ["number"], "null")),
    ],
)
def test_a_shape_is_made_of_names_and_types(values, expected):
    """Whatever the order of the values."""
    assert shape(*values) == expected
    assert shape(*reversed(values)) == expected


def test_records_of_a_type_share_a_shape():
    """A field that only one of them has is optional."""
    events = [
        {"time": "t", "type": "platform.report", "record": {"status": "success", "spans": [{"name": "n"}]}},
        {"time": "t", "type": "function", "record": "line"},
        {"time": "t", "type": "platform.report", "record": {"status": "timeout"}},
    ]

    assert shapes(events) == {
        "function": "string",
        "platform.report": {"status": "string", "spans?": [{"name": "string"}]},
    }
