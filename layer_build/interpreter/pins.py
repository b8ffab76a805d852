"""What the interpreter is made of: sources by SHA-256, each with the places that have it, and the options of the build.

The hashes are those of Debian's .dsc files (suite trixie). Debian keeps a version in its pool until the next one comes, and on
snapshot.debian.org, by SHA-1, for good; whoever publishes layers keeps copies (`--sources`).
"""

from __future__ import annotations

from dataclasses import dataclass

from layer_build.launcher.build import ZIG_VERSION
from layer_build.targets import ARCHITECTURES
from layer_build.text import words

PYTHON = "3.13"
PYTHON_RELEASE = "3.13.5"
OPENSSL = "3.5.7"
LIBFFI = "3.4.8"
ZLIB = "1.3.1"
#: glibc that every binary of it is content with: Amazon Linux 2's
GLIBC = (2, 26)
#: where it lies in a layer: one place for all of our layers, so that several share it
FOLDER = f"extension-kit-python/{PYTHON}"
#: compiled in as the prefix; it finds its library beside itself wherever it lies
PREFIX = f"/opt/{FOLDER}"
#: the date that everything is given which asks for one, in seconds since 1970
EPOCH = 1_700_000_000
#: Lambda's name of an architecture: how zig names the system that is compiled for
TARGETS = {arch: f"{machine}-linux-gnu.{GLIBC[0]}.{GLIBC[1]}" for arch, machine in ARCHITECTURES.items()}

_POOL = "https://deb.debian.org/debian/pool/main"
_SNAPSHOT = "https://snapshot.debian.org/file"


@dataclass(frozen=True)
class Source:
    """A file to be fetched: its name, its SHA-256, and from where, in order."""

    name: str
    sha256: str
    places: tuple[str, ...]


def _debian(pool: str, name: str, sha256: str, sha1: str, *others: str) -> Source:
    return Source(name, sha256, (f"{_POOL}/{pool}/{name}", *others, f"{_SNAPSHOT}/{sha1}"))


CPYTHON_SOURCE = _debian(
    "p/python3.13",
    "python3.13_3.13.5.orig.tar.xz",
    "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640",
    "dbf3aed444cbb2221eabfb52688aa371423aa0ba",
    "https://www.python.org/ftp/python/3.13.5/Python-3.13.5.tar.xz",
)
CPYTHON_PATCHES = _debian(
    "p/python3.13",
    "python3.13_3.13.5-2+deb13u5.debian.tar.xz",
    "a51f456e654ce2c9b40cc1db8005e5041cdb0b2c3aa96ab0871c49fe95280366",
    "412b8df93c26d980ddcb4407728ec93504a898fa",
)
OPENSSL_SOURCE = _debian(
    "o/openssl",
    "openssl_3.5.7.orig.tar.gz",
    "a8c0d28a529ca480f9f36cf5792e2cd21984552a3c8e4aa11a24aa31aeac98e8",
    "53d331880fbde8e6fe25870d5325a61201f6264d",
    "https://github.com/openssl/openssl/releases/download/openssl-3.5.7/openssl-3.5.7.tar.gz",
)
OPENSSL_PATCHES = _debian(
    "o/openssl",
    "openssl_3.5.7-1~deb13u2.debian.tar.xz",
    "593a47654ead460a3b609503733f80bef552ff0802799d3b47784faacc50809f",
    "6d1177d59ef985cff4b6baef95ae748ec724af12",
)
LIBFFI_SOURCE = _debian(
    "libf/libffi",
    "libffi_3.4.8.orig.tar.gz",
    "cbb7f0b3b095dc506387ec1e35b891bfb4891d05b90a495bc69a10f2293f80ff",
    "5aaeb77d856a2178b1b6d453f5389da67ab77e93",
)
ZLIB_SOURCE = _debian(
    "z/zlib",
    "zlib_1.3.dfsg+really1.3.1.orig.tar.gz",
    "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb",
    "3b19b81105d3436095134a648c521b678905eaac",
)
SOURCES = (CPYTHON_SOURCE, CPYTHON_PATCHES, OPENSSL_SOURCE, OPENSSL_PATCHES, LIBFFI_SOURCE, ZLIB_SOURCE)

#: Mozilla's certificates, for images that have none; a wheel of PyPI, fetched by pip
CERTIFI = "2026.10.18"
CERTIFI_SHA256 = "73191c47aaa79da394e8fee2dbc2ec827432cab56311122c9e47abf79e390f62"

#: what every object is compiled with. Nothing of the libraries shall be seen by a wheel's own copy of them: hidden.
COMPILER = ("-fno-sanitize=undefined", "-Wno-date-time", "-Wno-incompatible-pointer-types-discards-qualifiers")
OBJECT = ("-O2", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections")

#: the default certificate file is Amazon Linux's /etc/pki/tls/cert.pem; its openssl.cnf cannot change us (no-autoload-config)
OPENSSL_OPTIONS = (
    f"--prefix={PREFIX}", "--libdir=lib", "--openssldir=/etc/pki/tls", "--release",
    *(
        f"no-{what}"
        for what in words(
            "shared tests docs apps module legacy engine dso autoload-config ssl3 tls1 tls1_1 dtls quic sctp srtp srp comp cmp "
            "cms ts ct http ocsp idea seed camellia aria bf cast des rc2 rc4 md4 mdc2 whirlpool rmd160 sm2 sm3 sm4 gost ec2m "
            "siphash slh-dsa ml-dsa dsa rfc3779 ui-console ssl-trace async"
        )
    ),
)  # fmt: skip
#: modules of the standard library that need what the runtimes lack, or that no extension uses
NOT_BUILT = words(
    "_tkinter _curses _curses_panel readline _dbm _gdbm _sqlite3 _bz2 _lzma _uuid syslog _codecs_cn _codecs_hk _codecs_jp "
    "_codecs_kr _codecs_tw _codecs_iso2022 _multibytecodec"
)
#: modules that must be in the binary: without them an extension of ours would not work
REQUIRED = words(
    "_asyncio _blake2 _bisect _contextvars _csv _ctypes _datetime _decimal _elementtree _hashlib _heapq _json _lsprof _md5 "
    "_multiprocessing _opcode _pickle _posixshmem _posixsubprocess _queue _random _sha1 _sha2 _sha3 _socket _ssl _statistics "
    "_struct _zoneinfo array binascii cmath fcntl grp math mmap pyexpat resource select termios unicodedata zlib"
)
CPYTHON_OPTIONS = (
    f"--prefix={PREFIX}", "--disable-test-modules", "--with-ensurepip=no", "--without-readline", "--disable-shared",
    "--with-openssl-rpath=no", "--with-ssl-default-suites=openssl", "--without-doc-strings",
    *(f"py_cv_module_{name}=n/a" for name in NOT_BUILT),
)  # fmt: skip
#: what configure would find out by running a program of the other architecture
CROSS_OPTIONS = ("ac_cv_buggy_getaddrinfo=no", "ac_cv_file__dev_ptmx=yes", "ac_cv_file__dev_ptc=no")
CPYTHON_FLAGS = {
    "CFLAGS": "-O2 -ffunction-sections -fdata-sections",
    "LDFLAGS": "-s -Wl,--gc-sections",
    "MODULE_BUILDTYPE": "static",
    "CXX": "false",
    "PKG_CONFIG": "/bin/false",
    "READELF": "readelf",
}


def recipe() -> str:
    """Everything above that the binary depends on, as text: it goes into the cache's key."""
    parts = (
        ZIG_VERSION, PREFIX, EPOCH, TARGETS, [(one.name, one.sha256) for one in SOURCES], COMPILER, OBJECT,
        OPENSSL_OPTIONS, CPYTHON_OPTIONS, CROSS_OPTIONS, CPYTHON_FLAGS,
    )  # fmt: skip
    return repr(parts)
