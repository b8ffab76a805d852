"""The plug-ins with which the kit itself is measured: they cost nothing, so that what is left is the kit."""

from __future__ import annotations

from extension_kit.plugin import Plugin


class Empty(Plugin):
    """No hook at all: the loop."""

    name = "empty"


class Hook(Plugin):
    """One hook that returns at once: the loop, and handing an event to a plug-in's thread and back."""

    name = "hook"

    def on_invoke(self, event):
        pass
