"""The rows: what is compared with what, what is allowed, and what came out."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks import response
from tests.benchmarks.shipping import STRATEGIES
from tests.benchmarks.together import EXPORTERS, FOUR, ONE

#: one round's figures: metric, contender, value
Figures = dict[str, dict[str, float]]

MISSED = "MISSED"
ABSENT = "absent"


@dataclass(frozen=True)
class Budget:
    """One row. ``limit`` bounds ours / peer, or ours itself (``absolute``); None: shown, not judged.

    It is the most that may be, or the least where more is better (`Unit`).
    """

    what: str
    metric: str
    ours: str
    peer: str
    limit: float | None = None
    absolute: bool = False


@dataclass(frozen=True)
class Unit:
    """How a metric's values are written; ``more``: the more the better, budgets say how much it must be at least."""

    name: str
    digits: int
    more: bool = False


UNITS = {
    "register_ms": Unit("ms", 2),
    "next_ms": Unit("ms", 2),
    "event_us": Unit("us", 1),
    "gap_event_us": Unit("us", 1),
    "pss_mb": Unit("MB", 2),
    "rss_mb": Unit("MB", 2),
    "response_cpu_ms": Unit("ms", 1),
    "quota_response_cpu_ms": Unit("ms", 1),
    "response_added_ms": Unit("ms", 3),
    "response_median_ms": Unit("ms", 3),
    "accept_rate": Unit("k/s", 0, more=True),
    "accept_cpu": Unit("s", 3),
    "accept_peak_mb": Unit("MB", 2),
    "accept_whole_cpu": Unit("s", 3),
    "small_rate": Unit("k/s", 0, more=True),
    "small_cpu": Unit("s", 3),
    "small_peak_mb": Unit("MB", 2),
    "small_whole_cpu": Unit("s", 3),
    "large_rate": Unit("k/s", 0, more=True),
    "large_cpu": Unit("s", 3),
    "large_peak_mb": Unit("MB", 2),
    "large_whole_cpu": Unit("s", 3),
    "hit_us": Unit("us", 1),
    "hit_new_us": Unit("us", 1),
    "hit_cpu_us": Unit("us", 1),
    "hit_busy_cpu_us": Unit("us", 1),
    "hit_pss_mb": Unit("MB", 2),
    "hit_rss_mb": Unit("MB", 2),
    "first_hit_ms": Unit("ms", 2),
    "caller_us": Unit("us", 1),
    "ship_cpu": Unit("s", 3),
    "ship_rate": Unit("k/s", 0, more=True),
    "ship_pss_mb": Unit("MB", 2),
    "ship_small_pss_mb": Unit("MB", 2),
    "ship_invoke_us": Unit("us", 1),
    "ship_billed_ms": Unit("ms", 2),
    "redact_us": Unit("us", 1),
    "collect_invoke_us": Unit("us", 1),
    "collect_long_us": Unit("us", 1),
    "collect_bytes": Unit("bytes", 0),
    "collect_pss_mb": Unit("MB", 2),
    "proxy_small_us": Unit("us", 1),
    "proxy_large_ms": Unit("ms", 2),
    "proxy_small_cpu_us": Unit("us", 1),
    "proxy_large_cpu_ms": Unit("ms", 2),
    "proxy_rss_mb": Unit("MB", 2),
    "proxy_peak_mb": Unit("MB", 2),
    "guard_local_us": Unit("us/call", 2),
    "guard_allowed_us": Unit("us/call", 2),
    "guard_open_us": Unit("us/call", 2),
    "guard_import_us": Unit("us/call", 2),
    "together_register_ms": Unit("ms", 1),
    "together_next_ms": Unit("ms", 1),
    "together_response_cpu_ms": Unit("ms", 1),
    "together_invoke_us": Unit("us", 1),
    "together_pss_mb": Unit("MB", 2),
    "decode_cpu": Unit("s", 3),
    "decode_peak_mb": Unit("MB", 2),
    "telemetry_pss_mb": Unit("MB", 2),
    "telemetry_rss_mb": Unit("MB", 2),
}

#: The project's budgets (ratios within one run); rows without a limit say what the judged ones do not.
BUDGETS = (
    Budget("spawn -> register, Python entry", "register_ms", "kit", "python-socket", 1.5),
    Budget("spawn -> register, Python entry", "register_ms", "kit", "python-requests", 1 / 8),
    Budget("spawn -> register, Python entry", "register_ms", "kit", "go"),
    Budget("spawn -> first next, Python entry", "next_ms", "kit", "python-socket"),
    Budget("spawn -> first next, Python entry", "next_ms", "metrics-collector", "python-socket"),
    Budget("spawn -> register, native launcher", "register_ms", "launcher", "c", 2.0),
    Budget("spawn -> register, native launcher", "register_ms", "launcher", "go", 1 / 3),
    Budget("spawn -> first next, native launcher", "next_ms", "launcher", "kit"),
    Budget("CPU per event, back to back", "event_us", "kit", "c", 2.0),
    Budget("CPU per event, back to back", "event_us", "kit", "go", 1 / 2),
    Budget("CPU per event, back to back", "event_us", "kit", "go-quiet"),
    Budget("CPU per event, back to back", "event_us", "kit", "python-requests"),
    Budget("CPU per event, back to back", "event_us", "kit-hook", "go"),
    Budget("CPU per event, back to back", "event_us", "metrics-collector", "go"),
    Budget("CPU per event, 2 ms gaps", "gap_event_us", "kit", "c", 2.0),
    Budget("CPU per event, 2 ms gaps", "gap_event_us", "kit", "go", 1 / 2),
    Budget("CPU per event, 2 ms gaps", "gap_event_us", "kit", "python-requests"),
    Budget("CPU per event, 2 ms gaps", "gap_event_us", "kit-hook", "go"),
    Budget("CPU per event, 2 ms gaps", "gap_event_us", "metrics-collector", "go"),
    Budget("PSS, idle after 1,000 events", "pss_mb", "kit", "go", 1.0),
    Budget("PSS, idle after 1,000 events", "pss_mb", "metrics-collector", "go", 25.0, absolute=True),
    Budget("RSS, idle after 1,000 events", "rss_mb", "kit", "go"),
    Budget("CPU before the first response", "response_cpu_ms", "kit", "python-requests", 40.0, absolute=True),
    Budget("CPU before the first response", "response_cpu_ms", "metrics-collector", "python-requests", 40.0, absolute=True),
    Budget("CPU before the first response", "response_cpu_ms", "log-shipper", "python-requests", 40.0, absolute=True),
    Budget("CPU before the first response, TLS", "response_cpu_ms", "secret-cache", "python-requests", 80.0, absolute=True),
    Budget("CPU before the first response, 7 % quota", "quota_response_cpu_ms", "secret-cache", "python-requests"),
    Budget("CPU before the first response, 7 % quota", "quota_response_cpu_ms", "kit", "python-requests"),
    Budget("CPU before the first response, 7 % quota", "quota_response_cpu_ms", "log-shipper", "python-requests"),
    Budget("CPU before the first response, 7 % quota", "quota_response_cpu_ms", "metrics-collector", "python-requests"),
    Budget("telemetry, 256 KiB batches: events", "accept_rate", "kit-telemetry", "go-telemetry", 10.0),
    Budget("telemetry, 256 KiB batches: events", "accept_rate", "kit-telemetry", "go-telemetry-typed"),
    Budget("telemetry, 256 KiB batches: events", "accept_rate", "kit-telemetry", "python-http-server"),
    Budget("telemetry, 256 KiB batches: CPU of a million", "accept_cpu", "kit-telemetry", "go-telemetry", 1 / 10),
    Budget("telemetry, 256 KiB batches: CPU of a million", "accept_cpu", "kit-telemetry", "go-telemetry-typed"),
    Budget("telemetry, 256 KiB batches: CPU of a million", "accept_cpu", "kit-telemetry", "python-http-server"),
    Budget("telemetry, 256 KiB batches: CPU, read too", "accept_whole_cpu", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 256 KiB batches: most resident", "accept_peak_mb", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 6 events each: events", "small_rate", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 6 events each: CPU of a million", "small_cpu", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 6 events each: CPU of a million", "small_cpu", "kit-telemetry", "python-http-server"),
    Budget("telemetry, 6 events each: CPU, read too", "small_whole_cpu", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 10,000 events each: events", "large_rate", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 10,000 events each: CPU of a million", "large_cpu", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 10,000 events each: CPU, read too", "large_whole_cpu", "kit-telemetry", "go-telemetry"),
    Budget("telemetry, 10,000 events each: most resident", "large_peak_mb", "kit-telemetry", "go-telemetry"),
    *(
        budget
        for name in response.NAMES
        for budget in (
            Budget("added to the response, at most", "response_added_ms", name, response.ALONE, 0.2, absolute=True),
            Budget("added to the response, median", "response_median_ms", name, response.ALONE),
        )
    ),
    Budget("added to the response, at most", "response_added_ms", response.FLOOR, response.ALONE),
    Budget("added to the response, median", "response_median_ms", response.FLOOR, response.ALONE),
    Budget("secret hit, kept connection", "hit_us", "secret-cache", "go-secrets", 1.0),
    Budget("secret hit, kept connection", "hit_us", "secret-cache", "python-secrets"),
    Budget("secret hit, kept connection", "hit_us", "secret-cache", "aiohttp-secrets"),
    Budget("secret hit, new connection", "hit_new_us", "secret-cache", "go-secrets"),
    Budget("secret hit, CPU, eight at a time", "hit_busy_cpu_us", "secret-cache", "go-secrets", 0.6),
    Budget("secret hit, CPU, eight at a time", "hit_busy_cpu_us", "secret-cache", "python-secrets"),
    Budget("secret hit, CPU, eight at a time", "hit_busy_cpu_us", "secret-cache", "aiohttp-secrets"),
    Budget("secret hit, CPU, one at a time", "hit_cpu_us", "secret-cache", "go-secrets"),
    Budget("secret hit, CPU, one at a time", "hit_cpu_us", "secret-cache", "python-secrets"),
    Budget("secret cache, PSS after hits", "hit_pss_mb", "secret-cache", "go-secrets", 1.0),
    Budget("secret cache, PSS after hits", "hit_pss_mb", "secret-cache", "python-secrets"),
    Budget("secret cache, PSS after hits", "hit_pss_mb", "secret-cache", "aiohttp-secrets"),
    Budget("secret cache, RSS after hits", "hit_rss_mb", "secret-cache", "go-secrets"),
    Budget("spawn -> first prefetched hit", "first_hit_ms", "secret-cache", "secret-cache"),
    Budget("secret for a function", "caller_us", "client helper", "requests.Session", 1 / 5),
    Budget("secret for a function", "caller_us", "client helper", "urllib.request", 1 / 2),
    Budget("secret for a function", "caller_us", "client helper", "in-process dict"),
    *(
        budget
        for name in ("log-shipper", "log-shipper-plain", "log-shipper-otlp")
        for budget in (
            Budget("telemetry to a sink: CPU of a million", "ship_cpu", name, "python-shipper"),
            Budget("telemetry to a sink: events", "ship_rate", name, "python-shipper"),
            Budget("telemetry to a sink: CPU of a short invocation", "ship_invoke_us", name, "python-shipper"),
            Budget("telemetry to a sink: PSS after 10 MB at once", "ship_pss_mb", name, "python-shipper"),
            Budget("telemetry to a sink: PSS", "ship_small_pss_mb", name, "python-shipper", 30.0, absolute=True),
        )
    ),
    *(
        budget
        for name, most_mb in (
            ("metrics-collector-edges", 25.0), ("metrics-collector-emf", 25.0), ("metrics-collector-otlp", 45.0),
        )
        for budget in (
            Budget("metrics: CPU of a short invocation", "collect_invoke_us", name, "python-scan"),
            Budget("metrics: CPU of an invocation of 100 ms", "collect_long_us", name, "python-scan"),
            Budget("metrics: bytes exported, an invocation", "collect_bytes", name, "python-scan"),
            Budget("metrics: PSS", "collect_pss_mb", name, "python-scan", most_mb, absolute=True),
        )
    ),
    *(
        Budget("billed after the response, by flush strategy", "ship_billed_ms", strategy, "pipeline")
        for strategy in STRATEGIES
    ),
    Budget("proxy: added to an invocation, 1 KB each way", "proxy_small_us", "proxy", "c-copy", 2.0),
    Budget("proxy: added to an invocation, 1 KB each way", "proxy_small_us", "proxy", "go-proxy"),
    Budget("proxy: added to an invocation, 1 KB each way", "proxy_small_us", "proxy", "python-proxy"),
    Budget("proxy: added to an invocation, 1 KB each way", "proxy_small_us", "proxy", "aiohttp-proxy"),
    Budget("proxy: added to an invocation, 1 KB each way", "proxy_small_us", "proxy-hooks", "c-copy"),
    Budget("proxy: added to an invocation, 1 KB each way", "proxy_small_us", "chaos-armed", "go-proxy"),
    Budget("proxy: added to an invocation, 1 KB each way", "proxy_small_us", "chaos-armed", "proxy-hooks"),
    Budget("proxy: an invocation of 1 KB without any", "proxy_small_us", "direct", "direct"),
    Budget("proxy: added to an invocation, 6 MB each way", "proxy_large_ms", "proxy", "go-proxy", 1.0),
    Budget("proxy: added to an invocation, 6 MB each way", "proxy_large_ms", "proxy", "c-copy"),
    Budget("proxy: added to an invocation, 6 MB each way", "proxy_large_ms", "proxy", "python-proxy"),
    Budget("proxy: added to an invocation, 6 MB each way", "proxy_large_ms", "proxy", "aiohttp-proxy"),
    Budget("proxy: added to an invocation, 6 MB each way", "proxy_large_ms", "proxy-hooks", "go-proxy"),
    Budget("proxy: added to an invocation, 6 MB each way", "proxy_large_ms", "chaos-armed", "go-proxy"),
    Budget("proxy: an invocation of 6 MB without any", "proxy_large_ms", "direct", "direct"),
    *(
        Budget("proxy: its CPU, 1 KB each way", "proxy_small_cpu_us", "proxy", peer)
        for peer in ("c-copy", "go-proxy", "python-proxy", "aiohttp-proxy")
    ),
    *(
        Budget("proxy: its CPU, 6 MB each way", "proxy_large_cpu_ms", "proxy", peer)
        for peer in ("c-copy", "go-proxy", "python-proxy", "aiohttp-proxy")
    ),
    Budget("proxy: most resident, 6 MB each way", "proxy_peak_mb", "proxy", "go-proxy", 16.0, absolute=True),
    Budget("proxy: most resident, 6 MB each way", "proxy_peak_mb", "proxy-hooks", "go-proxy", 16.0, absolute=True),
    Budget("proxy: its CPU, 1 KB each way", "proxy_small_cpu_us", "chaos-armed", "go-proxy"),
    Budget("proxy: resident afterwards", "proxy_rss_mb", "proxy", "go-proxy"),
    Budget("egress guard: connecting to loopback", "guard_local_us", "guarded", "unguarded"),
    Budget("egress guard: judging an allowed address", "guard_allowed_us", "guarded", "unguarded"),
    Budget("egress guard: open() of a file", "guard_open_us", "guarded", "unguarded"),
    Budget("egress guard: import of an empty module", "guard_import_us", "guarded", "unguarded"),
    Budget("four extensions: spawn -> all registered", "together_register_ms", ONE, FOUR),
    Budget("four extensions: spawn -> all in their first next", "together_next_ms", ONE, FOUR),
    Budget("four extensions: CPU before the first response, TLS", "together_response_cpu_ms", ONE, FOUR),
    Budget("four extensions: CPU per invocation", "together_invoke_us", ONE, FOUR),
    *(
        Budget("four extensions: PSS, all loaded", "together_pss_mb", f"{ONE}, {exporter}", f"{FOUR}, {exporter}")
        for exporter in EXPORTERS
    ),
    Budget("looking for secrets in an ordinary line", "redact_us", "log-shipper", "log-shipper"),
    Budget("telemetry to NDJSON: CPU of a million", "decode_cpu", "kit-decode-orjson", "go-decode", 1 / 4),
    Budget("telemetry to NDJSON: CPU of a million", "decode_cpu", "kit-decode", "go-decode", 1 / 2.5),
    Budget("telemetry to NDJSON: CPU of a million", "decode_cpu", "kit-decode", "python-decode"),
    Budget("telemetry to NDJSON: most resident", "decode_peak_mb", "kit-decode", "go-decode"),
    Budget("PSS, idle after 1,000 events, telemetry", "telemetry_pss_mb", "kit-telemetry", "go-telemetry", 1.0),
    Budget("PSS, idle after 1,000 events, telemetry", "telemetry_pss_mb", "kit-decode", "go-decode"),
    Budget("RSS, idle after 1,000 events, telemetry", "telemetry_rss_mb", "kit-telemetry", "go-telemetry"),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What came out: medians of the rounds; ``missed`` of ``rounds`` were above the budget."""

    what: str
    ours_name: str
    peer_name: str
    unit: str
    ours: float | None
    peer: float | None
    ratio: float | None
    budget: str
    missed: int
    rounds: int
    verdict: str


def judge(budget: Budget, rounds: list[Figures], absent: dict[str, str]) -> Row:
    """One row. A budget is missed when it is missed in every round: a noisy machine misses one now and then."""
    names = (budget.what, budget.ours, budget.peer, UNITS[budget.metric].name)
    for name in (budget.metric, budget.ours, *(() if budget.absolute else (budget.peer,))):
        if name in absent:
            return Row(*names, None, None, None, _written(budget), 0, len(rounds), f"{ABSENT}: {absent[name]}")
    ours = [figures[budget.metric][budget.ours] for figures in rounds]
    peers = [] if budget.peer in absent else [figures[budget.metric][budget.peer] for figures in rounds]
    ratios = [mine / theirs for mine, theirs in zip(ours, peers, strict=False)]  # none, where there is no peer
    limit, more = budget.limit, UNITS[budget.metric].more
    judged = ours if budget.absolute else ratios
    missed = 0 if limit is None else sum(value < limit if more else value > limit for value in judged)
    verdict = "shown" if limit is None else MISSED if missed == len(rounds) else "ok"
    middle = [statistics.median(values) if values else None for values in (ours, peers, ratios)]
    return Row(*names, *middle, _written(budget), missed, len(rounds), verdict)


def _written(budget: Budget) -> str:
    if budget.limit is None:
        return "-"
    unit = UNITS[budget.metric]
    sign = ">=" if unit.more else "<="
    if budget.absolute:
        return f"{sign} {budget.limit:g} {unit.name}"
    return f"{sign} {budget.limit:g} x" if budget.limit >= 1 else f"{sign} 1/{1 / budget.limit:g}"


def table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = [("what", "ours", "", "peer", "", "ratio", "budget", "verdict")]
    for row in rows:
        verdict = row.verdict
        if row.missed and row.verdict != MISSED:
            verdict = f"{row.verdict} (missed in {row.missed} of {row.rounds} rounds)"
        lines.append(
            (
                row.what, row.ours_name, _figure(row.ours, row.unit), row.peer_name, _figure(row.peer, row.unit),
                "" if row.ratio is None else f"{row.ratio:.2f}", row.budget, verdict,
            )
        )  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(7)]
    right = {2, 4, 5}
    return "\n".join(
        "  ".join(
            cell if column == 7 else cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(line)
        ).rstrip()
        for line in lines
    )


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = next(known.digits for known in UNITS.values() if known.name == unit)
    return f"{value:.{digits}f} {unit}"


def as_json(rows: list[Row], rounds: list[Figures], about: dict[str, Any]) -> dict[str, Any]:
    """Everything, for machines; ``rounds`` holds each round's medians."""
    return {
        "format": "extension-kit-bench/1",
        **about,
        "rows": [asdict(row) for row in rows],
        "rounds": rounds,
    }
