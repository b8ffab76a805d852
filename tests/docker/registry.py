"""A registry on loopback: one small image, or nothing but silence. The engine takes it without TLS, as it is on 127.0.0.0/8."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import socket
import tarfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
REPOSITORY = "lambda/python"


def _blob(data: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(data), "digest": f"sha256:{hashlib.sha256(data).hexdigest()}"}


def _image() -> tuple[bytes, dict[str, bytes]]:
    """A manifest, and what it names by digest: a configuration, and a layer with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("pulled"), io.BytesIO())
    plain = buffer.getvalue()
    layer = gzip.compress(plain, mtime=0)
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
    }).encode()  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": _TYPE,
        "config": _blob(config, "application/vnd.docker.container.image.v1+json"),
        "layers": [_blob(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
    }  # fmt: skip
    return json.dumps(manifest).encode(), {str(_blob(data, "")["digest"]): data for data in (config, layer)}


class _Handler(http.server.BaseHTTPRequestHandler):
    """GET and HEAD, read-only; version 2 of the protocol."""

    def do_GET(self) -> None:
        manifest, blobs = _image()
        what, _, name = self.path.rpartition("/")
        if what == f"/v2/{REPOSITORY}/manifests":
            self._answer(200, manifest, _TYPE)
        elif what == f"/v2/{REPOSITORY}/blobs" and name in blobs:
            self._answer(200, blobs[name], "application/octet-stream")
        else:
            self._answer(200 if self.path == "/v2/" else 404, b"{}", "application/json")

    do_HEAD = do_GET

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """Its address, ``127.0.0.1:PORT``."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(5)


@contextmanager
def silent() -> Iterator[str]:
    """The address of one that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
