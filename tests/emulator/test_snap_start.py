"""SnapStart: the runtime waits in restore/next until an invoke resumes the snapshot; extensions are not told."""

from __future__ import annotations

import json

HOOK = """
from snapshot_restore_py import register_after_restore
def hook():
    {hook}
register_after_restore(hook)
def handler(event, context):
    print("handled", flush=True)
    return "ok"
"""


def test_hooks_run_after_the_restore_and_before_the_event(lab):
    """awslambdaric itself asks for restore/next; INVOKE reaches the extension after the hooks."""
    function = lab.function(HOOK.format(hook='print("restored", flush=True)'))
    environment = lab.start(lab.extension("ext", "register(); loop()"), function=function, init_type="snap-start")

    assert lab.invoke(environment).payload == b'"ok"'
    assert lab.invoke(environment).payload == b'"ok"'
    assert environment.idle(5)
    environment.shutdown()

    assert lab.lines(environment, "runtime") == ["restored", "handled", "handled"]
    assert lab.lines(environment, "ext") == ["INVOKE", "INVOKE", "SHUTDOWN"]
    kinds = [
        kind
        for kind in lab.kinds(environment)
        if kind.startswith(("init", "restore", "invoke")) and kind != "invoke_given"
    ]
    assert kinds == [
        *("init_start", "init_end", "invoke_start", "restore_start", "restore_end", "invoke_end"),
        *("invoke_start", "invoke_end"),
    ]  # fmt: skip


def test_the_functions_time_does_not_pay_for_the_restore(lab):
    """A hook may take longer than the function's timeout."""
    function = lab.function(HOOK.format(hook="import time; time.sleep(0.6)"))
    environment = lab.start(function=function, init_type="snap-start", timeout=0.5)

    assert lab.invoke(environment).payload == b'"ok"'


def test_a_hook_that_raises_fails_the_invoke_with_its_own_account(lab):
    """restore/error, then the runtime's exit: Runtime.AfterRestoreError reaches the caller, the environment is reset."""
    function = lab.function(HOOK.format(hook='raise ValueError("stale socket")'))
    environment = lab.start(function=function, init_type="snap-start")

    result = lab.invoke(environment)

    assert result.error_type == "Runtime.AfterRestoreError"
    assert json.loads(result.payload)["errorMessage"] == "stale socket"
    assert "reset" in lab.kinds(environment)


def test_a_restore_that_overruns_its_limit_is_ended(lab):
    """10 s on Lambda; what the caller gets names the restore."""
    function = lab.function(HOOK.format(hook="import time; time.sleep(60)"))
    environment = lab.start(function=function, init_type="snap-start", restore_limit=0.3)

    result = lab.invoke(environment)

    assert result.error_type == "Runtime.Unknown"
    assert b"restore did not end within" in result.payload


def test_only_snap_start_has_restore_calls(lab):
    """404 elsewhere; 403 for a restore/error of a runtime that was not restored."""
    script = """#!/bin/sh
ask() { curl -s -o /dev/null -w '%{http_code}\\n' "$@"; }
base=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/restore
[ "$AWS_LAMBDA_INITIALIZATION_TYPE" = snap-start ] || ask $base/next
ask -X POST -d '{}' $base/error
exec sleep 60
"""
    bootstrap = lab.folder / "bootstrap"
    bootstrap.write_text(script)
    bootstrap.chmod(0o755)
    for init_type, statuses in (("on-demand", ["404", "404"]), ("snap-start", ["403"])):
        environment = lab.start(bootstrap=bootstrap, init_type=init_type, timeout=1.0)
        environment.invoke(b"{}")
        lab.until(lambda: len(lab.lines(environment, "runtime")) == len(statuses))  # noqa: B023 - called at once
        assert lab.lines(environment, "runtime") == statuses


CREDENTIALS = """
import json, os, urllib.request
def ask():
    request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
    request.add_header("Authorization", os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
    return json.load(urllib.request.urlopen(request))["AccessKeyId"]
before = ask()
def handler(event, context):
    return [before, ask(), os.environ.get("AWS_SECRET_ACCESS_KEY"), os.environ.get("AWS_SESSION_TOKEN")]
"""


def test_a_snapshot_has_no_keys_and_asks_for_new_ones_after_the_restore(lab):
    """The endpoint of AWS's container credentials, with its token (lambda-apis 7)."""
    environment = lab.start(function=lab.function(CREDENTIALS), init_type="snap-start")

    before, after, key, token = json.loads(lab.invoke(environment).payload)
    assert before != after
    assert (key, token) == (None, None)


def test_credentials_need_the_token_and_a_snapshot(lab):
    """401 without it; 404 in an environment of another kind."""
    code = "import os, urllib.request\ndef handler(event, context):\n    api = os.environ['AWS_LAMBDA_RUNTIME_API']\n"
    code += "    try:\n        urllib.request.urlopen(f'http://{api}/2021-04-23/credentials')\n"
    code += "    except OSError as error:\n        return error.code\n"
    function = lab.function(code)

    for init_type, status in (("snap-start", b"401"), ("on-demand", b"404")):
        environment = lab.start(function=function, init_type=init_type)
        assert lab.invoke(environment).payload == status
