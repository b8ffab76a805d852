"""The Lambda service for one execution environment: phases, barriers, limits. It decides; a `World` does.

Phases::

    cold -> init -> ready <-> invoke
              |       |         |
              +-------+---------+--> shutdown -> cold (a reset: the next invoke starts everything anew) or ended

Sources: AWS documentation (runtime environment), AWS's Runtime Interface Emulator; where they differ, see the comment.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from extension_kit.emulator.model import Invocation, LaunchError, Party, Profile, Result, World
from extension_kit.emulator.registry import Registry
from extension_kit.protocol import lifecycle as lc
from extension_kit.protocol import refusals
from extension_kit.protocol.deadline import shutdown_plan
from extension_kit.protocol.runtime_api import MAX_PAYLOAD, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Cancellable, Reply
    from extension_kit.protocol.http1 import Headers

COLD, INIT, READY, INVOKE, SHUTDOWN, ENDED = "cold", "init", "ready", "invoke", "shutdown", "ended"
MAX_EXTENSIONS = 10
OK = Answer(202, ((b"Content-Type", b"application/json"),), b'{"status":"OK"}\n')


class Platform:
    """One execution environment. Every method runs on one thread; nothing blocks."""

    def __init__(self, world: World, profile: Profile) -> None:
        self.world = world
        self.profile = profile
        self.phase = COLD
        self.registry = Registry()
        self.current: Invocation | None = None
        self.healthy = True
        self._queue: list[Invocation] = []
        self._init_phase = "init"  # "invoke" once an init has failed: a suppressed init inside the next invoke
        self._init_started = 0.0
        self._timer: Cancellable | None = None
        self._after_shutdown: Callable[[], None] = lambda: None
        self._shutdown_deadline_ms = 0
        self._shutdown_reason = ""
        self._runtime_stopped = False
        self._end_requested: Callable[[], object] | None = None

    # control ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Initialise before the first invoke, as provisioned concurrency does."""
        if self.phase == COLD:
            self._begin_init()

    def invoke(self, invocation: Invocation) -> None:
        """Run one invoke; while another runs it waits its turn (Lambda would start a second environment)."""
        if self.phase == ENDED or self._end_requested is not None:
            invocation.answer(self._failure(invocation, "Sandbox.Failure", "the environment has been shut down"))
            return
        self._queue.append(invocation)
        self._pump()

    def shutdown(self, done: Callable[[], object]) -> None:
        """End the environment (reason ``spindown``) and call `done` when no process is left."""
        self._end_requested = done
        if self.phase == COLD:
            self._end()
        elif self.phase != SHUTDOWN:
            for invocation in [self.current, *self._queue]:
                if invocation is not None:
                    invocation.answer(self._failure(invocation, "Sandbox.Failure", "the environment was shut down"))
            self._queue.clear()
            self._begin_shutdown("spindown", self._end)

    def _end(self) -> None:
        self.phase = ENDED
        done, self._end_requested = self._end_requested, None
        if done is not None:
            done()

    def _pump(self) -> None:
        """Do what is due in a phase in which nothing runs."""
        if self.phase == READY:
            if self._queue:
                self._begin_invoke(self._queue.pop(0))
            elif self.profile.freeze:
                self.world.freeze()
        elif self.phase == COLD and self._queue:
            if self._init_phase == "invoke":
                self._take(self._queue.pop(0))
            self._begin_init()

    # init ---------------------------------------------------------------------------------------------------------------

    def _begin_init(self) -> None:
        self.phase = INIT
        self._init_started = self.world.monotonic()
        registry = self.registry = Registry()
        self.world.record("init_start", phase=self._init_phase, init_type=self.profile.init_type)
        limit = self.profile.first_init_limit
        if self.current is not None:  # a suppressed init shares the time of its invoke
            limit = (self.current.deadline_ms - self.world.now_ms()) / 1000
        self._set_timer(limit, self._init_overran)
        for index, name in enumerate(self.world.extension_names()):
            party = self.registry.add(Party(lc.EXTERNAL, name))
            if index >= MAX_EXTENSIONS:
                self._launch_failed(party, LaunchError("TooManyExtensions", f"more than {MAX_EXTENSIONS} extensions"))
            else:
                self._launch(party)
            if self.registry is not registry or self.phase != INIT:
                return  # that launch failed: init is over, perhaps the next one is under way already
        self._check_registered()

    def _launch(self, party: Party) -> None:
        try:
            self.world.launch(party)
        except LaunchError as error:
            self._launch_failed(party, error)
        else:
            party.alive = True

    def _launch_failed(self, party: Party, error: LaunchError) -> None:
        party.lifecycle.advance(lc.LAUNCH_FAILED)
        party.error_type = lc.FATAL[party.kind][lc.LAUNCH_ERROR]
        party.exit_text = str(error)
        self.world.record("launch_error", party=party.name, error_type=error.reason, detail=str(error))
        self._party_failed(party)

    def _check_registered(self) -> None:
        """First barrier: the runtime starts when every external extension has registered."""
        if self.phase == INIT and self.registry.runtime is None and self.registry.all_registered():
            self._launch(self.registry.add(Party(lc.RUNTIME, "runtime")))

    def _check_ready(self) -> None:
        """Second barrier: init ends when the runtime and every registered extension have called next."""
        if self.phase == INIT and self.registry.all_ready():
            self._cancel_timer()
            self.world.record(
                "init_end",
                phase=self._init_phase,
                status="success",
                duration_ms=(self.world.monotonic() - self._init_started) * 1000,
            )
            self._init_phase = "invoke"
            self.phase = READY
            if self.current is not None:
                self._deliver_invoke(self.current)
            else:
                self._pump()

    def _init_overran(self) -> None:
        self._init_failed(
            "timeout", "Sandbox.Timedout", f"init did not end within its limit; {self.registry.waiting_for()}"
        )

    def _init_failed(self, status: str, error_type: str, message: str, payload: bytes = b"") -> None:
        """The first failed init is tried again inside the first invoke; a failed suppressed init fails its invoke."""
        self.healthy = False
        self._cancel_timer()
        self.world.record("init_end", phase=self._init_phase, status=status, error_type=error_type, detail=message)
        if self.current is not None:
            if status == "timeout":
                self._answer_timeout(self.current)
            else:
                result = self._failure(self.current, error_type, message, payload)
                self.current.answer(result)
            self._finish_invoke(status)
        self._init_phase = "invoke"
        self._begin_shutdown("timeout" if status == "timeout" else "failure", self._reset)

    # invoke -------------------------------------------------------------------------------------------------------------

    def _take(self, invocation: Invocation) -> None:
        """Start an invoke's clock."""
        self.current = invocation
        invocation.started = self.world.monotonic()
        invocation.deadline_ms = self.world.now_ms() + int(self.profile.timeout * 1000)
        self.world.record("invoke_start", request_id=invocation.request_id, deadline_ms=invocation.deadline_ms)

    def _begin_invoke(self, invocation: Invocation) -> None:
        self.world.thaw()
        self._take(invocation)
        dead = self.registry.first_dead()
        if dead is not None:  # it died while nothing ran: AWS's emulator fails the next invoke, so do we
            self.phase = INVOKE
            self._party_failed(dead)
        else:
            self._deliver_invoke(invocation)

    def _deliver_invoke(self, invocation: Invocation) -> None:
        self.phase = INVOKE
        self._set_timer((invocation.deadline_ms - self.world.now_ms()) / 1000, self._invoke_overran)
        event: dict[str, object] = {
            "eventType": "INVOKE",
            "deadlineMs": invocation.deadline_ms,
            "requestId": invocation.request_id,
            "invokedFunctionArn": self.profile.arn,
        }
        if invocation.trace:
            event["tracing"] = {"type": "X-Amzn-Trace-Id", "value": invocation.trace}
        body = json.dumps(event, separators=(",", ":")).encode()
        for party in self.registry.subscribers(lc.INVOKE):
            self._give(party, lc.INVOKE, Answer(200, self._event_headers(), body))
        runtime = self.registry.runtime
        assert runtime is not None
        self._give(runtime, lc.INVOKE, self._runtime_event(invocation))

    def _event_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return (
            (b"Content-Type", b"application/json"),
            (b"Lambda-Extension-Event-Identifier", self.world.new_id().encode()),
        )

    def _runtime_event(self, invocation: Invocation) -> Answer:
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self.profile.arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace),
            ("Lambda-Runtime-Client-Context", invocation.client_context),
        ]
        pairs = tuple((name.encode(), value.encode()) for name, value in headers if value)
        return Answer(200, pairs, invocation.payload)

    def _give(self, party: Party, step: str, answer: Answer) -> None:
        """Answer a party's pending next with an event."""
        party.lifecycle.advance(step)
        reply, party.waiting = party.waiting, None
        delivered = reply is not None and reply.send(answer)
        self.world.record("event", party=party.name, event=step, delivered=delivered)

    def _check_invoke_ended(self) -> None:
        """An invoke ends when the runtime and every extension subscribed to INVOKE have called next."""
        if self.phase == INVOKE and self.registry.all_done_with_invoke():
            self._finish_invoke("success")
            self.phase = READY
            self._pump()

    def _finish_invoke(self, status: str) -> None:
        self._cancel_timer()
        invocation, self.current = self.current, None
        if invocation is not None:
            duration = (self.world.monotonic() - invocation.started) * 1000
            self.world.record("invoke_end", request_id=invocation.request_id, status=status, duration_ms=duration)

    def _invoke_overran(self) -> None:
        self.healthy = False
        if self.current is not None:
            self._answer_timeout(self.current)
        self._finish_invoke("timeout")
        self._begin_shutdown("timeout", self._reset)

    def _answer_timeout(self, invocation: Invocation) -> None:
        message = f"Task timed out after {self.profile.timeout:.2f} seconds"
        invocation.answer(self._failure(invocation, "Sandbox.Timedout", message))

    def _failure(self, invocation: Invocation, error_type: str, message: str, payload: bytes = b"") -> Result:
        text = f"RequestId: {invocation.request_id} Error: {message}"
        body = payload or json.dumps({"errorType": error_type, "errorMessage": text}, separators=(",", ":")).encode()
        return Result(invocation.request_id, body, "Unhandled", error_type)

    # failure and shutdown -----------------------------------------------------------------------------------------------

    def process_exited(self, party: Party, exit_text: str, killed: bool) -> None:
        """The process of `party` has ended; `killed`: by us. ``exit_text``: e.g. ``exit status 3``."""
        if not party.alive:
            return
        party.alive = False
        party.exit_text = exit_text
        step = lc.PROCESS_KILLED if killed else lc.PROCESS_EXITED
        parties = [party, *(self.registry.internals() if party.kind == lc.RUNTIME else [])]
        for ended in parties:
            if ended.lifecycle.allows(step):
                ended.lifecycle.advance(step)
        self.world.record("process_exit", party=party.name, detail=exit_text, state=party.state)
        if self.phase == SHUTDOWN:
            self._continue_shutdown()
        elif self.phase in (INIT, INVOKE):
            self._party_failed(party)
        else:
            self.healthy = False

    def _party_failed(self, party: Party) -> None:
        self.healthy = False
        error_type = party.error_type or lc.FATAL[party.kind].get(party.state, "Sandbox.Failure")
        message = party.exit_text
        if party.kind == lc.RUNTIME and party.state == lc.CRASHED:
            message = f"Runtime exited with error: {message}"
        if self.phase == INIT:
            self._init_failed("error", error_type, message, party.error_body)
        else:
            if self.current is not None:
                self.current.answer(self._failure(self.current, error_type, message, party.error_body))
            self._finish_invoke("error")
            self._begin_shutdown("failure", self._reset)

    def _begin_shutdown(self, reason: str, after: Callable[[], None]) -> None:
        """SIGTERM to the runtime, its share of the budget, SIGKILL; then SHUTDOWN to the extensions; SIGKILL at the end."""
        self._cancel_timer()
        self.world.thaw()
        self.phase = SHUTDOWN
        self._after_shutdown = after
        self._shutdown_reason = reason
        self._runtime_stopped = False
        external = sum(1 for party in self.registry.externals() if party.alive)
        plan = shutdown_plan(external, len(self.registry.internals()), self.profile.runtime_share_ms)
        self._shutdown_deadline_ms = self.world.now_ms() + plan.total_ms
        self.world.record("shutdown_start", reason=reason, budget_ms=plan.total_ms)
        runtime = self.registry.runtime
        if runtime is not None and runtime.alive:
            if plan.total_ms:
                self.world.terminate(runtime)
                self._set_timer(plan.runtime_ms / 1000, lambda: self.world.kill(runtime))
            else:
                self.world.kill(runtime)
        self._continue_shutdown()

    def _continue_shutdown(self) -> None:
        runtime = self.registry.runtime
        if not self._runtime_stopped:
            if runtime is not None and runtime.alive:
                return
            self._runtime_stopped = True
            self._stop_extensions()
        if not self.registry.any_alive():
            self._cancel_timer()
            self.phase = COLD
            self.registry = Registry()
            self.world.record("shutdown_end", reason=self._shutdown_reason)
            self._after_shutdown()

    def _stop_extensions(self) -> None:
        left = (self._shutdown_deadline_ms - self.world.now_ms()) / 1000
        self._set_timer(max(0.0, left), self._kill_all)
        for party in self.registry.externals():
            if party.alive and (lc.SHUTDOWN not in party.events or party.state == lc.STARTED):
                self.world.kill(party)
            else:
                self._offer_shutdown(party)

    def _offer_shutdown(self, party: Party) -> None:
        if self._runtime_stopped and party.state == lc.READY and lc.SHUTDOWN in party.events and party.alive:
            event = {
                "eventType": "SHUTDOWN",
                "shutdownReason": self._shutdown_reason,
                "deadlineMs": self._shutdown_deadline_ms,
            }
            body = json.dumps(event, separators=(",", ":")).encode()
            self._give(party, lc.SHUTDOWN, Answer(200, ((b"Content-Type", b"text/plain; charset=utf-8"),), body))

    def _kill_all(self) -> None:
        for party in self.registry.parties:
            if party.alive:
                self.world.kill(party)

    def _reset(self) -> None:
        self.world.record("reset")
        if self._end_requested is not None:
            self._end()
        else:
            self._pump()

    # Extensions API -----------------------------------------------------------------------------------------------------

    def register(self, name: str, events: frozenset[str], reply: Reply, accept_account_id: bool) -> None:
        """A registration whose form has been checked; see `api` for the checks that come before."""
        party = self.registry.external(name)
        if party is not None:
            if not party.lifecycle.allows(lc.REGISTER):
                self._refuse(reply, refusals.invalid_state(name, party.state, lc.REGISTERED))
                return
        else:
            refusal = self._internal_refusal(name, events)
            if refusal is not None:
                self._refuse(reply, refusal)
                return
            party = self.registry.add(Party(lc.INTERNAL, name))
        party.lifecycle.advance(lc.REGISTER)
        party.identifier = self.world.new_id()
        party.events = events
        body = {
            "functionName": self.profile.function_name,
            "functionVersion": self.profile.function_version,
            "handler": self.profile.handler,
        }
        if accept_account_id:
            body["accountId"] = self.profile.account_id
        self.world.record("registered", party=name, party_kind=party.kind, events=sorted(events))
        headers = ((b"Content-Type", b"application/json"), (b"Lambda-Extension-Identifier", party.identifier.encode()))
        reply.send(Answer(200, headers, json.dumps(body, separators=(",", ":")).encode()))
        self._check_registered()

    def _internal_refusal(self, name: str, events: frozenset[str]) -> refusals.Refusal | None:
        if lc.SHUTDOWN in events:
            return refusals.invalid_event(lc.SHUTDOWN, "ShutdownEventNotSupportedForInternalExtension")
        if self.phase != INIT or self.registry.runtime_ready():
            return refusals.REGISTRATION_CLOSED
        if self.registry.named(name) is not None:
            return refusals.NAME_TAKEN
        if len(self.registry.extensions()) >= MAX_EXTENSIONS:
            return refusals.TOO_MANY_EXTENSIONS
        return None

    def extension_next(self, party: Party, reply: Reply) -> None:
        """An extension is done with init or with its event, and waits for the next one."""
        if not party.lifecycle.allows(lc.NEXT):
            self._refuse(reply, refusals.invalid_state(party.identifier, party.state, lc.READY))
            return
        party.lifecycle.advance(lc.NEXT)
        party.waiting = reply
        if self.phase == SHUTDOWN:
            self._offer_shutdown(party)
        self._check_ready()
        self._check_invoke_ended()

    def extension_error(self, party: Party, step: str, error_type: str, reply: Reply) -> None:
        """``init/error`` or ``exit/error``: recorded now, takes effect when the process exits; the first one counts."""
        if not party.lifecycle.allows(step):
            wanted = lc.INIT_ERROR if step == lc.REPORT_INIT_ERROR else lc.EXIT_ERROR
            self._refuse(reply, refusals.invalid_state(party.identifier, party.state, wanted))
            return
        party.lifecycle.advance(step)
        self.world.record("extension_error", party=party.name, step=step, error_type=error_type)
        reply.send(OK)

    # Runtime API --------------------------------------------------------------------------------------------------------

    def runtime_next(self, reply: Reply) -> None:
        """The runtime is done with init or with its event, and waits for the next one."""
        runtime = self._runtime_for(lc.NEXT, "Ready", reply)
        if runtime is None:
            return
        runtime.lifecycle.advance(lc.NEXT)
        runtime.waiting = reply
        self._check_ready()
        self._check_invoke_ended()

    def runtime_response(self, request_id: str, headers: Headers, body: bytes, trailers: Headers, reply: Reply) -> None:
        """The function's answer; it goes to the caller at once, whatever the extensions still do."""
        mode = headers.get(b"lambda-runtime-function-response-mode")
        if not self._is_current(request_id, reply):
            return
        if mode is not None and mode.lower() != b"streaming":
            self._refuse(reply, refusals.INVALID_RESPONSE_MODE)
            return
        runtime = self._runtime_for(lc.RESPOND, "InvocationResponse", reply)
        invocation = self.current
        if runtime is None or invocation is None:
            return
        runtime.lifecycle.advance(lc.RESPOND)
        if mode is None and len(body) > MAX_PAYLOAD:
            refusal = refusals.too_large(len(body), MAX_PAYLOAD)
            invocation.answer(self._failure(invocation, "Function.ResponseSizeTooLarge", refusal.message))
            self._refuse(reply, refusal)
            return
        error_type = (trailers.get(b"lambda-runtime-function-error-type") or b"").decode("latin-1")
        content_type = (headers.get(b"content-type") or b"application/json").decode("latin-1")
        result = Result(request_id, body, "Unhandled" if error_type else "", error_type, content_type)
        self._respond(invocation, result, reply)

    def runtime_error(self, request_id: str, error_type: str, body: bytes, reply: Reply) -> None:
        """The function's error (an exception of the handler)."""
        if not self._is_current(request_id, reply):
            return
        runtime = self._runtime_for(lc.RESPOND_ERROR, "InvocationErrorResponse", reply)
        if runtime is None or self.current is None:
            return
        runtime.lifecycle.advance(lc.RESPOND_ERROR)
        self._respond(self.current, Result(request_id, body, "Unhandled", error_type or "Function.Unknown"), reply)

    def _respond(self, invocation: Invocation, result: Result, reply: Reply) -> None:
        duration = (self.world.monotonic() - invocation.started) * 1000
        self.world.record(
            "response",
            request_id=invocation.request_id,
            error_type=result.error_type,
            duration_ms=duration,
            bytes=len(result.payload),
        )
        invocation.answer(result)
        reply.send(OK)

    def runtime_init_error(self, error_type: str, body: bytes, reply: Reply) -> None:
        """The runtime could not load the function; recorded, takes effect when its process exits."""
        runtime = self._runtime_for(lc.REPORT_INIT_ERROR, "InitError", reply)
        if runtime is None:
            return
        runtime.lifecycle.advance(lc.REPORT_INIT_ERROR)
        runtime.error_type = error_type or "Runtime.Unknown"
        runtime.error_body = body
        self.world.record("runtime_init_error", error_type=runtime.error_type)
        reply.send(OK)

    def _is_current(self, request_id: str, reply: Reply) -> bool:
        if self.current is not None and self.current.request_id == request_id and self.phase == INVOKE:
            return True
        self._refuse(reply, refusals.INVALID_REQUEST_ID)
        return False

    def _runtime_for(self, step: str, wanted: str, reply: Reply) -> Party | None:
        runtime = self.registry.runtime
        if runtime is not None and runtime.lifecycle.allows(step):
            return runtime
        state = runtime.state if runtime is not None else "Absent"
        self._refuse(reply, refusals.invalid_transition(state, wanted))
        return None

    def _refuse(self, reply: Reply, refusal: refusals.Refusal) -> None:
        self.world.record("refused", status=refusal.status, error_type=refusal.error_type, detail=refusal.message)
        reply.send(refused(refusal))

    # timer --------------------------------------------------------------------------------------------------------------

    def _set_timer(self, seconds: float, call: Callable[[], object]) -> None:
        self._cancel_timer()
        self._timer = self.world.call_later(max(0.0, seconds), call)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def refused(refusal: refusals.Refusal) -> Answer:
    """A refusal as an HTTP answer; keys in the order in which AWS's emulator writes them."""
    body = {"errorMessage": refusal.message, "errorType": refusal.error_type}
    return Answer(
        refusal.status, ((b"Content-Type", b"application/json"),), json.dumps(body, separators=(",", ":")).encode()
    )
