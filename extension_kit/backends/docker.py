"""Backend ``docker``: runs a plan in an image that is laid out as Lambda's, under AWS's Runtime Interface Emulator.

What this has over the other backends: another operating system and Python than this machine's, read-only /opt and /var/task,
a memory limit that the kernel keeps, and `docker stop`. What is like Lambda and what is not: ``layer_build/images/README.md``.
"""

from __future__ import annotations

import http.client
import math
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.backends import prepare, rie_processes
from extension_kit.backends.under_rie import (
    GRACE,
    LINE_LIMIT,
    PORT,
    UnderRie,
    guarded,
    refuse_what_it_cannot,
    variables_given,
)
from extension_kit.emulator import layers, namespaces, reach
from extension_kit.emulator.environment import Layout, runtime_command
from extension_kit.errors import ConfigError
from layer_build.images import connect, ensure, failures, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extension_kit.backends.plan import Outcome, Plan
    from extension_kit.emulator.model import Profile

LABEL = "extension-kit.until"  # its value: the time (s since 1970) after which nobody can be waiting for the container
#: megabytes added to the function's memory: AWS's emulator runs within the same limit (13 MB measured), on Lambda it does not
EMULATOR_MB = 32
_PYTHON = "/var/lang/bin/python3"
_EMULATOR = "/usr/local/bin/aws-lambda-rie"
_READY = 30.0  # seconds until the emulator answers
_STOP = 10  # seconds that `docker stop` waits; the emulator takes up to 2.6
_GONE = 10.0  # seconds until a stopped container has been removed
_MARGIN = 120.0  # seconds that a run may take besides its invokes
_QUOTA = 1024  # file descriptors, and processes and threads, of an environment (AWS docs, "Lambda quotas")
#: the image says these, as AWS's images do: they follow from what is in it
_THE_IMAGES = ("AWS_EXECUTION_ENV", "LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT", "LANG", "PATH", "TZ")


def run(plan: Plan, listener: Callable[[dict[str, Any]], object] | None = None) -> Outcome:
    """Run `plan`; ConfigError for what cannot be run at all. ``listener`` sees every event of the record as it happens."""
    refuse_what_it_cannot(plan, "docker")
    if plan.invoke_port:
        raise ConfigError("--backend docker makes the invokes itself, one at a time: --port cannot be given")
    if not plan.namespaces:
        raise ConfigError("--backend docker is a container: --no-namespaces cannot be given")
    image = ensure(lambda text: print(text, flush=True))
    limit = math.ceil(plan.invokes * (plan.timeout + GRACE + plan.gap_ms / 1000) + _MARGIN)
    with (
        prepare.layout(plan, True, _PYTHON) as layout,
        DockerEnvironment(prepare.profile(plan), layout, image, listener, limit) as environment,
    ):
        return environment.run(plan)


class DockerEnvironment(UnderRie):
    """One function and its extensions in a container. Use as a context manager: nothing is left behind.

    ``limit``: seconds after which the container ends and goes whatever happens, even if this process has been killed.
    """

    def __init__(
        self,
        profile: Profile,
        layout: Layout,
        image: str,
        listener: Callable[[dict[str, Any]], object] | None = None,
        limit: int = 3600,
    ) -> None:
        super().__init__(profile, listener)
        self.log.notes.append(f"in the image {image}")
        self._sealed = False
        self._gone = threading.Event()
        self._threads: list[threading.Thread] = []
        self._streams: list[Any] = []
        self._container: Any = None
        self._watch: rie_processes.Watch | None = None
        self._reach: reach.Reach | None = None
        self._last_words: deque[str] = deque(maxlen=3)
        self._engine = connect()
        self._staging = Path(tempfile.mkdtemp(prefix="extension-kit-"))
        try:
            self._build(layout, image, limit)
        except BaseException:
            self._take_down()
            raise

    def _build(self, layout: Layout, image: str, limit: int) -> None:
        opt = self._staging / "opt"
        layers.lay_out(opt, list(layout.layers), list(layout.extensions))
        self._extensions = layers.extension_files(opt)
        command, task = runtime_command(layout, self.profile.handler)
        bootstrap = f"/var/task/{command[0]}" if layout.bootstrap is not None else "/var/runtime/bootstrap"
        layers.settle(opt / "extensions" / name for name in self._extensions)
        seen = {"/opt": opt, "/var/task": task, **{str(path): path for path in layout.visible}}
        try:
            _sweep(self._engine)
            self._container = self._create(image, bootstrap, seen, layout.variables, limit)
            self._start()
        except failures() as error:
            raise ConfigError(f"--backend docker: {image} cannot be run: {reason(error)}") from error
        self._await_ready(image)
        self._watch = self._processes()
        self._lead_in(layout.variables)

    def _create(self, image: str, bootstrap: str, seen: dict[str, Path], user: dict[str, str], limit: int) -> Any:
        from docker.types import LogConfig, Mount, Ulimit

        given = variables_given(self.profile, user)
        memory = f"{self.profile.memory_mb + EMULATOR_MB}m"
        options = ["--log-level", "debug", "--runtime-interface-emulator-address", f"0.0.0.0:{PORT}"]
        return self._engine.containers.create(
            image,
            # Not by the image's entry point: the emulator's level would have to be a variable, which extensions see.
            # `timeout` outlives us, and the engine removes what has ended.
            entrypoint=["timeout", "-k", "5", str(limit), _EMULATOR, *options, bootstrap],
            command=[],
            auto_remove=True,
            labels={LABEL: str(math.ceil(time.time() + limit + 60))},
            environment={name: value for name, value in given.items() if name in user or name not in _THE_IMAGES},
            working_dir="/var/task",
            mounts=[Mount(place, str(path), "bind", read_only=True) for place, path in seen.items()],
            read_only=True,
            tmpfs={"/tmp": "size=512m,mode=1777,exec"},
            mem_limit=memory,
            memswap_limit=memory,
            pids_limit=_QUOTA,
            ulimits=[Ulimit(name="nofile", soft=_QUOTA, hard=_QUOTA)],
            ports={f"{PORT}/tcp": ("127.0.0.1", None)},
            log_config=LogConfig(type="none"),
        )

    def _start(self) -> None:
        """Everything that it says and that happens to it is listened to before it starts."""
        output = self._container.attach(stdout=True, stderr=True, stream=True, demux=True)
        events = self._engine.api.events(decode=True, filters={"container": self._container.id})
        self._streams += [output, events]
        for name, target, stream in (("output", self._read, output), ("events", self._follow, events)):
            thread = threading.Thread(target=target, args=(stream,), name=f"container-{name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._container.start()

    def _await_ready(self, image: str) -> None:
        """The engine takes connections before the emulator listens: only an answer tells. Any will do, but an invoke."""
        until = time.monotonic() + _READY
        while not self._answers():
            if self._gone.is_set() or time.monotonic() >= until:
                if self._gone.is_set():
                    self._threads[0].join(5)  # all that it had to say has been read then
                said = "; ".join(self._last_words) or "it said nothing"
                raise ConfigError(f"--backend docker: AWS's emulator does not run in {image}: {said}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            self._container.reload()
            (published,) = self._container.ports[f"{PORT}/tcp"]
            self._address = ("127.0.0.1", int(published["HostPort"]))
            self._request("GET", "/")
        except failures():
            return False
        except (http.client.HTTPException, KeyError):
            return False  # KeyError: what has ended publishes nothing
        return True

    def _processes(self) -> rie_processes.Watch | None:
        """What the processes cost is to be seen only where they are processes of this machine, and we may look at them."""
        self._container.reload()
        process = Path("/proc", str(self._container.attrs["State"]["Pid"]))
        try:
            if self._container.id in (process / "cgroup").read_text():
                return rie_processes.Watch(str((process / "ns" / "net").readlink()), self.log.add)
        except OSError:
            pass
        self.log.notes.append("not root, or the engine is elsewhere: what each process cost is not known")
        return None

    def _lead_in(self, given: dict[str, str]) -> None:
        """Servers of this machine that a variable names, where the container is on this machine and we are root."""
        if self._watch is None or not reach.named_ports(given.values()):
            return
        network = Path("/proc", str(self._container.attrs["State"]["Pid"]), "ns", "net")
        self._reach = reach.Reach(given.values(), lambda call: namespaces.in_network(network, call))
        if self._reach.ports:
            self.log.notes.append(f"this machine's loopback is reached at {', '.join(map(str, self._reach.ports))}")

    # what happens in it -------------------------------------------------------------------------------------------------

    def _read(self, stream: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Its output, until it ends; each of the two streams in lines."""
        output, notes = _Lines(self._output), _Lines(self._note)
        try:
            for out, err in stream:
                output.take(out or b"")
                notes.take(err or b"")
        except OSError:
            pass  # closed by us
        output.end()
        notes.end()

    def _note(self, line: str) -> None:
        self._last_words.append(line)
        super()._note(line)

    def _follow(self, stream: Iterable[dict[str, Any]]) -> None:
        try:
            for event in stream:
                if event["Action"] == "oom":
                    self.healthy = False
                    self.log.add("out_of_memory", limit_mb=self.profile.memory_mb)
                elif event["Action"] == "destroy":
                    break
        finally:
            self._gone.set()

    # for callers --------------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """`docker stop`: the emulator sends SHUTDOWN to the extensions; then clean up. May be called again."""
        if self._sealed:
            return
        self._sealed = True
        try:
            self._calls.shutdown(wait=False, cancel_futures=True)  # what still runs ends with the container
            self._look()
            self._container.stop(timeout=_STOP)
            self._gone.wait(_GONE)
        except failures():
            pass  # it has ended by itself
        finally:
            self._take_down()

    def _connect(self) -> socket.socket:
        return socket.create_connection(self._address, 5)

    def _look(self) -> None:
        if self._watch is not None:
            self._watch.look()

    def _take_down(self) -> None:
        """Whatever happened before: no container, thread or file stays."""
        if self._reach is not None:
            self._reach.close()
        if self._watch is not None:
            self._watch.end()
        if self._container is not None and not self._gone.is_set():
            try:
                self._container.remove(force=True)
            except failures():
                pass  # it goes by itself
        for stream in self._streams:
            try:
                stream.close()
            except failures():
                pass  # the engine has closed it
        for thread in self._threads:
            thread.join(5)
        for stream in self._streams:
            stream._response.close()  # the package would leave the descriptor to the garbage collector
        self._calls.shutdown()
        self._engine.close()
        shutil.rmtree(self._staging, ignore_errors=True)


class _Lines:
    """Cuts what comes in pieces into lines."""

    def __init__(self, take: Callable[[str], object]) -> None:
        self._line = take
        self._rest = b""

    def take(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            guarded(self._line, line)
        self._rest = rest[:LINE_LIMIT]

    def end(self) -> None:
        if self._rest:
            guarded(self._line, self._rest)


def _sweep(engine: Any) -> None:
    """Remove what others had created and could not start, being killed between the two: such a container never ends."""
    for container in engine.api.containers(all=True, filters={"label": LABEL}):
        until = container["Labels"][LABEL]
        if until.isdigit() and int(until) < time.time():
            try:
                engine.api.remove_container(container["Id"], force=True)
            except failures():
                pass  # somebody else is at it
