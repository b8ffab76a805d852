"""``extension-kit check`` sends a test record to each sink, and says in one line what does not work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.receivers.collector import Collector, Fault
from tests.receivers.log_services import Datadog

ROOT = Path(__file__).parents[3]


def check(*options, **settings):
    variables = {f"LOG_SHIPPER_{name.upper()}": str(value) for name, value in settings.items()}
    command = [
        "-m",
        "extension_kit.cli",
        "check",
        "--plugin",
        "extensions.log_shipper.plugin:LogShipper",
        "--json",
        *options,
    ]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    found = [one for one in json.loads(done.stdout) if one["level"] != "note"]
    assert all(one["fix"] for one in found)
    return done.returncode, [one["finding"] for one in found]


def test_every_sink_is_sent_a_record(tmp_path):
    """And the place for dead letters as well; nothing is found where all have taken it."""
    with Collector() as one, Datadog() as two:
        config = tmp_path / "shipper.toml"
        config.write_text(f"""
            dead_letters = "file:{tmp_path}/dead"
            [[sinks]]
            sink = "http"
            endpoint = "{one.url}"
            [[sinks]]
            sink = "datadog"
            endpoint = "{two.url}"
            api_key = "{Datadog.KEY}"
        """)
        assert check(config=config) == (0, [])
        assert check("--offline", config=config) == (0, [])
    (line,) = one.accepted
    assert (line["record"], line["level"]) == ("[INFO] extension-kit check: a test record of the log shipper\n", "INFO")
    assert len(two.accepted) == 1
    assert len((tmp_path / "dead").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=401), "sink http: answers 401: scripted"),
        (Fault(status=400), "sink http: answers 400: scripted"),
        (Fault(reset="early"), "sink http: the connection was closed before an answer came"),
        (Fault(hang=1.5), "sink http: no answer in time"),
    ],
)
def test_what_does_not_work_is_one_line(fault, said):
    """In the words of the sink."""
    with Collector() as one:
        one.faults = [fault] * 2
        assert check(sink="http", endpoint=one.url, timeout="500ms") == (1, [said])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "there is no sink: set LOG_SHIPPER_SINK, or LOG_SHIPPER_CONFIG for several"),
        (
            {"sink": "http"},
            "sink http: LOG_SHIPPER_ENDPOINT is not set: its URL, e.g. https://logs.example.com",
        ),
        ({"sink": "http", "endpoint": "http://127.0.0.1:9"}, "sink http: Connection refused"),
        ({"sink": "stdout", "sample": "2", "dead_letters": "file:/proc/x"}, 'LOG_SHIPPER_SAMPLE="2" is not allowed'),
    ],
)
def test_settings_that_cannot_work(settings, said):
    """Before anything is sent."""
    if settings.get("sink") == "stdout":
        settings = settings | {"sink": "file", "endpoint": "/proc/nowhere/x"}
    status, findings = check(**settings)
    assert status == 1
    assert any(finding.startswith(said) for finding in findings), findings
