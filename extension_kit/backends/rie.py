"""Backend ``rie``: runs a plan under AWS's own Runtime Interface Emulator, the judge of ours.

The emulator knows one /opt, one /var/task and two ports, so it gets a mount and a network namespace of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from extension_kit.backends import prepare, rie_binary, rie_processes
from extension_kit.backends.under_rie import (
    LINE_LIMIT,
    PORT,
    UnderRie,
    guarded,
    refuse_what_it_cannot,
    variables_given,
)
from extension_kit.emulator import layers, namespaces, processes, reach
from extension_kit.emulator.environment import Layout, runtime_command
from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.backends.plan import Outcome, Plan
    from extension_kit.emulator.model import Profile

_READY = 10.0  # seconds until the emulator listens
_SHUTDOWN = 4.0  # seconds for its own shutdown, which takes up to 2
_RUN_LIMIT = 3600  # seconds after which a run ends whatever happens, even if this process has been killed


def run(plan: Plan, listener: Callable[[dict[str, Any]], object] | None = None) -> Outcome:
    """Run `plan`; ConfigError for what cannot be run at all. ``listener`` sees every event of the record as it happens."""
    refuse_what_it_cannot(plan, "rie")
    if plan.invoke_port:
        raise ConfigError("--backend rie has its invoke endpoint in a network of its own: --port cannot be given")
    if not plan.namespaces:
        raise ConfigError("--backend rie needs namespaces: --no-namespaces cannot be given")
    binary = rie_binary.binary(lambda text: print(text, flush=True))
    why_not = prepare.why_no_namespaces()
    if why_not:
        raise ConfigError(f"--backend rie needs a mount and a network namespace: {why_not}")
    with (
        prepare.layout(plan, True) as layout,
        RieEnvironment(prepare.profile(plan), layout, binary, listener) as environment,
    ):
        return environment.run(plan)


class RieEnvironment(UnderRie):
    """AWS's emulator with one function and its extensions. Use as a context manager: nothing is left behind."""

    def __init__(
        self,
        profile: Profile,
        layout: Layout,
        binary: Path,
        listener: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        super().__init__(profile, listener)
        self._sealed = False
        self._staging = Path(tempfile.mkdtemp(prefix="extension-kit-"))
        self._readers: list[threading.Thread] = []
        self._process: processes.Process | None = None
        self._reach: reach.Reach | None = None
        self._place = namespaces.NamespaceThread()
        try:
            self._build(layout, binary)
        except BaseException:
            self._take_down()
            raise

    def _build(self, layout: Layout, binary: Path) -> None:
        opt = self._staging / "opt"
        layers.lay_out(opt, list(layout.layers), list(layout.extensions))
        self._extensions = layers.extension_files(opt)
        command, task = runtime_command(layout, self.profile.handler)
        program = self._staging / "program"
        program.mkdir()
        bootstrap = program / "bootstrap"
        if layout.bootstrap is not None:
            command = [f"/var/task/{command[0]}"]
        # The emulator takes options of the command for its own: it is given a script that has none.
        bootstrap.write_text("#!/bin/sh\nexec " + " ".join(map(_quoted, command)) + "\n")
        bootstrap.chmod(0o755)
        layers.settle([binary, bootstrap, *(opt / "extensions" / name for name in self._extensions)])
        keep = namespaces.must_stay_visible(program, binary.parent, *layout.visible)
        self._place.call(lambda: namespaces.furnish(self._staging, opt, task, 512, keep))
        self._network = self._place.call(lambda: os.readlink("/proc/thread-self/ns/net"))
        self._reach = reach.Reach(layout.variables.values(), self._place.call)
        self._watch = rie_processes.Watch(self._network, self.log.add)
        self._start(binary, bootstrap, layout.variables)

    def _start(self, binary: Path, bootstrap: Path, user: dict[str, str]) -> None:
        options = ["--log-level", "debug", "--runtime-interface-emulator-address", f"127.0.0.1:{PORT}"]
        # `timeout` outlives us: even if this process is killed, the emulator ends.
        command = ["timeout", "-k", "5", str(_RUN_LIMIT), str(binary), *options, str(bootstrap)]
        popen = processes.launch(command, "/var/task", variables_given(self.profile, user), self._place.call, binary)
        self._process = processes.Process(popen)
        threading.Thread(target=self._process.reap, name="wait-rie", daemon=True).start()
        assert popen.stdout is not None
        assert popen.stderr is not None
        for stream, take in ((popen.stdout, self._output), (popen.stderr, self._note)):
            reader = threading.Thread(target=_lines, args=(stream, take), daemon=True)
            reader.start()
            self._readers.append(reader)
        self._connect_by(time.monotonic() + _READY).close()

    def shutdown(self) -> None:
        """SIGTERM, upon which it sends SHUTDOWN to the extensions; then clean up. May be called again."""
        if self._sealed:
            return
        self._sealed = True
        try:
            self._calls.shutdown(wait=False, cancel_futures=True)  # what still runs ends with the emulator
            self._watch.look()
            if self._process is not None:
                self._process.signal(signal.SIGTERM)
                self._process.join(_SHUTDOWN)
        finally:
            self._take_down()

    def _connect(self) -> socket.socket:
        return self._connect_by(time.monotonic())

    def _look(self) -> None:
        self._watch.look()

    def _connect_by(self, until: float) -> socket.socket:
        """A connection to the invoke endpoint, made inside the namespace and good anywhere."""
        while True:
            try:
                sock: socket.socket = self._place.call(lambda: socket.create_connection(("127.0.0.1", PORT), 5))
                return sock
            except OSError:
                assert self._process is not None
                if time.monotonic() >= until or self._process.popen.returncode is not None:
                    raise
                time.sleep(0.01)

    def _take_down(self) -> None:
        """Whatever happened before: no process, thread or file stays."""
        if self._process is not None:
            self._process.kill()
            self._sweep()
            self._process.join()
        for reader in self._readers:
            reader.join(5)
        self._calls.shutdown()
        if self._reach is not None:
            self._reach.close()
        self._place.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def _sweep(self) -> None:
        self._watch.end()
        for pid in processes.left_behind(processes.marked_by_network(self._network)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _lines(stream: BinaryIO, take: Callable[[str], object]) -> None:
    with stream:
        while line := stream.readline(LINE_LIMIT):
            guarded(take, line.rstrip(b"\n"))
