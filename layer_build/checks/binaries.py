"""Programs and libraries: for the right machine, with nothing that the runtime's operating system lacks.

What the images have: PEP 599 (manylinux2014) names the libraries that wheels may expect; such wheels work on every Python
runtime. libz is needed by rpm and curl, which both operating systems have. glibc and GCC: 2.26 and 7 on Amazon Linux 2, 2.34
and 11 on Amazon Linux 2023; the versions of libstdc++ are those of its manual, "ABI Policy and Guidelines". What else may be
there is not relied on: libcrypt.so.1, for one, is missing (lumigo-io/lambda-log-shipper #6).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from layer_build import elf
from layer_build.checks.entries import foreign
from layer_build.checks.findings import ERROR, NOTE, rule
from layer_build.targets import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject

BROKEN = rule(
    "broken-elf",
    ERROR,
    "a damaged ELF file: {reason}",
    "started: 'exec format error' (Extension.LaunchError) or 'signal: segmentation fault' (Extension.Crash); loaded: "
    "'file too short', 'invalid ELF header'",
    "build or copy it anew, in binary mode",
)
WRONG_MACHINE = rule(
    "wrong-architecture",
    ERROR,
    "made for {machine}; the function's machine is {wanted}",
    "started: 'fork/exec /opt/{path}: exec format error', Extension.LaunchError; loaded: 'wrong ELF class' or "
    "'cannot open shared object file: No such file or directory'",
    "one layer for each architecture, each with its own binaries (wheels: --platform manylinux2014_x86_64 or _aarch64)",
)
MIXED = rule(
    "mixed-architectures",
    ERROR,
    "binaries for {arches} in one layer",
    "on either architecture some of them are an 'exec format error'",
    "one layer for each architecture; --arch says which one is meant",
)
FOREIGN = rule(
    "not-linux",
    ERROR,
    "made for {system}",
    "started: 'exec format error', Extension.LaunchError; imported: Runtime.ImportModuleError, 'invalid ELF header'",
    "build it for Linux: wheels with --platform manylinux2014_x86_64 --only-binary=:all:, Go with GOOS=linux",
)
FOREIGN_LEFTOVER = rule(
    "not-linux-leftover",
    NOTE,
    "made for {system}",
    "nothing on Lambda can use it; it counts against the size",
    "leave it out",
)
LOADER_MISSING = rule(
    "loader-missing",
    ERROR,
    "it wants the loader {loader}, which the runtime does not have",
    "'fork/exec /opt/{path}: no such file or directory', Extension.LaunchError (UnknownError): the file meant is the loader",
    "link it statically, or against glibc (not on Alpine, whose loader is musl's)",
)
GLIBC = rule(
    "glibc-too-new",
    ERROR,
    "it wants {version}; the runtime's operating system has GLIBC_{has}",
    '"/lib64/libc.so.6: version `{version}\' not found (required by /opt/{path})": '
    "Extension.Crash, or Runtime.ImportModuleError",
    "build it against glibc {has} (wheels: manylinux2014 for Amazon Linux 2, up to manylinux_2_34 for 2023), or statically",
)
STDCXX = rule(
    "libstdcxx-too-new",
    ERROR,
    "it wants {version}; the runtime's operating system has {has}",
    '"/lib64/libstdc++.so.6: version `{version}\' not found (required by /opt/{path})"',
    "link libstdc++ statically (-static-libstdc++), or bring it in lib/",
)
LIBRARY_MISSING = rule(
    "library-missing",
    ERROR,
    "it needs {library}, which is neither in the layer nor known to be in the runtime",
    "'error while loading shared libraries: {library}: cannot open shared object file: No such file or directory': "
    "Extension.Crash, or Runtime.ImportModuleError",
    "put it into the layer's lib/ (which is on LD_LIBRARY_PATH) or link it statically",
)
LIBRARY_ELSEWHERE = rule(
    "library-elsewhere",
    NOTE,
    "it needs {library}, which is in the layer as {place}, where the loader does not look by itself",
    "'cannot open shared object file', unless the program loads it before or sets LD_LIBRARY_PATH",
    "move it to lib/, or link with -Wl,-rpath,'$ORIGIN/...'",
)

_LOADERS = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}
_SYSTEM_LIBRARIES = (
    "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libresolv.so.2",
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1",
)  # fmt: skip
_STDCXX = {(2, 26): 24, (2, 34): 29}  # by glibc: the last GLIBCXX_3.4.N of GCC 7 and of GCC 11
_STDCXX_VERSION = re.compile(r"GLIBCXX_3\.4\.(\d+)")
_LIBPYTHON = re.compile(r"libpython(3\.\d+)\.so\.1\.0|libpython3\.so")


def check(subject: Subject) -> Iterator[Finding]:
    """Every ELF file, and what should be one."""
    if subject.mixed:
        yield MIXED.at("", arches=" and ".join(subject.machines))
    for path, one in subject.elves.items():
        if isinstance(one, elf.Broken):
            yield BROKEN.at(path, reason=one.reason)
        elif one.kind in ("shared", "executable"):
            yield from _elf(subject, path, one)
    for path, entry in subject.files.items():
        system = foreign(entry.data)
        if system:
            used = path in subject.started or path.endswith((".so", ".pyd"))
            yield (FOREIGN if used else FOREIGN_LEFTOVER).at(path, system=system)


def _elf(subject: Subject, path: str, one: elf.Elf) -> Iterator[Finding]:
    wanted = [ARCHITECTURES[arch] for arch in subject.arches]
    if one.machine not in wanted or one.bits != 64 or not one.little_endian:
        order = "" if one.little_endian else ", big-endian"
        yield WRONG_MACHINE.at(path, machine=f"{one.machine} ({one.bits} bits{order})", wanted=" or ".join(wanted))
        return
    loader = one.interpreter
    if loader and loader != _LOADERS[one.machine] and not _in_opt(subject, loader):
        yield LOADER_MISSING.at(path, loader=loader)
        return  # it is another system's: so are its libraries
    yield from _versions(subject, path, one)
    for library in one.needed:
        yield from _library(subject, path, one, library)


def _versions(subject: Subject, path: str, one: elf.Elf) -> Iterator[Finding]:
    for glibc in sorted({subject.glibc(python) for python in subject.pythons}):
        pythons = tuple(python for python in subject.pythons if subject.glibc(python) == glibc)
        if one.glibc and one.glibc > glibc:
            highest = max((version for _, version in one.versions), key=lambda text: elf.glibc_of(text) or (0, 0))
            yield GLIBC.at(path, subject.only(pythons), version=highest, has="%d.%d" % glibc)
        last = max((int(match[1]) for _, text in one.versions if (match := _STDCXX_VERSION.fullmatch(text))), default=0)
        if last > _STDCXX[glibc] and not _found(subject, path, one, "libstdc++.so.6"):
            has = f"GLIBCXX_3.4.{_STDCXX[glibc]}"
            yield STDCXX.at(path, subject.only(pythons), version=f"GLIBCXX_3.4.{last}", has=has)


def _library(subject: Subject, path: str, one: elf.Elf, library: str) -> Iterator[Finding]:
    if library in _SYSTEM_LIBRARIES or _found(subject, path, one, library):
        return
    match = _LIBPYTHON.fullmatch(library)
    missing = tuple(python for python in subject.pythons if not match or match[1] not in (None, python))
    if not missing:
        return
    name = posixpath.basename(library)
    elsewhere = sorted(place for place in subject.files if posixpath.basename(place) == name)
    if elsewhere:
        yield LIBRARY_ELSEWHERE.at(path, library=library, place=elsewhere[0])
    else:
        yield LIBRARY_MISSING.at(path, subject.only(missing), library=library)


def _found(subject: Subject, path: str, one: elf.Elf, library: str) -> bool:
    """Whether the loader finds it in the layer: along RUNPATH or RPATH, then in /opt/lib, which is on LD_LIBRARY_PATH."""
    if "/" in library:
        return _in_opt(subject, library)
    origin = f"/opt/{posixpath.dirname(subject.resolve(path))}"
    places = [re.sub(r"\$\{?ORIGIN\}?", lambda _: origin, place) for place in one.search]
    return any(_in_opt(subject, posixpath.join(place, library)) for place in (*places, "/opt/lib"))


def _in_opt(subject: Subject, place: str) -> bool:
    place = posixpath.normpath(place)
    return place.startswith("/opt/") and subject.find(place.removeprefix("/opt/")) is not None
