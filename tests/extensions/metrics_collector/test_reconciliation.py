"""What a receiver counts is what was invoked, exactly: over crashes, timeouts, a sink that is away, ends of environments."""

from __future__ import annotations

import os

import pytest

from extension_kit.io.clock import Clock
from extension_kit.testing import Sandbox
from tests.receivers.emf import read, total
from tests.receivers.otlp_metrics import OtlpMetrics
from tests.receivers.programs import or_skip
from tests.receivers.rotel import Rotel

pytestmark = pytest.mark.once

N = int(os.environ.get("KIT_TESTS_INVOCATIONS", "60"))  # a thousand in the long runs
EACH = 20 if N < 1_000 else 100  # invocations of an environment
NAMES = ("faas.invocations", "faas.errors", "faas.timeouts")
FUNCTION = """
import os
import time
def handler(event, context):
    if event["kind"] == "crash":
        os._exit(1)
    time.sleep(30 if event["kind"] == "timeout" else 0)
    if event["kind"] == "raise":
        raise ValueError("no")
"""
DEAD_S = 61  # seconds on, a breaker that was opened meanwhile lets one through


@pytest.fixture
def receiver(tmp_path):
    """A strict one, which can be away; rotel has to take what it takes."""
    with or_skip(Rotel, tmp_path, prints="metrics") as rotel, OtlpMetrics(rotel.url) as made:
        made.rotel = rotel
        yield made


def environment(receiver, interval="0ms", **options):
    """Both exporters; the handler does what the event says."""
    sandbox = Sandbox(function=FUNCTION, timeout=1.0, **options)
    settings = {"EXPORT": "emf,otlp", "ENDPOINT": receiver.url, "INTERVAL": interval}
    variables = {f"METRICS_COLLECTOR_{name}": value for name, value in settings.items()}
    sandbox.attach("extensions.metrics_collector.plugin:MetricsCollector", variables=variables)
    return sandbox


def counted(receiver, documents):
    """(invocations, errors, timeouts) as each receiver has them."""
    return [tuple(total(documents, name) for name in NAMES), tuple(receiver.total(name) for name in NAMES)]


def documents_of(sandbox, jumps=0):
    now_ms = Clock().wall_ms() + jumps * DEAD_S * 1000
    # Where nothing is a metric a line is for Logs Insights alone.
    return [read(line, now_ms) for line in sandbox.lines("metrics-collector") if line.startswith('{"_aws"')]


def run(sandbox, kinds, receiver, away=()):
    """One environment; its documents. ``away``: numbers of the invocations during which the sink is dead."""
    jumps = 0
    with sandbox:
        for number, kind in enumerate(kinds):
            if receiver.dead and number not in away:
                sandbox.step_clock(DEAD_S)
                jumps += 1
            receiver.dead = number in away
            result = sandbox.invoke({"kind": kind})
            assert bool(result.function_error) == (kind != "fine")
        sandbox.shutdown()
        account = sandbox.account("metrics-collector")
        assert (account.dropped, account.pending) == (0, 0)
        return documents_of(sandbox, jumps)


def judged(receiver, name):
    """What rotel has printed, which is all of it."""
    found = receiver.rotel.data_points(len(receiver.accepted), 60)
    return sum(one.value for one in found if one.name == name)


@pytest.mark.timeout(60 + N)
def test_every_invocation_is_counted_once_while_the_sink_comes_and_goes(receiver):
    """In environments that live from one end to the other; the sink is away in every second one, twice."""
    documents, made = [], 0
    for number in range(N // EACH):
        kinds = ["raise" if one % 7 == 3 else "fine" for one in range(EACH)]
        away = {2, 3, 4, 5, 6, EACH - 6, EACH - 5} if number % 2 else ()
        documents += run(environment(receiver, ("0ms", "10s")[number % 3 == 2]), kinds, receiver, away)
        made += len(kinds)
    assert made == N
    lines, requests = counted(receiver, documents)
    assert (sum(lines), sum(requests)) == (N, N)
    assert lines == requests
    assert receiver.refused == []
    for name in NAMES:
        assert judged(receiver, name) == receiver.total(name)


@pytest.mark.timeout(60 + N)
def test_every_invocation_is_counted_once_over_crashes_and_timeouts(receiver):
    """Each of them costs the processes; what comes after them is a new life of the extension, which counts its own."""
    documents, crashes, timeouts, made = [], 0, 0, 0
    for number in range(N // EACH):
        kinds = ["fine"] * EACH
        for place in range(number % 3, EACH, 10):
            kinds[place] = "timeout" if place % 20 < 10 else "crash"
        documents += run(environment(receiver), kinds, receiver)
        crashes, timeouts = crashes + kinds.count("crash"), timeouts + kinds.count("timeout")
        made += len(kinds)
    lines, requests = counted(receiver, documents)
    assert lines == requests == (made - crashes - timeouts, crashes, timeouts)
    assert receiver.refused == []
