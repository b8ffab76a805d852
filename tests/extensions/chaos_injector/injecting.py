"""An injector between a scripted platform and a scripted runtime, in this process: for what needs every byte in hand."""

from __future__ import annotations

import json

from extension_kit.io.clock import Clock
from extension_kit.proxy import RuntimeProxy
from extensions.chaos_injector.audit import Audit
from extensions.chaos_injector.faults.process import Killer
from extensions.chaos_injector.faults.resources import Resources
from extensions.chaos_injector.faults.sinks import Sinks
from extensions.chaos_injector.injector import Injector
from extensions.chaos_injector.rails import Facts, Rails
from extensions.chaos_injector.settings import ChaosSettings
from tests.proxying import Runtime, Upstream


class Injecting:
    """``upstream``: the platform, ``runtime``: the runtime; both have their first connection after `begin`."""

    def __init__(self, folder, document, egress=None):
        self.lines = []
        self.counts = {}
        self.folder = str(folder)
        clock = Clock()
        audit = Audit(self.lines.append, self._count, clock)
        facts = Facts("hello", "us-east-1", "012345678912", "1", "here")
        self.rails = Rails(ChaosSettings(enabled=True), facts, audit, clock, directory=self.folder)
        self.rails.documented(document.encode(), "tests")
        assert self.rails.now() is not None, self.lines
        self.resources = Resources(self.folder, 1_024, lambda: None)
        self.injector = Injector(
            self.rails, clock, resources=self.resources, sinks=Sinks(f"{folder}/sinks.json"),
            killer=Killer(f"{folder}/kills", clock.wall_ms, lambda: None), egress=egress, told=lambda _experiment: None,
        )  # fmt: skip
        self.troubles = []
        self.upstream = Upstream()
        self.proxy = RuntimeProxy(self.upstream.address, self.injector, say=self.troubles.append)
        port = self.proxy.listen()
        self.proxy.serve()
        self.runtime = Runtime(port)

    def _count(self, name, n=1):
        self.counts[name] = self.counts.get(name, 0) + n

    def audit(self, *actions):
        found = [json.loads(line) for line in self.lines]
        return [line for line in found if not actions or line["action"] in actions]

    def close(self):
        self.runtime.close()
        self.proxy.close()
        self.upstream.close()
        self.injector.stop()
