"""The index of a folder of layers: one entry for each zip of ours, the same bytes for the same zips."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import contents, tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FORMAT = 1


def index(folder: Path) -> bytes:
    """The index of the layers in `folder` as JSON; zips that are not ours are left out."""
    return render(entries(folder)[0])


def entries(folder: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The entries for the layers in `folder`, by file name, and the zips that were skipped: name and reason."""
    found: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".zip" and path.is_file())
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from error
    for path in paths:
        try:
            found.append(_entry(contents.read(path)))
        except ConfigError as error:
            skipped.append((path.name, str(error)))
    return found, skipped


def render(found: Sequence[dict[str, Any]]) -> bytes:
    """The file's content."""
    return (json.dumps({"format": _FORMAT, "layers": list(found)}, indent=1, sort_keys=True) + "\n").encode()


def _entry(layer: contents.Contents) -> dict[str, Any]:
    made = [one.provenance for one in layer.ours if one.provenance]
    if len(made) != 1:
        why = "; ".join(layer.problems) or "it has no provenance of ours"
        raise ConfigError(why if not made else f"it holds {len(made)} extensions; one to a layer is indexed")
    one = made[0]
    return {
        "file": layer.path.name,
        "name": one.name,
        "version": one.version,
        "architecture": one.arch,
        "pythons": list(one.pythons),
        "launcher": one.launcher,
        "zipped": layer.zipped,
        "unzipped": layer.unzipped,
        "sha256": layer.sha256,
        "tree": tree.tree_hash(layer.files),
    }
