"""``--json``, in every command that has something to say: standard output is one JSON document, also where it goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from extension_kit import cli
from layer_build import cli as layer_cli
from tests.report.records import one_invocation

ROOT = Path(__file__).parents[1]
KIT, LAYER = ["-m", "extension_kit.cli"], ["-m", "layer_build"]
CACHE, CHAOS = ["-m", "extensions.secret_cache"], ["-m", "extensions.chaos_injector"]
COMPARE = ["-m", "tests.conformance.compare"]
FUNCTION = ["--function", "tests/functions/hello", "--handler", "app.handler"]
BUILD = ["--launcher", "python", "--no-bytecode", "--arch", "x86_64", "--joint", "--out", "{tmp}/dist", "--json"]
SOURCE = ["--source", "file:{tmp}/armed.json"]

FINDING = ["about", "finding", "fix", "group", "level"]
COST = ["after_ms", "after_total_ms", "batches", "cpu_ms", "init_ms", "kind", "log_lines", "party", "peak_mb", "register_ms",
        "starts", "telemetry_events"]  # fmt: skip
TEMPLATE = ["file", "kind", "text"]

pytestmark = pytest.mark.once

#: command; exit status; what is in the document: keys of an object, or those of the objects in a list (empty: no matter).
#: In this order: what is armed is disarmed.
COMMANDS = [
    ([*KIT, "run", *FUNCTION, "--json", "-"], 0, ["events", "format", "notes", "profile"]),
    ([*KIT, "run", *FUNCTION, "--quiet", "--json=-"], 0, ["events", "format", "notes", "profile"]),
    ([*KIT, "run", "--function", "tests/functions/hello", "--handler", "none.handler", "--json", "-"], 1,
     ["events", "format", "notes", "profile"]),
    ([*KIT, "run", "--fault", "list", "--json", "-"], 0, ["faults"]),
    ([*KIT, "report", "{record}", "--json"], 0, [COST]),
    ([*KIT, "report", "{record}", "--trace", "{tmp}/trace.json", "--json"], 0, [COST]),
    ([*KIT, "new", "my-probe", "--directory", "{tmp}/made", "--json"], 0,
     ["class", "files", "folder", "module", "name", "prefix"]),
    ([*KIT, "check", "--offline", "--json"], 1, [FINDING]),  # there is nothing here to look at
    ([*KIT, "check", "--offline", "--function", "tests/functions/hello", "--json"], 0, [FINDING]),
    ([*KIT, "check", "--offline", "--env", "EXTENSION_KIT_FLUSH=x", "--json"], 1, [FINDING]),
    ([*LAYER, "build", "secret-cache", *BUILD], 0, [["file", "sha256", "tree", "unzipped", "zipped"]]),
    ([*LAYER, "verify", "{good}", "--json"], 0, ["layers"]),
    ([*LAYER, "verify", "{bad}", "--json"], 1, ["layers"]),
    ([*LAYER, "inspect", "{good}", "--json"], 0, []),
    ([*LAYER, "diff", "{good}", "{good}", "--json"], 0, []),
    ([*LAYER, "diff", "{good}", "{bad}", "--json"], 1, []),
    ([*LAYER, "template", "extensions/secret_cache", "--kind", "all", "--json"], 0, [TEMPLATE]),
    ([*LAYER, "template", "extensions/secret_cache", "--kind", "sam", "--out", "{tmp}/iac", "--json"], 0, [TEMPLATE]),
    ([*LAYER, "index", "{tmp}", "--json"], 0, ["format", "layers"]),
    ([*LAYER, "index", "{tmp}", "--out", "{tmp}/index.json", "--json"], 0, ["file", "layers"]),
    ([*LAYER, "interpreter", "--from", "https://example.com/python.zip", "--sha256", "0" * 64, "--json"], 2, ["error"]),
    ([*LAYER, "policy", "extensions/log_shipper", "--env", "LOG_SHIPPER_SINK=s3", "--json"], 0, ["policy", "remarks"]),
    ([*LAYER, "outdated", "{function}", "--index", "{published}", "--json"], 1, ["functions", "layers"]),
    ([*CHAOS, "status", *SOURCE, "--json"], 1, ["experiment", "lines", "state"]),
    ([*CHAOS, "arm", "{experiment}", "--for", "5m", *SOURCE, "--json"], 0, ["experiment", "lines", "state"]),
    ([*CHAOS, "plan", "{experiment}", "--for", "5m", "--json"], 0, []),
    ([*CHAOS, "extend", "{experiment}", *SOURCE, "--json"], 2, ["error"]),  # it takes no file
    ([*CHAOS, "extend", *SOURCE, "--json"], 1, ["experiment", "lines", "state"]),
    ([*CHAOS, "disarm", *SOURCE, "--json"], 0, ["experiment", "lines", "state"]),
    ([*COMPARE, "{scenario}", "--json"], 0, ["as_the_table_says", "differences", "fields", "reasons", "scenarios"]),
]  # fmt: skip

#: command; what the line says
ERRORS = [
    ([*KIT, "--json"], "no command '--json'; there are run, report, new, check"),
    ([*KIT, "nonsense", "--json"], "no command 'nonsense'"),
    ([*KIT, "run", "--json", "-"], "say what to run"),
    ([*KIT, "run", *FUNCTION, "--invokes", "0", "--json", "-"], "'0' is not a whole number from 1"),
    ([*KIT, "report", "README.md", "--json"], "README.md: not JSON"),
    ([*KIT, "report", "{record}", "--report", "-", "--json"], "both print"),
    ([*KIT, "new", "--json"], "the following arguments are required: NAME"),
    ([*KIT, "new", "X", "--json"], "'X' is no name for an extension"),
    ([*KIT, "check", "--plugin", "nothing:X", "--json"], "nothing cannot be imported"),
    ([*KIT, "check", "--layer", "{tmp}/none.zip", "--json"], "none.zip: no such file"),
    ([*KIT, "check", "--layer", "README.md", "--json"], "README.md"),
    ([*KIT, "check", "--policy", "README.md", "--json"], "--policy README.md: not JSON"),
    ([*LAYER, "nonsense", "--json"], "no command 'nonsense'"),
    ([*LAYER, "build", "nothing", "--json"], "nothing: no such folder"),
    ([*LAYER, "verify", "--json"], "the following arguments are required: LAYER"),
    ([*LAYER, "verify", "{tmp}/none.zip", "--json"], "none.zip"),
    ([*LAYER, "inspect", "README.md", "--json"], "README.md"),
    ([*LAYER, "diff", "{good}", "{tmp}/none.zip", "--json"], "none.zip"),
    ([*LAYER, "template", "{good}", "--kind", "sam", "--json"], "not a layer of ours"),
    ([*LAYER, "index", "{tmp}/none", "--json"], "none: cannot be read"),
    ([*LAYER, "index", "{tmp}", "--json", "--markdown"], "not allowed with argument"),
    ([*LAYER, "publish", "{tmp}/none.zip", "--regions", "eu-west-1", "--json"], "none.zip: no such zip"),
    ([*LAYER, "outdated", "{function}", "--index", "{tmp}/none.json", "--json"], "none.json: no such index"),
    ([*LAYER, "policy", "README.md", "--json"], "README.md"),
    ([*CACHE, "--json"], "the following arguments are required: serve"),
    ([*CACHE, "serve", "--port", "x", "--json"], "invalid int value: 'x'"),
    ([*CACHE, "serve", "--port", "{taken}", "--json"], "choose another with --port or --appconfig-port"),
    ([*CHAOS, "--json"], "the following arguments are required: command"),
    ([*CHAOS, "arm", "{experiment}", "--source", "env", "--json"], "is part of the function's configuration"),
    ([*COMPARE, "nonsense", "--json"], "no scenario 'nonsense'"),
]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What stands for the words in braces: two layers, an experiment, a scenario, a port that is taken."""
    import socket

    from tests.conformance.scenarios import SCENARIOS

    folder = tmp_path_factory.mktemp("json")
    for name, mode in (("good", 0o755), ("bad", 0o644)):
        info = zipfile.ZipInfo("extensions/probe")
        info.external_attr = (0o100000 | mode) << 16
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.writestr(info, "#!/bin/sh\n")
    experiment = folder / "experiment.toml"
    experiment.write_text(
        'version = 1\nid = "slow"\nowner = "me"\nscope = { functions = ["*"] }\n'
        '[[faults]]\ntype = "delay"\npercentage = 50\nparams = { ms = 3 }\n'
    )
    arn = "arn:aws:lambda:eu-west-1:123456789012:layer:probe:"
    entries = [
        {"name": "probe", "version": version, "architecture": "arm64", "pythons": ["3.13"], "sha256": version,
         "published": {"eu-west-1": {"arn": f"{arn}{version}"}}}
        for version in ("1", "2")
    ]  # fmt: skip
    (folder / "published.json").write_text(json.dumps({"format": 1, "layers": entries}))
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Layers": [f"{arn}1"]}}
    (folder / "function.json").write_text(json.dumps({"Resources": {"Function": function}}))
    (folder / "record.json").write_text(json.dumps(one_invocation()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield {
            "tmp": folder, "good": folder / "good.zip", "bad": folder / "bad.zip", "experiment": experiment,
            "record": folder / "record.json", "published": folder / "published.json", "function": folder / "function.json",
            "scenario": next(iter(SCENARIOS)), "taken": taken.getsockname()[1],
        }  # fmt: skip


def run(words, places):
    return subprocess.run(
        [sys.executable, *(word.format_map(places) for word in words)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def name(words):
    return " ".join(words[1:]) if isinstance(words, list) and words[:1] == ["-m"] else ""


@pytest.mark.parametrize(("words", "status", "keys"), COMMANDS, ids=name)
def test_standard_output_is_one_document(words, status, keys, places):
    done = run(words, places)
    assert done.returncode == status, done.stdout + done.stderr
    found = json.loads(done.stdout)
    if keys and isinstance(keys[0], list):
        assert found
        assert {tuple(sorted(one)) for one in found} == {tuple(keys[0])}
    elif keys:
        assert sorted(found) == keys


@pytest.mark.parametrize(("words", "says"), ERRORS, ids=name)
def test_an_error_is_a_document_too(words, says, places):
    """``{"error": ...}`` and exit status 2; the same line, for people, on standard error."""
    done = run(words, places)
    assert done.returncode == 2, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (list(found), says in found["error"]) == (["error"], True), found
    assert done.stderr.splitlines()[-1].endswith(found["error"])
    assert "Traceback" not in done.stderr


def test_every_command_is_in_the_table():
    """One that is added later cannot be forgotten."""
    asked = {tuple(words[:3]) for words, _status, _keys in COMMANDS} | {tuple(words[:3]) for words, _says in ERRORS}
    assert {(*KIT, command) for command in cli.COMMANDS} <= asked
    assert {(*LAYER, command) for command in layer_cli.COMMANDS} <= asked


def test_without_json_an_error_is_on_standard_error_alone(places):
    for words in (
        ["-m", "extension_kit.cli", "new", "X"],
        [*LAYER, "inspect", "README.md"],
        [*CHAOS, "arm"],
        [*COMPARE, "x"],
    ):
        done = run(words, places)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_record_in_a_file_leaves_standard_output_to_people(tmp_path):
    """``run --json FILE`` is no ``--json``: errors are told to people, too."""
    record = tmp_path / "record.json"
    done = run([*KIT, "run", *FUNCTION, "--json", str(record)], {})
    assert (done.returncode, json.loads(record.read_text())["format"]) == (0, "extension-kit-run/1")
    assert "healthy: 1 invoke(s)" in done.stdout
    assert run([*KIT, "run", "--json", str(record)], {}).stdout == ""


def test_the_secret_cache_tells_where_it_is():
    """One line, as soon as it serves; what was counted goes to standard error."""
    serve = [sys.executable, *CACHE, "serve", "--port", "0", "--appconfig-port", "0", "--json"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(
        serve, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    found = json.loads(line + out)
    assert sorted(found) == ["configurations", "secrets", "token"]
    assert found["token"]
    assert found["secrets"].startswith("http://localhost:")
    assert (process.returncode, err.splitlines()[-1]) == (0, "hit 0")
