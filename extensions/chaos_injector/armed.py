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
