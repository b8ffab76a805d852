"""The standard library of a layer's interpreter: what `closure` finds, as byte-code alone, with nothing else beside it.

Only the release that will read the byte-code can make it, so this runs in the interpreter that was built (or in another of the
same version, where that one is for another machine): `make` starts it, `main` is what runs there.
"""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
import tempfile
from pathlib import Path

from extension_kit.errors import ConfigError
from layer_build.interpreter import closure
from layer_build.targets import ARCHITECTURES

_ROOT = Path(__file__).parents[2]
_LIMIT = 600  # seconds
_START = (
    "import sys; sys.path[:0] = [sys.argv[1]]; from layer_build.interpreter import library; library.main(sys.argv[2:])"
)


def make(program: Path, source: Path, target: Path, arch: str) -> dict[str, list[str]]:
    """Compile the modules of `source` (CPython's Lib) into `target`, by `program`, for an interpreter of `arch`.

    What was taken, and what `program` has linked in.
    """
    variables = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    flags = ["-s", "-S", "-B", "-P", "-X", "no_debug_ranges"]
    try:
        done = subprocess.run(
            [str(program), *flags, "-c", _START, str(_ROOT), str(source), str(target), ARCHITECTURES[arch]],
            env=variables, capture_output=True, text=True, timeout=_LIMIT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"the standard library could not be compiled: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ConfigError(f"the standard library could not be compiled by {program}: {last}")
    made: dict[str, list[str]] = json.loads(done.stdout)
    return made


def main(arguments: list[str]) -> None:
    """``SOURCE TARGET MACHINE``: see `make`; prints what it returns as JSON."""
    source, target, machine = Path(arguments[0]), Path(arguments[1]), arguments[2]
    strange = closure.unknown(source, closure.WANTED, (*sys.builtin_module_names, *_as_files(source)))
    if strange:
        sys.exit(f"not in this CPython: {', '.join(strange)}")
    taken = closure.closure(source)
    for path in taken:
        _compile(source / path, target, path)
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "data.py"
        written.write_text(configuration("%d.%d" % sys.version_info[:2], machine), encoding="utf-8")
        _compile(written, target, f"_sysconfigdata__linux_{machine}-linux-gnu.py")
    # CPython looks for this folder at every start, and complains where it is missing.
    os.makedirs(target / "lib-dynload", exist_ok=True)
    (target / "lib-dynload" / ".keep").write_bytes(b"")
    json.dump({"modules": taken, "builtin": sorted(sys.builtin_module_names)}, sys.stdout)


def configuration(python: str, machine: str) -> str:
    """The module that `sysconfig` reads: what can be asked at run time of how CPython was built, without how it was."""
    tag = f"cpython-{python.replace('.', '')}-{machine}-linux-gnu"
    values = {
        "EXT_SUFFIX": f".{tag}.so", "LDVERSION": python, "MULTIARCH": f"{machine}-linux-gnu", "Py_DEBUG": 0,
        "Py_ENABLE_SHARED": 0, "Py_GIL_DISABLED": 0, "SHLIB_SUFFIX": ".so", "SOABI": tag, "VERSION": python,
        "WITH_PYMALLOC": 1,
    }  # fmt: skip
    return f"build_time_vars = {values!r}\n"


def _compile(source: Path, target: Path, path: str) -> None:
    compiled = target / f"{path}c"
    os.makedirs(compiled.parent, exist_ok=True)
    py_compile.compile(
        str(source), str(compiled), f"<stdlib>/{path}", doraise=True, optimize=0,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )  # fmt: skip


def _as_files(source: Path) -> list[str]:
    """Modules in C that lie beside the library, in what others have built."""
    return [path.name.split(".")[0] for path in (source / "lib-dynload").glob("*.so")]
