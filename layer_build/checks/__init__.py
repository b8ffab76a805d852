"""What would break on Lambda, found in the files of a layer: one module a theme, each with its rules on top.

`all_findings` runs them; `findings` says what a rule and a finding are; the README lists every rule and is made from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layer_build.checks import (
    binaries,
    bytecode,
    capabilities,
    entries,
    modules,
    own,
    paths,
    secrets,
    size,
)

if TYPE_CHECKING:
    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject

_THEMES = (paths, entries, binaries, modules, bytecode, own, capabilities, secrets)


def all_findings(subject: Subject, others: int = 0) -> list[Finding]:
    """Everything that is to be said about a layer, errors first; `others`: bytes of what is attached beside it."""
    found = [finding for theme in _THEMES for finding in theme.check(subject)]
    found += size.check(subject, others)
    return sorted(dict.fromkeys(found), key=lambda one: (one.level, one.path, one.code))
