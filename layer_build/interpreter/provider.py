"""An interpreter that others built: python-build-standalone's archives, or any of their layout, by URL and SHA-256.

Layouts (python-build-standalone's docs, "Distributions"): ``install_only``: ``python/{bin,lib}``; ``full``:
``python/install/{bin,lib}``. Modules in C may be linked in or lie in lib/pythonX.Y/lib-dynload; libpython is taken along where
the program needs it. The archive must be for glibc and gzip-, bzip2- or xz-compressed (Python 3.14 reads zstd as well).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from extension_kit.errors import ConfigError
from layer_build import elf, interpreters
from layer_build.interpreter import closure, compiled, cpython, fetch, library, made, own, pins, unpack
from layer_build.interpreter.certificates import certificates
from layer_build.interpreter.made import Interpreter, Part
from layer_build.interpreter.pins import Source
from layer_build.launcher.build import cache_folder
from layer_build.targets import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Callable

_SHA256 = re.compile("[0-9a-f]{64}")
_PROGRAM = re.compile(r"bin/python(3\.\d+)")
_RELEASE = re.compile(rb'#define PY_VERSION\s+"([^"]+)"')
_NOT_NEEDED = re.compile(
    r"(.*/)?(test|tests|idlelib|tkinter|turtledemo|ensurepip|site-packages|__pycache__|share|build)/"
)


def get(url: str, sha256: str, arch: str, say: Callable[[str], object], sources: list[Path] | None = None) -> Path:
    """The finished folder of the archive at `url`; ConfigError where it is not what was promised, or cannot be used."""
    if not _SHA256.fullmatch(sha256):
        raise ConfigError(f"--sha256 {sha256}: 64 digits of 0-9a-f wanted; without it nobody knows what is fetched")
    if urlsplit(url).scheme not in ("https", "http", "file"):
        raise ConfigError(f"--from {url}: an address with https:// or file:// is wanted")
    place = cache_folder() / f"interpreter-{arch}-{sha256[:16]}-{own.folder(arch).name[-8:]}"
    if (place / made.FILE).is_file():
        return place
    folders = compiled.source_folders(sources or [])
    archive = fetch.fetch(Source(f"{sha256[:16]}-{Path(urlsplit(url).path).name}", sha256, (url,)), folders, say)
    bundle = certificates(folders, say)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".interpreter-") as scratch:
        unpack.unpack(archive, Path(scratch) / "all", wanted=_is_needed)
        root = find_root(Path(scratch) / "all")
        say(f"{arch}: the standard library ...")
        out = Path(scratch) / "out"
        about = _fill(root, out, arch, Part("python-build", "", "", url, sha256))
        made.add_certificates(out, *bundle)
        (out / made.FILE).write_bytes(about.to_json())
        return compiled.put(out, place)


def find_root(folder: Path) -> Path:
    """The prefix in an unpacked archive; ConfigError where it has none of the known layouts."""
    for root in (folder / "install", folder):
        if versions(root):
            return root
    raise ConfigError("the archive has no python/bin/python3.X and no python/install/bin/python3.X")


def versions(root: Path) -> list[str]:
    """Python versions whose program is in `root`."""
    names = (path.relative_to(root).as_posix() for path in root.glob("bin/python3.*"))
    return sorted(match[1] for name in names if (match := _PROGRAM.fullmatch(name)))


def _is_needed(path: str) -> bool:
    return not _NOT_NEEDED.match(path)


def _fill(root: Path, out: Path, arch: str, archive: Part) -> Interpreter:
    found = versions(root)
    if len(found) != 1 or found[0] not in PYTHONS:
        raise ConfigError(f"the archive has Python {' and '.join(found)}; layers can carry one of {', '.join(PYTHONS)}")
    python = found[0]
    program = root / "bin" / f"python{python}"
    release = _release(root, python)
    inside = f"lib/python{python}"
    wanted = [(program, f"bin/python{python}"), *_libraries(root, program), *_modules(root, inside)]
    for path, target in wanted:
        made.check_program(path, arch)
        (out / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, out / target)
        (out / target).chmod(0o755 if target.startswith("bin/") else 0o644)
    library.make(_runner(program, arch, python), root / inside, out / inside, arch)
    for licence in sorted((*root.glob("lib/python3.*/LICENSE.txt"), *root.parent.glob("licenses/*"))):
        (out / "licenses" / "python-build").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(licence, out / "licenses" / "python-build" / licence.name)
    part = Part(archive.name, release, archive.licence, archive.url, archive.sha256)
    return Interpreter(python, release, arch, fetch.digest(program), archive.url, (part, made.CERTIFI))


def _release(root: Path, python: str) -> str:
    header = root / "include" / f"python{python}" / "patchlevel.h"
    match = _RELEASE.search(header.read_bytes()) if header.is_file() else None
    return match[1].decode() if match else python


def _libraries(root: Path, program: Path) -> list[tuple[Path, str]]:
    """libpython, where the program asks for it."""
    one = elf.read(program.read_bytes())
    needed = one.needed if isinstance(one, elf.Elf) else ()
    return [(root / "lib" / name, f"lib/{name}") for name in map(_base, needed) if (root / "lib" / name).is_file()]


def _base(library: str) -> str:
    return library.rpartition("/")[2]


def _modules(root: Path, inside: str) -> list[tuple[Path, str]]:
    folder = root / inside / "lib-dynload"
    out = {*closure.NEVER, *pins.NOT_BUILT}
    found = (path for path in sorted(folder.glob("*.so")) if path.name.split(".")[0] not in out)
    return [(path, f"{inside}/lib-dynload/{path.name}") for path in found if not path.name.startswith(("_test", "xx"))]


def _runner(program: Path, arch: str, python: str) -> Path:
    """What compiles its library: itself on its own architecture, else another interpreter of that version."""
    if arch == cpython.own_arch():
        return program
    there = interpreters.find(python)
    if there is None:
        raise ConfigError(
            f"Python {python} is not on this machine, and only it can make the byte-code for {arch}: install it, or name it in "
            "EXTENSION_KIT_BUILD_PYTHON"
        )
    return Path(there[0])
