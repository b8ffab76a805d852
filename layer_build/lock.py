"""The lock file of an extension: pip's requirements format, every line with an exact version and the hashes of its wheels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from layer_build.targets import Target

_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")


@dataclass(frozen=True)
class Locked:
    """One package: ``text`` is ``name==version``, ``hashes`` the SHA-256 of the files that may be taken for it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    extras: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.name}=={self.version}"


def read(path: Path, target: Target, python: str) -> list[Locked]:
    """What the lock asks for on `target` with `python`; ConfigError for a line that does not pin and hash one package."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {why}") from error
    found: dict[str, Locked] = {}
    for number, line in _lines(text):
        locked = _locked(line, f"{path}:{number}", environment(target, python))
        if locked is None:
            continue
        if locked.name in found:
            raise ConfigError(f"{path}:{number}: {locked.name} is pinned twice")
        found[locked.name] = locked
    return list(found.values())


def _lines(text: str) -> list[tuple[int, str]]:
    """Logical lines with the number of their first; comments and blank lines left out."""
    found: list[tuple[int, str]] = []
    part, began = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        began = began or number
        if line.endswith("\\"):
            part += line[:-1] + " "
            continue
        part = (part + line).strip()
        if part:
            found.append((began, part))
        part, began = "", 0
    return found + ([(began, part.strip())] if part.strip() else [])


def _locked(line: str, place: str, environment: dict[str, str]) -> Locked | None:
    if line.startswith("-"):
        raise ConfigError(f"{place}: {line.split()[0]}: options do not belong here; pip's own configuration is used")
    hashes = tuple(_HASH.findall(line))
    try:
        wanted = Requirement(re.sub(r"\s--hash=\S+", "", line))
    except InvalidRequirement as error:
        raise ConfigError(f"{place}: not NAME==VERSION with hashes: {str(error).splitlines()[0]}") from error
    pins = list(wanted.specifier)
    if wanted.url or len(pins) != 1 or pins[0].operator != "==" or pins[0].version.endswith(".*"):
        raise ConfigError(f"{place}: {wanted.name} is not pinned: NAME==VERSION is wanted")
    if not hashes:
        raise ConfigError(
            f"{place}: {wanted.name} has no --hash=sha256:...: a layer takes nothing whose hash is not known"
        )
    if wanted.marker is not None and not wanted.marker.evaluate(environment):
        return None
    return Locked(canonicalize_name(wanted.name), pins[0].version, hashes, tuple(sorted(wanted.extras)))


def environment(target: Target, python: str) -> dict[str, str]:
    """What markers are asked against: Lambda, not this machine."""
    return {
        "implementation_name": "cpython", "implementation_version": f"{python}.0", "os_name": "posix",
        "platform_machine": target.machine, "platform_release": "", "platform_system": "Linux", "platform_version": "",
        "python_full_version": f"{python}.0", "platform_python_implementation": "CPython", "python_version": python,
        "sys_platform": "linux",
    }  # fmt: skip
