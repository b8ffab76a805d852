"""failure-lambda's format: version 1, an object of flags, one for each mode, as its README and its layer's source have it; and
version 0, which Steadybit still writes.

Flags that are not enabled do nothing, unknown ones are not looked at, one that is wrong is skipped and the others are kept. The
faults come in its order. What it does not have, an end above all, `foreign` adds.
"""

from __future__ import annotations

from extensions.chaos_injector.checking import MUST, Mistakes, Table
from extensions.chaos_injector.matching import why_not_regex
from extensions.chaos_injector.plan import Fault
from extensions.chaos_injector.readers.foreign import complete, experiment
from extensions.chaos_injector.readers.native import read_matches
from extensions.chaos_injector.vocabulary import TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extensions.chaos_injector.plan import Experiment
    from extensions.chaos_injector.readers import Reading

__all__ = ["MODES", "is_one", "read", "read_v0"]

NAME = "failure-lambda"
_LONGEST_MS = 900_000


def is_one(fields: dict[str, Any]) -> bool:
    """Whether a document has any of its flags."""
    return any(isinstance(fields.get(mode), dict) for mode in MODES)


def read(fields: dict[str, Any], reading: Reading) -> Experiment | None:
    """The experiment of all flags that are enabled and right; None where there is none."""
    faults = tuple(fault for mode in MODES if mode in fields for fault in _fault(mode, fields[mode], reading))
    return experiment(NAME, faults, reading) if faults else None


def read_v0(fields: dict[str, Any], reading: Reading) -> Experiment | None:
    """Version 0 has one mode at a time and names of its own; it is read as the flag of version 1 that it means."""
    if "failureMode" not in fields and {"delay", "error_code"} & fields.keys():
        reading.mistakes.add(
            "isEnabled with delay or error_code and without failureMode is aws-lambda-chaos-injection 0.2's format: use that "
            'of 0.3, with "fault_type" and "is_enabled"'
        )
        reading.mistakes.raise_if_any()
    table = Table(fields, "", reading.mistakes)
    enabled = table.flag("isEnabled", False)
    mode = table.choice("failureMode", MUST, tuple(_V0))
    rate = table.number("rate", MUST if enabled else 0.0, 0.0, 1.0)  # the original never injects without
    reading.mistakes.raise_if_any()
    if not enabled:
        return None
    flag = {new: fields[old] for old, new in _V0[mode].items() if old in fields}
    type, params = MODES[mode](Table(flag, mode, reading.mistakes))
    reading.mistakes.lines = [_by_old_names(line, mode) for line in reading.mistakes.lines]
    reading.mistakes.raise_if_any()
    if mode == "denylist" and not params["hosts"]:
        reading.note("denylist is empty: no host is denied")
        return None
    fault = Fault(mode, type, TYPES[type].phase, rate * 100, (), complete(type, **params))
    return experiment(NAME, (fault,), reading)


def _by_old_names(line: str, mode: str) -> str:
    for old, new in _V0[mode].items():
        line = line.replace(f"{mode}.{new}", old)
    return line


def _fault(mode: str, flag: Any, reading: Reading) -> tuple[Fault, ...]:
    mistakes = Mistakes()
    if not isinstance(flag, dict):
        mistakes.wrong(mode, flag, 'an object such as {"enabled": false}')
        _skip(mode, mistakes, reading)
        return ()
    table = Table(_as_it_reads(flag), mode, mistakes)
    enabled = table.flag("enabled", MUST)
    percentage = table.integer("percentage", 100, 0, 100)
    type, params = MODES[mode](table)
    match = read_matches(table)
    if mistakes.lines:
        _skip(mode, mistakes, reading)
        return ()
    if not enabled:
        return ()
    if mode == "denylist" and not params["hosts"]:
        reading.note(f"{mode}.deny_list is empty: no host is denied")
        return ()
    return (Fault(mode, type, TYPES[type].phase, float(percentage), match, complete(type, **params)),)


def _as_it_reads(flag: dict[str, Any]) -> dict[str, Any]:
    """null is not given, and of a condition it looks at nothing but what it knows."""
    given = {name: value for name, value in flag.items() if value is not None or name == "enabled"}
    if isinstance(given.get("match"), list):
        known = ("path", "operator", "value")
        given["match"] = [
            {name: one[name] for name in known if one.get(name) is not None} if isinstance(one, dict) else one
            for one in given["match"]
        ]
    return given


def _skip(mode: str, mistakes: Mistakes, reading: Reading) -> None:
    for line in mistakes.lines:
        reading.note(f"{line}; the flag {mode} is skipped, others are kept")


def _latency(table: Table) -> tuple[str, dict[str, Any]]:
    least = table.number("min_latency", 0.0, 0, _LONGEST_MS, "ms")
    most = table.number("max_latency", 0.0, 0, _LONGEST_MS, "ms")
    if table.given("min_latency") and table.given("max_latency") and most < least:
        table.wrong("max_latency", f"at least min_latency, {least:g}")
    return "delay", {"distribution": "uniform", "min_ms": int(least), "max_ms": int(max(least, most))}


def _timeout(table: Table) -> tuple[str, dict[str, Any]]:
    return "timeout", {"buffer_ms": int(table.number("timeout_buffer_ms", 0.0, 0, _LONGEST_MS, "ms"))}


def _diskspace(table: Table) -> tuple[str, dict[str, Any]]:
    return "tmp", {"mb": table.integer("disk_space", 100, 1, 10_240, "MB")}


def _denylist(table: Table) -> tuple[str, dict[str, Any]]:
    use = "a regular expression of printable characters"
    hosts = table.texts("deny_list", 100, lambda one: bool(one) and one.isprintable(), use)
    for at, host in enumerate(hosts):
        why = why_not_regex(host)
        if why:
            table.mistakes.wrong(f"{table.where}.deny_list[{at}]", host, f"another expression: {why}")
    return "egress_dns", {"hosts": tuple(f"re:{host}" for host in hosts)}


def _statuscode(table: Table) -> tuple[str, dict[str, Any]]:
    code = table.integer("status_code", 500, 100, 599)
    return "http_response", {"status_code": code, "body": f'{{"message":"Injected status code {code}"}}'}


def _exception(table: Table) -> tuple[str, dict[str, Any]]:
    message = table.text("exception_msg", "Injected exception", most=4_096)
    return "error", {"error_type": "FailureLambdaException", "message": message}


def _corruption(table: Table) -> tuple[str, dict[str, Any]]:
    return "body", {"mode": "failure_lambda", "body": table.text("body", "", most=65_536)}


#: modes of version 0, their attributes and what version 1 calls them
_V0: dict[str, dict[str, str]] = {
    "latency": {"minLatency": "min_latency", "maxLatency": "max_latency"},
    "exception": {"exceptionMsg": "exception_msg"},
    "denylist": {"denylist": "deny_list"},
    "diskspace": {"diskSpace": "disk_space"},
    "statuscode": {"statusCode": "status_code"},
}
#: its modes in the order in which it injects them
MODES: dict[str, Callable[[Table], tuple[str, dict[str, Any]]]] = {
    "latency": _latency,
    "timeout": _timeout,
    "diskspace": _diskspace,
    "denylist": _denylist,
    "statuscode": _statuscode,
    "exception": _exception,
    "corruption": _corruption,
}
