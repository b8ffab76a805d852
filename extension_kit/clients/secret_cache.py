"""Secrets, parameters and configurations from the secret cache on localhost, without an SDK.

    from extension_kit.clients import secret_cache

    PASSWORD = secret_cache.secret("prod/db", json_key="password")     # works during init, too
    LIMIT = secret_cache.parameter("/app/limit")

The functions of this module are the methods of one `SecretCache` that takes its ports and its token from the environment.
They may be called from any thread. They speak the contract of AWS's Parameters and Secrets extension (port 2773) and of the
AppConfig agent (port 2772), so that they work with those as well; what only our server has is said where it is.

Nothing is kept in this process unless `max_age` asks for it. Whatever goes wrong is a `SecretCacheError`; its ``code`` is
AWS's own, where the server tells it.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from time import monotonic_ns, time_ns

from extension_kit.clients import answers
from extension_kit.clients.asking import Server, port_from, quoted
from extension_kit.clients.errors import (
    AccessDenied,
    BadAnswer,
    NotFound,
    NotReady,
    Refused,
    SecretCacheError,
    Unreachable,
)
from extension_kit.errors import LocalProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "AccessDenied",
    "BadAnswer",
    "NotFound",
    "NotReady",
    "Refused",
    "SecretCache",
    "SecretCacheError",
    "Unreachable",
    "configuration",
    "parameter",
    "parameters",
    "parameters_by_path",
    "secret",
    "secrets",
]

#: Where the ports are set, for the servers as well: AWS's own names.
PORT_VARIABLE = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"
APPCONFIG_PORT_VARIABLE = "AWS_APPCONFIG_EXTENSION_HTTP_PORT"

_SECRET = "/secretsmanager/get?secretId="  # noqa: S105 - a path
_SECRETS = "/secretsmanager/batch?secretId="  # noqa: S105 - a path
_PARAMETER = "/systemsmanager/parameters/get?name="
_PARAMETERS = "/systemsmanager/parameters/batch?name="
_PATH = "/systemsmanager/parameters/path?path="
_BATCH = 20  # ids in one request: its line stays short, and AWS's own batches are not larger
_NO_SUCH_ENDPOINT = (400, 404, 405)  # what a server may say that knows no batches
_REMEMBERED = 1000  # values that `max_age` keeps at most, as many as AWS's extension does


class SecretCache:
    """The caller's side of the two servers. ``port``, ``appconfig_port`` and ``token``: None for what the environment says.

    ``timeout`` (seconds) bounds each request: the server holds one until it has an answer. ``patience`` (seconds): how long
    to go on asking where nobody listens yet, or where AWS's extension is "not ready".
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int | None = None,
        *,
        appconfig_port: int | None = None,
        timeout: float = 10.0,
        patience: float = 1.0,
        token: str | None = None,
    ) -> None:
        self._host = host
        self._ports = (port, appconfig_port)
        self._timeout = timeout
        self._patience = patience
        self._token = token
        self._cache: Server | None = None
        self._agent: Server | None = None
        self._batches = True  # until the server shows that it has none
        self._memo: dict[object, tuple[int, int, object]] = {}
        self._lock = allocate_lock()

    def __repr__(self) -> str:
        return f"SecretCache(host={self._host!r}, port={self._ports[0]!r}, appconfig_port={self._ports[1]!r})"

    def secret(
        self,
        id: str,
        *,
        json_key: str | None = None,
        version_id: str | None = None,
        version_stage: str | None = None,
        refresh: bool = False,
        role_arn: str | None = None,
        max_age: float = 0,
    ) -> str | bytes:
        """The value of the secret with this name or ARN: a str, or bytes where it is binary.

        `json_key`: that member of a JSON object instead, other JSON than a string as JSON text. `refresh`: the server asks AWS
        again (not more often than its limit). `role_arn`: read with this role (ours and AWS's agent, not AWS's layer).
        `max_age`: seconds for which a value that this process has read before will do.
        """
        what = f"secret {id!r}"
        target = _SECRET + quoted(id, "the id of a secret")
        if version_id is not None:
            target += "&versionId=" + quoted(version_id, "version_id")
        if version_stage is not None:
            target += "&versionStage=" + quoted(version_stage, "version_stage")
        if role_arn is not None:
            target += "&roleArn=" + quoted(role_arn, "role_arn")
        value = self._value(target, what, refresh, max_age, answers.secret)
        return value if json_key is None else answers.member(value, json_key, what)

    def secrets(self, ids: Iterable[str], *, refresh: bool = False) -> dict[str, str | bytes]:
        """Several secrets by the ids that were asked for, in as few requests as the server can do with.

        All or nothing: the error of the first that cannot be had is raised.
        """
        wanted = _names(ids)
        found = {} if refresh else self._batched(wanted, _SECRETS, "&secretId=", "", answers.secrets)
        return {id: found[id] if id in found else self.secret(id, refresh=refresh) for id in wanted}

    def parameter(
        self,
        name: str,
        *,
        decrypt: bool = True,
        version: int | None = None,
        label: str | None = None,
        refresh: bool = False,
        max_age: float = 0,
    ) -> str:
        """The value of a parameter by its name, path or ARN; a StringList as it is stored, with commas.

        `version` and `label` exclude each other. `refresh` and `max_age` as for `secret`.
        """
        target = _PARAMETER + quoted(name, "the name of a parameter")
        if version is not None and label is not None:
            raise LocalProtocolError(f"parameter {name!r}: give version or label, not both")
        if version is not None:
            target += f"&version={int(version)}"
        if label is not None:
            target += "&label=" + quoted(label, "label")
        if decrypt:
            target += "&withDecryption=true"
        return self._value(target, f"parameter {name!r}", refresh, max_age, answers.parameter)

    def parameters(self, names: Iterable[str], *, decrypt: bool = True, refresh: bool = False) -> dict[str, str]:
        """Several parameters by the names that were asked for (``name:3`` for a version); all or nothing, as `secrets`."""
        wanted = _names(names)
        end = "&withDecryption=true" if decrypt else ""
        found = {} if refresh else self._batched(wanted, _PARAMETERS, "&name=", end, answers.parameters)
        return {
            name: found[name] if name in found else self.parameter(name, decrypt=decrypt, refresh=refresh)
            for name in wanted
        }

    def parameters_by_path(
        self, path: str, recursive: bool = True, *, decrypt: bool = True, refresh: bool = False, max_age: float = 0
    ) -> dict[str, str]:
        """All parameters below `path`, by full name; not with AWS's own layer, which knows single parameters only."""
        target = _PATH + quoted(path, "the path")
        target += "&recursive=true" if recursive else "&recursive=false"
        if decrypt:
            target += "&withDecryption=true"
        return dict(self._value(target, f"parameters below {path!r}", refresh, max_age, answers.by_path))

    def configuration(
        self,
        app: str,
        env: str,
        profile: str,
        flags: Iterable[str] = (),
        *,
        context: Mapping[str, str] | None = None,
        max_age: float = 0,
    ) -> bytes:
        """A configuration of AppConfig, as it was deployed: bytes, most often of JSON. Each part by its name or id.

        `flags`: only these feature flags; `context`: what their variants are chosen by. `max_age` as for `secret`.
        """
        what = f"configuration {profile!r} of {app!r} in {env!r}"
        target = (
            f"/applications/{quoted(app, 'app')}/environments/{quoted(env, 'env')}"
            f"/configurations/{quoted(profile, 'profile')}"
        )
        chosen = [quoted(flag, "a flag") for flag in _names(flags)]
        if chosen:
            target += "?flag=" + "&flag=".join(chosen)
        lines = b"".join([_context_line(key, value) for key, value in (context or {}).items()])

        def fetch() -> bytes:
            return self._appconfig().ask(target, what, lines)

        return self._kept((target, lines), False, max_age, fetch)

    def close(self) -> None:
        """Drop the connections and what `max_age` has kept; the object can be used again."""
        with self._lock:
            self._memo.clear()
        for server in (self._cache, self._agent):
            if server is not None:
                server.connections.close()

    def _value(self, target: str, what: str, refresh: bool, max_age: float, decode: Callable[[bytes, str], T]) -> T:
        def fetch() -> T:
            return decode(self._parameters_and_secrets().ask(target + "&refreshNow=true" * refresh, what), what)

        return fetch() if max_age <= 0 else self._kept(target, refresh, max_age, fetch)

    def _kept(self, key: object, refresh: bool, max_age: float, fetch: Callable[[], T]) -> T:
        """What `fetch` returned not more than `max_age` seconds ago, by both clocks: one stands still in a snapshot, the other
        can be set."""
        if max_age <= 0:
            return fetch()
        now = (time_ns(), monotonic_ns())
        kept = self._memo.get(key)
        if kept is not None and not refresh:
            limit = max_age * 1e9
            if 0 <= now[0] - kept[0] < limit and 0 <= now[1] - kept[1] < limit:
                return kept[2]  # type: ignore[return-value]
        value = fetch()
        with self._lock:
            self._memo.pop(key, None)
            while len(self._memo) >= _REMEMBERED:
                del self._memo[next(iter(self._memo))]  # the oldest
            self._memo[key] = (*now, value)
        return value

    def _batched(
        self, names: list[str], begin: str, between: str, end: str, decode: Callable[[bytes, str], dict[str, T]]
    ) -> dict[str, T]:
        """What batches bring. What they do not, or cannot, is asked for one by one: that tells why, too."""
        found: dict[str, T] = {}
        for at in range(0, len(names) if len(names) > 1 else 0, _BATCH):
            if not self._batches:
                break
            target = begin + between.join([quoted(name, "an id") for name in names[at : at + _BATCH]]) + end
            try:
                found |= decode(self._parameters_and_secrets().ask(target, "a batch"), "a batch")
            except Refused as error:
                if isinstance(error, (AccessDenied, NotReady)) or error.status not in _NO_SUCH_ENDPOINT:
                    raise
                self._batches = error.status == 400  # an id may be to blame for that
        return found

    def _parameters_and_secrets(self) -> Server:
        if self._cache is None:
            port = self._ports[0] or port_from(os.environ, PORT_VARIABLE, 2773)
            self._cache = Server(self._host, port, self._timeout, self._patience, self._token)
        return self._cache

    def _appconfig(self) -> Server:
        """The agent on Lambda wants no token, so that it gets none."""
        if self._agent is None:
            port = self._ports[1] or port_from(os.environ, APPCONFIG_PORT_VARIABLE, 2772)
            self._agent = Server(self._host, port, self._timeout, self._patience, "")
        return self._agent


def _names(names: Iterable[str]) -> list[str]:
    """Each once; a single text is a mistake, which would be asked for letter by letter."""
    if isinstance(names, str):
        raise LocalProtocolError(f"a list is wanted, not the text {names!r}")
    return list(dict.fromkeys(names))


def _context_line(key: str, value: str) -> bytes:
    line = f"{key}={value}"
    if not line.isprintable():
        raise LocalProtocolError(f"context {key!r}: it holds a character that a header cannot")
    return b"Context: %b\r\n" % line.encode()


_default = SecretCache()
secret = _default.secret
secrets = _default.secrets
parameter = _default.parameter
parameters = _default.parameters
parameters_by_path = _default.parameters_by_path
configuration = _default.configuration
