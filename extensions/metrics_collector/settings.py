"""The settings of the metrics collector."""

from __future__ import annotations

from extension_kit.settings import Settings, text

__all__ = ["CollectorSettings"]


class CollectorSettings(Settings):
    """Variables that begin with METRICS_COLLECTOR_."""

    prefix = "METRICS_COLLECTOR_"

    # Source: CloudWatch API reference, PutMetricData, Namespace. A namespace that it refuses would lose every metric silently.
    namespace = text(
        "LambdaExtensionKit", maximum_length=255, characters=" .-_/#:", help="CloudWatch namespace of the metrics."
    )
