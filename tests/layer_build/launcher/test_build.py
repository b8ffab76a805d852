"""The launcher is built from source, and is the one that was committed, wherever it is built."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest

from extension_kit.errors import ConfigError
from layer_build.launcher import build
from tests.layer_build.launcher.layers import ARCH

MACHINES = {"x86_64": 62, "arm64": 183}  # e_machine (elf.h)
_PT_DYNAMIC, _PT_INTERP = 2, 3


@pytest.mark.parametrize("arch", build.BINARIES)
def test_it_is_small_static_and_for_the_architecture_that_was_asked_for(arch):
    """It needs nothing of the system that it runs on, and tells nothing of the one that it was built on."""
    content = build.binary(arch)

    assert content[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<H", content, 18)[0] == MACHINES[arch]
    offset, size, count = (*struct.unpack_from("<Q", content, 32), *struct.unpack_from("<HH", content, 54))
    kinds = {struct.unpack_from("<I", content, offset + number * size)[0] for number in range(count)}
    assert not kinds & {_PT_DYNAMIC, _PT_INTERP}
    assert len(content) < 40_000
    for place in (str(build.HERE), str(Path.home()), str(build.cache_folder()), "/tmp/extension-kit-launcher"):
        assert place.encode() not in content


def test_another_folder_gives_the_same_bytes(tmp_path):
    """Paths and times of the sources are not in it. (A cold compiler cache was tried by hand: it takes a minute.)"""
    folder = tmp_path / "another place"
    folder.mkdir()
    for name in (*build.SOURCES, *build.HEADERS):
        shutil.copyfile(build.HERE / name, folder / name)

    content = build.compile_sources(folder, ARCH, build.zig(), build.cache_folder() / "zig-cache")

    assert hashlib.sha256(content).hexdigest() == build.BINARIES[ARCH][1]


def test_every_source_is_built():
    """And a change of any of them is noticed."""
    files = {path.name for path in build.HERE.iterdir() if path.suffix in (".c", ".h")}

    assert files == {*build.SOURCES, *build.HEADERS}


def test_a_result_that_differs_is_refused(tmp_path, monkeypatch):
    """One line, with both hashes; nothing is kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "zig", lambda say: Path("zig"))
    monkeypatch.setattr(build, "compile_sources", lambda *arguments: b"another")
    found = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(ConfigError, match=f"launcher for arm64 has SHA-256 {found}, expected [0-9a-f]{{64}}"):
        build.binary("arm64")
    assert list(tmp_path.iterdir()) == []


def test_what_was_built_is_kept_and_checked(tmp_path, monkeypatch):
    """A cached file that was changed is built anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(build.BINARIES, "arm64", ("target", hashlib.sha256(b"good").hexdigest()))
    built = []
    monkeypatch.setattr(build, "zig", lambda say: Path("zig"))
    monkeypatch.setattr(build, "compile_sources", lambda *arguments: built.append(1) or b"good")

    assert (build.binary("arm64"), build.binary("arm64"), len(built)) == (b"good", b"good", 1)
    (kept,) = tmp_path.rglob("launcher-arm64")
    kept.write_bytes(b"changed")
    assert (build.binary("arm64"), kept.read_bytes(), len(built)) == (b"good", b"good", 2)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ConfigError, match=r"architecture 'riscv': the launcher is built for x86_64 and arm64"):
        build.binary("riscv")


def test_a_compilers_complaint_is_one_line(tmp_path):
    """The first error, of all that it says."""
    for name in build.SOURCES:
        (tmp_path / name).write_text("int main(void) { return 0; }\n#error out of cheese\n#error twice\n")
    with pytest.raises(ConfigError, match=r"^the launcher for x86_64 could not be built: [^\n]*out of cheese[^\n]*$"):
        build.compile_sources(tmp_path, "x86_64", build.zig(), build.cache_folder() / "zig-cache")
    with pytest.raises(ConfigError, match=r"could not be built: .*No such file"):
        build.compile_sources(tmp_path, "x86_64", tmp_path / "no-zig", tmp_path)


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel of our own in pip's place; `pip` has what it is to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    source = tmp_path / "ziglang-0-py3-none-any.whl"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("ziglang/zig", "#!/bin/sh\n")
    pip = {"status": 0, "stderr": ""}

    def run(command, **options):
        if pip["status"] == 0:
            shutil.copy(source, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, pip["status"], "", pip["stderr"])

    monkeypatch.setattr(build.subprocess, "run", run)
    return source, pip


def test_the_compiler_is_fetched_once_and_only_if_it_is_the_one_that_was_pinned(wheel, monkeypatch, tmp_path):
    """By SHA-256 of the whole wheel."""
    source, _pip = wheel
    told = []
    with pytest.raises(ConfigError, match=r"has SHA-256 [0-9a-f]{64}, which is none that was pinned: it is not used"):
        build.zig(told.append)
    assert list((tmp_path / "cache" / "extension-kit").iterdir()) == []

    monkeypatch.setitem(build.WHEELS, hashlib.sha256(source.read_bytes()).hexdigest(), "test")
    program = build.zig(told.append)
    assert program == build.zig(told.append)
    assert program.stat().st_mode & 0o777 == 0o755
    assert told == [f"fetching the C compiler: ziglang {build.ZIG_VERSION} (100 MB, only the first time)"] * 2


def test_without_a_package_index_the_reason_is_pips(wheel):
    _source, pip = wheel
    pip.update(status=1, stderr="ERROR: something\nERROR: No matching distribution found\n")
    with pytest.raises(ConfigError, match=r"^ziglang==.* could not be fetched: ERROR: No matching distribution found$"):
        build.zig()


def test_what_is_pinned_is_a_hash():
    assert all(
        re.fullmatch("[0-9a-f]{64}", digest) for digest in (*build.WHEELS, *(h for _t, h in build.BINARIES.values()))
    )
