"""The Debian that the image is made from: debootstrap's smallest, kept as a tar file in the user's cache.

The suite is pinned and signed by Debian; the versions of its packages are those of the day (point releases of bookworm).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3.11")
#: the kernel's name of a machine: Debian's
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MIRROR = "http://deb.debian.org/debian"
#: made for packages that will never be installed, or in languages that nobody asks for
_LEFT_OUT = ("./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/locale/*", "./usr/share/man/*")
_LIMIT = 1200  # seconds for the whole
_SAY_EVERY = 10.0  # seconds


def cache() -> Path:
    """Where images and what is known of them is kept."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "extension-kit" / "images"


def key(machine: str) -> str:
    """Names what would be built: the same recipe, the same key."""
    recipe = "\n".join(["1", SUITE, machine, *PACKAGES, *_LEFT_OUT])
    return hashlib.sha256(recipe.encode()).hexdigest()[:16]


def debian(machine: str, say: Callable[[str], object]) -> Path:
    """The tar file, built where the cache has none; ConfigError says what is missing for that."""
    tar = cache() / key(machine) / "debian.tar"
    if tar.is_file():
        return tar
    _require(machine)
    with _alone(tar.parent):
        if not tar.is_file():
            _build(tar, machine, say)
    return tar


def _require(machine: str) -> None:
    can = "set LAMBDA_IMAGE to an image that can be had"
    if machine not in _ARCHITECTURES:
        raise ConfigError(f"no image for {machine}: Lambda has {' and '.join(_ARCHITECTURES)}")
    if os.geteuid() != 0:
        raise ConfigError(f"building the Lambda-like image needs root, for debootstrap: run it once as root, or {can}")
    if shutil.which("debootstrap") is None:
        raise ConfigError(
            f"building the Lambda-like image needs debootstrap: install the package debootstrap, or {can}"
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Whoever wants the same meanwhile waits for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ConfigError(f"{folder}: the image's base cannot be kept: {error.strerror or error}") from error


def _build(tar: Path, machine: str, say: Callable[[str], object]) -> None:
    say(f"building a Lambda-like image from Debian {SUITE} with debootstrap (about a minute, only the first time)")
    # Beside the tar file and not in /tmp, which may be mounted without devices or programs.
    with tempfile.TemporaryDirectory(prefix="build-", dir=tar.parent) as work:
        root, part = Path(work, "root"), Path(work, "debian.tar")
        # In a mount namespace of its own, what debootstrap mounts is gone when it ends, however it ends.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase", f"--arch={_ARCHITECTURES[machine]}"]
        _run([*command, f"--include={','.join(PACKAGES)}", SUITE, str(root), _mirror()], "debootstrap", say)
        left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
        _run(
            ["tar", "--create", "--numeric-owner", f"--file={part}", f"--directory={root}", *left_out, "."], "tar", say
        )
        os.replace(part, tar)
    say(f"kept as {tar} ({tar.stat().st_size // 1_000_000} MB)")


def _run(command: list[str], name: str, say: Callable[[str], object]) -> None:
    """Run to the end, saying now and then how far it is."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                          env={**os.environ, "LC_ALL": "C"}) as process:  # fmt: skip
        timer = threading.Timer(_LIMIT, _end, [process])
        timer.start()
        try:
            last = _follow(process, name, say)
        finally:
            timer.cancel()
            _end(process)
    if process.returncode != 0:
        raise ConfigError(f"the Lambda-like image could not be built: {name}: {last or f'status {process.returncode}'}")


def _follow(process: subprocess.Popen[str], name: str, say: Callable[[str], object]) -> str:
    assert process.stdout is not None
    last, said = "", time.monotonic()
    for line in process.stdout:
        last = line.strip() or last
        if time.monotonic() - said >= _SAY_EVERY:
            said = time.monotonic()
            say(f"  {name}: {last.removeprefix('I: ')}")
    process.wait()
    return last


def _end(process: subprocess.Popen[str]) -> None:
    """It and everything it started."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass


def _mirror() -> str:
    """Where this machine's apt gets the suite from; Debian's own where it does not."""
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI)",
             "Created-By: Packages", f"Codename: {SUITE}", "Component: main", "Origin: Debian"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return _MIRROR
    return next(iter(done.stdout.split()), _MIRROR).rstrip("/")
