"""Compares the transcripts of both backends with the table of differences; ``make conformance`` prints the outcome."""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.commands.console import Parser, guarded, wants_json
from extension_kit.errors import ConfigError
from tests.conformance.scenarios import SCENARIOS
from tests.conformance.transcript import Transcript, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from tests.conformance.scenarios import Scenario

_PROG = "python -m tests.conformance.compare"
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The scenarios that were named, or all; exit status 1 where the table of differences is not what was found."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = Parser(prog=_PROG, description=(__doc__ or "").partition(";")[0] + ".")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--json", action="store_true", help="differences and reasons, as JSON")
    return guarded(_PROG, wants_json(words), lambda: _main(parser.parse_args(words)))


def _main(options: argparse.Namespace) -> int:
    from tests.conformance.differences import REASONS, TABLE

    unknown = sorted(set(options.scenarios) - set(SCENARIOS))
    if unknown:
        raise ConfigError(f"no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}")
    chosen = {name: SCENARIOS[name] for name in SCENARIOS if not options.scenarios or name in options.scenarios}
    total, found = 0, []
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        for number, (name, scenario) in enumerate(chosen.items()):
            print(f"\r{number + 1}/{len(chosen)} {name:<40}", end="", file=sys.stderr, flush=True)
            comparison = both(name, scenario, Path(folder) / str(number))
            total += comparison.fields
            found += comparison.rows
    print(file=sys.stderr)
    rows = [(*row, TABLE.get(row[:2], (None, None, "NOT IN THE TABLE"))[2]) for row in found]
    expected = [(*key, row[0], row[1]) for key, row in TABLE.items() if key[0] in chosen]
    right = sorted(map(repr, found)) == sorted(map(repr, expected))
    if options.json:
        names = ("scenario", "field", "ours", "theirs", "reason")
        differences = [dict(zip(names, row, strict=True)) for row in rows]
        print(json.dumps({"scenarios": list(chosen), "fields": total, "as_the_table_says": right,
                          "differences": differences, "reasons": REASONS}, indent=1))  # fmt: skip
        return 0 if right else 1
    for scenario_name, field, ours, theirs, why in rows:
        print(f"{scenario_name} | {field} | {ours!r} | {theirs!r} | {why}")
    for key, text in REASONS.items():
        print(f"{key}: {text}")
    print(
        f"{len(chosen)} scenarios, {total} fields compared, {len(found)} differences, "
        + ("all of them in the table" if right else "NOT as the table says")
    )
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
