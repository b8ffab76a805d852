"""JSON without the ``json`` package, whose import (``re``, ``enum``) costs more than everything else before the first event.

CPython's scanner in C does the work, as it does for ``json``; where an interpreter has none, ``json`` itself is used.
"""

from __future__ import annotations

__all__ = ["loads"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WHITE = " \t\n\r"


class _Context:
    """What the scanner in C asks its context for; the values are those of ``json.JSONDecoder()``."""

    strict = True
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


def loads(data: bytes) -> Any:
    """The value of a JSON text in UTF-8; ValueError for anything else, as ``json.loads``."""
    text = data.decode("utf-8").strip(_WHITE)
    if _scan is None:
        import json

        return json.loads(text)
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("not JSON: no value") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    if end != len(text):
        raise ValueError(f"not JSON: more text after the value, at character {end}")
    return value
