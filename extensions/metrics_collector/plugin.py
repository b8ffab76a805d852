"""The plug-in: samples at the edges of an invocation, a book of invocations, and exporters that are imported late.

Before the function has responded no more is done than to sample: what was spent, what the platform tells, and everything that
is sent come after it. Several invocations go together in one export. What the function itself may send waits meanwhile, unread.
"""

from __future__ import annotations

from extension_kit.plugin import Plugin
from extensions.metrics_collector.sampling import Sample, Sampler
from extensions.metrics_collector.settings import CollectorSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.events import Invoke, Restore, Shutdown
    from extension_kit.plugin import Context
    from extension_kit.protocol.deadline import Deadline
    from extension_kit.records import Record, RuntimeDone
    from extensions.metrics_collector.collecting import Collecting
    from extensions.metrics_collector.intake import Intake
    from extensions.metrics_collector.watching import Watcher

__all__ = ["MetricsCollector"]

_MANAGED = "lambda-managed-instances"


class MetricsCollector(Plugin):
    """What each invocation has taken, and how it went, as OpenTelemetry and CloudWatch metrics.

    An invocation ends with the platform's ``platform.runtimeDone``; where there is no telemetry, with the next event.
    """

    name = "metrics-collector"
    settings = CollectorSettings
    telemetry = ("platform",)
    # After the response, in general; the first of them imports, which on a small function takes its time.
    budgets = {"on_telemetry": 2.0, "on_runtime_done": 2.0}  # noqa: RUF012 - see the base class

    def check(self, context: Context) -> list[str]:
        from extensions.metrics_collector.probe import probe

        return probe(context)

    def start(self, context: Context) -> None:
        settings = context.settings
        self._context = context
        self._is_managed = context.init_type == _MANAGED
        self._sampler = Sampler(
            context.clock.monotonic_ns, frozenset(settings.families), context.memory_mb, budget_us=settings.cpu_budget
        )
        self._collecting: Collecting | None = None
        self._intake: Intake | None = None
        self._watcher: Watcher | None = None
        #: INVOKEs that the book has not been told of, with epoch ms and sample
        self._begun: list[tuple[Invoke, int, Sample]] = []
        self._last: Sample | None = None  # since which nothing of ours has been sent
        if self._is_managed:
            self._last = self._sampler.sample()
            self._last_ms = context.clock.wall_ms()
        if settings.statsd_port or settings.otlp_port:
            self._listen()

    def on_invoke(self, event: Invoke) -> None:
        # The function starts at this moment, on the same core: the sample that ended the invocation before will do.
        last, self._last = self._last, None
        sample = self._sample() if last is None else last.at(self._context.clock.monotonic_ns())
        self._sampler.begin(sample.at_ns)
        self._begun.append((event, self._context.clock.wall_ms(), sample))
        if self._context.settings.sample:
            self._watch()

    def on_runtime_done(self, record: RuntimeDone) -> None:
        """`on_telemetry` has had it already; that this hook is here makes the kit wait for the end of every invocation.

        After a restart the kit tells again of ends that were told before: those were counted by the process before this one.
        """
        collecting = self._catch_up()
        if collecting.book.running == record.request_id:
            self._end(collecting, record)

    def on_telemetry(self, records: list[Record]) -> None:
        collecting = self._catch_up()
        for record in records:
            if record.type == "platform.runtimeDone":
                self._end(collecting, record)  # type: ignore[arg-type]
            else:
                collecting.book.told(record, self._context.clock.wall_ms())

    def on_restore(self, event: Restore) -> None:
        self._last = None
        if self._collecting is not None:
            self._collecting.forget()

    def flush(self, reason: str, deadline: Deadline) -> None:
        """No record is ever pending: each was counted. An exporter that could not send is let be by `Collecting`."""
        collecting = self._catch_up()
        if self._is_managed:
            self._tell_period(collecting)
        if collecting.export(deadline, at_once=reason == "shutdown") and not self._is_managed:
            # What was sent is ours and not the next invocation's, whose response must not wait for a sample; but of one that
            # runs meanwhile it would be the middle.
            book = collecting.book
            self._last = self._sample() if not book.running or book.has_ended(book.running) else None

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:
        collecting = self._catch_up()
        sample = None if self._is_managed else self._sample()
        collecting.book.shut_down(event.reason, self._context.clock.wall_ms(), sample)
        collecting.export(deadline, at_once=True)
        if left := collecting.pending:
            self._context.log.warning(
                f"{left} could not be sent before the end: points, StatsD series and OTLP requests"
            )

    # inside

    def _listen(self) -> None:
        """For what the function sends itself."""
        from extensions.metrics_collector.intake import Intake

        try:
            self._intake = Intake(self._context)
        except (OSError, RuntimeError) as error:  # no descriptor or no thread can be had
            self._context.log.error(f"nothing is taken from the function: {error}")

    def _catch_up(self) -> Collecting:
        """What works with samples, made when it is first needed: by then the function has responded."""
        collecting = self._collecting
        if collecting is None:
            from extensions.metrics_collector.collecting import Collecting

            collecting = self._collecting = Collecting(self._context, self._intake)
        begun, self._begun = self._begun, []
        for event, at_ms, sample in begun:
            collecting.book.invoked(
                event.request_id, at_ms, sample, event.tracing, telemetry=bool(self._context.stream_id)
            )
        return collecting

    def _end(self, collecting: Collecting, record: RuntimeDone) -> None:
        """The code of an invocation has ended: the edge at which its figures are taken, where it is the one that runs."""
        book = collecting.book
        if book.has_ended(record.request_id):
            return
        sample = None
        if not self._is_managed and book.running == record.request_id:
            if self._watcher is not None:
                self._watcher.end()
            sample = self._last = self._sample()
        book.ended(record, self._context.clock.wall_ms(), sample)

    def _tell_period(self, collecting: Collecting) -> None:
        """Managed Instances: several requests share the environment, and nothing that the kernel counts is any one's."""
        sample, now_ms = self._sample(), self._context.clock.wall_ms()
        if self._last is not None:
            collecting.book.periodic(self._last, sample, self._last_ms, now_ms)
        self._last, self._last_ms = sample, now_ms

    def _sample(self) -> Sample:
        if self._watcher is None:
            sample = self._sampler.sample()
        else:
            with self._watcher.lock:
                sample = self._sampler.sample()
        for source in sample.missing:
            self._context.count(f"missing_{source}")
        return sample

    def _watch(self) -> None:
        if self._watcher is None:
            from extensions.metrics_collector.watching import Watcher

            self._watcher = Watcher(self._sampler.watch, self._context.settings.sample)
        self._watcher.begin()
