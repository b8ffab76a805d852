"""Plug-ins that the sandbox's tests attach: another process must be able to import them."""

from __future__ import annotations

from extension_kit import Plugin
from extension_kit.settings import Settings, text
from extensions.metrics_collector.plugin import MetricsCollector


class TellerSettings(Settings):
    prefix = "TELLER_"
    word = text("none", help="What it says at the start.")


class Teller(Plugin):
    """Says what it is told."""

    name = "teller"
    telemetry = ("function",)
    settings = TellerSettings

    def start(self, context):
        self.clock = context.clock
        print(f"START {context.settings.word}", flush=True)

    def on_invoke(self, event):
        print(f"INVOKE {event.request_id} {self.clock.wall_ms()} {event.deadline_ms}", flush=True)

    def on_restore(self, event):
        print(f"RESTORE {event.reason} {event.jumped_ms}", flush=True)

    def on_telemetry(self, records):
        for record in records:
            print(f"HEARD {record.text.strip()}", flush=True)

    def on_shutdown(self, event, deadline):
        print(f"GOODBYE {event.reason}", flush=True)


class Refuser(Plugin):
    """Delivers nothing."""

    name = "refuser"
    telemetry = ("function",)

    def flush(self, reason, deadline):
        return 1_000


class Outer:
    class Inner(Plugin):
        name = "inner"


class Misspelt(Plugin):
    name = "misspelt"

    def on_invok(self, event): ...


class TimedCollector(MetricsCollector):
    """Says how long each of its exporters may take, and whether it has something left then."""

    def _catch_up(self):
        collecting = super()._catch_up()
        open_outlets = collecting._open_outlets

        def opened():
            outlets = open_outlets()
            for outlet in outlets:
                if "send" not in vars(outlet):
                    outlet.send = timed(outlet)
            return outlets

        collecting._open_outlets = opened
        return collecting


def timed(outlet):
    send = outlet.send

    def told(deadline):
        given_ms = deadline.remaining_ms()
        send(deadline)
        print(f"SEND {outlet.name} {deadline.reason.split()[0]} {given_ms} {outlet.pending}", flush=True)

    return told
