"""``check``: settings, manifests, layers, permissions, sizes and this machine: what would not work, and the fix."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.checking import environment, iam, layers, manifests, settings, variables
from extension_kit.checking.findings import GROUPS, NOTE, Finding
from extension_kit.checking.subject import Subject, attach, project
from extension_kit.commands.console import apart
from extension_kit.commands.values import variable
from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    import argparse

_NARROWEST = 60  # columns, whatever a terminal says
_SUBJECTS = (settings, variables, manifests, layers, iam)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.description = (
        "Say what of settings, manifests, layers, permissions, sizes and this machine would not work, and the fix. "
        "With neither --plugin nor --layer: the project in this directory. Exit status: 1 where there is an error or a warning."
    )
    add = parser.add_argument
    add("--plugin", action="append", default=[], metavar="MODULE:CLASS", help="repeatable")
    add(
        "--layer", type=Path, action="append", default=[], metavar="ZIP|DIR", help="repeatable, in the function's order"
    )
    add("--function", type=Path, metavar="DIR|ZIP", help="the function, counted with the layers")
    add(
        "--env", type=variable, action="append", default=[], metavar="K=V", help="variable of the function (repeatable)"
    )
    add("--policy", type=Path, action="append", default=[], metavar="FILE", help="IAM policy of its role (repeatable)")
    add("--offline", action="store_true", help="try nothing, e.g. send no test record to a sink")
    add("--json", action="store_true", help="findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Print what was found; 1 where that is more than notes."""
    sys.path.insert(0, os.getcwd())
    before = dict(os.environ)
    os.environ.update(dict(options.env))  # plug-ins read them there
    try:
        with apart(options.json):
            subject = _subject(options)
            found = [finding for one in _SUBJECTS for finding in one.check(subject)]
    finally:
        os.environ.clear()
        os.environ.update(before)  # the function's proxy is not this machine's
    found += environment.check()
    found.sort(key=lambda one: GROUPS.index(one.group))
    count = sum(one.level != NOTE for one in found)
    if options.json:
        print(json.dumps([one.as_json() for one in found], indent=1))
    else:
        print("\n".join(_lines(found)))
        notes = f", {len(found) - count} note(s)" if len(found) > count else ""
        print(f"check: {count} finding(s){notes}")
    return 1 if count else 0


def _subject(options: argparse.Namespace) -> Subject:
    for path in (*options.layer, *([options.function] if options.function else [])):
        if not path.exists():
            raise ConfigError(f"{path}: no such file or directory")
    mine, broken = ((), ()) if options.plugin or options.layer else project(Path.cwd())
    return Subject(
        plugins=mine or tuple(attach(spec) for spec in options.plugin),
        environ=dict(os.environ),
        given=dict(options.env),
        layers=tuple(options.layer),
        function=options.function,
        policies=tuple(options.policy),
        offline=options.offline,
        broken=broken,
    )


def _lines(found: list[Finding]) -> list[str]:
    """What must be done first, by subject; notes after all of it."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    lines = []
    for title, chosen in (
        *((group, [one for one in found if one.group == group and one.level != NOTE]) for group in GROUPS),
        ("notes", [one for one in found if one.level == NOTE]),
    ):
        if chosen:
            lines.append(title)
        for one in chosen:
            level = "" if one.level == NOTE else f"{one.level} "
            lines += [f"  {level}{one.about}: {one.finding}", f"    fix: {one.fix}"]
    return [_wrapped(line, max(width, _NARROWEST)) if width else line for line in lines]


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(line, width, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False)
