"""What the egress guard costs: a process calls what is audited, with the guard on duty and without, in turns."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.platform_stub import BenchError
from tests.benchmarks.rounds import Samples, medians, rotated

if TYPE_CHECKING:
    from tests.benchmarks.measure import Placement
    from tests.benchmarks.report import Figures
    from tests.benchmarks.rounds import Effort

GUARDED = "guarded"
UNGUARDED = "unguarded"
#: metric of a call of each kind
METRICS = ("guard_local_us", "guard_allowed_us", "guard_open_us", "guard_import_us")

ROOT = Path(__file__).parents[2]
_TURNS = 3
# Datagram sockets: connecting one is a system call and no packet, so that the hook's share can be seen. What is allowed is
# audited as a connection would be, since no address but loopback is there on every machine.
_PROGRAM = """
import sys, time
sys.path.insert(0, {root!r})
import _socket, json
if {guarded}:
    from extension_kit.egress import guard
    from extension_kit.io.clock import Clock
    may = ("logs.example.com", "*.example.org"), ()
    made, why = guard((), may, ("192.0.2.0/24:443",), {{}}, Clock(), print, lambda thread: None)
    assert made is not None, why
sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)

def local():
    sock.connect(("127.0.0.1", 9))

def allowed():
    sys.audit("socket.connect", sock, ("192.0.2.7", 443))

def opened():
    open("/dev/null", "rb", 0).close()

def imported():
    sys.modules.pop("this_module_is_empty", None)
    import this_module_is_empty

def each_us(call, count):
    # The least of ten: whatever else runs on the core adds to the others.
    least = 1e9
    for _ in range(10):
        call()
        began = time.perf_counter_ns()
        for _ in range(count // 10):
            call()
        least = min(least, (time.perf_counter_ns() - began) / (count // 10) / 1000)
    return least

sys.path.insert(0, sys.argv[1])
count = int(sys.argv[2])
print(json.dumps([each_us(local, count), each_us(allowed, count), each_us(opened, count), each_us(imported, count // 10)]))
"""


class Guard:
    """The measurements of the guard."""

    def __init__(self, placement: Placement, effort: Effort, python: str) -> None:
        self._placement = placement
        self._effort = effort
        self._python = python

    def measure(self, folder: Path) -> Figures:
        """Microseconds of one call; `folder` is for a module to import."""
        (folder / "this_module_is_empty.py").write_text("")
        samples: dict[str, Samples] = {metric: {GUARDED: [], UNGUARDED: []} for metric in METRICS}
        for turn in range(_TURNS):
            for name in rotated([GUARDED, UNGUARDED], turn):
                for metric, value in zip(METRICS, self._run(name == GUARDED, folder), strict=True):
                    samples[metric][name].append(value)
        return medians(**samples)

    def _run(self, guarded: bool, folder: Path) -> list[float]:
        program = _PROGRAM.format(root=str(ROOT), guarded=guarded)
        with self._placement.as_extension():
            done = subprocess.run(
                [self._python, "-I", "-S", "-c", program, str(folder), str(self._effort.hits * 5)],
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
        if done.returncode:
            raise BenchError(f"the guard cannot be measured: {done.stderr[-300:]}")
        figures: list[float] = json.loads(done.stdout)
        return figures
