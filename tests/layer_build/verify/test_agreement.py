"""That the findings are true: the same layers in our emulator, and under AWS's own, fail as the findings say."""

from __future__ import annotations

import functools
import platform
import re
import shutil
from pathlib import Path

import pytest

from extension_kit.backends import emulator, prepare, rie, rie_binary
from extension_kit.backends.plan import Outcome, Plan
from extension_kit.errors import ConfigError
from layer_build.commands.verify import report
from tests.layer_build.verify import test_broken_binaries, test_broken_entries
from tests.layer_build.verify.cases import Case, binary, script
from tests.layer_build.verify.elves import ARM64, X86_64, program
from tests.layer_build.verify.layers import GOOD, write

FUNCTION = Path(__file__).parents[2] / "functions" / "hello"
BY_NAME = {case.name: case for case in (*test_broken_entries.CASES, *test_broken_binaries.CASES)}
#: made for the machine that this one is not
ALIEN = program(X86_64 if platform.machine() == "aarch64" else ARM64)
CRASH = "Extension.Crash"
LAUNCH = "Extension.LaunchError"
CASES = [
    *((BY_NAME[name], LAUNCH) for name in (
        "not executable", "carriage return", "byte order mark", "no first line", "empty", "unknown interpreter",
        "interpreter not in the layer", "interpreter in the layer, not executable", "no Unix modes", "a README", "a module",
        "a package", ".DS_Store", "data", "eleven", "made on a Mac", "made on Windows", "a link to a folder", "an object file",
    )),
    (Case("a loader that is not there", binary(program(interpreter="/lib/ld-other.so.1")), "loader-missing", ()), LAUNCH),
    (Case("for the other machine", binary(ALIEN), "wrong-architecture", ()), LAUNCH),
    (Case("a command that is not there", script(b"#!/usr/bin/env no-such-command\n"), "env-command-missing", ()), CRASH),
    (Case("two arguments for bash", script(b"#!/bin/bash -e -u\n"), "shebang-arguments", ()), CRASH),
    (BY_NAME["a library to start"], CRASH),
]  # fmt: skip
#: what both emulators are asked; starting AWS's takes longer
UNDER_RIE = (
    "a link to a folder",
    "not executable", "carriage return", "byte order mark", "no first line", "unknown interpreter", "a README", "no Unix modes",
    "a loader that is not there", "for the other machine", "eleven", "a command that is not there", "a library to start",
)  # fmt: skip


def plan(layer: Path) -> Plan:
    return Plan(function=FUNCTION, handler="app.handler", layers=(layer,), events=(b'{"spend_ms": 0}',), timeout=5.0)


def finding(case: Case, layer: Path) -> str:
    """The reason that `verify` gives, for this machine's architecture."""
    groups = report(layer, "arm64" if platform.machine() == "aarch64" else "x86_64").groups
    (why,) = [one.why for one, _paths in groups if one.code == case.code]
    return why


def fatal(outcome: Outcome) -> str:
    """The error type that ended the environment first."""
    return next(event["error_type"] for event in outcome.events if event["kind"] == "fatal")


@pytest.mark.parametrize(("case", "error_type"), CASES, ids=[case.name for case, _ in CASES])
def test_our_emulator_refuses_it_too(tmp_path, case, error_type):
    """The invocation fails with the error type that the finding names."""
    _skip_where_other_machines_are_emulated(case)
    layer = write(tmp_path / "layer.zip", case.files)

    outcome = emulator.run(plan(layer))

    assert not outcome.healthy
    assert outcome.invoked[0].error_type == error_type
    assert error_type in finding(case, layer)


def _skip_where_other_machines_are_emulated(case: Case) -> None:
    if case.code == "wrong-architecture" and list(Path("/proc/sys/fs/binfmt_misc").glob("qemu-*")):
        pytest.skip("this machine runs programs of others")


@functools.cache
def why_no_rie() -> str:
    try:
        rie_binary.binary()
    except ConfigError as error:
        return str(error)
    return prepare.why_no_namespaces()


@pytest.mark.parametrize(
    ("case", "error_type"),
    [pair for pair in CASES if pair[0].name in UNDER_RIE],
    ids=[case.name for case, _ in CASES if case.name in UNDER_RIE],
)
def test_the_texts_are_those_of_awss_own_emulator(tmp_path, case, error_type):
    """Its words for a file that it cannot start stand in the finding, letter by letter."""
    if why_no_rie():
        pytest.skip(why_no_rie())
    _skip_where_other_machines_are_emulated(case)
    layer = write(tmp_path / "layer.zip", case.files)

    outcome = rie.run(plan(layer))

    assert not outcome.healthy
    assert fatal(outcome) == error_type
    why = finding(case, layer)
    assert error_type in why
    said = re.findall(
        r"fork/exec /opt/[^\"\n]+?: (?:permission denied|no such file or directory|exec format error)", outcome.record
    )
    assert bool(said) == (error_type == LAUNCH and case.name != "eleven")
    assert [text for text in said if text not in why] == []


@pytest.mark.parametrize("kind", ["bash", "libraries"])
def test_what_is_in_order_runs(tmp_path, kind):
    """The good layers beside a real function."""
    if kind == "bash" and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    outcome = emulator.run(plan(write(tmp_path / "layer.zip", GOOD[kind]())))

    assert outcome.healthy
    assert outcome.invoked[0].error_type == ""


@pytest.mark.parametrize("name", ["switched off", "one folder too deep", "a sub-folder"])
def test_what_is_not_started(tmp_path, name):
    """The function runs, and the extension, or the part of it that lies too deep, does not."""
    outcome = emulator.run(plan(write(tmp_path / "layer.zip", BY_NAME[name].files)))

    assert outcome.healthy
    started = [event["party"] for event in outcome.events if event["kind"] == "process_start"]
    assert [party for party in started if party != "runtime"] == (["hello.sh"] if name == "a sub-folder" else [])
