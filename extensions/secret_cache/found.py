"""What AWS has answered, as values: what the store keeps. None of them shows what it holds.

The fields are those of the services' API references (GetSecretValue; GetParameter; GetLatestConfiguration); dates are epoch
seconds with a fraction, as the JSON protocol has them.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Configuration", "Found", "Parameter", "Parameters", "Secret", "content"]


class Secret(Value):
    """``binary``: base64 text, as AWS sends it; of it and ``string`` one is None."""

    __slots__ = ("arn", "binary", "created", "name", "stages", "string", "version_id")

    arn: str
    binary: str | None
    created: float | None
    name: str
    stages: tuple[str, ...]
    string: str | None
    version_id: str

    def __init__(self, answer: dict[str, Any]) -> None:
        """Of a GetSecretValue's answer, or an item of a BatchGetSecretValue's; ValueError for anything else."""
        set_field(self, "arn", _text(answer, "ARN"))
        set_field(self, "name", _text(answer, "Name"))
        set_field(self, "version_id", _text(answer, "VersionId"))
        set_field(self, "string", _text_or_none(answer, "SecretString"))
        set_field(self, "binary", _text_or_none(answer, "SecretBinary"))
        set_field(self, "created", _number(answer, "CreatedDate"))
        stages = answer.get("VersionStages") or ()
        set_field(self, "stages", tuple(stage for stage in stages if isinstance(stage, str)))

    def but(self, **changed: Any) -> Secret:
        """The same with some fields `changed`."""
        other = Secret.__new__(Secret)
        for name in self.__slots__:
            set_field(other, name, changed.get(name, getattr(self, name)))
        return other

    @property
    def version(self) -> str:
        return self.version_id

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.string or "") + len(self.binary or "") + 512

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, version {self.version_id!r})"


class Parameter(Value):
    """``value`` is None where the secret that it refers to is binary; ``version`` 0: it is such a reference."""

    __slots__ = ("arn", "data_type", "modified", "name", "selector", "source", "type", "value", "version_number")

    arn: str | None
    data_type: str | None
    modified: float | None
    name: str
    selector: str | None
    source: str | None
    type: str
    value: str | None
    version_number: int

    def __init__(self, answer: dict[str, Any]) -> None:
        """Of the ``Parameter`` in AWS's answers; ValueError for anything else."""
        set_field(self, "arn", _text_or_none(answer, "ARN"))
        set_field(self, "data_type", _text_or_none(answer, "DataType"))
        set_field(self, "modified", _number(answer, "LastModifiedDate"))
        set_field(self, "name", _text(answer, "Name"))
        set_field(self, "selector", _text_or_none(answer, "Selector"))
        set_field(self, "source", _text_or_none(answer, "SourceResult"))
        set_field(self, "type", _text(answer, "Type"))
        set_field(self, "value", _text_or_none(answer, "Value"))
        version = answer.get("Version")
        set_field(self, "version_number", version if isinstance(version, int) else 0)

    @property
    def version(self) -> str:
        """ "" where it has none that changes with the value."""
        return str(self.version_number) if self.version_number else ""

    @property
    def size(self) -> int:
        return len(self.value or "") + len(self.source or "") + 512

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, version {self.version_number})"


class Parameters(Value):
    """What lies below a path."""

    __slots__ = ("items",)

    items: tuple[Parameter, ...]

    def __init__(self, items: tuple[Parameter, ...]) -> None:
        set_field(self, "items", items)

    version = ""

    @property
    def size(self) -> int:
        return sum(item.size for item in self.items) + 512

    def __repr__(self) -> str:
        return f"Parameters({len(self.items)})"


class Configuration(Value):
    """A configuration as AppConfig delivers it, byte for byte."""

    __slots__ = ("body", "content_type", "version_label")

    body: bytes
    content_type: str
    version_label: str

    def __init__(self, body: bytes, content_type: str, version_label: str) -> None:
        set_field(self, "body", body)
        set_field(self, "content_type", content_type)
        set_field(self, "version_label", version_label)

    @property
    def version(self) -> str:
        return self.version_label

    @property
    def size(self) -> int:
        return len(self.body) + 512

    def __repr__(self) -> str:
        return f"Configuration(version {self.version_label!r})"


Found = Secret | Parameter | Parameters | Configuration


def content(found: Found) -> bytes:
    """The value alone, as a file holds it."""
    if isinstance(found, Secret) and found.string is None:
        from binascii import Error, a2b_base64

        try:
            return a2b_base64(found.binary or "")
        except Error:
            return b""
    if isinstance(found, Configuration):
        return found.body
    text = found.string if isinstance(found, Secret) else found.value if isinstance(found, Parameter) else ""
    return (text or "").encode("utf-8", "replace")


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing")  # noqa: TRY004 - it is AWS's answer that is wrong, not a type of ours
    return value


def _text_or_none(answer: dict[str, Any], name: str) -> str | None:
    value = answer.get(name)
    return value if isinstance(value, str) else None


def _number(answer: dict[str, Any], name: str) -> float | None:
    value = answer.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
