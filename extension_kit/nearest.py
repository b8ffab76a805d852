"""The nearest known word, for messages about a slip of the pen; imported only when there is one."""

from __future__ import annotations

__all__ = ["nearest"]

_LONGEST = 80  # characters of a word that count, to bound the work


def nearest(word: str, known: list[str]) -> str:
    """The known word that takes the fewest edits to reach; "" where none is known."""
    return min(known, key=lambda candidate: _edits(word[:_LONGEST], candidate[:_LONGEST]), default="")


def _edits(left: str, right: str) -> int:
    """Levenshtein's distance: characters to insert, delete or replace."""
    previous = list(range(len(right) + 1))
    for row, one in enumerate(left, 1):
        current = [row]
        for column, other in enumerate(right, 1):
            replaced = previous[column - 1] + (one != other)
            current.append(min(replaced, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1]
