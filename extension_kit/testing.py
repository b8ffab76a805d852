"""For authors' tests: an execution environment on this machine, with an extension attached, to do with as one likes.

``with Sandbox() as sandbox``, or pytest's fixture ``lambda_sandbox``. What is wrong with a call is a ConfigError that says so.
Every method waits until what it asks for has happened, and at the end no process, thread or file is left behind.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.backends import prepare
from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.faults import Faults
from extension_kit.emulator.model import INIT_TYPES, ON_DEMAND, SNAP_START, Phase, Profile, Result
from extension_kit.errors import ConfigError, DeadlineExceeded
from extension_kit.nearest import nearest
from extension_kit.plugin import Plugin, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from extension_kit.emulator.telemetry import Ledger

__all__ = ["Account", "Result", "Sandbox"]

#: The function where the author names none: prints the lines of ``event["print"]`` and returns the event.
ECHO = """def handler(event, context):
    for line in event.get("print", ()) if isinstance(event, dict) else ():
        print(line)
    return event
"""
_CLOCK = "lambda-sandbox/clock_ms"  # in /opt: by how much the plug-ins' wall clock is off
#: For launchers. The file is rewritten from outside; it is found from the launcher's own path, /opt or not.
_STEPPED_CLOCK = f"""\
from extension_kit.io import clock
class SteppedClock(clock.Clock):
    __slots__ = ()
    def wall_ms(self):
        with open(sys.argv[0].rpartition("/extensions/")[0] + "/{_CLOCK}") as file:
            return super().wall_ms() + int(file.read())
clock.Clock = SteppedClock
"""
_ACCOUNT = re.compile(
    r"plug-in (\S+): (\d+) records = (\d+) delivered((?: \+ \d+ [\w-]+)*) \+ (\d+) dropped(?: \((.*)\))? \+ (\d+) pending; "
    r"(?:(\d+) lost by the platform, )?(\d+) re-posted batches, (\d+) malformed"
)
_SNAPSHOT_AGE = 3_600.0  # seconds
_PATIENCE = 15.0  # seconds beyond every limit of the environment: a busy machine


@dataclass(frozen=True, slots=True)
class Account:
    """What the kit says has become of a plug-in's records, at SHUTDOWN: received = delivered + others + dropped + pending.

    ``reasons``: why some were dropped, and how many; ``others``: what became of records that the plug-in has kept back
    (``filtered``, ``sampled``...), and how many; ``platform_lost``: records that the platform says it has dropped;
    ``reposted``: batches that came again and were recognised; ``malformed``: batches that could not be read.
    """

    received: int
    delivered: int
    dropped: int
    pending: int
    reasons: Mapping[str, int]
    platform_lost: int = 0
    reposted: int = 0
    malformed: int = 0
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Attached:
    """One extension: an executable of the author's, or a plug-in (``module:Class``) that gets a launcher."""

    name: str
    path: Path | None = None
    plugin: str = ""


class Sandbox:
    """One execution environment, which starts at the first `invoke` (or `start`) and ends with `shutdown` or the ``with``.

    Options: see `configure`.
    """

    def __init__(self, **options: Any) -> None:
        self._attached: list[_Attached] = []
        self._faults: list[str] = []
        self._variables: dict[str, str] = {}
        self._function: str | Path = ECHO
        self._profile = Profile(handler="app.handler")
        self._environment: Environment | None = None
        self._closed = False
        self._aged = False
        self._offset_ms = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.configure(**options)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()

    # before the start ---------------------------------------------------------------------------------------------------

    def configure(
        self,
        *,
        function: str | Path | None = None,
        handler: str | None = None,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
        memory: int | None = None,
        init_type: str | None = None,
        json_logs: bool | None = None,
        freeze: bool | None = None,
        seed: int | None = None,
    ) -> None:
        """How the environment will be; what is not named stays as it is.

        ``function``: a directory (Path), or the source (str) of its ``app.py``; by default one that prints the lines of
        ``event["print"]`` and returns the event. ``handler``: ``module.function``. ``variables``: environment variables, the
        settings of plug-ins. ``timeout`` in seconds (3), ``memory`` in MB (128), ``init_type`` as
        ``AWS_LAMBDA_INITIALIZATION_TYPE`` has it, ``json_logs``: the function's log format is JSON, ``freeze``: between
        invokes (True), ``seed``: of the times that Lambda leaves open.
        """
        self._before_the_start("configure")
        given: dict[str, Any] = {
            "handler": handler,
            "timeout": timeout,
            "memory_mb": memory,
            "init_type": init_type,
            "json_logs": json_logs,
            "freeze": freeze,
            "seed": seed,
        }
        profile = replace(self._profile, **{name: value for name, value in given.items() if value is not None})
        _check_profile(profile)
        _check_function(function if function is not None else self._function, profile.handler)
        _check_variables(variables or {})
        self._profile = profile
        self._function = function if function is not None else self._function
        self._variables.update(variables or {})

    def attach(self, extension: str | Path | type[Plugin], *, variables: Mapping[str, str] | None = None) -> str:
        """Attach an executable (its path), or a plug-in (its class, or ``"module:Class"``); returns its registered name.

        ``variables``: as for `configure`; the function and all extensions see them.
        """
        self._before_the_start("attach")
        attached = _resolve(extension)
        if any(one.name == attached.name for one in self._attached):
            raise ConfigError(f"attach: an extension with the name {attached.name} is attached already")
        self.configure(variables=variables)
        self._attached.append(attached)
        return attached.name

    def fault(self, spec: str) -> None:
        """Let something go wrong, ``KIND[:KEY=VALUE,...]``: one of `extension_kit.emulator.faults.KINDS`."""
        self._before_the_start("fault")
        try:
            Faults.parse((spec,))
        except ConfigError as error:
            raise ConfigError(
                str(error).removeprefix("--").partition("; --fault list")[0] + _fault_hint(spec)
            ) from None
        self._faults.append(spec)

    # what runs ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Initialise now instead of at the first invoke, as provisioned concurrency does; wait until that is over."""
        environment = self._open()
        environment.call(environment.platform.start)
        self.idle()

    def invoke(self, payload: Any = None, *, lines: Iterable[str] = ()) -> Result:
        """One invoke, until the function has answered and the extensions are done with it.

        ``payload``: anything that JSON can say, ``{}`` by default; ``lines``: put into it as ``"print"``, for the default
        function to print. The result's ``function_error`` is "" where all went well; ``payload`` is what the function returned.
        """
        lines = [lines] if isinstance(lines, str) else list(lines)
        payload = {} if payload is None else payload
        if lines and not isinstance(payload, dict):
            raise ConfigError(f"invoke: lines= go into a payload that is a dictionary, this one is {payload!r}")
        try:
            body = json.dumps({**payload, "print": lines} if lines else payload).encode()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"invoke: the payload is not to be had as JSON: {error}") from error
        environment = self._open()
        self._age_snapshot()
        result = environment.invoke(body).result(self._longest())
        self.idle()
        return result

    def idle(self) -> None:
        """Wait until the extensions too are done with the last invoke, and what they have written has been read."""
        environment = self._running("idle")
        if not environment.idle(self._longest()):
            raise DeadlineExceeded(f"the environment does not come to rest: {environment.platform.phase}")
        # Lines were written before the request that made it idle; two turns of the loop later they are here.
        for _ in range(2):
            environment.call(lambda: None)

    def freeze(self) -> None:
        """Stop every process, as Lambda does between invokes (and the sandbox, unless ``freeze=False`` or thawed)."""
        self._act("freeze", lambda environment: environment.freeze())

    def thaw(self) -> None:
        """Let the processes run on between two invokes."""
        self._act("thaw", lambda environment: environment.thaw())

    @property
    def is_frozen(self) -> bool:
        """Whether the processes are stopped now."""
        return self._environment is not None and not self._closed and self._environment.is_frozen

    def _age_snapshot(self) -> None:
        """SnapStart: what the first invoke resumes was made an hour ago, for plug-ins that have a clock to tell it by."""
        if self._profile.init_type == SNAP_START and not self._aged:
            self._aged = True
            self.start()
            if all(one.path is None for one in self._attached):
                self.step_clock(_SNAPSHOT_AGE)

    def step_clock(self, seconds: float) -> None:
        """Let the wall clock jump: a snapshot is resumed later. The monotonic clock goes on; the next invoke tells plug-ins.

        It is the clock of the platform and of ``context.clock``. `time.time` stays, in plug-ins and in the function, whose
        remaining time is off by the jump. ConfigError with executables attached: their clock is the machine's.
        """
        foreign = [one.name for one in self._attached if one.path is not None]
        if foreign:
            raise ConfigError(
                f"step_clock: {', '.join(foreign)} was attached as an executable, which reads this machine's clock; "
                "attach the Plugin class instead"
            )
        milliseconds = round(seconds * 1000)

        def step(environment: Environment) -> None:
            self._offset_ms += milliseconds
            _write_clock(environment.opt, self._offset_ms)
            environment.step_clock(milliseconds)

        self._act("step_clock", step)

    def kill(self, name: str) -> None:
        """SIGKILL to an extension, as from a kernel that is out of memory. The platform notices at the next invoke."""
        environment = self._running("kill")
        exits = self._exits(name)
        if not environment.call(lambda: environment.kill_from_outside(self._known(name))):
            raise ConfigError(f"kill: {name} does not run at present")
        deadline = time.monotonic() + _PATIENCE
        while self._exits(name) == exits:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"{name} was killed and does not end")
            time.sleep(0.002)

    def shutdown(self) -> None:
        """End the environment as Lambda does (reason ``spindown``), and clean up. May be called again."""
        self._closed = True
        try:
            if self._environment is not None:
                self._environment.shutdown()
        finally:
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    # what has happened --------------------------------------------------------------------------------------------------

    @property
    def healthy(self) -> bool:
        """Whether no extension, limit or platform has failed so far; a handler's own exception does not count."""
        return self._environment is None or self._environment.platform.healthy

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The record so far, in order: all of it, or what is of these kinds (``invoke_end``, ``freeze``, ``process_exit``)."""
        recorded = list(self._environment.log.events) if self._environment is not None else []
        return [dict(event) for event in recorded if not kinds or event["kind"] in kinds]

    def lines(self, name: str) -> list[str]:
        """What an extension has written, to stdout and stderr; what the function has, for ``runtime``."""
        self._known(name, "runtime")
        return [event["text"] for event in self.events("log") if event["party"] == name]

    def telemetry(self, name: str) -> Ledger:
        """What the platform has sent to an extension so far: ``sent`` (by stream), ``total``, ``batches``, ``dropped``, ..."""
        ledgers = self._environment.telemetry.ledgers if self._environment is not None else {}
        if self._known(name) not in ledgers:
            raise ConfigError(f"telemetry: {name} has not subscribed to any")
        return replace(ledgers[name], sent=dict(ledgers[name].sent))

    def account(self, name: str) -> Account:
        """What a plug-in's last accounting line says. ConfigError before `shutdown`, and for one that hears no telemetry."""
        if not self._closed:
            raise ConfigError("account: it is written when the environment ends; call shutdown() first")
        found = [
            match for event in self.events("log") if (match := _ACCOUNT.search(event["text"])) and match[1] == name
        ]
        if not found:
            raise ConfigError(f"account: no plug-in {name} of the kit has given account; only those with telemetry do")
        received, delivered, kept_back, dropped, reasons, pending, lost, reposted, malformed = found[-1].groups()[1:]
        why = {
            reason: int(count)
            for reason, _, count in (one.rpartition(": ") for one in (reasons or "").split(", ") if one)
        }
        others = {name: int(count) for count, name in (one.split(" ") for one in kept_back.split(" + ")[1:])}
        lost, reposted, malformed = (int(number or 0) for number in (lost, reposted, malformed))
        return Account(
            int(received), int(delivered), int(dropped), int(pending), why, lost, reposted, malformed, others
        )

    # inside -------------------------------------------------------------------------------------------------------------

    def _before_the_start(self, what: str) -> None:
        if self._environment is not None or self._closed:
            raise ConfigError(f"{what}: too late, the environment has been started; do it before the first invoke")

    def _running(self, what: str) -> Environment:
        if self._closed:
            raise ConfigError(f"{what}: the environment has been shut down")
        if self._environment is None:
            raise ConfigError(f"{what}: nothing runs yet; invoke() or start() first")
        return self._environment

    def _act(self, what: str, act: Callable[[Environment], object]) -> None:
        """Do something to a running environment, between invokes."""
        environment = self._running(what)
        self.idle()
        if environment.platform.phase != Phase.READY:
            raise ConfigError(f"{what}: no process runs, the last invoke ended with a reset; invoke() or start() first")
        environment.call(lambda: act(environment))

    def _exits(self, name: str) -> int:
        return sum(event["party"] == name for event in self.events("process_exit"))

    def _known(self, name: str, *more: str) -> str:
        known = [*(one.name for one in self._attached), *more]
        if name not in known:
            guess = nearest(name, known)
            raise ConfigError(f"{name!r} is not attached{f'; did you mean {guess!r}?' if guess else ''}")
        return name

    def _longest(self) -> float:
        """Seconds after which every invoke has ended, whatever happens: two inits, a restore, itself, a shutdown."""
        profile = self._profile
        return profile.first_init_limit + profile.init_limit + profile.restore_limit + profile.timeout + 2.0 + _PATIENCE

    def _open(self) -> Environment:
        if self._closed:
            raise ConfigError("invoke: the environment has been shut down; make another Sandbox")
        if self._environment is None:
            prepare.require_python_runtime()
            self._folder = tempfile.TemporaryDirectory(prefix="extension-kit-sandbox-")
            profile = replace(self._profile, faults=Faults.parse(tuple(self._faults)))
            self._environment = Environment(profile, self._lay_out(Path(self._folder.name)))
            if profile.init_type != ON_DEMAND:
                self._environment.start()
        return self._environment

    def _lay_out(self, folder: Path) -> Layout:
        """The files of the environment: a layer with the clock's offset, launchers, the function."""
        layer, launchers, function = folder / "layer", folder / "launchers", folder / "function"
        for directory in ((layer / _CLOCK).parent, launchers, function):
            directory.mkdir(parents=True)
        _write_clock(layer, 0)
        if isinstance(self._function, str):
            (function / f"{self._profile.handler.partition('.')[0]}.py").write_text(self._function)
        else:
            function = self._function
        paths = prepare.search_path()
        extensions = []
        for one in self._attached:
            if one.path is None:
                prepare.write_launcher(launchers / one.name, (one.plugin,), paths, _STEPPED_CLOCK)
            extensions.append(one.path or launchers / one.name)
        return Layout(
            function=function,
            layers=(layer,),
            extensions=tuple(extensions),
            variables=self._variables,
            namespaces=not namespaces.unavailable(),
            visible=tuple(map(Path, paths)),
        )


def _resolve(extension: object) -> _Attached:
    """What was handed to `Sandbox.attach`."""
    if isinstance(extension, type):
        validate(extension)
        return _of_class(extension)
    if isinstance(extension, str) and ":" in extension and not Path(extension).exists():
        return _of_class(prepare.plugin_class(extension, "attach"), extension)
    if not isinstance(extension, (str, os.PathLike)):
        raise ConfigError(
            f"attach: {extension!r} is neither a path, nor 'module:Class', nor a class; "
            "a plug-in's instance lives in this process and cannot be moved to the extension's"
        )
    path = Path(extension).absolute()
    if not path.is_file():
        raise ConfigError(f"attach: {path}: no such file")
    if not os.access(path, os.X_OK):
        raise ConfigError(f"attach: {path}: not executable; chmod +x it")
    return _Attached(path.name, path=path)


def _of_class(plugin: type[Plugin], spec: str = "") -> _Attached:
    """A plug-in is run in another process, which must be able to import it."""
    module = plugin.__module__
    if not spec and (module == "__main__" or getattr(sys.modules.get(module), plugin.__qualname__, None) is not plugin):
        raise ConfigError(
            f"attach: {module}.{plugin.__qualname__} cannot be imported by that name; "
            "define the class at the top of a module that is no script"
        )
    spec = spec or f"{module}:{plugin.__qualname__}"
    top = spec.partition(":")[0].partition(".")[0]
    if PathFinder.find_spec(top, prepare.search_path()) is None:
        raise ConfigError(f"attach: {spec}: {top} is not on sys.path, so the extension's process cannot import it")
    return _Attached(plugin.name, plugin=spec)


def _fault_hint(spec: str) -> str:
    from extension_kit.emulator.faults import KINDS

    kind = spec.partition(":")[0]
    return "" if kind in KINDS else f"; there are {', '.join(KINDS)}"


def _check_profile(profile: Profile) -> None:
    if not isinstance(profile.timeout, (int, float)) or not 0 < profile.timeout <= 900:
        raise ConfigError(f"timeout={profile.timeout!r}: seconds above 0 and up to 900 are wanted")
    if not isinstance(profile.memory_mb, int) or not 128 <= profile.memory_mb <= 10_240:
        raise ConfigError(f"memory={profile.memory_mb!r}: megabytes from 128 to 10240 are wanted")
    if profile.init_type not in INIT_TYPES:
        raise ConfigError(f"init_type={profile.init_type!r}: one of {', '.join(INIT_TYPES)} is wanted")
    if not re.fullmatch(r"[^\W\d]\w*(\.\w+)+", profile.handler):
        raise ConfigError(f"handler={profile.handler!r}: MODULE.FUNCTION is wanted, e.g. app.handler")


def _check_function(function: str | Path, handler: str) -> None:
    """ConfigError for a directory that is none, and for a source that has no handler."""
    if isinstance(function, Path):
        if not function.is_dir():
            raise ConfigError(f"function {function}: no such directory")
        return
    try:
        tree = ast.parse(function)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"function: not the source of a Python module ({error}); a directory is a Path") from error
    _module, _, wanted = handler.partition(".")
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    names |= {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    if wanted not in names:
        raise ConfigError(f"function: its source defines no {wanted}; hand in a Path where a directory is meant")


def _check_variables(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise ConfigError(f"variables: {name!r}: {value!r} is no environment variable; both are strings")


def _write_clock(opt: Path, offset_ms: int) -> None:
    """In one step: a plug-in may read it at any moment."""
    path = opt / _CLOCK
    new = path.with_suffix(".new")
    new.write_text(str(offset_ms))
    new.replace(path)
