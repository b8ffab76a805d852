"""The extension's own connection to the Extensions API: one keep-alive socket, no time limit on ``next``, no proxy ever.

The usual answer (a Content-Length, one or two segments) is read right here; anything else is given to the codec, which is
imported only then.
"""

from __future__ import annotations

import _socket
import time

from extension_kit.errors import LocalProtocolError, RemoteProtocolError
from extension_kit.protocol import extensions_api as api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.events import Invoke, Registration, Shutdown, UnknownEvent
    from extension_kit.protocol.lifecycle import Lifecycle
    from extension_kit.protocol.telemetry_api import Subscription

__all__ = ["ExtensionsClient", "PlatformGone"]

_REGISTER_TRIES = 4
_REGISTER_TIMEOUT = 30.0  # seconds
_SUBSCRIBE_TIMEOUT = 2.0  # seconds, while the function may be waiting
_IDENTIFIER = b"\nlambda-extension-identifier:"
_LENGTH = b"\ncontent-length:"
_CONNECTION = b"\nconnection:"


class PlatformGone(RemoteProtocolError):
    """The Runtime API no longer answers, or answers 500: the environment is ending without us."""


class ExtensionsClient:
    """Blocking; one thread. ``address``: ``host:port`` as ``AWS_LAMBDA_RUNTIME_API`` gives it.

    Every call but `close` raises LocalProtocolError, and sends nothing, where the lifecycle table does not list it.
    """

    __slots__ = ("_address", "_host", "_identifier", "_lifecycle", "_next", "_sock", "_timeout")

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise RemoteProtocolError(f"AWS_LAMBDA_RUNTIME_API={address!r} is not HOST:PORT")
        self._host = address
        self._address = (host.strip("[]"), int(port))
        self._sock: _socket.socket | None = None
        self._timeout: float | None = None  # of the socket: setting it is a system call, made only where it changes
        self._identifier = ""
        self._lifecycle: Lifecycle | None = (
            None  # before `register` there is but one step: the table is not imported yet
        )
        self._next = b""

    def register(self, name: str, events: tuple[str, ...], *, internal: bool = False) -> Registration:
        """Register; transport errors, 429 and 5xx are tried again a few times, other refusals are a RemoteProtocolError."""
        if self._lifecycle is not None:
            self._lifecycle.advance("register")
        request = api.register_request(self._host, name, events)
        for attempt in range(1, _REGISTER_TRIES + 1):
            try:
                status, head, body = self._exchange(request, _REGISTER_TIMEOUT)
            except OSError as error:
                self.close()
                failure = RemoteProtocolError(f"register: {self._host} cannot be reached: {error}")
            else:
                if status == 200:
                    return self._registered_as(
                        _field(head, head.lower(), _IDENTIFIER).decode("latin-1"), body, internal
                    )
                failure = api.parse_refusal("register", status, body)
                if status != 429 and status < 500:
                    break
            if attempt < _REGISTER_TRIES:
                time.sleep(0.05 * 2**attempt)
        raise failure

    def adopt(self, identifier: str, body: bytes, fd: int) -> Registration:
        """Go on with a registration that the launcher has made. `body`: of its answer; `fd`: its open connection, or -1."""
        if fd >= 0:
            import posix

            try:
                posix.set_inheritable(fd, False)
                self._sock = _socket.socket(fileno=fd)
            except OSError:
                self._sock = None  # it is not open: the next request makes a connection
        return self._registered_as(identifier, body, internal=False)

    def _registered_as(self, identifier: str, body: bytes, internal: bool) -> Registration:
        self._identifier = identifier
        self._next = api.next_request(self._host, identifier)
        self._lifecycle = _first_step(internal)
        return api.parse_registration(identifier, body)

    def subscribe(self, wanted: Subscription) -> tuple[str, str]:
        """Ask for telemetry, with this schema version: what the answer means (see `telemetry_api`), and its text.

        LocalProtocolError after the first ``next``. A transport error counts as "again".
        """
        from extension_kit.protocol import telemetry_api

        self._registered().advance("telemetry")
        request = telemetry_api.subscribe_request(self._host, self._identifier, wanted)
        try:
            status, _head, body = self._exchange(request, _SUBSCRIBE_TIMEOUT)
        except (OSError, RemoteProtocolError) as error:
            self.close()
            return telemetry_api.AGAIN, str(error)
        return telemetry_api.verdict(status), str(api.parse_refusal("telemetry", status, body))

    def next(self) -> Invoke | Shutdown | UnknownEvent:
        """Wait for the next event, without any limit. PlatformGone, or RemoteProtocolError with the refusal's status."""
        lifecycle = self._registered()
        before = lifecycle.state
        lifecycle.advance("next")
        try:
            event = self._wait()
        except BaseException:
            lifecycle.state = before  # nothing has come of it: it may be tried again
            raise
        # Whatever is no SHUTDOWN is to be answered with the next `next`, as INVOKE is.
        try:
            lifecycle.advance("SHUTDOWN" if type(event).__name__ == "Shutdown" else "INVOKE")
        except LocalProtocolError as error:
            raise RemoteProtocolError(f"next: the platform sent what it may not send: {error}") from error
        return event

    def _wait(self) -> Invoke | Shutdown | UnknownEvent:
        try:
            status, _head, body = self._exchange(self._next, None)
        except OSError:
            # An idle connection that was closed is normal; one fresh try tells whether the platform is still there.
            self.close()
            try:
                status, _head, body = self._exchange(self._next, None)
            except OSError as error:
                raise PlatformGone(f"next: {self._host} no longer answers: {error}") from error
        if status == 200:
            return api.parse_event(body)
        if status >= 500:
            raise PlatformGone(f"next: {status}: the platform reports a container error", status)
        raise api.parse_refusal("next", status, body)

    def report_error(self, phase: str, error_type: str) -> None:
        """``init/error`` or ``exit/error``, best effort: the process exits next in any case."""
        self._registered().advance(f"{phase}/error")
        try:
            self._exchange(api.error_request(self._host, self._identifier, phase, error_type), 1.0)
        except (OSError, RemoteProtocolError):
            self.close()

    def _registered(self) -> Lifecycle:
        if self._lifecycle is None:
            raise LocalProtocolError("nothing but register is allowed before register")
        return self._lifecycle

    def close(self) -> None:
        """Drop the connection; the next request makes a new one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _connect(self, timeout: float | None) -> _socket.socket:
        host, port = self._address
        family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
        sock = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            self._timeout = timeout if timeout is not None else 5.0
            sock.settimeout(self._timeout)
            sock.connect((host, port))
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            raise
        self._sock = sock
        return sock

    def _exchange(self, request: bytes, timeout: float | None) -> tuple[int, bytes, bytes]:
        """Send, then read one answer: status, head, body. OSError when the connection fails."""
        sock = self._sock or self._connect(timeout)
        if timeout != self._timeout:
            sock.settimeout(timeout)
            self._timeout = timeout
        sock.sendall(request)
        data = sock.recv(65_536)
        while True:
            if not data:
                raise ConnectionResetError("the connection was closed before an answer came")
            end = data.find(b"\r\n\r\n")
            if end >= 0:
                break
            data = self._more(sock, data)
        head = data[: end + 2]
        lower_head = head.lower()
        length = _field(head, lower_head, _LENGTH)
        if not length.isdigit() or not head.startswith(b"HTTP/1.1 ") or head[9:10] == b"1":
            return self._unusual(sock, data)
        end += 4 + int(length)
        while len(data) < end:
            data = self._more(sock, data)
        if b"close" in _field(lower_head, lower_head, _CONNECTION):
            self.close()
        return int(head[9:12]), head, data[end - int(length) : end]

    def _more(self, sock: _socket.socket, data: bytes) -> bytes:
        if len(data) > 1_048_576:
            raise RemoteProtocolError("an answer of the Extensions API is larger than 1 MiB")
        more = sock.recv(65_536)
        if not more:
            raise ConnectionResetError("the connection was closed in the middle of an answer")
        return data + more

    def _unusual(self, sock: _socket.socket, data: bytes) -> tuple[int, bytes, bytes]:
        """An answer in chunks, without a length, or after an interim one: the codec knows them all."""
        from extension_kit.protocol import http1

        reader = http1.MessageReader(http1.CLIENT, http1.Limits(max_body=1_048_576))
        try:
            reader.receive(data)
            while not isinstance(message := reader.next_message(), http1.Message):
                more = sock.recv(65_536)
                if more:
                    reader.receive(more)
                else:
                    reader.receive_eof()
        except RemoteProtocolError:
            self.close()
            raise
        assert isinstance(message.head, http1.ResponseHead)
        if not message.head.keep_alive:
            self.close()
        head = b"".join(b"\n%b:%b\r" % item for item in message.head.headers) + b"\n"
        return message.head.status, head, message.body


def _first_step(internal: bool) -> Lifecycle:
    from extension_kit.protocol import lifecycle as lc

    lifecycle = lc.Lifecycle(lc.INTERNAL if internal else lc.EXTERNAL)
    lifecycle.advance(lc.REGISTER)
    return lifecycle


def _field(head: bytes, lower_head: bytes, lower_name: bytes) -> bytes:
    """The value of a field, "" where there is none. `lower_name`: with the line feed before and the colon after."""
    at = lower_head.find(lower_name)
    if at < 0:
        return b""
    at += len(lower_name)
    return head[at : head.find(b"\r", at)].strip()
