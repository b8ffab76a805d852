"""Runs the tests under every other Python that this machine has, 3.11 or newer, each in an environment of its own.

``python -m tests.interpreters [--all] [ARGUMENTS FOR PYTEST]``, or ``make test-pythons``. The interpreter that runs this is
left out: ``make test`` is its turn. The others run side by side, since tests wait more than they work. Without ``--all`` tests
that are marked ``once`` are left out too. Exit status: 0 when all passed, or when there is no other interpreter.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / ".ci" / "constraints.txt"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2], sys.base_prefix)"


def found() -> dict[str, str]:
    """Version -> path, the first that works of each: on PATH, under pyenv, under /opt/python as in build images."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    working: dict[str, str] = {}
    for version in VERSIONS:
        name = f"python{version}"
        places = [
            shutil.which(name),
            *sorted(pyenv.glob(f"{version}.*/bin/{name}")),
            f"/opt/python/{version}/bin/{name}",
        ]
        for place in places:
            if place and version not in working and _version(str(place)) == version:
                working[version] = str(place)
    return working


def _version(python: str) -> str:
    """What `python` says it is; "" for what does not run or cannot make environments (a shim, a missing venv)."""
    try:
        done = subprocess.run([python, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    return done.stdout.split(" ")[0] if done.returncode == 0 else ""


def environment(version: str, python: str) -> Path:
    """The interpreter of an environment with everything that the tests need, made anew when the pins change."""
    folder = ROOT / f".venv-{version}"
    stamp = folder / ".ready"
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    inside = folder / "bin" / "python"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"python {version}: setting up {folder.name} (only the first time)", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--only-binary", ":all:", "-r", str(CONSTRAINTS)], check=True)
        subprocess.run([*pip, "--no-build-isolation", "--no-deps", "--editable", str(ROOT)], check=True)
        stamp.write_text(wanted)
    return inside


def main(arguments: list[str]) -> int:
    own = "%d.%d" % sys.version_info[:2]
    others = {version: python for version, python in found().items() if version != own}
    if not others:
        print(f"no other Python than {own} was found: nothing more to test")
    chosen = [] if "--all" in arguments else ["-m", "not once"]
    wanted = [one for one in arguments if one != "--all"]
    with contextlib.ExitStack() as stack:
        running = {}
        for version, python in others.items():
            # What runs in an image has the image's Python, whichever this is; what is measured has the one of the budgets.
            left_out = ["--ignore", "tests/docker", "--ignore", "tests/benchmarks"]
            command = [str(environment(version, python)), "-m", "pytest", "-q", "-rs", *left_out, *chosen, *wanted]
            output = stack.enter_context(tempfile.TemporaryFile())
            print(f"python {version}: {python}", flush=True)
            running[version] = output, subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        failed = [version for version, (output, process) in running.items() if not _passed(version, output, process)]
    if failed:
        print(f"failed under Python {', '.join(failed)}")
    return 1 if failed else 0


def _passed(version: str, output: BinaryIO, process: subprocess.Popen[bytes]) -> bool:
    """Wait for the tests, with a sign of life every minute, and print what they have printed."""
    began = time.monotonic()
    while process.poll() is None:
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            print(f"python {version}: {time.monotonic() - began:.0f} s", flush=True)
    output.seek(0)
    print(f"python {version}:\n{output.read().decode('utf-8', 'replace')}", flush=True)
    return process.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
