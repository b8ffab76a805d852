"""The demo in the image: what it says is what the receivers of this machine hold."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from layer_build import interpreters
from tests.conftest import ROOT
from tests.docker import engine as engines
from tests.receivers.programs import or_skip
from tests.receivers.rotel import Rotel

engines.require()


@pytest.mark.timeout(300)  # layers may have to be built
def test_every_check_holds(image, tmp_path):
    if interpreters.find(engines.PYTHON) is None:
        pytest.skip(f"no Python {engines.PYTHON} here, to make byte-code for the image's")
    with or_skip(Rotel, tmp_path, "metrics"):
        pass
    table = tmp_path / "table.json"
    command = [sys.executable, "-m", "tests.demo", "--backend", "docker", "--orders", "6", "--rounds", "0"]
    done = subprocess.run(
        [*command, "--json", str(table)], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(table.read_text())
    assert [check for check in found["checks"] if not check["holds"]] == []
    assert found["extensions"]["metrics-collector"]["counted"]["invocations"] == 6 + 2
    assert found["extensions"]["secret-cache"]["counted"]["calls"] == 1
