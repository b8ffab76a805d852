"""``python -m tests.benchmarks.fleet``: fleets of environments in virtual time, one table for each scenario."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from tests.benchmarks.fleet import report
from tests.benchmarks.fleet.scenarios import SCENARIOS, SIZES

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = 10


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fleet", description=__doc__)
    parser.add_argument("scenario", nargs="*", help=f"which to run, by default all: {', '.join(SCENARIOS)}")
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="environments, by default 1,10,1000,10000,100000")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all chance, by default {SEED}")
    parser.add_argument(
        "--json", metavar="FILE", help="everything that is known of each run; - for the standard output"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into FLEET.md as well")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.scenario if name not in SCENARIOS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such scenario; there are {', '.join(SCENARIOS)}")
    results = {}
    for name in chosen.scenario or SCENARIOS:
        results[name] = _run(name, chosen.sizes, chosen.seed, quiet=chosen.json == "-", write=chosen.write)
    if chosen.json:
        text = json.dumps({"seed": chosen.seed, "scenarios": results}, indent=1) + "\n"
        if chosen.json == "-":
            sys.stdout.write(text)
        else:
            with open(chosen.json, "w", encoding="utf-8") as file:
                file.write(text)
    return 0


def _run(name: str, sizes: Sequence[int], seed: int, *, quiet: bool, write: bool) -> list[report.Row]:
    scenario = SCENARIOS[name]
    lines = report.head(name)
    if not quiet:
        print(f"\n{name}: {' '.join((scenario.__doc__ or '').split())}\n", *lines, sep="\n", flush=True)
    rows = []
    began = time.process_time()
    for row in scenario.rows(sizes, seed):
        rows.append(row)
        lines.append(report.line(name, row))
        if not quiet:
            print(lines[-1], flush=True)
        if sys.stderr.isatty():
            print(f"{time.process_time() - began:.0f} s of CPU so far", file=sys.stderr)
    if write:
        report.write(name, lines)
    return rows


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(one) for one in text.split(","))
    if not all(1 <= one <= 1_000_000 for one in sizes):
        raise argparse.ArgumentTypeError("use 1 to 1000000")
    return sizes


if __name__ == "__main__":
    sys.exit(main())
