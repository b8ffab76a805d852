"""What all tests share: a laboratory that makes environments with scripted extensions and functions."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile, Result

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
FUNCTION = ROOT / "tests" / "functions" / "hello"
#: a runtime that asks for `restore/next` first, as one that was snapshotted does
SNAP_START = ROOT / "tests" / "functions" / "snap_start_sh" / "bootstrap"
ALLOWED_SKIPS = "KIT_TESTS_ALLOWED_SKIPS"  # names the list that CI goes by
ISOLATED = not namespaces.unavailable()

# A busy machine is no failure: no test asserts on speed, nor does a property.
settings.register_profile("kit", deadline=None)
settings.load_profile("kit")

os.environ.pop("COLUMNS", None)  # that of the terminal in which all tests run, which are not about it
# A background job of a shell has it ignored, and so would every program that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

PRELUDE = f"""#!{sys.executable}
import http.client, json, os, sys, time
name = os.path.basename(sys.argv[0])
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def call(method, path, body=None, **headers):
    headers = {{key.replace("_", "-"): value for key, value in headers.items()}}
    api.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = api.getresponse()
    return answer.status, answer.headers, answer.read()
def register(events=("INVOKE", "SHUTDOWN"), name=name):
    global identifier
    status, headers, body = call("POST", "register", json.dumps({{"events": list(events)}}), Lambda_Extension_Name=name)
    identifier = headers.get("Lambda-Extension-Identifier", "")
    return status, json.loads(body)
def next():
    status, headers, body = call("GET", "event/next", Lambda_Extension_Identifier=identifier)
    return status, json.loads(body)
def fail(phase, kind="Extension.Reason"):
    return call("POST", phase + "/error", Lambda_Extension_Identifier=identifier, Lambda_Extension_Function_Error_Type=kind)
def say(*what):
    print(*what, flush=True)
def loop():
    while True:
        status, event = next()
        say(event["eventType"])
        if event["eventType"] == "SHUTDOWN":
            sys.exit(0)
"""

KIT = """from extension_kit import *
def say(*what):
    print(*what, flush=True)
"""


class Lab:
    """Makes environments with scripted extensions and tells what happened in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environments: list[Environment] = []

    def extension(self, name: str, script: str, mode: int = 0o755) -> Path:
        return self._write(name, PRELUDE + script, mode)

    def plugin(self, name: str, code: str) -> Path:
        """An extension that runs plug-ins of the kit; `code` defines them and calls `run`."""
        return self._write(
            name, f"#!{sys.executable}\nimport sys, time\nsys.path.insert(0, {str(ROOT)!r})\n{KIT}{code}", 0o755
        )

    def _write(self, name: str, text: str, mode: int) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def function(self, code: str) -> Path:
        folder = self.folder / "function"
        folder.mkdir(exist_ok=True)
        (folder / "app.py").write_text(code)
        return folder

    def start(
        self,
        *extensions: Path,
        function: Path = FUNCTION,
        variables: dict[str, str] | None = None,
        bootstrap: Path | None = None,
        layers: tuple[Path, ...] = (),
        **profile: object,
    ) -> Environment:
        profile = {"handler": "app.handler", "timeout": 5.0, **profile}
        layout = Layout(
            function=None if bootstrap else function,
            bootstrap=bootstrap,
            layers=layers,
            extensions=extensions,
            variables=variables or {},
            namespaces=ISOLATED,
        )
        environment = Environment(Profile(**profile), layout)  # type: ignore[arg-type]
        self.environments.append(environment)
        return environment

    @staticmethod
    def invoke(environment: Environment, payload: object = None) -> Result:
        """One invoke of the sample function, by default one that spends nothing."""
        return environment.invoke(json.dumps(payload if payload is not None else {"spend_ms": 0}).encode()).result(20)

    @staticmethod
    def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for something that another process does."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    @staticmethod
    def kinds(environment: Environment) -> list[str]:
        return [event["kind"] for event in environment.log.events]

    @staticmethod
    def lines(environment: Environment, party: str) -> list[str]:
        return [event["text"] for event in environment.log.of_kind("log") if event["party"] == party]

    @staticmethod
    def exits(environment: Environment) -> dict[str, str]:
        return {event["party"]: event["detail"] for event in environment.log.of_kind("process_exit")}


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    for environment in lab.environments:
        environment.shutdown()
        pids = [event["pid"] for event in environment.log.of_kind("process_start")]
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "a process was left behind"


# In CI a skip must have been decided by somebody: .ci/run names the list of those that were.


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that would have passed, where a test was skipped that is not on the list."""
    surprises = _surprises(session.config)
    if surprises and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which ones."""
    for surprise in _surprises(config):
        terminalreporter.write_line(f"skipped, and not listed in {os.environ[ALLOWED_SKIPS]}: {surprise}", red=True)


def _surprises(config: pytest.Config) -> list[str]:
    name = os.environ.get(ALLOWED_SKIPS)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not name or reporter is None:
        return []
    allowed = set((ROOT / name).read_text().splitlines())
    skipped = [report for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)]
    told = {f"{report.nodeid.partition('[')[0]}: {report.longrepr[2].removeprefix('Skipped: ')}" for report in skipped}
    return sorted(told - allowed)


@pytest.fixture(scope="module")
def moto():
    """The URL of a moto server: AWS's services, on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def empty_moto(moto):
    """The same, holding nothing."""
    import requests

    requests.post(f"{moto}/moto-api/reset", timeout=10)
    return moto


@pytest.fixture
def environ(empty_moto):
    """The variables of a function whose AWS is moto."""
    return {
        "EXTENSION_KIT_AWS_ENDPOINT_URL": empty_moto, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "A",
        "AWS_SECRET_ACCESS_KEY": "S",
    }  # fmt: skip


@pytest.fixture
def ask(empty_moto):
    """boto3's client of a service of moto's."""
    import boto3

    return lambda service: boto3.client(
        service, endpoint_url=empty_moto, region_name="eu-west-1", aws_access_key_id="A", aws_secret_access_key="S"
    )
