"""The format of our own: every field is checked, every mistake told, and one mistake refuses the whole document."""

from __future__ import annotations

from extensions.chaos_injector.checking import MUST, Table, is_integer, is_number
from extensions.chaos_injector.matching import why_not_regex
from extensions.chaos_injector.plan import NAMED, Experiment, Fault, Guard, Limits, Match, Names, Scope
from extensions.chaos_injector.vocabulary import TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extensions.chaos_injector.readers import Reading
    from extensions.chaos_injector.vocabulary import Kind, Param

__all__ = ["check_end", "check_params", "read", "read_matches"]

MOST_FAULTS = 20
_CLOCKS_APART_MS = 60_000
_MOST_MATCHES = 10
_MOST_NAMES = 50
_MOST_PATHS = 100
_OPERATORS = ("eq", "exists", "startsWith", "regex")


def read(fields: dict[str, Any], reading: Reading) -> Experiment | None:
    """The experiment; None where ``off`` says that there is none. Refused for any mistake."""
    table = Table(fields, "", reading.mistakes)
    off = table.flag("off", False)
    if off and fields.keys() <= {"off", "version", "description"}:
        return None
    table.integer("version", MUST, 1, 1)
    table.text("description", "", most=1_024)
    named = table.text("id", MUST, most=64, least=1, name=True)
    owner = table.text(
        "owner", MUST, least=1, most=128, use='whom to ask about it, e.g. "jane@example.com", up to 128 characters'
    )
    armed_until_ms = _armed_until(table, reading)
    lease_ms = _lease_ms(table, reading)
    renewed_ms = _renewed_ms(table, reading)
    seed = _seed(table)
    dry_run = table.flag("dry_run", False)
    scope = _scope(table)
    limits = _limits(table.table("limits"), reading)
    guard = _guard(table.table("guard"))
    faults = _faults(table, reading)
    table.close()
    reading.mistakes.raise_if_any()
    if off:
        return None
    return Experiment(
        id=named, owner=owner, armed_until_ms=armed_until_ms, lease_ms=lease_ms, renewed_ms=renewed_ms, seed=seed,
        dry_run=dry_run, scope=scope, limits=limits, guard=guard, faults=faults, source=reading.source,
    )  # fmt: skip


# the end


def _armed_until(table: Table, reading: Reading) -> int:
    example = reading.now_ms // 1_000 * 1_000 + 600_000
    ms = table.moment("armed_until", MUST, example)
    if ms is not MUST:
        check_end("armed_until", table.fields.get("armed_until"), ms, reading)
    return ms  # type: ignore[no-any-return]


def check_end(name: str, written: object, ms: int, reading: Reading) -> None:
    """An end must not be further ahead than settings allow. One that has passed is no mistake: the experiment has expired."""
    cap = reading.settings.max_ttl
    if ms - reading.now_ms > cap:
        reading.hangs_on_time = True
        from extension_kit.protocol.timestamps import format_ms

        latest = format_ms((reading.now_ms + cap) // 1_000 * 1_000)
        reading.mistakes.wrong(
            name, written, f'a time no more than {cap // 1_000} s ahead, at the latest now "{latest}"'
        )


def _lease_ms(table: Table, reading: Reading) -> int:
    cap = reading.settings.lease // 1_000
    seconds = table.integer("lease_s", min(180, cap), 10, cap, "s, CHAOS_LEASE being the longest")
    return int(seconds) * 1_000


def _renewed_ms(table: Table, reading: Reading) -> int:
    ms: int = table.moment("renewed_at", 0, reading.now_ms)
    if ms - reading.now_ms > _CLOCKS_APART_MS:
        reading.hangs_on_time = True
        table.wrong("renewed_at", "a time that has been: it is the owner's last sign of life")
    return ms


def _seed(table: Table) -> str:
    value = table.checked(
        "seed", "", "a whole number, or text of 1 to 64 characters",
        lambda one: (is_integer(one) and abs(one) < 1 << 63) or (isinstance(one, str) and 1 <= len(one) <= 64),
    )  # fmt: skip
    return str(value)


# where


def _scope(table: Table) -> Scope:
    if not table.given("scope"):
        table.mistakes.add('scope is missing: use {"functions": ["name", ...]} at the least')
        return Scope(Names())
    scope = table.table("scope")
    allow = _names(scope)
    deny = scope.table("deny")
    denied = _names(deny)
    deny.close()
    allow_prod = scope.flag("allow_prod", False)
    scope.close()
    if not allow.functions and isinstance(table.fields.get("scope"), dict) and not scope.fields.get("functions"):
        table.mistakes.add(
            'scope.functions is missing or empty: use a list of names such as ["checkout-*"]; nothing is meant by itself'
        )
    return Scope(allow, denied, allow_prod)


def _names(table: Table) -> Names:
    use = "a name (no ARN) of 1 to 170 characters, where * stands for anything"
    return Names(**{name: table.texts(name, _MOST_NAMES, _is_name, use) for name in NAMED})


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 170 and text.isprintable() and text.count("*") <= 5 and not text.startswith("arn:")


def _limits(table: Table, reading: Reading) -> Limits:
    most, minute = reading.settings.max_injections, reading.settings.max_per_minute
    default = Limits()
    limits = Limits(
        table.integer("max_injections", min(default.max_injections, most), 0, most, "the most: CHAOS_MAX_INJECTIONS"),
        table.integer(
            "max_per_minute", min(default.max_per_minute, minute), 0, minute, "the most: CHAOS_MAX_PER_MINUTE"
        ),
        table.number("max_fraction_of_deadline", default.max_fraction_of_deadline, 0.0, 1.0),
        table.integer("min_remaining_ms", default.min_remaining_ms, 0, 900_000, "ms"),
        table.integer("min_free_tmp_mb", default.min_free_tmp_mb, 1, 10_240, "MB"),
        table.integer("min_free_memory_mb", default.min_free_memory_mb, 1, 10_240, "MB"),
    )
    table.close()
    return limits


def _guard(table: Table) -> Guard:
    default = Guard()
    guard = Guard(
        table.number("abort_error_rate", default.abort_error_rate, 0.0, 1.0),
        table.integer("window_s", default.window_ms // 1_000, 1, 3_600, "s") * 1_000,
        table.integer("min_requests", default.min_requests, 1, 10_000),
    )
    table.close()
    return guard


# what


def _faults(table: Table, reading: Reading) -> tuple[Fault, ...]:
    use = f'a list of 1 to {MOST_FAULTS} faults, such as {{"type": "delay", "percentage": 5, "params": {{"ms": 300}}}}'
    found: list[Fault] = []
    if table.fields.get("faults") == []:
        table.wrong("faults", f'{use}; to say that nothing is armed, "off": true')
    for one in table.tables("faults", MUST, MOST_FAULTS, use):
        fault = _fault(one, reading)
        if fault is not None:
            if fault.id in (other.id for other in found):
                one.mistakes.add(f'{one.where}.id = "{fault.id}" is another fault\'s as well: use different ids')
            found.append(fault)
    return tuple(found)


def _fault(table: Table, reading: Reading) -> Fault | None:
    kind = TYPES.get(table.choice("type", MUST, tuple(TYPES)))
    named = table.text("id", kind.type if kind else "?", least=1, most=64, name=True)
    percentage = table.number("percentage", MUST, 0.0, 100.0, "%")
    if table.given("phase") and kind is not None:
        table.choice("phase", kind.phase, (kind.phase,))
    match = read_matches(table)
    starts_ms = table.moment("starts_at", 0, reading.now_ms)
    ends_ms = table.moment("ends_at", 0, reading.now_ms + 600_000)
    written = table.table("params")
    table.close()
    if kind is None:
        return None
    params = check_params(kind, written)
    return Fault(named, kind.type, kind.phase, percentage, match, params, starts_ms, ends_ms)


def check_params(kind: Kind, table: Table) -> dict[str, Any]:
    """The parameters, complete; what is wrong goes to the table's mistakes."""
    before = len(table.mistakes.lines) + table.mistakes.left_out
    params = {name: _param(param, table) for name, param in kind.params.items()}
    table.close()
    if len(table.mistakes.lines) + table.mistakes.left_out == before:
        wrong = kind.wrong(params)
        if wrong:
            table.mistakes.add(f"{table.where}: {wrong}")
    return params


def _param(param: Param, table: Table) -> Any:
    default = MUST if param.default is None else param.default
    name, least, most = param.name, param.minimum, param.maximum
    if param.kind == "integer":
        return table.integer(name, default, int(least), int(most), param.unit)
    if param.kind == "number":
        return table.number(name, default, least, most, param.unit)
    if param.kind == "text":
        return table.text(name, default, least=int(least), most=int(most))
    if param.kind == "flag":
        return table.flag(name, default)
    if param.kind == "choice":
        return table.choice(name, default, param.choices)
    if param.kind == "hosts":
        return _hosts(param, table)
    if param.kind == "paths":
        return table.texts(name, _MOST_PATHS, _is_path, "a dotted path into the event, up to 256 characters")
    return _values(param, table)


def _hosts(param: Param, table: Table) -> Any:
    if not table.given(param.name):
        return param.default
    use = "a host name in which * stands for anything, or re: and a regular expression"
    hosts = table.texts(param.name, 100, lambda one: 0 < len(one) <= 520 and one.isprintable(), use)
    if table.fields[param.name] == []:
        table.wrong(param.name, param.allowed)
    for at, host in enumerate(hosts):
        why = why_not_regex(host[3:]) if host.startswith("re:") else ""
        if why:
            table.mistakes.wrong(f"{table.name_of(param.name)}[{at}]", host, f"another expression: {why}")
    return hosts


def _values(param: Param, table: Table) -> Any:
    values = table.value(param.name, {}, param.allowed)
    if not isinstance(values, dict) or len(values) > _MOST_PATHS or not all(_is_path(path) for path in values):
        table.wrong(param.name, param.allowed)
        return {}
    if not _is_plain(values):
        table.wrong(param.name, "finite numbers only")
        return {}
    return values


def _is_path(path: str) -> bool:
    return 0 < len(path) <= 256 and all(path.split("."))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(inner) for inner in value.values())
    if isinstance(value, list):
        return all(_is_plain(inner) for inner in value)
    return isinstance(value, (str, bool)) or value is None or is_number(value)


def read_matches(table: Table) -> tuple[Match, ...]:
    """The conditions under ``match``."""
    found = []
    use = f'a list of up to {_MOST_MATCHES} conditions, such as {{"path": "headers.x-test", "operator": "exists"}}'
    for one in table.tables("match", (), _MOST_MATCHES, use):
        path = one.checked(
            "path", MUST, "a dotted path into the event, such as requestContext.http.method",
            lambda path: isinstance(path, str) and _is_path(path),
        )  # fmt: skip
        operator = one.choice("operator", "eq", _OPERATORS)
        value = one.text("value", "" if operator == "exists" else MUST, most=512)
        why = why_not_regex(value) if operator == "regex" and isinstance(value, str) else ""
        if why:
            one.wrong("value", f"another expression: {why}")
        one.close()
        found.append(Match(path, operator, value))
    return tuple(found)
