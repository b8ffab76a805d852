"""Files that are written whole, or not at all."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path` in one step; ConfigError where that cannot be, and then nothing has changed."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; nothing was changed") from error
