"""The lifecycle table as a picture: Mermaid state diagrams, as they stand in this folder's README."""

from __future__ import annotations

from extension_kit.protocol.lifecycle import STARTED, TABLE

__all__ = ["diagram"]

_ENDS = ("exited", "killed", "launch failed")


def diagram(kind: str) -> str:
    """A Mermaid ``stateDiagram-v2`` of one kind of party. How a process may end is left out: it can, in every state."""
    lines = ["stateDiagram-v2", f"    [*] --> {STARTED}"]
    for state, steps in TABLE[kind].items():
        merged: dict[str, list[str]] = {}
        for step, following in steps.items():
            if step not in _ENDS:
                merged.setdefault(following, []).append(step)
        lines += [f"    {state} --> {following}: {', '.join(steps)}" for following, steps in merged.items()]
    return "\n".join(lines) + "\n"
