"""The wrapper: the runtime starts behind the proxy, or exactly as it would have started; in every shell there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from socket import create_server

import pytest

ROOT = Path(__file__).parents[3]
WRAPPER = ROOT / "extensions" / "chaos_injector" / "wrapper"
SHELLS = [(shell,) for shell in ("dash", "bash") if shutil.which(shell)]
SHELLS += [("busybox", "sh")] if shutil.which("busybox") else []
API = "127.0.0.1:9001"
#: Tells its arguments, its environment and its number; reads /proc since the interpreter adds to its own environment.
RUNTIME = f"""#!{sys.executable} -IS
import json, os, sys
environment = open("/proc/self/environ", "rb").read().split(b"\\0")
pairs = [one.decode().partition("=")[::2] for one in environment if one]
print(json.dumps({{"argv": sys.argv[1:], "environment": dict(pairs), "pid": os.getpid()}}))
"""
#: What a shell sets by itself in any wrapper.
OF_THE_SHELL = ("PWD", "OLDPWD", "SHLVL", "_")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


class Told:
    """What the runtime told, and what was written to stderr."""

    def __init__(self, done, before) -> None:
        self.status, self.stderr = done.returncode, done.stderr.decode()
        found = json.loads(done.stdout)
        self.argv, self.pid = found["argv"], found["pid"]
        self.environment = {name: value for name, value in found["environment"].items() if name not in OF_THE_SHELL}
        self.changed = {
            name: self.environment.get(name)
            for name in {*self.environment, *before}
            if self.environment.get(name) != before.get(name)
        }


@pytest.fixture
def folder(tmp_path):
    """The injector's folder; the wrapper's text is changed to look there, since /tmp is everybody's."""
    folder = tmp_path / "chaos-injector"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture(params=SHELLS, ids=lambda words: words[0])
def start(request, tmp_path, folder):
    """Runs a runtime behind the wrapper; variables as keywords, None for one that is not there."""
    runtime = tmp_path / "a runtime"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    text = WRAPPER.read_text()
    assert text.count("/tmp/.extension-kit/chaos-injector\n") == 1
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(text.replace("/tmp/.extension-kit/chaos-injector\n", f"{folder}\n"))
    wrapper.chmod(0o755)

    def start(*arguments, **variables):
        before = {"PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": API, "CHAOS_ENABLED": "1", **variables}
        before = {name: value for name, value in before.items() if value is not None}
        command = [*request.param, wrapper, *(arguments or (runtime, "a b", "c"))]
        began = time.monotonic()
        done = subprocess.run(command, env=before, capture_output=True, timeout=60, check=False)
        told = Told(done, before)
        told.seconds = time.monotonic() - began
        return told

    start.runtime = runtime
    start.wrapper = wrapper
    return start


@pytest.fixture
def listening():
    """Two ports on which somebody listens, and accepts nothing: the wrapper must not wait for an answer."""
    with create_server(("127.0.0.1", 0)) as one, create_server(("127.0.0.1", 0)) as other:
        yield one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def ready(folder, listening):
    """The files of an injector that runs."""
    (folder / "port").write_text(f"{listening[0]}\n")
    (folder / "upstream").write_text(f"{API}\n")
    return listening[0]


def test_the_runtime_starts_behind_the_proxy(start, ready, folder):
    told = start()

    assert told.argv == ["a b", "c"]
    assert told.changed == {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{ready}"}
    assert told.stderr == ""
    assert (folder / "runtime.pid").read_text() == f"{told.pid}\n"
    assert (folder / "runtime.pid").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", [None, "", "0", "false", "no", "off", "maybe", "2", "1 ; echo x"])
def test_disarmed_it_adds_nothing(start, ready, folder, value):
    """Also where everything else is there, and no file is touched."""
    (folder / "egress-port").write_text(f"{ready}\n")

    told = start(CHAOS_ENABLED=value)

    assert (told.changed, told.stderr, told.argv) == ({}, "", ["a b", "c"])
    assert not (folder / "runtime.pid").exists()


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "Yes", "on"])
def test_it_takes_the_words_that_the_settings_take(start, ready, value):
    from extensions.chaos_injector.settings import ChaosSettings

    assert ChaosSettings.parse({"CHAOS_ENABLED": value})[0].enabled
    assert start(CHAOS_ENABLED=value).changed == {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{ready}"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "port",
        "-1",
        "0",
        "00080",
        "65536",
        "999999999999999999999",
        "80 80",
        "8O",
        "12;touch x",
        "$(touch x)",
        "\0",
        "*",
    ],
)
def test_a_port_that_is_none(start, ready, folder, content):
    (folder / "port").write_text(content)

    told = start()

    assert told.changed == {}
    assert told.stderr.count("\n") == 1
    assert "no port in" in told.stderr
    assert not (folder / "runtime.pid").exists()


def test_a_port_that_is_not_there_or_cannot_be_read(start, ready, folder):
    (folder / "port").unlink()
    assert start().changed == {}
    (folder / "port").mkdir()
    assert start().changed == {}
    (folder / "port").rmdir()
    os.mkfifo(folder / "port")  # which nobody writes into: reading it would never end
    assert start().changed == {}


def test_a_port_where_nobody_listens(start, ready, folder):
    with create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    (folder / "port").write_text(f"{port}\n")

    told = start()

    assert told.changed == {}
    assert told.stderr == (
        f"[chaos-injector] wrapper: nobody listens on 127.0.0.1:{port}: the runtime starts without the injector, no fault will "
        "be injected\n"
    )


def test_a_port_that_is_connected_and_not_listening(start, ready, folder):
    """The number stands in the kernel's table, as one end of a connection."""
    from socket import create_connection

    with create_connection(("127.0.0.1", ready)) as client:
        (folder / "port").write_text(f"{client.getsockname()[1]}\n")
        assert "nobody listens" in start().stderr


@pytest.mark.parametrize("api", ["127.0.0.1:9000", None, ""])
def test_somebody_elses_proxy_is_not_passed_by(start, ready, api):
    """Another wrapper has come first, and its proxy would never see an event."""
    told = start(AWS_LAMBDA_RUNTIME_API=api)

    assert told.changed == {}
    assert "CHAOS_UPSTREAM=" in told.stderr


def test_chained_before_somebody_elses_proxy(start, ready, folder):
    (folder / "upstream").write_text("127.0.0.1:9000\n")

    assert start(AWS_LAMBDA_RUNTIME_API="127.0.0.1:9000").changed == {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{ready}"}


def test_a_folder_that_cannot_be_written(start, ready, folder):
    (folder / "runtime.pid").mkdir()

    told = start()

    assert told.changed == {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{ready}"}
    assert told.stderr == ""


@pytest.mark.parametrize("enabled", ["1", None])
def test_other_wrappers_come_after_it(start, ready, tmp_path, enabled):
    for name in ("one", "two"):
        (tmp_path / name).write_text(f'#!/bin/sh\nSEEN="$SEEN {name} $AWS_LAMBDA_RUNTIME_API" exec "$@"\n')
        (tmp_path / name).chmod(0o755)

    told = start(EXTENSION_KIT_NEXT_WRAPPER=f"{start.wrapper}:{tmp_path}/one", CHAOS_ENABLED=enabled)
    api = f"127.0.0.1:{ready}" if enabled else API
    # ours, and then ours again (whose upstream is not the address any more: it says so and goes on), and then the other
    assert told.environment["SEEN"] == f" one {api}"
    assert "EXTENSION_KIT_NEXT_WRAPPER" not in told.environment
    assert told.argv == ["a b", "c"]


def test_a_next_wrapper_that_is_none(start, ready):
    told = start(EXTENSION_KIT_NEXT_WRAPPER="/nowhere/wrapper")

    assert told.changed["AWS_LAMBDA_RUNTIME_API"] == f"127.0.0.1:{ready}"
    assert "/nowhere/wrapper of EXTENSION_KIT_NEXT_WRAPPER is no program: left out" in told.stderr


def test_nothing_to_start(start):
    done = subprocess.run([start.wrapper], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"AWS_LAMBDA_EXEC_WRAPPER" in done.stderr


@pytest.mark.usefixtures("ready")
class TestEgress:
    def test_no_proxy_without_the_port(self, start):
        assert not {name for name in start().environment if name.lower().endswith("_proxy")}

    def test_proxies(self, start, folder, listening):
        (folder / "egress-port").write_text(f"{listening[1]}\n")

        found = start().environment

        assert {found[name] for name in PROXIES} == {f"http://127.0.0.1:{listening[1]}"}
        assert found["NO_PROXY"] == found["no_proxy"]
        spared = found["NO_PROXY"].split(",")
        assert {"127.0.0.1", "localhost", "::1", "169.254.169.254", "169.254.0.0/16"} <= set(spared)

    def test_the_host_of_the_runtime_api_is_spared(self, start, folder, listening):
        (folder / "egress-port").write_text(f"{listening[1]}\n")
        (folder / "upstream").write_text("runtime.example:9001\n")

        assert start(AWS_LAMBDA_RUNTIME_API="runtime.example:9001").environment["NO_PROXY"].endswith(",runtime.example")

    @pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
    def test_what_the_function_spares_stays_spared(self, start, folder, listening, name):
        (folder / "egress-port").write_text(f"{listening[1]}\n")

        found = start(**{name: "db.internal,10.0.0.1"}).environment

        assert found["NO_PROXY"].startswith("db.internal,10.0.0.1,127.0.0.1,")
        assert found["no_proxy"] == found["NO_PROXY"]

    @pytest.mark.parametrize("name", [*PROXIES, "ALL_PROXY", "all_proxy"])
    def test_the_functions_own_proxy_stays(self, start, folder, listening, name):
        (folder / "egress-port").write_text(f"{listening[1]}\n")

        told = start(**{name: "http://proxy.example:3128"})

        assert set(told.changed) == {"AWS_LAMBDA_RUNTIME_API"}
        assert "the function has a proxy of its own, which stays" in told.stderr

    def test_a_dead_port(self, start, folder):
        with create_server(("127.0.0.1", 0)) as gone:
            (folder / "egress-port").write_text(f"{gone.getsockname()[1]}\n")

        told = start()

        assert (set(told.changed), told.stderr) == ({"AWS_LAMBDA_RUNTIME_API"}, "")


def test_the_bootstrap_of_the_readme(start, ready, tmp_path):
    """It works with the layer and without."""
    readme = (ROOT / "extensions" / "chaos_injector" / "README.md").read_text()
    (code,) = re.findall(r"```sh tested=\S+test_the_bootstrap_of_the_readme\"\n(.*?)```", readme, re.DOTALL)
    text = code.replace("/opt/chaos-injector/wrapper", str(start.wrapper)).replace(
        "/var/task/my-runtime", f"'{start.runtime}'"
    )
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text(text)
    bootstrap.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": API, "CHAOS_ENABLED": "1"}
    for address in (f"127.0.0.1:{ready}", API):
        done = subprocess.run([bootstrap, "x y"], env=environment, capture_output=True, timeout=60, check=True)
        told = Told(done, environment)
        assert told.argv == ["x y"]
        assert told.environment["AWS_LAMBDA_RUNTIME_API"] == address
        start.wrapper.unlink(missing_ok=True)
