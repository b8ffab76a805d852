"""A run as a picture needs it: lanes (one a process), spans and marks on them, and the invocations with their phases.

Times are milliseconds (float) since the environment was made, as in the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

#: what kinds of spans there are, and what they are called; their order is that of the legend
SPANS = {
    "init": "init",
    "start": "starting",
    "prepare": "registered, getting ready",
    "restore": "restoring",
    "invoke": "invocation",
    "function": "function",
    "beside": "extension beside the function",
    "after": "after the response",
    "flush": "flush",
    "wait": "waiting for next",
    "frozen": "frozen",
    "shutdown": "shutting down",
}
#: what kinds of marks there are
MARKS = {
    "response": "response",
    "batch": "telemetry delivered",
    "log": "log line",
    "step": "step",
    "fault": "fault",
    "error": "error",
    "exit": "process ended",
}


@dataclass(frozen=True, slots=True)
class Lane:
    """One process, over all that were started under its name. ``kind``: platform, runtime, extension or output."""

    name: str
    kind: str


@dataclass(slots=True)
class Span:
    """Something that lasted. ``row``: 0, or more where spans of one lane overlap; ``invocation``: its number, 0 for none."""

    lane: int
    kind: str
    start: float
    end: float
    label: str
    invocation: int = 0
    row: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment."""

    lane: int
    kind: str
    at: float
    label: str
    invocation: int = 0


@dataclass(slots=True)
class Invocation:
    """One request. ``None``: not reached, or not to be known. ``init``: how much of it was an init inside the invoke."""

    number: int
    request_id: str
    start: float
    response: float | None = None
    done: float | None = None
    end: float | None = None
    status: str = ""
    error_type: str = ""
    size: int = 0
    given: float | None = None
    billed_ms: float | None = None
    memory_mb: float | None = None

    @property
    def outcome(self) -> str:
        """``well``; ``not well``: it ended badly, or was answered with an error; ``not ended``: the record is cut before."""
        if self.error_type or self.status not in ("success", ""):
            return "not well"
        return "well" if self.end is not None else "not ended"

    @property
    def told_status(self) -> str:
        """What the platform said of its end, in a word or two."""
        return self.status or ("ended" if self.end is not None else "not ended")

    @property
    def before_ms(self) -> float:
        """Until the function was given its event: an init inside the invoke, a restore."""
        return (self.given if self.given is not None else self.start) - self.start

    @property
    def response_ms(self) -> float | None:
        """From the event given to the function's response."""
        return None if self.response is None else self.response - self.start - self.before_ms

    @property
    def after_ms(self) -> float | None:
        """From the response until everybody was done: what extensions, and the runtime, added to what is billed."""
        return None if self.response is None or self.end is None else max(0.0, self.end - self.response)

    @property
    def overhead_ms(self) -> float | None:
        """Of `after_ms`, what was left when the runtime asked for work again: the extensions' alone."""
        begin = self.done if self.done is not None else self.response
        return None if begin is None or self.end is None else max(0.0, self.end - begin)


@dataclass(slots=True)
class Timeline:
    """Everything that is drawn. ``profile`` and ``notes`` are the record's."""

    profile: dict[str, Any]
    notes: list[str]
    lanes: list[Lane] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    end: float = 0.0

    def of(self, *kinds: str) -> Iterator[Span]:
        """The spans of some kinds, in order."""
        return (span for span in self.spans if span.kind in kinds)

    @property
    def errors(self) -> int:
        """Invocations that ended badly, or that the function answered with an error."""
        return sum(one.outcome == "not well" for one in self.invocations)

    @property
    def unended(self) -> int:
        """Invocations that were still going on where the record ends."""
        return sum(one.outcome == "not ended" for one in self.invocations)
