"""Dependencies of a layer: wheels for the target, by hash; never what this machine's Python would take for itself.

pip fetches them (its configuration says from where); what it brings is checked again here, since a layer with a wheel for
another system fails at its first cold start and not before.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from extension_kit.errors import ConfigError
from layer_build.lock import environment
from layer_build.sbom import Component, from_metadata
from layer_build.tree import Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.tags import Tag

    from layer_build.lock import Locked
    from layer_build.targets import Target

_LIMIT = 600  # seconds for all downloads of a layer
_MISMATCH = re.compile(r"(\S+==\S+) from .*\n\s*Expected sha256 (\w+)\n((?:\s*Expected\s+or \w+\n)*)\s*Got\s+(\w+)")
_UNREACHABLE = re.compile(r"(Failed to establish a new connection|Connection refused|Name or service not known|timed out|"
                          r"Temporary failure in name resolution|Max retries exceeded)", re.IGNORECASE)  # fmt: skip
_OLDEST_GLIBC = 5  # manylinux1
#: types and sources of compiled modules: nothing imports them
_NEVER_IMPORTED = (".pyi", ".pyx", ".pxd", ".c", ".h", ".cpp", ".hpp", ".typed")
_LICENCE = re.compile(r"(licen[cs]e|copying|notice|authors)", re.IGNORECASE)


@dataclass(frozen=True)
class Wheel:
    """A wheel that goes into the layer. ``files``: what is imported; ``licences``: their texts; ``component``: for the SBOM."""

    name: str
    version: str
    file: str
    sha256: str
    component: Component
    files: Tree
    licences: Tree
    requires: tuple[str, ...] = ()


def fetch(locked: Sequence[Locked], target: Target, python: str) -> list[Wheel]:
    """The wheels of `locked` for one Python version, by name; ConfigError in one line where one cannot be had."""
    if not locked:
        return []
    with tempfile.TemporaryDirectory(prefix="extension-kit-wheels-") as folder:
        _download(locked, target, python, Path(folder))
        paths = sorted(Path(folder).iterdir())
        wheels = [_checked(path, target, python) for path in paths]
    by_name = {wheel.name: wheel for wheel in wheels}
    for one in locked:
        wheel = by_name.get(one.name)
        if wheel is None or wheel.sha256 not in one.hashes:
            raise ConfigError(
                f"{one.text}: pip brought {wheel.file if wheel else 'nothing'}, whose hash is not in the lock"
            )
    return [by_name[name] for name in sorted(by_name)]


def require_all(
    wheels: Sequence[Wheel], locked: Sequence[Locked], target: Target, python: str, without: Sequence[str]
) -> None:
    """ConfigError where a wheel needs what the lock does not pin, or pins at another version: it would show at an import, on
    Lambda. ``without``: names that are left out on purpose.
    """
    versions = {wheel.name: wheel.version for wheel in wheels}
    extras = {one.name: one.extras for one in locked}
    spared = {canonicalize_name(name) for name in without}
    for wheel in wheels:
        for text in wheel.requires:
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            marker = wanted.marker
            asked = [marker.evaluate({**environment(target, python), "extra": extra})
                     for extra in ("", *extras.get(wheel.name, ()))] if marker is not None else [True]  # fmt: skip
            if not any(asked) or name in spared:
                continue
            needs = f"{wheel.name} {wheel.version} needs {wanted.name}{wanted.specifier}"
            if name not in versions:
                raise ConfigError(
                    f"dependencies: {needs}, which the lock does not pin: pin it (pip-compile --generate-hashes does), or name "
                    "it in dependencies.without"
                )
            if not wanted.specifier.contains(versions[name], prereleases=True):
                raise ConfigError(f"dependencies: {needs}, and the lock pins {versions[name]}")


def _download(locked: Sequence[Locked], target: Target, python: str, folder: Path) -> None:
    abi = f"cp{python.replace('.', '')}"
    requirements = folder.with_name(folder.name + ".txt")
    requirements.write_text(
        "".join(f"{one.text} {' '.join(f'--hash=sha256:{digest}' for digest in one.hashes)}\n" for one in locked)
    )
    platforms = [f"manylinux_2_{minor}_{target.machine}" for minor in range(target.glibc[1], _OLDEST_GLIBC - 1, -1)]
    platforms += [f"manylinux{name}_{target.machine}" for name in ("2014", "2010", "1")]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--retries", "2", "--disable-pip-version-check", "--no-deps",
        "--require-hashes",
        "--only-binary", ":all:", "--implementation", "cp", "--python-version", python,
        *(word for one in (abi, "abi3", "none") for word in ("--abi", one)),
        *(word for one in platforms for word in ("--platform", one)),
        "--dest", str(folder), "--requirement", str(requirements),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"dependencies: pip took longer than {_LIMIT} s") from None
    finally:
        requirements.unlink()
    if done.returncode != 0:
        raise ConfigError(_explain(done.stderr, target, python))


def _explain(said: str, target: Target, python: str) -> str:
    """pip's many lines as one."""
    where = f"Python {python} on {target.arch}, glibc {target.glibc[0]}.{target.glibc[1]}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    mismatch = _MISMATCH.search(said)
    if mismatch:
        others = mismatch[3].count("\n")
        pinned = f"the lock says {mismatch[2]}" if not others else f"none of the {others + 1} in the lock"
        return f"dependencies: {mismatch[1]}: the file has SHA-256 {mismatch[4]}, {pinned}: it is not used"
    unreachable = _UNREACHABLE.search(said)
    if unreachable:
        return (
            f"dependencies for {where}: the package index cannot be reached ({unreachable[1].lower()}); which one is asked "
            "is pip's own configuration"
        )
    missing = re.search(r"No matching distribution found for (\S+)", said)
    if missing:
        return (
            f"dependencies: {missing[1]}: no wheel for {where}; a source distribution or a wheel for another system is not "
            "used: lock a version that has one"
        )
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["pip failed"]
    return f"dependencies for {where}: {errors[0].removeprefix('ERROR: ')}"


def _checked(path: Path, target: Target, python: str) -> Wheel:
    try:
        name, version, _build, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        raise ConfigError(f"dependencies: {path.name} is no wheel: source distributions are not used") from None
    if not any(_fits(tag, target, python) for tag in tags):
        raise ConfigError(
            f"dependencies: {path.name} is not for Python {python} on {target.arch}, glibc {target.glibc[0]}.{target.glibc[1]}"
        )
    data = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            content = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ConfigError(f"dependencies: {path.name}: not a readable wheel: {error}") from error
    return _wheel(path.name, canonicalize_name(name), str(version), hashlib.sha256(data).hexdigest(), content)


def _fits(tag: Tag, target: Target, python: str) -> bool:
    """Whether a wheel with this tag runs on the target (PEP 425, 600)."""
    if tag.platform != "any":
        found = re.fullmatch(r"manylinux(?:_(\d+)_(\d+)|(2014)|(2010)|1)_(\w+)", tag.platform)
        if found is None or found[5] != target.machine:
            return False
        glibc = (int(found[1]), int(found[2])) if found[1] else (2, 17) if found[3] else (2, 12) if found[4] else (2, 5)
        if glibc > target.glibc:
            return False
    major, minor = map(int, python.split("."))
    interpreter = re.fullmatch(r"(cp|py)(\d)(\d*)", tag.interpreter)
    if interpreter is None or int(interpreter[2]) != major:
        return False
    since = int(interpreter[3]) if interpreter[3] else 0
    exact = interpreter[1] == "cp" and tag.abi != "abi3"
    return since == minor if exact else since <= minor


def _wheel(file: str, name: str, version: str, sha256: str, content: dict[str, bytes]) -> Wheel:
    files: Tree = {}
    licences: Tree = {}
    component = None
    requires: tuple[str, ...] = ()
    for path, data in sorted(content.items()):
        place = _place(path)
        if place is None:
            continue
        if ".dist-info/" in place:
            inside = place.partition(".dist-info/")[2]
            if inside == "METADATA":
                component = from_metadata(data, file, sha256)
                requires = _requirements(data, file)
                data = _headers_only(data)
            elif _LICENCE.search(inside):
                licences[inside.removeprefix("licenses/")] = Entry(data)
                continue
            elif inside != "entry_points.txt":
                continue  # pip's own book-keeping
        if not place.endswith(_NEVER_IMPORTED):
            files[place] = Entry(data, 0o755 if place.endswith(".so") or ".so." in place else 0o644)
    if component is None:
        raise ConfigError(f"dependencies: {file} has no METADATA: no wheel")
    return Wheel(name, version, file, sha256, component, files, licences, requires)


def _requirements(metadata: bytes, file: str) -> tuple[str, ...]:
    """What a wheel says that it needs, markers included."""
    found = BytesHeaderParser().parsebytes(metadata).get_all("Requires-Dist") or []
    for text in found:
        try:
            Requirement(text)
        except InvalidRequirement:
            raise ConfigError(f"dependencies: {file} needs {text!r}, which is no requirement") from None
    return tuple(found)


def _place(path: str) -> str | None:
    """Where a wheel's file goes below the root of imports; None for scripts, headers, and what would leave it."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\\" in path:
        raise ConfigError(f"dependencies: a wheel has the entry {path!r}, which would land elsewhere")
    if parts[0].endswith(".data"):
        return "/".join(parts[2:]) if parts[1] in ("purelib", "platlib") else None
    return path


def _headers_only(metadata: bytes) -> bytes:
    """``importlib.metadata`` needs the fields; the description below them is the package's read-me."""
    return re.split(rb"\r?\n\r?\n", metadata, maxsplit=1)[0] + b"\n"
