"""Handing telemetry over to plug-ins: budgets, failures, back-pressure, what is delivered and what is not."""

from __future__ import annotations

import json
import re
import threading

import pytest

from extension_kit.emulator.faults import Faults
from extension_kit.emulator.model import Invocation
from tests.scripted_api import INVOKE, REGISTERED, SHUTDOWN, Server, answer
from tests.test_nothing_lost import SUMS, TALKER, account


def told(lab, environment, word):
    return [line for line in lab.lines(environment, "ext") if line.startswith(word)]


def plugin(body, name="one", telemetry='("platform", "function")'):
    return f"class {name.title()}(Plugin):\n    name = {name!r}\n    telemetry = {telemetry}\n{body}\n"


COUNT = """
    seen = 0
    def on_telemetry(self, records):
        self.seen += len(records)
        say("batch", self.name, len(records), {record.type.partition(".")[0] for record in records})
    def on_shutdown(self, event, deadline):
        say("seen", self.name, self.seen)
"""


def test_each_plugin_has_its_own_streams_and_account(lab):
    """One process, one subscription, two plug-ins."""
    code = plugin(COUNT, "one") + plugin(COUNT, "two", '("function",)') + plugin("    pass\n", "three", "()")
    environment = lab.start(lab.plugin("ext", code + "run(One(), Two(), Three())"), function=lab.function(TALKER))
    for number in range(3):
        lab.invoke(environment, {"n": number, "lines": 7})
    environment.idle(5)
    environment.shutdown()

    ledger = environment.telemetry.ledgers["ext"]
    assert told(lab, environment, "seen one") == [f"seen one {ledger.total}"]
    assert told(lab, environment, "seen two") == ["seen two 21"]
    assert environment.log.of_kind("telemetry_subscribed")[0]["types"] == ["platform", "function"]
    sums = [SUMS.search(line).groups() for line in lab.lines(environment, "ext") if SUMS.search(line)]
    assert sums == [(str(ledger.total),) * 2 + ("0", "0"), ("21", "21", "0", "0")]


def test_large_batches_come_in_parts(lab):
    """A hook's budget must do on a small function too."""
    environment = lab.start(lab.plugin("ext", plugin(COUNT) + "run(One())"), function=lab.function(TALKER))
    lab.invoke(environment, {"n": 0, "lines": 2500})
    environment.idle(5)
    environment.shutdown()

    sizes = [int(line.split()[2]) for line in told(lab, environment, "batch")]
    assert max(sizes) <= 1_000
    assert sum(sizes) == environment.telemetry.ledgers["ext"].total


def test_a_hook_that_raises_loses_what_it_was_given_and_no_more(lab):
    """Counted, and reported; the other plug-in has everything."""
    bad = """
    def on_telemetry(self, records):
        if any("line 1 " in record.text for record in records):
            raise ValueError("bang")
"""
    code = plugin(bad, "bad", '("function",)') + plugin(COUNT, "good", '("function",)')
    environment = lab.start(lab.plugin("ext", code + "run(Bad(), Good())"), function=lab.function(TALKER))
    for number in range(3):
        lab.invoke(environment, {"n": number, "lines": 4})
    environment.idle(5)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert any("on_telemetry raised ValueError: bang" in line for line in lines)
    assert any(
        "plug-in bad: 12 records = 8 delivered + 4 dropped (on_telemetry failed: 4) + 0 pending" in x for x in lines
    )
    assert told(lab, environment, "seen good") == ["seen good 12"]


def test_a_plugin_at_rest_is_counted_out_and_holds_nothing_up(lab):
    """Three strikes; what comes after is dropped for that reason."""
    bad = "    def on_telemetry(self, records):\n        raise ValueError('bang')\n"
    code = plugin(bad, "bad") + plugin(COUNT, "good")
    environment = lab.start(lab.plugin("ext", code + "run(Bad(), Good())"), function=lab.function(TALKER))
    for number in range(8):
        lab.invoke(environment, {"n": number, "lines": 4})
    environment.idle(5)
    environment.shutdown()

    ledger = environment.telemetry.ledgers["ext"]
    line = next(line for line in lab.lines(environment, "ext") if "plug-in bad: " in line and "records" in line)
    received, delivered, dropped, pending = (int(number) for number in SUMS.search(line).groups())
    assert received == dropped == ledger.total
    assert (delivered, pending) == (0, 0)
    assert "plug-in at rest: " in line
    assert told(lab, environment, "seen good") == [f"seen good {ledger.total}"]


def test_a_flush_that_says_what_is_pending_is_believed(lab):
    """Counted from the newest; what is pending is handed over again by nobody while the process lives."""
    code = plugin("""
    held = []
    def on_telemetry(self, records):
        self.held = self.held + records
    def flush(self, reason, deadline):
        say("flush", reason, len(self.held))
        self.held = self.held[-2:] if reason != "shutdown" else []
        return len(self.held)
""", telemetry='("function",)')  # fmt: skip
    environment = lab.start(lab.plugin("ext", code + "run(One())"), function=lab.function(TALKER))
    lab.invoke(environment, {"n": 0, "lines": 10})
    environment.idle(5)
    environment.shutdown()

    first, *later = [line.split()[-1] for line in told(lab, environment, "flush")]
    assert (first, set(later)) == ("10", {"2"})
    assert account(lab, environment) == [10, 10, 0, 0]


def test_a_plugin_that_holds_enough_is_given_no_more(lab):
    """Back-pressure: the rest waits in the spool, and comes when the sink takes it."""
    code = plugin("""
    held, most, dead = 0, 0, True
    def on_telemetry(self, records):
        self.held += sum(len(record.raw) for record in records)
        self.most = max(self.most, self.held)
    def flush(self, reason, deadline):
        if reason != "shutdown":
            return 1 << 40
        self.held = 0
    def on_shutdown(self, event, deadline):
        say("most", self.most)
""")  # fmt: skip
    environment = lab.start(
        lab.plugin("ext", code + "run(One())"), function=lab.function(TALKER), timeout=20.0,
        variables={"EXTENSION_KIT_SPOOL_MEMORY_BYTES": "262144"},
    )  # fmt: skip
    for number in range(3):
        lab.invoke(environment, {"n": number, "lines": 4000, "pad": 100})
    environment.idle(10)
    environment.shutdown()

    assert int(told(lab, environment, "most")[0].split()[1]) < 600_000
    received, delivered, dropped, pending = account(lab, environment)
    assert received == delivered == environment.telemetry.ledgers["ext"].total
    assert (dropped, pending) == (0, 0)


def test_a_plugin_hears_of_what_was_dropped(lab):
    """As a record of its own, once."""
    code = plugin("""
    dead = True
    def on_telemetry(self, records):
        for record in records:
            if record.type == "extension-kit.dropped":
                say("dropped", int(record.dropped_records), record.reason)
    def flush(self, reason, deadline):
        return 1 << 40 if reason != "shutdown" else 0
""")  # fmt: skip
    variables = {"EXTENSION_KIT_SPOOL_MEMORY_BYTES": "262144", "EXTENSION_KIT_SPOOL_MAX_BYTES": "1MiB"}
    environment = lab.start(
        lab.plugin("ext", code + "run(One())"), function=lab.function(TALKER), variables=variables, timeout=20.0
    )
    for number in range(4):
        lab.invoke(environment, {"n": number, "lines": 4000, "pad": 100})
    environment.idle(10)
    environment.shutdown()

    _received, _delivered, dropped, _pending = account(lab, environment)
    notices = told(lab, environment, "dropped")
    assert dropped > 0
    assert sum(int(line.split()[1]) for line in notices) == dropped
    assert {line.split(" ", 2)[2] for line in notices} == {"spool full"}


def test_the_end_is_told_as_it_happens(lab):
    """on_runtime_done, within the invocation, whatever the strategy."""
    code = plugin("    def on_runtime_done(self, record):\n        say('done', record.request_id)\n", "done", "()")
    variables = {"EXTENSION_KIT_FLUSH": "periodic,60"}
    environment = lab.start(lab.plugin("ext", code + "run(Done())"), variables=variables)
    ids = []
    for _ in range(3):
        ids.append(lab.invoke(environment).request_id)
        environment.idle(5)
        lab.until(lambda: told(lab, environment, "done") == [f"done {one}" for one in ids])


STRATEGIES = [
    ("end", 1, ["end of the invocation"] * 3 + ["shutdown"]),
    ("periodic,60", 1, ["end of the invocation", "shutdown"]),  # what comes first is not kept back
    ("continuous", 400, ["interval"]),
    ("end,50", 400, ["interval"]),
]


@pytest.mark.parametrize(("strategy", "spend", "reasons"), STRATEGIES, ids=[one[0] for one in STRATEGIES])
def test_strategies(lab, strategy, spend, reasons):
    """When flush is called, and why."""
    code = plugin("    def flush(self, reason, deadline):\n        say('flush', reason)\n")
    environment = lab.start(lab.plugin("ext", code + "run(One())"), variables={"EXTENSION_KIT_FLUSH": strategy})
    for _ in range(3):
        lab.invoke(environment, {"spend_ms": spend})
        environment.idle(5)
    environment.shutdown()

    found = [line.removeprefix("flush ") for line in told(lab, environment, "flush")]
    if spend == 1:
        assert [reason for reason in found if reason != "interval"] == reasons
    else:
        assert found.count("interval") >= 3
        assert found[-1] == "shutdown"


def test_without_a_subscription_flush_is_called_all_the_same(lab):
    """Beside the next invocation, and at SHUTDOWN."""
    code = (
        "class Own(Plugin):\n    name = 'own'\n    def flush(self, reason, deadline):\n        say('flush', reason)\n"
    )
    environment = lab.start(lab.plugin("ext", code + "run(Own())"))
    for _ in range(3):
        lab.invoke(environment)
        environment.idle(5)
    environment.shutdown()

    assert told(lab, environment, "flush") == ["flush invoke"] * 2 + ["flush shutdown"]
    assert "telemetry_subscribed" not in lab.kinds(environment)


def test_a_wrong_setting_is_said_and_the_default_used(lab):
    """One line with what is allowed."""
    code = plugin("    def flush(self, reason, deadline):\n        say('flush', reason)\n")
    variables = {
        "EXTENSION_KIT_FLUSH": "sometimes",
        "EXTENSION_KIT_TELEMETRY_PORT": "x",
        "EXTENSION_KIT_SPOOL_MAX_BYTES": "1",
    }
    environment = lab.start(lab.plugin("ext", code + "run(One())"), variables=variables)
    lab.invoke(environment)
    environment.idle(5)

    lines = lab.lines(environment, "ext")
    assert 'EXTENSION_KIT_FLUSH="sometimes" is not allowed: use end, end,<10' in lines[0]
    assert len([line for line in lines if "is not allowed" in line]) == 3
    assert told(lab, environment, "flush end of the invocation")


def test_a_full_tmp_is_said_once_and_borne(lab):
    """Memory only; the accounting says so."""
    before = "import os\nos.makedirs('/tmp/.extension-kit/ext')\nopen('/tmp/.extension-kit/ext/spool', 'w').close()\n"
    environment = lab.start(lab.plugin("ext", before + plugin(COUNT) + "run(One())"), function=lab.function(TALKER))
    for number in range(3):
        lab.invoke(environment, {"n": number, "lines": 5})
    environment.idle(5)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert len([line for line in lines if "telemetry is kept in memory only, a crash would lose it" in line]) == 1
    assert any("not crash-safe (Not a directory)" in line for line in lines)
    assert account(lab, environment)[1] == environment.telemetry.ledgers["ext"].total


@pytest.mark.parametrize("place", ["flusher.Flusher.invoked", "telemetry.Telemetry.open", "flusher.Flusher.drain"])
def test_a_mistake_of_ours_does_not_end_the_process(lab, place):
    """It is told once; the function and the other hooks go on."""
    broken = "from extension_kit import flusher, telemetry\ndef bang(*_):\n    raise RuntimeError('ours')\n"
    broken += f"{place} = bang\n"
    code = plugin("    def on_invoke(self, event):\n        say('invoke')\n")
    environment = lab.start(lab.plugin("ext", broken + code + "run(One())"))
    for _ in range(3):
        assert not lab.invoke(environment).function_error
    environment.idle(5)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert lines.count("invoke") == 3
    assert len([line for line in lines if "internal error: RuntimeError: ours" in line]) == 1
    assert lab.exits(environment)["ext"] == "exit status 0"


def test_the_lost_end_of_an_invocation_is_waited_for_once(lab):
    """Until the deadline's margin; from then on not, until the stream has spoken."""
    environment = lab.start(
        lab.plugin("ext", plugin(COUNT) + "run(One())"), faults=Faults.parse(("telemetry-lost-end",)), timeout=1.5
    )
    for _ in range(3):
        assert not lab.invoke(environment).function_error
    environment.idle(5)

    assert environment.platform.healthy
    held = [event["duration_ms"] for event in environment.log.of_kind("invoke_end")]
    assert held[0] > 1_000 > min(held[1:])


def test_events_without_a_deadline_or_an_id_are_borne():
    """Local tools leave things out."""
    import subprocess
    import sys

    invoke = INVOKE
    server = Server([REGISTERED, answer(b'"OK"'), answer(invoke), answer(SHUTDOWN)])
    server.start()
    script = (
        "from extension_kit import Plugin, run\nclass P(Plugin):\n    name = 'p'\n    telemetry = ('platform',)\n"
        "    def flush(self, reason, deadline):\n        print(reason, flush=True)\nrun(P())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"AWS_LAMBDA_RUNTIME_API": server.address, "PYTHONPATH": "."},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout.split()) == (0, ["shutdown"])
    assert re.search(r"plug-in p: 0 records", done.stderr)
    assert json.loads(invoke) == {"eventType": "INVOKE"}


def test_an_environment_without_the_telemetry_api_has_the_logs_api(lab):
    """404 there: subscribed to 2020-08-15/logs, with runtimeDone where it is known; nothing is lost."""
    code = plugin("""
    def on_telemetry(self, records):
        for record in records:
            say("got", type(record).__name__, record.request_id[:8])
    def flush(self, reason, deadline):
        say("flush", reason)
""")  # fmt: skip
    environment = lab.start(lab.plugin("ext", code + "run(One())"), faults=Faults.parse(("telemetry-absent",)))
    ids = [lab.invoke(environment).request_id[:8] for _ in range(2)]
    environment.idle(5)
    environment.shutdown()

    assert environment.log.of_kind("telemetry_subscribed")[0]["schema"] == "2021-03-18"
    found = told(lab, environment, "got")
    for request_id in ids:
        for kind in ("Start", "FunctionLine", "RuntimeDone", "End", "Report"):
            assert f"got {kind} {request_id}" in found
    assert "got LogsSubscribed " in [line + " " if line.endswith("Subscribed") else line for line in found]
    assert "flush end of the invocation" in lab.lines(environment, "ext")
    assert account(lab, environment)[0] == environment.telemetry.ledgers["ext"].total


def test_failures_are_a_sentence_in_the_logs_api(lab):
    """platform.fault; and an end is an end."""
    code = plugin(
        "    def on_telemetry(self, records):\n        for record in records:\n            say(record.type, record.text)\n"
    )
    function = lab.function("import os\ndef handler(event, context):\n    os._exit(3)\n")
    environment = lab.start(
        lab.plugin("ext", code + "run(One())"), function=function, faults=Faults.parse(("telemetry-absent",))
    )
    request_id = lab.invoke(environment).request_id
    environment.idle(5)
    environment.shutdown()

    assert told(lab, environment, "platform.fault") == [
        f"platform.fault RequestId: {request_id} Error: Runtime.ExitError"
    ]


def run_again(environment):
    """Always the same request."""
    answered = threading.Event()
    invocation = Invocation("5f1c0d52-6f0e-4a57-9c8e-0c3f5a1e77b1", b"{}", lambda _result: answered.set())
    environment.call(lambda: environment.platform.invoke(invocation))
    assert answered.wait(10)
    environment.idle(5)


def test_a_second_run_under_the_same_id_is_waited_for(lab):
    """Lambda tries a failed asynchronous invocation again with its request id, most often in the same environment."""
    code = plugin("""
    ends = 0
    def on_telemetry(self, records):
        self.ends += sum(record.type == "platform.runtimeDone" for record in records)
    def flush(self, reason, deadline):
        say("flush", self.ends)
""")  # fmt: skip
    environment = lab.start(
        lab.plugin("ext", code + "run(One())"),
        function=lab.function("import time\ndef handler(event, context):\n    time.sleep(0.2)\n"),
    )
    for _ in range(3):
        run_again(environment)
    environment.shutdown()

    assert [line.split()[-1] for line in told(lab, environment, "flush")][:3] == ["1", "2", "3"]
