"""What a shipper works with, made at its first flush: imports cost, and nobody waits for a response then."""

from __future__ import annotations

from extensions.log_shipper.pipeline import Pipeline, tags_of
from extensions.log_shipper.sinks.base import Origin
from extensions.log_shipper.sinks.make import make

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.plugin import Context
    from extensions.log_shipper.dead_letters import DeadLetters
    from extensions.log_shipper.settings import ShipperSettings
    from extensions.log_shipper.sinks.base import Sink

__all__ = ["make_dead_letters", "make_parts", "origin_of"]


def make_parts(settings: ShipperSettings, context: Context) -> tuple[Sink, Pipeline]:
    """The sink and what prepares lines for it."""
    sink = make(settings, origin_of(settings, context), context.clock)
    return sink, Pipeline(settings, "log-shipper", _redaction(settings), lambda: context.stream_id)


def make_dead_letters(settings: ShipperSettings, context: Context) -> DeadLetters | None:
    """None where nobody wants them."""
    if not settings.dead_letters:
        return None
    from extension_kit.io import environ
    from extensions.log_shipper.dead_letters import DeadLetters

    return DeadLetters(settings.dead_letters, context.name, environ.mapping(), context.clock)


def origin_of(settings: ShipperSettings, context: Context) -> Origin:
    registration = context.registration
    return Origin(
        service=settings.service,
        function=registration.function_name if registration else "",
        version=registration.function_version if registration else "",
        account_id=registration.account_id if registration else "",
        region=context.region,
        memory_mb=context.memory_mb,
        tags=tags_of(settings.tags),
    )


def _redaction(settings: ShipperSettings) -> Callable[[bytes], tuple[bytes, int]] | None:
    wanted = tuple(one for one in settings.redact if one != "none")
    if not wanted and not settings.redact_keys and not settings.redact_pattern:
        return None
    from extensions.log_shipper.redact import Redactor

    patterns = (settings.redact_pattern,) if settings.redact_pattern else ()
    return Redactor(keys=settings.redact_keys, patterns=patterns, detectors=wanted).redact
