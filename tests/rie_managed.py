"""AWS's Runtime Interface Emulator in Managed Instances mode, for tests: the one source of telemetry that AWS itself wrote.

Where AWS_LAMBDA_MAX_CONCURRENCY is set AWS's emulator is another one: it initialises at once, serves several invokes at a time,
refuses INVOKE subscriptions, and delivers telemetry. It needs root, since it gives its children another user.
"""

from __future__ import annotations

import functools
import http.client
import math
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.backends import rie_binary
from extension_kit.emulator import layers, namespaces, processes
from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

SHARED = "/opt/shared"  # where extensions and functions may leave files; `RieManaged.shared` outside
_USER, _GROUP = 993, 990  # of everything that AWS's emulator starts in this mode
_PORT = 8080
_PATH = "/2015-03-31/functions/function/invocations"
_PATIENCE = 30.0  # seconds for what takes a fraction of one where nothing is wrong
_TMP_MB = 64
_ROOT = Path(__file__).parents[1]


@functools.cache
def why_not() -> str:
    """Why this cannot be had here, in one line; "" where it can."""
    if os.geteuid() != 0:
        return "AWS's emulator in Managed Instances mode needs root"
    if not _has(_USER, "uid_map") or not _has(_GROUP, "gid_map"):
        return f"AWS's emulator in Managed Instances mode needs user {_USER} and group {_GROUP}, not in this user namespace"
    try:
        return namespaces.unavailable() or _why_no_python(rie_binary.binary())
    except ConfigError as error:
        return str(error)


def _has(number: int, table: str) -> bool:
    """Whether the user or group exists in our user namespace: one that we made ourselves has root only."""
    ranges = [map(int, line.split()) for line in Path("/proc/self", table).read_text().splitlines()]
    return any(first <= number < first + count for first, _outside, count in ranges)


def _why_no_python(binary: Path) -> str:
    """The function runs on this interpreter, as a user who may not be allowed to read it."""
    staging = Path(tempfile.mkdtemp(prefix="extension-kit-managed-"))
    place = namespaces.NamespaceThread()
    command = [sys.executable, "-c", "import awslambdaric"]
    try:
        _furnish(place, staging, binary)
        done = place.call(
            lambda: subprocess.run(
                command, cwd="/", user=_USER, group=_GROUP, extra_groups=[], env={}, check=False,
                capture_output=True, text=True, timeout=_PATIENCE,
            )
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"user {_USER} cannot run {sys.executable}: {error}"
    finally:
        place.close()
        shutil.rmtree(staging)
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return f"user {_USER} cannot run {sys.executable} with awslambdaric: {last}" if done.returncode else ""


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class Invokes:
    """Invokes over HTTP, wherever AWS's emulator runs. Subclasses say how it is reached; ``_timeout`` (s) is the function's."""

    _timeout: int

    def invoke(
        self, payload: bytes = b"{}", headers: dict[str, str] | None = None, patient: bool = True
    ) -> tuple[int, dict[str, str], bytes]:
        """One invoke: status, headers (lower case), body; from any thread. The header X-Amzn-RequestId names it.

        Init ends with the first of the runtime's workers, and a worker is not idle as soon as it has answered. So who is
        ``patient`` tries again while there is none; otherwise that is the answer: 400, Runtime.Unavailable.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            answer = self._ask(payload, headers or {})
            busy = answer[0] == 400 and answer[1].get("error-type") == "Runtime.Unavailable"
            if not (busy and patient) or time.monotonic() > until:
                return answer
            time.sleep(0.01)

    def _ask(self, payload: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", _PORT)
        connection.sock = self._connect()
        try:
            connection.sock.settimeout(self._timeout * 2 + _PATIENCE)
            connection.request("POST", _PATH, payload, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def _connect(self) -> socket.socket:
        """A connection to the invoke endpoint, made inside its network and good anywhere."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                sock: socket.socket = self._inside(lambda: socket.create_connection(("127.0.0.1", _PORT), 5))
                return sock
            except OSError:
                if time.monotonic() >= until or self._has_ended():
                    raise
                time.sleep(0.01)

    def _inside(self, call: Callable[[], Any]) -> Any:
        """What `call` returns on a thread that is in the emulator's network."""
        raise NotImplementedError

    def _has_ended(self) -> bool:
        """Whether nobody will ever listen any more."""
        raise NotImplementedError


class RieManaged(Invokes):
    """AWS's emulator with one Python function and its extensions. Use as a context manager: nothing is left behind.

    ``timeout`` (s, whole ones) is the function's, and limits init too. ``limit`` (s) ends a run whatever happens, even if this
    process has been killed. ``variables`` are those of the function and of the extensions.
    """

    def __init__(
        self,
        extensions: Iterable[Path],
        function: Path,
        handler: str,
        binary: Path,
        concurrency: int = 2,
        timeout: float = 5.0,
        variables: dict[str, str] | None = None,
        limit: float = 120.0,
    ) -> None:
        self._extensions = list(extensions)
        self._function = function
        self._binary = binary
        self._limit = limit
        self._timeout = max(1, math.ceil(timeout))
        self._variables = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            **(variables or {}),
            "AWS_LAMBDA_MAX_CONCURRENCY": str(concurrency),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout),
            "_HANDLER": handler,
        }
        self._lines: list[str] = []

    def __enter__(self) -> RieManaged:
        self._staging = Path(tempfile.mkdtemp(prefix="extension-kit-managed-"))
        self._popen: subprocess.Popen[bytes] | None = None
        self._place = namespaces.NamespaceThread()
        try:
            self._lay_out()
            _furnish(self._place, self._staging, self._binary)
            self.network: str = self._place.call(lambda: os.readlink("/proc/thread-self/ns/net"))
            self._start()
        except BaseException:
            self._take_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_down()

    # for tests ----------------------------------------------------------------------------------------------------------

    @property
    def shared(self) -> Path:
        """The directory that processes inside see as `SHARED`; everybody may write to it. It ends with the context."""
        return self._staging / "opt" / "shared"

    def shutdown(self) -> int:
        """SIGTERM, upon which AWS's emulator ends the function, then the extensions; its exit status."""
        self._process().send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit status, once AWS's emulator has ended: by itself it does so when init has failed."""
        status = self._process().wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        return status

    def output(self) -> list[str]:
        """The lines so far: its own, the function's and the extensions'."""
        return list(self._lines)

    # inside -------------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        opt, task = self._staging / "opt", self._staging / "task"
        shutil.copytree(self._function, task)
        layers.lay_out(opt, [], self._extensions)
        bootstrap = opt / "bootstrap"
        bootstrap.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m awslambdaric "$_HANDLER"\n')
        bootstrap.chmod(0o755)
        open_to_all(opt)
        open_to_all(task)
        self.shared.mkdir()
        self.shared.chmod(0o1777)
        layers.settle([bootstrap, *(opt / "extensions" / path.name for path in self._extensions)])

    def _start(self) -> None:
        # `timeout` outlives us. In the foreground it hands on a SIGTERM once only, and to AWS's emulator alone.
        command = ["timeout", "--foreground", "-k", "5", str(self._limit), str(self._binary)]
        self._popen = self._place.call(
            lambda: subprocess.Popen(
                command, cwd="/var/task", env=self._variables, process_group=0,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, name="read-rie-managed", daemon=True)
        self._reader.start()
        try:
            self._connect().close()
        except OSError:
            if self._process().poll() is None:
                raise  # one that has ended has its reasons: `wait` and `output` tell them

    def _process(self) -> subprocess.Popen[bytes]:
        assert self._popen is not None
        return self._popen

    def _read(self) -> None:
        stream = self._process().stdout
        assert stream is not None
        with stream:
            for line in stream:
                self._lines.append(line.rstrip(b"\n").decode("utf-8", "replace"))

    def _inside(self, call: Callable[[], Any]) -> Any:
        return self._place.call(call)

    def _has_ended(self) -> bool:
        return self._process().poll() is not None

    def _take_down(self) -> None:
        """Whatever happened before: no process, thread, mount or file stays."""
        if self._popen is not None:
            if self._popen.poll() is None:
                os.killpg(self._popen.pid, signal.SIGKILL)
            self._sweep()
            self._popen.wait(_PATIENCE)
            self._reader.join(_PATIENCE)
        self._place.close()
        shutil.rmtree(self._staging)

    def _sweep(self) -> None:
        """A runtime's workers may outlive it; they are known by their network."""
        until = time.monotonic() + _PATIENCE
        inside = processes.marked_by_network(self.network)
        while left := processes.left_behind(inside):
            if time.monotonic() > until:
                raise TimeoutError(f"processes {left} do not end")
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.005)


def _furnish(place: namespaces.NamespaceThread, staging: Path, binary: Path) -> None:
    """Mount ``opt`` and ``task`` of `staging`; this Python stays visible, and becomes so to users who could not see it."""
    opt, task = staging / "opt", staging / "task"
    for folder in (opt, task):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    hosts = staging / "hosts"  # to be written by `furnish`, and read by everybody
    hosts.touch()
    hosts.chmod(0o644)
    wanted = {Path(sys.prefix), Path(sys.base_prefix), _ROOT, binary.parent}
    wanted |= {path.resolve() for path in wanted}

    def mount() -> None:
        _uncover(staging / "uncovered", wanted)
        namespaces.furnish(staging, opt, task, _TMP_MB, namespaces.must_stay_visible(binary.parent))

    place.call(mount)


def _uncover(scratch: Path, wanted: set[Path]) -> None:
    """Lay over each directory that is closed to others, as /root is, one that shows what is `wanted` and nothing else."""
    closed: dict[Path, list[Path]] = {}
    for path in sorted(wanted):
        over = next((parent for parent in reversed(path.parents) if not parent.stat().st_mode & stat.S_IXOTH), None)
        if over is not None:
            shown = closed.setdefault(over, [])
            if not any(path.is_relative_to(other) for other in shown):
                shown.append(path)
    for number, (over, paths) in enumerate(closed.items()):
        cover = scratch / str(number)
        cover.mkdir(parents=True)
        namespaces._mount("tmpfs", str(cover), "tmpfs", namespaces._MS_NOSUID | namespaces._MS_NODEV)
        inside = [cover / path.relative_to(over) for path in paths]
        for place in inside:
            place.mkdir(parents=True)
        open_to_all(cover)
        for path, place in zip(paths, inside, strict=True):
            namespaces._mount(str(path), str(place), "", namespaces._MS_BIND | namespaces._MS_REC)
        namespaces._mount(str(cover), str(over), "", namespaces._MS_BIND | namespaces._MS_REC)


def open_to_all(folder: Path) -> None:
    """What its owner may read or run, everybody may: whatever this process's umask is."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(stat.S_IMODE(mode) | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
