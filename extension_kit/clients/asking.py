"""One request to the secret cache: its target, its token, and what is worth a second try."""

from __future__ import annotations

import os
from time import monotonic, sleep

from extension_kit.clients.errors import NOT_READY, refusal
from extension_kit.clients.wire import Connections, field
from extension_kit.errors import LocalProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TOKEN_FILE_VARIABLE", "TOKEN_VARIABLES", "Server", "port_from", "quoted", "token_from"]

#: Where the token is looked for, in the order of AWS's own agent; each may be ``file://`` and a path.
TOKEN_VARIABLES = ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
#: After those: a file that holds it.
TOKEN_FILE_VARIABLE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - the name of a variable

_HEADER = b"X-Aws-Parameters-Secrets-Token: "
_LONGEST_TOKEN = 65_536  # bytes of a file that is read for it
_PAUSE = 0.05  # seconds between two questions to a server that is not ready
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_QUOTED = [chr(code) if code in _PLAIN else f"%{code:02X}" for code in range(256)]


class Server:
    """A port of this machine, and how to ask there. ``token``: None for the one in the environment, "" for none at all."""

    __slots__ = ("_host", "_patience", "_timeout", "_token", "_written", "connections")

    def __init__(self, host: str, port: int, timeout: float, patience: float, token: str | None) -> None:
        self.connections = Connections(host, port)
        self._host = b"Host: %b:%d\r\n" % ((b"[%b]" if ":" in host else b"%b") % host.encode(), port)
        self._timeout = timeout
        self._patience = patience
        self._token = token
        self._written = ("", b"")  # the last token, and the header line made of it

    def ask(self, target: str, what: str, lines: bytes = b"") -> bytes:
        """The body of the answer to GET `target`; a SecretCacheError, which calls it `what`, for any other than 200.

        `lines`: further header lines, each with its end.
        """
        token = token_from(os.environ) if self._token is None else self._token
        known, line = self._written
        if token != known:
            line = _header_line(token)
            self._written = (token, line)
        request = b"GET %b HTTP/1.1\r\n%b%b%b\r\n" % (target.encode(), self._host, line, lines)
        status, head, body = self.connections.exchange(request, self._timeout, self._patience)
        if status != 200:
            status, head, body = self._once_ready(request, status, head, body)
        if status != 200:
            code = field(head, b"x-amzn-errortype").partition(b":")[0].decode("latin-1")
            raise refusal(what, status, code, body, token)
        return body

    def _once_ready(self, request: bytes, status: int, head: bytes, body: bytes) -> tuple[int, bytes, bytes]:
        """AWS's extension refuses everything before the first invocation: ask again for a short while."""
        until = monotonic() + min(self._patience, self._timeout)
        while status == 400 and body == NOT_READY and monotonic() + _PAUSE < until:
            sleep(_PAUSE)
            status, head, body = self.connections.exchange(request, self._timeout, 0.0)
        return status, head, body


def token_from(environ: Mapping[str, str]) -> str:
    """The token that shows who asks; "" where there is none. Read for each request: a restored snapshot gets another one."""
    for name in TOKEN_VARIABLES:
        value = environ.get(name)
        if value:
            return _read(value[7:]) if value.startswith("file://") else value
    path = environ.get(TOKEN_FILE_VARIABLE)
    return _read(path) if path else ""


def port_from(environ: Mapping[str, str], name: str, default: int) -> int:
    """The port in this variable; the default for what is none, since the server does the same."""
    value = environ.get(name, "").strip()
    return int(value) if value.isascii() and value.isdigit() and 0 < int(value[:6]) < 65_536 else default


def quoted(text: str, what: str) -> str:
    """For a path or a query, everything but letters, digits and ``-._~`` written as %XX; LocalProtocolError for nothing."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = b""
    if not data:
        raise LocalProtocolError(f"{what} must be a text, and not empty")
    return text if _PLAIN.issuperset(data) else "".join([_QUOTED[code] for code in data])


def _header_line(token: str) -> bytes:
    if not token:
        return b""
    if not token.isascii() or not token.isprintable():
        raise LocalProtocolError("the token holds a character that a header cannot; it is not shown")
    return b"%b%b\r\n" % (_HEADER, token.encode())


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST_TOKEN).decode("latin-1").strip()
    except OSError:
        return ""  # the server's 401 says what is missing
