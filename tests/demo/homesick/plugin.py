"""The extension, which knows nothing of it."""

from __future__ import annotations

from extension_kit.plugin import Plugin
from tests.demo.homesick import dependency

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.events import Invoke


class Homesick(Plugin):
    """At each invocation it asks its dependency for something harmless."""

    name = "homesick"

    def on_invoke(self, event: Invoke) -> None:
        dependency.tidy(event.request_id)
