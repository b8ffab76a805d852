"""For the tests of the proxy: an upstream that is scripted with raw sockets, and a runtime that says what it is told."""

from __future__ import annotations

import socket

from extension_kit.protocol import http1

PATIENCE = 20.0  # seconds for any single step
NEXT = b"/2018-06-01/runtime/invocation/next"
EVENT_FIELDS = (
    (b"Content-Type", b"application/json"),
    (b"Lambda-Runtime-Deadline-Ms", b"4102444800000"),
    (b"Lambda-Runtime-Invoked-Function-Arn", b"arn:aws:lambda:us-east-1:012345678912:function:hello"),
    (b"Lambda-Runtime-Trace-Id", b"Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1"),
    (b"Lambda-Runtime-Aws-Tenant-Id", b"blue"),
)
OK = http1.encode_response(202, ((b"Content-Type", b"application/json"),), b'{"status":"OK"}\n')


def posted(request_id, what=b"response"):
    return b"/2018-06-01/runtime/invocation/" + request_id + b"/" + what


def event(request_id, body=b"{}", fields=EVENT_FIELDS):
    return http1.encode_response(200, ((b"Lambda-Runtime-Aws-Request-Id", request_id), *fields), body)


class Peer:
    """One end of a connection: raw bytes both ways, and whole messages where that is wanted."""

    def __init__(self, sock, role):
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.raw = bytearray()
        self._reader = http1.MessageReader(role, http1.Limits(max_body=None))

    def send(self, *pieces):
        for piece in pieces:
            self.sock.sendall(piece)

    def message(self):
        """The next whole message; EOFError where the connection ends between two."""
        while not isinstance(message := self._reader.next_message(), http1.Message):
            data = self.sock.recv(262_144)
            if not data and self._reader.at_message_boundary:
                raise EOFError
            self.raw += data
            self._reader.receive(data) if data else self._reader.receive_eof()
        return message

    def exactly(self, count):
        """As many bytes."""
        data = bytearray()
        while len(data) < count:
            piece = self.sock.recv(min(262_144, count - len(data)))
            if not piece:
                raise EOFError(bytes(data))
            data += piece
        return bytes(data)

    def rest(self):
        """Until the connection ends; how it ended: "closed" or "reset"."""
        data = bytearray()
        try:
            while piece := self.sock.recv(262_144):
                data += piece
        except ConnectionError:
            return bytes(data), "reset"
        return bytes(data), "closed"

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self):
        self.sock.close()


class Upstream:
    """Listens; a test accepts connections one by one."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._peers = []

    def accept(self):
        peer = Peer(self._listener.accept()[0], http1.SERVER)
        self._peers.append(peer)
        return peer

    def refuse(self):
        """Nobody can connect any more."""
        self._listener.close()

    def close(self):
        self.refuse()
        for peer in self._peers:
            peer.close()


class Runtime(Peer):
    """Connects to the proxy, or to whatever is at `port`."""

    def __init__(self, port):
        super().__init__(socket.create_connection(("127.0.0.1", port), PATIENCE), http1.CLIENT)
        self._host = b"127.0.0.1:%d" % port

    def ask(self):
        self.send(http1.encode_request(b"GET", NEXT, [(b"Host", self._host), (b"User-Agent", b"test")]))

    def post(self, request_id, body=b"{}", what=b"response", fields=()):
        self.send(http1.encode_request(b"POST", posted(request_id, what), [(b"Host", self._host), *fields], body))
