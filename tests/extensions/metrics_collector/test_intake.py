"""What the function sends, by the clients that functions use, over real sockets: kept until the flush, forwarded, counted."""

from __future__ import annotations

import gzip
import json
import socket
import time

import pytest
import requests
from datadog.dogstatsd import DogStatsd
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from statsd import StatsClient

from extension_kit.events import Invoke, Registration, Shutdown
from extension_kit.io.clock import Clock
from extension_kit.io.loop import Loop
from extension_kit.plugin import Context, Log, load
from extension_kit.protocol.deadline import Deadline
from extensions.metrics_collector import intake, sent
from extensions.metrics_collector.intake import Datagrams
from extensions.metrics_collector.settings import CollectorSettings
from extensions.metrics_collector.statsd import Aggregator
from tests.extensions.metrics_collector.test_invocations import done
from tests.receivers.collector import Collector, Fault
from tests.receivers.otlp_metrics import OtlpMetrics

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def deadline(ms=2_000, reason="end"):
    return Deadline(int(time.time() * 1000) + ms, lambda: int(time.time() * 1000), 0, reason)


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


class Raw(Collector):
    """Keeps what was asked as it came: headers and the bytes on the wire."""

    def _unpacked(self, headers, body):
        self.accepted.append((headers, body))
        return body

    def take(self, _path, _headers, _body):
        return 200, b""


@pytest.fixture
def said():
    return []


@pytest.fixture
def plugin_of(said):
    """A plug-in that was started and that has seen an invocation; settings by keyword."""
    made = []

    def make(**chosen):
        known = Registration("id", {"functionName": "orders", "functionVersion": "7"})
        log = Log("metrics-collector", said.append)
        settings = CollectorSettings(**{"interval": 0, "families": ("memory",), **chosen})
        context = Context("metrics-collector", {}, log, Clock(), settings, known)
        context.stream_id = "cafe"
        plugin = load("extensions.metrics_collector.plugin:MetricsCollector")
        plugin.start(context)
        plugin.on_invoke(Invoke({"requestId": "r1"}))
        made.append(plugin)
        return plugin

    yield make
    for plugin in made:
        plugin._sampler.close()
        if plugin._intake is not None:
            plugin._intake.close()


def end(plugin, ms=2_000, reason="end"):
    """The invocation ends, and the kit flushes."""
    plugin.on_telemetry([done("r1", int(time.time() * 1000))])
    plugin.flush(reason, deadline(ms, reason))


def documents(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def to(port, *datagrams, host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, (host, port))


# StatsD


def test_by_default_nothing_listens(plugin_of):
    assert plugin_of()._intake is None


def test_clients_of_statsd_and_of_datadog(plugin_of, capfd):
    """Both, with what each has of its own."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    plain = StatsClient("127.0.0.1", port, prefix="shop")
    plain.incr("orders", 3)
    plain.timing("took", 320)
    plain.gauge("level", 10)
    plain.gauge("level", -4, delta=True)
    plain.set("users", "anna")
    with plain.pipeline() as several:
        several.incr("orders")
        several.decr("orders", 2)
    dog = DogStatsd("127.0.0.1", port, constant_tags=["env:prod"])
    dog.increment("dog.orders", 2, tags=["kind:book"])
    dog.distribution("dog.took", 0.5)
    dog.histogram("dog.size", 7)
    dog.gauge("dog.level", 5)
    dog.set("dog.users", "anna")
    dog.event("deployed", "it was")  # no metric
    dog.flush()
    end(plugin)
    ours, *theirs = documents(capfd)
    assert ours["lambda.statsd.malformed"] == 1.0
    found = {name: one[name] for one in theirs for name in one if name.startswith(("shop.", "dog."))}
    assert found == {
        "shop.orders": [2.0], "shop.took": [320.0], "shop.level": [6.0], "shop.users": [1.0], "dog.orders": [2.0],
        "dog.took": [0.5], "dog.size": [7.0], "dog.level": [5.0], "dog.users": [1.0],
    }  # fmt: skip
    (orders,) = [one for one in theirs if "dog.orders" in one]
    assert (orders["env"], orders["kind"], orders["faas.name"]) == ("prod", "book", "orders")
    assert orders["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["env", "kind", "faas.name"]]
    dog.close_socket()
    plain.close()


def test_both_exporters_get_it(plugin_of, capfd):
    port = free_port(socket.SOCK_DGRAM)
    with OtlpMetrics() as receiver:
        plugin = plugin_of(statsd_port=port, export=("emf", "otlp"), endpoint=receiver.url)
        for number in (1, 2):
            to(port, b"hits:%d|c\ntook:%d|ms" % (number, number))
            end(plugin)
        assert receiver.refused == []
        assert (receiver.total("hits"), receiver.total("took")) == (3.0, 3.0)
    found = documents(capfd)
    assert [one["hits"] for one in found if "hits" in one] == [[1.0], [2.0]]


def test_only_loopback_is_listened_on(plugin_of):
    """Of both kinds, and 127.0.0.1 at least."""
    plugin = plugin_of(statsd_port=free_port(socket.SOCK_DGRAM), otlp_port=free_port())
    sockets = [*plugin._intake.datagrams._sockets, *plugin._intake.requests._server._listeners]
    hosts = {sock.getsockname()[0] for sock in sockets}
    assert "127.0.0.1" in hosts
    assert hosts <= {"127.0.0.1", "::1"}


def test_ipv6_is_listened_on_where_there_is_any(plugin_of, capfd):
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    if len(plugin._intake.datagrams._sockets) == 1:
        return  # none here
    to(port, b"six:6|c", host="::1")
    end(plugin)
    assert [one["six"] for one in documents(capfd) if "six" in one] == [[6.0]]


def test_nothing_is_read_before_the_response(plugin_of, capfd):
    """Datagrams are fetched from the kernel at most, and what reads them is not even made."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    to(port, *[b"hits:1|c"] * 50)
    until(lambda: len(plugin._intake.datagrams._waiting) == 50)
    assert plugin._collecting is None
    end(plugin)
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[50.0]]


def test_what_comes_before_the_interval_is_over_goes_with_what_follows(plugin_of, capfd):
    """And at the end all of it, also what has come after the last flush."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port, interval=600_000)
    to(port, b"hits:1|c")
    end(plugin)
    to(port, b"hits:2|c")
    plugin.flush("end", deadline())
    to(port, b"hits:3|c")
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline())
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[1.0], [5.0]]


def test_what_the_kernel_had_no_room_for_is_counted():
    """While nobody fetches anything: taken and lost are what was sent."""
    port = free_port(socket.SOCK_DGRAM)
    loop = Loop()
    datagrams = Datagrams(loop, [intake._udp("127.0.0.1", port)])
    try:
        to(port, *[b"hits:1|c|#padding:" + b"x" * 400] * 40_000)
        taken = 0
        while some := datagrams.take():
            assert len(some) < 3_000  # a megabyte
            taken += len(some)
        lost = datagrams.lost()
        assert 0 < taken < 40_000
        assert taken + lost == 40_000
        assert datagrams.lost() == 0
    finally:
        datagrams.close()
        loop.close()


def test_a_flood_is_bounded_and_what_is_lost_is_told(plugin_of, capfd):
    """Here in the list and there in the kernel; afterwards there is room again."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    to(port, *[b"hits:1|c|#padding:" + b"x" * 1_000] * 30_000)
    assert plugin._intake.datagrams._size < 1_200_000
    end(plugin, 10_000)
    to(port, b"later:1|c")
    until(lambda: plugin._intake.datagrams.pending == 1)
    end(plugin, 10_000)
    found = documents(capfd)
    hits = sum(sum(one["hits"]) for one in found if "hits" in one)
    lost = sum(one["lambda.statsd.lost"] for one in found if "lambda.statsd.lost" in one)
    assert hits > 0
    assert hits + lost == 30_000
    assert [one["later"] for one in found if "later" in one] == [[1.0]]


def test_much_that_waits_is_read_though_nothing_is_exported(plugin_of, capfd):
    """Or a busy function would lose it before the interval is over."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port, interval=600_000)
    end(plugin)
    for _ in range(20):
        for _ in range(10):
            to(port, *[b"hits:1|c|#padding:" + b"x" * 1_000] * 20)
            until(lambda: not kernel_has(plugin))
        plugin.flush("end", deadline())
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline(10_000))
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[4_000.0]]


def kernel_has(plugin):
    """Whether something is left there."""
    for sock in plugin._intake.datagrams._sockets:
        try:
            sock.recv(1, socket.MSG_PEEK)
            return True
        except BlockingIOError:
            continue
    return False


def test_what_there_is_no_time_for_waits(plugin_of, capfd):
    """A flush with hardly any time reads nothing that it could not send."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    to(port, *[b"hits:1|c"] * 150)
    end(plugin, sent._KEPT_MS // 2)
    end(plugin)
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[150.0]]


def test_no_line_costs_those_that_came_with_it(plugin_of, capfd, monkeypatch):
    """Whatever is wrong with it, also what nobody has thought of."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    take_in = Aggregator._take_in

    def odd(self, line, at_ms):
        if line.startswith("odd"):
            raise ZeroDivisionError("nobody has thought of this")
        take_in(self, line, at_ms)

    monkeypatch.setattr(Aggregator, "_take_in", odd)
    to(port, b"hits:1|c", b"hits:1|ms|@1e-310\nodd:1|c", b"hits:1|c")
    end(plugin)
    found = documents(capfd)
    assert [one["hits"] for one in found if "hits" in one] == [[2.0]]
    assert found[0]["lambda.statsd.malformed"] == 2.0


def test_one_line_says_what_is_wrong(plugin_of, said, capfd):
    """Of the first that is no metric; all are counted."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port, statsd_series=2)
    for _ in range(3):
        to(port, b"hits:many|c\nhits:1|q", b"a:1|c\nb:1|c\nc:1|c")
        end(plugin)
    assert said == [
        "[metrics-collector] WARNING StatsD from the function: 'hits:many|c': 'many' is no number; it and others like it "
        "are left out, and counted\n"
    ]
    found = [one for one in documents(capfd) if "lambda.statsd.malformed" in one]
    assert [one["lambda.statsd.malformed"] for one in found] == [2.0] * 3
    assert [one["lambda.statsd.overflow"] for one in found] == [1.0] * 3


@pytest.mark.parametrize(("name", "kind"), [("statsd_port", socket.SOCK_DGRAM), ("otlp_port", socket.SOCK_STREAM)])
def test_a_port_that_is_taken_is_one_line(plugin_of, said, capfd, name, kind):
    """And everything else goes on."""
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        plugin = plugin_of(**{name: port})
        end(plugin)
    variable = f"METRICS_COLLECTOR_{name.upper()}"
    assert said == [
        f"[metrics-collector] ERROR {variable}: port {port}: Address already in use; nothing is taken there\n"
    ]
    assert documents(capfd)[0]["faas.invocations"] == [1.0]


def test_series_that_could_not_be_sent_wait_as_one(plugin_of):
    """An endpoint that is away for long costs no memory, and nothing of what was counted."""
    port = free_port(socket.SOCK_DGRAM)
    with OtlpMetrics() as receiver:
        plugin = plugin_of(statsd_port=port, export=("otlp",), endpoint=receiver.url)
        receiver.dead = True
        for _ in range(20):
            to(port, b"hits:1|c\ntook:5|ms")
            end(plugin, 200)
            assert plugin._collecting.pending
        (outlet,) = plugin._collecting._outlets
        assert len(outlet._series) <= 2
        receiver.dead = False
        plugin.flush("shutdown", deadline(5_000, "shutdown"))
        assert (receiver.total("hits"), receiver.total("took")) == (20.0, 100.0)
        assert plugin._collecting.pending == 0


# OTLP


def test_the_sdks_exporter_is_forwarded_unchanged(plugin_of):
    """What the endpoint gets is byte for byte what the function has sent, with the settings' headers."""
    port = free_port()
    with Raw() as receiver, OtlpMetrics() as strict:
        plugin = plugin_of(
            otlp_port=port, export=("otlp",), endpoint=f"{receiver.url}/there", headers=("X-Key=secret",)
        )
        exporter = OTLPMetricExporter(f"http://localhost:{port}/v1/metrics", compression=None)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
        provider = MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter("shop").create_counter("orders").add(7)
        assert provider.force_flush(5_000)
        assert receiver.asked == 0  # before the flush nothing is sent
        end(plugin)
        provider.shutdown()
        ((headers, body),) = [
            (headers, body) for headers, body in receiver.accepted if b"orders" in body and b"shop" in body
        ]
        assert (headers["x-key"], headers["content-type"]) == ("secret", "application/x-protobuf")
        assert "content-encoding" not in headers
        request = ExportMetricsServiceRequest.FromString(body)
        (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
        assert metric.sum.data_points[0].as_int == 7
        assert strict.refused == []


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "application/x-protobuf"])
def test_every_encoding_is_passed_on(plugin_of, kind, packed):
    """And answered in kind: an empty ExportMetricsServiceResponse."""
    port = free_port()
    body = b'{"resourceMetrics": []}' if kind == "application/json" else b"\x0a\x00"
    body = gzip.compress(body) if packed else body
    headers = {"Content-Type": kind, **({"Content-Encoding": "gzip"} if packed else {})}
    with Raw() as receiver:
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url)
        answer = requests.post(f"http://127.0.0.1:{port}/v1/metrics", data=body, headers=headers, timeout=5)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, kind)
        assert answer.content == (b"{}" if kind == "application/json" else b"")
        end(plugin)
        taken = [(told.get("content-type"), told.get("content-encoding"), data) for told, data in receiver.accepted]
        assert (kind, "gzip" if packed else None, body) in taken


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "why"),
    [
        ("POST", "/v1/traces", PROTOBUF, 404, "only /v1/metrics is taken here, no traces and no logs"),
        ("POST", "/v1/logs", PROTOBUF, 404, "only /v1/metrics is taken here, no traces and no logs"),
        ("POST", "/v1/metrics", {"Content-Type": "text/plain"}, 415, "application/x-protobuf or application/json"),
        ("POST", "/v1/metrics", {**PROTOBUF, "Content-Encoding": "br"}, 415, "compressed with gzip"),
    ],
)
def test_what_is_not_taken_is_answered_counted_and_said_once(plugin_of, said, method, path, headers, status, why):
    port = free_port()
    with OtlpMetrics() as receiver:
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url)
        for _ in range(2):
            answer = requests.request(method, f"http://127.0.0.1:{port}{path}", data=b"x", headers=headers, timeout=5)
            assert answer.status_code == status
            assert why in answer.text
        end(plugin)
        plugin.flush("end", deadline())
        assert receiver.total("lambda.otlp.refused") == 2.0
    assert len(said) == 1
    assert f"OTLP from the function is refused with {status}: " in said[0]


def test_another_method_is_no_loss(plugin_of, said):
    """A look in a browser, say."""
    port = free_port()
    plugin_of(otlp_port=port, export=("otlp",), endpoint="http://127.0.0.1:1")
    answer = requests.get(f"http://127.0.0.1:{port}/v1/metrics", timeout=5)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert said == []


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"export": ("emf",)}, "METRICS_COLLECTOR_EXPORT has no otlp"),
        ({"export": ("otlp",)}, "METRICS_COLLECTOR_ENDPOINT is no URL"),
    ],
)
def test_where_nothing_can_be_forwarded_it_is_refused(plugin_of, said, chosen, why):
    """With a status that no client tries again, and a line at the start."""
    port = free_port()
    plugin = plugin_of(otlp_port=port, **chosen)
    (line,) = said
    assert f"METRICS_COLLECTOR_OTLP_PORT: {why}" in line
    answer = requests.post(f"http://127.0.0.1:{port}/v1/metrics", data=b"", headers=PROTOBUF, timeout=5)
    assert (answer.status_code, why in answer.text) == (403, True)
    assert plugin._intake.requests.refused() == 1


def test_what_waits_is_bounded(plugin_of, said):
    """The client is told at once and tries no more; what was taken goes out, and then there is room again."""
    port, url = free_port(), ""
    with Raw() as receiver:
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url)
        url = f"http://127.0.0.1:{port}/v1/metrics"
        large = b"x" * 1_500_000

        def posted():
            return requests.post(url, data=large, headers=PROTOBUF, timeout=5).status_code

        assert [posted() for _ in range(3)] == [200, 200, 413]
        receiver.dead = True
        end(plugin, 300)
        assert posted() == 413  # what was taken is still in hand
        receiver.dead = False
        plugin.flush("shutdown", deadline(5_000, "shutdown"))
        assert posted() == 200
        plugin.flush("shutdown", deadline(5_000, "shutdown"))
        assert [len(body) for _, body in receiver.accepted].count(len(large)) == 3
    assert any("there is no more room" in line for line in said)


def test_what_waits_goes_before_there_is_no_room(plugin_of, said):
    """Though the interval is not over; an endpoint that takes everything gets everything."""
    port = free_port()
    with Raw() as receiver:
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url, interval=600_000)
        end(plugin)
        large = b"x" * 1_000_000
        for number in range(8):
            answer = requests.post(f"http://127.0.0.1:{port}/v1/metrics", data=large, headers=PROTOBUF, timeout=5)
            assert (number, answer.status_code) == (number, 200)
            plugin.flush("end", deadline())
        plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline())
        assert [body for _, body in receiver.accepted].count(large) == 8
    assert said == []


def test_requests_without_a_body_take_room_too(plugin_of):
    """Of 4 MiB each takes a thousand bytes."""
    port = free_port()
    plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint="http://127.0.0.1:1")
    sent_ones, taken = 4_400, 0
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        lines = "POST /v1/metrics HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 0"
        for _ in range(sent_ones // 100):
            client.sendall(100 * ("\r\n".join(lines) + "\r\n\r\n").encode())
            answers = b""
            while answers.count(b"HTTP/1.1 ") < 100:
                answers += client.recv(65_536)
            taken += answers.count(b"HTTP/1.1 200")
    assert taken == 4_194
    assert plugin._intake.requests.refused() == sent_ones - taken


def upload(port, length, part):
    """A request that does not come whole: the socket, after `part` bytes of its body."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    head = f"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    sock.sendall(head.encode() + b"x" * part)
    return sock


def test_uploads_that_never_end_have_one_limit_together(plugin_of, said):
    """That of what waits; the one that goes beyond is refused, counted, said once. Another is taken when they have gone."""
    port = free_port()
    plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint="http://127.0.0.1:1")
    server = plugin._intake.requests._server
    uploads = []
    try:
        for number in range(4):
            uploads.append(upload(port, 4_000_000, 1_000_000))
            until(lambda expected=number: server.held > expected * 1_000_000 + 999_999)
        for number in range(3):
            uploads.append(upload(port, 4_000_000, 1_000_000))
            assert uploads[-1].recv(100).startswith(b"HTTP/1.1 413 ")
            until(lambda expected=number: plugin._intake.requests._refused == expected + 1)
            assert server.held < 4_100_000  # with its heads: what was refused is gone
    finally:
        for one in uploads:
            one.close()
    (line,) = said
    assert "OTLP from the function is refused with 413: 4259840 bytes wait for the rest of their requests" in line
    until(lambda: not server.held)
    answer = requests.post(f"http://127.0.0.1:{port}/v1/metrics", data=b"x" * 3_000_000, headers=PROTOBUF, timeout=5)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n", 413),
        (b"POST /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"\x16\x03\x01\x02\x00", 400),
    ],
)
def test_what_the_server_refuses_is_counted_and_said_too(plugin_of, said, raw, status):
    """A body that is larger than all that may wait; another protocol."""
    port = free_port()
    plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint="http://127.0.0.1:1")
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(raw)
            assert client.recv(100).startswith(b"HTTP/1.1 %d " % status)
    assert plugin._intake.requests.refused() == 2
    (line,) = said
    assert f"OTLP from the function is refused with {status}: " in line


def test_a_request_that_the_endpoint_refuses_is_counted(plugin_of, said):
    port = free_port()
    with OtlpMetrics() as receiver:
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url)
        requests.post(f"http://127.0.0.1:{port}/v1/metrics", data=b"\xff", headers=PROTOBUF, timeout=5)
        end(plugin)
        plugin.flush("end", deadline())
        assert receiver.total("lambda.otlp.lost") == 1.0
        assert [status for status, _ in receiver.refused] == [400]
    assert said == ["[metrics-collector] WARNING otlp from the function: answers 400\n"]


def test_a_partial_success_is_said(plugin_of, said):
    """In the encoding in which it was asked."""
    from extensions.metrics_collector.exporters.make import _rejected

    told = b'{"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "too old"}}'
    assert _rejected(told, "application/json") == (3, "too old")
    for odd in (b"", b"{}", b"[]", b'{"partialSuccess": 7}', b"\xff"):
        assert _rejected(odd, "application/json") == (0, "")
    port = free_port()
    with OtlpMetrics() as receiver:
        receiver.rejects = 2
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url)
        exporter = OTLPMetricExporter(f"http://127.0.0.1:{port}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
        provider = MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter("shop").create_gauge("level").set(7)
        provider.force_flush(5_000)
        end(plugin)
        provider.shutdown()
    assert "[metrics-collector] WARNING otlp from the function: 2 data points were rejected: too many series\n" in said


def test_an_endpoint_that_hangs_costs_neither_of_them_the_other(plugin_of):
    """What the function has sent has connections of its own."""
    port = free_port()
    with OtlpMetrics() as receiver:
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url)
        exporter = OTLPMetricExporter(f"http://127.0.0.1:{port}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
        provider = MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter("shop").create_gauge("level").set(7)
        provider.force_flush(5_000)
        receiver.faults = [Fault(hang=1.0)]
        end(plugin, 800)
        assert plugin._collecting.pending
        plugin.flush("shutdown", deadline(5_000, "shutdown"))
        provider.shutdown()
        assert receiver.total("level") >= 7.0
