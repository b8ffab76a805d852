"""Scenarios, written once and run on every backend: extensions as scripts, what they say is the transcript."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

PRELUDE = f"""#!{sys.executable}
import http.client, json, os, sys, threading, time, uuid
name = os.path.basename(sys.argv[0])
base = "/2020-01-01/extension/"
identifier = ""
def connect():
    return http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
api = connect()
def tell(**what):
    sys.stdout.write("@@" + json.dumps(what) + "\\n")
    sys.stdout.flush()
def call(method, path, body=None, api=api, step="", who=name, **headers):
    path = path if path.startswith("/") else base + path
    headers = {{key.replace("_", "-"): value for key, value in headers.items()}}
    api.request(method, path, body, headers)
    answer = api.getresponse()
    data = answer.read().decode()
    tell(who=who, step=step or path.rpartition("/2020-01-01/")[2], method=method, path=path, status=answer.status,
         type=answer.headers.get("Content-Type", ""), id="Lambda-Extension-Identifier" in answer.headers,
         event_id="Lambda-Extension-Event-Identifier" in answer.headers, body=data)
    return answer, data
def register(events=("INVOKE", "SHUTDOWN"), name=name, body=None, **more):
    global identifier
    content = json.dumps({{"events": list(events)}}) if body is None else body
    answer, data = call("POST", "register", content, Lambda_Extension_Name=name, **more)
    identifier = answer.headers.get("Lambda-Extension-Identifier", identifier)
def next(**more):
    answer, data = call("GET", "event/next", Lambda_Extension_Identifier=identifier, **more)
    if answer.status != 200:
        time.sleep(30)
    return json.loads(data)
def error(phase, kind="Extension.Reason", **more):
    call("POST", phase + "/error", "", Lambda_Extension_Identifier=identifier,
         Lambda_Extension_Function_Error_Type=kind, **more)
def loop():
    while next().get("eventType") != "SHUTDOWN":
        pass
    sys.exit(0)
"""
QUICK = "def handler(event, context):\n    return {'ok': True}\n"


@dataclass(frozen=True)
class Scenario:
    """``extensions``: name -> what follows the prelude, or a whole file (bytes); ``invokes``: payloads, one after the other."""

    extensions: dict[str, str | bytes]
    function: str = QUICK
    invokes: tuple[bytes, ...] = (b"{}",)
    timeout: int = 4  # seconds
    trace: str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    pause: float = 0.0  # seconds between invokes
    init_limit: float = 10.0  # seconds; ours alone has one
    modes: dict[str, int] = field(default_factory=dict)


ONE = "register(); loop()"
UUID = "7e6b1a2c-0000-4000-8000-000000000000"


def probe(*lines: str) -> dict[str, str | bytes]:
    return {"probe": "\n".join(lines) + "\n"}


def refused(*lines: str) -> dict[str, str | bytes]:
    """Something that is refused before an ordinary life."""
    return probe(*lines, ONE)


SCENARIOS: dict[str, Scenario] = {
    "an ordinary life": Scenario(probe(ONE), invokes=(b"{}", b"[]")),
    "two extensions": Scenario({"one": ONE, "two": ONE}),
    "account id asked for": Scenario(probe("register(Lambda_Extension_Accept_Feature='accountId')", "loop()")),
    "invoke only": Scenario(probe("register(['INVOKE'])", "loop()")),
    "shutdown only": Scenario(probe("register(['SHUTDOWN'])", "loop()")),
    "no events, empty object": Scenario(probe("register(body='{}')", "loop()")),
    "no events, empty list": Scenario(probe("register(body='{\"events\":[]}')", "loop()")),
    "a body that is a list": Scenario(refused("register(body='[]')")),
    "empty name": Scenario(refused("register(name='')")),
    "no name": Scenario(refused("call('POST', 'register', '{\"events\":[]}')")),
    "unknown event": Scenario(refused("register(['BOGUS'])")),
    "lower-case event": Scenario(refused("register(['invoke'])")),
    "body that is no JSON": Scenario(refused("register(body='no')")),
    "no body": Scenario(refused("register(body='')")),
    "events that are no list": Scenario(refused("register(body='{\"events\": 1}')")),
    "configuration keys": Scenario(refused("register(body='{\"events\":[],\"configurationKeys\":[\"a\"]}')")),
    "registering twice": Scenario(probe("register()", "register()", "loop()")),
    "a wrong name with SHUTDOWN": Scenario(refused("register(name='Probe')")),
    "an internal name, twice": Scenario(
        probe("register(['INVOKE'], name='inner')", "inner = identifier", "register(['INVOKE'], name='inner')",
              "register()",
              "def serve():", "    own = connect()", "    while True:",
              "        call('GET', 'event/next', api=own, who='inner', Lambda_Extension_Identifier=inner)",
              "threading.Thread(target=serve, daemon=True).start()", "loop()"),
    ),
    "registering after init": Scenario(
        probe("register()", "next()", "register(['INVOKE'], name='late')", "register()", "loop()"), invokes=(b"{}", b"{}")
    ),
    "next without an identifier": Scenario(refused("call('GET', 'event/next')")),
    "next with no uuid": Scenario(refused("call('GET', 'event/next', Lambda_Extension_Identifier='me')")),
    "next with an unknown uuid": Scenario(refused(f"call('GET', 'event/next', Lambda_Extension_Identifier='{UUID}')")),
    "a second next": Scenario(
        probe("register()", "first = threading.Thread(target=loop)", "first.start()", "time.sleep(0.05)",
              "call('GET', 'event/next', api=connect(), step='second', Lambda_Extension_Identifier=identifier)"),
        function="import time\ntime.sleep(0.5)\n" + QUICK,
    ),
    "error without a type": Scenario(
        probe("register()", "call('POST', 'init/error', '', Lambda_Extension_Identifier=identifier)", "loop()")
    ),
    "init error, then next, then exit": Scenario(
        probe("register()", "error('init')", "call('GET', 'event/next', Lambda_Extension_Identifier=identifier)",
              "sys.exit(1)"),
    ),
    "init error after init": Scenario(probe("register()", "next()", "error('init')", "loop()")),
    "exit error in an invoke": Scenario(probe("register()", "next()", "error('exit')", "sys.exit(1)")),
    "telemetry": Scenario(
        probe("register()", "call('PUT', '/2022-07-01/telemetry', '{}', Lambda_Extension_Identifier=identifier)", "loop()")
    ),
    "logs": Scenario(
        probe("register()", "call('PUT', '/2020-08-15/logs', '{}', Lambda_Extension_Identifier=identifier)", "loop()")
    ),
    "other paths and methods": Scenario(
        refused("call('GET', 'register')", "call('POST', 'event/next')", "call('GET', '/2020-01-01/nothing')",
                "call('GET', '/')", "call('GET', '/2018-06-01/ping')"),
    ),
    "no trace header": Scenario(probe(ONE), trace=""),
    "what stands in the environment": Scenario(
        probe("register()", "names = dict.fromkeys(sorted(os.environ), 'set')",
              "tell(who=name, step='environment', body='', **names)", "loop()")
    ),
    "a slow init and the deadline": Scenario(
        probe("register()", "time.sleep(1.2)",
              # Rounded up: what AWS's emulator has counted of the init is more on a busy machine.
              "left = next()['deadlineMs'] / 1000 - time.time()",
              "tell(who=name, step='seconds left', body=str(-int(-left // 1)))",
              "loop()"),
    ),
    "an init beyond Lambda's limit": Scenario(
        probe("register()", "time.sleep(1.5)", "loop()"), init_limit=1.0, timeout=8,
    ),
    "the time that SHUTDOWN leaves": Scenario(
        probe("register()", "next()", "left = next()['deadlineMs'] / 1000 - time.time()",
              "tell(who=name, step='seconds left', body=str(round(left)))"),
    ),
    "a handler that raises": Scenario(probe(ONE), function="def handler(event, context):\n    raise ValueError('bang')\n"),
    "a handler that cannot be imported": Scenario(probe(ONE), function="import nothing\n"),
    # One invoke: AWS's emulator is not of one mind about the next (it restarts, or answers Sandbox.Failure).
    "a runtime that exits": Scenario(probe(ONE), function="import os\ndef handler(event, context):\n    os._exit(3)\n"),
    "a function that overruns": Scenario(
        probe(ONE), function="import time\ndef handler(event, context):\n    time.sleep(event)\n    return 1\n",
        invokes=(b"9", b"0"), timeout=1,
    ),
    "an exit before register": Scenario(probe("sys.exit(0)")),
    "an exit after register": Scenario(probe("register()", "sys.exit(0)")),
    "an exit in an invoke": Scenario(probe("register()", "next()", "sys.exit(9)"), invokes=(b"{}", b"{}"), pause=0.5),
    "an exit between invokes": Scenario(
        probe("register()", "next()",
              "threading.Timer(0.15, lambda: os._exit(0)).start()", "loop()"), invokes=(b"{}", b"{}"), pause=0.4,
    ),
    "never registers": Scenario(probe("time.sleep(30)"), timeout=1),
    "never calls next": Scenario(probe("register()", "time.sleep(30)"), timeout=1),
    "never calls next again": Scenario(probe("register()", "next()", "time.sleep(30)"), timeout=1),
    "ends after the deadline": Scenario(probe("register()", "next()", "next()", "time.sleep(30)")),
    "next after SHUTDOWN": Scenario(probe("register()", "next()", "next()", "next()")),
    "ten extensions": Scenario({f"e{number}": ONE for number in range(10)}),
    "eleven extensions": Scenario({f"e{number:02}": "time.sleep(30)" for number in range(11)}),
    "a file that is not executable": Scenario(probe(ONE), modes={"probe": 0o644}),
    "a shebang with CR LF": Scenario({"probe": b"#!/bin/sh\r\nexit 0\r\n"}),
}  # fmt: skip
