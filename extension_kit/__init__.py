"""Lambda Extension Kit: write, run and test AWS Lambda extensions in Python.

The public names are resolved when they are first used: importing this package costs almost nothing, and `run` can register
before the rest is loaded.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.errors import (
        ConfigError,
        DeadlineExceeded,
        ExtensionKitError,
        LocalProtocolError,
        PluginError,
        RemoteProtocolError,
    )
    from extension_kit.events import Flushed, Invoke, Registration, Restore, Shutdown, UnknownEvent
    from extension_kit.internal import register_internal
    from extension_kit.plugin import Context, Plugin
    from extension_kit.protocol.deadline import Deadline
    from extension_kit.runner import run
    from extension_kit.settings import Settings

__all__ = [
    "ConfigError",
    "Context",
    "Deadline",
    "DeadlineExceeded",
    "ExtensionKitError",
    "Flushed",
    "Invoke",
    "LocalProtocolError",
    "Plugin",
    "PluginError",
    "Registration",
    "RemoteProtocolError",
    "Restore",
    "Settings",
    "Shutdown",
    "UnknownEvent",
    "register_internal",
    "run",
]

_HOMES = {
    "Context": "plugin",
    "Deadline": "protocol.deadline",
    "Flushed": "events",
    "Invoke": "events",
    "Plugin": "plugin",
    "Registration": "events",
    "Restore": "events",
    "Settings": "settings",
    "Shutdown": "events",
    "UnknownEvent": "events",
    "register_internal": "internal",
    "run": "runner",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        try:
            return metadata.version("lambda-extension-kit")
        except metadata.PackageNotFoundError:
            return "0+unknown"
    if name not in __all__:
        raise AttributeError(f"module 'extension_kit' has no attribute {name!r}")
    home = _HOMES.get(name, "errors")
    value = getattr(__import__(f"extension_kit.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
