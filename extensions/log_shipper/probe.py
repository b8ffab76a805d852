"""A test record for each sink, on the operator's machine: what would not work on Lambda is better known before."""

from __future__ import annotations

from extension_kit import records
from extension_kit.delivery import DELIVERED
from extension_kit.errors import ConfigError
from extension_kit.io import environ
from extension_kit.protocol.jsontext import dumps
from extension_kit.protocol.timestamps import format_ms
from extensions.log_shipper.line import Line
from extensions.log_shipper.parts import make_dead_letters, make_parts
from extensions.log_shipper.settings import read_sinks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Context
    from extensions.log_shipper.settings import ShipperSettings

__all__ = ["probe"]

TEXT = "extension-kit check: a test record of the log shipper"


def probe(context: Context) -> list[str]:
    """What is wrong, a line each; nothing where every sink, and every place for dead letters, has taken a record."""
    sinks, findings = read_sinks(environ.mapping())
    if not sinks:
        findings.append("there is no sink: set LOG_SHIPPER_SINK, or LOG_SHIPPER_CONFIG for several")
    for name, settings in sinks:
        try:
            why = _try(settings, context)
        except ConfigError as error:
            findings.append(str(error))
            continue
        except OSError as error:
            why = str(error)
        if why:
            findings.append(f"sink {name}: {why}")
    return findings


def _try(settings: ShipperSettings, context: Context) -> str:
    sink, _pipeline = make_parts(settings, context)
    item = sink.encode(_line(context))
    verdict = sink.send([item], settings.timeout / 1000)
    if verdict.kind != DELIVERED or verdict.again or verdict.lost:
        return verdict.why or ", ".join(verdict.lost)
    dead_letters = make_dead_letters(settings, context)
    if dead_letters is not None and not dead_letters.bury([item], TEXT):
        return dead_letters.trouble
    return ""


def _line(context: Context) -> Line:
    now_ms = context.clock.wall_ms()
    raw = b'{"time":"%b","type":"function","record":%b}' % (format_ms(now_ms).encode(), dumps(f"[INFO] {TEXT}\n"))
    return Line(records.make(raw, records.Request("extension-kit-check"), 1, now_ms % 1_000_000), "check")
