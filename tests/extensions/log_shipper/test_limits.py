"""What a service takes at a time: batches are split before it would refuse them, and one large line spoils no other."""

from __future__ import annotations

import base64
import json

import pytest

from extension_kit import records
from extension_kit.delivery import Delivery
from extension_kit.io.clock import Clock
from extension_kit.protocol.deadline import Deadline
from extensions.log_shipper.pipeline import Pipeline
from extensions.log_shipper.redact import Redactor
from extensions.log_shipper.settings import ShipperSettings
from extensions.log_shipper.shipper import _parcels
from extensions.log_shipper.sinks import amazon
from extensions.log_shipper.sinks.make import make
from tests.extensions.log_shipper.test_sinks import NOW, ORIGIN, SERVICES, Otlp

CLOCK = Clock()
REQUEST = records.Request("8476a536-e9f4-11e8-9739-2dfe598c3fcd", "", False)


def record(text, index):
    raw = json.dumps({"time": NOW, "type": "function", "record": text}, separators=(",", ":")).encode()
    return records.make(raw, REQUEST, 1, index)


#: 3 MB: small lines by the thousand, one that is larger than any service takes, one that is all escapes
GIVEN = [record(f"[INFO] line {number} {'x' * 800}", number) for number in range(3_000)]
GIVEN += [record("y" * 3_000_000, 3_000), record('\x01\u6f22"' * 200_000, 3_001), record("the last one", 3_002)]


def ship(sink, **settings):
    """Everything, through the pipeline and the limits of `sink`; what the delivery says at the end."""
    pipeline = Pipeline(ShipperSettings(max_line=1_048_576, **settings), "log-shipper", None, lambda: "cafe")
    delivery = Delivery(sink.send, CLOCK)
    at = 0
    while at < len(GIVEN):
        taken = pipeline.take(GIVEN, at, sink.most_lines, sink.most_bytes, True)
        at += taken.span
        for parcel in _parcels(sink, taken):
            delivery.add(parcel)
    assert delivery.pending == len(GIVEN)
    assert delivery.deliver(Deadline(CLOCK.wall_ms() + 60_000, CLOCK.wall_ms))
    assert delivery.pending == 0
    return delivery.outcomes


@pytest.mark.parametrize("name", [*SERVICES, "otlp"])
def test_a_service_refuses_nothing(name):
    """Every request is within its limits; the oversized lines come cut."""
    made, settings = SERVICES.get(name, (Otlp, {}))
    with made() as running:
        outcomes = ship(make(ShipperSettings(sink=name, endpoint=running.url, **settings), ORIGIN, CLOCK))
        assert running.refused == []
        assert outcomes == {}
        if name != "otlp":
            assert len(running.accepted) == len(GIVEN)
            assert "characters cut" in json.dumps(running.accepted[3_000])
            assert "the last one" in json.dumps(running.accepted[3_002])
        else:
            assert sum(len(request.resource_logs[0].scope_logs[0].log_records) for request in running.accepted) == len(
                GIVEN
            )


def test_less_than_the_service_would_take():
    """By a setting; never more."""
    made, _settings = SERVICES["http"]
    with made() as running:
        ship(make(ShipperSettings(sink="http", endpoint=running.url, batch_lines=100, compress="none"), ORIGIN, CLOCK))
        assert len(running.requests) >= 31
        one = make(
            ShipperSettings(sink="datadog", api_key="x", batch_lines=100_000, batch_bytes=16_777_216), ORIGIN, CLOCK
        )
    assert (one.most_lines, one.most_bytes) == (1_000, 4_900_000)


@pytest.mark.parametrize("name", [*SERVICES, "otlp"])
def test_the_smallest_requests_lose_no_line(name):
    """A line that is larger than a request may be is cut."""
    made, settings = SERVICES.get(name, (Otlp, {}))
    with made() as running:
        one = make(ShipperSettings(sink=name, endpoint=running.url, batch_bytes=16_384, **settings), ORIGIN, CLOCK)
        assert one.most_item_bytes + one.overhead <= one.most_bytes == 16_384
        assert ship(one) == {}
        assert running.refused == []


class Asked:
    """In the place of AWS's client: keeps what was asked."""

    def __init__(self):
        self.bodies = []

    def call(self, _service, _operation, body, **_more):
        self.bodies.append(body)
        return {}


@pytest.mark.parametrize(
    ("kind", "most_bytes", "most_records", "most_each", "key"),
    [
        (amazon.CloudWatchSink, 1_048_576, 10_000, 262_144, "logEvents"),
        (amazon.FirehoseSink, 4_194_304, 500, 1_024_000, "Records"),
        (amazon.KinesisSink, 5_242_880, 500, 1_048_576, "Records"),
    ],
)
def test_what_aws_takes_at_a_time(kind, most_bytes, most_records, most_each, key):
    """As the services count: CloudWatch 26 bytes for each event, Firehose and Kinesis the data before it is encoded."""
    sink = kind(ShipperSettings(sink="http", target="group:stream"), ORIGIN, {"AWS_REGION": "eu-west-1"}, CLOCK)
    sink.aws, sink._made = Asked(), True
    assert ship(sink) == {}
    total = 0
    for body in sink.aws.bodies:
        found = json.loads(body)[key]
        sizes = [
            len(one["message"].encode()) + 26 if "message" in one else len(base64.b64decode(one["Data"]))
            for one in found
        ]
        assert len(found) <= most_records
        assert sum(sizes) <= most_bytes
        assert max(sizes) <= most_each
        total += len(found)
    assert total == len(GIVEN)


def test_objects_in_s3_are_not_too_large(monkeypatch):
    """A few megabytes each, before they are compressed."""
    sizes = []
    monkeypatch.setattr(
        amazon, "put_lines", lambda _aws, _bucket, _key, lines, _until: sizes.append(sum(map(len, lines)))
    )
    sink = amazon.S3Sink(ShipperSettings(sink="s3", target="b"), ORIGIN, {"AWS_REGION": "eu-west-1"}, CLOCK)
    assert ship(sink) == {}
    assert max(sizes) <= 4_000_000
    assert sum(sizes) > 3_000_000


NASTY = [
    "[" * 90_000,
    "[" * 600 + "]" * 600, '{"a":' * 600 + "1" + "}" * 600, "\ud800 half", '{"a":"\\ud800"}', '{"n":NaN,"i":1e999}',
    "\x00\x01", '{"password":NaN}', "9" * 5_000, '{"n":' + "9" * 4_000 + "}", '{"":{"":[null,[],{}]}}',
]  # fmt: skip
ODD_TIMES = ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "", "yesterday"]


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("name", [*SERVICES, "otlp"])
def test_no_line_costs_another(name, encoding):
    """Deep, endless, of another time, no Unicode: each is taken or counted, and the ones beside it arrive."""
    contents = [*NASTY, *[json.loads(text) for text in NASTY[1:3]], *["time"] * len(ODD_TIMES)]
    times = [NOW] * (len(contents) - len(ODD_TIMES)) + ODD_TIMES
    given = [odd(content, time, 2 * index) for index, (content, time) in enumerate(zip(contents, times, strict=True))]
    given += [record("good", 2 * index + 1) for index in range(len(given))]
    made, settings = SERVICES.get(name, (Otlp, {}))
    with made() as running:
        sink = make(ShipperSettings(sink=name, endpoint=running.url, encoding=encoding, **settings), ORIGIN, CLOCK)
        pipeline = Pipeline(ShipperSettings(), "log-shipper", Redactor().redact, lambda: "cafe")
        delivery = Delivery(sink.send, CLOCK)
        taken = pipeline.take(given, 0, 1_000, 10_000_000, True)
        for parcel in _parcels(sink, taken):
            delivery.add(parcel)
        assert delivery.pending == len(given) == taken.span
        assert delivery.deliver(Deadline(CLOCK.wall_ms() + 60_000, CLOCK.wall_ms))
        assert running.refused == []
        assert delivery.outcomes.keys() <= {"dropped: cannot be encoded"}
        lost = sum(delivery.outcomes.values())
        assert lost <= len(given) // 4, taken.trouble
        if name != "otlp":
            assert len(running.accepted) == len(given) - lost


def odd(content, time, index):
    """As ``json`` writes it, however odd; deeper than that would let it."""
    written = json.dumps(content) if isinstance(content, str) else NASTY[1 if isinstance(content, list) else 2]
    raw = b'{"time":%b,"type":"function","record":%b}' % (json.dumps(time).encode(), written.encode())
    return records.make(raw, REQUEST, 1, index)


def test_a_line_that_a_sink_cannot_write_is_counted(monkeypatch):
    """The others of its batch go on their way."""
    with Otlp() as running:
        sink = make(ShipperSettings(sink="otlp", endpoint=running.url), ORIGIN, CLOCK)
        encode = sink.encode
        monkeypatch.setattr(sink, "encode", lambda line: 1 / 0 if line.text == "bad" else encode(line))
        taken = Pipeline(ShipperSettings(), "log-shipper", None, lambda: "s").take(
            [record("one", 0), record("bad", 1), record("two", 2)], 0, 100, 10_000, True
        )
        (parcel,) = _parcels(sink, taken)
        assert (parcel.records, len(parcel.items), parcel.outcomes) == (3, 2, {"dropped: cannot be encoded": 1})
        assert taken.trouble == "ZeroDivisionError: division by zero"
