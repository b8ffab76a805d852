"""The chaos injector's layer in the image: the bootstrap calls the wrapper, the runtime speaks to its proxy."""

from __future__ import annotations

import json
import time

import pytest

from tests.docker import engine as engines

engines.require()

WRAPPED = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/chaos-injector/wrapper"}
#: `used_mb`: of the container's limit, with all processes in it
FUNCTION = """
import os
def handler(event, context):
    with open("/sys/fs/cgroup/memory.current" if os.path.exists("/sys/fs/cgroup/memory.current")
              else "/sys/fs/cgroup/memory/memory.usage_in_bytes") as file:
        used = int(file.read())
    return {"event": event, "used_mb": used / 1_048_576}
"""


@pytest.fixture
def layer(built):
    return built("chaos-injector")


def armed(*faults):
    """The experiment as a variable."""
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    experiment = {
        "version": 1, "id": "image", "owner": "tests", "armed_until": until, "scope": {"functions": ["*"]},
        "faults": [{"percentage": 100, **fault} for fault in faults],
    }  # fmt: skip
    return {"CHAOS_ENABLED": "1", "CHAOS_SOURCE": "env", "CHAOS_EXPERIMENT": json.dumps(experiment), **WRAPPED}


def answers(outcome):
    return [json.loads(result.payload) for result in outcome.invoked]


def audit(outcome):
    """What the injector says of its decisions."""
    texts = [event["text"] for event in outcome.events if event["kind"] == "log" and "chaos-injector" in event["text"]]
    return [json.loads(text) for text in texts if text.startswith("{")]


def test_with_one_key_nothing_happens(run, layer, lab):
    variables = {**armed({"type": "error"}), "CHAOS_ENABLED": ""}
    outcome = run(lab.function(FUNCTION), layer, invokes=2, events=(b'{"n": 1}',), variables=variables)
    assert outcome.healthy
    assert [answer["event"] for answer in answers(outcome)] == [{"n": 1}] * 2
    assert audit(outcome) == []


def test_an_error_before_the_handler_and_a_changed_event(run, layer, lab):
    outcome = run(
        lab.function(FUNCTION), layer, invokes=2, events=(b'{"n": 1}', b'{"n": 2}'),
        variables=armed(
            {"type": "error", "match": [{"path": "n", "value": "1"}]},
            {"type": "mutate_event", "params": {"set": {"n": 3}}, "match": [{"path": "n", "value": "2"}]},
        ),
    )  # fmt: skip
    first, second = answers(outcome)
    assert first["errorType"] == "Chaos.InjectedError"
    assert second["event"] == {"n": 3}
    assert [line["action"] for line in audit(outcome)].count("inject") == 2


def test_memory_is_taken_of_the_limit_that_there_is_and_given_back(run, layer, lab):
    """The container's own limit: the injector leaves what it is told to leave, and is not killed for it."""
    outcome = run(
        lab.function(FUNCTION), layer, memory_mb=512, invokes=2, events=(b'{"n": 1}', b'{"n": 2}'),
        variables=armed({"type": "memory", "params": {"mb": 200}, "match": [{"path": "n", "value": "1"}]}),
    )  # fmt: skip
    assert outcome.healthy
    during, after = answers(outcome)
    assert during["used_mb"] > 200
    assert after["used_mb"] < during["used_mb"] - 150
    assert not any(event["kind"] == "out_of_memory" for event in outcome.events)
