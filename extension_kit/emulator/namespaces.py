"""A mount and network namespace for one environment, entered by a thread of its own.

Linux gives namespaces to threads, not only to processes. So one thread leaves the host's namespaces, mounts /opt, /var/task,
/tmp and /etc/hosts, brings the loopback interface up, binds the API's fixed port and starts the processes: they inherit what
the thread has. The sockets that it bound are served by the event loop's thread, outside. When the thread and the processes
have ended the kernel takes everything back; nothing is left on the host, not even after a crash.

Needs root, or root in a user namespace (`enter_user_namespace`, before any thread exists).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import queue
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_MOVE, _MS_NOSUID, _MS_NODEV = 4096, 16384, 1 << 18, 8192, 2, 4
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1

#: where Lambda has the interpreter that runs this kind of function
LANG_PYTHON = Path(f"/var/lang/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
HOSTS = "127.0.0.1 localhost sandbox.localdomain sandbox\n::1 localhost ip6-localhost ip6-loopback\n"


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _unshare(flags: int) -> None:
    _check(_libc().unshare(flags), "unshare")


def _set_network(descriptor: int) -> None:
    _check(_libc().setns(descriptor, _CLONE_NEWNET), "setns")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    arguments = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None)
    _check(_libc().mount(*arguments), f"mount {source} on {target}")


def enter_user_namespace() -> bool:
    """Become root of a user namespace of our own, where the kernel allows it; only while the process has one thread."""
    if os.geteuid() == 0:
        return True
    uid, gid = os.getuid(), os.getgid()
    try:
        _unshare(_CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except (OSError, AttributeError):
        return False
    return True


def unavailable() -> str:
    """Why environments cannot have namespaces here, in one line; "" where they can."""
    if not sys.platform.startswith("linux"):
        return "namespaces need Linux"
    if os.geteuid() != 0:
        return "namespaces need root, or a user namespace, which this machine refuses"
    trial = NamespaceThread()
    try:
        trial.call(lambda: None)
    except OSError as error:
        return f"namespaces are refused here: {error}"
    finally:
        trial.close()
    return ""


class NamespaceThread:
    """A thread in a mount and network namespace of its own; `call` runs a function there and returns its result."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[
            tuple[Callable[[], Any], queue.SimpleQueue[tuple[Any, BaseException | None]]] | None
        ]
        self._work = queue.SimpleQueue()
        self._failed: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="namespaces", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], Any]) -> Any:
        """Run ``function()`` inside; what it raises is raised here. OSError where the namespaces could not be had."""
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._work.put((function, answer))
        result, error = answer.get()
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            _unshare(_CLONE_NEWNS | _CLONE_NEWNET)
            _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
            _loopback_up()
        except OSError as error:
            self._failed = error
        while (item := self._work.get()) is not None:
            function, answer = item
            if self._failed is not None:
                answer.put((None, self._failed))
                continue
            try:
                answer.put((function(), None))
            except BaseException as error:
                answer.put((None, error))


def in_network(namespace: Path, function: Callable[[], Any]) -> Any:
    """Run ``function()`` on a thread that is in another network (a ``/proc/PID/ns/net``), and return its result.

    OSError where we may not go there.
    """
    answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            with namespace.open() as file:
                _set_network(file.fileno())
            answer.put((function(), None))
        except BaseException as error:
            answer.put((None, error))

    threading.Thread(target=run, name="in-network", daemon=True).start()
    result, error = answer.get()
    if error is not None:
        raise error
    return result


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def must_stay_visible(*more: Path) -> list[Path]:
    """What the environment's Python needs, and would lose with this machine's /tmp; ``more``: what a backend needs besides."""
    wanted = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2], *more]
    real = (Path(os.path.realpath(path)) for path in wanted)
    under = {path for path in real if path.is_relative_to("/tmp") and path != Path("/tmp") and path.is_dir()}
    return sorted(path for path in under if not any(path != other and path.is_relative_to(other) for other in under))


def furnish(staging: Path, opt: Path, task: Path | None, tmp_mb: int, keep: list[Path]) -> None:
    """Mount the environment's directories; runs inside the namespace.

    ``staging``: an empty directory of ours on the host; ``keep``: paths that must stay visible although they lie under /tmp
    (the interpreter, the kit); they are bound into the new /tmp.
    """
    hosts = staging / "hosts"
    hosts.write_text(HOSTS)
    _mount(str(hosts), "/etc/hosts", "", _MS_BIND)
    if task is not None:
        _bind_at(staging / "var", task, Path("/var/task"))
    if not LANG_PYTHON.exists():  # it does in an image made for Lambda
        _bind_at(staging / "var-with-lang", _lang(staging / "lang"), Path("/var/lang"))
    _bind_at(staging / "root", opt, Path("/opt"))
    _private_tmp(staging / "tmp", tmp_mb, keep)


def _lang(folder: Path) -> Path:
    """What /var/lang has on Lambda, as far as extensions rely on it: the interpreter, for functions in Python the very same."""
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    # The interpreter itself, not that of a virtual environment: on Lambda too there is nothing beside the standard library.
    (binaries / LANG_PYTHON.name).symlink_to(os.path.realpath(sys.executable))
    return folder


def _bind_at(scratch: Path, source: Path, target: Path) -> None:
    """Bind `source` on `target`; where `target` does not exist its parent is rebuilt as a tmpfs of binds, not written to."""
    if not target.is_dir():
        if target.parent == Path("/"):
            raise OSError(f"{target} does not exist on this machine")
        scratch.mkdir()
        _mount("tmpfs", str(scratch), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
        for child in os.scandir(target.parent):
            copy = scratch / child.name
            if child.is_symlink():
                copy.symlink_to(os.readlink(child.path))
            elif child.is_dir():
                copy.mkdir()
                _mount(child.path, str(copy), "", _MS_BIND | _MS_REC)
        (scratch / target.name).mkdir()
        _mount(str(scratch), str(target.parent), "", _MS_BIND | _MS_REC)
    _mount(str(source), str(target), "", _MS_BIND)


def _private_tmp(scratch: Path, size_mb: int, keep: list[Path]) -> None:
    scratch.mkdir()
    _mount("tmpfs", str(scratch), "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={size_mb}m")
    for path in keep:
        inside = scratch / path.relative_to("/tmp")
        inside.mkdir(parents=True, exist_ok=True)
        _mount(str(path), str(inside), "", _MS_BIND | _MS_REC)
    _mount(str(scratch), "/tmp", "", _MS_BIND | _MS_REC)
