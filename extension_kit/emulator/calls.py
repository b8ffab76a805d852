"""The calls of extensions and runtime on the platform: each is allowed by the lifecycle table, or refused.

Their form has been checked by `api`; what follows from them for the environment is the platform's to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.emulator import answers
from extension_kit.emulator.model import MAX_EXTENSIONS, SNAP_START, Party, Phase, Result
from extension_kit.protocol import lifecycle as lc
from extension_kit.protocol import refusals
from extension_kit.protocol.runtime_api import MAX_PAYLOAD, NOT_FOUND

if TYPE_CHECKING:
    from extension_kit.emulator.model import Invocation, Reply
    from extension_kit.emulator.platform import Platform
    from extension_kit.protocol.http1 import Headers
    from extension_kit.protocol.telemetry_api import Subscription


class ExtensionCalls:
    """Extensions API 2020-01-01."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def register(self, name: str, events: frozenset[str], reply: Reply, accept_account_id: bool) -> None:
        """An external extension under the name of its file, or an internal one under a name of its own."""
        platform = self._platform
        party = platform.registry.external(name)
        if party is not None:
            if not party.lifecycle.allows(lc.REGISTER):
                _refuse(platform, reply, refusals.invalid_state(name, party.state, lc.REGISTERED))
                return
        else:
            refusal = self._internal_refusal(name, events)
            if refusal is not None:
                _refuse(platform, reply, refusal)
                return
            party = platform.registry.add(Party(lc.INTERNAL, name))
        party.lifecycle.advance(lc.REGISTER)
        party.identifier = platform.world.new_id()
        party.events = events
        platform.world.record("registered", party=name, party_kind=party.kind, events=sorted(events))
        reply.send(answers.registered(platform.profile, party.identifier, accept_account_id))
        platform.progress()

    def _internal_refusal(self, name: str, events: frozenset[str]) -> refusals.Refusal | None:
        registry = self._platform.registry
        if lc.SHUTDOWN in events:
            return refusals.invalid_event(lc.SHUTDOWN, "ShutdownEventNotSupportedForInternalExtension")
        if self._platform.phase != Phase.INIT or registry.runtime_ready():
            return refusals.REGISTRATION_CLOSED
        if registry.named(name) is not None:
            return refusals.NAME_TAKEN
        if len(registry.extensions()) >= MAX_EXTENSIONS:
            return refusals.TOO_MANY_EXTENSIONS
        return None

    def subscribe(self, party: Party, subscription: Subscription, reply: Reply) -> None:
        """Telemetry, between registration and the first next."""
        platform = self._platform
        if not party.lifecycle.allows(lc.SUBSCRIBE):
            _refuse(platform, reply, refusals.SUBSCRIPTION_CLOSED)
        elif platform.world.is_subscribed(party):
            _refuse(platform, reply, refusals.SUBSCRIBED_ALREADY)
        else:
            party.lifecycle.advance(lc.SUBSCRIBE)
            types, schema = list(subscription.types), subscription.schema
            reply.send(answers.SUBSCRIBED)
            platform.world.record("telemetry_subscribed", party=party.name, types=types, schema=schema)
            platform.world.subscribe(party, subscription)

    def next(self, party: Party, reply: Reply) -> None:
        """An extension is done with init or with its event, and waits for the next one."""
        if not party.lifecycle.allows(lc.NEXT):
            _refuse(self._platform, reply, refusals.invalid_state(party.identifier, party.state, lc.READY))
            return
        party.lifecycle.advance(lc.NEXT)
        party.waiting = reply
        self._platform.extension_ready(party)

    def error(self, party: Party, step: str, error_type: str, reply: Reply) -> None:
        """``init/error`` or ``exit/error``: recorded now, takes effect when the process exits; the first one counts."""
        if not party.lifecycle.allows(step):
            wanted = lc.INIT_ERROR if step == lc.REPORT_INIT_ERROR else lc.EXIT_ERROR
            _refuse(self._platform, reply, refusals.invalid_state(party.identifier, party.state, wanted))
            return
        party.lifecycle.advance(step)
        self._platform.world.record("extension_error", party=party.name, step=step, error_type=error_type)
        reply.send(answers.OK)


class RuntimeCalls:
    """Runtime API 2018-06-01."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def next(self, reply: Reply) -> None:
        """The runtime is done with init or with its event, and waits for the next one."""
        self._wait(lc.NEXT, "Ready", reply)

    def restore_next(self, reply: Reply) -> None:
        """The function is loaded and may be snapshotted; answered when an invoke resumes it. SnapStart only, else 404."""
        if self._platform.profile.init_type != SNAP_START:
            reply.send(NOT_FOUND)
        else:
            self._wait(lc.RESTORE_NEXT, "RestoreReady", reply)

    def _wait(self, step: str, wanted: str, reply: Reply) -> None:
        runtime = self._runtime_for(step, wanted, reply)
        if runtime is not None:
            runtime.lifecycle.advance(step)
            runtime.waiting = reply
            self._platform.runtime_done()
            self._platform.progress()

    def response(self, request_id: str, headers: Headers, body: bytes, trailers: Headers, reply: Reply) -> None:
        """The function's answer; it goes to the caller at once, whatever the extensions still do."""
        platform = self._platform
        mode = headers.get(b"lambda-runtime-function-response-mode")
        if not self._is_current(request_id, reply):
            return
        if mode is not None and mode.lower() != b"streaming":
            _refuse(platform, reply, refusals.INVALID_RESPONSE_MODE)
            return
        runtime = self._runtime_for(lc.RESPOND, "InvocationResponse", reply)
        invocation = platform.current
        if runtime is None or invocation is None:
            return
        runtime.lifecycle.advance(lc.RESPOND)
        if mode is None and len(body) > MAX_PAYLOAD:
            refusal = refusals.too_large(len(body), MAX_PAYLOAD)
            invocation.answer(answers.failure(invocation, "Function.ResponseSizeTooLarge", refusal.message))
            _refuse(platform, reply, refusal)
            return
        error_type = (trailers.get(b"lambda-runtime-function-error-type") or b"").decode("latin-1")
        content_type = (headers.get(b"content-type") or b"application/json").decode("latin-1")
        result = Result(request_id, body, "Unhandled" if error_type else "", error_type, content_type)
        self._respond(invocation, result, reply)

    def error(self, request_id: str, error_type: str, body: bytes, reply: Reply) -> None:
        """The function's error (an exception of the handler)."""
        if not self._is_current(request_id, reply):
            return
        runtime = self._runtime_for(lc.RESPOND_ERROR, "InvocationErrorResponse", reply)
        invocation = self._platform.current
        if runtime is None or invocation is None:
            return
        runtime.lifecycle.advance(lc.RESPOND_ERROR)
        self._respond(invocation, Result(request_id, body, "Unhandled", error_type or "Function.Unknown"), reply)

    def _respond(self, invocation: Invocation, result: Result, reply: Reply) -> None:
        world = self._platform.world
        world.record(
            "response",
            request_id=invocation.request_id,
            error_type=result.error_type,
            duration_ms=(world.monotonic() - invocation.started) * 1000,
            bytes=len(result.payload),
        )
        invocation.answer(result)
        reply.send(answers.OK)

    def init_error(self, error_type: str, body: bytes, reply: Reply) -> None:
        """The runtime could not load the function; recorded, takes effect when its process exits."""
        self._report(lc.REPORT_INIT_ERROR, "InitError", error_type, body, reply)

    def restore_error(self, error_type: str, body: bytes, reply: Reply) -> None:
        """A hook of the function failed after a restore; recorded, takes effect when the process exits."""
        if self._platform.profile.init_type != SNAP_START:
            reply.send(NOT_FOUND)
        else:
            self._report(lc.REPORT_RESTORE_ERROR, "RestoreError", error_type, body, reply)

    def _report(self, step: str, wanted: str, error_type: str, body: bytes, reply: Reply) -> None:
        runtime = self._runtime_for(step, wanted, reply)
        if runtime is None:
            return
        runtime.lifecycle.advance(step)
        runtime.error_type = error_type or "Runtime.Unknown"
        runtime.error_body = body
        self._platform.world.record("runtime_error", step=step, error_type=runtime.error_type)
        reply.send(answers.OK)

    def _is_current(self, request_id: str, reply: Reply) -> bool:
        if self._platform.is_current(request_id):
            return True
        _refuse(self._platform, reply, refusals.INVALID_REQUEST_ID)
        return False

    def _runtime_for(self, step: str, wanted: str, reply: Reply) -> Party | None:
        runtime = self._platform.registry.runtime
        if runtime is not None and runtime.lifecycle.allows(step):
            return runtime
        state = runtime.state if runtime is not None else "Absent"
        _refuse(self._platform, reply, refusals.invalid_transition(state, wanted))
        return None


def _refuse(platform: Platform, reply: Reply, refusal: refusals.Refusal) -> None:
    world = platform.world
    world.record("refused", status=refusal.status, error_type=refusal.error_type, detail=refusal.message)
    reply.send(answers.refused(refusal))
