"""What the kernel counts: pure parsers, and a sampler that keeps its files open.

Sources: proc(5), statvfs(3). A file or a line that is missing or strange costs its own figures only: they are None.
"""

from __future__ import annotations

import os

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Sample", "Sampler", "parse_cpu", "parse_memory", "parse_network"]

Figures = dict[str, float]
_LARGEST = 65_536  # bytes of a file in /proc that are read


def parse_cpu(stat: bytes, ticks_per_second: int) -> Figures:
    """``cpu_user_ms`` (user and nice) and ``cpu_system_ms`` (system, irq, softirq) since boot, from /proc/stat.

    Idle, iowait and steal are no work; guest time is in user already.
    """
    for line in stat.splitlines():
        fields = line.split()
        if len(fields) >= 8 and fields[0] == b"cpu":
            numbers = _integers(fields[1:8])
            if numbers is None:
                return {}
            user, nice, system, _idle, _iowait, irq, softirq = numbers
            scale = 1000 / ticks_per_second
            return {"cpu_user_ms": (user + nice) * scale, "cpu_system_ms": (system + irq + softirq) * scale}
    return {}


def parse_memory(meminfo: bytes) -> Figures:
    """``memory_used_bytes``: MemTotal less MemAvailable, from /proc/meminfo (kB there are 1024 bytes)."""
    found: dict[bytes, int] = {}
    for line in meminfo.splitlines():
        name, _, rest = line.partition(b":")
        if name in (b"MemTotal", b"MemAvailable"):
            numbers = _integers(rest.split()[:1])
            if numbers:
                found[name] = numbers[0]
    if len(found) != 2:
        return {}
    return {"memory_used_bytes": max(0, found[b"MemTotal"] - found[b"MemAvailable"]) * 1024.0}


def parse_network(dev: bytes) -> Figures:
    """``network_rx_bytes`` and ``network_tx_bytes`` since boot, from /proc/net/dev.

    Lambda's own interface is ``vinternal_1``; elsewhere all but loopback count, and loopback where there is nothing else.
    """
    received: dict[bytes, tuple[int, int]] = {}
    for line in dev.splitlines():
        name, colon, rest = line.partition(b":")
        fields = rest.split()
        if colon and len(fields) >= 9:
            numbers = _integers([fields[0], fields[8]])
            if numbers is not None:
                received[name.strip()] = (numbers[0], numbers[1])
    if not received:
        return {}
    if b"vinternal_1" in received:
        chosen = [received[b"vinternal_1"]]
    else:
        chosen = [counted for name, counted in received.items() if name != b"lo"] or list(received.values())
    return {
        "network_rx_bytes": float(sum(counted[0] for counted in chosen)),
        "network_tx_bytes": float(sum(counted[1] for counted in chosen)),
    }


def _integers(fields: list[bytes]) -> list[int] | None:
    if not all(field.isdigit() and len(field) <= 20 for field in fields):
        return None
    return [int(field) for field in fields]


class Sample(Value):
    """Figures at one moment; ``at_ns`` on the monotonic clock, ``missing`` the sources that could not be read."""

    __slots__ = ("at_ns", "figures", "missing")

    at_ns: int
    figures: Figures
    missing: tuple[str, ...]

    def __init__(self, at_ns: int, figures: Figures, missing: tuple[str, ...]) -> None:
        set_field(self, "at_ns", at_ns)
        set_field(self, "figures", figures)
        set_field(self, "missing", missing)


class Sampler:
    """Reads /proc and /tmp. Files stay open: reading one again from its start is all that a sample costs."""

    def __init__(self, now_ns: Callable[[], int], proc: str = "/proc", tmp: str = "/tmp") -> None:  # noqa: S108
        self._now_ns = now_ns
        self._tmp = tmp
        try:
            self._ticks = os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            self._ticks = 100
        self._sources: list[tuple[str, str, Callable[[bytes], Figures]]] = [
            ("cpu", f"{proc}/stat", lambda data: parse_cpu(data, self._ticks)),
            ("memory", f"{proc}/meminfo", parse_memory),
            ("network", f"{proc}/net/dev", parse_network),
        ]
        self._open: dict[str, int] = {}

    def sample(self) -> Sample:
        """Every figure that can be had now. Never raises."""
        figures: Figures = {}
        missing = []
        for name, path, parse in self._sources:
            found = parse(self._read(path))
            figures.update(found)
            if not found:
                missing.append(name)
        try:
            disk = os.statvfs(self._tmp)
            figures["tmp_used_bytes"] = float((disk.f_blocks - disk.f_bfree) * disk.f_frsize)
        except OSError:
            missing.append("tmp")
        return Sample(self._now_ns(), figures, tuple(missing))

    def _read(self, path: str) -> bytes:
        try:
            fd = self._open.get(path)
            if fd is None:
                fd = self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            data = part = os.pread(fd, _LARGEST, 0)
            # One read of /proc/net/dev ends at about a page, whatever the size of the buffer: go on until nothing comes.
            while part and len(data) < _LARGEST:
                part = os.pread(fd, _LARGEST - len(data), len(data))
                data += part
            return data
        except OSError:
            return b""
