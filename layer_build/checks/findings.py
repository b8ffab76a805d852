"""Rules and findings. A rule says why something breaks and what to do, once; a finding says where, and what is wrong there.

Levels: an `ERROR` makes a function fail, or the layer other than it says; a `NOTE` is worth knowing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ERROR = "error"
NOTE = "note"

#: every rule by its code, in the order in which the modules declare them
RULES: dict[str, Rule] = {}


@dataclass(frozen=True)
class Finding:
    """Something about one file; ``pythons``: the only versions that it concerns, empty for all."""

    code: str
    level: str
    path: str
    what: str
    why: str
    fix: str
    pythons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """``what``, ``why`` and ``fix`` may have ``{fields}``, which a finding fills; ``code`` is stable."""

    code: str
    level: str
    what: str
    why: str
    fix: str

    def at(self, path: str, pythons: tuple[str, ...] = (), **fields: object) -> Finding:
        """The finding that `path` breaks this rule."""
        fields = {"path": path, **fields}
        what, why, fix = (text.format(**fields) for text in (self.what, self.why, self.fix))
        return Finding(self.code, self.level, path, what, why, fix, pythons)


def rule(code: str, level: str, what: str, why: str, fix: str) -> Rule:
    """Declare a rule; each code once."""
    assert code not in RULES, f"two rules have the code {code}"
    RULES[code] = Rule(code, level, what, why, fix)
    return RULES[code]


def markdown() -> str:
    """All rules as a Markdown table, by code; fields in capitals. A test compares it with the README."""
    lines = ["| code | level | what | why it breaks | fix |", "|---|---|---|---|---|"]
    for code in sorted(RULES):
        one = RULES[code]
        texts = (re.sub(r"\{(\w+)\}", lambda match: match[1].upper(), text) for text in (one.what, one.why, one.fix))
        cells = (f"`{code}`", one.level, *(text.replace("|", "\\|").replace("<", "&lt;") for text in texts))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
