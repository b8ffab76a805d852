"""``run``: register, load, start, loop, drain. Read top-down.

The order is the point: the request to register leaves before anything else is imported, since the runtime does not start
until every extension has registered; and nothing is done between an event and the next request that is not a plug-in's.
"""

from __future__ import annotations

import sys

from extension_kit.errors import ExtensionKitError, RemoteProtocolError
from extension_kit.io import environ
from extension_kit.io.client import ExtensionsClient, PlatformGone
from extension_kit.protocol.extensions_api import choose_events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any, NoReturn

    from extension_kit.commons import Commons
    from extension_kit.events import Invoke, Registration, Shutdown, UnknownEvent
    from extension_kit.flusher import Flusher
    from extension_kit.host import Hosted, Loader
    from extension_kit.io.freeze import FreezeWatch
    from extension_kit.telemetry import Telemetry

    Event = Invoke | Shutdown | UnknownEvent
    Ports = tuple[dict[str, list[socket]], dict[str, str]]

__all__ = ["run", "run_as"]

_BACK_OFF = (1.0, 30.0)  # seconds: first and longest wait after a refused next
_DRAIN_MS = 1400  # where the platform gives no deadline: the least that is left of Lambda's 2000 ms
_DRAIN_LEAST = 0.05  # seconds, also where the deadline has passed: clocks may part, after a restore for instance
_DRAIN_MOST = 900.0  # seconds; a deadline further away than any function's timeout is a mistake of somebody's
_DRAIN_MARGIN_MS = 100  # kept free before SIGKILL, for flushing stdio and the exit itself


def run(*plugins: Any, name: str = "") -> NoReturn:
    """Run `plugins` (instances, classes or ``"module:Class"``) as one extension until the environment ends.

    ``name`` is what is registered; by default the base name of the program, which must be the name of the file in
    ``/opt/extensions`` (AWS docs, Extensions API). Strings are imported after ``register``. Never returns: exits 0 after
    SHUTDOWN, 1 where the platform refuses the registration or is gone, 2 outside an execution environment.
    """
    run_as(name or sys.argv[0].rpartition("/")[2], plugins)


def run_as(
    name: str,
    plugins: tuple[Any, ...],
    *,
    registered: tuple[str, bytes, int] | None = None,
    open_ports: Callable[[Callable[[str], object]], Ports] | None = None,
    load_first: bool | tuple[str, ...] = False,
    declared: tuple[tuple[str, ...], tuple[str, ...]] | None = None,
    events: tuple[str, ...] = ("INVOKE", "SHUTDOWN"),
) -> NoReturn:
    """`run`, for what lies in a layer (see `launched`).

    ``registered``: identifier, body of the answer and connection (-1: none) of a registration that was made already;
    ``open_ports``: gives the sockets by the port's name, and why where there are none; ``load_first``: import the plug-ins (or
    those of these names) before the registration, since they have ``before_register``; ``declared``: hosts and programs of
    the layer's manifest. A plug-in that is written ``NAME=MODULE:CLASS`` is not imported where the operator wants others.
    """
    address = environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        _say(name, "AWS_LAMBDA_RUNTIME_API is not set: this is not a Lambda environment. Try it with: "
                   f"extension-kit run --function DIR --handler M.F --extension {sys.argv[0]}")  # fmt: skip
        _exit(2)
    extension = _Extension(name, plugins, declared)
    if open_ports is not None:
        extension.ports = open_ports(extension.say)
        for port in extension.ports[1]:
            extension.ports[0][port] = []
    try:
        client = ExtensionsClient(address)
        if registered is not None:
            extension.registration = client.adopt(*registered)
        else:
            extension.before_register(load_first)
            init_type = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
            extension.registration = client.register(name, choose_events(init_type, events))
    except ExtensionKitError as error:
        _say(name, f"cannot register: {error}")
        _exit(1)
    extension.load()
    if extension.must_crash:
        client.report_error("init", "Extension.PluginFailed")
        _exit(1)
    extension.open_telemetry(client, address)
    extension.start()
    if extension.is_managed:
        _exit(_loop(lambda: extension.serve(lambda: _next(client, extension)), client, extension))
    _exit(_loop(lambda: _next(client, extension), client, extension))


def _loop(next_event: Callable[[], Event | None], client: ExtensionsClient, extension: _Extension) -> int:
    """From one event to the next; returns the exit status."""
    while True:
        event = next_event()
        kind = type(event).__name__
        if kind == "Invoke":
            extension.invoke(event)  # type: ignore[arg-type]
            if extension.must_crash:
                client.report_error("exit", "Extension.PluginFailed")
                return 1
        elif kind == "Shutdown":
            extension.drain(event)  # type: ignore[arg-type]
            return 0
        elif event is None:
            extension.drain(None)
            return 1


def _next(client: ExtensionsClient, extension: _Extension) -> Event | None:
    """The next event, however often it must be asked for; None where the platform is gone."""
    wait = 0.0
    while True:
        try:
            return client.next()
        except PlatformGone as error:
            extension.say(f"{error}: shutting down")
            return None
        except RemoteProtocolError as error:
            # Ours to mend, never the function's to suffer: say it once, try again ever more slowly.
            if not extension.refusal_was_told:
                extension.refusal_was_told = True
                extension.say(f"{error}: trying again, slowly")
            wait = min(wait * 2 or _BACK_OFF[0], _BACK_OFF[1])
            extension.clock.sleep(wait)


class _Extension:
    """The plug-ins of this process, from loading to draining."""

    def __init__(
        self, name: str, specs: tuple[Any, ...], declared: tuple[tuple[str, ...], tuple[str, ...]] | None
    ) -> None:
        self.name = name
        self.registration: Registration | None = None
        self.hosted: list[Hosted] = []
        self.must_crash = False
        self.refusal_was_told = False
        self.is_managed = False
        self._invokes = 0
        self.commons: Commons | None = None
        self.ports: Ports = ({}, {})
        self._telemetry: Telemetry | None = None
        self._flusher: Flusher | None = None
        self._watch: FreezeWatch | None = None
        self._init_type = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
        self._specs = specs
        self._declared = declared
        self._loader: Loader | None = None
        self._asked_first: list[Hosted] = []  # before the registration
        self._crash_on_failure = False
        self._invoke_wanted = False
        self._clock: Any = None

    def say(self, text: str) -> None:
        _say(self.name, text)

    @property
    def clock(self) -> Any:
        if self._clock is None:
            from extension_kit.io.clock import Clock

            self._clock = Clock()
        return self._clock

    def before_register(self, load_first: bool | tuple[str, ...]) -> None:
        """Only plug-ins that are here already, or those of which that is wanted, are allowed to hold back the registration."""
        first = [index for index, spec in enumerate(self._specs) if _comes_first(spec, load_first)]
        if first:
            self._asked_first = self.loader.load_first(first)
            _in_turn(self._asked_first, "before_register", len(self._specs))

    def load(self) -> None:
        """Import and check the plug-ins; one that is wrong is reported and left out."""
        loader = self.loader
        for line in loader.complaints:
            self.say(line)
        self._crash_on_failure = loader.settings.on_failure == "crash"
        self.hosted, self.commons = loader.load()
        for hosted in self.hosted:
            hosted.context.registration = self.registration
            hosted.context.log.level = loader.settings.log_level
        self.must_crash = self._crash_on_failure and loader.left_out
        for name, why in self.ports[1].items():
            text = f"nothing can be asked on port {name}: {why}"
            if len(self.hosted) == 1:
                self.hosted[0].context.log.warning(text)
            elif self.hosted:
                self.say(text)

    @property
    def loader(self) -> Loader:
        """Made when the first plug-in is to be loaded: mostly after the registration."""
        if self._loader is None:
            from extension_kit.host import Loader

            self._loader = Loader(self._specs, self._declared, self.ports[0], self.clock, self.say, _write)
        return self._loader

    def open_telemetry(self, client: ExtensionsClient, address: str) -> None:
        """Subscribe where a plug-in wants it: after the first ``next`` it would be too late."""
        wanted = any(one.plugin.telemetry or "on_runtime_done" in one.hooks for one in self.hosted)
        settings = self.loader.settings
        if wanted:
            from extension_kit.telemetry import Telemetry

            telemetry = self._telemetry = Telemetry(
                self.name, self.hosted, settings, self._init_type, self.say, self.clock
            )
            self._guarded(lambda: telemetry.open(client, address))
        if wanted or any("flush" in one.hooks for one in self.hosted):
            from extension_kit.flusher import Flusher

            self._flusher = Flusher(self.hosted, self._telemetry, settings, self.clock, self.say)
            self.is_managed = self._init_type == "lambda-managed-instances"
        if any("on_restore" in one.hooks for one in self.hosted):
            from extension_kit.io.freeze import FreezeWatch

            self._watch = FreezeWatch(self.clock)

    def start(self) -> None:
        """The plug-ins' ``start`` hooks, beside the runtime's own start."""
        late = [hosted for hosted in self.hosted if hosted.has("before_register") and hosted not in self._asked_first]
        for hosted in late:
            self.say(f"plug-in {hosted.plugin.name}: before_register comes after the registration, which was made "
                            "before the plug-in was there")  # fmt: skip
        failures = _in_turn(late, "before_register", len(self._specs)) + _in_turn(
            self.hosted, "start", len(self._specs)
        )
        self._invoke_wanted = any(hosted.has("on_invoke") for hosted in self.hosted)
        self.must_crash = self.must_crash or (self._crash_on_failure and failures > 0)

    def invoke(self, event: Invoke) -> None:
        """The plug-ins' ``on_invoke`` hooks; then whatever the flush strategy wants done before the next event."""
        self._invokes += 1
        if self._invokes == 2 and self.commons is not None:  # the first has its response
            self.commons.prepare()
        if self._watch is not None:
            self._restored(self._watch.jumped_ms())
        elif self._init_type == "snap-start":
            self._restored(0)
        if self._invoke_wanted:
            from extension_kit.host import call_all

            failures = call_all(self.hosted, "on_invoke", event)
            self.must_crash = self._crash_on_failure and failures > 0
        if self._flusher is not None:
            flusher = self._flusher
            self._guarded(lambda: flusher.invoked(event))

    def _guarded(self, call: Callable[[], object]) -> None:
        """A mistake of ours must not end the process either: it is told once, and there is no flushing from then on."""
        try:
            if self.commons is None:
                call()
            else:
                self.commons.again(call)
        except Exception as error:
            from extension_kit.host import describe

            self.say(f"internal error: {''.join(describe(error))}; no telemetry and no flushing from here on")
            self._flusher = self._telemetry = None

    def _restored(self, jumped_ms: int) -> None:
        """``on_restore``, where the clocks say so, and before the first invocation of a snapshot in any case."""
        first, self._init_type = self._init_type == "snap-start", ""
        if first and self._telemetry is not None:
            self._guarded(self._telemetry.restored)
        if first or jumped_ms:
            from extension_kit.events import Restore
            from extension_kit.host import call_all

            call_all(self.hosted, "on_restore", Restore("snapshot" if first else "clock", jumped_ms))

    def serve(self, wait_for_event: Callable[[], Event | None]) -> Event | None:
        """Managed Instances have one event, SHUTDOWN; until it comes the plug-ins are served from here."""
        assert self._flusher is not None
        flusher = self._flusher
        events: list[Event | None] = flusher.beside(wait_for_event)
        self._guarded(lambda: flusher.serve(lambda: bool(events)))
        while not events:
            self.clock.sleep(1.0)  # only where serving has failed
        return events[0]

    def drain(self, event: Shutdown | None) -> None:
        """The plug-ins' ``on_shutdown`` hooks, until the deadline. Without an event the platform is gone: a failure."""
        self._guarded(lambda: self._drain(event))
        for one in (*self.hosted, self.loader.guard):
            if one is not None and (line := one.account()):
                self.say(line)
        telemetry = self._telemetry
        if telemetry is not None and telemetry.hears:
            self._guarded(lambda: list(map(self.say, telemetry.account())))

    def _drain(self, event: Shutdown | None) -> None:
        from extension_kit.events import Shutdown
        from extension_kit.host import call_all
        from extension_kit.protocol.deadline import Deadline

        if event is None:
            event = Shutdown({"shutdownReason": "failure"})
        at_ms = event.deadline_ms or self.clock.wall_ms() + _DRAIN_MS
        deadline = Deadline(at_ms, self.clock.wall_ms, _DRAIN_MARGIN_MS, f"shutdown ({event.reason})")
        seconds = min(max(_DRAIN_LEAST, deadline.remaining_ms() / 1000), _DRAIN_MOST)
        if self._flusher is not None:
            flusher, limit_ms = self._flusher, self.clock.wall_ms() + int(seconds * 1000)
            more_may_come = event.deadline_ms > 0
            self._guarded(lambda: flusher.drain(limit_ms, more_may_come))
            seconds = min(max(_DRAIN_LEAST, deadline.remaining_ms() / 1000), _DRAIN_MOST)
        call_all(self.hosted, "on_shutdown", event, deadline, seconds=seconds)


def _in_turn(plugins: list[Hosted], hook: str, specs: int) -> int:
    """A hook of the init; failures counted. Parts of the only plug-in there is wait for each other."""
    if specs > 1:
        from extension_kit.commons import call_in_turn

        return call_in_turn(plugins, hook)
    from extension_kit.host import call_all

    return sum(call_all([hosted], hook, hosted.context) for hosted in plugins)


def _comes_first(spec: Any, load_first: bool | tuple[str, ...]) -> bool:
    """Whether it is a plug-in of which that is wanted, or a class or an instance with a ``before_register`` of its own."""
    if load_first is True:
        return True
    if isinstance(spec, str):
        return load_first is not False and spec.rpartition("=")[0] in load_first
    if not hasattr(spec, "before_register"):
        return False
    from extension_kit.plugin import Plugin, overridden

    owner = spec if isinstance(spec, type) else type(spec)
    return issubclass(owner, Plugin) and overridden(owner, "before_register")


def _say(name: str, text: str) -> None:
    _write(f"[{name}] {text}\n")


def _write(line: str) -> None:
    """To stderr; a stderr that is closed or full is no reason to end."""
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass


def _exit(status: int) -> NoReturn:
    """End at once: threads of hooks that never return must not hold the process, nor anything registered with atexit."""
    import posix

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    posix._exit(status)
