"""What the plug-ins of one process share, and what one of them must not take from the others: it is looked after here.

After each hook: modules that are gone from ``sys.modules`` come back, standard output and standard error that were closed are
open again (else the next socket of somebody would have that number, and be written log lines into), and where no descriptor is
left, some that were kept back are given. Only where there are several plug-ins: what one does to itself alone is its affair.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["Commons"]

_KEPT_BACK = 128  # descriptors; Lambda allows 1,024 (AWS docs, Lambda quotas)
_NONE_LEFT = (23, 24)  # ENFILE, EMFILE
_STREAMS = {1: "standard output", 2: "standard error"}


class Commons:
    """``say`` is told in a line what was mended, once for each plug-in and kind."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._told: set[tuple[str, str]] = set()
        self._self = sys.modules[__name__]
        self._modules: dict[str, ModuleType] = {}
        self._copies: dict[int, int] = {}
        for number in _STREAMS:
            try:
                self._copies[number] = posix.dup(number)
            except OSError:
                pass  # it was closed before
        self._limits = _keep_back()

    def before(self) -> None:
        """A hook is about to run."""
        if len(sys.modules) != len(self._modules) and sys.modules.get(__name__) is self._self:
            self._modules = sys.modules.copy()

    def after(self, plugin: str, hook: str, error: BaseException | None) -> None:
        """One has ended, on its plug-in's thread."""
        if sys.modules.get(__name__) is not self._self:
            sys.modules.update(self._modules)
            self._tell(plugin, hook, "modules were gone from sys.modules: they are back")
        for number, copy in self._copies.items():
            try:
                posix.get_inheritable(number)
            except OSError:
                posix.dup2(copy, number)
                self._tell(plugin, hook, f"{_STREAMS[number]} was closed: it is open again")
        if isinstance(error, OSError) and error.errno in _NONE_LEFT and self._limits is not None:
            limits, self._limits = self._limits, None
            _set(limits)
            self._tell(plugin, hook, f"no file could be opened any more: {_KEPT_BACK} that were kept back are given")

    def _tell(self, plugin: str, hook: str, what: str) -> None:
        if (plugin, what) not in self._told:
            self._told.add((plugin, what))
            self._say(f"after {hook} of plug-in {plugin} {what}")


def _keep_back() -> tuple[int, int] | None:
    """Lower the limit of open files; what it was, None where it stays as it is."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (soft, hard) if soft > 2 * _KEPT_BACK and _set((soft - _KEPT_BACK, hard)) else None


def _set(limits: tuple[int, int]) -> bool:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    except (OSError, ValueError):
        return False
    return True
