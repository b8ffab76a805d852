"""What differs between two layers, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layer_build import explain, tree
from layer_build.contents import FOLDER

if TYPE_CHECKING:
    from layer_build.contents import Contents, Ours


@dataclass(frozen=True)
class Differences:
    """``abilities``: sentences. ``made`` and ``parts``: what, old, new ("" where there is none). ``files``: path, change."""

    same: bool
    abilities: tuple[str, ...]
    made: tuple[tuple[str, str, str], ...]
    parts: tuple[tuple[str, str, str], ...]
    files: tuple[tuple[str, str], ...]


def compare(old: Contents, new: Contents) -> Differences:
    """What `new` changes against `old`; ``same`` goes by the tree hash, which knows paths, modes and contents."""
    before = {one.name: one for one in old.ours}
    after = {one.name: one for one in new.ours}
    # A layer's only extension may have been renamed: then the two are still to be compared.
    if len(before) == len(after) == 1 and before.keys() != after.keys():
        before = {next(iter(after)): next(iter(before.values()))}
    names = sorted(before.keys() | after.keys())
    started = [frozenset(one.path for one in layer.executables) for layer in (old, new)]
    abilities = [f"Lambda will now start {path}." for path in sorted(started[1] - started[0])]
    abilities += [f"Lambda will no longer start {path}." for path in sorted(started[0] - started[1])]
    made: list[tuple[str, str, str]] = []
    for name in names:
        if name in before and name not in after and f"{FOLDER}{name}" in new.files:
            abilities.append(f"{name} no longer has a manifest: nothing in the layer says what it may do.")
        else:
            abilities += _abilities(name if len(names) > 1 else "It", before.get(name), after.get(name))
        made += _changes(f"{name} " if len(names) > 1 else "", _figures(before.get(name)), _figures(after.get(name)))
    if old.ours and not new.ours:
        abilities.append("Nothing in the new layer says what it may do.")
    return Differences(
        same=tree.tree_hash(old.files) == tree.tree_hash(new.files),
        abilities=tuple(abilities),
        made=tuple(made),
        parts=tuple(_changes("", _versions(old), _versions(new))),
        files=tuple(_files(old.files, new.files)),
    )


def _abilities(who: str, old: Ours | None, new: Ours | None) -> list[str]:
    before, after = (explain.abilities(one.manifest) if one and one.manifest else {} for one in (old, new))
    found = [f"{who} may now {words}." for key, words in after.items() if key not in before]
    return found + [f"{who} may no longer {words}." for key, words in before.items() if key not in after]


def _figures(one: Ours | None) -> dict[str, str]:
    """What can be said of how an extension was made, for a comparison row by row."""
    if one is None or one.provenance is None:
        return {}
    made = one.provenance
    return {
        "name": made.name,
        "version": made.version,
        "architecture": made.arch,
        "Python": ", ".join(made.pythons),
        "byte-code by Python": ", ".join(version for _, version in sorted(made.bytecode.items())),
        "launcher": made.launcher,
        "its SHA-256": made.launcher_sha256[:16],
        "registers": one.registers,
        "ports": "; ".join(one.ports),
        "kit": made.kit_version,
        "zig": made.zig,
    }


def _versions(layer: Contents) -> dict[str, str]:
    return {part.name: part.version for one in layer.ours for part in one.parts}


def _changes(prefix: str, old: dict[str, str], new: dict[str, str]) -> list[tuple[str, str, str]]:
    """Rows for what differs, in the order of `new`, what only `old` has at the end."""
    names = [*new, *(name for name in old if name not in new)]
    found = [(prefix + name, old.get(name, ""), new.get(name, "")) for name in names]
    return [row for row in found if row[1] != row[2]]


def _files(old: tree.Tree, new: tree.Tree) -> list[tuple[str, str]]:
    changes = []
    for path in sorted(old.keys() | new.keys()):
        if path not in old:
            changes.append((path, "added"))
        elif path not in new:
            changes.append((path, "removed"))
        elif old[path] != new[path]:
            changes.append((path, "changed"))
    return changes
