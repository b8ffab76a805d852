"""Kafka, by librdkafka, which is no part of the layer: 12 MB that few want. Put `confluent-kafka` into a layer of your own.

Lines of a request have its id as their key, and so stay in order in one partition. The producer is idempotent; what it has not
been told to be stored in time is taken out of its queue and sent again by us.
"""

from __future__ import annotations

from time import monotonic

from extension_kit.delivery import AGAIN, DELIVERED, TOO_LARGE, Verdict
from extension_kit.errors import ConfigError
from extensions.log_shipper.sinks.base import Sink
from extensions.log_shipper.sinks.generic import Envelopes
from extensions.log_shipper.sinks.hiding import Hiding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Origin

__all__ = ["KafkaSink"]


class KafkaSink(Sink):
    """``kafka``; ``endpoint``: the bootstrap servers, ``target``: the topic, ``headers``: further settings of librdkafka."""

    most_lines = 5_000
    most_bytes = 4_000_000
    most_item_bytes = 900_000  # message.max.bytes is 1,000,000 by default

    def __init__(self, settings: ShipperSettings, origin: Origin, key: Key) -> None:
        super().__init__(settings, origin)
        self.key = key
        self._hiding = Hiding(settings, key)
        self._envelope = Envelopes(origin).encode
        self._producer: Any = None
        try:
            import confluent_kafka
        except ImportError as error:
            raise ConfigError("sink kafka: the package confluent-kafka is not in this layer") from error
        self._library = confluent_kafka

    def encode(self, line: Line) -> Any:
        return _Keyed(line.request_id.encode("utf-8", "replace") or line.id.encode(), self._envelope(line))

    def send(self, items: list[Any], seconds: float) -> Verdict:
        until = monotonic() + seconds
        producer = self._producer or self._make(self.key.value(seconds))
        errors: list[Any] = [_NO_ANSWER] * len(items)
        try:
            for index, item in enumerate(items):
                producer.produce(self.settings.target, item.data, item.key, on_delivery=_entered(errors, index))
        except BufferError:
            pass  # its queue is full: the rest goes with the next exchange
        except self._library.KafkaException as error:
            return Verdict(AGAIN, str(error.args[0])[:200])
        producer.flush(max(0.0, until - monotonic()))
        if _NO_ANSWER in errors:
            producer.purge()
            producer.poll(0)
        return self._judge(errors)

    def _judge(self, errors: list[Any]) -> Verdict:
        again: list[int] = []
        lost: dict[str, list[int]] = {}
        why = ""
        for index, error in enumerate(errors):
            if error is None:
                continue
            if error is not _NO_ANSWER and error.code() in (
                self._library.KafkaError.MSG_SIZE_TOO_LARGE, self._library.KafkaError.INVALID_RECORD,
            ):  # fmt: skip
                lost.setdefault(TOO_LARGE if "large" in error.str() else "refused", []).append(index)
            else:
                again.append(index)
            why = why or ("has not answered in time" if error is _NO_ANSWER else error.str()[:200])
        if len(again) == len(errors):
            return Verdict(AGAIN, why)
        return Verdict(DELIVERED, why, again=again, lost=lost)

    def _make(self, password: str) -> Any:
        settings = self.settings
        options: dict[str, Any] = {
            "bootstrap.servers": settings.endpoint, "enable.idempotence": True, "linger.ms": 5, "client.id": "log-shipper",
            "message.timeout.ms": settings.timeout, "compression.type": settings.compress, "log_level": 0,
        }  # fmt: skip
        if settings.ca_bundle:
            options["ssl.ca.location"] = settings.ca_bundle
        for pair in settings.headers:
            name, _, value = pair.partition("=")
            options[name.strip()] = value.strip().replace("{api_key}", password)
        try:
            self._producer = self._library.Producer(options)
        except (self._library.KafkaException, ValueError) as error:
            raise OSError(f"settings that librdkafka refuses: {self._hiding.hide(str(error))}"[:300]) from None
        return self._producer

    def forget(self) -> None:
        self._producer = None


class _Keyed:
    __slots__ = ("data", "key")

    def __init__(self, key: bytes, data: bytes) -> None:
        self.key = key
        self.data = data

    def __len__(self) -> int:
        return len(self.data)


_NO_ANSWER = object()


def _entered(errors: list[Any], index: int) -> Callable[[Any, Any], None]:
    """What the producer calls when it knows what has become of a message."""

    def enter(error: Any, _message: Any) -> None:
        if errors[index] is _NO_ANSWER:
            errors[index] = error

    return enter
