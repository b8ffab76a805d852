"""One server for everything: real sockets, patient and impatient peers, and none that can make it grow or stall."""

from __future__ import annotations

import http.client
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from extension_kit.io import server as server_module
from extension_kit.io.loop import Loop
from extension_kit.io.server import Exchange, Server
from extension_kit.protocol import http1

LIMITS = http1.Limits(max_head=4096, max_body=100_000)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def serving(handler, limits=LIMITS):
    """A server on a loop of its own thread: (port, loop)."""
    loop = Loop()
    server = Server(loop, handler, limits)
    port = server.listen("127.0.0.1")
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield port, loop
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.stop()
        thread.join(10)
        loop.close()
        assert not thread.is_alive()


def echo(exchange: Exchange) -> None:
    exchange.respond(200, [(b"X-Method", exchange.head.method)], exchange.head.target + b"|" + exchange.body)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def read_all(sock: socket.socket) -> bytes:
    """Until the server closes."""
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


def read_answer(sock: socket.socket) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    body = answer.read()
    return answer.status, body


def until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_an_independent_client_is_served_over_one_connection():
    """http.client: Content-Length, chunked, HEAD, one after the other."""
    with serving(echo) as (port, _loop):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("POST", "/a", b"body")
        first = client.getresponse()
        assert (first.status, first.read()) == (200, b"/a|body")
        local = client.sock.getsockname()
        client.request("PUT", "/b", iter([b"one", b"two"]), encode_chunked=True)
        assert client.getresponse().read() == b"/b|onetwo"
        client.request("HEAD", "/c")
        head = client.getresponse()
        assert (head.getheader("Content-Length"), head.read()) == ("3", b"")
        assert client.sock.getsockname() == local
        client.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_is_served_with_expect_continue():
    """A large body, for which curl asks leave first."""
    with serving(echo) as (port, _loop):
        done = subprocess.run(
            ["curl", "-sv", "-H", "Expect: 100-continue", "--data-binary", "@-", f"http://127.0.0.1:{port}/up"],
            input=b"x" * 90_000, capture_output=True, timeout=20, check=True,
        )  # fmt: skip

    assert done.stdout == b"/up|" + b"x" * 90_000
    assert b"100 Continue" in done.stderr


def test_pipelined_requests_are_answered_in_order_even_late():
    """Each waits for the answer before it; the handler answers from a timer."""
    waiting = []

    def late(exchange: Exchange) -> None:
        waiting.append(exchange)
        loop.call_later(0.01, exchange.respond, 200, (), exchange.head.target)

    with serving(late) as (port, loop), connect(port) as sock:
        sock.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
        assert [read_answer(sock)[1] for _ in range(5)] == [b"/%d" % number for number in range(5)]


def test_a_thousand_pipelined_requests_do_not_recurse():
    """Answered inside the handler, each starts the next."""
    with serving(echo) as (port, _loop), connect(port) as sock:
        sender = threading.Thread(
            target=sock.sendall, args=(GET * 999 + GET.replace(b"x\r\n", b"x\r\nConnection: close\r\n"),)
        )
        sender.start()
        assert read_all(sock).count(b"HTTP/1.1 200") == 1000
        sender.join()


def test_a_body_that_comes_byte_by_byte():
    """And a head, and trailers."""
    message = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    seen = []

    def handler(exchange: Exchange) -> None:
        seen.append(exchange.trailers.get(b"x-t"))
        echo(exchange)

    with serving(handler) as (port, _loop), connect(port) as sock:
        for at in range(len(message)):
            sock.sendall(message[at : at + 1])
        assert read_answer(sock) == (200, b"/|abc")
    assert seen == [b"1"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n30000\r\n" + b"x" * 0x30000, 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 5000 + b"\r\n\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
    ids=["length", "chunks", "head", "nonsense", "smuggling", "tls"],
)
def test_what_cannot_be_served_is_answered_and_closed(request_, status):
    """One line that says why; the peer can read it although it goes on sending."""
    with serving(echo) as (port, _loop), connect(port) as sock:
        sock.sendall(request_)
        try:
            sock.sendall(b"x" * 200_000)
        except OSError:
            pass  # the server has stopped listening to us: what it said is still there to read
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        assert answer.status == status
        assert answer.getheader("Connection") == "close"
        assert len(answer.read().splitlines()) == 1


def test_a_handler_that_raises_is_answered_500_and_harms_nobody(capfd):
    """The error is reported; the same connection and others go on."""

    def handler(exchange: Exchange) -> None:
        if exchange.head.target == b"/bad":
            raise ValueError("a bug")
        echo(exchange)

    with serving(handler) as (port, _loop), connect(port) as sock:
        sock.sendall(b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(sock)[0] == 500
        sock.sendall(GET)
        assert read_answer(sock)[0] == 200
    assert "ValueError: a bug" in capfd.readouterr().err


def test_a_peer_that_does_not_read_holds_back_nobody_else():
    """6 MB for one that sleeps; it gets every byte when it wakes."""
    big = os.urandom(6_000_000)

    def handler(exchange: Exchange) -> None:
        exchange.respond(200, (), big if exchange.head.target == b"/big" else b"small")

    with serving(handler) as (port, _loop), connect(port) as slow, connect(port) as quick:
        slow.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        for _ in range(20):
            quick.sendall(GET)
            assert read_answer(quick) == (200, b"small")
        assert read_answer(slow) == (200, big)


def test_an_answer_to_a_peer_that_has_gone_is_told():
    """`respond` returns False, `closed` is true; a second answer is a programming error."""
    held: list[Exchange] = []
    with serving(held.append) as (port, loop):
        with connect(port) as sock:
            sock.sendall(GET)
            until(lambda: held)
        until(lambda: held[0].closed)
        answers: list[object] = []
        loop.call_soon_threadsafe(lambda: answers.append(held[0].respond(200)))
        until(lambda: answers)
        with pytest.raises(RuntimeError, match="answered already"):
            held[0].respond(200)
    assert answers == [False]


def test_requests_that_come_too_early_wait_in_the_socket():
    """While an answer is due, no more than a little is taken in, whatever the peer pipelines."""
    held: list[Exchange] = []
    with serving(held.append) as (port, _loop), connect(port) as sock:
        sock.sendall(GET)
        until(lambda: held)
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):  # the sockets are full: nobody reads
            sock.sendall(GET * 1_000_000)
        assert held[0]._connection._reader.buffered < 1_000_000


@pytest.mark.parametrize(
    ("request_", "closes"),
    [
        (GET, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
    ],
)
def test_a_connection_stays_open_unless_the_peer_wants_otherwise(request_, closes):
    """HTTP/1.1 keeps it, 1.0 and Connection: close do not."""
    with serving(echo) as (port, _loop), connect(port) as sock:
        sock.sendall(request_)
        assert read_answer(sock)[0] == 200
        sock.settimeout(10 if closes else 0.1)
        if closes:
            assert sock.recv(1) == b""
        else:
            with pytest.raises(TimeoutError):
                sock.recv(1)


def test_what_has_not_come_whole_is_bounded_for_all_together():
    """Tiny chunks as well, which cost more than they have; one that is refused gives back its room, and whole ones pass."""
    seen = []
    loop = Loop()
    server = Server(loop, echo, LIMITS)
    server.most_held = 50_000
    server.on_refused = lambda error: seen.append(error.status_hint)
    port = server.listen("127.0.0.1")
    thread = threading.Thread(target=loop.run)
    thread.start()
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    try:
        first, second, third = connect(port), connect(port), connect(port)
        with first, second, third:
            first.sendall(head + b"Content-Length: 40000\r\n\r\n" + b"x" * 39_999)
            end = time.monotonic() + 10
            while server.held < 39_999:  # the one that comes last goes beyond
                assert time.monotonic() < end
                time.sleep(0.005)
            second.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 400)
            assert second.recv(100).startswith(b"HTTP/1.1 413 ")
            third.sendall(head + b"Content-Length: 9000\r\n\r\n" + b"x" * 8_999)
            first.sendall(b"x")
            assert first.recv(100).startswith(b"HTTP/1.1 200 ")
            third.sendall(b"x")
            assert third.recv(100).startswith(b"HTTP/1.1 200 ")
            assert seen == [413]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.stop()
        thread.join(10)
        loop.close()


def test_idle_connections_give_way_to_new_ones(monkeypatch):
    """At the limit the oldest idle one is closed; where all are busy, the new one is."""
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 3)
    held: list[Exchange] = []

    def handler(exchange: Exchange) -> None:
        if exchange.head.target == b"/hold":
            held.append(exchange)
        else:
            echo(exchange)

    with serving(handler) as (port, _loop):
        socks = [connect(port) for _ in range(3)]
        for sock in socks:
            sock.sendall(GET)
            assert read_answer(sock)[0] == 200
        with connect(port) as fourth:
            fourth.sendall(GET)
            assert read_answer(fourth)[0] == 200
            assert socks[0].recv(1) == b""
            for sock in (*socks[1:], fourth):
                sock.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: len(held) == 3)
            with connect(port) as fifth:
                assert fifth.recv(1) == b""
        for sock in socks:
            sock.close()


STARVED = """
import os, resource, socket, sys, threading, time
from extension_kit.io.loop import Loop
from extension_kit.io.server import Server
loop = Loop()
server = Server(loop, lambda exchange: exchange.respond(200, (), b"ok"))
port = server.listen("127.0.0.1")
thread = threading.Thread(target=loop.run, daemon=True)
thread.start()
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
time.sleep(0.1)
waiting = socket.socket()
open_now = [int(name) for name in os.listdir("/proc/self/fd")]
assert len(open_now) - 1 == max(open_now), open_now  # no gap below the limit (listdir itself had one more open)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_now), 4096))
waiting.connect(("127.0.0.1", port))
before = time.process_time()
time.sleep(0.5)
print("cpu", time.process_time() - before < 0.25)
for client in clients:
    client.close()
waiting.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
waiting.settimeout(10)
print(waiting.recv(65536)[-2:].decode())
"""


def test_without_descriptors_callers_wait_and_no_cpu_is_burnt():
    """accept() fails with EMFILE: a pause, not a hot loop; the caller is served when descriptors are back."""
    done = subprocess.run(
        [sys.executable, "-c", STARVED], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip

    assert done.stdout.split() == ["cpu", "True", "ok"], done.stderr


def test_nothing_is_left_open():
    """Descriptors after as before, with connections still open when the server closes."""

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    with serving(echo) as (port, _loop):
        socks = [connect(port) for _ in range(50)]
        for sock in socks:
            sock.sendall(GET)
        assert {read_answer(sock)[0] for sock in socks} == {200}
    for sock in socks:
        sock.close()
    assert descriptors() == before
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100
