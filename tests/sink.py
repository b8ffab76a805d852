"""A sink for tests: a Unix socket, which an extension reaches from its own network, and which can be dead or slow at will."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path

#: A plug-in that ships what it hears to the sink at SINK, and says honestly what it could not.
SHIPPER = """
import socket
class Shipper(Plugin):
    name = "shipper"
    telemetry = ("platform", "function")
    def start(self, context):
        self.held = []
    def on_telemetry(self, records):
        self.held += records
    def flush(self, reason, deadline):
        held = [record for record in self.held if not record.type.startswith("extension-kit.")]
        try:
            with socket.socket(socket.AF_UNIX) as sink:
                sink.settimeout(max(0.01, deadline.remaining_ms() / 1000))
                sink.connect(SINK)
                sink.sendall(b"".join(b"%b %b\\n" % (record.id.encode(), record.raw) for record in held))
                sink.shutdown(socket.SHUT_WR)
                if sink.recv(8) != b"taken":
                    return len(self.held)
        except OSError:
            return len(self.held)
        self.held = []
"""


class Sink:
    """``lines``: id: text of every record that was taken; ``repeated``: how often one was sent again."""

    def __init__(self) -> None:
        # Not under /tmp: the environment has one of its own.
        self.folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
        self.path = str(self.folder / "sink")
        self.lines: dict[bytes, bytes] = {}
        self.repeated = 0
        self.posts = 0
        self.dead = False
        self.delay = 0.0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def plugin(self, more: str = "") -> str:
        """The shipper's code, with its address; ends with `run`."""
        return f"SINK = {self.path!r}\n{SHIPPER}{more}run(Shipper())\n"

    def close(self) -> None:
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with connection:
            self.posts += 1
            if self.dead and not self.delay:
                return
            data = b""
            try:
                while more := connection.recv(1 << 20):
                    data += more
                if self.dead:
                    time.sleep(self.delay)
                    return
                self._keep(data)
                time.sleep(self.delay)
                connection.sendall(b"taken")
            except OSError:
                pass  # the sender has gone: it will send again

    def _keep(self, data: bytes) -> None:
        for line in data.splitlines():
            number, _, text = line.partition(b" ")
            self.repeated += number in self.lines
            assert self.lines.setdefault(number, text) == text, "one id, two records"
