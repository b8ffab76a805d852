"""When to flush: the policy as a pure function."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from extension_kit.flush import FLUSH, HISTORY, NEXT, WAIT, Policy, Situation, Turns, decide
from extension_kit.flusher import Flusher
from extension_kit.host import Hosted
from extension_kit.io.clock import Clock
from extension_kit.plugin import Context, Log, Plugin
from extension_kit.report.words import flush

T0 = 1_795_420_800_000  # epoch ms


def situation(**changes) -> Situation:
    """An invocation of 3 s that began 10 ms ago, seen, with something pending."""
    usual = {
        "now_ms": T0 + 10, "invoked_ms": T0, "deadline_ms": T0 + 3000, "margin_ms": 150, "hears": "yes", "sign": True,
        "ended": False, "pending": True, "retry_ms": 0, "urgent": False, "flushed_ms": 0, "wants_end": False,
        "starts": (T0,), "durations": (),
    }  # fmt: skip
    return Situation(**(usual | changes))


BUSY = {"starts": tuple(T0 - 1000 * n for n in range(HISTORY - 1, -1, -1)), "durations": (20,) * 19}
QUIET = {"starts": tuple(T0 - 300_000 * n for n in range(HISTORY - 1, -1, -1)), "durations": (20,) * 19}

CASES = [
    ("end", {}, WAIT, "for the end of the invocation"),
    ("end", {"ended": True}, FLUSH, "end of the invocation"),
    ("end", {"ended": True, "pending": False}, NEXT, "nothing is pending"),
    ("end", {"now_ms": T0 + 2850}, NEXT, "the deadline is near"),
    ("end", {"now_ms": T0 + 2400}, FLUSH, "deadline"),
    ("end", {"now_ms": T0 + 2500, "flushed_ms": T0 + 2450}, WAIT, "for the end of the invocation"),
    ("end", {"hears": "no"}, FLUSH, "invoke"),
    ("end", {"hears": "no", "flushed_ms": T0 + 5}, NEXT, "nothing tells the end of this invocation"),
    ("end", {"hears": "silent", "pending": False}, NEXT, "nothing tells the end of this invocation"),
    ("end", {"sign": False}, WAIT, "for the end of the invocation"),
    ("end", {"sign": False, "now_ms": T0 + 1000}, FLUSH, "invoke"),
    ("end,500", {"now_ms": T0 + 499}, WAIT, "for the end of the invocation"),
    ("end,500", {"now_ms": T0 + 500}, FLUSH, "interval"),
    ("end,500", {"now_ms": T0 + 600, "flushed_ms": T0 + 500}, WAIT, "for the end of the invocation"),
    ("periodic,10", {"flushed_ms": T0 - 10_000}, FLUSH, "interval"),
    ("periodic,10", {"flushed_ms": T0 - 100}, WAIT, "for the end of the invocation"),
    ("periodic,10", {"flushed_ms": T0 - 100, "durations": (20, 30)}, NEXT, "periodic: nobody waits for the end"),
    (
        "periodic,10",
        {"flushed_ms": T0 - 100, "durations": (20,), "wants_end": True},
        WAIT,
        "for the end of the invocation",
    ),
    ("periodic,10", {"flushed_ms": T0 - 100, "durations": (60_000,)}, WAIT, "for the end of the invocation"),
    ("periodic,10", {"flushed_ms": T0 - 100, "ended": True}, NEXT, "periodic: not due"),
    ("continuous", {"now_ms": T0 + 100}, FLUSH, "interval"),
    ("continuous", {"ended": True}, NEXT, "continuous: what came last goes with what comes next"),
    ("adaptive", {"ended": True}, FLUSH, "end of the invocation"),
    ("adaptive", {"ended": True, "flushed_ms": T0 - 100, **BUSY}, NEXT, "periodic: not due"),
    ("adaptive", {"flushed_ms": T0 - 100, **BUSY}, NEXT, "periodic: nobody waits for the end"),
    ("adaptive", {"ended": True, "flushed_ms": T0 - 100, **QUIET}, FLUSH, "end of the invocation"),
    ("end", {"ended": True, "pending": False, "retry_ms": T0 + 500}, NEXT, "backing off"),
    ("end", {"ended": True, "retry_ms": T0 + 500}, FLUSH, "end of the invocation"),
    ("end", {"urgent": True}, FLUSH, "urgent"),
    ("end", {"urgent": True, "pending": False}, WAIT, "for the end of the invocation"),
    ("periodic,10", {"flushed_ms": T0 - 100, "ended": True, "urgent": True}, FLUSH, "urgent"),
    ("pipeline", {}, FLUSH, "pipeline"),
    ("pipeline", {"flushed_ms": T0 + 5}, NEXT, "pipeline: nobody waits for the end"),
    ("pipeline", {"flushed_ms": T0 + 5, "wants_end": True}, WAIT, "for the end of the invocation"),
    ("pipeline", {"ended": True}, NEXT, "pipeline: what came last goes with what comes next"),
    ("pipeline", {"hears": "no"}, FLUSH, "invoke"),
    ("end", {"deadline_ms": 0}, FLUSH, "interval"),
    ("end", {"deadline_ms": 0, "flushed_ms": T0}, WAIT, "for telemetry"),
    ("end", {"deadline_ms": 0, "pending": False}, WAIT, "for telemetry"),
]


@pytest.mark.parametrize(("policy", "changes", "action", "reason"), CASES, ids=[f"{c[0]} {c[1]}"[:60] for c in CASES])
def test_what_is_done_and_why(policy, changes, action, reason):
    """Each strategy in each situation."""
    decision = decide(Policy.parse(policy), situation(**changes))

    assert (decision.action, decision.reason) == (action, reason)


POLICIES = st.sampled_from(
    ["end", "end,10", "end,500", "periodic,1", "periodic,600", "continuous", "pipeline", "adaptive"]
)
SITUATIONS = st.builds(
    lambda at, timeout, margin, starts, flushed, retry, durations, hears, flags: Situation(
        now_ms=T0 + at, invoked_ms=T0, deadline_ms=T0 + timeout, margin_ms=margin, hears=hears, sign=flags[0],
        ended=flags[1], pending=flags[2], wants_end=flags[3], urgent=flags[4], flushed_ms=flushed and T0 + at - flushed,
        retry_ms=retry and T0 + at + retry,
        starts=tuple(T0 - start for start in sorted(starts, reverse=True)), durations=tuple(durations),
    ),
    st.integers(-100, 1_000_000),
    st.integers(1, 900_000),
    st.integers(0, 1000),
    st.lists(st.integers(0, 10_000_000), min_size=1, max_size=HISTORY),
    st.integers(0, 100_000),
    st.integers(0, 30_000),
    st.lists(st.integers(0, 900_000), max_size=HISTORY),
    st.sampled_from(["yes", "silent", "no"]),
    st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)  # fmt: skip


@given(POLICIES, SITUATIONS)
def test_nothing_is_begun_or_awaited_beyond_the_deadline(policy, now):
    """Complaint 8: neither a flush nor a wait ever outlives the deadline less its margin, and no wait is empty."""
    decision = decide(Policy.parse(policy), now)

    assert decision.action in (FLUSH, WAIT, NEXT)
    if decision.action != NEXT:
        assert now.now_ms < decision.until_ms <= now.deadline_ms - now.margin_ms


@given(POLICIES, SITUATIONS)
def test_asking_again_comes_to_an_end(policy, now):
    """Whatever happens after each answer, ``next`` is asked for in time: no loop of flushes, no wait without progress."""
    policy = Policy.parse(policy)
    fields = {name: getattr(now, name) for name in Situation.__slots__}
    turns = Turns()
    for _ in range(200):
        decision = decide(policy, Situation(**fields))
        if decision.action == NEXT:
            return
        if decision.action == FLUSH:  # the sink is dead: it takes all the time, and all stays pending
            end = fields["now_ms"] + turns.longest_ms(decision.until_ms - fields["now_ms"])
            turns.ended(end, left_something=True)
            fields |= {"now_ms": end, "flushed_ms": end}
        else:
            assert decision.until_ms > fields["now_ms"]
            fields["now_ms"] = decision.until_ms
        fields |= later(turns, fields["now_ms"], something=True)
    pytest.fail("it never ends")


def later(turns, now_ms, something):
    """What the flusher says of something that is pending, with a plug-in that is let be until `turns` says otherwise."""
    due = turns.due_ms <= now_ms
    return {"pending": something and due, "retry_ms": turns.due_ms if something and not due else 0, "urgent": False}


@given(
    POLICIES,
    st.integers(100, 400_000),
    st.integers(50, 5_000),
    st.sampled_from(["yes", "silent", "no"]),
    st.booleans(),
)
def test_pending_data_never_starves(policy, gap, duration, hears, dead):
    """Over any train of invocations something pending is flushed within its interval and the back-off, plus one gap."""
    policy = Policy.parse(policy)
    fields = {name: getattr(situation(), name) for name in Situation.__slots__} | {
        "hears": hears, "starts": (), "durations": (), "flushed_ms": 0}  # fmt: skip
    last_flush, longest = T0, 0
    turns = Turns()
    for number in range(60):
        began = T0 + number * (gap + duration)
        fields |= {"now_ms": began, "invoked_ms": began, "deadline_ms": began + duration + 3000, "ended": False,
                   "starts": (*fields["starts"], began)[-HISTORY:], **later(turns, began, True)}  # fmt: skip
        while (decision := decide(policy, Situation(**fields))).action != NEXT:
            if decision.action == FLUSH:
                longest, last_flush = max(longest, fields["now_ms"] - last_flush), fields["now_ms"]
                end = min(decision.until_ms, fields["now_ms"] + 20)
                turns.ended(end, left_something=dead)
                fields |= {"now_ms": end, "flushed_ms": end, **later(turns, end, dead)}
            else:
                fields["now_ms"] = max(fields["now_ms"] + 1, min(decision.until_ms, began + duration))
                fields["ended"] = fields["now_ms"] >= began + duration
                fields |= later(turns, fields["now_ms"], fields["pending"] or fields["retry_ms"] > 0)
        fields |= {"durations": (*fields["durations"], duration)[-HISTORY:]}
    interval = max(policy.interval_ms, 10_000)
    assert longest <= interval + 30_000 + gap + 2 * duration + 3000


@pytest.mark.parametrize(
    "text", ["", "never", "end,", "end,x", "end,5", "end,99999999", "periodic,0", "adaptive,5", "end,\u0661\u0660"]
)
def test_what_is_no_strategy(text):
    """One error that says what is allowed."""
    with pytest.raises(ConfigError, match="use end, end,<10 to"):
        Policy.parse(text)


def test_strategies_are_read():
    """With their intervals in ms."""
    assert [Policy.parse(text).interval_ms for text in ("end", "end,500", "periodic", "periodic,2", "continuous")] == [
        0, 500, 10_000, 2_000, 100]  # fmt: skip


class Quiet:
    """A subscription on which something comes at every wait, or nothing; the clock moves only while it is waited for."""

    hears, received, pending, behind = True, 1, False, False
    consumers: tuple[object, ...] = ()
    stream = None

    def __init__(self, talks):
        self.talks, self.waits, self.now = talks, 0, 1_000_000
        self.spool = SimpleNamespace(malformed=0)

    def wait(self, seconds):
        self.waits += 1
        self.now += int(seconds * 1000)
        return self.talks

    def pump(self, on_done):
        """Nothing to hand over."""


@pytest.mark.parametrize(
    ("managed", "talks", "waits"), [(False, False, 0), (False, True, 0), (True, False, 1), (True, True, 12)]
)
def test_only_managed_instances_listen_for_what_is_still_to_come(managed, talks, waits):
    """Elsewhere an environment that was never invoked has nothing to wait for; and nobody waits into the time to flush."""
    telemetry = Quiet(talks)
    clock = SimpleNamespace(wall_ms=lambda: telemetry.now)
    flusher = Flusher([], telemetry, SimpleNamespace(flush="adaptive", flush_margin_ms=150), clock)
    if managed:
        flusher.serve(lambda: True)

    flusher.drain(telemetry.now + 1_900)

    assert telemetry.waits == waits
    assert telemetry.now <= 1_000_000 + 1_150


class Flushes(Plugin):
    """``outcome`` is what its flush ends with."""

    name = "mine"
    outcome: object = None

    def flush(self, reason, deadline):
        self.given = reason, deadline
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("outcome", [None, 3, ValueError("bang")])
def test_at_level_debug_each_flush_is_told(level, outcome):
    """However it ends, in a line that the report reads; at other levels the plug-in's own method is called and nothing else."""
    plugin, lines, clock = Flushes(), [], Clock()
    plugin.outcome = outcome
    one = Hosted(plugin, Context("mine", {}, Log("mine", lines.append), clock), lambda text: None)
    settings = SimpleNamespace(flush="adaptive", flush_margin_ms=150, log_level=level)
    flusher = Flusher([one], None, settings, clock, lambda text: lines.append(f"[extension] {text}"))

    left_nothing = flusher.flush("end of the invocation", clock.wall_ms() + 10_000)

    assert left_nothing is (outcome is None)
    told = [flush(text) for text in lines]
    if level == "debug":
        assert [found[:3] for found in told] == [("extension", "mine", "end of the invocation")]
        assert 0 <= told[0][3] < 10_000
    else:
        assert (told, one.hooks["flush"]) == ([], plugin.flush)


def test_every_reason_can_be_read():
    """What the policy may give as a reason stands in the line that the report reads."""
    reasons = {decision.reason for decision in (decide(Policy.parse(p), situation(**s)) for p, s, *_rest in CASES)
               if decision.action == FLUSH} | {"shutdown"}  # fmt: skip

    assert len(reasons) > 3
    assert all(
        flush(f"[e] plug-in a.b: flush ({reason}) took 0.0 ms") == ("e", "a.b", reason, 0.0) for reason in reasons
    )
