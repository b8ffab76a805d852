"""Documents in AWS: a parameter, an object, a configuration; and the global switch. One attempt each: there is a next time."""

from __future__ import annotations

from extension_kit.aws.values import AwsError
from extensions.chaos_injector.readers import LARGEST
from extensions.chaos_injector.sources import Gone, Unreachable, Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.aws import Aws
    from extension_kit.io.clock import Clock

__all__ = ["Configuration", "Object", "Parameter", "read_switch"]

_MISSING = ("NoSuchBucket", "NoSuchKey", "ParameterNotFound", "ParameterVersionNotFound", "ResourceNotFoundException")
_LEAST_POLL_S, _MOST_POLL_S = 15, 86_400  # AppConfig's limits of RequiredMinimumPollIntervalInSeconds


def _explained(error: AwsError, what: str) -> Gone | Unreachable | Unreadable:
    if error.code in _MISSING or error.status == 404:
        return Gone(f"{what}: {error.code}")
    if error.transient or error.kind == "credentials":
        return Unreachable(f"{what}: {error}")
    return Unreadable(f"{what}: {error}")


class Parameter:
    """SSM. It has no conditional request; the document is small."""

    def __init__(self, aws: Aws, name: str) -> None:
        self._aws = aws
        self._name = name

    def fetch(self) -> bytes:
        try:
            answer = self._aws.call("ssm", "GetParameter", {"Name": self._name, "WithDecryption": True})
        except AwsError as error:
            raise _explained(error, self._name) from None
        parameter = answer.get("Parameter")
        value = parameter.get("Value") if isinstance(parameter, dict) else None
        if not isinstance(value, str):
            raise Unreadable(f"{self._name}: AWS has answered no value")
        return value.encode("utf-8", "replace")


class Object:
    """S3; asked whether it has changed, and never for more than a document may have."""

    def __init__(self, aws: Aws, bucket: str, key: str) -> None:
        self._aws = aws
        self._bucket, self._key = bucket, key
        self._etag = ""
        self._data = b""

    def fetch(self) -> bytes:
        from extension_kit.aws.objects import get_object_unless

        try:
            found = get_object_unless(self._aws, self._bucket, self._key, self._etag, LARGEST + 1)
        except AwsError as error:
            raise _explained(error, f"s3://{self._bucket}/{self._key}") from None
        if found is not None:
            self._data, self._etag = found
        if len(self._data) > LARGEST:
            raise Unreadable(f"s3://{self._bucket}/{self._key} has more than {LARGEST} bytes: use fewer")
        return self._data


class Configuration:
    """AppConfig; asked no more often than it allows. What was deployed as an empty text is no document."""

    def __init__(self, aws: Aws, clock: Clock, names: tuple[str, ...], poll_ms: int) -> None:
        self._aws = aws
        self._clock = clock
        self._names = names
        self._poll_s = min(max(_LEAST_POLL_S, poll_ms // 1_000), _MOST_POLL_S)
        self._token = ""
        self._next_ms = 0  # epoch ms
        self._data = b""

    def fetch(self) -> bytes | None:
        now_ms = self._clock.wall_ms()
        if self._token and self._next_ms - 86_400_000 < now_ms < self._next_ms:
            return None
        token, self._token = self._token, ""
        try:
            if not token:
                application, environment, profile = self._names
                token = self._aws.appconfig_start(application, environment, profile, min_poll_seconds=self._poll_s)
                self._data = b""
            body, _type, _label, following, seconds = self._aws.appconfig_get(token)
        except AwsError as error:
            what = ":".join(self._names)
            if error.code == "BadRequestException" and token:
                raise Unreachable(f"{what}: {error}") from None  # an old token: the next time there is a new one
            raise _explained(error, what) from None
        self._token = following
        self._next_ms = now_ms + max(seconds, 1) * 1_000
        self._data = body or self._data
        if not self._data:
            raise Gone(f"{':'.join(self._names)}: nothing is deployed")
        return self._data


def read_switch(aws: Aws, name: str) -> tuple[bool, str]:
    """What the global switch says: whether it is on, and its text or why there is none. Unreachable where nobody knows."""
    try:
        written = Parameter(aws, name).fetch().decode("utf-8", "replace").strip()
    except Gone:
        return False, f"{name} does not exist: make it, with the value on"
    except Unreadable as error:
        return False, str(error)
    return written.lower() == "on", written[:200]
