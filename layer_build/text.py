"""How results are laid out in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layer_build.tree import Tree

_SHARE = 10  # a folder is opened where it holds at least one tenth of the layer
_DEPTH = 4
_ROWS = 12  # of one folder; what is smaller is summed up in one row


def table(rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> list[str]:
    """`rows` in columns, two blanks apart and two before; the columns `numbers` are aligned to the right."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def amount(number: int) -> str:
    """A count of bytes, in groups of three digits."""
    return f"{number:,}"


def section(title: str, lines: Sequence[str]) -> list[str]:
    """`lines` below a title, nothing where there are none."""
    return ["", title, *lines] if lines else []


def folders(files: Tree) -> list[tuple[str, int, int]]:
    """Indented names with bytes and number of files, largest first; what matters little stays closed or is summed up."""
    sizes = {path: len(entry.data) for path, entry in files.items()}
    return _opened("", sizes, sum(sizes.values()), 0)


def _opened(folder: str, sizes: dict[str, int], total: int, depth: int) -> list[tuple[str, int, int]]:
    inside: dict[str, list[int]] = {}
    for path, size in sizes.items():
        if path.startswith(folder):
            head, slash, _ = path[len(folder) :].partition("/")
            inside.setdefault(head + slash, []).append(size)
    ordered = sorted(inside.items(), key=lambda item: (-sum(item[1]), item[0]))
    indent = "  " * depth
    rows: list[tuple[str, int, int]] = []
    for name, found in ordered[:_ROWS]:
        rows.append((indent + name, sum(found), len(found)))
        if name.endswith("/") and depth < _DEPTH and sum(found) * _SHARE >= total:
            rows += _opened(folder + name, sizes, total, depth + 1)
    rest = [size for _, found in ordered[_ROWS:] for size in found]
    if rest:
        rows.append((f"{indent}... {len(ordered) - _ROWS} more", sum(rest), len(rest)))
    return rows


def words(text: str) -> tuple[str, ...]:
    """The words of a list that is written as running text."""
    return tuple(text.split())
