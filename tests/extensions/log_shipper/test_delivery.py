"""Lines arrive, once, in order, within their invocation; what cannot is kept, and counted. The sums are the emulator's."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.receivers.collector import Collector, Fault
from tests.receivers.log_services import Bulk


def printed(*texts):
    return {"print": list(texts)}


def balance(sandbox, part="log-shipper.http", name="log-shipper"):
    """received = delivered + others + dropped + pending, exactly what the platform has sent."""
    account, ledger = sandbox.account(part), sandbox.telemetry(name)
    assert account.received == ledger.total
    assert account.received == account.delivered + sum(account.others.values()) + account.dropped + account.pending
    return account


def test_lines_arrive_within_their_invocation(shipping, collector):
    """At the end of the invocation, with the request's id, and the account says so."""
    sandbox = shipping()
    result = sandbox.invoke(printed("one", "two"))
    sandbox.idle()
    assert collector.lines() == ["one", "two"]
    (line, _) = [event for event in collector.accepted if event["type"] == "function"]
    assert line["requestId"] == result.request_id
    sandbox.shutdown()
    account = balance(sandbox)
    assert account.delivered == account.received == len(collector.accepted)
    assert len({event["id"] for event in collector.accepted}) == account.received


@pytest.mark.parametrize(
    "fault",
    [Fault(status=503), Fault(status=429, headers={"Retry-After": "0"}), Fault(reset="early"), Fault(reset="late"),
     Fault(status=500, hang=0.2)],
    ids=["503", "429", "reset", "reset late", "slow 500"],
)  # fmt: skip
def test_a_sink_that_fails_once_costs_nothing(shipping, collector, fault):
    """Within the same flush it is asked again."""
    sandbox = shipping()
    collector.faults = [fault]
    sandbox.invoke(printed("one"))
    sandbox.idle()
    assert collector.lines() == ["one"]
    sandbox.shutdown()
    account = balance(sandbox)
    assert (account.delivered, account.pending) == (account.received, 0)


def test_a_sink_that_is_away_for_a_while_gets_everything_later(shipping, collector):
    """In order, nothing twice; the function is answered meanwhile as if nothing were wrong."""
    sandbox = shipping(timeout="500ms")
    texts = []
    for number in range(8):
        collector.dead = 1 <= number < 6
        texts += [f"{number}.{line}" for line in range(20)]
        assert not sandbox.invoke(printed(*texts[-20:])).function_error
        sandbox.idle()
    sandbox.shutdown()
    account = balance(sandbox)
    assert collector.lines() == texts
    assert (account.delivered, account.pending, account.dropped) == (account.received, 0, 0)
    warnings = [event["text"] for event in sandbox.events("log") if "log-shipper.http]" in event["text"]]
    assert any("closed before an answer came" in text for text in warnings)


def test_what_an_outage_has_left_is_sent_at_once_when_it_is_over(shipping, collector):
    """However much it is, and slow as the sink may be: not a second's worth of it every half minute, beside ever more."""
    sandbox = shipping(timeout="2s", batch_lines=200)
    sandbox.configure(timeout=30.0)
    texts = []
    for number in range(4):
        collector.dead = number < 3
        collector.faults = [Fault(hang=0.25)] * 100
        texts += [f"{number}.{line}" for line in range(600)]
        sandbox.invoke(printed(*texts[-600:]))
        sandbox.idle()
        sandbox.step_clock(61)  # the breaker lets one through
    assert set(collector.lines()) == set(
        texts
    )  # the last one in a second may have had no time to be answered: it came twice
    sandbox.shutdown()
    assert balance(sandbox).pending == 0


def test_what_is_refused_for_good_is_counted(shipping, collector):
    """And no more than that; the reason is in the account and in a line."""
    sandbox = shipping(batch_lines=1)
    collector.faults = [Fault(status=400)]
    sandbox.invoke(printed("one", "two"))
    sandbox.idle()
    sandbox.shutdown()
    account = balance(sandbox)
    assert (account.dropped, account.reasons) == (1, {"refused with 400": 1})
    assert len(collector.accepted) == account.received - 1


def test_filters_and_samples_are_in_the_account(shipping, collector):
    """Kept back is neither delivered nor lost."""
    sandbox = shipping(types="function", exclude="secret", sample="0.0")
    sandbox.invoke(printed("a secret", "plain", "[ERROR] bad"))
    sandbox.idle()
    sandbox.shutdown()
    account = balance(sandbox)
    assert collector.lines() == ["[ERROR] bad"]
    assert account.delivered == 1
    assert account.others["sampled"] == 1
    assert account.others["filtered"] == account.received - 2


def test_a_killed_extension_sends_again_and_counts_once(lab, collector, shipper_of):
    """What was sent and not entered yet comes again, with the same id; the sums of both lives are one sum."""
    with Bulk() as bulk:
        environment = lab.start(
            shipper_of(), function=lab.function(TALKER), variables=variables("bulk", bulk.url, target="x")
        )
        sent = []
        for number in range(6):
            if number == 3:
                os.kill(next(event["pid"] for event in reversed(environment.log.events)
                             if event["kind"] == "process_start" and event["party"] == "ext"), signal.SIGKILL)  # fmt: skip
                lab.until(lambda: "ext" in lab.exits(environment))
                lab.invoke(environment, {"n": number, "lines": 0})
                assert environment.idle(10)
                continue
            lab.invoke(environment, {"n": number, "lines": 50})
            assert environment.idle(10)
            sent += [f"line {number} {line}" for line in range(50)]
        environment.shutdown()
        texts = [document["message"].strip() for document in bulk.accepted if document["event.type"] == "function"]
        assert texts == sent
        ledger = environment.telemetry.ledgers["ext"]
        (line,) = [line for line in lab.lines(environment, "ext") if " records = " in line]
        assert f"{ledger.total} records = {ledger.total} delivered + 0 dropped + 0 pending" in line
        assert len(bulk.stored) == ledger.total


SLOW = """
import time
def handler(event, context):
    for line in event["print"]:
        print(line)
    time.sleep(0.06)
"""
TALKER = """
def handler(event, context):
    for number in range(event["lines"]):
        print("line", event["n"], number)
"""


def variables(sink, endpoint, **more):
    usual = {"sink": sink, "endpoint": endpoint, "redact": "none"} | more
    return {f"LOG_SHIPPER_{name.upper()}": str(value) for name, value in usual.items()}


def test_two_sinks_do_not_wait_for_each_other(shipping, collector, outside):
    """One is dead, one hangs, one is well: the well one has every line at the end of its invocation."""
    with Collector() as dead, Collector() as hanging:
        dead.dead = True
        hanging.faults = [Fault(hang=3.0)] * 20
        config = outside / "log-shipper.toml"
        config.write_text(f"""
timeout = "300ms"
redact = ["none"]
[[sinks]]
sink = "http"
name = "well"
endpoint = "{collector.url}"
[[sinks]]
sink = "http"
name = "dead"
endpoint = "{dead.url}"
[[sinks]]
sink = "http"
name = "hanging"
endpoint = "{hanging.url}"
""")
        sandbox = shipping(sink="none", endpoint="", config=config)
        sandbox.configure(variables={"HERE": f"{collector.url} {dead.url} {hanging.url}"})
        for number in range(4):
            assert not sandbox.invoke(printed(f"line {number}")).function_error
            sandbox.idle()
            assert collector.lines() == [f"line {one}" for one in range(number + 1)]
        sandbox.shutdown()
    assert balance(sandbox, "log-shipper.well").pending == 0
    for name in ("dead", "hanging"):
        account = balance(sandbox, f"log-shipper.{name}")
        assert (account.delivered, account.pending) == (0, account.received)


def test_what_is_left_at_the_end_is_buried(shipping, collector, outside):
    """The sink is dead to the last: the lines are in the place for dead letters, and in the account as such."""
    grave = outside / "dead.ndjson"
    sandbox = shipping(timeout="200ms", dead_letters=f"file:{grave}")
    collector.dead = True
    for number in range(3):
        sandbox.invoke(printed(f"line {number}", "password=hunter2"))
        sandbox.idle()
    sandbox.shutdown()
    account = balance(sandbox)
    assert (account.delivered, account.pending, account.others) == (0, 0, {"dead-lettered": account.received})
    buried = [json.loads(text) for text in grave.read_text().splitlines()]
    lines = [one["line"]["record"].strip() for one in buried if one["line"]["type"] == "function"]
    assert lines[::2] == ["line 0", "line 1", "line 2"]
    assert {one["sink"] for one in buried} == {"log-shipper.http"}


def test_what_is_left_at_the_end_is_buried_also_behind_an_exchange_that_hangs(shipping, collector, outside):
    """What it is about may have arrived, so it is buried last; what was behind it has nothing to do with it."""
    grave = outside / "dead.ndjson"
    sandbox = shipping(timeout="200ms", batch_lines=2, dead_letters=f"file:{grave}")
    collector.faults = [Fault(hang=5.0)] * 100
    for number in range(3):
        sandbox.invoke(printed(*[f"line {number}.{one}" for one in range(5)]))
        sandbox.idle()
    sandbox.shutdown()
    account = balance(sandbox)
    assert account.pending == 0
    buried = [json.loads(text)["line"] for text in grave.read_text().splitlines()]
    lines = {one["record"].strip() for one in buried if one["type"] == "function"}
    assert lines == {f"line {number}.{one}" for number in range(3) for one in range(5)}


def test_an_error_is_flushed_as_soon_as_it_is_heard_of(shipping, collector):
    """Whatever the strategy: here one flush in ten minutes, which the first invocation has had.

    Nobody waits for the end here, and the platform keeps events for 25 ms: it takes until one of the next invocations.
    """
    sandbox = shipping()
    sandbox.configure(function=SLOW)
    sandbox.configure(variables={"EXTENSION_KIT_FLUSH": "periodic,600"})
    for text in ("first", "second", "third"):
        sandbox.invoke(printed(text))
        sandbox.idle()
    assert "third" not in collector.lines()
    for text in ("[ERROR] bad", "fifth", "sixth"):
        sandbox.invoke(printed(text))
        sandbox.idle()
    assert "[ERROR] bad" in collector.lines()


def test_a_snapshot_takes_another_name(shipping, collector):
    """Of a snapshot there are many environments, whose records must not have the same ids."""
    sandbox = shipping()
    sandbox.configure(init_type="snap-start")
    sandbox.invoke(printed("one"))
    sandbox.idle()
    ids = {event["id"].partition("-")[0] for event in collector.accepted}
    assert len(ids) == 1
    assert collector.lines() == ["one"]


def test_without_a_sink_nothing_is_done(shipping, collector):
    """One line says so; there is no subscription."""
    sandbox = shipping(sink="none", endpoint="")
    assert not sandbox.invoke(printed("one")).function_error
    sandbox.shutdown()
    assert collector.accepted == []
    assert any("there is no sink" in event["text"] for event in sandbox.events("log"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"endpoint": ""}, "sink http: LOG_SHIPPER_ENDPOINT is not set"),
        ({"sink": "hhtp"}, 'LOG_SHIPPER_SINK="hhtp" is not allowed: use one of'),
        ({"include": "("}, 'LOG_SHIPPER_INCLUDE="(" is not allowed: use a regular expression'),
        ({"typs": "x"}, "LOG_SHIPPER_TYPS is not a setting and is ignored; did you mean LOG_SHIPPER_TYPES?"),
        ({"config": "/nowhere.toml"}, "LOG_SHIPPER_CONFIG: /nowhere.toml cannot be read: No such file or directory"),
    ],
)
def test_wrong_settings_are_one_line_and_the_function_goes_on(shipping, settings, said):
    """What is wrong, what is allowed, what is done instead."""
    sandbox = shipping(**settings)
    assert not sandbox.invoke(printed("one")).function_error
    sandbox.shutdown()
    assert [event["text"] for event in sandbox.events("log") if said in event["text"]]


def test_a_wrong_key_is_one_line_and_the_lines_are_kept(shipping, collector):
    """Not one line a try: when it begins. When the key is mended they arrive."""
    sandbox = shipping()
    collector.faults = [Fault(status=401)] * 40
    for number in range(3):
        assert not sandbox.invoke(printed(f"line {number}")).function_error
        sandbox.idle()
    sandbox.shutdown()
    said = [event["text"] for event in sandbox.events("log") if "answers 401" in event["text"]]
    assert len(said) == 1
    account = balance(sandbox)
    assert (account.delivered, account.pending) == (0, account.received)


def test_the_function_is_not_kept_waiting(shipping, collector):
    """A sink that hangs: each invocation ends in time, and what could not be sent is still there."""
    sandbox = shipping(timeout="200ms")
    collector.faults = [Fault(hang=2.0)] * 50
    for number in range(3):
        assert not sandbox.invoke(printed(f"line {number}")).function_error
    sandbox.shutdown()
    account = balance(sandbox)
    assert (account.delivered, account.pending, account.dropped) == (0, account.received, 0)
