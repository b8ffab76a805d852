"""Layers made by hand, as ``layer_build/README.md`` lays them out: nothing of them needs the builder or a compiler."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any

from layer_build import sbom, tree
from layer_build.provenance import Dependency, Provenance
from layer_build.sbom import Component
from layer_build.tree import Entry, Tree

if TYPE_CHECKING:
    from pathlib import Path

MACHINES = {"x86_64": 0x3E, "arm64": 0xB7}

MANIFEST = """\
name = "log-shipper"
version = "1.2.0"
summary = "Sends log lines to my service."
plugins = ["log_shipper.plugin:Shipper"]
pythons = ["3.13"]

[capabilities]
hosts = [{ host = "logs.example.com", why = "where the lines go" }, "s3.{region}.amazonaws.com"]
variables = ["LOG_SHIPPER_ENDPOINT", "LOG_SHIPPER_*", "AWS_REGION"]
iam = [{ actions = ["s3:PutObject"], resources = ["arn:aws:s3:::{bucket}/{region}/*"], why = "a copy of each batch" }]
ports = [{ name = "http", port = 2773, variables = ["LOG_SHIPPER_PORT"], why = "what the function asks" }]
events = ["INVOKE", "SHUTDOWN"]
telemetry = ["platform", "function"]
writes = ["/tmp/.extension-kit/log-shipper/"]
"""

#: nothing but what must be there
BARE = """\
name = "bare"
plugins = ["bare:Bare"]
[capabilities]
events = []
"""


def elf(arch: str = "x86_64", *, dynamic: bool = False) -> bytes:
    """The headers of a 64-bit ELF program, with PT_INTERP where `dynamic`, else one PT_LOAD."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, MACHINES[arch], 1, 0x401000, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return ident + header + struct.pack("<IIQQQQQQ", 3 if dynamic else 1, 5, 0, 0, 0, 120, 120, 4096)


def files(
    manifest: str = MANIFEST,
    *,
    name: str = "log-shipper",
    version: str = "1.2.0",
    arch: str = "x86_64",
    pythons: tuple[str, ...] = ("3.13",),
    launcher: str = "native",
    dependencies: dict[str, str] | None = None,
) -> Tree:
    """The files of a layer of `name`; `dependencies` are names and versions."""
    needs = {"certifi": "2026.10.18", "requests": "2.34.2"} if dependencies is None else dependencies
    program = elf(arch) if launcher == "native" else b"#!/var/lang/bin/python3 -IS\nprint('hello')\n"
    digest = hashlib.sha256(program).hexdigest()
    wheels = [
        Dependency(one, number, f"{one}-{number}-py3-none-any.whl", hashlib.sha256(one.encode()).hexdigest())
        for one, number in sorted(needs.items())
    ]
    made = Provenance(
        name=name,
        version=version,
        arch=arch,
        pythons=pythons,
        launcher=launcher,
        launcher_sha256=digest,
        kit_version="0.1.0",
        zig="0.17.1" if launcher == "native" else "",
        bytecode={python: f"{python}.0" for python in pythons},
        dependencies=tuple(wheels),
    )
    parts = [sbom.kit("0.1.0")]
    parts += [sbom.launcher("0.1.0", digest, "0.17.1", "1.2.5")] if launcher == "native" else []
    parts += [Component(one.name, one.version, purl=sbom.pypi(one.name, one.version), sha256=one.sha256,
                        license="Apache-2.0") for one in wheels]  # fmt: skip
    conf = f"extension-kit-launcher 1\npythons {' '.join(pythons)}\nregister early\nevents INVOKE SHUTDOWN\n"
    content: dict[str, Any] = {
        "boot.py": b"print('boot')\n",
        "manifest.toml": manifest.encode(),
        "provenance.json": made.to_json(),
        "sbom.cdx.json": sbom.sbom(Component(name, version, "application", license="Apache-2.0"), parts),
        "lib/extension_kit/__init__.py": b"# the kit\n" * 200,
        "lib/extension_kit/runner.py": b"# the loop\n" * 2_000,
        "lib/log_shipper/plugin.py": b"class Shipper: pass\n",
        **{f"lib/{one}/__init__.pyc": one.encode() * 900 for one in needs},
        **{f"licenses/{one}/LICENSE": b"Apache License\n" for one in needs},
    }
    if launcher == "native":
        content["launcher.conf"] = conf.encode() + b"port http 2773 LOG_SHIPPER_PORT -\n"
    made_tree = {f"{name}/{path}": Entry(data) for path, data in content.items()}
    return {f"extensions/{name}": Entry(program, 0o755), **made_tree}


def zipped(path: Path, layer: Tree | None = None) -> Path:
    """`layer`, or the sample, as a zip at `path`."""
    tree.write_zip(files() if layer is None else layer, path)
    return path


def third_party() -> Tree:
    """A layer that somebody else made: a dynamic program, a script and a library for the function."""
    return {
        "extensions/agent": Entry(elf("arm64", dynamic=True), 0o755),
        "extensions/start.sh": Entry(b"#!/bin/bash\nexec /opt/agent/run\n", 0o755),
        "agent/config.yaml": Entry(b"level: info\n"),
        "python/agent/__init__.py": Entry(b"x = 1\n"),
    }


def unpacked(folder: Path, layer: Tree | None = None) -> Path:
    """`layer`, or the sample, laid out below `folder`."""
    for name, entry in (files() if layer is None else layer).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.data)
        path.chmod(entry.mode)
    return folder
