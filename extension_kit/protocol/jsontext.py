"""JSON without the ``json`` package, whose import (``re``, ``enum``) costs more than everything else before the first event.

CPython's scanner in C does the work, as it does for ``json``; where an interpreter has none, ``json`` itself is used.
"""

from __future__ import annotations

__all__ = ["dumps", "in_json", "loads", "scan"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WHITE = " \t\n\r"


class _Context:
    """What the scanner in C asks its context for; the values are those of ``json.JSONDecoder(strict=False)``: a raw control
    character inside a string is no reason to lose what somebody logged."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner keeps its own; the attribute must only exist

    @staticmethod
    def parse_constant(name: str) -> float:
        return float(name.replace("Infinity", "inf"))


def _make() -> Callable[[str, int], tuple[Any, int]] | None:
    try:
        from _json import make_scanner
    except ImportError:
        return None
    return make_scanner(_Context())  # type: ignore[arg-type]


_scan = _make()


def scan(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins exactly at `start`, and where it ends; ValueError where none can be read.

    The scanner in C raises the error class of ``json``; where nobody has imported that, it ends in a SystemError instead.
    """
    try:
        if _scan is not None:
            return _scan(text, start)
        import json

        return json.JSONDecoder(strict=False).scan_once(text, start)  # type: ignore[no-any-return, attr-defined]
    except (StopIteration, SystemError):
        raise ValueError(f"not JSON: no value that can be read at character {start}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None


def loads(data: bytes) -> Any:
    """The value of a JSON text in UTF-8; ValueError for anything else, as ``json.loads``."""
    text = data.decode("utf-8").strip(_WHITE)
    value, end = scan(text, 0)
    if end != len(text):
        raise ValueError(f"not JSON: more text after the value, at character {end}")
    return value


def dumps(value: Any, quote: Callable[[str], str] | None = None) -> bytes:
    """JSON in UTF-8 without blanks, of strings, numbers, booleans, None, lists and dictionaries with strings as keys.

    ``quote``: writes a string another way. Nothing that `loads` returns is refused, however deep: half of a surrogate pair
    becomes U+FFFD, a number that is not finite the string "NaN", "Infinity" or "-Infinity".
    """
    text = _written(value, quote or in_json)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _written(value: Any, quote: Callable[[str], str]) -> str:
    """Without recursion: what the scanner in C has read may be nested more deeply than Python's stack reaches."""
    done: list[str] = []
    todo = [value]  # the next one last; bytes, which JSON has not, are signs
    while todo:
        one = todo.pop()
        if isinstance(one, bytes):
            done.append(one.decode())
        elif isinstance(one, dict):
            todo.append(b"}")
            for name, inner in reversed(one.items()):
                todo += (inner, b":", name, b",")
            done.append("{")
            if one:
                todo.pop()
        elif isinstance(one, (list, tuple)):
            todo.append(b"]")
            for inner in reversed(one):
                todo += (inner, b",")
            done.append("[")
            if one:
                todo.pop()
        else:
            done.append(_scalar(one, quote))
    return "".join(done)


def _scalar(value: Any, quote: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value - value != 0:
        return quote("NaN" if value != value else "Infinity" if value > 0 else "-Infinity")
    return repr(value)


def in_json(text: str) -> str:
    """A JSON string; what is not ASCII stays as it is."""
    try:
        from _json import encode_basestring
    except ImportError:
        from json.encoder import encode_basestring
    return encode_basestring(text)
