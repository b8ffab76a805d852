"""Processes of an environment: started as Lambda starts them, watched, signalled, frozen, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.emulator.model import LaunchError
from extension_kit.io.loop import READ

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.io.loop import Loop

_LINE_LIMIT = 262_144  # bytes; longer lines are cut, so that a program that never ends its line cannot fill our memory


class Output:
    """Turns what a process writes on one pipe into lines."""

    def __init__(self, loop: Loop, fd: int, on_line: Callable[[str], object]) -> None:
        self._loop = loop
        self._fd = fd
        self._on_line = on_line
        self._rest = bytearray()
        self._open = True
        os.set_blocking(fd, False)
        loop.watch(fd, READ, self._ready)

    def _ready(self, _events: int) -> None:
        if not self.drain():
            self.close()

    def drain(self) -> bool:
        """Take what is there; False at the end of the stream."""
        while self._open:
            try:
                data = os.read(self._fd, 65_536)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._rest += data
            *lines, last = bytes(self._rest).split(b"\n")
            self._rest = bytearray(last[:_LINE_LIMIT])
            for line in lines:
                self._on_line(line.decode("utf-8", "replace"))
        return False

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.unwatch(self._fd)
            os.close(self._fd)
            if self._rest:
                self._on_line(self._rest.decode("utf-8", "replace"))


class Process:
    """One started program, in a process group of its own."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.killed = False
        self.outputs: list[Output] = []
        self.cpu_ms = 0.0  # user and system, children that it waited for included; known when it has ended
        self.peak_bytes = 0  # resident memory, as far as `look` has seen it
        self._ended = threading.Event()

    def signal(self, number: int) -> None:
        """Signal the whole group; a group that has gone is no error."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def kill(self) -> None:
        self.killed = True
        self.signal(signal.SIGKILL)

    def look(self) -> None:
        """Note the peak of the resident memory so far. (What `wait4` tells counts the memory of whoever started it too.)"""
        try:
            status = Path(f"/proc/{self.pid}/status").read_bytes()
        except OSError:
            return
        _, found, rest = status.partition(b"\nVmHWM:")
        if found:
            self.peak_bytes = int(rest.split(maxsplit=1)[0]) * 1024

    def reap(self) -> int:
        """Wait for the end of the process and note what it used; its return code, as `subprocess` gives it."""
        _pid, status, usage = os.wait4(self.pid, 0)
        self.cpu_ms = (usage.ru_utime + usage.ru_stime) * 1000
        self.popen.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()
        return self.popen.returncode

    def join(self, timeout: float | None = None) -> bool:
        """Wait (s) until `reap`, on whatever thread, is through; whether it is."""
        return self._ended.wait(timeout)


def launch(
    command: list[str],
    cwd: str,
    variables: dict[str, str],
    enter: Callable[[Callable[[], Any]], Any],
    program: Path,
) -> subprocess.Popen[bytes]:
    """Start `command` where `enter` runs it (the namespace's thread, or here). LaunchError says why it could not be.

    ``program``: the file as this process sees it, to be looked into when `exec` refuses it.
    """
    try:
        popen: subprocess.Popen[bytes] = enter(
            lambda: subprocess.Popen(
                command,
                cwd=cwd,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                bufsize=0,
            )
        )
    except PermissionError as error:
        raise LaunchError("PermissionDenied", f"{command[0]}: not executable (mode 0755 is wanted): {error}") from error
    except FileNotFoundError as error:
        raise LaunchError("UnknownError", _why_not_found(command[0], program, error)) from error
    except (OSError, ValueError) as error:
        raise LaunchError("UnknownError", f"{command[0]}: {error}") from error
    return popen


def _why_not_found(shown: str, program: Path, error: OSError) -> str:
    """`exec` says "no such file" for the interpreter as well: look at the first line to tell which it is."""
    hint = ""
    try:
        with program.open("rb") as file:
            first = file.readline(256)
    except OSError:
        first = b""
    if first.startswith(b"#!"):
        if first.rstrip(b"\n").endswith(b"\r"):
            hint = " (its first line ends in CR LF: save the file with Unix line ends)"
        else:
            hint = f" (its interpreter {first[2:].strip().decode('utf-8', 'replace')!r} does not exist here)"
    return f"{shown}: {error.strerror}{hint}"


def watch(loop: Loop, process: Process, on_exit: Callable[[str], object]) -> None:
    """Tell the loop when the process has ended: ``exit status N`` or ``signal: killed``, in the words of AWS's emulator."""

    def wait() -> None:
        code = process.reap()
        loop.call_soon_threadsafe(finish, code)

    def finish(code: int) -> None:
        for output in process.outputs:
            output.drain()
        on_exit(describe_exit(code))

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()


def describe_exit(code: int) -> str:
    """``exit status 3`` or ``signal: killed``, from a return code as `subprocess` gives it."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal: {signal.Signals(-code).name[3:].lower()}"
    except ValueError:
        return f"signal: {-code}"


def left_behind(marker: Callable[[int], bool]) -> list[int]:
    """Processes for which `marker` holds, other than this one (needs /proc; [] elsewhere)."""
    try:
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    except OSError:
        return []
    return [pid for pid in pids if pid != os.getpid() and _holds(marker, pid)]


def _holds(marker: Callable[[int], bool], pid: int) -> bool:
    try:
        return marker(pid)
    except OSError:
        return False


def marked_by_variable(setting: str) -> Callable[[int], bool]:
    """Recognises a process by ``NAME=value`` in the variables that it was started with."""
    wanted = setting.encode()
    return lambda pid: wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def marked_by_network(namespace: str) -> Callable[[int], bool]:
    """Recognises a process by its network namespace (as ``/proc/PID/ns/net`` reads)."""
    return lambda pid: os.readlink(f"/proc/{pid}/ns/net") == namespace
