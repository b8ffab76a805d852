"""Figures of one moment: a sampler that keeps its files open.

A sample at each edge of an invocation is cheap; the scan of the processes is not, and has a budget of CPU that it keeps to by
itself. Nothing here raises: what cannot be read is missing, and its source is named.
"""

from __future__ import annotations

import os
from time import process_time_ns, thread_time_ns

from extension_kit.protocol.values import Value, set_field
from extensions.metrics_collector import proc as parsers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extensions.metrics_collector.processes import ProcessFigures, Scanner

__all__ = ["COUNTERS", "FAMILIES", "Sample", "Sampler"]

Figures = dict[str, float]
#: the names of the switches; what the collector itself takes is always told
FAMILIES = ("cpu", "memory", "tmp", "network", "processes", "io", "kernel")
#: figures that only grow; all others are levels
COUNTERS = frozenset({
    "cpu_user_ms", "cpu_system_ms", "cpu_idle_ms", "cpu_iowait_ms", "cpu_steal_ms", "context_switches_count",
    "network_rx_bytes", "network_tx_bytes", "network_rx_packets_count", "network_tx_packets_count", "network_errors_count",
    "network_dropped_count", "tcp_retransmits_count", "io_read_bytes", "io_write_bytes", "oom_kills_count",
    "page_faults_major_count", "process_cpu_ms", "own_cpu_ms", "own_user_ticks_ms", "own_system_ticks_ms", "own_sampling_ms",
    "sampling_degraded_count",
})  # fmt: skip
#: a level, the name of its extreme since the sample before, and which extreme
_WATERS: tuple[tuple[str, str, Callable[[float, float], float]], ...] = (
    ("memory_available_bytes", "memory_available_low_bytes", min),
    ("tmp_used_bytes", "tmp_used_high_bytes", max),
    ("fd_used_count", "fd_used_high_count", max),
    ("threads_used_count", "threads_used_high_count", max),
    ("cpu_second_ratio", "cpu_utilization_max_ratio", max),
)
_LARGEST = 65_536  # bytes of a file in /proc that are read
_MB = 1_048_576
_SECOND_NS = 1_000_000_000
_GONE = -1  # in place of a descriptor
_RAREST = 64


class Sample(Value):
    """Figures at one moment: ``at_ns`` on the monotonic clock, ``cores`` the milliseconds that each core has worked,
    ``interface`` whose traffic was counted, ``missing`` the sources that could not be read."""

    __slots__ = ("at_ns", "cores", "counters", "interface", "levels", "missing", "processes")

    at_ns: int
    counters: Figures
    levels: Figures
    cores: tuple[float, ...]
    interface: str
    missing: tuple[str, ...]
    processes: tuple[ProcessFigures, ...]

    def __init__(
        self,
        at_ns: int,
        counters: Figures,
        levels: Figures,
        cores: tuple[float, ...] = (),
        interface: str = "",
        missing: tuple[str, ...] = (),
        processes: tuple[ProcessFigures, ...] = (),
    ) -> None:
        set_field(self, "at_ns", at_ns)
        set_field(self, "counters", counters)
        set_field(self, "levels", levels)
        set_field(self, "cores", cores)
        set_field(self, "interface", interface)
        set_field(self, "missing", missing)
        set_field(self, "processes", processes)

    def at(self, now_ns: int) -> Sample:
        """The same figures at another moment, where nothing has happened in between: the environment was frozen."""
        return Sample(now_ns, self.counters, self.levels, self.cores, self.interface, self.missing, self.processes)


def _own_cpu() -> tuple[float, float, float]:
    """Our own CPU time to the nanosecond, and user and system time in ticks: the finest that each can be had."""
    times = os.times()
    return process_time_ns() / 1e6, times.user * 1000, times.system * 1000


class Turns:
    """At which edges the scan is due: at each one that its budget allows, on the average.

    It takes two samples to tell what was spent. So when half of the edges can be paid for they are pairs: two with a scan,
    two without, and not every other one.
    """

    def __init__(self, budget_ns: float) -> None:
        self._budget_ns = budget_ns
        self._average_ns: float | None = None
        self._of_pair = 0
        self._to_leave_out = 0
        self.every = 1
        self.left_out = 0

    def due(self) -> bool:
        if self._to_leave_out == 0:
            return True
        self._to_leave_out -= 1
        self.left_out += 1
        return False

    def cost(self, spent_ns: float) -> None:
        """A scan took this much CPU."""
        self._average_ns = spent_ns if self._average_ns is None else (self._average_ns + spent_ns) / 2
        self.every = 1
        while self._average_ns > self._budget_ns * self.every and self.every < _RAREST:
            self.every *= 2
        self._of_pair = (self._of_pair + 1) % 2 if self.every > 1 else 0
        if self.every > 1 and self._of_pair == 0:
            self._to_leave_out = 2 * (self.every - 1)


class Sampler:
    """Reads /proc and /tmp. Files stay open: reading one again from its start is all that it costs at an edge.

    ``families``: which figures are wanted (`FAMILIES`; None: all). ``memory_mb``: the function's memory size. ``budget_us``:
    CPU that the scan of the processes may take at an edge, on the average; ``thread_ns``, ``own_cpu``: the clocks of CPU time.
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        families: frozenset[str] | None = None,
        memory_mb: int | None = None,
        proc: str = "/proc",
        tmp: str = "/tmp",  # noqa: S108
        own_pid: int | None = None,
        *,
        budget_us: float = 300,
        thread_ns: Callable[[], int] = thread_time_ns,
        own_cpu: Callable[[], tuple[float, float, float]] = _own_cpu,
    ) -> None:
        self._now_ns = now_ns
        self._families = frozenset(FAMILIES) if families is None else families
        self._memory_mb = memory_mb
        self._proc = proc
        self._tmp = tmp
        self._own_pid = os.getpid() if own_pid is None else own_pid
        self._thread_ns = thread_ns
        self._own_cpu = own_cpu
        self._ticks = _configured("SC_CLK_TCK", 100)
        self._page = _configured("SC_PAGE_SIZE", 4096)
        self._open: dict[str, int] = {}
        self._scanner: Scanner | None = None
        self._turns = Turns(budget_us * 1000)
        self._sampling_ns = 0
        self._default_interface: str | None = None
        self._waters: Figures = {}
        self._second: tuple[int, float] | None = None
        sources: tuple[tuple[str, str, str, Callable[[bytes], Figures]], ...] = (
            ("memory", "memory", "meminfo", parsers.parse_memory),
            ("network", "tcp", "net/snmp", parsers.parse_tcp),
            ("network", "sockets", "net/sockstat", parsers.parse_sockets),
            ("io", "io", "diskstats", parsers.parse_disks),
            ("kernel", "kernel", "vmstat", parsers.parse_kernel),
        )
        self._sources = tuple(source[1:] for source in sources if source[0] in self._families)

    def sample(self) -> Sample:
        """Every figure that can be had now. The extremes among them are since the sample before, with what `watch` saw."""
        began_ns, at_ns = self._thread_ns(), self._now_ns()
        figures: Figures = {}
        missing: list[str] = []
        self._own(figures, missing)
        cores = self._cpu(figures, missing)
        self._busy(at_ns, figures, edge=True)
        interface = self._network(figures, missing)
        for name, path, parse in self._sources:
            if found := parse(self._read(path)):
                figures.update(found)
            else:
                missing.append(name)
        self._of_tmp(figures, missing)
        processes: tuple[ProcessFigures, ...] = ()
        if "processes" in self._families and self._turns.due():
            processes = self._scan(figures, missing)
        self._limits(figures)
        self._keep(figures)
        figures.pop("cpu_second_ratio", None)  # of the time before this moment, where levels are of both sides of it
        extremes, self._waters = self._waters, {}
        self._keep(figures)
        figures.update(extremes)
        figures["sampling_degraded_count"] = float(self._turns.left_out)
        self._sampling_ns += self._thread_ns() - began_ns
        figures["own_sampling_ms"] = self._sampling_ns / 1e6
        counters = {name: figures.pop(name) for name in tuple(figures) if name in COUNTERS}
        return Sample(at_ns, counters, figures, cores, interface, tuple(missing), processes)

    def begin(self, now_ns: int) -> None:
        """An invocation begins with the figures of an earlier sample: how busy the cores are is counted from now on."""
        if self._second is not None:
            self._second = now_ns, self._second[1]

    def watch(self) -> None:
        """In the middle of a long invocation, about every second: the extremes, for the next sample."""
        began_ns = self._thread_ns()
        figures: Figures = {}
        missing: list[str] = []
        if "memory" in self._families:
            figures.update(parsers.parse_memory(self._read("meminfo")))
        self._own(figures, missing)
        self._cpu(figures, missing)
        self._busy(self._now_ns(), figures)
        self._of_tmp(figures, missing)
        # Edges come first: what they cannot pay for is not done in between.
        if "processes" in self._families and self._turns.every == 1:
            self._scan(figures, missing)
        self._keep(figures)
        self._sampling_ns += self._thread_ns() - began_ns

    def close(self) -> None:
        for fd in self._open.values():
            if fd != _GONE:
                os.close(fd)
        self._open.clear()
        if self._scanner is not None:
            self._scanner.close()

    def _own(self, figures: Figures, missing: list[str]) -> None:
        """Resident memory and not PSS: for PSS the kernel walks all page tables, a hundred times the time of a sample."""
        total, user, system = self._own_cpu()
        figures.update(own_cpu_ms=total, own_user_ticks_ms=user, own_system_ticks_ms=system)
        rss = parsers.parse_rss(self._read("self/statm"), self._page)
        if rss is None:
            missing.append("own")
        else:
            figures["own_memory_bytes"] = rss

    def _cpu(self, figures: Figures, missing: list[str]) -> tuple[float, ...]:
        if "cpu" not in self._families:
            return ()
        found, cores = parsers.parse_cpu(self._read("stat"), self._ticks)
        if not found:
            missing.append("cpu")
        figures.update(found)
        return cores

    def _busy(self, at_ns: int, figures: Figures, *, edge: bool = False) -> None:
        """How busy the cores were since we last looked, when that is a second ago or more and on this side of an edge."""
        names = ("cpu_user_ms", "cpu_system_ms", "cpu_cores_count", "own_cpu_ms")
        user, system, cores, own = (figures.get(name) for name in names)
        if user is None or system is None or cores is None or own is None:
            return
        worked_ms = user + system - own
        since_ns, before_ms = self._second or (at_ns, worked_ms)
        if at_ns - since_ns >= _SECOND_NS:
            ratio = (worked_ms - before_ms) * 1e6 / (at_ns - since_ns) / cores
            figures["cpu_second_ratio"] = min(1.0, max(0.0, ratio))
        if edge or self._second is None or at_ns - since_ns >= _SECOND_NS:
            self._second = at_ns, worked_ms

    def _network(self, figures: Figures, missing: list[str]) -> str:
        if "network" not in self._families:
            return ""
        if self._default_interface is None:
            # Once: on Lambda it is not asked for, and elsewhere a change would be another counter all the same.
            self._default_interface = parsers.default_interface(self._read("net/route"))
        interface, found = parsers.parse_network(self._read("net/dev"), self._default_interface)
        if not found:
            missing.append("network")
        figures.update(found)
        return interface

    def _of_tmp(self, figures: Figures, missing: list[str]) -> None:
        """Used is what is not free to anybody (f_bfree), or blocks that are kept for root would count as the function's;
        free is what the function can still write (f_bavail)."""
        if "tmp" not in self._families:
            return
        try:
            disk = os.statvfs(self._tmp)
        except OSError:
            missing.append("tmp")
            return
        figures["tmp_used_bytes"] = float(max(0, disk.f_blocks - disk.f_bfree) * disk.f_frsize)
        figures["tmp_free_bytes"] = float(disk.f_bavail * disk.f_frsize)
        figures["tmp_max_bytes"] = float(disk.f_blocks * disk.f_frsize)
        if disk.f_files:  # some file systems have no fixed number
            figures["tmp_inodes_used_count"] = float(max(0, disk.f_files - disk.f_ffree))
            figures["tmp_inodes_max_count"] = float(disk.f_files)

    def _scan(self, figures: Figures, missing: list[str]) -> tuple[ProcessFigures, ...]:
        if self._scanner is None:
            from extensions.metrics_collector.processes import Scanner

            self._scanner = Scanner(self._proc, self._own_pid, self._ticks)
        began_ns = self._thread_ns()
        found, processes = self._scanner.scan()
        self._turns.cost(self._thread_ns() - began_ns)
        if not found:
            missing.append("processes")
        figures.update(found)
        return processes

    def _limits(self, figures: Figures) -> None:
        if "memory" in self._families:
            limit = self._memory_mb * _MB if self._memory_mb else figures.get("memory_total_bytes")
            if limit:
                figures["memory_limit_bytes"] = float(limit)
                if "memory_used_bytes" in figures:
                    figures["memory_utilization_ratio"] = round(figures["memory_used_bytes"] / limit, 6)

    def _keep(self, figures: Figures) -> None:
        """Join the extremes so far with these figures."""
        for level, name, extreme in _WATERS:
            if level in figures:
                self._waters[name] = extreme(self._waters.get(name, figures[level]), figures[level])

    def _read(self, name: str) -> bytes:
        try:
            fd = self._open.get(name)
            if fd is None:
                fd = self._open[name] = os.open(f"{self._proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            elif fd == _GONE:
                return b""
            data = part = os.pread(fd, _LARGEST, 0)
            # One read of /proc/net/dev ends at about a page, whatever the size of the buffer: go on until nothing comes.
            while part and len(data) < _LARGEST:
                part = os.pread(fd, _LARGEST - len(data), len(data))
                data += part
            return data
        except (FileNotFoundError, PermissionError):
            self._open.setdefault(name, _GONE)  # the kernel does not have it, or not for us: it will not come later
            return b""
        except OSError:
            return b""


def _configured(name: str, otherwise: int) -> int:
    try:
        return max(1, os.sysconf(name))
    except (OSError, ValueError):
        return otherwise
