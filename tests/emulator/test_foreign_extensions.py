"""Extensions that are not ours, in four languages, unchanged beside a real function."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import Profile

HERE = Path(__file__).parent / "foreign"
FUNCTION = Path(__file__).parents[1] / "functions" / "hello"


def run_with(extension: Path) -> Environment:
    layout = Layout(function=FUNCTION, extensions=(extension,), namespaces=not namespaces.unavailable())
    with Environment(Profile(handler="app.handler", timeout=10.0), layout) as environment:
        for _ in range(2):
            environment.invoke(b'{"spend_ms": 0}').result(30)
        environment.idle(10)
        environment.shutdown()
        return environment


def seen(environment: Environment, name: str) -> list[str]:
    return [event["text"] for event in environment.log.of_kind("log") if event["party"] == name]


@pytest.mark.parametrize(("name", "needs"), [("curl.sh", "curl"), ("node.js", "node"), ("client.py", "python3")])
def test_scripts(name, needs):
    """A shell script with curl, one for Node, one with http.client."""
    if shutil.which(needs) is None:
        pytest.skip(f"{needs} is not installed")

    environment = run_with(HERE / name)

    assert seen(environment, name) == ["INVOKE", "INVOKE", "SHUTDOWN"]
    exits = {event["party"]: event["detail"] for event in environment.log.of_kind("process_exit")}
    assert exits[name] == "exit status 0"


def test_a_compiled_one(tmp_path):
    """C, linked as the machine's compiler does it."""
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed")
    program = tmp_path / "compiled"
    subprocess.run(["cc", "-O1", "-o", str(program), str(HERE / "extension.c")], check=True, timeout=60)

    environment = run_with(program)

    assert seen(environment, "compiled") == ["INVOKE", "INVOKE", "SHUTDOWN"]
    assert environment.platform.healthy


def test_a_runtime_of_ones_own():
    """A bootstrap in sh and curl echoes its event."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    bootstrap = Path(__file__).parents[1] / "functions" / "bootstrap_sh" / "bootstrap"
    layout = Layout(bootstrap=bootstrap, namespaces=not namespaces.unavailable())
    with Environment(Profile(timeout=10.0), layout) as environment:
        result = environment.invoke(b'{"hello": "there"}').result(30)

    assert json.loads(result.payload) == {"hello": "there"}
