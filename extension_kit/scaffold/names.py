"""An extension's name, and what is made of it: a Python module, a class, the prefix of its variables.

Lambda starts the file ``/opt/extensions/NAME``, which registers as NAME (AWS docs, "Lambda Extensions API"); a manifest allows
the same letters as here, and digits in front.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass

from extension_kit.checking import known
from extension_kit.errors import ConfigError

_NAME = re.compile(r"[a-z](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_ALLOWED = "lower-case letters, digits, '.', '_' and '-', a letter first, a letter or digit last, 64 at most, e.g. my-extension"
_SEPARATORS = re.compile(r"[._-]+")
#: packages of the kit, and of what the project is tested with
_TAKEN_MODULES = ("awslambdaric", "conftest", "extension_kit", "extensions", "layer_build", "pytest", "tests")
#: what lies beside the module, or is made there by the project's Makefile, which removes it first
_TAKEN_PLACES = ("build", "dist", "makefile", "vendor")
#: classes that the project's modules import
_TAKEN_CLASSES = ("Context", "Deadline", "Plugin", "Record", "Restore", "Sandbox", "Settings", "Shutdown")


@dataclass(frozen=True)
class Names:
    """``prefix`` ends with an underscore."""

    name: str
    module: str
    class_name: str
    prefix: str

    @classmethod
    def of(cls, name: str) -> Names:
        """All names for the extension `name`; ConfigError where Lambda or Python would not take one, with what is allowed."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no name for an extension: use {_ALLOWED}")
        module = name.replace("-", "_").replace(".", "_")
        words = [word for word in _SEPARATORS.split(name) if word]
        class_name = "".join(word[0].upper() + word[1:] for word in words)
        if class_name in _TAKEN_CLASSES or keyword.iskeyword(class_name):
            class_name += "Extension"
        names = cls(name, module, class_name, f"{module.upper()}_")
        _require_module(names)
        _require_prefix(names)
        return names


def _require_module(names: Names) -> None:
    module = names.module
    if keyword.iskeyword(module):
        why = "which is a word of Python's language"
    elif module in sys.stdlib_module_names:
        why = "which is a module of Python's library"
    elif module in _TAKEN_MODULES:
        why = "which the kit or the tests need"
    elif module in _TAKEN_PLACES:
        why = "a place that the project's Makefile needs"
    elif _is_installed(module):
        why = "and a package of that name is installed here: one would hide the other"
    else:
        return
    raise ConfigError(
        f"{names.name!r} cannot be used: its Python module would be {module}, {why}; e.g. my-{names.name}"
    )


def _is_installed(module: str) -> bool:
    """Whether a module with a file of its own can be imported; a mere folder of the name is none."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return found is not None and found.origin is not None


def _require_prefix(names: Names) -> None:
    others = {known.KIT: "the kit", known.AWS: "AWS"}
    others |= {
        prefix: name
        for table in (known.OURS, known.READ_TOO)
        for name, prefixes in table.items()
        for prefix in prefixes
    }
    for prefix, whose in others.items():
        if names.prefix.startswith(prefix) or prefix.startswith(names.prefix):
            raise ConfigError(
                f"{names.name!r} cannot be used: its variables would begin with {names.prefix}, those of {whose} begin with "
                f"{prefix}; e.g. my-{names.name}"
            )
