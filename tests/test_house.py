"""The rules of the house, checked on the syntax trees."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOR_TESTS = ("extension_kit.testing", "extension_kit.pytest_plugin")  # what authors' tests use; nothing else does
DOCKER = "extension_kit/backends/docker.py"
CHECKS = (
    "extension_kit/checking/",
    "extension_kit/commands/check.py",
)  # layers and manifests are judged by who builds them
PROJECT = "extension_kit/scaffold/project/"  # an author's, not the kit's
PURE = {"__future__", "_json", "json", "collections.abc", "typing"}


def imports(source: str) -> set[str]:
    """Modules that `source` imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or "."}
    return found


def forbidden(source: str, place: str) -> set[str]:
    """The imports of `source`, the file at `place`, that a rule of the house forbids."""
    modules = imports(source)
    bad = set()
    if place.startswith("extension_kit/protocol/"):
        ours = ("extension_kit.errors", "extension_kit.events", "extension_kit.protocol")
        pure = {module for module in modules if module.split(".")[0] in ("typing", "collections", *PURE)}
        bad |= {module for module in modules - pure if not module.startswith(ours)}
    if place.startswith("extension_kit/"):
        above = {module for module in modules if module.split(".")[0] in ("extensions", "layer_build")}
        # The image comes from layer_build (imported lazily, by that backend alone).
        bad |= above - {module for module in above if place == DOCKER and module.startswith("layer_build.images")}
        if place.startswith(CHECKS):
            bad -= {module for module in above if module.split(".")[0] == "layer_build"}
    if place.startswith("layer_build/"):
        bad |= {module for module in modules if module.split(".")[0] == "extensions"}
    if place.startswith("extensions/"):
        own = ".".join(Path(place).parts[:2])
        bad |= {module for module in modules if module.startswith("extensions.") and not module.startswith(own)}
    for_tests = place.removesuffix(".py").replace("/", ".") in FOR_TESTS or place.startswith(f"{PROJECT}tests/")
    if not for_tests:
        bad |= {module for module in modules if module.startswith(FOR_TESTS)}
    if not for_tests and not place.startswith(("extension_kit/emulator/", "extension_kit/backends/")):
        bad |= {module for module in modules if module.startswith("extension_kit.emulator")}
    return bad


def sources() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return [
        name for name in listed.stdout.split() if name.startswith(("extension_kit/", "extensions/", "layer_build/"))
    ]


@pytest.mark.parametrize("place", sources())
def test_arrows_point_down(place):
    """protocol/ touches no I/O; the kit no extension; an extension no other; only backends and testing the emulator."""
    assert forbidden((ROOT / place).read_text(), place) == set()


@pytest.mark.parametrize(
    ("place", "source", "found"),
    [
        ("extension_kit/protocol/x.py", "def f():\n    import socket", {"socket"}),
        ("extension_kit/protocol/x.py", "from time import time", {"time", "time.time"}),
        ("extension_kit/x.py", "import extensions.log_shipper", {"extensions.log_shipper"}),
        ("extensions/a/x.py", "import extensions.b", {"extensions.b"}),
        ("extensions/a/x.py", "import extensions.a.b", set()),
        ("extension_kit/cli.py", "import extension_kit.emulator.layers", {"extension_kit.emulator.layers"}),
        ("extension_kit/testing.py", "import extension_kit.emulator.layers", set()),
        ("extension_kit/pytest_plugin.py", "import extension_kit.testing", set()),
        ("extension_kit/cli.py", "import extension_kit.testing", {"extension_kit.testing"}),
        ("extensions/a/x.py", "import extension_kit.pytest_plugin", {"extension_kit.pytest_plugin"}),
        ("extension_kit/backends/docker.py", "from layer_build.images import image", set()),
        ("extension_kit/backends/rie.py", "import layer_build.images", {"layer_build.images"}),
        ("extension_kit/checking/x.py", "import layer_build.manifest", set()),
        ("extension_kit/checking/x.py", "import extensions.a", {"extensions.a"}),
        ("extension_kit/scaffold/x.py", "import layer_build.manifest", {"layer_build.manifest"}),
        ("extension_kit/scaffold/project/tests/x.py", "import extension_kit.testing", set()),
        ("extension_kit/scaffold/project/my_extension/x.py", "import extension_kit.testing", {"extension_kit.testing"}),
        ("layer_build/x.py", "import extensions.a", {"extensions.a"}),
        ("layer_build/x.py", "import extension_kit.emulator", {"extension_kit.emulator"}),
        ("extension_kit/emulator/x.py", "import extension_kit.testing", {"extension_kit.testing"}),
    ],
)
def test_the_check_itself_can_fail(place, source, found):
    """A rule that finds nothing in a bad file is none."""
    assert forbidden(source, place) == found
