"""The lifecycle table as pictures, as they stand in the guide: Mermaid, a table in plain text, SVG.

Whoever changes the table draws them anew: ``python -m tests.pictures``.
"""

from __future__ import annotations

from extension_kit.protocol.lifecycle import STARTED, TABLE

__all__ = ["diagram", "svg", "table"]

_ENDS = ("exited", "killed", "launch failed")
# pixels
_BOX, _HEIGHT, _ROW, _LEFT, _LANE = 150, 34, 76, 24, 84


def diagram(kind: str) -> str:
    """A Mermaid ``stateDiagram-v2`` of one kind of party. How a process may end is left out: it can, in every state."""
    lines = ["stateDiagram-v2", f"    [*] --> {STARTED}"]
    lines += [f"    {state} --> {following}: {steps}" for state, following, steps in _arrows(kind)]
    return "\n".join(lines) + "\n"


def table(kind: str) -> str:
    """Every row of the table, ends of the process included: state, step, the state that follows."""
    rows = [(state, step, following) for state, steps in TABLE[kind].items() for step, following in steps.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines, before = [], ""
    for state, step, following in rows:
        shown = "" if state == before else state
        before = state
        lines.append(f"{shown:{widths[0]}}  {step:{widths[1]}} -> {following}")
    return "\n".join(lines) + "\n"


def svg(kind: str) -> str:
    """The same picture as `diagram`, for where Mermaid is not drawn: states from top to bottom, arrows beside them."""
    arrows = [arrow for arrow in _arrows(kind) if arrow[0] != arrow[1]]
    loops = {state: steps for state, following, steps in _arrows(kind) if state == following}
    states = [state for state in TABLE[kind] if any(state in arrow[:2] for arrow in arrows)]
    places = {state: 20 + number * _ROW for number, state in enumerate(states)}
    parts = [_box(state, y, loops.get(state, "")) for state, y in places.items()]
    lanes: list[list[tuple[int, int]]] = []
    beside: list[tuple[int, int, int, str]] = []
    for state, following, steps in sorted(arrows, key=lambda arrow: abs(places[arrow[0]] - places[arrow[1]])):
        start, end = places[state], places[following]
        if end - start == _ROW:
            parts += _down(start, steps)
        else:
            beside.append((*_ends_of(start, end, lane := _lane(lanes, min(start, end), max(start, end))), lane, steps))
    for leaves, enters, lane, steps in beside:
        crossing = [y for *ys, other, _steps in beside if other > lane for y in ys]
        parts += _beside(leaves, enters, lane, steps, crossing)
    parts.sort(key=lambda part: part.startswith("<text"))  # what is written is not crossed out
    height = max(places.values()) + _HEIGHT + 20
    width = _LEFT + _BOX + (len(lanes) + 1) * _LANE
    return "\n".join([_HEAD.format(width=width, height=height, kind=kind), *parts, "</svg>"]) + "\n"


def _arrows(kind: str) -> list[tuple[str, str, str]]:
    """From, to, and the steps that lead there, in the order of the table; without the ends of the process."""
    found = []
    for state, steps in TABLE[kind].items():
        merged: dict[str, list[str]] = {}
        for step, following in steps.items():
            if step not in _ENDS:
                merged.setdefault(following, []).append(step)
        found += [(state, following, ", ".join(names)) for following, names in merged.items()]
    return found


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<title>Lifecycle of one {kind}</title>
<defs><marker id="tip" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">
<path d="M0,0 L9,4 L0,8 z" fill="#57606a"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>"""


def _box(state: str, y: int, loop: str) -> str:
    again = f'<tspan fill="#57606a" font-size="11"> ({loop})</tspan>' if loop else ""
    return (
        f'<rect x="{_LEFT}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="6" fill="#ddf4ff" stroke="#0969da"/>\n'
        f'<text x="{_LEFT + _BOX // 2}" y="{y + 22}" text-anchor="middle">{state}{again}</text>'
    )


def _down(start: int, steps: str) -> tuple[str, str]:
    x, y = _LEFT + _BOX // 2, start + _HEIGHT
    return _line(f"M{x},{y} V{start + _ROW}"), _label(x + 6, y + 26, steps, "start")


def _ends_of(start: int, end: int, lane: int) -> tuple[int, int]:
    """Where an arrow leaves the one box, and enters the other: no two of a box at the same place."""
    return start + _HEIGHT - 4 - lane * 4, end + 4 + lane * 4


def _beside(leaves: int, enters: int, lane: int, steps: str, crossing: list[int]) -> tuple[str, str]:
    """Out of the box on its right, along a lane of its own, and back into the other; its name where no line crosses it."""
    edge, turn = _LEFT + _BOX, _LEFT + _BOX + 24 + lane * _LANE
    middle = (leaves + enters) // 2
    free = [
        y for y in range(min(leaves, enters) + 8, max(leaves, enters) - 7) if all(abs(y - one) > 9 for one in crossing)
    ]
    y = min(free or [middle], key=lambda one: abs(one - middle))
    return _line(f"M{edge},{leaves} H{turn} V{enters} H{edge}"), _label(turn + 4, y + 4, steps, "start")


def _lane(lanes: list[list[tuple[int, int]]], top: int, bottom: int) -> int:
    """The first lane in which nothing lies between `top` and `bottom` yet."""
    for number, taken in enumerate(lanes):
        if all(bottom < high or low < top for high, low in taken):
            taken.append((top, bottom))
            return number
    lanes.append([(top, bottom)])
    return len(lanes) - 1


def _line(path: str) -> str:
    return f'<path d="{path}" fill="none" stroke="#57606a" marker-end="url(#tip)"/>'


def _label(x: int, y: int, steps: str, anchor: str) -> str:
    edge = 'paint-order="stroke" stroke="#ffffff" stroke-width="4"'
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#24292f" {edge}>{steps}</text>'
