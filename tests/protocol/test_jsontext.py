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
        ({}, b"{}"), ([], b"[]"),
    ],
)  # fmt: skip
def test_how_it_is_written(value, written):
    assert jsontext.dumps(value) == written


def test_strings_may_be_written_another_way():
    assert jsontext.dumps({"a": ["b"]}, lambda text: f"<{text}>") == b"{<a>:[<b>]}"


def test_without_the_encoder_in_c_json_serves(monkeypatch):
    monkeypatch.setitem(sys.modules, "_json", None)

    assert jsontext.in_json('é"') == '"é\\""'
