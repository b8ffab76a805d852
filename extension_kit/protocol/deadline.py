"""Deadlines and shutdown budgets, in milliseconds; the clock is handed in."""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadline", "ShutdownPlan", "shutdown_plan"]


class Deadline:
    """A moment by which work must be done, and why.

    ``at_ms``: epoch milliseconds, as the platform gives it; ``margin_ms``: kept free before it; ``reason``: for messages.
    """

    __slots__ = ("_now_ms", "at_ms", "margin_ms", "reason")

    def __init__(self, at_ms: int, now_ms: Callable[[], int], margin_ms: int = 0, reason: str = "") -> None:
        self.at_ms = at_ms
        self.margin_ms = margin_ms
        self.reason = reason
        self._now_ms = now_ms

    def remaining_ms(self) -> int:
        """Milliseconds of work that are left, never below 0."""
        return max(0, self.at_ms - self.margin_ms - self._now_ms())

    @property
    def expired(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_ms() == 0

    def __repr__(self) -> str:
        return f"Deadline(at_ms={self.at_ms}, margin_ms={self.margin_ms}, reason={self.reason!r})"


class ShutdownPlan(Value):
    """``total_ms`` from the start of the shutdown to SIGKILL for all, ``runtime_ms`` of it until the runtime's SIGKILL."""

    __slots__ = ("runtime_ms", "total_ms")

    total_ms: int
    runtime_ms: int

    def __init__(self, total_ms: int, runtime_ms: int) -> None:
        set_field(self, "total_ms", total_ms)
        set_field(self, "runtime_ms", runtime_ms)


def shutdown_plan(external: int, internal: int, runtime_share_ms: int = 300) -> ShutdownPlan:
    """Lambda's budgets (AWS docs, runtime environment): 0 ms without extensions, 500 with internal ones only, else 2000.

    With external extensions the runtime's share comes first: 300 ms in the documentation, 600 in AWS's emulator.
    """
    if external:
        return ShutdownPlan(2000, runtime_share_ms)
    if internal:
        return ShutdownPlan(500, 500)
    return ShutdownPlan(0, 0)
