"""Samplers and plug-ins that are closed after the test, and the recorded trees of /proc that samplers read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from extension_kit.events import Invoke, Registration
from extension_kit.io.clock import Clock
from extension_kit.plugin import Context, Log, load
from extensions.metrics_collector.sampling import Sampler
from extensions.metrics_collector.settings import CollectorSettings

TREES = Path(__file__).parent / "trees"


class Moments:
    """Clocks that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now_ms = 1000
        self.own = (90.0, 60.0, 30.0)
        self.thread_ns = 0

    def now_ns(self) -> int:
        return self.now_ms * 1_000_000


@pytest.fixture
def moments():
    return Moments()


@pytest.fixture
def sampler_of(moments):
    """Makes samplers: of a recorded tree or of this machine, with clocks that the test moves unless it brings others."""
    made = []

    def make(**arguments):
        own = {
            "now_ns": moments.now_ns, "thread_ns": lambda: moments.thread_ns, "own_cpu": lambda: moments.own,
            **arguments,
        }  # fmt: skip
        made.append(Sampler(**own))
        return made[-1]

    yield make
    for sampler in made:
        sampler.close()


@pytest.fixture
def tree(tmp_path):
    """Puts a recorded /proc in place, or over the one that is there: the files that are open stay the same files."""
    place = tmp_path / "proc"

    def put(name):
        shutil.copytree(TREES / name / "proc", place, dirs_exist_ok=True)
        return str(place)

    return put


@pytest.fixture
def said():
    return []


@pytest.fixture
def plugin_of(said):
    """A plug-in that was started and that has seen an invocation; settings by keyword."""
    made = []

    def make(clock=None, **chosen):
        known = Registration("id", {"functionName": "orders", "functionVersion": "7"})
        log = Log("metrics-collector", said.append)
        settings = CollectorSettings(**{"interval": 0, "families": ("memory",), **chosen})
        context = Context("metrics-collector", {}, log, clock or Clock(), settings, known)
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
