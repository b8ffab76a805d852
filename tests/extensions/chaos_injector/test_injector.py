"""Several faults at once, several invocations at once, and events that are not what a fault needs: byte by byte."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from extensions.chaos_injector.faults import before
from extensions.chaos_injector.faults.before import draw_ms
from extensions.chaos_injector.faults.egress import Egress
from extensions.chaos_injector.faults.process import Killer
from extensions.chaos_injector.injector import AFTER, BEFORE
from extensions.chaos_injector.plan import Fault
from extensions.chaos_injector.vocabulary import TYPES
from tests.extensions.chaos_injector.conftest import experiment
from tests.extensions.chaos_injector.injecting import Injecting
from tests.extensions.chaos_injector.test_resources import state
from tests.proxying import OK, Runtime, event, posted


def deadline(ms=60_000):
    return ((b"Lambda-Runtime-Deadline-Ms", b"%d" % (int(time.time() * 1000) + ms)),)


@pytest.fixture
def armed(tmp_path):
    made = []

    def armed(*faults, **fields):
        one = Injecting(tmp_path, experiment(*faults, **fields))
        made.append(one)
        one.runtime.ask()
        one.platform = one.upstream.accept()
        one.platform.message()
        return one

    yield armed
    for one in made:
        one.close()


def respond(one, body=b'{"statusCode":200,"body":"fine"}', request_id=b"r-1"):
    """The runtime answers; what the platform is told."""
    one.runtime.post(request_id, body)
    message = one.platform.message()
    one.platform.send(OK)
    assert one.runtime.message().head.status == 202
    return message


def made(one):
    return [line["type"] for line in one.audit("inject")]


def test_every_type_has_its_place_in_the_order():
    assert set(BEFORE) | set(AFTER) | {"slow_init", "fail_init"} == set(TYPES)
    assert len(set(BEFORE)) == len(BEFORE)
    told = ["delay", "timeout", "tmp", "egress_dns", "http_response", "error"]
    assert [kind for kind in BEFORE if kind in told] == told, "failure-lambda's order"


def test_several_at_once_in_the_fixed_order(armed):
    """Whatever the order in the document; each one has its effect."""
    one = armed(
        ("body", {"mode": "failure_lambda", "body": "other"}), ("status_code", {"status_code": 500}),
        ("deadline_lie", {"offset_ms": 1}), ("mutate_event", {"set": {"b": 2}}), ("mutate_event", {"set": {"c": 3}}),
        ("tmp", {"mb": 1}), ("delay", {"ms": 100}),
    )  # fmt: skip
    one.platform.send(event(b"r-1", b'{"a":1}', deadline(60_000)))
    began = time.monotonic()
    message = one.runtime.message()

    assert time.monotonic() - began >= 0.09
    assert json.loads(message.body) == {"a": 1, "b": 2, "c": 3}
    assert json.loads(respond(one).body) == {"statusCode": 500, "body": "other"}
    assert made(one) == ["delay", "tmp", "mutate_event", "mutate_event", "deadline_lie", "status_code", "body"]


def test_the_first_answer_is_the_last_word(armed):
    """What comes behind it is not even asked for, so that neither log nor limits say it had happened."""
    one = armed(
        ("error", {}), ("http_response", {"status_code": 503}), ("kill", {}), ("status_code", {}), ("delay", {"ms": 1})
    )
    one.platform.send(event(b"r-1", b"{}", deadline()))
    message = one.platform.message()
    one.platform.send(OK)

    assert message.head.target == posted(b"r-1")
    assert json.loads(message.body)["statusCode"] == 503
    assert one.platform.message().head.target.endswith(b"/next"), "the runtime goes on waiting, and has seen nothing"
    assert made(one) == ["delay", "http_response"]
    assert not one.audit("skip")


def test_an_error_is_told_as_the_runtimes_own_would_be(armed):
    one = armed(("error", {"error_type": "Custom.Broken", "message": "by hand"}))
    one.platform.send(event(b"r-1", b"{}", deadline()))
    message = one.platform.message()

    assert message.head.target == posted(b"r-1", b"error")
    assert message.head.headers.get(b"lambda-runtime-function-error-type") == b"Custom.Broken"
    assert json.loads(message.body) == {"errorType": "Custom.Broken", "errorMessage": "by hand", "stackTrace": []}


@pytest.mark.parametrize(
    ("fault", "body", "why"),
    [
        (("mutate_event", {"set": {"a": 1}}), b"no JSON", "the event is no JSON"),
        (("mutate_event", {"set": {"a": 1}}), b"[" * 100_000, "the event is no JSON"),
        (("mutate_event", {"set": {"a.b": 1}}), b'"text"', "the event has no place for a"),
        (("mutate_event", {"set": {"9": 1}}), b"[1]", "the event has no place for 9"),
        (("deadline_lie", {"offset_ms": 1}), b"{}", "the event has no deadline"),
        (("timeout", {}), b"{}", "the event has no deadline"),
    ],
)
def test_an_event_that_is_not_made_for_it(armed, fault, body, why):
    """It passes as it is, to the byte, and the log says why."""
    one = armed(fault)
    one.platform.send(event(b"r-1", body, ()))

    assert one.runtime.message().body == body
    (line,) = one.audit("unable")
    assert line["reason"] == why
    assert line["request_id"] == "r-1"
    assert respond(one, b"fine").body == b"fine"
    assert one.troubles == []


@pytest.mark.parametrize("body", [b"no JSON", b"[1]", b'"x"', b""])
def test_a_response_that_is_not_made_for_it(armed, body):
    one = armed(("status_code", {"status_code": 500}))
    one.platform.send(event(b"r-1", b"{}", deadline()))
    one.runtime.message()

    assert respond(one, body).body == body
    assert one.audit("unable")[0]["reason"] == "the response is no object, which has a statusCode"


def test_conditions_on_the_event_hold_for_faults_of_the_response(armed):
    """Whose turn comes when the event has long gone to the runtime."""
    match = [{"path": "user.id", "operator": "eq", "value": "7"}]
    one = armed({"type": "status_code", "params": {"status_code": 500}, "match": match})
    for request_id, user, status in ((b"r-1", 7, 500), (b"r-2", 8, 200)):
        one.platform.send(event(request_id, b'{"user":{"id":%d}}' % user, deadline()))
        assert one.runtime.message().body == b'{"user":{"id":%d}}' % user
        assert json.loads(respond(one, request_id=request_id).body)["statusCode"] == status
        one.runtime.ask()
        one.platform.message()


def test_a_delay_is_no_longer_than_the_experiment_allows(armed):
    one = armed(("delay", {"ms": 60_000}), limits={"max_fraction_of_deadline": 0.1})
    one.platform.send(event(b"r-1", b"{}", deadline(2_000)))
    began = time.monotonic()
    one.runtime.message()
    assert 0.1 <= time.monotonic() - began < 15


@pytest.mark.parametrize("phase", ["before", "after"])
def test_a_delay_ends_with_its_own_experiment(armed, phase):
    """Although another one is armed by then."""
    slow = ("delay", {"ms": 60_000}) if phase == "before" else ("slow_stream", {"first_byte_ms": 60_000})
    one = armed(slow, limits={"max_fraction_of_deadline": 1})
    one.platform.send(event(b"r-1", b"{}", deadline(300_000)))
    if phase == "after":
        one.runtime.message()
        one.runtime.post(b"r-1", b"fine")
    limit = time.monotonic() + 20
    while not one.audit("inject"):
        assert time.monotonic() < limit
        time.sleep(0.01)
    one.rails.documented(experiment(("error_after", {}), id="next").encode(), "tests")
    assert one.rails.now().id == "next"

    if phase == "before":
        assert one.runtime.message().body == b"{}"  # or the limit of its socket ends this
    else:
        assert one.platform.message().body == b"fine"


def test_delays_together_are_no_longer_than_the_experiment_allows(monkeypatch):
    """The second has what the first has left of the invocation's time, not as much again."""
    now_ms, pauses = 1_000_000, []

    def pause(ms, _is_on):
        nonlocal now_ms
        now_ms += round(ms)
        pauses.append(round(ms))

    monkeypatch.setattr(before, "pause", pause)
    invocation = Asked("r-1")
    invocation.deadline_ms = now_ms + 10_000
    one = before.Event(invocation, "seed", 0.5, lambda: now_ms, lambda: True)
    for ms in (2_000, 60_000, 60_000):
        one.make(Fault("delay", "delay", "before", 100, (), {"distribution": "fixed", "ms": ms}))
    assert pauses == [2_000, 3_000, 0]


def test_invocations_side_by_side(armed):
    """As on Managed Instances: one that is held back holds back no other, and what they share ends with the last of them."""
    match = [{"path": "slow", "operator": "exists"}]
    one = armed({"type": "delay", "params": {"ms": 3_000}, "match": match}, ("tmp", {"mb": 1}))
    other = Runtime(one.runtime.sock.getpeername()[1])
    try:
        other.ask()
        second = one.upstream.accept()
        second.message()
        one.platform.send(event(b"slow", b'{"slow":1}', deadline()))
        began = time.monotonic()
        second.send(event(b"quick", b"{}", deadline()))
        assert other.message().body == b"{}"
        other.post(b"quick", b"1")
        assert second.message().body == b"1"
        second.send(OK)
        assert other.message().head.status == 202
        assert time.monotonic() - began < 2.5, "the slow one is still being held back"
        assert one.runtime.message().body == b'{"slow":1}'
        until_busy(one)
        assert respond(one, b"2", b"slow").body == b"2"
        one.runtime.ask()
        one.platform.message()
        assert not one.resources.busy
    finally:
        other.close()


def until_busy(one):
    limit = time.monotonic() + 10
    while not one.resources.busy:
        assert time.monotonic() < limit
        time.sleep(0.005)


def one_event(one, request_id=b"r-1", body=b"{}"):
    """The platform has an event for the runtime, which gets it."""
    one.platform.send(event(request_id, body, deadline()))
    return one.runtime.message()


def next_event(one, request_id, body=b"{}"):
    one.runtime.ask()
    one.platform.message()
    return one_event(one, request_id, body)


def wait_for(condition):
    limit = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < limit
        time.sleep(0.005)
    return found


class TestWhatLasts:
    """It belongs to its invocation."""

    @staticmethod
    def kills(one):
        """What is done to the runtime, which is none here."""
        one.injector._killer.kill = lambda signal: killed.append(signal) or ""
        killed = []
        return killed

    def test_a_signal_that_is_due_later(self, armed):
        one = armed(("kill", {"after_ms": 100, "signal": "TERM"}))
        killed = self.kills(one)
        one_event(one)
        wait_for(lambda: killed)
        assert killed == ["TERM"]
        assert not one.audit("unable")

    def test_a_signal_after_its_invocation_hits_nobody(self, armed):
        """Nor does it the next one, even where that is the same request once more; and the log takes its word back."""
        one = armed(
            {"type": "kill", "params": {"after_ms": 60_000}, "match": [{"path": "first", "operator": "exists"}]}
        )
        killed = self.kills(one)
        one_event(one, b"r-1", b'{"first":1}')
        respond(one)
        next_event(one, b"r-1", b"{}")

        (line,) = wait_for(lambda: one.audit("unable"))

        assert (line["reason"], line["request_id"]) == ("the invocation had ended before that", "r-1")
        assert line["experiment"] == "test"
        assert not killed

    def test_a_signal_after_the_experiment_hits_nobody(self, armed, tmp_path):
        one = armed(("kill", {"after_ms": 60_000}))
        killed = self.kills(one)
        one_event(one)
        (tmp_path / "off").write_text("")
        (line,) = wait_for(lambda: one.audit("unable"))
        assert line["reason"] == "the experiment had ended before that"
        assert not killed

    def test_a_runtime_that_was_stopped_goes_on_when_all_is_off(self, armed, tmp_path):
        runtime = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            one = armed(("kill", {"signal": "STOP"}))
            one.injector._killer = Killer(f"{tmp_path}/kills", lambda: 1, lambda: runtime.pid)
            one_event(one)
            wait_for(lambda: state(runtime.pid) == "T")
            (tmp_path / "off").write_text("")
            wait_for(lambda: state(runtime.pid) in "SR")
            assert not one.injector.busy
        finally:
            runtime.kill()
            runtime.wait(10)

    def test_faults_of_outgoing_requests(self, armed):
        one = armed(("egress_latency", {"hosts": ["*"], "latency": 1}))
        egress = one.injector._egress = Egress()
        egress.listen()
        try:
            one_event(one)
            assert egress.faults_for("h")
            respond(one)
            one.runtime.ask()
            one.platform.message()
            assert not egress.busy
            assert not egress.faults_for("h")
        finally:
            egress.close()

    def test_what_takes_long_leaves_the_invocation_its_time(self, armed):
        """`min_remaining_ms` is looked at while files are made, too."""
        one = armed(("inodes", {"count": 50}), limits={"min_remaining_ms": 5_000})
        late = one.injector._clock.wall_ms() + 59_000

        class Late:
            wall_ms = staticmethod(lambda: late)

        one.injector._clock = Late
        one_event(one)
        assert one.audit("unable")[0]["reason"] == "there was no time for more than 0 files, or a switch was thrown"
        assert not one.resources.busy

    def test_what_is_switched_off_while_it_begins(self, armed, tmp_path, monkeypatch):
        """It ends before the function has its event, and not when somebody looks."""
        one = armed(("tmp", {"mb": 1}))
        monkeypatch.setattr(one.injector, "_look_after", lambda: None)
        begin = one.resources.begin

        def switched(*arguments):
            why = begin(*arguments)
            (tmp_path / "off").write_text("")
            return why

        monkeypatch.setattr(one.resources, "begin", switched)
        one_event(one)
        assert not list(tmp_path.glob("fill*"))
        assert one.audit("clean")


@pytest.mark.parametrize("spared", [False, True])
def test_failures_of_invocations_that_were_hit_are_not_the_guards(armed, spared):
    """They fail because of the experiment; those that were left alone end it."""
    match = [{"path": "hit", "operator": "exists"}]
    guard = {"abort_error_rate": 0.5, "min_requests": 3}
    one = armed({"type": "delay", "params": {"ms": 0}, "match": match}, guard=guard)
    for number in range(5):
        body = b"{}" if spared else b'{"hit":1}'
        (next_event if number else one_event)(one, b"r-%d" % number, body)
        one.runtime.post(b"r-%d" % number, b"{}", what=b"error")
        one.platform.message()
        one.platform.send(OK)
        one.runtime.message()
    one.runtime.ask()
    one.platform.message()
    assert [line["action"] for line in one.audit("abort")] == (["abort"] if spared else [])
    assert len(one.audit("inject")) == (0 if spared else 5)


def test_a_request_decides_the_same_whoever_asks(tmp_path):
    """A thousand requests, twice, in two environments: the same ones are hit."""
    hits = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        one = Injecting(folder, experiment({"type": "delay", "params": {"ms": 0}, "percentage": 30}))
        try:
            fault = one.rails.now().faults[0]
            hits.append([one.rails.decide(fault, Asked(f"request-{n}"), dict) for n in range(1_000)])
        finally:
            one.close()
    assert hits[0] == hits[1]
    assert 240 < sum(hits[0]) < 360


class Asked:
    def __init__(self, request_id):
        self.request_id = request_id
        self.deadline_ms = 0
        self.function_arn = self.tenant_id = ""


@pytest.mark.parametrize(
    ("params", "least", "most", "middle"),
    [
        ({"distribution": "fixed", "ms": 70}, 70, 70, 70),
        ({"distribution": "uniform", "min_ms": 100, "max_ms": 300}, 100, 300, 200),
        ({"distribution": "normal", "mean_ms": 500, "deviation_ms": 100}, 0, 1_200, 500),
        ({"distribution": "normal", "mean_ms": 0, "deviation_ms": 100}, 0, 600, 0),
        ({"distribution": "pareto", "scale_ms": 100, "shape": 2}, 100, 4_000, 141),
    ],
)
def test_distributions(params, least, most, middle):
    drawn = sorted(draw_ms(params, number / 1_000) for number in range(1_000))
    assert least <= drawn[0]
    assert drawn[-1] <= most
    assert drawn[500] == pytest.approx(middle, rel=0.08, abs=12)


def test_a_unit_at_its_ends_is_drawn_from():
    for unit in (0.0, 1 - 2**-53):
        for params in (
            {"distribution": "normal", "mean_ms": 500, "deviation_ms": 100},
            {"distribution": "pareto", "scale_ms": 100, "shape": 0.1},
        ):
            assert draw_ms(params, unit) >= 0
