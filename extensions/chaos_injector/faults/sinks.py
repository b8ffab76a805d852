"""Faults of the sinks of our own extensions (log shipper, metrics collector): orders in a file, carried out by the kit.

They send after the response, when the invocation is over: an order is good until it is taken back, until the experiment ends,
or for a minute after the injector's last word, whichever is first. The kit's side is `extension_kit.chaos`.
"""

from __future__ import annotations

from extensions.chaos_injector.faults.files import remove, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extensions.chaos_injector.plan import Fault

__all__ = ["Sinks"]

_GOOD_FOR_MS = 60_000


class Sinks:
    """``path``: of the file with the orders."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.busy = False

    def begin(self, fault: Fault, now_ms: int, until_ms: int) -> str:
        """Order it until `until_ms` (epoch); "" or why that cannot be."""
        import json

        params = fault.params
        order = {name: params[name] for name in ("action", "status", "delay_ms", "retry_after_s")}
        order["until_ms"] = min(until_ms, now_ms + _GOOD_FOR_MS)
        try:
            write(self._path, json.dumps(order).encode())
        except OSError as error:
            return str(error.strerror)
        self.busy = True
        return ""

    def stop(self) -> None:
        """Take it back."""
        self.busy = False
        remove(self._path)
