"""SIGKILL and other signals for the runtime: a crash in mid-invocation. Capped: a function that only crashes is no experiment.

The count outlives the process, since Lambda starts everything anew after a crash: it stands in a file, one line for each kill.
"""

from __future__ import annotations

import posix

from extensions.chaos_injector.faults.files import write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOST_AN_HOUR", "Killer", "runtime_pid"]

#: kills of one environment
MOST_AN_HOUR = 6
_HOUR_MS = 3_600_000
_STOP, _CONT = 19, 18
_SIGNALS = {"KILL": 9, "TERM": 15, "ABRT": 6, "SEGV": 11, "STOP": 19, "INT": 2, "BUS": 7, "FPE": 8, "QUIT": 3, "HUP": 1}


def runtime_pid(folder: str, address: str) -> int | None:
    """The process that the wrapper has started; None where that is in doubt.

    A number can be another process's by now: it counts where the process was started with our ``address`` (127.0.0.1:PORT)
    as its Runtime API.
    """
    try:
        with open(f"{folder}/runtime.pid") as file:
            pid = int(file.read(16))
        if pid <= 1 or pid in (posix.getpid(), posix.getppid()):
            return None
        with open(f"/proc/{pid}/environ", "rb") as file:
            known = f"AWS_LAMBDA_RUNTIME_API={address}".encode() in file.read(1_048_576).split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if known else None


class Killer:
    """``file``: where kills are noted."""

    def __init__(self, file: str, now_ms: Callable[[], int], pid: Callable[[], int | None]) -> None:
        self._file = file
        self._now_ms = now_ms
        self._pid = pid
        self._stopped = 0

    @property
    def stopped(self) -> bool:
        """Whether the runtime was stopped (SIGSTOP) and not resumed."""
        return self._stopped > 0

    def resume(self) -> None:
        """Take SIGSTOP back."""
        pid, self._stopped = self._stopped, 0
        if pid and self._pid() == pid:
            try:
                posix.kill(pid, _CONT)
            except OSError:
                pass

    def kill(self, signal: str | int) -> str:
        """Signal the runtime; "" or why it was let live."""
        pid = self._pid()
        if pid is None:
            return "the runtime's process is not known: was it started by the wrapper?"
        now_ms = self._now_ms()
        recent = [at_ms for at_ms in self._noted() if 0 <= now_ms - at_ms < _HOUR_MS]
        if len(recent) >= MOST_AN_HOUR:
            return f"{len(recent)} kills in the last hour, {MOST_AN_HOUR} are allowed"
        try:
            self._note([*recent, now_ms])  # first: a kill that is not counted could be repeated for ever
            posix.kill(pid, number_of(signal))
            self._stopped = pid if number_of(signal) == _STOP else self._stopped
        except OSError as error:
            return str(error.strerror)
        return ""

    def _noted(self) -> list[int]:
        try:
            with open(self._file) as file:
                return [int(line) for line in file.read(65_536).split()]
        except (OSError, ValueError):
            return []

    def _note(self, times: list[int]) -> None:
        write(self._file, "".join(f"{at_ms}\n" for at_ms in times).encode())


def number_of(signal: str | int) -> int:
    """9 for ``KILL``, ``SIGKILL``, ``9`` and 9."""
    name = str(signal).upper().removeprefix("SIG")
    return _SIGNALS.get(name) or (int(name) if name.isdigit() else 9)
