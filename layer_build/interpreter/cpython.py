"""CPython itself: configured and compiled with the standard library's modules linked in."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build.interpreter import pins
from layer_build.interpreter.steps import jobs
from layer_build.targets import ARCHITECTURES

if TYPE_CHECKING:
    from pathlib import Path

    from layer_build.interpreter.steps import Steps

_BUILTIN = re.compile(r'^\s*\{"(\w+)", PyInit_\w+\}', re.MULTILINE)


def own_arch() -> str:
    """Lambda's name of this machine's architecture; ConfigError where there is none, or it is no Linux."""
    machine = {"AMD64": "x86_64"}.get(platform.machine(), platform.machine())
    found = next((arch for arch, name in ARCHITECTURES.items() if name == machine), None)
    if platform.system() != "Linux" or found is None:
        raise ConfigError(
            f"the interpreter is built on Linux on {' or '.join(ARCHITECTURES.values())}, not on {platform.system()} on "
            f"{machine}: --from takes one that others built"
        )
    return found


def build(libraries: Path, steps: Steps, build_python: Path | None) -> Path:
    """The program, from ``<work>/cpython`` and the libraries in `libraries`.

    `build_python`: a CPython of the same release for this machine, where what is built is for another one.
    """
    work = steps.folder / f"cpython-{steps.arch}"
    work.mkdir(exist_ok=True)
    variables = _variables(libraries, work)
    command = [
        "../cpython/configure",
        "-q",
        f"--with-openssl={os.path.relpath(libraries, work)}",
        *pins.CPYTHON_OPTIONS,
    ]
    if build_python is not None:
        command += [
            f"--host={ARCHITECTURES[steps.arch]}-linux-gnu", f"--build={ARCHITECTURES[own_arch()]}-linux-gnu",
            f"--with-build-python={build_python}", *pins.CROSS_OPTIONS,
        ]  # fmt: skip
    steps.timed("CPython configure", command, work, variables)
    steps.timed("CPython compile", ["make", jobs(), "-s", "python"], work, variables)
    missing = missing_modules((work / "Modules" / "config.c").read_text(encoding="utf-8"))
    if missing:
        raise ConfigError(f"CPython for {steps.arch} was built without {', '.join(missing)}: see {work / 'config.log'}")
    return work / "python"


def missing_modules(config: str) -> list[str]:
    """Those of `pins.REQUIRED` that are not linked in, by the text of CPython's ``Modules/config.c``."""
    return sorted(set(pins.REQUIRED) - set(_BUILTIN.findall(config)))


def _variables(libraries: Path, work: Path) -> dict[str, str]:
    """Libraries by relative paths, so that none of this machine's comes into the binary."""
    place = os.path.relpath(libraries, work)
    return {
        **pins.CPYTHON_FLAGS,
        "ZLIB_CFLAGS": f"-I{place}/include",
        "ZLIB_LIBS": f"-L{place}/lib -lz",
        "LIBFFI_CFLAGS": f"-I{place}/include",
        "LIBFFI_LIBS": f"-L{place}/lib -lffi -ldl",
    }
