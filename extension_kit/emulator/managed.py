"""Managed Instances: one environment that is never frozen, whose runtime has several workers, each with an invocation.

What differs from an environment with one invocation at a time (AWS docs, Managed Instances; AWS's emulator in that mode):
init ends with the first worker that asks for work; requests interleave; extensions hear of SHUTDOWN only; an invocation that
takes too long is answered and reported while its code runs on; whatever dies takes the environment with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.emulator import answers
from extension_kit.emulator.calls import RuntimeCalls
from extension_kit.emulator.model import Phase, Result
from extension_kit.emulator.platform import Platform
from extension_kit.protocol import lifecycle as lc
from extension_kit.protocol import refusals
from extension_kit.protocol.runtime_api import MAX_PAYLOAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Cancellable, Invocation, Party, Profile, Reply, World
    from extension_kit.protocol.http1 import Headers


class ManagedPlatform(Platform):
    """As `Platform`, with as many invocations at a time as workers have asked for one."""

    def __init__(self, world: World, profile: Profile) -> None:
        super().__init__(world, profile)
        self._workers: list[Reply] = []
        self._running: dict[str, tuple[Invocation, Cancellable]] = {}

    def worker_ready(self, reply: Reply) -> None:
        """A worker asks for work."""
        self._workers.append(reply)
        self.progress()
        self._pump()

    def is_current(self, request_id: str) -> bool:
        return request_id in self._running

    def ended(self, request_id: str, result: Result) -> None:
        """A worker has answered; its caller hears of it at once."""
        invocation, timer = self._running.pop(request_id)
        timer.cancel()
        duration = (self.world.monotonic() - invocation.started) * 1000
        self.world.record(
            "response", request_id=request_id, error_type=result.error_type, duration_ms=duration, bytes=len(result.payload)
        )  # fmt: skip
        invocation.answer(result)
        self.world.record("runtime_done", request_id=request_id, status="success", duration_ms=duration)
        more = {"error_type": result.error_type} if result.function_error else {}
        status = "error" if result.function_error else "success"
        self.world.record("invoke_end", request_id=request_id, status=status, duration_ms=duration, **more)
        self._settle()

    def runtime_done(self) -> None:
        """Workers come and go; `ended` has told it."""

    def progress(self) -> None:
        if self.phase != Phase.INVOKE:
            super().progress()

    def shutdown(self, done: Callable[[], object]) -> None:
        self._fail_all("Sandbox.Failure", "the environment was shut down", "shutdown")
        super().shutdown(done)

    def _pump(self) -> None:
        while self.phase in (Phase.READY, Phase.INVOKE) and self._queue and self._workers:
            self._give_to_worker(self._queue.pop(0))
        if self.phase == Phase.COLD:
            self._workers.clear()
            super()._pump()

    def _give_to_worker(self, invocation: Invocation) -> None:
        self._start_clock(invocation)
        request_id = invocation.request_id
        while self._workers:
            if self._workers.pop(0).send(answers.runtime_event(self.profile, invocation)):
                break
        else:
            self._queue.insert(0, invocation)  # every worker that had asked has gone
            return
        self.phase = Phase.INVOKE
        self.world.record("invoke_start", request_id=request_id, deadline_ms=invocation.deadline_ms)
        self.world.record("invoke_given", request_id=request_id, trace=invocation.trace)
        timer = self.world.call_later(self.profile.timeout, lambda: self._worker_overran(request_id))
        self._running[request_id] = (invocation, timer)

    def _worker_overran(self, request_id: str) -> None:
        invocation, _timer = self._running.pop(request_id)
        self._answer_timeout(invocation)
        self._record_end(invocation, "timeout", "Sandbox.Timedout")
        self._settle()

    def _settle(self) -> None:
        if self.phase == Phase.INVOKE and not self._running:
            self.phase = Phase.READY
        self._pump()

    def _party_failed(self, party: Party) -> None:
        self.healthy = False
        self._fail_all(lc.FATAL[party.kind].get(party.state, "Sandbox.Failure"), party.exit_text, "error")
        super()._party_failed(party)

    def _fail_all(self, error_type: str, message: str, status: str) -> None:
        running, self._running = self._running, {}
        for invocation, timer in running.values():
            timer.cancel()
            invocation.answer(answers.failure(invocation, error_type, message))
            self._record_end(invocation, status, error_type)

    def _record_end(self, invocation: Invocation, status: str, error_type: str) -> None:
        duration = (self.world.monotonic() - invocation.started) * 1000
        request_id = invocation.request_id
        self.world.record(
            "invoke_end", request_id=request_id, status=status, duration_ms=duration, error_type=error_type
        )


class ManagedCalls(RuntimeCalls):
    """The Runtime API with concurrent calls; a request is known by its id, not by its turn."""

    def __init__(self, platform: ManagedPlatform) -> None:
        super().__init__(platform)
        self._managed = platform

    def next(self, reply: Reply) -> None:
        runtime = self._platform.registry.runtime
        if runtime is None or not runtime.lifecycle.allows(lc.NEXT):
            self._runtime_for(lc.NEXT, "Ready", reply)  # refuses
            return
        runtime.lifecycle.advance(lc.NEXT)
        self._managed.worker_ready(reply)

    def response(self, request_id: str, headers: Headers, body: bytes, trailers: Headers, reply: Reply) -> None:
        if not self._is_current(request_id, reply):
            return
        if len(body) > MAX_PAYLOAD:
            refusal = refusals.too_large(len(body), MAX_PAYLOAD)
            self._managed.ended(request_id, Result(request_id, body[:0], "Unhandled", "Function.ResponseSizeTooLarge"))
            reply.send(answers.refused(refusal))
            return
        error_type = (trailers.get(b"lambda-runtime-function-error-type") or b"").decode("latin-1")
        content_type = (headers.get(b"content-type") or b"application/json").decode("latin-1")
        result = Result(request_id, body, "Unhandled" if error_type else "", error_type, content_type)
        reply.send(answers.OK)
        self._managed.ended(request_id, result)

    def error(self, request_id: str, error_type: str, body: bytes, reply: Reply) -> None:
        if self._is_current(request_id, reply):
            reply.send(answers.OK)
            result = Result(request_id, body, "Unhandled", error_type or "Runtime.Unknown")
            self._managed.ended(request_id, result)
