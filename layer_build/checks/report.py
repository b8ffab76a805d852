"""What is printed about one layer: its size, each finding with the reason and the fix, and a line that says how it went."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layer_build.checks.findings import ERROR
from layer_build.targets import MAX_UNZIPPED

if TYPE_CHECKING:
    from layer_build.checks.findings import Finding
    from layer_build.checks.size import Budget
    from layer_build.checks.subject import Subject

_MOST_PATHS = 3  # of one finding, in text; all of them are in the JSON


@dataclass(frozen=True)
class Report:
    """One layer's findings; those that differ in their path alone stand together."""

    name: str
    subject: Subject
    budget: Budget
    groups: tuple[tuple[Finding, tuple[str, ...]], ...]

    @property
    def errors(self) -> int:
        return sum(1 for finding, _paths in self.groups if finding.level == ERROR)

    @property
    def notes(self) -> int:
        return len(self.groups) - self.errors

    @property
    def verdict(self) -> str:
        """``verify: NAME: 3 errors, 1 note``."""
        counts = [_counted(self.errors, "error"), _counted(self.notes, "note")]
        return f"verify: {shown(self.name)}: {', '.join(text for text in counts if text) or 'clean'}"

    def text(self, width: int | None = None) -> str:
        """For people; `width`: columns to wrap at, None for not at all."""
        what_for = f"{' and '.join(self.subject.arches)}, Python {', '.join(self.subject.pythons)}"
        zipped = self.subject.archive.zipped
        lines = [f"{shown(self.name)}: looked at as a layer for {what_for}"]
        lines += [f"  {'zipped':<40} {zipped:>13,} bytes"] if zipped is not None else []
        lines.append(self.budget.table("unzipped"))
        for finding, paths in self.groups:
            lines += [_finding(finding, paths, width), ""]
        return "\n".join([*lines, self.verdict]) + "\n"

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "layer": self.name,
            "architectures": list(self.subject.arches),
            "pythons": list(self.subject.pythons),
            "zipped": self.subject.archive.zipped,
            "unzipped": self.budget.layer,
            "budget": {
                "limit": MAX_UNZIPPED, "total": self.budget.total, "left": self.budget.free,
                "with": [{"name": name, "unzipped": size} for name, size in self.budget.others],
            },
            "errors": self.errors,
            "notes": self.notes,
            "findings": [
                {"code": one.code, "level": one.level, "path": one.path, "paths": list(paths), "pythons": list(one.pythons),
                 "what": one.what, "why": one.why, "fix": one.fix}
                for one, paths in self.groups
            ],
        }  # fmt: skip


def grouped(findings: list[Finding]) -> tuple[tuple[Finding, tuple[str, ...]], ...]:
    """Findings of the same rule that say the same of several files, as one; in the order of the first of each."""
    found: dict[tuple[object, ...], tuple[Finding, list[str]]] = {}
    for one in findings:
        found.setdefault((one.code, one.level, one.what, one.pythons), (one, []))[1].append(one.path)
    return tuple((first, tuple(paths)) for first, paths in found.values())


def shown(text: str) -> str:
    """`text` without what a terminal would obey: names in a zip may hold any character."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}" if number else ""


def _finding(finding: Finding, paths: tuple[str, ...], width: int | None) -> str:
    more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    places = ", ".join(path or "the whole layer" for path in paths[:_MOST_PATHS]) + more
    only = f" (Python {', '.join(finding.pythons)})" if finding.pythons else ""
    lines = [f"{finding.level} {finding.code}: {places}{only}"]
    lines += [f"    {finding.what}", f"    why: {finding.why}", f"    fix: {finding.fix}"]
    return "\n".join(_wrapped(shown(line), width) for line in lines)


def _wrapped(line: str, width: int | None) -> str:
    if width is None or len(line) <= width:
        return line
    indent = " " * 9 if line.startswith(("    why:", "    fix:")) else "    "
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
