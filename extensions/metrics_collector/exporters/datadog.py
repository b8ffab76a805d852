"""What Datadog's enhanced metrics tell otherwise than ours: how invocations are counted, and the tags.

Source: Datadog's documentation, "Enhanced Lambda Metrics"; DataDog/datadog-lambda-extension, ``tags/lambda/tags.rs`` (names of
tags), ``lifecycle/invocation/processor.rs`` (every invocation is counted, and one that ran out of time is an error too).
"""

from __future__ import annotations

from extensions.metrics_collector.invocations import Point

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from extension_kit.plugin import Context

__all__ = ["Tags", "as_datadog", "static_tags", "tags_of"]

Tags = tuple[tuple[str, str], ...]


def as_datadog(points: Sequence[Point]) -> list[Point]:
    """``invocations_count`` is all of them, ``errors_count`` has those that ran out of time as well."""
    return [_counted(point) for point in points]


def _counted(point: Point) -> Point:
    found = point.figures
    succeeded, failed, late = (found.get(f"{kind}_count", 0.0) for kind in ("invocations", "errors", "timeouts"))
    if not failed and not late:
        return point
    figures = {**found, "invocations_count": succeeded + failed + late, "errors_count": failed + late}
    return Point(point.since_ms, point.at_ms, figures, point.error_type, point.about)


def tags_of(point: Point) -> Tags:
    """The tags of an invocation's own; none of what is no invocation's."""
    tags = []
    if "cold_start" in point.about:
        tags.append(("cold_start", "true" if point.about["cold_start"] else "false"))
    if point.about.get("proactive_initialization"):
        tags.append(("proactive_initialization", "true"))
    return tuple(tags)


def static_tags(context: Context, machine: str) -> dict[str, str]:
    """The tags that are the same all along; ``runtime`` is not among them, which no extension is told."""
    registration = context.registration
    name, version, account = (
        (registration.function_name, registration.function_version, registration.account_id)
        if registration
        else ("", "", "")
    )
    qualified = version not in ("", "$LATEST")
    tags = {
        "functionname": name, "resource": f"{name}:{version}" if qualified else name,
        "executedversion": version if qualified else "", "region": context.region, "account_id": account,
        "aws_account": account, "memorysize": str(context.memory_mb or ""), "init_type": context.init_type,
        "architecture": "arm64" if machine == "aarch64" else machine,
    }  # fmt: skip
    return {tag: value for tag, value in tags.items() if value}
