"""Powertools for AWS Lambda on top of the secret cache: code that is written for its ``parameters`` works without boto3.

    from extension_kit.clients.powertools import SecretCacheProvider

    secrets = SecretCacheProvider()                       # or kind="parameter"
    db = secrets.get("prod/db", transform="json")

Powertools keeps a value in the function for `max_age` seconds (its own default and ``POWERTOOLS_PARAMETERS_MAX_AGE``), on top
of the time that the cache keeps it: ``max_age=0`` leaves that to the cache alone.
"""

from __future__ import annotations

from extension_kit.clients.secret_cache import SecretCache
from extension_kit.errors import ConfigError

try:
    from aws_lambda_powertools.utilities.parameters.base import BaseProvider
except ImportError as error:
    raise ImportError(
        "extension_kit.clients.powertools needs the package aws-lambda-powertools (3 or newer) beside the function: "
        "without it, use extension_kit.clients.secret_cache"
    ) from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["SecretCacheProvider"]

#: What code that was written for the providers of boto3 passes on, and what it is called here.
_OPTIONS = {
    "VersionId": "version_id",
    "VersionStage": "version_stage",
    "WithDecryption": "decrypt",
    "Recursive": "recursive",
}
_KINDS = ("secret", "parameter")


class SecretCacheProvider(BaseProvider):
    """Secrets or, with ``kind="parameter"``, parameters. ``cache``: where from, if not from what the environment says.

    Options that are not Powertools' own go to the methods of `SecretCache`; a value that was read with any is not kept here,
    since Powertools would hand it out for the bare name as well. All errors are Powertools' ``GetParameterError``. Other than
    with Powertools' own provider, parameters are decrypted unless ``decrypt=False`` says otherwise.
    """

    def __init__(self, kind: str = "secret", cache: SecretCache | None = None) -> None:
        if kind not in _KINDS:
            raise ConfigError(f"SecretCacheProvider: kind is {' or '.join(_KINDS)}, not {kind!r}")
        super().__init__()  # type: ignore[no-untyped-call]
        self._kind = kind
        self._cache = cache if cache is not None else SecretCache()

    def get(
        self, name: str, max_age: int | None = None, transform: Any = None, force_fetch: bool = False, **options: Any
    ) -> Any:
        """The value, transformed ("json", "binary"); `force_fetch`: the cache asks AWS again, too (``refreshNow``)."""
        if options:
            max_age = 0
        asked = {**options, "refresh": True} if force_fetch else options
        return super().get(name, max_age, transform, force_fetch or bool(options), **asked)

    def get_multiple(
        self,
        path: str | Sequence[str],
        max_age: int | None = None,
        transform: Any = None,
        raise_on_transform_error: bool = False,
        force_fetch: bool = False,
        **options: Any,
    ) -> Any:
        """The parameters of a path by what follows it (``recursive=True``: of those below, too); secrets by a list of ids."""
        if options:
            max_age = 0
        asked = {**options, "refresh": True} if force_fetch else options
        key: Any = path if isinstance(path, str) else tuple(path)
        return super().get_multiple(
            key, max_age, transform, raise_on_transform_error, force_fetch or bool(options), **asked
        )

    def _get(self, name: str, **options: Any) -> Any:
        read = self._cache.secret if self._kind == "secret" else self._cache.parameter
        return read(name, **_renamed(options))

    def _get_multiple(self, path: Any, **options: Any) -> dict[str, Any]:
        if self._kind == "secret":
            return dict(self._cache.secrets(path, **_renamed(options)))
        found = self._cache.parameters_by_path(path, **{"recursive": False, **_renamed(options)})
        begin = path.rstrip("/") + "/"
        return {name.removeprefix(begin): value for name, value in found.items()}


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    return {_OPTIONS.get(name, name): value for name, value in options.items()}
