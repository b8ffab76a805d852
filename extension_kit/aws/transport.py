"""Connections to AWS: HTTP/1.1 over TLS, kept open between calls, each step limited by the time that is left.

Never through a proxy, since the function's HTTP_PROXY is not ours. A connection that was idle may be dead without knowing,
after a freeze above all: a request that fails on one before any answer goes once more over a new one.
"""

from __future__ import annotations

import _socket
import _thread
import sys
import time

from extension_kit.aws.values import AwsError
from extension_kit.errors import LocalProtocolError, RemoteProtocolError
from extension_kit.protocol import http1

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from extension_kit.endpoints import Endpoint
    from extension_kit.io.clock import Clock

__all__ = ["BUNDLES", "CA_BUNDLE", "Answer", "Transport", "trust_system"]

#: the variable that names certificates of whom we trust; AWS_CA_BUNDLE, as SDKs have it, comes after it
CA_BUNDLE = "EXTENSION_KIT_CA_BUNDLE"
_LIMITS = http1.Limits(max_head=65_536, max_headers=100, max_body=8_388_608)
_CHUNK = 65_536
_IDLE_MS = 20_000  # AWS closes idle connections after some ten seconds to a few minutes
#: Where systems keep CA certificates: Amazon Linux (under two names), Debian, Alpine.
BUNDLES = (
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
)


class Answer:
    """``status``, ``headers`` (`http1.Headers`) and ``body`` (bytes)."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: http1.Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class _Connection:
    __slots__ = ("_sock", "idle_since_ms", "used")

    def __init__(self, sock: _socket.socket | ssl.SSLSocket) -> None:
        self._sock = sock
        self.used = False
        self.idle_since_ms = 0

    def exchange(self, request: bytes, until: float) -> tuple[Answer, bool]:
        """The answer, and whether the connection can be used again. ``until``: monotonic seconds."""
        self.used = True
        reader = http1.MessageReader(http1.CLIENT, _LIMITS)
        self._sock.settimeout(_left(until))
        self._sock.sendall(request)
        while True:
            message = reader.next_message()
            if isinstance(message, http1.Message):
                assert isinstance(message.head, http1.ResponseHead)
                keep = message.head.keep_alive and not reader.buffered
                return Answer(message.head.status, message.head.headers, message.body), keep
            self._sock.settimeout(_left(until))
            data = self._sock.recv(_CHUNK)
            if data:
                reader.receive(data)
            elif reader.at_message_boundary:
                raise ConnectionResetError("closed before it has answered")
            else:
                reader.receive_eof()

    def close(self) -> None:
        try:
            self._sock.close()
        except OSError:
            pass


class Transport:
    """A pool of connections by endpoint; ``ca_bundle``: a file of CA certificates, "" for the system's."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._ca_bundle = environ.get(CA_BUNDLE, "") or environ.get("AWS_CA_BUNDLE", "")
        self._clock = clock
        self._idle: dict[Endpoint, list[_Connection]] = {}
        self._lock = _thread.allocate_lock()
        self._tls: ssl.SSLContext | None = None

    def send(
        self,
        endpoint: Endpoint,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        connect_s: float,
        seconds: float,
    ) -> Answer:
        """The answer, whatever its status; AwsError (network, timeout, unavailable) where there is none within `seconds`."""
        request = _written(method, target, headers, body)
        until = time.monotonic() + seconds
        while True:
            connection = self._take(endpoint)
            was_idle = connection is not None
            try:
                if connection is None:
                    connection = self._connect(endpoint, min(until, time.monotonic() + connect_s))
                answer, keep = connection.exchange(request, until)
            except TimeoutError:
                _close(connection)
                raise AwsError("TimeoutError", f"{endpoint.host} has not answered in time") from None
            except OSError as error:
                _close(connection)
                if was_idle:
                    continue  # it may have been dead for long; the next one may be too, until there is none
                why = type(error).__name__ if error.strerror is None else error.strerror
                raise AwsError("NetworkError", f"{endpoint.host}: {why}") from None
            except ValueError:  # a region with letters that no host has, say
                _close(connection)
                raise AwsError("BadEndpoint", "the name of the service's host is none") from None
            except RemoteProtocolError as error:
                _close(connection)
                raise AwsError("BadAnswer", f"{endpoint.host}: {error}") from None
            self._give_back(endpoint, connection, keep)
            return answer

    def forget(self) -> None:
        """Close what is idle."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _take(self, endpoint: Endpoint) -> _Connection | None:
        now = self._clock.wall_ms()
        while True:
            with self._lock:
                waiting = self._idle.get(endpoint)
                if not waiting:
                    return None
                connection = waiting.pop()
            if 0 <= now - connection.idle_since_ms < _IDLE_MS:
                return connection
            connection.close()

    def _give_back(self, endpoint: Endpoint, connection: _Connection, keep: bool) -> None:
        if not keep:
            connection.close()
            return
        connection.idle_since_ms = self._clock.wall_ms()
        with self._lock:
            self._idle.setdefault(endpoint, []).append(connection)

    def _connect(self, endpoint: Endpoint, until: float) -> _Connection:
        """To the first of the host's addresses that takes us."""
        last: OSError = OSError("the name has no address")
        # As bytes: a str would be encoded by IDNA, whose tables take longer to load than the call (2 MB, 8 ms).
        host = endpoint.host.encode("ascii")
        for family, kind, protocol, _name, address in _socket.getaddrinfo(host, endpoint.port, 0, _socket.SOCK_STREAM):
            sock = _make_socket(family, kind, protocol, tls=endpoint.tls)
            try:
                sock.settimeout(_left(until))
                sock.connect(address)
                sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
                return _Connection(self._wrap(sock, host) if endpoint.tls else sock)
            except (OSError, AwsError) as error:
                sock.close()
                if isinstance(error, AwsError):
                    raise
                last = error
        raise last

    def _wrap(self, sock: _socket.socket, host: bytes) -> ssl.SSLSocket:
        context = self._tls
        if context is None:
            context = self._tls = _context(self._ca_bundle)
        return context.wrap_socket(sock, server_hostname=host)  # type: ignore[arg-type]


def _written(method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """A request as bytes; AwsError, without what is wrong (a session token, say), where it cannot be written."""
    try:
        fields = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        return http1.encode_request(method.encode("ascii"), target.encode("ascii"), fields, body)
    except (ValueError, LocalProtocolError):
        text = "credentials, region or path hold characters that HTTP does not allow"
        raise AwsError("BadRequest", text, kind="credentials") from None


def _context(bundle: str) -> ssl.SSLContext:
    """TLS 1.2 and later, certificate and name of the server checked."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if bundle:
        try:
            context.load_verify_locations(bundle)
        except OSError as error:
            raise AwsError("NetworkError", f"CA bundle {bundle}: {error.strerror or error}") from None
        return context
    if not trust_system(context):
        raise AwsError("NetworkError", f"no CA certificates are on this system: name a file of them in {CA_BUNDLE}")
    return context


def trust_system(context: ssl.SSLContext, bundles: Iterable[str] = BUNDLES) -> str:
    """Make `context` trust what the system trusts: the file or folder that was taken, "" where there is none.

    OpenSSL's own places come first: of a folder with hashed names only what is needed is read. It says nothing of a place
    that is empty, and does not know the file that Amazon Linux has; then `bundles` and what a layer's own Python brings help.
    """
    import ssl

    context.set_default_verify_paths()
    places = ssl.get_default_verify_paths()
    if places.cafile and context.cert_store_stats()["x509"]:
        return places.cafile
    if places.capath and _has_hashed(places.capath):
        return places.capath
    for path in (*bundles, sys.prefix + "/cacert.pem"):
        try:
            context.load_verify_locations(path)
        except OSError:  # SSLError, of a file without certificates, is one
            continue
        return path
    return ""


def _has_hashed(folder: str) -> bool:
    """Whether it has files named by the hash of a certificate's subject: ``4042bcee.0``."""
    import posix

    try:
        return any(name[8:9] == "." and name[9:].isdigit() for name in posix.listdir(folder))
    except OSError:
        return False


def _make_socket(family: int, kind: int, protocol: int, *, tls: bool) -> _socket.socket:
    if tls:
        import socket  # ssl has imported it, and wraps no other kind

        return socket.socket(family, kind, protocol)
    return _socket.socket(family, kind, protocol)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _close(connection: _Connection | None) -> None:
    if connection is not None:
        connection.close()
