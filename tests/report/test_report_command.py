"""`--report` and `--trace` of `extension-kit run`, and `extension-kit report`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import pytest

from extension_kit.report import html, text, trace
from layer_build.sources import kit
from tests.conftest import ISOLATED, ROOT
from tests.report.records import one_invocation

FUNCTION = ["--function", "tests/functions/hello", "--handler", "app.handler"]


def extension_kit(*arguments, input_=None, encoding="utf-8"):
    return subprocess.run(
        [sys.executable, "-m", "extension_kit.cli", *map(str, arguments)],
        cwd=ROOT, input=input_, capture_output=True, text=True, timeout=60, check=False, encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip


def test_a_run_writes_what_its_record_gives(run):
    """The page and the trace of a run are those of its record, drawn again later."""
    assert run.report.read_text() == html(run.record)
    assert json.loads(run.trace.read_text()) == trace(run.record)


def test_a_record_is_drawn_later(tmp_path, run):
    """`extension-kit report`: a text by itself, or what is asked for; from a file or from standard input."""
    record = tmp_path / "record.json"
    record.write_text(json.dumps(one_invocation()))

    assert extension_kit("report", record).stdout == text(one_invocation(), 100)
    assert extension_kit("report", "-", "--report", "-", input_=record.read_text()).stdout == text(
        one_invocation(), 100
    )
    done = extension_kit("report", run.json, "--report", tmp_path / "page.html", "--trace", tmp_path / "trace.json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "page.html").read_text() == html(run.record)
    assert json.loads((tmp_path / "trace.json").read_text()) == trace(run.record)


def test_a_terminal_without_unicode_gets_ascii(tmp_path):
    """`--report -` where standard output is ASCII."""
    record = tmp_path / "record.json"
    record.write_text(json.dumps(one_invocation()))
    done = extension_kit("report", record, encoding="ascii")

    assert done.returncode == 0
    assert done.stdout == text(one_invocation(), 100, "ascii")
    assert done.stdout.isascii()


def test_report_to_standard_output_of_a_run():
    """Between what the extensions measured and the closing line."""
    done = extension_kit("run", *FUNCTION, "--quiet", "--report", "-")

    assert done.returncode == 0
    assert "\ntimeline " in done.stdout
    assert "where the time went" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("healthy: 1 invoke(s)")


@pytest.mark.skipif(not ISOLATED, reason="user namespaces are refused here")
def test_under_awss_emulator(tmp_path):
    """The same options; what that backend cannot tell is a note on the page."""
    done = extension_kit(
        "run", *FUNCTION, "--backend", "rie", "--quiet", "--report", tmp_path / "page.html", "--trace", tmp_path / "trace.json"
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "AWS's emulator neither freezes" in (tmp_path / "page.html").read_text().replace("\\u0027", "'")
    names = [one["name"] for one in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]]
    assert {"init", "function", "shutting down"} <= set(names)


@pytest.mark.parametrize("option", ["--report", "--trace", "--json"])
def test_what_cannot_be_written_is_said_before_the_run(tmp_path, option):
    """One line that names option and file, exit 2, and no run."""
    for place, why in ((tmp_path / "no" / "such" / "x", "No such file or directory"), (tmp_path, "Is a directory")):
        done = extension_kit("run", *FUNCTION, option, place)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"extension-kit: {option} {place}: cannot be written: {why}\n"


def test_looking_whether_a_file_can_be_written_leaves_it_as_it_was(tmp_path):
    """A run that cannot begin takes nothing away and leaves nothing behind."""
    old, new = tmp_path / "old.html", tmp_path / "new.json"
    old.write_text("yesterday's")
    done = extension_kit("run", *FUNCTION, "--report", old, "--trace", new, "--fault", "nonsense")

    assert done.returncode == 2
    assert old.read_text() == "yesterday's"
    assert not new.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["does/not/exist"], "does/not/exist: cannot be read: No such file or directory"),
        (["README.md"], "README.md: not JSON: "),
        (["pyproject.toml", "--trace", "/dev/null"], "pyproject.toml: not JSON: "),
    ],
)
def test_what_is_no_record_is_one_line_and_exit_2(arguments, said):
    """No stack trace."""
    done = extension_kit("report", *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith(f"extension-kit: {said}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.once
def test_no_layer_carries_it_and_the_wheel_does(tmp_path):
    """Its modules stay on laptops; its style, scripts and template travel with them."""
    assert not [path for path in kit() if path.startswith("extension_kit/report/")]

    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, "."],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {path.name for path in (ROOT / "extension_kit" / "report").iterdir() if path.is_file()}
    assert {"page.html", "page.css", "page.js", "timeline.js"} <= files
    assert {f"extension_kit/report/{name}" for name in files} <= names
