"""Fetches pinned sources: from the first place that has the right bytes, into a cache that is looked at first."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from layer_build.interpreter.pins import Source

_LIMIT = 60  # seconds without a byte
_LARGEST = 300_000_000  # bytes; the largest that is pinned has 53 MB
_CHUNK = 1 << 20


def fetch(source: Source, folders: list[Path], say: Callable[[str], object]) -> Path:
    """The file with the pinned SHA-256, from one of `folders` or from its places, then kept in the first folder.

    ConfigError with one line that says what each place answered.
    """
    failures = []
    for folder in folders:
        path = folder / source.name
        if path.is_file():
            if digest(path) == source.sha256:
                return path
            failures.append(f"{path}: another SHA-256 than the pinned one")
    target = folders[0] / source.name
    for place in source.places:
        say(f"fetching {place}")
        try:
            _download(place, target, source.sha256)
            return target
        except _WrongBytes as error:
            failures.append(f"{place}: {error}")
        except urllib.error.HTTPError as error:
            failures.append(f"{place}: {error.code} {error.reason}")
        except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
            failures.append(f"{place}: {getattr(error, 'reason', None) or error}")
    raise ConfigError(
        f"{source.name} (SHA-256 {source.sha256}) cannot be had: {'; '.join(failures)}. "
        "A folder that has it can be named with --sources"
    )


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _WrongBytes(Exception):
    pass


def _download(place: str, target: Path, sha256: str) -> None:
    """Whole and checked, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=".fetching-")
    try:
        seen = hashlib.sha256()
        size = 0
        request = urllib.request.Request(place, headers={"User-Agent": "lambda-extension-kit layer_build"})
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(request, timeout=_LIMIT) as answer:
            while chunk := answer.read(_CHUNK):
                size += len(chunk)
                if size > _LARGEST:
                    raise _WrongBytes(f"more than {_LARGEST} bytes")
                seen.update(chunk)
                file.write(chunk)
        if seen.hexdigest() != sha256:
            raise _WrongBytes(f"SHA-256 {seen.hexdigest()}, which is not the pinned one")
        os.chmod(part, 0o644)
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)
