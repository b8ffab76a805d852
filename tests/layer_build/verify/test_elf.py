"""The ELF reader: what it finds, `readelf` as the oracle, and that no bytes can upset it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layer_build import elf as e
from tests.layer_build.verify.elves import ARM64, I386, LOADERS, PROGRAM, X86_64, elf, program

EXAMPLES = int(os.environ.get("KIT_TESTS_FUZZ_EXAMPLES", "300"))
GLIBC = ("libc.so.6", "GLIBC_2.28")
RICH = program(
    needed=("libc.so.6", "libz.so.1"),
    runpath="$ORIGIN/../x.libs:/opt/lib",
    soname="x.so",
    versions=(GLIBC, ("libm.so.6", "GLIBC_2.29")),
)


def test_a_dynamic_program():
    """Interpreter, libraries, where they are looked for, versions."""
    found = e.read(RICH)

    assert found == e.Elf(
        machine="x86_64",
        bits=64,
        little_endian=True,
        kind="shared",
        interpreter=LOADERS[X86_64],
        needed=("libc.so.6", "libz.so.1"),
        soname="x.so",
        search=("$ORIGIN/../x.libs", "/opt/lib"),
        versions=(GLIBC, ("libm.so.6", "GLIBC_2.29")),
    )
    assert found.glibc == (2, 29)
    assert not found.static


@pytest.mark.parametrize(("bits", "order"), [(64, "<"), (64, ">"), (32, "<"), (32, ">")])
@pytest.mark.parametrize(
    ("machine", "name"), [(X86_64, "x86_64"), (ARM64, "aarch64"), (I386, "i386"), (999, "machine 999")]
)
def test_class_order_machine(bits, order, machine, name):
    """Both sizes, both byte orders, machines known and unknown."""
    found = e.read(elf(machine, bits=bits, order=order, needed=("libc.so.6",), versions=(GLIBC,)))

    assert (found.machine, found.bits, found.little_endian) == (name, bits, order == "<")
    assert (found.needed, found.versions) == (("libc.so.6",), (GLIBC,))


def test_a_static_program():
    """No interpreter, no libraries: it asks for nothing."""
    found = e.read(elf(ARM64, kind=PROGRAM))

    assert found.static
    assert found.glibc is None
    assert found.kind == "executable"


def test_runpath_goes_before_rpath():
    """The loader ignores RPATH where there is a RUNPATH."""
    assert e.read(elf(runpath="/new", rpath="/old")).search == ("/new",)
    assert e.read(elf(rpath="/old")).search == ("/old",)


def test_what_is_weak_is_not_required():
    """VER_FLG_WEAK: the loader warns, and goes on."""
    assert e.read(elf(versions=(("libc.so.6", "GLIBC_2.17"),), weak=(("libc.so.6", "GLIBC_2.40"),))).glibc == (2, 17)


@pytest.mark.parametrize(
    ("version", "glibc"),
    [
        ("GLIBC_2.2.5", (2, 2)),
        ("GLIBC_2.34", (2, 34)),
        ("GLIBC_ABI_DT_RELR", (2, 36)),
        ("GLIBC_PRIVATE", None),
        ("GLIBCXX_3.4", None),
    ],
)
def test_versions_of_glibc(version, glibc):
    """Only glibc's own count; private symbols have no number."""
    assert e.glibc_of(version) == glibc


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin with the ELF magic"),
        (b"#!/bin/sh\n", "does not begin with the ELF magic"),
        (RICH[:20], "cut off in its header"),
        (RICH[:-20], "cut off: a segment ends at"),
        (RICH[:4] + b"\x07" + RICH[5:], "class 7"),
        (RICH[:32] + b"\xff" * 8 + RICH[40:], "cut off"),
        (RICH[:54] + b"\x01\x00" + RICH[56:], "program headers of 1 bytes"),
    ],
)
def test_broken_files(data, reason):
    """One clear reason, no exception."""
    found = e.read(data)

    assert isinstance(found, e.Broken)
    assert reason in found.reason


def test_versions_that_point_at_themselves_end():
    """A chain of versions that never ends is broken, and says so at once."""
    at = RICH.index(b"\x01\x00\x01\x00", 64)  # the first entry of .gnu.version_r: version 1, one version
    looping = RICH[: at + 2] + b"\xff\xff" + RICH[at + 4 : at + 16 + 12] + b"\1\0\0\0" + RICH[at + 32 :]

    assert isinstance(e.read(looping), e.Broken)


mutations = st.lists(st.tuples(st.integers(0, len(RICH) - 1), st.integers(0, 255)), max_size=12)


@settings(max_examples=EXAMPLES, deadline=None)
@given(mutations, st.integers(0, len(RICH)))
def test_any_damage_is_told_and_never_raised(changes, length):
    """Bytes changed anywhere, the file cut anywhere: facts, or a reason in a line."""
    data = bytearray(RICH)
    for at, value in changes:
        data[at] = value
    found = e.read(bytes(data[:length]))

    assert isinstance(found, (e.Elf, e.Broken))
    assert found == e.read(bytes(data[:length]))
    if isinstance(found, e.Broken):
        assert found.reason
        assert "\n" not in found.reason


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=600), st.sampled_from([b"\2\1", b"\2\2", b"\1\1", b"\1\2"]))
def test_any_bytes_behind_the_magic(data, ident):
    """Not even when the whole file is noise."""
    assert isinstance(e.read(e.MAGIC + ident + data), (e.Elf, e.Broken))


def binaries() -> list[str]:
    """A handful of this machine's own: programs, libraries, a Python module."""
    import _json

    wanted = ["sh", "ls", "env", "git", "cc"]
    found = [shutil.which(name) for name in wanted]
    places = [sys.executable, _json.__file__ if hasattr(_json, "__file__") else None, *found]
    places += [str(path) for path in sorted(Path("/lib/x86_64-linux-gnu").glob("lib[cmz].so.[0-9]"))]
    return sorted({str(Path(place).resolve()) for place in places if place and Path(place).resolve().is_file()})


@pytest.mark.parametrize("place", binaries())
def test_readelf_agrees(place):
    """binutils reads the same out of this machine's binaries."""
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    data = Path(place).read_bytes()
    if not data.startswith(e.MAGIC):
        assert isinstance(e.read(data), e.Broken)
        return
    variables = {"LC_ALL": "C", "PATH": os.environ["PATH"]}
    command = ["readelf", "-W", "-h", "-l", "-d", "-V", place]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=variables).stdout
    found = e.read(data)

    assert isinstance(found, e.Elf)
    assert re.search(r"Class:\s+ELF(\d+)", shown)[1] == str(found.bits)
    assert ("little endian" in shown) == found.little_endian
    assert list(found.needed) == re.findall(r"\(NEEDED\).*\[(.+)\]", shown)
    assert re.findall(r"\(SONAME\).*\[(.+)\]", shown) == ([found.soname] if found.soname else [])
    interpreters = re.findall(r"program interpreter: (.+)\]", shown)
    assert interpreters == ([found.interpreter] if found.interpreter else [])
    needs = shown.partition("Version needs section")[2]
    versions = re.findall(r"Name: (\S+)\s+Flags: none", needs)
    assert sorted(version for _library, version in found.versions) == sorted(versions)
