"""One thread that waits for many sockets: the event loop under every server of the kit.

The standard library's ``asyncio`` would do the same at four to six times the import time and memory of a whole extension,
so this loop is the small part of it that is needed: readiness callbacks, timers, and a way in for other threads.
It uses ``epoll`` where there is one (Linux) and ``poll`` elsewhere (macOS); the event bits are the same.
"""

from __future__ import annotations

import _thread
import posix
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READ", "WRITE", "Loop", "Timer"]

READ = select.POLLIN
WRITE = select.POLLOUT


class Timer:
    """One call in the future; `cancel` may be called any number of times, also after it ran."""

    __slots__ = ("args", "at", "call")

    def __init__(self, at: float, call: Callable[..., object], args: tuple[object, ...]) -> None:
        self.at = at
        self.call: Callable[..., object] | None = call
        self.args = args

    def cancel(self) -> None:
        self.call = None
        self.args = ()


class Loop:
    """Readiness callbacks and timers on one thread. Only `call_soon_threadsafe` and `stop` may be called from others."""

    def __init__(self) -> None:
        self._poll = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._scale = 1.0 if hasattr(select, "epoll") else 1000.0  # epoll waits in seconds, poll in milliseconds
        self._callbacks: dict[int, Callable[[int], object]] = {}
        self._timers: list[Timer] = []
        self._soon: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._lock = _thread.allocate_lock()
        self._running = False
        self._closed = False
        self._wake_out, self._wake_in = posix.pipe()
        posix.set_blocking(self._wake_out, False)
        posix.set_blocking(self._wake_in, False)
        self._read, self._write, self._close_fd = posix.read, posix.write, posix.close
        self.watch(self._wake_out, READ, self._drain_wake)

    # sockets

    def watch(self, fd: int, events: int, callback: Callable[[int], object]) -> None:
        """Call ``callback(event_bits)`` whenever `fd` is ready for `events`; errors and hang-ups are always told."""
        self._callbacks[fd] = callback
        self._poll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other `events` on a watched `fd`; 0 waits for errors only."""
        self._poll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; before it is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    # time

    def call_at(self, at: float, call: Callable[..., object], *args: object) -> Timer:
        """Run ``call(*args)`` when ``time.monotonic()`` reaches `at` (seconds)."""
        timer = Timer(at, call, args)
        self._timers.append(timer)
        return timer

    def call_later(self, seconds: float, call: Callable[..., object], *args: object) -> Timer:
        return self.call_at(time.monotonic() + seconds, call, *args)

    # other threads

    def call_soon_threadsafe(self, call: Callable[..., object], *args: object) -> None:
        """Run ``call(*args)`` on the loop's thread, in order of arrival. After `close` it is dropped."""
        with self._lock:
            if self._closed:
                return
            self._soon.append((call, args))
            self._wake()

    def stop(self) -> None:
        """Make `run` return after the callbacks that are due."""
        self.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._running = False

    def _wake(self) -> None:
        try:
            self._write(self._wake_in, b"w")
        except BlockingIOError:
            pass  # the pipe is full of wake-ups: one is enough

    def _drain_wake(self, _events: int) -> None:
        try:
            self._read(self._wake_out, 4096)
        except BlockingIOError:
            pass

    # running

    def run(self) -> None:
        """Serve until `stop`. A callback that raises is reported on stderr and never ends the loop."""
        self._running = True
        while self._running:
            for fd, events in self._poll.poll(self._wait() if self._timers else None):
                callback = self._callbacks.get(fd)
                if callback is not None:
                    self._guard(callback, (events,))
            if self._timers:
                self._run_timers()
            if self._soon:
                self._run_soon()

    def close(self) -> None:
        """Release the descriptors; after `run` has returned."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._soon.clear()
        self.unwatch(self._wake_out)
        self._close_fd(self._wake_out)
        self._close_fd(self._wake_in)
        if hasattr(self._poll, "close"):
            self._poll.close()

    def _wait(self) -> float | None:
        self._timers = [timer for timer in self._timers if timer.call is not None]
        if not self._timers:
            return None
        wait = min(timer.at for timer in self._timers) - time.monotonic()
        return max(0.0, wait) * self._scale

    def _run_timers(self) -> None:
        now = time.monotonic()
        due = [timer for timer in self._timers if timer.at <= now]
        due.sort(key=lambda timer: timer.at)
        for timer in due:
            call, args = timer.call, timer.args
            timer.cancel()
            if call is not None:
                self._guard(call, args)

    def _run_soon(self) -> None:
        with self._lock:
            soon, self._soon = self._soon, []
        for call, args in soon:
            self._guard(call, args)

    def _guard(self, call: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            call(*args)
        except Exception:
            sys.excepthook(*sys.exc_info())
