"""failure-lambda's format, version 1: an object of flags, one for each mode, as its README and its layer's source have it.

Flags that are not enabled do nothing, unknown ones are not looked at, one that is wrong is skipped and the others are kept. The
faults come in its order. What it does not have, an end above all, `foreign` adds.
"""

from __future__ import annotations

from extensions.chaos_injector.checking import MUST, Mistakes, Table
from extensions.chaos_injector.matching import why_not_regex
from extensions.chaos_injector.plan import Fault, Refused
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


def read_v0(_fields: dict[str, Any], _reading: Reading) -> Experiment | None:
    """Version 0 is recognised; it is not read."""
    raise Refused(
        ("this is failure-lambda's format of version 0 (isEnabled, failureMode): use the one of version 1, such as "
         '{"latency": {"enabled": true, "percentage": 10, "min_latency": 100, "max_latency": 400}}',)
    )  # fmt: skip


def _fault(mode: str, flag: Any, reading: Reading) -> tuple[Fault, ...]:
    mistakes = Mistakes()
    if not isinstance(flag, dict):
        mistakes.wrong(mode, flag, 'an object such as {"enabled": false}')
        _skip(mode, mistakes, reading)
        return ()
    table = Table(flag, mode, mistakes)
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
    use = "a regular expression"
    hosts = table.texts("deny_list", 100, lambda one: bool(one), use)
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
