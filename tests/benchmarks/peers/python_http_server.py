"""A telemetry extension as published samples have it in Python: ``http.server`` in a thread, ``json.loads`` of every batch.

What has come is queued and goes at the next event; here it goes nowhere. Samples differ in two things, which would measure
something else: they open a connection for every batch (HTTP/1.0), and they answer before they parse, so that nobody
could tell when a batch is done with. As ``python-decode`` it keeps function lines only, each encoded again.

What was kept is counted and reported at the end, so that the benchmark can see that nothing was left out.
"""

import json
import os
import sys
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

NAME = os.path.basename(__file__)
DECODE = NAME == "python-decode"
SUBSCRIPTION = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 1000},
}
queue = []
kept = 0


class Listener(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Take one batch."""
        global kept
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if DECODE:
            events = [json.dumps(event) for event in events if event["type"] == "function"]
        queue.extend(events)
        kept += len(events)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *arguments):
        """No line for each request."""


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
    Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://sandbox.localdomain:{server.server_port}/"
    subscription = SUBSCRIPTION | {"destination": {"protocol": "HTTP", "URI": uri}}
    call("PUT", "/2022-07-01/telemetry", subscription, fields)
    while True:
        _, body = call("GET", "/2020-01-01/extension/event/next", None, fields)
        queue.clear()
        if json.loads(body)["eventType"] == "SHUTDOWN":
            print(f"kept {kept}", file=sys.stderr)
            return


connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
main()
