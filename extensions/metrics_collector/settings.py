"""The settings of the metrics collector."""

from __future__ import annotations

from extension_kit.settings import Settings, text

__all__ = ["CollectorSettings"]


class CollectorSettings(Settings):
    """Variables that begin with METRICS_COLLECTOR_."""

    prefix = "METRICS_COLLECTOR_"

    namespace = text("LambdaExtensionKit", help="CloudWatch namespace of the metrics")
