"""What an extension is told by ``next``: an invoke, the shutdown, or something that is not known yet; and what it answers.

Field names are AWS's, turned to snake_case; what else the platform sends stays in ``raw``. Any field may be absent in local
tools, so all of them have a neutral default. Source: AWS docs, Extensions API, "Next".
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

__all__ = ["Flushed", "Invoke", "Registration", "Restore", "Shutdown", "UnknownEvent"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Registration(Value):
    """The platform's answer to ``register``. ``account_id`` is "" where the platform does not tell it (AWS's emulator)."""

    __slots__ = ("account_id", "function_name", "function_version", "handler", "identifier", "raw")

    identifier: str
    function_name: str
    function_version: str
    handler: str
    account_id: str
    raw: Mapping[str, Any]

    def __init__(self, identifier: str, raw: Mapping[str, Any]) -> None:
        set_field(self, "identifier", identifier)
        set_field(self, "function_name", _text(raw, "functionName"))
        set_field(self, "function_version", _text(raw, "functionVersion"))
        set_field(self, "handler", _text(raw, "handler"))
        set_field(self, "account_id", _text(raw, "accountId"))
        set_field(self, "raw", raw)


class Invoke(Value):
    """The function is invoked, now.

    Only ``raw`` is stored, the fields are read when they are asked for: there is one of these for every invoke, and the work
    between two events is what an extension costs its function.
    """

    __slots__ = ("raw",)

    raw: Mapping[str, Any]

    def __init__(self, raw: Mapping[str, Any]) -> None:
        set_field(self, "raw", raw)

    @property
    def request_id(self) -> str:
        return _text(self.raw, "requestId")

    @property
    def deadline_ms(self) -> int:
        """Epoch milliseconds; 0 where the platform does not tell."""
        return _number(self.raw, "deadlineMs")

    @property
    def invoked_function_arn(self) -> str:
        return _text(self.raw, "invokedFunctionArn")

    @property
    def tracing(self) -> str:
        """The trace header's value or ""."""
        tracing = self.raw.get("tracing")
        return _text(tracing, "value") if isinstance(tracing, dict) else ""


class Shutdown(Value):
    """The environment ends. ``reason``: lower case; Lambda says spindown, timeout or failure, AWS's emulator also others."""

    __slots__ = ("deadline_ms", "raw", "reason")

    reason: str
    deadline_ms: int
    raw: Mapping[str, Any]

    def __init__(self, raw: Mapping[str, Any]) -> None:
        set_field(self, "reason", _text(raw, "shutdownReason").lower())
        set_field(self, "deadline_ms", _number(raw, "deadlineMs"))
        set_field(self, "raw", raw)


class Restore(Value):
    """The environment was resumed: what a plug-in has cached of time, sockets, random numbers and credentials is stale.

    ``reason``: ``snapshot`` (SnapStart) or ``clock`` (wall clock and monotonic clock have parted); ``jumped_ms``: by how much.
    The Extensions API has no such event: it is inferred (lambda-apis 9).
    """

    __slots__ = ("jumped_ms", "reason")

    reason: str
    jumped_ms: int

    def __init__(self, reason: str, jumped_ms: int = 0) -> None:
        set_field(self, "reason", reason)
        set_field(self, "jumped_ms", jumped_ms)


class UnknownEvent(Value):
    """An event of a type that this version does not know; it is skipped. ``event_type`` may be ""."""

    __slots__ = ("event_type", "raw")

    event_type: str
    raw: Mapping[str, Any]

    def __init__(self, raw: Mapping[str, Any]) -> None:
        set_field(self, "event_type", _text(raw, "eventType"))
        set_field(self, "raw", raw)


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


def _number(raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 1e18 else 0


class Flushed(Value):
    """What has become of a plug-in's records, from its ``flush``.

    ``pending``: how many are not done with, counted from the newest. ``outcomes``: of those that are done with, how many were
    not delivered, by what became of them, in all since the start of the process: ``filtered``, ``dropped: too large``... What
    begins with ``dropped: `` counts as lost. The kit keeps the figures with the spool, so they go on after a crash.
    """

    __slots__ = ("outcomes", "pending")

    pending: int
    outcomes: Mapping[str, int]

    def __init__(self, pending: int = 0, outcomes: Mapping[str, int] | None = None) -> None:
        set_field(self, "pending", pending)
        set_field(self, "outcomes", dict(outcomes or {}))
