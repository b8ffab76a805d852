"""The injector is killed, at any moment: the function works, or fails as Lambda defines; it never hangs, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from tests.extensions.chaos_injector.conftest import experiment

pytestmark = pytest.mark.once

SEED = 9
#: what Lambda makes of an extension, or of a runtime, that is gone
AS_LAMBDA_DEFINES = ("Extension.Crash", "Runtime.ExitError", "Sandbox.Failure", "Sandbox.Timedout")
#: moments of an invocation of 600 ms at which the injector holds something
MOMENTS = {
    "while it holds the event": (("delay", {"ms": 2_000}), {}, 300),
    "while the code runs": (("cpu", {}), {"spend_ms": 1_000}, 400),
    "while memory is held": (("memory", {"mb": 64}), {"spend_ms": 1_000}, 400),
    "while /tmp is full": (("tmp", {"leave_mb": 20}), {"spend_ms": 1_000}, 400),
    "while the response is slow": (("slow_stream", {"first_byte_ms": 2_000}), {}, 400),
    "while it does nothing": (("delay", {"ms": 1}), {"spend_ms": 1_000}, 400),
}


def kill(chaos):
    """SIGKILL, as by a kernel that is out of memory; to that process alone."""
    events = [event for event in chaos.environment.log.of_kind("process_start") if event["party"] == "chaos-injector"]
    os.kill(events[-1]["pid"], signal.SIGKILL)


def kill_under_rie(chaos):
    """AWS's emulator does not tell numbers: found by what was started."""
    here = chaos.call(lambda: Path("/proc/thread-self/ns/net").readlink())
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"/opt/extensions/chaos-injector" in line and (entry / "ns/net").readlink() == here:
                os.kill(int(entry.name), signal.SIGKILL)
                return
        except OSError:
            pass
    raise AssertionError("the injector does not run")


def works_again(chaos):
    """In a new environment, or at once; and nothing of the old one is left."""
    chaos.write("off", "")
    for _ in range(3):
        result = chaos.invoke({"x": 1})
        if not result.function_error:
            break
        assert result.error_type in AS_LAMBDA_DEFINES, result.payload
    assert json.loads(result.payload)["event"] == {"x": 1}
    deadline = time.monotonic() + 10
    while not chaos.is_clean():
        assert time.monotonic() < deadline, (chaos.files(), chaos.helpers())
        time.sleep(0.01)


@pytest.mark.parametrize("backend", ["emulator", "rie"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_in_the_middle(start, runtime, backend, moment):
    fault, event, after_ms = MOMENTS[moment]
    chaos = start(experiment(fault), runtime=runtime, backend=backend, timeout=3.0)
    chaos.invoke()
    future = chaos.environment.invoke(json.dumps(event).encode())
    time.sleep(after_ms / 1000)

    (kill if backend == "emulator" else kill_under_rie)(chaos)

    result = future.result(30)
    if result.function_error:
        assert result.error_type in AS_LAMBDA_DEFINES, result.payload
    chaos.environment.idle(30)
    works_again(chaos)


def test_between_two_invocations(start, runtime):
    chaos = start(experiment(("delay", {"ms": 1}), ("cpu", {})), runtime=runtime)
    chaos.answer()
    kill(chaos)
    result = chaos.invoke()
    assert not result.function_error or result.error_type in AS_LAMBDA_DEFINES
    works_again(chaos)


def test_at_random_moments(start, runtime):
    """From the first instant of its life on; each invocation ends, one way or the other."""
    chances = Random(SEED)
    chaos = start(
        experiment(("delay", {"ms": 100}), ("cpu", {"duty_percent": 20}), ("tmp", {"mb": 10})),
        runtime=runtime,
        timeout=3.0,
    )
    outcomes = []
    for _ in range(8):
        future = chaos.environment.invoke(b'{"spend_ms": 50}')
        time.sleep(chances.uniform(0.0, 0.4))
        try:
            kill(chaos)
        except (ProcessLookupError, IndexError):
            pass
        result = future.result(30)
        outcomes.append(result.error_type or "ok")
        assert not result.function_error or result.error_type in AS_LAMBDA_DEFINES, result.payload
        assert chaos.environment.idle(30)
    print(f"{runtime}: {outcomes}")
    works_again(chaos)


#: how a start of the injector can fail; in each case the runtime must not be led to a proxy that nobody serves
BROKEN = {
    "it cannot be imported": "raise ImportError('broken on purpose')\n",
    "no proxy": "from extension_kit import proxy\ndel proxy.RuntimeProxy\n",
    "no port": (
        "from extension_kit import proxy\n"
        "def listen(self, sockets=None):\n    raise OSError(98, 'Address already in use')\n"
        "proxy.RuntimeProxy.listen = listen\n"
    ),
    "it hangs": (
        "import time\nfrom extension_kit import proxy\n"
        "def listen(self, sockets=None):\n    time.sleep(60)\n"
        "proxy.RuntimeProxy.listen = listen\n"
    ),
    "/tmp cannot be written": (
        "import os\n"
        "def refuse(*arguments, **more):\n    raise OSError(30, 'Read-only file system')\n"
        "os.makedirs = refuse\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_a_start_that_fails(start, runtime, broken, tmp_path, monkeypatch):
    """No port is told, so the wrapper starts the runtime as it would have started: the function works, without faults."""
    from tests.extensions.chaos_injector import conftest

    prelude = BROKEN[broken]
    if broken == "it cannot be imported":
        prelude = f"sys.modules['extensions.chaos_injector.{'armed'}'] = None\n"
    monkeypatch.setattr(conftest, "_STEPPED_CLOCK", conftest._STEPPED_CLOCK + prelude)
    chaos = start(experiment(("error", {})), runtime=runtime, timeout=5.0)

    found = chaos.answer({"x": 1})

    assert (found["event"], found["api"]) == ({"x": 1}, "127.0.0.1:9001")
    assert any("the runtime starts without the injector" in line for line in chaos.lines), chaos.lines
    assert chaos.answer({"x": 2})["event"] == {"x": 2}


def test_os_only_runtimes_are_told_once(start):
    """A runtime that does not ask through the proxy, however often it is invoked."""
    chaos = start(experiment(("error", {})), wrapper=False, runtime="node")
    for number in range(3):
        assert chaos.answer({"x": number})["event"] == {"x": number}
    said = [line for line in chaos.lines if "AWS_LAMBDA_EXEC_WRAPPER" in line]
    assert len(said) == 1
    assert not chaos.audit("inject")


def test_a_runtime_that_asks_is_not_complained_about(start, runtime):
    chaos = start(experiment(("delay", {"ms": 1})), runtime=runtime)
    for _ in range(3):
        chaos.answer()
    assert not [line for line in chaos.lines if "AWS_LAMBDA_EXEC_WRAPPER" in line]


def test_what_a_killed_process_left_is_removed_at_the_next_init(start):
    """Files outlive everything: a full /tmp would fail whoever comes next."""
    chaos = start(
        experiment(("tmp", {"leave_mb": 20}), ("inodes", {"count": 1_500}), ("sink", {"action": "drop"})), timeout=3.0
    )
    chaos.answer()
    future = chaos.environment.invoke(b'{"spend_ms": 2000}')
    deadline = time.monotonic() + 10
    while not chaos.has("fill", "inodes", "sinks.json"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill(chaos)
    future.result(30)
    chaos.environment.idle(30)
    chaos.write("off", "")
    chaos.invoke()
    assert chaos.answer({"x": 1})["event"] == {"x": 1}
    assert not any(map(chaos.has, ("fill", "inodes", "sinks.json")))


def test_cleaned_at_shutdown(start):
    """The function's timeout: Lambda ends everything, with SHUTDOWN to the extension; what was taken is given back then."""
    chaos = start(
        experiment(("tmp", {"mb": 20}), ("inodes", {"count": 1_500}), ("sink", {"action": "drop"}), ("cpu", {})),
        timeout=1.0,
    )
    chaos.answer()
    assert chaos.invoke({"spend_ms": 3_000}).error_type == "Sandbox.Timedout"
    assert "exit status 0" in [event["detail"] for event in chaos.environment.log.of_kind("process_exit")]
    assert chaos.is_clean(), (chaos.files(), chaos.helpers())
    assert not {"port", "upstream", "runtime.pid"} & chaos.files(), "nor is anybody led to where nobody is"
    assert "active" in chaos.files(), "who ends at the same time may still have to read how many faults there were"
    chaos.write("off", "")
    chaos.answer()
    assert "active" not in chaos.files(), "that was of another process"


def test_managed_instances(start):
    """No INVOKE is told there, and nothing is frozen."""
    chaos = start(
        experiment(("delay", {"ms": 100}), ("tmp", {"mb": 10})), init_type="lambda-managed-instances", runtime="node"
    )
    chaos.environment.call(chaos.environment.platform.start)
    futures = [chaos.environment.invoke(b'{"x":1}') for _ in range(4)]
    assert {json.loads(future.result(30).payload)["invocations"] for future in futures} == {1, 2, 3, 4}
    assert len(chaos.audit("inject")) == 8
    deadline = time.monotonic() + 10
    while not chaos.is_clean():
        assert time.monotonic() < deadline, (chaos.files(), chaos.helpers())
        time.sleep(0.01)
