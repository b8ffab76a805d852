"""Runs the programs of the build: with one environment, a log for each, a limit, and one line for what went wrong."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build.interpreter import pins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

#: programs that the build takes from the machine: what they are for
PROGRAMS = {
    "perl": "OpenSSL's configure",
    "make": "OpenSSL and CPython",
    "patch": "Debian's security fixes",
    "readelf": "CPython's configure (binutils)",
    "sh": "configure",
}
_LIMIT = 3600  # seconds for one program


def missing_programs() -> list[str]:
    """Those of `PROGRAMS` that are not on PATH, each with what it is for."""
    return [f"{name} ({why})" for name, why in PROGRAMS.items() if shutil.which(name) is None]


class Steps:
    """A folder to work in, with the compiler's wrappers in ``bin/``; `say` is told each step that takes long."""

    def __init__(self, folder: Path, arch: str, zig: Path, zig_cache: Path, say: Callable[[str], object]) -> None:
        self.folder = folder
        self.arch = arch
        self.say = say
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        tools = folder / "bin"
        tools.mkdir(exist_ok=True)
        flags = shlex.join(("-target", pins.TARGETS[arch], *pins.COMPILER))
        program = shlex.quote(str(zig.absolute()))
        # Found by name on PATH: a path would be written into what is built.
        for name, words in {"zcc": f"cc {flags}", "zar": "ar", "zranlib": "ranlib"}.items():
            tool = tools / name
            tool.write_text(f'#!/bin/sh\nexec {program} {words} "$@"\n')
            tool.chmod(0o755)
        self._variables = {
            "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - the system's own default
            "LC_ALL": "C",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "SOURCE_DATE_EPOCH": str(pins.EPOCH),
            "ZIG_GLOBAL_CACHE_DIR": str(zig_cache),
            "ZIG_LOCAL_CACHE_DIR": str(zig_cache),
            "CC": "zcc",
            "AR": "zar",
            "RANLIB": "zranlib",
        }

    def run(self, what: str, command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> str:
        """Runs `command` in `folder`; what it printed. ConfigError with its first complaint, and where its log is."""
        log = self._logs / f"{what.replace('/', '_').replace(' ', '-')}.log"
        try:
            with log.open("wb") as file:
                done = subprocess.run(
                    command, cwd=folder, env={**self._variables, **(variables or {})}, stdin=subprocess.DEVNULL,
                    stdout=file, stderr=subprocess.STDOUT, timeout=_LIMIT, check=False,
                )  # fmt: skip
        except FileNotFoundError as error:
            raise ConfigError(f"{what}: {error.filename} is not on this machine") from error
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"{what}: not finished after {_LIMIT} s; its output: {log}") from error
        text = log.read_text(encoding="utf-8", errors="replace")
        if done.returncode != 0:
            raise ConfigError(f"{what} failed: {_complaint(text, done.returncode)}; its output: {log}")
        return text

    def timed(self, what: str, command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> None:
        """As `run`, for what takes long: says so before, and how long it took after."""
        self.say(f"{self.arch}: {what} ...")
        begun = time.monotonic()
        self.run(f"{self.arch} {what}", command, folder, variables)
        self.say(f"{self.arch}: {what}: {time.monotonic() - begun:.0f} s")


def jobs() -> str:
    """How many compilers may run at once, as make takes it."""
    return f"-j{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1}"


def _complaint(text: str, status: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = next((line for line in lines if "error:" in line or "FAILED" in line or line.startswith("patch: ")), "")
    return (first or (lines[-1] if lines else f"exit status {status}"))[:300]
