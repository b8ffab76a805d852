"""Amazon Ion, as much of it as AppConfig's feature flags are written in: what its values become, and its text form. No I/O.

Source: the Ion specification (amazon-ion.github.io/ion-docs), and for the rules AWS docs, AppConfig user guide, "Defining rules
for multi-variant feature flags": a rule is an expression of Ion, ``(split pct::20 by::$userId)``. The binary form is read by
``ion_binary``. Structures, blobs and nulls have no place in either and are refused.

Beyond Ion a comma counts as a blank everywhere, and a month may stand without its ``T`` (``2024-01``), as in AWS's examples.
"""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError
from extension_kit.protocol.timestamps import parse_ms
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DEEPEST", "Expression", "IonError", "Moment", "Named", "Symbol", "moment", "number", "read_all", "read_one"]

DEEPEST = 40
_BLANK = " \t\r\n\f\v,"
_ENDS = _BLANK + "()[]{}\"'"
_ESCAPES = {
    "a": "\a", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "v": "\v", "0": "\0", "\n": "",
    '"': '"', "'": "'", "?": "?", "/": "/", "\\": "\\",
}  # fmt: skip
_HEX = {"x": 2, "u": 4, "U": 8}


class IonError(ExtensionKitError):
    """Not Ion, or more of it than feature flags need; the text never holds what was read."""


class Symbol(str):
    """A word that is no text: an operator, or ``$key``."""

    __slots__ = ()


class Expression(tuple):  # type: ignore[type-arg]
    """What stands in parentheses."""

    __slots__ = ()


class Moment(int):
    """Epoch ms that were written as a date."""

    __slots__ = ()


class Named(Value):
    """``name::value``."""

    __slots__ = ("name", "value")

    name: str
    value: Any

    def __init__(self, name: str, value: Any) -> None:
        set_field(self, "name", name)
        set_field(self, "value", value)


def read_one(text: str) -> Any:
    """The one value of a text; IonError where there are none, more or something else."""
    values = read_all(text)
    if len(values) != 1:
        raise IonError(f"one value is expected, not {len(values)}")
    return values[0]


def read_all(text: str) -> list[Any]:
    """All values of a text in order: str, int, float, bool, list and the classes above. IonError where it cannot be read."""
    reader = _Reader(text)
    values = []
    while reader.more():
        values.append(reader.value(0))
    return values


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def more(self) -> bool:
        """Whether something follows after blanks and comments."""
        text = self._text
        while self._at < len(text):
            if text[self._at] in _BLANK:
                self._at += 1
            elif text.startswith("//", self._at):
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif text.startswith("/*", self._at):
                self._at = self._find("*/", self._at + 2) + 2
            else:
                return True
        return False

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise IonError("nested too deeply")
        if not self.more():
            raise IonError("it ends too early")
        first = self._text[self._at]
        if first in "([":
            return self._sequence(")" if first == "(" else "]", depth)
        if first == '"':
            return self._quoted('"')
        if self._text.startswith("'''", self._at):
            return self._long_text()
        if first == "'":
            return self._symbol(Symbol(self._quoted("'")), depth)
        if first in ")]{}":
            raise IonError("a parenthesis too many" if first in ")]" else "braces have no meaning here")
        return self._word(depth)

    def _sequence(self, close: str, depth: int) -> Any:
        self._at += 1
        items: list[Any] = []
        while self.more():
            if self._text[self._at] == close:
                self._at += 1
                return Expression(items) if close == ")" else items
            items.append(self.value(depth + 1))
        raise IonError("a parenthesis too few")

    def _symbol(self, symbol: Symbol, depth: int) -> Any:
        """A symbol, or a value that it names."""
        before = self._at
        if self.more() and self._text.startswith("::", self._at):
            self._at += 2
            return Named(str(symbol), self.value(depth + 1))
        self._at = before
        return symbol

    def _word(self, depth: int) -> Any:
        text, start, at = self._text, self._at, self._at
        while at < len(text) and text[at] not in _ENDS and not text.startswith("::", at):
            at += 1
        if at == start:
            raise IonError(":: without a name")
        word = text[start:at]
        self._at = at
        if word in ("true", "false"):
            return word == "true"
        if word[0].isdigit() or (word[0] in "+-." and word[1:2].isdigit()):
            return _literal(word)
        return self._symbol(Symbol(word), depth)

    def _find(self, end: str, start: int) -> int:
        found = self._text.find(end, start)
        if found < 0:
            raise IonError("a text or a comment does not end")
        return found

    def _quoted(self, quote: str) -> str:
        start = self._at + len(quote)
        at = self._find(quote, start)
        # Walk over what is escaped, so that an escaped quote is no end.
        escape = self._text.find("\\", start, at)
        while escape >= 0:
            if escape + 2 > at:
                at = self._find(quote, escape + 2)
            escape = self._text.find("\\", escape + 2, at)
        self._at = at + len(quote)
        return _unescaped(self._text[start:at])

    def _long_text(self) -> str:
        """Texts in three quotes that follow each other are one."""
        pieces = []
        while self.more() and self._text.startswith("'''", self._at):
            pieces.append(self._quoted("'''"))
        return "".join(pieces)


def _unescaped(raw: str) -> str:
    if "\\" not in raw:
        return raw
    pieces = []
    at = 0
    while (escape := raw.find("\\", at)) >= 0:
        kind = raw[escape + 1 : escape + 2]
        end = escape + 2 + _HEX.get(kind, 0)
        pieces.append(raw[at:escape])
        pieces.append(_ESCAPES[kind] if kind in _ESCAPES else _of_digits(kind, raw[escape + 2 : end]))
        at = end
    text = "".join(pieces) + raw[at:]
    try:  # two halves of a pair become one character
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise IonError("half of a character in a text") from None


def _of_digits(kind: str, digits: str) -> str:
    if len(digits) != _HEX.get(kind) or digits.strip("0123456789abcdefABCDEF") or int(digits, 16) > 0x10FFFF:
        raise IonError("an escape in a text cannot be read")
    return chr(int(digits, 16))


def _literal(word: str) -> Any:
    found = number(word)
    if found is not None:
        return found
    ms = moment(word)
    if ms is None:
        raise IonError("a number or a date cannot be read")
    return Moment(ms)


def number(word: str) -> int | float | None:
    """A decimal number, ``1.5``, ``-7`` or ``3d2``, that is not infinite; None for anything else."""
    if not word or len(word) > 400 or word.strip("0123456789+-.eEdD"):
        return None
    digits = word[1:] if word[0] in "+-" else word
    try:
        found = int(word) if digits.isdigit() else float(word.replace("d", "e").replace("D", "e"))
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def moment(word: str) -> int | None:
    """Epoch ms of ``2024``, ``2024-01``, ``2024-01-02`` (a ``T`` may follow) or a time of that day, with seconds or not.

    Without a zone it is UTC. None for anything else.
    """
    date, _, clock = word.partition("T")
    date += {4: "-01-01", 7: "-01"}.get(len(date), "")
    if not clock:
        clock = "00:00:00"
    elif clock[5:6] in ("", "Z", "+", "-"):
        clock = f"{clock[:5]}:00{clock[5:]}"
    return parse_ms(f"{date}T{clock}")
