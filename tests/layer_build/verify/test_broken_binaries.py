"""Programs, libraries and modules for another machine, another system or another Python."""

from __future__ import annotations

import pytest

from tests.layer_build.verify.cases import LIBRARIES, Case, binary, magic, refused
from tests.layer_build.verify.elves import ARM64, I386, X86_64, elf, program
from tests.layer_build.verify.layers import TAG, File, changed, pyc

LAUNCH = "Extension.LaunchError"
BINARIES = [
    Case(
        "arm64 for x86_64",
        binary(program(ARM64)),
        "wrong-architecture",
        ("aarch64", "exec format error", LAUNCH),
        ("--arch", "x86_64"),
    ),
    Case(
        "x86_64 for arm64",
        binary(program(X86_64)),
        "wrong-architecture",
        ("x86_64 (64 bits)", "aarch64"),
        ("--arch", "arm64"),
    ),
    Case(
        "32 bits",
        binary(elf(I386, bits=32, interpreter="/lib/ld-linux.so.2")),
        "wrong-architecture",
        ("i386 (32 bits)",),
    ),
    Case(
        "big-endian",
        binary(elf(ARM64, order=">"), "lib/libbig.so"),
        "wrong-architecture",
        ("big-endian",),
        ("--arch", "arm64"),
    ),
    Case(
        "both in one layer",
        {**binary(program(ARM64)), "bin/tool": File(program(X86_64), 0o755)},
        "mixed-architectures",
        ("x86_64 and arm64", "one layer for each"),
    ),
    Case(
        "musl's loader",
        binary(program(interpreter="/lib/ld-musl-x86_64.so.1", needed=("libc.musl-x86_64.so.1",))),
        "loader-missing",
        ("/lib/ld-musl-x86_64.so.1", "no such file or directory", "statically"),
    ),
    Case(
        "glibc 2.28 on Amazon Linux 2",
        binary(program(versions=(("libc.so.6", "GLIBC_2.28"),))),
        "glibc-too-new",
        ("GLIBC_2.28", "version `GLIBC_2.28' not found", "GLIBC_2.26"),
        ("--python", "3.11"),
    ),
    Case(
        "glibc 2.35",
        binary(program(versions=(("libc.so.6", "GLIBC_2.35"),))),
        "glibc-too-new",
        ("GLIBC_2.35", "GLIBC_2.34"),
        ("--python", "3.13"),
    ),
    Case(
        "packed relocations",
        binary(program(versions=(("libc.so.6", "GLIBC_ABI_DT_RELR"),))),
        "glibc-too-new",
        ("GLIBC_ABI_DT_RELR",),
        ("--python", "3.13"),
    ),
    Case(
        "a new libstdc++",
        binary(program(versions=(("libstdc++.so.6", "GLIBCXX_3.4.30"),))),
        "libstdcxx-too-new",
        ("GLIBCXX_3.4.29",),
        ("--python", "3.13"),
    ),
    Case(
        "libcrypt.so.1",
        binary(program(needed=("libc.so.6", "libcrypt.so.1"))),
        "library-missing",
        ("libcrypt.so.1", "error while loading shared libraries", "lib/"),
    ),
    Case(
        "a library in the wrong place",
        {**binary(program(needed=("libx.so",))), "other/libx.so": File(elf())},
        "library-elsewhere",
        ("other/libx.so",),
    ),
    Case("another libpython", binary(program(needed=("libpython3.9.so.1.0",))), "library-missing", ("libpython3.9",)),
    Case("cut off", binary(program()[:-9]), "broken-elf", ("cut off",)),
    Case(
        "made on a Mac",
        binary(b"\xcf\xfa\xed\xfe" + bytes(60)),
        "not-linux",
        ("macOS", "exec format error", "GOOS=linux"),
    ),
    Case("made on Windows", binary(b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0"), "not-linux", ("Windows",)),
    Case(
        "a module for the Mac",
        changed(LIBRARIES, at="python/x.so", data=b"\xca\xfe\xba\xbe\0\0\0\2" + bytes(9)),
        "not-linux",
        ("macOS", "ImportModuleError"),
        beside=("no-extension",),
    ),
    Case(
        "an installer",
        changed(LIBRARIES, at="python/setup/cli.exe", data=b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0"),
        "not-linux-leftover",
        ("counts against the size",),
        beside=("no-extension",),
    ),
    Case("a library to start", binary(elf(needed=("libc.so.6",))), "not-a-program", ("a shared library",)),
    Case("an object file", binary(elf(kind=1)), "not-a-program", ("relocatable",)),
]
MODULES = [
    Case(
        "a module for another Python",
        changed(LIBRARIES, at="python/fast.cpython-312-x86_64-linux-gnu.so", data=elf()),
        "module-other-python",
        ("Python 3.12 only", "No module named 'fast'"),
        ("--python", "3.13"),
        beside=("no-extension",),
    ),
    Case(
        "a module for another machine",
        changed(LIBRARIES, at="python/p/fast.cpython-312-aarch64-linux-gnu.so", data=elf(ARM64)),
        "module-other-system",
        ("aarch64-linux-gnu", "No module named 'p.fast'"),
        ("--arch", "x86_64"),
        beside=("no-extension", "wrong-architecture"),
    ),
    Case(
        "boto3",
        changed(LIBRARIES, at="python/boto3/__init__.py", data=b""),
        "shadows-runtime",
        ("boto3",),
        beside=("no-extension",),
    ),
    Case(
        "enum",
        changed(LIBRARIES, at="python/enum.py", data=b""),
        "shadows-runtime",
        ("enum",),
        beside=("no-extension",),
    ),
    Case(
        "sitecustomize",
        changed(LIBRARIES, at="python/sitecustomize.py", data=b""),
        "runs-at-start",
        ("every function",),
        beside=("no-extension",),
    ),
    Case(
        "packages of another version",
        changed(LIBRARIES, at="python/lib/python3.12/site-packages/a.py", data=b""),
        "site-packages-unused",
        ("for Python 3.12",),
        ("--python", "3.13"),
        beside=("no-extension",),
    ),
    Case(
        "byte-code of another Python",
        changed(LIBRARIES, at="python/old.pyc", data=magic(3413)),
        "bytecode-other-python",
        ("bad magic number in 'old'", "3413"),
        beside=("no-extension",),
    ),
    Case(
        "byte-code under a wrong name",
        changed(LIBRARIES, at="python/greeting/__pycache__/words.cpython-313.pyc", data=magic(3531)),
        "bytecode-not-used",
        ("Python 3.12", "for Python 3.13"),
        beside=("no-extension",),
    ),
    Case(
        "byte-code of no use",
        changed(LIBRARIES, at="python/greeting/__pycache__/words.cpython-312.pyc", data=magic(3531)),
        "bytecode-unused",
        ("Python 3.12",),
        ("--python", "3.13"),
        beside=("no-extension",),
    ),
    Case(
        "byte-code with a date",
        changed(LIBRARIES, at="python/greeting/__pycache__/words.cpython-313.pyc", data=magic(3571, 0)),
        "bytecode-timestamp",
        ("7 times", "unchecked-hash"),
        beside=("no-extension",),
    ),
    Case(
        "byte-code of another source",
        changed(LIBRARIES, at=f"python/greeting/__pycache__/words.{TAG}.pyc", data=pyc(b"WORDS = ()\n")),
        "bytecode-stale",
        ("what runs is not what one reads",),
        beside=("no-extension",),
    ),
    Case(
        "byte-code of ten bytes",
        changed(LIBRARIES, at="python/old.pyc", data=bytes(10)),
        "bytecode-broken",
        ("10 bytes", "EOFError"),
        beside=("no-extension",),
    ),
]


CASES = [*BINARIES, *MODULES]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_broken_layer_is_refused(capsys, tmp_path, case):
    """Its own code, its own words, and nothing else is said."""
    refused(case, capsys, tmp_path)
