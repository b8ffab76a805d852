"""The record of what was decided: one line of JSON for each decision, and counters.

Decisions against a fault come as often as invocations; of those that are alike no more than `_PER_MINUTE` are written in a
minute, and the next line says how many were left out.
"""

from __future__ import annotations

import _thread

from extension_kit.protocol.jsontext import dumps
from extension_kit.protocol.timestamps import format_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.io.clock import Clock
    from extensions.chaos_injector.plan import Experiment, Fault

__all__ = ["Audit"]

_PER_MINUTE = 60
_MINUTE_NS = 60_000_000_000
_MOST_KINDS = 500
_REPEATED = ("skip", "dry_run", "refuse")


class _Kind:
    """Lines that are alike."""

    __slots__ = ("fields", "left_out", "since_ns", "written")

    def __init__(self, since_ns: int) -> None:
        self.since_ns = since_ns
        self.written = 0
        self.left_out = 0
        self.fields: dict[str, object] = {}


class Audit:
    """``write``: takes a line without its end; ``count``: the plug-in's; ``few``: one of a kind in a minute. For any thread."""

    def __init__(
        self, write: Callable[[str], object], count: Callable[[str, int], object], clock: Clock, *, few: bool = False
    ) -> None:
        self._write = write
        self._count = count
        self._clock = clock
        self._most = 1 if few else _PER_MINUTE
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        self._lock = _thread.allocate_lock()

    def line(
        self,
        action: str,
        experiment: Experiment | None = None,
        fault: Fault | None = None,
        *,
        request_id: str = "",
        reason: str = "",
        roll: float | None = None,
        **more: object,
    ) -> None:
        """One decision. ``action``: arm, extend, disarm, expire, abort, inject, dry_run, skip, refuse, note or clean."""
        fields: dict[str, object] = {
            "source": "chaos-injector", "action": action, "time": format_ms(self._clock.wall_ms()),
        }  # fmt: skip
        if experiment is not None:
            fields |= {"experiment": experiment.id, "owner": experiment.owner, "seed": experiment.seed}
        if fault is not None:
            fields |= {"fault": fault.id, "type": fault.type, "percentage": fault.percentage}
        if request_id:
            fields["request_id"] = request_id
        if roll is not None:
            fields["roll"] = round(roll, 6)
        if reason:
            fields["reason"] = reason
        fields |= more
        with self._lock:
            self._tally(action, fault, reason)
            if action not in _REPEATED or self._may_write(action, experiment, fault, reason, fields):
                self._put(fields)

    def close(self) -> None:
        """Tell what was left out so far."""
        with self._lock:
            self._tell_all()

    def _tally(self, action: str, fault: Fault | None, reason: str) -> None:
        short = reason.partition(":")[0].replace(" ", "_")
        self._count(f"skip_{short}" if action == "skip" else action, 1)
        if fault is not None and action in ("inject", "dry_run"):
            self._count(f"{action}_{fault.type}", 1)

    def _may_write(
        self,
        action: str,
        experiment: Experiment | None,
        fault: Fault | None,
        reason: str,
        fields: dict[str, object],
    ) -> bool:
        # A reason has names behind its colon (of tenants, say), of which there is no end.
        key: tuple[str, ...] = (
            action, experiment.id if experiment else "", fault.id if fault else "", reason.partition(":")[0],
        )  # fmt: skip
        if action == "refuse":
            key = (
                action,
            )  # a document has so many mistakes at most, and another one comes no sooner than it is asked for
        now = self._clock.monotonic_ns()
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS - len(_REPEATED):
            self._tell_old(now)
            if len(self._kinds) >= _MOST_KINDS - len(_REPEATED):
                key = (action,)
        kind = self._kinds.get(key)
        if kind is None or not 0 <= now - kind.since_ns < _MINUTE_NS:
            if kind is not None and kind.left_out:
                fields["left_out"] = kind.left_out
            kind = self._kinds[key] = _Kind(now)
        if kind.written < (_PER_MINUTE if action == "refuse" else self._most):
            kind.written += 1
            return True
        kind.left_out += 1
        kind.fields = fields
        return False

    def _tell_old(self, now: int) -> None:
        for key, kind in list(self._kinds.items()):
            if not 0 <= now - kind.since_ns < _MINUTE_NS:
                self._tell(kind)
                del self._kinds[key]

    def _tell_all(self) -> None:
        for kind in self._kinds.values():
            self._tell(kind)
        self._kinds.clear()

    def _tell(self, kind: _Kind) -> None:
        if kind.left_out:
            one = {name: value for name, value in kind.fields.items() if name not in ("request_id", "roll")}
            self._put({**one, "left_out": kind.left_out})

    def _put(self, fields: dict[str, object]) -> None:
        try:
            self._write(dumps(fields).decode())
        except Exception:  # a log that cannot be written must not change what is decided
            self._count("audit_lost", 1)
