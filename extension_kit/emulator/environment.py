"""One execution environment, running: the platform, its API, its processes and its directories on one event loop.

``Environment`` is what callers on other threads use: ``start``, ``invoke``, ``shutdown``. Several live side by side.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from extension_kit.emulator import layers, namespaces, processes, reach, variables
from extension_kit.emulator.api import InvokeEndpoint, RuntimeApi, new_trace
from extension_kit.emulator.delivery import Carrier
from extension_kit.emulator.managed import ManagedPlatform
from extension_kit.emulator.model import MANAGED_INSTANCES, Invocation, LaunchError, Party, Phase, Profile, Result
from extension_kit.emulator.narrator import Narrator
from extension_kit.emulator.platform import Platform
from extension_kit.emulator.record import Record
from extension_kit.emulator.telemetry import Source
from extension_kit.errors import ConfigError
from extension_kit.io.loop import Loop
from extension_kit.io.ports import bind
from extension_kit.io.server import Server
from extension_kit.protocol import http1
from extension_kit.protocol import lifecycle as lc

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.emulator.model import Cancellable
    from extension_kit.protocol.telemetry_api import Subscription

T = TypeVar("T")
_RUNTIME_API_PORT = 9001  # the port that Lambda and its emulator use; reserved there
_STREAM_LIMIT = 210 * 1024 * 1024  # bytes; Lambda streams up to 200 MB


@dataclass(frozen=True)
class Layout:
    """What lies where: ``function`` (a directory) and ``handler``, or ``bootstrap`` (an executable); layers; extensions.

    ``visible``: directories that the processes need to see; of use where they lie under /tmp, which is private.
    """

    function: Path | None = None
    bootstrap: Path | None = None
    layers: tuple[Path, ...] = ()
    extensions: tuple[Path, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    invoke_port: int = 0
    namespaces: bool = True
    visible: tuple[Path, ...] = ()


class Environment:
    """A Lambda execution environment on this machine. Use as a context manager: nothing is left behind."""

    def __init__(
        self, profile: Profile, layout: Layout, listener: Callable[[dict[str, Any]], object] | None = None
    ) -> None:
        self.profile = profile
        self.layout = layout
        self.log = Record(listener)
        self._loop = Loop()
        self._processes: dict[Party, processes.Process] = {}
        self._frozen = False
        self._sealed = False
        self._stepped_ms = 0
        self._staging = Path(tempfile.mkdtemp(prefix="extension-kit-"))
        self._place: namespaces.NamespaceThread | None = None
        self._reach: reach.Reach | None = None
        self._network = ""
        kind = ManagedPlatform if profile.init_type == MANAGED_INSTANCES else Platform
        self.platform: Platform = kind(self, profile)
        self._narrator = Narrator(profile, self.now_ms, self._peak_bytes)
        self._carrier = Carrier(self._loop, self._enter, self.now_ms)
        late_reports = profile.init_type != MANAGED_INSTANCES
        random = Random(profile.seed)
        self.telemetry = Source(
            self._carrier, profile.faults, random, profile.json_logs, late_reports, tell=self.log.add
        )
        self._thread = threading.Thread(target=self._loop.run, name="environment", daemon=True)
        try:
            self._build()
        except BaseException:
            self._take_down()
            raise
        self._thread.start()

    # building -----------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self._opt = self._staging / "opt"
        layers.lay_out(self._opt, list(self.layout.layers), list(self.layout.extensions))
        self._extension_names = layers.extension_files(self._opt)
        layers.settle(self._opt / "extensions" / name for name in self._extension_names)
        self._command, self._task = runtime_command(self.layout, self.profile.handler)
        self._opt_seen, self._task_seen = self._opt, self._task
        if self.layout.namespaces:
            self._enter_namespaces()
        else:
            self.log.notes.append("no namespaces: /opt, /var/task and /tmp are this machine's own")
        self._has_python = self._place is not None or namespaces.LANG_PYTHON.exists()
        if not self._has_python and "EXTENSION_KIT_PYTHON" not in self.layout.variables:
            self.log.notes.append(
                f"no {namespaces.LANG_PYTHON}: extensions are told EXTENSION_KIT_PYTHON={sys.executable}"
            )
        token = secrets.token_urlsafe(16)
        api_limits = http1.Limits(max_body=_STREAM_LIMIT)
        self._api = Server(self._loop, RuntimeApi(self.platform, token).handle, api_limits)
        self._endpoint = Server(self._loop, InvokeEndpoint(self.platform).handle, http1.Limits(max_body=_STREAM_LIMIT))
        if self._place is not None:
            port = self._api.adopt(self._place.call(lambda: bind("127.0.0.1", _RUNTIME_API_PORT)))
        else:
            port = self._api.listen("127.0.0.1")
        try:
            self.invoke_port = self._endpoint.listen("127.0.0.1", self.layout.invoke_port)
        except OSError as error:
            raise ConfigError(
                f"the invoke endpoint cannot listen on port {self.layout.invoke_port}: {error}"
            ) from error
        self._runtime_variables = variables.for_runtime(
            self.profile, f"127.0.0.1:{port}", token, str(self._task_seen), self.layout.variables
        )

    def _enter_namespaces(self) -> None:
        self._place = namespaces.NamespaceThread()
        keep = namespaces.must_stay_visible(*self.layout.visible)
        try:
            self._place.call(lambda: namespaces.furnish(self._staging, self._opt, self._task, 512, keep))
            self._network = self._place.call(lambda: os.readlink("/proc/thread-self/ns/net"))
        except OSError as error:
            self._place.close()
            self._place = None
            self.log.notes.append(f"no namespaces ({error}): /opt, /var/task and /tmp are this machine's own")
            return
        self._opt_seen, self._task_seen = Path("/opt"), Path("/var/task")
        self._reach = reach.Reach(self.layout.variables.values(), self._place.call)
        if self._reach.ports:
            self.log.notes.append(f"this machine's loopback is reached at {', '.join(map(str, self._reach.ports))}")

    # for callers on other threads ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Initialise now instead of at the first invoke."""
        self._loop.call_soon_threadsafe(self.platform.start)

    def invoke(
        self, payload: bytes, client_context: str = "", trace: str = "", *, request_id: str = ""
    ) -> Future[Result]:
        """Queue one invoke; the future holds what its caller gets. Every invoke ends, at the latest by its timeout.

        ``request_id``: a UUID; by default a random one, as Lambda's are.
        """
        future: Future[Result] = Future()
        invocation = Invocation(
            request_id or str(uuid.uuid4()), payload, future.set_result, client_context, trace or new_trace()
        )
        self._loop.call_soon_threadsafe(self.platform.invoke, invocation)
        return future

    def idle(self, timeout: float) -> bool:
        """Wait until nothing runs (s): the extensions too are done with the last invoke."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.platform.phase in (Phase.READY, Phase.COLD, Phase.ENDED):
                return True
            time.sleep(0.002)
        return False

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function()`` on the loop's thread and wait; what it raises is raised here. Not after `shutdown`."""
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return answer.result()

    @property
    def opt(self) -> Path:
        """This environment's /opt, as the calling process sees it."""
        return self._opt

    @property
    def is_frozen(self) -> bool:
        """Whether the processes are stopped."""
        return self._frozen

    def step_clock(self, milliseconds: int) -> None:
        """Set the platform's wall clock forward (or back); between invokes, on the loop's thread. Processes keep theirs."""
        self._stepped_ms += milliseconds
        self.telemetry.step_clock(milliseconds)
        self.record("clock_step", milliseconds=milliseconds)

    def kill_from_outside(self, name: str) -> bool:
        """SIGKILL to an extension, as from a kernel without memory; False where it does not run. On the loop's thread."""
        party = self.platform.registry.external(name)
        if party is None or not party.alive:
            return False
        self._processes[party].signal(signal.SIGKILL)
        return True

    def shutdown(self) -> None:
        """End the environment as Lambda does, wait for it, and clean up. May be called again."""
        if self._sealed:
            return
        self._sealed = True
        done = threading.Event()
        self._loop.call_soon_threadsafe(self.platform.shutdown, done.set)
        try:
            done.wait(10.0)
        finally:  # an impatient second Ctrl-C too ends everything
            self._take_down()

    def as_json(self) -> str:
        """The record of this environment, as JSON."""
        return self.log.as_json({**asdict(self.profile), "extensions": self._extension_names})

    def __enter__(self) -> Environment:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()

    def _take_down(self) -> None:
        """Whatever happened before: no process, socket, thread or file stays."""
        for process in self._processes.values():
            process.kill()
        self._sweep()
        if self._thread.is_alive():
            self._loop.stop()
            self._thread.join()
        self._carrier.close()
        for server in (getattr(self, "_api", None), getattr(self, "_endpoint", None)):
            if server is not None:
                server.close()
        for process in self._processes.values():
            process.join()
            for output in process.outputs:
                output.drain()
                output.close()
        if self._reach is not None:
            self._reach.close()
        if self._place is not None:
            self._place.close()
        self._loop.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def _sweep(self) -> None:
        """Kill what left its process group; a daemon that an extension started, say."""
        if self._network:
            marker = processes.marked_by_network(self._network)
        elif hasattr(self, "_runtime_variables"):
            marker = processes.marked_by_variable(
                f"AWS_LAMBDA_RUNTIME_API={self._runtime_variables['AWS_LAMBDA_RUNTIME_API']}"
            )
        else:
            return
        for pid in processes.left_behind(marker):
            self.log.add("swept", pid=pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    # the platform's world (on the loop's thread) ------------------------------------------------------------------------

    def extension_names(self) -> list[str]:
        return self._extension_names

    def _enter(self, function: Callable[[], Any]) -> Any:
        """Run ``function()`` where the environment's processes are."""
        return self._place.call(function) if self._place is not None else function()

    def start_process(self, command: list[str], cwd: str, environ: dict[str, str], program: Path) -> processes.Process:
        return processes.Process(processes.launch(command, cwd, environ, self._enter, program))

    def start_party(self, party: Party) -> processes.Process:
        if party.kind == lc.RUNTIME:
            command = list(self._command)
            if self.layout.bootstrap is not None:
                command[0] = str(self._task_seen / command[0])
            elif command[0].startswith("/opt/"):  # a wrapper; without namespaces /opt is somewhere else
                command[0] = str(self._opt_seen / command[0].removeprefix("/opt/"))
            return self.start_process(
                command, str(self._task_seen), self._runtime_variables, self._task / self._command[0]
            )
        program = str(self._opt_seen / "extensions" / party.name)
        real = self._opt / "extensions" / party.name
        seen = variables.for_extension(self._runtime_variables, with_python=self._has_python)
        return self.start_process([program], "/", seen, real)

    def launch(self, party: Party) -> None:
        process = self.start_party(party)
        self._processes[party] = process
        self.record("process_start", party=party.name, pid=process.pid)
        source = "function" if party.kind == lc.RUNTIME else "extension"
        for stream in (process.popen.stdout, process.popen.stderr):
            assert stream is not None
            on_line = self._line_of(party, source)
            process.outputs.append(processes.Output(self._loop, os.dup(stream.fileno()), on_line))
            stream.close()
        processes.watch(self._loop, process, lambda text: self._exited(party, text))

    def _line_of(self, party: Party, source: str) -> Callable[[str], object]:
        return lambda line: self.record("log", party=party.name, source=source, text=line)

    def _exited(self, party: Party, text: str) -> None:
        process = self._processes[party]
        process.signal(signal.SIGKILL)  # children that it left in its group
        self.record("process_usage", party=party.name, cpu_ms=process.cpu_ms, peak_bytes=process.peak_bytes)
        self.platform.process_exited(party, text, process.killed)

    def terminate(self, party: Party) -> None:
        self._processes[party].signal(signal.SIGTERM)
        self.record("signal", party=party.name, signal="SIGTERM")

    def kill(self, party: Party) -> None:
        if party.alive:
            self._processes[party].kill()
            self.record("signal", party=party.name, signal="SIGKILL")

    def freeze(self) -> None:
        if not self._frozen and self.platform.registry.any_alive():
            self._frozen = True
            self._signal_alive(signal.SIGSTOP)
            self.record("freeze")
            self.telemetry.freeze()

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._signal_alive(signal.SIGCONT)
            self.record("thaw")
            self.telemetry.thaw()

    def _signal_alive(self, number: int) -> None:
        for party, process in self._processes.items():
            if party.alive:
                process.signal(number)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._stepped_ms

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, seconds: float, call: Callable[[], object]) -> Cancellable:
        return self._loop.call_later(seconds, call)

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def subscribe(self, party: Party, subscription: Subscription) -> None:
        self.telemetry.subscribe(party.name, subscription)

    def is_subscribed(self, party: Party) -> bool:
        return self.telemetry.is_subscribed(party.name)

    def record(self, kind: str, **fields: Any) -> None:
        self.log.add(kind, **fields)
        if kind in ("invoke_end", "shutdown_start"):
            for party, process in self._processes.items():
                if party.alive:
                    process.look()
        self._tell(kind, fields)

    def _tell(self, kind: str, fields: dict[str, Any]) -> None:
        """What happens, as telemetry."""
        if kind == "log":
            self.telemetry.emit(fields["source"], fields["text"])
        for told, record in self._narrator.tell(kind, fields, self.platform.registry):
            if told == "platform.report":
                self.log.add("report", request_id=record["requestId"], metrics=record["metrics"])
            self.telemetry.emit(told, record)
        if kind == "process_exit" and fields["party"] == "runtime":
            self.telemetry.flush()
        elif kind == "shutdown_end":
            self.telemetry.reset()

    def _peak_bytes(self) -> int:
        return sum(process.peak_bytes for party, process in self._processes.items() if party.alive)


def runtime_command(layout: Layout, handler: str) -> tuple[list[str], Path]:
    """What starts the runtime, and the directory of the function; a bootstrap is named without its directory."""
    if layout.bootstrap is not None:
        bootstrap = layout.bootstrap.absolute()
        if not bootstrap.is_file():
            raise ConfigError(f"bootstrap {bootstrap}: no such file")
        return [bootstrap.name], bootstrap.parent
    if layout.function is None or not layout.function.is_dir():
        raise ConfigError(f"function {layout.function}: no such directory")
    # Runtimes that AWS manages start what this variable names, with their own command behind it; a bootstrap does as it likes.
    wrapper = layout.variables.get("AWS_LAMBDA_EXEC_WRAPPER", "")
    command = [sys.executable, "-m", "awslambdaric", handler]
    return [wrapper, *command] if wrapper else command, layout.function.absolute()


__all__ = ["ConfigError", "Environment", "LaunchError", "Layout", "runtime_command"]
