"""Node packages without npm, whose own installation is far larger than what it would install: what a lock pins, by its hash."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import urllib.request
from pathlib import Path

LOCK = Path(__file__).parent / "node" / "package-lock.json"
REGISTRY = "https://registry.npmjs.org"
_LIMIT = 120


def packages(lock: Path = LOCK) -> Path:
    """The folder that holds ``node_modules``; fetched where the cache has none. OSError where the registry does not answer."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "extension-kit"
    place = cache / f"node-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not place.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=cache))
        try:
            for path, wanted in json.loads(lock.read_text())["packages"].items():
                if path:
                    _install(part / path, path.rpartition("node_modules/")[2], wanted)
            part.rename(place)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            if not place.is_dir():  # another run may have been faster
                raise
    return place


def _install(place: Path, name: str, wanted: dict[str, str]) -> None:
    file = f"{name.rpartition('/')[2]}-{wanted['version']}.tgz"
    with urllib.request.urlopen(f"{REGISTRY}/{name}/-/{file}", timeout=_LIMIT) as answer:
        data = answer.read()
    kind, _, digest = wanted["integrity"].partition("-")
    if hashlib.new(kind, data).digest() != base64.b64decode(digest):
        raise OSError(f"{name} {wanted['version']} is not what the lock says")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive.getmembers():
            member.name = member.name.partition("/")[2]  # the first folder is called "package", most often
            file = archive.extractfile(member) if member.isfile() else None
            target = place / member.name
            if file is not None and target.resolve().is_relative_to(place.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
