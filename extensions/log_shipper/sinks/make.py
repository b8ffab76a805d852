"""The sink that a setting names; what is wrong with its settings is one ConfigError."""

from __future__ import annotations

from extension_kit.errors import ConfigError
from extension_kit.io import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.io.clock import Clock
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin, Sink

__all__ = ["check", "make"]

_OVER_HTTP = {
    "http": ("generic", "GenericSink"), "otlp": ("otlp", "OtlpSink"), "loki": ("loki", "LokiSink"),
    "bulk": ("bulk", "BulkSink"), "splunk": ("vendors", "SplunkSink"), "datadog": ("vendors", "DatadogSink"),
    "newrelic": ("vendors", "NewRelicSink"),
}  # fmt: skip
_OF_AWS = {"cloudwatch": "CloudWatchSink", "firehose": "FirehoseSink", "kinesis": "KinesisSink", "s3": "S3Sink"}
_TARGETS = {
    "cloudwatch": "a log group, or group:stream", "firehose": "a delivery stream", "kinesis": "a stream",
    "s3": "a bucket, or bucket/prefix",
}  # fmt: skip
_KNOW_THEIR_ENDPOINT = ("datadog", "newrelic")
_NEED_A_KEY = ("splunk", "datadog", "newrelic")


def check(settings: ShipperSettings) -> None:
    """ConfigError for settings with which nothing could be sent; without importing any sink."""
    kind = settings.sink
    if settings.dead_letters and not settings.dead_letters.startswith(("file:/", "s3://")):
        raise ConfigError("LOG_SHIPPER_DEAD_LETTERS is not file:/tmp/... or s3://bucket/prefix")
    if kind in _OVER_HTTP:
        endpoint = settings.endpoint
        if not endpoint and kind not in _KNOW_THEIR_ENDPOINT:
            raise ConfigError(f"sink {kind}: LOG_SHIPPER_ENDPOINT is not set: its URL, e.g. https://logs.example.com")
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"sink {kind}: LOG_SHIPPER_ENDPOINT is no http:// or https:// URL")  # it may hold a key
        if kind in _NEED_A_KEY and not settings.api_key:
            raise ConfigError(f"sink {kind}: LOG_SHIPPER_API_KEY is not set")
    elif kind in _OF_AWS:
        if not settings.target:
            raise ConfigError(f"sink {kind}: LOG_SHIPPER_TARGET is not set: {_TARGETS[kind]}")
    elif kind == "kafka":
        if not settings.endpoint:
            raise ConfigError("sink kafka: LOG_SHIPPER_ENDPOINT is not set: its bootstrap servers, e.g. broker:9092")
        if not settings.target:
            raise ConfigError("sink kafka: LOG_SHIPPER_TARGET is not set: a topic")
    elif kind == "file" and not settings.endpoint.startswith("/"):
        raise ConfigError("sink file: LOG_SHIPPER_ENDPOINT is not set: a path, e.g. /tmp/lines.ndjson")


def make(settings: ShipperSettings, origin: Origin, clock: Clock) -> Sink:
    """Imports what the sink needs: at the first flush, after the first response."""
    check(settings)
    kind = settings.sink
    variables = environ.mapping()
    if kind == "kafka":
        from extensions.log_shipper.keys import Key
        from extensions.log_shipper.sinks.kafka import KafkaSink

        return KafkaSink(settings, origin, Key(settings.api_key, variables, clock))
    if kind in _OVER_HTTP:
        from extension_kit.outbound import Http
        from extensions.log_shipper.keys import Key

        module, name = _OVER_HTTP[kind]
        http = Http(
            clock, settings.prefix, ca_bundle=settings.ca_bundle, client_cert=settings.client_cert,
            client_key=settings.client_key, proxy=settings.proxy,
        )  # fmt: skip
        found = getattr(__import__(f"extensions.log_shipper.sinks.{module}", fromlist=[name]), name)
        sink: Sink = found(settings, origin, http, Key(settings.api_key, variables, clock))
        return sink
    if kind in _OF_AWS:
        from extensions.log_shipper.sinks import amazon

        made: Sink = getattr(amazon, _OF_AWS[kind])(settings, origin, variables, clock)
        return made
    from extensions.log_shipper.sinks.streams import FileSink, StdoutSink

    return StdoutSink(settings, origin) if kind == "stdout" else FileSink(settings, origin)
