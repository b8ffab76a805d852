"""A finished interpreter: the folder as it lies in a layer, and what it says of itself.

```text
bin/python3.13                     the program
lib/python3.13/**.pyc              the standard library, as far as extensions use it, as byte-code alone
lib/python3.13/lib-dynload/.keep   CPython wants the folder
cacert.pem                         Mozilla's certificates, for images that have none
licenses/<name>/                   of everything in it
interpreter.json                   what it was made of
```
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from extension_kit.errors import ConfigError
from layer_build import elf
from layer_build.interpreter import pins
from layer_build.targets import ARCHITECTURES, PYTHONS
from layer_build.tree import Entry, Tree

FILE = "interpreter.json"
_FORMAT = 1


@dataclass(frozen=True)
class Part:
    """Something of others in it: name, version, SPDX licence, where from, SHA-256 of the source."""

    name: str
    version: str
    licence: str
    url: str
    sha256: str


CERTIFI = Part(
    "certifi", pins.CERTIFI, "MPL-2.0", f"https://pypi.org/project/certifi/{pins.CERTIFI}/", pins.CERTIFI_SHA256
)


@dataclass(frozen=True)
class Interpreter:
    """``python`` 3.13, ``release`` 3.13.5, ``arch``: Lambda's name; ``sha256`` of the program; ``fixes``: Debian's patches."""

    python: str
    release: str
    arch: str
    sha256: str
    origin: str
    parts: tuple[Part, ...] = ()
    fixes: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The file's content; the same for the same values."""
        return (json.dumps({"format": _FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n").encode()

    @property
    def place(self) -> str:
        """Where it lies in a layer."""
        return f"extension-kit-python/{self.python}"


def load(folder: Path) -> Interpreter:
    """What a finished folder says of itself; ConfigError where it is none."""
    try:
        content: dict[str, Any] = json.loads((folder / FILE).read_bytes())
        if content.pop("format") != _FORMAT:
            raise ValueError(f"not of format {_FORMAT}")
        parts = tuple(Part(**one) for one in content.pop("parts"))
        found = Interpreter(**{**content, "parts": parts, "fixes": tuple(content.pop("fixes"))})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{folder}: no interpreter ({error}): name a folder that `python -m layer_build interpreter` has made"
        ) from error
    if found.python not in PYTHONS or found.arch not in ARCHITECTURES:
        raise ConfigError(
            f"{folder}: an interpreter for Python {found.python!r}, {found.arch!r}: layers cannot carry it"
        )
    return found


def tree(folder: Path) -> Tree:
    """The files of a finished folder by their paths in a layer, with fixed modes."""
    place = load(folder).place
    found: Tree = {}
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            inside = path.relative_to(folder).as_posix()
            found[f"{place}/{inside}"] = Entry(path.read_bytes(), 0o755 if executable else 0o644)
    return dict(sorted(found.items()))


def check_program(path: Path, arch: str) -> None:
    """ConfigError where the ELF file `path` is for another machine, or wants a newer glibc than Amazon Linux 2 has."""
    one = elf.read(path.read_bytes())
    if isinstance(one, elf.Broken):
        raise ConfigError(f"{path.name}: no ELF file: {one.reason}")
    if one.machine != ARCHITECTURES[arch]:
        raise ConfigError(f"{path.name}: made for {one.machine}, not for {ARCHITECTURES[arch]}")
    if one.glibc and one.glibc > pins.GLIBC:
        raise ConfigError(
            f"{path.name}: it wants GLIBC_{one.glibc[0]}.{one.glibc[1]}; Amazon Linux 2 has {pins.GLIBC[0]}.{pins.GLIBC[1]}"
        )


def add_certificates(folder: Path, bundle: bytes, licence: bytes) -> None:
    """Mozilla's certificates and their licence, where they lie in a finished folder."""
    (folder / "cacert.pem").write_bytes(bundle)
    place = folder / "licenses" / CERTIFI.name
    place.mkdir(parents=True, exist_ok=True)
    (place / "LICENSE").write_bytes(licence)
