"""What an error of a service that stores things means for what it was sent: another try, smaller ones, or the end.

Sources: the error lists of PutLogEvents, PutRecordBatch, PutRecords and PutObject; S3, "Error responses".
"""

from __future__ import annotations

from extension_kit.delivery import AGAIN, REFUSED, TOO_LARGE, Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.aws.values import AwsError

__all__ = ["verdict_of"]

_TOO_LARGE = ("RequestEntityTooLarge", "RequestEntityTooLargeException", "EntityTooLarge")
_PASSES = ("throttled", "unavailable", "network", "timeout", "credentials", "denied")
#: codes that pass by themselves, or that the operator can mend (permission, name, region, key): what they keep out waits
_MEND = frozenset((
    "AuthorizationHeaderMalformed", "BadEndpoint", "ConditionalRequestConflict", "InvalidKMSResourceException", "NoSuchBucket",
    "OperationAborted", "OperationAbortedException", "PermanentRedirect", "ResourceInUse", "ResourceInUseException",
    "ResourceNotFoundException", "TemporaryRedirect",
))  # fmt: skip
_MEND_BEGIN = ("AccessDenied", "KMS")  # S3 says KMS.DisabledException, Kinesis KMSDisabledException
_MEND_STATUS = frozenset((301, 302, 307, 308, 401, 403, 404))


def verdict_of(error: AwsError) -> Verdict:
    """What a service's error says of everything that it was asked to take."""
    why = f"answers {error}"[:300]
    if error.code in _TOO_LARGE:
        return Verdict(TOO_LARGE, why)
    if (
        error.kind in _PASSES
        or error.code in _MEND
        or error.code.startswith(_MEND_BEGIN)
        or error.status in _MEND_STATUS
    ):
        after = error.retry_after
        return Verdict(AGAIN, why, int(after * 1000) if after is not None else None)
    return Verdict(REFUSED, why, reason=f"refused with {error.code}")
