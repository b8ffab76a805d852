"""What can be made to go wrong on purpose: ``--fault KIND[:KEY=VALUE,...]``, repeatable."""

from __future__ import annotations

from dataclasses import dataclass, field

from extension_kit.errors import ConfigError

#: kind: (what it does, {parameter: default})
KINDS: dict[str, tuple[str, dict[str, float]]] = {
    "telemetry-unsupported": ("subscriptions are answered 202, as by local tools without telemetry", {}),
    "telemetry-absent": ("the Telemetry API is not there (404); the Logs API of old environments is", {}),
    "telemetry-silent": ("subscriptions are taken and nothing is ever delivered", {}),
    "telemetry-refused": ("the newest COUNT schema versions are refused with 400", {"count": 1}),
    "telemetry-slow": ("every batch is delivered MS milliseconds late", {"ms": 500}),
    "telemetry-duplicated": ("every N-th batch is posted twice", {"every": 1}),
    "telemetry-reordered": ("every N-th batch is posted after the one that follows it", {"every": 2}),
    "telemetry-truncated": ("every N-th batch loses its last bytes", {"every": 3}),
    "telemetry-lost-end": ("platform.runtimeDone is never sent", {}),
    "telemetry-lost-report": ("platform.report is never sent", {}),
}


@dataclass(frozen=True)
class Faults:
    """The faults of one run: kind: its parameters."""

    chosen: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def parse(cls, specs: tuple[str, ...]) -> Faults:
        """From SPECs as they are typed; ConfigError says what is wrong and what there is."""
        return cls(dict(_parse(spec) for spec in specs))

    def __contains__(self, kind: str) -> bool:
        return kind in self.chosen

    def every(self, kind: str, number: int) -> bool:
        """Whether it is the turn of this fault: for the batch with this number, from 1."""
        return kind in self.chosen and number % int(self.chosen[kind]["every"]) == 0

    def value(self, kind: str, parameter: str) -> float:
        """A parameter of a chosen fault, 0 where it was not chosen."""
        return self.chosen.get(kind, {}).get(parameter, 0)


def _parse(spec: str) -> tuple[str, dict[str, float]]:
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise ConfigError(f"--fault {spec}: no such fault; --fault list shows what there is")
    parameters = dict(KINDS[kind][1])
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if name not in parameters or not equals:
            known = ", ".join(f"{one}=NUMBER" for one in parameters) or "no parameters"
            raise ConfigError(f"--fault {spec}: {part!r} is not understood; {kind} takes {known}")
        if not (value.isascii() and value.isdigit() and len(value) < 7 and int(value) > 0):
            raise ConfigError(f"--fault {spec}: {name} must be a whole number from 1")
        parameters[name] = int(value)
    return kind, parameters


def listing() -> str:
    """What ``--fault list`` prints."""
    lines = []
    for kind, (what, parameters) in KINDS.items():
        defaults = ",".join(f"{name}={value:g}" for name, value in parameters.items())
        lines.append(f"  {kind + (':' + defaults if defaults else ''):<32} {what}")
    return "\n".join(lines)
