"""A run as a page: one HTML file that needs, and is allowed, nothing from anywhere.

The style, the scripts and the data lie in the file itself. What the record holds are other people's texts: they are data in a
block that no browser runs, written without any character that could end it, and the script puts them on the page as text. The
content security policy allows the script and the style whose digests it names, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit import pictures
from extension_kit.report.costs import costs_of, parts
from extension_kit.report.model import MARKS, SPANS
from extension_kit.report.reading import output, timeline
from extension_kit.report.scale import pauses
from extension_kit.report.text import PART_NAMES, text
from extension_kit.report.title import facts, heading, name
from extension_kit.report.words import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extension_kit.report.costs import Cost
    from extension_kit.report.model import Invocation, Timeline

_FOLDER = Path(__file__).parent
_SCRIPTS = ("scale.js", "timeline.js", "marks.js", "pointer.js", "tables.js", "page.js")
#: where the emulator is, memory is not the environment's own
_MEMORY = (
    "no memory of its own: system.memory.utilization above 100 % is what this whole machine uses, "
    "beside the memory size of the function"
)
_POINTS = 200  # of a sparkline; more of them are one each for several invocations


def html(record: dict[str, Any]) -> str:
    """The page."""
    style = _file("page.css")
    script = f'"use strict";\n{"".join(map(_file, _SCRIPTS))}'
    found = timeline(record)
    filled = {
        "policy": policy(style, script),
        "title": escape(f"{name(found)}: report of a run"),
        "style": style,
        "data": as_data(content(found, record)),
        "script": script,
        "text": escape(text(record)),
    }
    # In one pass: a text that looks like a place to fill is none.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place[1]], _file("page.html"))


def _file(part: str) -> str:
    return (_FOLDER / part).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """The content security policy: nothing, but for this script and this style."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(inline: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}"


def as_data(value: Any) -> str:
    """JSON that stands in a page whatever is in it: only ASCII, and none of HTML's own characters."""
    dumped = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return dumped.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def content(found: Timeline, record: dict[str, Any]) -> dict[str, Any]:
    """What the script draws. Times in milliseconds, to the microsecond."""
    spent = parts(found)
    measured = _measured(output(record))
    rows = [0] * len(found.lanes)
    for span in found.spans:
        rows[span.lane] = max(rows[span.lane], span.row)
    return {
        "name": name(found),
        "heading": heading(found),
        "facts": facts(found),
        "end": _round(found.end),
        "spanKinds": SPANS,
        "markKinds": MARKS,
        "lanes": [[lane.name, lane.kind, rows[place] + 1] for place, lane in enumerate(found.lanes)],
        "spans": [
            [
                one.lane,
                one.kind,
                _round(one.start),
                _round(one.end),
                one.label,
                one.invocation,
                one.row,
                _words(one.details),
            ]
            for one in found.spans
        ],
        "marks": [[one.lane, one.kind, _round(one.at), one.label, one.invocation] for one in found.marks],
        "invocations": [_invocation(one) for one in found.invocations],
        "unwell": found.errors,
        "unended": found.unended,
        "parts": [[part, told, _round(spent[part])] for part, told in PART_NAMES.items() if spent[part] > 0],
        "costs": [_cost(one) for one in costs_of(found, record["events"])],
        "measured": measured,
        "pauses": [[_round(start), _round(end)] for start, end in pauses(found)],
        "notes": [*found.notes, *([_MEMORY] if _is_beyond_memory(measured) else [])],
    }


def _words(details: dict[str, Any]) -> dict[str, str]:
    return {name: shortened(str(value)) for name, value in details.items() if value is not None}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _invocation(one: Invocation) -> dict[str, Any]:
    return {
        "number": one.number,
        "id": one.request_id,
        "start": _round(one.start),
        "before": _round(one.before_ms),
        "response": _round(one.response_ms),
        "after": _round(one.after_ms),
        "overhead": _round(one.overhead_ms),
        "end": _round(one.end),
        "status": one.told_status,
        "outcome": one.outcome,
        "error": one.error_type,
        "bytes": one.size,
        "billed": one.billed_ms,
        "memory": one.memory_mb,
    }


def _cost(one: Cost) -> dict[str, Any]:
    return {
        "party": one.party,
        "kind": one.kind,
        "starts": one.starts,
        "register": _round(one.register_ms),
        "ready": _round(one.init_ms),
        "cpu": _round(one.cpu_ms),
        "peak": _round(one.peak_mb),
        "after": _round(one.after_ms),
        "afterTotal": _round(one.after_total_ms),
        "batches": one.batches,
        "telemetry": one.telemetry_events,
        "lines": one.log_lines,
    }


def _is_beyond_memory(measured: Sequence[dict[str, Any]]) -> bool:
    """Whether more memory was measured than the function has, which can only be somebody else's."""
    return any(
        row["name"] == "system.memory.utilization" and row["unit"] == "%" and _number(row["high"]) > 100
        for row in measured
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _measured(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What extensions measured: every figure over the invocations, in a unit that suits the largest; the best first."""
    all_rows, _together = pictures.rows(events)
    first = pictures.chosen(all_rows)
    chosen = {id(row) for row in first}
    told = []
    for row in [*first, *(row for row in all_rows if id(row) not in chosen)]:
        figures, unit = pictures.human([row.low, row.high, row.points[-1].value], row.unit)
        size = len(row.points)
        step = max(1, -(-size // _POINTS))
        values = [max(point.value for point in row.points[at : at + step]) for at in range(0, size, step)]
        told.append(
            {
                "party": row.party,
                "name": row.name,
                "unit": unit.replace("us", "\u00b5s") if unit.startswith("us") else unit,
                "count": sum(point.count for point in row.points),
                "low": figures[0],
                "high": figures[1],
                "last": figures[2] if row.points[-1].count == 1 else "-",
                "values": values,
            }
        )
    return told
