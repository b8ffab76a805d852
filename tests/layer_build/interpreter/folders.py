"""Interpreters in name only: a finished folder and an archive as others have it, around a program that would not run."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from layer_build.interpreter.made import FILE, Interpreter, Part
from tests.layer_build.verify.elves import ARM64, LOADERS, PROGRAM, SHARED, X86_64, elf

if TYPE_CHECKING:
    from pathlib import Path

MACHINES = {"x86_64": X86_64, "arm64": ARM64}
#: byte-code of Python 3.13, by its magic number, that is not checked against a source
PYC = (3571).to_bytes(2, "little") + b"\r\n" + (1).to_bytes(4, "little") + bytes(9)


def program(arch: str = "x86_64", glibc: str = "2.26", needed: tuple[str, ...] = ("libc.so.6",)) -> bytes:
    """A program that wants that glibc."""
    machine = MACHINES[arch]
    versions = [("libc.so.6", f"GLIBC_{glibc}")]
    return elf(machine, kind=PROGRAM, interpreter=LOADERS[machine], needed=needed, versions=versions)


def finished(folder: Path, arch: str = "x86_64", python: str = "3.13", content: bytes = b"") -> Path:
    """A folder as `interpreter` makes it."""
    content = content or program(arch)
    library = folder / "lib" / f"python{python}"
    (library / "lib-dynload").mkdir(parents=True)
    (library / "lib-dynload" / ".keep").write_bytes(b"")
    (library / "os.pyc").write_bytes(PYC)
    (folder / "bin").mkdir()
    (folder / "bin" / f"python{python}").write_bytes(content)
    (folder / "bin" / f"python{python}").chmod(0o755)
    (folder / "cacert.pem").write_text("none\n")
    parts = (Part("openssl", "3.5.7", "Apache-2.0", "https://example.com/openssl", "a" * 64),)
    digest = hashlib.sha256(content).hexdigest()
    about = Interpreter(python, f"{python}.5", arch, digest, "own", parts, ("CVE-2026-1.patch",))
    (folder / FILE).write_bytes(about.to_json())
    return folder


def archive(path: Path, files: dict[str, bytes]) -> str:
    """A tar.gz of `files`, programs executable; its SHA-256."""
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if "/bin/" in name else 0o644
            tar.addfile(info, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def module(arch: str = "x86_64", glibc: str = "2.17") -> bytes:
    """A module in C."""
    return elf(MACHINES[arch], kind=SHARED, versions=[("libc.so.6", f"GLIBC_{glibc}")])
