"""A run as text for a terminal: where the time went, a line for each process, the invocations, the costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from extension_kit import pictures
from extension_kit.report.costs import costs_of, parts
from extension_kit.report.model import SPANS
from extension_kit.report.reading import output, timeline
from extension_kit.report.scale import Scale
from extension_kit.report.title import facts, heading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extension_kit.report.costs import Cost
    from extension_kit.report.model import Invocation, Span, Timeline

NARROWEST, WIDEST = 80, 120
_NAME = 18  # columns of a process's name
_ROWS = 20  # invocations that are shown
_UNICODE = {
    "init": "▒", "start": "░", "prepare": "▒", "restore": "▒", "invoke": "═", "function": "█", "beside": "▓",
    "after": "▚", "flush": "▞", "wait": "─", "frozen": "·", "shutdown": "▄", "": " ", "error": "!", "fault": "*", "bar": "█",
}  # fmt: skip
_ASCII = {
    "init": "i", "start": "s", "prepare": "p", "restore": "r", "invoke": "=", "function": "#", "beside": "+",
    "after": "%", "flush": "f", "wait": "-", "frozen": ".", "shutdown": "x", "": " ", "error": "!", "fault": "*", "bar": "#",
}  # fmt: skip


def text(record: dict[str, Any], width: int = 100, encoding: str | None = "utf-8") -> str:
    """The text; lines of `width` columns at most (80 to 120), in characters that `encoding` has."""
    width = max(NARROWEST, min(WIDEST, width))
    found = timeline(record)
    glyphs = _UNICODE if pictures.levels(encoding) == pictures.BLOCKS else _ASCII
    told = [
        [heading(found), facts(found)],
        _spent(found, width, glyphs),
        _lanes(found, width, glyphs),
        _invocations(found),
        _costs(costs_of(found, record["events"]), width),
        _measured(output(record), width, pictures.levels(encoding)),
        [f"note: {note}" for note in found.notes],
    ]
    blocks = ["\n".join(_fit(line, width) for line in block) for block in told if block]
    whole = "\n\n".join(blocks) + "\n"
    return whole if glyphs is _UNICODE else whole.encode("ascii", "replace").decode()


def _fit(line: str, width: int) -> str:
    """No control characters of others reach a terminal, and no line is broken by it."""
    line = "".join(one if one.isprintable() else "?" for one in line).rstrip()
    return line if len(line) <= width else f"{line[: width - 2]}.."


def ms(value: float | None) -> str:
    """A time as people read it; a dash for what is not known."""
    if value is None:
        return "-"
    return f"{value:.1f} ms" if value < 10_000 else f"{value / 1000:.1f} s"


def _spent(found: Timeline, width: int, glyphs: dict[str, str]) -> list[str]:
    spent = {part: time for part, time in parts(found).items() if time > 0}
    room = width - 46
    lines = ["where the time went"]
    for part in sorted(spent, key=list(PART_NAMES).index):
        share = spent[part] / found.end
        bar = glyphs["bar"] * round(share * room)
        lines.append(f"  {PART_NAMES[part]:<26} {ms(spent[part]):>10} {share:>4.0%} {bar}")
    return lines


#: the parts of a run that `costs.parts` counts, in the order in which they are told
PART_NAMES = {
    "init": "init",
    "restore": "restore",
    "function": "function",
    "after": "after the response",
    "shutdown": "shutdown",
    "frozen": "frozen",
    "idle": "nothing to do",
}


# lanes ------------------------------------------------------------------------------------------------------------------


def _lanes(found: Timeline, width: int, glyphs: dict[str, str]) -> list[str]:
    size = width - _NAME - 3
    scale = Scale(found, size)
    lines = [f"{'timeline':<{_NAME}}   {scale.ruler()}"]
    for lane, one in enumerate(found.lanes):
        spans = [span for span in found.spans if span.lane == lane]
        if spans:
            cells = _cells(spans, scale, glyphs)
            lines.append(f"  {_short(one.name):<{_NAME}} {cells}")
        marks = [mark for mark in found.marks if mark.lane == lane and mark.kind in ("error", "fault")]
        if marks:
            row = [" "] * size
            for mark in marks:
                cell = scale.cell(mark.at)
                row[cell] = glyphs["error"] if "error" in (mark.kind, _kind_at(row[cell])) else glyphs["fault"]
            lines.append(f"  {'':<{_NAME}} {''.join(row)}")
    lines += _legend(found, width, glyphs)
    if scale.folded:
        lines.append(f"  pauses are folded: {scale.folded} of them are drawn shorter than they were")
    return lines


def _kind_at(character: str) -> str:
    return "error" if character == "!" else ""


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 2]}.."


def _cells(spans: Sequence[Span], scale: Scale, glyphs: dict[str, str]) -> str:
    """A character for each cell: what took most of it, but waiting is drawn only where nothing else took a quarter."""
    shares: list[dict[str, float]] = [{} for _ in range(scale.cells)]
    for span in spans:
        for cell in range(scale.cell(span.start), scale.cell(span.end) + 1):
            begin, end = scale.bounds(cell)
            if end > begin:
                share = (min(end, span.end) - max(begin, span.start)) / (end - begin)
                shares[cell][span.kind] = shares[cell].get(span.kind, 0.0) + share
    return "".join(glyphs[_strongest(share)] for share in shares)


def _strongest(share: dict[str, float]) -> str:
    if share.get("flush", 0.0) >= 0.25:
        return "flush"  # it is a part of something else, which took as much
    work = {kind: part for kind, part in share.items() if kind not in ("wait", "frozen", "invoke") and part >= 0.25}
    of = work or {kind: part for kind, part in share.items() if part > 0}
    return max(of, key=lambda kind: of[kind]) if of else ""


def _legend(found: Timeline, width: int, glyphs: dict[str, str]) -> list[str]:
    drawn = {span.kind for span in found.spans}
    words = [f"{glyphs[kind]} {name}" for kind, name in SPANS.items() if kind in drawn]
    words += [f"{glyphs[kind]} {kind}" for kind in ("error", "fault") if any(m.kind == kind for m in found.marks)]
    lines = [" "]
    for word in words:
        if len(lines[-1]) + len(word) + 3 > width:
            lines.append(" ")
        lines[-1] += f"  {word}" if lines[-1].strip() else f" {word}"
    return lines


# tables -----------------------------------------------------------------------------------------------------------------


def _invocations(found: Timeline) -> list[str]:
    if not found.invocations:
        return []
    lines = [f"{'invocations':<13} {'at':>10} {'before':>10} {'response':>10} {'after':>10} {'billed':>10}  status"]
    shown = _of_interest(found.invocations)
    for one in shown:
        billed = "-" if one.billed_ms is None else f"{one.billed_ms:.0f} ms"
        status = " ".join(filter(None, (one.told_status, one.error_type)))
        lines.append(
            f"  {one.number:<11} {ms(one.start):>10} {ms(one.before_ms):>10} {ms(one.response_ms):>10} "
            f"{ms(one.after_ms):>10} {billed:>10}  {status}"
        )
    if left := len(found.invocations) - len(shown):
        lines.append(f"  ... and {left} more: shown are the first, those with errors, and the longest")
    return lines


def _of_interest(all_of_them: list[Invocation]) -> list[Invocation]:
    if len(all_of_them) <= _ROWS:
        return all_of_them
    failed = [one for outcome in ("not well", "not ended") for one in all_of_them if one.outcome == outcome]
    longest = sorted(all_of_them, key=lambda one: one.start - (one.end if one.end is not None else one.start))
    chosen = {one.number: one for one in [*all_of_them[:3], *failed, *longest]}
    return sorted(list(chosen.values())[:_ROWS], key=lambda one: one.number)


def _costs(rows: list[Cost], width: int) -> list[str]:
    if not rows:
        return []
    name, more = (26, True) if width >= 100 else (20, False)
    title = "what each process cost"
    heads = f"{'register':>10} {'ready':>10} {'CPU':>10} {'peak':>9} {'after':>10}"
    lines = [f"{title:<{name + 2}} {heads}" + (f" {'telemetry':>10}" if more else "")]
    for one in rows:
        memory = "-" if one.peak_mb is None else f"{one.peak_mb:.1f} MB"
        line = (
            f"  {_fit(one.party, name):<{name}} {ms(one.register_ms):>10} {ms(one.init_ms):>10} "
            f"{ms(one.cpu_ms):>10} {memory:>9} {ms(one.after_ms):>10}"
        )
        lines.append(line + (f" {one.telemetry_events or '-':>10}" if more else ""))
    return lines


def _measured(events: Sequence[dict[str, Any]], width: int, characters: str) -> list[str]:
    """What extensions measured; without the sparklines where there is no room for them."""
    lines = pictures.table(events, characters).splitlines()
    if width >= 100:
        return lines
    drawn = pictures.NAME_COLUMNS, pictures.NAME_COLUMNS + pictures.LINE_COLUMNS
    return [line if line.startswith("  ...") else line[: drawn[0]] + line[drawn[1] :] for line in lines]
