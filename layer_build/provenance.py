"""``<name>/provenance.json``: what a layer was built from, and with what."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from extension_kit.errors import ConfigError
from layer_build.targets import Target

FILE = "provenance.json"
_FORMAT = 1
_LAUNCHERS = ("native", "python")
_INTERPRETER = ("interpreter", "interpreter_sha256")
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Dependency:
    """A distribution in the layer: the file name of its wheel, and that wheel's SHA-256."""

    name: str
    version: str
    wheel: str
    sha256: str


@dataclass(frozen=True)
class Provenance:
    """Where a layer comes from.

    ``bytecode``: Python version (3.13) to the version of the interpreter that compiled it (3.13.0), empty where the layer has
    no byte-code; ``zig``: the version of the compiler, "" where the launcher is Python; ``launcher_sha256``: of the file in
    extensions/; ``interpreter``: the release of the Python that it carries, "" where there is none.
    """

    name: str
    version: str
    arch: str
    pythons: tuple[str, ...]
    launcher: str
    launcher_sha256: str
    kit_version: str
    zig: str = ""
    bytecode: dict[str, str] = field(default_factory=dict)
    dependencies: tuple[Dependency, ...] = ()
    interpreter: str = ""
    interpreter_sha256: str = ""

    def to_json(self) -> bytes:
        """The file's content; the same for the same values."""
        content = {"format": _FORMAT, **asdict(self)}
        content["dependencies"] = sorted(content["dependencies"], key=lambda one: str(one["name"]))
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def parse(data: bytes, place: str = FILE) -> Provenance:
    """The provenance in `data`; ConfigError, which begins with `place`, for what this version does not understand."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ConfigError(f"{place}: not a provenance of format {_FORMAT}")
    content = {"interpreter": "", "interpreter_sha256": "", **content}  # older ones carry none
    texts = {
        name: _text(content, name, place)
        for name in ("name", "version", "arch", "launcher", "launcher_sha256", "kit_version", "zig", *_INTERPRETER)
    }
    if texts["launcher"] not in _LAUNCHERS:
        raise ConfigError(f"{place}: launcher is {texts['launcher']!r}: {' or '.join(_LAUNCHERS)} wanted")
    if not _SHA256.fullmatch(texts["launcher_sha256"]):
        raise ConfigError(f"{place}: launcher_sha256 is {texts['launcher_sha256']!r}: a SHA-256 wanted")
    pythons = content.get("pythons")
    if not isinstance(pythons, list) or not all(isinstance(one, str) for one in pythons):
        raise ConfigError(f"{place}: pythons is {pythons!r}: a list of versions wanted")
    try:
        Target(texts["arch"], tuple(pythons))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error
    bytecode = content.get("bytecode")
    if not isinstance(bytecode, dict) or not all(isinstance(one, str) for one in bytecode.values()):
        raise ConfigError(f"{place}: bytecode is {bytecode!r}: Python versions to interpreters' versions wanted")
    found = content.get("dependencies")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConfigError(f"{place}: dependencies: a list of tables wanted")
    dependencies = tuple(Dependency(**{part.name: _text(one, part.name, place) for part in fields(Dependency)})
                         for one in found)  # fmt: skip
    return Provenance(**texts, pythons=tuple(pythons), bytecode=bytecode, dependencies=dependencies)


def _text(content: dict[str, Any], name: str, place: str) -> str:
    value = content.get(name)
    if not isinstance(value, str):
        raise ConfigError(f"{place}: {name} is {value!r}: a text wanted")
    return value
