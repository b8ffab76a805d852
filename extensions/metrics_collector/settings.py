"""The settings of the metrics collector."""

from __future__ import annotations

from extension_kit.settings import Settings, choice, comma_list, duration, integer, number, text
from extensions.metrics_collector.sampling import FAMILIES

__all__ = ["CollectorSettings"]


class CollectorSettings(Settings):
    """Variables that begin with METRICS_COLLECTOR_. The function's own OTEL_* and POWERTOOLS_* are never looked at."""

    prefix = "METRICS_COLLECTOR_"

    # where to
    export = comma_list(
        ("emf",),
        choices=("emf", "otlp"),
        help="`emf`: lines that CloudWatch makes metrics of; `otlp`: OTLP/HTTP; both.",
    )
    profile = choice(
        "otel",
        ("otel", "lambda_insights", "datadog"),
        help="Names and units; the table below has what each profile calls a figure.",
    )
    # Source: CloudWatch API reference, PutMetricData, Namespace. A namespace that it refuses would lose every metric silently.
    namespace = text(
        "LambdaExtensionKit", maximum_length=255, characters=" .-_/#:", help="CloudWatch namespace of the metrics."
    )
    promote = comma_list(
        (),
        help="Of EMF: which figures become CloudWatch metrics; the others are properties. Empty: eight, as listed below.",
    )
    log_group = text(
        "", maximum_length=512, characters=".-_/#", help="Of EMF: by PutLogEvents to this group, not to stdout."
    )
    endpoint = text(
        "",
        secret=True,
        names="endpoint",
        help="Of OTLP: the collector's URL, e.g. https://otlp.example.com; without a path, /v1/metrics is added.",
    )
    headers = comma_list((), secret=True, help="Of OTLP: further headers, `Name=value`.")
    timeout = duration(5_000, minimum_ms=50, maximum_ms=60_000, help="Of one request.")
    interval = duration(
        10_000,
        maximum_ms=600_000,
        help="The least time between two exports; what comes meanwhile goes together. At the end: at once.",
    )
    # from the function
    statsd_port = integer(
        0, minimum=0, maximum=65_535, help="UDP port on loopback for StatsD from the function, mostly 8125; 0: none."
    )
    statsd_series = integer(
        200,
        minimum=1,
        maximum=10_000,
        help="Different names and sets of tags in StatsD that are told apart; others are left out, and counted.",
    )
    otlp_port = integer(
        0,
        minimum=0,
        maximum=65_535,
        help="TCP port on loopback for OTLP/HTTP metrics from the function, mostly 4318, forwarded as they are; 0: none.",
    )
    # what of
    families = comma_list(FAMILIES, choices=FAMILIES, help="Which figures of the kernel's are looked at.")
    sample = duration(
        0,
        maximum_ms=60_000,
        help="Look in between as well, so often, in invocations that take longer; 0: only at the edges.",
    )
    cpu_budget = integer(
        300,
        minimum=0,
        maximum=100_000,
        unit="us",
        help="CPU that the scan of processes may take at an edge, on the average.",
    )
    error_types = integer(
        20, minimum=1, maximum=1_000, help="Different `error.type`s that are told apart; the rest is `_OTHER`."
    )
    price_gb_second = number(0.0, minimum=0.0, maximum=1.0, unit="USD", help="0: the list price.")
    price_request = number(0.0, minimum=0.0, maximum=1.0, unit="USD", help="0: the list price.")
