"""Managed Instances in the emulator: several invocations at a time, no freeze, and telemetry as AWS's emulator sends it."""

from __future__ import annotations

import json
import threading

import pytest

from extension_kit.backends import rie_binary
from tests import rie_managed
from tests import telemetry_listener as tl
from tests.emulator.test_telemetry import events, script, types

SLOW = """
import time
def handler(event, context):
    print("begin", event["n"], flush=True)
    time.sleep(event.get("sleep", 0))
    if event.get("raise"):
        raise ValueError("bang")
    print("end", event["n"], flush=True)
    return event["n"]
"""
#: a runtime with three workers: curl in the background of a shell
WORKERS = """#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
work() {
  while :; do
    curl -s -D /tmp/head$1 -o /tmp/body$1 $api/next || exit
    id=$(tr -d '\\r' < /tmp/head$1 | sed -n 's/^Lambda-Runtime-Aws-Request-Id: //ip')
    echo "begin $id"
    sleep $(sed 's/[^0-9.]//g' /tmp/body$1)
    echo "end $id"
    curl -s -o /dev/null -d "$1" $api/$id/response
  done
}
work 1 & work 2 & work 3 &
wait
"""


def managed(lab, *extensions, **profile):
    bootstrap = lab.folder / "bootstrap"
    bootstrap.write_text(WORKERS)
    bootstrap.chmod(0o755)
    environment = lab.start(*extensions, bootstrap=bootstrap, init_type="lambda-managed-instances", **profile)
    environment.start()
    lab.until(lambda: environment.platform.phase == "ready")
    return environment


def test_invocations_run_side_by_side_and_nothing_freezes(lab):
    """As many as there are workers; more wait for one."""
    environment = managed(lab, lab.extension("ext", script("register(['SHUTDOWN'])\nsubscribe()")))
    futures = [environment.invoke(b"0.3") for _ in range(5)]
    lab.until(lambda: lab.kinds(environment).count("invoke_start") == 3)
    assert lab.kinds(environment).count("response") == 0
    assert [future.result(10).function_error for future in futures] == [""] * 5
    environment.shutdown()

    found = events(lab, environment)
    assert "platform.runtimeDone" not in types(found)
    assert types(found).count("platform.start") == types(found).count("platform.report") == 5
    order = [event["type"] for event in found if event["type"] in ("platform.start", "platform.report")]
    assert order[:3] == ["platform.start"] * 3, "they interleave"
    assert "freeze" not in lab.kinds(environment)


def test_a_time_out_is_reported_and_the_environment_goes_on(lab):
    """No reset; the worker's late answer is refused."""
    environment = managed(lab, timeout=0.5)
    late, quick = environment.invoke(b"1.2"), environment.invoke(b"0")

    assert late.result(10).error_type == "Sandbox.Timedout"
    assert quick.result(10).function_error == ""
    lab.until(lambda: any(event["error_type"] == "InvalidRequestID" for event in environment.log.of_kind("refused")))
    assert environment.invoke(b"0").result(10).function_error == ""
    assert "reset" not in lab.kinds(environment)


def test_whoever_dies_takes_all_invocations_along(lab):
    """An extension's crash ends the environment; every caller is answered."""
    crash = "register(['SHUTDOWN'])\nthreading.Timer(0.6, lambda: os._exit(3)).start()\nnext()"
    environment = managed(lab, lab.extension("ext", "import threading\n" + crash))
    futures = [environment.invoke(b"5") for _ in range(2)]

    assert {future.result(10).error_type for future in futures} == {"Extension.Crash"}
    assert not environment.platform.healthy


def test_a_shutdown_answers_everybody(lab):
    """Also those that wait for a worker."""
    environment = managed(lab)
    futures = [environment.invoke(b"9") for _ in range(4)]
    lab.until(lambda: lab.kinds(environment).count("invoke_start") == 3)
    environment.shutdown()

    assert {future.result(10).error_type for future in futures} == {"Sandbox.Failure"}


def test_awss_own_runtime_works_here(lab):
    """awslambdaric with its workers."""
    environment = lab.start(function=lab.function(SLOW), init_type="lambda-managed-instances", concurrency=2)
    environment.start()
    futures = [environment.invoke(json.dumps({"n": number, "sleep": 0.1}).encode()) for number in range(4)]

    assert sorted(json.loads(future.result(20).payload) for future in futures) == [0, 1, 2, 3]
    assert environment.invoke(b'{"n": 1, "raise": true}').result(10).function_error == "Unhandled"


# beside AWS's emulator ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """Records of AWS's emulator for a success, an error, a time-out."""
    why_not = rie_managed.why_not()
    if why_not:
        pytest.skip(why_not)
    folder = tmp_path_factory.mktemp("judge")
    listener = tl.write(folder, "listener", "listen(4243)\nregister(['SHUTDOWN'])\nsubscribe(4243)\nuntil_shutdown()\n")
    function = folder / "function"
    function.mkdir()
    (function / "app.py").write_text(SLOW)
    with rie_managed.RieManaged(
        [listener], function, "app.handler", rie_binary.binary(), concurrency=2, timeout=2.0,
        variables={tl.FOLDER: rie_managed.SHARED},
    ) as running:  # fmt: skip
        # Lambda makes a trace header where the caller sends none (AWS docs, X-Ray); its emulator does not.
        headers = {
            "Content-Type": "application/json",
            "X-Amzn-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        }
        drive(lambda payload: running.invoke(payload, headers))
        running.shutdown()
        return tl.events(running.shared, "listener")


def drive(invoke):
    """A success, an error, two side by side, a time-out."""
    invoke(b'{"n": 1}')
    invoke(b'{"n": 2, "raise": true}')
    pair = [threading.Thread(target=invoke, args=(b'{"n": 3, "sleep": 0.2}',)) for _ in range(2)]
    for one in pair:
        one.start()
    for one in pair:
        one.join()
    invoke(b'{"n": 4, "sleep": 4}')


def test_records_agree_with_those_of_awss_emulator(lab, judge):
    """Field names and JSON types, by type of event; what differs has a reason, and a reason that is none any more fails."""
    from tests.telemetry_differences import DIFFERENCES, compare

    code = script("register(['SHUTDOWN'])\nsubscribe(('platform', 'function', 'extension'))", linger=1.5)
    environment = lab.start(
        lab.extension("ext", code), function=lab.function(SLOW), init_type="lambda-managed-instances", timeout=2.0
    )
    environment.start()
    drive(lambda payload: environment.invoke(payload).result(20))
    environment.idle(5)
    environment.shutdown()

    assert compare(events(lab, environment), judge) == set(DIFFERENCES)
