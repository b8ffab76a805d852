"""Experiments as values, whatever they were written in; and how one is written as a document of our own.

`readers` make them of documents; `rails` decide whether one of its faults happens.
"""

from __future__ import annotations

from extension_kit.errors import ConfigError
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["Experiment", "Fault", "Guard", "Limits", "Match", "Names", "Refused", "Scope", "render"]

NAMED = ("functions", "aliases", "versions", "tenants", "regions", "accounts")


class Refused(ConfigError):
    """A document that arms nothing. ``lines``: one for each mistake: the field, its value, what is allowed, the fix."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(self.lines))


class Match(Value):
    """A condition on the event. ``path``: dotted; ``operator``: eq, exists, startsWith or regex; ``value``: "" for exists."""

    __slots__ = ("operator", "path", "value")

    path: str
    operator: str
    value: str

    def __init__(self, path: str, operator: str = "eq", value: str = "") -> None:
        set_field(self, "path", path)
        set_field(self, "operator", operator)
        set_field(self, "value", value)


class Fault(Value):
    """One fault of an experiment; ``params`` are complete and checked against `vocabulary`.

    ``percentage``: 0 to 100, of the invocations that match. ``starts_ms``, ``ends_ms``: epoch ms, where a format gives a fault
    a time of its own within the experiment's; 0 for none.
    """

    __slots__ = ("ends_ms", "id", "match", "params", "percentage", "phase", "starts_ms", "type")

    id: str
    type: str
    phase: str
    percentage: float
    match: tuple[Match, ...]
    params: Mapping[str, Any]
    starts_ms: int
    ends_ms: int

    def __init__(
        self,
        id: str,
        type: str,
        phase: str,
        percentage: float,
        match: tuple[Match, ...],
        params: Mapping[str, Any],
        starts_ms: int = 0,
        ends_ms: int = 0,
    ) -> None:
        set_field(self, "id", id)
        set_field(self, "type", type)
        set_field(self, "phase", phase)
        set_field(self, "percentage", percentage)
        set_field(self, "match", match)
        set_field(self, "params", params)
        set_field(self, "starts_ms", starts_ms)
        set_field(self, "ends_ms", ends_ms)


class Names(Value):
    """Lists of names, where ``*`` stands for anything; an empty list names nothing."""

    __slots__ = NAMED

    functions: tuple[str, ...]
    aliases: tuple[str, ...]
    versions: tuple[str, ...]
    tenants: tuple[str, ...]
    regions: tuple[str, ...]
    accounts: tuple[str, ...]

    def __init__(self, **names: tuple[str, ...]) -> None:
        for name in NAMED:
            set_field(self, name, names.get(name, ()))


class Scope(Value):
    """Where faults may happen: in what every list of `allow` that is not empty names, and nothing of `deny` does."""

    __slots__ = ("allow", "allow_prod", "deny")

    allow: Names
    deny: Names
    allow_prod: bool

    def __init__(self, allow: Names, deny: Names | None = None, allow_prod: bool = False) -> None:
        set_field(self, "allow", allow)
        set_field(self, "deny", deny or Names())
        set_field(self, "allow_prod", allow_prod)


class Limits(Value):
    """``max_injections``, ``max_per_minute``: in one execution environment. ``max_fraction_of_deadline``: of the time that an
    invocation has left, the most that a delay takes. ``min_remaining_ms``: with less of it nothing is injected.
    ``min_free_*_mb``: floors of what resource faults leave.
    """

    __slots__ = (
        "max_fraction_of_deadline", "max_injections", "max_per_minute", "min_free_memory_mb", "min_free_tmp_mb",
        "min_remaining_ms",
    )  # fmt: skip

    max_injections: int
    max_per_minute: int
    max_fraction_of_deadline: float
    min_remaining_ms: int
    min_free_tmp_mb: int
    min_free_memory_mb: int

    def __init__(
        self,
        max_injections: int = 1_000,
        max_per_minute: int = 600,
        max_fraction_of_deadline: float = 0.9,
        min_remaining_ms: int = 50,
        min_free_tmp_mb: int = 16,
        min_free_memory_mb: int = 32,
    ) -> None:
        set_field(self, "max_injections", max_injections)
        set_field(self, "max_per_minute", max_per_minute)
        set_field(self, "max_fraction_of_deadline", max_fraction_of_deadline)
        set_field(self, "min_remaining_ms", min_remaining_ms)
        set_field(self, "min_free_tmp_mb", min_free_tmp_mb)
        set_field(self, "min_free_memory_mb", min_free_memory_mb)


class Guard(Value):
    """The experiment is ended here when, of at least ``min_requests`` invocations within ``window_ms`` into which nothing was
    injected, the fraction ``abort_error_rate`` or more has failed. 0: it is not looked at.
    """

    __slots__ = ("abort_error_rate", "min_requests", "window_ms")

    abort_error_rate: float
    window_ms: int
    min_requests: int

    def __init__(self, abort_error_rate: float = 0.5, window_ms: int = 60_000, min_requests: int = 10) -> None:
        set_field(self, "abort_error_rate", abort_error_rate)
        set_field(self, "window_ms", window_ms)
        set_field(self, "min_requests", min_requests)


class Experiment(Value):
    """``armed_until_ms``: epoch ms. ``lease_ms``: so long an experiment counts without its document having been seen again.
    ``renewed_ms``: epoch ms of the operator's last sign of life, after which it counts for ``lease_ms`` too; 0: none is needed.
    ``source``: where the document was found, for people. ``faults``: in the order in which they are tried.
    """

    __slots__ = (
        "armed_until_ms", "dry_run", "faults", "guard", "id", "lease_ms", "limits", "owner", "renewed_ms", "scope", "seed",
        "source", "version",
    )  # fmt: skip

    version: int
    id: str
    armed_until_ms: int
    lease_ms: int
    renewed_ms: int
    seed: str
    dry_run: bool
    owner: str
    scope: Scope
    limits: Limits
    guard: Guard
    faults: tuple[Fault, ...]
    source: str

    def __init__(
        self,
        *,
        id: str,
        armed_until_ms: int,
        scope: Scope,
        faults: tuple[Fault, ...],
        owner: str,
        version: int = 1,
        lease_ms: int = 180_000,
        renewed_ms: int = 0,
        seed: str = "",
        dry_run: bool = False,
        limits: Limits | None = None,
        guard: Guard | None = None,
        source: str = "",
    ) -> None:
        set_field(self, "version", version)
        set_field(self, "id", id)
        set_field(self, "armed_until_ms", armed_until_ms)
        set_field(self, "lease_ms", lease_ms)
        set_field(self, "renewed_ms", renewed_ms)
        set_field(self, "seed", seed or id)
        set_field(self, "dry_run", dry_run)
        set_field(self, "owner", owner)
        set_field(self, "scope", scope)
        set_field(self, "limits", limits or Limits())
        set_field(self, "guard", guard or Guard())
        set_field(self, "faults", faults)
        set_field(self, "source", source)

    def changed(self, **fields: Any) -> Experiment:
        """This one with other values in some fields."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return Experiment(**{**values, **fields})


def render(experiment: Experiment) -> dict[str, Any]:
    """The experiment as a document of our own, to be written as JSON; reading it gives the same experiment."""
    from extension_kit.protocol.timestamps import format_ms

    scope = experiment.scope
    document: dict[str, Any] = {
        "version": experiment.version,
        "id": experiment.id,
        "owner": experiment.owner,
        "armed_until": format_ms(experiment.armed_until_ms),
        "lease_s": experiment.lease_ms // 1_000,
        "seed": experiment.seed,
        "dry_run": experiment.dry_run,
        "scope": {**_names(scope.allow), "deny": _names(scope.deny), "allow_prod": scope.allow_prod},
        "limits": {name: getattr(experiment.limits, name) for name in Limits.__slots__},
        "guard": {
            "abort_error_rate": experiment.guard.abort_error_rate,
            "window_s": experiment.guard.window_ms // 1_000,
            "min_requests": experiment.guard.min_requests,
        },
        "faults": [_fault(fault) for fault in experiment.faults],
    }
    if experiment.renewed_ms:
        document["renewed_at"] = format_ms(experiment.renewed_ms)
    return document


def _names(names: Names) -> dict[str, Any]:
    return {name: list(getattr(names, name)) for name in NAMED if getattr(names, name)}


def _fault(fault: Fault) -> dict[str, Any]:
    from extension_kit.protocol.timestamps import format_ms
    from extensions.chaos_injector.vocabulary import TYPES

    params = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fault.params.items()
        if name in TYPES[fault.type].params
    }
    document = {"id": fault.id, "type": fault.type, "percentage": fault.percentage, "params": params}
    if fault.match:
        document["match"] = [_match(match) for match in fault.match]
    for name, ms in (("starts_at", fault.starts_ms), ("ends_at", fault.ends_ms)):
        if ms:
            document[name] = format_ms(ms)
    return document


def _match(match: Match) -> dict[str, str]:
    document = {"path": match.path, "operator": match.operator}
    return document if match.operator == "exists" else {**document, "value": match.value}
