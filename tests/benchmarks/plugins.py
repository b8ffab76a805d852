"""The plug-ins with which the kit itself is measured: they cost nothing, so that what is left is the kit."""

from __future__ import annotations

import sys

from extension_kit.plugin import Plugin


class Empty(Plugin):
    """No hook at all: the loop."""

    name = "empty"


class Hook(Plugin):
    """One hook that returns at once: the loop, and handing an event to a plug-in's thread and back."""

    name = "hook"

    def on_invoke(self, event):
        pass


class Store(Plugin):
    """A subscription and no hook: telemetry is accepted and stored, and that is all."""

    name = "store"
    telemetry = ("platform", "function")


class Decode(Plugin):
    """Keeps what the function wrote, one line each, until it is flushed; reports at the end how many lines it has had."""

    name = "decode"
    telemetry = ("platform", "function")

    def __init__(self):
        self._lines = bytearray()
        self._kept = 0

    def on_telemetry(self, records):
        kept = [record.raw for record in records if record.type == "function"]
        if kept:
            self._kept += len(kept)
            self._lines += b"\n".join(kept) + b"\n"

    def flush(self, reason, deadline):
        self._lines.clear()
        return 0

    def on_shutdown(self, event, deadline):
        sys.stderr.write(f"kept {self._kept}\n")


class DecodeOrjson(Decode):
    """The same beside orjson; with a name, and so a folder under /tmp, of its own."""

    name = "decode-orjson"
