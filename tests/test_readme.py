"""The README's examples, run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def example(title: str) -> str:
    """The code of the README's example with this title."""
    found = re.search(rf'```python title="{re.escape(title)}"\n(.*?)```', (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_example_extension_runs_beside_the_sample_function(tmp_path):
    """Fifteen lines are an extension: it sees the invoke and says goodbye at the end."""
    path = tmp_path / "my_extension.py"
    path.write_text(example("my_extension.py"))
    path.chmod(0o755)
    command = ["run", "--function", "tests/functions/hello", "--handler", "app.handler", "--extension", str(path)]

    done = subprocess.run(
        [sys.executable, "-m", "extension_kit.cli", *command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "[greeter] request " in done.stdout
    assert "[greeter] goodbye: spindown, " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("healthy: 1 invoke(s), 0 with an error, 1 extension(s)")


def test_the_example_test_passes(tmp_path):
    """About twenty lines test a plug-in. Named here, the fixture is had where the kit is not installed, too."""
    (tmp_path / "test_counter.py").write_text(example("test_counter.py"))

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "extension_kit.pytest_plugin", "--rootdir", str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
