"""Whether a fault may happen: every rail, in one place. Documents come from a poller, questions from the proxy's threads.

An experiment is armed when a document says so and nothing speaks against it, and only for as long as it is asked about again
and again: `Rails.now` looks at the kill switches, the lease and the end each time. What is in doubt is off.
"""

from __future__ import annotations

import _thread
from posix import access

from extension_kit.protocol.values import Value, set_field
from extensions.chaos_injector.book import Book, Books
from extensions.chaos_injector.dice import roll
from extensions.chaos_injector.lease import Holder, Since
from extensions.chaos_injector.scope import Bounds, qualified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from extension_kit.io.clock import Clock
    from extensions.chaos_injector.audit import Audit
    from extensions.chaos_injector.plan import Experiment, Fault, Scope
    from extensions.chaos_injector.settings import ChaosSettings

    class Invoked(Protocol):
        """What is looked at of an invocation (`extension_kit.proxy.Invocation`)."""

        @property
        def request_id(self) -> str: ...
        @property
        def deadline_ms(self) -> int: ...
        @property
        def function_arn(self) -> str: ...
        @property
        def tenant_id(self) -> str: ...


__all__ = ["DIRECTORY", "Facts", "Rails"]

DIRECTORY = "/tmp/.extension-kit/chaos-injector"  # noqa: S108 - named in the design
_ANY = 0  # access(2): F_OK


class Facts(Value):
    """Where we are; "" where unknown. ``stream``: names this environment, as its log stream does, to roll dice in its init."""

    __slots__ = ("account", "function", "region", "stream", "version")

    function: str
    region: str
    account: str
    version: str
    stream: str

    def __init__(self, function: str, region: str = "", account: str = "", version: str = "", stream: str = "") -> None:
        set_field(self, "function", function)
        set_field(self, "region", region)
        set_field(self, "account", account)
        set_field(self, "version", version)
        set_field(self, "stream", stream)


class Asked(Since):
    """When somebody was asked, and in which life of the environment: a restore begins another, in which it counts nothing."""

    __slots__ = ("life",)

    def __init__(self, clock: Clock, life: object) -> None:
        super().__init__(clock)
        self.life = life


class _Armed:
    """An experiment that is armed, since when and by which document."""

    __slots__ = ("accepted", "book", "experiment", "seen")

    def __init__(self, experiment: Experiment, book: Book, accepted: Asked, seen: Asked) -> None:
        self.experiment = experiment
        self.book = book
        self.accepted = accepted
        self.seen = seen


class Rails:
    """For any thread. ``on_end``: called, on whichever thread notices, when an experiment is over; may be set at any time."""

    def __init__(
        self, settings: ChaosSettings, facts: Facts, audit: Audit, clock: Clock, *, directory: str = DIRECTORY
    ) -> None:
        self.settings = settings
        self.facts = facts
        self.audit = audit
        self.on_end: Callable[[], object] | None = None
        self._clock = clock
        self._off_file = f"{directory}/off"
        self._holder = Holder(directory)
        self._lock = _thread.allocate_lock()
        self._armed: _Armed | None = None
        self._books = Books()
        self._text: bytes | None = None  # of the document that was judged last
        self._again = False  # whether it must be read again though it is the same: what was wrong may be right later
        self._candidate: Experiment | None = None  # what it says, if it can be read
        self._accepted: Asked | None = None
        self._life = object()  # since the last restore
        self._bounds = Bounds(settings)
        self._said = ""  # why it is not armed, as it was told last
        self._owned: Experiment | None = None  # the last that might be armed here: its owner's until it is over or gone
        self._switch: tuple[bool, str, Since] | None = None  # the global one: on, what it says, when it was seen

    # asked by whoever injects

    @property
    def is_armed(self) -> bool:
        """Whether an experiment was armed when somebody looked last; only `now` looks."""
        return self._armed is not None

    def now(self) -> Experiment | None:
        """The armed experiment; None where there is none any more. Cheap, above all where there is none."""
        armed = self._armed
        if armed is None:
            return None
        action, reason = self._over(armed)
        if not action:
            return armed.experiment
        self._end(armed, action, reason)
        return None

    def decide(self, fault: Fault, invocation: Invoked | None, event: Callable[[], object]) -> bool:
        """Whether `fault` happens to this invocation (None: to the init). One line in the log, whatever the decision.

        ``event``: gives the parsed event; called only where the fault has conditions. What it raises counts as no match.
        """
        request_id = invocation.request_id if invocation is not None else ""
        armed = self._armed
        experiment = self.now()
        if armed is None or experiment is not armed.experiment:
            self.audit.line(
                "skip", armed.experiment if armed is not None else None, fault, request_id=request_id, reason="disarmed"
            )
            return False
        reason = self._against(armed, fault, invocation, event)
        if not reason and self.clean(experiment):
            reason = "disarmed"  # while the event was read, which may take long
        rolled = None
        if not reason:
            rolled = roll(experiment.seed, request_id or f"init {self.facts.stream}", fault.id)
            reason = (
                "percentage"
                if rolled >= fault.percentage
                else armed.book.take(experiment.limits, self._clock.monotonic_ns())
            )
        dry = experiment.dry_run or self.settings.dry_run
        action = "skip" if reason else "dry_run" if dry else "inject"
        self.audit.line(action, experiment, fault, request_id=request_id, reason=reason, roll=rolled)
        return action == "inject"

    def ended(self, request_id: str, failed: bool, injected: bool) -> None:
        """An invocation has ended; failures of those that were left alone end the experiment, if they are too many."""
        armed = self._armed
        if armed is None or injected:
            return
        why = armed.book.ended(armed.experiment.guard, self._clock.monotonic_ns(), failed)
        if why:
            self._end(armed, "abort", f"guard: {why}", request_id)

    def clean(self, experiment: Experiment | None = None) -> bool:
        """Whether what was started must be stopped: nothing is armed, or no longer what `experiment` allows."""
        now = self.now()
        if now is None or experiment is None or now is experiment:
            return now is None
        return any(getattr(now, name) != getattr(experiment, name) for name in ("id", "faults", "scope", "dry_run"))

    def cleaned(self, what: str, experiment: Experiment | None = None) -> None:
        """What was started has been stopped: a line."""
        self.audit.line("clean", experiment, reason=what)

    # told by the poller

    def asking(self) -> Asked:
        """To be called before a request: its answer is no younger than that, however long it takes."""
        return Asked(self._clock, self._life)

    def documented(self, data: bytes, source: str, seen: Asked | None = None) -> None:
        """The source has a document, maybe the one it had before. ``seen``: from before it was asked."""
        seen = seen or self.asking()
        if seen.life is not self._life:
            return  # a restore came between: it is asked again
        if data != self._text or self._again or (self._accepted is not None and self._accepted.life is not seen.life):
            self._read(data, source, seen)
        candidate, accepted, armed = self._candidate, self._accepted, self._armed
        if candidate is None or accepted is None:
            return
        if armed is not None and armed.experiment is candidate:
            armed.seen = seen
            self.now()
        else:
            self._judge(candidate, accepted, seen)

    def gone(self, source: str, why: str = "") -> None:
        """The source has no document: the lease was taken away."""
        self._owned = None
        self._forget()
        self._disarm("disarm", why or f"{source}: there is no document any more")

    def unreadable(self, source: str, why: str) -> None:
        """The source has something that we may not or cannot read."""
        self._forget()
        self._disarm("disarm", f"{source}: {why}")
        self._refuse(None, f"{source}: {why}")

    def unreachable(self, source: str, why: str) -> None:
        """The source does not answer: what is armed stays so until its lease ends."""
        self.now()
        if self._armed is None:
            self._refuse(self._candidate, f"{source}: {why}")

    def switched(self, on: bool, what: str, seen: Asked | None = None) -> None:
        """The global switch was read. ``what``: what it says, or why it cannot be understood; ``seen``: as of `documented`."""
        seen = seen or self.asking()
        with self._lock:
            if seen.life is self._life:
                self._switch = (on, what, seen)
        self.now()

    def restored(self) -> None:
        """A snapshot was resumed, or time has jumped: nothing counts until the source has been asked again."""
        with self._lock:
            self._life = object()  # whatever was asked before this arms nothing
            self._switch = None
            armed = self._armed
        if armed is not None:
            self._end(armed, "expire", "restore: the document must be seen again")

    # inside: documents

    def _forget(self) -> None:
        self._text = self._candidate = self._accepted = None
        self._again = False

    def _read(self, data: bytes, source: str, seen: Asked) -> None:
        from extensions.chaos_injector.plan import Refused
        from extensions.chaos_injector.readers import Reading, read

        is_told, self._again = self._again and data == self._text, False
        self._text, self._candidate, self._accepted = data, None, None
        reading = Reading(self.settings, seen.wall_ms, source, self.facts.function)
        try:
            candidate = read(data, reading)
        except Refused as refused:
            self._disarm("disarm", f"{source}: its document cannot be read any more")
            self._again = reading.hangs_on_time
            for line in () if is_told else refused.lines:
                self.audit.line("refuse", reason=f"{source}: {line}")
            self._said = "document"
            return
        for note in reading.notes:
            self.audit.line("note", reason=f"{source}: {note}")
        if candidate is None:
            self.gone(source, f"{source}: the document says that nothing is armed")
            self._text = data
            return
        self._candidate, self._accepted = candidate, seen
        self._said = ""

    def _judge(self, candidate: Experiment, accepted: Asked, seen: Asked) -> None:
        """Arm `candidate`, or say why not."""
        armed = self._armed
        why = self.objection(candidate)
        book = None if why else self._books.of(candidate.id, candidate.armed_until_ms, self._clock.wall_ms())
        if not why and book is None:
            why = "limits: too many experiments were armed here that are not over, or were aborted: wait until one is over"
        new = _Armed(candidate, book or Book(), accepted, seen)
        if not why:
            self._owned = candidate
            why = self._over(new)[1]
        same = armed is not None and (armed.experiment.id, armed.experiment.faults) == (candidate.id, candidate.faults)
        if armed is not None and (why or not same):
            what = f"a document that arms nothing: {why}" if why else candidate.id
            self._end(armed, "disarm", f"replaced by {what}")
        if not why:
            with self._lock:
                if seen.life is not self._life:
                    return  # as in `documented`
                why = self._holder.take(candidate.owner)
                if not why:
                    self._armed = new
        if why:
            self._refuse(candidate, why)
            return
        self._said = ""
        self.audit.line(
            "extend" if same else "arm", candidate, faults=[fault.id for fault in candidate.faults],
            armed_until_ms=candidate.armed_until_ms, lease_ms=candidate.lease_ms, found=candidate.source,
            dry_run=candidate.dry_run or self.settings.dry_run,
        )  # fmt: skip

    def _refuse(self, experiment: Experiment | None, why: str) -> None:
        """Once, as long as nothing changes."""
        if why != self._said:
            self._said = why
            self.audit.line("refuse", experiment, reason=why)

    def _disarm(self, action: str, reason: str) -> None:
        armed = self._armed
        if armed is not None:
            self._end(armed, action, reason)

    def _end(self, armed: _Armed, action: str, reason: str, request_id: str = "") -> None:
        with self._lock:
            if self._armed is not armed:
                return  # another thread was first
            self._armed = None
            self._holder.release()
        self._said = reason
        self.audit.line(
            action, armed.experiment, reason=reason, request_id=request_id, injections=armed.book.injections
        )
        self.audit.close()
        if self.on_end is not None:
            try:
                self.on_end()
            except Exception as error:  # who asks whether anything is armed has no part in that
                self.audit.line("note", armed.experiment, reason=f"not cleaned up: {type(error).__name__}: {error}")

    # inside: what speaks against an experiment

    def objection(self, experiment: Experiment) -> str:
        """What speaks against an experiment here for as long as it is written so; "" for nothing."""
        settings, facts, scope = self.settings, self.facts, experiment.scope
        if not settings.enabled:
            return "CHAOS_ENABLED is not set: without this key nothing is injected"
        if settings.wrong:
            return f"settings: {settings.wrong[0]}: nothing is injected until it is corrected"
        owned = self._owned
        if owned is not None and owned.owner != experiment.owner and not self._has_ended(owned):
            return (
                f"owner: {experiment.owner} has overwritten {owned.id} of {owned.owner}, so neither counts: disarm, then arm "
                f"again"
            )
        for what, name in (("functions", facts.function), ("regions", facts.region), ("accounts", facts.account)):
            why = self._bounds.outside(scope, what, name, known=bool(name))
            if why:
                return why
        return self._bounds.production(scope, "functions", facts.function)

    def _has_ended(self, experiment: Experiment) -> bool:
        """By what is written in it."""
        wall_ms, renewed_ms = self._clock.wall_ms(), experiment.renewed_ms
        return wall_ms >= experiment.armed_until_ms or bool(renewed_ms and wall_ms - renewed_ms > experiment.lease_ms)

    def _over(self, armed: _Armed) -> tuple[str, str]:
        """Action and reason where an armed experiment is over at this moment; "" twice where it goes on."""
        experiment = armed.experiment
        if self.settings.is_off():
            return "disarm", "kill switch: the variable CHAOS_OFF or FAILURE_LAMBDA_DISABLED"
        if access(self._off_file, _ANY):
            return "disarm", f"kill switch: the file {self._off_file}"
        if armed.book.aborted:
            return "abort", f"guard: {armed.book.aborted}"
        wall_ms = self._clock.wall_ms()
        if armed.accepted.age_ms() >= experiment.armed_until_ms - armed.accepted.wall_ms:  # by either clock
            return "expire", "armed_until has passed"
        if armed.seen.age_ms() > experiment.lease_ms:
            return "expire", "lease: the document has not been seen for too long"
        if experiment.renewed_ms and wall_ms - experiment.renewed_ms > experiment.lease_ms:
            return "expire", "lease: its owner has not renewed it"
        if self.settings.global_switch:
            switch = self._switch
            if switch is None or switch[2].age_ms() > experiment.lease_ms:
                return "disarm", "kill switch: CHAOS_GLOBAL_SWITCH has not been read for too long"
            if not switch[0]:
                return "disarm", f"kill switch: CHAOS_GLOBAL_SWITCH: {switch[1]}"
        return "", ""

    # inside: what speaks against a fault

    def _against(self, armed: _Armed, fault: Fault, invocation: Invoked | None, event: Callable[[], object]) -> str:
        """The reason, but for dice and counts; "" for none."""
        experiment, wall_ms = armed.experiment, self._clock.wall_ms()
        if fault not in experiment.faults:
            return "replaced"
        if wall_ms < fault.starts_ms:
            return "not yet"
        if fault.ends_ms and wall_ms >= fault.ends_ms:
            return "over"
        why = self._elsewhere(experiment.scope, invocation)
        if why:
            return why
        left_ms = invocation.deadline_ms - wall_ms if invocation is not None and invocation.deadline_ms else None
        if left_ms is not None and left_ms < experiment.limits.min_remaining_ms:
            return "deadline"
        if fault.match:
            if invocation is None:
                return "match"
            from extensions.chaos_injector.matching import matches

            try:
                if not matches(event(), fault.match):
                    return "match"
            except Exception:  # an event that is no JSON, or cannot be had
                return "match: the event cannot be read"
        return ""

    def _elsewhere(self, scope: Scope, invocation: Invoked | None) -> str:
        """Alias, version and tenant, which only an invocation tells."""
        arn = invocation.function_arn if invocation else ""
        alias, version = qualified(arn, self.facts.version)
        tenant = invocation.tenant_id if invocation else ""
        for what, name, known in (
            ("aliases", alias, bool(arn)),
            ("versions", version, bool(version)),
            ("tenants", tenant, invocation is not None),
        ):
            why = self._bounds.outside(scope, what, name, known=known)
            if why:
                return why
        return self._bounds.production(scope, "aliases", alias)
