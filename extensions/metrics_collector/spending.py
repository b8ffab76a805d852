"""What was spent between two samples. Imported when an invocation has ended."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extensions.metrics_collector.sampling import Sample

__all__ = ["spent"]

Figures = dict[str, float]
#: MB for one vCPU. Source: AWS docs, "Configure Lambda function memory"
_MB_PER_VCPU = 1769


def spent(start: Sample, end: Sample, memory_mb: int | None) -> Figures:
    """Counters as their growth, levels as they are at the end, and how busy the cores were. What one sample lacks is left out.

    ``counters_reset_count``, where it is not 0: counters that are left out since they went backwards.
    """
    figures: Figures = {}
    reset = 0
    for name, value in end.counters.items():
        before = start.counters.get(name)
        if before is None:
            continue
        other = name.startswith("network_") and start.interface != end.interface
        if value < before or other:
            reset += 1
        else:
            figures[name] = value - before
    if reset:
        figures["counters_reset_count"] = float(reset)
    _take_own_off(figures)
    figures.update(end.levels)
    figures.update(_ratios(start, end, figures.get("cpu_total_ms"), memory_mb))
    return {name: round(value, 6 if name.endswith("_ratio") else 3) for name, value in figures.items()}


def _take_own_off(figures: Figures) -> None:
    """The function's CPU time is what all took, less what the extension's process took. None of it is ever below 0.

    The kernel counts all in ticks of 10 ms, and ours exactly: in a short invocation they need not match.
    """
    own = figures.get("own_cpu_ms", 0.0)
    user_ticks, system_ticks = (figures.pop(f"own_{kind}_ticks_ms", 0.0) for kind in ("user", "system"))
    in_user = user_ticks / (user_ticks + system_ticks) if user_ticks + system_ticks else 1.0
    if "cpu_user_ms" in figures and "cpu_system_ms" in figures:
        total = max(0.0, figures["cpu_user_ms"] + figures["cpu_system_ms"] - own)
        system = min(total, max(0.0, figures["cpu_system_ms"] - own * (1 - in_user)))
        figures.update(cpu_total_ms=total, cpu_user_ms=total - system, cpu_system_ms=system)
        return
    for name, part in (("cpu_user_ms", in_user), ("cpu_system_ms", 1 - in_user)):
        if name in figures:
            figures[name] = max(0.0, figures[name] - own * part)


def _ratios(start: Sample, end: Sample, total_ms: float | None, memory_mb: int | None) -> Figures:
    """Of the cores that can be seen and of the share that the memory size pays for; the first is at most 1, whatever ticks say.

    Of a single core ours cannot be taken off: nothing tells on which one we ran.
    """
    elapsed_ms = (end.at_ns - start.at_ns) / 1e6
    figures: Figures = {}
    if elapsed_ms <= 0:
        return figures
    cores = end.levels.get("cpu_cores_count")
    if total_ms is not None:
        figures["cpu_cores_busy_count"] = total_ms / elapsed_ms
    if total_ms is not None and cores:
        figures["cpu_utilization_ratio"] = min(1.0, total_ms / (elapsed_ms * cores))
    if total_ms is not None and memory_mb:
        figures["cpu_share_ratio"] = total_ms / (elapsed_ms * memory_mb / _MB_PER_VCPU)
    if start.cores and len(start.cores) == len(end.cores):
        busy = [(after - before) / elapsed_ms for before, after in zip(start.cores, end.cores, strict=True)]
        if min(busy) >= 0:
            figures["cpu_core_max_ratio"] = min(1.0, max(busy))
            figures["cpu_core_min_ratio"] = min(1.0, min(busy))
    return figures
