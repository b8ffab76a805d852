"""Compares the transcripts of both backends with the table of differences; ``make conformance`` prints the outcome."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conformance.scenarios import SCENARIOS
from tests.conformance.transcript import Transcript, run

if TYPE_CHECKING:
    from tests.conformance.scenarios import Scenario

ABSENT = "(absent)"
Row = tuple[str, str, Any, Any]


@dataclass(frozen=True)
class Comparison:
    """``fields``: how many were compared; ``rows``: scenario, field, ours, the judge's, for each that differs."""

    fields: int
    rows: tuple[Row, ...]


def compare(name: str, ours: Transcript, theirs: Transcript) -> Comparison:
    """Field by field. An exchange or a body that one side lacks altogether is one field."""
    places = _places(ours)
    others = _places(theirs)
    fields, rows = 0, []
    for place in dict.fromkeys([*places, *others]):
        one, other = places.get(place, {}), others.get(place, {})
        if not one or not other:
            one, other = ({"exchange": "present" if side else ABSENT} for side in (one, other))
        elif ("body" in one) != ("body" in other):
            one, other = ({key: value for key, value in side.items() if "body." not in key} for side in (one, other))
        for field in dict.fromkeys([*one, *other]):
            fields += 1
            pair = one.get(field, ABSENT), other.get(field, ABSENT)
            if pair[0] != pair[1]:
                rows.append((name, f"{place}: {field}", *pair))
    return Comparison(fields, tuple(rows))


def _places(transcript: Transcript) -> dict[str, Transcript]:
    """The fields of each exchange."""
    places: dict[str, Transcript] = {}
    for key, value in transcript.items():
        place, _, field = key.partition(": ")
        places.setdefault(place, {})[field] = value
    return places


def both(name: str, scenario: Scenario, folder: Path) -> Comparison:
    """Run `scenario` on both backends, side by side: they share nothing."""
    with ThreadPoolExecutor(2) as pool:
        ours = pool.submit(run, scenario, "emulator", folder / "emulator")
        theirs = pool.submit(run, scenario, "rie", folder / "rie")
        return compare(name, ours.result(), theirs.result())


def main() -> int:
    """Every scenario; exit status 1 where the table of differences is not what was found."""
    from tests.conformance.differences import REASONS, TABLE

    total, found = 0, []
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        for number, (name, scenario) in enumerate(SCENARIOS.items()):
            print(f"\r{number + 1}/{len(SCENARIOS)} {name:<40}", end="", file=sys.stderr, flush=True)
            comparison = both(name, scenario, Path(folder) / str(number))
            total += comparison.fields
            found += comparison.rows
    print(file=sys.stderr)
    for scenario_name, field, ours, theirs in found:
        why = TABLE.get((scenario_name, field), (None, None, "NOT IN THE TABLE"))[2]
        print(f"{scenario_name} | {field} | {ours!r} | {theirs!r} | {why}")
    for key, text in REASONS.items():
        print(f"{key}: {text}")
    expected = [(*key, row[0], row[1]) for key, row in TABLE.items()]
    right = sorted(map(repr, found)) == sorted(map(repr, expected))
    print(
        f"{len(SCENARIOS)} scenarios, {total} fields compared, {len(found)} differences, "
        + ("all of them in the table" if right else "NOT as the table says")
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
