"""From records to lines: what is kept back and why, what is joined, what is cut; no record is counted twice or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit import records
from extensions.log_shipper.line import LEVELS, Line, trace_ids
from extensions.log_shipper.pipeline import Pipeline, tags_of
from extensions.log_shipper.redact import Redactor
from extensions.log_shipper.settings import ShipperSettings

REQUEST = records.Request("8476a536-e9f4-11e8-9739-2dfe598c3fcd", "", False)
NOW = "2026-11-23T08:00:00.000Z"


def record(content="x", kind="function", index=0, request=REQUEST, time=NOW, batch=1):
    raw = json.dumps({"time": time, "type": kind, "record": content}, separators=(",", ":")).encode()
    return records.make(raw, request, batch, index)


def lines_of(*contents, **more):
    return [record(content, index=index, **more) for index, content in enumerate(contents)]


def take(given, last=True, most=1000, redact=None, **settings):
    pipeline = Pipeline(ShipperSettings(**settings), "log-shipper", redact, lambda: "s")
    return pipeline.take(given, 0, most, 1_000_000, last)


def texts(taken):
    return [line.text for line in taken.lines]


# levels

LEVELLED = [
    ("[INFO]\t2026-11-23T08:00:00.700Z\t8476a536-e9f4-11e8-9739-2dfe598c3fcd\ttext\n", "INFO"),
    ("[WARNING]\t2026-11-23T08:00:00.700Z\tx\ttext", "WARN"),
    ("[CRITICAL] x", "FATAL"),
    ("2026-11-23T08:00:00.700Z\t8476a536-e9f4-11e8-9739-2dfe598c3fcd\tERROR\tInvoke Error", "ERROR"),
    ("2026-11-23 08:00:00 <8476a536> DEBUG com.example.App - started", "DEBUG"),
    ("08:00 main FATAL it is over, no ERROR before", "FATAL"),
    ("SEVERE: java says", "ERROR"),
    ("TERRORS and INFORM are words", ""),
    ("my_ERROR_code=3", ""),
    ("no level here", ""),
    ("", ""),
    ("x" * 200 + " ERROR", ""),
    ('{"level":"warn","message":"x"}', "WARN"),
    ('{"severity":"Error"}', "ERROR"),
    ('{"level":30}', "INFO"),
    ('{"level":50,"msg":"pino"}', "ERROR"),
    ('{"level":7}', ""),
    ('{"level":true}', ""),
    ('{"other":"ERROR"}', ""),
    ('{"broken', ""),
    ({"level": "ERROR", "message": "x"}, "ERROR"),
    ({"log.level": "debug"}, "DEBUG"),
    ({"message": "ERROR in the text"}, ""),
    ([1], ""),
    (17, ""),
    (None, ""),
]


@pytest.mark.parametrize(("content", "level"), LEVELLED, ids=[str(one)[:40] for one, _level in LEVELLED])
def test_levels(content, level):
    """Where each runtime puts it; in words of its own; nowhere else."""
    assert Line(record(content), "s").level == level


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1",
         ("5f35ae120c0fec141ab77a00bc047aa2", "2be948a625588e32")),
        ("Root=1-5f35ae12-0c0fec141ab77a00bc047aa2", ("5f35ae120c0fec141ab77a00bc047aa2", "")),
        ("Parent=2be948a625588e32", ("", "2be948a625588e32")), ("", ("", "")), ("Root=1-x-y;Parent=z", ("", "")),
        ("Root=1-00000000-000000000000000000000000;Parent=0000000000000000", ("", "")),
    ],
)  # fmt: skip
def test_trace_ids(header, ids):
    """As W3C has them; what is none, or all zeros, is left out."""
    assert trace_ids(header) == ids


# filters


def test_types():
    """Whole streams, or single events of the platform; lines of our own never."""
    given = [
        record("f"), record("[log-shipper.http] WARNING x", "extension"), record("theirs", "extension"),
        record({}, "platform.start"), record({}, "platform.report"), record({}, "platform.new"),
    ]  # fmt: skip
    assert texts(take(given, types=("function",))) == ["f"]
    assert [line.type for line in take(given, types=("platform",)).lines] == [
        "platform.start",
        "platform.report",
        "platform.new",
    ]
    assert [line.type for line in take(given, types=("platform.report", "function")).lines] == [
        "function",
        "platform.report",
    ]
    taken = take(given, types=("extension",))
    assert (texts(taken), taken.outcomes, taken.records) == (["theirs"], {"filtered": 5}, 6)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"min_level": "warn"}, ["[ERROR] b", "[WARN] c", "none"]),
        ({"min_level": "fatal"}, ["none"]),
        ({"include": "a|none"}, ["[INFO] a", "none"]),
        ({"exclude": r"^\[[EW]"}, ["[INFO] a", "none"]),
        ({"include": r"\[", "exclude": "c", "min_level": "error"}, ["[ERROR] b"]),
    ],
)
def test_filters(settings, left):
    """By level, by what is in a line; lines without a level pass that filter, and platform events pass all of them."""
    given = [*lines_of("[INFO] a", "[ERROR] b", "[WARN] c", "none"), record({}, "platform.report", 9)]
    taken = take(given, **settings)
    assert texts(taken) == [*left, "{}"]
    assert taken.outcomes == {"filtered": 4 - len(left)}


def test_a_sample_keeps_requests_whole():
    """Every line of a request or none, but for errors; the same requests in every process."""
    requests = [records.Request(f"request-{number}", "", False) for number in range(400)]
    given = [
        one
        for number, each in enumerate(requests)
        for one in lines_of(f"a {number}", f"b {number}", f"[ERROR] {number}", request=each)
    ]
    taken = take(given, most=10_000, sample=0.25)
    kept = [text for text in texts(taken) if "ERROR" not in text]
    assert len([text for text in texts(taken) if "ERROR" in text]) == 400
    assert {text[2:] for text in kept if text[0] == "a"} == {text[2:] for text in kept if text[0] == "b"}
    assert 60 < len(kept) / 2 < 140
    assert taken.outcomes == {"sampled": 800 - len(kept)}
    assert texts(take(given, most=10_000, sample=0.25)) == texts(taken)
    assert [text for text in texts(take(given, sample=0.0)) if "ERROR" not in text] == []


def test_the_rate_limit_goes_by_the_lines_own_times():
    """So many in any second; a backlog that is read later is not taken for a burst."""
    given = [
        record(str(second), index=number, time=f"2026-11-23T08:00:{second:02}.000Z")
        for second in range(3)
        for number in range(5)
    ]
    taken = take(given, rate_limit=2)
    assert texts(taken) == ["0", "0", "1", "1", "2", "2"]
    assert taken.outcomes == {"dropped: rate limit": 9}


def test_an_event_of_more_lines_than_the_limit_is_not_lost_for_ever():
    """It is let through when nothing else has been for a second, and paid off by what comes after it."""
    event = ["[ERROR] first", *[f" line {number}" for number in range(20)]]
    given = [record(text, index=index, time="2026-11-23T08:00:00.000Z") for index, text in enumerate(event)]
    given += [record(f"[INFO] {second}", index=50, time=f"2026-11-23T08:00:0{second}.000Z") for second in (1, 2, 3)]
    taken = take(given, rate_limit=10, multiline_start=r"^\[")
    assert [line.weight for line in taken.lines] == [21, 1, 1]
    assert taken.outcomes == {"dropped: rate limit": 1}


# what is ours


def test_nothing_that_a_sink_wrote_to_standard_output_is_sent_again():
    """It comes back as the line of an extension, by which it would be sent for ever."""
    sent = '{"id":"s-1-0","time":"2026-11-23T08:00:00.000Z","type":"function","record":"x"}'
    given = lines_of(sent, json.loads(sent), {"id": "t-1-0"}, "of another extension", kind="extension")
    taken = take(given, types=("extension",))
    assert texts(taken) == ['{"id":"t-1-0"}', "of another extension"]
    assert taken.outcomes == {"filtered": 2}
    assert take(given, types=("extension", "function"), sink="stdout").outcomes == {"filtered": 4}


def test_a_line_that_cannot_be_made_ready_costs_itself_alone():
    """Whatever goes wrong with it: those beside it have been accepted as well."""

    def redact(message):
        if b"bad" in message:
            raise RecursionError("too deep")
        return message, 0

    given = [*lines_of("one", "bad", "two"), record("bad", batch=0)]
    taken = take(given, redact=redact)
    assert texts(taken) == ["one", "two"]
    assert (taken.span, taken.records) == (4, 3)
    assert taken.outcomes == {"dropped: cannot be encoded": 1}
    assert taken.trouble == "RecursionError: too deep"


# several lines


def stitched(*contents, last=True, **more):
    return take(lines_of(*contents), last=last, multiline_start=r"^\S", **more)


def test_lines_that_go_on_are_joined():
    """One event, one id, the weight of all its records."""
    taken = stitched("Traceback:\n", "  File a\n", "  File b\n", "ValueError: x\n", "next\n")
    assert texts(taken) == ["Traceback:\n  File a\n  File b", "ValueError: x", "next"]
    assert [line.weight for line in taken.lines] == [3, 1, 1]
    assert (taken.records, taken.span) == (5, 5)


def test_the_end_of_a_request_closes_an_event():
    """``platform.runtimeDone``, or a line of another request; without it more may come, and what is open waits."""
    given = [*lines_of("a", " b"), record({}, "platform.runtimeDone", 2)]
    assert texts(take(given, last=False, multiline_start=r"^\S")) == ["a\n b", "{}"]
    other = [*lines_of("a", " b"), record(" c", index=2, request=records.Request("other", "", False))]
    assert texts(take(other, last=False, multiline_start=r"^\S")) == ["a\n b"]
    waiting = stitched("x", "a", " b", last=False)
    assert (texts(waiting), waiting.span) == (["x"], 1)
    assert texts(stitched("x", "a", " b")) == ["x", "a\n b"]


def test_an_event_has_limits():
    """In lines and in bytes: something that never begins anew does not grow for ever."""
    taken = stitched("a", *[" b"] * 1_200)
    assert [line.weight for line in taken.lines] == [500, 500, 201]
    taken = stitched("a", *[" " + "b" * 400] * 9, max_line=2_048)
    assert [line.weight for line in taken.lines] == [5, 4, 1]
    assert all(len(line.message) <= 2_048 for line in taken.lines)


def test_objects_are_not_joined():
    """What is logged as JSON is whole."""
    assert [line.weight for line in stitched({"a": 1}, " b", {"c": 2}).lines] == [1, 1, 1]


def test_redaction_sees_the_whole_event():
    """A key that is logged in three lines is one secret."""
    key = [
        "-----BEGIN PRIVATE KEY-----\n",
        "  MIIEvQIBADANBgkqhkiG9w0\n",
        "  AQEFAASC\n",
        "  -----END PRIVATE KEY-----\n",
    ]
    taken = stitched(*key, redact=Redactor().redact)
    assert texts(taken) == ["[REDACTED]"]


def test_a_key_that_is_logged_line_by_line():
    """Without stitching the lines after its first tell nothing by themselves; they are known by what came before."""
    key = [
        "-----BEGIN RSA PRIVATE KEY-----",
        "MIIEvQIBADANBgkqhkiG9w0",
        "AQEFAASC==",
        "-----END RSA PRIVATE KEY-----",
        "abc",
    ]
    assert texts(take(lines_of(*key), redact=Redactor().redact)) == ["[REDACTED]"] * 3 + [key[3], "abc"]
    certificate = ["-----BEGIN CERTIFICATE-----", "MIIEvQIBADANBgkqhkiG9w0"]
    assert texts(take(lines_of(*certificate), redact=Redactor().redact)) == certificate


KEY = [
    "-----BEGIN RSA PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC,0123", "", "MIIEvQIBADANBgkq",
    "", "[INFO]\tx\tw0AQEFAASCBKcwggS", "served 12 orders", "abc", "AASC", "-----END RSA PRIVATE KEY-----",
    "AAAAAAAAAAAAAAAA",
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        (KEY, {0, 4, 6, 9}),
        (["-----BEGIN PGP PRIVATE KEY BLOCK-----", "Version: GnuPG v2", "Comment: mine", "", "lQOYBFx7vQEBCADANBgk",
          "=njUN", "-----END PGP PRIVATE KEY BLOCK-----", "done"], {0, 4}),
        (["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkq", "AASC-----END PRIVATE KEY-----", "AASC"], {0, 1, 2}),
        ([{"message": "-----BEGIN PRIVATE KEY-----"}, {"level": "INFO", "message": "MIIEvQIBADANBgkq"}, {"n": 1}, 17], {0, 1}),
        (["-----BEGIN PRIVATE KEY-----", *["no part of it"] * 200, "MIIEvQIBADANBgkq"], {0}),
        (["-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkq"], {0, 1}),
    ],
)  # fmt: skip
def test_a_key_goes_on_over_what_is_no_part_of_it(key, secret):
    """Until its last line, or for so many lines; what cannot be a part of it passes."""
    given = lines_of(*key)
    shown = [line.message.decode() for line in take(given, redact=Redactor().redact).lines]
    untouched = [Line(one, "s").message.decode() for one in given]
    assert [at for at, text in enumerate(shown) if "[REDACTED]" in text] == sorted(secret)
    assert [text for text in shown if "[REDACTED]" not in text] == [
        text for at, text in enumerate(untouched) if at not in secret
    ]


def test_a_key_between_the_lines_of_another_request():
    """On instances that serve several at a time."""
    other = records.Request("other", "", False)
    given = [
        record("-----BEGIN PRIVATE KEY-----"),
        record("of another", index=1, request=other),
        record("MIIEvQIBADANBgkq", index=2),
    ]
    assert texts(take(given, redact=Redactor().redact)) == ["[REDACTED]", "of another", "[REDACTED]"]


@pytest.mark.parametrize("name", ["requestId", "AWSRequestId"])
def test_a_request_id_of_the_functions_own(name):
    """Is what redaction has left of it; the platform's comes first, and what is as long as a text is no id."""

    def of(value, request=records.NO_REQUEST):
        (line,) = take([record({name: value}, request=request)], redact=Redactor().redact).lines
        return line.request_id

    assert of("8476a536") == "8476a536"
    assert of("password=hunter2") == "password=[REDACTED]"
    assert of("password=hunter2", REQUEST) == REQUEST.request_id
    assert of("x" * 65) == ""
    assert of(17) == ""
    (line,) = take([record(json.dumps({name: "a"}), request=records.NO_REQUEST)]).lines
    assert line.request_id == "a"
    (line,) = take([record("a", request=records.NO_REQUEST)]).lines
    assert line.request_id == ""


# what every line gets


def test_a_long_line_is_cut_and_says_so():
    """With how much is missing; in any alphabet it fits."""
    for text in ("x" * 5_000, "\u6f22" * 5_000, '"' * 5_000, "\x00" * 5_000):
        taken = take(lines_of(text), max_line=1_024)
        (line,) = taken.lines
        assert len(line.message) <= 1_024
        kept, _, note = line.text.partition("... [")
        assert text.startswith(kept)
        assert note == f"{5_000 - len(kept)} characters cut]"
        assert len(line.message) > 900


def test_what_a_strict_receiver_would_refuse_is_mended():
    """Half of a surrogate pair, and bytes that are no UTF-8: the line comes, with a mark in their place."""
    half = b'{"time":"2026-11-23T08:00:00.000Z","type":"function","record":"a \\ud800 b"}'
    wrong = b'{"time":"2026-11-23T08:00:00.000Z","type":"function","record":"a \xff b"}'
    taken = take([records.make(half, REQUEST, 1, 0), records.make(wrong, REQUEST, 1, 1)])
    assert texts(taken) == ["a \ufffd b"] * 2
    pair = b'{"time":"2026-11-23T08:00:00.000Z","type":"function","record":"a \\ud83d\\ude00 b"}'
    assert texts(take([records.make(pair, REQUEST, 1, 0)])) == ["a \U0001f600 b"]


def test_notices_of_the_kit_are_lines_that_nobody_has_sent():
    """They go out, with ids of their own, and are in no sum."""
    notices = [records.notice("dropped", 1_795_420_800_000, droppedRecords=n, reason="spool full") for n in (1, 2)]
    taken = take([*notices, record("x")])
    assert (taken.records, taken.span, [line.weight for line in taken.lines]) == (1, 3, [0, 0, 1])
    assert len({line.id for line in taken.lines}) == 3
    assert take(notices, types=("function",)).records == 0


def test_as_much_as_is_wanted():
    """By lines, and by bytes."""
    pipeline = Pipeline(ShipperSettings(), "log-shipper", None, lambda: "s")
    given = lines_of(*["x" * 100] * 50)
    assert pipeline.take(given, 0, 7, 1_000_000, True).span == 7
    assert pipeline.take(given, 45, 7, 1_000_000, True).span == 5
    assert 4 <= pipeline.take(given, 0, 100, 1_000, True).span <= 6


def test_tags():
    """Pairs; anything else is left out."""
    assert tags_of(("a=b", " c = d=e ", "=x", "y", "z=")) == {"a": "b", "c": "d=e", "z": ""}


CONTENTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["[ERROR] x", " goes on", "password=x"]),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
KINDS = st.sampled_from(
    ["function", "function", "function", "extension", "platform.start", "platform.runtimeDone", "platform.report"]
)
SETTINGS = st.fixed_dictionaries({}, optional={
    "types": st.sampled_from([("function",), ("function", "platform"), ("platform.report",), ("extension",)]),
    "min_level": st.sampled_from(["all", "info", "error"]), "include": st.sampled_from(["", "e"]),
    "exclude": st.sampled_from(["", "x"]), "sample": st.sampled_from([0.0, 0.5, 1.0]), "rate_limit": st.integers(0, 5),
    "multiline_start": st.sampled_from(["", r"^\S"]), "max_line": st.just(1_024),
})  # fmt: skip


@given(st.lists(st.tuples(CONTENTS, KINDS, st.integers(0, 2)), max_size=40), SETTINGS, st.integers(1, 9))
@settings(deadline=None)
def test_every_record_is_counted_once(given, settings, most):
    """In a line or in an outcome, whatever the settings, however it is cut into batches."""
    requests = [records.Request(f"r{number}", "", False) for number in range(3)]
    made = [record(content, kind, index, requests[whose]) for index, (content, kind, whose) in enumerate(given)]
    pipeline = Pipeline(ShipperSettings(**settings), "log-shipper", Redactor().redact, lambda: "s")
    at, ids = 0, []
    while at < len(made):
        taken = pipeline.take(made, at, most, 10_000, True)
        assert taken.span > 0
        assert taken.records == taken.span == sum(line.weight for line in taken.lines) + sum(taken.outcomes.values())
        for line in taken.lines:
            json.loads(line.message)
            assert line.level in ("", *LEVELS)
        ids += [line.id for line in taken.lines]
        at += taken.span
    assert len(set(ids)) == len(ids)


@given(st.sampled_from(["platform.report", "platform.x", "platform.", "function"]), CONTENTS, st.text(max_size=30))
def test_what_is_cut_out_is_what_would_be_read(kind, content, time):
    """The platform's own events are not decoded for their content."""
    time = time if kind != "function" else NOW  # the platform's, and a line of a function has it always
    for one in (record(content, kind, time=NOW), record({"a": content}, kind, time=time), record({"a": {}}, kind)):
        line = Line(one, "s")
        assert (line.time, line.type) == (one.time, one.type)
        assert json.loads(line.message) == one.content
