"""``plan``: what an experiment would do, where, how often and until when, and which rail holds it; nothing is written."""

from __future__ import annotations

from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector.audit import Audit
from extensions.chaos_injector.driver import with_settings
from extensions.chaos_injector.plan import NAMED
from extensions.chaos_injector.rails import Facts, Rails
from extensions.chaos_injector.vocabulary import PHASES, TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from extension_kit.io.clock import Clock
    from extensions.chaos_injector.plan import Experiment, Fault
    from extensions.chaos_injector.settings import ChaosSettings

__all__ = ["preview", "show"]


def preview(
    experiment: Experiment,
    settings: ChaosSettings,
    clock: Clock,
    *,
    rate: float,
    environments: int,
    functions: Sequence[Facts] = (),
) -> dict[str, Any]:
    """``rate``: invocations a second, of all environments; ``functions``: to say whether it would be armed there."""
    now_ms = clock.wall_ms()
    seconds = max(0.0, (experiment.armed_until_ms - now_ms) / 1_000)
    plan: dict[str, Any] = {
        "experiment": experiment.id,
        "owner": experiment.owner,
        "armed_until": format_ms(experiment.armed_until_ms),
        "seconds_left": round(seconds, 1),
        "dry_run": experiment.dry_run,
        "scope": {name: list(getattr(experiment.scope.allow, name)) for name in NAMED},
        "deny": {name: list(getattr(experiment.scope.deny, name)) for name in NAMED},
        "faults": [_fault(fault, experiment, now_ms, rate, environments) for fault in _in_order(experiment)],
        "rails": _rails(experiment),
    }
    asked = with_settings(settings, enabled=True)
    audit = Audit(lambda _line: None, lambda _name, _n: None, clock)
    plan["would_be_armed"] = [
        {"function": facts.function, "objection": Rails(asked, facts, audit, clock).objection(experiment)}
        for facts in functions
    ]
    return plan


def _in_order(experiment: Experiment) -> list[Fault]:
    return sorted(experiment.faults, key=lambda fault: PHASES.index(fault.phase))


def _fault(fault: Fault, experiment: Experiment, now_ms: int, rate: float, environments: int) -> dict[str, Any]:
    begins = max(now_ms, fault.starts_ms)
    ends = min(experiment.armed_until_ms, fault.ends_ms or experiment.armed_until_ms)
    seconds = max(0.0, (ends - begins) / 1_000)
    limits = experiment.limits
    most = environments * min(limits.max_injections, limits.max_per_minute * max(1.0, seconds / 60))
    expected = min(rate * seconds * fault.percentage / 100, most)
    defaults = {name: param.default for name, param in TYPES[fault.type].params.items()}
    return {
        "id": fault.id,
        "type": fault.type,
        "phase": fault.phase,
        "percentage": fault.percentage,
        "params": {name: value for name, value in fault.params.items() if value != defaults.get(name)},
        "match": [" ".join((one.path, one.operator, one.value)).strip() for one in fault.match],
        "expected": round(expected, 1),
        "at_most": int(most),
    }


def _rails(experiment: Experiment) -> list[str]:
    limits, guard = experiment.limits, experiment.guard
    lines = [
        f"in each environment: at most {limits.max_injections} injections, {limits.max_per_minute} a minute",
        f"a delay takes at most {limits.max_fraction_of_deadline:.0%} of the time left",
        f"with less than {limits.min_remaining_ms} ms left nothing is injected",
        f"counts for {experiment.lease_ms // 1_000} s after its document was seen last",
    ]
    if experiment.renewed_ms:
        lines.append(f"ends {experiment.lease_ms // 1_000} s after its owner has renewed it last")
    if guard.abort_error_rate:
        lines.append(
            f"ends where {guard.abort_error_rate:.0%} of the invocations that are left alone fail (of {guard.min_requests} "
            f"or more in {guard.window_ms // 1_000} s)"
        )
    return lines


def show(plan: dict[str, Any]) -> list[str]:
    """For people."""
    lines = [
        f"{plan['experiment']} of {plan['owner']}, until {plan['armed_until']} ({plan['seconds_left']:g} s)"
        + (": a dry run, nothing happens" if plan["dry_run"] else "")
    ]
    for what in ("scope", "deny"):
        named = [f"{name} {', '.join(names)}" for name, names in plan[what].items() if names]
        if named:
            lines.append(f"{what}: {'; '.join(named)}")
    rows = [("fault", "phase", "type", "%", "expected", "at most", "with")]
    for fault in plan["faults"]:
        given = [f"{name}={value}" for name, value in fault["params"].items()] + fault["match"]
        rows.append(
            (
                fault["id"], fault["phase"], fault["type"], f"{fault['percentage']:g}", f"{fault['expected']:g}",
                str(fault["at_most"]), " ".join(given)[:200],
            )
        )  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for one in plan["would_be_armed"]:
        function, objection = one["function"], one["objection"]
        lines.append(f"in {function}: {f'not armed: {objection}' if objection else 'would be armed'}")
    return [*lines, *plan["rails"]]
