"""Which programs the egress guard lets be started; see `egress`. Imported when the first one is."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["command", "may_start"]

_OWN_INTERPRETER = "/proc/self/exe"
#: options of Python's with which other code is run than the first argument's
_RUNS_OTHER = frozenset("cmi")


def command(event: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    """Path and words of what an audit event starts; the path is ``fork`` for a copy of this process, ``sh`` for a shell."""
    if event in ("os.fork", "os.forkpty"):
        return "fork", ()
    if event == "os.system":
        return "sh", ()
    if event == "pty.spawn":
        return _path(arguments[0][0]), arguments[0]
    path, words = (arguments[1:3] if event == "os.spawn" else arguments)[:2]
    return _path(path), words


def may_start(programs: Iterable[str], path: str, words: Any) -> bool:
    """By the program's path as it stands in the manifest, or its last part; ``python`` is this interpreter, and none else.

    Where the manifest has an argument behind it, the first one that is no option must be, or end with, that.
    """
    is_own = path in (sys.executable, _OWN_INTERPRETER)
    last = path.rpartition("/")[2]
    names = {path, last}
    names.discard("python")
    if is_own:
        names.add("python")
    is_python = is_own or last.startswith("python")
    for program in programs:
        name, _, wanted = program.partition(" ")
        if name in names and (not wanted or f"/{_first(words, is_python)}".endswith(f"/{wanted}")):
            return True
    return False


def _path(program: Any) -> str:
    path = program.__fspath__() if hasattr(program, "__fspath__") else program
    return path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else str(path)


def _first(words: Any, is_python: bool) -> str:
    """Of a command's words the first behind the program that is no option; "" where there is none, or it is not what is run."""
    if isinstance(words, (str, bytes)):
        return ""
    rest = iter([_path(word) for word in words][1:])
    for word in rest:
        if not word.startswith("-"):
            return word
        if word == "--":
            return next(rest, "")
        # Letters may stand together (-Ic), up to one that takes the rest for itself.
        letters = word[1:].partition("X")[0].partition("W")[0]
        if is_python and (word == "-" or (not letters.startswith("-") and _RUNS_OTHER.intersection(letters))):
            return ""
    return ""
