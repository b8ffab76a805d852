"""CloudWatch Logs, Firehose, Kinesis and S3, asked without the SDK.

Sources: CloudWatch Logs API reference, PutLogEvents (1,048,576 bytes with 26 for each event, 10,000 events, in the order of
their times, within 24 hours); Firehose, PutRecordBatch (500 records, 4 MiB); Kinesis, PutRecords (500 records, 5 MiB); S3,
PutObject. Firehose and Kinesis answer 200 for a request of which some records have failed: those are sent again.
"""

from __future__ import annotations

from time import monotonic

from extension_kit.aws import Aws, AwsError
from extension_kit.aws.objects import put_object
from extension_kit.aws.verdicts import verdict_of
from extension_kit.delivery import AGAIN, DELIVERED, Verdict
from extension_kit.outbound import gzipped
from extension_kit.protocol.jsontext import dumps
from extension_kit.protocol.timestamps import format_ms
from extensions.log_shipper.sinks.base import Sink
from extensions.log_shipper.sinks.generic import Envelopes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from extension_kit.io.clock import Clock
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["CloudWatchSink", "FirehoseSink", "KinesisSink", "S3Sink", "put_lines"]

_EVENT_OVERHEAD = 26  # bytes that CloudWatch counts for each event
_LONGEST_SPAN_MS = 24 * 3_600_000 - 1


class AmazonSink(Sink):
    """What the four share: the client, and what its errors mean."""

    def __init__(self, settings: ShipperSettings, origin: Origin, environ: Mapping[str, str], clock: Clock) -> None:
        super().__init__(settings, origin)
        self.clock = clock
        self.aws = Aws(environ, clock=clock, retries=1, connect_timeout=2.0, read_timeout=10.0)

    def ask(self, service: str, operation: str, body: bytes, seconds: float) -> dict[str, Any]:
        if seconds <= 0:
            raise AwsError("TimeoutError", "no time is left to ask AWS")
        return self.aws.call(
            service, operation, body, deadline_ms=self.clock.wall_ms() + int(seconds * 1000), timeout=seconds
        )

    def forget(self) -> None:
        self.aws.forget_connections()
        self.aws.forget_credentials()


class CloudWatchSink(AmazonSink):
    """``cloudwatch``; ``target``: ``log-group`` or ``log-group:stream``. The group must be there, the stream is made.

    An item is (epoch ms, the event as JSON).
    """

    most_lines = 10_000
    most_bytes = 1_000_000
    most_item_bytes = 256_000
    overhead = _EVENT_OVERHEAD

    def __init__(self, settings: ShipperSettings, origin: Origin, environ: Mapping[str, str], clock: Clock) -> None:
        super().__init__(settings, origin, environ, clock)
        group, _, stream = settings.target.partition(":")
        self._group = group
        day = format_ms(clock.wall_ms())[:10].replace("-", "/")
        self._stream = stream or f"{day}/[{origin.version or '$LATEST'}]{origin.instance}"
        self._made = False

    def encode(self, line: Line) -> Any:
        text = line.text
        at_ms = line.time_ms if line.time_ms is not None else self.clock.wall_ms()
        return _Event(
            at_ms, b'{"timestamp":%d,"message":%b}' % (at_ms, dumps(text or " ")), len(text.encode("utf-8", "replace"))
        )

    def send(self, items: list[Any], seconds: float) -> Verdict:
        # In the order of their times; only what lies within a day of the first goes in one request.
        order = sorted(range(len(items)), key=lambda index: items[index].at_ms)
        last_ms = items[order[0]].at_ms + _LONGEST_SPAN_MS
        now = [index for index in order if items[index].at_ms <= last_ms]
        later = [index for index in order if items[index].at_ms > last_ms]
        body = b'{"logGroupName":%b,"logStreamName":%b,"logEvents":[%b]}' % (
            dumps(self._group), dumps(self._stream), b",".join(items[index].json for index in now))  # fmt: skip
        until = monotonic() + seconds
        try:
            if not self._made:
                self._make_stream(seconds)
            answer = self.ask("logs", "PutLogEvents", body, until - monotonic())
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                self._made = False
            return Verdict(DELIVERED) if error.code == "DataAlreadyAcceptedException" else verdict_of(error)
        lost = _rejected(answer.get("rejectedLogEventsInfo"), now)
        return Verdict(
            DELIVERED, "has rejected lines that are too old or too new" if lost else "", again=later, lost=lost
        )

    def _make_stream(self, seconds: float) -> None:
        try:
            self.ask(
                "logs", "CreateLogStream", dumps({"logGroupName": self._group, "logStreamName": self._stream}), seconds
            )
        except AwsError as error:
            if error.code not in ("ResourceAlreadyExistsException", "AccessDeniedException"):
                raise
        self._made = True


class _Event:
    __slots__ = ("at_ms", "json", "size")

    def __init__(self, at_ms: int, json: bytes, size: int) -> None:
        self.at_ms = at_ms
        self.json = json
        self.size = size

    def __len__(self) -> int:
        """As CloudWatch counts, without the overhead."""
        return self.size


def _rejected(info: Any, sent: list[int]) -> dict[str, list[int]]:
    """Indexes of events that were not taken. Source: RejectedLogEventsInfo: both ends are exclusive or inclusive as it says."""
    if not isinstance(info, dict):
        return {}
    too_old = info.get("tooOldLogEventEndIndex")
    expired = info.get("expiredLogEventEndIndex")
    too_new = info.get("tooNewLogEventStartIndex")
    end = max([one for one in (too_old, expired) if isinstance(one, int)], default=0)
    start = too_new if isinstance(too_new, int) else len(sent)
    lost = {"too old for CloudWatch": sent[:end], "too new for CloudWatch": sent[max(start, end) :]}
    return {reason: indexes for reason, indexes in lost.items() if indexes}


class FirehoseSink(AmazonSink):
    """``firehose``; ``target``: the delivery stream. An item is one record's data: NDJSON with its line end."""

    most_lines = 500
    most_bytes = 3_900_000
    most_item_bytes = 1_000_000
    _service, _operation = "firehose", "PutRecordBatch"
    _failures, _answers, _name = "FailedPutCount", "RequestResponses", "DeliveryStreamName"

    def __init__(self, settings: ShipperSettings, origin: Origin, environ: Mapping[str, str], clock: Clock) -> None:
        super().__init__(settings, origin, environ, clock)
        self._envelope = Envelopes(origin).encode

    def encode(self, line: Line) -> bytes:
        return self._envelope(line) + b"\n"

    def send(self, items: list[Any], seconds: float) -> Verdict:
        body = b'{"%b":%b,"Records":[%b]}' % (
            self._name.encode(), dumps(self.settings.target), b",".join(self._record(item) for item in items))  # fmt: skip
        try:
            answer = self.ask(self._service, self._operation, body, seconds)
        except AwsError as error:
            return verdict_of(error)
        if not answer.get(self._failures):
            return Verdict(DELIVERED)
        each = answer.get(self._answers)
        if not isinstance(each, list) or len(each) != len(items):
            return Verdict(AGAIN, f"has answered for another number of records than the {len(items)} that were sent")
        again = [index for index, one in enumerate(each) if isinstance(one, dict) and one.get("ErrorCode")]
        why = str(each[again[0]].get("ErrorCode")) if again else ""
        return Verdict(DELIVERED, f"a record was answered {why}" if again else "", again=again)

    def _record(self, item: bytes) -> bytes:
        return b'{"Data":"%b"}' % _base64(item)


class KinesisSink(FirehoseSink):
    """``kinesis``; ``target``: the stream. The partition key spreads lines evenly, and stays the same for one that comes
    again.
    """

    most_bytes = 4_900_000
    _service, _operation = "kinesis", "PutRecords"
    _failures, _answers, _name = "FailedRecordCount", "Records", "StreamName"

    def _record(self, item: bytes) -> bytes:
        from zlib import crc32

        return b'{"Data":"%b","PartitionKey":"%08x"}' % (_base64(item), crc32(item))


class S3Sink(AmazonSink):
    """``s3``; ``target``: ``bucket`` or ``bucket/prefix``. An object is named after its first line and its last: sent
    twice, it is there once, also by an extension that was killed meanwhile, since it never spans two of the spool's batches and
    what is cut is cut in the same places. An item is a line of NDJSON that knows its name.
    """

    whole_batches = True

    most_lines = 100_000
    most_bytes = 4_000_000
    most_item_bytes = 1_048_576

    def __init__(self, settings: ShipperSettings, origin: Origin, environ: Mapping[str, str], clock: Clock) -> None:
        super().__init__(settings, origin, environ, clock)
        self._envelope = Envelopes(origin).encode

    def encode(self, line: Line) -> Any:
        return _Named(line.id, line.time, self._envelope(line))

    def send(self, items: list[Any], seconds: float) -> Verdict:
        bucket, _, prefix = self.settings.target.partition("/")
        first = items[0]
        day = first.time[:13].replace("-", "/").replace("T", "/") or "no-time"
        folder = "/".join(part for part in (prefix.strip("/"), self.origin.function, day) if part)
        key = f"{folder}/{first.id}-{items[-1].id.rpartition('-')[2]}.ndjson.gz"
        try:
            put_lines(self.aws, bucket, key, [item.data for item in items], self.clock.wall_ms() + int(seconds * 1000))
        except AwsError as error:
            return verdict_of(error)
        return Verdict(DELIVERED)


class _Named:
    __slots__ = ("data", "id", "time")

    def __init__(self, id: str, time: str, data: bytes) -> None:
        self.id = id
        self.time = time
        self.data = data

    def __len__(self) -> int:
        return len(self.data)


def put_lines(aws: Aws, bucket: str, key: str, lines: list[bytes], deadline_ms: int) -> None:
    """An object of NDJSON, compressed; AwsError where it was not stored."""
    body = gzipped(b"\n".join(lines) + b"\n")
    seconds = max(0.05, (deadline_ms - aws.clock.wall_ms()) / 1000)
    put_object(aws, bucket, key, body, "application/gzip", deadline_ms=deadline_ms, timeout=seconds)


def _base64(data: bytes) -> bytes:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False)
