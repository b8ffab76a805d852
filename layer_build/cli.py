"""The command line: finds the command's module, imports it then, and says in one line what is wrong.

Exit status: 0 well, 1 the layer is not in order (`verify`, `diff`), 2 the command line or what it names is wrong.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from extension_kit.commands.console import Parser, guarded, usage, wants_json

if TYPE_CHECKING:
    from collections.abc import Sequence

#: command: what it does, in a line
COMMANDS = {
    "build": "make a layer of an extension",
    "verify": "say what of a layer would break on Lambda",
    "inspect": "print what is in a layer",
    "diff": "compare two layers",
    "template": "write the infrastructure code for a layer",
    "interpreter": "make a Python for layers of every runtime",
    "index": "list the layers of a folder as JSON",
    "publish": "publish layers to regions of AWS (a plan only, without --yes)",
    "outdated": "list functions whose layers are behind, and what a newer one changes",
    "policy": "print the least IAM policy for extensions with given settings",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in COMMANDS:
        return usage("layer_build", COMMANDS, words)
    command = importlib.import_module(f"layer_build.commands.{words[0]}")
    prog = f"layer_build {words[0]}"
    parser = Parser(prog=prog, description=COMMANDS[words[0]].capitalize() + ".")
    command.arguments(parser)
    return guarded(prog, wants_json(words), lambda: command.run(parser.parse_args(words[1:])))
