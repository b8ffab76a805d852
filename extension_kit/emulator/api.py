"""HTTP for the platform: requests come in, their form is checked, the platform is asked, answers go out.

Three doors, all on loopback: the Runtime API (for the processes of the environment), the invoke endpoint (for callers), and
on the Runtime API's port the metadata endpoint, which managed runtimes of 2026 read.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
import uuid
from typing import TYPE_CHECKING

from extension_kit.emulator import variables
from extension_kit.emulator.answers import refused
from extension_kit.emulator.calls import ExtensionCalls, RuntimeCalls
from extension_kit.emulator.managed import ManagedCalls, ManagedPlatform
from extension_kit.emulator.model import MANAGED_INSTANCES, SNAP_START, Invocation, Phase, Result
from extension_kit.protocol import lifecycle as lc
from extension_kit.protocol import refusals
from extension_kit.protocol import runtime_api as calls
from extension_kit.protocol import telemetry_api as api
from extension_kit.protocol.runtime_api import Answer
from extension_kit.protocol.timestamps import format_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Party, Reply, World
    from extension_kit.emulator.platform import Platform
    from extension_kit.io.server import Exchange

_JSON = ((b"Content-Type", b"application/json"),)
_CREDENTIALS_MS = 6 * 3_600_000  # validity
_PONG = Answer(200, ((b"Content-Type", b"text/plain; charset=utf-8"),), b"pong")
_EVENTS = frozenset({lc.INVOKE, lc.SHUTDOWN})


class ExchangeReply:
    """A `Reply` that is an HTTP exchange; notes the answer in the record."""

    def __init__(self, world: World, exchange: Exchange, call: str) -> None:
        self._world = world
        self._exchange = exchange
        self._call = call

    def send(self, answer: Answer) -> bool:
        delivered = self._exchange.respond(answer.status, answer.headers, answer.body)
        self._world.record("answer", call=self._call, status=answer.status, delivered=delivered)
        return delivered


class RuntimeApi:
    """The Runtime, Extensions and Telemetry APIs of one environment."""

    def __init__(self, platform: Platform, metadata_token: str) -> None:
        self._platform = platform
        self._world = platform.world
        self._metadata_token = metadata_token
        self._extensions = ExtensionCalls(platform)
        runtime = ManagedCalls(platform) if isinstance(platform, ManagedPlatform) else RuntimeCalls(platform)
        self._runtime: RuntimeCalls = runtime
        self._handlers = {
            calls.PING: lambda _exchange, _call, reply: reply.send(_PONG),
            calls.EXTENSION_REGISTER: self._register,
            calls.EXTENSION_NEXT: self._extension_next,
            calls.EXTENSION_INIT_ERROR: self._extension_error,
            calls.EXTENSION_EXIT_ERROR: self._extension_error,
            calls.TELEMETRY: self._telemetry,
            calls.LOGS: self._logs,
            calls.RUNTIME_NEXT: lambda _exchange, _call, reply: runtime.next(reply),
            calls.RUNTIME_RESPONSE: self._response,
            calls.RUNTIME_ERROR: self._error,
            calls.RUNTIME_INIT_ERROR: self._report(runtime.init_error),
            calls.RESTORE_NEXT: lambda _exchange, _call, reply: runtime.restore_next(reply),
            calls.RESTORE_ERROR: self._report(runtime.restore_error),
            calls.METADATA: self._metadata,
            calls.CREDENTIALS: self._credentials,
        }

    def handle(self, exchange: Exchange) -> None:
        """Route one request. Runs on the loop's thread."""
        found = calls.route(exchange.head.method, exchange.head.target)
        if isinstance(found, Answer):
            reply = ExchangeReply(self._world, exchange, "unknown")
            self._note(exchange, "unknown", None)
            reply.send(found)
            return
        party = self._platform.registry.identified(_text(exchange, b"lambda-extension-identifier"))
        self._note(exchange, found.name, party)
        reply = ExchangeReply(self._world, exchange, found.name)
        if found.name.startswith("extension/") and self._platform.phase in (Phase.COLD, Phase.ENDED):
            reply.send(refused(refusals.CONTAINER_ERROR))  # a process that has outlived its environment
        else:
            self._handlers[found.name](exchange, found, reply)

    def _note(self, exchange: Exchange, call: str, party: Party | None) -> None:
        who = party.name if party else ("runtime" if call.startswith("runtime/") else "")
        self._world.record(
            "request",
            call=call,
            method=exchange.head.method.decode("latin-1"),
            path=exchange.head.target.decode("latin-1"),
            party=who,
        )

    # Extensions API

    def _register(self, exchange: Exchange, _call: calls.Call, reply: ExchangeReply) -> None:
        name = _text(exchange, b"lambda-extension-name")
        if not name:
            reply.send(refused(refusals.EMPTY_NAME))
            return
        events = _parse_register(exchange.body)
        if isinstance(events, refusals.Refusal):
            reply.send(refused(events))
            return
        if self._platform.profile.init_type == MANAGED_INSTANCES:
            external = self._platform.registry.external(name) is not None
            unwanted = events - {lc.SHUTDOWN} if external else events
            if unwanted:
                reply.send(refused(refusals.invalid_event(min(unwanted))))
                return
        features = [part.strip() for part in _text(exchange, b"lambda-extension-accept-feature").split(",")]
        self._extensions.register(name, events, reply, "accountId" in features)

    def _identified(self, exchange: Exchange, reply: ExchangeReply) -> Party | None:
        identifier = _text(exchange, b"lambda-extension-identifier")
        if not identifier:
            reply.send(refused(refusals.MISSING_IDENTIFIER))
            return None
        try:
            uuid.UUID(identifier)
        except ValueError:
            reply.send(refused(refusals.INVALID_IDENTIFIER))
            return None
        party = self._platform.registry.identified(identifier)
        if party is None:
            reply.send(refused(refusals.unknown_identifier(identifier)))
        return party

    def _extension_next(self, exchange: Exchange, _call: calls.Call, reply: ExchangeReply) -> None:
        party = self._identified(exchange, reply)
        if party is not None:
            self._extensions.next(party, reply)

    def _extension_error(self, exchange: Exchange, call: calls.Call, reply: ExchangeReply) -> None:
        party = self._identified(exchange, reply)
        if party is None:
            return
        error_type = _text(exchange, b"lambda-extension-function-error-type")
        if not error_type:
            reply.send(refused(refusals.MISSING_ERROR_TYPE))
            return
        step = lc.REPORT_INIT_ERROR if call.name == calls.EXTENSION_INIT_ERROR else lc.REPORT_EXIT_ERROR
        self._extensions.error(party, step, error_type, reply)

    def _telemetry(self, exchange: Exchange, call: calls.Call, reply: ExchangeReply) -> None:
        profile = self._platform.profile
        if "telemetry-unsupported" in profile.faults:
            self._not_supported(exchange, call, reply)
            return
        if "telemetry-absent" in profile.faults:
            reply.send(calls.NOT_FOUND)
            return
        schemas = api.ladder(profile.init_type)[int(profile.faults.value("telemetry-refused", "count")) :]
        self._subscribe(exchange, reply, schemas)

    def _logs(self, exchange: Exchange, call: calls.Call, reply: ExchangeReply) -> None:
        if "telemetry-absent" in self._platform.profile.faults:
            self._subscribe(exchange, reply, api.LOGS_SCHEMAS)
        else:
            self._not_supported(exchange, call, reply)

    def _subscribe(self, exchange: Exchange, reply: ExchangeReply, schemas: tuple[str, ...]) -> None:
        party = self._identified(exchange, reply)
        if party is None:
            return
        try:
            wanted = api.parse_subscription(json.loads(exchange.body), schemas)
        except ValueError as error:
            wanted = f"failed to parse JSON: {error}"
        if isinstance(wanted, str):
            refusal = refusals.invalid_subscription(wanted)
            self._world.record("refused", status=400, error_type=refusal.error_type, detail=wanted)
            reply.send(refused(refusal))
        else:
            self._extensions.subscribe(party, wanted, reply)

    def _not_supported(self, _exchange: Exchange, call: calls.Call, reply: ExchangeReply) -> None:
        api = "Telemetry" if call.name == calls.TELEMETRY else "Logs"
        body = {"errorMessage": f"{api} API is not supported", "errorType": f"{api}.NotSupported"}
        reply.send(Answer(202, _JSON, json.dumps(body, separators=(",", ":")).encode()))

    # Runtime API

    def _response(self, exchange: Exchange, call: calls.Call, reply: ExchangeReply) -> None:
        self._runtime.response(call.request_id, exchange.head.headers, exchange.body, exchange.trailers, reply)

    def _error(self, exchange: Exchange, call: calls.Call, reply: ExchangeReply) -> None:
        self._runtime.error(call.request_id, _error_type(exchange), exchange.body, reply)

    @staticmethod
    def _report(call: Callable[[str, bytes, Reply], None]) -> Callable[[Exchange, calls.Call, ExchangeReply], None]:
        return lambda exchange, _call, reply: call(_error_type(exchange), exchange.body, reply)

    def _metadata(self, exchange: Exchange, _call: calls.Call, reply: ExchangeReply) -> None:
        if not hmac.compare_digest(_text(exchange, b"authorization"), f"Bearer {self._metadata_token}"):
            reply.send(Answer(401))
            return
        reply.send(Answer(200, _JSON, b'{"AvailabilityZoneID":"use1-az1"}'))

    def _credentials(self, exchange: Exchange, _call: calls.Call, reply: ExchangeReply) -> None:
        if self._platform.profile.init_type != SNAP_START:
            reply.send(calls.NOT_FOUND)
        elif not hmac.compare_digest(_text(exchange, b"authorization"), self._metadata_token):
            reply.send(Answer(401))
        else:
            expiration = format_ms(self._world.now_ms() + _CREDENTIALS_MS)
            body = variables.credentials(self._platform.restores, expiration)
            reply.send(Answer(200, _JSON, json.dumps(body).encode()))


class InvokeEndpoint:
    """``POST /2015-03-31/functions/NAME/invocations``, as the Lambda service and AWS's emulator offer it to callers."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def handle(self, exchange: Exchange) -> None:
        """Queue one invoke; the answer follows when the function has responded. Runs on the loop's thread."""
        parts = exchange.head.target.split(b"?", 1)[0].split(b"/")
        if len(parts) != 5 or parts[1:3] != [b"2015-03-31", b"functions"] or parts[4] != b"invocations":
            exchange.respond(404, (), b"not found: POST /2015-03-31/functions/function/invocations\n")
            return
        if exchange.head.method != b"POST":
            exchange.respond(405)
            return
        kind = _text(exchange, b"x-amz-invocation-type") or "RequestResponse"
        if kind == "DryRun":
            exchange.respond(204)
            return
        if len(exchange.body) > calls.MAX_PAYLOAD:
            message = f"the event has {len(exchange.body)} bytes, allowed are {calls.MAX_PAYLOAD}"
            body = json.dumps({"Type": "User", "message": message}).encode()
            exchange.respond(413, ((b"Content-Type", b"application/json"),), body)
            return
        invocation = Invocation(
            request_id=str(uuid.uuid4()),
            payload=exchange.body,
            on_result=lambda result: None if kind == "Event" else _answer_caller(exchange, result),
            client_context=_client_context(exchange),
            trace=_text(exchange, b"x-amzn-trace-id") or new_trace(),
        )
        if kind == "Event":
            exchange.respond(202)
        self._platform.invoke(invocation)


def new_trace() -> str:
    """A trace header for an invoke that came without one."""
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0"


def _answer_caller(exchange: Exchange, result: Result) -> None:
    headers = [
        (b"Content-Type", result.content_type.encode("latin-1")),
        (b"X-Amzn-RequestId", result.request_id.encode()),
        (b"X-Amz-Executed-Version", b"$LATEST"),
    ]
    if result.function_error:
        headers.append((b"X-Amz-Function-Error", result.function_error.encode()))
    exchange.respond(200, headers, result.payload)


def _client_context(exchange: Exchange) -> str:
    try:
        return base64.b64decode(_text(exchange, b"x-amz-client-context"), validate=True).decode()
    except ValueError:
        return ""


def _text(exchange: Exchange, name: bytes) -> str:
    return (exchange.head.headers.get(name) or b"").decode("latin-1")


def _error_type(exchange: Exchange) -> str:
    return _text(exchange, b"lambda-runtime-function-error-type")


def _parse_register(body: bytes) -> frozenset[str] | refusals.Refusal:
    """The events of a register body, or why it is refused. Absent and empty lists are allowed."""
    if not body:
        return refusals.invalid_format("unexpected end of JSON input")
    try:
        content = json.loads(body)
    except ValueError as error:
        return refusals.invalid_format(str(error))
    if not isinstance(content, dict):
        return refusals.invalid_format(f"cannot unmarshal {type(content).__name__} into RegisterRequest")
    if content.get("configurationKeys"):
        return refusals.invalid_format("configurationKeys are deprecated; use environment variables instead")
    events = content.get("events") or []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        return refusals.invalid_format("cannot unmarshal RegisterRequest.events: a list of strings is wanted")
    unknown = [event for event in events if event not in _EVENTS]
    if unknown:
        return refusals.invalid_event(unknown[0])
    return frozenset(events)
