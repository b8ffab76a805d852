"""The metrics collector's layer in the image, whose containers have a memory limit: what was taken, and who was killed."""

from __future__ import annotations

import json

import pytest

from tests.docker import engine as engines

engines.require()

FUNCTION = """
import os
import resource
import time

def handler(event, context):
    held = bytearray(event.get("mb", 0) * 1_048_576)
    until = time.process_time() + event.get("cpu_ms", 0) / 1000
    while time.process_time() < until:
        pass
    return {"cpu_ms": time.process_time() * 1000, "held": len(held)}
"""


@pytest.fixture
def layer(built):
    return built("metrics-collector")


def documents(outcome):
    """What the collector has written."""
    texts = [event["text"] for event in outcome.events if event["kind"] == "log"]
    return [json.loads(text) for text in texts if text.startswith('{"_aws"')]


def total(found, name):
    """Over all documents, of a metric or of a property."""
    values = [document[name] for document in found if name in document]
    return sum(sum(value) if isinstance(value, list) else value for value in values)


def test_what_a_function_takes_of_the_machine(run, layer, lab):
    """CPU time within a tenth, or two ticks of the kernel's clock each; the limit is the function's memory size."""
    function = lab.function(FUNCTION)
    outcome = run(
        function, layer, memory_mb=1_769, invokes=3, events=(b'{"cpu_ms": 300}',),
        variables={"METRICS_COLLECTOR_INTERVAL": "0ms", "METRICS_COLLECTOR_CPU_BUDGET": "100000"},
    )  # fmt: skip
    assert outcome.healthy
    found = documents(outcome)
    assert total(found, "faas.invocations") == 3
    told_ms = json.loads(outcome.invoked[-1].payload)["cpu_ms"]
    assert total(found, "process.cpu.time") * 1000 == pytest.approx(told_ms, rel=0.25, abs=60)
    assert {document["system.memory.limit"] for document in found if "system.memory.limit" in document} == {
        1_769 * 1_048_576
    }


def test_a_function_that_is_killed_for_its_memory_is_counted_once(run, layer, lab):
    """By the kernel's own counter, since nobody tells an extension more than that its environment has failed."""
    function = lab.function(FUNCTION)
    outcome = run(
        function, layer, memory_mb=128, events=(b'{"mb": 400}',), variables={"METRICS_COLLECTOR_INTERVAL": "0ms"}
    )
    assert any(event["kind"] == "out_of_memory" for event in outcome.events)
    found = documents(outcome)
    assert (total(found, "faas.errors"), total(found, "lambda.out_of_memory")) == (1, 1)
    assert total(found, "faas.invocations") == 0
