"""``diff``: what another layer would change, first of all what the extension may do then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layer_build import contents, tree
from layer_build.compare import Differences, compare
from layer_build.explain import one_line
from layer_build.text import amount, section, table

if TYPE_CHECKING:
    import argparse

    from layer_build.contents import Contents


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("old", type=Path, metavar="OLD", help="a zip, or a folder laid out as /opt")
    parser.add_argument("new", type=Path, metavar="NEW")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Print it; 0 where both have the same tree hash, else 1."""
    old, new = contents.read(options.old), contents.read(options.new)
    found = compare(old, new)
    print(json.dumps(as_json(old, new, found), indent=1, sort_keys=True) if options.json else _text(old, new, found))
    return 0 if found.same else 1


def as_json(old: Contents, new: Contents, found: Differences) -> dict[str, Any]:
    """All differences, in names that stay."""
    return {
        "same": found.same,
        "old": _figures(old),
        "new": _figures(new),
        "capabilities": list(found.abilities),
        "made": [{"what": what, "old": before, "new": after} for what, before, after in found.made],
        "parts": [{"name": name, "old": before or None, "new": after or None} for name, before, after in found.parts],
        "files": [
            {"path": path, "old": _file(old, path), "new": _file(new, path), "change": change}
            for path, change in found.files
        ],
        "problems": [*old.problems, *new.problems],
    }


def _figures(layer: Contents) -> dict[str, Any]:
    return {
        "file": layer.path.name,
        "sha256": layer.sha256 or None,
        "tree": tree.tree_hash(layer.files),
        "zipped": layer.zipped or None,
        "unzipped": layer.unzipped,
    }


def _file(layer: Contents, path: str) -> dict[str, Any] | None:
    entry = layer.files.get(path)
    return {"size": len(entry.data), "mode": f"{entry.mode:04o}"} if entry else None


def _text(old: Contents, new: Contents, found: Differences) -> str:
    lines = [f"old  {one_line(str(old.path))}", f"new  {one_line(str(new.path))}"]
    if found.same:
        packed = old.sha256 == new.sha256 or not (old.sha256 and new.sha256)
        return "\n".join([*lines, "the same files" + ("" if packed else ", compressed otherwise: the zips differ")])
    lines += section("what it may do", [f"  {one}" for one in found.abilities] or ["  nothing changes"])
    lines += section("how it was made", _columns(found.made))
    lines += section("parts", _columns(found.parts))
    rows = [_row(old, new, path, change) for path, change in found.files]
    lines += section("files (bytes)", table(rows, numbers=(2, 4)))
    more = new.unzipped - old.unzipped
    sizes = [["unzipped", amount(old.unzipped), "->", amount(new.unzipped), f"({more:+,})"]]
    if old.sha256 and new.sha256:
        more = new.zipped - old.zipped
        sizes.append(["zipped", amount(old.zipped), "->", amount(new.zipped), f"({more:+,})"])
    lines += section("size (bytes)", table(sizes, numbers=(1, 3, 4)))
    return "\n".join(
        lines + section("not understood", [f"  {one_line(one)}" for one in (*old.problems, *new.problems)])
    )


def _columns(found: tuple[tuple[str, str, str], ...]) -> list[str]:
    return table([[one_line(what), one_line(old) or "-", "->", one_line(new) or "-"] for what, old, new in found])


def _row(old: Contents, new: Contents, path: str, change: str) -> list[str]:
    before, after = old.files.get(path), new.files.get(path)
    modes = ""
    if before and after and before.mode != after.mode:
        modes = f"mode {before.mode:04o} -> {after.mode:04o}"
    sizes = [amount(len(entry.data)) if entry else "-" for entry in (before, after)]
    return [change, one_line(path), sizes[0], "->", sizes[1], modes]
