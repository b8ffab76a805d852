"""What is the same wherever AWS's Runtime Interface Emulator runs: invokes, what came of them, and the record of the run.

The emulator crashes when two invokes meet, so they are made one after the other. It says what happens in its debug log, from
which the record is made. What it does otherwise than Lambda stands in the conformance table (tests/conformance).
"""

from __future__ import annotations

import http.client
import json
import math
import sys
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from extension_kit.backends import prepare, rie_log
from extension_kit.backends.plan import Outcome, Plan
from extension_kit.emulator import variables
from extension_kit.emulator.model import ON_DEMAND, Profile, Result
from extension_kit.emulator.record import Record
from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Self

PORT = 8080  # of its invoke endpoint
#: seconds beyond the function's timeout within which an invoke must be answered: 2 of them for the shutdown
GRACE = 6.0
LINE_LIMIT = 262_144  # bytes
_PATH = "/2015-03-31/functions/function/invocations"
_NOTE = "AWS's emulator neither freezes, nor delivers telemetry, nor tells whose a line of output is"
#: the emulator sets these itself, or leaves them out as Lambda's classic mode does
_NOT_GIVEN = (
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
)


def refuse_what_it_cannot(plan: Plan, backend: str) -> None:
    """ConfigError for what AWS's emulator has no counterpart of."""
    if plan.init_type != ON_DEMAND:
        raise ConfigError(f"--backend {backend} initialises on demand only, not {plan.init_type}")
    if plan.faults:
        raise ConfigError(f"--backend {backend} makes no faults: --fault cannot be given")
    if plan.request_ids:
        raise ConfigError(f"--backend {backend} chooses request ids itself: they cannot be given")


def variables_given(profile: Profile, user: dict[str, str]) -> dict[str, str]:
    """The variables that the emulator is started with, and hands on; `user` as in `variables.for_runtime`."""
    given = variables.for_runtime(profile, "", "", "/var/task", user)
    given = {name: value for name, value in given.items() if name not in _NOT_GIVEN}
    given["AWS_LAMBDA_FUNCTION_TIMEOUT"] = str(max(1, math.ceil(profile.timeout)))
    return given


class UnderRie:
    """One function and its extensions under AWS's emulator. Subclasses start it, reach it and end it."""

    def __init__(self, profile: Profile, listener: Callable[[dict[str, Any]], object] | None) -> None:
        self.profile = profile
        self.log = Record(listener)
        self.log.notes.append(_NOTE)
        self.healthy = True
        self._extensions: list[str] = []
        self._calls = ThreadPoolExecutor(1, "invoke")

    # for subclasses to say ----------------------------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        """A connection to the invoke endpoint; OSError where there is none to be had."""
        raise NotImplementedError

    def _look(self) -> None:
        """Between two invokes: note what the processes have used."""
        raise NotImplementedError

    def shutdown(self) -> None:
        """SIGTERM, upon which it sends SHUTDOWN to the extensions; then clean up. May be called again."""
        raise NotImplementedError

    # for callers --------------------------------------------------------------------------------------------------------

    def run(self, plan: Plan) -> Outcome:
        """The invokes of `plan`, the shutdown, and what came of it."""
        invoked = prepare.invoke_all(plan, self)
        self.shutdown()
        return Outcome(self.healthy, tuple(invoked), tuple(self.log.events), tuple(self.log.notes), self.as_json())

    def invoke(self, payload: bytes, trace: str = "", *, request_id: str = "") -> Future[Result]:
        """Queue one invoke. Every invoke ends, at the latest some seconds after its timeout.

        ``request_id``: in the record, by default a random one; the emulator keeps its own to itself.
        """
        return self._calls.submit(self._invoke, payload, trace, request_id or str(uuid.uuid4()))

    def idle(self, timeout: float) -> bool:
        """The emulator answers when the extensions too are done: nothing runs when no invoke does."""
        return self._calls.submit(lambda: True).result(timeout)

    def as_json(self) -> str:
        """The record of this environment, as JSON."""
        return self.log.as_json({**asdict(self.profile), "extensions": self._extensions})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()

    # one invoke ---------------------------------------------------------------------------------------------------------

    def _invoke(self, payload: bytes, trace: str, request_id: str) -> Result:
        began = time.monotonic()
        self.log.add("invoke_start", request_id=request_id)
        try:
            status, _headers, body = self.ask(payload, trace)
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, b""
            self.log.add("rie", level="ERROR", detail=f"no answer: {error!r}")
        result = _result(request_id, status, body)
        self.healthy = self.healthy and status == 200 and result.error_type != "Sandbox.Timedout"
        duration = (time.monotonic() - began) * 1000
        self.log.add(
            "response", request_id=request_id, error_type=result.error_type, duration_ms=duration, bytes=len(body)
        )
        self.log.add(
            "invoke_end", request_id=request_id, status="success" if status == 200 else "error", duration_ms=duration
        )
        self._look()
        return result

    def ask(self, payload: bytes, trace: str = "") -> tuple[int, dict[str, str], bytes]:
        """One invoke over HTTP: status, headers (lower case), body. Not while another runs: that ends the emulator."""
        return self._request("POST", _PATH, payload, {"X-Amzn-Trace-Id": trace} if trace else {})

    def _request(
        self, method: str, path: str, payload: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        with self._connect() as sock:
            sock.settimeout(self.profile.timeout + GRACE)
            connection = http.client.HTTPConnection("127.0.0.1", PORT)
            connection.sock = sock
            connection.request(method, path, payload, headers or {})
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, fields, answer.read()

    # what it says -------------------------------------------------------------------------------------------------------

    def _output(self, line: str) -> None:
        """A line of its standard output: the function's, the extensions', and three of its own."""
        if not line.startswith(("START RequestId: ", "END RequestId: ", "REPORT RequestId: ")):
            self.log.add("log", party="output", source="function or extension", text=line)

    def _note(self, line: str) -> None:
        """A line of its standard error: its log."""
        event = rie_log.read(line)
        if event is not None:
            self.log.add(event.pop("kind"), **event)


def guarded(take: Callable[[str], object], line: bytes) -> None:
    """Hand a line on, and read on whatever becomes of it: an emulator whose output is not read dies of it."""
    try:
        take(line.decode("utf-8", "replace"))
    except Exception:
        sys.excepthook(*sys.exc_info())


def _result(request_id: str, status: int, body: bytes) -> Result:
    """The emulator does not say that a function failed; its answers have to be looked at."""
    if status == 200 and body.startswith(b"Task timed out after "):
        return Result(request_id, body, "Unhandled", "Sandbox.Timedout")
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    known = isinstance(content, dict) and "errorType" in content and "errorMessage" in content
    if known:
        return Result(request_id, body, "Unhandled", str(content["errorType"]))
    return Result(request_id, body) if status == 200 else Result(request_id, body, "Unhandled", "Sandbox.Failure")
