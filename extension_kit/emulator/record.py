"""The record of a run: everything that happened in an environment, in order, with times.

A record is a JSON object: ``format`` (``extension-kit-run/1``), ``profile``, ``notes`` (what this machine could not give) and
``events``: a list of objects with ``t_ms`` (float, since the environment was made), ``kind``, and the fields of that kind.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = "extension-kit-run/1"


class Record:
    """Collects events on the loop's thread; `listener` sees each one as it comes."""

    def __init__(self, listener: Callable[[dict[str, Any]], object] | None = None) -> None:
        self._began = time.monotonic()
        self._listener = listener
        self.events: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def add(self, kind: str, **fields: Any) -> None:
        event = {"t_ms": round((time.monotonic() - self._began) * 1000, 3), "kind": kind, **fields}
        self.events.append(event)
        if self._listener is not None:
            self._listener(event)

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of some kinds, in order."""
        return [event for event in self.events if event["kind"] in kinds]

    def as_json(self, profile: dict[str, Any]) -> str:
        content = {"format": FORMAT, "profile": profile, "notes": self.notes, "events": self.events}
        return json.dumps(content, indent=1) + "\n"
