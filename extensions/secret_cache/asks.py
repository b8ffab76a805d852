"""What can be asked for, as values: they are the keys of the store and the orders of the fetcher. No I/O.

A secret that is asked for by name and by ARN is one entry; the store learns that from AWS's answer, not from the text.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.aws import Role

__all__ = ["Ask", "ConfigurationAsk", "ParameterAsk", "PathAsk", "SecretAsk", "name_in_arn"]

_SUFFIX = 7  # characters that Secrets Manager adds to a name in an ARN: a dash and six more (its user guide)


class SecretAsk(Value):
    """``id``: name, ARN, or ARN without its suffix. Without version and stage AWS answers with AWSCURRENT."""

    __slots__ = ("id", "role", "version_id", "version_stage")

    kind = "secret"
    id: str
    version_id: str
    version_stage: str
    role: Role | None

    def __init__(self, id: str, version_id: str = "", version_stage: str = "", role: Role | None = None) -> None:
        set_field(self, "id", id)
        set_field(self, "version_id", version_id)
        # The stage that is meant where none is named: one entry for both ways of asking.
        set_field(self, "version_stage", "" if version_stage == "AWSCURRENT" and not version_id else version_stage)
        set_field(self, "role", role)

    @property
    def is_current(self) -> bool:
        """Whether whatever version is current is wanted: what rotation changes, and what a batch can fetch."""
        return not self.version_id and not self.version_stage

    @property
    def plain(self) -> SecretAsk:
        """The same in its current version."""
        return SecretAsk(self.id, role=self.role)

    def but(self, *, id: str) -> SecretAsk:
        """The same of another `id`."""
        return SecretAsk(id, self.version_id, self.version_stage, self.role)


class ParameterAsk(Value):
    """``id``: name, path or ARN; ``selector``: version or label, without the colon, or ""."""

    __slots__ = ("decrypt", "id", "role", "selector")

    kind = "parameter"
    id: str
    selector: str
    decrypt: bool
    role: Role | None

    def __init__(self, id: str, selector: str = "", decrypt: bool = False, role: Role | None = None) -> None:
        set_field(self, "id", id)
        set_field(self, "selector", selector)
        set_field(self, "decrypt", decrypt)
        set_field(self, "role", role)

    @property
    def name(self) -> str:
        """As GetParameter wants it."""
        return f"{self.id}:{self.selector}" if self.selector else self.id

    @property
    def plain(self) -> ParameterAsk:
        """The same in its newest version."""
        return ParameterAsk(self.id, "", self.decrypt, self.role)

    def but(self, *, id: str = "", decrypt: bool | None = None) -> ParameterAsk:
        """The same of another `id`, or with the other decryption."""
        return ParameterAsk(id or self.id, self.selector, self.decrypt if decrypt is None else decrypt, self.role)


class PathAsk(Value):
    """All parameters below the path ``id``."""

    __slots__ = ("decrypt", "id", "recursive", "role")

    kind = "path"
    id: str
    recursive: bool
    decrypt: bool
    role: Role | None

    def __init__(self, id: str, recursive: bool = False, decrypt: bool = False, role: Role | None = None) -> None:
        set_field(self, "id", id)
        set_field(self, "recursive", recursive)
        set_field(self, "decrypt", decrypt)
        set_field(self, "role", role)


class ConfigurationAsk(Value):
    """A configuration profile of AppConfig."""

    __slots__ = ("application", "environment", "profile")

    kind = "configuration"
    application: str
    environment: str
    profile: str

    def __init__(self, application: str, environment: str, profile: str) -> None:
        set_field(self, "application", application)
        set_field(self, "environment", environment)
        set_field(self, "profile", profile)

    @property
    def id(self) -> str:
        return f"{self.application}:{self.environment}:{self.profile}"


Ask = SecretAsk | ParameterAsk | PathAsk | ConfigurationAsk


def name_in_arn(id: str) -> str:
    """The name that an ARN of a secret or a parameter holds (without a secret's suffix); "" for what is no ARN."""
    if not id.startswith("arn:"):
        return ""
    parts = id.split(":", 6)
    if len(parts) == 7 and parts[2] == "secretsmanager" and parts[5] == "secret":
        name = parts[6]
        return name[:-_SUFFIX] if name[-_SUFFIX : -_SUFFIX + 1] == "-" else name
    if len(parts) == 6 and parts[2] == "ssm" and parts[5].startswith("parameter/"):
        return parts[5].removeprefix("parameter")
    return ""
