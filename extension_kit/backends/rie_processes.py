"""What the processes under AWS's emulator cost: it starts them, so they are found by their network namespace and looked at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.emulator import processes

if TYPE_CHECKING:
    from collections.abc import Callable

_TICKS = os.sysconf("SC_CLK_TCK")
_EMULATOR = (b"aws-lambda-rie", b"timeout")


class Watch:
    """Looks at the processes of one network namespace; tells ``process_start`` when one is first seen."""

    def __init__(self, network: str, tell: Callable[..., object]) -> None:
        self._marker = processes.marked_by_network(network)
        self._tell = tell
        self._seen: dict[int, tuple[str, float, int]] = {}

    def look(self) -> None:
        """Note CPU and peak memory of every process so far."""
        for pid in processes.left_behind(self._marker):
            try:
                party, cpu_ms, peak = _account(pid)
            except (OSError, ValueError, IndexError):
                continue  # it has ended meanwhile
            if not party:
                continue
            if pid not in self._seen:
                self._tell("process_start", party=party, pid=pid)
            self._seen[pid] = (party, cpu_ms, peak)

    def end(self) -> None:
        """Tell ``process_usage`` as it was last seen: what a process did after that is not in it."""
        for party, cpu_ms, peak in self._seen.values():
            self._tell("process_usage", party=party, cpu_ms=cpu_ms, peak_bytes=peak)
        self._seen.clear()


def _account(pid: int) -> tuple[str, float, int]:
    """Party ("" for the emulator itself), CPU (ms), peak resident memory (bytes)."""
    folder = Path(f"/proc/{pid}")
    words = (folder / "cmdline").read_bytes().split(b"\0")
    if os.path.basename(words[0]) in _EMULATOR:
        return "", 0.0, 0
    # The launcher of a layer becomes Python, which runs /opt/NAME/boot.py.
    extension = next((word for word in words if word.startswith(b"/opt/extensions/")), b"") or next(
        (word.removesuffix(b"/boot.py") for word in words if word.startswith(b"/opt/") and word.endswith(b"/boot.py")),
        b"",
    )
    fields = (folder / "stat").read_bytes().rpartition(b") ")[2].split()
    _, _, rest = (folder / "status").read_bytes().partition(b"\nVmHWM:")
    party = os.path.basename(extension).decode("utf-8", "replace") or "runtime"
    return party, (int(fields[11]) + int(fields[12])) * 1000 / _TICKS, int(rest.split(maxsplit=1)[0]) * 1024
