"""Every rail against every fault: experiments with all types of faults, one rail against them, and an undisturbed function.

Each would happen to every invocation (`test_faults.py` sees each of them happen), so one that does shows.
"""

from __future__ import annotations

import json
import threading
import time

import pytest

from extensions.chaos_injector.vocabulary import TYPES
from tests.extensions.chaos_injector.conftest import experiment
from tests.extensions.chaos_injector.injecting import Injecting
from tests.receivers.aws import AwsFake

pytestmark = pytest.mark.once

#: parameters where a type does not go without
NEEDED = {
    "delay": {"ms": 3_000}, "timeout": {"buffer_ms": 1_000}, "http_response": {"status_code": 503},
    "mutate_event": {"set": {"x": "changed"}}, "deadline_lie": {"offset_ms": 500_000}, "slow_stream": {"first_byte_ms": 3_000},
    "slow_init": {"ms": 3_000}, "cpu": {"duty_percent": 20}, "memory": {"mb": 50}, "tmp": {"mb": 50}, "inodes": {"count": 500},
    "descriptors": {"limit": 8}, "egress_latency": {"latency": 1_000}, "egress_bandwidth": {"rate": 1},
    "egress_slow_close": {"delay": 1_000}, "egress_slicer": {"average_size": 10}, "egress_limit": {"bytes": 10},
    "sink": {"action": "drop"}, "body": {"mode": "replace", "body": "other"},
}  # fmt: skip
EVERYTHING = [{"id": kind, "type": kind, "params": NEEDED.get(kind, {})} for kind in TYPES]
#: an experiment has 20 faults at most
HALVES = {"one half": EVERYTHING[::2], "the other half": EVERYTHING[1::2]}
#: a streamed response (test_streams), a runtime's own process (test_killed, test_resources)
WANT_MORE = ("cut_stream", "kill", "descriptors")
LASTING = [kind for kind, one in TYPES.items() if one.phase in ("resource", "egress", "telemetry")]


def everything(**fields):
    """The document for half of the types."""
    return lambda half: experiment(*half, **fields)


def each(**fields):
    """The same with these fields in every fault."""
    return lambda half: experiment(*({**table, **fields} for table in half))


def in_an_invocation(half):
    return {table["type"] for table in half if TYPES[table["type"]].phase != "init"}


def undisturbed(chaos, event=None):
    """The function is as it always is, and nothing is left."""
    event = event or {"x": 1}
    found = chaos.answer(event)
    assert found["event"] == event
    assert found["remaining_ms"] <= 10_000
    assert not chaos.audit("inject")
    assert chaos.is_clean(), (chaos.files(), chaos.helpers())
    return found


def changed(**changes):
    return lambda half: json.dumps({**json.loads(experiment(*half)), **changes})


#: name: the document, the environment, and what the log says (action, the beginning of a reason)
NOT_ARMED = {
    "expired": (everything(seconds=-5), {}, ("refuse", "armed_until")),
    "too far ahead": (everything(seconds=7_200), {}, ("refuse", "armed_until")),
    "no end": (changed(armed_until=None), {}, ("refuse", "armed_until")),
    "no JSON": (lambda half: "{" + experiment(*half), {}, ("refuse", "")),
    "unknown field": (everything(surprise=1), {}, ("refuse", "surprise")),
    "one fault is wrong": (lambda half: experiment(*half, ("delay", {"ms": -1})), {}, ("refuse", "faults[")),
    "another function": (everything(scope={"functions": ["other"]}), {}, ("refuse", "scope")),
    "another region": (everything(scope={"functions": ["*"], "regions": ["eu-west-1"]}), {}, ("refuse", "scope")),
    "denied": (everything(), {"CHAOS_DENY": "func*"}, ("refuse", "scope")),
    "production": (everything(), {"CHAOS_PROD": "^function$"}, ("refuse", "prod")),
    "CHAOS_OFF": (everything(), {"CHAOS_OFF": "1"}, ("refuse", "kill switch")),
    "FAILURE_LAMBDA_DISABLED": (everything(), {"FAILURE_LAMBDA_DISABLED": "true"}, ("refuse", "kill switch")),
    "a global switch that cannot be read": (everything(), {"CHAOS_GLOBAL_SWITCH": "/switch"}, ("refuse", "kill switch")),
}  # fmt: skip
#: name: the document; faults are asked for and each is spared, with this reason
SPARED = {
    "another alias": (everything(scope={"functions": ["*"], "aliases": ["canary"]}), "scope"),
    "another version": (everything(scope={"functions": ["*"], "versions": ["7"]}), "scope"),
    "another tenant": (everything(scope={"functions": ["*"], "tenants": ["blue"]}), "scope"),
    "percentage": (each(percentage=0), "percentage"),
    "max_injections": (everything(limits={"max_injections": 0}), "max_injections"),
    "max_per_minute": (everything(limits={"max_per_minute": 0}), "max_per_minute"),
    "no time": (everything(limits={"min_remaining_ms": 60_000}), "deadline"),
    "no match": (each(match=[{"path": "x", "value": "2"}]), "match"),
}  # fmt: skip


@pytest.fixture(params=HALVES)
def half(request):
    return HALVES[request.param]


@pytest.mark.parametrize("rail", NOT_ARMED)
def test_nothing_is_armed(start, half, rail):
    document, variables, (action, reason) = NOT_ARMED[rail]
    chaos = start(document(half), variables=variables)

    for _ in range(2):
        undisturbed(chaos)

    said = [line.get("reason", "") for line in chaos.audit(action)]
    assert said, chaos.lines
    assert any(reason in line for line in said), said
    assert not chaos.audit("arm")


@pytest.mark.parametrize("rail", SPARED)
def test_every_fault_is_spared(start, half, rail):
    document, reason = SPARED[rail]
    if rail == "no time":  # an init has no deadline
        half = [table for table in half if TYPES[table["type"]].phase != "init"]
    chaos = start(document(half))

    undisturbed(chaos)

    skipped = {line["type"]: line["reason"] for line in chaos.audit("skip") if "request_id" in line}
    assert set(skipped) == in_an_invocation(half)
    assert all(why.startswith(reason) for why in skipped.values()), skipped


def test_one_key_is_not_enough(start, half):
    """Without the first key: no proxy, no file, no line, whatever document there is."""
    chaos = start(everything()(half), enabled=False)

    found = undisturbed(chaos)

    assert found["api"] == "127.0.0.1:9001", "the runtime talks to the platform itself"
    assert chaos.files() == set()
    assert chaos.lines == []


def test_nor_is_the_other_one(start):
    """Without a document: the proxy is there, and looks at nothing."""
    chaos = start(None)

    found = undisturbed(chaos)

    assert found["api"] != "127.0.0.1:9001"
    assert chaos.audit("arm") == []


def test_dry_run(start, half):
    """What would happen is told, all of it, and nothing does."""
    chaos = start(everything(dry_run=True)(half))

    undisturbed(chaos)

    assert {line["type"] for line in chaos.audit("dry_run")} == {table["type"] for table in half}
    assert "active" not in chaos.files(), "the figures of metrics are not disturbed"


def test_it_expires_while_it_runs(start):
    chaos = start(experiment(("error", {}), seconds=2))
    assert chaos.invoke().function_error
    time.sleep(2.1)
    assert chaos.answer({"x": 1})["event"] == {"x": 1}
    assert chaos.actions()[-1] == "expire"
    assert chaos.is_clean()


@pytest.mark.parametrize("frozen_s", [200, 3_700, -100])
def test_thawed_with_an_old_lease(start, half, frozen_s):
    """Time has gone on while the environment was frozen; the first invocation after that must find the lease too old.

    The source is a file that has gone, so that nothing arms it anew.
    """
    half = [table for table in half if table["type"] not in ("slow_init", "fail_init", "timeout", "kill", "duplicate")]
    chaos = start(experiment(*half), source="file")
    chaos.invoke()
    assert chaos.audit("inject")
    before = len(chaos.audit("inject"))
    chaos.call(lambda: _remove("/tmp/.extension-kit/chaos-injector/experiment.json"))
    chaos.step_clock(frozen_s)
    chaos.environment.idle(30)

    result = chaos.invoke({"x": 1}, patience=60)

    assert json.loads(result.payload)["event"] == {"x": 1}
    assert len(chaos.audit("inject")) == before
    assert chaos.audit("expire", "disarm")
    assert chaos.is_clean(), (chaos.files(), chaos.helpers())


def test_restored_with_an_old_lease(start, half):
    """A snapshot was made while an experiment was armed, and is resumed an hour later."""
    chaos = start(experiment(*(table for table in half if not table["type"].endswith("_init"))), init_type="snap-start")
    chaos.environment.call(chaos.environment.platform.start)
    assert chaos.environment.idle(30)
    assert chaos.audit("arm")
    chaos.step_clock(3_600)

    result = chaos.invoke({"x": 1})

    assert not chaos.audit("inject"), result.payload
    assert json.loads(result.payload)["event"] == {"x": 1}
    assert chaos.is_clean()


def _remove(path):
    import os

    os.unlink(path)


class TestKillSwitches:
    """While everything that lasts goes on: from the switch to the end of all of it."""

    DOCUMENT = experiment(
        *(table for table in EVERYTHING if table["type"] in LASTING and table["type"] != "descriptors")
    )

    def running(self, start, **more):
        """An invocation that takes long, in the middle of which every lasting fault is on."""
        chaos = start(
            self.DOCUMENT, variables={"CHAOS_EGRESS": "1", "CHAOS_POLL": "1s", **more.pop("variables", {})}, **more
        )
        chaos.future = chaos.environment.invoke(json.dumps({"spend_ms": 5_000}).encode())
        deadline = time.monotonic() + 20
        while not chaos.has("fill", "inodes", "sinks.json") or len(chaos.helpers()) < 2:
            assert time.monotonic() < deadline, (chaos.files(), chaos.helpers(), chaos.lines)
            time.sleep(0.01)
        return chaos

    def clean_within(self, chaos, switch, seconds):
        began = time.monotonic()
        while not chaos.is_clean():
            assert time.monotonic() < began + seconds, (chaos.files(), chaos.helpers())
            time.sleep(0.005)
        print(f"from {switch} to clean, in the middle of an invocation: {(time.monotonic() - began) * 1000:.0f} ms")
        assert not chaos.future.done(), "it was cleaned because of the switch, not because the invocation was over"
        result = chaos.future.result(60)
        assert not result.function_error, result.payload
        before = len(chaos.audit("inject"))
        chaos.answer({"x": 1})
        assert len(chaos.audit("inject")) == before
        assert chaos.audit("clean")

    def test_the_file(self, start):
        chaos = self.running(start)
        chaos.write("off", "")
        self.clean_within(chaos, "the file", 5)

    def test_the_lease(self, start):
        chaos = self.running(start, source="file")
        chaos.call(lambda: _remove("/tmp/.extension-kit/chaos-injector/experiment.json"))
        self.clean_within(chaos, "the end of the document", 7)

    def test_the_global_switch(self, start):
        with AwsFake() as aws:
            aws.put_parameter("/chaos/switch", "on")
            variables = {
                "CHAOS_GLOBAL_SWITCH": "/chaos/switch", "EXTENSION_KIT_AWS_ENDPOINT_URL": aws.url,
                **{name: value for name, value in aws.environ().items() if name.startswith("AWS_")},
            }  # fmt: skip
            chaos = start(None, variables=variables)
            chaos.environment.shutdown()
            chaos = self.running(start, variables=variables)
            aws.put_parameter("/chaos/switch", "off: incident 4711")
            self.clean_within(chaos, "the global switch", 7)

    def test_the_variable(self, start):
        """A change of configuration makes new environments; in the old one nothing changes. In a new one nothing is armed."""
        chaos = start(self.DOCUMENT, variables={"CHAOS_OFF": "incident 4711"})
        undisturbed(chaos)

    @pytest.mark.parametrize("kind", [kind for kind in TYPES if TYPES[kind].phase != "init" and kind not in WANT_MORE])
    def test_time_from_the_file_to_clean_by_type(self, tmp_path, kind):
        """In this process: the switch is thrown while the fault is on, or while it holds the invocation."""
        one = Injecting(tmp_path, experiment((kind, NEEDED.get(kind, {}))))
        try:
            took = self.switched(one, tmp_path)
        finally:
            one.close()
        print(f"{kind}: {took * 1000:.0f} ms")
        assert took < 5

    @staticmethod
    def switched(one, folder):
        from extensions.chaos_injector.faults import resources
        from extensions.chaos_injector.faults.egress import Egress
        from tests.proxying import OK, event

        egress = one.injector._egress = Egress()
        egress.listen()
        try:
            one.runtime.ask()
            platform = one.upstream.accept()
            platform.message()
            fields = ((b"Lambda-Runtime-Deadline-Ms", b"%d" % (int(time.time() * 1000) + 60_000)),)
            platform.send(event(b"r-1", b'{"x":1}', fields))
            runtime = threading.Thread(target=_answer, args=(one.runtime,))
            runtime.start()
            deadline = time.monotonic() + 10
            while not one.audit("inject", "unable") and time.monotonic() < deadline:
                time.sleep(0.005)
            assert one.audit("inject"), one.lines
            (folder / "off").write_text("")
            began = time.monotonic()
            try:
                platform.message()  # its answer, whatever that is, must come at once
            except Exception:  # noqa: BLE001 - cut
                pass
            while one.injector.busy:
                assert time.monotonic() < began + 10
                time.sleep(0.002)
            took = time.monotonic() - began
            stopped = [line["reason"] for line in one.audit("unable")]  # where it had not taken all yet
            assert all(why == resources._STOPPED or why.endswith("a switch was thrown") for why in stopped), one.lines
            platform.send(OK)
            return took
        finally:
            one.runtime.sock.shutdown(2)
            egress.close()
            runtime.join(20)


def _answer(runtime):
    try:
        while True:
            runtime.message()
            runtime.post(b"r-1", b'{"statusCode":200,"body":"x"}')
            runtime.message()
            runtime.ask()
    except Exception:  # noqa: BLE001 - the runtime is killed, cut off, or never has an event
        pass
