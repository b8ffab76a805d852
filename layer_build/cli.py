"""The command line: finds the command's module, imports it then, and says in one line what is wrong.

Exit status: 0 well, 1 the layer is not in order (`verify`, `diff`), 2 the command line or what it names is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from extension_kit.errors import ExtensionKitError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: command: what it does, in a line
COMMANDS = {
    "build": "make a layer of an extension",
    "verify": "say what of a layer would break on Lambda",
    "inspect": "print what is in a layer",
    "diff": "compare two layers",
    "template": "write the infrastructure code for a layer",
    "index": "list the layers of a folder as JSON",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in COMMANDS:
        return _usage(words)
    command = importlib.import_module(f"layer_build.commands.{words[0]}")
    parser = _Parser(prog=f"layer_build {words[0]}", description=COMMANDS[words[0]].capitalize() + ".")
    command.arguments(parser)
    try:
        status: int = command.run(parser.parse_args(words[1:]))
    except ExtensionKitError as error:
        print(f"layer_build {words[0]}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head`: nobody reads on
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it at its end
        return 1
    except KeyboardInterrupt:
        print(f"layer_build {words[0]}: interrupted", file=sys.stderr)
        return 1
    return status


def _usage(words: list[str]) -> int:
    asked = bool(words) and words[0] in ("-h", "--help")
    stream = sys.stdout if asked else sys.stderr
    if words and not asked:
        print(f"layer_build: no command {words[0]!r}", file=stream)
    print("python -m layer_build COMMAND --help", file=stream)
    for name, help_ in COMMANDS.items():
        print(f"  {name:9}{help_}", file=stream)
    return 0 if asked else 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message} (see --help)\n")
