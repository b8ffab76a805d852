"""The key that a sink wants: written in the settings, or fetched from Secrets Manager or Parameter Store at its first use.

A reference is ``secretsmanager:NAME``, ``secretsmanager:ARN``, ``ssm:/name``, or an ARN of either service; ``#name`` behind it
takes one field of a secret that is a JSON object. What cannot be fetched is tried again at the next exchange: lines wait
meanwhile, as for a sink that is down; but a key that is known already serves on for as long as the service is away. A key that
was refused is fetched anew, but not more often than once in half a minute.
"""

from __future__ import annotations

from extension_kit.protocol.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from extension_kit.aws import Aws
    from extension_kit.io.clock import Clock

__all__ = ["Key"]

_AGE_MS = 3_600_000  # of a key that works
_AGAIN_MS = 30_000  # after one that was refused, or that could not be fetched anew


class _Away(OSError):
    """The service does not answer, or not now."""


class Key:
    """``value(seconds)`` is the key, ``""`` where none is set."""

    def __init__(self, written: str, environ: Mapping[str, str], clock: Clock) -> None:
        self._service, self._name, self._field = _reference(written)
        self._value = "" if self._service else written
        self._environ = environ
        self._clock = clock
        self._fetched_ms = 0
        self._most_age_ms = _AGE_MS
        self._aws: Aws | None = None

    def value(self, seconds: float) -> str:
        """The key; OSError, with the reason, where it cannot be had within `seconds`."""
        age = self._clock.wall_ms() - self._fetched_ms
        if self._service and (not self._value or age < 0 or age > self._most_age_ms):
            self._renew(seconds)
        return self._value

    def refused(self) -> None:
        """The sink did not take it: it may have been changed."""
        self._most_age_ms = _AGAIN_MS

    def hide(self, text: str) -> str:
        """`text` without the key."""
        return text.replace(self._value, "(key)") if self._value else text

    def _renew(self, seconds: float) -> None:
        try:
            # Where there is one already, half of the time is left for what it may serve for all the same.
            self._value = self._fetch(seconds / 2 if self._value else seconds)
            self._most_age_ms = _AGE_MS
        except _Away:
            if not self._value:
                raise
            self._most_age_ms = _AGAIN_MS
        self._fetched_ms = self._clock.wall_ms()

    def _fetch(self, seconds: float) -> str:
        from extension_kit.aws import Aws, AwsError

        aws = self._aws = self._aws or Aws(self._environ, clock=self._clock)
        deadline_ms = self._clock.wall_ms() + int(seconds * 1000)
        try:
            if self._service == "ssm":
                parameter = {"Name": self._name, "WithDecryption": True}
                found = (
                    aws.call("ssm", "GetParameter", parameter, deadline_ms=deadline_ms)
                    .get("Parameter", {})
                    .get("Value")
                )
            else:
                found = aws.call(
                    "secretsmanager", "GetSecretValue", {"SecretId": self._name}, deadline_ms=deadline_ms
                ).get("SecretString")
        except AwsError as error:
            kind = _Away if error.transient else OSError
            raise kind(f"its key {self._name} cannot be fetched: {error}") from None
        return self._chosen(found)

    def _chosen(self, found: object) -> str:
        if self._field and isinstance(found, str):
            try:
                fields = loads(found.encode())
                found = fields.get(self._field)
            except (ValueError, AttributeError):
                found = None
        if not isinstance(found, str) or not found:
            what = f"no field {self._field}" if self._field else "no text"
            raise OSError(f"its key {self._name} cannot be used: there is {what} in it")
        return found


def _reference(written: str) -> tuple[str, str, str]:
    """Service, name and field that a setting refers to; no service where it is the key itself."""
    name, _, field = written.partition("#")
    for service in ("secretsmanager", "ssm"):
        if name.startswith(f"{service}:"):
            return service, name[len(service) + 1 :], field
        if name.startswith("arn:") and name.split(":")[2:3] == [service]:
            return service, name, field
    return "", "", ""
