"""``index``: the layers of a folder as JSON, for programs that look for the newest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from layer_build.atomic import write
from layer_build.index import entries, markdown, render

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path("dist"), metavar="FOLDER", help="default: dist")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="a table of sizes instead, for a page")
    form.add_argument("--json", action="store_true", help="JSON (default); with --out what was written, likewise")
    parser.add_argument("--out", type=Path, metavar="FILE", help="written in one go, or not at all (default: printed)")


def run(options: argparse.Namespace) -> int:
    """Print or write the index; what is left out is told on standard error."""
    found, skipped = entries(options.folder)
    for name, why in skipped:
        print(f"layer_build index: {name} skipped: {why}", file=sys.stderr)
    data = markdown(found).encode() if options.markdown else render(found)
    if options.out is None:
        sys.stdout.write(data.decode())
    else:
        write(options.out, data)
        said = f"{options.out}: {len(found)} layer{'s'[: len(found) != 1]}"
        print(json.dumps({"file": str(options.out), "layers": len(found)}) if options.json else said)
    return 0
