"""AWS Signer: the zip goes to a bucket, a job signs it, and what comes back is held to what was sent.

A signature has a time in it, so the same zip signed twice is two contents: what was signed once is kept in the bucket under the
zip's SHA-256, and taken from there the next time.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import tree
from layer_build.publishing.aws import AwsError, code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layer_build.publishing.aws import Aws
    from layer_build.publishing.zips import Zip

_PREFIX = "extension-kit-signing"
_JOB = "signing-job"  # the key of the object's metadata
_POLLS = 60
_PAUSE = 2.0  # seconds


@dataclass(frozen=True)
class Choice:
    """How to sign: Signer's profile, and a bucket with versioning in the region of the job."""

    profile: str
    bucket: str
    dry: bool


def sign(aws: Aws, region: str, zips: Sequence[Zip], choice: Choice, say: Callable[[str], None]) -> list[Zip]:
    """What is to be published in the place of `zips`. Dry: those that were not signed before stay as they are."""
    if not choice.bucket:
        raise ConfigError("--sign needs --bucket: AWS Signer takes the zip from S3 and puts the signed one there")
    return [_one(aws, region, one, choice, say) for one in zips]


def _one(aws: Aws, region: str, one: Zip, choice: Choice, say: Callable[[str], None]) -> Zip:
    key = f"{_PREFIX}/{choice.profile}/{one.sha256}.zip"
    try:
        kept = aws.call("s3", "get_object", region, Bucket=choice.bucket, Key=key)
        return _checked(one, kept["Body"].read(), kept["Metadata"].get(_JOB, ""))
    except AwsError as error:
        if code(error.__cause__) not in ("NoSuchKey", "404"):
            raise
    if choice.dry:
        say(f"  {one.path.name}: would be signed by the profile {choice.profile} first")
        return one
    data, job = _signed(aws, region, one, choice)
    signed = _checked(one, data, job)
    aws.call("s3", "put_object", region, Bucket=choice.bucket, Key=key, Body=data, Metadata={_JOB: job})
    say(f"  {one.path.name}: signed by the profile {choice.profile}, job {job}")
    return signed


def _signed(aws: Aws, region: str, one: Zip, choice: Choice) -> tuple[bytes, str]:
    source = f"{_PREFIX}/unsigned/{one.sha256}.zip"
    put = aws.call("s3", "put_object", region, Bucket=choice.bucket, Key=source, Body=one.data())
    version = put.get("VersionId")
    if not version or version == "null":
        raise AwsError(
            f"{region}: the bucket {choice.bucket} has no versioning, which AWS Signer needs; nothing was published"
        )
    # The token makes a second call for the same object the same job, where the answer to the first was lost.
    token = hashlib.sha256(f"{one.sha256} {choice.profile} {version}".encode()).hexdigest()
    job = aws.call(
        "signer",
        "start_signing_job",
        region,
        source={"s3": {"bucketName": choice.bucket, "key": source, "version": version}},
        destination={"s3": {"bucketName": choice.bucket, "prefix": f"{_PREFIX}/jobs/"}},
        profileName=choice.profile,
        clientRequestToken=token,
    )["jobId"]
    done = _finished(aws, region, one, job)
    place = done["signedObject"]["s3"]
    answer = aws.call("s3", "get_object", region, Bucket=place["bucketName"], Key=place["key"])
    return answer["Body"].read(), job


def _finished(aws: Aws, region: str, one: Zip, job: str) -> dict[str, Any]:
    for _ in range(_POLLS):
        state = aws.call("signer", "describe_signing_job", region, jobId=job)
        if state["status"] == "Succeeded":
            return state
        if state["status"] == "Failed":
            why = state.get("statusReason", "no reason given")
            raise AwsError(f"{region}: {one.path.name}: signing job {job} failed: {why}; nothing was published")
        time.sleep(_PAUSE)
    raise AwsError(
        f"{region}: {one.path.name}: signing job {job} is not done after {_POLLS * _PAUSE:.0f} s; run it again"
    )


def _checked(one: Zip, data: bytes, job: str) -> Zip:
    """ConfigError where a file of the zip is not in what was signed, or is another."""
    with tempfile.TemporaryDirectory(prefix="signed-") as folder:
        path = Path(folder, one.path.name)
        path.write_bytes(data)
        before, after = tree.read(one.path), tree.read(path)
    other = sorted(name for name, entry in before.items() if name not in after or after[name].data != entry.data)
    if other:
        raise ConfigError(
            f"{one.path.name}: {other[0]} is not the same in what AWS Signer gave back; nothing was published"
        )
    return one.as_signed(data, job)
