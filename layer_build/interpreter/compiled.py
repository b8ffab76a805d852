"""From pinned sources to the program, with the cache that makes the second time quick."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build.interpreter import cpython, fetch, libraries, patches, pins, steps, unpack
from layer_build.launcher.build import cache_folder, zig

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
#: modules whose text is part of the recipe
_RECIPE = ("compiled.py", "cpython.py", "hide.py", "libraries.py", "patches.py", "steps.py")
_UNPACKED = {
    "cpython": pins.CPYTHON_SOURCE, "cpython-debian": pins.CPYTHON_PATCHES, "openssl": pins.OPENSSL_SOURCE,
    "openssl-debian": pins.OPENSSL_PATCHES, "libffi": pins.LIBFFI_SOURCE, "zlib": pins.ZLIB_SOURCE,
}  # fmt: skip
#: in the sources, by folder: licence texts
_LICENCES = {"cpython": "LICENSE", "openssl": "LICENSE.txt", "libffi": "LICENSE", "zlib": "LICENSE"}
_NOT_KEPT = ("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "__pycache__")


def key(arch: str) -> str:
    """Changes with whatever the program for `arch` is made of."""
    found = hashlib.sha256(f"{arch}\n{pins.recipe()}".encode())
    for name in _RECIPE:
        found.update(b"\0" + name.encode() + b"\0" + (HERE / name).read_bytes())
    return found.hexdigest()[:16]


def cached(arch: str) -> Path | None:
    """The folder for `arch`, if it was built before."""
    path = _place(arch)
    return path if path.is_dir() else None


def program(folder: Path) -> Path:
    """The interpreter in such a folder."""
    return folder / "bin" / f"python{pins.PYTHON}"


def get(arch: str, extra: list[Path], say: Callable[[str], object], work: Path | None = None) -> Path:
    """The folder for `arch`, built where the cache has none; ConfigError says what is missing.

    In it: the stripped program in bin/, all of the patched standard library in lib/ (so that it runs), licences, the names of
    the fixes. `extra`: folders that may have the sources. `work`: where to build; a temporary folder where nothing is given.
    """
    path = _place(arch)
    if path.is_dir():
        return path
    own = cpython.own_arch()
    missing = steps.missing_programs()
    if missing:
        raise ConfigError(
            f"to build the interpreter this machine lacks {', '.join(missing)}: install them, or use --from"
        )
    folders = source_folders(extra)
    for source in pins.SOURCES:
        fetch.fetch(source, folders, say)
    compiler = zig(say)
    helper = program(get(own, extra, say)) if arch != own else None
    if work is not None:
        _build(arch, work, folders, compiler, helper, say)
        return path
    with tempfile.TemporaryDirectory(prefix="extension-kit-interpreter-", ignore_cleanup_errors=True) as folder:
        _build(arch, Path(folder), folders, compiler, helper, say)
    return path


def source_folders(extra: list[Path]) -> list[Path]:
    """Where sources are looked for; what is fetched goes into the first."""
    return [cache_folder() / "sources", *extra]


def unpack_all(folder: Path, folders: list[Path], say: Callable[[str], object]) -> None:
    """All sources, unpacked, each in a folder of its own in `folder`."""
    for name, source in _UNPACKED.items():
        unpack.unpack(fetch.fetch(source, folders, say), folder / name)


def _place(arch: str) -> Path:
    return cache_folder() / f"interpreter-compiled-{key(arch)}"


def _build(
    arch: str, work: Path, folders: list[Path], compiler: Path, helper: Path | None, say: Callable[[str], object]
) -> None:
    place = _place(arch)
    say(f"{arch}: building CPython {pins.PYTHON_RELEASE} (some minutes, only the first time)")
    run = steps.Steps(work, arch, compiler, cache_folder() / "zig-cache", say)
    unpack_all(work, folders, say)
    fixes = patches.apply(work / "openssl", work / "openssl-debian", patches.of_openssl, run)
    fixes += patches.apply(work / "cpython", work / "cpython-debian", patches.of_cpython, run)
    say(f"{arch}: {len(fixes)} security fixes applied")
    libraries.build(work, work / "libraries", run)
    built = cpython.build(work / "libraries", run, helper)
    keep(built, work, fixes, place)


def keep(built: Path, work: Path, fixes: list[str], place: Path) -> None:
    """Put together the folder `place` of the program `built` and of the sources in `work`: whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".interpreter-") as scratch:
        out = Path(scratch) / "out"
        program(out).parent.mkdir(parents=True)
        shutil.copyfile(built, program(out))
        program(out).chmod(0o755)
        library = out / "lib" / f"python{pins.PYTHON}"
        shutil.copytree(work / "cpython" / "Lib", library, ignore=shutil.ignore_patterns(*_NOT_KEPT))
        (library / "lib-dynload").mkdir(exist_ok=True)  # else each start complains
        for name, file in _LICENCES.items():
            (out / "licenses" / name).mkdir(parents=True)
            shutil.copyfile(work / name / file, out / "licenses" / name / "LICENSE")
        (out / "fixes.json").write_text(json.dumps(fixes), encoding="utf-8")
        put(out, place)


def put(made: Path, place: Path) -> Path:
    """Move the folder `made` to `place`, unless another run was faster; `place`."""
    try:
        made.rename(place)
    except OSError as error:
        if not place.is_dir():
            raise ConfigError(f"{place}: cannot be written: {error.strerror}") from error
    return place
