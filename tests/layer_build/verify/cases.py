"""Broken layers for tests: each is a good one with the smallest change, and is refused for that change and nothing else."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layer_build import cli
from layer_build.checks.findings import NOTE, RULES
from tests.layer_build.verify.layers import (
    CONF,
    MANIFEST,
    PLUGIN,
    SCRIPT,
    File,
    Files,
    changed,
    of_bash,
    of_libraries,
    of_ours,
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

HELLO = "extensions/hello.sh"
BASH = of_bash()
LIBRARIES = of_libraries()
OURS = of_ours()


@dataclass(frozen=True)
class Case:
    """A layer, and what verify says of it: the ``code``, words of its texts (``says``).

    ``words``: of the command line; ``again``: entries that the zip has twice; ``beside``: codes that go with it.
    """

    name: str
    files: Files
    code: str
    says: tuple[str, ...]
    words: tuple[str, ...] = ()
    again: tuple[tuple[str, File], ...] = ()
    beside: tuple[str, ...] = ()


def script(first: bytes) -> Files:
    """The good script with another first line."""
    return changed(BASH, at=HELLO, data=first + SCRIPT.partition(b"\n")[2], mode=0o755)


def binary(data: bytes, at: str = HELLO) -> Files:
    """A program in the place of the script, or somewhere else."""
    return changed(BASH, at=at, data=data, mode=0o755)


def ours(**texts: tuple[str, str]) -> Files:
    """Our layer with a replacement in the plug-in, the manifest or the launcher's file."""
    whole = {"plugin": PLUGIN, "manifest": MANIFEST, "conf": CONF}
    for name, (old, new) in texts.items():
        assert old in whole[name]
        whole[name] = whole[name].replace(old, new)
    return of_ours(**whole)


def without(files: Files, path: str) -> Files:
    """One file less."""
    assert path in files
    return {name: file for name, file in files.items() if name != path}


def magic(number: int, flags: int = 1) -> bytes:
    """Byte-code of the Python with this magic number."""
    return struct.pack("<H2sI8x", number, b"\r\n", flags) + b"code"


def verify(capsys: Any, *words: object) -> tuple[int, dict[str, Any]]:
    """Exit status, and what is said of the one layer."""
    status = cli.main(["verify", "--json", *map(str, words)])
    (report,) = json.loads(capsys.readouterr().out)["layers"]
    return status, report


def refused(case: Case, capsys: Any, folder: Path) -> None:
    """The case's layer is refused with its own code and its own words, and nothing else is said; notes let it pass."""
    status, report = verify(capsys, write(folder / "layer.zip", case.files, *case.again), *case.words)

    found = report["findings"]
    codes = {one["code"] for one in found}
    assert codes - set(case.beside) == {case.code}, [(one["code"], one["path"], one["what"]) for one in found]
    assert set(case.beside) <= codes
    own = [one for one in found if one["code"] == case.code]
    text = " ".join(" ".join((*one["paths"], one["what"], one["why"], one["fix"])) for one in own)
    assert [words for words in case.says if words not in text] == []
    assert {one["level"] for one in own} == {RULES[case.code].level}
    errors = [one for one in found if one["level"] != NOTE]
    assert status == (1 if errors else 0)
    assert (report["errors"], report["notes"]) == (len(errors), len(found) - len(errors))
