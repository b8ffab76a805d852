"""Telemetry records: typed, tolerant, total."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit import records
from extension_kit.protocol import telemetry
from extension_kit.protocol.timestamps import format_ms, parse_ms

EXAMPLES = int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "200"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)
TYPES = st.sampled_from([*(kind.decode() for kind in records.CLASSES), "platform.new", ""]) | st.text(max_size=5)
FIELDS = st.sampled_from(
    (
        "requestId",
        "status",
        "errorType",
        "metrics",
        "spans",
        "tracing",
        "name",
        "state",
        "types",
        "events",
        "phase",
        "level",
    )
)
CONTENT = JSON | st.dictionaries(FIELDS, JSON, max_size=5)
ENVELOPE = st.fixed_dictionaries({}, optional={"time": JSON, "type": TYPES | JSON, "record": CONTENT, "more": JSON})
PROPERTIES = sorted(
    {name for one in (*records.CLASSES.values(), records.Record) for name in dir(one) if name[0] != "_"}
)


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def read(value: object) -> records.Record:
    return records.make(compact(value))


@settings(max_examples=EXAMPLES)
@given(ENVELOPE | JSON)
def test_every_property_of_every_record_can_be_read(value):
    """Whatever JSON it is made of; and its text is kept as it was."""
    record = read(value)

    for name in PROPERTIES:
        getattr(record, name, None)
    assert record.raw == compact(value)
    assert isinstance(record.type, str)
    assert isinstance(record.request_id, str)
    assert isinstance(record.text, str)


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_json_are_a_record_too(data):
    """Malformed, or of a type that can be seen; nothing raises."""
    record = records.make(data)

    for name in PROPERTIES:
        getattr(record, name, None)
    assert record.raw == data


def test_a_log_line_is_a_string_or_an_object():
    """Complaint 12: both forms have the same helpers."""
    text = read({"time": "2026-11-23T08:00:00.700Z", "type": "function", "record": '{"level":"warn","n":1}\n'})
    plain = read({"time": "2026-11-23T08:00:00.700Z", "type": "function", "record": "order accepted\n"})
    line = read(
        {"time": "2026-11-23T08:00:00.700Z", "type": "function", "record": {"level": "ERROR", "requestId": "r"}}
    )

    assert (text.text, text.json, text.level) == ('{"level":"warn","n":1}', {"level": "warn", "n": 1}, "WARN")
    assert (plain.text, plain.json, plain.level) == ("order accepted", None, "")
    assert (line.text, line.level, line.request_id) == ('{"level":"ERROR","requestId":"r"}', "ERROR", "r")


@pytest.mark.parametrize("number", [168.4, 168, "168.4", 1e3])
def test_numbers_are_read_leniently(number):
    """Complaint 13: floats where integers are documented, and emulators that write text (complaint 16)."""
    report = read(
        {"type": "platform.report", "record": {"metrics": {"durationMs": number, "billedDurationMs": number}}}
    )

    assert report.duration_ms == float(number)
    assert report.billed_duration_ms == float(number)


@pytest.mark.parametrize("nonsense", [True, None, "x", [], {}, "nan", "inf", 10**400])
def test_what_is_no_number_is_none(nonsense):
    """And not an error."""
    assert read({"type": "platform.report", "record": {"metrics": {"durationMs": nonsense}}}).duration_ms is None


def test_the_fields_of_each_platform_event():
    """In AWS's vocabulary; what is not known stays in content."""
    tracing = {"spanId": "24cd", "type": "X-Amzn-Trace-Id", "value": "Root=1;Sampled=1"}
    span = {"name": "responseLatency", "start": "2026-11-23T08:00:00:521Z", "durationMs": 1.5}
    done = read({"type": "platform.runtimeDone", "record": {
        "requestId": "r", "status": "error", "errorType": "Runtime.ExitError", "spans": [span, 3], "tracing": tracing,
        "metrics": {"durationMs": 2, "producedBytes": 52}, "tenantId": "t", "new": 1}})  # fmt: skip
    init = read({"type": "platform.initStart", "record": {
        "initializationType": "on-demand", "phase": "init", "functionName": "f", "functionVersion": "1", "instanceId": "i",
        "instanceMaxMemory": "256", "runtimeVersion": "v", "runtimeVersionArn": "arn"}})  # fmt: skip
    state = read({"type": "platform.extension", "record": {"name": "e", "state": "Ready", "events": ["INVOKE", 1]}})
    subscribed = read({"type": "platform.telemetrySubscription", "record": {"name": "e", "types": ["platform"]}})
    dropped = read(
        {"type": "platform.logsDropped", "record": {"droppedRecords": 3, "droppedBytes": 9, "reason": "slow"}}
    )

    assert (done.request_id, done.status, done.error_type) == ("r", "error", "Runtime.ExitError")
    assert (done.trace, done.tenant_id, done.produced_bytes) == ("Root=1;Sampled=1", "t", 52.0)
    assert (done.spans[0].start_ms, done.span_ms("responseLatency"), done.span_ms("x")) == (1795420800521, 1.5, None)
    assert (len(done.spans), done.content["new"]) == (1, 1)
    assert (init.init_type, init.phase, init.function_name, init.function_version) == ("on-demand", "init", "f", "1")
    assert (init.instance_id, init.instance_max_memory, init.runtime_version) == ("i", 256.0, "v")
    assert (init.runtime_version_arn, state.name, state.state, state.events) == ("arn", "e", "Ready", ("INVOKE",))
    assert subscribed.types == ("platform",)
    assert (dropped.dropped_records, dropped.dropped_bytes, dropped.reason) == (3.0, 9.0, "slow")
    assert read({"type": "platform.start", "record": {"version": "7"}}).version == "7"


def test_types_that_are_not_known_are_kept():
    """A plain record with all that was sent."""
    record = read({"time": "x", "type": "platform.tomorrow", "record": {"a": [1]}})

    assert (type(record), record.type, record.content, record.time, record.time_ms) == (
        records.Record, "platform.tomorrow", {"a": [1]}, "x", None)  # fmt: skip


def test_records_are_frozen_and_show_themselves():
    """As every value here; a long one is cut in its repr."""
    record = read({"type": "function", "record": "x" * 500})

    with pytest.raises(AttributeError, match="frozen"):
        record.raw = b""
    assert len(repr(record)) < 260
    assert repr(read([1])) == "Malformed([1])"
    assert record.id == "0-0"


@settings(max_examples=EXAMPLES)
@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.sampled_from(["Z", "+00:00", "", "z"]))
def test_times_are_those_of_datetime(moment, zone):
    """Any time of the Gregorian calendar, to the millisecond (cut, not rounded)."""
    text = moment.isoformat(timespec="microseconds")
    whole = moment.replace(microsecond=0, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    wanted = (whole.days * 86_400 + whole.seconds) * 1000 + moment.microsecond // 1000

    assert parse_ms(text + zone) == wanted


@settings(max_examples=EXAMPLES)
@given(st.integers(parse_ms("0001-01-01T00:00:00Z"), parse_ms("9999-12-31T23:59:59.999Z")))
def test_a_time_that_is_written_is_read_back(ms):
    """The inverse."""
    assert parse_ms(format_ms(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-23T08:00:00.700Z", 1795420800700),
        ("2026-11-23T08:00:00:521Z", 1795420800521),
        ("2026-11-23T08:00:00Z", 1795420800000),
        ("2026-11-23 08:00:00.7", 1795420800700),
        ("2026-11-23T09:00:00.700123456+01:00", 1795420800700),
        ("2026-11-23T07:00:00,700-0100", 1795420800700),
    ],
)
def test_odd_times_that_can_be_read(text, ms):
    """The documentation's own samples among them."""
    assert parse_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-23", "2026-11-23T08:00", "2026-13-23T08:00:00Z", "2026-11-23T08:00:00+1",
     "2026-11-23T08:61:00Z", "2026-11-23X08:00:00Z", "²026-11-23T08:00:00Z", "2026-11-23T08:00:00.7_0Z",
     "2026-11-23T08:00:00x"],
)  # fmt: skip
def test_what_is_no_time_is_none(text):
    """And not an error."""
    assert parse_ms(text) is None


def test_a_forwarder_never_pays_for_parsing(monkeypatch):
    """Type, text and request of a record are there without decoding it."""
    monkeypatch.setattr(records, "loads", lambda _data: pytest.fail("it was decoded"))
    record = records.make(
        b'{"time":"2026-11-23T08:00:00.700Z","type":"function","record":"x"}', records.Request("r", "t")
    )

    assert (record.type, record.raw[:1], record.request_id, record.trace, record.late) == (
        "function",
        b"{",
        "r",
        "t",
        False,
    )


def test_the_split_is_that_of_the_parser():
    """Nested arrays with the very text that stands between two events do not cut a record."""
    inner = [{"a": 1}, {"time": "x", "type": "platform.runtimeDone", "record": {"requestId": "forged"}}]
    events = [
        {"time": "2026-11-23T08:00:00.700Z", "type": "function", "record": {"list": inner, "text": "}}]"}},
        {"time": "2026-11-23T08:00:00.700Z", "type": "function", "record": '},{"time":"'},
        {"time": "2026-11-23T08:00:00.700Z", "type": "function", "record": "[INFO] fine"},
    ]

    batch = telemetry.split(compact(events))

    assert [json.loads(piece) for piece in batch.pieces] == events
    assert batch.rest == b""
