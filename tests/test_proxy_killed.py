"""Either end dies at any moment: the other one hears of it, nothing hangs, no connection and no thread stays.

Where is drawn with a seed; KIT_TESTS_EXCHANGES (`make soak`) says how often, by the dozen.
"""

from __future__ import annotations

import _thread
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from extension_kit.protocol import http1
from extension_kit.proxy import Hooks, RuntimeProxy, Stream
from tests.conftest import ROOT
from tests.proxying import OK, PATIENCE, Runtime, Upstream, event, posted
from tests.test_proxy_fidelity import Idle, Reading

CASES = max(40, int(os.environ.get("KIT_TESTS_EXCHANGES", "0")) // 12)
MEGABYTE = 1_048_576


class Streaming(Hooks):
    """All answers pass a transform."""

    def on_response(self, _invocation, _response):
        return Stream(lambda chunks: (chunk for chunk in chunks))


HOOKS = {"none": lambda: None, "idle": Idle, "reading": Reading, "streaming": Streaming}


class Hurried:
    """A clock that does not wait."""

    def sleep(self, seconds):
        pass


class Stage:
    """The proxy, with a runtime that has been served an event, so that hooks see its answer."""

    def __init__(self, hooks):
        self.threads = _thread._count()
        self.upstream = Upstream()
        self.proxy = RuntimeProxy(self.upstream.address, hooks, say=lambda text: None, clock=Hurried())
        self.port = self.proxy.listen()
        self.proxy.serve()
        self.runtime = Runtime(self.port)
        self.runtime.ask()
        self.platform = self.upstream.accept()
        self.platform.message()
        self.platform.send(event(b"r1"))
        self.runtime.message()

    def nothing_is_left(self):
        """No connection, and after `close` no thread."""
        until(lambda: self.proxy.figures()["connections"] == 0)
        self.proxy.close()
        self.upstream.close()
        until(lambda: _thread._count() <= self.threads)


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def die(rng, peer):
    peer.reset() if rng.random() < 0.5 else peer.close()


def swallow(peer):
    """Read until it ends, then close: as anyone does whose peer has gone. What has come."""
    data, _how = peer.rest()
    peer.close()
    return data


def push(peer, data):
    """Write what the other one still takes."""
    try:
        peer.sock.sendall(data)
    except OSError:
        pass


def request(rng, kind):
    """A response of the function, whole."""
    size = rng.choice((0, 500, 100_000, 300_000, 2 * MEGABYTE))
    head = b"POST %b HTTP/1.1\r\nHost: x\r\n" % posted(b"r1", rng.choice((b"response", b"error")))
    body = rng.randbytes(size)
    if kind == "chunks":
        chunks = [http1.encode_chunk(body[at : at + 40_000]) for at in range(0, size, 40_000)]
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % size + body


def offset(rng, data):
    """Anywhere, and more often where something begins or ends."""
    head = data.find(b"\r\n\r\n") + 4
    return rng.choice((0, 1, head - 1, head, head + 1, len(data) - 1, len(data), rng.randrange(len(data) + 1)))


def the_runtime_dies_asking(rng, stage, data):
    cut = min(offset(rng, data), len(data))
    reader = threading.Thread(target=swallow, args=(stage.platform,))
    reader.start()
    stage.runtime.send(data[:cut])
    die(rng, stage.runtime)
    reader.join(PATIENCE)
    assert not reader.is_alive()


def the_platform_dies_listening(rng, stage, data):
    cut = min(offset(rng, data), len(data))
    writer = threading.Thread(target=push, args=(stage.runtime, data))
    writer.start()
    if stage.kind in ("none", "idle"):
        stage.platform.exactly(cut)
    elif cut:  # other bytes, as many or fewer
        stage.platform.sock.recv(cut)
    stage.upstream.refuse()
    die(rng, stage.platform)
    writer.join(PATIENCE)
    swallow(stage.runtime)
    assert not writer.is_alive()


def an_answer(rng):
    size = rng.choice((0, 500, 100_000, 300_000, 2 * MEGABYTE))
    return event(b"r2", rng.randbytes(size))


def the_platform_dies_answering(rng, stage, _data):
    answer = an_answer(rng)
    cut = min(offset(rng, answer), len(answer))
    stage.runtime.ask()
    stage.platform.message()
    got = []
    reader = threading.Thread(target=lambda: got.append(swallow(stage.runtime)))
    reader.start()
    push(stage.platform, answer[:cut])
    stage.upstream.refuse()
    die(rng, stage.platform) if cut < len(answer) else stage.platform.close()
    if cut == len(answer):
        until(lambda: stage.proxy.figures()["exchanges"] >= 2 or got)
        stage.runtime.sock.shutdown(2)
    reader.join(PATIENCE)
    assert not reader.is_alive()
    assert answer.startswith(got[0])


def the_runtime_dies_hearing(rng, stage, _data):
    answer = an_answer(rng)
    cut = min(offset(rng, answer), len(answer))
    stage.runtime.ask()
    stage.platform.message()
    writer = threading.Thread(target=push, args=(stage.platform, answer))
    writer.start()
    assert stage.runtime.exactly(cut) == answer[:cut]
    die(rng, stage.runtime)
    writer.join(PATIENCE)
    assert not writer.is_alive()
    swallow(stage.platform)


WAYS = (the_runtime_dies_asking, the_platform_dies_listening, the_platform_dies_answering, the_runtime_dies_hearing)


@pytest.mark.parametrize("hooks", HOOKS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_at_any_moment(way, hooks):
    rng = random.Random(f"{way.__name__} {hooks}")
    for number in range(CASES // 4):
        data = request(rng, rng.choice(("chunks", "length")))
        stage = Stage(HOOKS[hooks]())
        stage.kind = hooks
        try:
            way(rng, stage, data)
            stage.nothing_is_left()
        except BaseException:
            print(f"{way.__name__}, {hooks}, case {number}")
            raise


PROXY = """
import sys, time
sys.path.insert(0, sys.argv[1])
from extension_kit.proxy import RuntimeProxy
proxy = RuntimeProxy(sys.argv[2])
print(proxy.listen(), flush=True)
proxy.serve()
while True:
    time.sleep(60)
"""


@pytest.fixture
def program():
    """A proxy in a process of its own: starts one for an upstream, (process, port)."""
    started = []

    def start(upstream):
        process = subprocess.Popen(
            [sys.executable, "-ISc", PROXY, str(ROOT), upstream.address], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


def test_upstream_closes_and_the_runtime_asks_while_it_is_frozen(program):
    """Both are there when it thaws: the request goes out on a new connection."""
    upstream = Upstream()
    process, port = program(upstream)
    runtime = Runtime(port)
    runtime.ask()
    platform = upstream.accept()
    platform.message()
    platform.send(event(b"r1"))
    runtime.message()
    runtime.post(b"r1")
    platform.message()
    platform.send(OK)
    runtime.message()
    os.kill(process.pid, signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    platform.close()
    runtime.ask()
    os.kill(process.pid, signal.SIGCONT)
    platform = upstream.accept()
    platform.message()
    platform.send(event(b"r2"))
    assert runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"
    runtime.close()
    upstream.close()


@pytest.mark.parametrize("moment", ["idle", "in next", "in an event"])
def test_the_proxy_itself_is_killed(program, moment):
    """Both ends hear of it at once, as of any process that dies: the platform sees a runtime that has gone."""
    upstream = Upstream()
    process, port = program(upstream)
    runtime = Runtime(port)
    runtime.ask()
    platform = upstream.accept()
    platform.message()
    if moment == "idle":
        platform.send(event(b"r1"))
        runtime.message()
    elif moment == "in an event":
        platform.send(event(b"r1", b"x" * 300_000)[:250_000])
        runtime.exactly(100_000)
    process.send_signal(signal.SIGKILL)
    runtime.rest()
    platform.rest()
    runtime.close()
    upstream.close()


def test_a_freeze_at_any_moment(program):
    """Stopped and resumed again and again while 6 MB pass each way: nothing is lost, nothing ends."""
    upstream = Upstream()
    process, port = program(upstream)
    runtime = Runtime(port)
    body = os.urandom(6 * MEGABYTE)
    runtime.ask()
    platform = upstream.accept()
    platform.message()
    ended = threading.Event()
    freezer = threading.Thread(target=freeze, args=(process, ended))
    freezer.start()
    try:
        for sender, receiver, message in (
            (platform, runtime, event(b"r1", body)),
            (runtime, platform, http1.encode_request(b"POST", posted(b"r1"), ((b"Host", b"x"),), body)),
        ):
            thread = threading.Thread(target=sender.send, args=(message,))
            thread.start()
            assert receiver.message().body == body
            thread.join(PATIENCE)
    finally:
        ended.set()
        freezer.join(PATIENCE)
    platform.send(http1.encode_response(202))
    assert runtime.message().head.status == 202
    runtime.close()
    upstream.close()


def freeze(process, ended):
    while not ended.is_set():
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.003)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.001)


def test_memory_is_bounded_at_6_mb(program):
    """Twenty events and answers of 6 MB: at most 16 MB have been resident, the interpreter included."""
    upstream = Upstream()
    process, port = program(upstream)
    runtime = Runtime(port)
    body = os.urandom(6 * MEGABYTE)
    for number in range(20):
        runtime.ask()
        if number == 0:
            platform = upstream.accept()
        platform.message()
        for sender, receiver, message in (
            (platform, runtime, event(b"r1", body)),
            (
                runtime,
                platform,
                http1.encode_request(b"POST", posted(b"r1"), ((b"Host", b"x"),), body),
            ),
        ):
            thread = threading.Thread(target=sender.send, args=(message,))
            thread.start()
            assert receiver.message().body == body
            thread.join(PATIENCE)
        platform.send(http1.encode_response(202))
        runtime.message()
    with open(f"/proc/{process.pid}/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024
    runtime.close()
    upstream.close()
    assert peak <= 16
