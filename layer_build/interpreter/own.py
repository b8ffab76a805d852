"""The interpreter that the kit builds itself, finished for a layer, in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build.interpreter import compiled, cpython, fetch, library, made, pins
from layer_build.interpreter.certificates import certificates
from layer_build.interpreter.made import Interpreter, Part
from layer_build.launcher.build import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable

#: modules whose text decides what is in the folder beside the program
_RECIPE = ("closure.py", "library.py", "made.py", "own.py")
_PARTS = (
    Part("cpython", pins.PYTHON_RELEASE, "Python-2.0.1", pins.CPYTHON_SOURCE.places[0], pins.CPYTHON_SOURCE.sha256),
    Part("openssl", pins.OPENSSL, "Apache-2.0", pins.OPENSSL_SOURCE.places[0], pins.OPENSSL_SOURCE.sha256),
    Part("libffi", pins.LIBFFI, "MIT", pins.LIBFFI_SOURCE.places[0], pins.LIBFFI_SOURCE.sha256),
    Part("zlib", pins.ZLIB, "Zlib", pins.ZLIB_SOURCE.places[0], pins.ZLIB_SOURCE.sha256),
    made.CERTIFI,
)


def folder(arch: str) -> Path:
    """Where the finished interpreter for `arch` is, or will be."""
    digest = hashlib.sha256(f"{compiled.key(arch)}\n{pins.CERTIFI_SHA256}".encode())
    for name in _RECIPE:
        digest.update(b"\0" + name.encode() + b"\0" + (compiled.HERE / name).read_bytes())
    return cache_folder() / f"interpreter-{digest.hexdigest()[:16]}"


def cached(arch: str) -> Path | None:
    """The finished interpreter for `arch`, if it was made before."""
    path = folder(arch)
    return path if (path / made.FILE).is_file() else None


def get(arch: str, say: Callable[[str], object], sources: list[Path] | None = None) -> Path:
    """The finished interpreter for `arch`, built where the cache has none; ConfigError says in a line what is missing."""
    path = cached(arch)
    if path is not None:
        return path
    extra = sources or []
    built = compiled.get(arch, extra, say)
    made.check_program(compiled.program(built), arch)
    runs_here = compiled.program(compiled.get(cpython.own_arch(), extra, say))
    bundle = certificates(compiled.source_folders(extra), say)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=".interpreter-") as scratch:
        out = Path(scratch) / "out"
        say(f"{arch}: the standard library ...")
        _fill(out, arch, built, runs_here, bundle)
        return compiled.put(out, folder(arch))


def native() -> Path | None:
    """The program for this machine's own architecture, if it was made before: it compiles byte-code, too."""
    try:
        found = cached(cpython.own_arch())
    except ConfigError:  # no Linux
        return None
    return compiled.program(found) if found else None


def _fill(out: Path, arch: str, built: Path, runs_here: Path, bundle: tuple[bytes, bytes]) -> None:
    program = compiled.program(out)
    program.parent.mkdir(parents=True)
    shutil.copyfile(compiled.program(built), program)
    program.chmod(0o755)
    inside = f"lib/python{pins.PYTHON}"
    library.make(runs_here, built / inside, out / inside, arch)
    shutil.copytree(built / "licenses", out / "licenses")
    made.add_certificates(out, *bundle)
    fixes = tuple(json.loads((built / "fixes.json").read_text(encoding="utf-8")))
    about = Interpreter(pins.PYTHON, pins.PYTHON_RELEASE, arch, fetch.digest(program), "own", _PARTS, fixes)
    (out / made.FILE).write_bytes(about.to_json())
