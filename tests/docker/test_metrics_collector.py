"""The metrics collector's layer in the image, whose containers have a memory limit: what was taken, and who was killed."""

from __future__ import annotations

import json

import pytest

from tests.docker import engine as engines

engines.require()

FUNCTION = """
def handler(event, context):
    return len(bytearray(event["mb"] * 1_048_576))
"""


#: Says what it has taken, and what there is, by the files of the kernel; of all processes but the extension's.
TRUTH = """
import os
import time

held = []

def others():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"/opt/metrics-collector/" in file.read():
                continue
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        # The listing is itself a descriptor of this process.
        yield int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"]), len(os.listdir(f"/proc/{pid}/fd")) - (
            pid == str(os.getpid())
        )

def handler(event, context):
    began = time.process_time()
    held.append(b"x" * 60_000_000)
    with open(f"/tmp/{len(held)}", "wb") as file:
        file.write(b"x" * 3_000_000)
    while time.process_time() < began + 0.6:
        pass
    tmp = os.statvfs("/tmp")
    memory, threads, descriptors = map(sum, zip(*others()))
    return {
        "cpu_ms": (time.process_time() - began) * 1000, "memory": memory, "threads": threads, "descriptors": descriptors,
        "tmp": (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize,
    }
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
    """Of each invocation: CPU time within a tenth, /tmp to the byte.

    Two ticks of the kernel's clock are less than can be promised: user and system time of the function and of the emulator may
    each be one tick off, and what the emulator takes is in the figure, too. So a tenth has to be more than that here.

    Resident memory within a twentieth, since processes grow between the two looks. Of threads and descriptors there may be two
    more or fewer than the function saw a moment before: the emulator's own, a program in Go, come and go. When the last
    invocation's end is seen the function may be gone.
    """
    outcome = run(
        lab.function(TRUTH), layer, memory_mb=1_769, invokes=4, events=(b"{}",),
        variables={"METRICS_COLLECTOR_INTERVAL": "0ms", "METRICS_COLLECTOR_CPU_BUDGET": "100000"},
    )  # fmt: skip
    assert outcome.healthy
    found = documents(outcome)
    assert total(found, "faas.invocations") == 4
    ours = [document for document in found if "process.cpu.time" in document]
    theirs = [json.loads(one.payload) for one in outcome.invoked]
    assert (len(ours), len(theirs)) == (4, 4)
    for one, truth in zip(ours, theirs, strict=True):
        assert one["process.cpu.time"] * 1000 == pytest.approx(truth["cpu_ms"], rel=0.1)
        assert one["system.filesystem.usage.used"] == truth["tmp"]
    for one, truth in zip(ours[:-1], theirs, strict=False):
        assert one["process.memory.usage"] == pytest.approx(truth["memory"], rel=0.05)
        assert one["process.thread.count"] == pytest.approx(truth["threads"], abs=2)
        assert one["process.unix.file_descriptor.count"] == pytest.approx(truth["descriptors"], abs=2)
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
