"""What the project's commands share: how they say what is wrong.

One line on standard error, and exit status 2. Where a program asked for JSON, standard output holds one JSON document in any
case: then it is ``{"error": "the same line"}``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, NoReturn

from extension_kit.errors import ConfigError, ExtensionKitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Parser(argparse.ArgumentParser):
    """Raises ConfigError, in one line, where argparse would print the usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def wants_json(words: Sequence[str]) -> bool:
    """Whether standard output is to be JSON: ``--json``, but not ``--json FILE`` of a command that writes it to a file."""
    for at, word in enumerate(words):
        if word in ("--json", "--json=-"):
            return word != "--json" or words[0] != "run" or words[at + 1 : at + 2] == ["-"]
    return False


def guarded(prog: str, as_json: bool, do: Callable[[], int]) -> int:
    """``do()``'s exit status; 2 for what is wrong with the command line or its files, 1 when interrupted."""
    try:
        return do()
    except ExtensionKitError as error:
        return failed(prog, str(error), as_json)
    except BrokenPipeError:  # `| head`: nobody reads on
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it at its end
        return 1
    except KeyboardInterrupt:
        failed(prog, "interrupted", as_json)
        return 1
    except Exception as error:  # ours, or that of code which we have called: a document all the same, and no "findings"
        traceback.print_exc()
        return failed(prog, f"internal error: {error!r}", as_json)


def unless_it_exits(do: Callable[[], int]) -> int:
    """``do()``'s exit status; ConfigError where code that it has imported or called would end the process."""
    try:
        return do()
    except SystemExit as error:
        raise ConfigError(
            f"code that was imported here has called sys.exit({error.code!r}): nothing more was done"
        ) from error


@contextmanager
def apart(as_json: bool) -> Iterator[None]:
    """While code of others runs: what it prints, and what processes of its print, goes to standard error where `as_json`."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if sys.__stdout__ is not None:
            sys.__stdout__.flush()  # who holds it has written past sys.stdout
        os.dup2(kept, 1)
        os.close(kept)


def failed(prog: str, text: str, as_json: bool) -> int:
    """Say that the command `prog` could not be done; the exit status."""
    print(f"{prog}: {text}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": text}))
    return 2


def usage(prog: str, commands: dict[str, str], words: Sequence[str]) -> int:
    """The list of commands, where one asked for it; else that there is no such command, and the list. The exit status."""
    asked = bool(words) and words[0] in ("-h", "--help")
    if not asked:
        wrong = f"no command {words[0]!r}" if words else "no command was given"
        return failed(prog, f"{wrong}; there are {', '.join(commands)} (see {prog} --help)", wants_json(words))
    print(f"{prog} COMMAND --help")
    for name, help_ in commands.items():
        print(f"  {name:9}{help_}")
    return 0
