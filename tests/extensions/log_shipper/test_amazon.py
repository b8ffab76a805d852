"""CloudWatch Logs, Firehose, Kinesis, S3 and the keys in Secrets Manager and Parameter Store, against moto; what moto cannot do
is played by a transport that answers as the documentation says.
"""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extension_kit import records
from extension_kit.aws import AwsError
from extension_kit.aws.objects import get_object
from extension_kit.delivery import AGAIN, DELIVERED, REFUSED, TOO_LARGE
from extension_kit.io.clock import Clock
from extensions.log_shipper.dead_letters import DeadLetters
from extensions.log_shipper.keys import Key
from extensions.log_shipper.pipeline import Pipeline
from extensions.log_shipper.settings import ShipperSettings
from extensions.log_shipper.shipper import _parcels
from extensions.log_shipper.sinks import make as making
from extensions.log_shipper.sinks.amazon import CloudWatchSink, FirehoseSink, KinesisSink, S3Sink
from tests.extensions.log_shipper.test_sinks import NOW, OBJECT, ORIGIN, line, send
from tests.receivers.collector import Collector, Fault

CLOCK = Clock()


def sink(kind, environ, target, origin=ORIGIN, **settings):
    classes = {"cloudwatch": CloudWatchSink, "firehose": FirehoseSink, "kinesis": KinesisSink, "s3": S3Sink}
    return classes[kind](ShipperSettings(sink=kind, target=target, **settings), origin, environ, CLOCK)


def recent(*contents):
    """Lines of now: CloudWatch takes nothing that is old."""
    from extension_kit.protocol.timestamps import format_ms

    now = CLOCK.wall_ms()
    return [line(content, index=index, time=format_ms(now + 1_000 * index)) for index, content in enumerate(contents)]


def test_cloudwatch(environ, ask):
    """In the order of their times, whatever order they came in; the stream is made."""
    ask("logs").create_log_group(logGroupName="shop")
    one = sink("cloudwatch", environ, "shop:mine")
    lines = recent("first\n", OBJECT, "caf\u00e9", "")
    verdict = send(one, *reversed(lines))
    assert (verdict.kind, verdict.why) == (DELIVERED, "")
    assert send(one, *recent("more")).kind == DELIVERED
    events = ask("logs").get_log_events(logGroupName="shop", logStreamName="mine", startFromHead=True)["events"]
    wanted = ["first", json.dumps(OBJECT, separators=(",", ":")), "caf\u00e9", " ", "more"]
    assert sorted(event["message"] for event in events) == sorted(wanted)
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)


def test_cloudwatch_without_its_group(environ):
    """The operator's to mend: the lines wait."""
    verdict = send(sink("cloudwatch", environ, "nowhere"), *recent("x"))
    assert verdict.kind == AGAIN
    assert "ResourceNotFoundException" in verdict.why


def test_firehose(environ, ask):
    """One record a line, with a line end, as the object in S3 shows them."""
    s3 = ask("s3")
    s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    ask("firehose").create_delivery_stream(
        DeliveryStreamName="lines",
        ExtendedS3DestinationConfiguration={"RoleARN": "arn:aws:iam::1:role/r", "BucketARN": "arn:aws:s3:::lake"},
    )
    assert send(sink("firehose", environ, "lines"), line(), line(OBJECT, index=1)).kind == DELIVERED
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket="lake")["Contents"]]
    stored = b"".join(s3.get_object(Bucket="lake", Key=key)["Body"].read() for key in keys)
    assert [json.loads(text)["record"] for text in stored.splitlines()] == ["hello", OBJECT]


def test_kinesis(environ, ask):
    """Spread by a key that is the same for a line that comes again."""
    kinesis = ask("kinesis")
    kinesis.create_stream(StreamName="lines", ShardCount=1)
    one = sink("kinesis", environ, "lines")
    assert send(one, line(), line("two", index=1)).kind == DELIVERED
    assert send(one, line()).kind == DELIVERED
    (shard,) = kinesis.list_shards(StreamName="lines")["Shards"]
    iterator = kinesis.get_shard_iterator(
        StreamName="lines", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )
    records = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [json.loads(record["Data"])["record"] for record in records] == ["hello", "two", "hello"]
    assert records[0]["PartitionKey"] == records[2]["PartitionKey"] != records[1]["PartitionKey"]


def test_s3_stores_a_batch_once(environ, ask):
    """However often it is sent: its name follows from what is in it."""
    s3 = ask("s3")
    s3.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    one = sink("s3", environ, "archive/logs")
    for _ in range(2):
        assert send(one, line(), line("two", index=1)).kind == DELIVERED
    (stored,) = s3.list_objects_v2(Bucket="archive")["Contents"]
    assert stored["Key"] == "logs/shop/2026/11/23/08/cafe-3-0-1.ndjson.gz"
    body = s3.get_object(Bucket="archive", Key=stored["Key"])["Body"].read()
    assert [json.loads(text)["record"] for text in gzip.decompress(body).splitlines()] == ["hello", "two"]
    assert send(sink("s3", environ, "no-such-bucket"), line()).kind == AGAIN


def test_s3_names_an_object_by_its_first_line_and_its_last(monkeypatch):
    """A shorter one must not take the place of a longer one, whose lines are told to be stored."""
    keys = []
    monkeypatch.setattr("extensions.log_shipper.sinks.amazon.put_lines", lambda *put: keys.append(put[2]))
    one = sink("s3", {"AWS_REGION": "eu-west-1"}, "archive")
    send(one, line(), line("two", index=1))
    send(one, line())
    assert keys == ["shop/2026/11/23/08/cafe-3-0-1.ndjson.gz", "shop/2026/11/23/08/cafe-3-0-0.ndjson.gz"]
    assert one.whole_batches
    assert not CloudWatchSink.whole_batches


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.lists(st.integers(1, 50), min_size=12, max_size=12))
@settings(deadline=None)
def test_s3_cuts_in_the_same_places_however_much_is_taken_at_a_time(batches, most):
    """What an extension that was killed had sent is sent again under the same names, so it is there once."""
    one = sink("s3", {"AWS_REGION": "eu-west-1"}, "archive")
    one.most_bytes = 2_000
    raw = b'{"time":"2026-11-23T08:00:00.700Z","type":"function","record":"%b"}' % (b"x" * 100)
    made = [
        records.make(raw, records.NO_REQUEST, batch, index)
        for batch, lines in enumerate(batches, 1)
        for index in range(lines)
    ]

    def names(numbers):
        found, at, pipeline = [], 0, Pipeline(ShipperSettings(), "log-shipper", None, lambda: "cafe")
        for number in [*numbers, *[1_000] * len(made)]:
            if at == len(made):
                break
            taken = pipeline.take(made, at, number, one.most_bytes, True, whole_batches=True)
            found += [(parcel.items[0].id, parcel.items[-1].id) for parcel in _parcels(one, taken) if parcel.items]
            at += taken.span
        return found

    assert names(most) == names([1_000_000])


# what the services answer when not all is well


class Answers:
    """In the place of the client: answers, or raises, what a test says."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def call(self, _service, operation, body, **_more):
        self.asked.append((operation, json.loads(body)))
        answer = self.answers.pop(0)
        if isinstance(answer, AwsError):
            raise answer
        return answer


def answered(kind, *answers):
    one = sink(kind, {"AWS_REGION": "eu-west-1"}, "target:stream" if kind == "cloudwatch" else "target")
    one.aws = Answers(*answers)
    one._made = True
    return one


@pytest.mark.parametrize(
    ("kind", "count", "each"),
    [("firehose", "FailedPutCount", "RequestResponses"), ("kinesis", "FailedRecordCount", "Records")],
)
def test_only_what_failed_is_sent_again(kind, count, each):
    """200 with failures inside."""
    some = {count: 1, each: [{"RecordId": "1"}, {"ErrorCode": "ServiceUnavailableException"}, {"RecordId": "3"}]}
    verdict = send(answered(kind, some), line(), line(index=1), line(index=2))
    assert (verdict.kind, verdict.again, verdict.why) == (
        DELIVERED,
        (1,),
        "a record was answered ServiceUnavailableException",
    )
    assert send(answered(kind, {count: 1, each: []}), line()).kind == AGAIN
    assert send(answered(kind, {count: 1}), line()).kind == AGAIN


def test_what_cloudwatch_rejects_is_lost_and_counted():
    """Too old, expired, too new, by the indexes that it gives."""
    info = {
        "rejectedLogEventsInfo": {
            "tooOldLogEventEndIndex": 1,
            "expiredLogEventEndIndex": 2,
            "tooNewLogEventStartIndex": 4,
        }
    }
    lines = [line(index=number, time=f"2026-11-23T08:00:0{number}.000Z") for number in range(5)]
    verdict = send(answered("cloudwatch", info), *reversed(lines))
    assert verdict.kind == DELIVERED
    assert verdict.lost == {"too old for CloudWatch": [4, 3], "too new for CloudWatch": [0]}


def test_cloudwatch_takes_no_more_than_a_day_at_a_time():
    """What is later goes with the next request."""
    one = answered("cloudwatch", {}, {})
    verdict = send(
        one, line(), line(index=1, time="2026-11-24T08:00:00.699Z"), line(index=2, time="2026-11-24T08:00:00.700Z")
    )
    assert verdict.again == (2,)
    assert [event["timestamp"] for event in one.aws.asked[0][1]["logEvents"]] == [1_795_420_800_700, 1_795_507_200_699]


def test_what_cloudwatch_has_already_is_delivered():
    """The answer of an earlier try was lost."""
    assert send(answered("cloudwatch", AwsError("DataAlreadyAcceptedException", "")), line()).kind == DELIVERED


@pytest.mark.parametrize("kind", ["cloudwatch", "firehose", "kinesis"])
@pytest.mark.parametrize(
    ("code", "status", "verdict"),
    [
        ("ThrottlingException", 400, AGAIN), ("ServiceUnavailableException", 503, AGAIN), ("NetworkError", 0, AGAIN),
        ("TimeoutError", 0, AGAIN), ("AccessDeniedException", 400, AGAIN), ("ExpiredTokenException", 400, AGAIN),
        ("ResourceNotFoundException", 400, AGAIN), ("InvalidParameterException", 400, REFUSED),
        ("RequestEntityTooLarge", 413, TOO_LARGE),
    ],
)  # fmt: skip
def test_what_each_error_means(kind, code, status, verdict):
    """By its code: AWS throttles with 400."""
    found = send(answered(kind, AwsError(code, "said", status=status, retry_after=3.0)), line())
    assert found.kind == verdict
    assert code in found.why


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("PermanentRedirect", 301), ("TemporaryRedirect", 307), ("AuthorizationHeaderMalformed", 400),
        ("InvalidAccessKeyId", 403), ("InvalidToken", 400), ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403),
        ("UnrecognizedClientException", 400), ("ExpiredToken", 400), ("KMSAccessDeniedException", 400),
        ("KMSThrottlingException", 400), ("KMS.DisabledException", 400), ("InvalidKMSResourceException", 400),
        ("OperationAborted", 409), ("OperationAbortedException", 400), ("ResourceInUseException", 400),
        ("AccessDeniedForSomeReason", 400), ("AllAccessDisabled", 403), ("Http401", 401), ("NoSuchBucket", 404),
        ("BadEndpoint", 0),
    ],
)  # fmt: skip
def test_what_is_the_operators_to_mend_costs_no_line(code, status):
    """Keys, permissions, names, regions, KMS, and what somebody else is just doing: the lines wait."""
    assert send(answered("kinesis", AwsError(code, "said", status=status)), line()).kind == AGAIN


def test_batches_are_within_the_services_limits():
    """500 records; CloudWatch's own way of counting bytes."""
    assert (FirehoseSink.most_lines, KinesisSink.most_lines, CloudWatchSink.most_lines) == (500, 500, 10_000)
    one = answered("cloudwatch")
    assert len(one.encode(line("caf\u00e9"))) == 5
    assert CloudWatchSink.most_bytes + CloudWatchSink.overhead <= 1_048_576
    assert making._OF_AWS.keys() == making._TARGETS.keys()


# keys


def test_keys_in_secrets_manager_and_parameter_store(environ, ask):
    """By name, by ARN, one field of an object; fetched once."""
    manager, ssm = ask("secretsmanager"), ask("ssm")
    arn = manager.create_secret(Name="dd", SecretString="plain-key")["ARN"]
    manager.create_secret(Name="both", SecretString='{"api":"field-key","n":1}')
    ssm.put_parameter(Name="/dd/key", Value="parameter-key", Type="SecureString")
    for written, value in [("secretsmanager:dd", "plain-key"), (f"secretsmanager:{arn}", "plain-key"), (arn, "plain-key"),
                           ("secretsmanager:both#api", "field-key"), ("ssm:/dd/key", "parameter-key"),
                           ("it-is-the-key", "it-is-the-key"), ("", "")]:  # fmt: skip
        key = Key(written, environ, CLOCK)
        assert key.value(5.0) == value, written
    manager.put_secret_value(SecretId="dd", SecretString="new-key")
    key = Key("secretsmanager:dd", environ, CLOCK)
    assert (key.value(5.0), key.hide("bad new-key!")) == ("new-key", "bad (key)!")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("secretsmanager:absent", "its key absent cannot be fetched: ResourceNotFoundException"),
        ("ssm:/absent", "its key /absent cannot be fetched: ParameterNotFound"),
        ("secretsmanager:both2#other", "its key both2 cannot be used: there is no field other in it"),
        ("secretsmanager:both2#n", "there is no field n in it"),
        ("secretsmanager:text#n", "there is no field n in it"),
    ],
)
def test_a_key_that_cannot_be_had(environ, ask, written, said):
    """An OSError, so that the lines wait; what it would be is in no message."""
    for name, value in (("both2", '{"api":"s3cr3t","n":1}'), ("text", "s3cr3t")):
        try:
            ask("secretsmanager").create_secret(Name=name, SecretString=value)
        except ask("secretsmanager").exceptions.ResourceExistsException:
            pass
    with pytest.raises(OSError, match=said) as caught:
        Key(written, environ, CLOCK).value(5.0)
    assert "s3cr3t" not in str(caught.value)


class Later(Clock):
    """Ahead of the real one by ``ahead`` milliseconds."""

    ahead = 0

    def wall_ms(self):
        return super().wall_ms() + self.ahead


def test_a_key_that_was_refused_is_fetched_anew(environ, ask):
    """But not at every try."""

    manager, clock = ask("secretsmanager"), Later()
    manager.create_secret(Name="rotates", SecretString="old")
    key = Key("secretsmanager:rotates", environ, clock)
    assert key.value(5.0) == "old"
    manager.put_secret_value(SecretId="rotates", SecretString="new")
    assert key.value(5.0) == "old"
    key.refused()
    assert key.value(5.0) == "old", "half a minute is not over"
    clock.ahead = 31_000
    assert key.value(5.0) == "new"


def test_a_key_serves_on_while_nobody_can_be_asked_for_it(environ, ask):
    """Half a minute each time, and half of an exchange at most; what is no outage is told."""
    ask("secretsmanager").create_secret(Name="serves", SecretString="old")
    clock, asked = Later(), []
    key = Key("secretsmanager:serves", environ, clock)
    assert key.value(5.0) == "old"
    answers = Answers(AwsError("TimeoutError", ""), AwsError("ThrottlingException", ""), {"SecretString": "new"})
    key._aws = answers
    answers.call = lambda *call, **more: asked.append(more["deadline_ms"]) or Answers.call(answers, *call[:2], b"{}")
    clock.ahead = 3_601_000
    before = clock.wall_ms()
    assert key.value(60.0) == "old"
    assert asked[0] < before + 60_000
    assert (key.value(5.0), len(asked)) == ("old", 1)
    clock.ahead += 31_000
    assert (key.value(5.0), len(asked)) == ("old", 2)
    clock.ahead += 31_000
    assert (key.value(5.0), len(asked)) == ("new", 3)
    key.refused()
    clock.ahead += 31_000
    answers.answers = [AwsError("ResourceNotFoundException", "")]
    with pytest.raises(OSError, match="ResourceNotFoundException"):
        key.value(5.0)


def test_a_key_that_was_never_had(environ):
    """There is none to serve on."""
    key = Key("secretsmanager:x", environ, CLOCK)
    key._aws = Answers(AwsError("TimeoutError", "no answer"))
    key._aws.call = lambda *call, **_more: Answers.call(key._aws, *call[:2], b"{}")
    with pytest.raises(OSError, match="its key x cannot be fetched: TimeoutError"):
        key.value(5.0)


def test_a_stream_is_made_in_the_time_of_its_lines(monkeypatch):
    """The two requests of CloudWatch's first exchange share it."""
    now, left = [100.0], []
    monkeypatch.setattr("extensions.log_shipper.sinks.amazon.monotonic", lambda: now[0])
    one = sink("cloudwatch", {"AWS_REGION": "eu-west-1"}, "group:stream")

    class Slow:
        def call(self, *_call, timeout, **_more):
            left.append(timeout)
            now[0] += 3.0
            return {}

    one.aws = Slow()
    assert send(one, line()).kind == DELIVERED
    assert left == [5.0, 2.0]
    one._made = False
    one.aws.call = lambda *_call, **_more: now.__setitem__(0, now[0] + 6.0) or {}
    verdict = send(one, line())
    assert (verdict.kind, verdict.why) == (AGAIN, "answers TimeoutError: no time is left to ask AWS")


def test_a_wrong_key_leads_to_another(environ, ask, monkeypatch):
    """Through the sink: 403, fetched anew, accepted."""
    ask("secretsmanager").create_secret(Name="for-http", SecretString="the-key")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with Collector() as running:
        settings = ShipperSettings(
            sink="http", endpoint=running.url, api_key="secretsmanager:for-http", headers=("X-Key={api_key}",)
        )
        one = making.make(settings, ORIGIN, CLOCK)
        running.faults = [Fault(status=403)]
        refused = []
        monkeypatch.setattr(one.key, "refused", lambda: refused.append(1))
        assert send(one, line()).kind == AGAIN
        assert refused == [1]
        assert send(one, line()).kind == DELIVERED
    assert running.requests[0][1]["x-key"] == "the-key"


# dead letters


def test_dead_letters_in_a_file(tmp_path):
    """Each with the sink's name and the reason, as a value that can be read again."""
    path = tmp_path / "dead.ndjson"
    dead = DeadLetters(f"file:{path}", "log-shipper.bulk", {}, CLOCK)
    assert dead.bury(
        [b'{"a":1}', b'{"create":{}}\n{"b":2}\n', b"\xff\x00", sink("s3", {}, "b").encode(line())], "refused with 400"
    )
    found = [json.loads(text) for text in path.read_text().splitlines()]
    assert [one["line"] if not isinstance(one["line"], dict) or "a" in one["line"] else one["line"]["id"] for one in found] == [
        {"a": 1}, '{"create":{}}\n{"b":2}\n', "base64:/wA=", "cafe-3-0"]  # fmt: skip
    assert {(one["sink"], one["reason"]) for one in found} == {("log-shipper.bulk", "refused with 400")}
    path.unlink()
    path.mkdir()
    assert not dead.bury([b"{}"], "x")
    assert dead.trouble == "dead letters cannot be kept: Is a directory"


def test_dead_letters_in_s3(environ, ask):
    """One object a burial."""
    s3 = ask("s3")
    s3.create_bucket(Bucket="graves", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    dead = DeadLetters("s3://graves/mine/", "log-shipper.loki", environ, CLOCK)
    assert dead.bury([b'{"a":1}', b'{"a":2}'], "the environment has ended")
    (stored,) = s3.list_objects_v2(Bucket="graves")["Contents"]
    assert stored["Key"].startswith("mine/log-shipper.loki/")
    lines = gzip.decompress(s3.get_object(Bucket="graves", Key=stored["Key"])["Body"].read()).splitlines()
    assert [json.loads(text)["line"] for text in lines] == [{"a": 1}, {"a": 2}]
    absent = DeadLetters("s3://nobody-has-this", "x", environ, CLOCK)
    assert not absent.bury([b"{}"], "x")
    assert "NoSuchBucket" in absent.trouble


def test_the_time_of_a_line_is_in_its_objects_name(environ, ask):
    """Also where it cannot be read; and an object can be got back."""
    ask("s3").create_bucket(Bucket="times", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    one = sink("s3", environ, "times")
    send(one, line(time=""))
    send(one, line(time=NOW))
    keys = [stored["Key"] for stored in ask("s3").list_objects_v2(Bucket="times")["Contents"]]
    assert keys == ["shop/2026/11/23/08/cafe-3-0-0.ndjson.gz", "shop/no-time/cafe-3-0-0.ndjson.gz"]
    assert json.loads(gzip.decompress(get_object(one.aws, "times", keys[0])))["time"] == NOW
    with pytest.raises(AwsError, match="NoSuchKey"):
        get_object(one.aws, "times", "no such & key")
