"""The ways in which shippers of the field lose lines, send them twice, or hold the function up: each told again, with ours.

Numbers and titles are those of a collection of the peers' issue threads; the remedy that each asks for is what is looked for.
The left side of every sum is the emulator's ledger of what the platform has sent.
"""

from __future__ import annotations

import http.client
import json
import os
import time

import pytest

from tests.extensions.log_shipper.test_delivery import balance, printed
from tests.receivers.collector import Fault
from tests.receivers.log_services import Bulk
from tests.receivers.programs import free_port

SLOW = """
import sys, time
def handler(event, context):
    for number in range(event.get("lines", 0)):
        print("line", event["n"], number)
    sys.stdout.flush()
    time.sleep(event.get("seconds", 0))
    if event.get("exit") is not None:
        import os
        os._exit(event["exit"])
    return event["n"]
"""


def texts(number, count):
    return [f"line {number} {line}" for line in range(count)]


def run(sandbox, number, **event):
    result = sandbox.invoke({"n": number, **event})
    sandbox.idle()
    return result


def settle(sandbox, part="log-shipper.http"):
    """The account at the end, which is exact."""
    sandbox.shutdown()
    return balance(sandbox, part)


def said(sandbox):
    return [event["text"] for event in sandbox.events("log") if "log-shipper" in event["party"]]


def test_story_1_and_2_the_last_lines_of_a_short_function_arrive_with_its_own_invocation(shipping, collector):
    """Others have them at the next invoke, or minutes later."""
    sandbox = shipping()
    for number in range(3):
        sandbox.invoke(printed(f"only {number}"))
        sandbox.idle()
        assert collector.lines() == [f"only {one}" for one in range(number + 1)]
    assert settle(sandbox).pending == 0


@pytest.mark.timeout(200)
def test_story_3_a_thousand_lines_thirty_times_and_nothing_dropped(shipping, collector):
    """The platform drops what a listener does not take in time."""
    sandbox = shipping()
    sandbox.configure(function=SLOW, timeout=20.0)
    for number in range(30):
        run(sandbox, number, lines=1_000)
    account = settle(sandbox)
    ledger = sandbox.telemetry("log-shipper")
    assert ledger.dropped == 0
    assert not [event for event in collector.accepted if event["type"] == "platform.logsDropped"]
    assert collector.lines() == [text for number in range(30) for text in texts(number, 1_000)]
    assert (account.delivered, account.dropped, account.pending) == (ledger.total, 0, 0)


def test_story_4_and_14_a_sink_that_hangs_holds_up_nobody(shipping, collector):
    """Neither the platform, whose posts are taken all the same, nor the function, which has its answers."""
    sandbox = shipping(timeout="300ms")
    sandbox.configure(function=SLOW, timeout=2.0)
    collector.faults = [Fault(hang=5.0)] * 30
    for number in range(4):
        assert not run(sandbox, number, lines=200).function_error
    collector.faults = []
    account = settle(sandbox)
    assert sandbox.telemetry("log-shipper").dropped == 0
    assert account.dropped == 0


def test_story_5_6_and_7_a_request_that_meets_a_freeze_is_the_same_request_afterwards(shipping):
    """An answer that never comes, and a freeze: what is sent again has the same ids, and is stored once."""
    with Bulk() as bulk:
        sandbox = shipping(sink="bulk", endpoint=bulk.url, target="logs", timeout="300ms")
        sandbox.configure(variables={"HERE": bulk.url})
        bulk.faults = [Fault(hang=1.0, after=True), Fault(reset="late", after=True)]
        for number in range(3):
            sandbox.invoke(printed(f"line {number}"))
            sandbox.idle()
            sandbox.step_clock(400)
        account = settle(sandbox, "log-shipper.bulk")
    assert (account.delivered, account.pending) == (account.received, 0)
    assert len(bulk.accepted) == account.received
    assert bulk.repeated > 0, "something did come twice"


def test_story_8_what_comes_after_the_shutdown_has_begun_is_taken(shipping, collector):
    """The last report arrives while the environment ends."""
    sandbox = shipping()
    result = sandbox.invoke(printed("one"))
    sandbox.shutdown()
    assert settle(sandbox).pending == 0
    reports = [event for event in collector.accepted if event["type"] == "platform.report"]
    assert [report["record"]["requestId"] for report in reports] == [result.request_id]


def test_story_9_a_line_that_is_sent_again_has_its_own_requests_id(shipping, collector):
    """Stamped when it was read, once and for all; also where a batch spans two invocations."""
    sandbox = shipping(timeout="300ms")
    ids = {}
    for number in range(4):
        collector.dead = number in (1, 2)
        ids[f"line {number}"] = sandbox.invoke(printed(f"line {number}")).request_id
        sandbox.idle()
    assert settle(sandbox).pending == 0
    found = {event["record"].strip(): event["requestId"] for event in collector.accepted if event["type"] == "function"}
    assert found == ids


def test_story_10_the_lines_of_a_function_that_times_out(shipping, collector):
    """Arrive, all of them, with the end that the platform tells."""
    sandbox = shipping()
    sandbox.configure(function=SLOW, timeout=1.0)
    assert run(sandbox, 1, lines=50, seconds=5).function_error
    run(sandbox, 2, lines=5)
    account = settle(sandbox)
    assert collector.lines() == texts(1, 50) + texts(2, 5)
    assert account.pending == 0
    ends = [event["record"]["status"] for event in collector.accepted if event["type"] == "platform.runtimeDone"]
    assert ends == ["timeout", "success"]


def test_story_11_the_lines_of_a_function_that_is_killed(shipping, collector):
    """As by a kernel that is out of memory: they do not wait for another invocation."""
    sandbox = shipping()
    sandbox.configure(function=SLOW)
    assert run(sandbox, 1, lines=50, exit=137).function_error
    account = settle(sandbox)
    assert collector.lines() == texts(1, 50)
    assert account.pending == 0


def test_story_12_the_last_report_is_delivered(shipping, collector):
    """It comes after the last invocation, in the two seconds of the shutdown."""
    sandbox = shipping()
    requests = [sandbox.invoke(printed(str(number))).request_id for number in range(3)]
    settle(sandbox)
    reports = [event["record"]["requestId"] for event in collector.accepted if event["type"] == "platform.report"]
    assert sorted(reports) == sorted(requests)


def test_story_13_no_thread_is_left_behind_by_a_flush_that_was_cut_off(shipping, collector):
    """However many of them there are: one thread a sink sends, and it is used again."""
    sandbox = shipping(timeout="100ms")
    collector.faults = [Fault(hang=0.4)] * 60
    pids = set()
    counts = []
    for number in range(8):
        sandbox.invoke(printed(f"line {number}"))
        sandbox.idle()
        pids = {event["pid"] for event in sandbox.events("process_start") if event["party"] == "log-shipper"}
        (pid,) = pids
        counts.append(_threads(pid))
    assert max(counts[2:]) <= counts[2] + 1, counts
    settle(sandbox)


def _threads(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("Threads:")))


def test_story_15_a_sink_that_only_fails_is_asked_ever_more_rarely(shipping, collector):
    """Attempts and time are bounded both: in one flush, and over many."""
    sandbox = shipping()
    collector.faults = [Fault(status=500)] * 1_000
    for number in range(12):
        sandbox.invoke(printed(f"line {number}"))
        sandbox.idle()
    asked = 1_000 - len(collector.faults)
    settle(sandbox)
    assert asked <= 12


@pytest.mark.parametrize("json_logs", [False, True])
def test_story_16_lines_of_every_form(shipping, collector, json_logs):
    """Strings, objects, objects in objects; nothing panics, and no batch is lost for one line."""
    sandbox = shipping()
    function = """
import json
import os
import time
def handler(event, context):
    print(json.dumps({"level": "INFO", "message": {"deep": [1, {"a": None}]}, "timestamp": 12}))
    print("plain")
    print("{broken json")
    print("\\u2028 \\x00 caf\\u00e9")
"""
    sandbox.configure(function=function, json_logs=json_logs)
    sandbox.invoke({})
    sandbox.idle()
    account = settle(sandbox)
    assert len([event for event in collector.accepted if event["type"] == "function"]) == 4
    assert (account.delivered, account.dropped, account.pending) == (account.received, 0, 0)


def test_story_17_a_post_that_cannot_be_read_does_not_come_for_ever(shipping, collector):
    """It is answered 200, set aside and counted; what can be read of it is delivered."""
    sandbox = shipping()
    sandbox.fault("telemetry-truncated:every=2")
    for number in range(5):
        sandbox.invoke(printed(f"line {number}"))
        sandbox.idle()
    sandbox.shutdown()
    account = sandbox.account("log-shipper.http")
    assert account.malformed > 0
    assert account.delivered > 0
    assert (account.dropped, account.pending) == (0, 0)
    ledger = sandbox.telemetry("log-shipper")
    assert ledger.batches < 40, "none of them came again and again"


def test_story_18_its_own_lines_are_not_sent(shipping, collector):
    """Subscribed to the lines of extensions, with a sink that fails, each failure would make another line."""
    sandbox = shipping(types="function,extension", timeout="200ms")
    collector.faults = [Fault(status=503)] * 4
    for number in range(4):
        sandbox.invoke(printed(f"line {number}"))
        sandbox.idle()
    account = settle(sandbox)
    assert [event for event in collector.accepted if event["type"] == "extension"] == []
    assert account.others["filtered"] > 0
    assert account.received < 60


def test_story_19_lines_of_an_init_that_fails(shipping, collector):
    """There is no request, no INVOKE: they arrive all the same, without an id that is not theirs."""
    sandbox = shipping()
    source = "print('from the module')\nraise ValueError('no')\ndef handler(event, context):\n    return 1\n"
    sandbox.configure(function=source)
    result = sandbox.invoke({})
    assert result.function_error
    sandbox.idle()
    account = settle(sandbox)
    lines = [
        event for event in collector.accepted if event["type"] == "function" and "from the module" in event["record"]
    ]
    # Lambda does a failed init once more, within the invocation.
    assert lines[0].get("requestId", "") == ""
    assert {line.get("requestId", "") for line in lines} <= {"", result.request_id}
    assert account.pending == 0


def test_story_20_the_subscription_is_there_before_the_first_next(shipping, collector):
    """Later it would be refused; the record tells the order."""
    sandbox = shipping()
    sandbox.invoke(printed("one"))
    sandbox.idle()
    calls = [event["path"] for event in sandbox.events("request") if event["party"] == "log-shipper"]
    assert [path.rpartition("/")[2] for path in calls[:3]] == ["register", "telemetry", "next"]
    assert collector.lines() == ["one"]
    settle(sandbox)


def test_story_21_managed_instances(shipping, collector):
    """No INVOKE, requests side by side: no line is given to a request by its place."""
    sandbox = shipping()
    sandbox.configure(init_type="lambda-managed-instances", json_logs=True)
    for number in range(3):
        sandbox.invoke(printed(f"line {number}"))
    account = settle(sandbox)
    found = json.dumps(collector.accepted)
    assert all(f"line {number}" in found for number in range(3))
    assert account.pending == 0


def test_story_22_at_low_traffic_nothing_waits_for_a_timer(shipping, collector):
    """A timer does not run while the environment is frozen: what an invocation has said is out when it ends."""
    sandbox = shipping()
    sandbox.invoke(printed("one"))
    sandbox.idle()
    assert sandbox.is_frozen
    assert collector.lines() == ["one"]
    settle(sandbox)


def test_story_23_a_connection_that_died_during_a_long_freeze(shipping, collector):
    """After six minutes its peer has gone: a fresh one is made, and nobody notices."""
    sandbox = shipping()
    for number in range(3):
        sandbox.invoke(printed(f"line {number}"))
        sandbox.idle()
        sandbox.step_clock(360)
    account = settle(sandbox)
    assert collector.lines() == [f"line {number}" for number in range(3)]
    assert account.pending == 0
    assert [text for text in said(sandbox) if "WARNING" in text] == []


def test_story_24_a_key_that_is_not_there_is_asked_for_again(shipping, collector, aws):
    """Not once and never more: when the secret is there the lines go out, and until then they are kept."""
    sandbox = shipping(api_key="secretsmanager:late", headers="X-Key={api_key}")
    sandbox.configure(variables=aws.environ())
    sandbox.invoke(printed("one"))
    sandbox.idle()
    assert collector.lines() == []
    assert any("its key late cannot be fetched: ResourceNotFoundException" in text for text in said(sandbox))
    aws.put_secret("late", "the-key")
    sandbox.shutdown()
    account = balance(sandbox)
    assert collector.lines() == ["one"]
    assert collector.requests[0][1]["x-key"] == "the-key"
    assert account.pending == 0


STALL_S = float(os.environ.get("KIT_TESTS_STALL_S", "4"))  # a minute in the long runs
TALK = """
def handler(event, context):
    for number in range(event["lines"]):
        print("line", event["n"], number, "x" * 200)
"""


@pytest.mark.once
@pytest.mark.timeout(240)
def test_a_stalled_sink_costs_no_memory_and_no_line(shipping, collector):
    """Ten megabytes and more while the sink does not answer, as many as there is room for in the spool: on disk, not in
    memory; the function is answered; then all arrives.
    """
    sandbox = shipping(timeout="500ms")
    sandbox.configure(function=TALK, timeout=20.0, memory=512)
    sandbox.invoke({"n": -1, "lines": 1})
    sandbox.idle()
    (pid,) = {event["pid"] for event in sandbox.events("process_start") if event["party"] == "log-shipper"}
    collector.faults = [Fault(hang=1.0)] * 10_000
    until = time.monotonic() + STALL_S
    number = 0
    while number < 24 or time.monotonic() < until:
        assert not sandbox.invoke({"n": number, "lines": 2_000}).function_error
        sandbox.idle()
        number += 1
        time.sleep(STALL_S / 100)  # so that it is half a megabyte a hundred times, at most
    stalled_mb = peak_mb(pid)
    collector.faults = []
    sandbox.step_clock(61)
    for _ in range(40):
        sandbox.invoke({"n": -2, "lines": 0})
        sandbox.idle()
        if len(set(collector.lines())) > 2_000 * number:
            break
    account = settle(sandbox)
    assert sandbox.telemetry("log-shipper").dropped == 0
    assert (account.dropped, account.pending) == (0, 0)
    # What the sink has taken although nobody waited for its answer any more comes twice: it knows no ids.
    assert len(set(collector.lines())) == 2_000 * number + 1
    assert stalled_mb < 64, f"{stalled_mb:.1f} MB were resident"


@pytest.mark.once
@pytest.mark.timeout(240)
def test_a_spool_that_is_full_loses_lines_and_says_how_many(shipping, collector):
    """Four times as much as there is room for. The platform's posts are taken all the same; there is room for errors.

    Without freezes: nobody waits for the end of an invocation while a sink is away, so one could begin amid a post.
    """
    sandbox = shipping(timeout="500ms")
    sandbox.configure(function=TALK, timeout=20.0, memory=3_008, freeze=False)
    sandbox.configure(variables={"EXTENSION_KIT_SPOOL_MAX_BYTES": str(4 * 1_048_576)})
    sandbox.invoke({"n": -1, "lines": 1})
    sandbox.idle()
    collector.faults = [Fault(hang=1.0)] * 10_000
    for number in range(30):
        bad = number == 25
        assert not sandbox.invoke({"n": "[ERROR]" if bad else number, "lines": 20 if bad else 2_000}).function_error
        sandbox.idle()
        time.sleep(0.3)
    collector.faults = []
    sandbox.step_clock(61)
    for _ in range(10):
        sandbox.invoke({"n": -2, "lines": 0})
        sandbox.idle()
    account = settle(sandbox)
    assert sandbox.telemetry("log-shipper").dropped == 0, "by the platform"
    assert account.dropped > 20_000
    assert account.received == account.delivered + account.dropped + sum(account.others.values())
    lines = set(collector.lines())
    assert sum("[ERROR]" in line for line in lines) == 20
    assert len(lines) > 10_000


POSTS, POST_BYTES = 6, 2 * 1_048_576
#: MB resident at most. While the sink is stalled: what is stored is on disk, so a post costs what is read of it and no more of
#: what came before (2 MB each, 12 in all). Afterwards: what a plug-in may hold (4 MiB), as records, as lines and as requests.
STALLED_MB, GROWTH_MB, RECOVERING_MB = 64, 8, 96


@pytest.mark.once
@pytest.mark.timeout(240)
def test_large_posts_are_acknowledged_while_the_sink_is_stalled(shipping, collector):
    """Twice the largest buffer that a subscription can ask for, again and again: 200 each time; then every line, once."""
    port = free_port()
    sandbox = shipping(timeout="20s")
    sandbox.configure(variables={"EXTENSION_KIT_TELEMETRY_PORT": str(port)}, timeout=20.0, memory=512, freeze=False)
    sandbox.start()
    collector.faults = [Fault(hang=600.0, status=503)] * 1_000  # what is asked has no answer, and is not taken
    environment = sandbox._environment
    asking = environment.invoke(json.dumps(printed("before")).encode())
    until(lambda: collector.asked > 0)
    sent = []
    statuses, peaks = [], []
    (pid,) = {event["pid"] for event in sandbox.events("process_start") if event["party"] == "log-shipper"}
    for number in range(POSTS):
        lines, body = large_post(number)
        sent += lines
        statuses.append(post(environment, port, body))
        peaks.append(peak_mb(pid))
    assert statuses == [200] * POSTS
    assert collector.accepted == []
    assert not asking.result(30).function_error

    collector.faults = []
    for _ in range(60):
        sandbox.step_clock(61)
        sandbox.invoke(printed())
        if len(collector.lines()) > len(sent):
            break
    recovering_mb = peak_mb(pid)
    sandbox.shutdown()
    account, ledger = sandbox.account("log-shipper.http"), sandbox.telemetry("log-shipper")
    assert sorted(collector.lines()) == sorted(["before", *sent])
    assert account.received == ledger.total + len(sent)
    assert (account.delivered, account.dropped, account.pending) == (account.received, 0, 0)
    assert (account.reposted, account.malformed, ledger.dropped) == (0, 0, 0)
    assert peaks[-1] < STALLED_MB, peaks
    assert peaks[-1] - peaks[0] < GROWTH_MB, peaks
    assert recovering_mb < RECOVERING_MB, f"{recovering_mb:.1f} MB were resident"


def large_post(number):
    """The texts of its lines, and a body of exactly `POST_BYTES`, as the platform writes one."""

    def event(text):
        envelope = {"time": "2026-11-23T08:00:00.700Z", "type": "function", "record": text}
        return json.dumps(envelope, separators=(",", ":"))

    size = len(event("")) + 1
    lines, room = [], POST_BYTES - 1
    while room > 2 * (size + 300):
        lines.append(f"post {number} line {len(lines)} ".ljust(200, "x"))
        room -= size + len(lines[-1])
    lines.append("y" * (room - size))
    body = "[" + ",".join(map(event, lines)) + "]"
    assert len(body) == POST_BYTES
    return lines, body.encode()


def post(environment, port, body):
    """The status of an answer of the extension's listener."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    environment._enter(connection.connect)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def until(condition):
    """Wait for something that another process does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def peak_mb(pid):
    """The most that has been resident."""
    with open(f"/proc/{pid}/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmHWM:"))) / 1024
