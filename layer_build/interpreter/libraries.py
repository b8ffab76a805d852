"""The libraries that are linked into the interpreter: OpenSSL, libffi and zlib, static, their symbols hidden."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from layer_build.interpreter import pins
from layer_build.interpreter.hide import hide
from layer_build.interpreter.steps import jobs
from layer_build.targets import ARCHITECTURES
from layer_build.text import words

if TYPE_CHECKING:
    from layer_build.interpreter.steps import Steps

_ZLIB = words("adler32 crc32 deflate infback inffast inflate inftrees trees zutil compress uncompr")
_LIBFFI = words("prep_cif types raw_api java_raw_api closures tramp")
#: by architecture: libffi's name of it, its folder, the sources there
_LIBFFI_OF = {
    "x86_64": ("X86_64", "x86", ("ffi64.c", "ffiw64.c", "unix64.S", "win64.S")),
    "arm64": ("AARCH64", "aarch64", ("ffi.c", "sysv.S")),
}
#: what libffi's configure finds out on Linux with glibc 2.26 (memfd_create, which it may use, came with 2.27)
_LIBFFI_CONFIG = """\
#define STDC_HEADERS 1
#define HAVE_ALLOCA_H 1
#define HAVE_MEMCPY 1
#define HAVE_MKOSTEMP 1
#define HAVE_MKSTEMP 1
#define HAVE_MMAP 1
#define HAVE_MMAP_ANON 1
#define HAVE_SYS_MMAN_H 1
#define HAVE_UNISTD_H 1
#define HAVE_STDINT_H 1
#define HAVE_INTTYPES_H 1
#define HAVE_LONG_DOUBLE 1
#define HAVE_AS_CFI_PSEUDO_OP 1
#define HAVE_HIDDEN_VISIBILITY_ATTRIBUTE 1
#define HAVE_RO_EH_FRAME 1
#define EH_FRAME_FLAGS "a"
#define SIZEOF_DOUBLE 8
#define SIZEOF_LONG_DOUBLE 16
#define SIZEOF_SIZE_T 8
#define FFI_EXEC_STATIC_TRAMP 1
#define PACKAGE_VERSION "{version}"
#ifdef LIBFFI_ASM
#define FFI_HIDDEN(name) .hidden name
#else
#define FFI_HIDDEN __attribute__ ((visibility ("hidden")))
#endif
"""
_LIBFFI_CONFIG_OF = {
    "x86_64": "#define HAVE_AS_X86_PCREL 1\n#define HAVE_AS_X86_64_UNWIND_SECTION_TYPE 1\n",
    "arm64": "",
}


def build(sources: Path, out: Path, steps: Steps) -> None:
    """All three, from `sources`/{openssl,libffi,zlib}, into `out`/{lib,include}."""
    for name in ("lib", "include"):
        (out / name).mkdir(parents=True, exist_ok=True)
    _zlib(sources / "zlib", out, steps)
    _libffi(sources / "libffi", out, steps)
    _openssl(sources / "openssl", out, steps)
    for library in sorted((out / "lib").glob("*.a")):
        hide(library)


def _openssl(source: Path, out: Path, steps: Steps) -> None:
    work = steps.folder / f"openssl-{steps.arch}"
    work.mkdir(exist_ok=True)
    # By a relative path: an absolute one would be compiled in.
    configure = [
        "perl",
        "../openssl/Configure",
        f"linux-{ARCHITECTURES[steps.arch]}",
        *pins.OPENSSL_OPTIONS,
        *pins.OBJECT,
    ]
    steps.timed("OpenSSL configure", configure, work)
    steps.timed("OpenSSL compile", ["make", jobs(), "-s", "build_libs"], work)
    for name in ("libssl.a", "libcrypto.a"):
        shutil.copy2(work / name, out / "lib" / name)
    for folder in (source / "include" / "openssl", work / "include" / "openssl"):
        for header in sorted(folder.glob("*.h")):
            target = out / "include" / "openssl" / header.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(header, target)


def _libffi(source: Path, out: Path, steps: Steps) -> None:
    """Without its configure, which the source from Debian lacks."""
    name, folder, files = _LIBFFI_OF[steps.arch]
    work = steps.folder / f"libffi-{steps.arch}"
    work.mkdir(exist_ok=True)
    header = (source / "include" / "ffi.h.in").read_text(encoding="utf-8")
    values = {"VERSION": pins.LIBFFI, "TARGET": name, "HAVE_LONG_DOUBLE": "1", "FFI_EXEC_TRAMPOLINE_TABLE": "0"}
    for key, value in values.items():
        header = header.replace(f"@{key}@", value)
    (work / "ffi.h").write_text(header, encoding="utf-8")
    config = _LIBFFI_CONFIG.format(version=pins.LIBFFI) + _LIBFFI_CONFIG_OF[steps.arch]
    (work / "fficonfig.h").write_text(config, encoding="utf-8")
    base = "../libffi"
    flags = ["-DHAVE_CONFIG_H", "-I.", f"-I{base}/include", f"-I{base}/src/{folder}", f"-I{base}/src"]
    wanted = [f"{base}/src/{one}.c" for one in _LIBFFI] + [f"{base}/src/{folder}/{one}" for one in files]
    _archive("libffi", wanted, flags, work, out, steps)
    shutil.copy2(work / "ffi.h", out / "include" / "ffi.h")
    shutil.copy2(source / "src" / folder / "ffitarget.h", out / "include" / "ffitarget.h")


def _zlib(source: Path, out: Path, steps: Steps) -> None:
    work = steps.folder / f"zlib-{steps.arch}"
    work.mkdir(exist_ok=True)
    flags = ["-DHAVE_UNISTD_H", "-D_LARGEFILE64_SOURCE=1"]
    _archive("libz", [f"../zlib/{name}.c" for name in _ZLIB], flags, work, out, steps)
    for name in ("zlib.h", "zconf.h"):
        shutil.copy2(source / name, out / "include" / name)


def _archive(name: str, files: list[str], flags: list[str], work: Path, out: Path, steps: Steps) -> None:
    """Compiles `files` and puts the objects into ``<name>.a``."""

    def compiled(number: int, file: str) -> str:
        made = f"{number}-{Path(file).stem}.o"  # two folders may have a file of the same name
        steps.run(f"{name} {made}", ["zcc", *pins.OBJECT, *flags, "-c", file, "-o", made], work)
        return made

    steps.say(f"{steps.arch}: {name} ...")
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, range(len(files)), files))
    library = out / "lib" / f"{name}.a"
    library.unlink(missing_ok=True)
    steps.run(f"{steps.arch} {name}.a", ["zar", "rcs", str(library), *objects], work)
