"""Child processes of resource faults: started without a shell, told what to do through a pipe, gone when we are.

The pipe is the safety: a child waits at its end for orders, so the kernel itself tells it that we have ended, even by SIGKILL;
a signal at the parent's death (prctl) would be tied to a thread, and needs ctypes. Each child leads a process group, so that
nobody's signal to ours wakes it.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Child"]

_PROGRAM = __file__.rpartition("/")[0] + "/helper.py"


class Child:
    """One run of ``helper.py``. OSError where no process can be started."""

    def __init__(self, *words: str) -> None:
        orders, self._orders = posix.pipe2(posix.O_CLOEXEC)
        self._answers, answers = posix.pipe2(posix.O_CLOEXEC)
        actions: list[Any] = [(posix.POSIX_SPAWN_DUP2, orders, 0), (posix.POSIX_SPAWN_DUP2, answers, 1)]
        python = sys.executable or "/proc/self/exe"
        try:
            self.pid = posix.posix_spawn(
                python, [python, "-I", "-S", _PROGRAM, *words], {}, file_actions=actions, setpgroup=0
            )
        except OSError:
            posix.close(self._orders)
            posix.close(self._answers)
            raise
        finally:
            posix.close(orders)
            posix.close(answers)
        self._ended = False

    def tell(self, order: bytes) -> None:
        """One byte of an order; a child that has ended hears nothing."""
        try:
            posix.write(self._orders, order)
        except OSError:
            pass

    def answer(self, milliseconds: int) -> bytes:
        """What it has to say, one byte; b"" where it has ended or says nothing in time."""
        import select

        waiting = select.poll()
        waiting.register(self._answers, select.POLLIN)
        return posix.read(self._answers, 1) if waiting.poll(milliseconds) else b""

    @property
    def runs(self) -> bool:
        """Whether it has not ended by itself or by the kernel's hand."""
        if not self._ended:
            try:
                self._ended = posix.waitpid(self.pid, posix.WNOHANG)[0] == self.pid
            except ChildProcessError:
                self._ended = True
        return not self._ended

    def end(self) -> None:
        """SIGKILL, and wait: it holds nothing that would need an orderly end."""
        posix.close(self._orders)
        posix.close(self._answers)
        if self.runs:
            try:
                posix.kill(self.pid, 9)
                posix.waitpid(self.pid, 0)
            except OSError:
                pass
            self._ended = True
