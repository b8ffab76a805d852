"""Where documents come from. A source is asked again and again, off the invocation path (`poller`), never by whoever injects.

``fetch`` gives the document's bytes, None where it was not asked this time, `Gone` where there is none, `Unreachable` where the
source does not answer (what it said before counts until its lease ends), `Unreadable` where it refuses.
"""

from __future__ import annotations

from extension_kit.errors import ConfigError, ExtensionKitError
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from extension_kit.aws import Aws
    from extension_kit.io.clock import Clock
    from extensions.chaos_injector.settings import ChaosSettings

    class Source(Protocol):
        """Asked by one thread at a time."""

        def fetch(self) -> bytes | None: ...


__all__ = ["USE", "Gone", "Place", "Unreachable", "Unreadable", "locate", "open_source"]

USE = (
    "env, file, file:/path, ssm:/name, appconfig:APPLICATION:ENVIRONMENT:PROFILE, s3://bucket/key or variables"
)  # fmt: skip
_KINDS = ("env", "file", "ssm", "appconfig", "s3", "variables")
LOCAL = ("env", "file", "variables")


class Gone(ExtensionKitError):
    """The source answers, and has no document."""


class Unreachable(ExtensionKitError):
    """The source does not answer; this may pass."""


class Unreadable(ExtensionKitError):
    """The source refuses, or what it has is no document."""


class Place(Value):
    """``kind``: one of env, file, ssm, appconfig, s3, variables; ``parts``: path; name; three names; bucket and key."""

    __slots__ = ("kind", "parts")

    kind: str
    parts: tuple[str, ...]

    def __init__(self, kind: str, *parts: str) -> None:
        set_field(self, "kind", kind)
        set_field(self, "parts", parts)

    @classmethod
    def of(cls, written: str, directory: str) -> Place:
        """What a setting or an option says; ConfigError for anything else. ``directory``: of the file without a path."""
        kind, _, rest = written.partition(":")
        if written.startswith("arn:") and ":s3:::" in written:
            kind, rest = "s3", "//" + written.partition(":s3:::")[2]
        if kind in ("env", "variables") and not rest:
            return cls(kind)
        if kind == "file" and (rest.startswith("/") or written == "file"):
            return cls(kind, rest or f"{directory}/experiment.json")
        if kind == "ssm" and rest:
            return cls(kind, rest)
        names = tuple(rest.split(":"))
        if kind == "appconfig" and len(names) == 3 and all(names):
            return cls(kind, *names)
        bucket, _, key = rest.removeprefix("//").partition("/")
        if kind == "s3" and rest.startswith("//") and bucket and key:
            return cls(kind, bucket, key)
        guess = ""
        if kind not in _KINDS:
            from extension_kit.nearest import nearest

            guess = f"; did you mean {nearest(kind, [*_KINDS])}?"
        raise ConfigError(f'"{written[:200]}" is no source: use {USE}{guess}')

    def __str__(self) -> str:
        if self.kind == "s3":
            return f"s3://{'/'.join(self.parts)}"
        return ":".join((self.kind, *self.parts))


def locate(settings: ChaosSettings, environ: Mapping[str, str], directory: str) -> Place:
    """The place that the settings name; ConfigError where that is none."""
    if settings.source:
        try:
            return Place.of(settings.source, directory)
        except ConfigError as error:
            raise ConfigError(f"CHAOS_SOURCE = {error}") from None
    if settings.experiment:
        return Place("env")
    if settings.failure_configuration:
        names = (settings.failure_application, settings.failure_environment, settings.failure_configuration)
        if not all(names):
            raise ConfigError(
                "FAILURE_APPCONFIG_CONFIGURATION is set: set FAILURE_APPCONFIG_APPLICATION and ..._ENVIRONMENT too"
            )
        return Place("appconfig", *names)
    if settings.failure_param:
        return Place("ssm", settings.failure_param)
    from extensions.chaos_injector.readers.aws_cli_tools import PREFIX, enables

    if enables({name: value for name, value in environ.items() if name.startswith(PREFIX)}):
        return Place("variables")
    return Place("file", f"{directory}/experiment.json")


def open_source(
    place: Place, settings: ChaosSettings, environ: Mapping[str, str], clock: Clock, aws: Aws | None
) -> Source:
    """``aws``: for those that ask AWS."""
    if place.kind in LOCAL:
        from extensions.chaos_injector.sources import local

        if place.kind == "file":
            return local.File(place.parts[0])
        return local.Variable(settings.experiment) if place.kind == "env" else local.Variables(environ)
    from extensions.chaos_injector.sources import amazon

    assert aws is not None
    if place.kind == "ssm":
        return amazon.Parameter(aws, place.parts[0])
    if place.kind == "s3":
        return amazon.Object(aws, *place.parts)
    return amazon.Configuration(aws, clock, place.parts, settings.poll)
