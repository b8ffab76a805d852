"""Wheels made on the spot, and a folder that pip takes them from: what a package index would have."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n\n# read me\n"


class Wheelhouse:
    """``lock`` holds a line for each wheel that was added."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder = folder
        self.lines: list[str] = []
        folder.mkdir()
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def wheel(
        self,
        name: str,
        version: str = "1.0",
        tag: str = "py3-none-any",
        files: dict[str, bytes] | None = None,
        requires: tuple[str, ...] = (),
    ) -> str:
        """Adds a wheel; its SHA-256."""
        info = f"{name}-{version}.dist-info"
        content = {f"{name}.py": b"VALUE = 1\n"} if files is None else files
        content |= {
            f"{info}/METADATA": "".join(f"Requires-Dist: {one}\n" for one in requires).encode()
            + _METADATA.format(name=name, version=version).encode(),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
            f"{info}/licenses/LICENSE": b"the licence's text\n",
            f"{info}/licenses/vendored/LICENSE": b"another's text\n",
        }  # fmt: skip
        content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in content).encode()
        path = self.folder / f"{name}-{version}-{tag}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for inside, data in content.items():
                archive.writestr(inside, data)
        return self._locked(name, version, path)

    def sdist(self, name: str, version: str = "1.0") -> str:
        """Adds a source distribution instead."""
        path = self.folder / f"{name}-{version}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            data = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n".encode()
            info = tarfile.TarInfo(f"{name}-{version}/PKG-INFO")
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
        return self._locked(name, version, path)

    def _locked(self, name: str, version: str, path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest}  # a comment\n")
        return digest

    @property
    def lock(self) -> str:
        return "".join(self.lines)
