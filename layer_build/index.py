"""The index of a folder of layers: one entry for each zip of ours, the same bytes for the same zips."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import contents, tree
from layer_build.targets import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: of the file; a reader refuses others
FORMAT = 1


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
            found.append(entry(contents.read(path)))
        except ConfigError as error:
            skipped.append((path.name, str(error)))
    return found, skipped


def render(found: Sequence[dict[str, Any]]) -> bytes:
    """The file's content."""
    return (json.dumps({"format": FORMAT, "layers": list(found)}, indent=1, sort_keys=True) + "\n").encode()


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """The sizes as a table: one row for an extension and a Python version, the architectures side by side.

    A KB has 1,024 bytes: Lambda's limit of 250 MB is 262,144,000.
    """
    rows: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for one in found:
        key = (one["name"], one["version"], "any runtime" if one.get("runtime") == "any" else ", ".join(one["pythons"]))
        rows.setdefault(key, {})[one["architecture"]] = one
    lines = ["| layer | version | Python | zipped, x86_64 | zipped, arm64 | unzipped |", "|---|---|---|---|---|---|"]
    for (name, version, pythons), by_arch in sorted(rows.items()):
        zipped = [f"{by_arch[arch]['zipped'] / 1024:.0f} KB" if arch in by_arch else "-" for arch in ARCHITECTURES]
        unzipped = max(one["unzipped"] for one in by_arch.values())
        lines.append(f"| {name} | {version} | {pythons} | {' | '.join(zipped)} | {unzipped / 1024:.0f} KB |")
    return "\n".join(lines) + "\n"


def entry(layer: contents.Contents) -> dict[str, Any]:
    """What the index says of `layer`; ConfigError where it is not one of ours."""
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
        "runtime": "any" if one.interpreter else "python",
        "launcher": one.launcher,
        "zipped": layer.zipped,
        "unzipped": layer.unzipped,
        "sha256": layer.sha256,
        "tree": tree.tree_hash(layer.files),
    }
