"""What stands in the guide and is made from the code: ``python -m tests.pictures`` writes it anew, a test compares.

A page has a place for it between ``<!-- made: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from extension_kit.emulator import faults as emulated
from extension_kit.plugin import HOOKS, Plugin
from extension_kit.protocol import diagram
from extension_kit.protocol.lifecycle import EXTERNAL, INTERNAL, RUNTIME
from extensions.metrics_collector.prices import cost_usd
from tests.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = (EXTERNAL, RUNTIME, INTERNAL)
_PLACE = re.compile(r"(<!-- made: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def file_of(kind: str) -> str:
    """Where the SVG of one kind of party lies."""
    return f"extension_kit/guide/lifecycle-{kind.replace(' ', '-')}.svg"


def pictures() -> str:
    """The lifecycle of each kind of party: Mermaid, a link to the SVG, the whole table."""
    parts = []
    for kind in KINDS:
        title = kind[0].upper() + kind[1:]
        name = file_of(kind).rpartition("/")[2]
        parts.append(
            f"### {title}\n\n```mermaid\n{diagram.diagram(kind)}```\n\n"
            f"[The same as a picture]({name}). With every end of the process:\n\n```text\n{diagram.table(kind)}```\n"
        )
    return "\n".join(parts)


def hooks() -> str:
    """The table of hooks: what each is given, its time budget, when it is called."""
    lines = ["| hook | time budget | |", "|---|---|---|"]
    for name, (arguments, budget) in HOOKS.items():
        told = " ".join((getattr(Plugin, name).__doc__ or "").split()).replace("|", "\\|")
        told = re.sub(r" ?Budget \d+ m?s\.", "", told).replace("``", "`").strip()
        limit = "its deadline" if budget is None else f"{budget:g} s" if budget >= 1 else f"{budget * 1000:g} ms"
        lines.append(f"| `{name}({', '.join(arguments)})` | {limit} | {told} |")
    return "\n".join(lines) + "\n"


def faults() -> str:
    """What `--fault` can do."""
    lines = ["| `--fault` | what goes wrong |", "|---|---|"]
    for name, (told, parameters) in emulated.KINDS.items():
        written = ",".join(f"{one}={value:g}" for one, value in parameters.items())
        lines.append(f"| `{name}{':' if written else ''}{written}` | {told} |")
    return "\n".join(lines) + "\n"


def prices() -> str:
    """What a billed millisecond more in each of a million invocations costs."""
    lines = ["| memory size | x86_64 | arm64 |", "|---|---|---|"]
    for memory in (128, 512, 1_024, 1_769, 3_008):
        each = [cost_usd(1, memory, machine) - cost_usd(0, memory, machine) for machine in ("x86_64", "aarch64")]
        lines.append(f"| {memory:,} MB | " + " | ".join(f"{one * 1_000_000:.4f} USD" for one in each) + " |")
    return "\n".join(lines) + "\n"


#: name of a place: what stands there
MADE: dict[str, Callable[[], str]] = {"pictures": pictures, "hooks": hooks, "faults": faults, "prices": prices}
PAGES = tuple(f"extension_kit/guide/{name}.md" for name in ("lifecycle", "writing", "testing", "cost"))


def filled(page: str) -> str:
    """The page with what belongs into its places."""
    text = (ROOT / page).read_text()
    return _PLACE.sub(lambda match: f"{match[1]}{MADE[match[2]]()}{match[3]}", text)


def main() -> None:
    for page in PAGES:
        (ROOT / page).write_text(filled(page))
    for kind in KINDS:
        (ROOT / file_of(kind)).write_text(diagram.svg(kind))


if __name__ == "__main__":
    main()
