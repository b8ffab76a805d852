"""The four extensions as layers, built when their sources have changed and kept in ``build/demo`` otherwise."""

from __future__ import annotations

import hashlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import interpreters
from layer_build.targets import ARCHITECTURES, PYTHONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "demo" / "layers"
EXTENSIONS = ("secret-cache", "log-shipper", "metrics-collector", "chaos-injector")
#: the layer that holds all of them, in one process
JOINT = "extension-kit"
#: how lines of the builder begin that tell of something slow, which happens once on a machine
_TAKES_LONG = ("fetching ", "building ")
_IN_USE_S = 3600.0  # no demo takes as long


def architecture() -> str:
    """Lambda's name of this machine's; ConfigError where Lambda has none."""
    names = {kernel: name for name, kernel in ARCHITECTURES.items()}
    try:
        return names[platform.machine()]
    except KeyError:
        raise ConfigError(
            f"{platform.machine()}: Lambda has functions for {' and '.join(ARCHITECTURES)} only"
        ) from None


def own_python() -> str:
    """The version that runs functions on the emulator and under AWS's: this one."""
    version = "%d.%d" % sys.version_info[:2]
    if version not in PYTHONS:
        raise ConfigError(f"layers are built for Python {', '.join(PYTHONS)}, and this is {version}")
    return version


def built_all(python: str, say: Callable[[str], object]) -> dict[str, Path]:
    """The zips of all extensions and of `JOINT` for this machine and Python `python` ("3.11"), by name.

    ``say`` is told what takes long. ConfigError where one cannot be built.
    """
    running: list[subprocess.Popen[str]] = []
    first, *others = (*EXTENSIONS, JOINT)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        made = {first: _built(first, python, say, running)}  # alone: it may have to fetch the compiler for all
        zips = pool.map(lambda name: _built(name, python, say, running), others)
        return made | dict(zip(others, zips, strict=True))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for one in running:
            if one.poll() is None:  # Ctrl-C, or another one has failed
                one.send_signal(signal.SIGINT)
        pool.shutdown()


def _built(name: str, python: str, say: Callable[[str], object], running: list[subprocess.Popen[str]]) -> Path:
    """``running``: where the builder's process is added to."""
    arch = architecture()
    place = CACHE / f"{name}-{arch}-python{python}-{_fingerprint(name, python)}.zip"
    if place.is_file():
        os.utime(place)  # it is in use: see `_forget_old`
        return place
    say(f"building {name} for Python {python} (only when its sources have changed)")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as folder:
        options = ["--arch", arch, "--python", python, "--out", folder]
        options += [] if interpreters.find(python) else ["--no-bytecode"]
        what = ["--plugins", ",".join(EXTENSIONS)] if name == JOINT else [name]
        command = [sys.executable, "-m", "layer_build", "build", *what, *options]
        with subprocess.Popen(
            command, cwd=ROOT, env=_environ(python), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as building:
            running.append(building)
            last = _followed(building, say)
        if building.returncode:
            raise ConfigError(f"the layer {name} cannot be built (a package index is needed once): {last}")
        (made,) = Path(folder).glob("*.zip")
        os.replace(made, place)  # whole or not at all, also when two runs build it at once
    _forget_old(place, f"{name}-{arch}-python{python}-*.zip")
    return place


def _forget_old(place: Path, pattern: str) -> None:
    """What sources of before have made, now that there is `place`; not what a demo that runs now may have attached."""
    for old in place.parent.glob(pattern):
        try:
            if old != place and time.time() - old.stat().st_mtime > _IN_USE_S:
                old.unlink()
        except OSError:
            continue  # another one was faster


def _followed(building: subprocess.Popen[str], say: Callable[[str], object]) -> str:
    """The last line that it has to say, which is the reason where it fails."""
    last = "it said nothing"
    assert building.stderr is not None
    for line in building.stderr:
        last = line.strip() or last
        if line.startswith(_TAKES_LONG):
            say(line.strip())
    return last


def _environ(python: str) -> dict[str, str]:
    """This Python compiles where it is the one that runs the function, wherever it is installed."""
    mine = {"EXTENSION_KIT_BUILD_PYTHON": sys.executable} if python == "%d.%d" % sys.version_info[:2] else {}
    return {**os.environ, **mine}


def _fingerprint(name: str, python: str) -> str:
    """Of everything that a layer is made of, but for packages, which its lock pins."""
    found = interpreters.find(python)
    digest = hashlib.sha256((found[1] if found else "no byte-code").encode())
    for path in _sources(name):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(name: str) -> Iterator[Path]:
    parts = EXTENSIONS if name == JOINT else (name,)
    for folder in ("extension_kit", "layer_build", *(f"extensions/{part.replace('-', '_')}" for part in parts)):
        yield from (
            path
            for path in sorted((ROOT / folder).rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md"
        )
