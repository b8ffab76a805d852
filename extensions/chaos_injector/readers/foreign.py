"""What the formats of others have not: an end, an owner, a scope, limits. They come from the settings, or nothing is armed."""

from __future__ import annotations

from extensions.chaos_injector.plan import Experiment, Limits, Names, Scope
from extensions.chaos_injector.readers.native import check_end
from extensions.chaos_injector.vocabulary import TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extensions.chaos_injector.plan import Fault
    from extensions.chaos_injector.readers import Reading

__all__ = ["complete", "experiment", "settings_end_ms"]


def complete(type: str, **given: Any) -> dict[str, Any]:
    """Parameters of a fault type, those that are not `given` with their defaults."""
    return {name: given.get(name, param.default) for name, param in TYPES[type].params.items()}


def settings_end_ms(reading: Reading) -> int | None:
    """What ``CHAOS_ARMED_UNTIL`` says; None where it is not set. A mistake is noted in the reading."""
    written = reading.settings.armed_until
    if not written:
        return None
    from extensions.chaos_injector.checking import Table

    table = Table({"CHAOS_ARMED_UNTIL": written}, "", reading.mistakes)
    ms: int = table.moment("CHAOS_ARMED_UNTIL", 0, reading.now_ms // 1_000 * 1_000 + 600_000)
    if ms:
        check_end("CHAOS_ARMED_UNTIL", written, ms, reading)
    return ms


def experiment(format: str, faults: tuple[Fault, ...], reading: Reading, ends_ms: int | None = None) -> Experiment:
    """An experiment without names of its own. ``ends_ms``: where the format tells it. Refused where nobody does."""
    end = settings_end_ms(reading)
    if ends_ms is not None:
        end = ends_ms if end is None else min(end, ends_ms)
        check_end(f"the end of {format}'s actions", ends_ms, end, reading)
    if end is None:
        reading.mistakes.add(
            f"{format}'s format has no end, and CHAOS_ARMED_UNTIL is not set: set it to a time with its zone, at most "
            f"{reading.settings.max_ttl // 1_000} s ahead, or write an experiment with armed_until"
        )
    reading.mistakes.raise_if_any()
    assert end is not None
    return Experiment(
        id=format, owner=format, armed_until_ms=end, lease_ms=reading.settings.lease, faults=faults,
        scope=Scope(Names(functions=("*",))), source=reading.source,
        limits=Limits(
            max_injections=reading.settings.max_injections, max_per_minute=reading.settings.max_per_minute,
            max_fraction_of_deadline=1.0, min_remaining_ms=0,
        ),
    )  # fmt: skip
