"""Parcels on their way: each attempt, each verdict, each deadline; whatever happens, the sums are exact."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit.delivery import (
    AGAIN,
    DELIVERED,
    REFUSED,
    TOO_LARGE,
    Breaker,
    Delivery,
    Limits,
    Parcel,
    Verdict,
    retry_after_ms,
)
from extension_kit.io.clock import Clock as RealClock
from extension_kit.protocol.deadline import Deadline

T0 = 1_795_420_800_000


class Clock:
    """Moves when somebody sleeps."""

    def __init__(self):
        self.now = T0
        self.slept = []

    def wall_ms(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += int(seconds * 1000)


class Peer:
    """A destination that gives the verdicts it was told to, then takes everything. ``taken``: items, as often as they came."""

    def __init__(self, *verdicts):
        self.verdicts = list(verdicts)
        self.taken = []
        self.sent = []

    def __call__(self, items, _seconds):
        self.sent.append(list(items))
        verdict = self.verdicts.pop(0) if self.verdicts else Verdict(DELIVERED)
        if isinstance(verdict, BaseException):
            raise verdict
        if verdict.kind == DELIVERED:
            lost = {index for indexes in verdict.lost.values() for index in indexes}
            self.taken += [item for index, item in enumerate(items) if index not in lost and index not in verdict.again]
        return verdict


def delivery(peer, clock=None, **options):
    return Delivery(peer, clock or Clock(), **options)


def deadline(clock, ms=10_000, reason="end of the invocation"):
    return Deadline(clock.wall_ms() + ms, clock.wall_ms, 0, reason)


def test_all_of_it():
    """One exchange a parcel, in order; nothing is pending."""
    clock, peer = Clock(), Peer()
    one = delivery(peer, clock)
    one.add(Parcel(3, [b"a", b"b"], {"filtered": 1}))
    one.add(Parcel(1, [b"c"]))
    assert one.pending == 4
    assert one.deliver(deadline(clock))
    assert (peer.sent, one.pending, one.flushed().outcomes) == ([[b"a", b"b"], [b"c"]], 0, {"filtered": 1})


def test_what_fails_is_tried_again_and_then_waits():
    """With jitter below the bound, as often as the limits say; the parcel stays first."""
    clock, said = Clock(), []
    peer = Peer(*[Verdict(AGAIN, "answers 503")] * 3)
    one = delivery(peer, clock, say=said.append)
    one.add(Parcel(2, [b"a", b"b"]))
    assert not one.deliver(deadline(clock))
    assert len(peer.sent) == 3
    assert len(clock.slept) == 2
    assert clock.slept[0] <= 0.1
    assert clock.slept[1] <= 0.2
    assert one.flushed(5).pending == 7
    assert one.deliver(deadline(clock))
    assert peer.taken == [b"a", b"b"]
    assert said == ["answers 503", "delivers again, after: answers 503"]


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), TimeoutError("no answer in time")])
def test_the_network_fails(error):
    """An OSError is a reason to try again."""
    clock, peer = Clock(), Peer(error)
    one = delivery(peer, clock)
    one.add(Parcel(1, [b"a"]))
    assert one.deliver(deadline(clock))
    assert peer.taken == [b"a"]


def test_a_mistake_of_ours_loses_a_parcel_and_no_more():
    """Another try would meet it again, for ever; it is counted, and said."""
    clock, peer, said = Clock(), Peer(KeyError("x")), []
    one = delivery(peer, clock, say=said.append)
    one.add(Parcel(1, [b"a"]))
    one.add(Parcel(1, [b"b"]))
    assert one.deliver(deadline(clock))
    assert (peer.taken, one.outcomes) == ([b"b"], {"dropped: internal error": 1})
    assert said[0] == "internal error: KeyError: 'x'"


def test_partial_failures_are_sent_again_only_where_they_failed():
    """Also of those that failed before; what is refused is counted by its reason, with the weight of its records."""
    clock = Clock()
    peer = Peer(Verdict(DELIVERED, "busy", again=(1, 2), lost={"bad": (0,)}), Verdict(DELIVERED, "busy", again=(1,)))
    one = delivery(peer, clock)
    one.add(Parcel(7, [b"a", b"b", b"c", b"d"], weights=[4, 1, 1, 1]))
    assert one.deliver(deadline(clock))
    assert peer.sent == [[b"a", b"b", b"c", b"d"], [b"b", b"c"], [b"c"]]
    assert (peer.taken, one.outcomes) == ([b"d", b"b", b"c"], {"dropped: bad": 4})


def test_what_is_too_large_goes_in_halves_down_to_one():
    """And one that is too large by itself is lost, alone."""
    clock = Clock()

    class Small(Peer):
        def __call__(self, items, seconds):
            if b"LARGE" in items or len(items) > 2:
                self.sent.append(list(items))
                return Verdict(TOO_LARGE, "answers 413")
            return super().__call__(items, seconds)

    peer = Small()
    one = delivery(peer, clock)
    one.add(Parcel(5, [b"a", b"b", b"LARGE", b"c", b"d"]))
    assert one.deliver(deadline(clock))
    assert (peer.taken, one.outcomes) == ([b"a", b"b", b"c", b"d"], {"dropped: too large": 1})


def test_what_is_refused_is_buried_where_there_is_a_place():
    """Then it is called dead-lettered."""
    clock, buried = Clock(), []
    peer = Peer(
        Verdict(REFUSED, "answers 400: no", reason="refused with 400"),
        Verdict(REFUSED, "answers 400: no", reason="refused"),
    )

    def bury(items, reason):
        buried.append((items, reason))
        return len(buried) == 1

    one = delivery(peer, clock, bury=bury)
    one.add(Parcel(1, [b"a"]))
    one.add(Parcel(2, [b"b", b"c"]))
    assert one.deliver(deadline(clock))
    assert buried == [([b"a"], "refused with 400"), ([b"b", b"c"], "refused")]
    assert one.outcomes == {"dead-lettered": 1, "dropped: refused": 2}


def test_retry_after_that_does_not_fit_ends_the_flush():
    """And the breaker, where it is open, stays open for as long as was asked for."""
    clock, peer = Clock(), Peer(Verdict(AGAIN, "busy", 30_000))
    one = delivery(peer, clock, limits=Limits(failures=1))
    one.add(Parcel(1, [b"a"]))
    assert not one.deliver(deadline(clock))
    clock.now += 10_000
    assert not one.deliver(deadline(clock))
    assert len(peer.sent) == 1, "thirty seconds were asked for"
    clock.now += 20_100
    assert one.deliver(deadline(clock))


def test_retry_after_is_honoured_by_the_next_flush():
    """After one failure, with the breaker closed, and where some were taken: what was asked for is asked of all flushes."""
    for verdict in (Verdict(AGAIN, "busy", 200_000), Verdict(DELIVERED, "busy", 200_000, again=(1,))):
        clock, peer = Clock(), Peer(verdict)
        one = delivery(peer, clock)
        one.add(Parcel(2, [b"a", b"b"]))
        assert not one.deliver(deadline(clock))
        clock.now += 199_000
        assert not one.deliver(deadline(clock))
        assert len(peer.sent) == 1
        clock.now += 1_000
        assert one.deliver(deadline(clock))
        assert sorted(peer.taken) == [b"a", b"b"]


def test_what_is_asked_for_has_a_limit():
    """Five minutes, and a clock that was set back closes no door for an hour."""
    breaker = Breaker(4)
    breaker.failed(T0, 86_400_000)
    assert not breaker.allows(T0 + 299_999)
    assert breaker.allows(T0 + 300_000)
    assert breaker.allows(T0 - 3_600_000)
    breaker.succeeded(T0, None)
    assert breaker.allows(T0)


def test_a_destination_that_takes_none_of_the_items_has_failed():
    """An answer for each item, all of them busy: the breaker counts it as it counts a 503."""
    clock, peer = Clock(), Peer(Verdict(DELIVERED, "busy", again=(0, 1)))
    one = delivery(peer, clock, limits=Limits(attempts=1, failures=1))
    one.add(Parcel(2, [b"a", b"b"]))
    assert not one.deliver(deadline(clock))
    assert one.breaker.half_open
    assert one.pending == 2


def test_without_memory_lines_wait():
    """It is no fault of theirs."""
    clock, peer, said = Clock(), Peer(MemoryError()), []
    one = delivery(peer, clock, say=said.append)
    one.add(Parcel(1, [b"a"]))
    assert one.deliver(deadline(clock))
    assert (peer.taken, one.outcomes, said[0]) == ([b"a"], {}, "not enough memory for a request")


def test_retry_after_within_a_flush():
    """It is waited for, as long as there is time for it and for an exchange."""
    clock, peer = Clock(), Peer(Verdict(AGAIN, "busy", 2_000))
    one = delivery(peer, clock)
    one.add(Parcel(1, [b"a"]))
    assert one.deliver(deadline(clock, 3_000))
    assert clock.slept == [2.0]


def test_nothing_is_begun_near_the_deadline():
    """A flush that has hardly any time left sends nothing."""
    clock, peer = Clock(), Peer()
    one = delivery(peer, clock)
    one.add(Parcel(1, [b"a"]))
    assert not one.deliver(deadline(clock, 20))
    assert peer.sent == []


def test_at_the_end_whatever_the_deadline_allows_is_tried():
    """The last chance is not thrown away: neither the breaker nor the number of attempts counts any more."""
    clock, peer = Clock(), Peer(*[Verdict(AGAIN, "down")] * 6)
    one = delivery(peer, clock, limits=Limits(attempts=1, failures=1))
    one.add(Parcel(1, [b"a"]))
    assert not one.deliver(deadline(clock))
    assert not one.deliver(deadline(clock))
    assert len(peer.sent) == 1
    assert one.deliver(deadline(clock, 60_000, reason="shutdown"))
    assert len(peer.sent) == 7


def test_at_the_end_a_dead_destination_has_the_deadline_and_no_more():
    """Waits grow until one does not fit."""
    clock, peer = Clock(), Peer(*[Verdict(AGAIN, "down")] * 1_000)
    one = delivery(peer, clock)
    one.add(Parcel(1, [b"a"]))
    assert not one.deliver(deadline(clock, 1_500, reason="shutdown"))
    assert 2 <= len(peer.sent) < 100
    assert clock.now <= T0 + 1_500


def test_an_exchange_that_hangs_is_left_to_itself_and_its_verdict_counts():
    """The deadline holds; nothing else is sent meanwhile; when it ends, what it says is entered."""
    clock, peer, gate, aborted = Clock(), Peer(), threading.Event(), []

    def send(items, seconds):
        gate.wait(10)
        return peer(items, seconds)

    one = delivery(send, clock, limits=Limits(timeout_ms=50), abort=lambda: aborted.append(1))
    one.add(Parcel(1, [b"a"]))
    one.add(Parcel(1, [b"b"]))
    assert not one.deliver(deadline(clock, 150))
    assert (one.pending, peer.sent, aborted) == (2, [], [])
    one.give_up(lambda _items: "dropped: at the end")
    assert one.pending == 2, "it may have arrived, so nothing is said of it, nor of what comes after"
    assert one.outcomes == {}
    assert not one.deliver(deadline(clock, 60))
    assert aborted == [1]
    gate.set()
    assert one.deliver(deadline(clock))
    assert peer.taken == [b"a"]
    assert one.flushed().outcomes == {"dropped: at the end": 1}


def test_at_the_very_end_also_what_is_in_flight_is_given_up():
    """It may have arrived; what is kept twice is better than what is kept by nobody."""
    clock, gate, kept = Clock(), threading.Event(), []
    one = delivery(lambda _items, _seconds: gate.wait(10), clock, limits=Limits(timeout_ms=50))
    for name in (b"a", b"b"):
        one.add(Parcel(1, [name]))
    assert not one.deliver(deadline(clock, 150))
    one.give_up(lambda items: kept.append(items) or "dead-lettered")
    one.add(Parcel(1, [b"c"]))
    one.give_up(lambda items: kept.append(items) or "dead-lettered")
    one.give_up(lambda items: kept.append(items) or "dead-lettered", in_flight=True)
    gate.set()
    assert kept == [[b"b"], [b"c"], [b"a"]]
    assert (one.pending, one.flushed().outcomes) == (0, {"dead-lettered": 3})


def test_a_flush_comes_back_before_its_deadline():
    """By the real clock: one that overruns it would count against the plug-in."""
    gate = threading.Event()
    clock = RealClock()
    one = Delivery(lambda _items, _seconds: gate.wait(10) and Verdict(DELIVERED), clock)
    one.add(Parcel(1, [b"a"]))
    until = deadline(clock, 400)
    assert not one.deliver(until)
    left = until.remaining_ms()
    gate.set()
    assert left > 0


def test_what_is_given_up_becomes_what_is_said():
    """At the end of an environment: dead letters, or left pending."""
    clock, peer = Clock(), Peer(Verdict(AGAIN, "down", 60_000))
    one = delivery(peer, clock)
    one.add(Parcel(2, [b"a", b"b"]))
    one.add(Parcel(1, [b"c"]))
    assert not one.deliver(deadline(clock))
    one.give_up(lambda items: "dead-lettered" if len(items) == 2 else "")
    assert (one.pending, one.outcomes) == (1, {"dead-lettered": 2})


def test_without_a_thread_there_is_another_try(monkeypatch):
    """The environment may be at its limit of threads."""

    def refuse(*_arguments):
        raise RuntimeError("can't start new thread")

    clock, peer, said = Clock(), Peer(), []
    one = delivery(peer, clock, say=said.append, limits=Limits(attempts=1))
    one.add(Parcel(1, [b"a"]))
    with monkeypatch.context() as patched:
        patched.setattr("extension_kit.delivery._thread.start_new_thread", refuse)
        assert not one.deliver(deadline(clock))
    assert said == ["can't start new thread"]
    assert one.deliver(deadline(clock))


VERDICTS = st.one_of(
    st.sampled_from([AGAIN, REFUSED, TOO_LARGE, DELIVERED]).map(lambda kind: ("all", kind)),
    st.tuples(st.just("some"), st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7))),
    st.just(("raise", OSError("x"))),
    st.just(("raise", ValueError("x"))),
)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=6), st.lists(VERDICTS, max_size=40), st.booleans())
@settings(deadline=None)
def test_the_sums_are_exact_whatever_happens(sizes, verdicts, buries):
    """Every item ends in exactly one place: taken once or more, lost for a reason, or pending."""
    clock, taken, script = Clock(), set(), list(verdicts)

    def send(items, seconds):
        what, *rest = script.pop(0) if script else ("all", DELIVERED)
        if what == "raise":
            raise rest[0]
        if what == "all":
            if rest[0] == DELIVERED:
                taken.update(items)
            return Verdict(rest[0], "why")
        again = {index for index in rest[0] if index < len(items)}
        lost = {index for index in rest[1] if index < len(items)} - again
        taken.update(item for index, item in enumerate(items) if index not in again | lost)
        return Verdict(DELIVERED, "why", again=sorted(again), lost={"bad": sorted(lost)} if lost else {})

    one = delivery(send, clock, bury=(lambda _items, _reason: True) if buries else None)
    total = filtered = 0
    for number, size in enumerate(sizes):
        one.add(Parcel(size + 2, [b"%d.%d" % (number, index) for index in range(size)], {"filtered": 2}))
        total, filtered = total + size + 2, filtered + 2
    for _ in range(60):
        clock.now += 61_000
        if one.deliver(deadline(clock)):
            break
    assert one.pending == 0
    assert len(taken) + sum(one.outcomes.values()) == total
    assert one.outcomes["filtered"] == filtered
    assert set(one.outcomes) <= {"filtered", "dead-lettered"} or not buries


def test_the_breaker():
    """Closed until the failures in a row are too many; then one try at a time, ever more rarely; a success closes it."""
    breaker = Breaker(2)
    breaker.failed(T0, None)
    assert breaker.allows(T0)
    pauses = []
    for _ in range(9):
        breaker.failed(T0, None)
        assert not breaker.allows(T0)
        pauses.append(breaker.open_until_ms - T0)
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
    assert breaker.allows(T0 + 60_000)
    assert breaker.allows(T0 - 3_600_000), "a clock that was set back closes no door for an hour"
    breaker.succeeded(T0, None)
    breaker.failed(T0, None)
    assert breaker.allows(T0)


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("3", 3_000), (" 10 ", 10_000), ("0", 0), ("999999999", 86_400_000), ("Mon, 23 Nov 2026 08:00:05 GMT", 5_000),
        ("Mon, 23 Nov 2026 07:00:00 GMT", 0), ("soon", None), ("-1", None), ("1.5", None), ("", None),
        ("Mon, 99 Nov 2026 08:00:05 GMT", None), ("\u0663", None), ("12345678901", None),
    ],
)  # fmt: skip
def test_retry_after(written, ms):
    """Seconds or a date; nonsense is no wish."""
    assert retry_after_ms(written, T0) == ms


def test_limits_are_values():
    """With defaults that name their units."""
    assert Limits() == Limits(attempts=3, timeout_ms=5_000)
    assert Limits(attempts=1) != Limits()
