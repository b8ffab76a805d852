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
BEFORE_NEXT = BEFORE_REGISTER | {
    "_json", "extension_kit.declarations", "extension_kit.events", "extension_kit.host", "extension_kit.io.clock",
    "extension_kit.plugin",
    "extension_kit.protocol.jsontext", "extension_kit.protocol.lifecycle", "extension_kit.protocol.values",
    "extension_kit.settings",
    "extensions", "extensions.metrics_collector", "extensions.metrics_collector.plugin",
    "extensions.metrics_collector.sampling", "extensions.metrics_collector.settings",
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
run("extensions.metrics_collector.plugin:MetricsCollector", name="ext")
"""


@pytest.fixture
def loaded():
    """Modules at the connection for `register`, and at the first `next`."""
    with create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: x\r\nContent-Length: 2\r\n\r\n{}")
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"eventType":"SHUTDOWN"}')
                connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", SCRIPT],
            env={"AWS_LAMBDA_RUNTIME_API": address}, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        thread.join(10)
    assert done.returncode == 0, done.stderr
    return [set(modules) for modules in json.loads(done.stdout.splitlines()[0])]


def test_nothing_needless_is_imported_before_register(loaded):
    """Each module here is paid for while the runtime waits."""
    assert loaded[0] - BEFORE_REGISTER == set()


def test_nothing_needless_is_imported_before_the_first_next(loaded):
    """Each module here competes with the function's own start."""
    assert loaded[1] - BEFORE_NEXT == set()
