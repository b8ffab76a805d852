"""An extension that takes telemetry and notes every POST; of the standard library alone, so that it judges no code of ours.

`SCRIPT` is its beginning: it defines functions, which a test calls in what it appends. What it is sent and what it is answered
it appends to files in the directory that the variable TELEMETRY_FOLDER names; `posts` and `answers` read them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "TELEMETRY_FOLDER"
STREAMS = ["platform", "function", "extension"]
SCHEMA = "2025-01-29"  # the one that knows of Managed Instances

SCRIPT = f"""#!{sys.executable}
import http.client, http.server, json, os, socketserver, sys, threading, time
name = os.path.basename(sys.argv[0])
lock = threading.Lock()
identifier = ""
told = set()  # types of the events so far

def note(kind, what):
    with lock, open(os.path.join(os.environ["{FOLDER}"], name + "." + kind), "a") as file:
        file.write(json.dumps(what) + "\\n")

class Listener(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    statuses = []  # of the next answers, when they shall not be 200
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        note("posts", {{"path": self.path, "headers": self.headers.items(), "body": body.decode()}})
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        told.update(event["type"] for event in json.loads(body))
    def log_message(self, *args):
        pass

class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

def listen(port):
    threading.Thread(target=Server(("0.0.0.0", port), Listener).serve_forever, daemon=True).start()

def call(step, method, path, body=None, who=None, **headers):
    headers = {{key.replace("_", "-"): value for key, value in headers.items()}}
    if who is None:
        who = identifier
    if who:
        headers["Lambda-Extension-Identifier"] = who
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body if body is None or isinstance(body, str) else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    note("answers", {{"step": step, "status": answer.status, "headers": answer.getheaders(), "body": text}})
    return answer, text

def register(events, step="register"):
    global identifier
    answer, _ = call(step, "POST", "/2020-01-01/extension/register", {{"events": events}}, Lambda_Extension_Name=name,
                     Lambda_Extension_Accept_Feature="accountId")
    identifier = answer.headers.get("Lambda-Extension-Identifier", "")

def subscribe(port, step="subscribe", who=None, path="/2022-07-01/telemetry", **changes):
    buffering = {{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 500}}
    destination = {{"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{{port}}/some/path"}}
    content = {{"schemaVersion": "{SCHEMA}", "types": {STREAMS!r}, "buffering": buffering, "destination": destination}}
    content.update(changes)
    call(step, "PUT", path, content, who, Content_Type="application/json")

def until_exists(what):
    while not os.path.exists(os.path.join(os.environ["{FOLDER}"], what)):
        time.sleep(0.005)

def until_told(kind, seconds):
    end = time.monotonic() + seconds
    while kind not in told and time.monotonic() < end:
        time.sleep(0.005)

def until_shutdown():
    while json.loads(call("next", "GET", "/2020-01-01/extension/event/next")[1])["eventType"] != "SHUTDOWN":
        pass
"""


@dataclass(frozen=True)
class Post:
    """One delivery, as it came; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    def events(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)
        return found


@dataclass(frozen=True)
class Answer:
    """What a call of the extension was answered; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: str


def write(folder: Path, name: str, script: str) -> Path:
    """The executable of an extension `name` that does what `script` says."""
    path = folder / name
    path.write_text(SCRIPT + script)
    path.chmod(0o755)
    return path


def posts(folder: Path, name: str) -> list[Post]:
    """The deliveries to extension `name` so far, in their order."""
    return [
        Post(line["path"], _lower(line["headers"]), line["body"].encode()) for line in _lines(folder / f"{name}.posts")
    ]


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    """The events of all deliveries to extension `name` so far, in their order."""
    return [event for post in posts(folder, name) for event in post.events()]


def answers(folder: Path, name: str) -> dict[str, Answer]:
    """Step -> what extension `name` was answered; the last time, where it took that step again."""
    lines = _lines(folder / f"{name}.answers")
    return {line["step"]: Answer(line["status"], _lower(line["headers"]), line["body"]) for line in lines}


def _lower(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    # A line without its end is still being written.
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
