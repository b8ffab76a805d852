"""``verify``: what of a layer, ours or anybody's, would break on Lambda, and how it is put right."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import archive, checks, tree
from layer_build.checks.report import Report, grouped
from layer_build.checks.size import Budget
from layer_build.checks.subject import Subject
from layer_build.targets import ARCHITECTURES, PYTHONS, Target

if TYPE_CHECKING:
    import argparse

_NARROWEST = 60


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("layers", nargs="+", type=Path, metavar="LAYER", help="a zip, or a folder that becomes /opt")
    parser.add_argument(
        "--arch", choices=tuple(ARCHITECTURES), default="", help="the functions' architecture; else what its files say"
    )
    parser.add_argument(
        "--python", default="", metavar="3.13,...", help="the functions' Python; else what its files say, or all"
    )
    parser.add_argument(
        "--with", dest="others", action="append", default=[], metavar="ZIP|DIR|SIZE",
        help="what is attached beside it, the function included: counted against 262,144,000 bytes (repeatable)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Look at each layer; 1 where one has an error. ConfigError for what cannot be looked at."""
    pythons = _pythons(options.python)
    others = tuple(_other(text) for text in options.others)
    reports = [report(path, options.arch, pythons, others) for path in options.layers]
    if options.json:
        json.dump({"layers": [one.json() for one in reports]}, sys.stdout, indent=1)
        print()
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print("\n".join(one.text(max(columns, _NARROWEST) if columns else None) for one in reports), end="")
    return 1 if any(one.errors for one in reports) else 0


def report(
    path: Path, arch: str = "", pythons: tuple[str, ...] = (), others: tuple[tuple[str, int], ...] = ()
) -> Report:
    """Everything about the layer at `path`; `others`: name and bytes of what is attached beside it."""
    subject = Subject(archive.read(path), arch, pythons)
    budget = Budget(tree.size(subject.files), others)
    findings = checks.all_findings(subject, budget.total - budget.layer)
    return Report(path.name or str(path), subject, budget, grouped(findings))


def _pythons(text: str) -> tuple[str, ...]:
    """Oldest first, as everywhere; ConfigError for a version that Lambda does not have."""
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text else ()
    if wanted:
        Target("x86_64", wanted)
    return tuple(python for python in PYTHONS if python in wanted)


def _other(text: str) -> tuple[str, int]:
    number = text.replace(",", "").replace("_", "")
    if number.isascii() and number.isdigit() and not os.path.exists(text):
        return f"{text} bytes", int(number)
    path = Path(text)
    if not path.exists():
        raise ConfigError(f"--with {text}: neither a zip, nor a folder, nor a number of bytes")
    return path.name or text, archive.unzipped_size(path)
