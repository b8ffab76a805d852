"""The book of invocations: each is counted once, as what it was, whatever comes late, twice, in another order, or never.

It is told of INVOKE, of the platform's records and of the end, and hands out `Point`s: what is known of an invocation when its
code has ended, and what its ``platform.report`` adds, which comes with the next invocation or at SHUTDOWN. Pure: no clock, no
file, no network; samples of the kernel's figures are only passed through.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extension_kit.records import InitReport, Record, Report, RestoreReport, RuntimeDone
    from extensions.metrics_collector.sampling import Sample

__all__ = ["Book", "Point"]

Figures = dict[str, float]
_MB = 1_048_576
_MOST = 1_000  # invocations that are remembered, the oldest forgotten first
_MOST_POINTS = 10_000
_AWAITED = 100  # of which the report may be to come
_PROACTIVE_MS = 10_000  # an init that ended so long before the first invocation: nobody had waited for it
_BELIEVED_MS = 13 * 86_400_000
#: reasons of a shutdown that say nothing of an invocation: Lambda's, and that of AWS's emulator
_CALM = ("spindown", "sandboxterminated", "")
_OUT_OF_MEMORY = "Runtime.OutOfMemory"
#: in place of error types beyond the limit (semantic conventions, ``error.type``)
OTHER = "_OTHER"


class Point(Value):
    """Figures of one invocation, or of the environment: ``at_ms`` the time of the newest event they come from, ``since_ms`` of
    the oldest. ``error_type``: "" where it has not failed. ``about``: what is no figure, e.g. ``request_id``."""

    __slots__ = ("about", "at_ms", "error_type", "figures", "since_ms")

    at_ms: int
    since_ms: int
    figures: Figures
    error_type: str
    about: Mapping[str, str | bool]

    def __init__(
        self,
        since_ms: int,
        at_ms: int,
        figures: Figures,
        error_type: str = "",
        about: Mapping[str, str | bool] | None = None,
    ) -> None:
        set_field(self, "since_ms", min(since_ms, at_ms))
        set_field(self, "at_ms", at_ms)
        set_field(self, "figures", figures)
        set_field(self, "error_type", error_type)
        set_field(self, "about", about or {})


class _Invocation:
    """What is known so far. ``status``: "" while its code runs, as far as anybody has told."""

    __slots__ = (
        "about",
        "before",
        "began_ms",
        "cold",
        "error_type",
        "oom",
        "proactive",
        "reported",
        "runtime_ms",
        "start",
        "status",
        "trace",
    )

    def __init__(self, began_ms: int, start: Sample | None, trace: str = "") -> None:
        self.began_ms = began_ms
        self.start = start
        self.trace = trace
        self.status = ""
        self.error_type = ""
        self.runtime_ms: float | None = None
        self.cold = self.oom = self.proactive = self.reported = False
        self.about: dict[str, str | bool] = {}  # what else is to be said of it
        self.before: _Invocation | None = None  # the attempt before this one, whose report is still to come


def _root(trace: str) -> str:
    """The trace's id of an X-Ray header, ``Root=1-...;Parent=...``; the header itself where it is none."""
    return next((part[5:] for part in trace.split(";") if part.startswith("Root=")), trace)


def _when(record: Record, now_ms: int) -> int:
    """A record's own time, where it is one that a receiver would believe (CloudWatch: 14 days back)."""
    at_ms = record.time_ms
    return at_ms if at_ms is not None and abs(now_ms - at_ms) < _BELIEVED_MS else now_ms


class Book:
    """``spent(start, end)``: the kernel's figures between two samples; ``cost(billed_ms, memory_mb)``: in USD, None where there
    is no price; ``error_types``: how many are told apart; ``injected()``: faults that the chaos injector has made since it was
    asked last, None where no experiment is armed. ``running``: the request id of the last INVOKE."""

    def __init__(
        self,
        spent: Callable[[Sample, Sample], Figures],
        cost: Callable[[float, float], float | None],
        error_types: int = 20,
        injected: Callable[[], int | None] | None = None,
    ) -> None:
        self._spent = spent
        self._cost = cost
        self._error_types = error_types
        self._injected = injected
        self._types: set[str] = set()
        self._known: dict[str, _Invocation] = {}
        self.running = ""  # request id of the last INVOKE
        self._points: list[Point] = []
        self._init_ended_ms: int | None = None
        self._init_type = ""
        self._was_cold = False  # an init has been told of that nobody has been counted for
        self._invoked = False
        self._pushed_out = 0  # points that there was no room for

    @property
    def pending(self) -> int:
        return len(self._points)

    def take(self, whole: bool = False) -> list[Point]:
        """The points since the last time, in the order in which they came. ``whole``: those of an invocation together, so not
        before its report has come, or a hundred others have ended meanwhile.
        """
        points, self._points = self._points, []
        if self._pushed_out and points:
            points.append(Point(points[-1].at_ms, points[-1].at_ms, {"points_lost_count": float(self._pushed_out)}))
            self._pushed_out = 0
        if whole:
            awaited = {name for name, found in [*self._known.items()][-_AWAITED:] if not found.reported}
            self._points = [point for point in points if point.about.get("request_id") in awaited]
            points = [point for point in points if point.about.get("request_id") not in awaited]
        return points

    def has_ended(self, request_id: str) -> bool:
        """Whether an invocation has been counted."""
        found = self._known.get(request_id)
        return found is not None and found.status != ""

    # what happens

    def invoked(
        self, request_id: str, at_ms: int, sample: Sample | None, trace: str = "", telemetry: bool = True
    ) -> None:
        """INVOKE. Without ``telemetry`` it is the only sign of the one before it having ended."""
        before = self._known.get(self.running)
        if before is not None and not before.status and not telemetry:
            self._end(self.running, before, at_ms, sample, "success")
        self.running = request_id
        first, self._invoked = not self._invoked, True
        known = self._known.get(request_id)
        if known is not None and not known.status:
            return  # it came again
        found = self._remember(request_id, _Invocation(at_ms, sample, trace))
        if known is not None and not known.reported:
            found.before = known  # a failed asynchronous invocation is tried again under the same id, most often here
        if not telemetry:
            self._known[request_id].cold = first and self._init_type in ("", "on-demand")

    def ended(self, record: RuntimeDone, at_ms: int, sample: Sample | None) -> None:
        """``platform.runtimeDone``: the code of an invocation has ended; ``sample``: None where it is too late for one."""
        request_id = record.request_id
        ended_ms = _when(record, at_ms)
        found = self._known.get(request_id)
        if found is None:
            found = self._remember(request_id, _Invocation(ended_ms - int(record.duration_ms or 0), None, record.trace))
        if found.status:
            return
        found.runtime_ms = record.duration_ms
        figures = {
            "runtime_duration_ms": record.duration_ms, "produced_bytes": record.produced_bytes,
            "response_latency_ms": record.span_ms("responseLatency"),
            "response_duration_ms": record.span_ms("responseDuration"),
        }  # fmt: skip
        told = {name: value for name, value in figures.items() if value is not None}
        self._end(request_id, found, ended_ms, sample, record.status or "success", record.error_type, told)

    def told(self, record: Record, at_ms: int) -> None:
        """Any other record of the platform's, or of the kit's about them."""
        hook = self._HOOKS.get(record.type)
        if hook is not None:
            hook(self, record, _when(record, at_ms))

    def shut_down(self, reason: str, at_ms: int, sample: Sample | None) -> None:
        """The environment ends, and everything that telemetry has to say has been said: what is open is what `reason` says."""
        running = self._known.get(self.running)
        if running is not None and not running.status:
            status = "success" if reason in _CALM else "timeout" if "timeout" in reason else "failure"
            self._end(self.running, running, at_ms, sample, status, "Runtime.ExitError" if status == "failure" else "")

    def periodic(self, since: Sample, until: Sample, since_ms: int, at_ms: int) -> None:
        """Of the environment alone, where several requests share it and nothing is any one's."""
        self._add(Point(since_ms, at_ms, self._taken(since, until)))

    def count(self, figure: str, number: float, at_ms: int) -> None:
        """A figure of this extension's own."""
        if number:
            self._add(Point(at_ms, at_ms, {figure: number}))

    # inside

    def _add(self, point: Point) -> None:
        """Without what cannot be: durations, sizes and counts are never below 0."""
        if any(value < 0 for value in point.figures.values()):
            kept = {name: value for name, value in point.figures.items() if value >= 0}
            point = Point(point.since_ms, point.at_ms, kept, point.error_type, point.about)
        if point.figures:
            self._points.append(point)
        if len(self._points) > _MOST_POINTS:  # nobody has come for them: under a flush every ten minutes, say
            del self._points[0]
            self._pushed_out += 1

    def _remember(self, request_id: str, found: _Invocation) -> _Invocation:
        self._known[request_id] = found
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return found

    def _end(
        self,
        request_id: str,
        found: _Invocation,
        at_ms: int,
        sample: Sample | None,
        status: str,
        error_type: str = "",
        told: Figures | None = None,
    ) -> None:
        """Counts it, as one of three things that exclude each other: semantic conventions, ``faas.invocations``."""
        figures = dict(told or {})
        if sample is not None and found.start is not None:
            figures.update(self._taken(found.start, sample))
        found.status, found.start = status, None
        if status == "timeout":
            figures["timeouts_count"] = 1.0
        elif status != "success":
            found.error_type = self._limited(error_type or "Unknown", figures)
            figures["errors_count"] = 1.0
        else:
            figures["invocations_count"] = 1.0
        found.cold = found.cold or self._takes_cold_start(found)
        if found.cold:
            figures["coldstarts_count"] = 1.0
        if error_type == _OUT_OF_MEMORY or (status != "success" and figures.get("oom_kills_count")):
            self._ran_out_of_memory(found, figures)
        if self._injected is not None:
            self._disturbed(found, figures)
        self._add(Point(found.began_ms, at_ms, figures, found.error_type, self._about(request_id, found)))

    def _disturbed(self, found: _Invocation, figures: Figures) -> None:
        """While an experiment is armed, figures say so: they are not those of the function alone."""
        assert self._injected is not None
        injected = self._injected()
        if injected is not None:
            found.about["chaos.active"] = True
            if injected:
                figures["chaos_injected_count"] = float(injected)

    def _taken(self, since: Sample, until: Sample) -> Figures:
        figures = self._spent(since, until)
        if "network_rx_bytes" in figures and "network_tx_bytes" in figures:
            figures["network_total_bytes"] = figures["network_rx_bytes"] + figures["network_tx_bytes"]
        return figures

    def _takes_cold_start(self, found: _Invocation) -> bool:
        """The first invocation after an init, where it has waited for it."""
        if not self._was_cold:
            return False
        self._was_cold = False
        found.proactive = self._init_ended_ms is not None and found.began_ms - self._init_ended_ms >= _PROACTIVE_MS
        return not found.proactive

    def _ran_out_of_memory(self, found: _Invocation, figures: Figures) -> None:
        """Three signs there are; the first that comes counts."""
        if not found.oom:
            found.oom = True
            figures["oom_count"] = 1.0

    def _limited(self, error_type: str, figures: Figures) -> str:
        """A function can make up types without end; each would be a series of its own."""
        name = error_type[:100]
        if name in self._types or len(self._types) < self._error_types:
            self._types.add(name)
            return name
        figures["series_overflow_count"] = 1.0
        return OTHER

    @staticmethod
    def _about(request_id: str, found: _Invocation) -> dict[str, str | bool]:
        about: dict[str, str | bool] = {"request_id": request_id}
        if found.trace:
            about["trace_id"] = _root(found.trace)
        if found.proactive:
            about["proactive_initialization"] = True
        return {**about, "cold_start": found.cold, "timeout": found.status == "timeout", **found.about}

    # records

    def _init_started(self, record: Record, _at_ms: int) -> None:
        self._init_type = getattr(record, "init_type", "")

    def _init_reported(self, record: InitReport, at_ms: int) -> None:
        self._init_type = record.init_type or self._init_type
        if record.phase != "invoke":  # an init that is repeated within an invocation is a part of that one's time
            self._init_ended_ms = at_ms
            self._was_cold = self._init_type in ("", "on-demand") and not self._was_cold
        if record.duration_ms is not None:
            figures = {"init_duration_ms": record.duration_ms}
            about: dict[str, str | bool] = {"init_type": self._init_type} if self._init_type else {}
            self._add(Point(at_ms - int(record.duration_ms), at_ms, figures, "", about))

    def _restored(self, record: RestoreReport, at_ms: int) -> None:
        if record.duration_ms is not None:
            figures = {"restore_duration_ms": record.duration_ms}
            self._add(Point(at_ms - int(record.duration_ms), at_ms, figures))

    def _reported(self, record: Report, at_ms: int) -> None:
        """What comes late. A report of an invocation whose end nobody has told of is also that.

        But not where this process has had INVOKEs and not that one: then the process before it was shut down with the
        invocation, by a timeout say, and has counted it; only the report was written too late for it.
        """
        request_id = record.request_id
        found = self._known.get(request_id)
        if found is None:
            found = self._remember(request_id, _Invocation(at_ms - int(record.duration_ms or 0), None, record.trace))
            if self._invoked:
                found.status = record.status or "success"
        if found.before is not None and not found.status:
            found, found.before = found.before, None
        if found.reported:
            return
        if not found.status:
            self._end(request_id, found, at_ms, None, record.status or "success", record.error_type)
        found.reported = True
        figures = self._of_report(record, found)
        self._add(Point(found.began_ms, at_ms, figures, "", self._about(request_id, found)))

    def _of_report(self, record: Report, found: _Invocation) -> Figures:
        figures: Figures = {}
        duration, billed, size, most = (
            record.duration_ms, record.billed_duration_ms, record.memory_size_mb, record.max_memory_used_mb,
        )  # fmt: skip
        if duration is not None:
            figures["duration_ms"] = duration
            if found.runtime_ms is not None and duration >= found.runtime_ms >= 0:
                figures["post_runtime_ms"] = round(duration - found.runtime_ms, 3)
        if most is not None:
            figures["memory_max_bytes"] = most * _MB  # Lambda's MB are MiB
            if size:
                figures["memory_max_ratio"] = round(most / size, 6)
        if billed is not None:
            figures["billed_duration_ms"] = billed
            if size:
                figures["billed_mb_ms"] = billed * size
                cost = self._cost(billed, size)
                if cost is not None:
                    figures["cost_usd"] = cost
        out = record.error_type == _OUT_OF_MEMORY or (size and most is not None and most >= size)
        if found.status not in ("success", "timeout") and out:
            self._ran_out_of_memory(found, figures)
        return figures

    def _report_missing(self, _record: Record, at_ms: int) -> None:
        self.count("reports_missing_count", 1.0, at_ms)

    def _lost(self, record: Record, at_ms: int) -> None:
        self.count("telemetry_lost_count", getattr(record, "dropped_records", None) or 0.0, at_ms)

    def _dropped(self, record: Record, at_ms: int) -> None:
        self.count("own_dropped_count", getattr(record, "dropped_records", None) or 0.0, at_ms)

    _HOOKS: Mapping[str, Callable[..., None]] = {  # noqa: RUF012 - read only
        "platform.initStart": _init_started,
        "platform.initReport": _init_reported,
        "platform.restoreReport": _restored,
        "platform.report": _reported,
        "platform.logsDropped": _lost,
        "extension-kit.dropped": _dropped,
        "extension-kit.reportMissing": _report_missing,
    }
