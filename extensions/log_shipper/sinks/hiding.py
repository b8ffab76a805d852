"""What must not be in a log line though a destination echoes it: keys, headers, and what of an URL may be secret."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.settings import ShipperSettings

__all__ = ["Hiding"]

_SHORTEST = 3  # characters: what is shorter is no secret, and stands in every text
_SHORTEST_PATH = 8  # likewise


class Hiding:
    """Knows what of a sink's settings is secret."""

    def __init__(self, settings: ShipperSettings, key: Key) -> None:
        self._settings = settings
        self._key = key
        self._secrets: list[str] | None = None  # found when something has to be hidden, which is rare

    def hide(self, text: str) -> str:
        """`text` with ``(key)`` in the place of whatever is secret."""
        if self._secrets is None:
            self._secrets = _secrets_of(self._settings)
        text = self._key.hide(text)
        for secret in self._secrets:
            text = text.replace(secret, "(key)")
        return text


def _secrets_of(settings: ShipperSettings) -> list[str]:
    """The longest first, so that none leaves a part of another."""
    found: set[str] = set()
    for pair in settings.headers:
        value = pair.partition("=")[2].strip()
        if "{api_key}" not in value:
            found |= {value, value.rpartition(" ")[2]}  # servers name the token of `Bearer token` alone
    for url in (settings.endpoint, settings.proxy):
        if "://" in url:
            found |= _secrets_in(url)
    return sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)


def _secrets_in(url: str) -> set[str]:
    """User and password, path and query: services such as webhooks have their tokens there."""
    from urllib.parse import unquote, unquote_plus

    rest = url.partition("://")[2].partition("#")[0]
    target = rest[len(rest.replace("?", "/").partition("/")[0]) :]
    user = rest[: len(rest) - len(target)].rpartition("@")[0]
    path, _, query = target.partition("?")
    found = {user, user.partition(":")[2], query, *(part.partition("=")[2] for part in query.split("&"))}
    if len(path) >= _SHORTEST_PATH:
        found.add(path)
    return found | {unquote(one) for one in found} | {unquote_plus(one) for one in found}
