"""The secret cache's layer, in the image: the same life as in the emulator and under AWS's emulator."""

from __future__ import annotations

import time

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from extension_kit.backends.docker import DockerEnvironment
from extension_kit.emulator.environment import Layout
from extension_kit.emulator.model import Profile
from tests.docker import engine as engines
from tests.extensions.secret_cache.test_in_environments import FUNCTION, TOKEN, answers, variables
from tests.receivers.aws import AwsFake

engines.require()


@pytest.fixture
def start(image, built, lab):
    """Starts the image with the function and the layer."""
    started = []
    layer = built("secret-cache")

    def start(given):
        layout = Layout(function=lab.function(FUNCTION), layers=(layer,), variables=given)
        started.append(DockerEnvironment(Profile(handler="app.handler", timeout=10.0, memory_mb=256), layout, image))
        if not any("loopback is reached" in note for note in started[-1].log.notes):
            pytest.skip("the container's network cannot be entered from here")
        return started[-1]

    yield start
    for one in started:
        one.shutdown()


def test_a_thousand_invocations_in_the_image(start):
    """Rotation, throttling and an outage in the middle."""
    with AwsFake() as aws:
        aws.put_secret("db", "one")
        aws.put_parameter("/app/limit", "5")
        running = start(
            variables(aws, SECRETS_MANAGER_TTL="1", SSM_PARAMETER_STORE_TTL="1", SECRET_CACHE_PREFETCH="secret:db")
        )
        assert {tuple(one[2::2]) for one in answers(running, 300)} == {("one", "5")}
        aws.rotate("db", "two")
        time.sleep(1.3)
        assert [one[2] for one in answers(running, 200)[20:]] == ["two"] * 180
        for trouble in ("throttle", "reset", "503"):
            aws.outage(trouble)
            time.sleep(1.0)
            assert {tuple(one[2::2]) for one in answers(running, 150)} == {("two", "5")}, trouble
        aws.outage("")
        aws.rotate("db", "three")
        time.sleep(2.2)
        answers(running, 10)
        assert {one[2] for one in answers(running, 50)} == {"three"}


def test_with_moto_in_the_image(start):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"aws_access_key_id": "A", "aws_secret_access_key": "S", "region_name": "us-east-1", "endpoint_url": url}
        requests.post(f"{url}/moto-api/reset", timeout=10)
        boto3.client("secretsmanager", **keys).create_secret(Name="db", SecretString="one")
        boto3.client("ssm", **keys).put_parameter(Name="/app/limit", Value="5", Type="String")

        running = start({"EXTENSION_KIT_AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "AWS_SESSION_TOKEN": TOKEN})

        assert {tuple(one[2::2]) for one in answers(running, 20)} == {("one", "5")}
    finally:
        server.stop()
