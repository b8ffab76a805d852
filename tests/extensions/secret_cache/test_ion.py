"""Ion: what texts and bytes become, against a writer of our own that follows the specification; damage is refused."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extensions.secret_cache.ion import Expression, IonError, Moment, Named, Symbol, read_all, read_one
from extensions.secret_cache.ion_binary import MARKER, read_named

Written = Named
SHARED = {
    "and": ("ops", 1), "or": ("ops", 2), "not": ("ops", 3), "eq": ("ops", 4), "in": ("ops", 13), "split": ("ops", 14),
    "exists": ("ops", 15), "by": ("anns", 6), "pct": ("anns", 7), "seed": ("anns", 8), "key": ("anns", 11),
}  # fmt: skip


def in_text(value, write=False):
    """The value of a text; with ``write`` the text of a value."""
    if not write:
        return read_one(value)
    if isinstance(value, Named):
        return f"'{value.name}'::{in_text(value.value, True)}"
    if isinstance(value, (Expression, list)):
        inside = " ".join(in_text(one, True) for one in value)
        return f"({inside})" if isinstance(value, Expression) else f"[{inside}]"
    return str(value) if isinstance(value, Symbol) else json.dumps(value)


# a writer of binary Ion


def var_uint(value):
    groups = [value & 0x7F | 0x80]
    while value := value >> 7:
        groups.append(value & 0x7F)
    return bytes(reversed(groups))


def typed(kind, content):
    if len(content) < 14:
        return bytes([kind << 4 | len(content)]) + content
    return bytes([kind << 4 | 14]) + var_uint(len(content)) + content


def magnitude(value):
    return abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "big")


def named(number, content):
    name = var_uint(number)
    return typed(14, var_uint(len(name)) + name + content)


class Writer:
    def __init__(self, numbers):
        self.numbers = numbers
        self.own = {}

    def number(self, text):
        if text in self.numbers:
            table, index = self.numbers[text]
            return index + {"ops": 9, "anns": 32}[table]
        return self.own.setdefault(text, 45 + len(self.own))

    def value(self, value):
        if isinstance(value, Named):
            return named(self.number(value.name), self.value(value.value))
        if isinstance(value, (list, Expression)):
            return typed(11 if isinstance(value, list) else 12, b"".join(self.value(one) for one in value))
        if isinstance(value, bool):
            return bytes([0x10 | value])
        if isinstance(value, int):
            return typed(3 if value < 0 else 2, magnitude(value))
        if isinstance(value, float):
            return typed(4, struct.pack(">d", value))
        if isinstance(value, Symbol):
            return typed(7, magnitude(self.number(value)))
        return typed(8, value.encode())

    def table(self):
        imports = b"".join(
            typed(13, b"\x84" + typed(8, name) + b"\x85\x21\x01\x88" + typed(2, bytes([most])))
            for name, most in ((b"ops", 23), (b"anns", 12))
        )
        fields = (
            b"\x86" + typed(11, imports) + b"\x87" + typed(11, b"".join(typed(8, one.encode()) for one in self.own))
        )
        return named(3, typed(13, fields))


def binary(values, numbers=None):
    """A document in the layout of AppConfig's answers."""
    writer = Writer({**SHARED, **(numbers or {})})
    content = b"".join(writer.value(Named(name, value)) for name, value in values.items())
    return MARKER + writer.table() + content


def expressions():
    leaves = (
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e9, 1e9) | st.text(max_size=5)
        | st.sampled_from(["$a", "$b", "$c"]).map(Symbol)
    )  # fmt: skip
    operators = st.sampled_from(
        ["and", "or", "not", "eq", "in", "split", "exists", "gt", "contains", "matches", "odd"]
    ).map(Symbol)
    names = st.sampled_from(["by", "pct", "seed", "key", "in", "pattern", "odd"])

    def wider(inner):
        nested = st.lists(inner | st.builds(Named, names, inner), max_size=3)
        return st.tuples(operators, nested).map(lambda parts: Expression([parts[0], *parts[1]])) | st.lists(
            inner, max_size=3
        )

    return st.recursive(leaves, wider, max_leaves=8).filter(lambda value: isinstance(value, Expression))


@given(expressions())
@settings(deadline=None)
def test_what_is_written_is_read(expression):
    assert read_named(binary({"f": expression}))["f"] == expression
    assert read_one(in_text(expression, write=True)) == expression


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a"', "a"), (r'"\"\\\/\b\f\n\r\t\x41é\U0001F600\'\?\a\v\0"', "\"\\/\b\f\n\r\tAé\U0001f600'?\a\v\0"),
        (r'"😀"', "\U0001f600"), ('"a\\\nb"', "ab"), ("'''a''' '''b'c'''", "ab'c"), (r"'''a\''''", "a'"),
        ("-7", -7), ("42", 42), ("3.14", 3.14), ("1.234e-5", 1.234e-5), ("1d3", 1000.0), ("true", True), ("false", False),
        ("2012-03-04T05:06:07-08:00", Moment(1330866367000)), ("2024-01", Moment(1704067200000)),
        ("2024T", Moment(1704067200000)), ("2024-01-01T00:00Z", Moment(1704067200000)),
        ("2024-01-01T00:00:00.5Z", Moment(1704067200500)),
        ("$userId", Symbol("$userId")), ("'two words'", Symbol("two words")), ("a::1", Named("a", 1)),
        ("a :: 'b'::1", Named("a", Named("b", 1))), ("[1, 2 /* two */ 3 // three\n]", [1, 2, 3]), ("[1,]", [1]),
        ("(eq $a [])", Expression([Symbol("eq"), Symbol("$a"), []])), ("+", Symbol("+")),
    ],
)  # fmt: skip
def test_texts(text, value):
    found = read_one(f" {text}\n")

    assert found == value
    assert type(found) is type(value)


def test_a_text_of_several_values():
    assert read_all("1 a::2,\n// nothing else") == [1, Named("a", 2)]
    assert read_all(" /* nothing */ ") == []


@pytest.mark.parametrize(
    "text",
    [
        "", "(", "]", "{a:1}", "}", '"', "'", "'''a''", "/*", r'"\q"', r'"\u12"', r'"\uD83D"', r'"\UFFFFFFFF"', "1x",
        "1::2", "::1", "1e999", "2024-13", "2024-01-01T25", "1 2", "a::", "0x1F", "12345678-01", "9" * 500,
    ],
)  # fmt: skip
def test_texts_that_are_refused(text):
    with pytest.raises(IonError):
        read_one(text)


def flag(content):
    """A document with one value, of these bytes, by the name of symbol 4 (``name``)."""
    return MARKER + named(4, content)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"\x20", 0), (b"\x21\x05", 5), (b"\x31\x05", -5), (b"\x40", 0.0), (b"\x44\x3f\x80\x00\x00", 1.0), (b"\x50", 0),
        (b"\x52\xc1\x05", 0.5), (b"\x52\xc1\x85", -0.5), (b"\x51\xc1", 0.0), (b"\x53\x83\x01\x00", 256000.0), (b"\x11", True),
        (b"\xb0", []), (b"\xb3\x01\xff\x10", [False]), (b"\xc0", Expression()), (b"\x8e\x81a", "a"),
        (b"\x63\xc0\x0f\xe8", Moment(1704067200000)), (b"\x68\xc0\x0f\xe8\x81\x81\x80\x80\x80", Moment(1704067200000)),
        (b"\x6a\xc0\x0f\xe8\x81\x81\x80\x80\x80\xc1\x05", Moment(1704067200500)), (b"\x71\x04", Symbol("name")),
    ],
)  # fmt: skip
def test_bytes(content, value):
    found = read_named(flag(content))["name"]

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x0f", b"\x12", b"\x21", b"\x2f", b"\x8f", b"\x81\xff", b"\x43abc", b"\x90", b"\xa0", b"\xd0",
        b"\x48\x7f\xf0\x00\x00\x00\x00\x00\x00", b"\xd1", b"\xbf", b"\xb1\x85", b"\xb5\x20", b"\x71\x63", b"\x70", b"\x61\xc0",
        b"\x63\xc0\x0f\xe8\x8d", b"\x64\xc0\x0f\xe8\x8d", b"\x8e\x01\x01\x01\x01\x01\x81", b"\xf0", b"\x53\x07\xff\x01",
        b"\x2e\x91" + b"\x01" * 17, b"\xe3\x81\x84\x0f", b"\xe1\x81",
    ],
)  # fmt: skip
def test_bytes_that_are_refused(content):
    with pytest.raises(IonError):
        read_named(flag(content))


def test_tables_of_symbols():
    """A table goes on from the one before if it says so; a marker begins anew; symbols of a strange table have no text."""
    more = named(3, typed(13, b"\x86\x71\x03\x87" + typed(11, typed(8, b"next"))))
    first = binary({"a": 1})
    assert read_named(first + more + named(46, b"\x11")) == {"a": 1, "next": True}
    with pytest.raises(IonError, match="no table"):
        read_named(first + MARKER + named(45, b"\x11"))
    strange = typed(13, b"\x84" + typed(8, b"other") + b"\x85\x21\x01\x88\x21\x02")
    assert read_named(MARKER + named(3, typed(13, b"\x86" + typed(11, strange))) + named(10, b"\x71\x0b")) == {
        "other/1": "other/2"
    }


@pytest.mark.parametrize(
    "fields", [b"\x88\x21\x02", b"\x84\x81x", b"\x84\x81x\x88\x31\x02", b"\x84\x81x\x88" + typed(2, b"\xff" * 8)]
)
def test_imports_that_are_refused(fields):
    with pytest.raises(IonError, match="import"):
        read_named(MARKER + named(3, typed(13, b"\x86" + typed(11, typed(13, fields)))))


def test_tables_cannot_fill_the_memory():
    one = typed(13, b"\x84\x81x\x88" + typed(2, (99_999).to_bytes(3, "big")))
    with pytest.raises(IonError, match="too many symbols"):
        read_named(MARKER + named(3, typed(13, b"\x86" + typed(11, one * 1000))))


def test_only_what_is_wanted_is_read():
    damaged = MARKER + named(4, b"\x0f") + named(5, b"\x11")

    assert read_named(damaged, ("version",)) == {"version": True}
    with pytest.raises(IonError):
        read_named(damaged)


def test_nesting_is_bounded():
    content = b"\xb0"
    for _ in range(50):
        content = typed(11, content)
    with pytest.raises(IonError, match="too deeply"):
        read_named(flag(content))


@given(expressions(), st.data())
@settings(deadline=None)
def test_damage_is_refused_or_read_as_something_else(expression, data):
    whole = bytearray(binary({"f": expression}))
    at = data.draw(st.integers(4, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(read_named(bytes(whole)), dict)
    except IonError:
        pass
