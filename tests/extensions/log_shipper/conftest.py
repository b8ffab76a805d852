"""The log shipper in an environment of the emulator, beside a collector that answers as a test says."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.receivers.aws import AwsFake
from tests.receivers.collector import Collector


@pytest.fixture
def collector():
    with Collector() as made:
        yield made


@pytest.fixture
def aws():
    """Secrets Manager as strict as AWS's."""
    with AwsFake() as fake:
        yield fake


@pytest.fixture
def outside():
    """A folder that both sides see: below /tmp an environment has its own files."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shipping(lambda_sandbox, collector):
    """A sandbox whose function's lines go to the collector; settings by keyword, without their prefix."""

    def make(**settings):
        usual = {"sink": "http", "endpoint": collector.url, "redact": "none"} | settings
        variables = {f"LOG_SHIPPER_{name.upper()}": str(value) for name, value in usual.items()}
        lambda_sandbox.configure(variables=variables)
        lambda_sandbox.attach("extensions.log_shipper.plugin:LogShipper")
        return lambda_sandbox

    return make


@pytest.fixture
def shipper_of(lab):
    """The extension as a file, for tests that look into an environment themselves."""
    return lambda: lab.plugin(
        "ext", "from extensions.log_shipper.plugin import LogShipper\nrun(LogShipper, name='ext')\n"
    )
