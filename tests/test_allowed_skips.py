"""CI's list of allowed skips: what is not on it fails a run that would have passed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPING = "import pytest\ndef test_skipped(): pytest.skip('no moon')\ndef test_passed(): pass\n"


@pytest.mark.parametrize(("listed", "status"), [("{}: no moon", 0), ("{}: another reason", 1), ("", 1)])
def test_a_skip_that_is_not_listed_fails_the_run(listed, status, tmp_path):
    """The test's name and its reason must both be on the list."""
    name = "tests/test_skipping_for_a_test.py"
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("# comment\n" + listed.format(f"{name}::test_skipped") + "\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / name).write_text(SKIPPING)
    (tmp_path / "tests" / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", name],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "KIT_TESTS_ALLOWED_SKIPS": str(allowed), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert done.returncode == status, done.stdout + done.stderr
    assert ("skipped, and not listed" in done.stdout) == bool(status)
