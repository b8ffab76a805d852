"""What an author writes: a class with some of these hooks. Everything that is wrong with it is said when it is loaded.

``HOOKS`` is the one table of hooks: argument names and time budgets. The base class documents them; the host calls them.
"""

from __future__ import annotations

from extension_kit.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from extension_kit.egress import Guard
    from extension_kit.events import Flushed, Invoke, Registration, Restore, Shutdown
    from extension_kit.io.clock import Clock
    from extension_kit.protocol.deadline import Deadline
    from extension_kit.records import Record, RuntimeDone
    from extension_kit.settings import Settings

__all__ = ["HOOKS", "Context", "Log", "Plugin", "load", "overridden", "validate"]

#: hook: (arguments, default budget in seconds; None: the deadline that the hook is given)
HOOKS: dict[str, tuple[tuple[str, ...], float | None]] = {
    "before_register": (("context",), 2.0),
    "start": (("context",), 2.0),
    "on_invoke": (("event",), 0.05),
    "on_telemetry": (("records",), 0.05),
    "on_runtime_done": (("record",), 0.05),
    "flush": (("reason", "deadline"), None),
    "on_restore": (("event",), 0.05),
    "on_shutdown": (("event", "deadline"), None),
}
STREAMS = ("platform", "function", "extension")

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_LONGEST_BUDGET = 900  # seconds: a function's longest timeout
_VARIADIC = 0x04  # code flag CO_VARARGS (inspect has it, and costs 20 ms)
_COROUTINE = 0x80 | 0x200  # CO_COROUTINE, CO_ASYNC_GENERATOR


class Plugin:
    """Base class of plug-ins. Override the hooks that are needed; a hook that is not overridden costs nothing.

    Time budgets of 50 ms are those with a whole core (1,769 MB); with a share of one, a hook has as many times longer.

    Hooks of one plug-in never run at the same time. One that raises or overruns its budget is reported and counted; after
    three in a row the plug-in is put to rest, the function and the other plug-ins go on.
    """

    #: lower case with dashes, e.g. ``log-shipper``
    name: str = ""
    #: telemetry streams to subscribe to: some of ``platform``, ``function``, ``extension``
    telemetry: tuple[str, ...] = ()
    #: a `Settings` class, parsed before any hook; the result is ``context.settings``
    settings: type[Settings] | None = None
    #: whether telemetry is wanted as soon as it is there, also under a flush strategy that waits for nothing (25 ms, not 250)
    prompt: bool = False
    #: hook: seconds, for hooks that need another time budget than the default
    budgets: Mapping[str, float] = {}  # noqa: RUF012 - read only; ClassVar would cost the import of typing

    def split(self, context: Context) -> Iterable[Plugin]:
        """Plug-ins that take this one's place, e.g. one for each destination; by default it stays itself.

        Called once, when the plug-in is loaded, before the runtime has started: cheap things only. Each part is served as a
        plug-in of its own, on its own thread, with its own place in the telemetry; their names must differ. Where none is
        left, nothing is called. ``context.registration`` is not there yet.
        """
        return (self,)

    def check(self, context: Context) -> Iterable[str]:
        """What would not work, a line each, found by trying: for ``extension-kit check``, never called on Lambda."""
        return ()

    def before_register(self, context: Context) -> None:
        """Rarely needed: runs before ``register`` and so holds back the start of the runtime. Budget 2 s."""

    def start(self, context: Context) -> None:
        """After ``register``, beside the start of the runtime; what is done here competes with it for CPU. Budget 2 s."""

    def on_invoke(self, event: Invoke) -> None:
        """The function is being invoked. Budget 50 ms."""

    def on_telemetry(self, records: list[Record]) -> None:
        """Telemetry has arrived: up to 1,000 records of this plug-in's streams, in the order in which they came. Budget 50 ms.

        What was handed over is delivered once `flush` has returned; without a `flush` hook, once this hook has. What is not
        delivered when the process is killed is handed over again. A record may come twice, with the same ``id``.
        """

    def on_runtime_done(self, record: RuntimeDone) -> None:
        """This request's function code has ended. Having this hook means that the end of every invocation is waited for,
        whatever the flush strategy. Budget 50 ms.
        """

    def flush(self, reason: str, deadline: Deadline) -> int | Flushed | None:
        """Send what is due by `deadline`; returns how many records are still pending, counted from the newest (None: none).

        A `Flushed` says besides what has become of the others, where not all of them were delivered.

        Called by the flush strategy (``EXTENSION_KIT_FLUSH``) and at SHUTDOWN. Raising, or not returning in time, means that
        nothing was delivered.
        """

    def on_restore(self, event: Restore) -> None:
        """A snapshot was resumed, or time jumped; comes before the `on_invoke` of the invocation in which it shows.
        Budget 50 ms.
        """

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:
        """The environment ends; be done by `deadline`."""


class Log:
    """Lines on stderr, which become extension log lines: ``[name] LEVEL text``. Levels below ``level`` are not written."""

    __slots__ = ("_levels", "_name", "_write", "level")

    LEVELS = ("debug", "info", "warning", "error")

    def __init__(self, name: str, write: Callable[[str], object], level: str = "warning") -> None:
        self._name = name
        self._write = write
        self.level = level

    def debug(self, text: str) -> None:
        self._line("debug", text)

    def info(self, text: str) -> None:
        self._line("info", text)

    def warning(self, text: str) -> None:
        self._line("warning", text)

    def error(self, text: str) -> None:
        self._line("error", text)

    def _line(self, level: str, text: str) -> None:
        if self.LEVELS.index(level) >= self.LEVELS.index(self.level):
            line = text.replace("\n", "\\n").replace("\r", "\\r")
            self._write(f"[{self._name}] {level.upper()} {line}\n")


class Context:
    """What a plug-in is given: facts about the environment, its settings, a log, counters.

    ``memory_mb``: int or None where unknown; ``init_type``, ``region``: "" where unknown. ``sockets``: the ports that the
    manifest declares, by name, each a list of listening ``_socket.socket`` (127.0.0.1, and ::1 where there is IPv6); the list
    of a port that could not be had is empty. ``stream_id``: with it a record's ``id`` is unique in the world; "" where there is
    no telemetry; it stays over a crash, and changes before `Plugin.on_restore` for a snapshot.
    """

    __slots__ = (
        "_egress", "clock", "counters", "init_type", "log", "memory_mb", "name", "region", "registration", "settings",
        "sockets", "stream_id", "urgent",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        environ: Mapping[str, str],
        log: Log,
        clock: Clock,
        settings: Any = None,
        registration: Registration | None = None,
        sockets: dict[str, list[socket]] | None = None,
    ) -> None:
        memory = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        self.name = name
        self.log = log
        self.clock = clock
        self.settings = settings
        self.registration = registration
        self.sockets = sockets if sockets is not None else {}
        self.counters: dict[str, int] = {}
        self.urgent = False
        self._egress: Guard | None = None
        self.stream_id = ""
        self.memory_mb = int(memory) if memory.isascii() and memory.isdigit() else None
        self.init_type = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "")
        self.region = environ.get("AWS_REGION", "")

    def count(self, name: str, n: int = 1) -> None:
        """Add to one of the plug-in's own counters."""
        self.counters[name] = self.counters.get(name, 0) + n

    def flush_soon(self) -> None:
        """What is pending cannot wait for the flush strategy: call ``flush`` as soon as the plug-in is not busy."""
        self.urgent = True

    def may_reach(self, settings: Settings) -> None:
        """Have the egress guard let pass what these settings name, as what the plug-in's own do: those of a file, say."""
        if self._egress is not None:
            self._egress.add(settings)

    @property
    def directory(self) -> str:
        """A directory of the plug-in's own below /tmp, mode 0700; made at first use. OSError where /tmp is read-only."""
        import os

        path = f"/tmp/.extension-kit/{self.name}"  # noqa: S108 - Lambda's only writable place, named in the design
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path


def overridden(plugin: Plugin | type[Plugin], hook: str) -> bool:
    """Whether the plug-in's class has a hook of its own."""
    owner = plugin if isinstance(plugin, type) else type(plugin)
    return getattr(owner, hook) is not getattr(Plugin, hook)


def load(spec: object) -> Plugin:
    """A validated plug-in from an instance, a class or ``[name=]module:Class``; ConfigError says what is wrong and the fix."""
    if isinstance(spec, str):
        spec = _import(spec)
    if isinstance(spec, type):
        validate(spec)
        try:
            spec = spec()
        except Exception as error:
            raise ConfigError(f"plug-in {spec}: cannot be made without arguments: {error!r}") from error
    validate(spec)
    assert isinstance(spec, Plugin)
    return spec


def _import(spec: str) -> object:
    module_name, _, class_name = spec.rpartition("=")[2].partition(":")
    if not module_name or not class_name:
        raise ConfigError(f"plug-in {spec!r}: expected MODULE:CLASS")
    try:
        module = __import__(module_name, fromlist=[class_name])
    except Exception as error:  # whatever a module does at import is its own fault, not the function's
        raise ConfigError(f"plug-in {spec!r}: {module_name} cannot be imported: {error!r}") from error
    try:
        found: object = getattr(module, class_name)
    except AttributeError:
        raise ConfigError(f"plug-in {spec!r}: {module_name} has no {class_name}") from None
    return found


def validate(plugin: object) -> None:
    """ConfigError for a class or instance that is no proper plug-in; the text names the fix."""
    owner = plugin if isinstance(plugin, type) else type(plugin)
    if not issubclass(owner, Plugin):
        raise ConfigError(f"{owner.__name__} is no plug-in: derive it from extension_kit.Plugin")
    name = plugin.name  # type: ignore[attr-defined]
    if not isinstance(name, str) or not name or not _NAME_CHARACTERS.issuperset(name) or name[0] in ".-":
        raise ConfigError(
            f"{owner.__name__}.name is {name!r}: letters, digits, '.', '_' and '-' are wanted, a letter or digit first"
        )
    streams = plugin.telemetry  # type: ignore[attr-defined]
    if not isinstance(streams, tuple) or any(stream not in STREAMS for stream in streams):
        raise ConfigError(f"{owner.__name__}.telemetry is {streams!r}: a tuple of some of {STREAMS} is wanted")
    _validate_budgets(owner, plugin.budgets)  # type: ignore[attr-defined]
    _validate_settings(owner, plugin.settings)  # type: ignore[attr-defined]
    for attribute in dir(owner):
        _validate_attribute(owner, attribute)


def _validate_budgets(owner: type[Plugin], budgets: object) -> None:
    if not isinstance(budgets, dict):
        raise ConfigError(f"{owner.__name__}.budgets is {budgets!r}: a dictionary of hook: seconds is wanted")
    for hook, seconds in budgets.items():
        if hook not in HOOKS:
            raise ConfigError(f"{owner.__name__}.budgets names {hook!r}; hooks are {', '.join(HOOKS)}")
        if not isinstance(seconds, (int, float)) or not 0 < seconds <= _LONGEST_BUDGET:
            raise ConfigError(
                f"{owner.__name__}.budgets[{hook!r}] is {seconds!r}: seconds above 0 and up to {_LONGEST_BUDGET} are wanted"
            )


def _validate_settings(owner: type[Plugin], settings: object) -> None:
    if settings is not None:
        from extension_kit.settings import Settings

        if not isinstance(settings, type) or not issubclass(settings, Settings):
            raise ConfigError(
                f"{owner.__name__}.settings is {settings!r}: a subclass of extension_kit.Settings is wanted"
            )


def _validate_attribute(owner: type[Plugin], attribute: str) -> None:
    if attribute in HOOKS:
        if overridden(owner, attribute):
            _validate_hook(owner, attribute)
    elif attribute.startswith("on_") and callable(getattr(owner, attribute)):
        from extension_kit.nearest import nearest

        guess = nearest(attribute, list(HOOKS))
        raise ConfigError(
            f"{owner.__name__}.{attribute} is no hook; did you mean {guess}? (others: {', '.join(HOOKS)})"
        )


def _validate_hook(owner: type[Plugin], hook: str) -> None:
    arguments, _budget = HOOKS[hook]
    code = getattr(getattr(owner, hook), "__code__", None)
    if code is None:
        return  # a callable object: its arity shows when it is called
    wanted = f"def {hook}(self, {', '.join(arguments)})"
    if code.co_flags & _COROUTINE:
        raise ConfigError(f"{owner.__name__}.{hook} is async: hooks run on a thread of their own; write {wanted}")
    function = getattr(owner, hook)
    count = len(arguments) + 1
    least = code.co_argcount - len(function.__defaults__ or ())
    most = count if code.co_flags & _VARIADIC else code.co_argcount
    if not least <= count <= most or code.co_kwonlyargcount > len(function.__kwdefaults__ or ()):
        raise ConfigError(f"{owner.__name__}.{hook} takes {code.co_argcount} arguments; write {wanted}")
