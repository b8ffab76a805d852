"""Reading a document field by field: what is wrong becomes a line, and reading goes on, so that all mistakes are told at once.

A line names the field, its value, what is allowed and so the fix. Nothing here knows what the fields are for.
"""

from __future__ import annotations

from extension_kit.declarations import clean
from extensions.chaos_injector.plan import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["MUST", "NAME_CHARACTERS", "Mistakes", "Table", "shown"]

_MOST_LINES = 50
_LONGEST_LINE = 500
NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
#: instead of a default: the field must be there
MUST: Any = object()


class Mistakes:
    """Lines, as many as anybody reads."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.left_out = 0

    def add(self, line: str) -> None:
        if len(self.lines) < _MOST_LINES:
            self.lines.append(clean_line(line))
        else:
            self.left_out += 1

    def wrong(self, field: str, value: object, use: str) -> None:
        self.add(f"{field} = {shown(value)} is not allowed: use {use}")

    def raise_if_any(self) -> None:
        """Refused, if there is anything to say."""
        if self.lines:
            more = [f"{self.left_out} more mistakes are not told: correct these first"] if self.left_out else []
            raise Refused((*self.lines, *more))


class Table:
    """An object of a document, ``where`` it is; each method reads one field. What nobody has read is a mistake: `close`."""

    def __init__(self, fields: dict[str, Any], where: str, mistakes: Mistakes) -> None:
        self.fields = fields
        self.where = where
        self.mistakes = mistakes
        self._known: list[str] = []

    def name_of(self, field: str) -> str:
        return f"{self.where}.{field}" if self.where else field

    def given(self, field: str) -> bool:
        """Whether the field is there; it is then known."""
        self._known.append(field)
        return field in self.fields

    def value(self, field: str, default: Any, use: str) -> Any:
        """Whatever is in the field; `default` where it is not there, which is a mistake if that is MUST."""
        self._known.append(field)
        if field in self.fields:
            return self.fields[field]
        if default is MUST:
            self.mistakes.add(f"{self.name_of(field)} is missing: use {use}")
        return default

    def wrong(self, field: str, use: str) -> None:
        self.mistakes.wrong(self.name_of(field), self.fields.get(field), use)

    def checked(self, field: str, default: Any, use: str, good: Callable[[Any], bool]) -> Any:
        """The field's value if it is `good`, else `default`, also where that is MUST: the caller goes on regardless."""
        value = self.value(field, default, use)
        if field not in self.fields or good(value):
            return value
        self.wrong(field, use)
        return default

    def text(
        self, field: str, default: Any, *, least: int = 0, most: int = 256, name: bool = False, use: str = ""
    ) -> Any:
        what = (
            f"{least or 1} to {most} letters, digits, '.', '_' or '-'"
            if name
            else f"text of {least} to {most} characters"
        )

        def good(value: object) -> bool:
            if not isinstance(value, str) or not least <= len(value) <= most or not _is_encodable(value):
                return False
            return not name or (NAME_CHARACTERS.issuperset(value) and bool(value))

        return self.checked(field, default, use or what, good)

    def integer(self, field: str, default: Any, least: int, most: int, unit: str = "") -> Any:
        use = f"a whole number from {least} to {most}" + (f" ({unit})" if unit else "")
        return self.checked(field, default, use, lambda value: is_integer(value) and least <= value <= most)

    def number(self, field: str, default: Any, least: float, most: float, unit: str = "") -> Any:
        use = f"a number from {least:g} to {most:g}" + (f" ({unit})" if unit else "")
        found = self.checked(field, default, use, lambda value: is_number(value) and least <= value <= most)
        return float(found) if is_number(found) else found

    def flag(self, field: str, default: Any) -> Any:
        return self.checked(field, default, "true or false", lambda value: isinstance(value, bool))

    def choice(self, field: str, default: Any, choices: tuple[str, ...]) -> Any:
        value = self.value(field, default, f"one of {', '.join(choices)}")
        if field not in self.fields or (isinstance(value, str) and value in choices):
            return value
        self.wrong(field, f"one of {', '.join(choices)}" + _did_you_mean(value, choices))
        return default

    def moment(self, field: str, default: Any, example_ms: int) -> Any:
        """A time with its zone, as epoch ms."""
        from extension_kit.protocol.timestamps import format_ms, parse_ms

        use = f'a time with its zone, such as "{format_ms(example_ms)}"'
        value = self.value(field, default, use)
        if field not in self.fields:
            return value
        ms = parse_ms(value) if isinstance(value, str) and len(value) < 50 and _has_zone(value) else None
        if ms is None:
            self.wrong(field, use)
            return default
        return ms

    def texts(self, field: str, most: int, good: Callable[[str], bool], use: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self.value(field, (), use)
        if field not in self.fields:
            return ()
        if not isinstance(value, list) or len(value) > most:
            self.wrong(field, f"a list of up to {most}, each {use}")
            return ()
        for at, one in enumerate(value):
            if not isinstance(one, str) or not good(one):
                self.mistakes.wrong(f"{self.name_of(field)}[{at}]", one, use)
        return tuple(one for one in value if isinstance(one, str))

    def table(self, field: str) -> Table:
        """An object within; an empty one where it is missing or something else."""
        value = self.value(field, {}, "an object")
        if not isinstance(value, dict):
            self.wrong(field, "an object")
            value = {}
        return Table(value, self.name_of(field), self.mistakes)

    def tables(self, field: str, default: Any, most: int, use: str) -> Iterator[Table]:
        """A list of objects within."""
        value = self.value(field, default, use)
        if field not in self.fields:
            return
        if not isinstance(value, list) or len(value) > most:
            self.wrong(field, use)
            return
        for at, one in enumerate(value):
            where = f"{self.name_of(field)}[{at}]"
            if isinstance(one, dict):
                yield Table(one, where, self.mistakes)
            else:
                self.mistakes.wrong(where, one, "an object")

    def close(self) -> None:
        """All fields were read: any other is a mistake, most often a slip of the pen."""
        known = list(dict.fromkeys(self._known))
        for field in self.fields:
            if field not in known:
                guess = _did_you_mean(field, tuple(known)) or f"; known are {', '.join(known)}"
                self.mistakes.add(f"{self.name_of(clean(str(field)))} is not known here: correct or remove it{guess}")


def is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Finite, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value - value == 0


def shown(value: object) -> str:
    """A value as one would write it, bounded."""
    if isinstance(value, str):
        return f'"{clean(value[:400])}"'
    if value is None or isinstance(value, (bool, int, float)):
        try:
            written = repr(value)[:80]
        except ValueError:  # Python writes no numbers of more than 4,300 digits
            return "a number of thousands of digits"
        return {"None": "null", "True": "true", "False": "false"}.get(written, written)
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return clean(repr(value))


def clean_line(line: str) -> str:
    """One line, whatever is in it."""
    line = line if line.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in line)
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 3]}..."


def _did_you_mean(value: object, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or not value:
        return ""
    from extension_kit.nearest import nearest

    within = [one for one in known if len(value) > 3 and (value in one or one.startswith(value[:8]))]
    guess = nearest(value, within or list(known))
    return f"; did you mean {guess}?" if guess else ""


def _has_zone(text: str) -> bool:
    rest = text[11:]
    return text[-1:] in ("Z", "z") or "+" in rest or "-" in rest


def _is_encodable(text: str) -> bool:
    """Half of a surrogate pair is text in JSON, and cannot be written anywhere."""
    return not any(0xD800 <= ord(one) < 0xE000 for one in text)
