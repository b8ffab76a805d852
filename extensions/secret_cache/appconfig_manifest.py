"""The AppConfig agent's manifest: which role reads a configuration, and into which folder it is written. No I/O.

Source: AWS docs, AppConfig user guide, "Using a manifest to enable additional retrieval features". A JSON object: keys are
``App:Env:Profile``, values have ``credentials`` (``roleArn``, ``roleExternalId``, ``roleSessionName``,
``credentialsDuration``) and ``writeTo`` (``path``). What else it may say is not used here.
"""

from __future__ import annotations

from extension_kit.protocol.jsontext import loads
from extensions.secret_cache.options import configuration_ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extension_kit.aws import Role
    from extensions.secret_cache.asks import ConfigurationAsk

__all__ = ["read"]

_LEAST_S, _MOST_S = 900, 43_200  # AssumeRole, DurationSeconds
_UNITS = {"s": 1, "m": 60, "h": 3600}


def read(body: bytes, say: Callable[[str], object]) -> tuple[dict[ConfigurationAsk, Role], dict[ConfigurationAsk, str]]:
    """Roles and folders by configuration; what cannot be used is said in one line and left out."""
    try:
        document = loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        say("AWS_APPCONFIG_EXTENSION_MANIFEST: the manifest is no JSON object; it is not used")
        return {}, {}
    roles: dict[ConfigurationAsk, Role] = {}
    folders: dict[ConfigurationAsk, str] = {}
    for name, entry in document.items():
        ask = configuration_ask(name)
        if ask is None or not isinstance(entry, dict):
            say(
                f"AWS_APPCONFIG_EXTENSION_MANIFEST: {name[:200]!r} is no App:Env:Profile with an object; it is left out"
            )
            continue
        role, folder = _role(entry.get("credentials")), _text(entry.get("writeTo"), "path")
        if role is not None:
            roles[ask] = role
        if folder:
            folders[ask] = folder.rstrip("/")
    return roles, folders


def _role(credentials: Any) -> Role | None:
    from extension_kit.aws import Role

    arn = _text(credentials, "roleArn")
    if not arn:
        return None
    return Role(
        arn,
        external_id=_text(credentials, "roleExternalId"),
        session_name=_text(credentials, "roleSessionName") or "secret-cache",
        duration_s=min(max(_seconds(_text(credentials, "credentialsDuration")), _LEAST_S), _MOST_S),
    )


def _text(table: Any, name: str) -> str:
    value = table.get(name) if isinstance(table, dict) else None
    return value if isinstance(value, str) else ""


def _seconds(written: str) -> int:
    """``2h``, ``30m``, ``3600s`` or ``3600``; an hour for anything else."""
    number, unit = (written[:-1], _UNITS[written[-1]]) if written[-1:] in _UNITS else (written, 1)
    return int(number) * unit if number.isascii() and number.isdigit() and len(number) < 7 else 3600
