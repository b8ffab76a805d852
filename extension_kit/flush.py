"""When to flush: a pure function of what is known, with its reason.

The question is always the same: an INVOKE has come, what is to be done *now* - hand what is pending to its destination
(`FLUSH`), wait for more telemetry (`WAIT`), or ask for the next event (`NEXT`), after which the environment may freeze at any
moment? Whoever asks does what the answer says and asks again, until the answer is `NEXT`.

Strategies (``EXTENSION_KIT_FLUSH``)
------------------------------------
``end``           wait for the end of the invocation (``platform.runtimeDone``), flush, go on. Data is out within the
                  invocation; the function is billed for the flush.
``end,<ms>``      the same, and every <ms> while a long invocation runs.
``periodic,<s>``  flush when <s> have passed, beside the handler of whichever invocation comes then; never wait for an end.
                  Costs a busy function nothing; a quiet one has its last data delivered at SHUTDOWN.
``continuous``    stay with the invocation and flush whatever has come, as it comes; no flush of its own at the end.
``pipeline``      never wait; what an invocation left goes out beside the handler of the next one, or at SHUTDOWN.
``adaptive``      ``end`` until 20 invocations are known; then ``periodic,10`` for a function that is invoked more often than
                  every two minutes on average, else ``end`` (the prior of the field's largest shipper, log-shipper 1).

Rules over all of them: nothing is begun after the deadline less its margin; where no telemetry tells the end of an invocation
nobody waits for it; what a plug-in calls urgent (a function that has failed, say) is flushed at once. A plug-in whose flush has
left something behind is let be for a while, ever longer, up to 30 s, and its next flush is short (`Turns`); the others go on.
"""

from __future__ import annotations

from extension_kit.errors import ConfigError
from extension_kit.protocol.values import Value, set_field

__all__ = ["FLUSH", "NEXT", "WAIT", "Decision", "Policy", "Situation", "Turns", "decide"]

FLUSH = "flush"
WAIT = "wait"
NEXT = "next"

KINDS = ("end", "periodic", "continuous", "pipeline", "adaptive")
HISTORY = 20  # invocations
_BUSY_GAP_MS = 120_000
_PERIODIC_MS = 10_000
_CONTINUOUS_MS = 100
_LONGEST_FLUSH_MS = 10_000
_SHORT_FLUSH_MS = 1_000  # for one that follows on a failure
_BACK_OFF_MS = (1_000, 30_000)
#: how long a sign of this request (its ``platform.start``) is waited for before the stream counts as silent
SIGN_MS = 1_000
_LAST_CALL_MS = 500  # before the limit: whatever is pending of an invocation that has not ended


class Policy(Value):
    """``kind``: one of `KINDS`; ``interval_ms``: 0 where it has none."""

    __slots__ = ("interval_ms", "kind")

    kind: str
    interval_ms: int

    def __init__(self, kind: str, interval_ms: int = 0) -> None:
        set_field(self, "kind", kind)
        set_field(self, "interval_ms", interval_ms)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """From ``end``, ``end,500``, ``periodic,10``, ``continuous``, ``pipeline``, ``adaptive``; else a ConfigError."""
        kind, comma, number = text.partition(",")
        if kind in KINDS and not comma:
            return cls(kind, {"periodic": _PERIODIC_MS, "continuous": _CONTINUOUS_MS}.get(kind, 0))
        unit = {"end": 1, "periodic": 1000}.get(kind, 0)
        digits = number if number.isascii() and number.isdigit() and len(number) < 8 else "0"
        if not 10 <= int(digits) * unit <= 3_600_000:
            raise ConfigError(f"{text!r} is no flush strategy: use {ALLOWED}")
        return cls(kind, int(digits) * unit)


ALLOWED = "end, end,<10 to 3600000 ms>, periodic,<1 to 3600 s>, continuous, pipeline or adaptive"


class Situation(Value):
    """What is known at one moment. Times in epoch ms.

    ``deadline_ms``: of the invocation, 0 where there is none (Managed Instances). ``invoked_ms``: when INVOKE came.
    ``hears``: "yes", "silent" (subscribed, but nothing has come of late) or "no" (no telemetry here). ``sign``: something of
    this request was seen; ``ended``: its end was. ``wants_end``: a plug-in wants to be told the end as it happens.
    ``pending``: something is that may be flushed now; ``retry_ms``: when something may be that may not now, 0 where there is
    nothing such; ``urgent``: what is pending cannot wait. ``flushed_ms``: end of the last flush, 0 for none.
    ``starts``: when the latest invocations began, oldest first, this one included; ``durations``: of those before it.
    """

    __slots__ = (
        "deadline_ms", "durations", "ended", "flushed_ms", "hears", "invoked_ms", "margin_ms", "now_ms", "pending", "retry_ms",
        "sign", "starts", "urgent", "wants_end",
    )  # fmt: skip

    now_ms: int
    invoked_ms: int
    deadline_ms: int
    margin_ms: int
    hears: str
    sign: bool
    ended: bool
    pending: bool
    retry_ms: int
    urgent: bool
    flushed_ms: int
    wants_end: bool
    starts: tuple[int, ...]
    durations: tuple[int, ...]

    def __init__(self, **fields: object) -> None:
        for name in self.__slots__:
            set_field(self, name, fields[name])

    @property
    def limit_ms(self) -> int:
        """After this nothing is begun and nothing runs on."""
        return self.deadline_ms - self.margin_ms if self.deadline_ms else self.now_ms + 2 * _LONGEST_FLUSH_MS


class Decision(Value):
    """``action``: `FLUSH` or `WAIT`, at most ``until_ms``, or `NEXT`; ``reason`` in the words of a log line."""

    __slots__ = ("action", "reason", "until_ms")

    action: str
    until_ms: int
    reason: str

    def __init__(self, action: str, until_ms: int, reason: str) -> None:
        set_field(self, "action", action)
        set_field(self, "until_ms", until_ms)
        set_field(self, "reason", reason)


class Turns:
    """When one plug-in may be flushed, and for how long: by how its last flushes have ended."""

    __slots__ = ("_ended_ms", "failed")

    def __init__(self) -> None:
        self.failed = 0  # flushes in a row that left something behind
        self._ended_ms = 0

    @property
    def due_ms(self) -> int:
        """The earliest moment for another flush after some that left something behind; epoch ms."""
        return self._ended_ms + min(_BACK_OFF_MS[0] << min(self.failed - 1, 10), _BACK_OFF_MS[1]) if self.failed else 0

    def longest_ms(self, given_ms: int) -> int:
        """How long a flush may take of the `given_ms` that there are."""
        return min(given_ms, _SHORT_FLUSH_MS) if self.failed else given_ms

    def ended(self, now_ms: int, left_something: bool) -> None:
        self.failed = self.failed + 1 if left_something else 0
        self._ended_ms = now_ms


def decide(policy: Policy, now: Situation) -> Decision:
    """What to do now; never `FLUSH` or `WAIT` beyond the deadline less its margin."""
    policy = effective(policy, now)
    if now.now_ms >= now.limit_ms:
        return Decision(NEXT, now.now_ms, "the deadline is near")
    if now.pending and now.urgent:
        return _flush(now, "urgent")
    if not now.deadline_ms:
        return _without_invocations(policy, now)
    if now.ended:
        return _at_the_end(policy, now)
    if now.hears != "yes" or (not now.sign and now.now_ms >= now.invoked_ms + SIGN_MS):
        return _beside_the_handler(now, "invoke") or Decision(
            NEXT, now.now_ms, "nothing tells the end of this invocation"
        )
    return _while_it_runs(policy, now)


def effective(policy: Policy, now: Situation) -> Policy:
    """What ``adaptive`` stands for at the moment."""
    if policy.kind != "adaptive":
        return policy
    if len(now.starts) < HISTORY:
        return Policy("end")
    gap = (now.starts[-1] - now.starts[0]) / (len(now.starts) - 1)
    return Policy("periodic", _PERIODIC_MS) if gap < _BUSY_GAP_MS else Policy("end")


def _at_the_end(policy: Policy, now: Situation) -> Decision:
    if not now.pending:
        return Decision(NEXT, now.now_ms, "backing off" if now.retry_ms else "nothing is pending")
    if policy.kind in ("continuous", "pipeline"):
        return Decision(NEXT, now.now_ms, f"{policy.kind}: what came last goes with what comes next")
    if policy.kind == "periodic" and now.now_ms < now.flushed_ms + policy.interval_ms:
        return Decision(NEXT, now.now_ms, "periodic: not due")
    return _flush(now, "end of the invocation")


def _beside_the_handler(now: Situation, reason: str) -> Decision | None:
    """What earlier invocations left goes out once, beside this one's handler."""
    return _flush(now, reason) if now.pending and now.flushed_ms <= now.invoked_ms else None


def _while_it_runs(policy: Policy, now: Situation) -> Decision:
    if policy.kind == "pipeline":
        beside = _beside_the_handler(now, "pipeline")
        if beside is not None or not now.wants_end:
            return beside or Decision(NEXT, now.now_ms, "pipeline: nobody waits for the end")
    last_call = now.limit_ms - min(_LAST_CALL_MS, (now.deadline_ms - now.invoked_ms) // 4)
    if policy.kind == "periodic":
        due = now.flushed_ms + policy.interval_ms
    elif policy.interval_ms:
        due = max(now.flushed_ms, now.invoked_ms) + policy.interval_ms
    else:
        due = last_call
    due = min(due, last_call)
    if now.pending and now.now_ms >= due and (now.now_ms < last_call or now.flushed_ms < last_call):
        return _flush(now, "deadline" if now.now_ms >= last_call else "interval")
    if policy.kind == "periodic" and not now.wants_end and _is_short(policy, now):
        return Decision(NEXT, now.now_ms, "periodic: nobody waits for the end")
    until = now.limit_ms
    if not now.sign:
        until = min(until, now.invoked_ms + SIGN_MS)
    if now.pending and due > now.now_ms:
        until = min(until, due)
    if now.retry_ms > now.now_ms:
        until = min(until, now.retry_ms)
    return Decision(WAIT, until, "for the end of the invocation")


def _without_invocations(policy: Policy, now: Situation) -> Decision:
    """Managed Instances: the environment never freezes and never tells an end; only time counts."""
    interval = policy.interval_ms or 1_000
    due = now.flushed_ms + interval
    if now.pending and now.now_ms >= due:
        return _flush(now, "interval")
    return Decision(WAIT, max(due, now.now_ms + 1) if now.pending else now.now_ms + interval, "for telemetry")


def _is_short(policy: Policy, now: Situation) -> bool:
    """Whether invocations are usually over before the next flush would be due; of the first one nothing is known."""
    if not now.durations:
        return False
    return sorted(now.durations)[len(now.durations) // 2] < policy.interval_ms


def _flush(now: Situation, reason: str) -> Decision:
    return Decision(FLUSH, min(now.limit_ms, now.now_ms + _LONGEST_FLUSH_MS), reason)
