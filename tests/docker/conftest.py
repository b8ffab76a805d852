"""The image, had once for all tests; the engine; and runs of the backend."""

from __future__ import annotations

import functools
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from extension_kit.backends import docker as backend
from extension_kit.backends.plan import Plan
from extension_kit.errors import ConfigError
from layer_build import interpreters
from layer_build.images import connect, ensure
from tests.conftest import PRELUDE, ROOT
from tests.docker.engine import PYTHON, containers_with

if TYPE_CHECKING:
    from pathlib import Path

    from extension_kit.backends.plan import Outcome

IN_IMAGE = PRELUDE.replace(sys.executable, "/var/lang/bin/python3")


@pytest.fixture(scope="session")
def image(request):
    """Its name. `make test-docker` has built it before; else that happens here, and is told."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            return ensure(lambda text: print(text, flush=True))
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The zip of an extension of this repository, for the image's Python; made once as `make layers` makes it."""

    @functools.cache
    def built(extension: str) -> Path:
        if interpreters.find(PYTHON) is None:
            pytest.skip(f"no Python {PYTHON} here, to make byte-code for the image's")
        out = tmp_path_factory.mktemp("layers")
        command = ["-m", "layer_build", "build", extension, "--arch", "x86_64", "--python", PYTHON, "--out", str(out)]
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr
        (path,) = out.glob("*.zip")
        return path

    return built


@pytest.fixture
def engine():
    engine = connect()
    yield engine
    engine.close()


@pytest.fixture
def layer(tmp_path):
    """Makes a layer's zip with one extension: a script that goes on after the prelude of tests/conftest.py."""

    def make(script: str, name: str = "probe") -> Path:
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            info = zipfile.ZipInfo(f"extensions/{name}")
            info.external_attr = 0o100755 << 16
            archive.writestr(info, IN_IMAGE + script)
        return path

    return make


@pytest.fixture
def run(image, engine, lab):
    """Runs a function in the image; afterwards nothing of it is left in the engine."""
    functions = []

    def run(function: Path, *layers: Path, **plan: object) -> Outcome:
        functions.append(function)
        plan = {"handler": "app.handler", "timeout": 5.0, **plan}
        return backend.run(Plan(function=function, layers=layers, **plan))  # type: ignore[arg-type]

    yield run
    assert [container for function in functions for container in containers_with(engine, function)] == []
