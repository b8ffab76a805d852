"""The proxy in front of real runtimes: a plug-in that starts it, a wrapper that leads the runtime to it, the emulator.

What a caller gets with the proxy is what it gets without; what hooks do is what a caller sees.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys

import pytest

from extension_kit.backends import prepare, rie_binary
from extension_kit.backends.rie import RieEnvironment
from extension_kit.emulator.environment import Layout
from extension_kit.emulator.model import Profile
from tests.conftest import ROOT, SNAP_START
from tests.emulator.test_managed import WORKERS

NO_RIE = prepare.why_no_namespaces() or ("" if rie_binary.BINARIES.get(platform.machine()) else "no such binary")
WHERE = pytest.mark.parametrize(
    "rie",
    [False, pytest.param(True, marks=pytest.mark.skipif(bool(NO_RIE), reason=NO_RIE or "-"))],
    ids=["emulator", "rie"],
)
PORT = f"/tmp/extension-kit-test-proxy-{os.getpid()}"  # of the environment's own /tmp, where it has one
PLUGIN = f"""
import os
from extension_kit.proxy import *
class Done(Hooks):
    def on_done(self, invocation):
        say("done", invocation.request_id)
%s
class Proxying(Plugin):
    name = "proxying"
    def before_register(self, context):
        several = context.init_type == "lambda-managed-instances"
        self.proxy = RuntimeProxy(os.environ["AWS_LAMBDA_RUNTIME_API"], %s, say=say, concurrent=several)
        with open("{PORT}", "w") as file:
            file.write(str(self.proxy.listen()))
        self.proxy.serve()
    def on_shutdown(self, event, deadline):
        say("figures", self.proxy.figures())
        self.proxy.close()
run(Proxying)
"""
WRAPPER = f"""#!/bin/sh
AWS_LAMBDA_RUNTIME_API=127.0.0.1:$(cat {PORT})
export AWS_LAMBDA_RUNTIME_API
exec %s
"""
HANDLER = """
import sys
def handler(event, context):
    print("RAN %s %s\\n" % (event.get("n"), context.get_remaining_time_in_millis() // 1000), end="", flush=True)  # at once
    if event.get("raise"):
        raise ValueError("bang")
    if event.get("exit"):
        sys.exit(3)
    return {"n": event.get("n"), "pad": "x" * event.get("size", 0)}
"""


@pytest.fixture(autouse=True)
def no_port_left():
    yield
    if os.path.exists(PORT):
        os.unlink(PORT)


@pytest.fixture
def start(lab):
    """An environment whose runtime comes through the proxy (or not, for comparison). ``function``: what app.py has."""
    judges = []

    def start(hooks="", use="None", proxied=True, function=HANDLER, program="", rie=False, **profile):
        folder = lab.folder / f"task{len(lab.environments)}"
        folder.mkdir()
        (folder / "app.py").write_text(function)
        bootstrap = folder / "bootstrap"
        program = program or f"{sys.executable} -m awslambdaric app.handler"
        bootstrap.write_text(WRAPPER % program if proxied else f"#!/bin/sh\nexec {program}\n")
        bootstrap.chmod(0o755)
        extensions = (lab.plugin(f"proxying{len(lab.environments)}", PLUGIN % (hooks, use)),) if proxied else ()
        if not rie:
            return lab.start(*extensions, bootstrap=bootstrap, **profile)
        layout = Layout(bootstrap=bootstrap, extensions=extensions)
        judges.append(RieEnvironment(Profile(handler="app.handler", timeout=5.0), layout, rie_binary.binary()))
        return judges[-1]

    yield start
    for judge in judges:
        judge.shutdown()


def said(lab, environment):
    """Lines of the function; under AWS's emulator they stand among all others."""
    return [line for party in ("runtime", "output") for line in lab.lines(environment, party)]


def has_run(lab, environment, wanted):
    """What the handler has printed; it may come a little after the result."""

    def ran():
        return [line.split()[1] for line in said(lab, environment) if line.startswith("RAN")]

    lab.until(lambda: len(ran()) >= len(wanted))
    assert ran() == wanted


def figures(lab, environment):
    """What each life of the proxy has counted, at its end."""
    environment.shutdown()
    parties = {event["party"] for event in environment.log.of_kind("log")} - {"runtime"}
    lines = [line for party in parties for line in lab.lines(environment, party) if line.startswith("figures ")]
    return [json.loads(line.partition(" ")[2].replace("'", '"')) for line in lines]


@pytest.mark.parametrize("use", ["None", "Done()"])
def test_a_caller_cannot_tell(lab, start, use):
    """Results, errors with their trace, sizes up to the limit and beyond; frozen between two invokes."""
    events = [{"n": 1}, {"n": 2, "raise": True}, {"n": 3, "size": 6_000_000}, {"n": 4, "size": 6_300_000}, {"n": 5}]
    results = {}
    for proxied in (False, True):
        environment = start(use=use, proxied=proxied)
        results[proxied] = []
        for event in events:
            result = lab.invoke(environment, event)
            results[proxied].append(
                (result.function_error, result.error_type, len(result.payload), result.content_type)
            )
            environment.idle(5)
        has_run(lab, environment, ["1", "2", "3", "4", "5"])
    assert results[True] == results[False]
    counted = figures(lab, environment)  # of both lives: awslambdaric does not survive a 413
    assert [each["asked"] for each in counted] == [4, 2]
    assert all(set(each) == {"asked", "connections", "exchanges"} for each in counted)


def test_an_exit_of_the_function_is_the_platform_s_affair(lab, start):
    """The environment is begun anew, proxy and all."""
    environment = start()
    assert lab.invoke(environment, {"exit": True}).error_type == "Runtime.ExitError"
    assert json.loads(lab.invoke(environment, {"n": 2}).payload)["n"] == 2


def test_a_function_that_cannot_be_loaded(lab, start):
    """init/error passes."""
    results = {}
    for proxied in (False, True):
        environment = start(proxied=proxied, function="import no_such_module\n")
        result = lab.invoke(environment)
        results[proxied] = (result.function_error, result.error_type)
    assert results[True] == results[False]
    assert results[True][1] == "Runtime.ImportModuleError"


@WHERE
def test_hooks_before_the_handler(lab, start, rie):
    hooks = """
class Steer(Hooks):
    def on_event(self, invocation):
        event = json.loads(invocation.body())
        if event["n"] == 1:
            return Answer(b'"short"')
        if event["n"] == 2:
            return Fail("Chaos.Injected", "planned")
        if event["n"] == 3:
            return Deliver(b'{"n": 33}', ((b"Lambda-Runtime-Deadline-Ms", b"%d" % (invocation.deadline_ms + 60_000)),))
        if event["n"] == 4:
            return Deliver(twice=True)
"""
    environment = start("import json" + hooks, "Steer()", rie=rie)
    results = [lab.invoke(environment, {"n": n}) for n in (1, 2, 3, 4, 5)]

    assert results[0].payload == b'"short"'
    assert (results[1].function_error, results[1].error_type) == ("Unhandled", "Chaos.Injected")
    assert json.loads(results[1].payload)["errorMessage"] == "planned"
    assert [json.loads(result.payload)["n"] for result in results[2:]] == [33, 4, 5]
    has_run(lab, environment, ["33", "4", "4", "5"])
    remaining = [int(line.split()[2]) for line in said(lab, environment) if line.startswith("RAN")]
    assert remaining[0] > 50 > 10 > remaining[3]


@WHERE
def test_hooks_after_the_handler(lab, start, rie):
    hooks = """
class Steer(Hooks):
    def on_response(self, invocation, response):
        answer = json.loads(response.body())
        if answer["n"] == 1:
            return Replace(b'"other"')
        if answer["n"] == 2:
            return Fail("Chaos.After", "it ran")
        if answer["n"] == 3:
            return Replace(b'"%s"' % (b"x" * 6_300_000))
    def on_error(self, invocation, error):
        return Answer(b'"no error"')
"""
    environment = start("import json" + hooks, "Steer()", rie=rie)
    results = [lab.invoke(environment, {"n": n, "raise": n == 4}) for n in (1, 2, 3, 4, 5)]

    assert results[0].payload == b'"other"'
    assert (results[1].function_error, results[1].error_type) == ("Unhandled", "Chaos.After")
    assert results[2].error_type == "Function.ResponseSizeTooLarge"
    assert (results[3].function_error, results[3].payload) == ("", b'"no error"')
    assert json.loads(results[4].payload)["n"] == 5
    has_run(lab, environment, ["1", "2", "3", "4", "5"])
    assert [each["refused_413"] for each in figures(lab, environment)] == [1]


@WHERE
def test_init_fails(lab, start, rie):
    hooks = """
class Steer(Hooks):
    def on_next(self, first):
        return Fail("Chaos.Init", "planned") if first else None
"""
    environment = start(hooks, "Steer()", rie=rie)
    assert lab.invoke(environment).error_type == "Chaos.Init"


STREAMING = """
import os, socket
host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
api = socket.create_connection((host, int(port)))
def call(request):
    api.sendall(request)
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        data += api.recv(65536)
    head, _, body = data.partition(b"\\r\\n\\r\\n")
    length = [int(line.split(b":")[1]) for line in head.split(b"\\r\\n") if line.lower().startswith(b"content-length:")][0]
    while len(body) < length:
        body += api.recv(65536)
    return head
while True:
    head = call(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    request_id = [line.split(b": ")[1] for line in head.split(b"\\r\\n") if line.lower().startswith(b"lambda-runtime-aws-r")][0]
    path = b"/2018-06-01/runtime/invocation/" + request_id + b"/response"
    api.sendall(b"POST " + path + b" HTTP/1.1\\r\\nHost: x\\r\\nLambda-Runtime-Function-Response-Mode: streaming\\r\\n"
                b"Content-Type: application/octet-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
    for n in range(%d):
        api.sendall(b"186a0\\r\\n" + b"%%d" %% (n %% 10) * 100000 + b"\\r\\n")
    call(b"0\\r\\nLambda-Runtime-Function-Error-Type: Late.Error\\r\\n\\r\\n")
    print("RAN", flush=True)
"""


@WHERE
@pytest.mark.parametrize("transformed", [False, True])
def test_a_stream(lab, start, rie, transformed):
    """10 MB in chunks, beyond what a buffered response may have; trailers are kept.

    AWS's emulator (classic mode) takes chunks, but no more of them than of a buffered response, and hears no trailers.
    """
    chunks = 50 if rie else 100
    hooks = """
class Steer(Hooks):
    def on_response(self, invocation, response):
        assert response.streaming and response.length is None
        return Stream(lambda chunks: (bytes(chunk).replace(b"0", b"-") for chunk in chunks))
"""
    use = "Steer()" if transformed else "None"
    environment = start(hooks, use, function=STREAMING % chunks, program=f"{sys.executable} app.py", rie=rie)
    result = lab.invoke(environment)
    wanted = b"".join(b"%d" % (n % 10) * 100_000 for n in range(chunks))

    assert result.payload == (wanted.replace(b"0", b"-") if transformed else wanted)
    assert rie or (result.function_error, result.error_type) == ("Unhandled", "Late.Error")


def test_a_snapshot_is_resumed(lab, start):
    """restore/next passes; the runtime's init ends with it."""
    hooks = """
class Steer(Hooks):
    def on_next(self, first):
        say("asked", first)
"""
    environment = start(hooks, "Steer()", program=str(SNAP_START), init_type="snap-start")
    assert lab.invoke(environment).function_error == ""
    lines = lab.lines(environment, "proxying0")
    assert [line for line in lines if line.startswith("asked")][:2] == ["asked True", "asked False"]


def test_managed_instances(lab, start):
    """Three workers, each with a connection for every call."""
    hooks = """
class Steer(Hooks):
    def on_response(self, invocation, response):
        return Replace(b'"%s"' % invocation.request_id.encode())
"""
    environment = start(
        hooks, "Steer()", function=WORKERS, program="/bin/sh ./app.py", init_type="lambda-managed-instances"
    )
    environment.start()
    lab.until(lambda: environment.platform.phase == "ready")
    results = [future.result(10) for future in [environment.invoke(b"0.1") for _ in range(9)]]

    assert [result.payload.decode().strip('"') for result in results] == [result.request_id for result in results]
    assert [each["answers_changed"] for each in figures(lab, environment)] == [9]


def test_the_example_of_the_readme(lab):
    """As it stands there, with a wrapper as one would write it."""
    readme = (ROOT / "extension_kit" / "README.md").read_text()
    found = re.search(r'```python title="a plug-in with a proxy"[^\n]*\n(.*?)```', readme, re.DOTALL)
    folder = lab.folder / "task"
    folder.mkdir()
    (folder / "app.py").write_text(HANDLER)
    bootstrap = folder / "bootstrap"
    program = f"{sys.executable} -m awslambdaric app.handler"
    bootstrap.write_text(WRAPPER.replace(PORT, "/tmp/.extension-kit/proxying/port") % program)
    bootstrap.chmod(0o755)
    environment = lab.start(lab.plugin("proxying", found.group(1)), bootstrap=bootstrap)

    assert lab.invoke(environment, {"n": "maintenance"}).payload == b'{"statusCode": 503}'
    assert json.loads(lab.invoke(environment, {"n": 2}).payload)["n"] == 2
    has_run(lab, environment, ["2"])
