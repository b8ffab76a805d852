"""Layers that are in order: ours by hand, somebody's in bash and in C, packages for functions, wheels from PyPI."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from layer_build.checks.subject import MODULE_TAG
from tests.layer_build.verify.cases import verify
from tests.layer_build.verify.layers import GOOD, PYTHON, File, of_bash, write

FOREIGN = Path(__file__).parents[2] / "emulator" / "foreign"


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_good_layers_pass(capsys, tmp_path, kind):
    """Nothing is wrong; a layer without an extension is told so."""
    status, report = verify(capsys, write(tmp_path / "layer.zip", GOOD[kind]()))

    assert (status, report["errors"]) == (0, 0)
    assert [one["code"] for one in report["findings"]] == (["no-extension"] if kind == "libraries" else [])


def test_a_folder_is_looked_at_as_its_zip_is(capsys, tmp_path):
    """What becomes /opt, unpacked: files with their modes."""
    folder = tmp_path / "layer"
    for path, file in of_bash().items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.data)
        place.chmod(file.mode)
    assert verify(capsys, folder)[0] == 0

    (folder / "extensions" / "hello.sh").chmod(0o644)
    status, report = verify(capsys, folder)

    assert status == 1
    assert [one["code"] for one in report["findings"]] == ["not-executable"]


@pytest.mark.parametrize("name", ["curl.sh", "client.py", "node.js"])
def test_extensions_of_other_languages(capsys, tmp_path, name):
    """The scripts that run in the emulator's tests: fine but for the runtime's lack of node."""
    script = (FOREIGN / name).read_bytes()
    status, report = verify(capsys, write(tmp_path / "l.zip", {f"extensions/{name}": File(script, 0o755)}))

    assert [one["code"] for one in report["findings"]] == (["env-command-missing"] if name == "node.js" else [])
    assert status == (1 if name == "node.js" else 0)


def test_a_static_program(capsys, tmp_path):
    """C, linked statically: whatever machine it was made on, it wants nothing of the runtime."""
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed")
    program = tmp_path / "compiled"
    command = ["cc", "-O1", "-static", "-o", str(program), str(FOREIGN / "extension.c")]
    subprocess.run(command, check=True, timeout=60)

    layer = write(tmp_path / "l.zip", {"extensions/compiled": File(program.read_bytes(), 0o755)})
    status, report = verify(capsys, layer)

    assert (status, report["findings"]) == (0, [])
    assert len(report["architectures"]) == 1


def test_a_program_linked_as_this_machine_does_it(capsys, tmp_path):
    """Whatever its glibc: the finding and the exit status agree with what the program asks for."""
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed")
    source = tmp_path / "new.c"
    source.write_text("#include <pthread.h>\nint main(void) { return pthread_create(0, 0, 0, 0); }\n")
    subprocess.run(["cc", "-pthread", "-o", str(tmp_path / "new"), str(source)], check=True, timeout=60)
    shown = (tmp_path / "new").read_bytes()
    layer = write(tmp_path / "l.zip", {"extensions/new": File(shown, 0o755)})

    status, report = verify(capsys, layer, "--python", "3.11")

    too_new = b"GLIBC_2.34" in shown  # which has pthread_create, and Amazon Linux 2 has not
    assert status == (1 if too_new else 0)
    assert [one["code"] for one in report["findings"]] == (["glibc-too-new"] if too_new else [])


def wheels() -> list[str]:
    """Installed packages whose compiled modules no Python source can stand in for."""
    found = []
    for name in ("rpds-py", "pydantic_core", "regex", "orjson"):
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if any(MODULE_TAG.search(str(file)) for file in files):
            found.append(name)
    return found


@pytest.mark.parametrize("name", wheels())
def test_a_real_wheel_passes_for_its_own_python_only(capsys, tmp_path, name):
    """A manylinux wheel from PyPI, put into python/ as pip puts it: right for the Python that it was fetched for."""
    layer = tmp_path / "layer.zip"
    with zipfile.ZipFile(layer, "w") as archive:
        for file in importlib.metadata.files(name) or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(file.locate(), f"python/{file}")
    other = "3.13" if PYTHON != "3.13" else "3.12"

    status, report = verify(capsys, layer)
    assert (status, report["pythons"]) == (0, [PYTHON])
    assert verify(capsys, layer, "--python", PYTHON)[0] == 0
    status, report = verify(capsys, layer, "--python", other)
    assert status == 1
    (found,) = [one for one in report["findings"] if one["level"] == "error"]
    assert found["code"] == "module-other-python"
    assert PYTHON in found["what"]
    assert "No module named" in found["why"]
    foreign = "arm64" if report["architectures"] == ["x86_64"] else "x86_64"
    status, report = verify(capsys, layer, "--arch", foreign)
    assert status == 1
    assert "module-other-system" in [one["code"] for one in report["findings"]]
