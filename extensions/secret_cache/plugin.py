"""The plug-in: listening before the function can ask, an answer to every request, the deadline of each invocation."""

from __future__ import annotations

from extension_kit.io import environ
from extension_kit.plugin import Plugin
from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from extension_kit.events import Invoke, Restore, Shutdown
    from extension_kit.plugin import Context
    from extension_kit.protocol.deadline import Deadline

__all__ = ["SecretCache"]

_LEVELS = {"debug": "debug", "info": "info", "warn": "warning", "error": "error"}


class SecretCache(Plugin):
    """Secrets Manager and Parameter Store on port 2773, AppConfig on port 2772, on loopback, from memory."""

    name = "secret-cache"
    settings = SecretCacheSettings

    def start(self, context: Context) -> None:
        self._context = context
        self._forbid_core_dumps()
        settings = context.settings
        appconfig, warnings = AppConfigSettings.parse(environ.mapping())
        for line in warnings:
            context.log.warning(line)
        context.may_reach(appconfig)
        self._level = settings.log_level
        from extensions.secret_cache.service import Service

        registration = context.registration
        self._service = Service(
            settings,
            appconfig,
            environ.mapping(),
            context.clock,
            say=self._say,
            count=context.count,
            home=(context.region, registration.account_id if registration else ""),
            function=registration.function_name if registration else "",
        )
        self._service.serve(self._sockets("secrets", settings.port))
        self._service.serve_configurations(self._sockets("configurations", appconfig.http_port))
        self._service.start()

    def on_invoke(self, event: Invoke) -> None:
        self._service.invoked(event.deadline_ms)

    def on_restore(self, event: Restore) -> None:
        self._service.restored(snapshot=event.reason == "snapshot")

    def on_shutdown(self, event: Shutdown, deadline: Deadline) -> None:
        self._service.stop()
        figures = ", ".join(f"{name} {n}" for name, n in sorted(self._context.counters.items()))
        self._say("info", figures or "nothing was asked for")

    def _sockets(self, name: str, port: int) -> list[socket]:
        """The launcher's; where nobody has opened ports for us, our own."""
        if name in self._context.sockets:
            return self._context.sockets[name]
        from extension_kit.io.ports import open_port

        try:
            return open_port((name, port, (), ""), self._context.log.warning)
        except OSError as error:
            self._say("error", f"nothing can be asked on {error.strerror}")
            return []

    def _say(self, level: str, text: str) -> None:
        log = self._context.log
        wanted = _LEVELS.get(self._level)
        if wanted is not None and log.LEVELS.index(level) >= log.LEVELS.index(wanted):
            getattr(log, level)(text)

    def _forbid_core_dumps(self) -> None:
        """A core dump would hold every secret. One byte is too little for a file, and stops a program that takes dumps too
        (core(5): "a limit of 1 byte").
        """
        import resource

        try:
            resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        except (OSError, ValueError):
            try:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            except (OSError, ValueError):
                self._context.count("core_limit_refused")
