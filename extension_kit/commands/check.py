"""``check``: the settings of plug-ins against the environment variables."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from extension_kit.commands.values import variable

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("--plugin", action="append", default=[], metavar="MODULE:CLASS", help="repeatable")
    parser.add_argument(
        "--env", type=variable, action="append", default=[], metavar="K=V", help="variable (repeatable)"
    )
    parser.add_argument("--offline", action="store_true", help="try nothing, e.g. send no test record to a sink")
    parser.add_argument("--json", action="store_true", help="findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Print what was found; 1 where something was."""
    from extension_kit.io.clock import Clock
    from extension_kit.plugin import Context, Log, load
    from extension_kit.settings import KitSettings

    sys.path.insert(0, os.getcwd())
    os.environ.update(dict(options.env))
    findings = [{"about": "extension-kit", "finding": line} for line in KitSettings.parse(os.environ)[1]]
    for spec in options.plugin:
        plugin = load(spec)
        settings, found = plugin.settings.parse(os.environ) if plugin.settings is not None else (None, ())
        if not options.offline:
            context = Context(plugin.name, os.environ, Log(plugin.name, sys.stderr.write), Clock(), settings)
            found = (*found, *plugin.check(context))
        findings += [{"about": plugin.name, "finding": line} for line in found]
    if options.json:
        print(json.dumps(findings, indent=1))
    else:
        for finding in findings:
            print(f"{finding['about']}: {finding['finding']}")
        print(f"check: {len(findings)} finding(s)")
    return 1 if findings else 0
