"""What the platform says: events, results and refusals as answers. No state, no decisions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from extension_kit.emulator.model import Result
from extension_kit.protocol.runtime_api import Answer

if TYPE_CHECKING:
    from extension_kit.emulator.model import Invocation, Profile
    from extension_kit.protocol.refusals import Refusal

_JSON = (b"Content-Type", b"application/json")
#: The receipt of both APIs for what was reported.
OK = Answer(202, (_JSON,), b'{"status":"OK"}\n')
#: To a telemetry subscription: a JSON string, as AWS's emulator sends it.
SUBSCRIBED = Answer(200, ((b"Content-Type", b"text/plain; charset=utf-8"),), b'"OK"')
#: What ends a wait in ``restore/next``: nothing but the status counts.
RESTORED = Answer(200)


def registered(profile: Profile, identifier: str, accept_account_id: bool) -> Answer:
    """To an extension that has registered."""
    body = {
        "functionName": profile.function_name,
        "functionVersion": profile.function_version,
        "handler": profile.handler,
    }
    if accept_account_id:
        body["accountId"] = profile.account_id
    return Answer(200, (_JSON, (b"Lambda-Extension-Identifier", identifier.encode())), _compact(body))


def invoke_event(profile: Profile, invocation: Invocation, event_id: str) -> Answer:
    """INVOKE, for an extension."""
    event: dict[str, Any] = {
        "eventType": "INVOKE",
        "deadlineMs": invocation.deadline_ms,
        "requestId": invocation.request_id,
        "invokedFunctionArn": profile.arn,
    }
    if invocation.trace:
        event["tracing"] = {"type": "X-Amzn-Trace-Id", "value": invocation.trace}
    return Answer(200, (_JSON, (b"Lambda-Extension-Event-Identifier", event_id.encode())), _compact(event))


def shutdown_event(reason: str, deadline_ms: int) -> Answer:
    """SHUTDOWN, for an extension; the content type is the one that AWS's emulator sends."""
    event = {"eventType": "SHUTDOWN", "deadlineMs": deadline_ms, "shutdownReason": reason}
    return Answer(200, ((b"Content-Type", b"text/plain; charset=utf-8"),), _compact(event))


def runtime_event(profile: Profile, invocation: Invocation) -> Answer:
    """The function's event, for the runtime."""
    headers = [
        ("Content-Type", "application/json"),
        ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
        ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
        ("Lambda-Runtime-Invoked-Function-Arn", profile.arn),
        ("Lambda-Runtime-Trace-Id", invocation.trace),
        ("Lambda-Runtime-Client-Context", invocation.client_context),
    ]
    pairs = tuple((name.encode(), value.encode()) for name, value in headers if value)
    return Answer(200, pairs, invocation.payload)


def failure(invocation: Invocation, error_type: str, message: str, payload: bytes = b"") -> Result:
    """What the function's caller gets where no function could answer; ``payload``: the runtime's own account of it."""
    text = f"RequestId: {invocation.request_id} Error: {message}"
    body = payload or _compact({"errorType": error_type, "errorMessage": text})
    return Result(invocation.request_id, body, "Unhandled", error_type)


def refused(refusal: Refusal) -> Answer:
    """A refusal; keys in the order in which AWS's emulator writes them."""
    body = {"errorMessage": refusal.message, "errorType": refusal.error_type}
    return Answer(refusal.status, (_JSON,), _compact(body))


def _compact(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
