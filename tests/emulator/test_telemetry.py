"""The emulator as a telemetry source: what an extension that is not the kit's own sees on the wire."""

from __future__ import annotations

import json

import pytest

from extension_kit.emulator.faults import KINDS, Faults, listing
from extension_kit.errors import ConfigError
from tests.conftest import SNAP_START

LISTENER = """
import http.server, threading
posts = []
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fail = 0
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if Handler.fail:
            Handler.fail -= 1
            self.send_response(500)
        else:
            posts.append(body)
            self.send_response(200)
            if len(body) < 100_000:  # a line that we write may be cut where it is longer
                say("@@" + json.dumps([self.path, self.headers["Content-Type"], body.decode()]))
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
def subscribe(types=("platform", "function"), schema="2025-01-29", uri=None, timeout=25, **more):
    body = {"schemaVersion": schema, "types": list(types),
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": timeout, **more},
            "destination": {"protocol": "HTTP", "URI": uri or "http://sandbox.localdomain:%d/t" % server.server_port}}
    api.request("PUT", "/2022-07-01/telemetry", json.dumps(body), {"Lambda-Extension-Identifier": identifier})
    answer = api.getresponse()
    text = answer.read().decode()
    say("subscribe", answer.status, text)
    return answer.status
"""
LOOP = """
while True:
    status, event = next()
    if event["eventType"] == "SHUTDOWN":
        time.sleep({linger})
        break
    time.sleep({busy})
"""


def script(before="register()\nsubscribe()", busy=0.08, linger=0.3):
    return LISTENER + before + LOOP.format(linger=linger, busy=busy)


def posts(lab, environment, name="ext"):
    """Bodies, as text, in the order of their arrival."""
    return [json.loads(line[2:]) for line in lab.lines(environment, name) if line.startswith("@@")]


def events(lab, environment, name="ext"):
    return [event for post in posts(lab, environment, name) for event in json.loads(post[2])]


def types(found):
    return [event["type"] for event in found]


def test_a_cold_and_a_warm_invocation_in_order(lab):
    """Replayed init events, start, lines, runtimeDone within the invocation; the report later (lambda-apis 4.6)."""
    environment = lab.start(lab.extension("ext", script()))
    for _ in range(2):
        lab.invoke(environment)
    environment.idle(5)
    environment.shutdown()

    found = events(lab, environment)
    one = ["platform.start", "function", "platform.runtimeDone"]
    assert [kind for kind in types(found) if kind != "platform.report"] == [
        "platform.initStart", "platform.telemetrySubscription", "platform.initRuntimeDone", "platform.extension",
        "platform.initReport", *one, *one]  # fmt: skip
    assert {(path, kind) for path, kind, _body in posts(lab, environment)} == {("/t", "application/json")}
    first = next(event for event in found if event["type"] == "platform.runtimeDone")["record"]
    assert first["status"] == "success"
    assert [span["name"] for span in first["spans"]] == ["responseLatency", "responseDuration", "runtimeOverhead"]
    assert environment.telemetry.ledgers["ext"].sent == {"platform": len(found) - 2, "function": 2}


def test_the_report_waits_while_everything_is_frozen(lab):
    """It comes with the next invocation, or at SHUTDOWN; its metrics are typed as AWS documents them."""
    environment = lab.start(lab.extension("ext", script(linger=1.3)))
    lab.invoke(environment)
    environment.idle(5)
    lab.until(lambda: environment._frozen)
    assert "platform.report" not in types(events(lab, environment))
    environment.shutdown()

    report = next(event["record"] for event in events(lab, environment) if event["type"] == "platform.report")
    metrics = report["metrics"]
    assert {name: type(value).__name__ for name, value in metrics.items()} == {
        "durationMs": "float", "billedDurationMs": "int", "memorySizeMB": "int", "maxMemoryUsedMB": "int",
        "initDurationMs": "float"}  # fmt: skip
    assert metrics["billedDurationMs"] >= metrics["durationMs"] + metrics["initDurationMs"] - 0.01
    assert report["spans"][0]["name"] == "extensionOverhead"


@pytest.mark.parametrize(
    ("schema", "json_logs", "kind"),
    [("2025-01-29", True, dict), ("2022-12-13", True, dict), ("2022-07-01", True, str), ("2025-01-29", False, str)],
)
def test_lines_in_json_are_objects_where_schema_and_log_format_say_so(lab, schema, json_logs, kind):
    """Plain lines stay strings (AWS docs)."""
    function = lab.function(
        'import json\ndef handler(event, context):\n    print(json.dumps({"level": "INFO"}))\n    print("plain")\n'
    )
    before = f"register()\nsubscribe(schema={schema!r})"
    environment = lab.start(lab.extension("ext", script(before)), function=function, json_logs=json_logs)
    lab.invoke(environment)
    environment.idle(5)

    lines = [event["record"] for event in events(lab, environment) if event["type"] == "function"]
    assert [type(line) for line in lines] == [kind, str]


def test_extension_lines_are_a_stream_too(lab):
    """From every extension, the subscriber's own included."""
    talker = lab.extension("talker", "register()\nsay('hello from talker')\nloop()")
    environment = lab.start(lab.extension("ext", script("register()\nsubscribe(('extension',))")), talker)
    lab.invoke(environment)
    environment.idle(5)

    found = events(lab, environment)
    assert set(types(found)) == {"extension"}
    assert "hello from talker" in [event["record"] for event in found]


REFUSED = [
    ("next()\nsubscribe()", '403 {"errorMessage":"Telemetry API subscription is closed already"'),
    ("subscribe(types=['logs'])", '400 {"errorMessage":"/types'),
    ("subscribe(maxItems=1)", '400 {"errorMessage":"/buffering/maxItems'),
    ("subscribe(timeout=1)", '400 {"errorMessage":"/buffering/timeoutMs'),
    ("subscribe(schema='1999-01-01')", '400 {"errorMessage":"/schemaVersion'),
    ("subscribe(uri='http://127.0.0.1:1')", '400 {"errorMessage":"destination.URI host'),
    ("identifier = ''\nsubscribe()", '403 {"errorMessage":"Missing Lambda-Extension-Identifier header"'),
    ("subscribe()\nsubscribe()", '500 {"errorMessage":"Internal Server Error"'),
]


@pytest.mark.parametrize(("calls", "answer"), REFUSED, ids=[refused[1][:40] for refused in REFUSED])
def test_subscriptions_that_are_refused(lab, calls, answer):
    """Status, type and a text that names the field."""
    environment = lab.start(lab.extension("ext", LISTENER + "register()\n" + calls + "\ntime.sleep(9)"))
    environment.start()
    if calls.startswith("next"):
        lab.invoke(environment)
    lab.until(lambda: any(answer in line for line in lab.lines(environment, "ext")))


def test_a_batch_that_fails_is_posted_again(lab):
    """With back-off; nothing is lost, nothing counted twice."""
    before = "register()\nHandler.fail = 2\nsubscribe()"
    environment = lab.start(lab.extension("ext", script(before, busy=0.6)))
    lab.invoke(environment)
    environment.idle(5)

    ledger = environment.telemetry.ledgers["ext"]
    assert ledger.posts == ledger.batches + 2
    assert types(events(lab, environment)).count("platform.initStart") == 1
    assert ledger.total == len(events(lab, environment))


def test_a_dead_listener_loses_events_and_hears_of_it(lab):
    """The queue is bounded; platform.logsDropped says how many were lost, and the function never notices."""
    lines = "def handler(event, context):\n    for n in range(9000):\n        print('x' * 300, n)\n"
    before = "register()\nHandler.fail = 3\nsubscribe()"
    environment = lab.start(lab.extension("ext", script(before, busy=2.0)), function=lab.function(lines))
    result = lab.invoke(environment)
    environment.idle(8)

    ledger = environment.telemetry.ledgers["ext"]
    told = [event["record"] for event in events(lab, environment) if event["type"] == "platform.logsDropped"]
    assert not result.function_error
    assert ledger.dropped > 0
    assert sum(record["droppedRecords"] for record in told) == ledger.dropped
    assert all(record["droppedBytes"] > record["droppedRecords"] for record in told)


def test_tcp_is_one_event_a_line(lab):
    """Newline-delimited JSON to a port."""
    code = """
import socket, threading
server = socket.create_server(("0.0.0.0", 0))
def serve():
    connection, _ = server.accept()
    for line in connection.makefile():
        say("@@" + line.strip())
threading.Thread(target=serve, daemon=True).start()
register()
body = {"schemaVersion": "2025-01-29", "types": ["platform"],
        "destination": {"protocol": "TCP", "port": server.getsockname()[1]}, "buffering": {"timeoutMs": 25}}
api.request("PUT", "/2022-07-01/telemetry", json.dumps(body), {"Lambda-Extension-Identifier": identifier})
api.getresponse().read()
"""
    environment = lab.start(lab.extension("ext", code + LOOP.format(linger=0.1, busy=0.1)))
    lab.invoke(environment)
    environment.idle(5)

    found = [json.loads(line[2:]) for line in lab.lines(environment, "ext") if line.startswith("@@")]
    assert types(found)[0] == "platform.initStart"
    assert types(found)[-1] == "platform.runtimeDone"


OUTCOMES = [
    ("raise ValueError('x')", "success", "", "success"),
    ("import os; os._exit(3)", "error", "Runtime.ExitError", "error"),
    ("import time; time.sleep(9)", "timeout", "", "timeout"),
]


@pytest.mark.parametrize(("code", "status", "error_type", "reported"), OUTCOMES, ids=[case[1] for case in OUTCOMES])
def test_how_an_invocation_ended(lab, code, status, error_type, reported):
    """Handled errors are a success of the platform's; a timeout has no error type (lambda-apis 4.4)."""
    function = lab.function(f"def handler(event, context):\n    {code}\n")
    environment = lab.start(lab.extension("ext", script(linger=1.3)), function=function, timeout=1.0)
    lab.invoke(environment)
    environment.idle(5)
    environment.shutdown()

    found = {event["type"]: event["record"] for event in events(lab, environment)}
    done, report = found["platform.runtimeDone"], found["platform.report"]
    assert (done["status"], done.get("errorType", ""), report["status"]) == (status, error_type, reported)


def test_a_reset_begins_a_new_story_and_keeps_what_was_not_taken(lab):
    """phase=invoke; what the dead extension was not given goes to its successor."""
    function = lab.function("import os\ndef handler(event, context):\n    print('line', flush=True)\n    os._exit(1)\n")
    before = "register()\nHandler.fail = 1000 if not os.path.exists('/tmp/again') else 0\nopen('/tmp/again', 'w')\nsubscribe()"
    environment = lab.start(lab.extension("ext", script(before, linger=0.5)), function=function)
    lab.invoke(environment)
    lab.invoke(environment)
    environment.shutdown()

    found = events(lab, environment)
    inits = [event["record"]["phase"] for event in found if event["type"] == "platform.initStart"]
    assert inits == ["init", "invoke"]
    assert types(found).count("function") == 2
    assert environment.telemetry.ledgers["ext"].undelivered == 0


def test_a_snapshot_that_is_resumed(lab):
    """restoreStart, restoreRuntimeDone, restoreReport before the first start; the old init events come too."""
    environment = lab.start(lab.extension("ext", script()), bootstrap=SNAP_START, init_type="snap-start")
    environment.start()
    lab.invoke(environment)
    environment.idle(5)

    found = types(events(lab, environment))
    restore = ["platform.restoreStart", "platform.restoreRuntimeDone", "platform.restoreReport", "platform.start"]
    assert found[0] == "platform.initStart"
    assert [kind for kind in found if kind in restore] == restore


def faulty(lab, *specs, **profile):
    environment = lab.start(lab.extension("ext", script(busy=0.2)), faults=Faults.parse(specs), **profile)
    for _ in range(3):
        lab.invoke(environment)
    environment.idle(5)
    return environment


def test_fault_unsupported(lab):
    """202 and AWS's words."""
    environment = faulty(lab, "telemetry-unsupported")
    assert 'subscribe 202 {"errorMessage":"Telemetry API is not supported"' in lab.lines(environment, "ext")[0]


def test_fault_silent(lab):
    """Complaint 15: taken, and nothing comes."""
    environment = faulty(lab, "telemetry-silent")
    assert lab.lines(environment, "ext") == ['subscribe 200 "OK"']


def test_fault_refused(lab):
    """The newest schema versions are not known here."""
    environment = faulty(lab, "telemetry-refused:count=2")
    assert "/schemaVersion: value must be one of 2022-07-01" in lab.lines(environment, "ext")[0]


def test_fault_slow(lab):
    """Late, but all of it."""
    environment = faulty(lab, "telemetry-slow:ms=100")
    assert types(events(lab, environment)).count("platform.runtimeDone") == 3


def test_fault_duplicated(lab):
    """The same bytes again."""
    environment = faulty(lab, "telemetry-duplicated")
    bodies = [body for _path, _type, body in posts(lab, environment)]
    assert len(bodies) >= 2 * len(set(bodies)) - 1 > 2


def test_fault_reordered(lab):
    """A later batch first."""
    environment = faulty(lab, "telemetry-reordered")
    times = [json.loads(body)[0]["time"] for _path, _type, body in posts(lab, environment)]
    assert times != sorted(times)


def test_fault_truncated(lab):
    """No JSON any more."""
    environment = faulty(lab, "telemetry-truncated:every=2")
    whole = [body.endswith("}]") for _path, _type, body in posts(lab, environment)]
    assert {True, False} == set(whole)


@pytest.mark.parametrize("kind", ["telemetry-lost-end", "telemetry-lost-report"])
def test_fault_lost(lab, kind):
    """One kind of event never comes."""
    environment = faulty(lab, kind)
    environment.shutdown()
    gone = {"telemetry-lost-end": "platform.runtimeDone", "telemetry-lost-report": "platform.report"}[kind]
    assert gone not in types(events(lab, environment))


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("nonsense", "no such fault; --fault list shows"),
        ("telemetry-slow:s=1", "'s=1' is not understood; telemetry-slow takes ms=NUMBER"),
        ("telemetry-slow:ms=x", "ms must be a whole number from 1"),
        ("telemetry-silent:ms=1", "telemetry-silent takes no parameters"),
    ],
)
def test_wrong_faults(spec, error):
    """One line that says what there is."""
    with pytest.raises(ConfigError, match=error.replace("(", r"\(")):
        Faults.parse((spec,))


def test_every_fault_is_listed():
    """With its parameters and what it does."""
    assert all(kind in listing() for kind in KINDS)
