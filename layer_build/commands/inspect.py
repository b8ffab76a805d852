"""``inspect``: what is in a layer, ours or anyone's, as a table or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layer_build import contents, tree
from layer_build.explain import explain, one_line
from layer_build.targets import MAX_UNZIPPED
from layer_build.text import amount, folders, section, table

if TYPE_CHECKING:
    import argparse

    from layer_build.contents import Contents, Ours
    from layer_build.provenance import Provenance


#: folders of /opt that the function's runtime looks into by itself (AWS docs, "Packaging your layer content")
_SEEN = {
    "bin/": "its programs are on the function's PATH",
    "lib/": "its libraries are on the function's LD_LIBRARY_PATH",
    "python/": "its modules are on the sys.path of Python functions",
    "nodejs/": "its modules can be imported by Node.js functions",
    "java/lib/": "its classes are on the classpath of Java functions",
    "ruby/": "its gems can be required by Ruby functions",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("layer", type=Path, metavar="LAYER", help="a zip, or a folder laid out as /opt")
    parser.add_argument("--json", action="store_true", help="for programs: everything, every file too")


def run(options: argparse.Namespace) -> int:
    """Print it; always 0, for `verify` is what judges."""
    layer = contents.read(options.layer)
    print(json.dumps(as_json(layer), indent=1, sort_keys=True) if options.json else "\n".join(as_text(layer)))
    return 0


def as_json(layer: Contents) -> dict[str, Any]:
    """All that was found, in names that stay."""
    return {
        "file": layer.path.name,
        "sha256": layer.sha256 or None,
        "tree": tree.tree_hash(layer.files),
        "zipped": layer.zipped or None,
        "unzipped": layer.unzipped,
        "limit": MAX_UNZIPPED,
        "files": [
            {"path": path, "size": len(entry.data), "mode": f"{entry.mode:04o}", "link": entry.is_link}
            for path, entry in sorted(layer.files.items())
        ],
        "seen_by_function": [one for one in _SEEN if any(path.startswith(one) for path in layer.files)],
        "executables": [{**asdict(one), "mode": f"{one.mode:04o}"} for one in layer.executables],
        "extensions": [_as_json(one) for one in layer.ours],
        "problems": list(layer.problems),
    }


def _as_json(one: Ours) -> dict[str, Any]:
    manifest = asdict(one.manifest) if one.manifest else None
    provenance = json.loads(one.provenance.to_json()) if one.provenance else None
    return {
        "name": one.name,
        "manifest": manifest,
        "explained": explain(one.manifest) if one.manifest else [],
        "provenance": provenance,
        "registers": one.registers or None,
        "ports": list(one.ports),
        "components": [{**asdict(part), "notes": dict(part.notes)} for part in one.parts],
    }


def as_text(layer: Contents) -> list[str]:
    """The lines for a terminal; names from the layer cannot break them."""
    share = layer.unzipped / MAX_UNZIPPED
    rows = [
        ["zipped", amount(layer.zipped) if layer.sha256 else "-", "bytes"],
        ["unzipped", amount(layer.unzipped), f"bytes; {share:.2%} of the {amount(MAX_UNZIPPED)} that a function"],
        ["", "", "and all its layers may have together"],
        ["files", str(len(layer.files)), ""],
    ]
    lines = [one_line(str(layer.path)), *table(rows, numbers=(1,))]
    lines += [f"  zip SHA-256   {layer.sha256 or '- (a folder)'}", f"  tree SHA-256  {tree.tree_hash(layer.files)}"]
    lines += section("started by Lambda (extensions/)", _executables(layer) or ["  nothing: no extension is in it"])
    for one in layer.ours:
        lines += _extension(one)
    if not layer.ours:
        lines += ["", "It carries no manifest of ours: nothing in it says what it may do."]
    seen = [[folder, why] for folder, why in _SEEN.items() if any(path.startswith(folder) for path in layer.files)]
    lines += section("what the function sees of it", table(seen))
    found = [
        [path[: -len(path.lstrip())] + one_line(path), amount(size), f"{count} file{'s'[: count > 1]}"]
        for path, size, count in folders(layer.files)
    ]
    lines += section("files, largest first (bytes)", table(found, numbers=(1, 2)))
    return lines + section("not understood", [f"  {one_line(problem)}" for problem in layer.problems])


def _executables(layer: Contents) -> list[str]:
    rows = [
        [one_line(one.path), f"{one.mode:04o}", amount(one.size), one_line(f"{one.kind} {one.machine}")]
        for one in layer.executables
    ]
    return table(rows, numbers=(2,))


def _extension(one: Ours) -> list[str]:
    lines: list[str] = []
    if one.manifest:
        title = f"{one.name} {one.manifest.version}: {one.manifest.summary or 'its manifest has no summary'}"
        lines += section(one_line(title), [f"  {line}" for line in explain(one.manifest)])
    if one.provenance:
        lines += section(f"how {one.name} was made", _made(one, one.provenance))
    rows = [
        [part.name, part.version, part.license or "licence not named", part.sha256 and part.sha256[:16] + "..."]
        for part in one.parts
    ]
    return lines + section(f"parts of {one.name} (SBOM)", table([[one_line(cell) for cell in row] for row in rows]))


def _to_run(word: str) -> str:
    """PLUGIN or PLUGIN:VARIABLE of ``launcher.conf``, in words."""
    plugin, _, variable = word.partition(":")
    return f"{plugin} is to run" + (f" and {variable} is true" if variable else "")


def _made(one: Ours, made: Provenance) -> list[str]:
    bytecode = ", ".join(version for _, version in sorted(made.bytecode.items())) or "none"
    compiler = f", compiled by zig {made.zig}" if made.zig else ""
    when, _, who = one.registers.partition(" ")
    early = "the launcher, before Python is up"
    late = f"{early}; Python where {' or '.join(map(_to_run, who.split(',')))}" if who else "Python"
    registers = {"early": early, "late": late}.get(when, "not said")
    rows = [
        ["for", f"{made.arch}, Python {', '.join(made.pythons)}"],
        ["launcher", f"{made.launcher}{compiler}"],
        ["its SHA-256", made.launcher_sha256],
        ["registered by", registers],
        ["ports it opens", "; ".join(one.ports) or "none"],
        ["byte-code by", f"Python {bytecode}" if made.bytecode else "none in it"],
        ["kit", made.kit_version],
        *(["from", f"{part.wheel}  {part.sha256[:16]}..."] for part in made.dependencies),
    ]
    return table([[one_line(cell) for cell in row] for row in rows])
