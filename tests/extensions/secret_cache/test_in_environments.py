"""A function that lives on secrets, in whole environments: 1,000 invocations through rotation, throttling and an outage."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from secrets import token_hex

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from extension_kit.backends import prepare, rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Layout
from extension_kit.emulator.model import Profile
from tests.conftest import ISOLATED
from tests.receivers.aws import AwsFake

ROOT = Path(__file__).parents[3]
PLUGIN = "extensions.secret_cache.plugin:SecretCache"
FUNCTION = """
import http.client, json, os
ASK = {"X-Aws-Parameters-Secrets-Token": os.environ.get("AWS_SESSION_TOKEN", "")}
def get(path):
    connection = http.client.HTTPConnection("localhost", 2773, timeout=9)
    connection.request("GET", path, headers=ASK)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {body} {answer.headers}")
    return json.loads(body), answer.headers["X-Cache"]
AT_INIT, STATE = get("/secretsmanager/get?secretId=db")
def handler(event, context):
    found, state = get("/secretsmanager/get?secretId=db")
    parameter, _ = get("/systemsmanager/parameters/get?name=/app/limit")
    return [AT_INIT["SecretString"], STATE, found["SecretString"], state, parameter["Parameter"]["Value"]]
"""
TOKEN = "function-session-token"  # noqa: S105 - the fake's


def variables(aws, **more):
    return {
        "EXTENSION_KIT_AWS_ENDPOINT_URL": aws.url, "EXTENSION_KIT_LOG_LEVEL": "info", "SECRET_CACHE_JITTER": "0",
        **{name: value for name, value in aws.environ().items() if name.startswith("AWS_")}, **more,
    }  # fmt: skip


def launcher(folder):
    """An extension file that runs the secret cache from this checkout."""
    path = folder / "secret-cache"
    prepare.write_launcher(path, (PLUGIN,), prepare.search_path(str(ROOT)))
    return path


@pytest.fixture
def aws():
    with AwsFake() as fake:
        fake.put_secret("db", "one")
        fake.put_parameter("/app/limit", "5")
        yield fake


@pytest.fixture(params=["emulator", "rie"])
def environment(request, lab, tmp_path):
    """Starts an environment with the function and the secret cache, on the backend of the test's parameter."""
    if not ISOLATED:
        pytest.skip("no network namespaces here: the ports of the secret cache may be taken")
    started = []

    def start(given, **profile):
        function, extension = lab.function(FUNCTION), launcher(tmp_path)
        if request.param == "emulator":
            return lab.start(extension, function=function, variables=given, timeout=10.0, **profile)
        paths = tuple(Path(path) for path in prepare.search_path(str(ROOT)))
        layout = Layout(function=function, extensions=(extension,), variables=given, namespaces=True, visible=paths)
        settings = Profile(handler="app.handler", timeout=10.0, **profile)
        started.append(RieEnvironment(settings, layout, rie_binary.binary()))
        return started[-1]

    yield start
    for one in started:
        one.shutdown()


def answers(environment, count):
    """What the function returns, so many times; a failure of the function fails the test."""
    found = []
    for _ in range(count):
        result = environment.invoke(b"{}").result(30)
        assert not result.function_error, result.payload
        found.append(json.loads(result.payload))
    return found


@pytest.mark.once
def test_a_thousand_invocations(environment, aws):
    """No wrong answer, no error that a stale value could have avoided, one call for each key and window."""
    ttl = 1.0
    given = variables(aws, SECRETS_MANAGER_TTL="1", SSM_PARAMETER_STORE_TTL="1", SECRET_CACHE_PREFETCH="secret:db")
    running = environment(given)
    began = time.time()

    calm = answers(running, 300)
    assert {tuple(one[2::2]) for one in calm} == {("one", "5")}
    assert calm[0][0] == "one"
    assert aws.count(id="db") <= 1 + (time.time() - began) / (ttl * 0.8), "the module waited for what was on its way"

    aws.rotate("db", "two")
    rotated = time.time()
    while time.time() < rotated + ttl:
        assert answers(running, 1)[0][2] in ("one", "two")
    time.sleep(0.3)  # what was asked for before the rotation has arrived
    after = answers(running, 100)
    # One answer may be the one that the refresh is under way for.
    assert [one[2] for one in after[20:]] == ["two"] * 80

    for trouble in ("throttle", "reset", "503"):
        aws.outage(trouble)
        time.sleep(ttl)
        assert {tuple(one[2::2]) for one in answers(running, 150)} == {("two", "5")}, trouble
    aws.outage("")
    aws.rotate("db", "three")
    time.sleep(ttl + 1.2)  # AWS is left alone for about as long as a value is fresh
    answers(running, 20)
    assert {one[2] for one in answers(running, 150)} == {"three"}

    calls = [call for call in aws.calls if "db" in call.ids]
    windows = (time.time() - began) / (ttl * 0.8) + 1
    assert len(calls) <= windows * 3, "three attempts where one fails"


def test_early_callers_are_held_and_not_refused(environment, aws):
    """AWS takes a second; the function asks in its module, before the first invocation."""
    aws.latency = 1.0
    running = environment(variables(aws))

    (found,) = answers(running, 1)

    assert found[:4] == ["one", "miss", "one", "hit"]
    assert aws.count(id="db") == 1


def test_an_outage_during_init_is_a_clear_answer_in_time(environment, aws):
    aws.outage("reset")
    running = environment(variables(aws))

    result = running.invoke(b"{}").result(30)

    assert b"RuntimeError" in result.payload
    assert b"400" in result.payload
    assert b"NetworkError" in result.payload
    aws.outage("")
    # AWS's emulator may have begun the next environment already, in which the outage is met once more.
    result = next(one for one in (running.invoke(b"{}").result(30) for _ in range(3)) if not one.function_error)
    assert json.loads(result.payload)[2] == "one", "and the next environment is well"


def test_with_moto(environment):
    """The stand-in that others have written, with its own idea of AWS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        keys = {"aws_access_key_id": "A", "aws_secret_access_key": "S", "region_name": "us-east-1", "endpoint_url": url}
        manager, store = boto3.client("secretsmanager", **keys), boto3.client("ssm", **keys)
        requests.post(f"{url}/moto-api/reset", timeout=10)
        manager.create_secret(Name="db", SecretString="one")
        store.put_parameter(Name="/app/limit", Value="5", Type="String")
        running = environment({
            "EXTENSION_KIT_AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1", "AWS_SESSION_TOKEN": TOKEN,
            "SECRETS_MANAGER_TTL": "1",
        })  # fmt: skip
        assert {tuple(one[2::2]) for one in answers(running, 20)} == {("one", "5")}
        manager.put_secret_value(SecretId="db", SecretString="two")
        time.sleep(1.2)
        answers(running, 5)
        assert {one[2] for one in answers(running, 5)} == {"two"}
    finally:
        server.stop()


@pytest.mark.once
def test_no_secret_is_anywhere_but_in_answers(lab, tmp_path, aws):
    """Output, files and environments of every process are searched while they run."""
    if not ISOLATED:
        pytest.skip("no network namespaces here: the ports of the secret cache may be taken")
    bait = token_hex(12)  # made here: this file itself may be what is searched
    aws.put_secret("db", bait)
    environment = lab.start(launcher(tmp_path), function=lab.function(FUNCTION), variables=variables(aws), timeout=10.0)
    answers(environment, 3)
    aws.outage("reset")
    aws.denied.add("GetSecretValue")

    for event in environment.log.of_kind("process_start"):
        process = Path(f"/proc/{event['pid']}")
        assert bait.encode() not in (process / "environ").read_bytes()
        for folder in ("tmp", "dev/shm"):
            for path in (process / "root" / folder).rglob("*"):
                if path.is_file():
                    assert bait.encode() not in path.read_bytes(), path
    environment.shutdown()
    assert bait not in "".join(event.get("text", "") for event in environment.log.of_kind("log"))


def test_serve_for_development(aws):
    """`python -m extensions.secret_cache serve`: no Lambda anywhere."""
    environ = {name: value for name, value in aws.environ(PATH="/usr/bin").items() if name != "AWS_SESSION_TOKEN"}
    aws.keys["AKIAFUNCTION"].token = ""
    process = subprocess.Popen(
        [sys.executable, "-m", "extensions.secret_cache", "serve", "--port", "0", "--appconfig-port", "0"],
        cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        process.stdout.readline()
        token = process.stdout.readline().split("X-Aws-Parameters-Secrets-Token: ")[1].split()[0]
        answer = requests.get(
            f"{url}/secretsmanager/get?secretId=db", headers={"X-Aws-Parameters-Secrets-Token": token}, timeout=10
        )
        assert answer.json()["SecretString"] == "one"
    finally:
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out == "miss 1, upstream_calls 1, upstream_ms 0\n" or "miss 1" in out
