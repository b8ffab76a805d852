"""Life and death in the emulator, over real sockets and with real processes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def error_type(result) -> str:
    return json.loads(result.payload)["errorType"]


def test_invokes_reach_function_and_extension_and_shutdown_ends_both(lab):
    """An extension sees each INVOKE and the SHUTDOWN, and the function answers."""
    environment = lab.start(lab.extension("ext", "register(); loop()"))

    results = [lab.invoke(environment) for _ in range(3)]
    environment.shutdown()

    assert [json.loads(result.payload)["tmp_bytes"] for result in results] == [100_000, 200_000, 300_000]
    assert lab.lines(environment, "ext") == ["INVOKE"] * 3 + ["SHUTDOWN"]
    assert lab.exits(environment) == {"runtime": "signal: term", "ext": "exit status 0"}
    assert environment.platform.healthy


def test_runtime_starts_after_every_extension_has_registered(lab):
    """The first barrier: a slow registration holds back the runtime."""
    environment = lab.start(
        lab.extension("slow", "time.sleep(0.3); register(); loop()"), lab.extension("quick", "register(); loop()")
    )

    lab.invoke(environment)

    order = [(e["kind"], e["party"]) for e in environment.log.of_kind("process_start", "registered")]
    assert order.index(("registered", "slow")) < order.index(("process_start", "runtime"))


def test_init_waits_until_every_extension_calls_next(lab):
    """The second barrier: the invoke begins only when a slow starter has called next."""
    environment = lab.start(lab.extension("ext", "register(); time.sleep(0.3); say('now'); loop()"))

    lab.invoke(environment)

    events = environment.log.events
    now = next(i for i, e in enumerate(events) if e["kind"] == "log" and e["text"] == "now")
    assert now < lab.kinds(environment).index("invoke_start")


def test_an_extension_that_never_registers_ends_in_a_timeout(lab):
    """Init runs into its limit, is tried again inside the invoke, and the invoke times out."""
    environment = lab.start(lab.extension("mute", "time.sleep(60)"), timeout=0.5, init_limit=0.3)

    result = lab.invoke(environment)

    assert error_type(result) == "Sandbox.Timedout"
    assert [e["phase"] for e in environment.log.of_kind("init_start")] == ["init", "invoke"]
    assert not environment.platform.healthy


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_before_register_is_a_crash_whatever_the_code(lab, code):
    """Exit code 0 outside SHUTDOWN is Extension.Crash as well."""
    environment = lab.start(lab.extension("dies", f"sys.exit({code})"))

    result = lab.invoke(environment)

    assert error_type(result) == "Extension.Crash"
    assert json.loads(result.payload)["errorMessage"].endswith(f"Error: exit status {code}")


@pytest.mark.parametrize("code", [0, 9])
def test_an_exit_after_register_is_a_crash(lab, code):
    """The same between register and next."""
    environment = lab.start(lab.extension("dies", f"register(); os._exit({code})"))

    assert error_type(lab.invoke(environment)) == "Extension.Crash"


def test_an_exit_during_an_invoke_fails_it_and_the_next_one_works(lab):
    """A crash in an invoke resets the environment; everything starts anew with a new identifier."""
    script = """
register(); say(identifier)
marker = "/tmp/crashed-once-%d" % os.getuid()
next()
if not os.path.exists(marker):
    open(marker, "w").close(); os._exit(9)
os.unlink(marker)
loop()
"""
    environment = lab.start(lab.extension("dies", script))

    first = lab.invoke(environment, {"spend_ms": 300})
    second = lab.invoke(environment)

    assert (first.function_error, error_type(first)) == ("Unhandled", "Extension.Crash")
    assert second.function_error == ""
    assert len(set(lab.lines(environment, "dies"))) == 2
    assert "reset" in lab.kinds(environment)


def test_a_response_is_not_held_back_by_an_extension(lab):
    """The caller has its answer while the extension still works; the invoke ends later."""
    environment = lab.start(lab.extension("busy", "register()\nwhile True:\n next(); time.sleep(0.4)"))

    lab.invoke(environment)
    answered_in = environment.platform.phase
    environment.idle(5)

    assert answered_in == "invoke"
    ended = environment.log.of_kind("invoke_end")[0]
    assert ended["duration_ms"] > 400
    assert environment.log.of_kind("response")[0]["duration_ms"] < ended["duration_ms"]


def test_a_function_that_overruns_times_out_and_is_reset_with_its_tmp_kept(lab):
    """Timeout: the caller is told, extensions get SHUTDOWN with reason timeout, /tmp survives."""
    function = lab.function(
        "import os, time\n"
        "def handler(event, context):\n"
        "    path = '/tmp/kept-' + str(os.getuid()) + event['id']\n"
        "    if os.path.exists(path): os.unlink(path); return 'kept'\n"
        "    open(path, 'w').close(); time.sleep(30)\n"
    )
    environment = lab.start(
        lab.extension("ext", "register()\nwhile True:\n s, e = next(); say(e.get('shutdownReason'))\n"
                      " if e['eventType'] == 'SHUTDOWN': sys.exit(0)"),
        function=function, timeout=1.0,
    )  # fmt: skip

    first = lab.invoke(environment, {"id": str(os.getpid())})
    second = lab.invoke(environment, {"id": str(os.getpid())})

    assert json.loads(first.payload)["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert json.loads(second.payload) == "kept"
    assert lab.lines(environment, "ext")[:2] == ["None", "timeout"]


def test_a_handler_that_raises_is_the_functions_own_affair(lab):
    """The environment stays healthy; the caller gets the error."""
    environment = lab.start(function=lab.function("def handler(event, context):\n    raise ValueError('bang')\n"))

    result = lab.invoke(environment)

    assert (result.function_error, error_type(result)) == ("Unhandled", "ValueError")
    assert environment.platform.healthy


def test_a_handler_that_cannot_be_imported_fails_the_invoke(lab):
    """Init fails twice, then the caller gets the runtime's own error."""
    environment = lab.start(function=lab.function("import nonsense_module\n"))

    result = lab.invoke(environment)

    assert error_type(result) == "Runtime.ImportModuleError"
    assert not environment.platform.healthy


def test_a_runtime_that_exits_fails_the_invoke(lab):
    """Runtime.ExitError with the exit status, and SHUTDOWN reason failure for extensions."""
    function = lab.function("import os\ndef handler(event, context):\n    os._exit(3)\n")
    environment = lab.start(function=function)

    result = lab.invoke(environment)

    assert error_type(result) == "Runtime.ExitError"
    assert "Runtime exited with error: exit status 3" in json.loads(result.payload)["errorMessage"]


def test_a_file_that_is_not_executable_is_a_launch_error(lab):
    """Extension.LaunchError with the reason PermissionDenied."""
    environment = lab.start(lab.extension("plain", "loop()", mode=0o644))

    assert error_type(lab.invoke(environment)) == "Extension.LaunchError"
    assert environment.log.of_kind("launch_error")[0]["error_type"] == "PermissionDenied"


def test_a_crlf_shebang_is_a_launch_error_that_says_so(lab):
    """exec says only "no such file": the record says why."""
    path = lab.folder / "windows"
    path.write_bytes(b"#!/bin/sh\r\nexit 0\r\n")
    path.chmod(0o755)
    environment = lab.start(path)

    assert error_type(lab.invoke(environment)) == "Extension.LaunchError"
    assert "Unix line ends" in environment.log.of_kind("launch_error")[0]["detail"]


@pytest.mark.parametrize(("count", "expected"), [(10, ""), (11, "Extension.LaunchError")])
def test_ten_extensions_run_and_eleven_do_not(lab, count, expected):
    """The limit of an environment."""
    scripts = [lab.extension(f"ext-{number:02}", "register(); loop()") for number in range(count)]
    environment = lab.start(*scripts, timeout=10.0)

    assert lab.invoke(environment).error_type == expected


def test_only_subscribers_to_invoke_hold_an_invoke_open(lab):
    """An extension that registered for SHUTDOWN alone gets no INVOKE and delays nothing."""
    environment = lab.start(lab.extension("ext", "register(['SHUTDOWN']); loop()"))

    lab.invoke(environment)
    environment.shutdown()

    assert lab.lines(environment, "ext") == ["SHUTDOWN"]


def test_an_extension_without_shutdown_is_killed_without_notice(lab):
    """Not subscribed to SHUTDOWN: SIGKILL, no event."""
    environment = lab.start(lab.extension("ext", "register(['INVOKE']); loop()"))

    lab.invoke(environment)
    assert environment.idle(5)
    environment.shutdown()

    assert lab.lines(environment, "ext") == ["INVOKE"]
    assert lab.exits(environment)["ext"] == "signal: kill"


def test_an_extension_that_does_not_end_is_killed_at_the_deadline(lab):
    """SIGKILL when the 2000 ms are over."""
    environment = lab.start(lab.extension("ext", "register()\nwhile True:\n  next(); say('event')"))

    lab.invoke(environment)
    environment.shutdown()

    assert lab.exits(environment)["ext"] == "signal: kill"
    assert environment.log.of_kind("shutdown_start")[-1]["budget_ms"] == 2000


def test_processes_are_frozen_between_invokes(lab):
    """SIGSTOP after an invoke, SIGCONT before the next: a ticking extension is silent in between."""
    environment = lab.start(lab.extension("ext", "register(); loop()"))

    lab.invoke(environment)
    pid = next(e["pid"] for e in environment.log.of_kind("process_start") if e["party"] == "ext")
    lab.until(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] == "T")
    lab.invoke(environment)

    assert [kind for kind in lab.kinds(environment) if kind in ("freeze", "thaw")][:2] == ["freeze", "thaw"]


def test_init_error_and_exit_take_the_reported_type(lab):
    """init/error is recorded, takes effect at the exit, and names the failure."""
    environment = lab.start(lab.extension("ext", "register(); say(fail('init')[0]); sys.exit(1)"))

    assert error_type(lab.invoke(environment)) == "Extension.InitError"
    assert lab.lines(environment, "ext")[0] == "202"


def test_exit_error_during_an_invoke(lab):
    """exit/error, then exit: Extension.ExitError."""
    environment = lab.start(lab.extension("ext", "register(); next(); fail('exit'); sys.exit(1)"))

    assert error_type(lab.invoke(environment, {"spend_ms": 300})) == "Extension.ExitError"


def test_provisioned_concurrency_initialises_before_the_first_invoke(lab):
    """Eager init: everything is ready and frozen before anybody invokes."""
    environment = lab.start(lab.extension("ext", "register(); loop()"), init_type="provisioned-concurrency")
    environment.start()
    while "init_end" not in lab.kinds(environment):
        pass

    lab.invoke(environment)

    assert lab.kinds(environment).index("init_end") < lab.kinds(environment).index("invoke_start")


def test_two_environments_live_side_by_side(lab):
    """Each has its own API, processes and identifiers."""
    script = lab.extension("ext", "register(); say(identifier); loop()")
    one, two = lab.start(script), lab.start(script)

    futures = [environment.invoke(b'{"spend_ms": 50}') for environment in (one, two)]

    assert [future.result(20).function_error for future in futures] == ["", ""]
    assert lab.lines(one, "ext")[0] != lab.lines(two, "ext")[0]


REFUSALS = [
    ("register(name='')", 403, "Extension.InvalidExtensionName"),
    ("register(['BOGUS'])", 403, "Extension.InvalidEventType"),
    ("register(['invoke'])", 403, "Extension.InvalidEventType"),
    ("register(name='somebody')", 403, "Extension.InvalidEventType"),
    ("(lambda r: (r[0], json.loads(r[2])))(call('POST', 'register', 'not json', Lambda_Extension_Name=name))",
     403, "InvalidRequestFormat"),
    ("(lambda r: (r[0], json.loads(r[2])))(call('POST', 'register', '', Lambda_Extension_Name=name))",
     403, "InvalidRequestFormat"),
    ("(lambda r: (r[0], json.loads(r[2])))(call('POST', 'register', '{\"events\": \"INVOKE\"}',"
     " Lambda_Extension_Name=name))", 403, "InvalidRequestFormat"),
    ("(lambda r: (r[0], json.loads(r[2])))(call('POST', 'register', '{\"configurationKeys\": [\"a\"]}',"
     " Lambda_Extension_Name=name))", 403, "InvalidRequestFormat"),
    ("(lambda r: (r[0], json.loads(r[2])))(call('GET', 'event/next'))", 403, "Extension.MissingExtensionIdentifier"),
    ("(lambda r: (r[0], json.loads(r[2])))(call('GET', 'event/next', Lambda_Extension_Identifier='x'))",
     403, "Extension.InvalidExtensionIdentifier"),
    ("(lambda r: (r[0], json.loads(r[2])))(call('GET', 'event/next',"
     " Lambda_Extension_Identifier='00000000-0000-0000-0000-000000000000'))", 403, "Extension.UnknownExtensionIdentifier"),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "status", "wanted"), REFUSALS)
def test_refusals_before_registration(lab, request_, status, wanted):
    """Each row of the error table that can be met before registering; afterwards the extension registers and works."""
    script = f"global_answer = {request_}\nsay(json.dumps(global_answer)); register(); loop()"
    environment = lab.start(lab.extension("ext", script))

    result = lab.invoke(environment)

    answer = json.loads(lab.lines(environment, "ext")[0])
    assert (answer[0], answer[1]["errorType"]) == (status, wanted)
    assert result.function_error == ""


def test_registering_twice_is_refused(lab):
    """403 InvalidExtensionState, in the words of AWS's emulator."""
    environment = lab.start(
        lab.extension("ext", "register(); old = identifier; say(json.dumps(register())); identifier = old; loop()")
    )

    lab.invoke(environment)

    status, body = json.loads(lab.lines(environment, "ext")[0])
    assert (status, body["errorType"]) == (403, "Extension.InvalidExtensionState")
    assert body["errorMessage"] == (
        "State transition from Registered to Registered failed for extension ext. Error: State transition is not allowed"
    )


def test_errors_without_a_type_and_at_the_wrong_time_are_refused(lab):
    """exit/error without its header, init/error after init."""
    script = """
register()
first = call("POST", "exit/error", Lambda_Extension_Identifier=identifier)
say(first[0], json.loads(first[2])["errorType"])
next()
second = fail("init")
say(second[0], json.loads(second[2])["errorType"])
loop()
"""
    environment = lab.start(lab.extension("ext", script))

    lab.invoke(environment)
    environment.idle(5)

    assert lab.lines(environment, "ext")[:2] == ["403 Extension.MissingHeader", "403 Extension.InvalidExtensionState"]


def test_a_second_next_is_refused_and_the_first_goes_on_waiting(lab):
    """Ready to Ready is no transition."""
    script = """
import threading
register()
def second():
    time.sleep(0.2)
    other = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    other.request("GET", "/2020-01-01/extension/event/next", headers={"Lambda-Extension-Identifier": identifier})
    answer = other.getresponse()
    say(answer.status, json.loads(answer.read())["errorType"])
threading.Thread(target=second).start()
loop()
"""
    environment = lab.start(lab.extension("ext", script), freeze=False)

    lab.invoke(environment, {"spend_ms": 0})
    lab.invoke(environment, {"spend_ms": 400})
    environment.shutdown()

    seen = lab.lines(environment, "ext")
    assert sorted(seen) == ["403 Extension.InvalidExtensionState", "INVOKE", "INVOKE", "SHUTDOWN"]


def test_an_internal_extension_registers_and_sees_invokes(lab):
    """From inside the runtime's process, with the kit's own function."""
    function = lab.function(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from extension_kit import register_internal\n"
        "seen = []\n"
        "registration = register_internal('inside', seen.append)\n"
        "def handler(event, context):\n"
        "    import time; time.sleep(0.05)\n"
        "    return [registration.function_name, [one.request_id for one in seen] == [context.aws_request_id]]\n"
    )
    environment = lab.start(function=function, function_name="orders")

    result = lab.invoke(environment)
    environment.shutdown()

    assert json.loads(result.payload) == ["orders", True]
    assert environment.log.of_kind("shutdown_start")[-1]["budget_ms"] == 500
    assert lab.exits(environment) == {"runtime": "signal: term"}


def test_without_extensions_the_runtime_is_killed_at_once(lab):
    """Budget 0: SIGKILL, no SIGTERM."""
    environment = lab.start()

    lab.invoke(environment)
    environment.shutdown()

    assert lab.exits(environment) == {"runtime": "signal: kill"}


def test_extensions_do_not_see_what_lambda_hides(lab):
    """The filtered environment of design and documentation."""
    environment = lab.start(lab.extension("ext", "register(); say(json.dumps(dict(os.environ))); loop()"))

    lab.invoke(environment)

    seen = json.loads(lab.lines(environment, "ext")[0])
    assert not {"LAMBDA_TASK_ROOT", "_HANDLER", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME"} & set(seen)
    assert {"AWS_LAMBDA_RUNTIME_API", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_LAMBDA_INITIALIZATION_TYPE"} <= set(seen)


def test_registration_by_internal_extensions_closes_with_init(lab):
    """A name that is no file, INVOKE only, after the runtime is ready: RegistrationClosed."""
    script = "register(); next(); say(json.dumps(register(['INVOKE'], name='late'))); sys.exit(0)"
    environment = lab.start(lab.extension("ext", script))

    lab.invoke(environment, {"spend_ms": 300})

    assert json.loads(lab.lines(environment, "ext")[0])[1]["errorType"] == "Extension.RegistrationClosed"


def test_a_wrong_name_registers_as_internal_and_init_waits_for_the_file(lab):
    """The trap of a name mismatch: 200 for the wrong name, and the file's own registration is awaited in vain."""
    script = "say(register(['INVOKE'], name='Ext')[0]); next()"
    environment = lab.start(lab.extension("ext", script), init_limit=0.5, timeout=0.5)

    result = lab.invoke(environment)

    assert error_type(result) == "Sandbox.Timedout"
    assert lab.lines(environment, "ext")[0] == "200"
    assert "ext (Started)" in environment.log.of_kind("init_end")[0]["detail"]


def test_an_internal_name_is_taken_once_and_ten_are_the_limit(lab):
    """External and internal extensions count together."""
    script = """
answers = [register(['INVOKE'], name='in-%d' % n)[1].get('errorType') for n in (1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)]
say(json.dumps(answers)); sys.exit(0)
"""
    environment = lab.start(lab.extension("ext", script))

    lab.invoke(environment)

    wanted = [None, "Extension.InvalidExtensionState", *[None] * 8, "Extension.TooManyExtensions"]
    assert json.loads(lab.lines(environment, "ext")[0]) == wanted


def test_an_identifier_does_not_outlive_a_reset(lab):
    """UnknownExtensionIdentifier for one that was kept."""
    script = """
path = "/tmp/old-id-%d" % os.getuid()
register()
if os.path.exists(path):
    answer = call("GET", "event/next", Lambda_Extension_Identifier=open(path).read())
    say(json.loads(answer[2])["errorType"]); os.unlink(path); loop()
open(path, "w").write(identifier); next(); os._exit(1)
"""
    environment = lab.start(lab.extension("ext", script))

    lab.invoke(environment, {"spend_ms": 300})
    lab.invoke(environment)

    assert lab.lines(environment, "ext")[0] == "Extension.UnknownExtensionIdentifier"


def test_an_extension_that_dies_between_invokes_fails_the_next_one_only(lab):
    """Noticed at the next invoke, as by AWS's emulator; the one after recovers."""
    script = """
path = "/tmp/died-%d" % os.getuid()
register()
if os.path.exists(path): os.unlink(path); loop()
import threading
threading.Timer(0.3, lambda: (open(path, "w").close(), os._exit(5))).start()
loop()
"""
    environment = lab.start(lab.extension("ext", script), freeze=False)

    first = lab.invoke(environment)
    while "process_exit" not in lab.kinds(environment):
        time.sleep(0.01)
    second, third = lab.invoke(environment), lab.invoke(environment)

    assert [one.error_type for one in (first, second, third)] == ["", "Extension.Crash", ""]


def test_after_init_error_nothing_but_the_end_is_possible(lab):
    """next and register answer 403; a repeated error answers 202 and the first one counts."""
    script = """
register()
say(fail("init", "Extension.First")[0], fail("init", "Extension.Second")[0], next()[0])
sys.exit(1)
"""
    environment = lab.start(lab.extension("ext", script))

    lab.invoke(environment)

    assert lab.lines(environment, "ext")[0] == "202 202 403"


def test_a_runtime_that_ignores_sigterm_is_killed_after_its_share(lab):
    """300 ms of the 2000, then SIGKILL; the extension still has its time."""
    function = lab.function(
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ndef handler(event, context): return 1\n"
    )
    script = """
register()
while True:
    status, event = next()
    if event["eventType"] == "SHUTDOWN":
        say(event["deadlineMs"] - time.time() * 1000 > 1000)
        sys.exit(0)
"""
    environment = lab.start(lab.extension("ext", script), function=function)

    lab.invoke(environment)
    environment.shutdown()

    assert lab.exits(environment) == {"runtime": "signal: kill", "ext": "exit status 0"}
    assert lab.lines(environment, "ext") == ["True"]


@pytest.mark.parametrize(("events", "status"), [(["INVOKE", "SHUTDOWN"], 403), (["SHUTDOWN"], 200), ([], 200)])
def test_managed_instances_refuse_invoke(lab, events, status):
    """Their registration rules; internal ones may have no event at all."""
    script = f"say(register({events})[0], register(['INVOKE'], name='inside')[0], register([], name='inside')[0]); sys.exit(0)"
    environment = lab.start(lab.extension("ext", script), init_type="lambda-managed-instances")

    environment.start()
    while not lab.lines(environment, "ext"):
        time.sleep(0.01)

    assert lab.lines(environment, "ext")[0] == f"{status} 403 200"


def test_a_process_that_outlives_its_environment_is_told_of_a_container_error(lab):
    """500, the one answer after which an extension should exit: here by a child that asks after the reset."""
    script = """
register()
if os.fork() == 0:
    os.setsid()
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.01)
    time.sleep(0.2)
    api.close()
    next()
else:
    loop()
"""
    function = lab.function("import time\ndef handler(event, context): time.sleep(60)\n")
    environment = lab.start(lab.extension("ext", script), function=function, timeout=0.3)
    lab.invoke(environment)

    def last_answer() -> int:
        return environment.log.of_kind("answer")[-1]["status"]

    lab.until(lambda: last_answer() == 500)
    assert environment.log.of_kind("answer")[-1]["call"] == "extension/event/next"


def ended(pid: str) -> bool:
    """Gone, or a zombie that its new parent has yet to collect."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_daemon_that_leaves_its_group_is_ended_with_the_environment(lab):
    """What an extension starts in a session of its own is found and ended."""
    script = """
import subprocess
register()
say(subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
loop()
"""
    environment = lab.start(lab.extension("ext", script))

    lab.invoke(environment)
    pid = lab.lines(environment, "ext")[0]
    environment.shutdown()

    assert "swept" in lab.kinds(environment)
    lab.until(lambda: ended(pid))


def test_the_responses_of_a_runtime_are_checked(lab):
    """A wrong request id, a second response, a bad response mode: refused; the right one goes through."""
    bootstrap = lab.folder / "bootstrap"
    bootstrap.write_text(
        "#!/usr/bin/env python3\n"
        "import http.client, json, os, time\n"
        "api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        "def call(method, path, body=None, headers={}):\n"
        "    api.request(method, '/2018-06-01/runtime/' + path, body, headers)\n"
        "    answer = api.getresponse(); return answer.status, answer.headers, answer.read()\n"
        "def kind(answer): return answer[0], json.loads(answer[2]).get('errorType', '')\n"
        "while True:\n"
        "    request = call('GET', 'invocation/next')[1]['Lambda-Runtime-Aws-Request-Id']\n"
        "    mode = {'Lambda-Runtime-Function-Response-Mode': 'buffered'}\n"
        "    print(kind(call('POST', 'invocation/other/response', '1')),\n"
        "          kind(call('POST', 'invocation/%s/response' % request, '1', mode)),\n"
        "          kind(call('POST', 'invocation/%s/response' % request, '[1]')),\n"
        "          kind(call('POST', 'invocation/%s/response' % request, '2')),\n"
        "          kind(call('POST', 'init/error', '{}')), flush=True)\n"
    )
    bootstrap.chmod(0o755)
    environment = lab.start(bootstrap=bootstrap)

    result = lab.invoke(environment)
    lab.until(lambda: bool(lab.lines(environment, "runtime")))

    assert result.payload == b"[1]"
    assert lab.lines(environment, "runtime")[0] == (
        "(400, 'InvalidRequestID') (400, 'InvalidFunctionResponseMode') (202, '') "
        "(403, 'InvalidStateTransition') (403, 'InvalidStateTransition')"
    )


@pytest.mark.parametrize(("size", "error"), [(6_291_554, ""), (6_291_555, "Function.ResponseSizeTooLarge")])
def test_responses_up_to_six_mebibytes_pass(lab, size, error):
    """6 MiB and 100 bytes, quotes included; one byte more is an error of the function."""
    function = lab.function(f"def handler(event, context):\n    return 'x' * {size}\n")
    environment = lab.start(function=function)

    result = lab.invoke(environment)

    assert result.error_type == error
    assert error or len(result.payload) == size + 2
