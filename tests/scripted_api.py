"""A server that gives the extension's side the answers that a test holds, strange ones too."""

from __future__ import annotations

import threading
from socket import create_server

REGISTERED = b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: abc\r\nContent-Length: 2\r\n\r\n{}"
INVOKE = b'{"eventType":"INVOKE"}'
SHUTDOWN = b'{"eventType":"SHUTDOWN"}'
CLOSE = b""  # in an answer's place: hang up


def answer(body: bytes, status: bytes = b"200 OK", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, headers, len(body), body)


class Server(threading.Thread):
    """Gives the requests, in order and over however many connections, the answers that it holds; then refuses."""

    def __init__(self, answers: list[bytes]) -> None:
        super().__init__(daemon=True)
        self._listener = create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self.before = lambda reply: reply  # a test may hold an answer back, or change it

    def run(self) -> None:
        with self._listener:
            while self._answers:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection:
                    self._serve(connection)

    def _serve(self, connection) -> None:
        while self._answers:
            request = connection.recv(65536)
            if not request:
                return
            self.requests.append(request)
            reply = self.before(self._answers.pop(0))
            if reply == CLOSE:
                return
            for piece in reply.split(b"<pause>"):
                connection.sendall(piece)
