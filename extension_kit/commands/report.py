"""``report``: the record of a run, drawn: as a page, a text, a trace; what each process cost, as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.commands.values import add_pictures
from extension_kit.errors import ConfigError
from extension_kit.report import outputs
from extension_kit.report.costs import costs
from extension_kit.report.reading import load

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("record", metavar="RECORD.json|-", help="what extension-kit run --json has written")
    add_pictures(parser)
    parser.add_argument("--json", action="store_true", help="what each process cost, as JSON, in place of the text")


def run(options: argparse.Namespace) -> int:
    """Draw what was asked for, else the text."""
    try:
        data = sys.stdin.buffer.read() if options.record == "-" else Path(options.record).read_bytes()
    except OSError as error:
        raise ConfigError(f"{options.record}: cannot be read: {error.strerror}") from error
    record = load(data.decode("utf-8", "replace"), options.record)
    if options.json and str(options.report) == outputs.STDOUT:
        raise ConfigError("--json and --report - both print: name a file with --report")
    if options.report is not None or options.trace is not None:
        outputs.draw(record, options.report, options.trace)
    elif not options.json:
        outputs.show(record)
    if options.json:
        print(json.dumps([asdict(one) for one in costs(record)], indent=1))
    return 0
