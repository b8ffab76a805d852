"""The services that we play are judged by senders that we did not write, and by bodies that the real ones refuse."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import time

import pytest
import requests

from tests.receivers.collector import Collector, Fault
from tests.receivers.log_services import Bulk, Datadog, Loki, NewRelic, Splunk


def test_loki_takes_what_python_logging_loki_sends():
    """Two lines with labels of their own."""
    import logging_loki

    with Loki() as loki:
        handler = logging_loki.LokiHandler(url=f"{loki.url}/loki/api/v1/push", tags={"application": "a"}, version="1")
        logger = logging.getLogger("loki-test")
        logger.addHandler(handler)
        logger.error("one %s", 1, extra={"tags": {"service": "s"}})
        logger.warning("two")
        logger.removeHandler(handler)
        handler.close()
    assert [entry["line"] for entry in loki.accepted] == ["one 1", "two"]
    assert loki.refused == []


def test_bulk_takes_what_opensearch_py_sends():
    """``helpers.bulk``, and again: what is there already is a conflict, as its client reads it."""
    from opensearchpy import OpenSearch, helpers

    with Bulk() as bulk:
        client = OpenSearch(bulk.url, http_compress=True)
        actions = [{"_op_type": "create", "_index": "logs", "_id": f"id-{n}", "n": n} for n in range(5)]
        assert helpers.bulk(client, actions) == (5, [])
        done, errors = helpers.bulk(client, actions[:2], raise_on_error=False)
        bulk.busy = {"id-9"}
        _, busy = helpers.bulk(client, [actions[0] | {"_id": "id-9"}], raise_on_error=False)
        client.close()
    assert (done, [error["create"]["status"] for error in errors]) == (0, [409, 409])
    assert busy[0]["create"]["status"] == 429
    assert len(bulk.stored) == 5


def test_splunk_takes_what_splunk_handler_sends():
    """Its own way of putting events behind each other."""
    from splunk_handler import SplunkHandler

    with Splunk() as splunk:
        host, port = splunk.url.removeprefix("http://").split(":")
        handler = SplunkHandler(
            host=host, port=port, token=Splunk.TOKEN, index="main", protocol="http", flush_interval=0.1
        )
        logger = logging.getLogger("splunk-test")
        logger.addHandler(handler)
        logger.error("one")
        logger.error("two")
        until = time.monotonic() + 10
        while len(splunk.accepted) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        logger.removeHandler(handler)
        handler.force_flush()
        handler.shutdown()
    assert [event["index"] for event in splunk.accepted] == ["main", "main"]
    assert splunk.refused == []


def test_datadog_takes_what_its_own_client_sends():
    """The official API client, with gzip."""
    from datadog_api_client import ApiClient, Configuration
    from datadog_api_client.v2.api.logs_api import LogsApi
    from datadog_api_client.v2.model.content_encoding import ContentEncoding
    from datadog_api_client.v2.model.http_log import HTTPLog
    from datadog_api_client.v2.model.http_log_item import HTTPLogItem

    with Datadog() as datadog:
        configuration = Configuration(host=datadog.url)
        configuration.server_index = None
        configuration.api_key["apiKeyAuth"] = Datadog.KEY
        servers = [{"url": datadog.url, "description": "here", "variables": {}}]
        with ApiClient(configuration) as client:
            api = LogsApi(client)
            api._submit_log_endpoint.settings["servers"] = servers
            api.submit_log(
                HTTPLog([HTTPLogItem(message="one", ddsource="lambda")]), content_encoding=ContentEncoding.GZIP
            )
    assert [entry["message"] for entry in datadog.accepted] == ["one"]


def test_new_relic_takes_what_its_own_sdk_sends():
    """A batch with common attributes."""
    from newrelic_telemetry_sdk import Log, LogClient

    with NewRelic() as newrelic:
        host, port = newrelic.url.removeprefix("http://").split(":")
        client = LogClient(NewRelic.KEY, host=host, port=int(port))
        client.POOL_CLS = None
        client._pool = _plain_pool(host, int(port))
        response = client.send_batch([Log("one", level="INFO"), Log("two")], common={"attributes": {"service": "s"}})
        assert response.status == 202
    assert [(log["message"], log["attributes"].get("service")) for log in newrelic.accepted] == [
        ("one", "s"),
        ("two", "s"),
    ]


def _plain_pool(host, port):
    """The SDK insists on TLS; what it writes is the same without."""
    import urllib3

    return urllib3.HTTPConnectionPool(host, port)


NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
SPLUNK = {"Authorization": f"Splunk {Splunk.TOKEN}"}
NOW = str(time.time_ns())
LONG = b"i" * 513
#: what each takes one of
GOOD = {
    Loki: ("/loki/api/v1/push", JSON, b'{"streams":[{"stream":{"a":"b"},"values":[["%s","x"]]}]}' % NOW.encode()),
    Bulk: ("/_bulk", NDJSON, b'{"create":{"_index":"i"}}\n{"a":1}\n'),
    Splunk: ("/services/collector", SPLUNK, b'{"event":"x"}'),
    Datadog: ("/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, b'[{"message":"x"}]'),
    NewRelic: ("/log/v1", {"Api-Key": NewRelic.KEY, **JSON}, b'[{"logs":[{"message":"x"}]}]'),
}


def loki(*values, **stream):
    return {"streams": [{"stream": stream or {"a": "b"}, "values": list(values)}]}


@pytest.mark.parametrize(
    ("service", "path", "headers", "body", "status"),
    [
        (Loki, "/loki/api/v1/push", JSON, loki([NOW, "x"]), 204),
        (Loki, "/loki/api/v1/push", JSON, loki([NOW, "x", {"id": "1"}]), 204),
        (Loki, "/loki/api/v1/push", JSON, loki([int(NOW), "x"]), 400),
        (Loki, "/loki/api/v1/push", JSON, loki([NOW[:-6], "x"]), 400),
        (Loki, "/loki/api/v1/push", JSON, loki([NOW, "x", {"n": 1}]), 400),
        (Loki, "/loki/api/v1/push", JSON, {"streams": [{"stream": {}, "values": [[NOW, "x"]]}]}, 400),
        (Loki, "/loki/api/v1/push", JSON, loki([NOW, "x" * 262_145]), 400),
        (Loki, "/loki/api/v1/push", NDJSON, loki([NOW, "x"]), 400),
        (Loki, "/other", JSON, loki([NOW, "x"]), 404),
        (Bulk, "/_bulk", NDJSON, b'{"create":{"_index":"i"}}\n{"a":1}\n', 200),
        (Bulk, "/_bulk", NDJSON, b'{"create":{"_index":"i"}}\n{"a":1}', 400),
        (Bulk, "/_bulk", NDJSON, b'{"create":{}}\n{"a":1}\n', 400),
        (Bulk, "/_bulk", NDJSON, b'{"create":{"_index":"i"}}\n', 400),
        (Bulk, "/_bulk", {"Content-Type": "text/plain"}, b'{"create":{"_index":"i"}}\n{"a":1}\n', 406),
        (Bulk, "/logs/_bulk", NDJSON, b'{"index":{}}\n{"a":1}\n', 200),
        (Bulk, "/_bulk", NDJSON, b'{"create":{"_index":"i"}}\nplain\n', 400),
        (Bulk, "/_bulk", NDJSON, b'{"create":{"_index":"i"}}\n{"a":1}\n{"create":{"_index":"i","_id":"%s"}}\n{}\n' % LONG, 400),
        (Bulk, "/_bulk", NDJSON, b'{"create":{"_index":"i","_id":"%s"}}\n{"a":1}\n' % LONG[:512], 200),
        (Bulk, "/_bulk", NDJSON, b'{"create":{"_index":"i","_id":""}}\n{"a":1}\n', 400),
        (Bulk, "/_bulk", {}, b'{"create":{"_index":"i"}}\n{"a":1}\n', 406),
        (Splunk, "/services/collector/event", SPLUNK, b'{"event":"x"}{"event":{"a":1}}', 200),
        (Splunk, "/services/collector", SPLUNK, b'{"event":"x"}\n{"time":1.5,"event":0,"fields":{"a":1}}\n', 200),
        (Splunk, "/services/collector/event", SPLUNK, b'[{"event":"x"}]', 400),
        (Splunk, "/services/collector/event", SPLUNK, b'{"event":""}', 400),
        (Splunk, "/services/collector/event", SPLUNK, b'{"event":"x","odd":1}', 400),
        (Splunk, "/services/collector/event", SPLUNK, b'{"event":"x","fields":{"a":{}}}', 400),
        (Splunk, "/services/collector/event", SPLUNK, b'{"event":"%s"}' % (b"x" * 1_000_000), 413),
        (Splunk, "/services/collector/event", {"Authorization": "Splunk other"}, b'{"event":"x"}', 403),
        (Splunk, "/services/collector/event", {}, b'{"event":"x"}', 401),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"message": "x"}], 202),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": "other", **JSON}, [{"message": "x"}], 403),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"message": "x"}] * 1_001, 413),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"message": "x" * 1_200_000}], 413),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"msg": "x"}], 400),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, b'[{"message":NaN}]', 400),
        (Datadog, "/api/v2/logs", JSON, [{"message": "x"}], 401),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"message": "x"}] * 1_000, 202),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"message": "x" * 1_048_562}], 202),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"message": "x" * 1_048_563}], 413),
        (Datadog, "/api/v2/logs", {"DD-API-KEY": Datadog.KEY, **JSON}, [{"message": "x" * 1_048_000}] * 6, 413),
        (NewRelic, "/log/v1", {"Api-Key": NewRelic.KEY, **JSON}, [{"logs": [{"message": "x", "timestamp": 1}]}], 202),
        (NewRelic, "/log/v1", {"Api-Key": NewRelic.KEY, **JSON}, {"message": "x"}, 202),
        (NewRelic, "/log/v1", {"Api-Key": NewRelic.KEY}, [{"logs": [{"message": "x"}]}], 415),
        (NewRelic, "/log/v1", JSON, [{"logs": [{"message": "x"}]}], 403),
        (NewRelic, "/log/v1", {"Api-Key": "other", **JSON}, [{"logs": [{"message": "x"}]}], 403),
        (NewRelic, "/log/v1", {"Api-Key": NewRelic.KEY, **JSON}, [{"logs": [{"message": {"a": 1}}]}], 400),
        (NewRelic, "/log/v1", {"Api-Key": NewRelic.KEY, **JSON}, [{"logs": [{"message": "x" * 1_000_001}]}], 413),
        (Collector, "/", NDJSON, b'{"a":1}\n{"a":2}\n', 200),
        (Collector, "/", NDJSON, b'{"a":1}', 400),
        (Collector, "/", JSON, b'{"a":1}', 400),
        (Collector, "/", {**JSON, "Content-Encoding": "gzip"}, b"\x1f\x8b\x08\x00cut", 400),
    ],
)  # fmt: skip
def test_what_is_right_and_what_is_refused(service, path, headers, body, status):
    """By the table of each service's rules."""
    with service() as one:
        data = body if isinstance(body, bytes) else json.dumps(body)
        assert requests.post(one.url + path, data=data, headers=headers, timeout=10).status_code == status
    assert (len(one.refused), bool(one.accepted)) == ((0, True) if status < 300 else (1, False))


@pytest.mark.parametrize("service", GOOD)
def test_what_all_refuse(service):
    """What is no JSON or not whole, another encoding, no length; and they all take gzip."""
    path, headers, body = GOOD[service]
    packed, gzipped = gzip.compress(body), {**headers, "Content-Encoding": "gzip"}

    def status(data, headers):
        return requests.post(one.url + path, data=data, headers=headers, timeout=10).status_code

    with service() as one:
        bad = [
            status(body[:-3], headers), status(b"plain\n", headers), status(b"\xff\xfe\n", headers),
            status(packed[:-9], gzipped), status(body, gzipped),
        ]  # fmt: skip
        assert bad == [400] * 5
        assert status(body, {**headers, "Content-Encoding": "zstd"}) == 415
        assert status(iter([body]), headers) == 411, "chunks"
        assert one.accepted == []
        one.MAX_BODY = len(body)
        assert status(packed, gzipped) < 300
        one.MAX_BODY -= 1
        assert status(packed, gzipped) == 413, "it is the unpacked body that is too large"
        assert (len(one.accepted), len(one.refused), one.asked) == (1, 8, 9)


@pytest.mark.parametrize(
    ("authorization", "body", "status", "code"),
    [
        (None, b'{"event":1}', 401, 2), ("Bearer x", b'{"event":1}', 401, 3), ("Splunk x", b'{"event":1}', 403, 4),
        ("", b" ", 400, 5), ("", b'{"event":1}{"event"', 400, 6), ("", b'{"event":1,"index":"other"}', 400, 7),
        ("", b'{"event":1}{"time":1}', 400, 12), ("", b'{"event":1}{"event":""}', 400, 13),
        ("", b'{"event":1}{"event":1,"fields":{"a":[{}]}}', 400, 15), ("", b'{"event":1}', 200, 0),
    ],
)  # fmt: skip
def test_splunks_codes(authorization, body, status, code):
    """As its table of them says; the event that is wrong is named by its number."""
    with Splunk() as splunk:
        splunk.indexes = frozenset(["main"])
        headers = {} if authorization is None else {"Authorization": authorization or f"Splunk {Splunk.TOKEN}"}
        answer = requests.post(f"{splunk.url}/services/collector", data=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json().get("invalid-event-number") in ((1, 0) if code in (6, 7, 12, 13, 15) else (None,))


def test_loki_keeps_what_is_young_enough():
    """The request is refused all the same, so that a sender which sends it again makes duplicates."""
    with Loki() as one:
        one.oldest = int(NOW)
        content = loki([str(int(NOW) - 1), "old"], [NOW, "new"])
        assert requests.post(f"{one.url}/loki/api/v1/push", json=content, timeout=10).status_code == 400
        assert [entry["line"] for entry in one.accepted] == ["new"]


def test_items_fail_by_their_number():
    """Of those that were asked for, and only in that request."""
    data = b"".join(b'{"create":{"_index":"i","_id":"%d"}}\n{"a":1}\n' % number for number in range(4))

    def statuses():
        answer = requests.post(f"{one.url}/_bulk", data=data, headers=NDJSON, timeout=10)
        assert answer.json()["errors"]
        return answer.status_code, [item["create"]["status"] for item in answer.json()["items"]]

    with Bulk() as one:
        one.faults = [Fault(items={1: 429, 3: 503})]
        assert statuses() == (200, [201, 429, 201, 503])
        assert statuses() == (200, [409, 201, 409, 201])
        assert len(one.stored) == 4


def test_one_connection_serves_many_requests():
    """Senders that keep one find it kept."""
    with Collector() as one:
        connection = http.client.HTTPConnection("127.0.0.1", int(one.url.rpartition(":")[2]), timeout=5)
        used = []
        for number in range(3):
            connection.request("POST", "/", b"[%d]" % number, JSON)
            assert connection.getresponse().read() == b""
            used.append(connection.sock)
        connection.close()
        assert used[0] is not None
        assert used == [used[0]] * 3
        assert one.accepted == [0, 1, 2]


def test_a_reset_in_the_middle_of_the_body():
    """Nothing of it is taken, and it counts as asked."""
    with Collector() as one:
        one.faults = [Fault(reset="middle")]
        with pytest.raises(requests.ConnectionError):
            requests.post(one.url, data=b"[%s3]" % (b" " * 10_000_000), headers=JSON, timeout=10)
        assert (one.accepted, one.asked, one.requests) == ([], 1, [])


def test_delays_take_the_request():
    """Also where the sender does not wait for the answer: that is how duplicates come about."""
    with Collector() as one:
        one.faults = [Fault(hang=0.5), Fault(drip=0.001), Fault(status=503, hang=0.1)]
        with pytest.raises(requests.Timeout):
            requests.post(one.url, data=b"[1]", headers=JSON, timeout=0.1)
        assert requests.post(one.url, data=b"[2]", headers=JSON, timeout=10).status_code == 200
        assert requests.post(one.url, data=b"[3]", headers=JSON, timeout=10).status_code == 503
        assert one.accepted == [1, 2]


def test_faults_come_one_a_request():
    """Statuses, resets and slowness as scripted; then all is well."""
    with Collector() as one:
        one.faults = [
            Fault(status=429, headers={"Retry-After": "2"}),
            Fault(reset="early"),
            Fault(reset="late", after=True),
            Fault(drip=0.001),
        ]
        answer = requests.post(one.url, data=b"[1]", headers=JSON, timeout=10)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        for _ in range(2):
            with pytest.raises(requests.ConnectionError):
                requests.post(one.url, data=b"[2]", headers=JSON, timeout=10)
        assert one.accepted == [2], "the second was taken, and its answer lost"
        assert requests.post(one.url, data=b"[3]", headers=JSON, timeout=10).status_code == 200
        assert one.accepted == [2, 3]
