"""What the plug-in is where it is allowed to act: the proxy before the registration, experiments beside the invocations, an end
that leaves nothing.
"""

from __future__ import annotations

from extension_kit.io import environ
from extension_kit.plugin import Plugin
from extension_kit.protocol.jsontext import dumps
from extension_kit.proxy import RuntimeProxy
from extensions.chaos_injector.audit import Audit
from extensions.chaos_injector.faults.files import remove, write
from extensions.chaos_injector.poller import Poller
from extensions.chaos_injector.rails import Facts, Rails

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.events import Invoke, Restore, Shutdown
    from extension_kit.plugin import Context
    from extension_kit.protocol.deadline import Deadline
    from extensions.chaos_injector.faults.egress import Egress
    from extensions.chaos_injector.injector import Injector
    from extensions.chaos_injector.plan import Experiment
    from extensions.chaos_injector.rails import Asked

__all__ = ["Armed"]

#: what a process of ours leaves in its folder; the wrapper reads the first three
_FILES = ("port", "upstream", "egress-port", "runtime.pid", "sinks.json")
_MARK = "active"
_MARK_MS = 180_000  # so long after the last sign of it the mark of an experiment is good


class Armed(Plugin):
    """The injector, with its first key turned."""

    name = "chaos-injector"
    budgets = {"before_register": 2.0, "on_shutdown": 1.0}  # noqa: RUF012 - read only

    def before_register(self, context: Context) -> None:
        """Listen, and say where: the runtime starts when this and the registration are through."""
        self._context = context
        self._warned = False
        self._marked = 0  # faults that were injected
        self._injector: Injector | None = None
        self._egress: Egress | None = None
        self._folder = folder = context.directory
        self._clean_up()
        remove(f"{folder}/{_MARK}")
        settings = context.settings
        upstream = settings.upstream or environ.get("AWS_LAMBDA_RUNTIME_API")
        several = context.init_type == "lambda-managed-instances"
        self._proxy = RuntimeProxy(upstream, say=context.log.warning, clock=context.clock, concurrent=several)
        port = self._proxy.listen(context.sockets.get("runtime-api"))
        self._address = f"127.0.0.1:{port}"
        if settings.egress:
            from extensions.chaos_injector.faults.egress import Egress

            self._egress = Egress()
            write(f"{folder}/egress-port", b"%d\n" % self._egress.listen())
        audit = Audit(_print, context.count, context.clock, few=settings.log_skips == "few")
        self._rails = _Rails(settings, _facts(context), audit, context.clock, directory=folder)
        self._rails.on_document = self._follow
        self._rails.on_end = self._follow
        self._poller = Poller(
            settings, environ.mapping(), self._rails, context.clock, context.log.warning,
            directory=folder, always=several,
        )  # fmt: skip
        self._poller.start()
        self._proxy.serve()
        # The wrapper goes by what it finds: the last thing that is written is what makes it use the proxy.
        write(f"{folder}/upstream", f"{upstream}\n".encode())
        write(f"{folder}/port", b"%d\n" % port)

    def start(self, context: Context) -> None:
        self._rails.facts = _facts(context)

    def on_invoke(self, event: Invoke) -> None:
        """Nothing may be left of an experiment that ended while this was frozen."""
        self._poller.invoked()
        if self._injector is not None:
            self._injector.stop_what_must()
        if not self._warned and not self._proxy.asked:
            self._warned = True
            self._context.log.warning(
                "the function is invoked, and its runtime has never asked the injector for an event: nothing can be injected. "
                "Set AWS_LAMBDA_EXEC_WRAPPER=/opt/chaos-injector/wrapper; OS-only runtimes and images must call it themselves "
                "(see the README)"
            )

    def on_restore(self, event: Restore) -> None:
        """Connections and leases are of another life."""
        self._proxy.forget()
        self._poller.restored(snapshot=event.reason == "snapshot")
        self._follow()

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:
        self._poller.stop()
        self._proxy.hooks = None
        if self._injector is not None:
            self._injector.stop()
        self._clean_up()  # but for the mark: the metrics collector, which ends at the same time, may still have to read it
        self._rails.audit.close()
        figures = ", ".join(f"{name} {n}" for name, n in sorted(self._context.counters.items()))
        self._context.log.info(figures or "nothing was decided")

    # inside

    def _follow(self) -> None:
        """The hooks are there while an experiment is armed, and not otherwise: then the proxy looks at nothing."""
        experiment = self._rails.now()
        if experiment is not None:
            if self._injector is None:
                self._injector = self._make_injector()
            self._proxy.hooks = self._injector
            if experiment.dry_run or self._context.settings.dry_run:
                remove(f"{self._folder}/{_MARK}")  # nothing is disturbed
            else:
                self._mark(experiment)
        else:
            self._proxy.hooks = None
            if self._injector is not None:
                self._injector.stop()
            remove(f"{self._folder}/{_MARK}")

    def _make_injector(self) -> Injector:
        # All of what a fault needs, also what is imported late: it has no byte-code in the layer, and no request waits now.
        from extensions.chaos_injector import matching  # noqa: F401
        from extensions.chaos_injector.faults import after, children  # noqa: F401
        from extensions.chaos_injector.faults.process import Killer, runtime_pid
        from extensions.chaos_injector.faults.resources import Resources
        from extensions.chaos_injector.faults.sinks import Sinks
        from extensions.chaos_injector.injector import Injector

        context, folder = self._context, self._folder

        def pid() -> int | None:
            return runtime_pid(folder, self._address)

        return Injector(
            self._rails,
            context.clock,
            resources=Resources(folder, context.memory_mb, pid),
            sinks=Sinks(f"{folder}/sinks.json"),
            killer=Killer(f"{folder}/kills", context.clock.wall_ms, pid),
            egress=self._egress,
            told=self._count,
        )

    def _clean_up(self) -> None:
        """What an earlier process of this environment has left: files survive it, and a restart of everything else."""
        from extensions.chaos_injector.faults.resources import clear

        clear(self._folder)
        for name in _FILES:
            remove(f"{self._folder}/{name}")

    def _count(self, experiment: Experiment) -> None:
        self._marked += 1
        self._mark(experiment)

    def _mark(self, experiment: Experiment) -> None:
        """For the metrics collector: its figures are not those of an undisturbed function."""
        now_ms = self._context.clock.wall_ms()
        content = {
            "experiment": experiment.id,
            "injected": self._marked,
            "until_ms": min(experiment.armed_until_ms, now_ms + _MARK_MS),
        }
        try:
            write(f"{self._folder}/{_MARK}", dumps(content))
        except OSError:
            pass  # /tmp is full, which may be our own doing


class _Rails(Rails):
    """Tells, besides, when the source has given a document."""

    on_document: Callable[[], object] | None = None

    def documented(self, data: bytes, source: str, seen: Asked | None = None) -> None:
        super().documented(data, source, seen)
        if self.on_document is not None:
            self.on_document()


def _facts(context: Context) -> Facts:
    from posix import urandom

    registration = context.registration
    return Facts(
        environ.get("AWS_LAMBDA_FUNCTION_NAME") or (registration.function_name if registration else ""),
        context.region,
        registration.account_id if registration else "",
        environ.get("AWS_LAMBDA_FUNCTION_VERSION") or (registration.function_version if registration else ""),
        urandom(8).hex(),
    )


def _print(line: str) -> None:
    """On standard output, where an extension's lines are log lines as they are."""
    import posix

    posix.write(1, line.encode("utf-8", "replace") + b"\n")
