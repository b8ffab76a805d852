"""The layer that is looked at, and the functions that it is meant for: what all checks share."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import elf, provenance
from layer_build.checks import launcher_conf
from layer_build.targets import ARCHITECTURES, OLDEST_GLIBC, PYTHONS

if TYPE_CHECKING:
    from layer_build.archive import Archive
    from layer_build.checks.launcher_conf import Conf
    from layer_build.tree import Entry, Tree

EXTENSIONS = "extensions/"
_MOST_LINKS = 40  # the kernel's limit of links in one path, path_resolution(7)
#: in a file name of a compiled module: the Python version, and the system that it is for
MODULE_TAG = re.compile(r"\.cpython-3(\d+)[a-z]*(?:-(?P<system>[A-Za-z0-9_-]+))?\.so$")
_INTERPRETER = re.compile(r"extension-kit-python/(3\.\d+)/bin/python\1")
_SITE_PACKAGES = re.compile(r"python/lib/python(3\.\d+)/site-packages/")


@dataclass(frozen=True)
class Own:
    """A part of the layer that says it is of this kit: its folder's name, what its launcher was told, where it comes from."""

    name: str
    conf: Conf | None
    made_by: provenance.Provenance | None
    problem: str = ""

    @property
    def arch(self) -> str:
        """Lambda's architecture that it was built for, "" where it does not say."""
        return self.made_by.arch if self.made_by else ""

    @property
    def pythons(self) -> tuple[str, ...]:
        """The versions that it says it supports."""
        if self.conf and self.conf.pythons:
            return self.conf.pythons
        return self.made_by.pythons if self.made_by else ()


class Subject:
    """One layer. `arch` and `pythons` are what was asked for; where nothing was, the layer's files say it."""

    def __init__(self, archive: Archive, arch: str = "", pythons: tuple[str, ...] = ()) -> None:
        self.archive = archive
        self.files: Tree = archive.files
        self.own = _own_parts(self.files)
        self.asked_pythons = pythons
        self.elves = {
            path: elf.read(entry.data)
            for path, entry in self.files.items()
            if entry.data.startswith(elf.MAGIC) and not entry.is_link
        }
        self.arches = (arch,) if arch else self._arches()
        self.pythons = pythons or self._pythons()

    @cached_property
    def brought(self) -> tuple[str, ...]:
        """Versions of the Pythons that the layer carries itself: it is for every runtime."""
        return tuple(match[1] for path in self.files if (match := _INTERPRETER.fullmatch(path)))

    def glibc(self, python: str) -> tuple[int, int]:
        """The oldest that the layer's files may meet where `python` is looked for."""
        return OLDEST_GLIBC if self.brought else PYTHONS[python]

    @property
    def mixed(self) -> bool:
        """Whether nobody asked for an architecture, and the layer has programs for more than one."""
        return len(self.arches) > 1 and bool(self.machines)

    @cached_property
    def machines(self) -> tuple[str, ...]:
        """Lambda's architectures that the layer has programs or libraries for."""
        found = {one.machine for one in self.elves.values() if isinstance(one, elf.Elf)}
        return tuple(arch for arch, machine in ARCHITECTURES.items() if machine in found)

    @cached_property
    def started(self) -> tuple[str, ...]:
        """Paths of what Lambda starts: every file and link directly inside extensions/."""
        inside = [path for path in self.files if path.startswith(EXTENSIONS) and path.count("/") == 1]
        return tuple(sorted(inside))

    def resolve(self, path: str) -> str:
        """What `path` (below /opt) is once links are followed; "" where it ends outside of the layer, or nowhere."""
        parts = path.split("/")
        done: list[str] = []
        links = 0
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                if not done:
                    return ""
                done.pop()
                continue
            done.append(part)
            entry = self.files.get("/".join(done))
            if entry is not None and entry.is_link:
                links += 1
                target = entry.data.decode("utf-8", "surrogateescape")
                if links > _MOST_LINKS or (target.startswith("/") and not target.startswith("/opt/")):
                    return ""
                done = [] if target.startswith("/") else done[:-1]
                parts = target.removeprefix("/opt/").split("/") + parts
        place = "/".join(done)
        return place if place in self.files or place in self.folders else ""

    def find(self, path: str) -> Entry | None:
        """The file at `path`, links followed; None for a folder, or nothing."""
        return self.files.get(self.resolve(path))

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders, whether or not the layer has an entry for them."""
        above = {posixpath.dirname(path) for path in self.files}
        for path in list(above):
            while path := posixpath.dirname(path):
                above.add(path)
        return self.archive.folders | above

    @property
    def has_modes(self) -> bool:
        """False for a zip that was made without Unix modes."""
        members = [member for member in self.archive.members if not member.is_folder]
        return not members or any(member.has_mode for member in members)

    def only(self, pythons: tuple[str, ...]) -> tuple[str, ...]:
        """`pythons` for a finding: empty where they are all that the layer is for."""
        return () if pythons == self.pythons else pythons

    def seen_by(self, path: str) -> tuple[str, ...]:
        """The versions whose importer comes across `path`."""
        match = _SITE_PACKAGES.match(path)
        return tuple(python for python in self.pythons if not match or python == match[1])

    def _arches(self) -> tuple[str, ...]:
        """What our own parts say, else what the binaries are made for, else both."""
        said = {own.arch for own in self.own if own.arch in ARCHITECTURES}
        if said:
            return tuple(arch for arch in ARCHITECTURES if arch in said)
        return self.machines or tuple(ARCHITECTURES)

    def _pythons(self) -> tuple[str, ...]:
        """What our own parts say, else what the names of compiled modules and folders say, else all that Lambda has."""
        said = {python for own in self.own for python in own.pythons}
        if not said:
            said = {f"3.{match[1]}" for path in self.files if (match := MODULE_TAG.search(path))}
            said |= {match[1] for path in self.files if (match := _SITE_PACKAGES.match(path))}
        return tuple(python for python in PYTHONS if python in said) or tuple(PYTHONS)


def _own_parts(files: Tree) -> tuple[Own, ...]:
    """The folders with a launcher's file, or with a manifest beside something else that only this kit puts there."""
    names = {path.split("/")[0] for path in files if path.count("/") == 1 and path.endswith("/launcher.conf")}
    beside = ("boot.py", provenance.FILE, "lib/extension_kit/__init__.py")
    for path in files:
        folder, _, file = path.partition("/")
        if file == "manifest.toml" and any(f"{folder}/{part}" in files for part in beside):
            names.add(folder)
    return tuple(_own_part(name, files) for name in sorted(names))


def _own_part(name: str, files: Tree) -> Own:
    conf, made_by, problem = None, None, ""
    if f"{name}/launcher.conf" in files:
        conf = launcher_conf.parse(files[f"{name}/launcher.conf"].data)
    if f"{name}/{provenance.FILE}" in files:
        try:
            made_by = provenance.parse(files[f"{name}/{provenance.FILE}"].data)
        except ConfigError as error:
            problem = str(error)
    return Own(name, conf, made_by, problem)
