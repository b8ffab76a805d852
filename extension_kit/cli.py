"""``extension-kit``: finds the command's module and imports it then.

Exit status: 0 well, 1 what was run or looked at is not in order or was interrupted, 2 the command line or its files are wrong.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from extension_kit.commands.console import Parser, guarded, unless_it_exits, usage, wants_json

if TYPE_CHECKING:
    from collections.abc import Sequence

#: command: what it does, in a line
COMMANDS = {
    "run": "run one function with any extensions",
    "report": "draw the record of a run",
    "new": "make a project for an extension",
    "check": "say what of settings, manifests, layers and this machine would not work",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in COMMANDS:
        return usage("extension-kit", COMMANDS, words)
    command = importlib.import_module(f"extension_kit.commands.{words[0]}")
    parser = Parser(prog=f"extension-kit {words[0]}", description=COMMANDS[words[0]].capitalize() + ".")
    command.arguments(parser)

    def done() -> int:
        options = parser.parse_args(words[1:])  # exits by itself, after --help
        return unless_it_exits(lambda: int(command.run(options)))

    return guarded("extension-kit", wants_json(words), done)


if __name__ == "__main__":
    sys.exit(main())
