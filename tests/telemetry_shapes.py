"""The shape of telemetry: field names and JSON types without the values, so that two sources of records can be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A JSON type's name; {field: shape}, a field that some of the values lack ending in "?"; [shape of the elements], or [] where
#: no list had any; a tuple of these where the values are of several types.
Shape = str | dict[str, Any] | list[Any] | tuple[Any, ...]

_NAMES = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}


def shape(*values: Any) -> Shape:
    """The shape that fits each of `values`, which all stood in the same place."""
    shapes: list[Shape] = []
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        shapes.append(_fields(objects))
    lists = [value for value in values if isinstance(value, list)]
    if lists:
        elements = [element for value in lists for element in value]
        shapes.append([shape(*elements)] if elements else [])
    shapes += sorted({_NAMES[type(value)] for value in values if not isinstance(value, dict | list)})
    return shapes[0] if len(shapes) == 1 else tuple(shapes)


def _fields(objects: list[dict[str, Any]]) -> dict[str, Shape]:
    names = dict.fromkeys(name for value in objects for name in value)
    found = {}
    for name in names:
        present = [value[name] for value in objects if name in value]
        found[name if len(present) == len(objects) else f"{name}?"] = shape(*present)
    return found


def shapes(events: Iterable[Mapping[str, Any]]) -> dict[str, Shape]:
    """Record type -> the shape of all records of that type; `events` as the Telemetry API sends them: time, type, record."""
    records: dict[str, list[Any]] = {}
    for event in events:
        records.setdefault(event["type"], []).append(event["record"])
    return {kind: shape(*found) for kind, found in sorted(records.items())}


_STATUS = {"status": "string", "errorType?": "string"}
_SPAN = {"name": "string", "start": "string", "durationMs": "number"}
_TRACING = {"type": "string", "value": "string"}

#: What AWS's emulator sends in Managed Instances mode; tests/test_rie_managed.py sees that it does.
MANAGED: dict[str, Shape] = {
    "function": "string",
    "extension": "string",
    "platform.initStart": {
        "initializationType": "string",
        "phase": "string",
        "functionName": "string",
        "functionVersion": "string",
        "instanceId": "string",
        "instanceMaxMemory": "number",
        "runtimeVersion": "string",
        "runtimeVersionArn": "string",
    },
    "platform.telemetrySubscription": {"name": "string", "state": "string", "types": ["string"]},
    "platform.initRuntimeDone": {"initializationType": "string", "phase": "string", **_STATUS},
    "platform.extension": {"name": "string", "state": "string", "events": ["string"], "errorType?": "string"},
    "platform.initReport": {
        "initializationType": "string",
        "phase": "string",
        **_STATUS,
        "metrics": {"durationMs": "number"},
    },
    "platform.start": {
        "requestId": "string",
        "version": "string",
        "functionArn": "string",
        "tracing?": _TRACING,
    },
    "platform.report": {
        "requestId": "string",
        **_STATUS,
        "metrics": {"durationMs": "number"},
        "spans?": [_SPAN],
        "tracing?": _TRACING,
    },
    "platform.logsDropped": {"droppedBytes": "number", "droppedRecords": "number", "reason": "string"},
}
