"""`extension-kit`: what it prints and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FUNCTION = ["--function", "tests/functions/hello", "--handler", "app.handler"]


def extension_kit(*arguments: str, input_: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "extension_kit.cli", *arguments],
        cwd=ROOT, input=input_, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


BAD = [
    ["run"],
    ["nonsense"],
    ["run", "--nonsense"],
    ["run", *FUNCTION, "--invokes", "0"],
    ["run", *FUNCTION, "--timeout", "1000"],
    ["run", *FUNCTION, "--memory", "1"],
    ["run", *FUNCTION, "--env", "novalue"],
    ["run", *FUNCTION, "--backend", "moon"],
    ["run", "--function", "does/not/exist", "--handler", "app.handler"],
    ["run", "--function", "tests/functions/hello", "--handler", "app"],
    ["run", "--bootstrap", "does/not/exist"],
    ["run", *FUNCTION, "--extension", "does/not/exist"],
    ["run", *FUNCTION, "--layer", "does/not/exist"],
    ["run", *FUNCTION, "--layer", "README.md"],
    ["run", *FUNCTION, "--event", "does/not/exist"],
    ["run", *FUNCTION, "--event", "README.md"],
    ["run", *FUNCTION, "--backend", "rie", "--no-namespaces"],
    ["run", *FUNCTION, "--backend", "rie", "--port", "8080"],
    ["run", *FUNCTION, "--backend", "rie", "--init-type", "snap-start"],
    ["run", *FUNCTION, "--backend", "rie", "--fault", "telemetry-silent"],
    ["run", *FUNCTION, "--fault", "nonsense"],
    ["run", *FUNCTION, "--fault", "telemetry-slow:ms=x"],
    ["run", *FUNCTION, "--plugin", "no_such_module:Class"],
    ["run", *FUNCTION, "--plugin", "extension_kit.plugin"],
    ["run", *FUNCTION, "--plugin", "extension_kit.errors:ConfigError"],
]


@pytest.mark.parametrize("arguments", BAD, ids=lambda arguments: " ".join(arguments[-2:]))
def test_what_cannot_be_run_is_one_line_and_exit_2(arguments):
    """No stack trace, nothing started, a line that says what is wrong."""
    done = extension_kit(*arguments)

    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_that_is_taken_is_one_line_and_exit_2():
    """The invoke endpoint says which port it could not have."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = extension_kit("run", *FUNCTION, "--port", str(taken.getsockname()[1]))

    assert done.returncode == 2
    assert str(taken) is not None
    assert "cannot listen on port" in done.stderr


def test_faults_are_listed_and_made():
    """``--fault list`` needs no function; a fault changes the run, the function stays healthy."""
    listed = extension_kit("run", "--fault", "list")
    done = extension_kit(
        "run",
        *FUNCTION,
        "--fault",
        "telemetry-unsupported",
        "--plugin",
        "extensions.metrics_collector.plugin:MetricsCollector",
    )

    assert listed.returncode == done.returncode == 0
    assert "telemetry-reordered:every=2" in listed.stdout
    assert "no telemetry here (telemetry: 202 Telemetry.NotSupported" in done.stdout
    assert "platform: duration " in done.stdout


def test_a_handler_that_does_not_import_is_exit_1():
    """The environment did not stay healthy, and the output names the error."""
    done = extension_kit("run", "--function", "tests/functions/hello", "--handler", "nothing.handler")

    assert done.returncode == 1
    assert "Runtime.ImportModuleError" in done.stdout
    assert "Traceback" not in done.stderr


def test_events_come_from_files_and_standard_input_in_turn(tmp_path):
    """Each --event is one invoke; the record holds what was asked and answered."""
    event = tmp_path / "event.json"
    event.write_text('{"spend_ms": 0, "write_bytes": 7}')
    record = tmp_path / "record.json"

    done = extension_kit(
        "run",
        *FUNCTION,
        "--event",
        str(event),
        "--event",
        "-",
        "--json",
        str(record),
        "--quiet",
        input_='{"spend_ms": 1}',
    )

    content = json.loads(record.read_text())
    assert done.returncode == 0
    assert content["format"] == "extension-kit-run/1"
    assert [event["kind"] for event in content["events"]].count("response") == 2
    assert done.stdout.startswith("healthy: 2 invoke(s)") or done.stdout.startswith("note: ")


def test_strict_makes_a_handlers_error_count(tmp_path):
    """A handler that raises: 0 as it is, 1 with --strict."""
    (tmp_path / "app.py").write_text("def handler(event, context):\n    raise ValueError('bang')\n")
    arguments = ["run", "--function", str(tmp_path), "--handler", "app.handler"]

    assert extension_kit(*arguments).returncode == 0
    assert extension_kit(*arguments, "--strict").returncode == 1


def test_later_layers_win_and_a_zip_cannot_leave_opt(tmp_path):
    """Layers are laid over each other; an entry with .. is refused."""
    first, second = tmp_path / "first", tmp_path / "second.zip"
    (first / "extensions").mkdir(parents=True)
    script = first / "extensions" / "ext"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    with zipfile.ZipFile(second, "w") as archive:
        info = zipfile.ZipInfo("extensions/ext")
        info.external_attr = 0o100644 << 16
        archive.writestr(info, "never run: not executable")
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../outside", "x")

    laid = extension_kit("run", *FUNCTION, "--layer", str(first), "--layer", str(second))
    refused = extension_kit("run", *FUNCTION, "--layer", str(evil))

    assert "PermissionDenied" in laid.stdout
    assert (refused.returncode, "outside /opt" in refused.stderr) == (2, True)


@pytest.mark.parametrize("backend", ["emulator", "rie"])
def test_a_plugin_in_a_folder_below_tmp_is_found(backend):
    """The environment's /tmp is its own; what the plug-in is imported from stays visible there."""
    code = """from extension_kit import Plugin
class Here(Plugin):
    name = "here"
    def start(self, context):
        print("found")
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "here.py").write_text(code)
        done = subprocess.run(
            [sys.executable, "-m", "extension_kit.cli", "run", "--backend", backend, "--plugin", "here:Here",
             "--function", str(ROOT / "tests/functions/hello"), "--handler", "app.handler"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "found" in done.stdout


def test_check_names_wrong_and_unknown_settings():
    """One line for each finding, exit 1."""
    done = extension_kit(
        "check", "--plugin", "extensions.metrics_collector.plugin:MetricsCollector",
        "--env", "EXTENSION_KIT_ON_FAILURE=explode", "--env", "METRICS_COLLECTOR_NAMSPACE=x",
    )  # fmt: skip

    assert done.returncode == 1
    assert "EXTENSION_KIT_ON_FAILURE" in done.stdout
    assert "METRICS_COLLECTOR_NAMESPACE" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("check: 2 finding(s)")
