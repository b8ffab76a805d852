"""Every fault, with a function in Python and one in Node, in our emulator and under AWS's: what the caller sees, the line in
the log, and that nothing is left.
"""

from __future__ import annotations

import json
import threading
import time

import pytest

from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector.vocabulary import TYPES
from tests.extensions.chaos_injector.conftest import experiment

pytestmark = pytest.mark.once

MB = 1_048_576
HTTP = {"http": "hello, world", "x": 1}
#: what cannot be shown under AWS's emulator, nor in ours, and why
NOT_HERE = {
    "memory with oom": "it takes all memory there is, so it is refused on a machine that is not the function's own: see "
    "test_resources.py",
}
#: what a function in Node cannot show, and why
NOT_IN_NODE = {
    "cpu": "one function that counts CPU time is enough, the fault knows no runtime",
    "memory": "likewise",
    "inodes": "likewise",
    "descriptors": "likewise: the limit is the process's",
}
#: by which tests of their own these are shown
ELSEWHERE = {
    **{kind: "test_egress.py" for kind in TYPES if kind.startswith("egress_")},
    "sink": "test_sinks.py", "slow_stream": "test_streams.py", "cut_stream": "test_streams.py",
}  # fmt: skip


def delay(chaos):
    chaos.answer()  # init is over
    found = chaos.answer({"x": 1})
    assert chaos.ms >= 300
    assert found["event"] == {"x": 1}


def timeout(chaos):
    assert chaos.invoke().error_type == "Sandbox.Timedout"


def timeout_with_buffer(chaos):
    assert chaos.answer()["remaining_ms"] <= 1_000


def error(chaos):
    result = chaos.invoke()
    assert (result.function_error, result.error_type) == ("Unhandled", "Custom.Broken")
    assert json.loads(result.payload) == {"errorType": "Custom.Broken", "errorMessage": "by hand", "stackTrace": []}
    chaos.not_seen = 1


def http_response(chaos):
    answer = chaos.answer()
    assert answer == {"statusCode": 418, "headers": {"Content-Type": "text/plain"}, "body": "short and stout"}
    chaos.not_seen = 1


def mutate_event(chaos):
    found = chaos.answer({"a": {"b": 1, "c": [1, 2]}, "gone": True})["event"]
    assert found == {"a": {"b": "new", "c": [1, {"d": None}]}, "deep": {"er": 5}}


def duplicate(chaos):
    assert chaos.answer({"x": 1})["invocations"] == 2
    assert chaos.answer({"x": 1})["invocations"] == 4


def deadline_lie(chaos):
    assert 995_000 < chaos.answer()["remaining_ms"] <= 1_010_000


def error_after(chaos):
    result = chaos.invoke()
    assert (result.function_error, result.error_type) == ("Unhandled", "Custom.After")
    chaos.not_seen = 0  # it ran, and its answer was thrown away


def status_code(chaos):
    assert chaos.answer(HTTP) == {"statusCode": 599, "headers": {"x-from": "app"}, "body": "hello, world"}


def replace(chaos):
    assert chaos.invoke(HTTP).payload == b"not what you wanted"


def truncate(chaos):
    whole = {"statusCode": 200, "headers": {"x-from": "app"}, "body": "hello, world"}
    found = chaos.invoke(HTTP).payload
    assert 0 < len(found) < len(json.dumps(whole)) / 2
    assert json.dumps(whole, separators=(",", ":")).startswith(found.decode().replace(": ", ":").replace(", ", ","))


def corrupt(chaos):
    try:
        json.loads(chaos.invoke(HTTP).payload)
    except ValueError:
        return
    raise AssertionError("it can still be read")


def oversize(chaos):
    assert chaos.invoke(HTTP).error_type == "Function.ResponseSizeTooLarge"


def failure_lambda(chaos):
    assert chaos.answer(HTTP) == {"statusCode": 200, "headers": {"x-from": "app"}, "body": "mangled"}


def failure_lambda_mangles(chaos):
    body = chaos.answer(HTTP)["body"]
    assert body.endswith("\N{REPLACEMENT CHARACTER}" * 3)
    assert 3 <= len(body) - 3 <= 10
    assert "hello, world".startswith(body[:-3])


def slow_init(chaos):
    chaos.answer()
    assert chaos.ms >= 700
    chaos.answer()  # it comes once
    assert len(chaos.told("inject")) == 1


def fail_init(chaos):
    result = chaos.invoke()
    assert (result.function_error, result.error_type) == ("Unhandled", "Custom.Init")


def cpu(chaos):
    for _ in range(2):
        found = chaos.answer({"look": "burners", "watch_ms": 600})["burners"]
        spent = found["spent"].values()
        assert len(spent) == 2
        assert min(spent) > 0
        # 30 % of the time, in periods of 100 ms, slices of 5 ms and the kernel's ticks of 10 ms; less on a machine that is busy
        assert max(spent) <= 0.35 * found["seconds"] + 0.1, found
    pids = chaos.helpers()
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while True:  # they rest between invocations, as soon as they have heard of it
        before = list(map(ticks, pids))
        time.sleep(0.3)
        if list(map(ticks, pids)) == before:
            break
        assert time.monotonic() < deadline, before


def memory(chaos):
    sizes, done = [0], threading.Event()

    def watch():
        while not done.wait(0.01):
            sizes.extend(map(resident, chaos.helpers()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        chaos.answer({"spend_ms": 500})
    finally:
        done.set()
        watcher.join(10)
    assert 190 * MB < max(sizes) < 260 * MB
    assert not chaos.helpers(), "it ends with the invocation"


def tmp(chaos):
    free = chaos.call(free_tmp)
    assert free > 200 * MB
    chaos.answer()
    seen = chaos.answer({"look": "tmp"})
    if "tmp" in seen:
        assert free - seen["tmp"]["free"] >= 99 * MB
    assert chaos.call(free_tmp) > free - 10 * MB


def tmp_to_the_floor(chaos):
    chaos.answer()
    seen = chaos.answer({"look": "tmp"})
    if "tmp" in seen:
        assert 30 * MB <= seen["tmp"]["free"] <= 34 * MB


def inodes(chaos):
    chaos.answer()
    before = chaos.call(lambda: free_tmp("f_favail"))
    assert before - chaos.answer({"look": "tmp"})["tmp"]["inodes"] >= 3_000
    assert chaos.call(lambda: free_tmp("f_favail")) >= before - 10


def descriptors(chaos):
    found = chaos.answer({"look": "descriptors"})["descriptors"]
    assert found == {"limit": 24, "error": "Too many open files"}
    chaos.write("off", "")
    assert chaos.answer({"look": "descriptors"})["descriptors"]["limit"] > 24


def kill(chaos):
    result = chaos.invoke()
    assert (result.function_error, result.error_type) == ("Unhandled", "Runtime.ExitError")
    chaos.not_seen = None  # a new process counts anew


def kill_later(chaos):
    result = chaos.invoke({"spend_ms": 5_000})
    assert result.error_type == "Runtime.ExitError"
    assert 200 <= chaos.ms < 5_000
    chaos.not_seen = None


#: name: type, parameters, what is looked at, how the environment is
CASES = {
    "delay": ("delay", {"ms": 300}, delay, {}),
    "delay uniform": ("delay", {"distribution": "uniform", "min_ms": 300, "max_ms": 310}, delay, {}),
    "delay normal": ("delay", {"distribution": "normal", "mean_ms": 400, "deviation_ms": 10}, delay, {}),
    "delay pareto": ("delay", {"distribution": "pareto", "scale_ms": 300, "shape": 50}, delay, {}),
    "timeout": ("timeout", {}, timeout, {"timeout": 1.5}),
    "timeout with buffer": ("timeout", {"buffer_ms": 1_000}, timeout_with_buffer, {"timeout": 2.0}),
    "error": ("error", {"error_type": "Custom.Broken", "message": "by hand"}, error, {}),
    "http_response": (
        "http_response", {"status_code": 418, "body": "short and stout", "content_type": "text/plain"}, http_response, {},
    ),
    "mutate_event": (
        "mutate_event", {"set": {"a.b": "new", "a.c.1": {"d": None}, "deep.er": 5}, "remove": ["gone", "no.such"]},
        mutate_event, {},
    ),
    "duplicate": ("duplicate", {}, duplicate, {}),
    "deadline_lie": ("deadline_lie", {"offset_ms": 1_000_000}, deadline_lie, {}),
    "error_after": ("error_after", {"error_type": "Custom.After"}, error_after, {}),
    "status_code": ("status_code", {"status_code": 599}, status_code, {}),
    "body: replace": ("body", {"mode": "replace", "body": "not what you wanted"}, replace, {}),
    "body: truncate": ("body", {"mode": "truncate", "keep_percent": 30}, truncate, {}),
    "body: corrupt": ("body", {"mode": "corrupt"}, corrupt, {}),
    "body: oversize": ("body", {"mode": "oversize"}, oversize, {}),
    "body: failure_lambda": ("body", {"mode": "failure_lambda", "body": "mangled"}, failure_lambda, {}),
    "body: failure_lambda, none": ("body", {"mode": "failure_lambda"}, failure_lambda_mangles, {}),
    "slow_init": ("slow_init", {"ms": 700}, slow_init, {}),
    "fail_init": ("fail_init", {"error_type": "Custom.Init"}, fail_init, {}),
    "cpu": ("cpu", {"workers": 2, "duty_percent": 30}, cpu, {"timeout": 60.0}),
    "memory": ("memory", {"mb": 200}, memory, {"memory_mb": 1_024}),
    "tmp": ("tmp", {"mb": 100}, tmp, {}),
    "tmp: floor": ("tmp", {"leave_mb": 1}, tmp_to_the_floor, {}),
    "inodes": ("inodes", {"count": 3_000}, inodes, {}),
    "descriptors": ("descriptors", {"limit": 24}, descriptors, {}),
    "kill": ("kill", {}, kill, {}),
    "kill later": ("kill", {"after_ms": 200}, kill_later, {}),
}  # fmt: skip


def free_tmp(field="f_bavail"):
    import os

    found = os.statvfs("/tmp")
    return getattr(found, field) * (found.f_frsize if field == "f_bavail" else 1)


def ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def resident(pid):
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0  # it has ended


def test_every_fault_has_its_tests():
    assert {case[0] for case in CASES.values()} | set(ELSEWHERE) == set(TYPES)
    assert set(NOT_IN_NODE) <= set(CASES)
    assert not set(NOT_HERE) & set(CASES)


RUNS = [
    (case, runtime)
    for case in CASES
    for runtime in ("python", "node")
    if not (runtime == "node" and case in NOT_IN_NODE)
]


@pytest.mark.parametrize("backend", ["emulator", "rie"])
@pytest.mark.parametrize(("case", "runtime"), RUNS, indirect=["runtime"])
def test_effect_audit_and_end(start, case, runtime, backend):
    kind, params, look, profile = CASES[case]
    limits = {"limits": {"min_free_tmp_mb": 32}} if case == "tmp: floor" else {}
    chaos = start(experiment((kind, params), **limits), runtime=runtime, backend=backend, **profile)
    chaos.not_seen = None

    look(chaos)

    injected = chaos.told("inject")
    assert {line["type"] for line in injected} == {kind}
    for line in injected:
        assert line["experiment"] == "test"
        assert line["owner"] == "tests"
        assert line["seed"] == "test"
        assert line["fault"] == "fault-0"
        assert 0 <= line["roll"] < 100
        assert "request_id" in line or kind.endswith("_init")
    assert not chaos.audit("unable")

    chaos.write("off", "")
    chaos.invoke()  # what the function was doing when it was off, and where an environment had to be made anew
    calm = format_ms(time.time_ns() // 1_000_000 + 1)
    time.sleep(0.002)
    found = chaos.answer({"x": 1})
    assert found["event"] == {"x": 1}
    if chaos.not_seen is not None:
        assert found["invocations"] == 3 - chaos.not_seen
    assert not [line for line in chaos.audit("inject") if line["time"] >= calm]
    assert chaos.is_clean(), (chaos.files(), chaos.helpers())
