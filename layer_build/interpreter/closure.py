"""Which modules of the standard library a layer's interpreter carries: a list of what is wanted, and all that those import.

The modules are read, not run: an import inside of a function counts as well. What nobody can use in an extension (`NEVER`)
stays out even where something imports it on some path.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build.text import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: what extensions and their dependencies import; broad, since the binary is larger than all of it
WANTED = words(
    "abc argparse array ast asyncio atexit base64 binascii bisect builtins calendar cmath codecs collections "
    "colorsys concurrent.futures concurrent.futures.process concurrent.futures.thread configparser contextlib "
    "contextvars copy copyreg csv ctypes ctypes.util dataclasses datetime decimal difflib dis email email.message "
    "email.mime.application email.mime.multipart email.mime.text email.parser email.policy email.utils encodings "
    "encodings.idna enum errno faulthandler fcntl filecmp fileinput fnmatch fractions functools gc genericpath getopt "
    "getpass gettext glob graphlib grp gzip hashlib heapq hmac html html.entities html.parser http http.client "
    "http.cookiejar http.cookies http.server importlib importlib.abc importlib.machinery importlib.metadata "
    "importlib.resources importlib.resources.abc importlib.util inspect io ipaddress itertools json json.tool keyword "
    "linecache locale logging logging.config logging.handlers marshal math mimetypes mmap modulefinder "
    "multiprocessing multiprocessing.dummy multiprocessing.managers multiprocessing.pool "
    "multiprocessing.shared_memory netrc numbers opcode operator optparse os pathlib pickle pickletools pkgutil "
    "platform plistlib posix posixpath pprint profile pstats cProfile py_compile pwd queue quopri random re reprlib "
    "resource runpy sched secrets select selectors shelve shlex shutil signal site smtplib socket socketserver ssl "
    "stat statistics string stringprep struct subprocess symtable sys sysconfig tarfile tempfile termios textwrap "
    "threading time timeit token tokenize tomllib trace traceback tracemalloc types typing unicodedata urllib "
    "urllib.error urllib.parse urllib.request urllib.response urllib.robotparser uuid warnings wave weakref _pylong "
    "xml.dom.minidom xml.etree.ElementTree xml.sax xmlrpc.client zipfile zipimport zlib zoneinfo"
)
#: needs a terminal, a compiler, a screen, or tests; or a C library that is not linked in
NEVER = words(
    "test idlelib tkinter turtle turtledemo ensurepip venv sqlite3 curses dbm pydoc pydoc_data doctest pdb bdb cmd "
    "code codeop rlcompleter webbrowser _pyrepl unittest bz2 lzma antigravity _ios_support _apple_support _android_support "
    "pyrepl lib2to3 readline"
)
#: encodings of these families need modules that are left out
_CJK = ("_codecs_", "_multibytecodec")


def closure(library: Path, wanted: Iterable[str] = WANTED, never: Iterable[str] = NEVER) -> list[str]:
    """Paths below `library` (CPython's ``Lib``), sorted: the files of `wanted` and of what they import.

    Every encoding is taken that works without the CJK codecs: their names come out of data, not out of imports. ConfigError
    where `wanted` names a module that is neither a file nor linked in.
    """
    found: dict[str, str] = {}
    todo, out = list(wanted), frozenset(never)
    todo += [f"encodings.{path.stem}" for path in sorted((library / "encodings").glob("*.py")) if _usable(path)]
    while todo:
        name = todo.pop()
        if name in found or name.split(".")[0] in out:
            continue
        path = _path(library, name)
        found[name] = path
        if not path:
            continue
        if "." in name:
            todo.append(name.rpartition(".")[0])
        package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
        todo += [one for one in imports(_read(library / path), package) if _path(library, one) or "." not in one]
    return sorted({path for path in found.values() if path})


def imports(source: str, package: str = "") -> Iterator[str]:
    """Names that `source`, a module in `package`, imports; of ``from a import b`` both a and a.b."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield one.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = ".".join(parts[: len(parts) - node.level + 1])
                base = ".".join(filter(None, (above, base)))
            if base:
                yield base
                yield from (f"{base}.{one.name}" for one in node.names if one.name != "*")


def unknown(library: Path, names: Iterable[str], builtin: Iterable[str]) -> list[str]:
    """Those of `names` that are neither below `library` nor `builtin`: mistakes in a list of what is wanted."""
    return [name for name in names if not _path(library, name) and name not in builtin]


def _path(library: Path, name: str) -> str:
    """Where the module lies, "" where it is no file there: it is linked in, or of another system."""
    base = name.replace(".", "/")
    for path in (f"{base}/__init__.py", f"{base}.py"):
        if (library / path).is_file():
            return path
    return ""


def _usable(path: Path) -> bool:
    return not any(one.startswith(_CJK) for one in imports(_read(path), "encodings"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
