"""Whose a line is, by its place in the stream."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from extension_kit import records
from extension_kit.stream import Stream

TIME = "2026-11-23T08:00:00.700Z"


def body(*events) -> bytes:
    return json.dumps(
        [{"time": TIME, "type": kind, "record": record} for kind, record in events], separators=(",", ":")
    ).encode()


def start(request_id):
    return "platform.start", {"requestId": request_id, "tracing": {"value": f"Root={request_id}"}}


def done(request_id):
    return "platform.runtimeDone", {"requestId": request_id, "metrics": {"durationMs": 5.5}}


def line(text="x"):
    return "function", text


def whose(found):
    return [(one.request_id, one.trace, one.late) for one in found if one.type == "function"]


def test_lines_belong_to_the_request_that_began_before_them():
    """Init lines to none; lines after the end are late; the trace goes with the request."""
    stream = Stream()
    events = [line(), start("a"), line(), done("a"), line(), start("b"), line()]

    found, rest = stream.read(1, body(*events))

    assert whose(found) == [("", "", False), ("a", "Root=a", False), ("a", "Root=a", True), ("b", "Root=b", False)]
    assert rest is None
    assert (stream.started, stream.ended) == (["a", "b"], ["a"])
    assert stream.last_done.duration_ms == 5.5


def test_a_batch_goes_on_where_the_one_before_it_ended():
    """And an init inside an invocation begins anew."""
    stream = Stream()
    stream.read(1, body(start("a"), line()))
    found, _ = stream.read(2, body(line(), ("platform.initStart", {"phase": "invoke"}), line(), start("b"), line()))

    assert [owner[0] for owner in whose(found)] == ["a", "", "b"]


def test_a_batch_that_is_read_again_says_the_same_and_changes_nothing():
    """For a plug-in that lags behind."""
    stream = Stream()
    first, _ = stream.read(1, body(start("a"), line()))
    stream.read(2, body(done("a"), start("b"), line()))
    again, _ = stream.read(1, body(start("a"), line()))

    assert whose(first) == whose(again)
    assert stream.started == ["a", "b"]
    assert whose(stream.read(3, body(line()))[0]) == [("b", "Root=b", False)]
    stream.forget(3)
    assert list(stream._begins) == [3]


def test_another_process_goes_on_with_the_context():
    """After a kill the first line of the oldest batch still has its owner."""
    before = Stream()
    before.read(1, body(start("a"), done("a")))
    before.read(2, body(line()))

    after = Stream(context=before.context(2))

    assert whose(after.read(2, body(line()))[0]) == [("a", "Root=a", True)]
    assert whose(Stream(context="").read(1, body(line()))[0]) == [("", "", False)]


def test_interleaved_requests_are_told_by_the_line_itself():
    """Managed Instances: a line's place says nothing."""
    stream = Stream(interleaved=True)
    found, _ = stream.read(
        1, body(start("a"), start("b"), line({"requestId": "a"}), line({"AWSRequestId": "b"}), line())
    )

    assert [owner[0] for owner in whose(found)] == ["a", "b", ""]


def test_what_the_platform_lost_is_counted():
    """From its own notices."""
    stream = Stream()
    stream.read(1, body(("platform.logsDropped", {"droppedRecords": 7}), ("platform.logsDropped", {})))

    assert stream.platform_dropped == 7


def test_what_cannot_be_read_is_a_record_of_its_own():
    """And the rest of the batch is read; an odd envelope among usual ones too."""
    stream = Stream()
    found, rest = stream.read(1, body(start("a"), line())[:-3])
    odd, _ = stream.read(2, b'[{"type":"platform.runtimeDone","record":{"requestId":"a"}},7]')
    usual, _ = stream.read(
        3, body(line({"list": [1, {"a": 2}]}), ("platform.new", {}), ("odd", [1]), ("extension", "[x]"))
    )

    assert [one.type for one in found] == ["platform.start", records.MALFORMED]
    assert rest == found[-1].raw
    assert [type(one).__name__ for one in odd] == ["RuntimeDone", "Malformed"]
    assert stream.ended == ["a"]
    assert [one.type for one in usual] == ["function", "platform.new", "odd", "extension"]


def test_a_batch_that_only_looks_usual_is_read_with_care():
    """A look-alike of a platform event inside a line in JSON is no platform event."""
    forged = {"list": [{"a": 1}, {"time": TIME, "type": "platform.runtimeDone", "record": {"requestId": "a"}}]}
    stream = Stream()
    for seq, kind in enumerate(("function", "extension", "unknown"), start=1):
        found, _ = stream.read(seq, body((kind, forged), line()))
        assert [one.type for one in found] == [kind, "function"]
    assert stream.ended == []


@given(st.lists(st.tuples(st.sampled_from("sdrl"), st.sampled_from("abc")), max_size=30), st.integers(1, 5))
def test_batches_may_be_cut_anywhere(story, size):
    """Owners do not depend on where the platform closed a batch."""
    make = {"s": start, "d": done, "r": lambda one: ("platform.report", {"requestId": one}), "l": lambda _one: line()}
    events = [make[kind](name) for kind, name in story]
    whole = whose(Stream().read(1, body(*events))[0]) if events else []
    stream, parts = Stream(), []
    for seq, at in enumerate(range(0, len(events), size)):
        parts += whose(stream.read(seq, body(*events[at : at + size]))[0])

    assert parts == whole


def report(request_id):
    return "platform.report", {"requestId": request_id, "metrics": {"durationMs": 7.5}}


def known(stream):
    return stream.started, stream.ended, stream.reported


def test_a_request_that_is_tried_again_has_not_ended():
    """A failed asynchronous invocation keeps its id: neither its INVOKE nor its start finds it ended already."""
    stream = Stream()
    stream.invoked("a")
    stream.read(1, body(start("a"), done("a"), report("a")))
    stream.invoked("a")
    assert known(stream) == ([], [], [])
    stream.read(2, body(start("a"), line()))
    assert known(stream) == (["a"], [], [])
    stream.read(3, body(done("a")))
    assert known(stream) == (["a"], ["a"], [])
    stream.read(4, body(start("a"), done("a"), report("a")))  # very fast, and nobody has said that it was invoked
    assert known(stream) == (["a"], ["a"], [])  # the report is that of the run before
    stream.read(5, body(report("a")))
    assert known(stream) == (["a"], ["a"], ["a"])


def test_what_comes_late_of_the_first_run_ends_nothing_of_the_second():
    """Its end and its report may be told after the second INVOKE: the start of the second run is where that one begins."""
    stream = Stream()
    stream.invoked("a")
    stream.read(1, body(start("a")))
    stream.invoked("a")
    stream.read(2, body(done("a"), line()))
    assert known(stream) == ([], [], [])
    stream.read(3, body(start("a"), report("a")))
    assert known(stream) == (["a"], [], [])
    stream.read(4, body(done("a"), report("a")))
    assert known(stream) == (["a"], ["a"], ["a"])


def test_a_start_that_is_read_before_its_invoke_is_that_runs():
    """Telemetry and the next event come by two ways. Its end is its end, of the first run as of the second."""
    stream = Stream()
    for seq in (0, 10):
        stream.read(seq + 1, body(start("a")))
        stream.invoked("a")
        assert known(stream) == (["a"], [], [])
        stream.read(seq + 2, body(done("a"), report("a")))
        assert known(stream) == (["a"], ["a"], ["a"])


def test_what_is_read_again_after_a_restart_is_an_earlier_run():
    """Of which this process has heard no INVOKE: it has ended, so a run that begins now is another one."""
    stream = Stream()
    stream.read(1, body(start("a"), done("a")))
    stream.invoked("a")
    assert known(stream) == ([], [], [])
    stream.read(2, body(start("a"), report("a")))
    assert known(stream) == (["a"], [], [])


def test_a_batch_that_is_read_again_takes_no_end_back():
    """For a plug-in that lags behind: only what is new says how far a request is."""
    stream = Stream()
    first = body(start("a"), done("a"), report("a"))
    stream.read(1, first)
    stream.read(2, body(start("a"), done("a"), report("a")))
    stream.read(1, first)
    assert known(stream) == (["a"], ["a"], ["a"])


def test_requests_without_an_id_are_no_second_run():
    """And ids of the past are let go."""
    stream = Stream()
    stream.invoked("")
    for number in range(200):
        stream.read(number, body(start(f"r{number % 150}"), done(f"r{number % 150}"), ("platform.runtimeDone", {})))
    assert max(map(len, known(stream))) <= 64
    for number in range(200):
        stream.invoked(f"x{number}")
    assert max(map(len, (stream._owed, stream._due, stream._early))) <= 64


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=8), st.integers(1, 4), st.booleans())
def test_each_run_ends_with_its_own_end(runs, size, late):
    """However batches are cut, and whether a report comes at once or after the next start."""
    stream, seq, owing = Stream(), 0, []
    for name in runs:
        stream.invoked(name)
        assert name not in stream.ended
        events = [start(name), *owing, line()]
        owing = [report(name)] if late else []
        for at in range(0, len(events), size):
            seq += 1
            stream.read(seq, body(*events[at : at + size]))
            assert name not in stream.ended
            assert name not in stream.reported
        seq += 1
        stream.read(seq, body(done(name), *([] if late else [report(name)])))
        assert name in stream.ended
        assert late != (name in stream.reported)
