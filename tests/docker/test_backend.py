"""Backend ``docker``: a function and its layers in the image, driven through the package ``docker``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from extension_kit import cli
from extension_kit.backends import docker as backend
from extension_kit.backends.plan import Plan
from extension_kit.errors import ConfigError
from tests.conftest import FUNCTION, ROOT
from tests.docker import engine as engines

engines.require()

RUN = [sys.executable, "-m", "extension_kit.cli", "run", "--backend", "docker", "--handler", "app.handler"]
TELLS_EVENTS = """
register()
while True:
    status, event = next()
    say("extension has", event["eventType"], event.get("shutdownReason", ""))
    if event["eventType"] == "SHUTDOWN":
        say("extension ends")
        sys.exit(0)
"""


def lines(outcome):
    return [event["text"] for event in outcome.events if event["kind"] == "log"]


def kinds(outcome):
    return [event["kind"] for event in outcome.events]


def test_a_layer_sees_three_invocations_and_the_shutdown(run, image, layer, lab, monkeypatch, tmp_path):
    """Payloads and answers go over the published port; `docker stop` brings SHUTDOWN; no file of ours stays."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    function = lab.function(
        "def handler(event, context):\n"
        "    print(f'function has {event[\"n\"]}\\n', end='')\n"  # in one piece: writers share one stream
        "    return event['n'] * 2\n"
    )
    events = tuple(json.dumps({"n": n}).encode() for n in (1, 2, 3))
    outcome = run(function, layer(TELLS_EVENTS), events=events, invokes=3)

    assert outcome.healthy
    assert [one.payload for one in outcome.invoked] == [b"2", b"4", b"6"]
    told = lines(outcome)
    assert [line for line in told if line.startswith("function")] == [f"function has {n}" for n in (1, 2, 3)]
    assert [line.strip() for line in told if line.startswith("extension")] == [
        "extension has INVOKE",
        "extension has INVOKE",
        "extension has INVOKE",
        "extension has SHUTDOWN SandboxTerminated",
        "extension ends",
    ]
    assert ("probe", ["INVOKE", "SHUTDOWN"]) in [
        (event["party"], event["events"]) for event in outcome.events if event["kind"] == "registered"
    ]
    assert json.loads(outcome.record)["profile"]["extensions"] == ["probe"]
    assert f"in the image {image}" in outcome.notes
    assert list((tmp_path / "scratch").iterdir()) == []


WRITES = """
import os
def handler(event, context):
    found = {}
    for folder in ("/opt", "/var/task", "/", "/tmp"):
        try:
            with open(os.path.join(folder, "written"), "w") as file:
                file.write("x")
            found[folder] = "written"
        except OSError as error:
            found[folder] = error.strerror
    found["size"] = os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize
    return found
"""


def test_only_tmp_can_be_written(run, layer, lab):
    """As on Lambda: /opt, /var/task and everything else are read-only; /tmp has 512 MB."""
    function = lab.function(WRITES)
    outcome = run(function, layer(TELLS_EVENTS))
    read_only = "Read-only file system"

    assert json.loads(outcome.invoked[0].payload) == {
        "/opt": read_only, "/var/task": read_only, "/": read_only, "/tmp": "written", "size": 512 * 1024 * 1024,
    }  # fmt: skip
    assert [path.name for path in function.iterdir()] == ["app.py"]


def test_a_function_that_needs_more_memory_than_it_has(run, layer, lab):
    """The kernel kills it at the limit, and that is told; the same function with more memory is well."""
    function = lab.function("def handler(event, context): return len(bytearray(300_000_000))\n")
    outcome = run(function, layer(TELLS_EVENTS), memory_mb=128)

    assert not outcome.healthy
    assert outcome.invoked[0].error_type == "Runtime.ExitError"
    assert b"killed" in outcome.invoked[0].payload
    assert {"limit_mb": 128} in [
        {"limit_mb": event["limit_mb"]} for event in outcome.events if event["kind"] == "out_of_memory"
    ]
    assert "extension ends" in lines(outcome)

    outcome = run(function, layer(TELLS_EVENTS), memory_mb=512)
    assert outcome.healthy
    assert outcome.invoked[0].payload == b"300000000"
    assert "out_of_memory" not in kinds(outcome)


def test_a_timeout(run, layer, lab):
    """The caller is told, the extensions get SHUTDOWN, and the next invocation finds a new environment."""
    function = lab.function(
        "import time\ndef handler(event, context):\n    time.sleep(event.get('sleep', 0))\n    return 'in time'\n"
    )
    outcome = run(function, layer(TELLS_EVENTS), events=(b'{"sleep": 30}', b"{}"), invokes=2, timeout=1.0)

    assert not outcome.healthy
    assert [one.error_type for one in outcome.invoked] == ["Sandbox.Timedout", ""]
    assert b"timed out after 1.00 seconds" in outcome.invoked[0].payload
    assert outcome.invoked[1].payload == b'"in time"'
    assert "extension has SHUTDOWN Timeout" in lines(outcome)
    assert kinds(outcome).count("init_start") == 2


def test_an_extension_that_crashes(run, layer, lab):
    """The invocation fails for it, and the run is not healthy."""
    outcome = run(FUNCTION, layer("register()\nnext()\nsay('extension dies')\nsys.exit(7)\n"))

    assert not outcome.healthy
    assert "extension dies" in lines(outcome)
    assert "Extension.Crash" in [event["error_type"] for event in outcome.events if event["kind"] == "fatal"]


def test_a_bootstrap_of_ones_own(run, layer, engine, image, lab):
    """A runtime in any language: here a shell script, which fails its initialisation in its own words."""
    bootstrap = lab.folder / "own" / "bootstrap"
    bootstrap.parent.mkdir()
    bootstrap.write_text("#!/bin/sh\necho own runtime in $PWD\nexit 9\n")
    bootstrap.chmod(0o755)
    outcome = backend.run(Plan(bootstrap=bootstrap))

    assert not outcome.healthy
    assert "own runtime in /var/task" in lines(outcome)
    assert engines.containers_with(engine, bootstrap.parent) == []


def test_runs_side_by_side_do_not_meet(run, layer, lab):
    """Each has its own ports, /tmp and extensions."""
    function = lab.function(
        "import pathlib\n"
        "def handler(event, context):\n"
        "    path = pathlib.Path('/tmp/seen')\n"
        "    seen = path.read_text() if path.exists() else ''\n"
        "    path.write_text(seen + event['who'])\n"
        "    return path.read_text()\n"
    )
    probe = layer(TELLS_EVENTS)
    with ThreadPoolExecutor(3) as pool:
        runs = [
            pool.submit(run, function, probe, events=(json.dumps({"who": who}).encode(),), invokes=2) for who in "abc"
        ]
        outcomes = [one.result() for one in runs]

    assert [[one.payload for one in outcome.invoked] for outcome in outcomes] == [
        [f'"{who}"'.encode(), f'"{who}{who}"'.encode()] for who in "abc"
    ]
    assert all(outcome.healthy for outcome in outcomes)


def test_what_processes_cost_is_told_where_they_can_be_seen(run, layer, lab):
    """Either there are figures for both, or a note says why there are none."""
    outcome = run(FUNCTION, layer(TELLS_EVENTS), invokes=2)
    used = {event["party"] for event in outcome.events if event["kind"] == "process_usage"}

    assert used == {"probe", "runtime"} or "what each process cost is not known" in " ".join(outcome.notes)


def test_a_plugin_runs_from_the_checkout(image, tmp_path):
    """What `make demo BACKEND=docker` does: the image's Python, this checkout's code; drawn as a run of any backend is."""
    done = subprocess.run(
        [*RUN, "--function", str(FUNCTION), "--plugin", "extensions.metrics_collector.plugin:MetricsCollector",
         "--invokes", "2", "--report", str(tmp_path / "page.html"), "--trace", str(tmp_path / "trace.json")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "healthy: 2 invoke(s), 0 with an error, 1 extension(s)" in done.stdout.splitlines()[-1]
    # The library that exports is in the collector's layer, and not in the image.
    assert "emf: aws_lambda_powertools is not installed here (our layer brings it)" in done.stdout
    assert done.stderr == ""
    assert f"in the image {image}" in (tmp_path / "page.html").read_text()
    names = [one["name"] for one in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]]
    assert {"invocation 1", "invocation 2", "init", "function", "shutting down"} <= set(names)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_leaves_nothing(number, image, engine, lab):
    """In the middle of an invoke: one line, exit 1, no container, no directory."""
    function = lab.function("import time\ndef handler(event, context): print('in', flush=True); time.sleep(60)\n")
    scratch = lab.folder / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [*RUN, "--function", str(function), "--timeout", "60"],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        seen = ""
        while "| in" not in seen:
            line = running.stdout.readline()
            assert line, seen
            seen += line
        assert len(engines.containers_with(engine, function)) == 1
        running.send_signal(number)
        _out, err = running.communicate(timeout=60)

    assert (running.returncode, err) == (1, "extension-kit: interrupted\n")
    assert engines.containers_with(engine, function) == []
    assert list(scratch.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from extension_kit.backends.docker import DockerEnvironment
from extension_kit.emulator.environment import Layout
from extension_kit.emulator.model import Profile
profile = Profile(handler="app.handler")
environment = DockerEnvironment(profile, Layout(function=Path(sys.argv[1])), sys.argv[2], limit=2)
environment.invoke(b"{}").result(20)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_container_does_not_outlive_a_killed_run_for_long(image, engine, lab):
    """Nobody is left to stop it: it ends at its limit, and the engine removes it."""
    function = lab.function("def handler(event, context): return 1\n")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(function), image],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(lab.folder)}, timeout=60, check=False, capture_output=True,
    )  # fmt: skip

    assert done.returncode == -signal.SIGKILL, done.stderr
    lab.until(lambda: engines.containers_with(engine, function) == [], 30)


def test_what_was_created_and_never_started_is_swept(run, image, engine, lab):
    """A run that is killed between the two leaves a container that would never end; the next run removes it."""
    old = engine.containers.create(image, labels={backend.LABEL: str(int(time.time()) - 1)})
    young = engine.containers.create(image, labels={backend.LABEL: str(int(time.time()) + 600)})
    try:
        run(FUNCTION)
        left = [container["Id"] for container in engine.api.containers(all=True)]
        assert old.id not in left
        assert young.id in left
    finally:
        young.remove()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--init-type", "snap-start"], "initialises on demand only"),
        (["--fault", "telemetry-unsupported"], "makes no faults"),
        (["--port", "9999"], "--port cannot be given"),
        (["--no-namespaces"], "--no-namespaces cannot be given"),
    ],
)
def test_what_it_cannot_do_is_said(option, said, capsys):
    """Before anything is built or started."""
    status = cli.main(["run", "--backend", "docker", "--function", str(FUNCTION), "--handler", "app.handler", *option])

    assert status == 2
    assert said in capsys.readouterr().err


def test_an_image_that_is_none_of_lambdas(image, engine, lab, monkeypatch):
    """One line, with the image's name; no container stays."""
    name, tag = "extension-kit/test-empty", str(os.getpid())
    empty = bytes(1024)  # a tar file without entries
    engine.api.import_image_from_data(empty, repository=name, tag=tag)
    monkeypatch.setenv("LAMBDA_IMAGE", f"{name}:{tag}")
    function = lab.function("def handler(event, context): return 1\n")
    try:
        with pytest.raises(ConfigError, match=f"{name}:{tag} cannot be run: .*not found") as error:
            backend.run(Plan(function=function, handler="app.handler"))
    finally:
        engine.images.remove(f"{name}:{tag}")

    assert "\n" not in str(error.value)
    assert engines.containers_with(engine, function) == []


def test_an_image_without_awss_emulator(image, engine, lab, monkeypatch):
    """What was to start it says why it could not."""
    monkeypatch.setattr(backend, "_EMULATOR", "/usr/local/bin/not-there")
    with pytest.raises(ConfigError, match=r"does not run in .*/usr/local/bin/not-there.*No such file"):
        backend.run(Plan(function=lab.function("def handler(event, context): return 1\n"), handler="app.handler"))


def test_paths_of_this_python_stay_here():
    """The image has another: only the kit's root, the checkout and what was set by hand go along."""
    from extension_kit.backends.prepare import portable_path

    found = portable_path(str(FUNCTION))

    assert found[:2] == [str(ROOT), str(FUNCTION)]
    assert not [path for path in found if "site-packages" in path or Path(path).name.startswith("python3")]
