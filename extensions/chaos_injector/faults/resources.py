"""CPU, memory, /tmp, inodes and descriptors taken away for the time of an invocation, and given back.

Everything that is taken has a floor (`Limits`), an owner (the invocations that it is for) and an end: with the last of these
invocations, when the injector is told to stop, and for what is on disk at the next start at the latest.
"""

from __future__ import annotations

import _thread
import posix

from extensions.chaos_injector.faults.files import create, remove, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

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
_READY_MS = 5_000


class Unable(Exception):
    """Why a fault cannot be made here."""


class Resources:
    """``folder``: of ours, below /tmp; ``runtime_pid()``: of the process that the wrapper has started, None where unknown."""

    def __init__(self, folder: str, memory_mb: int | None, runtime_pid: Callable[[], int | None]) -> None:
        self._folder = folder
        self._memory_mb = memory_mb
        self._runtime_pid = runtime_pid
        self._lock = _thread.allocate_lock()
        self._held: dict[str, Held] = {}
        self._users: dict[str, set[str]] = {}

    @property
    def busy(self) -> bool:
        """Whether anything is taken, or could be taken again without a start."""
        return bool(self._held)

    def begin(self, fault: Fault, request_id: str, limits: Limits, go_on: Callable[[], bool] = lambda: True) -> str:
        """Take what `fault` says for this invocation; "" or why that cannot be. Not longer than `done` or `stop`.

        ``go_on``: asked while it takes long.
        """
        with self._lock:
            held = self._held.get(fault.id)
            try:
                if held is None:
                    held = self._held[fault.id] = self._take(fault, limits)
                if not self._users.get(fault.id):
                    held.begin(go_on)
            except (OSError, ValueError, Unable) as error:
                self._drop(fault.id)
                return getattr(error, "strerror", None) or str(error)
            self._users.setdefault(fault.id, set()).add(request_id)
        return ""

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
        if held is not None:
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
            return _Filling(self._folder, _wanted(params, _free_tmp(self._folder), limits.min_free_tmp_mb * MB, "/tmp"))
        if fault.type == "inodes":
            return _ManyFiles(self._folder, int(params["count"]), int(params["leave"]))
        return _Descriptors(int(params["limit"]), self._runtime_pid())


def clear(folder: str) -> None:
    """Remove what a process before this one has left in `folder`."""
    remove(f"{folder}/{_FILLING}")
    remove_tree(f"{folder}/{_MANY}")


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
        from extensions.chaos_injector.faults.children import Child

        self._children: list[Child] = []
        try:
            for _ in range(workers):
                self._children.append(Child("burn", str(duty_percent)))
        except OSError:
            self.stop()
            raise

    def begin(self, _go_on: Callable[[], bool]) -> None:
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

    def begin(self, _go_on: Callable[[], bool]) -> None:
        said = self._child.answer(_READY_MS)
        if said != b"+":
            raise Unable(
                "the memory is not to be had" if said == b"-" else "the process that holds the memory has ended"
            )

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

    def __init__(self, folder: str, size: int) -> None:
        self._path = f"{folder}/{_FILLING}"
        self._size = min(size, _MOST_TMP)

    def begin(self, _go_on: Callable[[], bool]) -> None:
        handle = create(self._path)
        try:
            posix.posix_fallocate(handle, 0, self._size)
        except OSError:
            remove(self._path)
            raise
        finally:
            posix.close(handle)

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        remove(self._path)


class _ManyFiles:
    """Empty files: ``count`` of them, or all but ``leave`` of the inodes that are free."""

    _IN_A_FOLDER = 1_000

    def __init__(self, folder: str, count: int, leave: int) -> None:
        self._folder = f"{folder}/{_MANY}"
        free = posix.statvfs(folder).f_favail
        wanted = count if count else free - leave
        if free and count:
            wanted = min(count, free - leave)
        self._count = wanted
        if wanted <= 0:
            raise Unable(f"{free} inodes of /tmp are free, and {leave} must stay so")

    def begin(self, go_on: Callable[[], bool]) -> None:
        try:
            posix.mkdir(self._folder, 0o700)
            for number in range(self._count):
                if number % self._IN_A_FOLDER == 0:
                    if not go_on():
                        raise Unable(f"there was no time for more than {number} files")
                    inside = f"{self._folder}/{number // self._IN_A_FOLDER}"
                    posix.mkdir(inside, 0o700)
                posix.close(create(f"{inside}/{number}"))
        except (OSError, Unable):
            self.stop()
            raise

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        remove_tree(self._folder)


class _Descriptors:
    """The runtime's soft limit of open files, by prlimit(2); what it has open stays open."""

    def __init__(self, limit: int, pid: int | None) -> None:
        import resource

        if pid is None:
            raise Unable("the runtime's process is not known: was it started by the wrapper?")
        self._pid = pid
        self._limit = limit
        self._before = resource.prlimit(pid, resource.RLIMIT_NOFILE)

    def begin(self, _go_on: Callable[[], bool]) -> None:
        import resource

        soft, hard = self._before
        resource.prlimit(
            self._pid, resource.RLIMIT_NOFILE, (min(self._limit, soft if soft >= 0 else self._limit), hard)
        )

    def rest(self) -> bool:
        return False

    def stop(self) -> None:
        import resource

        try:
            resource.prlimit(self._pid, resource.RLIMIT_NOFILE, self._before)
        except OSError:
            pass  # it has ended


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
