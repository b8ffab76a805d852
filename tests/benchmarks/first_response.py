"""What an extension adds before the function's first response: a real function beside it, in the emulator.

Function and extension share one core, as in Lambda with little memory; the emulator has the other. The extension's CPU
clock is read at the moment at which the response arrives.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile
from tests.benchmarks import measure
from tests.benchmarks.platform_stub import BenchError

if TYPE_CHECKING:
    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.quota import Quota

FUNCTION = Path(__file__).parents[1] / "functions" / "hello"
WITH_SECRET = FUNCTION.parent / "secret"  # asks for one in its module
_PATIENCE = 60.0  # seconds; under the quota the runtime alone takes several


class _Watch:
    """Places each process as soon as it has been started, and reads the extension's clock when the response arrives."""

    def __init__(self, name: str, placement: measure.Placement, quota: Quota | None) -> None:
        self._name = name
        self._placement = placement
        self._quota = quota
        self._pid = 0
        self.cpu_ns = 0
        self.response_ns = 0

    def __call__(self, event: dict[str, Any]) -> None:
        """One event of the record, on the emulator's own thread."""
        if event["kind"] == "process_start":
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(event["pid"], {self._placement.extension})
                if self._quota is not None:
                    self._quota.take(event["pid"])
            if event["party"] == self._name:
                self._pid = event["pid"]
        elif event["kind"] == "response" and not self.response_ns:
            self.response_ns = time.monotonic_ns()
            self.cpu_ns = measure.cpu_ns(self._pid)


def cpu_ms(
    contender: Contender,
    placement: measure.Placement,
    quota: Quota | None = None,
    variables: dict[str, str] | None = None,
    visible: tuple[Path, ...] = (),
) -> float:
    """CPU (ms) of the extension between its start and the first response; BenchError where there is no good response.

    With `visible` folders the function is one that needs the secret that `variables` lead to.
    """
    watch = _Watch(contender.name, placement, quota)
    profile = Profile(handler="app.handler", timeout=_PATIENCE, init_limit=_PATIENCE)
    layout = Layout(
        function=WITH_SECRET if visible else FUNCTION,
        layers=(contender.layer,),
        namespaces=not namespaces.unavailable(),
        variables=variables or {},
        visible=visible,
    )
    with Environment(profile, layout, watch) as environment:
        result = environment.invoke(b'{"spend_ms": 0}').result(2 * _PATIENCE)
    if result.function_error or not watch.cpu_ns:
        raise BenchError(f"{contender.name}: the function failed beside it: {result.payload[:500]!r}")
    return watch.cpu_ns / 1e6
