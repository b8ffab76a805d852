"""Each sink against its service: what is taken, what limits are kept, what is sent again and what is not."""

from __future__ import annotations

import base64
import json
import os
import zlib

import pytest
import requests
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from extension_kit import ConfigError, records
from extension_kit.delivery import AGAIN, DELIVERED, REFUSED, TOO_LARGE
from extension_kit.io.clock import Clock
from extension_kit.outbound import Answer
from extensions.log_shipper.line import Line
from extensions.log_shipper.settings import ShipperSettings
from extensions.log_shipper.sinks.base import Origin
from extensions.log_shipper.sinks.make import check, make
from tests.receivers.collector import Collector, Fault, Refused
from tests.receivers.log_services import Bulk, Datadog, Loki, NewRelic, Splunk

REQUEST = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
TRACE = "Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1"
ORIGIN = Origin(
    function="shop", version="7", region="eu-west-1", account_id="123456789012", memory_mb=128, tags={"team": "pay"}
)  # fmt: skip
NOW = "2026-11-23T08:00:00.700Z"
NOW_MS = 1_795_420_800_700


def line(content="hello", kind="function", index=0, time=NOW):
    raw = json.dumps({"time": time, "type": kind, "record": content}, separators=(",", ":")).encode()
    return Line(records.make(raw, records.Request(REQUEST, TRACE, False), 3, index), "cafe")


def sink(kind, url="", **settings):
    usual = {"sink": kind, "endpoint": url}
    return make(ShipperSettings(**(usual | settings)), ORIGIN, Clock())


def send(one, *lines):
    return one.send([one.encode(each) for each in lines], 5.0)


OBJECT = {"timestamp": NOW, "level": "WARN", "message": "low", "n": 1.5}
REPORT = {"requestId": REQUEST, "metrics": {"durationMs": 12.5}}
SERVICES = {
    "http": (Collector, {}),
    "loki": (Loki, {"labels": ("job=shop",)}),
    "bulk": (Bulk, {"target": "logs-shop"}),
    "splunk": (Splunk, {"api_key": Splunk.TOKEN, "target": "main"}),
    "datadog": (Datadog, {"api_key": Datadog.KEY}),
    "newrelic": (NewRelic, {"api_key": NewRelic.KEY}),
}


@pytest.fixture(params=SERVICES)
def service(request):
    made, settings = SERVICES[request.param]
    with made() as running:
        yield running, sink(request.param, running.url, **settings)


def test_every_kind_of_line_is_taken(service):
    """Text, an object, a platform event, odd characters, an empty line, no time that can be read."""
    running, one = service
    lines = [
        line("[ERROR]\tplain\n", index=0),
        line(OBJECT, index=1),
        line(REPORT, "platform.report", index=2),
        line('caf\u00e9 \u2028 "quoted" \\ \x00 \U0001f600', index=3),
        line("x", time="", index=4) if not isinstance(running, Loki) else line("x", index=4),
        line({"deep": {"list": [1, None, "two"]}}, index=5),
        line("", index=6),
        line(None, index=7),
    ]
    assert send(one, *lines).kind == DELIVERED
    assert running.refused == []
    assert len(running.accepted) == 8


def test_what_stands_beside_a_line(service):
    """Its request, its trace, its level and its id are with it, under the names that the service's users look for."""
    running, one = service
    send(one, line("[ERROR]\tplain\n"))
    shown = json.dumps(running.accepted)
    for wanted in (REQUEST, "5f35ae120c0fec141ab77a00bc047aa2", "ERROR", "cafe-3-0", "plain", "pay"):
        assert wanted in shown, wanted


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=429, headers={"Retry-After": "7"}), AGAIN), (Fault(status=503), AGAIN), (Fault(status=500), AGAIN),
        (Fault(status=408), AGAIN), (Fault(status=401), AGAIN), (Fault(status=404), AGAIN),
        (Fault(status=302, headers={"Location": "http://x"}), AGAIN),
        (Fault(status=501), AGAIN), (Fault(status=507), AGAIN), (Fault(status=520), AGAIN), (Fault(status=529), AGAIN),
        (Fault(status=413), TOO_LARGE), (Fault(status=400), REFUSED), (Fault(status=422), REFUSED),
    ],
)  # fmt: skip
def test_what_each_answer_means(service, fault, kind):
    """Busy, broken, or ours to mend: again. Too large: in halves. Wrong: never again."""
    running, one = service
    running.faults = [fault]
    verdict = send(one, line())
    assert verdict.kind == kind
    assert str(fault.status) in verdict.why
    assert verdict.retry_after_ms == (7_000 if fault.headers.get("Retry-After") else None)
    assert send(one, line()).kind == DELIVERED, "the connection is good for another"


@pytest.mark.parametrize("fault", [Fault(reset="early"), Fault(reset="late"), Fault(hang=3)])
def test_the_network_fails(service, fault):
    """As an OSError with a few words; the next exchange is as good as new."""
    running, one = service
    running.faults = [fault, fault]
    with pytest.raises(OSError, match=r"closed before an answer came|no answer in time"):
        one.send([one.encode(line())], 0.5)
    running.faults = []
    assert send(one, line()).kind == DELIVERED


def test_a_connection_that_was_closed_while_idle_is_no_failure():
    """Nothing of an answer had come, so the same goes again, at once, over a fresh one."""
    with Collector() as running:
        one = sink("http", running.url)
        send(one, line())
        running.faults = [Fault(reset="early")]
        assert send(one, line()).kind == DELIVERED
        assert len(running.accepted) == 2


def test_after_a_minute_a_connection_is_not_used_again():
    """By the wall clock: the environment may have been frozen meanwhile."""

    class Later(Clock):
        ahead = 0

        def wall_ms(self):
            return super().wall_ms() + Later.ahead

    with Collector() as running:
        one = make(ShipperSettings(sink="http", endpoint=running.url), ORIGIN, Later())
        send(one, line())
        session = one.http._session
        send(one, line())
        assert one.http._session is session
        Later.ahead = 61_000
        send(one, line())
        assert one.http._session is not session
        one.forget()
        assert one.http._session is None


def test_the_functions_proxies_are_not_ours(monkeypatch):
    """Nor its ``.netrc``; only a proxy that the operator has named."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Collector() as running:
        assert send(sink("http", running.url), line()).kind == DELIVERED
        with pytest.raises(OSError, match="refused"):
            send(sink("http", running.url, proxy="http://127.0.0.1:1"), line())


def test_a_key_that_is_echoed_is_not_shown():
    """Some services say which key was wrong."""

    class Echo(Datadog):
        def take(self, _path, headers, _body):
            raise Refused(403, f"key {headers['dd-api-key']} is not known")

    with Echo() as running:
        assert (
            send(sink("datadog", running.url, api_key="s3cr3t-k3y"), line()).why
            == "answers 403: key (key) is not known"
        )


class Echo(Collector):
    """Answers 400 with whatever a test says."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def take(self, *_request):
        raise Refused(400, "echo", self.text.encode())


@pytest.mark.parametrize("before", [0, 190, 199])
def test_half_a_key_is_not_shown(before):
    """Wherever the end of what is shown lies."""
    with Echo("." * before + "s3cr3t-k3y-of-mine") as running:
        why = send(sink("http", running.url, api_key="s3cr3t-k3y-of-mine", headers=("X={api_key}",)), line()).why
    assert "s3" not in why
    assert len(why) < 230


def test_headers_are_not_shown():
    """A key that was written into them: as a whole, or only the token of it."""
    with Echo("no Bearer abcdefg, and abcdefg is unknown; nor is pa55") as running:
        why = send(sink("http", running.url, headers=("Authorization=Bearer abcdefg", "X-Key=pa55")), line()).why
    assert why == "answers 400: no (key), and (key) is unknown; nor is (key)"


def test_what_is_secret_of_the_endpoint_is_not_shown():
    """Its user, its query, and its path: some have their token there."""
    text = "cannot POST /hooks/T0K3N?key=s3%20cr3t for me:pa55 (pa55), key 's3 cr3t', proxy"
    with Echo(text) as running:
        endpoint = running.url.replace("http://", "http://me:pa55@") + "/hooks/T0K3N?key=s3%20cr3t"
        why = send(sink("http", endpoint), line()).why
    for secret in ("T0K3N", "cr3t", "pa55"):
        assert secret not in why
    assert why.startswith("answers 400: cannot POST (key)")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"api_key": "s3cr3t\u0142", "headers": ("X-Key={api_key}",)}, "the header X-Key"),
        ({"headers": ("X-Key=s3cr3t\u0142",)}, "the header X-Key"),
        ({"headers": ("\u0142-s3cr3t=1",)}, "a header has a name"),
        ({"endpoint": "http://s3cr3t..example.com/?key=s3cr3t"}, "LOG_SHIPPER_ENDPOINT"),
        ({"endpoint": f"http://me:s3cr3t@{'a' * 64}.example.com"}, "LOG_SHIPPER_ENDPOINT"),
        ({"endpoint": "http://me:s3cr3t@"}, "LOG_SHIPPER_ENDPOINT"),
        ({"endpoint": "http://me:s3cr3t@h:99999"}, "LOG_SHIPPER_ENDPOINT"),
        ({"endpoint": "http://me:s3cr3t\u0142@127.0.0.1:9"}, "LOG_SHIPPER_ENDPOINT"),
        ({"proxy": "http://me:s3cr3t@"}, "LOG_SHIPPER_PROXY"),
        ({"proxy": "nonsense://me:s3cr3t@h"}, "LOG_SHIPPER_PROXY"),
        ({"proxy": "http://me:s3cr3t@127.0.0.1:1"}, "refused"),
    ],
)
def test_settings_that_cannot_be_sent(settings, said):
    """Lines wait for whoever mends them, as an OSError makes them; what is wrong is named and not shown."""
    with Collector() as running, pytest.raises(OSError, match=said) as caught:
        send(sink("http", **({"url": running.url} | settings)), line())
    assert "s3cr3t" not in str(caught.value)


def test_key_and_request_share_the_time(monkeypatch):
    """An exchange that is still going on when its flush is over could meet a freeze."""
    now = [100.0]
    monkeypatch.setattr("extensions.log_shipper.sinks.base.monotonic", lambda: now[0])
    one = sink("http", "http://h")

    def fetch(seconds):
        now[0] += 3.0
        return f"key within {seconds}"

    posted = []
    one.key.value = fetch
    one.http.post = lambda *request: posted.append(request) or Answer(200, {}, b"")
    assert one.send([b"x"], 5.0).kind == DELIVERED
    assert posted[0][-1] == 2.0
    assert one.api_key == "key within 5.0"
    with pytest.raises(TimeoutError, match="no time was left"):
        one.send([b"x"], 3.0)


def test_headers_of_ones_own():
    """After the sink's, with the key put in."""
    with Collector() as running:
        send(
            sink(
                "http",
                running.url,
                api_key="k",
                headers=("X-Key={api_key}", "X-A=b=c", "Content-Type=application/x-ndjson"),
            ),
            line(),
        )
    _path, headers, _size = running.requests[0]
    assert (headers["x-key"], headers["x-a"], headers["content-encoding"]) == ("k", "b=c", "gzip")


@pytest.mark.parametrize("format", ["ndjson", "array"])
@pytest.mark.parametrize("compress", ["gzip", "none"])
def test_forms_of_http(format, compress):
    """NDJSON or an array, compressed or not; the envelope is the platform's own."""
    with Collector() as running:
        send(sink("http", f"{running.url}/in?x=1", format=format, compress=compress), line(), line(OBJECT, index=1))
    assert running.requests[0][0] == "/in?x=1"
    first, second = running.accepted
    assert first == {
        "time": NOW, "type": "function", "record": "hello", "requestId": REQUEST, "traceId": "5f35ae120c0fec141ab77a00bc047aa2",
        "service": "shop", "functionName": "shop", "functionVersion": "7", "region": "eu-west-1", "accountId": "123456789012",
        "team": "pay", "id": "cafe-3-0",
    }  # fmt: skip
    assert (second["record"], second["level"]) == (OBJECT, "WARN")


def test_a_tag_with_a_name_of_ours_takes_another():
    """No member stands twice in an object."""
    origin = Origin(function="f", tags={"level": "high", "x": "y"})
    with Collector() as running:
        one = make(ShipperSettings(sink="http", endpoint=running.url), origin, Clock())
        send(one, line("[INFO]\tx"))
    assert (running.accepted[0]["level"], running.accepted[0]["tag.level"]) == ("INFO", "high")


@pytest.mark.parametrize("kind", ["loki", "bulk", "splunk"])
def test_a_tag_hides_nothing(kind):
    """Whatever it is called: what is known of a line stands beside it, and no name stands twice."""
    names = ("level", "log.level", "type", "id", "request_id", "faas.execution", "message", "@timestamp")
    made, settings = SERVICES[kind]
    with made() as running:
        origin = Origin(function="f", tags=dict.fromkeys(names, "mine"))
        one = make(ShipperSettings(sink=kind, endpoint=running.url, **settings), origin, Clock())
        item = one.encode(line("[ERROR]\tplain"))
        assert send(one, line("[ERROR]\tplain")).kind == DELIVERED
    found = []
    json.JSONDecoder(object_pairs_hook=found.append).decode(item.decode().splitlines()[-1])
    for pairs in found:
        assert len({name for name, _value in pairs}) == len(pairs)
    assert {"ERROR", REQUEST} <= {value for pairs in found for _name, value in pairs if isinstance(value, str)}


@pytest.mark.parametrize("behind", [b',"spanId":"s"', b',"n":1', b',"more":{"a":1}'])
@pytest.mark.parametrize("content", ["hello", ",", '","', {"a": 1}])
def test_a_member_behind_record_spoils_nothing(service, behind, content):
    """One that the platform may write some day; the line arrives, and so do those that go with it."""
    running, one = service
    raw = json.dumps({"time": NOW, "type": "function", "record": content}, separators=(",", ":")).encode()
    odd = Line(records.make(raw[:-1] + behind + b"}", records.Request(REQUEST, TRACE, False), 3, 1), "cafe")
    assert send(one, line(), odd, line(content, index=2)).kind == DELIVERED
    assert running.refused == []
    assert len(running.accepted) == 3


# bulk


def test_bulk_sends_again_only_what_was_busy_and_stores_nothing_twice():
    """429 for one item of three; 409 for what an earlier try has stored."""
    with Bulk() as running:
        one = sink("bulk", running.url, target="logs")
        running.busy = {"cafe-3-1"}
        lines = [line(index=number) for number in range(3)]
        verdict = send(one, *lines)
        assert (verdict.kind, verdict.again, verdict.why) == (
            DELIVERED,
            (1,),
            "a line was answered 429: es_rejected_execution_exception",
        )
        assert send(one, *lines).kind == DELIVERED
        assert (sorted(running.stored), running.repeated) == (["cafe-3-0", "cafe-3-1", "cafe-3-2"], 2)


def test_bulk_loses_only_what_is_refused():
    """A document that does not fit the mapping."""

    class Strict(Bulk):
        def _item(self, path, action, document):
            if document.get("message") == "odd":
                return {"create": {"_id": "x", "status": 400, "error": {"type": "mapper_parsing_exception"}}}
            return super()._item(path, action, document)

    with Strict() as running:
        verdict = send(sink("bulk", running.url, target="logs"), line(), line("odd", index=1), line(index=2))
    assert verdict.lost == {"refused with 400": [1]}
    assert len(running.stored) == 2


@pytest.mark.parametrize("status", [401, 403, 404, 507])
def test_bulk_waits_for_what_can_be_mended(status):
    """As it does for a whole request; with the pause that was asked for."""
    items = [{"create": {"status": 201}}, {"create": {"status": status, "error": {"type": "security_exception"}}}]
    answer = Answer(200, {"retry-after": "7"}, json.dumps({"errors": True, "items": items}).encode())
    verdict = sink("bulk", "http://h").judge(answer, [b"x", b"y"])
    assert (verdict.kind, verdict.again, verdict.lost, verdict.retry_after_ms) == (DELIVERED, (1,), {}, 7_000)
    assert f"answered {status}: security_exception" in verdict.why
    assert ("wait until it is mended" in verdict.why) == (status < 500)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"items":[]}', b'{"items":[{}]}', b'{"items":[1]}', b"\xff", b'{"errors":true,"items":null}']
)
def test_bulk_does_not_believe_nonsense(body):
    """An answer that does not account for every line accounts for none."""

    class Odd(Bulk):
        def take(self, *_request):
            return 200, body

    with Odd() as running:
        verdict = send(sink("bulk", running.url, target="logs"), line())
    assert verdict.kind == AGAIN


# OTLP


class Otlp(Collector):
    """Reads with OpenTelemetry's own classes. ``rejects``: how many records it says it has not taken."""

    rejects = 0

    def take(self, path, headers, body):
        if path != "/v1/logs":
            raise Refused(404, "not found")
        if headers["content-type"] == "application/json":
            self.accepted.append(json.loads(body))
            return 200, json.dumps(
                {"partialSuccess": {"rejectedLogRecords": str(self.rejects), "errorMessage": "no"}}
                if self.rejects
                else {}
            ).encode()
        request = ExportLogsServiceRequest()
        request.ParseFromString(body)
        assert request.SerializeToString(deterministic=True) == body
        self.accepted.append(request)
        partial = (
            ExportLogsPartialSuccess(rejected_log_records=self.rejects, error_message="no") if self.rejects else None
        )
        return 200, ExportLogsServiceResponse(partial_success=partial).SerializeToString()


def test_otlp_as_protobuf():
    """Read by the library, and written by it to the same bytes."""
    with Otlp() as running:
        deep = {"a": [1, -2, 2.5, True, None, "x", {"b": {}}], "huge": 10**30, "level": "ERROR"}
        assert (
            send(
                sink("otlp", running.url),
                line("[WARN]\thello\n"),
                line(deep, index=1),
                line(REPORT, "platform.report", index=2),
            ).kind
            == DELIVERED
        )
    (request,) = running.accepted
    (resource,) = request.resource_logs
    attributes = {one.key: one.value for one in resource.resource.attributes}
    assert attributes["service.name"].string_value == "shop"
    assert attributes["faas.max_memory"].int_value == 134_217_728
    assert attributes["cloud.resource_id"].string_value == "arn:aws:lambda:eu-west-1:123456789012:function:shop"
    (scope,) = resource.scope_logs
    first, second, third = scope.log_records
    assert (first.time_unix_nano, first.severity_number, first.severity_text) == (NOW_MS * 1_000_000, 13, "WARN")
    assert first.body.string_value == "[WARN]\thello"
    assert (first.trace_id.hex(), first.span_id.hex()) == ("5f35ae120c0fec141ab77a00bc047aa2", "2be948a625588e32")
    assert {one.key: one.value.string_value for one in first.attributes} == {
        "log.record.uid": "cafe-3-0",
        "faas.invocation_id": REQUEST,
    }
    assert second.severity_number == 17
    inside = {one.key: one.value for one in second.body.kvlist_value.values}
    assert [one.WhichOneof("value") for one in inside["a"].array_value.values] == [
        "int_value", "int_value", "double_value", "bool_value", None, "string_value", "kvlist_value"]  # fmt: skip
    assert inside["a"].array_value.values[1].int_value == -2
    assert inside["huge"].string_value == str(10**30)
    assert {one.key: one.value.string_value for one in third.attributes}["lambda.type"] == "platform.report"


def test_otlp_as_json_is_the_same():
    """Enums as integers, 64-bit integers as strings, ids as hex digits, where protobuf's own JSON has base64."""
    deep = {"a": [1, -2, 2.5, True, "x", {"b": {}}]}
    lines = line("[WARN]\thello\n"), line(deep, index=1), line(REPORT, "platform.report", index=2)
    with Otlp() as running:
        assert send(sink("otlp", running.url, encoding="json"), *lines).kind == DELIVERED
        assert send(sink("otlp", running.url), *lines).kind == DELIVERED
    ours, theirs = running.accepted
    for record in ours["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        assert isinstance(record.get("severityNumber", 0), int)
        for name in ("traceId", "spanId"):
            record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
    assert ParseDict(ours, ExportLogsServiceRequest()) == theirs


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_otlp_partial_success(encoding):
    """So many are lost; nothing is sent again, as the specification asks."""
    with Otlp() as running:
        running.rejects = 2
        verdict = send(sink("otlp", running.url, encoding=encoding), *[line(index=number) for number in range(5)])
        assert (verdict.kind, verdict.why, [len(each) for each in verdict.lost.values()]) == (DELIVERED, "no", [2])


def test_otlp_tries_again_where_the_specification_says_so():
    """A 500 is no reason."""
    with Otlp() as running:
        for status, kind in (
            (500, REFUSED),
            (501, REFUSED),
            (502, AGAIN),
            (503, AGAIN),
            (504, AGAIN),
            (429, AGAIN),
            (408, REFUSED),
            (520, REFUSED),
        ):
            running.faults = [Fault(status=status)]
            assert send(sink("otlp", running.url), line()).kind == kind


# without a network


def test_a_file(tmp_path):
    """Appended, for its owner alone; a disk that is full leaves no half line."""
    path = tmp_path / "deep" / "lines.ndjson"
    one = sink("file", str(path))
    send(one, line(), line(index=1))
    send(one, line(index=2))
    assert [json.loads(text)["id"] for text in path.read_text().splitlines()] == ["cafe-3-0", "cafe-3-1", "cafe-3-2"]
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    path.mkdir()
    verdict = send(one, line())
    assert (verdict.kind, verdict.why) == (AGAIN, f"{path}: Is a directory")


def test_standard_output(capfd):
    """A line each."""
    send(sink("stdout"), line(), line(index=1))
    assert [json.loads(text)["record"] for text in capfd.readouterr().out.splitlines()] == ["hello", "hello"]


# settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sink": "http"}, "sink http: LOG_SHIPPER_ENDPOINT is not set"),
        ({"sink": "loki", "endpoint": "logs.example.com"}, "is no http:// or https:// URL"),
        ({"sink": "splunk", "endpoint": "https://x"}, "LOG_SHIPPER_API_KEY is not set"),
        ({"sink": "datadog"}, "LOG_SHIPPER_API_KEY is not set"),
        ({"sink": "file", "endpoint": "lines"}, "sink file: LOG_SHIPPER_ENDPOINT is not set: a path"),
        ({"sink": "s3"}, "LOG_SHIPPER_TARGET is not set: a bucket"),
        ({"sink": "cloudwatch"}, "LOG_SHIPPER_TARGET is not set: a log group"),
    ],
)
def test_what_cannot_work_is_said(settings, said):
    """Once, with the variable's name."""
    with pytest.raises(ConfigError, match=said):
        check(ShipperSettings(**settings))


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://h:1", "http://h:1/loki/api/v1/push"), ("http://h:1/", "http://h:1/loki/api/v1/push"),
        ("http://h:1/own/path", "http://h:1/own/path"), ("http://h:1?a=/b", "http://h:1/loki/api/v1/push?a=/b"),
    ],
)  # fmt: skip
def test_a_services_own_path(endpoint, url):
    """Is put behind an endpoint that has none."""
    assert sink("loki", endpoint).url == url


def test_gzip_is_gzip():
    """What the module of that name would read."""
    from extension_kit.outbound import gzipped

    data = os.urandom(1000) * 3
    assert zlib.decompress(gzipped(data), 31) == data
    assert requests.utils  # what reads it in the collector is not what has written it
