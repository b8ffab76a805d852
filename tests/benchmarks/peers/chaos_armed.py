"""The chaos injector as it is while an experiment is armed that spares every invocation: each is decided, and told."""

import json
import os
import sys
import time

from extension_kit.io.clock import Clock
from extension_kit.protocol.timestamps import format_ms
from extension_kit.proxy import RuntimeProxy
from extensions.chaos_injector.audit import Audit
from extensions.chaos_injector.faults import after  # noqa: F401 - as the plug-in does, before a request waits
from extensions.chaos_injector.faults.process import Killer
from extensions.chaos_injector.faults.resources import Resources
from extensions.chaos_injector.faults.sinks import Sinks
from extensions.chaos_injector.injector import Injector
from extensions.chaos_injector.rails import Facts, Rails
from extensions.chaos_injector.settings import ChaosSettings

FOLDER = sys.path[0]  # of the layer, where all of this is found
FAULTS = [
    {"id": "before", "type": "delay", "percentage": 0, "params": {"distribution": "fixed", "ms": 1}},
    {"id": "after", "type": "status_code", "percentage": 0, "params": {"status_code": 500}},
]
LOG = os.open("/dev/null", os.O_WRONLY)


def arm(rails, clock):
    """Anew, as the poller does."""
    document = {
        "version": 1, "id": "bench", "owner": "bench", "armed_until": format_ms(clock.wall_ms() + 1_800_000),
        "scope": {"functions": ["*"]}, "faults": FAULTS,
    }  # fmt: skip
    rails.documented(json.dumps(document).encode(), "bench")
    if rails.now() is None:
        sys.exit("the experiment is not armed")


def main():
    clock = Clock()
    audit = Audit(lambda line: os.write(LOG, line.encode() + b"\n"), lambda name, n: None, clock)
    facts = Facts("bench", "us-east-1", "012345678912", "1", "here")
    rails = Rails(ChaosSettings(enabled=True), facts, audit, clock, directory=FOLDER)
    arm(rails, clock)
    injector = Injector(
        rails, clock, resources=Resources(FOLDER, 1_024, lambda: None), sinks=Sinks(FOLDER + "/sinks.json"),
        killer=Killer(FOLDER + "/kills", clock.wall_ms, lambda: None), egress=None, told=lambda experiment: None,
    )  # fmt: skip
    proxy = RuntimeProxy(os.environ["PROXY_UPSTREAM"], injector, clock=clock)
    print(proxy.listen(), flush=True)
    proxy.serve()
    while True:
        time.sleep(60)
        arm(rails, clock)


main()
