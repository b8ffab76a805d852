"""What moto lacks, by HTTP, in a form that botocore's own parsers accept: a layer's content by its ARN, and AWS Signer."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Fake:
    """A server on loopback. ``layers``: ARN to its zip; ``said``: what is said of it in the place of the truth."""

    def __init__(self) -> None:
        self.layers: dict[str, bytes] = {}
        self.said: dict[str, Any] = {}
        self.cut = False
        self.jobs: dict[str, dict[str, Any]] = {}
        self.started: list[dict[str, Any]] = []
        self.status = "Succeeded"
        self.sign: Any = signed
        self.store: Any = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                if url.path.startswith("/signing-jobs/"):
                    self._answer(200, fake.jobs[url.path.rpartition("/")[2]])
                elif url.path == "/content":
                    data = fake.layers[parse_qs(url.query)["arn"][0]]
                    self._raw(200, data[: len(data) // 2] if fake.cut else data)
                else:
                    self._layer(parse_qs(url.query)["Arn"][0])

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.started.append(body)
                self._answer(200, {"jobId": fake.job(body), "jobOwner": "123456789012"})

            def _layer(self, arn: str) -> None:
                if arn not in fake.layers:
                    self._answer(404, {"message": "The resource does not exist."}, "ResourceNotFoundException")
                    return
                data = fake.layers[arn]
                content = {
                    "Location": f"{fake.url}/content?arn={arn}",
                    "CodeSha256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
                    "CodeSize": len(data),
                    **fake.said,
                }
                self._answer(200, {"Content": content, "LayerVersionArn": arn, "Version": int(arn.rpartition(":")[2])})

            def _answer(self, status: int, document: dict[str, Any], error: str = "") -> None:
                self._raw(status, json.dumps(document).encode(), error)

            def _raw(self, status: int, data: bytes, error: str = "") -> None:
                self.send_response(status)
                if error:
                    self.send_header("x-amzn-ErrorType", error)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def job(self, body: dict[str, Any]) -> str:
        """Sign what lies in the bucket; the same token is the same job."""
        name = body["clientRequestToken"][:36]
        if name not in self.jobs:
            source, destination = body["source"]["s3"], body["destination"]["s3"]
            answer = self.store.get_object(Bucket=source["bucketName"], Key=source["key"], VersionId=source["version"])
            key = f"{destination['prefix']}{name}.zip"
            self.store.put_object(Bucket=destination["bucketName"], Key=key, Body=self.sign(answer["Body"].read()))
            place = {"s3": {"bucketName": destination["bucketName"], "key": key}}
            self.jobs[name] = {"jobId": name, "status": self.status, "statusReason": "the profile was revoked"}
            self.jobs[name] |= {"signedObject": place} if self.status == "Succeeded" else {}
        return name

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join(10)
        self.server.server_close()


def signed(data: bytes) -> bytes:
    """The zip with a file more, which is another one each time."""
    found = io.BytesIO(data)
    with zipfile.ZipFile(found, "a") as archive:
        archive.writestr(zipfile.ZipInfo("META-INF/AWS_SIGNATURE.RSA"), hashlib.sha256(data).digest())
    return found.getvalue()


def tampering(data: bytes) -> bytes:
    """A signature, and another program."""
    old, new = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(new, "w") as archive:
        for info in old.infolist():
            content = old.read(info)
            archive.writestr(info, content + b"x" if info.filename.startswith("extensions/") else content)
    return new.getvalue()
