"""Who takes part in an environment: the extensions and the runtime of one initialisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.protocol import lifecycle as lc

if TYPE_CHECKING:
    from extension_kit.emulator.model import Party

_NOT_ENDED_WELL = (lc.CRASHED, lc.INIT_ERROR, lc.EXIT_ERROR, lc.RESTORE_ERROR, lc.KILLED)


class Registry:
    """The parties of one initialisation, in the order in which they came; a reset makes a new registry."""

    def __init__(self) -> None:
        self.parties: list[Party] = []
        self.runtime: Party | None = None

    def add(self, party: Party) -> Party:
        self.parties.append(party)
        if party.kind == lc.RUNTIME:
            self.runtime = party
        return party

    def extensions(self) -> list[Party]:
        return [party for party in self.parties if party.kind != lc.RUNTIME]

    def externals(self) -> list[Party]:
        return [party for party in self.parties if party.kind == lc.EXTERNAL]

    def internals(self) -> list[Party]:
        return [party for party in self.parties if party.kind == lc.INTERNAL]

    def named(self, name: str) -> Party | None:
        return next((party for party in self.extensions() if party.name == name), None)

    def external(self, name: str) -> Party | None:
        return next((party for party in self.externals() if party.name == name), None)

    def identified(self, identifier: str) -> Party | None:
        return next((party for party in self.extensions() if party.identifier == identifier), None)

    def subscribers(self, event: str) -> list[Party]:
        return [party for party in self.extensions() if event in party.events and party.state == lc.READY]

    # the barriers

    def all_registered(self) -> bool:
        return all(party.state != lc.STARTED for party in self.externals())

    def runtime_ready(self) -> bool:
        return self.runtime is not None and self.runtime.state == lc.READY

    def all_ready(self) -> bool:
        loaded = self.runtime is not None and self.runtime.state in (lc.READY, lc.RESTORE_READY)
        return loaded and all(party.state == lc.READY for party in self.extensions())

    def all_done_with_invoke(self) -> bool:
        waiting = (party for party in self.extensions() if lc.INVOKE in party.events)
        return self.runtime_ready() and all(party.state == lc.READY for party in waiting)

    def first_dead(self) -> Party | None:
        """A party whose process has ended since it became ready."""
        return next((party for party in self.parties if party.state in _NOT_ENDED_WELL and not party.alive), None)

    def any_alive(self) -> bool:
        return any(party.alive for party in self.parties)

    def waiting_for(self) -> str:
        """Who holds init back, for a tired reader."""
        late = [f"{party.name} ({party.state})" for party in self.parties if party.state != lc.READY]
        return "still waiting for " + (", ".join(late) or "nobody")
