"""What the plug-ins of one process share, and what one of them must not take from the others: it is looked after here.

After each hook: modules that are gone from ``sys.modules`` come back, and so do importers; standard output and standard error
that were closed are open again (else the next socket of somebody would have that number, and be written log lines into); where
no descriptor is left, which a library may well keep to itself, some that were kept back are given. Only where there are several
plug-ins: what one does to itself alone is its affair.
"""

from __future__ import annotations

import posix
import resource
import sys
import time

from extension_kit.io import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from extension_kit.host import Hosted

__all__ = ["Commons", "call_in_turn"]

_KEPT_BACK = 128  # descriptors; Lambda allows 1,024 (AWS docs, Lambda quotas)
_NONE_LEFT = (23, 24)  # ENFILE, EMFILE
_TURN_S = 0.1  # after which the next plug-in's hook of the init begins
_HOOKS_S, _HOOKS_AHEAD_S = 3.0, 60.0  # for all hooks of an init of 10 s, and of one that is made ahead
_LEAST_S = 0.25  # for one of them where others have used up the time
_LATER = (
    "extension_kit.protocol.deadline", "extension_kit.protocol.drain", "extension_kit.records", "extension_kit.stream",
)  # fmt: skip
_IMPORTERS = ("meta_path", "path_hooks", "path")
_STREAMS = {1: "standard output", 2: "standard error"}


class Commons:
    """``say`` is told in a line what was mended, once for each plug-in and kind."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._told: set[object] = set()
        self._self = sys.modules[__name__]
        self._modules: dict[str, ModuleType] = {}
        self._copies: dict[int, int] = {}
        for number in _STREAMS:
            try:
                self._copies[number] = posix.dup(number)
            except OSError:
                pass  # it was closed before
        self._limits = _keep_back()
        self._importers = [(name, list(getattr(sys, name))) for name in _IMPORTERS]

    def before(self) -> None:
        """A hook is about to run."""
        self._relieve("before a hook")
        if len(sys.modules) != len(self._modules) and sys.modules.get(__name__) is self._self:
            self._modules = sys.modules.copy()

    def after(self, plugin: str, hook: str) -> None:
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
        for name, kept in self._importers:
            if not getattr(sys, name, None):
                setattr(sys, name, list(kept))
                self._tell(plugin, hook, f"sys.{name} was empty: it is as before")
        self._relieve(f"after {hook} of plug-in {plugin}")

    def prepare(self) -> None:
        """Import what the kit needs later, while that can be done: no file can be opened, or no module be found, some day."""
        for name in _LATER if "extension_kit.telemetry" in sys.modules else _LATER[:1]:
            try:
                __import__(name)
            except (ImportError, OSError):
                pass  # not in this layer; or it is tried again when it is needed

    def again(self, call: Callable[[], object]) -> None:
        """Call it; once more where it failed for want of a descriptor, and some could be given."""
        try:
            call()
        except OSError as error:
            if error.errno not in _NONE_LEFT or not self._relieve("meanwhile"):
                raise
            call()

    def _relieve(self, when: str) -> bool:
        """Give what was kept back where no descriptor is left."""
        if self._limits is None:
            return False
        try:
            posix.close(posix.dup(self._copies.get(2, 0)))
            return False
        except OSError as error:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            most = min(self._limits[0], hard) if hard != resource.RLIM_INFINITY else self._limits[0]
            if error.errno not in _NONE_LEFT or soft >= most or not _set((most, hard)):
                return False
        self.prepare()
        if "files" not in self._told:
            self._told.add("files")
            self._say(f"{when} no file could be opened any more: {_KEPT_BACK} that were kept back are given")
        return True

    def _tell(self, plugin: str, hook: str, what: str) -> None:
        if (plugin, what) not in self._told:
            self._told.add((plugin, what))
            self._say(f"after {hook} of plug-in {plugin} {what}")


def _keep_back() -> tuple[int, int] | None:
    """Lower the limit of open files; what it was, None where it stays as it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (soft, hard) if soft > 2 * _KEPT_BACK and _set((soft - _KEPT_BACK, hard)) else None


def _set(limits: tuple[int, int]) -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    except (OSError, ValueError):
        return False
    return True


def call_in_turn(plugins: list[Hosted], hook: str) -> int:
    """A hook of the init, given each plug-in's context: one after another, as long as none is slow. Failures counted.

    What is imported in them is imported by one at a time; but no plug-in waits for another longer than a moment, and all
    of them have ended in 3 s, or are left to themselves.
    """
    ahead = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") not in ("", "on-demand")
    ends = time.monotonic() + (_HOOKS_AHEAD_S if ahead else _HOOKS_S)
    wanted = [hosted for hosted in plugins if hosted.has(hook)]
    running = []
    for hosted in wanted:
        began = time.monotonic()
        if hosted.begin(hook, hosted.context):
            running.append((hosted, began))
            hosted.give_a_turn(min(_TURN_S, hosted.budget(hook)))
    ended_well = 0
    for hosted, began in running:
        seconds = min(hosted.budget(hook), max(_LEAST_S, ends - began))
        ended_well += hosted.finish(hook, began, seconds)
    return len(wanted) - ended_well
