"""A place that lines are sent to: a strict HTTP server on loopback whose answers a test scripts, and its base for services.

Each request either is accepted as a whole, and what it held is in ``accepted``, or is refused with a status and a reason, which
is in ``refused``. ``faults`` are taken one a request, before anything else is looked at.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import time
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. ``after``: the request is taken all the same (its answer is what is lost).

    ``status``: answered instead; ``hang``: seconds before anything is answered; ``reset``: the connection is reset, "early"
    before the body was read, "middle" when half of it was, "late" when all of it was; ``drip``: seconds between the bytes of
    the answer; ``items``: statuses of single items by their number in the request, where a service answers for each (`Bulk`).

    One that only delays (``hang``, ``drip``) or names items takes the request: who answers 200 has it.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    hang: float = 0.0
    reset: str = ""
    drip: float = 0.0
    after: bool = False
    items: dict[int, int] = field(default_factory=dict)

    def takes(self) -> bool:
        return self.after or not (self.status or self.reset)


class Refused(Exception):
    """What a service answers to a request that is wrong."""

    def __init__(self, status: int, why: str, body: bytes | None = None) -> None:
        super().__init__(why)
        self.status, self.body = status, body


class Collector:
    """Takes NDJSON and JSON arrays on any path. Subclasses say what a service takes and answers, in `take`.

    ``asked`` counts every request, ``requests`` has those that no fault kept from us.
    """

    MAX_BODY = 1 << 30  # bytes, unpacked

    def __init__(self) -> None:
        self.accepted: list[Any] = []
        self.refused: list[tuple[int, str]] = []
        self.requests: list[tuple[str, dict[str, str], int]] = []  # path, headers, bytes on the wire
        self.faults: list[Fault] = []
        self.asked = 0
        self.dead = False  # every request is reset
        self.failing: dict[int, int] = {}  # `Fault.items` of the request that is being taken
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.collector = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:  # noqa: ARG002
        """Status and body of the answer to a request; `Refused` for one that is wrong."""
        text = body.decode()
        if headers.get("content-type") == "application/x-ndjson":
            if not text.endswith("\n"):
                raise Refused(400, "no line feed at the end")
            events = [json.loads(line) for line in text[:-1].split("\n")]
        else:
            events = json.loads(text)
            if not isinstance(events, list):
                raise Refused(400, "no array")
        self.accepted += events
        return 200, b""

    def answer(
        self, path: str, headers: dict[str, str], body: bytes, failing: dict[int, int] | None = None
    ) -> tuple[int, bytes]:
        """`take`, with every mistake as an answer."""
        with self.lock:
            self.requests.append((path, headers, len(body)))
            self.failing = failing or {}
            try:
                return self.take(path, headers, self._unpacked(headers, body))
            except Refused as refused:
                self.refused.append((refused.status, str(refused)))
                return refused.status, refused.body if refused.body is not None else str(refused).encode()
            except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zlib.error) as error:
                self.refused.append((400, f"{type(error).__name__}: {error}"))
                return 400, str(error).encode()

    def _unpacked(self, headers: dict[str, str], body: bytes) -> bytes:
        if "content-length" not in headers:
            raise Refused(411, "no length: senders know what they send")
        encoding = headers.get("content-encoding", "identity")
        if encoding not in ("gzip", "identity"):
            raise Refused(415, f"Content-Encoding {encoding!r} not supported")
        if encoding == "gzip":
            body = gzip.decompress(body)
        if len(body) > self.MAX_BODY:
            raise Refused(413, f"more than {self.MAX_BODY} bytes", self.too_large())
        return body

    def too_large(self) -> bytes | None:
        """The body of such an answer, where a service has one."""
        return None

    def fault(self) -> Fault | None:
        with self.lock:
            self.asked += 1
            if self.dead:
                return Fault(reset="early")
            return self.faults.pop(0) if self.faults else None

    def lines(self) -> list[str]:
        """The texts of the function's lines, in order of arrival."""
        with self.lock:
            return [event["record"].rstrip("\n") for event in self.accepted if event.get("type") == "function"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    collector: Collector


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        collector = self.server.collector
        fault = collector.fault()
        if fault is not None and fault.reset == "early":
            self._reset()
            return
        length = int(self.headers.get("content-length", "0"))
        if fault is not None and fault.reset == "middle":
            self.rfile.read(length // 2)
            self._reset()
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, answer, more = 0, b"", dict[str, str]()
        if fault is None or fault.takes():
            status, answer = collector.answer(self.path, headers, body, fault.items if fault is not None else None)
        if fault is not None:
            time.sleep(fault.hang)
            if fault.reset:
                self._reset()
                return
            if fault.status:
                status, answer, more = fault.status, b"scripted", fault.headers
        self._send(status or 200, answer, more, fault.drip if fault is not None else 0)

    def _send(self, status: int, answer: bytes, more: dict[str, str], drip: float) -> None:
        head = [
            f"HTTP/1.1 {status} -",
            f"Content-Length: {len(answer)}",
            *(f"{name}: {value}" for name, value in more.items()),
        ]
        if "Content-Type" not in more:
            head.append("Content-Type: application/json")
        data = "\r\n".join(head).encode() + b"\r\n\r\n" + answer
        try:
            if not drip:
                self.wfile.write(data)
            for at in range(len(data) if drip else 0):
                self.wfile.write(data[at : at + 1])
                time.sleep(drip)
        except OSError:
            self.close_connection = True

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        self.wfile = _Nowhere()  # type: ignore[assignment]
        self.rfile = _Nowhere()  # type: ignore[assignment]

    def log_message(self, *arguments: object) -> None:
        """Tests have their own record."""


class _Nowhere:
    """In the place of the files of a connection that is gone."""

    closed = False

    def flush(self) -> None:
        """Nothing is left to be written."""

    def close(self) -> None:
        """Nor to be closed."""
