"""The README's examples, run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from extension_kit.settings import KitSettings

ROOT = Path(__file__).parents[1]


def example(title: str) -> str:
    """The code of the README's example with this title."""
    found = re.search(rf'```python title="{re.escape(title)}"\n(.*?)```', (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found.group(1)


def run_example(name, folder, *options):
    """The output of ``extension-kit run`` with one of the README's examples."""
    path = folder / name
    path.write_text(example(name))
    path.chmod(0o755)
    command = ["run", "--function", "tests/functions/hello", "--handler", "app.handler", "--extension", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "extension_kit.cli", *command, *options],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_extension_runs_beside_the_sample_function(tmp_path):
    """Fifteen lines are an extension: it sees the invoke and says goodbye at the end."""
    output = run_example("my_extension.py", tmp_path)

    assert "[greeter] request " in output
    assert "[greeter] goodbye: spindown, " in output
    assert output.splitlines()[-1].startswith("healthy: 1 invoke(s), 0 with an error, 1 extension(s)")


def test_the_example_shipper_is_handed_every_line(tmp_path):
    """Within the invocation, with the request that it belongs to; and accounts for it."""
    output = run_example("my_shipper.py", tmp_path, "--invokes", "2")

    flushes = re.findall(r"\[shipper\] end of the invocation: 1 lines: \['(\w{8}) hello from \1", output)
    assert len(flushes) == 2
    assert re.search(r"plug-in shipper: (\d+) records = \1 delivered \+ 0 dropped \+ 0 pending", output)


def test_the_example_of_a_picture_has_the_rows_that_are_shown():
    """The same figures in the same columns; what they were is another run's."""
    readme = (ROOT / "README.md").read_text()
    found = re.search(r'```sh title="a picture"\n\S+ (.*?)```\n\n```\n(.*?)```', readme, re.DOTALL)
    assert found is not None
    command, shown = shlex.split(found.group(1).replace("\\\n", "")), found.group(2).splitlines()
    done = subprocess.run(
        [sys.executable, "-m", "extension_kit.cli", *command],
        cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "utf-8"}, capture_output=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    lines = done.stdout.splitlines()
    drawn = lines[lines.index(shown[0]) :]
    assert {line.split()[0] for line in shown[1:]} <= {line.split()[0] for line in drawn}


@pytest.fixture
def folder():
    """Not below /tmp: an environment has its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        yield Path(made)


def test_the_example_experiment_slows_down_what_it_says(folder):
    """Armed, run, disarmed, as it stands but for where its files are: those are slow of which the log says so."""
    readme = (ROOT / "README.md").read_text()
    (document,) = re.findall(r'```toml title="slow.toml"\n(.*?)```', readme, re.DOTALL)
    (script,) = re.findall(r'```sh title="an experiment"\n(.*?)```', readme, re.DOTALL)
    (folder / "slow.toml").write_text(document)
    for written, name in (("$PWD/armed.json", "armed.json"), ("slow.toml", "slow.toml")):
        assert written in script
        script = script.replace(written, str(folder / name))
    script = script.replace(".venv/bin/python", sys.executable)
    script = script.replace(".venv/bin/extension-kit", f"{sys.executable} -m extension_kit.cli")
    done = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    slow = [float(took) > 300 for took in re.findall(r"response after ([\d.]+) ms", done.stdout)]
    assert len(slow) == 6
    assert slow.count(True) == done.stdout.count('"action":"inject"')
    assert len(re.findall(r'"roll":', done.stdout)) == 6
    assert not (folder / "armed.json").exists()


def test_the_settings_of_the_kit_are_documented():
    """The table is made from the declarations."""
    assert KitSettings.markdown() in (ROOT / "extension_kit" / "README.md").read_text()


def test_the_example_test_passes(tmp_path):
    """About twenty lines test a plug-in. Named here, the fixture is had where the kit is not installed, too."""
    (tmp_path / "test_counter.py").write_text(example("test_counter.py"))

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "extension_kit.pytest_plugin", "--rootdir", str(tmp_path)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_example_layer_is_built_inspected_and_run(tmp_path):
    """A manifest and a class are a layer; it runs beside the sample function as it would on Lambda."""
    for name, language in (("manifest.toml", "toml"), ("plugin.py", "python")):
        found = re.search(
            rf'```{language} title="greeter/{name}"\n(.*?)```', (ROOT / "README.md").read_text(), re.DOTALL
        )
        assert found is not None
        (tmp_path / "greeter").mkdir(exist_ok=True)
        (tmp_path / "greeter" / name).write_text(found.group(1))
    python = "%d.%d" % sys.version_info[:2]

    def command(*words):
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    command("layer_build", "build", "greeter", "--out", "dist", "--arch", "x86_64", "--python", python)
    layer = f"dist/greeter-1.0.0-x86_64-python{python}.zip"
    assert "It may talk to: nobody." in command("layer_build", "inspect", layer)
    output = command("extension_kit.cli", "run", "--function", str(ROOT / "tests" / "functions" / "hello"),
                     "--handler", "app.handler", "--layer", layer)  # fmt: skip
    assert "[greeter] hello, " in output
    assert output.splitlines()[-1].startswith("healthy: 1 invoke(s), 0 with an error, 1 extension(s)")
