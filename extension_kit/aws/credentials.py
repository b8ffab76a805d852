"""Whose calls they are: credentials from the environment, from the local endpoint that SnapStart has, or of an assumed role.

Sources: AWS docs, SDKs and tools reference, "Container credential provider" and "Assume role"; Lambda guide, "Environment
variables" (SnapStart: no keys in the environment). What expires is fetched anew before it does, by the wall clock.
"""

from __future__ import annotations

import _thread

from extension_kit.aws.signature import encode_query
from extension_kit.aws.values import AwsError, Credentials
from extension_kit.protocol.jsontext import loads
from extension_kit.protocol.timestamps import parse_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extension_kit.aws.transport import Answer
    from extension_kit.aws.values import Role
    from extension_kit.io.clock import Clock

    #: URL, headers -> answer
    Fetch = Callable[[str, list[tuple[str, str]]], Answer]
    #: form -> answer's body
    AskSts = Callable[[str, int | None], str]

__all__ = ["AssumedRoles", "OwnCredentials", "assume_role_form"]

_AHEAD_MS = 300_000  # before their end new ones are fetched
_MOST_ROLES = 50
_MOST_TOKENS = 16
_ASK_AGAIN_MS = 1_000
_RELATIVE_HOST = "http://169.254.170.2"
_LOCAL_HOSTS = ("http://127.0.0.1", "http://localhost", "http://[::1]", "http://169.254.170.2", "http://169.254.170.23")


class OwnCredentials:
    """The function's own. ``fetch(url, headers)`` gets what the local endpoint answers."""

    def __init__(self, environ: Mapping[str, str], clock: Clock, fetch: Fetch) -> None:
        self._environ = environ
        self._clock = clock
        self._fetch = fetch
        self._lock = _thread.allocate_lock()
        self._held: Credentials | None = None
        self._issued: list[tuple[str, int]] = []  # session tokens and their ends, the newest first
        self._asked_ms = -_ASK_AGAIN_MS

    @property
    def url(self) -> str:
        """Of the local endpoint; "" where there is none, or one that is not local."""
        full = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
        relative = self._environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
        if relative.startswith("/"):
            return _RELATIVE_HOST + relative
        host = "/".join(full.split("/")[:3])
        name = host if host.endswith("]") else host.rpartition(":")[0] if host.count(":") > 1 else host
        return full if name in _LOCAL_HOSTS else ""

    def get(self) -> Credentials:
        """AwsError (NoCredentials) where there are none."""
        environ = self._environ
        in_environment = environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY")
        if in_environment and not (self.url and environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"):
            return Credentials(
                environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN", "")
            )
        if not self.url:
            raise AwsError(
                "NoCredentials", "AWS_ACCESS_KEY_ID is not set, nor is there a local endpoint for credentials"
            )
        with self._lock:
            held = self._held
            now = self._clock.wall_ms()
            if held is None or not _is_good(held, now, _AHEAD_MS):
                try:
                    held = self._held = self._ask(self.url)
                except AwsError:
                    if held is None or not _is_good(held, now, 0):
                        raise
            return held

    def forget(self) -> None:
        """Ask again before the next call."""
        with self._lock:
            self._held = None

    def issued(self, *, refresh: bool) -> tuple[str, ...]:
        """Session tokens that are good now, the newest first: the environment's, and the local endpoint's so far."""
        now = self._clock.wall_ms()
        if refresh and self.url and not 0 <= now - self._asked_ms < _ASK_AGAIN_MS:
            self._asked_ms = now
            try:
                found = self._ask(self.url)
            except AwsError:
                pass
            else:
                with self._lock:
                    self._held = found
        fixed = self._environ.get("AWS_SESSION_TOKEN", "")
        return (*(token for token, end_ms in list(self._issued) if now < end_ms), *((fixed,) if fixed else ()))

    def _ask(self, url: str) -> Credentials:
        headers = [("Accept", "application/json")]
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "").strip()
        path = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
        if path:  # it is rotated: read each time
            try:
                with open(path) as file:
                    token = file.read(16_384).strip()
            except (OSError, UnicodeDecodeError):
                raise AwsError("NoCredentials", f"the token file {path} cannot be read") from None
        if token:
            headers.append(("Authorization", token))
        answer = self._fetch(url, headers)
        if answer.status != 200:
            raise AwsError("NoCredentials", f"the local endpoint for credentials has answered {answer.status}")
        try:
            fields = loads(answer.body)
            found = Credentials(
                fields["AccessKeyId"], fields["SecretAccessKey"], fields.get("Token") or "",
                parse_ms(fields.get("Expiration") or "") or 0,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError):
            raise AwsError("NoCredentials", "the local endpoint for credentials has answered something else") from None
        if found.token:
            others = [one for one in self._issued if one[0] != found.token]
            self._issued = [(found.token, found.expires_ms or self._clock.wall_ms() + 3_600_000), *others][
                :_MOST_TOKENS
            ]
        return found

    def __repr__(self) -> str:
        return "OwnCredentials()"


class AssumedRoles:
    """Credentials of roles, the least recently used forgotten first. ``ask(form, deadline_ms)`` sends a form to STS."""

    def __init__(self, clock: Clock, ask: AskSts) -> None:
        self._clock = clock
        self._ask = ask
        self._lock = _thread.allocate_lock()
        self._held: dict[Role, Credentials] = {}
        self._asking: dict[Role, _thread.LockType] = {}

    def get(self, role: Role, deadline_ms: int | None = None) -> Credentials:
        """AwsError where the role cannot be assumed (by the deadline). Threads that want the same one share a call."""
        with self._lock:
            lock = self._asking.setdefault(role, _thread.allocate_lock())
        with lock:
            now = self._clock.wall_ms()
            held = self._held.get(role)
            if held is None or not _is_good(held, now, _AHEAD_MS):
                try:
                    held = _credentials(self._ask(assume_role_form(role), deadline_ms))
                except AwsError as error:
                    if held is None or not error.transient or not _is_good(held, now, 0):
                        with self._lock:  # callers name roles as they like: what comes to nothing leaves nothing
                            if role not in self._held:
                                self._asking.pop(role, None)
                        raise
            with self._lock:
                self._held.pop(role, None)
                self._held[role] = held  # last: used most recently
                while len(self._held) > _MOST_ROLES:
                    oldest = next(iter(self._held))
                    del self._held[oldest]
                    self._asking.pop(oldest, None)
            return held

    def forget(self, role: Role | None = None) -> None:
        """Assume `role` (None: every one) again before the next call."""
        with self._lock:
            if role is None:
                self._held.clear()
            else:
                self._held.pop(role, None)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"AssumedRoles({len(self)})"


def assume_role_form(role: Role) -> str:
    """The body of AssumeRole (STS API reference, query protocol)."""
    params = [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role.arn),
        ("RoleSessionName", role.session_name),
        ("DurationSeconds", str(role.duration_s)),
    ]
    if role.external_id:
        params.append(("ExternalId", role.external_id))
    for number, (key, value) in enumerate(role.tags, 1):
        params += [(f"Tags.member.{number}.Key", key), (f"Tags.member.{number}.Value", value)]
    return encode_query(params)


def _credentials(xml: str) -> Credentials:
    """Of STS's answer. Four texts are cut out of it: no XML parser, so no entities to expand."""
    access_key, secret_key, token, end = [
        between(xml, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    ]
    if not access_key or not secret_key or not token:
        raise AwsError("BadAnswer", "the answer of STS holds no credentials")
    return Credentials(access_key, secret_key, token, parse_ms(end) or 0)


def between(xml: str, name: str) -> str:
    """The text of the first element `name`; "" where there is none."""
    text = xml.partition(f"<{name}>")[2].partition(f"</{name}>")[0]
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text.strip()


def _is_good(credentials: Credentials, now: int, ahead_ms: int) -> bool:
    return not credentials.expires_ms or now + ahead_ms < credentials.expires_ms
