"""Layers for tests: three good ones, and a writer that puts into a zip whatever it is told."""

from __future__ import annotations

import hashlib
import importlib._bootstrap_external as external
import importlib.util
import stat
import sys
import warnings
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layer_build.provenance import Provenance
from tests.layer_build.verify.elves import PROGRAM, X86_64, elf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: the Python that the tests run under, for which they can make byte-code
PYTHON = "%d.%d" % sys.version_info[:2]
TAG = f"cpython-{PYTHON.replace('.', '')}"


@dataclass(frozen=True)
class File:
    """What a zip will say of one entry. ``unix``: made by a system that has modes; ``method``: of compression."""

    data: bytes
    mode: int = 0o644
    link: bool = False
    unix: bool = True
    encrypted: bool = False
    method: int = zipfile.ZIP_DEFLATED


Files = dict[str, File]


def write(path: Path, files: Files, *again: tuple[str, File]) -> Path:
    """A zip of `files`, and of entries that a dictionary cannot hold twice."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that comes twice
        for name, file in [*files.items(), *again]:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3 if file.unix else 0
            kind = stat.S_IFLNK if file.link else stat.S_IFREG
            info.external_attr = (kind | file.mode) << 16 if file.unix else 0
            archive.writestr(info, file.data, file.method)
            info.flag_bits |= 1 if file.encrypted else 0  # stands in the table of contents, which is written last
    return path


def changed(files: Files, **one: object) -> Files:
    """`files` with one more, or another: ``at`` is its path, the rest are fields of `File`."""
    return {**files, str(one.pop("at")): File(**one)}  # type: ignore[arg-type]


# --- good layers ---

SCRIPT = b"""#!/bin/bash
set -eu
api=http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension
id=$(curl -sS -D - -o /dev/null -H "Lambda-Extension-Name: $(basename "$0")" -d '{"events":["INVOKE"]}' $api/register \\
  | awk 'tolower($1) == "lambda-extension-identifier:" {print $2}' | tr -d '\\r')
while curl -sS -H "Lambda-Extension-Identifier: $id" $api/event/next; do :; done
"""


def of_bash() -> Files:
    """Somebody's extension in a few lines of bash, with a file of its own beside it."""
    return {
        "extensions/hello.sh": File(SCRIPT, 0o755),
        "hello/words.txt": File(b"hello\n"),
    }


def of_libraries() -> Files:
    """Somebody's Python packages."""
    return {
        "python/greeting/__init__.py": File(b"from greeting.words import WORDS\n"),
        "python/greeting/words.py": File(b"WORDS = ('hello',)\n"),
        "python/greeting-1.0.dist-info/METADATA": File(b"Name: greeting\n"),
    }


MANIFEST = """name = "my-ext"
plugins = ["my_ext.plugin:Mine"]

[capabilities]
hosts = ["logs.example.com"]
variables = ["MY_EXT_ENDPOINT", "MY_EXT_TOKEN", "HOME"]
iam = ["s3:PutObject"]
ports = [{ name = "http", port = 2773, variables = ["MY_PORT"] }, { name = "proxy", port = 9009, fallback = true }]
events = ["INVOKE", "SHUTDOWN"]
telemetry = ["platform"]
writes = ["/tmp/.extension-kit/my-ext/", "/tmp/my-ext.log"]
"""
CONF = f"""extension-kit-launcher 1
pythons {PYTHON}
register early
events INVOKE SHUTDOWN
port http 2773 MY_PORT -
port proxy 9009 - /tmp/.extension-kit/my-ext/port
"""
PLUGIN = """from __future__ import annotations

import http.client
import os

from extension_kit.plugin import Plugin
from extension_kit.settings import Settings, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess


class MySettings(Settings):
    prefix = "MY_EXT_"
    endpoint = text("", help="Where lines go.")
    secret = text("", help="Proves who we are.", env="MY_EXT_TOKEN", secret=True)


class Mine(Plugin):
    name = "my-ext"
    telemetry = ("platform",)
    settings = MySettings

    def start(self, context):
        self.home = os.environ.get("HOME")
        self.region = os.environ["AWS_REGION"]
        with open("/tmp/my-ext.log", "a") as log:
            log.write(context.directory)
        http.client.HTTPSConnection("logs.example.com")
"""


def pyc(source: bytes, *, checked: bool = False) -> bytes:
    """Byte-code of this Python, with a hash of the source."""
    code = compile(source, "x.py", "exec", dont_inherit=True)
    return bytes(external._code_to_hash_pyc(code, importlib.util.source_hash(source), checked))


def of_ours(plugin: str = PLUGIN, manifest: str = MANIFEST, conf: str = CONF) -> Files:
    """A layer of this kit, as layer_build/README.md describes it; the launcher is a program in name only."""
    launcher = elf(X86_64, kind=PROGRAM)
    made_by = Provenance(
        name="my-ext",
        version="1.0",
        arch="x86_64",
        pythons=(PYTHON,),
        launcher="native",
        launcher_sha256=hashlib.sha256(launcher).hexdigest(),
        kit_version="0.1.0",
        zig="0.17.1",
        bytecode={PYTHON: "%d.%d.%d" % sys.version_info[:3]},
    )
    files = {
        "extensions/my-ext": File(launcher, 0o755),
        "my-ext/launcher.conf": File(conf.encode()),
        "my-ext/boot.py": File(b"import sys\n"),
        "my-ext/manifest.toml": File(manifest.encode()),
        "my-ext/provenance.json": File(made_by.to_json()),
        "my-ext/sbom.cdx.json": File(b"{}"),
    }
    for path, source in (("extension_kit/__init__", b""), ("my_ext/__init__", b""), ("my_ext/plugin", plugin.encode())):
        folder, _, name = path.rpartition("/")
        files[f"my-ext/lib/{path}.py"] = File(source)
        files[f"my-ext/lib/{folder}/__pycache__/{name}.{TAG}.pyc"] = File(pyc(source) if _is_python(source) else b"")
    return files


def _is_python(source: bytes) -> bool:
    try:
        compile(source, "x.py", "exec")
    except SyntaxError:
        return False
    return True


GOOD: dict[str, Callable[[], Files]] = {"bash": of_bash, "libraries": of_libraries, "ours": of_ours}
