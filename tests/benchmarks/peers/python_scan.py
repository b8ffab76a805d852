"""A collector of an afternoon: every 10 ms it reads /proc, and lists the files and threads of every process.

Files are opened anew each time; the end of an invocation is heard of by ``http.server``; a line of EMF for each invocation.
"""

import json
import os
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = os.path.basename(__file__)
SUBSCRIPTION = {
    "schemaVersion": "2022-12-13",
    "types": ["platform"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
}
done = threading.Condition()
ended = set()
running = threading.Event()
most = {"fds": 0, "threads": 0}


class Listener(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Take one batch."""
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with done:
            ended.update(event["record"]["requestId"] for event in events if event["type"] == "platform.runtimeDone")
            done.notify_all()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format, *arguments):
        """No line for each request."""


def counters():
    """CPU, memory and network of the machine."""
    with open("/proc/stat") as stat, open("/proc/meminfo") as memory, open("/proc/net/dev") as network:
        cpu = [int(one) for one in stat.readline().split()[1:]]
        used = {line.split(":")[0]: int(line.split()[1]) for line in memory}
        traffic = [line.split() for line in network.readlines()[2:]]
    return {"user": cpu[0], "system": cpu[2], "free": used["MemAvailable"], "rx": sum(int(one[1]) for one in traffic)}


def scan():
    """While an invocation runs."""
    while True:
        running.wait()
        fds = threads = 0
        for pid in os.listdir("/proc"):
            if pid.isdigit():
                try:
                    fds += len(os.listdir(f"/proc/{pid}/fd"))
                    threads += len(os.listdir(f"/proc/{pid}/task"))
                except OSError:
                    continue
        most["fds"], most["threads"] = max(fds, most["fds"]), max(threads, most["threads"])
        time.sleep(0.01)


def call(method, path, content, fields):
    """One request; the answer and its body."""
    connection.request(method, path, content and json.dumps(content), fields)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, (path, answer.status, body)
    return answer, body


def report(before, after):
    """A document with all of it."""
    figures = {name: after[name] - before[name] for name in ("user", "system", "rx")} | {"free": after["free"], **most}
    metrics = [{"Name": name, "Unit": "None"} for name in figures]
    about = [{"Namespace": "Peer", "Dimensions": [["function"]], "Metrics": metrics}]
    document = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": about}, "function": "f", **figures}
    print(json.dumps(document), flush=True)


def main():
    """Register, subscribe, and from one event to the next."""
    answer, _ = call(
        "POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]}, {"Lambda-Extension-Name": NAME}
    )
    fields = {"Lambda-Extension-Identifier": answer.headers["Lambda-Extension-Identifier"]}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)  # where the benchmark's platform delivers
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=scan, daemon=True).start()
    uri = f"http://sandbox.localdomain:{server.server_port}/"
    call("PUT", "/2022-07-01/telemetry", SUBSCRIPTION | {"destination": {"protocol": "HTTP", "URI": uri}}, fields)
    while True:
        _, body = call("GET", "/2020-01-01/extension/event/next", None, fields)
        event = json.loads(body)
        if event["eventType"] == "SHUTDOWN":
            sys.exit(0)
        before = counters()
        running.set()
        with done:
            done.wait_for(lambda event=event: event["requestId"] in ended, 10)
            ended.clear()
        running.clear()
        report(before, counters())


connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
main()
