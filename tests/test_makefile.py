"""`make kit` and `make setup`: who has an environment keeps it, with all that was installed into it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.once, pytest.mark.timeout(120)]


#: a Python whose `-m venv` takes no ten seconds: pip, which is not the question here, is an empty file
QUICK = """#!/bin/sh
if [ "$1" != -m ]; then {asked}; fi
{python} -m venv --without-pip .venv
touch "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pip.py"
"""


@pytest.fixture
def make(tmp_path):
    """Targets of the Makefile in a folder of its own; nothing is installed."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".ci").mkdir()
    for name in ("pyproject.toml", ".ci/constraints.txt"):
        (tmp_path / name).write_text("")
    for name, asked in (("quick", f'exec {sys.executable} "$@"'), ("other", "echo '(3, 99)'; exit")):
        (tmp_path / name).write_text(QUICK.format(python=sys.executable, asked=asked))
        (tmp_path / name).chmod(0o755)

    def run(target, python=""):
        words = [f"PYTHON={tmp_path / python}"] if python else []
        command = ["make", "--no-print-directory", "-C", str(tmp_path), target, "PIP=true", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (
            subprocess.run([tmp_path / ".venv/bin/python", "-c", "import pip"], timeout=30, check=False).returncode == 0
        )
        return done.stdout

    return run


def test_what_was_installed_stays(make, tmp_path):
    """From the small set-up to the large one, and after a change of what is needed; only one that is broken is made anew."""
    make("kit", "quick")
    own = tmp_path / ".venv" / "somebodys-own"
    own.touch()
    assert "setting up" in make("setup", "quick")
    assert (own.exists(), (tmp_path / ".venv/.ready").exists()) == (True, True)
    assert "setting up" not in make("kit", "quick")
    (tmp_path / ".venv/.ready").unlink()
    make("setup")  # by whatever Python it finds itself: the one that is there is good enough
    assert own.exists()

    (tmp_path / ".venv/.ready").unlink()
    make("setup", "other")  # another version was asked for
    assert not own.exists()

    own.touch()
    (tmp_path / ".venv/.ready").unlink()
    for python in (tmp_path / ".venv/bin").glob("python*"):
        python.unlink()
    make("setup", "quick")
    assert not own.exists()
