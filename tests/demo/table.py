"""The table at the end: a row for each extension, what it delivered and what it cost; and the same for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from extensions.metrics_collector import prices
from tests.demo import costs
from tests.demo.costs import ALONE, ONE, TOGETHER
from tests.demo.layers import EXTENSIONS, JOINT
from tests.demo.runs import MEMORY_MB

if TYPE_CHECKING:
    from collections.abc import Set
    from pathlib import Path

    from tests.demo.accounts import Accounts
    from tests.demo.costs import Cost
    from tests.demo.show import Show

Figures = dict[str, float | None]
#: key, heading (two lines), width, how it is written; the first three and the price are what is added to the shop alone
_COLUMNS = (
    ("init", "init", "ms", 6, "{:+.0f}"),
    ("response", "response", "ms", 9, "{:+.1f}"),
    ("after", "after", "ms", 7, "{:+.1f}"),
    ("cpu", "CPU", "ms", 6, "{:.0f}"),
    ("peak", "memory", "MB", 7, "{:.1f}"),
    ("layer", "layer", "KB", 6, "{:.0f}"),
    ("usd", "USD per", "million", 9, "{:+.3f}"),
)
_NAME, _DELIVERED = 18, 31
_ABOUT = {TOGETHER: "(four layers, four processes)", ONE: "(the layer extension-kit)"}
_MB = 1_048_576


def rows(rounds: list[dict[str, Cost]], zips: dict[str, Path], accounts: Accounts) -> dict[str, dict[str, Any]]:
    """By name: ``delivered`` (text), ``figures``, and every column's number or None."""
    sizes = {name: path.stat().st_size / 1024 for name, path in zips.items()}
    sizes |= {TOGETHER: sum(sizes[name] for name in EXTENSIONS), ONE: sizes[JOINT]}
    found: dict[str, dict[str, Any]] = {}
    for name in (*EXTENSIONS, TOGETHER, ONE):
        figures: dict[str, Any] = dict(costs.added(rounds, name))
        figures["layer"] = sizes[name]
        figures["usd"] = costs.price_usd(rounds, figures) if rounds else None
        found[name] = {
            "delivered": accounts.delivered.get(name) or _ABOUT[name],
            "counted": accounts.figures.get(name, {}),
            **{key: None if value is None else round(value, 4) for key, value in figures.items()},
        }
    return found


def show_table(show: Show, found: dict[str, dict[str, Any]], rounds: list[dict[str, Cost]], backend: str) -> None:
    """With the columns that the backend can give."""
    columns = [column for column in _COLUMNS if all(row[column[0]] is not None for row in found.values())]
    has = {key for key, *_rest in columns}
    first = "".join(f"{'invoke' if key == 'response' and 'after' not in has else top:>{width}}"
                    for key, top, _unit, width, _form in columns)  # fmt: skip
    show.line(show.paint(f" {'':{_NAME}}{'delivered':{_DELIVERED}}{first}", "dim"))
    second = "".join(f"{unit:>{width}}" for _key, _top, unit, width, _form in columns)
    show.line(show.paint(f" {'─' * (_NAME + _DELIVERED - 1)} {second}", "dim"))
    cells = [(key, width, form) for key, *_rest, width, form in columns]
    if rounds:
        shop = {"delivered": "", **costs.alone(rounds)}
        _show_row(show, ALONE, shop, [(key, width, form.replace("+", "")) for key, width, form in cells])
    for name, row in found.items():
        noise = {key for key, _width, _form in cells if costs.is_noise(rounds, key, row[key])} if rounds else set()
        noise |= {"usd"} if row["usd"] == 0.0 or len(rounds) == 1 else set()
        _show_row(show, name, row, cells, noise)
    show.line()
    for text in _legend(found, rounds, backend, has) if rounds else ("What they cost was not measured (--rounds 0).",):
        show.line(show.paint(f" {text}", "dim"))


def _show_row(
    show: Show, name: str, row: dict[str, Any], columns: list[tuple[str, int, str]], noise: Set[str] = frozenset()
) -> None:
    scaled = {**row, "peak": row["peak"] / _MB if row.get("peak") is not None else None}
    cells = "".join(f"{_number(scaled.get(key), form, key in noise):>{width}}" for key, width, form in columns)
    styles = ("bold",) if name in (TOGETHER, ONE) else ("dim",) if name == ALONE else ("cyan",)
    show.line(f" {show.paint(f'{name:{_NAME}}', *styles)}{row['delivered']:{_DELIVERED}}{cells}".rstrip())


def _number(value: float | None, form: str, is_noise: bool) -> str:
    """Noise in brackets, which take the place of a plus, and no minus before what is nothing but zeros."""
    if value is None:
        return ""
    text = form.format(value)
    text = text if float(text) else form.format(0.0)
    return f"({text.removeprefix('+')})" if is_noise else text


def _legend(found: dict[str, dict[str, Any]], rounds: list[dict[str, Cost]], backend: str, has: set[str]) -> list[str]:
    """What the figures are, in lines of up to `WIDTH`."""
    answer = "response" if "after" in has else "invoke"
    noise = f"init {costs.spread(rounds, 'init'):.0f}, {answer} {costs.spread(rounds, 'response'):.1f} ms"
    bracketed = f"no more than the shop alone varied by, which is {noise}"
    if len(rounds) == 1:
        bracketed = "one round does not tell it from chance; measure more (--rounds)"
    where = "in a container here" if backend == "docker" else "on this one machine"
    counted = f"{len(rounds)} round{'s' * (len(rounds) > 1)} of {costs.INVOKES - costs.WARM} warm orders each"
    lines = [
        f"Medians of {counted}, {where}; + is added to the shop alone.",
        f"(In brackets): {bracketed}.",
        f"USD: estimate, {MEMORY_MB} MB at list prices of {prices.AS_OF}, a million warm invocations without their requests.",
    ]
    cold = found[TOGETHER].get("cold")
    if cold is not None and not costs.is_noise(rounds, "cold", cold):
        lines.append(
            f"Once, after an environment's first response (exporters load): all four {cold:+.0f} ms, "
            f"in one {found[ONE]['cold']:+.0f}."
        )
    if "cpu" in has:
        lines.append(
            f"CPU of an extension's process from start to end, {costs.INVOKES} orders included; MB: resident at most."
        )
    else:
        lines.append("No CPU and memory: the engine's processes cannot be looked at from here.")
    if "after" not in has:
        lines.append(
            "AWS's emulator answers when extensions are done too: invoke is the response and what comes after it."
        )
    return lines
