"""Actions and probes for Chaos Toolkit; in an experiment: ``"module": "extensions.chaos_injector.chaostoolkit"``.

They write a document where functions with the injector look for it, and delete it; they never touch a function's configuration,
so its other layers and variables stay as they are. Nothing of Chaos Toolkit is imported: an action that fails raises, which is
what it goes by. Credentials and region from the environment.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from extension_kit.aws import Aws
from extension_kit.errors import ConfigError
from extension_kit.io.clock import Clock
from extension_kit.protocol.jsontext import dumps, loads
from extensions.chaos_injector.destinations import open_destination
from extensions.chaos_injector.driver import Driver, Outcome, load
from extensions.chaos_injector.rails import DIRECTORY
from extensions.chaos_injector.settings import ChaosSettings
from extensions.chaos_injector.sources import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["arm", "disarm", "extend", "injections_count", "is_armed"]

_MOST_PAGES = 100


def arm(
    experiment: dict[str, Any] | str,
    source: str,
    duration_s: int = 600,
    owner: str = "chaostoolkit",
    functions: list[str] | None = None,
    configuration: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Action: arm an experiment, an object or the path of a file with one, which ends ``duration_s`` from now.

    ``source``: where functions look for it, such as ``ssm:/chaos/checkout``. RuntimeError where another one is armed there.
    """
    if isinstance(experiment, str):
        with open(experiment, "rb") as file:
            data = file.read()
    else:
        data = dumps(experiment)
    settings, driver = _driver(source, configuration)
    loaded, _notes = load(
        data, settings, Clock().wall_ms(), for_ms=duration_s * 1_000, owner=owner, functions=tuple(functions or ())
    )
    if loaded is None:
        raise ConfigError("the experiment says that nothing is armed")
    return _done(driver.arm(loaded))


def disarm(source: str, id: str = "", configuration: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Action, and the rollback: delete what is armed; nothing being there is fine. ``id``: only if it is this experiment."""
    return _done(_driver(source, configuration)[1].disarm(id))


def extend(
    source: str, duration_s: int = 600, owner: str = "chaostoolkit", configuration: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Action: what is armed ends ``duration_s`` from now. RuntimeError where nothing is armed, or by somebody else."""
    return _done(_driver(source, configuration)[1].extend(duration_s * 1_000, owner))


def is_armed(source: str, id: str = "", configuration: Mapping[str, Any] | None = None) -> bool:
    """Probe: whether an experiment (``id``: this one) is armed now."""
    status = _driver(source, configuration)[1].status()
    return status.state == "armed" and (not id or (status.experiment is not None and status.experiment.id == id))


def injections_count(
    log_group: str, id: str, since_s: int = 600, configuration: Mapping[str, Any] | None = None
) -> int:
    """Probe: how many injections of an experiment are in a function's log group, of the last ``since_s`` seconds."""
    aws = Aws(_environ(configuration), read_timeout=10.0)
    fields: dict[str, Any] = {
        "logGroupName": log_group, "startTime": Clock().wall_ms() - since_s * 1_000, "filterPattern": '"chaos-injector"',
    }  # fmt: skip
    count = 0
    try:
        for _ in range(_MOST_PAGES):
            answer = aws.call("logs", "FilterLogEvents", fields)
            count += sum(_is_injection(str(event.get("message", "")), id) for event in answer.get("events", []))
            if not answer.get("nextToken"):
                break
            fields["nextToken"] = answer["nextToken"]
    finally:
        aws.forget_connections()
    return count


def _is_injection(message: str, id: str) -> bool:
    """Lines come bare, or as the ``message`` of a JSON log line."""
    start = message.find('{"source":"chaos-injector"')
    try:
        line = loads(message[start:].encode()) if start >= 0 else loads(message.encode())
        if isinstance(line, dict) and "action" not in line:
            line = loads(str(line.get("message") or line.get("record") or "").encode())
    except ValueError:
        return False
    return isinstance(line, dict) and line.get("action") == "inject" and line.get("experiment") == id


def _environ(configuration: Mapping[str, Any] | None) -> dict[str, str]:
    region = (configuration or {}).get("aws_region")
    return {**os.environ, **({"AWS_REGION": str(region)} if region else {})}


def _driver(source: str, configuration: Mapping[str, Any] | None) -> tuple[ChaosSettings, Driver]:
    environ = _environ(configuration)
    settings, _warnings = ChaosSettings.parse(environ)
    place = Place.of(source, DIRECTORY)
    destination = open_destination(place, lambda: Aws(environ, read_timeout=5.0))
    return settings, Driver(destination, str(place), settings, Clock())


def _done(outcome: Outcome) -> dict[str, Any]:
    if outcome.code:
        raise RuntimeError("; ".join(outcome.lines))
    return outcome.as_json()
