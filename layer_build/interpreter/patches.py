"""Debian's security fixes: which of its patches are ours as well, and applying them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layer_build.interpreter.steps import Steps

#: of CPython's, only the fixes: the others move files to where Debian wants them
_CPYTHON = re.compile(r"(CVE-|ssl-|dict-use|traverse)")
#: of OpenSSL's, all but those about Debian's layout, and those that only add tests
_NOT_OPENSSL = re.compile(r"debian-targets|man-section|no-symbolic|^pic\.patch|c_rehash|-test-for")


def of_cpython(series: str) -> list[str]:
    """The names to apply, in order, of the text of ``debian/patches/series``."""
    return [name for name in names(series) if _CPYTHON.match(name)]


def of_openssl(series: str) -> list[str]:
    """As `of_cpython`."""
    return [name for name in names(series) if not _NOT_OPENSSL.search(name)]


def names(series: str) -> list[str]:
    """Every patch that a series names: without comments, and without options behind a name."""
    return [line.split()[0] for line in series.splitlines() if line.strip() and not line.startswith("#")]


def apply(source: Path, debian: Path, choose: Callable[[str], list[str]], steps: Steps) -> list[str]:
    """Applies what `choose` takes of the unpacked `debian` folder's patches to `source`; their names."""
    folder = debian / "patches"
    chosen = choose((folder / "series").read_text(encoding="utf-8"))
    if not chosen:
        raise ConfigError(f"{debian}: no security fix was found in patches/series: has its naming changed?")
    for name in chosen:
        steps.run(f"patch {name}", ["patch", "-s", "-f", "-p1", "-F0", "-i", str(folder / name)], source)
    return chosen
