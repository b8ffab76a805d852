"""The plug-in: split into one part for each sink, so that none of them waits for another."""

from __future__ import annotations

from extension_kit.errors import ConfigError
from extension_kit.io import environ
from extension_kit.plugin import Plugin
from extensions.log_shipper.settings import ShipperSettings, read_sinks
from extensions.log_shipper.shipper import Shipper
from extensions.log_shipper.sinks.make import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Context

__all__ = ["LogShipper"]


class LogShipper(Plugin):
    """Function and platform logs to the sinks that the settings name."""

    name = "log-shipper"
    settings = ShipperSettings
    telemetry = ("platform", "function", "extension")  # that a part of it may ask for

    def check(self, context: Context) -> list[str]:
        from extensions.log_shipper.probe import probe

        return probe(context)

    def split(self, context: Context) -> list[Plugin]:
        sinks, complaints = read_sinks(environ.mapping())
        for line in complaints:
            context.log.warning(line)
        parts: list[Plugin] = []
        for name, settings in sinks:
            try:
                check(settings)
            except ConfigError as error:
                context.log.error(f"{error}; it is left out")
            else:
                context.may_reach(settings)
                if settings.sink == "stdout" and "extension" in settings.types:
                    context.log.warning(
                        f"sink {name}: stdout gets no lines of extensions, since what it writes would be one of them"
                    )
                parts.append(Shipper(f"{self.name}.{name}", settings))
        if not parts:
            context.log.warning(
                "there is no sink, so nothing is sent: set LOG_SHIPPER_SINK, or LOG_SHIPPER_CONFIG for several"
            )
        return parts
