"""How the time of a SHUTDOWN is spent: linger for what the platform still has, flush, let plug-ins say goodbye."""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

__all__ = ["DrainPlan", "plan_drain"]

#: Lambda's own report of the last invocation may be a second away (observed: 5 ms on average, rarely more than 40).
_LINGER_MS = 1_150
_LEAST_FLUSH_MS = 250
_GOODBYE_MS = 200


class DrainPlan(Value):
    """Epoch ms: until when to linger for a report that is missing, until when to flush; the rest is for ``on_shutdown``."""

    __slots__ = ("flush_until_ms", "linger_until_ms")

    linger_until_ms: int
    flush_until_ms: int

    def __init__(self, linger_until_ms: int, flush_until_ms: int) -> None:
        set_field(self, "linger_until_ms", linger_until_ms)
        set_field(self, "flush_until_ms", flush_until_ms)


def plan_drain(now_ms: int, limit_ms: int, missing: bool) -> DrainPlan:
    """``limit_ms``: when all must be done. ``missing``: a report is still to come, by all that is known.

    Where time is short, goodbyes get a fifth of it at most and a flush at least a third.
    """
    left = max(0, limit_ms - now_ms)
    goodbye = min(_GOODBYE_MS, left // 5)
    linger = min(_LINGER_MS, left - goodbye - min(_LEAST_FLUSH_MS, left // 3)) if missing else 0
    return DrainPlan(now_ms + linger, now_ms + left - goodbye)
