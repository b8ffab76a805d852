"""The README's examples, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_example_extension_runs_beside_the_sample_function(tmp_path):
    """Fifteen lines are an extension: it sees the invoke and says goodbye at the end."""
    example = re.search(r'```python title="my_extension.py"\n(.*?)```', (ROOT / "README.md").read_text(), re.DOTALL)
    assert example is not None
    path = tmp_path / "my_extension.py"
    path.write_text(example.group(1))
    path.chmod(0o755)
    command = ["run", "--function", "tests/functions/hello", "--handler", "app.handler", "--extension", str(path)]

    done = subprocess.run(
        [sys.executable, "-m", "extension_kit.cli", *command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "[greeter] request " in done.stdout
    assert "[greeter] goodbye: spindown, " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("healthy: 1 invoke(s), 0 with an error, 1 extension(s)")
