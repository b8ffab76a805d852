"""Looks in the middle of long invocations, on a thread of its own that sleeps for good between them."""

from __future__ import annotations

import _thread
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Watcher"]


class Watcher:
    """Calls ``watch`` every ``every_ms`` between `begin` and `end`. ``lock``: held meanwhile, and by whoever samples."""

    def __init__(self, watch: Callable[[], object], every_ms: int) -> None:
        self.lock = _thread.allocate_lock()
        self._watch = watch
        self._every_s = every_ms / 1000
        self._gate = _thread.allocate_lock()
        self._gate.acquire()
        self._waits = False  # the thread, at the gate
        self._runs = False  # an invocation
        self._begun = False  # the thread

    def begin(self) -> None:
        """An invocation begins. Where no thread can be had nothing is looked at in between."""
        self._runs = True
        if not self._begun:
            try:
                _thread.start_new_thread(self._serve, ())
                self._begun = True
            except RuntimeError:
                return
        elif self._waits:
            self._waits = False
            if self._gate.locked():  # it may be open already, for a thread that has seen the beginning by itself
                self._gate.release()

    def end(self) -> None:
        self._runs = False

    def _serve(self) -> None:
        while True:
            while self._runs:
                time.sleep(self._every_s)
                with self.lock:
                    if self._runs:
                        self._watch()
            self._waits = True
            if self._runs:
                continue  # one has begun just now and has not seen that we wait
            self._gate.acquire()
