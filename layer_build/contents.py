"""What a layer says of itself: its files, what lies in extensions/, and for our own layers manifest, provenance and SBOM.

Any layer can be read, ours or not; what cannot be understood is told in `Contents.problems` and does not stop the rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import manifest as manifests
from layer_build import provenance as provenances
from layer_build import sbom, tree

if TYPE_CHECKING:
    from pathlib import Path

    from layer_build.manifest import Manifest
    from layer_build.provenance import Provenance
    from layer_build.sbom import Component

FOLDER = "extensions/"
CONF = "launcher.conf"
_MACHINES = {0x3E: "x86_64", 0xB7: "arm64", 0x03: "i386", 0x28: "arm (32 bit)"}  # elf(5), e_machine
_INTERPRETER = 3  # elf(5), PT_INTERP: a program header that only dynamic programs have


@dataclass(frozen=True)
class Executable:
    """A file in extensions/: Lambda starts each one. ``kind`` says what it is, ``machine`` is "" where it is not ELF."""

    path: str
    kind: str
    machine: str
    size: int
    mode: int


@dataclass(frozen=True)
class Ours:
    """What one extension that was built here carries beside its program; None or empty where it does not."""

    name: str
    manifest: Manifest | None
    provenance: Provenance | None
    parts: tuple[Component, ...]
    conf: tuple[str, ...]

    @property
    def ports(self) -> tuple[str, ...]:
        """The ports that the launcher opens, as its file has them (``layer_build/README.md``)."""
        return tuple(line.removeprefix("port ") for line in self.conf if line.startswith("port "))

    @property
    def registers(self) -> str:
        """Who registers: ``early`` the launcher, before Python is up; ``late`` Python; ``late PLUGIN[:VARIABLE],...``: Python
        where one of these is to run, else the launcher; "" where nothing says so.
        """
        if self.provenance and self.provenance.launcher == "python":
            return "late"
        words = [line.split() for line in self.conf]
        return next((" ".join(line[1:]) for line in words if len(line) in (2, 3) and line[0] == "register"), "")


@dataclass(frozen=True)
class Contents:
    """A layer as it was read; ``sha256`` and ``zipped`` (bytes) are of the zip: "" and 0 for a folder."""

    path: Path
    files: tree.Tree
    sha256: str
    zipped: int
    executables: tuple[Executable, ...]
    ours: tuple[Ours, ...]
    problems: tuple[str, ...]

    @property
    def unzipped(self) -> int:
        """Bytes, as Lambda counts them."""
        return tree.size(self.files)


def read(path: Path) -> Contents:
    """What is in the zip or folder `path`; ConfigError where it cannot be read at all."""
    files = tree.read(path)
    digest, zipped = "", 0
    if path.is_file():
        data = path.read_bytes()
        digest, zipped = hashlib.sha256(data).hexdigest(), len(data)
    inside = sorted(name for name in files if name.startswith(FOLDER))
    problems: list[str] = []
    found = [_ours(name.removeprefix(FOLDER), files, problems) for name in inside]
    return Contents(
        path=path,
        files=files,
        sha256=digest,
        zipped=zipped,
        executables=tuple(_executable(name, files[name]) for name in inside),
        ours=tuple(one for one in found if one),
        problems=tuple(problems),
    )


def _ours(name: str, files: tree.Tree, problems: list[str]) -> Ours | None:
    """The extension `name` where the layer has our files for it."""

    def data(file: str) -> bytes | None:
        entry = files.get(f"{name}/{file}")
        return entry.data if entry else None

    manifest = provenance = None
    parts: tuple[Component, ...] = ()
    try:
        if (text := data(provenances.FILE)) is not None:
            provenance = provenances.parse(text, f"{name}/{provenances.FILE}")
    except ConfigError as error:
        problems.append(str(error))
    try:
        if (text := data(manifests.FILE)) is not None:
            manifest = manifests.parse(text, provenance.version if provenance else "", f"{name}/{manifests.FILE}")
    except ConfigError as error:
        problems.append(str(error))
    try:
        if (text := data(sbom.FILE)) is not None:
            parts = sbom.read(text)[1]
    except ConfigError as error:
        problems.append(f"{name}/{sbom.FILE}: {error}")
    if manifest is None and provenance is None and not parts:
        return None
    conf = (data(CONF) or b"").decode("ascii", "replace").splitlines()
    return Ours(name, manifest, provenance, parts, tuple(conf))


def _executable(path: str, entry: tree.Entry) -> Executable:
    kind, machine = program(entry.data)
    if entry.is_link:
        kind, machine = f"link to {entry.data.decode(errors='replace')}", ""
    return Executable(path, kind, machine, len(entry.data), entry.mode)


def program(data: bytes) -> tuple[str, str]:
    """What kind of program `data` is, and for which machine; only the headers are looked at."""
    if data.startswith(b"\x7fELF"):
        return _elf(data)
    if data.startswith(b"#!"):
        shebang = data.split(b"\n", 1)[0][2:].decode(errors="replace").strip()
        return ("Python" if "python" in shebang else "script") + f", starts with #!{shebang}", ""
    return ("empty" if not data else "neither ELF nor script: Lambda cannot start it"), ""


def _elf(data: bytes) -> tuple[str, str]:
    """Kind and machine of an ELF file (elf(5)); Lambda has 64 bit, little endian only."""
    machine = int.from_bytes(data[18:20], "little")
    name = _MACHINES.get(machine, f"machine {machine}")
    if len(data) < 64 or data[4:6] != b"\x02\x01":
        return "native, not 64-bit little-endian ELF or cut short", name
    start, size, count = (int.from_bytes(data[at:end], "little") for at, end in ((32, 40), (54, 56), (56, 58)))
    headers = (data[start + size * index : start + size * index + 4] for index in range(count))
    dynamic = any(int.from_bytes(header, "little") == _INTERPRETER for header in headers)
    return f"native, {'dynamic' if dynamic else 'static'}", name
