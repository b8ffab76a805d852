"""Formats: ours in JSON and TOML, and the documented examples and semantics of failure-lambda, FIS and aws-cli-tools."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector.matching import host_matches
from extensions.chaos_injector.plan import Match, Refused, render
from extensions.chaos_injector.readers.fis import duration_ms
from extensions.chaos_injector.vocabulary import TYPES
from tests.extensions.chaos_injector.rails_bench import NOW_MS, Bench, Invocation, document, experiment_of, fault

UNTIL = {"CHAOS_ARMED_UNTIL": format_ms(NOW_MS + 600_000)}


def refusal(fields, **variables):
    with pytest.raises(Refused) as caught:
        experiment_of(fields, **variables)
    return "\n".join(caught.value.lines)


# ours ------------------------------------------------------------------------------------------------------------------

TOML = b"""
version = 1
id = "slow-checkout"
owner = "jane@example.com"
armed_until = 2026-11-29T11:50:00+01:00
lease_s = 60
seed = 42
scope = { functions = ["checkout-*"], aliases = ["beta"], deny = { tenants = ["vip"] } }

[limits]
max_injections = 20

[guard]
abort_error_rate = 0.2

[[faults]]
type = "delay"
percentage = 2.5
params = { distribution = "uniform", min_ms = 100, max_ms = 400 }
match = [{ path = "headers.x-test", operator = "exists" }, { path = "a", value = "1" }]

[[faults]]
id = "no-s3"
type = "egress_refuse"
percentage = 100
params = { hosts = ["s3.*"] }
"""


def test_toml():
    experiment, notes = experiment_of(TOML)
    assert (experiment.id, experiment.owner, experiment.armed_until_ms, experiment.lease_ms, experiment.seed) == (
        "slow-checkout", "jane@example.com", NOW_MS + 600_000, 60_000, "42",
    )  # fmt: skip
    assert experiment.scope.allow.aliases == ("beta",)
    assert experiment.scope.deny.tenants == ("vip",)
    assert (experiment.limits.max_injections, experiment.guard.abort_error_rate) == (20, 0.2)
    delay, refuse = experiment.faults
    assert (delay.id, delay.phase, delay.percentage) == ("delay", "before", 2.5)
    assert delay.match == (Match("headers.x-test", "exists"), Match("a", "eq", "1"))
    assert delay.params["min_ms"] == 100
    assert delay.params["shape"] == 1.5  # what is not given has its default
    assert (refuse.id, refuse.phase, dict(refuse.params)) == ("no-s3", "egress", {"hosts": ("s3.*",)})
    assert notes == []


def test_what_is_written_reads_the_same():
    experiment, _ = experiment_of(TOML)
    again, _ = experiment_of(render(experiment))
    assert again == experiment


NEEDED = {
    "slow_init": {"ms": 5}, "mutate_event": {"set": {"a.b": [1, None]}}, "deadline_lie": {"offset_ms": -5},
    "slow_stream": {"chunk_ms": 1}, "memory": {"mb": 1}, "tmp": {"leave_mb": 20}, "inodes": {"count": 5},
    "descriptors": {"limit": 9},
    "egress_latency": {"latency": 5}, "egress_bandwidth": {"rate": 5}, "egress_slow_close": {"delay": 5},
    "egress_slicer": {"average_size": 10}, "egress_limit": {"bytes": 5}, "sink": {"action": "drop"},
}  # fmt: skip


@pytest.mark.parametrize("type", TYPES)
def test_every_type_reads_with_what_it_needs_and_comes_back(type):
    """Its parameters complete, its phase the table's."""
    experiment, _ = experiment_of(document(fault(type, 50, params=NEEDED.get(type, {}))))
    (one,) = experiment.faults
    assert one.phase == TYPES[type].phase
    assert list(one.params) == list(TYPES[type].params)
    assert experiment_of(render(experiment))[0] == experiment


@pytest.mark.parametrize("fields", [{"off": True}, {"version": 1, "off": True, "description": "x"}, document(off=True)])
def test_off_says_that_nothing_is_armed(fields):
    assert experiment_of(fields) == (None, [])


def test_off_is_no_excuse_for_a_mistake():
    assert "versio is not known" in refusal(document(off=True, versio=1))


names = st.text("abcdef*-", min_size=1, max_size=8).filter(lambda name: name.count("*") < 6)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        document,
        st.builds(fault, percentage=st.floats(0, 100), params=st.builds(lambda ms: {"ms": ms}, st.integers(0, 900_000))),
        id=st.text("abc.-_9", min_size=1, max_size=64), owner=st.text(min_size=1, max_size=20), dry_run=st.booleans(),
        lease_s=st.integers(10, 180), seed=st.integers(-1 << 60, 1 << 60) | st.text("xyz", min_size=1, max_size=64),
        scope=st.fixed_dictionaries(
            {"functions": st.lists(names, min_size=1, max_size=3)},
            optional={"tenants": st.lists(names), "allow_prod": st.booleans()},
        ),
    )
)  # fmt: skip
def test_any_good_document_comes_back(fields):
    """`render` and reading are each other's inverse."""
    experiment, _ = experiment_of(fields)
    assert experiment_of(render(experiment))[0] == experiment


# failure-lambda --------------------------------------------------------------------------------------------------------

#: the example of its README, "Create the SSM parameter"
README_EXAMPLE = {
    "latency": {"enabled": False, "min_latency": 100, "max_latency": 400},
    "exception": {"enabled": False, "exception_msg": "Exception message!"},
    "statuscode": {"enabled": False, "status_code": 404},
    "diskspace": {"enabled": False, "disk_space": 100},
    "denylist": {"enabled": False, "deny_list": ["s3.*.amazonaws.com", "dynamodb.*.amazonaws.com"]},
    "timeout": {"enabled": False, "timeout_buffer_ms": 500},
    "corruption": {"enabled": False, "body": '{"error": "corrupted"}'},
}


def enabled(*modes, **more):
    return {mode: {**flag, "enabled": not modes or mode in modes, **more} for mode, flag in README_EXAMPLE.items()}


def test_its_example_arms_nothing_until_a_flag_is_enabled():
    assert experiment_of(README_EXAMPLE) == (None, [])


def test_its_order_is_kept():
    """Latency, timeout, disk space, deny list, status code, exception; then what comes after the handler."""
    experiment, notes = experiment_of(enabled(), **UNTIL)
    assert [one.id for one in experiment.faults] == [
        "latency", "timeout", "diskspace", "denylist", "statuscode", "exception", "corruption",
    ]  # fmt: skip
    assert [one.phase for one in experiment.faults] == [
        "before", "before", "resource", "egress", "before", "before", "after",
    ]  # fmt: skip
    assert {one.percentage for one in experiment.faults} == {100.0}
    assert notes == []
    assert (experiment.owner, experiment.scope.allow.functions, experiment.armed_until_ms) == (
        "failure-lambda", ("*",), NOW_MS + 600_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "flag", "type", "params"),
    [
        ("latency", {"min_latency": 100, "max_latency": 400}, "delay",
         {"distribution": "uniform", "min_ms": 100, "max_ms": 400}),
        ("latency", {}, "delay", {"distribution": "uniform", "min_ms": 0, "max_ms": 0}),
        ("latency", {"min_latency": 100}, "delay", {"min_ms": 100, "max_ms": 100}),
        ("latency", {"max_latency": 99.7}, "delay", {"min_ms": 0, "max_ms": 99}),
        ("timeout", {}, "timeout", {"buffer_ms": 0}),
        ("timeout", {"timeout_buffer_ms": 500}, "timeout", {"buffer_ms": 500}),
        ("diskspace", {}, "tmp", {"mb": 100, "leave_mb": 0}),
        ("diskspace", {"disk_space": 10_240}, "tmp", {"mb": 10_240}),
        ("denylist", {"deny_list": ["s3.*.amazonaws.com"]}, "egress_dns", {"hosts": ("re:s3.*.amazonaws.com",)}),
        ("statuscode", {}, "http_response", {"status_code": 500, "body": '{"message":"Injected status code 500"}'}),
        ("statuscode", {"status_code": 404}, "http_response", {"status_code": 404, "content_type": "application/json"}),
        ("exception", {}, "error", {"error_type": "FailureLambdaException", "message": "Injected exception"}),
        ("exception", {"exception_msg": "no"}, "error", {"error_type": "FailureLambdaException", "message": "no"}),
        ("corruption", {}, "body", {"mode": "failure_lambda", "body": ""}),
        ("corruption", {"body": "x"}, "body", {"mode": "failure_lambda", "body": "x"}),
    ],
)  # fmt: skip
def test_its_modes(mode, flag, type, params):
    experiment, _ = experiment_of({mode: {"enabled": True, **flag}}, **UNTIL)
    (one,) = experiment.faults
    assert one.type == type
    assert {name: one.params[name] for name in params} == params


@pytest.mark.parametrize(
    ("mode", "flag", "says"),
    [
        ("latency", {"min_latency": -1}, "latency.min_latency = -1"),
        ("latency", {"min_latency": "1"}, 'latency.min_latency = "1"'),
        ("latency", {"min_latency": 5, "max_latency": 4}, "at least min_latency, 5"),
        ("latency", {"percentage": 101}, "latency.percentage = 101"),
        ("latency", {"percentage": 1.5}, "latency.percentage = 1.5"),
        ("latency", {"enabled": "true"}, 'latency.enabled = "true"'),
        ("latency", {"enabled": None}, "latency.enabled = null"),
        ("statuscode", {"status_code": 99}, "from 100 to 599"),
        ("statuscode", {"status_code": 600}, "from 100 to 599"),
        ("diskspace", {"disk_space": 0}, "from 1 to 10240"),
        ("diskspace", {"disk_space": 10_241}, "from 1 to 10240"),
        ("denylist", {"deny_list": ["("]}, "deny_list[0]"),
        ("denylist", {"deny_list": ["(a+)+"]}, "inside a repetition"),
        ("denylist", {"deny_list": ["x" * 513]}, "longer than 512"),
        ("denylist", {"deny_list": "s3"}, 'denylist.deny_list = "s3"'),
        ("exception", {"exception_msg": 5}, "exception.exception_msg = 5"),
        ("corruption", {"body": {}}, "corruption.body"),
        ("timeout", {"timeout_buffer_ms": -1}, "timeout.timeout_buffer_ms = -1"),
        ("timeout", {"match": {}}, "timeout.match"),
        ("timeout", {"match": [{"path": "a", "operator": "like", "value": "x"}]}, "match[0].operator"),
        ("timeout", {"match": [{"path": "a"}]}, "match[0].value is missing"),
    ],
)
def test_a_flag_that_is_wrong_is_skipped_and_the_others_are_kept(mode, flag, says):
    other = "exception" if mode != "exception" else "latency"
    experiment, notes = experiment_of({mode: {"enabled": True, **flag}, other: {"enabled": True}}, **UNTIL)
    assert [one.id for one in experiment.faults] == [other]
    assert any(says in note and f"the flag {mode} is skipped" in note for note in notes), notes


def test_a_flag_that_is_no_object_is_skipped():
    experiment, notes = experiment_of({"latency": True, "exception": {"enabled": True}}, **UNTIL)
    assert [one.id for one in experiment.faults] == ["exception"]
    assert "latency = true" in notes[0]


def test_flags_that_it_does_not_know_are_not_looked_at():
    """AppConfig's feature flags may hold others."""
    fields = {"new-checkout": {"enabled": True}, "exception": {"enabled": True, "_createdAt": "x"}}
    assert [one.id for one in experiment_of(fields, **UNTIL)[0].faults] == ["exception"]


def test_null_is_what_is_not_given():
    """As its source has it; but for whether a flag is enabled."""
    fields = {
        "latency": {"enabled": True, "percentage": None, "min_latency": 1, "max_latency": None, "match": None},
        "exception": {"enabled": True, "exception_msg": None}, "statuscode": {"enabled": None},
    }  # fmt: skip
    experiment, notes = experiment_of(fields, **UNTIL)
    assert [(one.id, one.percentage, one.match) for one in experiment.faults] == [
        ("latency", 100.0, ()), ("exception", 100.0, ()),
    ]  # fmt: skip
    assert experiment.faults[1].params["message"] == "Injected exception"
    assert [note.split(" = ")[0] for note in notes] == ["statuscode.enabled"]


def test_of_a_condition_it_looks_at_what_it_knows():
    match = [{"path": "a", "operator": None, "value": "1", "comment": "x"}]
    (one,) = experiment_of({"exception": {"enabled": True, "match": match}}, **UNTIL)[0].faults
    assert one.match == (Match("a", "eq", "1"),)


def test_an_empty_deny_list_denies_nothing():
    experiment, notes = experiment_of({"denylist": {"enabled": True}}, **UNTIL)
    assert experiment is None
    assert "no host is denied" in notes[0]


def test_its_deny_list_lets_others_pass():
    (one,) = experiment_of(enabled("denylist"), **UNTIL)[0].faults
    assert host_matches(one.params["hosts"], "s3.eu-west-1.amazonaws.com")
    assert not host_matches(one.params["hosts"], "sqs.eu-west-1.amazonaws.com")


#: the example of its README, "Event-Based Targeting", and that of "Match Operators"
TARGETED = {
    "corruption": {
        "enabled": True, "percentage": 30, "body": '{"error": "corrupted"}',
        "match": [{"path": "requestContext.http.method", "value": "GET"}, {"path": "requestContext.stage", "value": "prod"}],
    }
}  # fmt: skip
OPERATORS = {
    "latency": {
        "enabled": True, "percentage": 100, "min_latency": 200, "max_latency": 500,
        "match": [
            {"path": "requestContext.http.path", "operator": "startsWith", "value": "/api"},
            {"path": "headers.x-debug", "operator": "exists"},
            {"path": "requestContext.http.method", "operator": "regex", "value": "^(GET|HEAD)$"},
        ],
    }
}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "event", "expected"),
    [
        (TARGETED, {"requestContext": {"http": {"method": "GET"}, "stage": "prod"}}, True),
        (TARGETED, {"requestContext": {"http": {"method": "POST"}, "stage": "prod"}}, False),
        (TARGETED, {"requestContext": {"http": {"method": "GET"}, "stage": "beta"}}, False),
        (TARGETED, {}, False),
        (
            OPERATORS,
            {"requestContext": {"http": {"method": "GET", "path": "/api/x"}}, "headers": {"x-debug": ""}},
            True,
        ),
        (OPERATORS, {"requestContext": {"http": {"method": "GET", "path": "/api/x"}}, "headers": {}}, False),
        (
            OPERATORS,
            {"requestContext": {"http": {"method": "PUT", "path": "/api/x"}}, "headers": {"x-debug": "1"}},
            False,
        ),
        (OPERATORS, {"requestContext": {"http": {"method": "HEAD", "path": "/x"}}, "headers": {"x-debug": "1"}}, False),
    ],
)
def test_its_targeting(tmp_path, fields, event, expected):
    """At the level of decisions: of a thousand requests that match, as many as the percentage says; of others, none."""
    bench = Bench(tmp_path, **UNTIL)
    bench.give(fields)
    happened = sum(bench.decide(Invocation(f"r-{at}"), event=lambda: event) for at in range(1_000))
    percentage = next(iter(fields.values()))["percentage"]
    assert happened == (pytest.approx(percentage * 10, abs=60) if expected else 0)
    if not expected:
        assert bench.counters["skip_match"] == 1_000


def test_its_percentages_are_rolled_one_by_one(tmp_path):
    bench = Bench(tmp_path, **UNTIL)
    experiment = bench.give(enabled("latency", "exception", percentage=50))
    rolled = [tuple(bench.decide(Invocation(f"r-{at}"), one) for one in experiment.faults) for at in range(400)]
    assert {(True, True), (True, False), (False, True), (False, False)} == set(rolled)


def test_without_an_end_it_is_refused():
    """It has none of its own, and the line says how to give it one."""
    line = refusal(enabled("latency"))
    assert "CHAOS_ARMED_UNTIL is not set" in line
    assert "at most 3600 s ahead" in line
    assert "no more than 3600 s ahead" in refusal(enabled("latency"), CHAOS_ARMED_UNTIL=format_ms(NOW_MS + 7_200_000))
    assert 'CHAOS_ARMED_UNTIL = "tomorrow"' in refusal(enabled("latency"), CHAOS_ARMED_UNTIL="tomorrow")


# FIS -------------------------------------------------------------------------------------------------------------------


def action(kind, **parameters):
    return {
        "actionId": f"aws:lambda:invocation-{kind}", "parameters": {"duration": "PT10M", **parameters},
        "targets": {"Functions": "f"},
    }  # fmt: skip


def fis(start_ms=NOW_MS, **actions):
    named = {name.replace("_", "-"): one for name, one in actions.items()}
    started = {"startTime": format_ms(start_ms)} if start_ms else {}
    return {"description": "x", "targets": {}, "stopConditions": [], **started, "actions": named}


@pytest.mark.parametrize(
    ("one", "type", "percentage", "params"),
    [
        (action("add-delay"), "delay", 100, {"distribution": "fixed", "ms": 1_000}),
        (action("add-delay", startupDelayMilliseconds="2000", invocationPercentage="25"), "delay", 25, {"ms": 2_000}),
        (action("add-delay", startupDelayMilliseconds=900_000), "delay", 100, {"ms": 900_000}),
        (action("error", preventExecution="true"), "error", 100, {}),
        (action("error", preventExecution=False, invocationPercentage=1), "error_after", 1, {}),
        (action("http-integration-response", preventExecution="true", statusCode="503"), "http_response", 100,
         {"status_code": 503, "content_type": "application/json"}),
        (action("http-integration-response", preventExecution="true", statusCode="000", contentTypeHeader="text/html"),
         "http_response", 100, {"status_code": 0, "content_type": "text/html"}),
        (action("http-integration-response", preventExecution="true"), "http_response", 100, {"status_code": 200}),
        (action("http-integration-response", preventExecution="false", statusCode=999), "body", 100, {"mode": "replace"}),
    ],
)  # fmt: skip
def test_fis_actions(one, type, percentage, params):
    """Names, defaults and ranges of the actions reference; numbers as texts, as FIS writes them."""
    for fields in (
        fis(the_one=one),
        {"experiment": fis(the_one=one)},
        {"experimentTemplate": fis(None, the_one=one)},
        one,
    ):
        (fault,) = experiment_of(fields, **UNTIL)[0].faults
        assert (fault.type, fault.percentage, fault.phase) == (type, percentage, TYPES[type].phase)
        assert {name: fault.params[name] for name in params} == params


def test_a_response_after_the_handler_is_one_for_an_integration():
    (one,) = experiment_of(
        fis(a=action("http-integration-response", preventExecution="false", statusCode="503")), **UNTIL
    )[0].faults
    body = json.loads(one.params["body"])
    assert body["statusCode"] == 503
    assert body["headers"] == {"Content-Type": "application/json"}
    assert isinstance(body["body"], str)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (action("add-delay", duration="10m"), "parameters.duration"),
        (action("add-delay", duration="PT30S"), "from PT1M to PT12H"),
        (action("add-delay", duration="PT13H"), "from PT1M to PT12H"),
        ({**action("add-delay"), "parameters": {}}, "parameters.duration is missing"),
        (action("add-delay", invocationPercentage="0"), "from 1 to 100"),
        (action("add-delay", invocationPercentage="101"), "from 1 to 100"),
        (action("add-delay", invocationPercentage="x"), "from 1 to 100"),
        (action("add-delay", startupDelayMilliseconds="900001"), "from 0 to 900000"),
        (action("add-delay", startupDelay="5"), "did you mean startupDelayMilliseconds?"),
        (action("error"), "parameters.preventExecution is missing"),
        (action("error", preventExecution="maybe"), "true or false"),
        (action("http-integration-response", preventExecution="true", statusCode="1000"), "from 0 to 999"),
        (action("http-integration-response", preventExecution="true", contentTypeHeader=""), "contentTypeHeader"),
        (action("throttle"), "aws:lambda:invocation-add-delay"),
        ({"actionId": 5}, "actionId"),
        ({**action("add-delay"), "startAfter": ["nobody"]}, "the name of another action"),
        ({**action("add-delay"), "startAfter": ["the-one"]}, "in a circle"),
    ],
)
def test_fis_mistakes(one, says):
    assert says in refusal(fis(the_one=one), **UNTIL)


def test_fis_actions_have_their_own_times():
    """From the experiment's start; ``startAfter`` is followed; an action of somebody else counts for its duration only."""
    experiment, notes = experiment_of(
        fis(
            wait={"actionId": "aws:fis:wait", "parameters": {"duration": "PT5M"}},
            other={"actionId": "aws:ec2:stop-instances", "parameters": {"startInstancesAfterDuration": "PT2M"}},
            delay=action("add-delay", duration="PT10M"),
            error={**action("error", preventExecution="true", duration="PT20M"), "startAfter": ["wait"]},
        )
    )
    times = {
        one.id: ((one.starts_ms - NOW_MS) // 60_000, (one.ends_ms - NOW_MS) // 60_000) for one in experiment.faults
    }
    assert times == {"delay": (0, 10), "error": (5, 25)}
    assert experiment.armed_until_ms == NOW_MS + 25 * 60_000
    assert any("aws:ec2:stop-instances" in note for note in notes)


def test_of_two_that_are_the_same_the_first_wins_and_the_other_keeps_its_end():
    experiment, notes = experiment_of(
        fis(
            wait={"actionId": "aws:fis:wait", "parameters": {"duration": "PT5M"}},
            until={**action("add-delay", duration="PT5M"), "startAfter": ["wait"]},
            late={**action("add-delay", duration="PT20M", startupDelayMilliseconds=2), "startAfter": ["wait"]},
            early=action("add-delay", duration="PT10M", startupDelayMilliseconds=1),
            within={**action("add-delay", duration="PT1M"), "startAfter": ["wait"]},
        )
    )
    times = {
        one.id: ((one.starts_ms - NOW_MS) // 60_000, (one.ends_ms - NOW_MS) // 60_000) for one in experiment.faults
    }
    assert times == {"early": (0, 10), "late": (10, 25)}
    assert any("within is never done" in note for note in notes)
    assert any("until is never done" in note for note in notes)  # it ends when the first one does


def test_fis_ends_when_it_says(tmp_path):
    """A fault that is not yet, or no longer, is skipped with that reason."""
    bench = Bench(tmp_path)
    experiment = bench.give(
        fis(
            wait={"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}},
            delay={**action("add-delay", duration="PT1M"), "startAfter": ["wait"]},
            error=action("error", preventExecution="true", duration="PT10M"),
        )
    )
    delay = next(one for one in experiment.faults if one.id == "delay")
    happened = []
    for _ in range(3):
        happened.append(bench.decide(fault=delay))
        bench.clock.pass_s(61)
        bench.rails.documented(bench.rails._text, "test")  # the source is asked meanwhile
    assert happened == [False, True, False]
    assert [line["reason"] for line in bench.lines if line["action"] == "skip"] == ["not yet", "over"]


@pytest.mark.parametrize("value", [1, 0, 1.0, "yes", None, []])
def test_fis_numbers_are_no_flags(value):
    assert "preventExecution" in refusal(fis(a=action("error", preventExecution=value)))


def test_fis_without_a_start_needs_an_end():
    assert "CHAOS_ARMED_UNTIL is not set" in refusal(fis(None, a=action("add-delay")))
    assert "startTime is missing" in refusal(
        fis(None, a=action("add-delay"), b={**action("error", preventExecution="true"), "startAfter": ["a"]}), **UNTIL
    )


def test_fis_starts_as_its_json_has_it():
    """Seconds since the epoch, with a fraction."""
    fields = {**fis(None, a=action("add-delay")), "startTime": NOW_MS / 1_000 + 0.25}
    (one,) = experiment_of(fields)[0].faults
    assert (one.starts_ms, one.ends_ms) == (NOW_MS + 250, NOW_MS + 600_250)
    assert "startTime = true" in refusal({**fis(None, a=action("add-delay")), "startTime": True}, **UNTIL)


def test_fis_dry_run():
    """Its actions mode ``skip-all`` shows what would be hit."""
    fields = fis(a=action("add-delay"))
    assert experiment_of({**fields, "experimentOptions": {"actionsMode": "skip-all"}})[0].dry_run
    assert not experiment_of({**fields, "experimentOptions": {"actionsMode": "run-all"}})[0].dry_run


def test_fis_longer_than_is_allowed():
    """Twelve hours are FIS's limit; ours is an hour, unless the settings end it earlier."""
    assert "more than 3600 s ahead" in refusal(fis(a=action("add-delay", duration="PT2H"))).replace("no more", "more")
    experiment, _ = experiment_of(fis(a=action("add-delay", duration="PT2H")), **UNTIL)
    assert experiment.armed_until_ms == NOW_MS + 600_000


def test_fis_that_has_stopped_or_has_no_lambda():
    stopped = {**fis(a=action("add-delay")), "state": {"status": "stopped"}}
    assert experiment_of(stopped)[0] is None
    assert experiment_of(fis(a={"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}))[0] is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("PT10M", 600_000), ("PT1H30M", 5_400_000), ("P1DT1S", 86_401_000), ("P2W", 1_209_600_000), ("PT0S", 0),
     ("", None), ("P", None), ("PT", None), ("10M", None), ("PT10", None), ("PTM", None), ("P1Y", None), ("PT1.5H", None),
     ("PT1M1M", None), ("P1M", None), (5, None), ("PT" + "9" * 50 + "S", None)],
)  # fmt: skip
def test_durations(text, expected):
    assert duration_ms(text) == expected


# aws-cli-tools ---------------------------------------------------------------------------------------------------------

LATENCY = "CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY"
RESPONSE = "CHAOS_EXTENSION__RESPONSE__ENABLE_CHANGE_RESPONSE_BODY"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({LATENCY: "false"}, []),
        ({LATENCY: "true"}, [("delay", 10.0, {"ms": 1_000})]),
        ({LATENCY: "TRUE", "CHAOS_EXTENSION__LAMBDA__LATENCY_VALUE": "2",
          "CHAOS_EXTENSION__LAMBDA__LATENCY_PROBABILITY": "0.5"},
         [("delay", 50.0, {"ms": 2_000})]),
        ({RESPONSE: "true", "CHAOS_EXTENSION__RESPONSE__DEFAULT_RESPONSE": "{}",
          "CHAOS_EXTENSION__RESPONSE__CHANGE_RESPONSE_PROBABILITY": "1"}, [("body", 100.0, {"mode": "replace", "body": "{}"})]),
        ({"CHAOS_EXTENSION__RESPONSE__ENABLE_CHANGE_REPONSE_BODY": "true"}, [("body", 10.0, {"mode": "replace"})]),
        ({LATENCY: "true", RESPONSE: "true"}, [("delay", 10.0, {}), ("body", 10.0, {})]),
    ],
)  # fmt: skip
def test_aws_cli_tools_variables(variables, expected):
    """Its names, also the one that is misspelled in its releases; safe where it is not (900 s, nine of ten)."""
    experiment, notes = experiment_of(variables, **UNTIL)
    faults = experiment.faults if experiment else ()
    assert [(one.type, one.percentage) for one in faults] == [(type, percentage) for type, percentage, _ in expected]
    for one, (_type, _percentage, params) in zip(faults, expected, strict=True):
        assert {name: one.params[name] for name in params} == params
    assert any("is not set" in note for note in notes) is any(percentage == 10 for _, percentage, _ in expected)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({LATENCY: "yes"}, "true or false"),
        ({LATENCY: "true", "CHAOS_EXTENSION__LAMBDA__LATENCY_VALUE": "901"}, "from 0 to 900"),
        ({LATENCY: "true", "CHAOS_EXTENSION__LAMBDA__LATENCY_PROBABILITY": "nan"}, "from 0 to 1"),
        (
            {LATENCY: "true", "CHAOS_EXTENSION__LAMBDA__LATENCY_VALU": "1"},
            "did you mean CHAOS_EXTENSION__LAMBDA__LATENCY_VALUE?",
        ),
    ],
)
def test_aws_cli_tools_mistakes(variables, says):
    assert says in refusal(variables, **UNTIL)


# failure-lambda 0, aws-lambda-chaos-injection --------------------------------------------------------------------------

#: the example of failure-lambda 0's README
V0 = {
    "isEnabled": True, "failureMode": "latency", "rate": 1, "minLatency": 100, "maxLatency": 400,
    "exceptionMsg": "Exception message!", "statusCode": 404, "diskSpace": 100,
    "denylist": ["s3.*.amazonaws.com", "dynamodb.*.amazonaws.com"],
}  # fmt: skip


@pytest.mark.parametrize("mode", ["latency", "exception", "denylist", "diskspace", "statuscode"])
def test_version_0_of_failure_lambda_means_a_flag_of_version_1(mode):
    old = experiment_of({**V0, "failureMode": mode, "rate": 0.25}, **UNTIL)[0]
    new = experiment_of(enabled(mode, percentage=25), **UNTIL)[0]
    assert old.faults == new.faults


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"failureMode": "lag"}, "one of latency, exception"),
        ({"rate": 2}, "rate = 2"),
        ({"rate": None}, "rate = null"),
        ({"isEnabled": "true"}, 'isEnabled = "true"'),
        ({"minLatency": -1}, "minLatency = -1"),
        ({"maxLatency": 50}, "maxLatency = 50"),
        ({"failureMode": "statuscode", "statusCode": 1}, "statusCode = 1"),
        ({"failureMode": "denylist", "denylist": ["(a+)+"]}, "denylist[0]"),
    ],
)
def test_version_0_mistakes(more, says):
    assert says in refusal({**V0, **more}, **UNTIL)


def test_version_0_that_is_off_or_denies_nothing():
    assert experiment_of({**V0, "isEnabled": False}) == (None, [])
    assert experiment_of({**V0, "failureMode": "denylist", "denylist": []}, **UNTIL)[0] is None
    assert "CHAOS_ARMED_UNTIL is not set" in refusal(V0)


def test_limits_of_what_has_none_are_those_of_the_settings():
    """The formats of others inject at any time, and delay as long as they say."""
    variables = {**UNTIL, "CHAOS_MAX_INJECTIONS": 7, "CHAOS_MAX_PER_MINUTE": 5, "CHAOS_LEASE": "60s"}
    one = experiment_of(V0, **variables)[0]
    limits = one.limits
    assert (limits.max_injections, limits.max_per_minute, one.lease_ms) == (7, 5, 60_000)
    assert (limits.max_fraction_of_deadline, limits.min_remaining_ms) == (1.0, 0)


def test_version_0_without_a_rate():
    """The original never injects then; it is not read as always."""
    fields = {name: value for name, value in V0.items() if name != "rate"}
    assert "rate is missing" in refusal(fields, **UNTIL)
    assert experiment_of({**fields, "isEnabled": False}) == (None, [])


@pytest.mark.parametrize(
    "foreign",
    [V0, {"actions": {"a": action("add-delay")}}, action("add-delay"), {"experiment": fis(a=action("add-delay"))},
     {"fault_type": "latency", "is_enabled": True}, {"CHAOS_EXTENSION__LAMBDA__ENABLE_LATENCY": "true"}],
)  # fmt: skip
@pytest.mark.parametrize("more", [document(), {"armed_until": "x"}, {"off": True}, {"faults": []}])
def test_fields_of_two_formats(foreign, more):
    """The rails of ours, above all, must not be passed over by a reader that does not know them."""
    assert "are of different formats" in refusal({**foreign, **more}, **UNTIL)


def test_fields_of_two_formats_of_others():
    assert "isEnabled and actions are of different formats" in refusal({**V0, "actions": {}}, **UNTIL)
    assert "actions and fault_type are of different formats" in refusal({**CHAOS_INJECTION, "actions": {}}, **UNTIL)


CHAOS_INJECTION = {
    "fault_type": "latency", "delay": 400, "is_enabled": True, "error_code": 404, "exception_msg": "This is chaos", "rate": 0.5,
}  # fmt: skip


def test_aws_lambda_chaos_injection_of_old():
    """It is told which format that is, and not what it would lack as another one."""
    fields = {"isEnabled": True, "delay": 400, "error_code": 404, "exception_msg": "m", "rate": 1}
    assert "aws-lambda-chaos-injection 0.2's format" in refusal(fields, **UNTIL)
    assert "failureMode is missing" not in refusal(fields, **UNTIL)


@pytest.mark.parametrize(
    ("kind", "type", "params"),
    [
        ("latency", "delay", {"distribution": "fixed", "ms": 400}),
        ("exception", "error", {"error_type": "Exception", "message": "This is chaos"}),
        ("status_code", "status_code", {"status_code": 404}),
    ],
)
def test_aws_lambda_chaos_injection(kind, type, params):
    (one,) = experiment_of({**CHAOS_INJECTION, "fault_type": kind}, **UNTIL)[0].faults
    assert (one.type, one.percentage) == (type, 50.0)
    assert {name: one.params[name] for name in params} == params
    assert experiment_of({**CHAOS_INJECTION, "is_enabled": False}) == (None, [])


@pytest.mark.parametrize(
    ("more", "says"),
    [({"fault_type": "lag"}, "one of latency"), ({"rate": -1}, "rate = -1"), ({"dely": 1}, "did you mean delay?"),
     ({"delay": "5"}, 'delay = "5"')],
)  # fmt: skip
def test_aws_lambda_chaos_injection_mistakes(more, says):
    assert says in refusal({**CHAOS_INJECTION, **more}, **UNTIL)
