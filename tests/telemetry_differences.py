"""Where the records of our emulator and of AWS's (Managed Instances) differ in names or types: a row each, with its reason.

A row that no longer differs, and a difference that has no row, turn the suite red.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.telemetry_shapes import shapes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.telemetry_shapes import Shape

ABSENT = "(absent)"

#: (type of event, field, ours, theirs): why
DIFFERENCES: dict[tuple[str, str, str, str], str] = {
    (
        kind,
        "tracing.spanId",
        "string",
        ABSENT,
    ): "AWS's schema reference shows the span's id; its emulator leaves it out."
    for kind in ("platform.start", "platform.report")
}


def compare(ours: Iterable[Mapping[str, Any]], theirs: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, str, str]]:
    """Every field of every type of event that only one side has, or has with another type. Events that one side was never
    made to send (an extension that says nothing) are compared by the other tests."""
    mine, other = shapes(ours), shapes(theirs)
    found = set()
    for kind in mine.keys() & other.keys():
        left, right = _flat(mine[kind]), _flat(other[kind])
        for field in left.keys() | right.keys():
            pair = left.get(field, ABSENT), right.get(field, ABSENT)
            if pair[0] != pair[1]:
                found.add((kind, field, *pair))
    return found


def _flat(shape: Shape, path: str = "") -> dict[str, str]:
    """Field path -> JSON type; "?" behind a type: not in every record."""
    if isinstance(shape, dict):
        flat = {}
        for name, inner in shape.items():
            plain = name.rstrip("?")
            inside = _flat(inner, f"{path}.{plain}" if path else plain)
            if name != plain:
                inside = {key: f"{value}?" if key.count(".") == path.count(".") + bool(path) else value
                          for key, value in inside.items()}  # fmt: skip
            flat |= inside
        return {path: "{}", **flat} if path else flat
    if isinstance(shape, list):
        return {path: "[]", **(_flat(shape[0], f"{path}[]") if shape else {})}
    if isinstance(shape, tuple):
        return {path: " or ".join(sorted(str(one) for one in shape))}
    return {path: shape}
