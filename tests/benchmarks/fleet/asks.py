"""What environments ask for: one object for all of them.

The look-ups of a hundred thousand stores would spend most of the time on working out the same few hashes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from extension_kit.protocol.values import set_field
from extensions.secret_cache.asks import ParameterAsk, SecretAsk

if TYPE_CHECKING:
    from extensions.secret_cache.asks import Ask


class _KnownSecret(SecretAsk):
    """Compared as any other of its kind; its hash, and what is made of it, is worked out once for all environments."""

    def __init__(self, *fields: Any) -> None:
        super().__init__(*fields)
        set_field(self, "_hash", super().__hash__())

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    @property
    def plain(self) -> SecretAsk:
        return self if self.is_current else _known_secret(self.id, "", "", self.role)

    def but(self, *, id: str) -> SecretAsk:
        return _known_secret(id, self.version_id, self.version_stage, self.role)


class _KnownParameter(ParameterAsk):
    """The same for a parameter."""

    def __init__(self, *fields: Any) -> None:
        super().__init__(*fields)
        set_field(self, "_hash", super().__hash__())

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    @property
    def plain(self) -> ParameterAsk:
        return _known_parameter(self.id, "", self.decrypt, self.role)

    def but(self, *, id: str = "", decrypt: bool | None = None) -> ParameterAsk:
        return _known_parameter(id or self.id, self.selector, self.decrypt if decrypt is None else decrypt, self.role)


_known_secret = cache(_KnownSecret)
_known_parameter = cache(_KnownParameter)


def known(ask: Ask) -> Ask:
    """The same as one of these: they are equal to their own kind only."""
    if isinstance(ask, SecretAsk):
        return _known_secret(ask.id, ask.version_id, ask.version_stage, ask.role)
    assert isinstance(ask, ParameterAsk)
    return _known_parameter(ask.id, ask.selector, ask.decrypt, ask.role)


def secrets(number: int) -> list[Ask]:
    """As many secrets."""
    return [_known_secret(f"app/secret-{at}", "", "", None) for at in range(number)]


def parameters(number: int) -> list[Ask]:
    """As many parameters."""
    return [_known_parameter(f"/app/parameter-{at}", "", True, None) for at in range(number)]
