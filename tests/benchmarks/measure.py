"""What the kernel counts for one process, and on which core it runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_libc = ctypes.CDLL(None, use_errno=True)


def cpu_ns(pid: int) -> int:
    """User and system time of a process in ns, of all its threads, also those that have ended.

    The process's CPU clock (clock_getcpuclockid(3)) is exact; /proc/PID/stat counts in steps of 10 ms.
    """
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise ProcessLookupError(error, f"process {pid}: {os.strerror(error)}")
    return time.clock_gettime_ns(clock.value)


def memory_mb(pid: int) -> tuple[float, float]:
    """PSS and RSS of a process in MB (smaps_rollup): pages shared with others in proportion, and in full."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        kilobytes = dict(line.split()[:2] for line in file if line.startswith(("Pss:", "Rss:")))
    return int(kilobytes["Pss:"]) * 1024 / 1e6, int(kilobytes["Rss:"]) * 1024 / 1e6


def peak_memory_mb(pid: int) -> float:
    """The most that has been resident in a process so far, in MB."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) * 1024 / 1e6


class Placement:
    """One core for the platform, another for the extension: the placement decides the figures more than the code does.

    On a machine with a single core both share it, and ``text`` says so.
    """

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)
        cores = sorted(self._all)
        self.platform, self.extension = cores[0], cores[-1]
        shared = " (shared: there is only one)" if len(cores) == 1 else ""
        self.text = f"platform on core {self.platform}, extension on core {self.extension}{shared}"

    def __enter__(self) -> Placement:
        os.sched_setaffinity(0, {self.platform})
        return self

    def __exit__(self, *exc: object) -> None:
        os.sched_setaffinity(0, self._all)

    @contextlib.contextmanager
    def as_extension(self) -> Iterator[None]:
        """The calling thread is on the extension's core, and so is whatever it starts."""
        os.sched_setaffinity(0, {self.extension})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {self.platform})
