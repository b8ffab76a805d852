"""What lies in python/, where functions import from, and compiled modules anywhere: for the version that will import them.

The runtime puts /var/task, /opt/python/lib/python3.X/site-packages and /opt/python before its own library and packages (AWS
docs, "Working with layers for Python Lambda functions").
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from layer_build.checks.findings import ERROR, NOTE, rule
from layer_build.checks.subject import MODULE_TAG
from layer_build.targets import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject

_IMPORT_ERROR = "\"Runtime.ImportModuleError: Unable to import module 'APP': No module named '{module}'\""

OTHER_PYTHON = rule(
    "module-other-python",
    ERROR,
    "compiled for Python {made} only",
    _IMPORT_ERROR + ", for the importer does not see a module of another version",
    "take the wheel for the function's version: pip download --python-version 3.X --only-binary=:all:",
)
OTHER_SYSTEM = rule(
    "module-other-system",
    ERROR,
    "compiled for {system}",
    _IMPORT_ERROR + ", for the importer does not see a module of another system",
    "take the wheel for the function's architecture: pip download --platform manylinux2014_x86_64 --only-binary=:all:",
)
UNUSED_FOLDER = rule(
    "site-packages-unused",
    NOTE,
    "packages for Python {version}",
    "a function of another version does not have this folder on sys.path",
    "python/ itself is on the path of every version, where the packages are for every version",
)
SHADOWS = rule(
    "shadows-runtime",
    NOTE,
    "it stands before what the runtime has under this name",
    "functions import this one instead, in every function that has the layer: errors appear far from their cause, and "
    "updates of the runtime no longer reach it",
    "leave it out, unless that is what the layer is for",
)
START_UP = rule(
    "runs-at-start",
    NOTE,
    "a file that Python runs by itself when it starts, where the folder is on its path at that time",
    "whatever it does happens to every function that has the layer, and to tools that they start",
    "leave it out, unless that is what the layer is for",
)

_RUNTIME = (
    "boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3", "awslambdaric", "snapshot_restore_py",
    "bootstrap",
)  # fmt: skip
_STANDARD = frozenset(sys.stdlib_module_names) - {"test"}
_TOP = re.compile(r"python/(?:lib/python(?P<version>3\.\d+)/site-packages/)?(?P<name>[^/]+)")
#: suffix of a compiled module's name: the machine that it is for, as CPython's SOABI has it
_SYSTEMS = {f"{machine}-linux-gnu": arch for arch, machine in ARCHITECTURES.items()}


def check(subject: Subject) -> Iterator[Finding]:
    """python/, and compiled modules."""
    yield from _compiled(subject)
    tops: dict[str, str] = {}
    unused: set[str] = set()
    for path in subject.files:
        match = _TOP.match(path)
        if not match:
            continue
        version, name = match["version"], match["name"]
        alone = path == match[0]
        if version and version not in subject.pythons:
            unused.add(version)
        elif alone and (name in ("sitecustomize.py", "usercustomize.py") or name.endswith(".pth")):
            yield START_UP.at(path)
        elif not alone or name.endswith((".py", ".so")):
            tops.setdefault(match[0], name.split(".")[0])
    for version in sorted(unused):
        yield UNUSED_FOLDER.at(f"python/lib/python{version}/", version=version)
    for path, name in sorted(tops.items()):
        if name in _RUNTIME or name in _STANDARD:
            yield SHADOWS.at(path)


def _compiled(subject: Subject) -> Iterator[Finding]:
    """Modules with a version in their name: one for each version that will look for it."""
    variants: dict[str, dict[str, str]] = {}  # module without its tag: Python version to path
    for path in subject.files:
        match = MODULE_TAG.search(path)
        if not match:
            continue
        system = match["system"] or ""
        if system and _SYSTEMS.get(system, "") not in subject.arches:
            yield OTHER_SYSTEM.at(path, module=_name(path), system=system)
        else:
            variants.setdefault(path[: match.start()], {})[f"3.{match[1]}"] = path
    for stem, by_python in variants.items():
        if f"{stem}.abi3.so" in subject.files or f"{stem}.so" in subject.files or f"{stem}.py" in subject.files:
            continue
        wanted = subject.seen_by(stem)
        missing = tuple(python for python in wanted if python not in by_python)
        if missing:
            path = min(by_python.values())
            yield OTHER_PYTHON.at(path, subject.only(missing), module=_name(path), made=" and ".join(sorted(by_python)))


def _name(path: str) -> str:
    """The module as one would import it: from the folder that is on sys.path, as far as that can be told."""
    inside = re.sub(r"^(python/(lib/python3\.\d+/site-packages/)?|[^/]+/lib/)", "", path)
    return MODULE_TAG.sub("", inside).replace("/", ".")
