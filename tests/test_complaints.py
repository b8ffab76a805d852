"""What users of other extensions suffer, one test for each complaint that a runner can cure.

The complaint and where it was made stand in each docstring; the numbers are those of the project's list of complaints.
"""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest

from extension_kit.io.client import ExtensionsClient
from tests.scripted_api import REGISTERED, SHUTDOWN, Server, answer


def test_complaint_1_cold_start_does_not_wait_for_plugins_to_be_imported(lab):
    """DataDog/datadog-lambda-extension 188: +0.5 to 1 s of cold start. A plug-in that is slow to import holds nothing back."""
    function = lab.function("def handler(event, context): return 1\n")
    (function / "slow_plugin.py").write_text(
        "import time\ntime.sleep(0.5)\nprint('imported', flush=True)\n"
        "from extension_kit import Plugin\nclass Slow(Plugin):\n    name = 'slow'\n"
    )
    script = f"sys.path.insert(0, {str(function)!r})\nsys.path.insert(0, '/var/task')\nrun('slow_plugin:Slow')"
    environment = lab.start(lab.plugin("ext", script), function=function)
    lab.invoke(environment)

    told = [
        event.get("text") or event["kind"] for event in environment.log.of_kind("registered", "log", "process_start")
    ]
    started = [event["party"] for event in environment.log.of_kind("process_start")]
    assert told.index("registered") < told.index("imported")
    assert started == ["ext", "runtime"]
    assert [text for text in told if text in ("process_start", "imported")] == ["process_start"] * 2 + ["imported"]


@pytest.mark.parametrize("wrong", ["class Bad(Plugin):\n    name = ''\n", "Bad = 'not_there:Bad'\n"])
def test_complaint_6_a_wrong_setting_or_key_never_takes_the_function_down(wrong, lab):
    """DataDog/datadog-lambda-python 230: a bad key was Extension.Crash. Here: one clear line, and polling goes on."""
    environment = lab.start(lab.plugin("ext", wrong + "run(Bad)"), variables={"EXTENSION_KIT_ON_FAILURE": "explode"})
    for _ in range(3):
        assert lab.invoke(environment).function_error == ""
    environment.idle(5)
    environment.shutdown()

    lines = lab.lines(environment, "ext")
    assert len(lines) == 2
    assert "EXTENSION_KIT_ON_FAILURE" in lines[0]
    assert "the function goes on without it" in lines[1]
    assert environment.platform.healthy


def test_complaint_7_next_has_no_time_limit():
    """getsentry/sentry-javascript 24218: the HTTP client's own limit of 300 s ended the poll."""
    asked = threading.Event()

    class Late(Server):
        def _serve(self, connection) -> None:
            connection.recv(65536)
            connection.sendall(REGISTERED)
            connection.recv(65536)
            asked.set()
            hold.wait(10)
            connection.sendall(answer(SHUTDOWN))
            self._answers.clear()

    hold = threading.Event()
    server = Late([b"unused"])
    server.start()
    client = ExtensionsClient(server.address)
    client.register("ext", ("INVOKE",))
    events: list[object] = []
    waiting = threading.Thread(target=lambda: events.append(client.next()))
    waiting.start()
    assert asked.wait(10)
    assert client._sock is not None
    assert client._sock.gettimeout() is None
    hold.set()
    waiting.join(10)
    client.close()

    assert [type(event).__name__ for event in events] == ["Shutdown"]


def test_complaint_7_a_long_freeze_is_no_failure(lab):
    """Stopped and continued between two invokes, as Lambda freezes: the same connection goes on."""
    script = "class P(Plugin):\n    name = 'p'\n    def on_invoke(self, event): say('seen')\nrun(P())"
    environment = lab.start(lab.plugin("ext", script), freeze=False)
    lab.invoke(environment)
    environment.idle(5)
    pid = next(event["pid"] for event in environment.log.of_kind("process_start") if event["party"] == "ext")
    os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(0.5)
    os.kill(pid, signal.SIGCONT)
    lab.invoke(environment)
    environment.idle(5)

    assert lab.lines(environment, "ext") == ["seen", "seen"]


def test_complaint_11_an_init_inside_an_invoke_is_shown_and_does_not_starve_the_handler(lab):
    """DataDog PR 180: a short timeout, an init inside the invoke, a handler without time. A slow start has a budget."""
    script = (
        "class P(Plugin):\n    name = 'p'\n    budgets = {'start': 0.1}\n"
        "    def start(self, context): time.sleep(60)\nrun(P())"
    )
    function = lab.function("import time\ndef handler(event, context): time.sleep(event); return 'done'\n")
    environment = lab.start(lab.plugin("ext", script), function=function, timeout=1.0)

    assert lab.invoke(environment, 9).error_type == "Sandbox.Timedout"
    assert lab.invoke(environment, 0.0).payload == b'"done"'
    assert [event["phase"] for event in environment.log.of_kind("init_start")] == ["init", "invoke"]


def test_complaint_17_an_invoke_waits_for_the_first_next_and_sockets_outlive_sigterm(lab):
    """floci-io/floci 1771: emulators that start an extension without waiting for it, and hang up before SHUTDOWN."""
    script = "register()\ntime.sleep(0.3)\nsay('ready')\nloop()"
    environment = lab.start(lab.extension("ext", script))
    lab.invoke(environment)
    environment.idle(5)
    environment.shutdown()

    kinds = [(event["kind"], event.get("text") or event.get("signal", "")) for event in environment.log.events]
    assert kinds.index(("log", "ready")) < [kind for kind, _text in kinds].index("response")
    assert kinds.index(("signal", "SIGTERM")) < kinds.index(("log", "SHUTDOWN"))
    assert lab.exits(environment)["ext"] == "exit status 0"


def test_complaint_21_the_function_keeps_its_own_python_path(lab):
    """open-telemetry/opentelemetry-lambda 1714: a layer's PYTHONPATH. The kit sets none for the function."""
    function = lab.function(
        "import os, sys\ndef handler(event, context):\n"
        "    return [os.environ.get('PYTHONPATH'), [p for p in sys.path if p.startswith('/opt')]]\n"
    )
    script = "class P(Plugin):\n    name = 'p'\nrun(P())"
    environment = lab.start(lab.plugin("ext", script), function=function)

    assert json.loads(lab.invoke(environment).payload) == [None, []]


def test_complaint_24_a_proxy_for_the_world_is_none_for_the_platform(lab):
    """DataDog/datadog-lambda-extension 514: HTTP_PROXY caught the calls to the local API."""
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    script = "class P(Plugin):\n    name = 'p'\n    def on_invoke(self, event): say('seen')\nrun(P())"
    environment = lab.start(lab.plugin("ext", script), variables=proxies)
    lab.invoke(environment)
    environment.idle(5)

    assert lab.lines(environment, "ext") == ["seen"]


def test_complaint_26_a_secret_can_be_there_before_the_functions_own_imports(lab):
    """hashicorp/vault-lambda-extension 31: the function's static code ran before the secret was on disk."""
    script = """
class Early(Plugin):
    name = "early"
    def before_register(self, context):
        time.sleep(0.3)
        with open("/tmp/secret", "w") as file:
            file.write("there")
run(Early())
"""
    function = lab.function("SECRET = open('/tmp/secret').read()\ndef handler(event, context): return SECRET\n")
    environment = lab.start(lab.plugin("ext", script), function=function)

    assert lab.invoke(environment).payload == b'"there"'
