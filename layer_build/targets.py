"""What a layer can be built for: architectures, Python versions, and the operating system that each runtime has.

Source: AWS docs, "Lambda runtimes": python3.11 is based on Amazon Linux 2 (glibc 2.26), python3.12 and later on Amazon Linux
2023 (glibc 2.34).
"""

from __future__ import annotations

from dataclasses import dataclass

from extension_kit.errors import ConfigError

#: Lambda's name of an architecture: the name that the kernel, ELF tools and wheels have for it
ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
#: Python version of a managed runtime: glibc of its operating system
PYTHONS = {"3.11": (2, 26), "3.12": (2, 34), "3.13": (2, 34), "3.14": (2, 34)}
#: for what a layer is: the runtimes of its Python versions, or every runtime, with an interpreter of its own
RUNTIMES = ("python", "any")
#: glibc of the oldest operating system among all runtimes: Amazon Linux 2 (java8.al2, provided.al2, python3.11)
OLDEST_GLIBC = (2, 26)
#: bytes; a function and all its layers, unzipped (AWS docs, "Lambda quotas")
MAX_UNZIPPED = 262_144_000


@dataclass(frozen=True)
class Target:
    """One architecture (Lambda's name) and the Python versions that one zip shall serve, oldest first.

    ``runtime``: "any" where it brings an interpreter for runtimes that have none of these versions.
    """

    arch: str
    pythons: tuple[str, ...]
    runtime: str = "python"

    def __post_init__(self) -> None:
        if self.arch not in ARCHITECTURES:
            raise ConfigError(f"architecture {self.arch!r}: Lambda has {' and '.join(ARCHITECTURES)}")
        for python in self.pythons:
            if python not in PYTHONS:
                raise ConfigError(f"Python {python!r}: layers can be built for {', '.join(PYTHONS)}")
        if self.runtime not in RUNTIMES:
            raise ConfigError(f"runtime {self.runtime!r}: {' or '.join(RUNTIMES)} wanted")
        if not self.pythons:
            raise ConfigError(f"no Python version: layers can be built for {', '.join(PYTHONS)}")

    @property
    def machine(self) -> str:
        """The architecture as wheels and ELF files name it."""
        return ARCHITECTURES[self.arch]

    @property
    def glibc(self) -> tuple[int, int]:
        """The oldest glibc among its operating systems: what runs with it runs on all of them."""
        if self.runtime == "any":
            return OLDEST_GLIBC
        return min(PYTHONS[python] for python in self.pythons)

    @property
    def label(self) -> str:
        """For file names: ``x86_64-python3.13``, ``x86_64-any``."""
        return f"{self.arch}-{'any' if self.runtime == 'any' else 'python' + '-'.join(self.pythons)}"
