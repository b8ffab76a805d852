"""JSON without the package ``json``, compared with it."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.protocol import jsontext

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_reads_the_same(value):
    assert json.loads(jsontext.dumps(value)) == value
    assert jsontext.loads(jsontext.dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1, 2.5, None, True, False], "b": ("x",)}, b'{"a":[1,2.5,null,true,false],"b":["x"]}'),
        ('"\\\n\x00é\u2028', '"\\"\\\\\\n\\u0000é\u2028"'.encode()),
        ("half \ud800 of a pair", '"half \ufffd of a pair"'.encode()),
        ({}, b"{}"), ([], b"[]"), ([{}, [[]], {"a": {"b": 1}, "c": []}, 2], b'[{},[[]],{"a":{"b":1},"c":[]},2]'),
        (17, b"17"), (1e400, b'"Infinity"'), ({"a": [-1e400, 1.5]}, b'{"a":["-Infinity",1.5]}'),
        (float("nan"), b'"NaN"'),
    ],
)  # fmt: skip
def test_how_it_is_written(value, written):
    assert jsontext.dumps(value) == written


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "1e999", '"\\udc00\\ud800"', '{"\\ud800":1}'])
def test_whatever_was_read_can_be_written(text):
    """As JSON that a strict reader takes, in UTF-8; a second time it is the same."""
    written = jsontext.dumps(jsontext.loads(text.encode()))
    assert jsontext.dumps(json.loads(written, parse_constant=pytest.fail)) == written


@pytest.mark.parametrize(("opening", "close"), [("[", "]"), ('{"a":', "}")])
def test_no_depth_is_too_deep(opening, close):
    """Deeper than Python's own stack reaches."""
    deep: object = 1
    for _ in range(5_000):
        deep = [deep] if opening == "[" else {"a": deep}
    assert jsontext.dumps(deep).decode() == opening * 5_000 + "1" + close * 5_000
    assert jsontext.dumps(jsontext.loads((opening * 600 + "1" + close * 600).encode()))


def test_strings_may_be_written_another_way():
    assert jsontext.dumps({"a": ["b"]}, lambda text: f"<{text}>") == b"{<a>:[<b>]}"


def test_without_the_encoder_in_c_json_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "_json", None)

    assert jsontext.in_json('é"') == '"é\\""'
