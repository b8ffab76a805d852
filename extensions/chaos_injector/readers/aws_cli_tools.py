"""The variables of aws-cli-tools' chaos-lambda-extension, which Chaos Toolkit's AWS actions set.

Names and meanings: its ``src/routes.rs``. Its defaults (900 s, nine times of ten) are not taken: what is not set is 1 s, 10 %.
"""

from __future__ import annotations

from extensions.chaos_injector.plan import Fault
from extensions.chaos_injector.readers.foreign import complete, experiment
from extensions.chaos_injector.vocabulary import TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extensions.chaos_injector.plan import Experiment
    from extensions.chaos_injector.readers import Reading

__all__ = ["PREFIX", "enables", "read"]

PREFIX = "CHAOS_EXTENSION__"
_NAME = "aws-cli-tools"
_LATENCY = "CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY"
_LATENCY_S = "CHAOS_EXTENSION__LAMBDA__LATENCY_VALUE"
_LATENCY_PROBABILITY = "CHAOS_EXTENSION__LAMBDA__LATENCY_PROBABILITY"
_CHANGE = "CHAOS_EXTENSION__RESPONSE__ENABLE_CHANGE_RESPONSE_BODY"
_CHANGE_AS_RELEASED = "CHAOS_EXTENSION__RESPONSE__ENABLE_CHANGE_REPONSE_BODY"
_RESPONSE = "CHAOS_EXTENSION__RESPONSE__DEFAULT_RESPONSE"
_CHANGE_PROBABILITY = "CHAOS_EXTENSION__RESPONSE__CHANGE_RESPONSE_PROBABILITY"
_KNOWN = (
    _LATENCY, _LATENCY_S, _LATENCY_PROBABILITY, _CHANGE, _CHANGE_AS_RELEASED, _RESPONSE, _CHANGE_PROBABILITY,
)  # fmt: skip
_THEIR_RESPONSE = '{"statusCode":500,"body":{"message":"hello, Chaos!!!"}}'


def enables(variables: dict[str, str]) -> bool:
    """Whether one of the variables switches something on."""
    return any(variables.get(name, "").lower() == "true" for name in (_LATENCY, _CHANGE, _CHANGE_AS_RELEASED))


def read(fields: dict[str, Any], reading: Reading) -> Experiment | None:
    """The experiment that the variables describe; None where nothing is switched on. ``fields``: variable: text."""
    for name in fields:
        if name not in _KNOWN:
            from extension_kit.nearest import nearest

            reading.mistakes.add(
                f"{name} is not known here: correct or remove it; did you mean {nearest(name, [*_KNOWN])}?"
            )
    faults = []
    if _flag(fields, _LATENCY, reading):
        seconds = _number(fields, _LATENCY_S, 1.0, 900.0, "1 s (theirs: 900)", reading)
        percentage = 100 * _number(fields, _LATENCY_PROBABILITY, 0.1, 1.0, "10 % (theirs: 90)", reading)
        params = complete("delay", ms=int(seconds * 1_000))
        faults.append(Fault("latency", "delay", TYPES["delay"].phase, percentage, (), params))
    as_meant, as_released = (_flag(fields, name, reading) for name in (_CHANGE, _CHANGE_AS_RELEASED))
    if as_meant or as_released:
        percentage = 100 * _number(fields, _CHANGE_PROBABILITY, 0.1, 1.0, "10 % (theirs: 90)", reading)
        params = complete("body", mode="replace", body=fields.get(_RESPONSE) or _THEIR_RESPONSE)
        faults.append(Fault("response", "body", TYPES["body"].phase, percentage, (), params))
    reading.mistakes.raise_if_any()
    return experiment(_NAME, tuple(faults), reading) if faults else None


def _flag(fields: dict[str, Any], name: str, reading: Reading) -> bool:
    written = str(fields.get(name, "")).lower()
    if written not in ("", "true", "false"):
        reading.mistakes.wrong(name, fields[name], "true or false")
    return written == "true"


def _number(fields: dict[str, Any], name: str, default: float, most: float, instead: str, reading: Reading) -> float:
    written = str(fields.get(name, ""))
    if not written:
        reading.note(f"{name} is not set: {instead} is used")
        return default
    try:
        value = float(written) if written.isascii() and "_" not in written else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        reading.mistakes.wrong(name, fields[name], f"a number from 0 to {most:g}")
        return default
    return value
