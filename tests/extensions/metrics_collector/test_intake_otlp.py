"""OTLP that the function sends, by the clients that functions use, over real sockets: forwarded as it is, or counted."""

from __future__ import annotations

import gzip
import re
import socket
import time

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from extension_kit.events import Shutdown
from extension_kit.io.clock import Clock
from extension_kit.protocol.deadline import Deadline
from tests.extensions.metrics_collector.test_intake import deadline, end, free_port, to, until
from tests.extensions.metrics_collector.test_invocations import done
from tests.receivers.collector import Collector, Fault
from tests.receivers.otlp_metrics import OtlpMetrics

PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Raw(Collector):
    """Keeps what was asked as it came: headers and the bytes on the wire."""

    def _unpacked(self, headers, body):
        self.accepted.append((headers, body))
        return body

    def take(self, _path, _headers, _body):
        return 200, b""


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
        assert plugin._intake.requests._refused == 1
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
    endless = b'{"partialSuccess": {"rejectedDataPoints": 1e400}}'
    for odd in (b"", b"{}", b"[]", b'{"partialSuccess": 7}', b"\xff", endless):
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
        assert receiver.total("level") == 7.0
        assert plugin._collecting.pending == 0


def test_what_is_left_at_the_end_is_said_for_what_it_is(plugin_of, said):
    """Not all of it are points: one series, one request, and the two points of the invocation."""
    port, statsd = free_port(), free_port(socket.SOCK_DGRAM)
    with Raw() as receiver:
        plugin = plugin_of(otlp_port=port, statsd_port=statsd, export=("otlp",), endpoint=receiver.url)
        receiver.dead = True
        requests.post(f"http://127.0.0.1:{port}/v1/metrics", data=b"x", headers=PROTOBUF, timeout=5)
        to(statsd, b"hits:1|c")
        until(lambda: plugin._intake.datagrams.pending == 1)
        plugin.on_telemetry([done("r1", int(time.time() * 1000))])
        plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline(600, "shutdown"))
    (line,) = [line for line in said if "before the end" in line]
    assert re.search(r"WARNING \d could not be sent before the end: points, StatsD series and OTLP requests\n", line)


def test_a_flush_that_had_hardly_any_time_is_no_failure_of_the_endpoint(plugin_of):
    """What is left then is tried at the next, not half a minute later."""
    port = free_port()
    with Raw() as receiver:
        plugin = plugin_of(otlp_port=port, export=("otlp",), endpoint=receiver.url)
        end(plugin)  # which imports
        answer = requests.post(f"http://127.0.0.1:{port}/v1/metrics", data=b"x", headers=PROTOBUF, timeout=5)
        assert answer.status_code == 200
        plugin.flush("end", deadline(20))
        assert plugin._collecting.pending
        assert [outlet.turns.failed for outlet in plugin._collecting._outlets] == [0, 0]
        plugin.flush("end", deadline())
        assert plugin._collecting.pending == 0
        assert [body for _, body in receiver.accepted].count(b"x") == 1


class Stepped(Clock):
    """Can be stepped back."""

    back_ms = 0

    def wall_ms(self):
        return super().wall_ms() - self.back_ms


def test_a_clock_that_was_stepped_back_lets_nobody_be_for_hours(plugin_of):
    """One that has failed is due again though its time seems to be far ahead."""
    port, clock = free_port(), Stepped()
    with Raw() as receiver:
        plugin = plugin_of(clock, otlp_port=port, export=("otlp",), endpoint=receiver.url)
        receiver.dead = True
        end(plugin, 800)
        assert plugin._collecting.pending
        receiver.dead = False
        clock.back_ms = 3_600_000
        plugin.flush("end", Deadline(clock.wall_ms() + 2_000, clock.wall_ms, 0, "end"))
        assert plugin._collecting.pending == 0
