"""The plug-in: nothing at all without the first key; with it, `armed` takes its place."""

from __future__ import annotations

from extension_kit.plugin import Plugin
from extensions.chaos_injector.settings import ChaosSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Context

__all__ = ["ChaosInjector"]


class ChaosInjector(Plugin):
    """Controlled faults into the function; inert unless ``CHAOS_ENABLED`` is set and an experiment is armed."""

    name = "chaos-injector"
    settings = ChaosSettings

    def split(self, context: Context) -> tuple[Plugin, ...]:
        if context.settings.enabled:
            from extensions.chaos_injector.armed import Armed

            return (Armed(),)
        for sock in context.sockets.get("runtime-api", ()):  # in one process with others there are theirs as well
            sock.close()
        return ()
