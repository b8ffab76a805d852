"""``extension-kit check``: what would not work, found by trying."""

from __future__ import annotations

from extensions.metrics_collector.exporters.make import make_outlets
from extensions.metrics_collector.invocations import Point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Context

__all__ = ["probe"]


def probe(context: Context) -> list[str]:
    """A test point to each exporter but standard output."""
    from extension_kit.protocol.deadline import Deadline

    said: list[str] = []
    context.log._write = said.append
    now_ms = context.clock.wall_ms()
    for outlet in make_outlets(context):
        if outlet.name == "emf" and not context.settings.log_group:
            continue
        outlet.add([Point(now_ms, now_ms, {"own_sampling_ms": 0.0})])
        outlet.send(Deadline(now_ms + context.settings.timeout + 500, context.clock.wall_ms))
    return [line.strip() for line in said]
