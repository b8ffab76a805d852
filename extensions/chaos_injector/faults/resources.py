"""CPU, memory, /tmp, inodes and descriptors taken away for the time of an invocation, and given back.

Everything that is taken has a floor (`Limits`), an owner (the invocations that it is for) and an end: with the last of these
invocations, when the injector is told to stop, and for what is on disk at the next start at the latest.
"""

from __future__ import annotations

import _thread
import posix
import time

from extensions.chaos_injector.faults.files import create, remove, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from extensions.chaos_injector.faults.children import Child
    from extensions.chaos_injector.plan import Fault, Limits

    class Held(Protocol):
        """What was taken: `begin` for another invocation, `rest` when none needs it for now, `stop` for good."""

        def begin(self, go_on: Callable[[], bool]) -> None: ...
        def rest(self) -> bool: ...  # whether it is still there afterwards, and costs nothing
        def stop(self) -> None: ...


__all__ = ["MB", "Resources", "clear"]

MB = 1_048_576
_STEP = 16 * MB  # of memory: a hog takes it piece by piece, and the kernel refuses a piece and not all
_FILLING = "fill"
_MANY = "inodes"
_MOST_TMP = 10_240 * MB  # Lambda's largest /tmp
_READY_S = 5.0
_LOOK_S = 0.05  # how often what takes long looks whether it may go on
_STOPPED = "it was stopped while it was beginning"


class Unable(Exception):
    """Why a fault cannot be made here."""


class Resources:
    """``folder``: of ours, below /tmp; ``runtime_pid()``: of the process that the wrapper has started, None where unknown."""

    def __init__(self, folder: str, memory_mb: int | None, runtime_pid: Callable[[], int | None]) -> None:
        self._folder = folder
        self._memory_mb = memory_mb
        self._runtime_pid = runtime_pid
        self._lock = _thread.allocate_lock()
        self._held: dict[str, Held] = {}  # by the fault's id
        self._users: dict[str, set[str]] = {}
        self._beginning: list[Held] = []
        self._lowered: list[_Descriptors] = []
        self._made = 0

    @property
    def busy(self) -> bool:
        """Whether anything is taken, or could be taken again without a start."""
        return bool(self._held or self._beginning)

    def begin(self, fault: Fault, request_id: str, limits: Limits, go_on: Callable[[], bool] = lambda: True) -> str:
        """Take what `fault` says for this invocation; "" or why that cannot be. Not longer than `done` or `stop`.

        ``go_on``: asked while it takes long. `done` and `stop` do not wait for it: what they end meanwhile is given back here.
        """
        key = fault.id
        with self._lock:
            held = self._held.get(key)
            try:
                if held is None:
                    held = self._held[key] = self._take(fault, limits)
            except (OSError, ValueError, Unable) as error:
                return _why(error)
            users = self._users.setdefault(key, set())
            is_ours = not users and held not in self._beginning
            users.add(request_id)
            if is_ours:
                self._beginning.append(held)

        def wanted() -> bool:
            return self._held.get(key) is held and go_on()

        if not is_ours:
            while held in self._beginning and wanted():
                time.sleep(_LOOK_S)
            return "" if self._held.get(key) is held else _STOPPED
        why = ""
        try:
            held.begin(wanted)
        except (OSError, ValueError, Unable) as error:
            why = _why(error)
        finally:
            with self._lock:
                self._beginning.remove(held)
                if self._held.get(key) is not held:  # dropped meanwhile
                    held.stop()
                    why = why or _STOPPED
                elif why or not (self._users.get(key) or held.rest()):
                    self._drop(key)
        return why

    def done(self, request_id: str) -> None:
        """The invocation has ended: what no other one needs is given back, or rests."""
        with self._lock:
            for key, users in list(self._users.items()):
                users.discard(request_id)
                if not users and key in self._held and not self._held[key].rest():
                    self._drop(key)

    def stop(self) -> None:
        """Give back everything, now."""
        with self._lock:
            for key in list(self._held):
                self._drop(key)

    def _drop(self, key: str) -> None:
        self._users.pop(key, None)
        held = self._held.pop(key, None)
        if (
            held is not None and held not in self._beginning
        ):  # else whoever begins it sees that it is not wanted any more
            held.stop()

    def _take(self, fault: Fault, limits: Limits) -> Held:
        params: Any = fault.params
        if fault.type == "cpu":
            return _Burners(int(params["workers"]), int(params["duty_percent"]))
        if fault.type == "memory":
            if params["oom"]:
                return _IntoTheLimit(self._memory_mb, self._runtime_pid())
            return _Hog(_wanted(params, _free_memory(self._memory_mb), limits.min_free_memory_mb * MB, "memory"))
        if fault.type == "tmp":
            size = _wanted(params, _free_tmp(self._folder), limits.min_free_tmp_mb * MB, "/tmp")
            return _Filling(self._new(_FILLING), size)
        if fault.type == "inodes":
            return _ManyFiles(self._new(_MANY), int(params["count"]), int(params["leave"]))
        return _Descriptors(int(params["limit"]), self._runtime_pid(), self._lowered)

    def _new(self, kind: str) -> str:
        """A path of its own for each fault: there may be several of a type."""
        self._made += 1
        return f"{self._folder}/{kind}-{self._made}"


def clear(folder: str) -> None:
    """Remove what a process before this one has left in `folder`."""
    try:
        names = posix.listdir(folder)
    except OSError:
        return
    for name in names:
        if name.startswith(f"{_FILLING}-"):
            remove(f"{folder}/{name}")
        elif name.startswith(f"{_MANY}-"):
            remove_tree(f"{folder}/{name}")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _wanted(params: Any, free: int, floor: int, what: str) -> int:
    """Bytes to take: ``mb``, or all but ``leave_mb``; the floor stays free whatever is asked for."""
    mb, leave = params.get("mb") or 0, params.get("leave_mb") or 0
    size = int(mb * MB) if mb else free - int(leave * MB)
    size = min(size, free - floor)
    if size <= 0:
        raise Unable(
            f"{free // MB} MB of {what} are free, and {max(floor, 0 if mb else int(leave * MB)) // MB} MB must stay so"
        )
    return size


class _Burners:
    """Children that keep ``duty_percent`` of a core busy each."""

    def __init__(self, workers: int, duty_percent: int) -> None:
        self._workers = workers
        self._duty = str(duty_percent)
        self._children: list[Child] = []

    def begin(self, _go_on: Callable[[], bool]) -> None:
        from extensions.chaos_injector.faults.children import Child

        for child in list(self._children):
            if not child.runs:  # the kernel takes them first
                self._children.remove(child)
                child.end()
        while len(self._children) < self._workers:
            self._children.append(Child("burn", self._duty))
        for child in self._children:
            child.tell(b"r")

    def rest(self) -> bool:
        """Paused, not ended: the next invocation need not wait for new processes, and a frozen environment thaws cool."""
        for child in self._children:
            child.tell(b"p")
        return True

    def stop(self) -> None:
        for child in self._children:
            child.end()
        self._children = []


class _Hog:
    """A child that holds memory, and that the kernel takes first when there is none left."""

    def __init__(self, size: int) -> None:
        from extensions.chaos_injector.faults.children import Child

        count = max(1, size // _STEP)
        self._child = Child("hog", str(size // count // 4096 * 4096 or 4096), str(count), "victim")

    def begin(self, go_on: Callable[[], bool]) -> None:
        until = time.monotonic() + _READY_S
        while not (said := self._child.answer(round(_LOOK_S * 1000))):
            if not self._child.runs:
                raise Unable("the process that holds the memory has ended")
            if time.monotonic() > until or not go_on():
                raise Unable("there was no time for so much memory, or a switch was thrown")
        if said != b"+":
            raise Unable("the memory is not to be had")

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        self._child.end()


class _IntoTheLimit:
    """Takes all there is, and makes the runtime the one that the kernel ends. Only where the machine is the function's own."""

    def __init__(self, memory_mb: int | None, pid: int | None) -> None:
        total = _machine_memory()
        if memory_mb is None or total > 2 * memory_mb * MB:
            raise Unable(
                f"this machine has {total // MB} MB and the function {memory_mb}: running out of memory would hit others"
            )
        if pid is None:
            raise Unable("the runtime's process is not known: was it started by the wrapper?")
        from extensions.chaos_injector.faults.children import Child

        self._pid = pid
        self._score(1000)
        self._child = Child("hog", str(_STEP), str(2 * memory_mb * MB // _STEP), "last")

    def begin(self, _go_on: Callable[[], bool]) -> None:
        pass  # nobody is waited for: the function has its event when the memory goes

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        self._child.end()
        self._score(0)

    def _score(self, score: int) -> None:
        try:
            with open(f"/proc/{self._pid}/oom_score_adj", "w") as file:
                file.write(str(score))
        except OSError:
            pass  # it has ended


class _Filling:
    """A file that takes disk space without anything being written: 0.7 ms for 400 MB."""

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._size = min(size, _MOST_TMP)
        self._is_ours = False

    def begin(self, _go_on: Callable[[], bool]) -> None:
        handle = create(self._path)
        self._is_ours = True
        try:
            posix.posix_fallocate(handle, 0, self._size)
        finally:
            posix.close(handle)

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        if self._is_ours:
            remove(self._path)


class _ManyFiles:
    """Empty files: ``count`` of them, or all but ``leave`` of the inodes that are free."""

    _IN_A_FOLDER = 1_000

    def __init__(self, path: str, count: int, leave: int) -> None:
        self._folder = path
        self._is_ours = False
        free = posix.statvfs(path.rpartition("/")[0]).f_favail
        wanted = count if count else free - leave
        if free and count:
            wanted = min(count, free - leave)
        self._count = wanted
        if wanted <= 0:
            raise Unable(f"{free} inodes of /tmp are free, and {leave} must stay so")

    def begin(self, go_on: Callable[[], bool]) -> None:
        posix.mkdir(self._folder, 0o700)
        self._is_ours = True
        for number in range(self._count):
            if number % self._IN_A_FOLDER == 0:
                if not go_on():
                    raise Unable(f"there was no time for more than {number} files, or a switch was thrown")
                inside = f"{self._folder}/{number // self._IN_A_FOLDER}"
                posix.mkdir(inside, 0o700)
            posix.close(create(f"{inside}/{number}"))

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        if self._is_ours:
            remove_tree(self._folder)


class _Descriptors:
    """The runtime's soft limit of open files, by prlimit(2); what it has open stays open.

    ``lowered``: those that are in force. The lowest of them counts, and with the last one the limit is what it was.
    """

    def __init__(self, limit: int, pid: int | None, lowered: list[_Descriptors]) -> None:
        import resource

        if pid is None:
            raise Unable("the runtime's process is not known: was it started by the wrapper?")
        self._pid = pid
        self._limit = limit
        self._lowered = lowered
        found = [one._before for one in lowered if one._pid == pid]
        self._before: tuple[int, int] = found[0] if found else resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def begin(self, _go_on: Callable[[], bool]) -> None:
        self._lowered.append(self)
        self._set()

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        if self in self._lowered:
            self._lowered.remove(self)
            try:
                self._set()
            except OSError:
                pass  # it has ended

    def _set(self) -> None:
        import resource

        soft, hard = self._before
        limits = [one._limit for one in self._lowered if one._pid == self._pid]
        if soft >= 0 or not limits:  # below 0: without a limit
            limits.append(soft)
        resource.prlimit(self._pid, resource.RLIMIT_NOFILE, (min(limits), hard))


def _free_tmp(folder: str) -> int:
    found = posix.statvfs(folder)
    return min(found.f_bavail * found.f_frsize, _MOST_TMP)


def _free_memory(memory_mb: int | None) -> int:
    """Bytes that can be taken: what the kernel calls available, and neither more than the function has nor than its cgroup."""
    free = _meminfo(b"MemAvailable:")
    if memory_mb is not None:
        free = min(free, memory_mb * MB)
    return max(0, min([free, *(limit - used for limit, used in _cgroups())]))


def _machine_memory() -> int:
    """Bytes: what the machine has, or the cgroup that we are in allows."""
    return min([_meminfo(b"MemTotal:"), *(limit for limit, _used in _cgroups())])


def _cgroups() -> list[tuple[int, int]]:
    """Limit and use, in bytes, of the cgroup that we are in, in either version; of a container's, where it shows no other."""
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read(65_536).splitlines()
    except OSError:
        lines = []
    places = [
        "",
        *(line.rpartition(":")[2].rstrip("/") for line in lines if ":memory:" in line or line.startswith("0::")),
    ]
    names = [
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ]
    found = []
    for root, most, used in names:
        for place in places:
            limit, current = _number(f"{root}{place}/{most}"), _number(f"{root}{place}/{used}")
            if limit is not None and current is not None:
                found.append((limit, current))
    return found


def _meminfo(name: bytes) -> int:
    with open("/proc/meminfo", "rb") as file:
        _, found, rest = file.read(8_192).partition(name)
    return int(rest.split(maxsplit=1)[0]) * 1024 if found else 0


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read(64))
    except (OSError, ValueError):
        return None
