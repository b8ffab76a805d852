"""What the command does: arm, disarm, extend, status. Each gives an `Outcome`; the command shows it (`__main__`).

Arming is exclusive: where an experiment is armed already, it is refused and the line says whose. Disarming is not: whoever can
delete the document may, since a kill switch that asks who pulls it is none.
"""

from __future__ import annotations

from extension_kit.aws.values import AwsError
from extension_kit.protocol.jsontext import dumps
from extension_kit.protocol.timestamps import format_ms
from extension_kit.protocol.values import Value, set_field
from extensions.chaos_injector.plan import Experiment, Names, Refused, Scope, render
from extensions.chaos_injector.readers import Reading, parse, read, read_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from extension_kit.io.clock import Clock
    from extensions.chaos_injector.destinations import Destination
    from extensions.chaos_injector.settings import ChaosSettings

__all__ = ["Driver", "Outcome", "load", "with_settings"]


class Outcome(Value):
    """``code``: exit status; ``state``: armed, disarmed, extended, expired, none, refused or taken; ``lines``: for people."""

    __slots__ = ("code", "experiment", "lines", "state")

    code: int
    state: str
    lines: tuple[str, ...]
    experiment: Experiment | None

    def __init__(self, code: int, state: str, lines: Sequence[str], experiment: Experiment | None = None) -> None:
        set_field(self, "code", code)
        set_field(self, "state", state)
        set_field(self, "lines", tuple(lines))
        set_field(self, "experiment", experiment)

    def as_json(self) -> dict[str, Any]:
        document = None if self.experiment is None else render(self.experiment)
        return {"state": self.state, "lines": list(self.lines), "experiment": document}


def with_settings(settings: ChaosSettings, **changed: Any) -> ChaosSettings:
    """The settings with other values in some."""
    values = {one.attribute: getattr(settings, one.attribute) for one in settings.declared()}
    return type(settings)(**{**values, **changed})


def load(
    data: bytes,
    settings: ChaosSettings,
    now_ms: int,
    *,
    for_ms: int = 0,
    owner: str = "",
    functions: tuple[str, ...] = (),
    renewed: bool = False,
) -> tuple[Experiment | None, list[str]]:
    """The experiment that would be armed, whatever its format, and notes; Refused for what is wrong with it.

    ``for_ms``: it ends so long from now, whatever it says; ``owner``, ``functions``: where it says none.
    """
    fields = parse(data)
    is_ours = bool({"faults", "armed_until"} & fields.keys())
    if is_ours:
        if for_ms:
            fields["armed_until"] = format_ms(now_ms + for_ms)
        if owner:
            fields.setdefault("owner", owner)
        if functions and isinstance(fields.setdefault("scope", {}), dict) and "functions" not in fields["scope"]:
            fields["scope"] = {**fields["scope"], "functions": list(functions)}
    elif for_ms:
        settings = with_settings(settings, armed_until=format_ms(now_ms + for_ms))
    reading = Reading(settings, now_ms)
    experiment = read_fields(fields, reading)
    if experiment is not None and renewed:
        experiment = experiment.changed(renewed_ms=now_ms)
    if experiment is not None and functions and not is_ours:
        experiment = experiment.changed(owner=owner or experiment.owner, scope=Scope(Names(functions=functions)))
    return experiment, reading.notes


class Driver:
    """``where``: the destination, for people."""

    def __init__(self, destination: Destination, where: str, settings: ChaosSettings, clock: Clock) -> None:
        self._destination = destination
        self._where = where
        self._settings = settings
        self._clock = clock

    def arm(self, experiment: Experiment) -> Outcome:
        """Write it, unless another one is armed there."""
        if experiment.armed_until_ms <= self._clock.wall_ms():
            return Outcome(1, "refused", [f"armed_until of {experiment.id} has passed: use another, or --for 10m"])
        data, about = _written(experiment)
        try:
            read(data, Reading(self._settings, self._clock.wall_ms()))  # as functions will
        except Refused as refused:
            return Outcome(1, "refused", refused.lines)
        if not self._destination.create(data, about):
            refusal = self._take_over(data, about)
            if refusal is not None:
                return refusal
        return Outcome(
            0, "armed",
            [f"armed: {experiment.id} of {experiment.owner} in {self._where} until {format_ms(experiment.armed_until_ms)}"],
            experiment,
        )  # fmt: skip

    def _take_over(self, data: bytes, about: str) -> Outcome | None:
        """What is there has ended: put ours in its place; else say whose it is."""
        found = self._destination.read()
        if found is None:
            if self._destination.create(data, about):
                return None
            return Outcome(1, "taken", [f"{self._where}: somebody else was faster: look at status, and arm again"])
        state = self._state(found[0])
        if state.state not in ("expired", "none"):
            how = "disarm it first, or use another place"
            return Outcome(1, "taken", [f"{self._where} has a document already: {line}; {how}" for line in state.lines])
        if self._destination.replace(data, about, found[1]):
            return None
        return Outcome(1, "taken", [f"{self._where}: somebody else was faster: look at status, and arm again"])

    def disarm(self, id: str = "") -> Outcome:
        """Delete it. ``id``: only if the document is of this experiment."""
        try:
            found = self._destination.read()
        except (AwsError, OSError) as error:
            if id:
                raise
            # What cannot be read can be deleted.
            state = Outcome(1, "refused", [f"a document that could not be read ({error})"])
        else:
            if found is None:
                return Outcome(0, "none", [f"nothing is armed in {self._where}"])
            state = self._state(found[0])
        if id and (state.experiment is None or state.experiment.id != id):
            return Outcome(
                1, "taken", [f"{self._where} has another document than {id}: {line}" for line in state.lines]
            )
        self._destination.delete()
        return Outcome(0, "disarmed", [f"disarmed: {line}" for line in state.lines], state.experiment)

    def extend(self, for_ms: int, owner: str, id: str = "") -> Outcome:
        """Let an armed experiment end so long from now, and renew its lease."""
        found = self._destination.read()
        if found is None:
            return Outcome(1, "none", [f"nothing is armed in {self._where}: arm it"])
        state = self._state(found[0])
        experiment = state.experiment
        if state.state != "armed" or experiment is None:
            return Outcome(1, state.state, [f"cannot be extended: {line}; arm it again" for line in state.lines])
        if (id and experiment.id != id) or experiment.owner != owner:
            whose = f"{experiment.id} of {experiment.owner}"
            return Outcome(
                1, "taken", [f"{self._where} has {whose}: use --owner {experiment.owner} if you are meant to"]
            )
        now_ms = self._clock.wall_ms()
        extended = experiment.changed(
            armed_until_ms=now_ms + for_ms if for_ms else experiment.armed_until_ms,
            renewed_ms=now_ms if experiment.renewed_ms else 0,
        )
        try:
            read(_written(extended)[0], Reading(self._settings, now_ms))
        except Refused as refused:
            return Outcome(1, "refused", refused.lines)
        if not self._destination.replace(*_written(extended), found[1]):
            return Outcome(1, "taken", [f"{self._where} was changed meanwhile: look at status"])
        return Outcome(
            0, "extended", [f"extended: {experiment.id} until {format_ms(extended.armed_until_ms)}"], extended
        )

    def status(self) -> Outcome:
        """What is there. Exit status 0 where it is armed."""
        found = self._destination.read()
        return Outcome(1, "none", [f"nothing is armed in {self._where}"]) if found is None else self._state(found[0])

    def _state(self, data: bytes) -> Outcome:
        now_ms = self._clock.wall_ms()
        try:
            experiment = read(data, Reading(self._settings, now_ms, self._where))
        except Refused as refused:
            return Outcome(1, "refused", refused.lines)
        if experiment is None:
            return Outcome(1, "none", ["the document says that nothing is armed"])
        what = f"{experiment.id} of {experiment.owner}"
        if experiment.armed_until_ms <= now_ms:
            return Outcome(1, "expired", [f"{what} has ended at {format_ms(experiment.armed_until_ms)}"], experiment)
        if experiment.renewed_ms and now_ms - experiment.renewed_ms > experiment.lease_ms:
            return Outcome(
                1, "expired", [f"{what} was not renewed since {format_ms(experiment.renewed_ms)}"], experiment
            )
        return Outcome(0, "armed", [f"{what} is armed until {format_ms(experiment.armed_until_ms)}"], experiment)


def _written(experiment: Experiment) -> tuple[bytes, str]:
    """The document, and a line about it for where there is place for one."""
    document: Mapping[str, Any] = render(experiment)
    return dumps(document), f"chaos experiment {experiment.id} of {experiment.owner}"
