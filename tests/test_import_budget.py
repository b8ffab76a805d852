"""What an extension may have loaded when its registration leaves the process, and when it first asks for an event."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from socket import create_server

import pytest

ROOT = Path(__file__).parents[1]

#: everything of ours, and of the standard library beyond what a bare isolated interpreter has loaded
BEFORE_REGISTER = {
    "__future__", "_socket", "extension_kit", "extension_kit.errors", "extension_kit.io", "extension_kit.io.client",
    "extension_kit.io.environ", "extension_kit.protocol", "extension_kit.protocol.extensions_api", "extension_kit.runner",
}  # fmt: skip
#: an extension without telemetry
BEFORE_NEXT = BEFORE_REGISTER | {
    "_json", "_posixsubprocess", "_signal", "extension_kit.declarations", "extension_kit.egress", "extension_kit.events",
    "extension_kit.host", "extension_kit.io.clock", "extension_kit.plugin",
    "extension_kit.protocol.jsontext", "extension_kit.protocol.lifecycle", "extension_kit.protocol.values",
    "extension_kit.settings",
}  # fmt: skip
#: in a script, where no layer says what may be done
IN_A_SCRIPT = BEFORE_NEXT | {"extension_kit.egress_manifest"}
#: what a subscription needs besides: a listener and a store, since the platform delivers from then on
SUBSCRIBED = {
    "errno", "extension_kit.cursor", "extension_kit.flush", "extension_kit.flusher", "extension_kit.io.listener",
    "extension_kit.io.loop", "extension_kit.io.ports", "extension_kit.io.server", "extension_kit.protocol.deadline",
    "extension_kit.protocol.http1",
    "extension_kit.protocol.telemetry_api", "extension_kit.segments", "extension_kit.spool", "extension_kit.telemetry",
    "fcntl", "select", "zlib",
}  # fmt: skip
COLLECTOR = {
    "extensions", "extensions.metrics_collector", "extensions.metrics_collector.plugin",
    "extensions.metrics_collector.proc", "extensions.metrics_collector.sampling", "extensions.metrics_collector.settings",
    "extension_kit.io.freeze",  # it has a hook that is told of snapshots
    # the collector's own: statvfs and sysconf live there
    "_collections_abc", "_stat", "genericpath", "os", "os.path", "posixpath", "stat", "_sitebuiltins",
}  # fmt: skip

SCRIPT = f"""
import sys
bare = set(sys.modules)
sys.path.insert(0, {str(ROOT)!r})
loaded = []
def watch(event, arguments):
    if event == "socket.connect" or event == "extension-kit-test":
        loaded.append(sorted(set(sys.modules) - bare))
sys.addaudithook(watch)
from extension_kit.runner import run
from extension_kit.io import client
original = client.ExtensionsClient.next
def next(self):
    sys.audit("extension-kit-test")
    import json
    print(json.dumps(loaded), flush=True)
    return original(self)
client.ExtensionsClient.next = next
"""
PLAIN = """
from extension_kit.plugin import Plugin
class Plain(Plugin):
    name = "plain"
    def on_invoke(self, event): pass
run(Plain, name="ext")
"""
LAUNCHED = PLAIN.replace(
    'run(Plain, name="ext")',
    'from extension_kit.launched import run\nrun("ext", ("__main__:Plain",), ["x", "{}", "-", "http!taken"], may=((), ()))',
)
PROXYING = """
from extension_kit.plugin import Plugin
from extension_kit.proxy import Hooks, RuntimeProxy
class Watch(Hooks):
    def on_event(self, invocation): pass
class Proxying(Plugin):
    name = "proxying"
    def before_register(self, context):
        self.proxy = RuntimeProxy("127.0.0.1:9001", Watch())
        self.proxy.listen()
    def start(self, context):
        self.proxy.serve()
run(Proxying, name="ext")
"""
COLLECTING = 'run("extensions.metrics_collector.plugin:MetricsCollector", name="ext")\n'


def loaded(plugin):
    """Modules at the connection for `register` (where there is one), and at the first `next`."""
    with create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                request = connection.recv(65536)
                if request.startswith(b"POST"):
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: x\r\nContent-Length: 2\r\n\r\n{}"
                    )
                    request = connection.recv(65536)
                if request.startswith(b"PUT"):
                    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"OK"')
                    connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"eventType":"SHUTDOWN"}')
                connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", SCRIPT + plugin],
            env={"AWS_LAMBDA_RUNTIME_API": address}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        thread.join(10)
    assert done.returncode == 0, done.stderr
    return [set(modules) for modules in json.loads(done.stdout.splitlines()[0])]


@pytest.mark.parametrize(
    ("plugin", "allowed"),
    [(PLAIN, IN_A_SCRIPT | {"__main__"}), (COLLECTING, IN_A_SCRIPT | SUBSCRIBED | COLLECTOR)],
    ids=["plain", "with telemetry"],
)
def test_nothing_needless_is_imported(plugin, allowed):
    """Each module before `register` is paid for while the runtime waits; each before the first `next` competes with it."""
    before_register, before_next = loaded(plugin)

    # A class that is handed to `run` was imported, with its base, by its author.
    authors = {"extension_kit.plugin"} if plugin == PLAIN else set()
    assert before_register - BEFORE_REGISTER - authors == set()
    assert before_next - allowed == set()


def test_nothing_needless_is_imported_behind_the_launcher():
    """The launcher has registered: what Python imports until the first `next` is all that there is."""
    at_next = loaded(LAUNCHED)[0]

    assert at_next - (BEFORE_NEXT | {"__main__", "extension_kit.launched"}) == set()


def test_a_proxy_listens_before_the_registration_for_next_to_nothing():
    """It serves when the registration has left."""
    before_register, before_next = loaded(PROXYING)

    listening = {"errno", "extension_kit.io.ports", "extension_kit.proxy", "extension_kit.proxy_hooks"}
    serving = {
        "extension_kit.io.relay", "extension_kit.protocol.http1", "extension_kit.protocol.passing",
        "extension_kit.proxy_bodies", "extension_kit.proxy_connection", "extension_kit.proxy_messages",
        "extension_kit.proxy_steering", "select",
    }  # fmt: skip
    assert before_register - IN_A_SCRIPT - listening - {"__main__"} == set()
    assert before_next - IN_A_SCRIPT - listening - serving - {"__main__"} == set()
