"""Writes finished layers: all of them, or none."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layer_build.manifest import Manifest
    from layer_build.targets import Target


@dataclass(frozen=True)
class Made:
    """A layer in memory."""

    manifest: Manifest
    target: Target
    tree: tree.Tree

    @property
    def file(self) -> str:
        return f"{self.manifest.name}-{self.manifest.version}-{self.target.label}.zip"


@dataclass(frozen=True)
class Written:
    """A layer on disk. Sizes in bytes; ``extra``: byte-code beyond that of one version."""

    path: Path
    sha256: str
    tree: str
    zipped: int
    unzipped: int
    files: int
    extra: int


def check_folder(folder: Path) -> None:
    """ConfigError where `folder` cannot be written: better said before everything is built. Makes nothing."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be written: {error.strerror or error}; nothing was built") from error


def write(made: Sequence[Made], folder: Path, check: Callable[[Path], object]) -> list[Written]:
    """Each layer as a zip, its SBOM beside it; ConfigError, and nothing written, where `folder` cannot be written.

    ``check`` is given each zip before it goes to `folder`; what it raises ends the build.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as scratch:
            written = [_write(one, Path(scratch), folder) for one in made]
            for path in sorted(Path(scratch).glob("*.zip")):
                check(path)
            for path in sorted(Path(scratch).iterdir()):
                shutil.move(path, folder / path.name)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be written: {error.strerror or error}; nothing was built") from error
    return written


def _write(made: Made, scratch: Path, folder: Path) -> Written:
    name = made.manifest.name
    path = scratch / made.file
    sha256 = tree.write_zip(made.tree, path)
    path.with_suffix(".cdx.json").write_bytes(made.tree[f"{name}/sbom.cdx.json"].data)
    byte_code = sum(len(entry.data) for place, entry in made.tree.items() if "/__pycache__/" in place)
    versions = len(made.target.pythons)
    return Written(
        folder / made.file, sha256, tree.tree_hash(made.tree), path.stat().st_size, tree.size(made.tree), len(made.tree),
        byte_code * (versions - 1) // versions,
    )  # fmt: skip
