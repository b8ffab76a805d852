"""Requests to whatever endpoint the operator has chosen, by the library that the field trusts; imported at the first one.

What is added: the function's proxies, ``.netrc`` and the like are never read; a redirect is never followed (it could lead keys
away); an answer is read up to a limit; a connection that was idle for a minute, by the wall clock, is not used again, since a
frozen environment does not notice that its peer has gone; and `Http.abort` ends an exchange that goes on for too long.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from requests import Session

    from extension_kit.io.clock import Clock

__all__ = ["Answer", "Http", "gzipped", "with_path"]

_MOST_READ = 8_388_608  # bytes of an answer: some give an account of every line
_IDLE_MS = 60_000


class Answer:
    """``status``, ``headers`` (names in lower case) and ``body`` (bytes, its beginning if it is very long)."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Http:
    """Keep-alive connections to one endpoint. One request at a time; `abort` may be called from another thread.

    ``prefix``: of the settings that mistakes are looked for in, ``LOG_SHIPPER_`` say.
    """

    def __init__(
        self,
        clock: Clock,
        prefix: str,
        *,
        ca_bundle: str = "",
        client_cert: str = "",
        client_key: str = "",
        proxy: str = "",
    ) -> None:
        self.clock = clock
        self._prefix = prefix
        self._verify: str | bool = ca_bundle or True
        self._cert: Any = (client_cert, client_key) if client_cert and client_key else client_cert or None
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._session: Session | None = None
        self._used_ms = 0
        self._open: list[Any] = []  # connections that were made, as urllib3 knows them

    def post(self, url: str, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
        """One POST. OSError where there is no whole answer, also where a setting is the reason; the text says why, and holds
        nothing of the URL or of a header's value.
        """
        return self.request("POST", url, body, headers, seconds)

    def request(self, method: str, url: str, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
        """Likewise with another method."""
        until = time.monotonic() + seconds
        if self.clock.wall_ms() - self._used_ms > _IDLE_MS:
            self.forget()
        was_used = self._session is not None
        try:
            return self._exchange(method, url, body, headers, until)
        except ConnectionError as error:
            # The connection was closed while it was idle, and nothing was answered: a fresh one tells whether anybody is there.
            if was_used and isinstance(error, _Dead) and time.monotonic() < until:
                self.forget()
                return self._exchange(method, url, body, headers, until)
            raise

    def forget(self) -> None:
        """Close what is idle."""
        session, self._session, self._open = self._session, None, []
        if session is not None:
            session.close()

    def abort(self) -> None:
        """End the exchange that is going on, from another thread."""
        for connection in list(self._open):
            sock = getattr(connection, "sock", None)
            if sock is not None:
                try:
                    sock.shutdown(2)
                except OSError:
                    pass

    def _exchange(self, method: str, url: str, body: bytes, headers: dict[str, str], until: float) -> Answer:
        import requests
        from urllib3.exceptions import HTTPError

        session = self._session or self._make_session()
        left = max(0.01, until - time.monotonic())
        try:
            with session.request(
                method, url, data=body, headers=headers, timeout=left, verify=self._verify, cert=self._cert,
                proxies=self._proxies, allow_redirects=False, stream=True,
            ) as response:  # fmt: skip
                answer = Answer(
                    response.status_code,
                    {name.lower(): value for name, value in response.headers.items()},
                    _read(response, until),
                )
        # What is no error of requests is what becomes of an odd URL or header somewhere below it.
        except (requests.RequestException, HTTPError, TypeError, ValueError) as error:
            self.forget()
            raise _explained(error, headers, self._prefix) from None
        self._used_ms = self.clock.wall_ms()
        return answer

    def _make_session(self) -> Session:
        from requests import Session

        session = self._session = Session()
        session.trust_env = False
        session.headers.clear()
        adapter = _adapter(self._open)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session


class _Dead(ConnectionError):
    """The connection was closed before anything of an answer had come."""


def _adapter(made: list[Any]) -> Any:
    """One that keeps a list of the connections it has made, so that they can be ended from outside."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Plain(HTTPConnection):
        def connect(self) -> None:
            made[:] = [self]
            super().connect()

    class Tls(HTTPSConnection):
        def connect(self) -> None:
            made[:] = [self]
            super().connect()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}
    return adapter


def _read(response: Any, until: float) -> bytes:
    parts, size = [], 0
    for part in response.iter_content(65_536):
        parts.append(part)
        size += len(part)
        if size > _MOST_READ or time.monotonic() > until:
            response.close()  # the rest is not wanted; the connection cannot be used again
            break
    return b"".join(parts)[:_MOST_READ]


def _explained(error: Any, headers: dict[str, str], prefix: str) -> OSError:
    """What went wrong, in a few words, without the URL (its query may hold a key)."""
    import requests

    chain = _chain(error)
    deepest = chain[-1]
    if isinstance(error, requests.Timeout):
        return TimeoutError("no answer in time" if isinstance(error, requests.ReadTimeout) else "no connection in time")
    if any(type(one).__name__ in ("RemoteDisconnected", "ConnectionResetError", "BrokenPipeError") for one in chain):
        return _Dead("the connection was closed before an answer came")
    if isinstance(error, requests.exceptions.SSLError):
        why = getattr(deepest, "verify_message", "") or getattr(deepest, "reason", "") or str(deepest)
        return ConnectionError(f"TLS: {why}"[:200])
    if isinstance(deepest, OSError) and deepest.strerror:
        return ConnectionError(str(deepest.strerror))
    if isinstance(error, (TypeError, ValueError)):
        return ConnectionError(_mistake(error, headers, prefix))
    return ConnectionError(type(deepest).__name__)


def _chain(error: BaseException) -> list[Any]:
    """An error and what has led to it, the first cause last."""
    chain: list[Any] = []
    reason: Any = error
    while reason is not None and reason not in chain and len(chain) < 12:
        chain.append(reason)
        inside = [getattr(reason, "reason", None), *getattr(reason, "args", ()), reason.__cause__, reason.__context__]
        reason = next((one for one in inside if isinstance(one, BaseException)), None)
    return chain


def _mistake(error: Exception, headers: dict[str, str], prefix: str) -> str:
    """Which setting cannot be sent; what it is stays out."""
    from requests.exceptions import InvalidProxyURL
    from urllib3.exceptions import ProxySchemeUnknown

    for name, value in headers.items():
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            return f"a header has a name that HTTP does not allow: look at {prefix}HEADERS"
        if not _is_value(value):
            return f"the header {name} (or the key in it) has a character that HTTP does not allow"
    if isinstance(error, (InvalidProxyURL, ProxySchemeUnknown)):
        return f"{prefix}PROXY is no URL of a proxy"
    return f"{prefix}ENDPOINT (or {prefix}PROXY) is no URL that can be asked ({type(error).__name__})"


def _is_value(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return "\r" not in text and "\n" not in text and "\0" not in text


def gzipped(body: bytes) -> bytes:
    """As ``gzip``, whose module costs more to import: level 1, a third of the time of level 6 for a tenth more bytes."""
    import zlib

    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def with_path(endpoint: str, path: str) -> str:
    """The endpoint, with the service's own path where none was given; a query stays behind it."""
    scheme, separator, rest = endpoint.partition("://")
    host, mark, query = rest.partition("?")
    return (
        endpoint if not path or "/" in host.rstrip("/") else f"{scheme}{separator}{host.rstrip('/')}{path}{mark}{query}"
    )
