"""S3: put, got, deleted, and the conditions that keep two writers apart. Against moto."""

from __future__ import annotations

import pytest

from extension_kit.aws import Aws, AwsError
from extension_kit.aws.objects import delete_object, get_object, get_object_unless, put_object


@pytest.fixture
def client(environ, ask):
    ask("s3").create_bucket(Bucket="box", CreateBucketConfiguration={"LocationConstraint": environ["AWS_REGION"]})
    one = Aws(environ)
    yield one
    one.forget_connections()


def put(client, body, **conditions):
    put_object(client, "box", "a b/é.json", body, "application/json", **conditions)


def test_an_object_comes_and_goes(client):
    put(client, b"one")
    assert get_object(client, "box", "a b/é.json") == b"one"
    delete_object(client, "box", "a b/é.json")
    delete_object(client, "box", "a b/é.json")  # no error where there is none
    with pytest.raises(AwsError, match="NoSuchKey"):
        get_object(client, "box", "a b/é.json")


def test_only_where_there_is_none(client):
    put(client, b"one", if_none_match="*")
    with pytest.raises(AwsError, match="PreconditionFailed"):
        put(client, b"two", if_none_match="*")
    assert get_object(client, "box", "a b/é.json") == b"one"


def test_only_over_the_one_that_was_read(client):
    put(client, b"one")
    _, tag = get_object_unless(client, "box", "a b/é.json", "", 100)
    put(client, b"two", if_match=tag)
    with pytest.raises(AwsError, match="PreconditionFailed"):
        put(client, b"three", if_match=tag)
    assert get_object(client, "box", "a b/é.json") == b"two"


def test_only_if_it_has_changed_and_only_its_beginning(client):
    put(client, b"0123456789")
    body, tag = get_object_unless(client, "box", "a b/é.json", "", 4)
    assert body == b"0123"
    assert get_object_unless(client, "box", "a b/é.json", tag, 4) is None
    put(client, b"")
    assert get_object_unless(client, "box", "a b/é.json", tag, 4) == (b"", "")
    with pytest.raises(AwsError, match="NoSuchKey"):
        get_object_unless(client, "box", "none", "", 4)
