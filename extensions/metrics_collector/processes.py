"""The processes of the environment: what each of them has, and what they have together. Imported with the first scan.

The costliest thing that the collector looks at, and it grows with what the function starts: so no more than `MOST` processes
are looked at, and the files of the oldest stay open from scan to scan.
"""

from __future__ import annotations

import os

from extension_kit.protocol.values import Value, set_field
from extensions.metrics_collector.proc import parse_io, parse_limits, parse_stat, parse_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["MOST", "ProcessFigures", "Scanner"]

#: processes that are looked at, the oldest first, so that they are the same ones from scan to scan; others are counted only
MOST = 64
#: those whose files stay open; each has four, and all descriptors of the process are 1,024 (AWS docs, Lambda quotas): other
#: plug-ins in it need some
_KEPT_OPEN = 16
_LARGEST = 8192  # bytes; no file of these is longer


class ProcessFigures(Value):
    """One process. Times and bytes are since it began; None is what we may not read, or what it does not have."""

    __slots__ = ("cpu_ms", "fds", "hwm_bytes", "name", "pid", "read_bytes", "rss_bytes", "threads", "write_bytes")

    pid: int
    name: str
    cpu_ms: float | None
    rss_bytes: float | None
    hwm_bytes: float | None
    fds: int | None
    threads: int | None
    read_bytes: float | None
    write_bytes: float | None

    def __init__(
        self,
        pid: int,
        name: str,
        *,
        cpu_ms: float | None = None,
        rss_bytes: float | None = None,
        hwm_bytes: float | None = None,
        fds: int | None = None,
        threads: int | None = None,
        read_bytes: float | None = None,
        write_bytes: float | None = None,
    ) -> None:
        set_field(self, "pid", pid)
        set_field(self, "name", name)
        set_field(self, "cpu_ms", cpu_ms)
        set_field(self, "rss_bytes", rss_bytes)
        set_field(self, "hwm_bytes", hwm_bytes)
        set_field(self, "fds", fds)
        set_field(self, "threads", threads)
        set_field(self, "read_bytes", read_bytes)
        set_field(self, "write_bytes", write_bytes)


class Scanner:
    """Looks at every process but our own. Never raises."""

    def __init__(self, proc: str, own_pid: int, ticks: int, most: int = MOST) -> None:
        self._proc = proc
        self._own_pid = own_pid
        self._ticks = ticks
        self._most = most
        self._open: dict[int, dict[str, int]] = {}
        self._limits: dict[int, tuple[int | None, int | None]] = {}
        self._scans = 0

    def scan(self) -> tuple[dict[str, float], tuple[ProcessFigures, ...]]:
        """What the processes have together, and each of them; nothing where /proc cannot be listed."""
        try:
            pids = sorted(int(name) for name in os.listdir(self._proc) if name.isdecimal())
        except OSError:
            pids = []
        others = [pid for pid in pids if pid != self._own_pid]
        looked_at = others[: self._most]
        for pid in (self._open.keys() | self._limits.keys()) - set(looked_at):
            self._forget(pid)
        processes = [process for pid in looked_at if (process := self._process(pid)) is not None]
        # Limits hardly ever change: those of new processes, and of the others one at a time.
        self._scans += 1
        for index, process in enumerate(processes):
            if process.pid not in self._limits or index == self._scans % len(processes):
                self._limits[process.pid] = parse_limits(self._read(process.pid, "limits"))
        return _together(len(others), processes, self._limits.values()) if pids else {}, tuple(processes)

    def close(self) -> None:
        for pid in tuple(self._open):
            self._forget(pid)

    def _process(self, pid: int) -> ProcessFigures | None:
        known = pid in self._open
        stat = self._read(pid, "stat")
        if not stat and known:
            # The open files are those of a process that has ended; its number is another's by now.
            self._forget(pid)
            stat = self._read(pid, "stat")
        if not stat:
            return None  # it ended while we looked
        name, cpu_ms, threads = parse_stat(stat, self._ticks)
        rss, hwm = parse_status(self._read(pid, "status"))
        read, written = parse_io(self._read(pid, "io"))
        try:
            fds = len(os.listdir(f"{self._proc}/{pid}/fd"))
        except OSError:
            fds = None
        return ProcessFigures(
            pid,
            name,
            cpu_ms=cpu_ms,
            rss_bytes=rss,
            hwm_bytes=hwm,
            fds=fds,
            threads=threads,
            read_bytes=read,
            write_bytes=written,
        )

    def _read(self, pid: int, name: str) -> bytes:
        path, files = f"{self._proc}/{pid}/{name}", self._open.get(pid)
        if files is None and len(self._open) < _KEPT_OPEN:
            files = self._open[pid] = {}
        try:
            if files is not None:
                if name not in files:
                    files[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                return os.pread(files[name], _LARGEST, 0)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(fd, _LARGEST)
            finally:
                os.close(fd)
        except OSError:
            return b""

    def _forget(self, pid: int) -> None:
        self._limits.pop(pid, None)
        for fd in self._open.pop(pid, {}).values():
            os.close(fd)


def _together(
    count: int, processes: list[ProcessFigures], limits: Collection[tuple[int | None, int | None]]
) -> dict[str, float]:
    """A figure that no process tells is left out."""
    found: dict[str, list[float | None]] = {
        "process_cpu_ms": [process.cpu_ms for process in processes],
        "function_rss_bytes": [process.rss_bytes for process in processes],
        "fd_used_count": [process.fds for process in processes],
        "threads_used_count": [process.threads for process in processes],
    }
    figures = {name: float(sum(known)) for name, values in found.items() if (known := _known(values))}
    figures["processes_count"] = float(count)
    if hwm := _known(process.hwm_bytes for process in processes):
        figures["function_hwm_bytes"] = max(hwm)
    # The first process that reaches its limit is the one that fails.
    if files := _known(files for files, _threads in limits):
        figures["fd_max_count"] = float(min(files))
    if threads := _known(threads for _files, threads in limits):
        figures["threads_max_count"] = float(min(threads))
    return figures


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
