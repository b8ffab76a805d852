"""What an event, a name or a host must look like: dotted paths, four operators, ``*``, and regular expressions with bounds.

Python's ``re`` can take forever. So a pattern is checked when a document is read, with re's own parser: no longer than 512
characters, nothing inside a repetition that may match in more than one way (another repetition, an alternative), no repetition
of what takes no text, no reference to a group. The steps of what is left are at most the product of its choices, its fixed
counts and the text's length: `_longest` finds the length up to which that is bearable, and a longer text never matches.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from extensions.chaos_injector.plan import Match

__all__ = ["LONGEST_PATTERN", "find", "glob", "host_matches", "matches", "search", "why_not_regex"]

LONGEST_PATTERN = 512
_LENGTHS = (2_048, 1_024, 512, 256, 128, 64)  # of texts, the first that is bearable counts
_MOST_STEPS = 1 << 24  # a fraction of a second
_MOST_KEPT = 512
_MISSING = object()

#: pattern: compiled, the longest text that it is tried on
_compiled: dict[str, tuple[Any, int]] = {}


def find(event: object, path: str) -> object:
    """What is at a dotted path; in a list, a part is an index. None where there is nothing."""
    found = event
    for part in path.split("."):
        if isinstance(found, dict):
            found = found.get(part, _MISSING)
        elif isinstance(found, list) and part.isascii() and part.isdigit() and len(part) < 10:
            found = found[int(part)] if int(part) < len(found) else _MISSING
        else:
            return None
        if found is _MISSING:
            return None
    return found


def matches(event: object, conditions: tuple[Match, ...]) -> bool:
    """Whether all conditions hold, as failure-lambda has them: null is nothing, and other values are compared as texts."""
    return all(_holds(find(event, one.path), one.operator, one.value) for one in conditions)


def _holds(found: object, operator: str, value: str) -> bool:
    if found is None:
        return False
    if operator == "exists":
        return True
    text = _as_text(found)
    if operator == "eq":
        return text == value
    if operator == "startsWith":
        return text.startswith(value)
    return search(value, text)


def _as_text(found: object) -> str:
    """As JavaScript and JSON write it: true, 1, 1.5."""
    if isinstance(found, str):
        return found
    from extension_kit.protocol.jsontext import dumps

    if isinstance(found, float) and found.is_integer() and abs(found) < 1e15:
        found = int(found)
    return dumps(found).decode()


def search(pattern: str, text: str, *, too_long: bool = False) -> bool:
    """Whether a pattern that `why_not_regex` has let through is in `text`; ``too_long``: the answer for a text that is."""
    found = _compiled.get(pattern)
    if found is None:
        import re

        if len(_compiled) >= _MOST_KEPT:
            _compiled.clear()
        found = _compiled[pattern] = (re.compile(pattern), _longest(_parse(pattern)))
    compiled, longest = found
    return too_long if len(text) > longest else compiled.search(text) is not None


def glob(pattern: str, name: str) -> bool:
    """Whether `name` is what `pattern` says, where ``*`` stands for anything, also for nothing."""
    first, *rest = pattern.split("*")
    if not rest:
        return name == pattern
    *middle, last = rest
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def host_matches(patterns: tuple[str, ...], host: str) -> bool:
    """Whether a host name (no port; any case) is what one of a fault's ``hosts`` says."""
    host = host.lower().rstrip(".")
    return any(
        search(pattern[3:], host) if pattern.startswith("re:") else glob(pattern.lower(), host) for pattern in patterns
    )


def why_not_regex(pattern: str) -> str:
    """What is wrong with a regular expression; "" where it may be used."""
    if len(pattern) > LONGEST_PATTERN:
        return f"it is longer than {LONGEST_PATTERN} characters"
    import re
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python will read another way one day
            parsed = _parse(pattern)
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, ValueError, Warning) as error:
        return f"it cannot be read: {error}"
    return _risk(parsed)


def _parse(pattern: str) -> Any:
    from re import _parser  # type: ignore[attr-defined]

    return _parser.parse(pattern)


def _risk(parsed: Any) -> str:
    for name, argument, repeated, _times in _walk(parsed):
        if name in ("GROUPREF", "GROUPREF_EXISTS"):
            return "it refers to a group, which cannot be bounded"
        if repeated and name in ("REPEAT", "BRANCH"):
            what = "repetition" if name == "REPEAT" else "alternative"
            return f"a {what} is inside a repetition; take one of them out".replace("a alt", "an alt")
        if repeated and name in ("ASSERT", "ASSERT_NOT"):
            return "a look-around is inside a repetition; take one of them out"
        # A body that takes nothing of the text is not bounded by the text's length.
        if name in ("REPEAT", "FIXED") and int(argument[1]) > 1 and argument[2].getwidth()[0] == 0:
            return "a repetition is of something that may be empty; take it out"
    return "" if _longest(parsed) else "it has too many repetitions and alternatives"


def _longest(parsed: Any) -> int:
    """The length of text up to which the pattern's steps are bearable; 0: not even for a short one."""
    fixed = max(1, sum(times for name, _argument, _repeated, times in _walk(parsed) if name == "FIXED"))
    for length in _LENGTHS:
        steps = length * fixed  # where a match may begin, and what it always repeats there
        for name, argument, _repeated, _times in _walk(parsed):
            if name == "REPEAT":
                steps *= min(int(argument[1]) - int(argument[0]) + 1, length)
            elif name == "BRANCH":
                steps *= len(argument[1])
            if steps > _MOST_STEPS:
                break
        if steps <= _MOST_STEPS:
            return length
    return 0


def _walk(parsed: Any) -> Iterator[tuple[str, Any, bool, int]]:
    """Every operation of a pattern: name (REPEAT: of any kind, whose count varies; FIXED: whose count does not), argument,
    whether it is repeated, and how often it is by all fixed counts around it and its own.
    """
    todo: list[tuple[Any, bool, int]] = [(parsed, False, 1)]
    while todo:
        items, repeated, times = todo.pop()
        for operation, argument in items:
            name, again, within = str(operation), repeated, times
            if name.endswith("_REPEAT"):
                again = repeated or int(argument[1]) > 1
                name = "REPEAT" if argument[0] != argument[1] else "FIXED"
                within = times * max(1, int(argument[1])) if name == "FIXED" else times
            yield name, argument, repeated, within
            todo += [(inner, again, within) for inner in _inside(argument)]


def _inside(argument: Any) -> list[Any]:
    """The sequences of operations that an operation holds, however it holds them."""
    if hasattr(argument, "data") and hasattr(argument, "getwidth"):  # a SubPattern
        return [argument]
    if isinstance(argument, (tuple, list)):
        return [inner for one in argument for inner in _inside(one)]
    return []
