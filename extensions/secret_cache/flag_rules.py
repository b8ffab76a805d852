"""Rules of AppConfig's multi-variant feature flags: evaluated. No I/O.

Source: AWS docs, AppConfig user guide, "Defining rules for multi-variant feature flags" and "Understanding multi-variant
feature flag rules". A rule is an expression such as ``(and (eq $state "Virginia") (gt $age 65))``; operators may name operands:
``(split pct::20 by::$userId)``. What the guide does not say is decided here:

- A context value arrives as text and is read as what it is compared with: a number, a date, true or false, or a text. What
  cannot be read so, or was not given, is equal to nothing and neither above nor below anything.
- The hash behind ``split`` is not published. Here it is 32-bit FNV-1a of the value and then the seed, in 10,000 parts, which
  others say the agent has too. The share is right in any case; that the same users are in it is not promised. Without a seed
  the flag's key is the seed: the same users within a flag, others in other flags.
- ``matches`` finds the pattern anywhere in the text. Patterns are Python's, which are nearly the agent's (Go's). One that could
  take more than ten million steps on the text at hand is refused, since Python's may take for ever where Go's do not.
"""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError
from extensions.secret_cache.ion import Expression, IonError, Moment, Named, Symbol, moment, number, read_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Context = Mapping[str, str | float | bool]

__all__ = ["RuleError", "is_true"]

_LONGEST = 16_384
_MOST_STEPS = 10_000_000  # of matching a pattern, at worst: under a second
_PARTS = 10_000


class RuleError(ExtensionKitError):
    """A rule that cannot be read or evaluated here; the text holds nothing of it but an operator's number."""


def is_true(rule: str | Expression, context: Context, flag: str = "") -> bool:
    """Whether `rule` holds for what a caller has said of itself; RuleError where it is no rule.

    ``flag``: the key of the flag that it belongs to, the seed of a ``split`` without one.
    """
    expression: Any = rule
    if not isinstance(rule, Expression):
        if len(rule) > _LONGEST:
            raise RuleError(f"a rule is longer than {_LONGEST} characters")
        try:
            expression = read_one(rule)
        except IonError as error:
            raise RuleError(f"a rule cannot be read: {error}") from None
    if not isinstance(expression, Expression):
        raise RuleError("a rule must be one expression in parentheses")
    return _Asked(context, flag).holds(expression)


class _Asked:
    """A question about one flag; nesting is bounded by the readers of Ion."""

    def __init__(self, context: Context, flag: str) -> None:
        self._context = context
        self._flag = flag

    def holds(self, expression: Expression) -> bool:
        operator, *written = expression or ("",)
        if not isinstance(operator, Symbol):
            raise RuleError("an expression in a rule must begin with an operator")
        if operator in ("and", "or"):
            return self._all_or_any(operator == "and", written)
        if operator not in _OPERATORS:
            number_of_it = f" ({operator})" if operator.startswith("ops/") else ""
            known = ", ".join(("and", "or", *_OPERATORS))
            raise RuleError(f"an operator in a rule is not known{number_of_it}; there are {known}")
        names, operate = _OPERATORS[operator]
        return operate(self._operands(written, names))

    def _all_or_any(self, every: bool, written: list[Any]) -> bool:
        """``and``, ``or``: what comes after the operand that decides is not evaluated."""
        if not written:
            raise RuleError("an operator in a rule has too few operands")
        for one in written:
            if _truth(self._value(one)) is not every:
                return not every
        return every

    def _operands(self, written: list[Any], names: tuple[str, ...]) -> dict[str, Any]:
        """Values by name; those without one take the names that are left, in order."""
        operands: dict[str, Any] = {}
        for one in written:
            name = next((candidate for candidate in names if candidate not in operands), "")
            if isinstance(one, Named):
                name, one = one.name if one.name in names else "", one.value
            if not name or name in operands:
                raise RuleError("an operator in a rule has too many operands, or one that it does not know")
            operands[name] = self._key(one) if name == "key" else self._value(one)
        if any(name not in operands for name in names if name != "seed"):
            raise RuleError("an operator in a rule has too few operands")
        return {"seed": self._flag, **operands} if "seed" in names else operands

    def _key(self, written: Any) -> Any:
        """The context value that ``exists`` asks for, as a text or as the value itself."""
        if not isinstance(written, str):
            raise RuleError("exists needs key:: with a text")
        return self._value(written if isinstance(written, Symbol) else Symbol(f"${written}"))

    def _value(self, written: Any) -> Any:
        """What an operand stands for; None for a context value that was not given."""
        if isinstance(written, Expression):
            return self.holds(written)
        if isinstance(written, list):
            return [self._value(one) for one in written]
        if isinstance(written, Symbol):
            if not written.startswith("$"):
                raise RuleError("an operand in a rule is neither text, number, date nor context value")
            return self._context.get(written[1:])
        if isinstance(written, Named):
            raise RuleError("an operand in a rule has a name that has no meaning there")
        return written


def _truth(value: Any) -> bool:
    """A context value is true where it says so."""
    if value is not None and not isinstance(value, (bool, str)):
        raise RuleError("and, or, not are of what is true or false")
    return value is True or value == "true"


def _compare(left: Any, right: Any) -> int | None:
    """Below, at or above 0 as the first is below, like or above the second; None where they cannot be compared."""
    kind = next(
        (kind for kind in (Moment, bool, (int, float)) if isinstance(left, kind) or isinstance(right, kind)), str
    )
    left, right = _AS[kind](left), _AS[kind](right)
    if left is None or right is None:
        return None
    return int(left > right) - int(left < right)


def _as_moment(value: Any) -> int | None:
    return value if isinstance(value, Moment) else moment(value) if isinstance(value, str) else None


def _as_bool(value: Any) -> bool | None:
    return (
        value
        if isinstance(value, bool)
        else {"true": True, "false": False}.get(value)
        if isinstance(value, str)
        else None
    )


def _as_number(value: Any) -> int | float | None:
    return number(value) if isinstance(value, str) else value if isinstance(value, (int, float)) else None


def _as_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_AS: dict[Any, Callable[[Any], Any]] = {Moment: _as_moment, bool: _as_bool, (int, float): _as_number, str: _as_text}


def _comparison(test: Callable[[int], bool]) -> Callable[[dict[str, Any]], bool]:
    def operate(operands: dict[str, Any]) -> bool:
        order = _compare(operands["left"], operands["right"])
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
    return any(_compare(operands["value"], one) == 0 for one in choices)


def _split(operands: dict[str, Any]) -> bool:
    percent, by, seed = operands["pct"], operands["by"], operands["seed"]
    if isinstance(percent, bool) or not isinstance(percent, (int, float)) or not 0 <= percent <= 100:
        raise RuleError("split needs pct:: from 0 to 100")
    values = by if isinstance(by, list) else [by]
    if not values or None in values:
        return False
    hashed = 0x811C9DC5
    for byte in "".join(f"{one}" for one in [*values, seed]).encode("utf-8", "replace"):
        hashed = (hashed ^ byte) * 0x01000193 & 0xFFFFFFFF
    return hashed % _PARTS < percent * _PARTS / 100


def _matches(operands: dict[str, Any]) -> bool:
    text, pattern = operands["in"], operands["pattern"]
    if not isinstance(pattern, str):
        raise RuleError("matches needs pattern:: with a text")
    if not isinstance(text, str):
        return False
    import re

    try:
        parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]  # noqa: SLF001 - re has no public one
        if _steps(parsed, len(text)) > _MOST_STEPS:
            raise RuleError("a pattern could take too long on a text of this length")
        return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError, Warning):
        raise RuleError("a pattern in a rule cannot be read") from None


def _steps(pattern: Any, length: int) -> int:
    """At most so many steps does a search take on a text of `length`, as far as the form of the pattern tells.

    Repetitions beside each other share the text: n of them split it in ``length ** n / n!`` ways.
    """
    ways: int
    ways, repetitions = _ways(pattern, length)
    ways *= pattern.getwidth()[0] + 1
    anchors = (
        ("AT_BEGINNING_STRING",) if pattern.state.flags & 8 else ("AT_BEGINNING_STRING", "AT_BEGINNING")
    )  # 8: (?m)
    if not len(pattern) or str(pattern[0][1]) not in anchors:
        ways, repetitions = ways * (length + 1), repetitions + 1
    for divisor in range(2, min(repetitions, length) + 1):
        ways //= divisor
    return ways


def _ways(items: Any, length: int) -> tuple[int, int]:
    """In how many ways items can match, and how many repetitions without a bound are beside each other in them."""
    ways, repetitions = 1, 0
    for kind, argument in items:
        name = str(kind)
        if name.endswith("_REPEAT"):
            least, most, inner = argument
            most = min(most, length)
            inside, _ = _ways(inner, length)
            if inside > 1:  # each round has its own choice; a text can hold no more rounds than this
                ways *= min(inside ** min(most, 24), _MOST_STEPS + 1) * (most + 1)
            else:
                ways *= max(1, most - least + 1)
                repetitions += most == length
        elif name == "BRANCH":
            ways *= sum(_ways(branch, length)[0] for branch in argument[1])
        elif name == "GROUPREF_EXISTS":
            ways *= sum(_ways(branch, length)[0] for branch in argument[1:] if branch is not None)
        elif name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT", "ATOMIC_GROUP"):
            inner = argument if name == "ATOMIC_GROUP" else argument[-1]
            found, more = _ways(inner, length)
            if name.startswith("ASSERT"):  # looks ahead without taking part in the width
                found *= inner.getwidth()[0] + 1
            ways, repetitions = ways * found, repetitions + more
        ways = min(ways, _MOST_STEPS * 10**12)
    return ways, repetitions


_TWO = ("left", "right")
#: operator: names of its operands, what it does
_OPERATORS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Any]], bool]]] = {
    "eq": (_TWO, _comparison(lambda order: order == 0)),
    "gt": (_TWO, _comparison(lambda order: order > 0)),
    "gte": (_TWO, _comparison(lambda order: order >= 0)),
    "lt": (_TWO, _comparison(lambda order: order < 0)),
    "lte": (_TWO, _comparison(lambda order: order <= 0)),
    "not": (("value",), lambda operands: not _truth(operands["value"])),
    "begins_with": (_TWO, _of_texts(str.startswith)),
    "ends_with": (_TWO, _of_texts(str.endswith)),
    "contains": (_TWO, _of_texts(lambda text, part: part in text)),
    "in": (("value", "list"), _in),
    "matches": (("in", "pattern"), _matches),
    "exists": (("key",), lambda operands: operands["key"] is not None),
    "split": (("pct", "by", "seed"), _split),
}
