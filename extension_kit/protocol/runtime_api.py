"""The paths and headers of the Extensions, Runtime and Telemetry APIs: which call a request is.

Source: AWS documentation (Runtime API 2018-06-01, Extensions API 2020-01-01, Telemetry API 2022-07-01, Logs API 2020-08-15)
and, for 404 against 405, AWS's Runtime Interface Emulator.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

__all__ = ["MAX_PAYLOAD", "Answer", "Call", "route"]

#: Largest buffered event or response (bytes): 6 MiB and 100 bytes.
MAX_PAYLOAD = 6_291_556

# The calls, by the names that the lifecycle table gives to their steps where there is one.
PING = "ping"
EXTENSION_REGISTER = "extension/register"
EXTENSION_NEXT = "extension/event/next"
EXTENSION_INIT_ERROR = "extension/init/error"
EXTENSION_EXIT_ERROR = "extension/exit/error"
TELEMETRY = "telemetry"
LOGS = "logs"
RUNTIME_NEXT = "runtime/invocation/next"
RUNTIME_RESPONSE = "runtime/invocation/response"
RUNTIME_ERROR = "runtime/invocation/error"
RUNTIME_INIT_ERROR = "runtime/init/error"
RESTORE_NEXT = "runtime/restore/next"
RESTORE_ERROR = "runtime/restore/error"
METADATA = "metadata/execution-environment"
CREDENTIALS = "credentials"

_FIXED: dict[str, tuple[str, str]] = {
    "/2018-06-01/ping": ("GET", PING),
    "/2020-01-01/extension/register": ("POST", EXTENSION_REGISTER),
    "/2020-01-01/extension/event/next": ("GET", EXTENSION_NEXT),
    "/2020-01-01/extension/init/error": ("POST", EXTENSION_INIT_ERROR),
    "/2020-01-01/extension/exit/error": ("POST", EXTENSION_EXIT_ERROR),
    "/2022-07-01/telemetry": ("PUT", TELEMETRY),
    "/2020-08-15/logs": ("PUT", LOGS),
    "/2018-06-01/runtime/invocation/next": ("GET", RUNTIME_NEXT),
    "/2018-06-01/runtime/init/error": ("POST", RUNTIME_INIT_ERROR),
    "/2018-06-01/runtime/restore/next": ("GET", RESTORE_NEXT),
    "/2018-06-01/runtime/restore/error": ("POST", RESTORE_ERROR),
    "/2026-01-15/metadata/execution-environment": ("GET", METADATA),
    "/2021-04-23/credentials": ("GET", CREDENTIALS),
}
_INVOCATION = "/2018-06-01/runtime/invocation/"


class Call(Value):
    """What a request asks for: ``name`` (a constant of this module) and ``request_id`` ("" unless in the path)."""

    __slots__ = ("name", "request_id")

    name: str
    request_id: str

    def __init__(self, name: str, request_id: str = "") -> None:
        set_field(self, "name", name)
        set_field(self, "request_id", request_id)


class Answer(Value):
    """An HTTP answer: ``status``, ``headers`` (pairs of bytes), ``body``."""

    __slots__ = ("body", "headers", "status")

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b"") -> None:
        set_field(self, "status", status)
        set_field(self, "headers", headers)
        set_field(self, "body", body)


NOT_FOUND = Answer(404, ((b"Content-Type", b"text/plain; charset=utf-8"),), b"404 page not found\n")
METHOD_NOT_ALLOWED = Answer(405)


def route(method: bytes, target: bytes) -> Call | Answer:
    """The call that a request line names, or the answer (404, 405) for one that names none."""
    path = target.split(b"?", 1)[0].decode("latin-1")
    wanted, call = _FIXED.get(path) or _invocation(path)
    if call is None:
        return NOT_FOUND
    if wanted != method.decode("latin-1"):
        return METHOD_NOT_ALLOWED
    return call if isinstance(call, Call) else Call(call)


def _invocation(path: str) -> tuple[str, Call | None]:
    if path.startswith(_INVOCATION):
        request_id, _, what = path[len(_INVOCATION) :].partition("/")
        if request_id and what == "response":
            return "POST", Call(RUNTIME_RESPONSE, request_id)
        if request_id and what == "error":
            return "POST", Call(RUNTIME_ERROR, request_id)
    return "", None
