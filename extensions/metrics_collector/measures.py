"""Every figure that is exported, and what each profile calls it: the one table that the exporters and the README are made from.

Profile ``otel``: the names of OpenTelemetry's semantic conventions (`SCHEMA_URL`) where they have one, else ``lambda.*``; the
unit as UCUM has it. Profile ``lambda_insights``: names and units of CloudWatch Lambda Insights (AWS docs, "Metrics collected
by Lambda Insights"; ``used_memory_max`` in MB, as its sample event has it), and nothing that it does not know. Profile
``datadog``: names and units of Datadog's enhanced Lambda metrics (its documentation, "Enhanced Lambda Metrics"), and nothing
that it does not know.

Where the conventions tell figures apart by an attribute, which EMF has no place for, its value is part of the name there:
``system.cpu.time`` with ``cpu.mode=user`` is ``system.cpu.time.user``.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

__all__ = ["BY_FIGURE", "DATADOG", "INSIGHTS", "MEASURES", "OTEL", "PROMOTED", "SCHEMA_URL", "Measure", "Name"]

#: of the conventions' version that has these names, ``system.memory.state`` and ``system.network.packet.count`` among them
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
OTEL, INSIGHTS, DATADOG = "otel", "lambda_insights", "datadog"
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

    __slots__ = ("about", "bounds", "datadog", "figure", "insights", "kind", "otel")

    figure: str
    kind: str
    about: str
    otel: Name
    insights: Name | None
    datadog: Name | None
    bounds: tuple[float, ...]

    def __init__(
        self,
        figure: str,
        kind: str,
        about: str,
        otel: Name,
        insights: Name | None = None,
        datadog: Name | None = None,
        bounds: tuple[float, ...] = (),
    ) -> None:
        set_field(self, "figure", figure)
        set_field(self, "kind", kind)
        set_field(self, "about", about)
        set_field(self, "otel", otel)
        set_field(self, "insights", insights)
        set_field(self, "datadog", datadog)
        set_field(self, "bounds", bounds or (_SECONDS if otel.unit == "s" else _TRAFFIC))

    def named(self, profile: str) -> Name | None:
        """None where the profile has no such metric."""
        return self.otel if profile == OTEL else self.insights if profile == INSIGHTS else self.datadog


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


def _dog(name: str, unit: str = "", scale: float = 1.0, emf_unit: str = "") -> Name:
    """A count unless ``unit`` says otherwise."""
    return Name(f"aws.lambda.enhanced.{name}", unit or "{count}", scale, (), emf_unit)


def _dog_s(name: str) -> Name:
    return _dog(name, "s", 0.001)


def _dog_ms(name: str) -> Name:
    return _dog(name, "ms", 1.0, "Milliseconds")


def _dog_mb(name: str) -> Name:
    return _dog(name, "MiBy", 1 / _MB, "Megabytes")


def _dog_percent(name: str) -> Name:
    return _dog(name, "%", 100.0, "Percent")


def _loss(figure: str, about: str, name: str, unit: str) -> Measure:
    return Measure(figure, SUM, about, _n(name, unit), datadog=_n(name, unit))


MEASURES: tuple[Measure, ...] = (
    # what the platform tells
    Measure("invocations_count", SUM, "invocations that succeeded", _n("faas.invocations", "{invocation}"),
            datadog=_dog("invocations")),
    Measure("errors_count", SUM, "that failed, by error.type", _n("faas.errors", "{error}"), datadog=_dog("errors")),
    Measure("timeouts_count", SUM, "that ran out of time", _n("faas.timeouts", "{timeout}"),
            datadog=_dog("timeouts")),
    Measure("coldstarts_count", SUM, "that an init was waited for", _n("faas.coldstarts", "{coldstart}")),
    Measure("oom_count", SUM, "that ran out of memory, counted once each", _n("lambda.out_of_memory", "{invocation}"),
            datadog=_dog("out_of_memory")),
    Measure("runtime_duration_ms", HISTOGRAM, "the function's code", _s("faas.invoke_duration"),
            datadog=_dog_ms("runtime_duration")),
    Measure("init_duration_ms", HISTOGRAM, "of an environment", _s("faas.init_duration"), _ms("init_duration"),
            datadog=_dog_s("init_duration")),
    Measure("restore_duration_ms", HISTOGRAM, "of a snapshot", _s("lambda.restore_duration"),
            datadog=_dog_s("snapstart_restore_duration")),
    Measure("post_runtime_ms", HISTOGRAM, "of an invocation, after its code: extensions",
            _s("lambda.post_runtime_duration"), datadog=_dog_ms("post_runtime_duration")),
    Measure("duration_ms", HISTOGRAM, "of an invocation, with extensions", _s("lambda.duration"), _ms("duration"),
            datadog=_dog_s("duration")),
    Measure("billed_duration_ms", SUM, "what is paid for", _s("lambda.billed_duration"), _ms("billed_duration"),
            datadog=_dog_s("billed_duration")),
    Measure("billed_mb_ms", SUM, "the same times the memory size", _n("lambda.billed_memory_time", "MiBy.ms"),
            _count("billed_mb_ms")),
    Measure("response_latency_ms", HISTOGRAM, "until the first byte of the response", _s("lambda.response.latency"),
            datadog=_dog_ms("response_latency")),
    Measure("response_duration_ms", HISTOGRAM, "from its first byte to its last", _s("lambda.response.duration"),
            datadog=_dog_ms("response_duration")),
    Measure("produced_bytes", HISTOGRAM, "of the response", _by("lambda.response.size"),
            datadog=_dog("produced_bytes", "By")),
    Measure("memory_max_bytes", HISTOGRAM, "the most used so far, as the report has it", _by("faas.mem_usage"),
            _mb("used_memory_max"), bounds=_BYTES, datadog=_dog_mb("max_memory_used")),
    Measure("cost_usd", SUM, "estimated from list prices", _n("lambda.estimated_cost", "USD"),
            datadog=_dog("estimated_cost", "USD")),
    # CPU
    Measure("cpu_total_ms", HISTOGRAM, "all but this extension's", _s("faas.cpu_usage"), _ms("cpu_total_time"),
            datadog=_dog_ms("cpu_total_time")),
    Measure("cpu_user_ms", SUM, "", _s("system.cpu.time", cpu__mode="user"), _ms("cpu_user_time"),
            datadog=_dog_ms("cpu_user_time")),
    Measure("cpu_system_ms", SUM, "", _s("system.cpu.time", cpu__mode="system"), _ms("cpu_system_time"),
            datadog=_dog_ms("cpu_system_time")),
    Measure("cpu_iowait_ms", SUM, "", _s("system.cpu.time", cpu__mode="iowait")),
    Measure("cpu_steal_ms", SUM, "taken away by the host", _s("system.cpu.time", cpu__mode="steal")),
    Measure("cpu_idle_ms", SUM, "", _s("system.cpu.time", cpu__mode="idle")),
    Measure("cpu_cores_count", GAUGE, "that can be seen", _n("system.cpu.logical.count", "{cpu}"),
            datadog=_dog("num_cores", "{cpu}")),
    Measure("cpu_utilization_ratio", GAUGE, "of the cores that can be seen", _n("system.cpu.utilization", "1"),
            datadog=_dog_percent("cpu_total_utilization_pct")),
    Measure("cpu_cores_busy_count", GAUGE, "cores that were busy, on the average", _n("lambda.cpu.cores_busy", "{cpu}"),
            datadog=_dog("cpu_total_utilization", "{cpu}")),
    Measure("cpu_share_ratio", GAUGE, "of what the memory size pays for (memory / 1769)",
            _n("lambda.cpu.share_utilization", "1")),
    Measure("cpu_core_max_ratio", GAUGE, "the busiest core", _n("lambda.cpu.core_utilization.max", "1"),
            datadog=_dog_percent("cpu_max_utilization")),
    Measure("cpu_core_min_ratio", GAUGE, "the idlest core", _n("lambda.cpu.core_utilization.min", "1"),
            datadog=_dog_percent("cpu_min_utilization")),
    Measure("cpu_utilization_max_ratio", GAUGE, "of the busiest second", _n("lambda.cpu.utilization.max", "1")),
    Measure("context_switches_count", SUM, "", _n("lambda.context_switches", "{switch}")),
    Measure("processes_blocked_count", GAUGE, "waiting for a disk", _n("lambda.processes.blocked", "{process}")),
    # memory
    Measure("memory_used_bytes", GAUGE, "MemTotal less MemAvailable",
            _by("system.memory.usage", system__memory__state="used")),
    Measure("memory_available_low_bytes", GAUGE, "the least that was left", _by("lambda.memory.available.low")),
    Measure("memory_limit_bytes", GAUGE, "the memory size", _by("system.memory.limit"), _mb("total_memory"),
            datadog=_dog_mb("memorysize")),
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
            system__filesystem__state="free"), _bytes("tmp_free"), datadog=_dog("tmp_free", "By")),
    Measure("tmp_max_bytes", GAUGE, "",
            _by("system.filesystem.limit", system__filesystem__mountpoint="/tmp"),  # noqa: S108
            _bytes("tmp_max"), datadog=_dog("tmp_max", "By")),
    Measure("tmp_used_high_bytes", GAUGE, "the most that was used", _by("lambda.tmp.usage.high"),
            datadog=_dog("tmp_used", "By")),
    Measure("tmp_inodes_used_count", GAUGE, "", _n("lambda.tmp.inodes.usage", "{inode}")),
    Measure("tmp_inodes_max_count", GAUGE, "", _n("lambda.tmp.inodes.limit", "{inode}")),
    # network
    Measure("network_total_bytes", HISTOGRAM, "both directions", _by("faas.net_io"), _bytes("total_network"),
            datadog=_dog("total_network", "By")),
    Measure("network_rx_bytes", SUM, "",
            _by("system.network.io", network__io__direction="receive"), _bytes("rx_bytes"),
            datadog=_dog("rx_bytes", "By")),
    Measure("network_tx_bytes", SUM, "",
            _by("system.network.io", network__io__direction="transmit"), _bytes("tx_bytes"),
            datadog=_dog("tx_bytes", "By")),
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
    Measure("fd_max_count", GAUGE, "", _n("lambda.file_descriptors.limit", "{file_descriptor}"), _count("fd_max"),
            datadog=_dog("fd_max")),
    Measure("fd_used_high_count", GAUGE, "", _n("lambda.file_descriptors.high", "{file_descriptor}"),
            datadog=_dog("fd_use")),
    Measure("threads_used_count", GAUGE, "", _n("process.thread.count", "{thread}")),
    Measure("threads_used_high_count", GAUGE, "", _n("lambda.threads.high", "{thread}"), datadog=_dog("threads_use")),
    Measure("threads_max_count", GAUGE, "", _n("lambda.threads.limit", "{thread}"), _count("threads_max"),
            datadog=_dog("threads_max")),
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
    Measure("chaos_injected_count", SUM, "that the chaos injector has made", _n("chaos.injected", "{fault}")),
    # what is lost, which `datadog` has no names for and which must not be silent
    _loss("telemetry_lost_count", "by the platform: logsDropped", "lambda.telemetry.lost", "{record}"),
    _loss("own_dropped_count", "records that this extension had to drop", "lambda.telemetry.dropped", "{record}"),
    _loss("reports_missing_count", "that did not come before the end", "lambda.reports.missing", "{report}"),
    _loss("exports_failed_count", "requests of this exporter", "lambda.extension.exports_failed", "{request}"),
    _loss("points_lost_count", "points (an invocation has two, a StatsD series one a document) that could not be exported",
          "lambda.extension.points_lost", "{point}"),
    _loss("series_overflow_count", "with an error.type beyond the limit", "lambda.extension.series_overflow", "{error}"),
    _loss("statsd_malformed_count", "lines from the function that are no metric", "lambda.statsd.malformed", "{line}"),
    _loss("statsd_overflow_count", "values from the function beyond a limit", "lambda.statsd.overflow", "{value}"),
    _loss("statsd_lost_count", "datagrams that the kernel had no room for", "lambda.statsd.lost", "{datagram}"),
    _loss("otlp_refused_count", "requests from the function that were not taken", "lambda.otlp.refused", "{request}"),
    _loss("otlp_lost_count", "that were taken and could not be forwarded", "lambda.otlp.lost", "{request}"),
)  # fmt: skip
BY_FIGURE = {measure.figure: measure for measure in MEASURES}
#: what becomes CloudWatch metrics unless others are asked for: each costs some 0.30 USD a month and dimension set
PROMOTED = {
    OTEL: ("invocations_count", "errors_count", "timeouts_count", "coldstarts_count", "oom_count", "runtime_duration_ms",
           "memory_max_bytes", "cpu_total_ms"),
    INSIGHTS: ("memory_max_ratio", "memory_limit_bytes", "memory_max_bytes", "cpu_total_ms", "network_tx_bytes",
               "network_rx_bytes", "network_total_bytes", "init_duration_ms"),
    DATADOG: ("invocations_count", "errors_count", "timeouts_count", "oom_count", "duration_ms", "memory_max_bytes",
              "cpu_total_ms", "cost_usd"),
}  # fmt: skip
