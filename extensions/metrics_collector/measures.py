"""Every figure that is exported, and what each profile calls it: the one table that the exporters and the README are made from.

Profile ``otel``: the names of OpenTelemetry's semantic conventions (`SCHEMA_URL`) where they have one, else ``lambda.*``; the
unit as UCUM has it. Profile ``lambda_insights``: names and units of CloudWatch Lambda Insights (AWS docs, "Metrics collected
by Lambda Insights"; ``used_memory_max`` in MB, as its sample event has it), and nothing that it does not know.

Where the conventions tell figures apart by an attribute, which EMF has no place for, its value is part of the name there:
``system.cpu.time`` with ``cpu.mode=user`` is ``system.cpu.time.user``.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

__all__ = ["BY_FIGURE", "INSIGHTS", "MEASURES", "OTEL", "PROMOTED", "SCHEMA_URL", "Measure", "Name"]

#: of the conventions' version that has these names, ``system.memory.state`` and ``system.network.packet.count`` among them
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
OTEL, INSIGHTS = "otel", "lambda_insights"
#: how figures of several invocations go together: added up, as a distribution, or the newest of them
SUM, HISTOGRAM, GAUGE = "sum", "histogram", "gauge"

#: bounds of buckets, as the conventions advise for durations
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_MB = 1_048_576
_BYTES = tuple(float(_MB * 2**power) for power in range(4, 15))  # 16 MiB to 16 GiB
_TRAFFIC = tuple(float(1024 * 4**power) for power in range(11))
#: unit of UCUM: unit of CloudWatch
_CLOUDWATCH = {"s": "Seconds", "By": "Bytes", "1": "None", "USD": "None"}


class Name(Value):
    """What a profile calls a figure: its ``unit`` there, by what to multiply it (``scale``), its ``attributes``."""

    __slots__ = ("attributes", "emf", "emf_unit", "name", "scale", "unit")

    name: str
    unit: str
    scale: float
    attributes: tuple[tuple[str, str], ...]
    emf: str
    emf_unit: str

    def __init__(
        self, name: str, unit: str, scale: float = 1.0, attributes: tuple[tuple[str, str], ...] = (), emf_unit: str = ""
    ) -> None:
        set_field(self, "name", name)
        set_field(self, "unit", unit)
        set_field(self, "scale", scale)
        set_field(self, "attributes", attributes)
        set_field(self, "emf", ".".join([name, *[value for key, value in attributes if key not in _SAME]]))
        set_field(self, "emf_unit", emf_unit or _CLOUDWATCH.get(unit, "Count"))


#: attributes that have one value only, so that names need not tell them apart
_SAME = ("system.filesystem.mountpoint", "system.memory.state", "system.paging.fault.type", "network.connection.state")


class Measure(Value):
    """``figure``: as the collector calls it; ``kind``: `SUM`, `HISTOGRAM` or `GAUGE`; ``about``: a line for people;
    ``bounds``: of a histogram's buckets, in the unit of ``otel``.
    """

    __slots__ = ("about", "bounds", "figure", "insights", "kind", "otel")

    figure: str
    kind: str
    about: str
    otel: Name
    insights: Name | None
    bounds: tuple[float, ...]

    def __init__(
        self,
        figure: str,
        kind: str,
        about: str,
        otel: Name,
        insights: Name | None = None,
        bounds: tuple[float, ...] = (),
    ) -> None:
        set_field(self, "figure", figure)
        set_field(self, "kind", kind)
        set_field(self, "about", about)
        set_field(self, "otel", otel)
        set_field(self, "insights", insights)
        set_field(self, "bounds", bounds or (_SECONDS if otel.unit == "s" else _TRAFFIC))

    def named(self, profile: str) -> Name | None:
        """None where the profile has no such metric."""
        return self.otel if profile == OTEL else self.insights


def _s(name: str, **attributes: str) -> Name:
    return Name(name, "s", 0.001, _with_dots(attributes))


def _by(name: str, **attributes: str) -> Name:
    return Name(name, "By", 1.0, _with_dots(attributes))


def _n(name: str, unit: str, **attributes: str) -> Name:
    return Name(name, unit, 1.0, _with_dots(attributes))


def _with_dots(attributes: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("__", "."), value) for name, value in attributes.items())


def _ms(name: str) -> Name:
    return Name(name, "ms", 1.0, (), "Milliseconds")


def _mb(name: str) -> Name:
    return Name(name, "MiBy", 1 / _MB, (), "Megabytes")


def _percent(name: str) -> Name:
    return Name(name, "%", 100.0, (), "Percent")


def _bytes(name: str) -> Name:
    return Name(name, "By", 1.0, (), "Bytes")


def _count(name: str) -> Name:
    return Name(name, "1", 1.0, (), "Count")


MEASURES: tuple[Measure, ...] = (
    # what the platform tells
    Measure("invocations_count", SUM, "invocations that succeeded", _n("faas.invocations", "{invocation}")),
    Measure("errors_count", SUM, "that failed, by error.type", _n("faas.errors", "{error}")),
    Measure("timeouts_count", SUM, "that ran out of time", _n("faas.timeouts", "{timeout}")),
    Measure("coldstarts_count", SUM, "that an init was waited for", _n("faas.coldstarts", "{coldstart}")),
    Measure("oom_count", SUM, "that ran out of memory, counted once each", _n("lambda.out_of_memory", "{invocation}")),
    Measure("runtime_duration_ms", HISTOGRAM, "the function's code", _s("faas.invoke_duration")),
    Measure("init_duration_ms", HISTOGRAM, "of an environment", _s("faas.init_duration"), _ms("init_duration")),
    Measure("restore_duration_ms", HISTOGRAM, "of a snapshot", _s("lambda.restore_duration")),
    Measure("post_runtime_ms", HISTOGRAM, "of an invocation, after its code: extensions",
            _s("lambda.post_runtime_duration")),
    Measure("duration_ms", HISTOGRAM, "of an invocation, with extensions", _s("lambda.duration"), _ms("duration")),
    Measure("billed_duration_ms", SUM, "what is paid for", _s("lambda.billed_duration"), _ms("billed_duration")),
    Measure("billed_mb_ms", SUM, "the same times the memory size", _n("lambda.billed_memory_time", "MiBy.ms"),
            _count("billed_mb_ms")),
    Measure("response_latency_ms", HISTOGRAM, "until the first byte of the response", _s("lambda.response.latency")),
    Measure("response_duration_ms", HISTOGRAM, "from its first byte to its last", _s("lambda.response.duration")),
    Measure("produced_bytes", HISTOGRAM, "of the response", _by("lambda.response.size")),
    Measure("memory_max_bytes", HISTOGRAM, "the most used so far, as the report has it", _by("faas.mem_usage"),
            _mb("used_memory_max"), _BYTES),
    Measure("cost_usd", SUM, "estimated from list prices", _n("lambda.estimated_cost", "USD")),
    # CPU
    Measure("cpu_total_ms", HISTOGRAM, "all but this extension's", _s("faas.cpu_usage"), _ms("cpu_total_time")),
    Measure("cpu_user_ms", SUM, "", _s("system.cpu.time", cpu__mode="user"), _ms("cpu_user_time")),
    Measure("cpu_system_ms", SUM, "", _s("system.cpu.time", cpu__mode="system"), _ms("cpu_system_time")),
    Measure("cpu_iowait_ms", SUM, "", _s("system.cpu.time", cpu__mode="iowait")),
    Measure("cpu_steal_ms", SUM, "taken away by the host", _s("system.cpu.time", cpu__mode="steal")),
    Measure("cpu_idle_ms", SUM, "", _s("system.cpu.time", cpu__mode="idle")),
    Measure("cpu_cores_count", GAUGE, "that can be seen", _n("system.cpu.logical.count", "{cpu}")),
    Measure("cpu_utilization_ratio", GAUGE, "of the cores that can be seen", _n("system.cpu.utilization", "1")),
    Measure("cpu_share_ratio", GAUGE, "of what the memory size pays for (memory / 1769)",
            _n("lambda.cpu.share_utilization", "1")),
    Measure("cpu_core_max_ratio", GAUGE, "the busiest core", _n("lambda.cpu.core_utilization.max", "1")),
    Measure("cpu_core_min_ratio", GAUGE, "the idlest core", _n("lambda.cpu.core_utilization.min", "1")),
    Measure("cpu_utilization_max_ratio", GAUGE, "of the busiest second", _n("lambda.cpu.utilization.max", "1")),
    Measure("context_switches_count", SUM, "", _n("lambda.context_switches", "{switch}")),
    Measure("processes_blocked_count", GAUGE, "waiting for a disk", _n("lambda.processes.blocked", "{process}")),
    # memory
    Measure("memory_used_bytes", GAUGE, "MemTotal less MemAvailable",
            _by("system.memory.usage", system__memory__state="used")),
    Measure("memory_available_low_bytes", GAUGE, "the least that was left", _by("lambda.memory.available.low")),
    Measure("memory_limit_bytes", GAUGE, "the memory size", _by("system.memory.limit"), _mb("total_memory")),
    Measure("memory_utilization_ratio", GAUGE, "", _n("system.memory.utilization", "1")),
    Measure("memory_max_ratio", GAUGE, "of the memory size, by the report", _n("lambda.memory.max_utilization", "1"),
            _percent("memory_utilization")),
    Measure("function_rss_bytes", GAUGE, "of all processes but this extension's", _by("process.memory.usage")),
    Measure("function_hwm_bytes", GAUGE, "the most that one of them has had", _by("lambda.process.memory.high")),
    # /tmp
    Measure("tmp_used_bytes", GAUGE, "",
            _by("system.filesystem.usage", system__filesystem__mountpoint="/tmp",  # noqa: S108
            system__filesystem__state="used"), _bytes("tmp_used")),
    Measure("tmp_free_bytes", GAUGE, "",
            _by("system.filesystem.usage", system__filesystem__mountpoint="/tmp",  # noqa: S108
            system__filesystem__state="free"), _bytes("tmp_free")),
    Measure("tmp_max_bytes", GAUGE, "",
            _by("system.filesystem.limit", system__filesystem__mountpoint="/tmp"),  # noqa: S108
            _bytes("tmp_max")),
    Measure("tmp_used_high_bytes", GAUGE, "the most that was used", _by("lambda.tmp.usage.high")),
    Measure("tmp_inodes_used_count", GAUGE, "", _n("lambda.tmp.inodes.usage", "{inode}")),
    Measure("tmp_inodes_max_count", GAUGE, "", _n("lambda.tmp.inodes.limit", "{inode}")),
    # network
    Measure("network_total_bytes", HISTOGRAM, "both directions", _by("faas.net_io"), _bytes("total_network")),
    Measure("network_rx_bytes", SUM, "",
            _by("system.network.io", network__io__direction="receive"), _bytes("rx_bytes")),
    Measure("network_tx_bytes", SUM, "",
            _by("system.network.io", network__io__direction="transmit"), _bytes("tx_bytes")),
    Measure("network_rx_packets_count", SUM, "",
            _n("system.network.packet.count", "{packet}", network__io__direction="receive")),
    Measure("network_tx_packets_count", SUM, "",
            _n("system.network.packet.count", "{packet}", network__io__direction="transmit")),
    Measure("network_errors_count", SUM, "", _n("system.network.errors", "{error}")),
    Measure("network_dropped_count", SUM, "", _n("system.network.packet.dropped", "{packet}")),
    Measure("tcp_retransmits_count", SUM, "", _n("lambda.tcp.retransmits", "{segment}")),
    Measure("tcp_established_count", GAUGE, "", _n("system.network.connection.count", "{connection}",
            network__connection__state="established")),
    Measure("sockets_used_count", GAUGE, "", _n("lambda.sockets.usage", "{socket}")),
    # processes
    Measure("process_cpu_ms", SUM, "of all processes but this extension's, children with them", _s("process.cpu.time")),
    Measure("fd_used_count", GAUGE, "",
            _n("process.unix.file_descriptor.count", "{file_descriptor}"), _count("fd_use")),
    Measure("fd_max_count", GAUGE, "", _n("lambda.file_descriptors.limit", "{file_descriptor}"), _count("fd_max")),
    Measure("fd_used_high_count", GAUGE, "", _n("lambda.file_descriptors.high", "{file_descriptor}")),
    Measure("threads_used_count", GAUGE, "", _n("process.thread.count", "{thread}")),
    Measure("threads_used_high_count", GAUGE, "", _n("lambda.threads.high", "{thread}")),
    Measure("threads_max_count", GAUGE, "", _n("lambda.threads.limit", "{thread}"), _count("threads_max")),
    Measure("processes_count", GAUGE, "", _n("system.process.count", "{process}")),
    # disk, kernel
    Measure("io_read_bytes", SUM, "", _by("system.disk.io", disk__io__direction="read")),
    Measure("io_write_bytes", SUM, "", _by("system.disk.io", disk__io__direction="write")),
    Measure("oom_kills_count", SUM, "by the kernel", _n("lambda.oom_kills", "{process}")),
    Measure("page_faults_major_count", SUM, "",
            _n("system.paging.faults", "{fault}", system__paging__fault__type="major")),
    # this extension
    Measure("own_cpu_ms", SUM, "of this extension", _s("lambda.extension.cpu.time")),
    Measure("own_sampling_ms", SUM, "of that, for sampling", _s("lambda.extension.sampling.time")),
    Measure("own_memory_bytes", GAUGE, "resident, of this extension",
            _by("lambda.extension.memory.usage"), _mb("agent_memory_max")),
    Measure("sampling_degraded_count", SUM, "scans left out to keep to the CPU budget",
            _n("lambda.extension.scans_left_out", "{scan}")),
    Measure("counters_reset_count", SUM, "that went backwards", _n("lambda.extension.counter_resets", "{reset}")),
    Measure("telemetry_lost_count", SUM, "by the platform: logsDropped", _n("lambda.telemetry.lost", "{record}")),
    Measure("own_dropped_count", SUM, "records that this extension had to drop",
            _n("lambda.telemetry.dropped", "{record}")),
    Measure("reports_missing_count", SUM, "that did not come before the end", _n("lambda.reports.missing", "{report}")),
    Measure("exports_failed_count", SUM, "requests of this exporter",
            _n("lambda.extension.exports_failed", "{request}")),
    Measure("points_lost_count", SUM, "points (an invocation has two) that could not be exported",
            _n("lambda.extension.points_lost", "{point}")),
    Measure("series_overflow_count", SUM, "with an error.type beyond the limit",
            _n("lambda.extension.series_overflow", "{error}")),
    Measure("chaos_injected_count", SUM, "that the chaos injector has made", _n("chaos.injected", "{fault}")),
)  # fmt: skip
BY_FIGURE = {measure.figure: measure for measure in MEASURES}
#: what becomes CloudWatch metrics unless others are asked for: each costs some 0.30 USD a month and dimension set
PROMOTED = {
    OTEL: ("invocations_count", "errors_count", "timeouts_count", "coldstarts_count", "oom_count", "runtime_duration_ms",
           "memory_max_bytes", "cpu_total_ms"),
    INSIGHTS: ("memory_max_ratio", "memory_limit_bytes", "memory_max_bytes", "cpu_total_ms", "network_tx_bytes",
               "network_rx_bytes", "network_total_bytes", "init_duration_ms"),
}  # fmt: skip
