"""Keep-alive connections to a server on this machine, and one request at a time on each: as little as a caller needs.

``http.client`` costs a function more than the answer itself (an e-mail parser reads the head), and ``requests`` several
times that. The usual answer is read right here; whatever is unusual is read by the kit's codec, which is imported only then.

A connection belongs to one request while that lasts, so that threads never share one. When a request does not end well,
for whatever reason (an exception that a signal handler raised, too), its connection is closed: a late answer can never be
taken for that of the next request.
"""

from __future__ import annotations

import _socket
import posix
from time import monotonic, sleep

from extension_kit.clients.errors import BadAnswer, Unreachable
from extension_kit.errors import RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.protocol import http1

__all__ = ["Answer", "Connections", "field"]

#: status, head, body
Answer = tuple[int, bytes, bytes]

_PIECE = 32_768  # bytes asked for at once: most secrets are far smaller
_LARGEST = 33_554_432  # bytes of a body: AppConfig's largest is 2 MB, a batch of twenty secrets 1.3 MB
_IDLE = 8  # connections that are kept for later requests
_WAIT = 0.02  # seconds between two tries to connect


class Connections:
    """To `port` of `host`; the name ``localhost`` stands for 127.0.0.1 and, where nobody listens there, ::1."""

    __slots__ = ("_addresses", "_idle", "_owner", "_port")

    def __init__(self, host: str, port: int) -> None:
        self._addresses = ["127.0.0.1", "::1"] if host == "localhost" else [host]
        self._port = port
        self._idle: list[_socket.socket] = []
        self._owner = posix.getpid()

    def exchange(self, request: bytes, timeout: float, patience: float) -> Answer:
        """Send `request` and read the answer, both within `timeout` seconds; for `patience` of them try again to connect.

        A kept connection may be dead, since the server was started anew or the environment slept for long: that costs one
        try on a fresh one. Unreachable where nobody answers, BadAnswer where the answer is no HTTP.
        """
        deadline = monotonic() + timeout
        kept = self._kept()
        if kept is not None:
            answer = self._on(kept, request, deadline, kept=True)
            if answer is not None:
                return answer
        fresh = self._connect(timeout, deadline, patience)
        answer = self._on(fresh, request, deadline, kept=False)
        assert answer is not None
        return answer

    def close(self) -> None:
        """Close what is idle; later requests connect anew."""
        while self._idle:
            self._idle.pop().close()

    __del__ = close

    def _kept(self) -> _socket.socket | None:
        if self._owner != posix.getpid():
            self._owner = posix.getpid()
            self.close()  # a fork: the parent reads from these
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _on(self, sock: _socket.socket, request: bytes, deadline: float, *, kept: bool) -> Answer | None:
        """The answer on this connection; None where it was a kept one and is dead."""
        reusable = False
        try:
            sock.sendall(request)
            answer, reusable = _read(sock, deadline)
            if kept and answer[0] == 408:
                reusable = False  # how a server says goodbye to a connection that was idle for too long
                return None
            return answer
        except TimeoutError:
            raise Unreachable(f"port {self._port} on this machine: no answer in time") from None
        except OSError as error:
            if kept:
                return None
            raise Unreachable(f"port {self._port} on this machine: {error}") from error
        finally:
            if reusable and len(self._idle) < _IDLE:
                self._idle.append(sock)
            else:
                sock.close()

    def _connect(self, timeout: float, deadline: float, patience: float) -> _socket.socket:
        """A connection to the first address where somebody listens. Where nobody does, that may be for a moment only."""
        until = min(deadline, monotonic() + patience)
        while True:
            first: OSError | None = None
            for address in self._addresses:
                try:
                    return _connected(address, self._port, timeout, deadline)
                except OSError as error:
                    first = first or error
            if monotonic() + _WAIT >= until or not isinstance(first, (ConnectionRefusedError, ConnectionResetError)):
                raise Unreachable(
                    f"nobody answers on port {self._port} of this machine ({first}): is the layer attached?"
                )
            sleep(_WAIT)


def field(head: bytes, lower_name: bytes) -> bytes:
    """The value of the first field of this name in a head; "" where there is none."""
    at = head.lower().find(b"\r\n" + lower_name + b":")
    if at < 0:
        return b""
    at += len(lower_name) + 3
    end = head.find(b"\r", at)
    return head[at : end if end >= 0 else len(head)].strip()


def _connected(address: str, port: int, timeout: float, deadline: float) -> _socket.socket:
    sock = _socket.socket(_socket.AF_INET6 if ":" in address else _socket.AF_INET, _socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.001, deadline - monotonic()))
        sock.connect((address, port))
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        sock.settimeout(timeout)  # for its whole life: setting it is a system call, too dear for each request
    except BaseException:
        sock.close()
        raise
    return sock


def _read(sock: _socket.socket, deadline: float) -> tuple[Answer, bool]:
    """The answer, and whether the connection can be used again."""
    data = sock.recv(_PIECE)
    end = data.find(b"\r\n\r\n")
    if end > 0 and data.startswith(b"HTTP/1.1 "):
        head = data[:end]
        lower = head.lower()
        whole = field(lower, b"content-length") == b"%d" % (len(data) - end - 4)
        usual = b"\r\ntransfer-encoding:" not in lower and b"\r\nconnection:" not in lower and data[9:10] != b"1"
        if whole and usual and data[9:12].isdigit():
            return (int(data[9:12]), head, data[end + 4 :]), True
    return _read_unusual(sock, data, deadline)


def _read_unusual(sock: _socket.socket, data: bytes, deadline: float) -> tuple[Answer, bool]:
    """An answer in several pieces, in chunks, without a length, after an interim one: the codec knows them all."""
    from extension_kit.protocol import http1

    reader = http1.MessageReader(http1.CLIENT, http1.Limits(max_body=_LARGEST))
    before = sock.gettimeout()
    try:
        while not isinstance(message := _fed(reader, data), http1.Message):
            left = deadline - monotonic()
            if not data:
                raise ConnectionResetError("the connection was closed before an answer came")
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            data = sock.recv(_PIECE)
    except RemoteProtocolError as error:
        if not data:
            raise ConnectionResetError("the connection was closed in the middle of an answer") from None
        raise BadAnswer(f"what listens there does not speak HTTP as the contract has it: {error}") from None
    sock.settimeout(before)
    assert isinstance(message.head, http1.ResponseHead)
    head = b"HTTP/1.1" + b"".join(b"\r\n%b: %b" % item for item in message.head.headers)
    return (message.head.status, head, message.body), message.head.keep_alive and not reader.buffered


def _fed(reader: http1.MessageReader, data: bytes) -> http1.Message | http1.Sentinel:
    if data:
        reader.receive(data)
    else:
        reader.receive_eof()
    return reader.next_message()
