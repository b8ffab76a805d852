"""All four in one process for a long time, and nothing grows, and the sums are right at the end.

Drawn with a seed: sinks that fail, an AWS that throttles, telemetry that comes twice or out of order, clocks that jump, a few
resets, and a chaos plan; and after each invocation a freeze.

KIT_TESTS_TOGETHER says for how many invocations (`make soak`: 20,000).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from extension_kit.emulator.faults import Faults
from extension_kit.protocol.timestamps import format_ms
from extension_kit.testing import _ACCOUNT
from tests.conftest import ISOLATED
from tests.extensions.chaos_injector.conftest import experiment
from tests.receivers.aws import Fault as AwsFault
from tests.receivers.collector import Fault
from tests.together import ONE, SHIPPER, Running, World, armed, one_process

pytestmark = [pytest.mark.skipif(not ISOLATED, reason="namespaces are refused here"), pytest.mark.once]

COUNT = int(os.environ.get("KIT_TESTS_TOGETHER", "100"))
SEED = int(os.environ.get("KIT_TESTS_SEED", "20100"))
RESETS_UNTIL = 0.15  # of all invocations; the life that is measured begins then
WARM = 0.3  # when it has seen everything that it will see: 1,000 invocations are remembered, megabytes of batches kept
LEAST = 5_000  # invocations by which growth can be told from what an allocator does
#: What is resident has its highest water in the worst outage so far, which the allocator hardly gives back; what is allocated
#: between outages is what a leak would show in: so many blocks of Python's (64 bytes on average), and bytes resident in all.
MOST_BLOCKS, MOST_RSS = 20_000, 150_000_000
GAUGE = """
import sys, types
CODE = '''
import sys
from extension_kit.plugin import Plugin
class Gauge(Plugin):
    name = "gauge"
    calls = 0
    def on_invoke(self, event):
        self.calls += 1
        if self.calls % 10 == 0:
            print("blocks", sys.getallocatedblocks(), flush=True)
'''
gauge = sys.modules["gauge"] = types.ModuleType("gauge")
exec(CODE, gauge.__dict__)
"""
#: the spool keeps its newest two segments and the one that is written; besides, what waits while a sink is down
MOST_TMP, MOST_TMP_AT_REST = 20_000_000, 4_000_000
CHAOS = (
    {"type": "delay", "id": "d", "percentage": 2, "params": {"distribution": "uniform", "min_ms": 1, "max_ms": 20}},
    {"type": "error", "id": "e", "percentage": 1, "params": {}},
    {"type": "mutate_event", "id": "m", "percentage": 1, "params": {"set": {"mutated": 1}}},
    {"type": "tmp", "id": "t", "percentage": 0.5, "params": {"mb": 4}},
    {"type": "sink", "id": "s", "percentage": 1, "params": {"action": "status", "status": 503}},
)
TELEMETRY = ("telemetry-duplicated:every=41", "telemetry-reordered:every=53")


def plan(until_ms):
    limits = {"max_injections": 10_000, "max_per_minute": 1_000}
    return experiment(*CHAOS, id="soak", seed="soak", limits=limits, armed_until=format_ms(until_ms), lease_s=3_600)


class Figures:
    """What the process holds, taken while it is frozen."""

    def __init__(self, running) -> None:
        (self.pid,) = running.pids()
        status = Path(f"/proc/{self.pid}/status").read_text().split("\n")
        fields = dict(line.split(":", 1) for line in status if ":" in line)
        self.rss = int(fields["VmRSS"].split()[0]) * 1024
        self.threads = int(fields["Threads"])
        self.descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        self.tmp, self.large = running.environment._place.call(lambda: _size("/tmp"))

    def __str__(self) -> str:
        held = f"{self.rss / 1e6:.1f} MB, {self.descriptors} descriptors, {self.threads} threads"
        return f"{held}, {self.tmp / 1e6:.1f} MB in /tmp {self.large or ''}"


def _size(folder):
    """Bytes below `folder`, but for what is mounted there (a checkout, say); and what is large of it."""
    device, size, large = os.lstat(folder).st_dev, 0, []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if os.lstat(os.path.join(place, name)).st_dev == device]
        for name in names:
            one = os.lstat(os.path.join(place, name)).st_blocks * 512
            size += one
            large += [(name, one)] if one > 1_200_000 else []
    return size, large


def last_lines(running) -> list[str]:
    """What the function has said of its last failure."""
    lines = [event for event in running.environment.log.of_kind("log") if event["party"] == "runtime"]
    return [event["text"] for event in lines[-6:]]


class Soak:
    """One run, and what it has seen."""

    def __init__(self, world, running) -> None:
        self.world, self.running = world, running
        self.dice = random.Random(SEED)
        self.secrets = ["one"]
        self.lines: set[str] = set()  # function lines that must arrive
        self.arrived: Counter[str] = Counter()  # by id
        self.texts: Counter[str] = Counter()
        self.invocations = 0.0  # as the receiver has them
        self.made = self.resets = self.chaotic = 0
        self.injected: Counter[str] = Counter()
        self.blocks: list[int] = []  # that Python has allocated, in the life that is measured
        self.happened: Counter[str] = Counter()
        self.troubled_until = -1  # while AWS misbehaves a value that was rotated away may be answered
        self.figures: list[Figures] = []

    def run(self) -> None:
        for n in range(COUNT):
            self._disturb(n)
            self._invoke(n)
            if n % 50 == 49:
                self._collect()
            if n >= COUNT * WARM and n % max(1, COUNT // 200) == 0:
                self.figures.append(Figures(self.running))
                if len(self.figures) % 20 == 1:
                    print(f"{n}: {self.figures[-1]}", flush=True)
        self._calm()
        self.running.invoke(COUNT, lines=0)
        self.made += 1
        self.figures.append(Figures(self.running))
        self.running.shutdown()
        self._collect()

    def _disturb(self, n) -> None:
        """Perhaps something goes wrong from here on."""
        if self.world.aws._faults:  # they wait until AWS is asked; then the last value is used for a while
            self.troubled_until = n + 300
        draw = self.dice.random
        world = self.world
        for name, receiver in (("lines", world.lines), ("metrics", world.metrics)):
            if receiver.dead:
                receiver.dead = draw() > 0.2
            elif draw() < 0.01:
                receiver.dead = True
                self.happened[f"{name} down"] += 1
            elif draw() < 0.03:
                fault = self.dice.choice([
                    Fault(status=503), Fault(status=429, headers={"Retry-After": "0"}), Fault(reset="early"),
                    Fault(reset="middle"), Fault(hang=0.05), Fault(status=500, hang=0.02),
                ])  # fmt: skip
                receiver.faults.append(fault)
                self.happened[f"{name}: {fault.status or fault.reset or 'slow'}"] += 1
        if draw() < 0.01 and not world.aws._faults:  # AWS is asked rarely: else they would add up to an outage of hours
            kind = self.dice.choice([AwsFault("throttle", 2), AwsFault("status", 2), AwsFault("reset", 2)])
            world.aws.script(kind)
            self.happened[f"AWS: {kind.kind}"] += 1
        if draw() < 0.01:
            self._jump(n)

    def _jump(self, n) -> None:
        seconds = self.dice.choice([-3, 15, 40, 70, 400, 700])
        self.happened[f"clock {seconds:+} s"] += 1
        self.running.step_clock(seconds)
        self.arm()
        if seconds >= 400 and n > self.troubled_until and not self.world.aws._faults:
            self.secrets.append(f"value-{n}")
            self.world.aws.rotate("db", self.secrets[-1])

    def arm(self) -> None:
        """The plan ends in an hour of the clock that the plug-ins see."""
        now_ms = int(time.time() * 1000) + self.running._offset_ms
        text = plan(now_ms + 3_000_000)
        path = "/tmp/.extension-kit/chaos-injector/experiment.json"

        def write() -> None:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            Path(f"{path}.part").write_text(text)
            Path(f"{path}.part").replace(path)

        self.running.environment._place.call(write)

    def _invoke(self, n) -> None:
        lines = self.dice.randrange(6)
        reset = n < COUNT * RESETS_UNTIL and self.dice.random() < max(0.004, 3 / (COUNT * RESETS_UNTIL))
        if reset:
            self._calm()
        answer = self.running.invoke(n, lines=lines, **({"exit": 1} if reset else {}))
        self.made += 1
        if answer == "Chaos.InjectedError":
            self.chaotic += 1
            return
        self.lines.update(f"line {n} {line}" for line in range(lines))
        if reset:
            self.resets += 1
            assert answer == "Runtime.ExitError"
            return
        known = self.secrets[-2:] if n <= self.troubled_until else self.secrets[-1:]
        assert isinstance(answer, dict), (n, answer, self.running.said[-20:], last_lines(self.running))
        assert (answer["n"], answer["parameter"]) == (n, "5")
        assert answer["secret"] in known

    def _calm(self) -> None:
        """Nothing is broken: an end of the process may come, and has to leave nothing behind."""
        for receiver in (self.world.lines, self.world.metrics):
            receiver.dead = False
            receiver.faults.clear()
        self.world.aws._faults.clear()
        self.running.step_clock(70)  # breakers let through again

    def _collect(self) -> None:
        """What has arrived is counted and forgotten: it is not the receivers' growth that is looked for."""
        with self.world.lines.lock:
            taken, self.world.lines.accepted = self.world.lines.accepted, []
        with self.world.metrics.lock:
            points, self.world.metrics.accepted = self.world.metrics.accepted, []
        for one in taken:
            if (
                not self.arrived[one["id"]] and one["type"] == "function"
            ):  # an answer that is late has it sent once more
                self.texts[one["record"].rstrip("\n")] += 1
            self.arrived[one["id"]] += 1
        self.invocations += sum(point.value for point in points if point.name == "faas.invocations")
        for receiver in (self.world.lines, self.world.metrics):
            receiver.requests.clear()
        self.world.aws.calls.clear()
        self.injected.update(fault for _, fault in self.running.audit())
        if self.figures:
            texts = [event["text"] for event in self.running.environment.log.of_kind("log")]
            self.blocks += [int(text.split()[1]) for text in texts if text.startswith("blocks ")]
        self.running.forget()


@pytest.mark.timeout(120 + COUNT // 4)
def test_nothing_grows_and_the_sums_are_right(tmp_path):
    variables = {"EXTENSION_KIT_FLUSH": "end", "METRICS_COLLECTOR_INTERVAL": "5s", "LOG_SHIPPER_TIMEOUT": "5s"}
    chaos = {**armed(""), "CHAOS_SOURCE": "file", "CHAOS_LEASE": "1h"}
    del chaos["CHAOS_EXPERIMENT"]
    with World() as world:
        given = world.variables(**{**chaos, **variables})
        faults = Faults.parse(TELEMETRY)
        with Running(
            tmp_path, one_process("gauge:Gauge"), given, ids=SEED, world=world, faults=faults, seed=SEED, prelude=GAUGE
        ) as running:
            soak = Soak(world, running)
            soak.arm()
            soak.run()
            check_the_sums(soak, running)
            check_growth(soak.figures, soak.blocks)


def check_the_sums(soak, running) -> None:
    """Every record that the platform has sent was delivered once, and every invocation was counted once."""
    print(f"{soak.made} invocations, {soak.resets} resets, faults {dict(soak.injected)}, {dict(soak.happened)}")
    ledger = running.environment.telemetry.ledgers[ONE]
    last = {name: _ACCOUNT.search(texts[-1]) for name, texts in running.accounts().items()}
    print("\n".join(match[0] for match in last.values()))
    received, delivered, others, dropped, _, pending = last[SHIPPER].groups()[1:7]
    assert (int(dropped), int(pending), others) == (0, 0, "")
    assert int(received) == int(delivered) == ledger.total == len(soak.arrived)
    assert int(last["metrics-collector"][2]) == ledger.sent["platform"] == int(last["metrics-collector"][3])
    assert soak.texts == Counter(dict.fromkeys(soak.lines, 1))
    assert set(soak.arrived.values()) == {1}
    assert soak.invocations == soak.made - soak.resets
    assert soak.injected["e"] == soak.chaotic
    assert soak.injected.keys() == {"d", "e", "m", "t", "s"} or COUNT < LEAST
    assert soak.injected
    internal = [
        text for text in running.said if "internal error" in text or "put to rest" in text or " overran" in text
    ]
    assert internal == []


def check_growth(figures, blocks) -> None:
    """The second half of what was measured against the first."""
    half = len(figures) // 2
    early, late = figures[:half], figures[half:]
    print(f"after warm-up: {early[0]}\nin the middle: {late[0]}\nat the end: {late[-1]}")
    for what in ("threads", "descriptors"):
        most = max(getattr(one, what) for one in early)
        assert max(getattr(one, what) for one in late) <= most + 4, what
    assert max(one.tmp for one in figures) < MOST_TMP
    assert late[-1].tmp < MOST_TMP_AT_REST
    assert max(one.rss for one in figures) < MOST_RSS
    least = [min(blocks[at : at + max(1, len(blocks) // 8)]) for at in range(0, len(blocks), max(1, len(blocks) // 8))]
    print(f"blocks of Python's, the least in each eighth: {least}")
    if COUNT >= LEAST:
        assert min(least[4:]) - min(least[:4]) < MOST_BLOCKS
