"""Faults of our own sinks, from the experiment to what a log shipper and a metrics collector do about them."""

from __future__ import annotations

import http.server
import json
import threading
import time

import pytest

from extensions.chaos_injector.faults.sinks import Sinks
from tests.extensions.chaos_injector.conftest import PLUGIN, experiment
from tests.extensions.chaos_injector.test_resources import fault
from tests.receivers.collector import Collector

SHIPPER = "extensions.log_shipper.plugin:LogShipper"
COLLECTOR = "extensions.metrics_collector.plugin:MetricsCollector"


@pytest.fixture
def receiver():
    with Collector() as receiver:
        yield receiver


def ship(start, receiver, *faults, runtime="python"):
    return start(
        experiment(*faults), plugins=(PLUGIN, SHIPPER), runtime=runtime,
        variables={
            "LOG_SHIPPER_SINK": "http", "LOG_SHIPPER_ENDPOINT": receiver.url, "EXTENSION_KIT_FLUSH": "end",
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"action": "drop"}, "dropped by the chaos injector"),
        ({"action": "status", "status": 503}, "503 by the chaos injector"),
        ({"action": "status", "status": 429, "retry_after_s": 1}, "429 by the chaos injector"),
    ],
)
def test_a_log_shipper_keeps_what_its_sink_does_not_take(start, runtime, receiver, params, said):
    """And delivers it when the sink is well again: nothing is lost, which is what such an experiment is to show."""
    chaos = ship(start, receiver, ("sink", params), runtime=runtime)
    for number in range(2):
        chaos.answer({"print": [f"line {number}"], "x": number})

    assert not receiver.requests
    assert any(said in line for line in chaos.lines)
    assert {line["type"] for line in chaos.audit("inject")} == {"sink"}
    assert "sinks.json" in chaos.files()
    chaos.write("off", "")
    chaos.answer()
    assert chaos.is_clean()
    chaos.environment.shutdown()
    assert receiver.requests, "what was kept was sent in the end"
    (account,) = [line for line in chaos.lines if "plug-in log-shipper" in line and " records = " in line]
    assert " + 0 dropped + 0 pending" in account


def test_a_metrics_collector_under_awss_emulator(start, runtime):
    """Which has no Telemetry API, so that a log shipper has nothing to send there: figures of invocations are sent."""
    chaos = start(
        experiment(("sink", {"action": "drop"})), plugins=(PLUGIN, COLLECTOR), backend="rie", runtime=runtime,
        variables={
            "METRICS_COLLECTOR_EXPORT": "otlp", "METRICS_COLLECTOR_ENDPOINT": "http://127.0.0.1:9377",
            "METRICS_COLLECTOR_INTERVAL": "1ms", "EXTENSION_KIT_FLUSH": "end",
        },
    )  # fmt: skip
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    # in a network of its own
    server = chaos.call(lambda: http.server.ThreadingHTTPServer(("127.0.0.1", 9377), Handler))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(3):
            chaos.answer()
        assert {line["type"] for line in chaos.told("inject", count=3)} == {"sink"}
        chaos.told_line("dropped by the chaos injector")
        assert not taken
        chaos.write("off", "")
        limit = time.monotonic() + 20
        while not taken:
            assert time.monotonic() < limit, chaos.lines
            chaos.answer()
        assert chaos.is_clean()
        server.shutdown()


def test_an_order_ends_with_the_next_invocation_that_is_spared(start, receiver):
    """Extensions send after the response, so that the order outlives its invocation; not the next one."""
    chaos = ship(
        start, receiver, {"type": "sink", "params": {"action": "drop"}, "match": [{"path": "x", "value": "1"}]}
    )
    chaos.answer({"x": 1})
    assert "sinks.json" in chaos.files()
    chaos.answer({"x": 2})
    assert "sinks.json" not in chaos.files()
    assert chaos.is_clean()


@pytest.mark.parametrize(("until_ms", "good_ms"), [(3_600_000, 60_000), (5_000, 5_000)])
def test_an_order_is_good_for_a_minute_at_most(tmp_path, until_ms, good_ms):
    """After the injector's last word: one that has been killed takes nothing back."""
    orders = tmp_path / "sinks.json"
    now_ms = 1_700_000_000_000
    one = fault("sink", action="drop")

    assert Sinks(str(orders)).begin(one, now_ms, now_ms + until_ms) == ""

    assert json.loads(orders.read_text())["until_ms"] == now_ms + good_ms


def test_what_is_measured_under_chaos_says_so(start, tmp_path):
    """Figures of an experiment are told apart from those of every day."""
    chaos = start(
        experiment(("delay", {"ms": 10})), plugins=(PLUGIN, COLLECTOR),
        variables={"METRICS_COLLECTOR_EXPORT": "emf", "METRICS_COLLECTOR_INTERVAL": "1ms", "EXTENSION_KIT_FLUSH": "end"},
    )  # fmt: skip
    for _ in range(3):
        chaos.answer()
    chaos.write("off", "")
    for _ in range(2):
        chaos.answer()
    chaos.environment.shutdown()

    documents = [json.loads(line) for line in chaos.lines if line.startswith('{"_aws"')]
    disturbed = [document for document in documents if document.get("chaos.active")]
    calm = [document for document in documents if "chaos.active" not in document]
    assert sum(document.get("chaos.injected", 0) for document in disturbed) == 3
    assert sum(sum(document.get("faas.invocations", ())) for document in disturbed) == 3
    assert sum(sum(document.get("faas.invocations", ())) for document in calm) == 2
