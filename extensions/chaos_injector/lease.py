"""How old something is, by two clocks; and who may inject in this execution environment.

A frozen environment comes back with a wall clock that has gone on, a restored snapshot with a monotonic clock that may have
begun anew, and either may be set: what is older on one of the clocks is older.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.io.clock import Clock

__all__ = ["FOREVER_MS", "Holder", "Since"]

FOREVER_MS = 1 << 62
_SET_BACK_MS = 1_000  # by which a wall clock may be corrected


class Since:
    """A moment. ``wall_ms``: epoch ms."""

    __slots__ = ("_clock", "_monotonic_ns", "wall_ms")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.wall_ms = clock.wall_ms()
        self._monotonic_ns = clock.monotonic_ns()

    def age_ms(self) -> int:
        """Since then; `FOREVER_MS` where a clock has gone back, so that nobody knows."""
        wall = self._clock.wall_ms() - self.wall_ms
        monotonic = (self._clock.monotonic_ns() - self._monotonic_ns) // 1_000_000
        if wall < -_SET_BACK_MS or monotonic < 0:
            return FOREVER_MS
        return max(wall, monotonic)


class Holder:
    """The single owner among the processes of an environment: a lock on the file ``lease``, which ends with its process."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/lease"
        self._descriptor = -1

    def take(self, owner: str) -> str:
        """ "" where it is ours now, else why it is not. ``owner``: written into the file, for people."""
        if self._descriptor >= 0:
            return ""
        import fcntl
        import os

        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            return f"{self._path} cannot be opened: {error.strerror}"
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()} {owner}\n".encode("utf-8", "replace"))
        except BlockingIOError:
            os.close(descriptor)
            return f"another process of this environment injects already ({self._path})"
        except OSError:
            pass  # the lock is ours; that the file says so matters to people only
        self._descriptor = descriptor
        return ""

    def release(self) -> None:
        if self._descriptor >= 0:
            import os

            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
