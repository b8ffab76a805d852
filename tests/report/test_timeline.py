"""The timeline of a record: what lasted, what happened, the phases of invocations, what it all cost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit.emulator import record as emulator_record
from extension_kit.errors import ConfigError
from extension_kit.report import costs, html, load, reading, text, timeline, trace
from extension_kit.report.costs import parts
from extension_kit.report.page import content
from tests.conftest import ROOT
from tests.report.conftest import decision
from tests.report.records import FORMAT, crowded, cut_short, one_invocation, record, under_rie, very_long


def spans(found, lane):
    names = [one.name for one in found.lanes]
    return [(one.kind, one.start, one.end) for one in found.spans if one.lane == names.index(lane)]


def marks(found, lane, *kinds):
    names = [one.name for one in found.lanes]
    return [(one.kind, one.at, one.label) for one in found.marks if one.lane == names.index(lane) and one.kind in kinds]


def test_the_format_is_the_emulators():
    """Who reads records and who writes them mean the same."""
    assert reading.FORMAT == emulator_record.FORMAT == FORMAT


def test_each_process_has_its_spans_without_gaps():
    """From its start to its end; what it did before the response and after it is told apart."""
    found = timeline(one_invocation())

    assert [(lane.name, lane.kind) for lane in found.lanes] == [
        ("platform", "platform"), ("runtime", "runtime"), ("ext", "extension")]  # fmt: skip
    assert spans(found, "platform") == [
        ("init", 0, 100), ("invoke", 110, 190), ("frozen", 190, 690), ("shutdown", 700, 800)]  # fmt: skip
    assert spans(found, "runtime") == [
        ("start", 40, 100), ("wait", 100, 110), ("function", 110, 140), ("after", 140, 145), ("wait", 145, 700),
        ("shutdown", 700, 720)]  # fmt: skip
    assert spans(found, "ext") == [
        ("start", 10, 30), ("prepare", 30, 60), ("wait", 60, 110), ("beside", 110, 140), ("after", 140, 190),
        ("wait", 190, 720), ("shutdown", 720, 790)]  # fmt: skip


def test_an_invocation_has_its_phases():
    """Response, what came after it, what of that was the extensions' alone, and what the platform's report said."""
    (one,) = timeline(one_invocation()).invocations

    assert (one.number, one.request_id, one.start, one.before_ms) == (1, "a", 110, 0)
    assert (one.response_ms, one.after_ms, one.overhead_ms) == (30, 50, 45)
    assert (one.status, one.error_type, one.size, one.billed_ms, one.memory_mb) == ("success", "", 4, 180, 40)


def test_what_happened_is_on_the_lane_of_whom_it_is_about():
    """Registration, subscription, batches, lines, responses, ends."""
    found = timeline(one_invocation())

    assert marks(found, "ext", "step", "batch", "exit") == [
        ("step", 30, "registers for INVOKE, SHUTDOWN"), ("step", 50, "subscribes to platform (2025-01-29)"),
        ("batch", 120, "3 telemetry event(s), 300 bytes"), ("exit", 790, "ended: exit status 0")]  # fmt: skip
    assert marks(found, "runtime", "log", "response") == [("log", 115, "hello"), ("response", 140, "response, 4 bytes")]
    assert marks(found, "runtime", "exit", "error") == [
        ("exit", 700, "SIGTERM sent"), ("exit", 720, "ended: signal: term")]  # fmt: skip


def test_not_ended_is_not_an_error():
    """A record that is cut: three words for how an invocation went, and the same on the page and in the text."""
    found = timeline(cut_short())

    assert [(one.outcome, one.told_status) for one in found.invocations] == [
        ("well", "success"), ("not ended", "not ended")]  # fmt: skip
    assert (found.errors, found.unended) == (0, 1)
    first = text(cut_short()).splitlines()[0]
    assert first.endswith(", 1 not ended"), first
    assert "not well" not in first


def line(at, text, party="ext"):
    return {"t_ms": at, "kind": "log", "party": party, "source": "extension", "text": text}


def test_a_flush_that_was_told_is_drawn_below_what_it_is_a_part_of():
    """From its line, which comes when it has ended; whatever only looks like one is a line and nothing else."""
    whole = one_invocation()
    whole["events"] += [
        line(180, "[ext] plug-in shipper.cloudwatch: flush (end of the invocation) took 35.5 ms"),
        line(780, "[ext] plug-in shipper: flush (shutdown) took 900.0 ms"),
        line(181, "[ext] plug-in a b: flush (shutdown) took 1.0 ms"),
        line(182, "[ext] plug-in a: flush (shutdown) took 1.0 ms and more"),
        line(183, "[ext] plug-in a: flush (shutdown) took -1.0 ms"),
    ]
    whole["events"].sort(key=lambda one: one["t_ms"])
    found = timeline(whole)
    last, first = found.of("flush")

    assert (found.lanes[first.lane].name, first.start, first.end, first.row, first.invocation) == (
        "ext", 144.5, 180, 2, 1)  # fmt: skip
    assert first.label == "flush of shipper.cloudwatch: end of the invocation"
    assert (last.start, last.end, last.row) == (0, 780, 1), "no flush begins before the record does"
    assert {one.row for one in found.spans if one.kind != "flush"} == {0}
    assert sum(one.kind == "log" for one in found.marks) == 1 + 5
    assert parts(found) == parts(timeline(one_invocation()))
    assert "▞ flush" in text(whole)


def test_under_awss_emulator_a_flush_is_whose_name_its_line_begins_with():
    """Where the owner of a line is not told; a name that nobody has stays where the output is."""
    whole = under_rie()
    whole["events"] += [
        line(313, f"[{name}] plug-in p: flush (shutdown) took 5.0 ms", "output") for name in ("ext", "else")
    ]
    found = timeline(whole)

    assert [found.lanes[one.lane].name for one in found.of("flush")] == ["ext", "output"]


@pytest.mark.parametrize(("percent", "noted"), [(528.9, True), (52.8, False)])
def test_more_memory_than_there_is_has_a_note(percent, noted):
    """The page says whose it is."""
    name = "system.memory.utilization"
    units = [{"Name": name, "Unit": "Percent"}]
    emf = {"_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Namespace": "N", "Metrics": units}]}, name: percent}
    whole = one_invocation()
    whole["events"].append(line(795, json.dumps(emf)))
    shown = content(timeline(whole), whole)

    assert [row["high"] for row in shown["measured"]] == [f"{percent}"]
    assert [note for note in shown["notes"] if name in note] == shown["notes"][1:]
    assert len(shown["notes"]) == 1 + noted


def test_many_at_once_are_placed_without_trying_every_row():
    """Each on a row of its own, as long as they overlap; and the lowest that is free after that."""
    found = timeline(crowded(0, 20_000))  # minutes, where every row is tried for each

    assert [one.row for one in found.spans if one.kind == "invoke"] == list(range(20_000))
    later = timeline(record(*((at, kind, {"request_id": one}) for at, kind, one in (
        (0, "invoke_start", "a"), (1, "invoke_start", "b"), (2, "invoke_start", "c"), (3, "invoke_end", "b"),
        (4, "invoke_end", "a"), (5, "invoke_start", "d"), (6, "invoke_start", "e"), (7, "invoke_end", "c")))))  # fmt: skip
    assert [one.row for one in later.spans] == [0, 1, 2, 0, 1]


def test_where_the_time_went_adds_up():
    """Every millisecond is counted once."""
    found = timeline(one_invocation())

    assert parts(found) == {
        "restore": 0, "init": 100, "function": 30, "after": 50, "shutdown": 100, "frozen": 500, "idle": 20}  # fmt: skip
    assert sum(parts(timeline(under_rie())).values()) == pytest.approx(312)


def test_costs():
    """A row for each process; the runtime has no registration."""
    runtime, extension = costs(one_invocation())

    assert (runtime.party, runtime.register_ms, runtime.init_ms, runtime.cpu_ms, runtime.peak_mb) == (
        "runtime", None, 60, 50, 15)  # fmt: skip
    assert (extension.register_ms, extension.init_ms, extension.cpu_ms, extension.peak_mb) == (20, 50, 20, 9)
    assert (extension.after_ms, extension.after_total_ms, extension.batches, extension.telemetry_events) == (
        50,
        50,
        1,
        3,
    )


def test_who_is_done_before_the_response_costs_nothing_after_it():
    """The median is over all invocations that an extension had, not over those in which it was late."""
    whole = very_long(3)
    late = next(one["t_ms"] for one in whole["events"] if one["kind"] == "response")
    for number, one in enumerate(whole["events"]):
        if one.get("call") == "extension/event/next" and one["t_ms"] > late + 100:
            one["t_ms"] -= 60  # 10 ms before the response
            whole["events"].insert(number - 4, whole["events"].pop(number))
    extension = costs(whole)[1]

    assert (extension.after_ms, extension.after_total_ms) == (0, 50)


def test_under_awss_emulator_what_is_not_told_follows():
    """Invocations are given when they start, or when the init inside them ends; responses are seen as they are sent."""
    found = timeline(under_rie())
    first, second = found.invocations

    assert (first.before_ms, first.response_ms, first.after_ms, first.overhead_ms) == (80, 30, 31, 26)
    assert (second.before_ms, second.response_ms, second.after_ms, second.error_type) == (0, 20, 2, "Oops")
    assert spans(found, "ext") == [
        ("start", 10, 30), ("prepare", 30, 50), ("wait", 50, 90), ("beside", 90, 120), ("after", 120, 150),
        ("wait", 150, 200), ("beside", 200, 220), ("after", 220, 221), ("wait", 221, 300), ("shutdown", 300, 310)]  # fmt: skip
    assert marks(found, "runtime", "error") == [("error", 222, "response: Oops")]
    assert marks(found, "output", "log") == [("log", 115, "hello")]
    assert [one.row for one in found.spans if one.lane == 0] == [0, 1, 0, 0], "the init lies within the invocation"
    assert [one.register_ms for one in costs(under_rie())] == [None, None], "when they were started is not told"


def test_a_restore_is_no_part_of_the_response():
    """SnapStart: the runtime's hooks run before the function is given its event; extensions are not told."""
    found = timeline(
        record(
            (0, "process_start", {"party": "runtime", "pid": 1}),
            (10, "request", {"call": "runtime/restore/next", "method": "GET", "path": "/", "party": "runtime"}),
            (20, "invoke_start", {"request_id": "a"}),
            (20, "restore_start", {}),
            (20, "event", {"party": "runtime", "event": "RESTORE", "delivered": True}),
            (50, "request", {"call": "runtime/invocation/next", "method": "GET", "path": "/", "party": "runtime"}),
            (50, "restore_end", {"status": "success"}),
            (50, "invoke_given", {"request_id": "a"}),
            (50, "event", {"party": "runtime", "event": "INVOKE", "delivered": True}),
            (75, "response", {"request_id": "a", "error_type": "", "bytes": 1}),
            (80, "invoke_end", {"request_id": "a", "status": "success"}),
        )
    )

    assert [(kind, start, end) for kind, start, end in spans(found, "runtime") if end > start] == [
        ("start", 0, 10), ("wait", 10, 20), ("restore", 20, 50), ("function", 50, 75), ("after", 75, 80)]  # fmt: skip
    assert [(one.before_ms, one.response_ms, one.after_ms) for one in found.invocations] == [(30, 25, 5)]
    assert parts(found)["restore"] == 30


def test_faults_and_errors_are_seen():
    """Decisions of the chaos injector, in its own words; what the platform refused, by whom; a --fault."""
    found = timeline(
        record(
            (0, "init_start", {"phase": "init", "init_type": "on-demand"}),
            (1, "process_start", {"party": "ext", "pid": 1}),
            (2, "log", {"party": "ext", "source": "extension", "text": decision()}),
            (3, "request", {"call": "extension/event/next", "method": "GET", "path": "/", "party": "ext"}),
            (4, "refused", {"status": 403, "error_type": "Extension.InvalidState", "detail": "no"}),
            (5, "process_exit", {"party": "ext", "detail": "exit status 3", "state": "Crashed"}),
            (6, "init_end", {"phase": "init", "status": "error", "error_type": "Extension.Crash", "detail": "x"}),
            faults={"chosen": {"telemetry-slow": {"ms": 500}}},
        )
    )

    assert marks(found, "ext", "fault") == [("fault", 2, "chaos: inject delay, slow, friday")]
    assert marks(found, "ext", "error") == [
        ("error", 4, "refused: 403 Extension.InvalidState: no"), ("error", 5, "ended: exit status 3")]  # fmt: skip
    assert marks(found, "platform", "fault") == [("fault", 0, "--fault telemetry-slow, throughout the run")]
    assert marks(found, "platform", "error") == [("error", 6, "init ends: error: Extension.Crash: x")]


def test_what_the_record_does_not_end_is_open_at_its_end():
    """A record of a run that was cut short can be drawn."""
    cut = one_invocation()
    cut["events"] = cut["events"][:13]
    found = timeline(cut)

    assert spans(found, "platform") == [("init", 0, 100), ("invoke", 110, 115)]
    assert spans(found, "ext")[-1] == ("beside", 110, 115)
    assert [one.response_ms for one in found.invocations] == [None]
    assert "not ended" in text(cut)


def test_workers_side_by_side_have_rows():
    """Managed Instances: invocations overlap, each keeps its own bar."""
    ids = ("a", "b")
    found = timeline(
        record(
            (0, "process_start", {"party": "runtime", "pid": 1}),
            (10, "request", {"call": "runtime/invocation/next", "method": "GET", "path": "/", "party": "runtime"}),
            *(
                (at, kind, {"request_id": one, "trace": ""})
                for one, at in zip(ids, (20, 30), strict=True)
                for kind in ("invoke_start", "invoke_given")
            ),
            *((at, "response", {"request_id": one, "bytes": 1}) for one, at in zip(ids, (50, 60), strict=True)),
            *(
                (at, "invoke_end", {"request_id": one, "status": "success"})
                for one, at in zip(ids, (50, 60), strict=True)
            ),
            init_type="lambda-managed-instances",
        )
    )
    functions = [one for one in found.spans if one.kind == "function"]

    assert [(one.start, one.end, one.row, one.invocation) for one in functions] == [(20, 50, 0, 1), (30, 60, 1, 2)]


def test_a_real_run_agrees_with_its_record(run):
    """Counts and times of a run of the emulator."""
    found, events = timeline(run.record), run.record["events"]

    def of(*kinds):
        return [one for one in events if one["kind"] in kinds]

    assert len(found.invocations) == 6 == len(of("invoke_start"))
    assert found.errors == 1
    assert len(list(found.of("frozen"))) == len(of("freeze")) >= 5
    assert [one.response_ms for one in found.invocations] == pytest.approx(
        [one["duration_ms"] for one in of("response")], abs=1
    )
    assert [one.end - one.start for one in found.invocations] == pytest.approx(
        [one["duration_ms"] for one in of("invoke_end")], abs=1
    )
    assert all(one.after_ms > 0 and one.end - one.start > 59 for one in found.invocations), "the watcher takes 60 ms"
    assert sum(one.kind == "batch" for one in found.marks) == len(of("telemetry_batch")) > 5
    assert sum(one.kind in ("log", "fault") for one in found.marks) == len(of("log")) + 1, "and a --fault"
    assert {one.party: one.cpu_ms for one in costs(run.record)} == pytest.approx(
        {one["party"]: one["cpu_ms"] for one in of("process_usage")}
    )


@pytest.mark.parametrize("init_type", ["on-demand", "lambda-managed-instances"])
def test_flushes_of_a_real_run(tmp_path, init_type):
    """At level debug each is on the lane of its process; on managed instances, too, where no process is given an event."""
    (tmp_path / "app.py").write_text("def handler(event, context):\n    return 1\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "extension_kit.cli", "run", "--function", str(tmp_path), "--handler", "app.handler",
            "--plugin", "extensions.metrics_collector.plugin:MetricsCollector", "--init-type", init_type,
            "--env", "EXTENSION_KIT_LOG_LEVEL=debug", "--invokes", "2", "--json", str(tmp_path / "run.json"),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "run.json").read_text())
    found = timeline(record)
    flushes = list(found.of("flush"))

    assert flushes
    assert len(flushes) == sum("plug-in metrics-collector: flush (" in one.get("text", "") for one in record["events"])
    assert {found.lanes[one.lane].kind for one in flushes} == {"extension"}
    assert any(one.label == "flush of metrics-collector: shutdown" for one in flushes)


# what is no record ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not the record of a run"),
        ('{"format": "other/1", "events": []}', "not the record of a run"),
        (json.dumps({"format": FORMAT}), '"events" is to be a list'),
        (json.dumps({"format": FORMAT, "events": [{"kind": "log"}]}), '"events" is to be a list'),
        (json.dumps({"format": FORMAT, "events": [{"kind": "log", "t_ms": float("nan")}]}), '"events" is to be a list'),
    ],
)
def test_what_is_no_record_is_one_error(content, said):
    """It names the file and what is wanted."""
    with pytest.raises(ConfigError, match=f"^here: {said}"):
        load(content, "here")


def test_nothing_at_all_can_be_drawn():
    """A record without an event."""
    empty = record()

    assert timeline(empty).end == 0
    assert "0 invocations" in text(empty)
    assert trace(empty)["traceEvents"]
    assert "<title>f: report of a run</title>" in html(empty)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KINDS = sorted(
    {one["kind"] for one in one_invocation()["events"]} | {"refused", "launch_error", "restore_start", "reset"}
)
FIELDS = sorted({name for one in one_invocation()["events"] for name in one})
EVENTS = st.fixed_dictionaries(
    {"t_ms": st.floats(0, 1e6), "kind": st.sampled_from(KINDS)},
    optional={name: ANY | st.sampled_from(("ext", "runtime", "a")) for name in FIELDS if name not in ("t_ms", "kind")},
)


@settings(deadline=None, max_examples=40)
@given(st.lists(EVENTS, max_size=12), ANY, ANY)
def test_no_record_raises(events, profile, notes):
    """Whatever stands in fields: all four pictures are drawn, the JSON in them is JSON."""
    whole = {"format": FORMAT, "profile": profile, "notes": notes, "events": events}

    text(whole)
    costs(whole)
    json.loads(json.dumps(trace(whole), allow_nan=False))
    page = html(whole)
    data = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_long_record_keeps_its_counts():
    """10,000 events and more."""
    found = timeline(very_long(1_000))

    assert len(very_long(1_000)["events"]) > 10_000
    assert len(found.invocations) == 1_000
    assert all((one.response_ms, one.after_ms) == pytest.approx((30, 50)) for one in found.invocations)
