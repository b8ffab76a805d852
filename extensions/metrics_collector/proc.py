"""What the kernel counts: parsers from the bytes of a file in /proc to figures. Pure; they never raise.

Source: proc(5). What is missing, negative, no number or cut off costs its own figure and no other. A line without its end
was cut, wherever the cut was: a number at the cut would be a wrong one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "default_interface", "parse_cpu", "parse_disks", "parse_io", "parse_kernel", "parse_limits", "parse_memory",
    "parse_network", "parse_rss", "parse_sockets", "parse_stat", "parse_status", "parse_tcp",
]  # fmt: skip

Figures = dict[str, float]
_LARGEST = 20  # digits of the largest number of 64 bits
_SECTOR = 512  # bytes; /proc/diskstats counts in these, whatever the device has
#: a runtime's way to the world on Lambda: on demand (two names are in use) and on Managed Instances
_LAMBDA = (b"vinternal_1", b"vint_runtime", b"Ceth1")
#: Lambda's own, or the machine's: never the function's traffic
_NOT_COUNTED = (b"lo", b"telemetry1_sb")
#: devices on other devices, or on memory: what they read and write is not, or is already, counted elsewhere
_NOT_WHOLE = (b"loop", b"ram", b"zram", b"dm-", b"md")


def _number(field: bytes) -> int | None:
    # `isdigit` of bytes knows ASCII only, and no sign.
    return int(field) if len(field) <= _LARGEST and field.isdigit() else None


def _numbers(fields: list[bytes], count: int) -> list[int | None]:
    """`count` numbers, from as many fields as there are."""
    fields = fields[:count]
    found: list[int | None]
    if b"".join(fields).isdigit() and max(map(len, fields)) <= _LARGEST:
        found = [*map(int, fields)]  # as nearly always: three times as fast as one by one
    else:
        found = [_number(field) for field in fields]
    return found + [None] * (count - len(found))


def _lines(data: bytes) -> list[bytes]:
    return data[: data.rfind(b"\n") + 1].split(b"\n")


def _after(data: bytes, key: bytes) -> int | None:
    """The number that follows `key` at the beginning of a line; found, and not looked for line by line: files are long."""
    start = 0 if data.startswith(key) else data.find(b"\n" + key) + 1
    end = data.find(b"\n", start)
    if (start == 0 and not data.startswith(key)) or end < 0:
        return None
    fields = data[start + len(key) : end].split(None, 1)
    return _number(fields[0]) if fields else None


def _sum(parts: tuple[int | None, ...], scale: float = 1.0) -> float | None:
    total = 0
    for part in parts:
        if part is None:
            return None
        total += part
    return float(total * scale)


def _put(figures: Figures, name: str, parts: tuple[int | None, ...], scale: float = 1.0) -> None:
    """The sum of `parts` as a figure, unless one of them is missing."""
    total = _sum(parts, scale)
    if total is not None:
        figures[name] = total


def parse_cpu(stat: bytes, ticks: int) -> tuple[Figures, tuple[float, ...]]:
    """/proc/stat, with ``ticks`` in a second: figures of all cores, and the milliseconds since boot that each core worked.

    User and nice are user time, system and both kinds of interrupt system time; guest time is in user already. Of the cores
    there is () when one of them cannot be told.
    """
    figures: Figures = {}
    cores: list[float | None] = []
    ms = 1000 / ticks
    start = 0
    # These lines come first; the line after them has many kilobytes.
    while stat.startswith(b"cpu", start) and (end := stat.find(b"\n", start)) >= 0:
        name, *fields = stat[start:end].split()
        user, nice, system, idle, iowait, irq, softirq, steal = _numbers(fields, 8)
        start = end + 1
        if name == b"cpu":
            _put(figures, "cpu_user_ms", (user, nice), ms)
            _put(figures, "cpu_system_ms", (system, irq, softirq), ms)
            _put(figures, "cpu_idle_ms", (idle,), ms)
            _put(figures, "cpu_iowait_ms", (iowait,), ms)
            _put(figures, "cpu_steal_ms", (steal,), ms)
        else:
            cores.append(_sum((user, nice, system, irq, softirq), ms))
    if cores:
        figures["cpu_cores_count"] = float(len(cores))
    _put(figures, "context_switches_count", (_after(stat, b"ctxt "),))
    _put(figures, "processes_blocked_count", (_after(stat, b"procs_blocked "),))
    return figures, tuple(core for core in cores if core is not None) if None not in cores else ()


def parse_memory(meminfo: bytes) -> Figures:
    """/proc/meminfo (kB there are 1024 bytes). Used is what is not available: caches that can be dropped are not used."""
    total, available = _after(meminfo, b"MemTotal:"), _after(meminfo, b"MemAvailable:")
    figures: Figures = {}
    _put(figures, "memory_total_bytes", (total,), 1024)
    _put(figures, "memory_available_bytes", (available,), 1024)
    if total is not None and available is not None and total >= available:
        figures["memory_used_bytes"] = (total - available) * 1024.0
    return figures


def default_interface(route: bytes) -> str:
    """/proc/net/route: the interface of the default route with the lowest metric; "" where there is none."""
    found: list[tuple[int, bytes]] = []
    for line in _lines(route):
        fields = line.split()
        if len(fields) >= 8 and fields[1] == fields[7] == b"00000000":
            metric = _number(fields[6])
            if metric is not None:
                found.append((metric, fields[0]))
    return min(found)[1].decode("ascii", "replace") if found else ""


def parse_network(dev: bytes, default: str = "") -> tuple[str, Figures]:
    """/proc/net/dev: which interface was counted, and its figures since boot.

    Lambda's own, else ``default``, else the sum of all but loopback, else loopback.
    """
    rows: dict[bytes, bytes] = {}
    for line in _lines(dev):
        name, colon, rest = line.partition(b":")
        if colon:
            rows[name.strip()] = rest
    chosen = [name for name in (*_LAMBDA, default.encode("ascii", "replace")) if name in rows][:1]
    chosen = chosen or [name for name in rows if name not in _NOT_COUNTED] or [name for name in rows if name == b"lo"]
    figures: Figures = {}
    if chosen:
        columns = list(zip(*(_numbers(rows[name].split(), 12) for name in chosen), strict=True))
        _put(figures, "network_rx_bytes", columns[0])
        _put(figures, "network_rx_packets_count", columns[1])
        _put(figures, "network_tx_bytes", columns[8])
        _put(figures, "network_tx_packets_count", columns[9])
        _put(figures, "network_errors_count", columns[2] + columns[10])
        _put(figures, "network_dropped_count", columns[3] + columns[11])
    return b"+".join(chosen).decode("ascii", "replace"), figures


def parse_tcp(snmp: bytes) -> Figures:
    """/proc/net/snmp: two lines begin with ``Tcp:``, one of names and one of numbers."""
    rows = [line.split() for line in _lines(snmp) if line.startswith(b"Tcp:")]
    figures: Figures = {}
    if len(rows) == 2:
        told = dict(zip(*rows, strict=False))
        _put(figures, "tcp_retransmits_count", (_number(told.get(b"RetransSegs", b"")),))
        _put(figures, "tcp_established_count", (_number(told.get(b"CurrEstab", b"")),))
    return figures


def parse_sockets(sockstat: bytes) -> Figures:
    """/proc/net/sockstat."""
    figures: Figures = {}
    _put(figures, "sockets_used_count", (_after(sockstat, b"sockets: used "),))
    return figures


def parse_disks(diskstats: bytes) -> Figures:
    """/proc/diskstats: bytes since boot of whole devices; those of their partitions are in them."""
    rows = {}
    for line in _lines(diskstats):
        fields = line.split()
        if len(fields) >= 10 and not fields[2].startswith(_NOT_WHOLE):
            rows[fields[2]] = _number(fields[5]), _number(fields[9])
    whole = [numbers for name, numbers in rows.items() if not _is_partition(name, rows.keys())]
    figures: Figures = {}
    if whole:
        _put(figures, "io_read_bytes", tuple(read for read, _written in whole), _SECTOR)
        _put(figures, "io_write_bytes", tuple(written for _read, written in whole), _SECTOR)
    return figures


def _is_partition(name: bytes, devices: Collection[bytes]) -> bool:
    """Whether `name` is another device's and a number: ``vda1``; ``nvme0n1p1``, where the device ends in a digit itself."""
    device = name.rstrip(b"0123456789")
    if device == name:
        return False
    return device in devices or (device.endswith(b"p") and device[-2:-1].isdigit() and device[:-1] in devices)


def parse_kernel(vmstat: bytes) -> Figures:
    """/proc/vmstat: processes that were killed for want of memory, and pages that had to be fetched from a disk."""
    figures: Figures = {}
    _put(figures, "oom_kills_count", (_after(vmstat, b"oom_kill "),))
    _put(figures, "page_faults_major_count", (_after(vmstat, b"pgmajfault "),))
    return figures


def parse_rss(statm: bytes, page: int) -> float | None:
    """/proc/PID/statm, with pages of ``page`` bytes: the memory that is resident."""
    fields = statm.split()
    pages = _number(fields[1]) if len(fields) >= 2 and statm.endswith(b"\n") else None
    return None if pages is None else float(pages * page)


def parse_stat(stat: bytes, ticks: int) -> tuple[str, float | None, int | None]:
    """/proc/PID/stat: name, CPU time in milliseconds, threads.

    The time of children that ended and were waited for is part of it: with it, what a process did that lived between two
    scans is not lost. The name stands in parentheses and may have any others in it.
    """
    name, parenthesis, rest = stat.partition(b"(")[2].rpartition(b")")
    if not parenthesis or not stat.endswith(b"\n"):
        return "", None, None
    user, system, user_of_children, system_of_children, _, _, threads = _numbers(rest.split(None, 18)[11:18], 7)
    cpu_ms = _sum((user, system, user_of_children, system_of_children), 1000 / ticks)
    return name.decode("utf-8", "replace"), cpu_ms, threads


def parse_status(status: bytes) -> tuple[float | None, float | None]:
    """/proc/PID/status: bytes that are resident, and the most that ever were. A thread of the kernel has neither."""
    rss, most = _after(status, b"VmRSS:"), _after(status, b"VmHWM:")
    return None if rss is None else rss * 1024.0, None if most is None else most * 1024.0


def parse_io(io: bytes) -> tuple[float | None, float | None]:
    """/proc/PID/io: bytes that were fetched from a device, and sent to one."""
    read, written = _after(io, b"read_bytes: "), _after(io, b"write_bytes: ")
    return None if read is None else float(read), None if written is None else float(written)


def parse_limits(limits: bytes) -> tuple[int | None, int | None]:
    """/proc/PID/limits: descriptors and threads that it may have (the soft limits); None for ``unlimited``, too."""
    return _after(limits, b"Max open files "), _after(limits, b"Max processes ")
