"""The manifest beside a plug-in's module, for the egress guard where no layer says what may be done; no layer carries this."""

from __future__ import annotations

import posix
import sys

from extension_kit.declarations import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["beside", "read", "tell_of_none"]


def beside(spec: Any) -> str:
    """The path of the manifest beside a plug-in's module, which may not have been imported; "" where there is none."""
    module = spec.partition(":")[0] if isinstance(spec, str) else getattr(spec, "__module__", None)
    if not isinstance(module, str):
        return ""
    file = getattr(sys.modules.get(module), "__file__", None) or _file_of(module)
    path = f"{file.rpartition('/')[0] or '.'}/manifest.toml" if file else ""
    return path if path and _is_there(path) else ""


def _file_of(module: str) -> str:
    inside = module.replace(".", "/")
    for folder in sys.path:
        for ending in (".py", "/__init__.py"):
            path = f"{folder or '.'}/{inside}{ending}"
            if _is_there(path):
                return path
    return ""


def _is_there(path: str) -> bool:
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True


def read(path: str, say: Callable[[str], object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hosts and programs of the manifest at `path`, in a layer's form; of one that cannot be read, none."""
    import tomllib

    try:
        with open(path, "rb") as file:
            may: dict[str, Any] = tomllib.load(file).get("capabilities", {})
        hosts = tuple(_host(one) for one in may.get("hosts", ()))
        programs = tuple(one if isinstance(one, str) else one["program"] for one in may.get("subprocesses", ()))
        if not all(isinstance(one, str) for one in (*hosts, *programs)):
            raise ValueError("a host or program is no text")
        return hosts, programs
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        say(f"egress guard: {clean(path)} cannot be read, so it allows nothing: {clean(str(error))}")
        return (), ()


def _host(one: Any) -> str:
    if isinstance(one, str):
        return one
    when, host = one.get("when", ""), one["host"]
    if not isinstance(host, str) or not isinstance(when, str):
        raise ValueError("a host is no text")
    return f"{host} when {when}" if when else host


def tell_of_none(untold: list[bool], say: Callable[[str], object], what: str) -> None:
    """Nobody has said what may be done: the one line about it, of the thread that is the first."""
    try:
        untold.pop()
        say(
            f"no egress guard: {what} passes, and all else, since no plug-in has a manifest.toml beside its module that says "
            "what it may; EXTENSION_KIT_EGRESS_ALLOW names what may pass, * says that all may"
        )
    except Exception:  # noqa: BLE001, S110 - told already, or it cannot be; it passes all the same
        pass
