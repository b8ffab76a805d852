"""Reads the record of a run as a timeline. Pure: the record is all that is looked at.

The emulator tells every event that it gives to a process. AWS's emulator does not: there, what a process is doing follows
from what it asks for, and from the order that Lambda promises (an invocation is given to all who wait when it starts, or when
the init that it waited for has ended).
"""

from __future__ import annotations

import json
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from extension_kit.protocol import lifecycle as lc
from extension_kit.protocol import runtime_api as calls
from extension_kit.protocol.runtime_api import Call
from extension_kit.report import words
from extension_kit.report.model import Invocation, Lane, Mark, Span, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

Event = dict[str, Any]
PLATFORM = "platform"
_RUNTIME = "runtime"
_ORDER = (PLATFORM, _RUNTIME, "extension", "output")
FORMAT = "extension-kit-run/1"  # emulator/record.py writes it; a test holds the two together
_MOST = 1e15
_NOT_TOLD = "from the start of the init: when it was started is not told by this backend"
_ENDED_WELL = ("exit status 0", "ended")


def load(text: str, said_as: str) -> dict[str, Any]:
    """The record in a file's text; ConfigError, beginning with `said_as`, for what is none."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{said_as}: not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ConfigError(
            f"{said_as}: not the record of a run (format {FORMAT}), as extension-kit run --json writes it"
        )
    events = record.get("events")
    if not isinstance(events, list) or not all(map(_is_event, events)):
        raise ConfigError(f'{said_as}: "events" is to be a list of objects, each with "t_ms" (a number) and "kind"')
    return record


def _is_event(event: Any) -> bool:
    if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
        return False
    at = event.get("t_ms")
    return isinstance(at, (int, float)) and not isinstance(at, bool) and 0 <= at < _MOST


def output(record: dict[str, Any]) -> list[Event]:
    """The events that `pictures` reads, such as they are to be."""
    wanted = {"log": ("party", "source", "text"), "invoke_start": ("request_id",)}
    return [
        event
        for event in record["events"]
        if event["kind"] in wanted and all(isinstance(event.get(name), str) for name in wanted[event["kind"]])
    ]


def timeline(record: dict[str, Any]) -> Timeline:
    """The timeline of a record; unknown kinds of events, and missing fields, leave gaps and harm nothing."""
    profile, notes = record.get("profile"), record.get("notes")
    reader = _Reader(
        profile if isinstance(profile, dict) else {},
        [str(note) for note in notes] if isinstance(notes, list) else [],
        record["events"],
    )
    return reader.read()


class _Reader:
    def __init__(self, profile: dict[str, Any], notes: list[str], events: list[Event]) -> None:
        self._events = events
        self._found = Timeline(profile, notes)
        self._lanes: dict[str, int] = {}
        #: what each process is doing, and what the platform is; the latter by kind, or by request id
        self._doing: dict[str, Span] = {}
        self._phases: dict[str, Span] = {}
        self._invocations: dict[str, Invocation] = {}
        self._current: Invocation | None = None
        self._identified: dict[str, str] = {}
        self._hears: dict[str, list[str]] = {}
        self._inside: set[str] = set()  # extensions that run in the runtime's process
        self._asked = PLATFORM  # who made the latest request
        self._tells_events = any(event["kind"] == "event" for event in events)
        self._workers = profile.get("init_type") == "lambda-managed-instances"
        self._now = 0.0
        self._lane(PLATFORM, PLATFORM)

    def read(self) -> Timeline:
        for kind in self._chosen_faults():
            self._mark(PLATFORM, "fault", f"--fault {kind}, throughout the run")
        for event in self._events:
            self._now = max(self._now, float(event["t_ms"]))
            take = _TAKES.get(event["kind"])
            if take is not None:
                take(self, event)
            self._note(event)
        self._found.end = self._now
        for party in list(self._doing):
            self._doing[party].details["open"] = "still so at the end of the record"
            self._do(party, "")
        for phase in list(self._phases):
            self._phases[phase].details["open"] = "still so at the end of the record"
            self._close(phase)
        self._sort_lanes()
        _place(self._found.spans, len(self._found.lanes))
        return self._found

    def _chosen_faults(self) -> list[str]:
        faults = self._found.profile.get("faults")
        chosen = faults.get("chosen") if isinstance(faults, dict) else None
        return [str(kind) for kind in chosen] if isinstance(chosen, dict) else []

    # what a picture is made of ------------------------------------------------------------------------------------------

    def _lane(self, party: str, kind: str = "") -> int:
        if party not in self._lanes:
            self._lanes[party] = len(self._found.lanes)
            known = {_RUNTIME: _RUNTIME, "output": "output"}
            self._found.lanes.append(Lane(party, kind or known.get(party, "extension")))
        return self._lanes[party]

    def _number(self) -> int:
        return self._current.number if self._current is not None else 0

    def _do(self, party: str, kind: str, since: float | None = None, **details: Any) -> None:
        """`party` does something else from now on; nothing, if `kind` is empty."""
        doing = self._doing.pop(party, None)
        if doing is not None:
            doing.end = self._now
            self._found.spans.append(doing)
        if kind:
            begin = self._now if since is None else since
            number = self._number() if kind in ("function", "beside", "after") else 0
            label = _label(kind, party)
            self._doing[party] = Span(self._lane(party), kind, begin, begin, label, number, details=details)

    def _open(self, key: str, kind: str, label: str, number: int = 0, **details: Any) -> None:
        self._close(key)
        self._phases[key] = Span(0, kind, self._now, self._now, label, number, details=details)

    def _close(self, key: str, ended: str = "", **details: Any) -> None:
        span = self._phases.pop(key, None)
        if span is not None:
            span.end = self._now
            span.details.update({name: value for name, value in details.items() if value not in (None, "")})
            span.label += f": {ended}" if ended and ended != "success" else ""
            self._found.spans.append(span)

    def _mark(self, party: str, kind: str, label: str) -> None:
        self._found.marks.append(Mark(self._lane(party), kind, self._now, label, self._number()))

    def _note(self, event: Event) -> None:
        """The mark that an event is, on the lane of whoever it is about."""
        found = words.mark(event)
        if found is None:
            return
        kind, label = found
        party = event.get("party")
        if event["kind"] == "refused":
            party = self._asked
        elif event["kind"] in ("response", "runtime_error"):
            party = _RUNTIME
            kind = "error" if event.get("error_type") else kind
        elif event["kind"] == "process_exit" and "shutdown" not in self._phases:
            kind = "exit" if event.get("detail") in _ENDED_WELL else "error"
        self._mark(party if isinstance(party, str) and party else PLATFORM, kind, label)

    def _sort_lanes(self) -> None:
        lanes = self._found.lanes
        order = sorted(range(len(lanes)), key=lambda lane: _ORDER.index(lanes[lane].kind))
        place = {old: new for new, old in enumerate(order)}
        self._found.lanes = [lanes[old] for old in order]
        for span in self._found.spans:
            span.lane = place[span.lane]
        self._found.marks = [
            Mark(place[one.lane], one.kind, one.at, one.label, one.invocation) for one in self._found.marks
        ]

    # processes ----------------------------------------------------------------------------------------------------------

    def _process_start(self, event: Event) -> None:
        party = _party(event)
        if party and (self._tells_events or party not in self._doing):
            self._do(party, "start", pid=event.get("pid"))

    def _registered(self, event: Event) -> None:
        party = _party(event)
        events = event.get("events")
        self._hears[party] = [str(one) for one in events] if isinstance(events, list) else []
        if "identifier" in event:
            self._identified[str(event["identifier"])] = party
        if party not in self._doing and "init" in self._phases and event.get("party_kind") != lc.INTERNAL:
            self._do(party, "start", self._phases["init"].start, note=_NOT_TOLD)
        self._do(party, "prepare")
        if event.get("party_kind") == lc.INTERNAL:
            self._inside.add(party)

    def _request(self, event: Event) -> None:
        call = event.get("call")
        if call is None:  # AWS's emulator tells the path
            found = calls.route(str(event.get("method")).encode(), str(event.get("path")).encode("utf-8", "replace"))
            call = found.name if isinstance(found, Call) else ""
        party = event.get("party") or self._identified.get(str(event.get("identifier")), "")
        party = _RUNTIME if str(call).startswith("runtime/") else str(party)
        self._asked = party or PLATFORM
        if call in (calls.EXTENSION_NEXT, calls.RUNTIME_NEXT, calls.RESTORE_NEXT):
            self._next(party)
        elif call in (calls.RUNTIME_RESPONSE, calls.RUNTIME_ERROR) and not self._tells_events and self._current:
            self._answered(self._current)

    def _log(self, event: Event) -> None:
        """The kit tells at level debug that a flush has ended, and how long it took."""
        found = words.flush(str(event.get("text", "")))
        if found is None:
            return
        name, plugin, reason, took = found
        party = _party(event)
        if party not in self._lanes or party == "output":  # whose a line is, AWS's emulator does not tell
            party = name if name in self._lanes else party
        begin = max(0.0, self._now - took)
        label = f"flush of {plugin}: {reason}"
        self._found.spans.append(Span(self._lane(party), "flush", begin, self._now, label, self._number()))

    def _next(self, party: str) -> None:
        doing = self._doing.get(party)
        if party == _RUNTIME and not self._tells_events:
            if doing is None and "init" in self._phases:
                self._do(party, "start", self._phases["init"].start, note=_NOT_TOLD)
            if self._current is not None and self._current.response is not None and self._current.done is None:
                self._current.done = self._now
        if party and (doing is None or doing.kind not in ("wait", "shutdown")):
            self._do(party, "" if self._workers and party == _RUNTIME else "wait")

    def _event(self, event: Event) -> None:
        self._give(_party(event), str(event.get("event")))

    def _give(self, party: str, what: str) -> None:
        kind = {"SHUTDOWN": "shutdown", "RESTORE": "restore"}.get(what, "beside")
        self._do(party, "function" if party == _RUNTIME and kind == "beside" else kind)

    def _give_all(self) -> None:
        """AWS's emulator gives an invocation to all who wait for one."""
        if self._tells_events or self._current is None:
            return
        self._current.given = self._now
        for party, doing in list(self._doing.items()):
            if doing.kind == "wait" and (party == _RUNTIME or "INVOKE" in self._hears.get(party, [])):
                self._give(party, "INVOKE")

    def _signal(self, event: Event) -> None:
        if event.get("signal") == "SIGTERM":
            self._do(_party(event), "shutdown")

    def _process_exit(self, event: Event) -> None:
        party = _party(event)
        self._do(party, "")
        if party == _RUNTIME:
            for inside in self._inside & self._doing.keys():
                self._do(inside, "")

    # the platform -------------------------------------------------------------------------------------------------------

    def _init_start(self, event: Event) -> None:
        inside = event.get("phase") == "invoke"
        self._open("init", "init", "init inside the invocation" if inside else "init", self._number())

    def _init_end(self, event: Event) -> None:
        status = str(event.get("status", ""))
        self._close("init", status, error=event.get("error_type"), detail=event.get("detail"))
        if status not in ("success", ""):
            self._mark(PLATFORM, "error", f"init ends: {status}: {event.get('error_type')}: {event.get('detail')}")
        self._give_all()

    def _invoke_start(self, event: Event) -> None:
        request_id = str(event.get("request_id"))
        one = Invocation(len(self._found.invocations) + 1, request_id, self._now)
        self._found.invocations.append(one)
        self._invocations[request_id] = self._current = one
        self._open(request_id, "invoke", f"invocation {one.number}", one.number, request_id=request_id)
        if "init" not in self._phases and self._doing:
            self._give_all()

    def _invoke_given(self, event: Event) -> None:
        one = self._invocations.get(str(event.get("request_id")))
        if one is not None:
            one.given = self._now

    def _response(self, event: Event) -> None:
        one = self._invocations.get(str(event.get("request_id")))
        if one is None:
            return
        one.error_type = str(event.get("error_type") or "")
        one.size = int(figure(event.get("bytes")) or 0)
        if one.response is None:
            self._answered(one)

    def _answered(self, one: Invocation) -> None:
        """The response is there: what is still done for this invocation is done after it."""
        if one.response is not None:
            return
        one.response = self._now
        if self._workers:
            begin = one.given if one.given is not None else one.start
            lane = self._lane(_RUNTIME)
            self._found.spans.append(Span(lane, "function", begin, self._now, _label("function", ""), one.number))
            return
        for party, doing in list(self._doing.items()):
            if doing.kind in ("function", "beside"):
                self._do(party, "after")

    def _runtime_done(self, event: Event) -> None:
        one = self._invocations.get(str(event.get("request_id")))
        if one is not None:
            one.done = self._now

    def _invoke_end(self, event: Event) -> None:
        request_id = str(event.get("request_id"))
        one = self._invocations.get(request_id)
        if one is None:
            return
        one.end, one.status = self._now, str(event.get("status", ""))
        one.error_type = one.error_type or str(event.get("error_type") or "")
        if one.status not in ("success", ""):
            self._mark(PLATFORM, "error", f"invocation {one.number} ends: {one.status} {one.error_type}".rstrip())
        self._close(request_id, one.status, error=one.error_type)
        if self._current is one:
            self._current = None

    def _report(self, event: Event) -> None:
        one = self._invocations.get(str(event.get("request_id")))
        metrics = event.get("metrics")
        if one is not None and isinstance(metrics, dict):
            one.billed_ms = figure(metrics.get("billedDurationMs"))
            one.memory_mb = figure(metrics.get("maxMemoryUsedMB"))

    def _shutdown_start(self, event: Event) -> None:
        reason = str(event.get("reason", ""))
        self._open("shutdown", "shutdown", f"shutdown ({reason})", budget_ms=event.get("budget_ms"))
        if not self._tells_events:
            for party in list(self._doing):
                self._do(party, "shutdown")

    def _start(self, kind: str, label: str) -> None:
        self._open(kind, kind, label, self._number() if kind == "restore" else 0)


def _party(event: Event) -> str:
    return str(event.get("party") or PLATFORM)


def figure(value: Any) -> float | None:
    """A number that a picture can show."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not -_MOST < value < _MOST:
        return None
    return float(value)


def _label(kind: str, party: str) -> str:
    if kind == "after" and party == _RUNTIME:
        return "runtime after the response"
    return {
        "start": "starting", "prepare": "getting ready", "wait": "waits for the next event", "function": "function",
        "beside": "works beside the function", "after": "works after the response", "restore": "restoring",
        "shutdown": "shutting down",
    }[kind]  # fmt: skip


class _Rows:
    """The rows of one lane: the lowest that is free for whoever comes next."""

    def __init__(self) -> None:
        self.count = 0
        self._free: list[int] = []
        self._taken: list[tuple[float, int]] = []  # until when, which

    def take(self, span: Span) -> int:
        while self._taken and self._taken[0][0] <= span.start:
            heappush(self._free, heappop(self._taken)[1])
        if self._free:
            row = heappop(self._free)
        else:
            row, self.count = self.count, self.count + 1
        heappush(self._taken, (span.end, row))
        return row


def _place(spans: list[Span], lanes: int) -> None:
    """Sorts the spans, and gives those of a lane that overlap rows of their own; flushes lie below what they are a part of."""
    spans.sort(key=lambda span: (span.start, span.duration > 0, -span.end, span.lane))
    rows = [_Rows() for _ in range(lanes)]
    flushes = [_Rows() for _ in range(lanes)]
    for span in spans:
        if span.kind != "flush":
            span.row = rows[span.lane].take(span)
    for span in spans:
        if span.kind == "flush":
            span.row = rows[span.lane].count + flushes[span.lane].take(span)


_TAKES: dict[str, Callable[[_Reader, Event], None]] = {
    "process_start": _Reader._process_start,
    "registered": _Reader._registered,
    "request": _Reader._request,
    "event": _Reader._event,
    "signal": _Reader._signal,
    "process_exit": _Reader._process_exit,
    "init_start": _Reader._init_start,
    "init_end": _Reader._init_end,
    "log": _Reader._log,
    "invoke_start": _Reader._invoke_start,
    "invoke_given": _Reader._invoke_given,
    "response": _Reader._response,
    "runtime_done": _Reader._runtime_done,
    "invoke_end": _Reader._invoke_end,
    "report": _Reader._report,
    "freeze": lambda reader, _event: reader._start("frozen", "frozen"),
    "thaw": lambda reader, _event: reader._close("frozen"),
    "restore_start": lambda reader, _event: reader._start("restore", "restore"),
    "restore_end": lambda reader, event: reader._close("restore", str(event.get("status", ""))),
    "shutdown_start": _Reader._shutdown_start,
    "shutdown_end": lambda reader, _event: reader._close("shutdown"),
}
