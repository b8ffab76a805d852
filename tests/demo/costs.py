"""What extensions cost: the shop alone, with each of them, with all four, and with all in one process, over and over.

A figure is the median over the rounds; what an extension adds is the median of the differences to the shop alone in the same
round, so that a machine that is slow for a while is so for both. No fault is armed meanwhile.
"""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from extensions.metrics_collector import prices
from tests.demo import functions, receivers
from tests.demo.layers import EXTENSIONS, JOINT
from tests.demo.runs import MEMORY_MB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extension_kit.backends.plan import Outcome
    from tests.demo.runs import Demo

ALONE, TOGETHER, ONE = "the shop alone", "all four", "all, one process"
#: by name: the layers that are attached
VARIANTS: dict[str, tuple[str, ...]] = {
    ALONE: (), **{name: (name,) for name in EXTENSIONS}, TOGETHER: EXTENSIONS, ONE: (JOINT,),
}  # fmt: skip
INVOKES = 16  # of a run; from the 20th on, the flush strategy is another one
WARM = (
    3  # the first that counts: the first response is cold, and under AWS's emulator the second waits for a cold export
)
_BUDGET_S = 70.0  # for all rounds, where nobody says how many
_MOST = 7
_FEWEST = 2  # that show by how much a figure varies


@dataclass(frozen=True)
class Cost:
    """Of one run. Milliseconds: ``response`` and ``after`` it of a warm invocation, ``cold`` after the first response;
    ``varied``: from the first to the third quarter of the responses.

    ``cpu``: of the whole run, in the extensions' processes; ``peak``: their most resident bytes, added up. None: the backend
    does not tell it. AWS's emulator answers when extensions are done: there ``response`` has both, and ``after`` is None.
    """

    init: float
    response: float
    after: float | None
    cold: float | None
    cpu: float | None
    peak: float | None
    varied: float


def of(outcome: Outcome, extensions: Sequence[str], with_after: bool) -> Cost:
    """What one run says of itself; the runtime's own process where there is no extension."""
    events = outcome.events
    init = next(event["duration_ms"] for event in events if event["kind"] == "init_end")
    responses = [event["duration_ms"] for event in events if event["kind"] == "response"]
    whole = [event["duration_ms"] for event in events if event["kind"] == "invoke_end"]
    after = [end - response for end, response in zip(whole, responses, strict=True)]
    quarters = statistics.quantiles(responses[WARM:], n=4)
    counted = extensions or ("runtime",)
    used = [event for event in events if event["kind"] == "process_usage" and event["party"] in counted]
    return Cost(
        init,
        statistics.median(responses[WARM:]),
        statistics.median(after[WARM:]) if with_after else None,
        after[0] if with_after else None,
        sum(event["cpu_ms"] for event in used) if used else None,
        float(sum(event["peak_bytes"] for event in used)) if used else None,
        quarters[2] - quarters[0],
    )


def measure(demo: Demo, rounds: int | None, told: Callable[[int, str, float], object]) -> list[dict[str, Cost]]:
    """Each round's costs by variant. ``rounds``: None for as many as there is time for; ``told(round, variant, seconds)``."""
    orders = [{**order, "quantity": 1} for order in functions.orders(demo.seed, INVOKES)]  # none is bad
    names = list(VARIANTS)
    found: list[dict[str, Cost]] = []
    began = time.monotonic()
    while len(found) < (rounds or _MOST):
        round_began = time.monotonic()
        at = len(found) % len(names)
        measured: dict[str, Cost] = {}
        for name in names[at:] + names[:at]:  # nobody is always the first
            run_began = time.monotonic()
            outcome = demo.run("shop", orders, VARIANTS[name], receivers.MEASURED)
            measured[name] = of(outcome, VARIANTS[name], demo.backend == "emulator")
            told(len(found) + 1, name, time.monotonic() - run_began)
        found.append(measured)
        now = time.monotonic()
        if not rounds and now - began + (now - round_began) > _BUDGET_S:
            break
    return found


def alone(rounds: list[dict[str, Cost]]) -> dict[str, float | None]:
    """The shop's own figures: medians."""
    return {one.name: _median([getattr(round_[ALONE], one.name) for round_ in rounds]) for one in fields(Cost)}


def spread(rounds: list[dict[str, Cost]], figure: str) -> float:
    """By how much the shop alone varied, from round to round or within one: what is smaller than that is noise."""
    values = [getattr(round_[ALONE], figure) or 0.0 for round_ in rounds]
    within = statistics.median(round_[ALONE].varied for round_ in rounds) if figure == "response" else 0.0
    return float(max(max(values) - min(values), within))


def added(rounds: list[dict[str, Cost]], variant: str) -> dict[str, float | None]:
    """What `variant` adds to the shop alone; CPU and memory are its own already."""
    result: dict[str, float | None] = {}
    for one in fields(Cost):
        values = [getattr(round_[variant], one.name) for round_ in rounds]
        if one.name not in ("cpu", "peak"):
            before = [getattr(round_[ALONE], one.name) for round_ in rounds]
            values = [
                None if value is None else value - base for value, base in zip(values, before, strict=True)
            ]  # fmt: skip
        result[one.name] = _median(values)
    return result


def is_noise(rounds: list[dict[str, Cost]], figure: str, value: float | None) -> bool:
    """Whether the shop alone varies by as much; or it is negative, since nobody makes the shop faster; or there is one round
    only, of which nobody can tell.
    """
    if figure not in ("init", "response", "after", "cold") or value is None:
        return False
    return len(rounds) < _FEWEST or value <= spread(rounds, figure)


def price_usd(rounds: list[dict[str, Cost]], figures: dict[str, Any]) -> float:
    """Of a million warm invocations: the time that is added, at the list price of the memory; nothing for the request.

    What is no more than the shop alone varies by counts as no time.
    """
    parts = {figure: figures[figure] or 0.0 for figure in ("response", "after")}
    milliseconds = sum(value for figure, value in parts.items() if value > spread(rounds, figure))
    whole: float = prices.cost_usd(1000.0, MEMORY_MB, platform.machine()) - prices.REQUEST_USD
    return milliseconds / 1000.0 * whole * 1_000_000


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if len(known) == len(values) and known else None
