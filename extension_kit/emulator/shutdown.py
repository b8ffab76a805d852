"""How an environment ends: SIGTERM to the runtime, its share of the budget, SIGKILL; SHUTDOWN to the extensions; SIGKILL.

Source: AWS documentation, "Shutdown phase" of the runtime environment; the order is that of AWS's emulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.emulator import answers
from extension_kit.protocol import lifecycle as lc
from extension_kit.protocol.deadline import shutdown_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Cancellable, Party, World
    from extension_kit.emulator.registry import Registry


class Shutdown:
    """One shutdown, from its start until no process of the environment is left; then `done` is called."""

    def __init__(
        self, world: World, registry: Registry, reason: str, runtime_share_ms: int, done: Callable[[], object]
    ) -> None:
        self._world = world
        self._registry = registry
        self._reason = reason
        self._done = done
        self._runtime_stopped = False
        self._timer: Cancellable | None = None
        external = sum(1 for party in registry.externals() if party.alive)
        self._plan = shutdown_plan(external, len(registry.internals()), runtime_share_ms)
        self._deadline_ms = world.now_ms() + self._plan.total_ms

    def begin(self) -> None:
        """Stop the runtime; everything else follows from that."""
        self._world.record("shutdown_start", reason=self._reason, budget_ms=self._plan.total_ms)
        runtime = self._registry.runtime
        if runtime is not None and runtime.alive:
            if self._plan.total_ms:
                self._world.terminate(runtime)
                self._timer = self._world.call_later(self._plan.runtime_ms / 1000, lambda: self._world.kill(runtime))
            else:
                self._world.kill(runtime)
        self.process_exited()

    def process_exited(self) -> None:
        """Go on to what is due now that one process fewer runs."""
        runtime = self._registry.runtime
        if not self._runtime_stopped and (runtime is None or not runtime.alive):
            self._runtime_stopped = True
            self._stop_extensions()
        if self._runtime_stopped and not self._registry.any_alive():
            self._cancel_timer()
            self._world.record("shutdown_end", reason=self._reason)
            self._done()

    def extension_ready(self, party: Party) -> None:
        """`party` asks for its next event: its last, as soon as the runtime has stopped."""
        if self._runtime_stopped and party.state == lc.READY and lc.SHUTDOWN in party.events and party.alive:
            event = answers.shutdown_event(self._reason, self._deadline_ms)
            self._world.record("event", party=party.name, event=lc.SHUTDOWN, delivered=party.give(lc.SHUTDOWN, event))

    def _stop_extensions(self) -> None:
        self._cancel_timer()
        left = (self._deadline_ms - self._world.now_ms()) / 1000
        self._timer = self._world.call_later(max(0.0, left), self._kill_all)
        for party in self._registry.externals():
            if party.alive and (lc.SHUTDOWN not in party.events or party.state == lc.STARTED):
                self._world.kill(party)
            else:
                self.extension_ready(party)

    def _kill_all(self) -> None:
        for party in self._registry.parties:
            if party.alive:
                self._world.kill(party)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
