"""The Lambda service for one execution environment: phases, barriers, limits. It decides; a `World` does.

Phases::

    cold -> init -> ready <-> invoke          ready -> restore -> invoke with a snapshot (SnapStart)
              |       |         |
              +-------+---------+--> shutdown -> cold (a reset: the next invoke starts everything anew) or ended

Sources: AWS documentation (runtime environment), AWS's Runtime Interface Emulator; where they differ, see the comment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.emulator import answers
from extension_kit.emulator.model import MAX_EXTENSIONS, Invocation, LaunchError, Party, Phase, Profile, World
from extension_kit.emulator.registry import Registry
from extension_kit.emulator.shutdown import Shutdown
from extension_kit.protocol import lifecycle as lc

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Cancellable
    from extension_kit.protocol.runtime_api import Answer


class Platform:
    """One execution environment. Every method runs on one thread; nothing blocks."""

    def __init__(self, world: World, profile: Profile) -> None:
        self.world = world
        self.profile = profile
        self.phase = Phase.COLD
        self.registry = Registry()
        self.current: Invocation | None = None
        self.healthy = True
        self.restores = 0
        self._queue: list[Invocation] = []
        self._init_phase = "init"  # "invoke" once an init has failed: a suppressed init inside the next invoke
        self._init_started = 0.0
        self._timer: Cancellable | None = None
        self._shutdown: Shutdown | None = None
        self._end_requested: Callable[[], object] | None = None

    # control ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Initialise before the first invoke, as provisioned concurrency does."""
        if self.phase == Phase.COLD:
            self._begin_init()

    def invoke(self, invocation: Invocation) -> None:
        """Run one invoke; while another runs it waits its turn (Lambda would start a second environment)."""
        if self.phase == Phase.ENDED or self._end_requested is not None:
            invocation.answer(answers.failure(invocation, "Sandbox.Failure", "the environment has been shut down"))
            return
        self._queue.append(invocation)
        self._pump()

    def is_current(self, request_id: str) -> bool:
        """Whether the runtime may answer this request."""
        return self.current is not None and self.current.request_id == request_id and self.phase == Phase.INVOKE

    def shutdown(self, done: Callable[[], object]) -> None:
        """End the environment (reason ``spindown``) and call `done` when no process is left."""
        self._end_requested = done
        if self.phase == Phase.COLD:
            self._end()
        elif self.phase != Phase.SHUTDOWN:
            for invocation in [self.current, *self._queue]:
                if invocation is not None:
                    invocation.answer(answers.failure(invocation, "Sandbox.Failure", "the environment was shut down"))
            self._queue.clear()
            self._finish_invoke("shutdown")
            self._begin_shutdown("spindown", self._end)

    def _end(self) -> None:
        self.phase = Phase.ENDED
        done, self._end_requested = self._end_requested, None
        if done is not None:
            done()

    def _pump(self) -> None:
        """Do what is due in a phase in which nothing runs."""
        if self.phase == Phase.READY:
            if self._queue:
                self._begin_invoke(self._queue.pop(0))
            elif self.profile.freezes:
                self.world.freeze()
        elif self.phase == Phase.COLD and self._queue:
            if self._init_phase == "invoke":
                self._take(self._queue.pop(0))
            self._begin_init()

    # init ---------------------------------------------------------------------------------------------------------------

    def _begin_init(self) -> None:
        self.phase = Phase.INIT
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
            if self.registry is not registry or self.phase != Phase.INIT:
                return  # that launch failed: init is over, perhaps the next one is under way already
        self.progress()

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

    def progress(self) -> None:
        """Somebody has registered or asked for work: see which barrier that was the last to pass."""
        if self.phase == Phase.INIT:
            if self.registry.runtime is None and self.registry.all_registered():
                self._launch(self.registry.add(Party(lc.RUNTIME, "runtime")))
            elif self.registry.all_ready():
                self._end_init()
        elif self.phase == Phase.RESTORE and self.registry.runtime_ready():
            self._end_restore()
        elif self.phase == Phase.INVOKE and self.registry.all_done_with_invoke():
            self._finish_invoke("success")
            self.phase = Phase.READY
            self._pump()

    def extension_ready(self, party: Party) -> None:
        """`party` asks for its next event."""
        if self.phase == Phase.SHUTDOWN and self._shutdown is not None:
            self._shutdown.extension_ready(party)
        self.progress()

    def _end_init(self) -> None:
        self._cancel_timer()
        self.world.record(
            "init_end",
            phase=self._init_phase,
            status="success",
            duration_ms=(self.world.monotonic() - self._init_started) * 1000,
        )
        self._init_phase = "invoke"
        self.phase = Phase.READY
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
                result = answers.failure(self.current, error_type, message, payload)
                self.current.answer(result)
            self._finish_invoke(status)
        self._init_phase = "invoke"
        self._begin_shutdown("timeout" if status == "timeout" else "failure", self._reset)

    # invoke -------------------------------------------------------------------------------------------------------------

    def _take(self, invocation: Invocation) -> None:
        self.current = invocation
        self._start_clock(invocation)
        self.world.record("invoke_start", request_id=invocation.request_id, deadline_ms=invocation.deadline_ms)

    def _start_clock(self, invocation: Invocation) -> None:
        invocation.started = self.world.monotonic()
        invocation.deadline_ms = self.world.now_ms() + int(self.profile.timeout * 1000)

    def _begin_invoke(self, invocation: Invocation) -> None:
        self.world.thaw()
        self._take(invocation)
        dead = self.registry.first_dead()
        if dead is not None:  # it died while nothing ran: AWS's emulator fails the next invoke, so do we
            self.phase = Phase.INVOKE
            self._party_failed(dead)
        else:
            self._deliver_invoke(invocation)

    def _deliver_invoke(self, invocation: Invocation) -> None:
        runtime = self.registry.runtime
        assert runtime is not None
        if runtime.state == lc.RESTORE_READY:
            self._begin_restore(runtime)
            return
        self.phase = Phase.INVOKE
        self._set_timer((invocation.deadline_ms - self.world.now_ms()) / 1000, self._invoke_overran)
        self.world.record("invoke_given", request_id=invocation.request_id, trace=invocation.trace)
        for party in self.registry.subscribers(lc.INVOKE):
            self._give(party, lc.INVOKE, answers.invoke_event(self.profile, invocation, self.world.new_id()))
        self._give(runtime, lc.INVOKE, answers.runtime_event(self.profile, invocation))

    def _give(self, party: Party, step: str, answer: Answer) -> None:
        """Answer a party's pending next with an event."""
        self.world.record("event", party=party.name, event=step, delivered=party.give(step, answer))

    def _begin_restore(self, runtime: Party) -> None:
        """Resume the snapshot: the runtime runs the function's hooks, then asks for work. Extensions are not told."""
        self.phase = Phase.RESTORE
        self.restores += 1
        self.world.record("restore_start")
        self._set_timer(self.profile.restore_limit, self._restore_overran)
        self._give(runtime, lc.RESTORE, answers.RESTORED)

    def _end_restore(self) -> None:
        self.world.record("restore_end", status="success")
        assert self.current is not None
        self._start_clock(self.current)  # the function's time does not pay for the restore
        self._deliver_invoke(self.current)

    def _restore_overran(self) -> None:
        self.healthy = False
        message = f"restore did not end within {self.profile.restore_limit:.0f} seconds"
        self.world.record("restore_end", status="timeout")
        if self.current is not None:
            self.current.answer(answers.failure(self.current, "Runtime.Unknown", message))
        self._finish_invoke("timeout")
        self._begin_shutdown("timeout", self._reset)

    def runtime_done(self) -> None:
        """The runtime asks for work again: the function's code has ended, extensions may still be busy."""
        if self.phase == Phase.INVOKE and self.current is not None:
            duration = (self.world.monotonic() - self.current.started) * 1000
            self.world.record(
                "runtime_done", request_id=self.current.request_id, status="success", duration_ms=duration
            )

    def _finish_invoke(self, status: str, error_type: str = "") -> None:
        self._cancel_timer()
        invocation, self.current = self.current, None
        if invocation is not None:
            duration = (self.world.monotonic() - invocation.started) * 1000
            more = {"error_type": error_type} if error_type else {}
            self.world.record(
                "invoke_end", request_id=invocation.request_id, status=status, duration_ms=duration, **more
            )

    def _invoke_overran(self) -> None:
        self.healthy = False
        if self.current is not None:
            self._answer_timeout(self.current)
        self._finish_invoke("timeout")
        self._begin_shutdown("timeout", self._reset)

    def _answer_timeout(self, invocation: Invocation) -> None:
        message = f"Task timed out after {self.profile.timeout:.2f} seconds"
        invocation.answer(answers.failure(invocation, "Sandbox.Timedout", message))

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
        if self.phase == Phase.SHUTDOWN and self._shutdown is not None:
            self._shutdown.process_exited()
        elif self.phase in (Phase.INIT, Phase.RESTORE, Phase.INVOKE):
            self._party_failed(party)
        else:
            self.healthy = False

    def _party_failed(self, party: Party) -> None:
        self.healthy = False
        error_type = party.error_type or lc.FATAL[party.kind].get(party.state, "Sandbox.Failure")
        message = party.exit_text
        if party.kind == lc.RUNTIME and party.state == lc.CRASHED:
            message = f"Runtime exited with error: {message}"
        if self.phase == Phase.INIT:
            self._init_failed("error", error_type, message, party.error_body)
        else:
            if self.current is not None:
                self.current.answer(answers.failure(self.current, error_type, message, party.error_body))
            self._finish_invoke("error", error_type)
            self._begin_shutdown("failure", self._reset)

    def _begin_shutdown(self, reason: str, after: Callable[[], None]) -> None:
        self._cancel_timer()
        self.world.thaw()
        self.phase = Phase.SHUTDOWN

        def done() -> None:
            self._shutdown = None
            self.phase = Phase.COLD
            self.registry = Registry()
            after()

        self._shutdown = Shutdown(self.world, self.registry, reason, self.profile.runtime_share_ms, done)
        self._shutdown.begin()

    def _reset(self) -> None:
        self.world.record("reset")
        if self._end_requested is not None:
            self._end()
        else:
            self._pump()

    # timer --------------------------------------------------------------------------------------------------------------

    def _set_timer(self, seconds: float, call: Callable[[], object]) -> None:
        self._cancel_timer()
        self._timer = self.world.call_later(max(0.0, seconds), call)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
