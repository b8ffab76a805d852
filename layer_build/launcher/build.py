"""Builds the launcher, the same bytes everywhere: C by ``zig cc`` of a pinned version, linked statically with musl.

zig comes from the package ``ziglang`` where this Python has it at that version, else from its wheel on PyPI (100 MB, checked
by SHA-256, kept in the user's cache). What comes out must be what was committed: `BINARIES` has the SHA-256.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

ZIG_VERSION = "0.17.1"
#: the C library that this zig links statically
MUSL_VERSION = "1.2.5"
#: Lambda's name of an architecture: zig's target, SHA-256 of the launcher that is built of the sources beside this file
BINARIES = {
    "x86_64": ("x86_64-linux-musl", "640cc527693645d4a4e5c82cf431cca206c99df9b1671880356489ed78f2ca8e"),
    "arm64": ("aarch64-linux-musl", "c7380d18311c35ec705fc63bcc91dabe44d8bdd67861a176447f3cfb8ca177f4"),
}
SOURCES = ("config.c", "http.c", "lambda.c", "launcher.c", "ports.c", "text.c")
HEADERS = ("config.h", "http.h", "lambda.h", "ports.h", "text.h")
FLAGS = (
    "-std=c11", "-D_GNU_SOURCE", "-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=undefined",
    "-ffunction-sections", "-fdata-sections", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
    "-Wl,--gc-sections", "-Wl,--build-id=none",
)  # fmt: skip
#: SHA-256 of the wheels of `ZIG_VERSION` on PyPI, whichever pip takes for this machine
WHEELS = {
    "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54": "Linux, x86_64",
    "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e": "Linux, aarch64",
    "4e0b4b9c02b8d0d220e9948010f860b62ff11d96abb39762eca5fa2ef3f7bc97": "macOS, x86_64",
    "09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23": "macOS, arm64",
}
HERE = Path(__file__).parent
#: musl's own, as it lies in zig's wheel: what is linked statically takes its licence along
MUSL_LICENCE = HERE / "musl-COPYRIGHT"
_FETCH_LIMIT = 900  # seconds for a download of 100 MB
_BUILD_LIMIT = 600  # seconds; the first one builds musl as well, which takes 40


def binary(arch: str, say: Callable[[str], object] = lambda _text: None) -> bytes:
    """The launcher for `arch` (Lambda's name), built where the cache has none; ConfigError says why it cannot be had.

    ``say`` is told, in a line, what takes long.
    """
    if arch not in BINARIES:
        raise ConfigError(f"architecture {arch!r}: the launcher is built for {' and '.join(BINARIES)}")
    wanted = BINARIES[arch][1]
    cached = cache_folder() / "launcher" / _fingerprint() / f"launcher-{arch}"
    try:
        if cached.is_file() and _digest(cached) == wanted:
            return cached.read_bytes()
        content = compile_sources(HERE, arch, zig(say), cache_folder() / "zig-cache", say)
    except PermissionError as error:
        raise ConfigError(
            f"the cache {cache_folder()} cannot be used: {error.filename}: {error.strerror}; XDG_CACHE_HOME names another place"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        raise ConfigError(
            f"the launcher for {arch} has SHA-256 {found}, expected {wanted}: after a change of its sources the new hash "
            "belongs into layer_build/launcher/build.py"
        )
    _put(content, cached)
    return content


def cache_folder() -> Path:
    """Where zig, what it has compiled and the launchers are kept."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root) / "extension-kit"


def compile_sources(
    folder: Path, arch: str, compiler: Path, zig_cache: Path, say: Callable[[str], object] = lambda _text: None
) -> bytes:
    """The launcher made of the sources in `folder`; ConfigError with the compiler's first complaint."""
    say(f"building the launcher for {arch} (the first time for an architecture takes a minute)")
    with tempfile.TemporaryDirectory(prefix="extension-kit-launcher-") as place:
        out = Path(place) / "launcher"
        command = [str(compiler), "cc", "-target", BINARIES[arch][0], *FLAGS, "-o", str(out), *SOURCES]
        variables = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(zig_cache), "ZIG_LOCAL_CACHE_DIR": str(zig_cache)}
        try:
            done = subprocess.run(
                command, cwd=folder, env=variables, capture_output=True, text=True, timeout=_BUILD_LIMIT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"the launcher for {arch} could not be built: {error}") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["zig said nothing"]
            first = next((line for line in lines if "error:" in line), lines[-1])
            raise ConfigError(f"the launcher for {arch} could not be built: {first}")
        return out.read_bytes()


def zig(say: Callable[[str], object] = lambda _text: None) -> Path:
    """zig's executable, at `ZIG_VERSION`; fetched where neither this Python nor the cache has it."""
    spec = importlib.util.find_spec("ziglang")
    if spec is not None and spec.submodule_search_locations and _installed_version() == ZIG_VERSION:
        return Path(spec.submodule_search_locations[0]) / "zig"
    folder = cache_folder() / f"zig-{ZIG_VERSION}"
    program = folder / "ziglang" / "zig"
    if not program.is_file():
        say(f"fetching the C compiler: ziglang {ZIG_VERSION} (100 MB, only the first time)")
        _fetch(folder)
    return program


def _installed_version() -> str:
    try:
        return importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _fetch(folder: Path) -> None:
    """Download the wheel, check it, unpack it to `folder`: whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".zig-") as place:
        wheel = _download(Path(place))
        found = _digest(wheel)
        if found not in WHEELS:
            raise ConfigError(f"{wheel.name} has SHA-256 {found}, which is none that was pinned: it is not used")
        unpacked = Path(place) / "unpacked"
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked)
            (unpacked / "ziglang" / "zig").chmod(0o755)
            unpacked.rename(folder)
        except (OSError, zipfile.BadZipFile) as error:
            if not (folder / "ziglang" / "zig").is_file():  # else another run was faster
                raise ConfigError(f"{wheel.name} could not be unpacked: {error}") from error


def _download(folder: Path) -> Path:
    wanted = f"ziglang=={ZIG_VERSION}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), wanted]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{wanted} could not be fetched: {error}") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise ConfigError(f"{wanted} could not be fetched: {last}")
    return wheels[0]


def _fingerprint() -> str:
    """Changes with whatever the launcher is made of."""
    digest = hashlib.sha256(" ".join((ZIG_VERSION, *FLAGS)).encode())
    for name in (*SOURCES, *HEADERS):
        digest.update(f"\0{name}\0".encode() + (HERE / name).read_bytes())
    return digest.hexdigest()[:16]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _put(content: bytes, path: Path) -> None:
    """Whole or not at all, also when two builds write it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    shutil.move(part, path)
