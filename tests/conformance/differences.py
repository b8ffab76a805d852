"""Where our emulator and AWS's differ: one scenario and field a row, what either says, and why.

A row that no longer differs, and a difference that has no row, turn the suite red.
"""

from __future__ import annotations

from typing import Any

#: Why, with the source of the fact.
REASONS: dict[str, str] = {
    "reason": (
        "Lambda names the reasons spindown, timeout and failure (AWS docs, Extensions API); its emulator "
        "has names of its own."
    ),
    "invoke-api": (
        "Lambda's Invoke API answers 200 with X-Amz-Function-Error and an error object (AWS docs, "
        "Invoke); its emulator answers 502 or a bare text."
    ),
    "wording": "The sentence comes from Go's JSON decoder there, from Python's here; type and status agree.",
    "found-dead": "AWS's emulator words an exit that it finds at the next invoke otherwise (measured).",
    "suppressed-init": (
        "Lambda tries a failed init again inside the first invoke (AWS docs, runtime environment); its "
        "emulator does not."
    ),
    "account-id": (
        "Lambda tells the account id when asked (AWS docs, Extensions API); its emulator has none to "
        "tell in classic mode."
    ),
    "trace": (
        "Lambda makes a trace header where the caller sends none (AWS docs, X-Ray); its emulator sends no tracing then."
    ),
    "environment": (
        "Lambda hides these from extensions and tells the initialisation type (AWS docs, environment "
        "variables); its emulator hands on what it was given."
    ),
    "deadline": (
        "Lambda's first init has a time of its own (AWS docs, runtime environment); in its emulator the "
        "invoke's clock runs during init."
    ),
    "init-limit": (
        "Lambda's first init has 10 seconds (here 1), then is tried again inside the invoke (AWS docs, "
        "runtime environment); its emulator waits as long as the function may run."
    ),
    "response-first": (
        "Lambda returns the response before the extensions are done (AWS docs, Extensions API); its "
        "emulator waits for them."
    ),
}

#: (scenario, field): (ours, AWS's emulator's, why)
TABLE: dict[tuple[str, str], tuple[Any, Any, str]] = {
    ("an ordinary life", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("two extensions", "one 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("two extensions", "two 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("account id asked for", "probe 1 extension/register: body keys"): (
        "functionName functionVersion handler accountId",
        "functionName functionVersion handler",
        "account-id",
    ),
    ("account id asked for", "probe 1 extension/register: body.accountId"): (
        '"012345678912"',
        "(absent)",
        "account-id",
    ),
    ("account id asked for", "probe 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("shutdown only", "probe 2 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("a body that is a list", "probe 1 extension/register: body.errorMessage"): (
        '"cannot unmarshal list into RegisterRequest"',
        '"json: cannot unmarshal array into Go value of type struct { handler.RegisterRequest; '
        'ConfigurationKeys []string \\"json:\\\\\\"configurationKeys\\\\\\"\\" }"',
        "wording",
    ),
    ("a body that is a list", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("empty name", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("no name", "probe 4 extension/event/next: body.shutdownReason"): ('"spindown"', '"SandboxTerminated"', "reason"),
    ("unknown event", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("lower-case event", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("body that is no JSON", "probe 1 extension/register: body.errorMessage"): (
        '"Expecting value: line 1 column 1 (char 0)"',
        "\"invalid character 'o' in literal null (expecting 'u')\"",
        "wording",
    ),
    ("body that is no JSON", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("no body", "probe 4 extension/event/next: body.shutdownReason"): ('"spindown"', '"SandboxTerminated"', "reason"),
    ("events that are no list", "probe 1 extension/register: body.errorMessage"): (
        '"cannot unmarshal RegisterRequest.events: a list of strings is wanted"',
        '"json: cannot unmarshal number into Go struct field .RegisterRequest.events of type []core.Event"',
        "wording",
    ),
    ("events that are no list", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("configuration keys", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("registering twice", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("a wrong name with SHUTDOWN", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("an internal name, twice", "probe 5 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("registering after init", "probe 6 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("next without an identifier", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("next with no uuid", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("next with an unknown uuid", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("a second next", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("error without a type", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("init error, then next, then exit", "invoke 1: status"): (200, 502, "invoke-api"),
    ("init error, then next, then exit", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("init error, then next, then exit", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("init error, then next, then exit", "invoke 1: body"): ("(absent)", "", "invoke-api"),
    ("init error, then next, then exit", "probe: exchanges"): (6, 3, "suppressed-init"),
    ("init error, then next, then exit", "probe 4 extension/register: exchange"): (
        "present",
        "(absent)",
        "suppressed-init",
    ),
    ("init error, then next, then exit", "probe 5 extension/init/error: exchange"): (
        "present",
        "(absent)",
        "suppressed-init",
    ),
    ("init error, then next, then exit", "probe 6 extension/event/next: exchange"): (
        "present",
        "(absent)",
        "suppressed-init",
    ),
    ("init error after init", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("exit error in an invoke", "invoke 1: status"): (200, 502, "invoke-api"),
    ("telemetry", "probe 4 extension/event/next: body.shutdownReason"): ('"spindown"', '"SandboxTerminated"', "reason"),
    ("logs", "probe 4 extension/event/next: body.shutdownReason"): ('"spindown"', '"SandboxTerminated"', "reason"),
    ("other paths and methods", "probe 8 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("no trace header", "probe 2 extension/event/next: body keys"): (
        "eventType deadlineMs requestId invokedFunctionArn tracing",
        "eventType deadlineMs requestId invokedFunctionArn",
        "trace",
    ),
    ("no trace header", "probe 2 extension/event/next: body.tracing"): (
        '{"type": "X-Amzn-Trace-Id", "value": "<new trace>"}',
        "(absent)",
        "trace",
    ),
    ("no trace header", "probe 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("what stands in the environment", "probe 2 environment: AWS_LAMBDA_INITIALIZATION_TYPE"): (
        "set",
        "(absent)",
        "environment",
    ),
    ("what stands in the environment", "probe 2 environment: AWS_EXECUTION_ENV"): ("(absent)", "set", "environment"),
    ("what stands in the environment", "probe 2 environment: AWS_LAMBDA_FUNCTION_TIMEOUT"): (
        "(absent)",
        "set",
        "environment",
    ),
    ("what stands in the environment", "probe 2 environment: AWS_LAMBDA_LOG_GROUP_NAME"): (
        "(absent)",
        "set",
        "environment",
    ),
    ("what stands in the environment", "probe 2 environment: AWS_LAMBDA_LOG_STREAM_NAME"): (
        "(absent)",
        "set",
        "environment",
    ),
    ("what stands in the environment", "probe 2 environment: LAMBDA_RUNTIME_DIR"): ("(absent)", "set", "environment"),
    ("what stands in the environment", "probe 2 environment: LAMBDA_TASK_ROOT"): ("(absent)", "set", "environment"),
    ("what stands in the environment", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("a slow init and the deadline", "probe 3 seconds left: body"): ("4", "3", "deadline"),
    ("a slow init and the deadline", "probe 4 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("an init beyond Lambda's limit", "probe: exchanges"): (5, 3, "init-limit"),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: type"): (
        "text/plain; charset=utf-8",
        "application/json",
        "init-limit",
    ),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: event_id"): (False, True, "init-limit"),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: body keys"): (
        "eventType deadlineMs shutdownReason",
        "eventType deadlineMs requestId invokedFunctionArn tracing",
        "init-limit",
    ),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: body.eventType"): (
        '"SHUTDOWN"',
        '"INVOKE"',
        "init-limit",
    ),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: body.shutdownReason"): (
        '"timeout"',
        "(absent)",
        "init-limit",
    ),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: body.requestId"): (
        "(absent)",
        '"<uuid>"',
        "init-limit",
    ),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: body.invokedFunctionArn"): (
        "(absent)",
        '"arn:aws:lambda:us-east-1:012345678912:function:myfn"',
        "init-limit",
    ),
    ("an init beyond Lambda's limit", "probe 2 extension/event/next: body.tracing"): (
        "(absent)",
        '{"type": "X-Amzn-Trace-Id", "value": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"}',
        "init-limit",
    ),
    ("an init beyond Lambda's limit", "probe 3 extension/register: exchange"): ("present", "(absent)", "init-limit"),
    ("an init beyond Lambda's limit", "probe 4 extension/event/next: exchange"): ("present", "(absent)", "init-limit"),
    ("an init beyond Lambda's limit", "probe 5 extension/event/next: exchange"): ("present", "(absent)", "init-limit"),
    ("an init beyond Lambda's limit", "probe 3 extension/event/next: exchange"): ("(absent)", "present", "init-limit"),
    ("the time that SHUTDOWN leaves", "probe 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("a handler that raises", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("a handler that raises", "probe 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("a handler that cannot be imported", "invoke 1: status"): (200, 502, "invoke-api"),
    ("a handler that cannot be imported", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("a handler that cannot be imported", "probe: exchanges"): (4, 2, "suppressed-init"),
    ("a handler that cannot be imported", "probe 2 extension/event/next: body.shutdownReason"): (
        '"failure"',
        '"spindown"',
        "reason",
    ),
    ("a handler that cannot be imported", "probe 3 extension/register: exchange"): (
        "present",
        "(absent)",
        "suppressed-init",
    ),
    ("a handler that cannot be imported", "probe 4 extension/event/next: exchange"): (
        "present",
        "(absent)",
        "suppressed-init",
    ),
    ("a runtime that exits", "invoke 1: status"): (200, 502, "invoke-api"),
    ("a runtime that exits", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("a runtime that exits", "probe 3 extension/event/next: body.shutdownReason"): (
        '"failure"',
        '"ReleaseFail"',
        "reason",
    ),
    ("a function that overruns", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("a function that overruns", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("a function that overruns", "invoke 1: body"): ("(absent)", "Task timed out after 1.00 seconds", "invoke-api"),
    ("a function that overruns", "probe 3 extension/event/next: body.shutdownReason"): (
        '"timeout"',
        '"Timeout"',
        "reason",
    ),
    ("a function that overruns", "probe 6 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("an exit before register", "invoke 1: status"): (200, 502, "invoke-api"),
    ("an exit before register", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("an exit before register", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("an exit before register", "invoke 1: body"): ("(absent)", "", "invoke-api"),
    ("an exit after register", "invoke 1: status"): (200, 502, "invoke-api"),
    ("an exit after register", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("an exit after register", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("an exit after register", "invoke 1: body"): ("(absent)", "", "invoke-api"),
    ("an exit after register", "probe: exchanges"): (2, 1, "suppressed-init"),
    ("an exit after register", "probe 2 extension/register: exchange"): ("present", "(absent)", "suppressed-init"),
    ("an exit in an invoke", "invoke 1: status"): (200, 502, "invoke-api"),
    ("an exit in an invoke", "invoke 2: status"): (200, 502, "invoke-api"),
    ("an exit between invokes", "invoke 2: status"): (200, 502, "invoke-api"),
    ("an exit between invokes", "invoke 2: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("an exit between invokes", "invoke 2: body.errorMessage"): (
        '"RequestId: <uuid> Error: exit status 0"',
        '"RequestId: <uuid> Error: exit code 0"',
        "found-dead",
    ),
    ("never registers", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("never registers", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("never registers", "invoke 1: body"): ("(absent)", "Task timed out after 1.00 seconds", "invoke-api"),
    ("never calls next", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("never calls next", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("never calls next", "invoke 1: body"): ("(absent)", "Task timed out after 1.00 seconds", "invoke-api"),
    ("never calls next", "probe: exchanges"): (2, 1, "suppressed-init"),
    ("never calls next", "probe 2 extension/register: exchange"): ("present", "(absent)", "suppressed-init"),
    ("never calls next again", "invoke 1: body keys"): ("ok", "(absent)", "response-first"),
    ("never calls next again", "invoke 1: body"): ("(absent)", "Task timed out after 1.00 seconds", "response-first"),
    ("ends after the deadline", "probe 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("next after SHUTDOWN", "probe 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e0 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e1 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e2 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e3 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e4 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e5 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e6 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e7 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e8 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("ten extensions", "e9 3 extension/event/next: body.shutdownReason"): (
        '"spindown"',
        '"SandboxTerminated"',
        "reason",
    ),
    ("eleven extensions", "invoke 1: status"): (200, 502, "invoke-api"),
    ("eleven extensions", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("eleven extensions", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("eleven extensions", "invoke 1: body"): ("(absent)", "", "invoke-api"),
    ("a file that is not executable", "invoke 1: status"): (200, 502, "invoke-api"),
    ("a file that is not executable", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("a file that is not executable", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("a file that is not executable", "invoke 1: body"): ("(absent)", "", "invoke-api"),
    ("a shebang with CR LF", "invoke 1: status"): (200, 502, "invoke-api"),
    ("a shebang with CR LF", "invoke 1: x-amz-function-error"): ("Unhandled", "absent", "invoke-api"),
    ("a shebang with CR LF", "invoke 1: body keys"): ("errorType errorMessage", "(absent)", "invoke-api"),
    ("a shebang with CR LF", "invoke 1: body"): ("(absent)", "", "invoke-api"),
}
