"""Amazon Ion's binary form, as much of it as AppConfig sends feature flags in. No I/O.

Source: the Ion specification, "Binary encoding" and "Symbols". AppConfig names its operators and operands by their numbers in
two shared tables, ``ops`` and ``anns``, that AWS has not published. What is known of them comes from answers of the service
that others have published beside their meaning (github.com/radkawar/stackd, testdata/aws/appconfig; github.com/floci-io/floci,
FeatureFlagIonEncoderTest); ``or`` is the one logical operator left for its number, between ``and`` and ``not``. A symbol whose
text is not known reads ``ops/5``, and a rule that has it is refused rather than guessed.
"""

from __future__ import annotations

from extension_kit.protocol.timestamps import parse_ms
from extensions.secret_cache.ion import DEEPEST, Expression, IonError, Moment, Named, Symbol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["MARKER", "read_named"]

MARKER = b"\xe0\x01\x00\xea"
_SYSTEM = ("$ion", "$ion_1_0", "$ion_symbol_table", "name", "version", "imports", "symbols", "max_id",
           "$ion_shared_symbol_table")  # fmt: skip
_SHARED = {
    "ops": {1: "and", 2: "or", 3: "not", 4: "eq", 13: "in", 14: "split", 15: "exists"},
    "anns": {6: "by", 7: "pct", 8: "seed", 11: "key"},
}
_MOST_SYMBOLS = 100_000
_LONGEST_NUMBER = 16  # bytes
_NULL, _BOOL, _TEXT, _LIST, _EXPRESSION, _STRUCT, _NAMED = 0, 1, 8, 11, 12, 13, 14


def read_named(data: bytes, wanted: tuple[str, ...] = ()) -> dict[str, Any]:
    """Values with a name at the top of a document, only those `wanted` (none: all). IonError where it cannot be read."""
    try:
        return _Reader(data).named(wanted)
    except (IndexError, UnicodeDecodeError):
        raise IonError("the data ends too early or is damaged") from None


class _Reader:
    """Positions are indices into the data; each value knows where it ends, so that what is not wanted is passed over."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._symbols = ["", *_SYSTEM]

    def named(self, wanted: tuple[str, ...]) -> dict[str, Any]:
        data, at = self._data, 0
        if not data.startswith(MARKER):
            raise IonError("this is not binary Ion")
        found: dict[str, Any] = {}
        while at < len(data):
            if data.startswith(MARKER, at):
                self._symbols = ["", *_SYSTEM]
                at += len(MARKER)
                continue
            kind, _low, start, end = self._head(at, len(data))
            if kind == _NAMED:
                name, inner = self._name(start, end)
                if name == "$ion_symbol_table":
                    self._symbol_table(inner, end)
                elif not wanted or name in wanted:
                    found[name] = self._filling(inner, end, 0)
            elif kind != _NULL:
                raise IonError("a value without a name")
            at = end
        return found

    # heads

    def _head(self, at: int, limit: int) -> tuple[int, int, int, int]:
        """Kind, low half of the first byte, where the content starts and where it ends."""
        first = self._data[at]
        kind, low = first >> 4, first & 15
        start = at + 1
        if kind == _BOOL or low == 15:
            return kind, low, start, start
        length = low
        if low == 14 or (kind == _STRUCT and low == 1):
            length, start = self._var_uint(start)
        if start + length > limit:
            raise IonError("a value is longer than what holds it")
        return kind, low, start, start + length

    def _var_uint(self, at: int) -> tuple[int, int]:
        value = 0
        for _ in range(5):
            byte = self._data[at]
            at += 1
            value = value << 7 | byte & 0x7F
            if byte & 0x80:
                return value, at
        raise IonError("a length is too large")

    def _var_int(self, at: int) -> tuple[int, int]:
        first = self._data[at]
        value, at = first & 0x3F, at + 1
        if not first & 0x80:
            rest_at = at
            rest, at = self._var_uint(at)
            value = value << 7 * (at - rest_at) | rest
        return -value if first & 0x40 else value, at

    def _name(self, start: int, end: int) -> tuple[str, int]:
        """The first name of a value, and where the value begins."""
        length, at = self._var_uint(start)
        number, _ = self._var_uint(at)
        if not 0 < length < end - at:
            raise IonError("a name without a value")
        return self._symbol(number), at + length

    # values

    def _value(self, at: int, limit: int, depth: int) -> Any:
        kind, low, start, end = self._head(at, limit)
        if depth > DEEPEST:
            raise IonError("nested too deeply")
        if low == 15 or kind == _NULL:
            raise IonError("null has no meaning here")
        if kind == _BOOL:
            if low > 1:
                raise IonError("neither true nor false")
            return bool(low)
        if kind in (_LIST, _EXPRESSION):
            items = [self._value(one, end, depth + 1) for one in self._items(start, end)]
            return items if kind == _LIST else Expression(items)
        if kind == _NAMED:
            name, inner = self._name(start, end)
            return Named(name, self._filling(inner, end, depth + 1))
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise IonError("a kind of value that has no meaning here")
        return scalar(self, start, end)

    def _filling(self, at: int, end: int, depth: int) -> Any:
        """A value that ends where what holds it does."""
        if self._head(at, end)[3] != end:
            raise IonError("a value is shorter than what holds it")
        return self._value(at, end, depth)

    def _items(self, start: int, end: int) -> Iterator[int]:
        """Where the values of a sequence begin; padding is passed over."""
        while start < end:
            kind, low, _, after = self._head(start, end)
            if kind != _NULL or low == 15:
                yield start
            start = after

    def _integer(self, start: int, end: int) -> int:
        if end - start > _LONGEST_NUMBER:
            raise IonError("a number is too large")
        return int.from_bytes(self._data[start:end], "big")

    def _signed(self, start: int, end: int) -> int:
        """An integer whose first bit is its sign."""
        value = self._integer(start, end)
        sign = 1 << (8 * (end - start) - 1) if end > start else 0
        return -(value - sign) if value & sign else value

    def _negative(self, start: int, end: int) -> int:
        return -self._integer(start, end)

    def _float(self, start: int, end: int) -> float:
        from struct import unpack

        if end - start not in (0, 4, 8):
            raise IonError("a number of a strange size")
        data = self._data[start:end]
        value: float = unpack(">f" if len(data) == 4 else ">d", data)[0] if data else 0.0
        if not abs(value) < float("inf"):
            raise IonError("a number without an end")
        return value

    def _decimal(self, start: int, end: int) -> int | float:
        if start == end:
            return 0
        exponent, at = self._var_int(start)
        return _scaled(self._signed(at, end), exponent)

    def _moment(self, start: int, end: int) -> Moment:
        _offset, at = self._var_int(start)  # what follows is in UTC
        parts: list[int] = []
        while at < end and len(parts) < 6:
            part, at = self._var_uint(at)
            parts.append(part)
        if not parts:
            raise IonError("a date without a year")
        fraction = 0.0
        if at < end:
            exponent, at = self._var_int(at)
            fraction = _scaled(self._signed(at, end), exponent)
        year, month, day, hour, minute, second = (*parts, *(1, 1, 1, 0, 0, 0)[len(parts) :])
        ms = parse_ms(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        if ms is None or not 0 <= fraction < 1:
            raise IonError("a date that is none")
        return Moment(ms + int(fraction * 1000))

    def _text(self, start: int, end: int) -> str:
        return self._data[start:end].decode()

    def _symbol_value(self, start: int, end: int) -> Symbol:
        return Symbol(self._symbol(self._integer(start, end)))

    # symbols

    def _symbol(self, number: int) -> str:
        if not 0 < number < len(self._symbols):
            raise IonError("a symbol that no table has")
        return self._symbols[number]

    def _symbol_table(self, at: int, limit: int) -> None:
        kind, low, start, end = self._head(at, limit)
        if kind != _STRUCT or low == 15:
            raise IonError("a table of symbols is none")
        imported: list[str] = []
        own: list[str] = []
        for name, value in self._fields(start, end):
            kind, _low, first, last = self._head(value, end)
            if name == "imports" and kind == _LIST:
                for one in self._items(first, last):
                    imported += self._import(one, last)
                    _check(imported)
            elif name == "imports":  # the table before this one goes on
                imported = self._symbols[1 + len(_SYSTEM) :]
            elif name == "symbols":
                own = [self._own(one, last) for one in self._items(first, last)]
        self._symbols = ["", *_SYSTEM, *imported, *own]
        _check(self._symbols)

    def _fields(self, start: int, end: int) -> Iterator[tuple[str, int]]:
        while start < end:
            number, at = self._var_uint(start)
            yield self._symbol(number), at
            start = self._head(at, end)[3]

    def _own(self, at: int, limit: int) -> str:
        kind, _low, start, end = self._head(at, limit)
        return self._text(start, end) if kind == _TEXT else ""

    def _import(self, at: int, limit: int) -> list[str]:
        """A shared table's symbols, as far as they are known."""
        _kind, _low, start, end = self._head(at, limit)
        fields = {name: self._value(value, end, 0) for name, value in self._fields(start, end)}
        table, most = fields.get("name"), fields.get("max_id")
        if not isinstance(table, str) or not isinstance(most, int) or not 0 <= most < _MOST_SYMBOLS:
            raise IonError("an import without a name or a size")
        known = _SHARED.get(table, {})
        return [known.get(number, f"{table}/{number}") for number in range(1, most + 1)]


_SCALARS: dict[int, Callable[[_Reader, int, int], Any]] = {
    2: _Reader._integer, 3: _Reader._negative, 4: _Reader._float, 5: _Reader._decimal, 6: _Reader._moment,
    7: _Reader._symbol_value, _TEXT: _Reader._text,
}  # fmt: skip


def _check(symbols: list[str]) -> None:
    if len(symbols) > _MOST_SYMBOLS:
        raise IonError("too many symbols")


def _scaled(coefficient: int, exponent: int) -> int | float:
    value = float(f"{coefficient}e{exponent}") if abs(exponent) < 400 else float("inf")
    if abs(value) == float("inf"):
        raise IonError("a number is too large")
    return value
