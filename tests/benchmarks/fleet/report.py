"""Rows as tables in Markdown, and their place in FLEET.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.fleet.scenarios import SCENARIOS, Shipping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.benchmarks.fleet.scenarios import Row

PAGE = Path(__file__).parents[1] / "FLEET.md"


def figure(value: float | None) -> str:
    """Three digits that count; thousands with commas; a dash for what did not happen."""
    if value is None:
        return "-"
    if value == 0 or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1g}"


def share(part: float, whole: float) -> str:
    """In per cent; never 0 % for what has happened."""
    if not part or not whole:
        return "0"
    percent = 100 * part / whole
    return f"{percent:.3g} %" if percent >= 0.001 else "< 0.001 %"


def size(value: int) -> str:
    return f"{value / 1024:,.0f} KB" if value < 1024 * 1024 else f"{value / 1024 / 1024:,.1f} MB"


def _lost(row: Row) -> str:
    lost = sum(row["dropped"].values())
    why = ", ".join(row["dropped"])
    return f"{share(lost, row['records'])} ({why})" if lost else "0"


_Columns = tuple[tuple[str, "Callable[[Row], str]"], ...]
_ALL: _Columns = (
    ("environments", lambda row: f"{row['environments']:,}"),
    ("setting", lambda row: row["setting"]),
    ("per s: mean", lambda row: figure(row["mean per s"])),
    ("p99", lambda row: figure(row["p99 per s"])),
    ("peak", lambda row: figure(row["peak per s"])),
    ("throttled", lambda row: share(row["throttled"], row["calls"])),
)
_RECOVERY: _Columns = (("recovered after s", lambda row: figure(row["recovered s"])),)
_CACHING: _Columns = (
    ("invocations failed", lambda row: share(row["invocations failed"], row["invocations"])),
    ("longest wait s", lambda row: figure(row["longest wait s"])),
    ("kept", lambda row: size(row["bytes kept"])),
)
_ROTATION: _Columns = (
    ("old value s: mean", lambda row: figure(row["old value s, mean"])),
    ("longest", lambda row: figure(row["old value s, longest"])),
)
_SHIPPING: _Columns = (
    ("lost", _lost),
    ("billed ms: calm", lambda row: figure(row["billed ms, calm"])),
    ("outage", lambda row: figure(row["billed ms, outage"])),
    ("held", lambda row: size(row["bytes held"])),
    ("spool", lambda row: size(row["bytes spooled"])),
)


def columns(name: str) -> _Columns:
    common = (*_ALL, *(_RECOVERY if SCENARIOS[name].recovers else ()))
    if isinstance(SCENARIOS[name], Shipping):
        return (*common, *_SHIPPING)
    return (*common, *(_ROTATION if name == "rotation" else ()), *_CACHING)


def head(name: str) -> list[str]:
    names = [column for column, _text in columns(name)]
    return [_line(names), _line(["---:" if column != "setting" else "---" for column in names])]


def line(name: str, row: Row) -> str:
    return _line([text(row) for _column, text in columns(name)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write(name: str, lines: Sequence[str]) -> None:
    """Put a table where FLEET.md has a place for it."""
    text = PAGE.read_text()
    begin, end = f"<!-- figures: {name} -->\n", "<!-- end -->"
    before, found, rest = text.partition(begin)
    if not found:
        raise SystemExit(f"{PAGE.name} has no place for {name}: {begin.strip()}")
    PAGE.write_text(before + begin + "".join(f"{one}\n" for one in lines) + end + rest.partition(end)[2])
