"""Finds a Python of each version on this machine: byte-code can only be made by the version that will read it."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from layer_build.interpreter import own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROBE = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.version_info.releaselevel)"


def find(version: str, first: Path | None = None) -> tuple[str, str] | None:
    """Path and exact version of a released CPython `version` ("3.13"), `first` if that is one; None where there is none."""
    for place in chain([str(first)] if first else [], _places(version)):
        exact = _ask(place)
        if exact.startswith(f"{version}."):
            return place, exact
    return None


def found(versions: Iterable[str]) -> list[str]:
    """Those of `versions` that are here."""
    return [version for version in versions if find(version) is not None]


def _places(version: str) -> Iterator[str]:
    """``EXTENSION_KIT_BUILD_PYTHON`` (paths, as in PATH), Lambda's images, PATH, pyenv, build images' /opt/python, ours."""
    name = f"python{version}"
    yield from filter(None, os.environ.get("EXTENSION_KIT_BUILD_PYTHON", "").split(os.pathsep))
    yield f"/var/lang/bin/{name}"
    on_path = shutil.which(name)
    if on_path:
        yield on_path
    yield f"/usr/bin/{name}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from (str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/{name}")))
    yield f"/opt/python/{version}/bin/{name}"
    ours = own.native()
    if ours is not None and ours.name == name:
        yield str(ours)


def _ask(python: str) -> str:
    """The exact version; "" for what does not run: a shim of a version that is not installed, say."""
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-c", _PROBE], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    exact, _, level = done.stdout.strip().partition(" ")
    return exact if done.returncode == 0 and level == "final" else ""
