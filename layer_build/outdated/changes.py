"""What changed between two versions: by the changelog, and by what the index says that each may do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from layer_build.publishing.plan import order

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADING = re.compile(r"## +\[?v?(\d[\w.+-]*)\]?")
_BREAKING = ("Removed", "Changed", "Breaking", "Deprecated")


def from_changelog(text: str, old: str, new: str) -> list[tuple[str, str]]:
    """Section and line of every item of the versions after `old` up to `new`, in the file's order (Keep a Changelog)."""
    found: list[tuple[str, str]] = []
    inside, section = False, ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = _HEADING.match(line)
            inside = heading is not None and order(old) < order(heading[1]) <= order(new)
            section = ""
        elif line.startswith("### "):
            section = line[4:].strip()
        elif inside and line.startswith(("- ", "* ")):
            found.append((section, line[2:].strip()))
        elif inside and found and line.startswith("  ") and line.strip():
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found


def capabilities(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str] | None:
    """What the newer one may do and the older may not, and the other way round; None where the index does not say."""
    before, after = old.get("abilities"), new.get("abilities")
    if not isinstance(before, dict) or not isinstance(after, dict):
        return None
    found = [f"may now {words}" for key, words in after.items() if key not in before]
    return found + [f"may no longer {words}" for key, words in before.items() if key not in after]


def may_break(old: Mapping[str, Any], new: Mapping[str, Any], runtime: str, log: list[tuple[str, str]]) -> list[str]:
    """Reasons to look before the newer one is taken."""
    found = []
    numbers = [order(str(one["version"]))[0] for one in (old, new)]
    # Semantic Versioning: before 1.0 the second number is what may break.
    heads = [number[:1] if number[:1] != (0,) and number else number[:2] for number in numbers]
    if heads[0] != heads[1]:
        found.append(f"{old['version']} -> {new['version']}: by its number it may break what relied on the old one")
    before, after = old.get("abilities") or {}, new.get("abilities") or {}
    for key in after:
        kind, _, rest = key.partition(" ")
        if key not in before and kind == "iam":
            found.append(f"the function's role needs {rest.partition(' ')[0]} on {rest.partition(' ')[2]}")
        elif key not in before and kind == "host":
            found.append(f"it may call {rest.partition(' ')[0]}: a firewall or an endpoint policy must let it")
    gone = [key for key in before if key not in after and key.startswith(("port ", "variable "))]
    found += [f"it may no longer {before[key]}" for key in gone]
    fits = new.get("runtime") == "any"
    if not fits and runtime.startswith("python") and runtime.removeprefix("python") not in new["pythons"]:
        found.append(f"it is not for {runtime}, but for Python {', '.join(new['pythons'])}")
    return found + [f"{section.lower()}: {line}" for section, line in log if section in _BREAKING]
