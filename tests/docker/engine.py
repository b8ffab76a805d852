"""The Docker engine of this machine, for the tests that need one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from extension_kit.errors import ConfigError
from layer_build.images import connect

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = "3.11"  #: the image's


def require() -> None:
    """To be called where a module of tests begins: skips it as a whole where no engine answers."""
    try:
        connect().close()
    except ConfigError:
        pytest.skip("no Docker engine is reachable", allow_module_level=True)


def containers_with(engine: Any, folder: Path) -> list[Any]:
    """The containers, in whatever state, that `folder` is mounted into."""
    return [
        container
        for container in engine.api.containers(all=True)
        if str(folder) in {mount.get("Source") for mount in container["Mounts"]}
    ]
