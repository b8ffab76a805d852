"""S3, as much of it as extensions share: an object is put, got, or deleted; conditions keep two writers apart."""

from __future__ import annotations

from extension_kit.aws.client import Request
from extension_kit.aws.signature import content_hash, quote
from extension_kit.aws.values import AwsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.aws.client import Aws

__all__ = ["delete_object", "get_object", "get_object_unless", "put_object"]


def put_object(
    aws: Aws,
    bucket: str,
    key: str,
    body: bytes,
    content_type: str,
    *,
    if_match: str = "",
    if_none_match: str = "",
    deadline_ms: int | None = None,
    timeout: float | None = None,
) -> None:
    """PutObject: an object of this name is replaced. AwsError where it was not stored. See `Aws.call` for the times.

    ``if_match``: only where the object there has this ETag; ``if_none_match``: ``*`` for only where there is none. Otherwise
    the AwsError is PreconditionFailed (S3, "Conditional writes").
    """
    headers = [("Content-Type", content_type), ("X-Amz-Content-Sha256", content_hash(body))]
    conditions = (("If-Match", if_match), ("If-None-Match", if_none_match))
    headers += [(name, value) for name, value in conditions if value]
    aws.send(Request("s3", "PUT", _path(bucket, key), "", headers, body), "", None, deadline_ms, timeout)


def get_object(
    aws: Aws, bucket: str, key: str, *, deadline_ms: int | None = None, timeout: float | None = None
) -> bytes:
    """GetObject, of up to 1 MiB. AwsError where there is none."""
    headers = [("X-Amz-Content-Sha256", content_hash(b""))]
    return aws.send(Request("s3", "GET", _path(bucket, key), "", headers, b""), "", None, deadline_ms, timeout).body


def get_object_unless(
    aws: Aws, bucket: str, key: str, etag: str, most: int, *, timeout: float | None = None
) -> tuple[bytes, str] | None:
    """GetObject: the first `most` bytes of an object (1 or more) and its ETag; None where that is `etag` still ("": never)."""
    headers = [("X-Amz-Content-Sha256", content_hash(b"")), ("Range", f"bytes=0-{most - 1}")]
    if etag:
        headers.append(("If-None-Match", etag))
    try:
        answer = aws.send(Request("s3", "GET", _path(bucket, key), "", headers, b""), "", None, None, timeout)
    except AwsError as error:
        if error.status == 304:
            return None
        if error.code == "InvalidRange":  # of an empty object, which has no first byte
            return b"", ""
        raise
    return answer.body, (answer.headers.get(b"etag") or b"").decode("latin-1")


def delete_object(aws: Aws, bucket: str, key: str, *, timeout: float | None = None) -> None:
    """DeleteObject: no error where there is none. AwsError where it may still be there."""
    headers = [("X-Amz-Content-Sha256", content_hash(b""))]
    aws.send(Request("s3", "DELETE", _path(bucket, key), "", headers, b""), "", None, None, timeout)


def _path(bucket: str, key: str) -> str:
    return f"/{quote(bucket)}/{quote(key, b'/')}"
