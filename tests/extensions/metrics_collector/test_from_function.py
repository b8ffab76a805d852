"""In an environment: a function that sends metrics of its own, and an endpoint that never answers."""

from __future__ import annotations

import socket
import threading

import pytest

from extension_kit.io.clock import Clock
from extension_kit.testing import Sandbox
from tests.extensions.metrics_collector.test_intake import free_port
from tests.receivers.emf import read, total
from tests.receivers.otlp_metrics import OtlpMetrics

PLUGIN = "extensions.metrics_collector.plugin:MetricsCollector"
#: by what functions use; one datagram is sent when the response is long out, most likely after a freeze
FUNCTION = """
import os
import threading
import time
from datadog.dogstatsd import DogStatsd
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader

dog = DogStatsd("127.0.0.1", int(os.environ["METRICS_COLLECTOR_STATSD_PORT"]), disable_buffering=True)
exporter = OTLPMetricExporter(
    "http://127.0.0.1:" + os.environ["METRICS_COLLECTOR_OTLP_PORT"] + "/v1/metrics",
    preferred_temporality={Counter: AggregationTemporality.DELTA},
)
provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))])
orders = provider.get_meter("shop").create_counter("sdk.orders")

def late():
    time.sleep(0.05)
    dog.increment("late", 1)

def handler(event, context):
    for _ in range(event["datagrams"]):
        dog.increment("hits", 1, tags=["kind:book"])
    dog.distribution("took", 7)
    orders.add(2)
    provider.force_flush(2_000)
    if event.get("late"):
        threading.Thread(target=late).start()
"""


@pytest.fixture
def ports():
    names = ("STATSD_PORT", socket.SOCK_DGRAM), ("OTLP_PORT", socket.SOCK_STREAM)
    return {f"METRICS_COLLECTOR_{name}": str(free_port(kind)) for name, kind in names}


@pytest.mark.parametrize("freeze", [True, False])
def test_everything_that_a_function_sends_arrives_once(ports, freeze):
    """By StatsD and by OTLP, into both outputs, over freezes and the end."""
    with OtlpMetrics() as receiver:
        sandbox = Sandbox(function=FUNCTION, timeout=10.0, memory=512, freeze=freeze)
        variables = {
            "METRICS_COLLECTOR_EXPORT": "emf,otlp", "METRICS_COLLECTOR_ENDPOINT": receiver.url,
            "METRICS_COLLECTOR_INTERVAL": "0ms", **ports,
        }  # fmt: skip
        sandbox.attach(PLUGIN, variables=variables)
        with sandbox:
            for number in range(4):
                result = sandbox.invoke({"datagrams": 200, "late": number < 2})
                assert result.function_error == "", result.payload
            sandbox.shutdown()
            lines = sandbox.lines("metrics-collector")
        now_ms = Clock().wall_ms()
        documents = [read(line, now_ms) for line in lines if line.startswith('{"_aws"')]
        assert not [line for line in lines if "WARNING" in line or "ERROR" in line]
        for name, expected in (("hits", 800), ("took", 28), ("late", 2)):
            assert total(documents, name) == receiver.total(name) == expected
        assert receiver.total("sdk.orders") == 8.0
        assert receiver.total("lambda.statsd.lost") == 0
        assert receiver.total("faas.invocations") == 4.0
        assert receiver.refused == []
        tags = {tuple(one.attributes.items()) for one in receiver.accepted if one.name == "hits"}
        assert tags == {(("kind", "book"),)}


@pytest.fixture
def black_hole():
    """Connections are accepted, and nothing is ever answered."""
    server = socket.create_server(("127.0.0.1", 0))
    held = []

    def accept():
        while True:
            try:
                held.append(server.accept()[0])
            except OSError:
                return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)
    for one in held:
        one.close()


def test_an_endpoint_that_never_answers_costs_one_long_flush(black_hole):
    """Then it is let be, and has a second at most when its turn comes; EMF goes on meanwhile, at each flush."""
    sandbox = Sandbox(timeout=30.0)
    variables = {
        "METRICS_COLLECTOR_EXPORT": "emf,otlp", "METRICS_COLLECTOR_ENDPOINT": f"http://127.0.0.1:{black_hole}",
        "METRICS_COLLECTOR_INTERVAL": "0ms", "METRICS_COLLECTOR_TIMEOUT": "2s",
    }  # fmt: skip
    sandbox.attach("tests.plugins_for_sandbox:TimedCollector", variables=variables)
    with sandbox:
        for number in range(12):
            sandbox.invoke()
            if number % 3 == 2:
                sandbox.step_clock(40)  # its turn has come again
        sandbox.shutdown()
        sent = [line.split()[1:] for line in sandbox.lines("metrics-collector") if line.startswith("SEND ")]
        lines = [line for line in sandbox.lines("metrics-collector") if line.startswith('{"_aws"')]
    given = [int(ms) for name, reason, ms, _ in sent if name == "otlp" and reason != "shutdown"]
    assert given[0] > 3_000
    assert 3 <= len(given[1:]) <= 8
    assert max(given[1:]) <= 1_000
    assert all(left == "0" for name, _, _, left in sent if name == "emf")
    assert sum(name == "emf" for name, reason, _, _ in sent if reason != "shutdown") >= 12
    documents = [read(line, Clock().wall_ms() + 200_000) for line in lines]
    assert total(documents, "faas.invocations") == 12.0


def test_a_handlers_exception_is_what_the_platform_says(ports):
    """The emulator says "success" of one that the runtime has reported, as AWS's emulator does; so it is no ``faas.errors``.

    What Lambda itself says there is not written down anywhere: were it "error", it would be counted as that (`test_plugin`).
    """
    sandbox = Sandbox(function="def handler(event, context):\n    raise ValueError('no')\n")
    sandbox.attach(PLUGIN, variables={"METRICS_COLLECTOR_INTERVAL": "0ms"})
    with sandbox:
        assert sandbox.invoke().function_error == "Unhandled"
        sandbox.shutdown()
        documents = [
            read(line, Clock().wall_ms()) for line in sandbox.lines("metrics-collector") if line.startswith('{"_aws"')
        ]
    assert (total(documents, "faas.invocations"), total(documents, "faas.errors")) == (1.0, 0.0)
