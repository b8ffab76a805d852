"""What the plug-in is where it is allowed to act: the proxy before the registration, experiments beside the invocations, an end
that leaves nothing.
"""

from __future__ import annotations

from extension_kit.io import environ
from extension_kit.plugin import Plugin
from extension_kit.proxy import RuntimeProxy
from extensions.chaos_injector.faults.files import remove, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.events import Invoke, Restore, Shutdown
    from extension_kit.plugin import Context
    from extension_kit.protocol.deadline import Deadline
    from extensions.chaos_injector.injector import Injector
    from extensions.chaos_injector.plan import Experiment

__all__ = ["Armed"]

#: what a process of ours leaves in its folder; the wrapper reads the first three
_FILES = ("port", "upstream", "egress-port", "runtime.pid", "sinks.json", "active")
_MARK_MS = 180_000  # so long after the last sign of it the mark of an experiment is good


class Armed(Plugin):
    """The injector, with its first key turned."""

    name = "chaos-injector"
    budgets = {"before_register": 2.0, "on_shutdown": 1.0}  # noqa: RUF012 - read only

    def before_register(self, context: Context) -> None:
        """Listen, and say where: the runtime starts when this and the registration are through."""
        self._context = context
        self._folder = folder = context.directory
        self._clean_up()
        upstream = context.settings.upstream or environ.get("AWS_LAMBDA_RUNTIME_API")
        self._proxy = proxy = RuntimeProxy(upstream, say=context.log.warning, clock=context.clock)
        port = proxy.listen(context.sockets.get("runtime-api") or [])
        self._address = f"127.0.0.1:{port}"
        self._arm()
        proxy.serve()
        # The wrapper goes by what it finds: the last thing that is written is what makes it use the proxy.
        write(f"{folder}/upstream", f"{upstream}\n".encode())
        write(f"{folder}/port", b"%d\n" % port)
        self._open_egress(context)

    def start(self, context: Context) -> None:
        self._poller.start(context.registration)

    def on_invoke(self, event: Invoke) -> None:
        self._injector.stop_what_must()
        if not self._warned and not self._proxy.asked:
            self._warned = True
            self._context.log.warning(
                "the function is invoked, and its runtime has never asked the injector for an event, so nothing can be injected: "
                "set AWS_LAMBDA_EXEC_WRAPPER=/opt/chaos-injector/wrapper; OS-only runtimes and images must call it themselves, "
                "see the README"
            )

    def on_restore(self, event: Restore) -> None:
        """Connections and leases of another life."""
        self._injector.stop()
        self._proxy.forget()
        self._rails.restored()

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:
        self._injector.stop()
        self._clean_up()
        figures = ", ".join(f"{name} {n}" for name, n in sorted(self._context.counters.items()))
        self._context.log.info(figures or "nothing was injected")

    # inside

    def _arm(self) -> None:
        """Everything between the proxy and the experiment's document."""
        from extensions.chaos_injector.faults.process import Killer, runtime_pid
        from extensions.chaos_injector.faults.resources import Resources
        from extensions.chaos_injector.faults.sinks import Sinks
        from extensions.chaos_injector.injector import Injector

        context, folder = self._context, self._folder

        def pid() -> int | None:
            return runtime_pid(folder, self._address)

        self._injector = Injector(
            self._rails,
            context.clock,
            resources=Resources(folder, context.memory_mb, pid),
            sinks=Sinks(f"{folder}/sinks.json"),
            killer=Killer(f"{folder}/kills", context.clock.wall_ms, pid),
            egress=None,
            told=self._mark,
        )

    def _clean_up(self) -> None:
        """What an earlier process of this environment has left: files survive it, and a restart of everything else."""
        from extensions.chaos_injector.faults.resources import clear

        clear(self._folder)
        for name in _FILES:
            remove(f"{self._folder}/{name}")

    def _mark(self, experiment: Experiment) -> None:
        """For the metrics collector: its figures are not those of an undisturbed function."""
        self._injected += 1
        now_ms = self._context.clock.wall_ms()
        content = {
            "experiment": experiment.id,
            "injected": self._injected,
            "until_ms": min(experiment.armed_until_ms, now_ms + _MARK_MS),
        }
        try:
            write(f"{self._folder}/active", dumps(content))
        except OSError:
            pass  # /tmp is full, which may be our own doing
