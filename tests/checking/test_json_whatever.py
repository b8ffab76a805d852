"""Standard output is one JSON document, whatever the project that is looked at prints or raises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTION = ["--function", str(ROOT / "tests/functions/hello"), "--handler", "app.handler"]
MANIFEST = 'name = "noisy"\nplugins = ["noisy.plugin:Noisy"]\n[capabilities]\nvariables = ["NOISY_*"]\n'
PLUGIN = """
import os, subprocess, sys
from extension_kit import Plugin, Settings
class NoisySettings(Settings):
    prefix = "NOISY_"
    {more}
class Noisy(Plugin):
    name = "noisy"
    settings = NoisySettings
    def check(self, context):
        {check}
        return ()
{end}
"""
#: in Python, past Python, by a process of its own, kept in a buffer
LOUD = """print("hi"); os.write(1, b"hi\\n"); subprocess.run(["echo", "hi"]); sys.__stdout__.write("hi")"""
WRONG = "@classmethod\n    def parse(cls, environ): raise ValueError('mine')"


def run(folder, *words, check="", end="", more=""):
    """The status, the document, the last line of standard error."""
    place = folder / "noisy"
    place.mkdir()
    (place / "__init__.py").write_text("")
    (place / "manifest.toml").write_text(MANIFEST)
    (place / "plugin.py").write_text(PLUGIN.format(check=check or "pass", end=end, more=more or "pass"))
    done = subprocess.run(
        [sys.executable, "-m", "extension_kit.cli", *words],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout), (done.stderr.splitlines() or [""])[-1]


@pytest.mark.parametrize("where", ["check", "end"])
def test_what_a_project_prints_is_not_in_the_way(tmp_path, where):
    """While it is imported, while it is asked."""
    status, found, said = run(tmp_path, "check", "--json", **{where: LOUD})
    assert (status, [one for one in found if one["level"] != "note"], said) == (0, [], "hi")


def test_what_it_raises_while_it_is_asked_is_a_finding(tmp_path):
    status, found, _said = run(tmp_path, "check", "--json", check="raise SystemExit(3)")
    assert status == 1
    assert [one["finding"] for one in found if one["level"] != "note"] == ["its check has failed: SystemExit(3)"]


@pytest.mark.parametrize(
    "words",
    [
        ("check", "--json", "--plugin", "noisy.plugin:Noisy"),
        ("run", *FUNCTION, "--plugin", "noisy.plugin:Noisy", "--json", "-"),
    ],
)  # fmt: skip
def test_a_module_that_exits_is_told(tmp_path, words):
    """Not its exit status: 2, and a line that says whose fault it is."""
    status, found, said = run(tmp_path, *words, end="print('hi')\nsys.exit(3)")
    assert status == 2
    assert list(found) == ["error"]
    assert "3" in found["error"]
    assert "xit" in found["error"]
    assert said.endswith(found["error"])


def test_what_nobody_has_foreseen_is_told(tmp_path):
    """With the traceback before it, and not with the status of findings."""
    status, found, said = run(tmp_path, "check", "--json", more=WRONG)
    assert (status, found) == (2, {"error": "internal error: ValueError('mine')"})
    assert said == "extension-kit: internal error: ValueError('mine')"


def test_a_record_is_alone_as_well(tmp_path):
    words = ["run", *FUNCTION, "--plugin", "noisy.plugin:Noisy", "--json", "-"]
    status, found, _said = run(tmp_path, *words, end=LOUD)
    assert (status, found["format"]) == (0, "extension-kit-run/1")
