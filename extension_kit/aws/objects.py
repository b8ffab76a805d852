"""S3, as much of it as extensions share: an object is put, or got."""

from __future__ import annotations

from extension_kit.aws.client import Request
from extension_kit.aws.signature import content_hash, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.aws.client import Aws

__all__ = ["get_object", "put_object"]


def put_object(
    aws: Aws,
    bucket: str,
    key: str,
    body: bytes,
    content_type: str,
    *,
    deadline_ms: int | None = None,
    timeout: float | None = None,
) -> None:
    """PutObject: an object of this name is replaced. AwsError where it was not stored. See `Aws.call` for the times."""
    headers = [("Content-Type", content_type), ("X-Amz-Content-Sha256", content_hash(body))]
    aws.send(Request("s3", "PUT", _path(bucket, key), "", headers, body), "", None, deadline_ms, timeout)


def get_object(
    aws: Aws, bucket: str, key: str, *, deadline_ms: int | None = None, timeout: float | None = None
) -> bytes:
    """GetObject, of up to 1 MiB. AwsError where there is none."""
    headers = [("X-Amz-Content-Sha256", content_hash(b""))]
    return aws.send(Request("s3", "GET", _path(bucket, key), "", headers, b""), "", None, deadline_ms, timeout).body


def _path(bucket: str, key: str) -> str:
    return f"/{quote(bucket)}/{quote(key, b'/')}"
