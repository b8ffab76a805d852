"""The proxy between a scripted runtime and a scripted upstream: what passes, how, and what happens when one of them is odd."""

from __future__ import annotations

import _socket
import errno
import socket
import subprocess
import sys
import threading
import time

import pytest

from extension_kit.errors import ConfigError
from extension_kit.io import relay
from extension_kit.io.ports import bind
from extension_kit.protocol import http1
from extension_kit.proxy import Hooks, RuntimeProxy
from tests.conftest import ROOT
from tests.proxying import NEXT, OK, PATIENCE, Runtime, Upstream, event, posted

OTHER = ROOT / "tests" / "benchmarks" / "peers" / "python_proxy.py"
HEAD_OF_A_STREAM = (
    b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class Clock:
    """Does not wait; does what the test wants done meanwhile."""

    def __init__(self):
        self.meanwhile = lambda: None
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.meanwhile()


@pytest.fixture
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture
def said():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def proxy(upstream, said, clock):
    made = RuntimeProxy(upstream.address, say=said.append, clock=clock)
    made.port = made.listen()
    made.serve()
    yield made
    made.close()
    assert made.figures()["connections"] == 0


@pytest.fixture
def runtime(proxy):
    made = Runtime(proxy.port)
    yield made
    made.close()


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def served(runtime, upstream, up=None):
    """One event and its answer; upstream's end of the connection."""
    runtime.ask()
    up = up or upstream.accept()
    up.message()
    up.send(event(b"r1"))
    runtime.message()
    runtime.post(b"r1")
    up.message()
    up.send(OK)
    assert runtime.message().head.status == 202
    return up


# what passes


def test_an_event_and_its_answer_pass(proxy, runtime, upstream):
    """As a direct connection would have it: Host names the Runtime API, all else is as it was."""
    runtime.ask()
    up = upstream.accept()
    asked = up.message()
    up.send(event(b"r1", b'{"n":1}'))
    got = runtime.message()
    runtime.post(b"r1", b"[1]", fields=((b"Content-Type", b"text/x"),))
    response = up.message()
    up.send(OK)

    assert asked.head.headers.items == ((b"Host", upstream.address.encode()), (b"User-Agent", b"test"))
    assert (got.body, got.head.headers.get(b"lambda-runtime-aws-tenant-id")) == (b'{"n":1}', b"blue")
    assert bytes(runtime.raw) == event(b"r1", b'{"n":1}')
    assert (response.head.target.split(b"/")[-2:], response.body) == ([b"r1", b"response"], b"[1]")
    assert runtime.message().head.status == 202
    assert (proxy.asked, proxy.figures()["connections"]) == (1, 1)


@pytest.mark.parametrize("spliced", [True, False], ids=["by the kernel", "through a buffer"])
@pytest.mark.parametrize("size", [0, 1, 65_400, 65_536, 200_000, 6 * 1_048_576 + 1])
def test_bodies_of_any_size(monkeypatch, runtime, upstream, size, spliced):
    """Whether the kernel moves them or this process does."""
    if not spliced:
        monkeypatch.setattr(relay.Pipe, "usable", False)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    runtime.ask()
    up = upstream.accept()
    up.message()
    thread = threading.Thread(target=lambda: up.send(event(b"r1", body)))
    thread.start()
    assert runtime.message().body == body
    thread.join(PATIENCE)
    thread = threading.Thread(target=lambda: runtime.post(b"r1", body))
    thread.start()
    assert up.message().body == body
    thread.join(PATIENCE)
    up.send(OK)
    assert runtime.message().head.status == 202
    assert relay.Pipe.usable is spliced


def test_a_streamed_response_passes_chunk_by_chunk(runtime, upstream):
    """Each chunk is upstream before the next one is written; trailers come last."""
    runtime.send(HEAD_OF_A_STREAM)
    up = upstream.accept()
    assert up.exactly(len(HEAD_OF_A_STREAM)) == HEAD_OF_A_STREAM
    for number in range(3):
        chunk = http1.encode_chunk(b"chunk %d" % number)
        runtime.send(chunk)
        assert up.exactly(len(chunk)) == chunk
    end = b"0\r\nLambda-Runtime-Function-Error-Type: X\r\n\r\n"
    runtime.send(end)
    assert up.exactly(len(end)) == end
    up.send(OK)
    assert runtime.message().head.status == 202


@pytest.mark.parametrize("spliced", [True, False], ids=["length", "chunks"])
def test_who_does_not_read_holds_back_who_writes(runtime, upstream, spliced):
    """What is in flight is bounded by the sockets' buffers: nothing is collected."""
    total = 200_000_000
    runtime.send(
        b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total
        if spliced
        else HEAD_OF_A_STREAM
    )
    up = upstream.accept()
    up.sock.recv(10)
    sent, quiet = 0, 0
    piece = b"x" * 65_536 if spliced else http1.encode_chunk(b"x" * 65_536)
    runtime.sock.setblocking(False)
    while quiet < 100 and sent < total // 2:
        try:
            sent += runtime.sock.send(piece)
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.005)

    assert sent < total // 2


def test_the_platform_asks_to_continue(runtime, upstream):
    """The runtime's body waits for the word of the platform, not for ours."""
    runtime.send(
        b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    up = upstream.accept()
    up.sock.recv(65_536)
    up.send(http1.CONTINUE)
    assert runtime.exactly(len(http1.CONTINUE)) == http1.CONTINUE
    runtime.send(b"[1]")
    assert up.exactly(3) == b"[1]"
    up.send(OK)
    assert runtime.exactly(len(OK)) == OK


def test_interim_answers_pass(runtime, upstream):
    runtime.ask()
    up = upstream.accept()
    up.message()
    early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    up.send(early + event(b"r1"))
    assert runtime.exactly(len(early)) == early
    assert runtime.message().head.status == 200


@pytest.mark.parametrize("closes", [False, True], ids=["it stays", "it closes"])
def test_a_refusal_before_the_body_is_through(runtime, upstream, closes):
    """413 reaches a runtime that is still sending; when that gives up, nothing is left of it."""
    head = b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n"
    runtime.send(head)
    up = upstream.accept()
    up.exactly(len(head))
    refusal = http1.encode_response(413, (), b"too large", keep_alive=not closes)
    runtime.send(b"x" * 100_000)
    up.send(refusal)
    if closes:
        up.exactly(100_000)
        up.close()
    assert runtime.exactly(len(refusal)) == refusal
    runtime.close()
    if not closes:
        up.rest()


def test_a_runtime_that_says_all_in_spite_of_a_refusal(runtime, upstream):
    """Its connection can be used again; upstream's, which has not read all, cannot."""
    size = 50_000_000
    head = b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    thread = threading.Thread(target=runtime.send, args=(head, bytes(size)))
    thread.start()
    up = upstream.accept()
    up.exactly(len(head))
    up.send(http1.encode_response(413, (), b"too large"))
    assert runtime.message().head.status == 413
    thread.join(PATIENCE)
    served(runtime, upstream)


def test_a_body_that_was_accepted_early_arrives_whole(runtime, upstream):
    """It may be slow to read it."""
    size = 50_000_000
    head = b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    thread = threading.Thread(target=runtime.send, args=(head, bytes(size)))
    thread.start()
    up = upstream.accept()
    up.exactly(len(head))
    up.send(OK)
    assert runtime.message().head.status == 202
    assert up.exactly(size) == bytes(size)
    thread.join(PATIENCE)
    served(runtime, upstream, up)


def test_one_request_after_the_other_in_one_piece(runtime, upstream):
    """Pipelining: nobody does it; the second one waits for the answer to the first."""
    ask = http1.encode_request(b"GET", NEXT, [(b"Host", b"a")])
    runtime.send(ask + ask)
    up = upstream.accept()
    assert up.exactly(len(ask)) == ask
    up.send(event(b"r1"))
    runtime.message()
    assert up.exactly(len(ask)) == ask
    up.send(event(b"r2"))
    assert runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") == b"r2"


@pytest.mark.parametrize(
    "strange",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300,
        b"GET /2018-06-01/ping HTTP/2.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    ],
    ids=["TLS", "version", "both lengths", "large head", "no chunk"],
)
def test_what_is_no_http_of_ours_passes_as_it_is(proxy, runtime, upstream, strange):
    """Who refuses it is upstream. From there on both ends are tied together."""
    runtime.send(strange)
    up = upstream.accept()
    assert up.exactly(len(strange)) == strange
    up.send(b"what?\r\n")
    assert runtime.exactly(7) == b"what?\r\n"
    runtime.send(b"more")
    assert up.exactly(4) == b"more"
    up.close()
    assert runtime.rest() == (b"", "closed")
    assert proxy.figures()["tunnelled"] == 1


@pytest.mark.parametrize(
    "strange", [b"220 smtp ready\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"]
)
def test_an_answer_that_is_no_http_of_ours_passes_as_it_is(runtime, upstream, strange):
    runtime.ask()
    up = upstream.accept()
    up.message()
    up.send(strange)
    assert runtime.exactly(len(strange)) == strange
    runtime.send(b"QUIT")
    assert up.exactly(4) == b"QUIT"


def test_no_http_while_a_body_is_on_its_way(runtime, upstream):
    """It passes down; when upstream hangs up, it is over."""
    head = b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n"
    runtime.send(head)
    up = upstream.accept()
    up.exactly(len(head))
    up.send(b"\0\1\2")
    assert runtime.exactly(3) == b"\0\1\2"
    up.close()
    runtime.send(b"x" * 1_000)
    runtime.rest()


def test_upstream_says_no_more_while_a_body_is_on_its_way(runtime, upstream):
    """Half of its connection: the runtime hears that, and its body arrives."""
    head = b"POST " + posted(b"r1") + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    runtime.send(head)
    up = upstream.accept()
    up.exactly(len(head))
    up.sock.shutdown(socket.SHUT_WR)
    assert runtime.rest() == (b"", "closed")
    runtime.send(b"12345")
    assert up.exactly(5) == b"12345"


def test_what_upstream_says_without_being_asked_is_no_answer(runtime, upstream):
    """More than the answer: the next request goes over a connection that has nothing of it."""
    runtime.ask()
    up = upstream.accept()
    up.message()
    up.send(event(b"r1") + event(b"r2"))
    assert runtime.message().head.status == 200
    served(runtime, upstream)


def test_an_upgrade_passes(runtime, upstream):
    runtime.send(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
    up = upstream.accept()
    up.sock.recv(65_536)
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\nhello"
    up.send(switched)
    assert runtime.exactly(len(switched)) == switched
    runtime.send(b"hi")
    assert up.exactly(2) == b"hi"


# connections


def test_many_runtimes_wait_at_the_same_time(proxy, upstream):
    """Managed Instances: each has its own connection upstream, and gets its own event."""
    runtimes = [Runtime(proxy.port) for _ in range(40)]
    for runtime in runtimes:
        runtime.ask()
    ups = [upstream.accept() for _ in runtimes]
    for up in ups:
        up.message()
    for number, up in enumerate(ups):
        up.send(event(b"r%d" % number))
    got = {runtime.message().head.headers.get(b"lambda-runtime-aws-request-id") for runtime in runtimes}

    assert got == {b"r%d" % number for number in range(40)}
    assert proxy.asked == 40
    for runtime in runtimes:
        runtime.close()
    until(lambda: proxy.figures()["connections"] == 0)
    assert (proxy.asked, proxy.figures()["exchanges"]) == (40, 40)


def test_an_idle_connection_that_upstream_closes(proxy, runtime, upstream):
    """The runtime's stays; the next request makes a new one."""
    up = served(runtime, upstream)
    up.close()
    served(runtime, upstream)
    assert proxy.figures()["connections"] == 1


def test_an_idle_connection_that_the_runtime_closes(runtime, upstream):
    up = served(runtime, upstream)
    runtime.close()
    assert up.rest() == (b"", "closed")


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_upstream_goes_before_it_answers(runtime, upstream, how):
    """The runtime's connection ends the same way; what may have been heard is not said twice."""
    runtime.ask()
    up = upstream.accept()
    up.message()
    up.reset() if how == "reset" else up.close()
    assert runtime.rest() == (b"", how)


@pytest.mark.parametrize("how", ["closed", "reset"])
def test_the_runtime_goes_while_it_waits(runtime, upstream, how):
    """Upstream must know: an event that nobody reads would be lost."""
    runtime.ask()
    up = upstream.accept()
    up.message()
    runtime.reset() if how == "reset" else runtime.close()
    assert up.rest() == (b"", how)


def test_half_a_connection_passes(runtime, upstream):
    """A runtime that will say no more is still answered."""
    runtime.ask()
    up = upstream.accept()
    up.message()
    runtime.sock.shutdown(socket.SHUT_WR)
    assert up.rest() == (b"", "closed")
    up.send(event(b"r1"))
    assert runtime.message().head.status == 200
    up.close()
    assert runtime.rest() == (b"", "closed")


def test_connection_close_is_kept(runtime, upstream):
    runtime.send(http1.encode_request(b"GET", NEXT, [(b"Host", b"a"), (b"Connection", b"close")]))
    up = upstream.accept()
    assert not up.message().head.keep_alive
    up.send(event(b"r1"))
    runtime.message()
    assert runtime.rest() == (b"", "closed")
    assert up.rest() == (b"", "closed")


def test_upstream_is_away(proxy, runtime, upstream, said, clock):
    """It is tried a few times, since nothing has been sent; then the runtime hears what it would have heard."""
    upstream.refuse()
    runtime.ask()
    assert runtime.rest() == (b"", "reset")
    assert len(clock.slept) == 3
    assert said == [f"{upstream.address} cannot be reached: Connection refused"]
    assert proxy.asked == 1


def test_upstream_is_away_for_a_moment(runtime, upstream, said, clock):
    upstream.refuse()
    back = []
    clock.meanwhile = lambda: back.append(bind("127.0.0.1", upstream.port)) if not back else None
    runtime.ask()
    until(lambda: back)
    fd, _address = back[0]._accept()
    with socket.socket(fileno=fd) as up:
        assert up.recv(65_536).startswith(b"GET ")
    assert runtime.rest() == (b"", "closed")  # what was sent is not sent again
    back[0].close()
    assert said == []


def test_after_a_restore_connections_are_made_anew(proxy, runtime, upstream):
    """One that an answer is awaited on is left: its answer may well come."""
    first = served(runtime, upstream)
    proxy.forget()
    second = served(runtime, upstream)
    assert first.rest() == (b"", "closed")
    runtime.ask()
    second.message()
    proxy.forget()
    second.send(event(b"r1"))
    assert runtime.message().head.status == 200
    served(runtime, upstream)


def test_nobody_can_connect_from_elsewhere(proxy, runtime):
    """It listens on 127.0.0.1 alone, where the wrapper looks for it: any other address of this machine refuses."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", proxy.port), PATIENCE)


def test_who_connects_before_it_serves_waits(upstream, said):
    """As while the interpreter boots: the launcher listens."""
    sockets = [bind("127.0.0.1"), bind("127.0.0.1")]
    proxy = RuntimeProxy(upstream.address, say=said.append)
    assert proxy.listen(sockets) == sockets[0].getsockname()[1]
    runtimes = [Runtime(sock.getsockname()[1]) for sock in sockets]
    for runtime in runtimes:
        runtime.ask()
    proxy.serve()
    for runtime in runtimes:
        up = upstream.accept()
        up.message()
        runtime.close()
    proxy.close()
    proxy.close()
    assert said == []


def test_connections_are_bounded(monkeypatch, proxy, upstream, said, clock):
    """More wait in the backlog until one ends."""
    monkeypatch.setattr("extension_kit.proxy.MAX_CONNECTIONS", 1)
    clock.meanwhile = lambda: time.sleep(0.001)
    first, second = Runtime(proxy.port), Runtime(proxy.port)
    served(first, upstream)
    second.ask()
    until(lambda: said)
    assert said == ["1 connections are open: more must wait until one of them ends"]
    assert proxy.figures()["connections"] == 1
    first.close()
    upstream.accept().message()
    second.close()


def test_no_thread_can_be_had(monkeypatch, proxy, upstream, said):
    """The connection is closed, as one that nobody takes; the next one may have more luck."""

    class NoThreads:
        allocate_lock = staticmethod(threading.Lock)

        @staticmethod
        def start_new_thread(_function, _arguments):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr("extension_kit.proxy._thread", NoThreads)
    unlucky = Runtime(proxy.port)
    unlucky.rest()
    unlucky.close()
    monkeypatch.undo()
    lucky = Runtime(proxy.port)
    served(lucky, upstream)
    lucky.close()
    assert said == ["no thread can be had for a connection: can't start new thread"]


def test_no_descriptor_is_left(monkeypatch, upstream, said, clock):
    """Accept is tried again."""
    proxy = RuntimeProxy(upstream.address, say=said.append, clock=clock)
    port = proxy.listen()
    proxy._listeners[0] = Exhausted(proxy._listeners[0])
    proxy.serve()
    runtime = Runtime(port)
    served(runtime, upstream)
    runtime.close()
    proxy.close()
    assert said == ["a connection cannot be taken: Too many open files"]
    assert clock.slept == [0.1]


def test_no_descriptor_is_left_for_upstream(monkeypatch, runtime, upstream, said, clock):
    """Tried again, as any connection that cannot be had: the runtime does not notice."""

    class Few:
        failures = 1

        def __getattr__(self, name):
            return getattr(_socket, name)

        def socket(self, *given):
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return _socket.socket(*given)

    monkeypatch.setattr("extension_kit.proxy_connection._socket", Few())
    served(runtime, upstream)
    assert (said, clock.slept) == ([], [0.1])


class Exhausted:
    """A listening socket that fails once."""

    def __init__(self, listener):
        self._listener = listener
        self._failed = False

    def _accept(self):
        if not self._failed:
            self._failed = True
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener._accept()

    def __getattr__(self, name):
        return getattr(self._listener, name)


def test_what_nobody_has_thought_of_ends_one_connection(monkeypatch, proxy, runtime, upstream, said):
    """A fault of ours is said, and the runtime sees a connection that is reset."""
    monkeypatch.setattr("extension_kit.proxy_connection.request_from", lambda *arguments: 1 / 0)
    runtime.ask()
    assert runtime.rest() == (b"", "reset")
    assert said == ["a connection is given up: ZeroDivisionError: division by zero"]
    monkeypatch.undo()
    other = Runtime(proxy.port)
    served(other, upstream)
    other.close()


def test_closing_ends_what_is_under_way(upstream, said):
    proxy = RuntimeProxy(upstream.address, say=said.append)
    runtime = Runtime(proxy.listen())
    proxy.serve()
    runtime.ask()
    up = upstream.accept()
    up.message()
    proxy.close()
    assert runtime.rest()[0] == up.rest()[0] == b""
    runtime.close()
    assert proxy.figures()["connections"] == 0
    with pytest.raises(ConnectionError):
        Runtime(int(proxy.own_port[1:]))
    assert said == []


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "host:0", "host:65536", "host:٣"])
def test_an_upstream_that_is_no_address(address):
    with pytest.raises(ConfigError, match="HOST:PORT is wanted"):
        RuntimeProxy(address)


def test_ipv6_upstream(said):
    try:
        listener = bind("::1")
    except OSError:
        pytest.skip("no IPv6 here")
    port = listener.getsockname()[1]
    proxy = RuntimeProxy(f"[::1]:{port}", say=said.append)
    runtime = Runtime(proxy.listen())
    proxy.serve()
    runtime.ask()
    fd, _address = listener._accept()
    with socket.socket(fileno=fd) as up:
        assert b"Host: [::1]:%d\r\n" % port in up.recv(65_536)
    runtime.close()
    proxy.close()
    listener.close()


# hooks come and go


class Counting(Hooks):
    def __init__(self):
        self.events = 0

    def on_event(self, _invocation):
        self.events += 1


def test_hooks_may_be_set_and_unset_at_any_time(proxy, runtime, upstream):
    """Without any nothing is looked at; an event that is under way is answered in any case."""
    hooks = Counting()
    up = served(runtime, upstream)
    assert proxy.steering is None
    proxy.hooks = hooks
    served(runtime, upstream, up)
    runtime.ask()
    up.message()
    up.send(event(b"r2"))
    runtime.message()
    proxy.hooks = None
    assert proxy.steering is not None
    runtime.post(b"r2")
    up.message()
    up.send(OK)
    runtime.message()
    served(runtime, upstream, up)
    assert (hooks.events, proxy.steering, proxy.open) == (2, None, {})


def test_hooks_that_override_nothing_cost_nothing(proxy):
    proxy.hooks = Hooks()
    assert proxy.steering is None


# chains


@pytest.fixture
def other():
    """Somebody else's proxy (http.server), for an upstream: its port."""
    started = []

    def start(address):
        process = subprocess.Popen(
            [sys.executable, "-ISu", str(OTHER)], stdout=subprocess.PIPE, env={"PROXY_UPSTREAM": address}
        )
        started.append(process)
        return int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()


@pytest.mark.parametrize("order", ["ours first", "ours last"])
@pytest.mark.parametrize("hooked", [False, True])
def test_in_a_row_with_somebody_else_s_proxy(other, upstream, said, order, hooked):
    """Their wrapper after ours, or ours after theirs; they read whole messages, and add what they like."""
    hooks = Counting() if hooked else None
    address = f"127.0.0.1:{other(upstream.address)}" if order == "ours first" else upstream.address
    proxy = RuntimeProxy(address, hooks, say=said.append)
    port = proxy.listen()
    proxy.serve()
    runtime = Runtime(port if order == "ours first" else other(f"127.0.0.1:{port}"))
    up = None
    for number in range(5):
        body = bytes([number]) * (number * 200_000)
        runtime.ask()
        up = up or upstream.accept()
        assert up.message().head.target == NEXT
        thread = threading.Thread(target=up.send, args=(event(b"r1", body),))
        thread.start()
        got = runtime.message()
        thread.join(PATIENCE)
        assert (got.body, got.head.headers.get(b"lambda-runtime-aws-tenant-id")) == (body, b"blue")
        thread = threading.Thread(target=runtime.post, args=(b"r1", body), kwargs={"fields": ((b"X-A", b"b"),)})
        thread.start()
        got = up.message()
        thread.join(PATIENCE)
        assert (got.body, got.head.headers.get(b"x-a")) == (body, b"b")
        up.send(OK)
        assert runtime.message().head.status == 202
    assert hooks is None or hooks.events == 5
    runtime.close()
    proxy.close()
    assert said == []
