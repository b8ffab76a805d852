"""The parts, put together: a loop on a thread of its own, and on it the cache and what asks it.

Everything that is known lives on that thread. Hooks of the plug-in and threads that fetch only hand messages in.
"""

from __future__ import annotations

import _thread
import sys

from extension_kit.aws import Aws, AwsError, Role
from extension_kit.declarations import clean
from extension_kit.errors import ConfigError
from extension_kit.io.loop import Loop
from extension_kit.io.server import Server
from extension_kit.protocol.http1 import Limits
from extensions.secret_cache import options
from extensions.secret_cache.cache import Cache, Order
from extensions.secret_cache.calls import Calls
from extensions.secret_cache.fetcher import Fetcher
from extensions.secret_cache.found import Configuration, content
from extensions.secret_cache.front import Front
from extensions.secret_cache.permits import Permits
from extensions.secret_cache.quick import Quick
from extensions.secret_cache.replies import Replies
from extensions.secret_cache.store import Store
from extensions.secret_cache.tokens import Tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterable, Mapping

    from extension_kit.io.clock import Clock
    from extension_kit.io.server import Exchange
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.cache import Outcome
    from extensions.secret_cache.files import Files
    from extensions.secret_cache.found import Found, Secret
    from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings

__all__ = ["Service"]

_LIMITS = Limits(max_head=32_768, max_headers=100, max_body=65_536)
_LONGEST_MANIFEST = 1_048_576  # bytes
_MOST_TOLD = 200  # different errors that are told
#: Lambda's limit for the init phase, less a margin; where environments are prepared ahead it is 130 s (AWS docs, lifecycle).
_INIT_MS = 9_800
_LONG_INIT_MS = 129_000


class Service:
    """``say(level, text)`` writes a line; ``count(name, n)`` adds to a counter, on the service's thread."""

    def __init__(
        self,
        settings: SecretCacheSettings,
        appconfig: AppConfigSettings,
        environ: Mapping[str, str],
        clock: Clock,
        *,
        say: Callable[[str, str], object],
        count: Callable[[str, int], object],
        home: tuple[str, str] = ("", ""),
        function: str = "",
    ) -> None:
        def warn(text: str) -> object:
            return say("warning", text)

        self._settings = settings
        self._appconfig = appconfig
        self._say = say
        self._count = count
        self._told: set[tuple[str, str, str]] = set()
        self._learners: list[Callable[[], object]] = []  # requests that wait for the session tokens of late
        self.loop = Loop()
        self._aws = Aws(environ, clock=clock)
        self._tokens = Tokens(environ, clock, self._aws.issued_tokens)
        self._init_type = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "")
        policy = options.policy(settings, appconfig.poll_interval_seconds, _random, warn)
        self._calls = self._make_calls(clock)
        self._fetcher = Fetcher(self._calls, self._post_arrival, self._post_probe, settings.max_connections)
        on_demand = self._init_type in ("", "on-demand")
        self.cache = Cache(
            Store(policy, home),
            policy,
            self._fetcher,
            clock,
            call_later=self.loop.call_later,
            count=count,
            tell=self._tell,
            permits=Permits(settings.allow),
            limit_ms=clock.wall_ms() + (_INIT_MS if on_demand else _LONG_INIT_MS),
            probe_ms=settings.probe_s * 1000,
            keeps=self._init_type != "snap-start",
        )
        self._quick = Quick(clock.wall_ms, self.cache.store)
        replies = Replies(settings.errors, self._quick)
        roles = options.role_of(settings, function, warn)
        self._front = Front(
            self.cache,
            self._tokens,
            replies,
            roles=roles,
            learn=self._learn,
            as_agent=settings.errors == "agent",
            count=count,
        )
        self._closed = _thread.allocate_lock()
        self._closed.acquire()
        self._servers: list[Server] = []
        self._folders: dict[Ask, str] = {}  # of configurations that a manifest wants as files
        self._behind_manifest: list[Exchange] | None = None  # requests that wait for it
        self._files: Files | None = None
        self._file_ids: dict[Ask, str] = {}
        if settings.files:
            self._file_ids, self._files = options.wanted_files(settings.files, warn)
            self.cache.on_kept = self._materialise
        if not self._tokens.are_known:
            warn("no session token is known (AWS_SESSION_TOKEN, AWS_CONTAINER_AUTHORIZATION_TOKEN[_FILE], AWS_TOKEN): "
                 "nobody can ask")  # fmt: skip

    def _make_calls(self, clock: Clock) -> Calls:
        settings, appconfig = self._settings, self._appconfig
        role = None
        if appconfig.role_arn:
            role = Role(
                appconfig.role_arn,
                external_id=appconfig.role_external_id,
                session_name=appconfig.role_session_name or "secret-cache",
            )
        return Calls(
            self._aws,
            clock,
            regions=settings.replica_regions,
            timeouts={
                "secretsmanager": settings.secrets_timeout_ms / 1000 or None,
                "ssm": settings.parameters_timeout_ms / 1000 or None,
                "appconfigdata": appconfig.poll_timeout_millis / 1000,
            },
            poll_s=appconfig.poll_interval_seconds // 1000,
            configuration_role=role,
            configuration_region=appconfig.service_region,
            count=lambda name, n: self.loop.call_soon_threadsafe(self._count, name, n),
        )

    @property
    def calls_running(self) -> dict[str, int]:
        """How many threads ask each AWS service now."""
        return dict(self._fetcher.running)

    # before it runs

    def serve(self, sockets: Iterable[socket]) -> None:
        """Answer what is asked on `sockets` about secrets and parameters."""
        server = Server(self.loop, self._front.handle, _LIMITS)
        server.quick = self._quick
        self._adopt(server, sockets)

    def serve_configurations(self, sockets: Iterable[socket]) -> None:
        """Answer what is asked on `sockets` about AppConfig's configurations."""
        self._adopt(Server(self.loop, self._configuration, _LIMITS), sockets)

    def _adopt(self, server: Server, sockets: Iterable[socket]) -> None:
        for sock in sockets:
            server.adopt(sock)
        self._servers.append(server)

    def _load_manifest(self) -> None:
        """On the loop. Requests wait for it meanwhile, unless they shall not."""
        where = self._appconfig.manifest
        if where.startswith("file:"):
            try:
                with open(where[5:], "rb") as file:
                    self._apply_manifest(file.read(_LONGEST_MANIFEST))
            except OSError as error:
                self._say("error", f"AWS_APPCONFIG_EXTENSION_MANIFEST={clean(where)} cannot be read: {error.strerror}")
            return
        ask = options.configuration_ask(where)
        if ask is None:
            self._say(
                "error", f"AWS_APPCONFIG_EXTENSION_MANIFEST={clean(where)} is neither App:Env:Profile nor file:/path"
            )
            return
        if self._appconfig.wait_on_manifest:
            self._behind_manifest = []
        self.cache.get(ask, self._manifest_arrived)

    def _manifest_arrived(self, outcome: Outcome) -> None:
        try:
            if isinstance(outcome.found, Configuration):
                self._apply_manifest(outcome.found.body)
        finally:
            waiting, self._behind_manifest = self._behind_manifest or [], None
            for exchange in waiting:
                self._configuration(exchange)

    def _apply_manifest(self, body: bytes) -> None:
        from extensions.secret_cache import appconfig_manifest

        roles, folders = appconfig_manifest.read(body, lambda text: self._say("error", text))
        self._calls.configuration_roles = roles
        self._folders = {ask: folder for ask, folder in folders.items()}  # noqa: C416 - as a dictionary of any asks
        self.cache.on_kept = self._materialise
        self.cache.fetch(dict.fromkeys((*roles, *folders)))

    def _configuration(self, exchange: Exchange) -> None:
        if self._behind_manifest is not None:
            self._behind_manifest.append(exchange)
            return
        from extensions.secret_cache import appconfig  # most functions have none

        appconfig.handle(exchange, self.cache)

    def start(self) -> None:
        """Serve, and fetch what is to be there before anybody asks; returns at once. RuntimeError where no thread is left."""
        _thread.start_new_thread(self.loop.run, ())
        if self._init_type != "snap-start":
            self._prefetch()

    def _prefetch(self) -> None:
        def warn(text: str) -> object:
            return self._say("warning", text)

        asks, tags = options.prefetched(self._settings.prefetch, warn)
        manifest = self._appconfig.manifest
        if manifest:
            self.loop.call_soon_threadsafe(self._load_manifest)
        for item in self._appconfig.prefetch_list:
            ask = options.configuration_ask(item)
            if ask is None:
                warn(
                    f"AWS_APPCONFIG_EXTENSION_PREFETCH_LIST: {item} is not allowed: use App:Env:Profile; it is left out"
                )
            elif (
                not manifest
            ):  # else it may need a role: the manifest's are fetched when it is there, others when asked for
                asks.append(ask)
        asks += [ask for ask in self._file_ids if ask not in asks]
        if asks:
            self.loop.call_soon_threadsafe(self.cache.fetch, asks)
        if tags:
            _thread.start_new_thread(self._prefetch_tagged, (tags,))

    def _prefetch_tagged(self, tags: list[tuple[str, str | None]]) -> None:
        """On a thread of its own."""
        for key, value in tags:
            try:
                secrets = self._calls.secrets_tagged(key, value, self.cache.limit_ms)
            except AwsError as error:
                self._say(
                    "warning",
                    f"secrets with the tag {key} cannot be fetched ahead: {error.code}: {clean(error.message)}",
                )
            else:
                self.loop.call_soon_threadsafe(self._take, secrets)

    def _take(self, secrets: list[Secret]) -> None:
        for secret in secrets:
            self.cache.take(secret)

    # messages of other threads

    def invoked(self, deadline_ms: int) -> None:
        """An invocation has begun."""
        self.loop.call_soon_threadsafe(self._invoked, deadline_ms)

    def _invoked(self, deadline_ms: int) -> None:
        self._count_hits()
        self.cache.invoked(deadline_ms)

    def restored(self, *, snapshot: bool) -> None:
        """A snapshot was resumed; or only time has jumped, so that connections are dead."""
        self._aws.forget_connections()
        if snapshot:
            self._aws.forget_credentials()
            self.loop.call_soon_threadsafe(self._forget)

    def _forget(self) -> None:
        self._tokens.forget()
        self._quick.forget()
        self.cache.restored()
        if self._init_type == "snap-start":
            self._init_type = ""
            self._prefetch()

    def stop(self) -> None:
        """No more answers, and no files; returns when that is so, after a second at the latest."""
        self.loop.call_soon_threadsafe(self._close)
        self._closed.acquire(timeout=1.0)

    def _close(self) -> None:
        self._count_hits()
        for server in self._servers:
            server.close()
        if self._files is not None:
            self._files.remove()
        self.loop.stop()
        self._closed.release()

    def _post_arrival(self, order: Order, result: Found | AwsError, ttl_ms: int | None) -> None:
        self.loop.call_soon_threadsafe(self.cache.arrived, order, result, ttl_ms)

    def _post_probe(self, order: Order, version: str) -> None:
        self.loop.call_soon_threadsafe(self.cache.probed, order, version)

    # on the loop

    def _materialise(self, ask: Ask, found: Found) -> None:
        """The file of what has arrived, where one is wanted. A rotation comes as a new value of the same entry."""
        folder = self._folders.get(ask)
        if folder:
            self._write_configuration(folder, ask, found)
        if self._files is None:
            return
        for wanted, id in self._file_ids.items():
            if wanted == ask or self.cache.store.key(wanted) == self.cache.store.key(ask):
                try:
                    self._count("files_written", int(self._files.update(id, content(found))))
                except (OSError, ConfigError) as error:
                    self._say("error", f"the file of {clean(id)} cannot be written: {error}")

    def _write_configuration(self, folder: str, ask: Ask, found: Found) -> None:
        from extensions.secret_cache.files import write

        path = f"{folder}/{ask.id.replace('/', '_')}"
        try:
            write(path, content(found))
        except (OSError, ConfigError) as error:
            self._say("error", f"{path} cannot be written: {error}")

    def _learn(self, then: Callable[[], object]) -> bool:
        """Ask the local endpoint for session tokens that we have not seen, then call `then`; False where there is none."""
        if not self._aws.issues_tokens:
            return False
        self._learners.append(then)
        if len(self._learners) == 1:
            try:
                _thread.start_new_thread(self._ask_for_tokens, ())
            except RuntimeError:  # no thread can be had
                self._learners.clear()
                return False
        return True

    def _ask_for_tokens(self) -> None:
        """On a thread of its own."""
        try:
            self._aws.issued_tokens(refresh=True)
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not leave callers waiting
            self._say("error", f"the local endpoint for credentials: {type(error).__name__}")
        finally:
            self.loop.call_soon_threadsafe(self._learned)

    def _learned(self) -> None:
        learners, self._learners = self._learners, []
        for then in learners:
            then()

    def _count_hits(self) -> None:
        """What was answered without the cache's knowledge."""
        hits, self._quick.hits = self._quick.hits, 0
        self._count("hit", hits)

    def _tell(self, ask: Ask, error: AwsError, usable: bool) -> None:
        """A line for each new error; what has no limit of its own is not told without one."""
        known = (ask.kind, ask.id, error.code)
        if known in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(known)
        instead = "; the last value is used" if usable else ""
        self._say("error", f"{ask.kind} {clean(ask.id)}: {error.code}: {clean(error.message)}{instead}")


def _random() -> float:
    """From 0 up to 1. The module ``random`` would do it, at the price of importing ``hashlib``."""
    from posix import urandom

    return int.from_bytes(urandom(4), sys.byteorder) / 2**32
