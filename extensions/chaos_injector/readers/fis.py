"""AWS Fault Injection Service's three Lambda actions, in an experiment (what ``get-experiment`` prints), a template, or alone.

The files that FIS itself puts into a bucket for its own extension are not published and are not read. Names, ranges and
defaults: AWS docs, FIS actions reference, ``aws:lambda:invocation-*``. Different actions go together; of two that are the same
the one that starts first counts, and the other begins when that ends, and ends when it would have ended.
"""

from __future__ import annotations

from extensions.chaos_injector.checking import MUST, NAME_CHARACTERS, Table, is_integer, is_number
from extensions.chaos_injector.plan import Fault
from extensions.chaos_injector.readers.foreign import complete, experiment
from extensions.chaos_injector.vocabulary import TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extensions.chaos_injector.plan import Experiment
    from extensions.chaos_injector.readers import Reading

__all__ = ["duration_ms", "read"]

NAME = "aws-fis"
_PREFIX = "aws:lambda:"
_ACTIONS = ("invocation-add-delay", "invocation-error", "invocation-http-integration-response")
_SHORTEST_MS, _LONGEST_MS = 60_000, 43_200_000  # FIS: from PT1M to PT12H
_MOST_ACTIONS = 20


class _Action:
    """``start_ms``, ``end_ms``: from the beginning of the experiment."""

    def __init__(self, name: str, table: Table) -> None:
        self.name = name
        self.table = table
        self.after: tuple[str, ...] = ()
        self.kind = ""
        self.duration_ms = 0
        self.start_ms = -1
        self.fault: tuple[str, float, dict[str, Any]] | None = None

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.duration_ms


def read(fields: dict[str, Any], reading: Reading) -> Experiment | None:
    """The experiment of the actions that are Lambda's; None where there are none."""
    for wrapper in ("experiment", "experimentTemplate"):
        if isinstance(fields.get(wrapper), dict):
            fields = fields[wrapper]
    table = Table(fields, "", reading.mistakes)
    start_ms = _start_ms(table, reading)
    state = fields.get("state")
    if isinstance(state, dict) and state.get("status") in ("completed", "stopping", "stopped", "failed", "cancelled"):
        reading.note(f"the experiment's state is {state['status']}: nothing is armed")
        return None
    actions = _actions(table, reading)
    reading.mistakes.raise_if_any()
    _place(actions, reading)
    reading.mistakes.raise_if_any()
    lambdas = [action for action in actions if action.fault is not None]
    if not lambdas:
        reading.note("none of the actions is Lambda's: nothing is armed")
        return None
    if not start_ms and any(action.start_ms for action in lambdas):
        reading.mistakes.add("startAfter is given, and startTime is missing: use the time when the experiment began")
    faults = _faults(lambdas, start_ms, reading)
    ends_ms = start_ms + max(one.end_ms for one in lambdas) if start_ms else None
    return experiment(NAME, faults, reading, ends_ms).changed(dry_run=_is_dry(fields))


def _start_ms(table: Table, reading: Reading) -> int:
    """0 where it is not given. AWS's JSON has seconds since the epoch, its command line a time with its zone."""
    written: Any = table.fields.get("startTime")
    if is_number(written) and 0 < written < 1e11:
        return int(written * 1_000)
    ms: int = table.moment("startTime", 0, reading.now_ms // 1_000 * 1_000)
    return ms


def _is_dry(fields: dict[str, Any]) -> bool:
    """FIS's own dry run."""
    options = fields.get("experimentOptions")
    return isinstance(options, dict) and options.get("actionsMode") == "skip-all"


def _actions(table: Table, reading: Reading) -> list[_Action]:
    if table.given("actionId"):
        return [_action("action", table, reading)]
    actions = table.table("actions")
    if not actions.fields or len(actions.fields) > _MOST_ACTIONS:
        table.wrong("actions", f"an object of 1 to {_MOST_ACTIONS} actions, by their names")
        return []
    return [_action(name, actions.table(name), reading) for name in actions.fields]


def _action(name: str, table: Table, reading: Reading) -> _Action:
    action = _Action(name, table)
    identifier = table.text("actionId", MUST, most=128)
    action.after = table.texts("startAfter", _MOST_ACTIONS, bool, "the name of another action")
    if not isinstance(identifier, str):
        return action
    params = table.table("parameters")
    kind = identifier.removeprefix(_PREFIX)
    if kind == identifier:
        if params.given("duration"):
            action.duration_ms = duration_ms(params.fields["duration"]) or 0
        if identifier != "aws:fis:wait":
            reading.note(f"the action {name} ({identifier}) is not Lambda's and is not done here")
        return action
    if kind not in _ACTIONS:
        table.wrong("actionId", f"one of {', '.join(_PREFIX + one for one in _ACTIONS)}")
        return action
    action.kind = kind
    action.duration_ms = _duration(params)
    percentage = _number(params, "invocationPercentage", 100, 1, 100)
    type, given = _type(kind, params)
    action.fault = (type, float(percentage), given)
    params.close()
    return action


def _type(kind: str, params: Table) -> tuple[str, dict[str, Any]]:
    """Fault type and parameters."""
    if kind == "invocation-add-delay":
        return "delay", {"ms": _number(params, "startupDelayMilliseconds", 1_000, 0, 900_000)}
    prevent = _flag(params, "preventExecution")
    if kind == "invocation-error":
        return "error" if prevent else "error_after", {}
    code = _number(params, "statusCode", 200, 0, 999)
    content_type = params.text("contentTypeHeader", "application/json", least=1, most=256)
    if prevent:
        return "http_response", {"status_code": code, "content_type": content_type}
    from extension_kit.protocol.jsontext import dumps

    response = {
        "statusCode": code,
        "headers": {"Content-Type": content_type},
        "body": str(TYPES["http_response"].params["body"].default),
    }
    return "body", {"mode": "replace", "body": dumps(response).decode()}


def _number(params: Table, name: str, default: int, least: int, most: int) -> int:
    """FIS writes numbers as texts."""
    use = f"a whole number from {least} to {most}"
    value = params.value(name, default, use)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if is_integer(value) and least <= value <= most:
        return int(value)
    params.wrong(name, use)
    return default


def _flag(params: Table, name: str) -> bool:
    value = params.value(name, MUST, "true or false")
    if value is True or value in ("true", "True"):
        return True
    if value is not False and value is not MUST and value not in ("false", "False"):
        params.wrong(name, "true or false")
    return False


def _duration(params: Table) -> int:
    use = "a duration from PT1M to PT12H, such as PT10M"
    value = params.value("duration", MUST, use)
    ms = duration_ms(value)
    if ms is None or not _SHORTEST_MS <= ms <= _LONGEST_MS:
        if value is not MUST:
            params.wrong("duration", use)
        return _SHORTEST_MS
    return ms


def duration_ms(text: object) -> int | None:
    """``P1DT2H3M4S`` as milliseconds; None where it is no duration of ISO 8601 that has a fixed length."""
    if not isinstance(text, str) or not text.startswith("P") or len(text) > 40:
        return None
    days, found, clock = text[1:].partition("T")
    total = 0
    for part, units in ((days, {"W": 604_800, "D": 86_400}), (clock, {"H": 3_600, "M": 60, "S": 1})):
        digits = ""
        for character in part:
            if character.isascii() and character.isdigit():
                digits += character
            elif character in units and digits:
                total += int(digits) * units.pop(character)
                digits = ""
            else:
                return None
        if digits:
            return None
    return total * 1_000 if len(text) > 1 and (clock or not found) else None


def _place(actions: list[_Action], reading: Reading) -> None:
    """Each action begins when those of its ``startAfter`` have ended; the same action is not done twice at a time."""
    by_name = {action.name: action for action in actions}
    for action in actions:
        for other in action.after:
            if other not in by_name:
                reading.mistakes.wrong(f"{action.table.name_of('startAfter')}", other, "the name of another action")
    reading.mistakes.raise_if_any()
    waiting = list(actions)
    while waiting:
        ready = [one for one in waiting if all(by_name[other].start_ms >= 0 for other in one.after)]
        if not ready:
            names = ", ".join(one.name for one in waiting)
            reading.mistakes.add(f"startAfter goes in a circle through {names}: let one of them begin by itself")
            return
        for one in ready:
            one.start_ms = max((by_name[other].end_ms for other in one.after), default=0)
        waiting = [one for one in waiting if one not in ready]


def _id(name: str, taken: list[str]) -> str:
    """An action's name as the id of a fault, which no other one has."""
    named = "".join(one if one in NAME_CHARACTERS else "-" for one in name[:60]) or "action"
    others = (f"{named}-{number}" for number in range(2, _MOST_ACTIONS + 2))
    return named if named not in taken else next(one for one in others if one not in taken)


def _faults(actions: list[_Action], start_ms: int, reading: Reading) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    busy: dict[str, int] = {}  # kind: when the one before ends, from the beginning
    for action in sorted(actions, key=lambda one: one.start_ms):
        assert action.fault is not None
        begins, ends = max(action.start_ms, busy.get(action.kind, 0)), action.end_ms
        if action.kind in busy and (begins >= ends or not start_ms):
            reading.note(f"the action {action.name} is never done: another {action.kind} is done at that time")
            continue
        busy[action.kind] = ends
        type, percentage, given = action.fault
        named = _id(action.name, [one.id for one in faults])
        faults.append(
            Fault(
                named, type, TYPES[type].phase, percentage, (), complete(type, **given),
                start_ms + begins if start_ms else 0, start_ms + ends if start_ms else 0,
            )
        )  # fmt: skip
    return tuple(faults)
