"""Mozilla's certificates, from the package certifi: what an image without any is helped with."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build.interpreter import pins
from layer_build.interpreter.fetch import digest

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMIT = 300  # seconds for a download of 150 KB
NAME = f"certifi-{pins.CERTIFI}-py3-none-any.whl"


def certificates(folders: list[Path], say: Callable[[str], object]) -> tuple[bytes, bytes]:
    """The bundle and its licence, of the pinned wheel: from one of `folders`, else by pip, then kept in the first."""
    wheel = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)
    if wheel is None or digest(wheel) != pins.CERTIFI_SHA256:
        say(f"fetching certifi {pins.CERTIFI}")
        wheel = _download(folders[0])
    licence = f"certifi-{pins.CERTIFI}.dist-info/licenses/LICENSE"
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("certifi/cacert.pem"), archive.read(licence)


def _download(folder: Path) -> Path:
    wanted = f"certifi=={pins.CERTIFI}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", place, wanted]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{wanted} could not be fetched: {error}") from error
        found = Path(place) / NAME
        if done.returncode != 0 or not found.is_file():
            last = (done.stderr.strip().splitlines() or ["pip brought no such wheel"])[-1]
            raise ConfigError(
                f"{wanted} could not be fetched: {last}. A folder that has {NAME} can be named with --sources"
            )
        if digest(found) != pins.CERTIFI_SHA256:
            raise ConfigError(f"{NAME} has SHA-256 {digest(found)}, expected {pins.CERTIFI_SHA256}: it is not used")
        shutil.move(found, folder / NAME)
    return folder / NAME
