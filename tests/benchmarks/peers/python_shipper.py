"""A log shipper as one would write it in an afternoon: ``http.server``, ``json``, ``gzip``, ``requests``.

It does what the published samples do, and a little better: one connection to the sink, compressed NDJSON, each line with its
request's id, sent at the end of the invocation. Nothing is kept when the sink fails, nothing is blotted out.
"""

import gzip
import json
import os
import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

sys.path.insert(
    0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), os.path.basename(__file__))
)
import requests  # noqa: E402 - it comes with the layer

NAME = os.path.basename(__file__)
SUBSCRIPTION = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
}
queue = []
done = threading.Condition()
ended = set()


class Listener(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    request_id = ""

    def do_POST(self):
        """Take one batch."""
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with done:
            for event in events:
                if event["type"] == "platform.start":
                    Listener.request_id = event["record"]["requestId"]
                event["requestId"] = Listener.request_id
                queue.append(event)
                if event["type"] == "platform.runtimeDone":
                    ended.add(event["record"]["requestId"])
            done.notify_all()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *arguments):
        """No line for each request."""


def wait_for_the_end(request_id):
    """Of this request's code."""
    with done:
        done.wait_for(lambda: request_id in ended, 10)
        ended.clear()


def flush():
    """Everything that has come."""
    with done:
        events = queue[:]
        queue.clear()
    if events:
        body = gzip.compress("".join(json.dumps(event) + "\n" for event in events).encode(), compresslevel=1)
        fields = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
        session.post(os.environ["LOG_SHIPPER_ENDPOINT"], data=body, headers=fields, timeout=5).raise_for_status()


def call(method, path, content, fields):
    """One request; the answer and its body."""
    connection.request(method, path, content and json.dumps(content), fields)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (path, answer.status, body)
    return answer, body


def main():
    """Register, subscribe, and from one event to the next."""
    fields = {"Lambda-Extension-Name": NAME}
    answer, _ = call("POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]}, fields)
    fields = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)  # where the benchmark's platform delivers
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://sandbox.localdomain:{server.server_port}/"
    call("PUT", "/2022-07-01/telemetry", SUBSCRIPTION | {"destination": {"protocol": "HTTP", "URI": uri}}, fields)
    while True:
        _, body = call("GET", "/2020-01-01/extension/event/next", None, fields)
        event = json.loads(body)
        if event["eventType"] == "INVOKE":
            wait_for_the_end(event["requestId"])
        flush()
        if event["eventType"] == "SHUTDOWN":
            sys.exit(0)


session = requests.Session()
session.trust_env = False
connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
main()
