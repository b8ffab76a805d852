"""Host names, compared with botocore's rules for every region; and the overrides."""

from __future__ import annotations

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.endpoints import Endpoint, endpoint, hosts_of
from extension_kit.errors import ConfigError

KEYS = {"aws_access_key_id": "A", "aws_secret_access_key": "S"}
PARTITIONS = ("aws", "aws-cn", "aws-us-gov")


def regions(service):
    session = boto3.Session()
    return sorted({region for one in PARTITIONS for region in session.get_available_regions(service, one)})


def theirs(service, region, fips, dual):
    """The host that botocore asks; None where its rules refuse."""
    regional = {"us_east_1_regional_endpoint": "regional"}
    config = Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual, s3=regional)
    return boto3.client(service, region_name=region, config=config, **KEYS).meta.endpoint_url


@pytest.mark.parametrize(
    "service", ["secretsmanager", "ssm", "sts", "appconfigdata", "logs", "firehose", "kinesis", "s3"]
)
@pytest.mark.parametrize("dual", [False, True])
def test_hosts_are_botocores(service, dual):
    environ = {"AWS_USE_DUALSTACK_ENDPOINT": "true"} if dual else {}
    # One region of each kind beyond the first: making a client takes 50 ms.
    for region in ["us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1"]:
        found = endpoint(service, region, environ)
        assert f"https://{found.authority}" == theirs(service, region, False, dual), region
        assert (found.port, found.tls) == (443, True)


@pytest.mark.parametrize(
    "service", ["secretsmanager", "ssm", "sts", "appconfigdata", "logs", "firehose", "kinesis", "s3"]
)
def test_hosts_of_fips_are_botocores(service):
    for region in ["us-east-1", "us-gov-west-1"]:
        found = endpoint(service, region, {"AWS_USE_FIPS_ENDPOINT": "true"})
        assert f"https://{found.authority}" == theirs(service, region, True, False), region


@pytest.mark.parametrize(
    "service", ["secretsmanager", "ssm", "appconfigdata", "logs", "firehose", "kinesis", "s3", "sqs"]
)
def test_what_botocore_asks_by_default_is_among_a_services_hosts(service):
    """Not only where it is told to ask the region: S3 has an older host in the first one."""
    for region in ["us-east-1", "eu-central-2", "cn-north-1", "us-gov-west-1"]:
        client = boto3.client(service, region_name=region, **KEYS)
        assert client.meta.endpoint_url.removeprefix("https://") in hosts_of(service, region), region
    assert "s3.amazonaws.com" not in hosts_of("s3", "eu-central-2")


@pytest.mark.parametrize("service", ["secretsmanager", "ssm", "appconfigdata", "logs", "firehose", "kinesis", "s3"])
def test_all_regions_that_botocore_knows_have_a_host(service):
    known = regions(service)

    assert len(known) > 25
    for region in known:
        suffix = ".amazonaws.com.cn" if region.startswith("cn-") else ".amazonaws.com"
        assert endpoint(service, region, {}).host == f"{service}.{region}{suffix}"


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "authority"),
    [
        ("http://127.0.0.1:4566", "127.0.0.1", 4566, False, "127.0.0.1:4566"),
        ("http://localhost", "localhost", 80, False, "localhost"),
        ("https://vpce-1.example.com", "vpce-1.example.com", 443, True, "vpce-1.example.com"),
        ("https://a.example:8443", "a.example", 8443, True, "a.example:8443"),
        ("http://[::1]:80", "::1", 80, False, "[::1]"),
        ("http://[::1]", "::1", 80, False, "[::1]"),
    ],
)
def test_overrides(url, host, port, tls, authority):
    for variable in ("EXTENSION_KIT_AWS_ENDPOINT_URL", "EXTENSION_KIT_AWS_ENDPOINT_URL_SSM"):
        found = endpoint("ssm", "us-east-1", {variable: url + "/"})
        assert (found.host, found.port, found.tls, found.authority) == (host, port, tls, authority)


def test_the_override_of_a_service_is_its_own():
    environ = {
        "EXTENSION_KIT_AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://a",
        "EXTENSION_KIT_AWS_ENDPOINT_URL": "http://b",
    }

    assert endpoint("secretsmanager", "us-east-1", environ).host == "a"
    assert endpoint("sts", "us-east-1", environ).host == "b"


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "localhost:4566", "ftp://x", "http://", "http://x:0", "http://x:99999", "http://x/path", "http://x:y",
     "http://user@host", "http://x y", "https://é"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(url):
    with pytest.raises(ConfigError, match="is no endpoint: use"):
        Endpoint.of(url)


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_or_refused(text):
    try:
        found = Endpoint.of(text)
    except ConfigError:
        return
    assert found.host
    assert 0 < found.port < 65_536
