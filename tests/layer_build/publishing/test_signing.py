"""``publish --sign``: a bucket of moto's, AWS Signer by a fake."""

from __future__ import annotations

import base64
import hashlib
import json

import boto3
import pytest

from tests.layer_build.publishing import fakes
from tests.layer_build.publishing.conftest import held, layers, publish

pytestmark = pytest.mark.once
TWO = ("eu-west-1", "us-east-1")


@pytest.fixture
def bucket(fake, wire):
    fake.store = boto3.client("s3", region_name="eu-west-1")
    fake.store.create_bucket(Bucket="layers", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    fake.store.put_bucket_versioning(Bucket="layers", VersioningConfiguration={"Status": "Enabled"})
    return "layers"


@pytest.fixture
def one(tmp_path):
    return layers(tmp_path / "dist", arches=("x86_64",))


def test_what_is_signed_once_is_published_everywhere(fake, bucket, one, capsys):
    words = (one, "--sign", "profile", "--bucket", bucket)
    assert publish(*words, regions=TWO) == 0
    assert "would be signed by the profile profile first" in capsys.readouterr().err
    assert fake.started == []
    assert publish(*words, "--yes", regions=TWO) == 0
    data = fakes.signed(next(one.glob("*.zip")).read_bytes())
    digest = hashlib.sha256(data)
    for region in TWO:
        found = held(TWO)[region]["layers"]["log-shipper-x86_64-python313:1"]
        assert found["sha256"] == base64.b64encode(digest.digest()).decode()
    (entry,) = json.loads((one / "index.json").read_text())["layers"]
    assert entry["published"]["us-east-1"]["sha256"] == digest.hexdigest() != entry["sha256"]
    assert entry["published"]["us-east-1"]["signing_job"] in fake.jobs
    before = held(TWO)
    # A signature has a time in it: another one is another content.
    fake.sign = lambda data: fakes.signed(fakes.signed(data))
    assert publish(*words, "--yes", regions=TWO) == 0
    assert held(TWO) == before
    assert len(fake.started) == 1


def test_a_job_that_fails_publishes_nothing(fake, bucket, one, capsys):
    fake.status = "Failed"
    assert publish(one, "--sign", "profile", "--bucket", bucket, "--yes", regions=TWO) == 2
    assert "failed: the profile was revoked; nothing was published" in capsys.readouterr().err
    assert all(not found["layers"] for found in held(TWO).values())


def test_what_comes_back_must_be_what_was_sent(fake, bucket, one, capsys):
    fake.sign = fakes.tampering
    assert publish(one, "--sign", "profile", "--bucket", bucket, "--yes", regions=TWO) == 2
    assert "extensions/log-shipper is not the same in what AWS Signer gave back" in capsys.readouterr().err
    assert all(not found["layers"] for found in held(TWO).values())


def test_a_bucket_without_versioning(fake, bucket, one, capsys):
    fake.store.create_bucket(Bucket="plain", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert publish(one, "--sign", "profile", "--bucket", "plain", "--yes", regions=TWO) == 2
    assert "the bucket plain has no versioning, which AWS Signer needs" in capsys.readouterr().err
