"""Backend ``rie``: runs a plan under AWS's own Runtime Interface Emulator, the judge of ours.

The emulator knows one /opt, one /var/task and two ports, so it gets a mount and a network namespace of its own. It crashes when
two invokes meet, so they are made one after the other. It says what happens in its debug log, from which the record is made.
What it does otherwise than Lambda stands in the conformance table (tests/conformance).
"""

from __future__ import annotations

import http.client
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from extension_kit.backends import prepare, rie_binary, rie_log, rie_processes
from extension_kit.backends.plan import Outcome, Plan
from extension_kit.emulator import layers, namespaces, processes, variables
from extension_kit.emulator.environment import Layout, runtime_command
from extension_kit.emulator.model import ON_DEMAND, Profile, Result
from extension_kit.emulator.record import Record
from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_PORT = 8080
_PATH = "/2015-03-31/functions/function/invocations"
_READY = 10.0  # seconds until the emulator listens
_SHUTDOWN = 4.0  # seconds for its own shutdown, which takes up to 2
_GRACE = (
    6.0  # seconds beyond the function's timeout within which an invoke must be answered: 2 of them for the shutdown
)
_RUN_LIMIT = 3600  # seconds after which a run ends whatever happens, even if this process has been killed
_LINE_LIMIT = 262_144  # bytes
#: the emulator sets these itself, or leaves them out as Lambda's classic mode does
_NOT_GIVEN = (
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_METADATA_API",
    "AWS_LAMBDA_METADATA_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
)


def run(plan: Plan, listener: Callable[[dict[str, Any]], object] | None = None) -> Outcome:
    """Run `plan`; ConfigError for what cannot be run at all. ``listener`` sees every event of the record as it happens."""
    _refuse_what_it_cannot(plan)
    binary = rie_binary.binary(lambda text: print(text, flush=True))
    why_not = prepare.why_no_namespaces()
    if why_not:
        raise ConfigError(f"--backend rie needs a mount and a network namespace: {why_not}")
    with (
        prepare.layout(plan, True) as layout,
        RieEnvironment(prepare.profile(plan), layout, binary, listener) as environment,
    ):
        invoked = prepare.invoke_all(plan, environment)
        environment.shutdown()
        return Outcome(
            environment.healthy,
            tuple(invoked),
            tuple(environment.log.events),
            tuple(environment.log.notes),
            environment.as_json(),
        )


def _refuse_what_it_cannot(plan: Plan) -> None:
    if plan.init_type != ON_DEMAND:
        raise ConfigError(f"--backend rie initialises on demand only, not {plan.init_type}")
    if plan.faults:
        raise ConfigError("--backend rie makes no faults: --fault cannot be given")
    if plan.invoke_port:
        raise ConfigError("--backend rie has its invoke endpoint in a network of its own: --port cannot be given")
    if not plan.namespaces:
        raise ConfigError("--backend rie needs namespaces: --no-namespaces cannot be given")


class RieEnvironment:
    """AWS's emulator with one function and its extensions. Use as a context manager: nothing is left behind."""

    def __init__(
        self,
        profile: Profile,
        layout: Layout,
        binary: Path,
        listener: Callable[[dict[str, Any]], object] | None = None,
    ) -> None:
        self.profile = profile
        self.log = Record(listener)
        self.log.notes.append(
            "AWS's emulator neither freezes, nor delivers telemetry, nor tells whose a line of output is"
        )
        self.healthy = True
        self._sealed = False
        self._staging = Path(tempfile.mkdtemp(prefix="extension-kit-"))
        self._calls = ThreadPoolExecutor(1, "invoke")
        self._readers: list[threading.Thread] = []
        self._process: processes.Process | None = None
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
        self._watch = rie_processes.Watch(self._network, self.log.add)
        self._start(binary, bootstrap, layout.variables)

    def _start(self, binary: Path, bootstrap: Path, user: dict[str, str]) -> None:
        given = variables.for_runtime(self.profile, "", "", "/var/task", user)
        given = {name: value for name, value in given.items() if name not in _NOT_GIVEN}
        given["AWS_LAMBDA_FUNCTION_TIMEOUT"] = str(max(1, math.ceil(self.profile.timeout)))
        options = ["--log-level", "debug", "--runtime-interface-emulator-address", f"127.0.0.1:{_PORT}"]
        # `timeout` outlives us: even if this process is killed, the emulator ends.
        command = ["timeout", "-k", "5", str(_RUN_LIMIT), str(binary), *options, str(bootstrap)]
        popen = processes.launch(command, "/var/task", given, self._place.call, binary)
        self._process = processes.Process(popen)
        threading.Thread(target=self._process.reap, name="wait-rie", daemon=True).start()
        assert popen.stdout is not None
        assert popen.stderr is not None
        for stream, take in ((popen.stdout, self._output), (popen.stderr, self._note)):
            reader = threading.Thread(target=_lines, args=(stream, take), daemon=True)
            reader.start()
            self._readers.append(reader)
        self._connect(time.monotonic() + _READY).close()

    def _output(self, line: str) -> None:
        if not line.startswith(("START RequestId: ", "END RequestId: ", "REPORT RequestId: ")):
            self.log.add("log", party="output", source="function or extension", text=line)

    def _note(self, line: str) -> None:
        event = rie_log.read(line)
        if event is not None:
            self.log.add(event.pop("kind"), **event)

    # for callers --------------------------------------------------------------------------------------------------------

    def invoke(self, payload: bytes, trace: str = "") -> Future[Result]:
        """Queue one invoke. Every invoke ends, at the latest some seconds after its timeout."""
        return self._calls.submit(self._invoke, payload, trace)

    def idle(self, timeout: float) -> bool:
        """The emulator answers when the extensions too are done: nothing runs when no invoke does."""
        return self._calls.submit(lambda: True).result(timeout)

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

    def as_json(self) -> str:
        """The record of this environment, as JSON."""
        return self.log.as_json({**asdict(self.profile), "extensions": self._extensions})

    def __enter__(self) -> RieEnvironment:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()

    # one invoke ---------------------------------------------------------------------------------------------------------

    def _invoke(self, payload: bytes, trace: str) -> Result:
        request_id = str(uuid.uuid4())  # of the record: the emulator keeps its own to itself
        began = time.monotonic()
        self.log.add("invoke_start", request_id=request_id)
        try:
            status, _headers, body = self.ask(payload, trace)
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, b""
            self.log.add("rie", level="ERROR", detail=f"no answer: {error!r}")
        result = _result(request_id, status, body)
        self.healthy = self.healthy and status == 200 and result.error_type != "Sandbox.Timedout"
        duration = (time.monotonic() - began) * 1000
        self.log.add(
            "response", request_id=request_id, error_type=result.error_type, duration_ms=duration, bytes=len(body)
        )
        self.log.add(
            "invoke_end", request_id=request_id, status="success" if status == 200 else "error", duration_ms=duration
        )
        self._watch.look()
        return result

    def ask(self, payload: bytes, trace: str = "") -> tuple[int, dict[str, str], bytes]:
        """One invoke over HTTP: status, headers (lower case), body. Not while another runs: that ends the emulator."""
        with self._connect(time.monotonic()) as sock:
            sock.settimeout(self.profile.timeout + _GRACE)
            connection = http.client.HTTPConnection("127.0.0.1", _PORT)
            connection.sock = sock
            headers = {"X-Amzn-Trace-Id": trace} if trace else {}
            connection.request("POST", _PATH, payload, headers)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, fields, answer.read()

    def _connect(self, until: float) -> socket.socket:
        """A connection to the invoke endpoint, made inside the namespace and good anywhere."""
        while True:
            try:
                sock: socket.socket = self._place.call(lambda: socket.create_connection(("127.0.0.1", _PORT), 5))
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
    """Read on whatever `take` does: an emulator whose output is not read dies of it."""
    with stream:
        while line := stream.readline(_LINE_LIMIT):
            try:
                take(line.rstrip(b"\n").decode("utf-8", "replace"))
            except Exception:
                sys.excepthook(*sys.exc_info())


def _result(request_id: str, status: int, body: bytes) -> Result:
    """The emulator does not say that a function failed; its answers have to be looked at."""
    import json

    if status == 200 and body.startswith(b"Task timed out after "):
        return Result(request_id, body, "Unhandled", "Sandbox.Timedout")
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    known = isinstance(content, dict) and "errorType" in content and "errorMessage" in content
    if known:
        return Result(request_id, body, "Unhandled", str(content["errorType"]))
    return Result(request_id, body) if status == 200 else Result(request_id, body, "Unhandled", "Sandbox.Failure")
