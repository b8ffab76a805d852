"""What the parts of the client pass around: an error that says what to make of it, credentials, a role to assume."""

from __future__ import annotations

from extension_kit.errors import ExtensionKitError
from extension_kit.protocol.values import Value, set_field

__all__ = ["AwsError", "Credentials", "Role"]

_LONGEST_TEXT = 500

# By AWS's code, not by the status: services that speak JSON throttle with 400 (botocore's retries/standard.py has this list).
_THROTTLED = frozenset((
    "BandwidthLimitExceeded", "EC2ThrottledException", "KMSThrottlingException", "LimitExceededException",
    "PriorRequestNotComplete", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled",
    "RequestThrottledException", "SlowDown", "ThrottledException", "Throttling", "ThrottlingException",
    "TooManyRequestsException", "TransactionInProgressException",
))  # fmt: skip
_UNAVAILABLE = frozenset((
    "BadAnswer", "InternalError", "InternalFailure", "InternalServerError", "InternalServiceError",
    "InternalServiceErrorException", "ServiceUnavailable", "ServiceUnavailableException",
))  # fmt: skip
_TIMEOUT = frozenset(("RequestTimeout", "RequestTimeoutException", "TimeoutError"))
_CREDENTIALS = frozenset((
    "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId",
    "InvalidSignatureException", "InvalidToken",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NoCredentials", "RequestExpired",
    "RequestTimeTooSkewed", "SignatureDoesNotMatch", "UnrecognizedClientException",
))  # fmt: skip
_DENIED = frozenset(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"))
_TRANSIENT = ("throttled", "unavailable", "network", "timeout")


class AwsError(ExtensionKitError):
    """A call that failed.

    ``code``: AWS's, without its namespace, or one of ours: NetworkError, TimeoutError, NoCredentials, BadAnswer. ``message``:
    one line. ``status``: of HTTP, 0 where there was no answer. ``kind``: throttled, unavailable (5xx), network, timeout,
    credentials, denied, or refused for anything else. ``retry_after``: seconds, None where AWS does not say.
    """

    def __init__(
        self, code: str, message: str, *, status: int = 0, kind: str = "", retry_after: float | None = None
    ) -> None:
        self.code = code
        self.message = " ".join(message.split())[:_LONGEST_TEXT]
        self.status = status
        self.kind = kind or _kind(code, status)
        self.retry_after = retry_after
        super().__init__(f"{code}: {self.message}" if self.message else code)

    @property
    def transient(self) -> bool:
        """Whether it passes by itself, so that a value of before is better than this."""
        return self.kind in _TRANSIENT


def _kind(code: str, status: int) -> str:
    for kind, codes in (
        ("throttled", _THROTTLED), ("timeout", _TIMEOUT), ("unavailable", _UNAVAILABLE),
        ("credentials", _CREDENTIALS), ("denied", _DENIED),
    ):  # fmt: skip
        if code in codes:
            return kind
    if code == "NetworkError":
        return "network"
    if status == 429:
        return "throttled"
    return "unavailable" if status >= 500 else "refused"


class Credentials(Value):
    """``expires_ms``: epoch ms, 0 where they do not. Shown nowhere."""

    __slots__ = ("access_key", "expires_ms", "secret_key", "token")

    access_key: str
    secret_key: str
    token: str
    expires_ms: int

    def __init__(self, access_key: str, secret_key: str, token: str = "", expires_ms: int = 0) -> None:
        set_field(self, "access_key", access_key)
        set_field(self, "secret_key", secret_key)
        set_field(self, "token", token)
        set_field(self, "expires_ms", expires_ms)

    def __repr__(self) -> str:
        return f"Credentials({self.access_key!r}, expires_ms={self.expires_ms})"


class Role(Value):
    """A role to assume. ``tags``: session tags, pairs of key and value, for attribute-based access control."""

    __slots__ = ("arn", "duration_s", "external_id", "session_name", "tags")

    arn: str
    external_id: str
    session_name: str
    tags: tuple[tuple[str, str], ...]
    duration_s: int

    def __init__(
        self,
        arn: str,
        external_id: str = "",
        session_name: str = "",
        tags: tuple[tuple[str, str], ...] = (),
        duration_s: int = 3600,
    ) -> None:
        set_field(self, "arn", arn)
        set_field(self, "external_id", external_id)
        set_field(self, "session_name", session_name or "lambda-extension-kit")
        set_field(self, "tags", tags)
        set_field(self, "duration_s", duration_s)

    def __repr__(self) -> str:
        return f"Role({self.arn!r})"  # the ExternalId is not quite a secret, and not quite none
