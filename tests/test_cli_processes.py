"""`extension-kit run` and the machine that it runs on: signals, no namespaces, no root. Nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = [sys.executable, "-m", "extension_kit.cli", "run", "--handler", "app.handler"]
COLLECTOR = ["--plugin", "extensions.metrics_collector.plugin:MetricsCollector"]
IN_A_USER_NAMESPACE = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]


def processes(output: str) -> list[int]:
    """Every process that the run has started."""
    return [int(pid) for pid in re.findall(r"starts, pid (\d+)$", output, re.MULTILINE)]


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, for a backend that does not tell them at once."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return children + [below for child in children for below in descendants(child)]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("backend", ["emulator", "rie"])
def test_a_run_that_is_interrupted_ends_everything_it_started(number, backend, lab):
    """In the middle of an invoke: one line, exit 1, no process, no directory."""
    function = lab.function("import time\ndef handler(event, context): print('in', flush=True); time.sleep(60)\n")
    scratch = lab.folder / "scratch"
    scratch.mkdir()
    run = subprocess.Popen(
        [*RUN, "--backend", backend, "--function", str(function), "--timeout", "60", *COLLECTOR],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with run:
        assert run.stdout is not None
        seen = ""
        while "| in" not in seen:
            line = run.stdout.readline()
            assert line, seen
            seen += line
        started = processes(seen) if backend == "emulator" else descendants(run.pid)
        run.send_signal(number)
        _out, err = run.communicate(timeout=30)

    assert len(started) >= 2
    assert (run.returncode, err) == (1, "extension-kit: interrupted\n")
    assert alive(started) == []
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "after", "notes"),
    [
        ([], ["--no-namespaces"], 1),
        (IN_A_USER_NAMESPACE, [], 0),
        (IN_A_USER_NAMESPACE, ["--no-namespaces"], 1),
        (IN_A_USER_NAMESPACE, ["--backend", "rie"], 0),
    ],
    ids=["no namespaces", "not root", "neither", "not root, rie"],
)
def test_without_root_or_namespaces_a_run_works_and_says_what_is_missing(before, after, notes):
    """The same extension beside the same function; one line tells that directories are the machine's own."""
    if before and subprocess.run([*before, "true"], capture_output=True, check=False, timeout=10).returncode != 0:
        pytest.skip("user namespaces are refused here")
    done = subprocess.run(
        [*before, *RUN, "--function", "tests/functions/hello", *COLLECTOR, *after],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "healthy: 1 invoke(s), 0 with an error, 1 extension(s)" in done.stdout.splitlines()[-1]
    assert done.stdout.count("note: no namespaces") == notes
    assert alive(processes(done.stdout)) == []


@pytest.mark.parametrize(("encoding", "levels"), [("utf-8", "▁▂▃▄▅▆▇█"), ("ascii", "_.-:=+*#")])
def test_what_the_collector_measured_is_drawn_for_each_invocation(encoding, levels, tmp_path):
    """A table before the closing line, in characters that the terminal has; the record and the exit status are the same."""
    record = tmp_path / "record.json"
    command = [*RUN, "--function", "tests/functions/hello", *COLLECTOR, "--invokes", "3", "--json", str(record)]
    done = subprocess.run(
        [*command, "--env", "METRICS_COLLECTOR_PROFILE=lambda_insights", "--env", "METRICS_COLLECTOR_INTERVAL=0ms"],
        cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True, encoding=encoding, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    lines = done.stdout.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("what extensions measured "))
    cpu = next(line.split() for line in lines[start:] if line.startswith("  cpu_total_time "))
    # On a busy machine the news of an end may come after the next INVOKE, too late for a figure of the kernel's.
    assert (len(cpu[1]), set(cpu[1]) <= set(levels), len(cpu)) == (int(cpu[2]), True, 7)
    assert 2 <= int(cpu[2]) <= 3
    assert any(line.startswith("  used_memory_max ") and line.endswith(" MiB") for line in lines[start:])
    assert max(map(len, lines[start:-1])) <= 100
    assert lines[-1].startswith("healthy: 3 invoke(s), 0 with an error, 1 extension(s)")
    assert json.loads(record.read_text()).keys() == {"format", "profile", "notes", "events"}
