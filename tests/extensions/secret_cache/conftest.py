"""The secret cache on free ports against a strict AWS, a caller that sends exactly what a test says, and a clock that jumps."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import closing

import pytest

from extension_kit.io.clock import Clock
from extension_kit.io.ports import open_port
from extension_kit.protocol import http1
from extensions.secret_cache.service import Service
from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings
from tests.receivers.aws import AwsFake

TOKEN = "function-session-token"  # noqa: S105 - the fake's


class SteppedClock(Clock):
    """Real time, with a wall clock that can be set."""

    __slots__ = ("ahead_ms",)

    def __init__(self) -> None:
        self.ahead_ms = 0

    def wall_ms(self):
        return super().wall_ms() + self.ahead_ms


class Answer:
    """One answer, read with our codec and kept as it came."""

    def __init__(self, message):
        self.status = message.head.status
        self.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message.head.headers}
        self.body = message.body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def value(self):
        """Of a secret or a parameter."""
        found = self.json
        return found["Parameter"]["Value"] if "Parameter" in found else found["SecretString"]

    @property
    def cache(self):
        return self.headers.get("x-cache")

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body!r}"


class Running:
    """A service that runs, and how to ask it."""

    def __init__(self, environ, clock):
        self.counters = {}
        self.said = []
        self.clock = clock
        settings, warnings = SecretCacheSettings.parse(environ)
        appconfig, more = AppConfigSettings.parse(environ)
        self.said += [("warning", line) for line in (*warnings, *more)]
        self.service = Service(
            settings, appconfig, environ, clock, say=lambda level, text: self.said.append((level, text)),
            count=self._count, home=("us-east-1", "111122223333"), function="hello",
        )  # fmt: skip
        self.port = self._listen(self.service.serve)
        self.appconfig_port = self._listen(self.service.serve_configurations)

    def _listen(self, serve):
        sockets = open_port(("any", 0, (), ""), print)
        port = sockets[0].getsockname()[1]
        serve(sockets)
        return port

    def _count(self, name, n):
        self.counters[name] = self.counters.get(name, 0) + n

    def start(self):
        self.service.start()
        self.invoke()
        return self

    def invoke(self, seconds=30):
        """An invocation begins, which ends in so many seconds."""
        self.service.invoked(self.clock.wall_ms() + seconds * 1000)
        self.settle()

    def settle(self):
        """Until the loop has done what was handed in."""
        done = threading.Event()
        self.service.loop.call_soon_threadsafe(done.set)
        assert done.wait(10)

    def calm(self):
        """Until nobody asks AWS any more, and what came back is kept."""
        self.unasked()
        self.settle()

    def unasked(self):
        """Until nobody asks AWS any more."""
        limit = time.monotonic() + 15
        while any(self.service.calls_running.values()):
            assert time.monotonic() < limit, "a call to AWS does not end"
            time.sleep(0.005)

    def close(self):
        """Once nobody asks AWS any more, so that no connection to it is left."""
        self.unasked()
        self.service.restored(snapshot=False)  # closes connections to AWS
        self.service.stop()

    def connect(self, port=None):
        return socket.create_connection(("127.0.0.1", port or self.port), 10)

    def raw(self, data, port=None):
        """What comes back for bytes; b"" where the connection is closed without a word."""
        with closing(self.connect(port)) as connection:
            connection.sendall(data)
            return read(connection)

    def get(self, target, token=TOKEN, port=None, method="GET", **headers):
        fields = {"Host": f"localhost:{port or self.port}", "X-Aws-Parameters-Secrets-Token": token}
        fields.update({name.replace("_", "-"): value for name, value in headers.items()})
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
        answer = self.raw(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode(), port)
        assert isinstance(answer, Answer), answer
        return answer

    def secret(self, id, more="", **headers):
        return self.get(f"/secretsmanager/get?secretId={id}{more}", **headers)

    def parameter(self, name, more="", **headers):
        return self.get(f"/systemsmanager/parameters/get?name={name}{more}", **headers)

    def configuration(self, path="/applications/app/environments/env/configurations/profile", **headers):
        return self.get(path, None, self.appconfig_port, **headers)


def read(connection):
    """One answer from a connection; b"" where there is none."""
    reader = http1.MessageReader(http1.CLIENT)
    while True:
        message = reader.next_message()
        if isinstance(message, http1.Message):
            return Answer(message)
        try:
            data = connection.recv(65_536)
        except ConnectionError:
            return b""
        if not data:
            return b""
        reader.receive(data)


@pytest.fixture
def aws():
    with AwsFake() as fake:
        yield fake


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def serve(aws, clock):
    """Starts a service; keyword arguments are variables of its environment, "" for one that is not set."""
    running = []

    def start(*, started=True, **variables):
        environ = {
            **aws.environ(),
            "SECRET_CACHE_JITTER": "0",
            **{name: str(value) for name, value in variables.items()},
        }
        running.append(Running({name: value for name, value in environ.items() if value}, clock))
        return running[-1].start() if started else running[-1]

    yield start
    for one in running:
        one.close()


@pytest.fixture
def cache(serve):
    return serve()
