"""Rules of AppConfig's multi-variant feature flags: read and evaluated. No I/O.

Source: AWS docs, AppConfig user guide, "Defining rules for multi-variant feature flags". A rule is an expression such as
``(and (eq $state "Virginia") (gt $age 65))``; operators may name their operands: ``(split pct::20 by::$userId)``. Differences
that are known: the hash behind ``split`` is not published, so that the same share of users is chosen here, but not the same
users; patterns are Python's, and those that could take for ever are refused.
"""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError
from extension_kit.protocol.timestamps import parse_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["RuleError", "is_true"]

_LONGEST = 16_384
_DEEPEST = 40
_MOST_STEPS = 10_000_000  # of matching a pattern, at worst
_BUCKETS = 10_000


class RuleError(ExtensionKitError):
    """A rule that cannot be read or evaluated here."""


class _Moment(int):
    """Epoch ms, written as a date."""


def is_true(rule: str, context: Mapping[str, str]) -> bool:
    """Whether `rule` holds for what a caller has said of itself; RuleError where it is no rule."""
    if len(rule) > _LONGEST:
        raise RuleError(f"a rule is longer than {_LONGEST} characters")
    tokens = _tokens(rule)
    expression, rest = _read(tokens, 0, 0)
    if rest != len(tokens) or not isinstance(expression, tuple):
        raise RuleError("a rule must be one expression in parentheses")
    return _evaluate(expression, context)


# reading


def _tokens(rule: str) -> list[str]:
    """Parentheses, brackets, strings (with their quotes) and words."""
    tokens = []
    at = 0
    while at < len(rule):
        character = rule[at]
        if character.isspace() or character == ",":
            at += 1
        elif character in "()[]":
            tokens.append(character)
            at += 1
        else:
            end = _end_of_word(rule, at)
            tokens.append(rule[at:end])
            at = end
    return tokens


def _end_of_word(rule: str, at: int) -> int:
    """A word ends at a blank, a parenthesis or the end of its string: ``key::"a b"`` is one."""
    quoted = False
    while at < len(rule):
        character = rule[at]
        if quoted and character == "\\":
            at += 1
        elif character == '"':
            quoted = not quoted
        elif not quoted and (character.isspace() or character in "()[],"):
            break
        at += 1
    if quoted:
        raise RuleError("a string in a rule does not end")
    return min(at, len(rule))


def _read(tokens: list[str], at: int, depth: int) -> tuple[Any, int]:
    """The operand that begins at `at`, and where the next one does: an expression is a tuple, a list a list."""
    if at >= len(tokens) or depth > _DEEPEST:
        raise RuleError("a rule ends too early" if at >= len(tokens) else "a rule is nested too deeply")
    token = tokens[at]
    if token in ")]":
        raise RuleError("a rule has a parenthesis too many")
    if token not in "([":
        return token, at + 1
    close = ")" if token == "(" else "]"
    items: list[Any] = []
    at += 1
    while at < len(tokens) and tokens[at] != close:
        item, at = _read(tokens, at, depth + 1)
        # ``in::[…]`` and ``by::(…)`` arrive as two tokens.
        if items and isinstance(items[-1], str) and items[-1].endswith("::") and not isinstance(item, str):
            items[-1] = (items[-1][:-2], item)
        else:
            items.append(item)
        if isinstance(item, str) and item.endswith("::") and at < len(tokens) and tokens[at] not in "([":
            raise RuleError("an operand is missing after ::")
    if at >= len(tokens):
        raise RuleError("a rule has a parenthesis too few")
    return (tuple(items) if close == ")" else items), at + 1


# evaluating


def _evaluate(expression: tuple[Any, ...], context: Mapping[str, str]) -> bool:
    if not expression or not isinstance(expression[0], str) or expression[0] not in _OPERATORS:
        raise RuleError(f"an operator in a rule is not known; there are {', '.join(_OPERATORS)}")
    names, operate = _OPERATORS[expression[0]]
    return operate(_operands(expression[1:], names, context))


def _operands(written: tuple[Any, ...], names: tuple[str, ...], context: Mapping[str, str]) -> dict[str, Any]:
    """Values by name; those without one take the names that are left, in order."""
    operands: dict[str, Any] = {}
    free = list(names)
    for one in written:
        name, value = _named(one, names)
        if not name:
            name = next((candidate for candidate in free if candidate not in operands), "")
            if not name and names == ("*",):
                name = f"*{len(operands)}"
        if not name or name in operands:
            raise RuleError("an operator in a rule has too many operands")
        operands[name] = _value(value, context)
        if name == "key":  # ``exists`` has the name of a context value, as a text or as the value itself
            operands[name] = context.get(str(operands[name])) if str(value).startswith('"') else operands[name]
    if names != ("*",) and any(name not in operands for name in names if name != "seed"):
        raise RuleError("an operator in a rule has too few operands")
    return operands


def _named(one: Any, names: tuple[str, ...]) -> tuple[str, Any]:
    if isinstance(one, tuple) and len(one) == 2 and one[0] in names:
        return one
    if isinstance(one, str):
        name, found, value = one.partition("::")
        if found and name in names:
            return name, value
    return "", one


def _value(written: Any, context: Mapping[str, str]) -> Any:
    """A text, number, moment, boolean, list; None for a context value that was not given."""
    if isinstance(written, tuple):
        return _evaluate(written, context)
    if isinstance(written, list):
        return [_value(one, context) for one in written]
    if written.startswith("$"):
        return context.get(written[1:].removeprefix("{").removesuffix("}"))
    if written.startswith('"'):
        return _string(written)
    if written in ("true", "false"):
        return written == "true"
    return _literal(written)


def _literal(written: str) -> Any:
    number = _number(written)
    if number is not None:
        return number
    moment = _moment(written)
    if moment is None:
        raise RuleError("an operand in a rule is neither text, number, date nor context value")
    return _Moment(moment)


def _moment(written: str) -> int | None:
    """Epoch ms of a date with or without month, day and time; None for anything else."""
    return parse_ms(
        written
        if "T" in written
        else written + {4: "-01-01T00:00:00", 7: "-01T00:00:00"}.get(len(written), "T00:00:00")
    )


def _string(written: str) -> str:
    from extension_kit.protocol.jsontext import loads

    try:
        text = loads(written.encode("utf-8", "surrogatepass"))
    except ValueError:
        raise RuleError("a string in a rule cannot be read") from None
    return str(text)


def _number(written: Any) -> float | None:
    if isinstance(written, bool):
        return None
    if isinstance(written, (int, float)):
        return written
    if isinstance(written, str) and written[:1] in "+-.0123456789" and written.isascii() and "_" not in written:
        try:
            number = float(written)
        except ValueError:
            return None
        return number if number == number and abs(number) != float("inf") else None
    return None


def _compare(operands: dict[str, Any]) -> int | None:
    """Below, at or above 0 as the first is below, like or above the second; None where they cannot be compared."""
    left, right = operands["left"], operands["right"]
    if left is None or right is None:
        return None
    if isinstance(left, _Moment) or isinstance(right, _Moment):
        left, right = [one if isinstance(one, _Moment) else _moment(str(one)) for one in (left, right)]
    elif isinstance(left, bool) or isinstance(right, bool):
        left, right = [
            one if isinstance(one, bool) else {"true": True, "false": False}.get(str(one)) for one in (left, right)
        ]
    elif isinstance(left, (int, float)) or isinstance(right, (int, float)):
        left, right = _number(left), _number(right)
    else:
        left, right = str(left), str(right)
    if left is None or right is None:
        return None
    return int(left > right) - int(left < right)


def _comparison(test: Callable[[int], bool]) -> Callable[[dict[str, Any]], bool]:
    def operate(operands: dict[str, Any]) -> bool:
        order = _compare(operands)
        return order is not None and test(order)

    return operate


def _of_texts(test: Callable[[str, str], bool]) -> Callable[[dict[str, Any]], bool]:
    def operate(operands: dict[str, Any]) -> bool:
        left, right = operands["left"], operands["right"]
        return isinstance(left, str) and isinstance(right, str) and test(left, right)

    return operate


def _in(operands: dict[str, Any]) -> bool:
    choices = operands["list"]
    if not isinstance(choices, list):
        raise RuleError("in needs a list in brackets")
    return any(_compare({"left": operands["value"], "right": one}) == 0 for one in choices)


def _split(operands: dict[str, Any]) -> bool:
    from zlib import crc32

    percent, by = _number(operands["pct"]), operands["by"]
    if percent is None or not 0 <= percent <= 100:
        raise RuleError("split needs pct:: from 0 to 100")
    seed = operands.get("seed", "")
    return by is not None and crc32(f"{seed}/{by}".encode("utf-8", "replace")) % _BUCKETS < percent * _BUCKETS / 100


def _matches(operands: dict[str, Any]) -> bool:
    text, pattern = operands["in"], operands["pattern"]
    if not isinstance(pattern, str):
        raise RuleError("matches needs pattern:: with a text")
    if not isinstance(text, str):
        return False
    import re

    try:
        repeats = _repeats(re._parser.parse(pattern))  # type: ignore[attr-defined]  # noqa: SLF001 - re has no public one
        if len(text) ** min(repeats, 16) > _MOST_STEPS:
            raise RuleError("a pattern could take too long on a text of this length")
        return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError):
        raise RuleError("a pattern in a rule cannot be read") from None


def _repeats(items: Any, inside: bool = False) -> int:
    """How many parts of a pattern repeat; RuleError where one repeats what repeats or chooses: that can take for ever."""
    count = 0
    for kind, argument in items:
        name = str(kind)
        repeats = name.endswith("_REPEAT")
        if inside and (repeats or name in ("BRANCH", "GROUPREF")):
            raise RuleError("a pattern in a rule repeats what repeats: it is not evaluated here")
        if repeats:
            _least, most, inner = argument
            count += 1 + _repeats(inner, inside or str(most) == "MAXREPEAT" or most > 1)
        elif name == "SUBPATTERN":
            count += _repeats(argument[3], inside)
        elif name == "BRANCH":
            count += sum(_repeats(branch, inside) for branch in argument[1])
        elif name in ("ASSERT", "ASSERT_NOT"):
            count += _repeats(argument[1], inside)
    return count


def _and(operands: dict[str, Any]) -> bool:
    return bool(operands) and all(one is True for one in operands.values())


def _or(operands: dict[str, Any]) -> bool:
    return any(one is True for one in operands.values())


_TWO = ("left", "right")
#: operator: names of its operands (``*``: any number), what it does
_OPERATORS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], bool]]] = {
    "eq": (_TWO, _comparison(lambda order: order == 0)),
    "gt": (_TWO, _comparison(lambda order: order > 0)),
    "gte": (_TWO, _comparison(lambda order: order >= 0)),
    "lt": (_TWO, _comparison(lambda order: order < 0)),
    "lte": (_TWO, _comparison(lambda order: order <= 0)),
    "and": (("*",), _and),
    "or": (("*",), _or),
    "not": (("value",), lambda operands: operands["value"] is False),
    "begins_with": (_TWO, _of_texts(str.startswith)),
    "ends_with": (_TWO, _of_texts(str.endswith)),
    "contains": (_TWO, _of_texts(lambda text, part: part in text)),
    "in": (("value", "list"), _in),
    "matches": (("in", "pattern"), _matches),
    "exists": (("key",), lambda operands: operands["key"] is not None),
    "split": (("pct", "by", "seed"), _split),
}
