"""``extension-kit new``: the project of an extension, from the real one in ``project/``, by putting other names into it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from extension_kit.scaffold.names import Names

_PROJECT = Path(__file__).parent / "project"
_TOKENS = re.compile("my-extension|my_extension|MyExtension|MY_EXTENSION")
_DOT = "dot-"  # how the name of a hidden file begins in here, where git and others would heed it


def render(names: Names) -> dict[str, str]:
    """The project's files: path below its folder, and text."""
    found = {}
    for path in sorted(_PROJECT.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            place = "/".join(_visible(part) for part in path.relative_to(_PROJECT).parts)
            found[_renamed(place, names)] = _renamed(path.read_text(encoding="utf-8"), names)
    return found


def write(names: Names, folder: Path) -> list[Path]:
    """The new folder `folder` with the project in it, and its files; ConfigError, and nothing left, where it cannot be made.

    What is there already, be it an empty folder, is never touched.
    """
    if os.path.lexists(folder):
        raise ConfigError(f"{folder} is there already, and nothing is written over: take another name, or --directory")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()  # and not one that somebody else has made meanwhile
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made: {error.strerror}") from error
    written = []
    try:
        for place, text in render(names).items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}; it was removed again") from error
    return written


def _visible(part: str) -> str:
    return "." + part.removeprefix(_DOT) if part.startswith(_DOT) else part


def _renamed(text: str, names: Names) -> str:
    by_token = {
        "my-extension": names.name,
        "my_extension": names.module,
        "MyExtension": names.class_name,
        "MY_EXTENSION": names.prefix.removesuffix("_"),
    }
    return _TOKENS.sub(lambda match: by_token[match[0]], text)
