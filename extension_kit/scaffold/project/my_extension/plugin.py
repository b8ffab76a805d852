"""Counts the function's log lines, and those that hold a word; says both whenever the kit flushes, and at the end.

A start to change: what `flush` prints would be sent somewhere. What may be overridden, and when it is called, is in
``extension_kit.Plugin``; what the extension may talk to, read and write is declared in ``manifest.toml``.
"""

from __future__ import annotations

from extension_kit import Plugin, Settings
from extension_kit.settings import text

# Not typing's: all that is imported here is paid for before the function's first response.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit import Context, Deadline, Restore, Shutdown
    from extension_kit.records import Record


class MyExtensionSettings(Settings):
    """Environment variables of the function. A wrong value costs a warning line, and the default is used."""

    prefix = "MY_EXTENSION_"

    word = text("ERROR", maximum_length=200, help="Lines of the function that hold it are counted.")
    # The egress guard refuses (PermissionError) whom neither the manifest nor a setting like this one names:
    # endpoint = text("", names="endpoint", help="URL to which the counts are sent.")


class MyExtension(Plugin):
    """Hooks never run at the same time, and none can harm the function: what raises is reported and counted."""

    name = "my-extension"
    settings = MyExtensionSettings
    telemetry = ("function",)

    def start(self, context: Context) -> None:
        """Once, beside the start of the function's runtime: be quick."""
        self._word: str = context.settings.word
        self._lines = self._found = 0  # since the last flush
        self._all_lines = self._all_found = 0

    def on_telemetry(self, records: list[Record]) -> None:
        """Lines have come. The same list may hold records of the kit's own, e.g. that lines were dropped."""
        for record in records:
            if record.type == "function":
                self._lines += 1
                self._found += self._word in record.text

    def flush(self, reason: str, deadline: Deadline) -> None:
        """Send what is pending, by `deadline`. Once this has returned, the lines count as delivered."""
        if self._lines:
            print(f"[{self.name}] {self._found} of {self._lines} line(s) hold {self._word!r}", flush=True)
        self._all_lines += self._lines
        self._all_found += self._found
        self._lines = self._found = 0

    def on_restore(self, event: Restore) -> None:
        """A snapshot was resumed, or time has jumped: connections and everything else that ages are stale now."""
        print(f"[{self.name}] resumed: {event.reason}", flush=True)

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:
        """The environment ends; the last `flush` has been."""
        print(
            f"[{self.name}] {event.reason}: {self._all_found} of {self._all_lines} line(s) held {self._word!r}",
            flush=True,
        )
