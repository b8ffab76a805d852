"""The zips to be published, each looked at before anything goes out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import contents, index, sbom
from layer_build.commands import verify
from layer_build.explain import abilities
from layer_build.templates.shared import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from layer_build.contents import Contents
    from layer_build.manifest import Manifest

#: bytes of a zip that PublishLayerVersion takes in the call itself (AWS docs, "Lambda quotas": 50 MB)
MAX_DIRECT = 52_428_800
LAYER_NAME = "{name}-{architecture}-{runtimes}"


@dataclass(frozen=True)
class Zip:
    """A layer to be published. ``sha256``: of what is published, which for a signed layer is not `entry`'s.

    ``runtimes``: ``any`` alone where the layer brings an interpreter. ``entry``: as ``index`` has it; ``abilities``: what the
    extension may do, for those who compare versions later; ``signed``: the signing job that made ``payload``.
    """

    path: Path
    manifest: Manifest
    entry: dict[str, Any]
    layer_name: str
    description: str
    runtimes: tuple[str, ...]
    sha256: str
    abilities: dict[str, str]
    signed: str = ""
    payload: bytes = b""

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    @property
    def version(self) -> str:
        return str(self.entry["version"])

    @property
    def architecture(self) -> str:
        return str(self.entry["architecture"])

    def data(self) -> bytes:
        """The bytes to be sent; ConfigError where they are no longer those that were looked at."""
        if self.signed:
            return self.payload
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ConfigError(f"{self.path}: it was changed after it had been verified; it is not published")
        return data

    def as_signed(self, data: bytes, job: str) -> Zip:
        """What a signing job made of it."""
        return replace(self, sha256=hashlib.sha256(data).hexdigest(), signed=job, payload=data)


def read(paths: Sequence[Path], naming: str = LAYER_NAME) -> list[Zip]:
    """The zips at `paths` (a folder: all in it); ConfigError for the first that cannot be published."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.zip")) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"{path}: no zip in it; `python -m layer_build build` makes them")
        files += inside
    found = [_read(path, naming) for path in dict.fromkeys(files)]
    taken: dict[tuple[str, str, str], Path] = {}
    for one in found:
        for runtime in one.runtimes:
            key = (one.name, one.architecture, runtime)
            if key in taken:
                raise ConfigError(
                    f"{taken[key].name} and {one.path.name} are both {one.name} for {one.architecture}, {runtime}: publish one"
                )
            taken[key] = one.path
    names = [one.layer_name for one in found]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise ConfigError(f"--layer-name {naming}: two zips would be versions of the one layer {twice}")
    return found


def _read(path: Path, naming: str) -> Zip:
    if not path.is_file():
        raise ConfigError(f"{path}: no such zip")
    layer = contents.read(path)
    entry = index.entry(layer)
    one = layer.ours[0]
    if one.manifest is None:
        raise ConfigError(f"{path}: no manifest in it: {'; '.join(layer.problems) or 'it is not a layer of ours'}")
    report = verify.report(path)
    if report.errors:
        raise ConfigError(
            f"{path}: {report.errors} error(s) found by verify; it is not published (verify {path} says which)"
        )
    _same_sbom(path, layer)
    if layer.zipped > MAX_DIRECT:
        raise ConfigError(
            f"{path}: {layer.zipped:,} bytes; a layer of more than {MAX_DIRECT:,} cannot be uploaded in a call"
        )
    subject = Subject(one.manifest, entry["architecture"], tuple(entry["pythons"]), path.name)
    return Zip(
        path=path,
        manifest=one.manifest,
        entry=entry,
        layer_name=_name(naming, entry),
        description=subject.description,
        runtimes=("any",) if entry["runtime"] == "any" else tuple(subject.runtimes),
        sha256=layer.sha256,
        abilities=abilities(one.manifest),
    )


def _same_sbom(path: Path, layer: Contents) -> None:
    """The SBOM that lies beside a zip is of that zip."""
    beside = path.with_suffix(".cdx.json")
    inside = layer.files.get(f"{layer.ours[0].name}/{sbom.FILE}")
    if beside.is_file() and (inside is None or beside.read_bytes() != inside.data):
        raise ConfigError(f"{path}: {beside.name} beside it is the SBOM of another zip; it is not published")


def _name(naming: str, entry: dict[str, Any]) -> str:
    runtimes = "-".join(f"python{python.replace('.', '')}" for python in entry["pythons"])
    runtimes = "any" if entry["runtime"] == "any" else runtimes
    values = {"name": entry["name"], "architecture": entry["architecture"], "runtimes": runtimes}
    unknown = set(re.findall(r"\{(\w*)\}", naming)) - set(values)
    if unknown:
        raise ConfigError(
            f"--layer-name: {{{unknown.pop()}}} is not known; there are {{name}}, {{architecture}}, {{runtimes}}"
        )
    name = re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), naming)
    # A dot in an extension's name is none in a layer's.
    name = name.replace(".", "-")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,140}", name):
        raise ConfigError(f"--layer-name: {name!r}: letters, digits, '-' and '_' wanted, at most 140")
    return name


def expect(zips: Sequence[Zip], known: Sequence[dict[str, Any]], place: str) -> None:
    """ConfigError where a zip is not, byte for byte, in the index `known`."""
    by_file = {str(one.get("file")): str(one.get("sha256")) for one in known}
    for one in zips:
        wanted = by_file.get(one.path.name)
        if wanted is None:
            raise ConfigError(f"{one.path}: not in {place}; nothing was published")
        if wanted != one.sha256:
            raise ConfigError(
                f"{one.path}: its SHA-256 is {one.sha256}, {place} has {wanted}: not what was built; nothing was published"
            )
