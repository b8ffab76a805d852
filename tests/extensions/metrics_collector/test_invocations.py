"""The book of invocations: each is counted once and as one thing, in whatever order the platform tells of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit import records
from extension_kit.protocol.timestamps import format_ms
from extensions.metrics_collector.invocations import Book
from extensions.metrics_collector.sampling import Sample

T0 = 1_795_420_800_000
MB = 1_048_576
SAMPLE = Sample(0, {}, {})
COUNTS = ("invocations_count", "errors_count", "timeouts_count")


def book(spent=None, **more):
    return Book(lambda _start, _end: dict(spent or {}), lambda billed, size: billed * size / 1e9, **more)


def event(kind, at_ms=T0, **content):
    raw = {"time": format_ms(at_ms), "type": kind, "record": content}
    return records.make(json.dumps(raw, separators=(",", ":")).encode())


def done(request_id, at_ms=T0, status="success", duration=100.0, **more):
    metrics = {"durationMs": duration, "producedBytes": 10}
    return event("platform.runtimeDone", at_ms, requestId=request_id, status=status, metrics=metrics, **more)


def report(request_id, at_ms=T0, status="success", most=64, **metrics):
    usual = {"durationMs": 120.0, "billedDurationMs": 121, "memorySizeMB": 128, "maxMemoryUsedMB": most}
    return event("platform.report", at_ms, requestId=request_id, status=status, metrics=usual | metrics)


def total(points):
    found = {}
    for point in points:
        for name, value in point.figures.items():
            found[name] = found.get(name, 0) + value
    return found


def counted(points):
    figures = total(points)
    return {name: figures[name] for name in COUNTS if name in figures}


def test_an_invocation_and_its_late_report():
    """Two points: at the end of its code, and when the report comes; the second has what only the platform knows."""
    one = book({"cpu_total_ms": 5.0, "network_rx_bytes": 3.0, "network_tx_bytes": 4.0})
    one.invoked("r1", T0, SAMPLE)
    one.ended(done("r1", T0 + 110, spans=[{"name": "responseLatency", "durationMs": 9.5}]), T0 + 130, SAMPLE)
    (point,) = one.take()
    assert (point.since_ms, point.at_ms, point.error_type) == (T0, T0 + 110, "")
    assert point.figures == {
        "invocations_count": 1, "runtime_duration_ms": 100.0, "produced_bytes": 10, "response_latency_ms": 9.5,
        "cpu_total_ms": 5.0, "network_rx_bytes": 3.0, "network_tx_bytes": 4.0, "network_total_bytes": 7.0,
    }  # fmt: skip
    one.told(report("r1", T0 + 900), T0 + 901)
    (point,) = one.take()
    assert point.figures == {
        "duration_ms": 120.0, "post_runtime_ms": 20.0, "memory_max_bytes": 64 * MB, "memory_max_ratio": 0.5,
        "billed_duration_ms": 121, "billed_mb_ms": 121 * 128, "cost_usd": 121 * 128 / 1e9,
    }  # fmt: skip
    assert point.about["request_id"] == "r1"
    one.told(report("r1", T0 + 900), T0 + 902)
    one.ended(done("r1"), T0, SAMPLE)
    assert one.take() == []


@pytest.mark.parametrize(
    ("status", "error_type", "counts", "told"),
    [
        ("success", "", {"invocations_count": 1}, ""),
        ("error", "Runtime.ExitError", {"errors_count": 1}, "Runtime.ExitError"),
        ("failure", "", {"errors_count": 1}, "Unknown"),
        ("timeout", "", {"timeouts_count": 1}, ""),
        ("something new", "", {"errors_count": 1}, "Unknown"),
        ("", "", {"invocations_count": 1}, ""),
    ],
)
def test_one_of_three_things(status, error_type, counts, told):
    """Disjoint, as the semantic conventions have them."""
    one = book()
    one.invoked("r1", T0, SAMPLE)
    one.ended(done("r1", status=status, errorType=error_type), T0, SAMPLE)
    (point,) = one.take()
    assert (counted([point]), point.error_type) == (counts, told)


@pytest.mark.parametrize(
    ("init_type", "gap_ms", "cold"),
    [
        ("on-demand", 100, True),
        ("on-demand", 60_000, False),
        ("provisioned-concurrency", 100, False),
        ("snap-start", 100, False),
    ],
)
def test_a_cold_start_is_one_that_somebody_waited_for(init_type, gap_ms, cold):
    """Not an init ahead of time; and it is the first invocation only."""
    one = book()
    one.told(event("platform.initStart", T0, initializationType=init_type, phase="init"), T0)
    done_init = event(
        "platform.initReport", T0 + 200, initializationType=init_type, phase="init", metrics={"durationMs": 200.0}
    )
    one.told(done_init, T0 + 200)
    for number in (1, 2):
        one.invoked(f"r{number}", T0 + 200 + gap_ms * number, SAMPLE)
        one.ended(done(f"r{number}", T0 + 300 + gap_ms * number), T0, SAMPLE)
    init, first, second = one.take()
    assert init.figures == {"init_duration_ms": 200.0}
    assert (first.figures.get("coldstarts_count"), second.figures.get("coldstarts_count")) == (
        1 if cold else None,
        None,
    )
    assert first.about["cold_start"] is cold


def test_an_init_that_is_repeated_within_an_invocation_is_not_another_cold_start():
    one = book()
    one.told(
        event("platform.initReport", T0, initializationType="on-demand", phase="init", metrics={"durationMs": 1.0}), T0
    )
    one.told(
        event("platform.initReport", T0, initializationType="on-demand", phase="invoke", metrics={"durationMs": 1.0}),
        T0,
    )
    one.invoked("r1", T0, SAMPLE)
    one.ended(done("r1"), T0, SAMPLE)
    one.invoked("r2", T0, SAMPLE)
    one.ended(done("r2"), T0, SAMPLE)
    assert total(one.take())["coldstarts_count"] == 1


@pytest.mark.parametrize("late", [True, False])
def test_another_attempt_under_the_same_id_is_another_invocation(late):
    """Lambda tries a failed asynchronous one again, most often here; the report of the first may come with the second."""
    one = book()
    one.invoked("r1", T0, SAMPLE)
    one.ended(done("r1", status="error", errorType="E"), T0, SAMPLE)
    if not late:
        one.told(report("r1", status="error"), T0)
    one.invoked("r1", T0 + 60_000, SAMPLE)
    if late:
        one.told(report("r1", status="error"), T0)
    one.ended(done("r1"), T0, SAMPLE)
    one.told(report("r1"), T0)
    points = one.take()
    assert counted(points) == {"invocations_count": 1, "errors_count": 1}
    assert total(points)["billed_duration_ms"] == 242


def test_out_of_memory_is_counted_once_whoever_says_so():
    """The error type, the report that used all of it, the kernel's counter: three signs of one thing."""
    one = book({"oom_kills_count": 1.0})
    one.invoked("r1", T0, SAMPLE)
    one.ended(done("r1", status="failure", errorType="Runtime.OutOfMemory"), T0, SAMPLE)
    one.told(report("r1", status="failure", most=128), T0)
    assert total(one.take())["oom_count"] == 1
    for signs, status, out in (
        ({"oom_kills_count": 1.0}, "failure", True),
        ({}, "failure", False),
        ({}, "success", False),
    ):
        one = book(signs)
        one.invoked("r1", T0, SAMPLE)
        one.ended(done("r1", status=status), T0, SAMPLE)
        assert ("oom_count" in total(one.take())) is out
    one.told(report("r1", status="success", most=128), T0)
    assert "oom_count" not in total(one.take()), "all of it used, and it went well"


def test_without_telemetry_the_next_event_is_the_end():
    one = book({"cpu_total_ms": 1.0})
    one.invoked("r1", T0, SAMPLE, telemetry=False)
    one.invoked("r2", T0 + 50, SAMPLE, telemetry=False)
    one.shut_down("spindown", T0 + 90, SAMPLE)
    first, second = one.take()
    assert counted([first, second]) == {"invocations_count": 2}
    assert (first.at_ms, second.at_ms) == (T0 + 50, T0 + 90)
    assert first.figures["coldstarts_count"] == 1
    assert second.figures["cpu_total_ms"] == 1.0


@pytest.mark.parametrize(
    ("reason", "counts"),
    [
        ("timeout", {"timeouts_count": 1}),
        ("failure", {"errors_count": 1}),
        ("spindown", {"invocations_count": 1}),
        # as AWS's emulator has them
        ("releasefail", {"errors_count": 1}),
        ("sandboxterminated", {"invocations_count": 1}),
    ],
)
def test_what_is_open_at_the_end(reason, counts):
    """Where the platform has said nothing of it, the reason of the shutdown does."""
    one = book()
    one.invoked("r1", T0, SAMPLE)
    one.shut_down(reason, T0, SAMPLE)
    one.ended(done("r1"), T0, None)
    assert counted(one.take()) == counts


def test_records_without_an_invoke():
    """Managed Instances, or a backlog of before a crash: an end, or a report alone, is an invocation."""
    one = book({"cpu_total_ms": 1.0})
    one.ended(done("r1", T0 + 100), T0, None)
    one.told(report("r2", T0 + 300, status="timeout"), T0)
    one.periodic(SAMPLE, SAMPLE, T0, T0 + 1000)
    points = one.take()
    assert counted(points) == {"invocations_count": 1, "timeouts_count": 1}
    assert points[0].since_ms == T0
    assert points[-1].figures == {"cpu_total_ms": 1.0}


def test_error_types_without_end_are_one_series():
    one = book(error_types=2)
    for number in range(5):
        one.ended(done(f"r{number}", status="error", errorType=f"Type{number}"), T0, None)
    points = one.take()
    assert [point.error_type for point in points] == ["Type0", "Type1", "_OTHER", "_OTHER", "_OTHER"]
    assert total(points)["series_overflow_count"] == 3


def test_what_was_lost_is_a_figure():
    one = book()
    one.told(event("platform.logsDropped", droppedRecords=7, droppedBytes=1, reason="x"), T0)
    one.told(records.notice("dropped", T0, droppedRecords=2, droppedBytes=1, reason="spool full"), T0)
    one.told(records.notice("reportMissing", T0, requestId="r9", status="unknown"), T0)
    one.told(event("platform.restoreReport", T0, metrics={"durationMs": 30.0}), T0)
    one.told(event("platform.extension", name="x"), T0)
    one.count("exports_failed_count", 0, T0)
    assert total(one.take()) == {
        "telemetry_lost_count": 7, "own_dropped_count": 2, "reports_missing_count": 1, "restore_duration_ms": 30.0,
    }  # fmt: skip


def test_a_report_of_before_a_restart_counts_nothing_again():
    """The process that was shut down by a timeout has counted it; the report comes to the next, and has figures of its own."""
    one = book()
    one.invoked("r2", T0, SAMPLE)
    one.told(report("r1", status="timeout"), T0)
    one.ended(done("r2"), T0 + 5, SAMPLE)
    points = one.take()
    assert counted(points) == {"invocations_count": 1}
    assert "billed_duration_ms" in points[0].figures


EVENTS = st.lists(st.tuples(st.sampled_from(["invoke", "done", "report", "again"]), st.integers(0, 5)), max_size=60)


@given(EVENTS, st.sampled_from(["success", "error", "timeout"]))
@settings(deadline=None)
def test_each_is_counted_once_in_whatever_order(events, status):
    """As one of the three things, and never without a sign of it."""
    one, seen, invoked, elsewhere = book({"cpu_total_ms": 1.0}), set(), set(), set()
    for kind, number in events:
        name = f"r{number}"
        if kind == "invoke":
            if name not in seen | elsewhere:  # else it would be another attempt
                one.invoked(name, T0, SAMPLE)
                invoked.add(name)
        elif kind == "report":
            one.told(report(name, status=status), T0)
            # Alone among INVOKEs of others it is of before a restart, and was counted there.
            (seen if name in invoked | seen or not invoked else elsewhere).add(name)
        else:
            one.ended(done(name, status=status), T0, SAMPLE)
            seen.add(name)
    points = one.take()
    assert sum(counted(points).values()) == len(seen - elsewhere)
    assert total(points).get("cpu_total_ms", 0) <= len(seen)
    assert all(point.since_ms <= point.at_ms for point in points)


def test_no_more_is_remembered_than_there_is_room_for():
    one = book()
    for number in range(3_000):
        one.ended(done(f"r{number}"), T0, None)
    assert len(one._known) == 1_000
    assert counted(one.take()) == {"invocations_count": 3_000}


def test_times_that_nobody_would_believe_are_not_passed_on():
    """Nor figures below 0."""
    one = book()
    one.ended(done("r1", -62_135_596_800_000, duration=-5.0), T0, None)
    one.told(
        event("platform.report", 253_402_300_799_000, requestId="r1", metrics={"durationMs": -1, "maxMemoryUsedMB": 3}),
        T0,
    )
    first, second = one.take()
    assert (first.since_ms, first.at_ms, second.at_ms) == (T0, T0, T0)
    assert first.figures == {"invocations_count": 1, "produced_bytes": 10}
    assert second.figures == {"memory_max_bytes": 3 * MB}


def test_a_book_that_nobody_reads_has_a_limit():
    """The oldest points go, and how many is a figure."""
    one = book()
    for number in range(10_500):
        one.ended(done(f"r{number}"), T0, None)
    assert one.pending == 10_000
    figures = total(one.take())
    assert (figures["invocations_count"], figures["points_lost_count"]) == (10_000, 500)


def test_the_trace_of_an_invocation_is_beside_its_figures():
    one = book()
    one.invoked("r1", T0, SAMPLE, "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1")
    one.ended(done("r1"), T0, SAMPLE)
    (point,) = one.take()
    assert point.about["trace_id"] == "1-5f35ae12-0c0fec141ab77a00bc047aa2"


def test_invocations_under_chaos_say_so():
    """Asked at the end of each; what was injected is counted once, and its late report belongs to the same invocation."""
    told = [2, 0, None]
    one = book(injected=lambda: told.pop(0))
    for number in range(3):
        one.invoked(f"r{number}", T0, SAMPLE)
        one.ended(done(f"r{number}"), T0 + 1, SAMPLE)
        one.told(report(f"r{number}"), T0 + 2)
    points = one.take()
    marked = [point.about["request_id"] for point in points if point.about.get("chaos.active")]
    assert marked == ["r0", "r0", "r1", "r1"]
    assert total(points)["chaos_injected_count"] == 2
    assert told == []
