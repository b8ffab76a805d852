"""What the platform has sent is delivered, dropped for a reason that is counted, or pending: exactly, whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.sink import Sink

TALKER = """
def handler(event, context):
    for number in range(event["lines"]):
        print("line", event["n"], number, "x" * event.get("pad", 60))
    return event["n"]
"""
SUMS = re.compile(r"(\d+) records = (\d+) delivered \+ (\d+) dropped.* \+ (\d+) pending")


@pytest.fixture
def sink():
    made = Sink()
    yield made
    made.close()


def account(lab, environment):
    """received, delivered, dropped, pending of the last accounting line."""
    line = next(line for line in reversed(lab.lines(environment, "ext")) if SUMS.search(line))
    return [int(number) for number in SUMS.search(line).groups()]


def kill(environment, name="ext"):
    """SIGKILL to the extension that was started last."""
    os.kill(next(event["pid"] for event in reversed(environment.log.events)
                 if event["kind"] == "process_start" and event["party"] == name), signal.SIGKILL)  # fmt: skip


def function_lines(sink):
    return [json.loads(text)["record"].strip() for text in sink.lines.values() if b'"type":"function"' in text]


@pytest.mark.timeout(280)
def test_100_invocations_of_1000_lines_a_dead_sink_and_a_kill(lab, sink):
    """Adaptive flushing, freeze after every invoke, ten invocations without a sink, one SIGKILL in the middle.

    The sum is the emulator's ledger, not our counter; it must be exact, and nothing may be dropped: the spool is large enough.
    """
    environment = lab.start(lab.plugin("ext", sink.plugin()), function=lab.function(TALKER))
    expected = []
    for number in range(100):
        sink.dead = 40 <= number < 50
        if number == 60:
            assert environment.idle(10)
            kill(environment)
            lab.until(lambda: "ext" in lab.exits(environment))
        failed = lab.invoke(environment, {"n": number, "lines": 1000}).function_error
        if number == 60:
            assert failed, "the platform notices that an extension has died"
            continue
        assert not failed
        expected += [f"line {number} {line} {'x' * 60}" for line in range(1000)]
    environment.idle(10)
    environment.shutdown()

    ledger = environment.telemetry.ledgers["ext"]
    received, delivered, dropped, pending = account(lab, environment)
    assert (dropped, pending, ledger.dropped) == (0, 0, 0)
    assert ledger.total == len(sink.lines) + dropped + pending
    assert received == delivered == ledger.total
    assert function_lines(sink) == expected


@pytest.mark.timeout(200)
def test_nothing_is_lost_in_large_posts(lab, sink):
    """10,000 events and 2 MB a post."""
    environment = lab.start(lab.plugin("ext", sink.plugin()), function=lab.function(TALKER), timeout=20.0)
    environment.start()
    lab.until(lambda: environment.telemetry.is_subscribed("ext"))
    subscription = environment.telemetry._subscribers["ext"]._subscription
    for field, value in (("max_bytes", 4 << 20), ("max_items", 10_000), ("timeout_ms", 1_000)):
        object.__setattr__(subscription, field, value)  # a buffer may hold twice what was asked for (lambda-apis 4.2)
    for number in range(3):
        assert not lab.invoke(environment, {"n": number, "lines": 30_000, "pad": 150}).function_error
    environment.idle(10)
    environment.shutdown()

    ledger = environment.telemetry.ledgers["ext"]
    _received, _delivered, dropped, pending = account(lab, environment)
    assert ledger.total == len(sink.lines) + dropped + pending
    assert (dropped, pending) == (0, 0)
    assert len(function_lines(sink)) == 90_000 - ledger.dropped
    assert ledger.largest > 2_000_000


def test_a_kill_in_the_middle_of_a_flush_repeats_and_loses_nothing(lab, sink):
    """At least once: what was sent but not acknowledged is sent again, with the same ids."""
    environment = lab.start(lab.plugin("ext", sink.plugin()), function=lab.function(TALKER))
    lab.invoke(environment, {"n": 0, "lines": 10})
    environment.idle(5)
    sink.delay = 0.5
    posts = sink.posts
    future = environment.invoke(json.dumps({"n": 1, "lines": 100}).encode())
    lab.until(lambda: sink.posts > posts)
    kill(environment)
    future.result(20)
    lab.until(lambda: len(sink.lines) > 100)
    sink.delay = 0.0
    lab.invoke(environment, {"n": 2, "lines": 10})
    environment.idle(5)
    environment.shutdown()

    ledger = environment.telemetry.ledgers["ext"]
    assert ledger.total == len(sink.lines)
    assert sink.repeated >= 100
    assert len(function_lines(sink)) == 120


def test_a_sink_that_never_comes_back_leaves_a_true_account(lab, sink):
    """Everything is pending, and the last line says so."""
    sink.dead = True
    environment = lab.start(lab.plugin("ext", sink.plugin()), function=lab.function(TALKER))
    for number in range(3):
        lab.invoke(environment, {"n": number, "lines": 50})
    environment.idle(5)
    environment.shutdown()

    received, delivered, dropped, pending = account(lab, environment)
    assert (delivered, dropped) == (0, 0)
    assert received == pending == environment.telemetry.ledgers["ext"].total


@pytest.mark.parametrize("fault", ["telemetry-duplicated", "telemetry-reordered", "telemetry-slow:ms=120"])
def test_a_platform_that_is_odd_changes_no_sum(lab, sink, fault):
    """Duplicates are recognised, disorder is borne, slowness is waited for."""
    from extension_kit.emulator.faults import Faults

    environment = lab.start(
        lab.plugin("ext", sink.plugin()), function=lab.function(TALKER), faults=Faults.parse((fault,))
    )
    for number in range(6):
        lab.invoke(environment, {"n": number, "lines": 20})
    environment.idle(10)
    environment.shutdown()

    received, _delivered, dropped, pending = account(lab, environment)
    assert received == environment.telemetry.ledgers["ext"].total == len(sink.lines) + dropped + pending
    assert sorted(set(function_lines(sink))) == sorted(function_lines(sink))
    assert sink.repeated == 0


def test_what_cannot_be_read_is_counted_and_set_aside(lab, sink):
    """Complaint 16's cousin: a body that is no JSON costs itself, nothing around it, and is answered 200."""
    from extension_kit.emulator.faults import Faults

    faults = Faults.parse(("telemetry-truncated:every=2",))
    environment = lab.start(lab.plugin("ext", sink.plugin()), function=lab.function(TALKER), faults=faults)
    for number in range(4):
        lab.invoke(environment, {"n": number, "lines": 5})
    environment.idle(5)
    environment.shutdown()

    ledger = environment.telemetry.ledgers["ext"]
    line = next(line for line in lab.lines(environment, "ext") if SUMS.search(line))
    assert int(re.search(r"(\d+) malformed", line)[1]) == ledger.batches // 2
    assert ledger.posts == ledger.batches
