"""The proxy between a scripted runtime and a scripted upstream: what passes, and how."""

from __future__ import annotations

import pytest

from extension_kit.protocol import http1
from extension_kit.proxy import RuntimeProxy
from tests.proxying import OK, Runtime, Upstream, event


@pytest.fixture
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture
def said():
    return []


@pytest.fixture
def proxy(upstream, said):
    made = RuntimeProxy(upstream.address, say=said.append)
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


@pytest.mark.parametrize("size", [0, 1, 65_400, 65_536, 200_000, 6 * 1_048_576 + 1])
def test_bodies_of_any_size(proxy, runtime, upstream, size):
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    runtime.ask()
    up = upstream.accept()
    up.message()
    import threading

    thread = threading.Thread(target=lambda: up.send(event(b"r1", body)))
    thread.start()
    assert runtime.message().body == body
    thread.join(20)
    thread = threading.Thread(target=lambda: runtime.post(b"r1", body))
    thread.start()
    assert up.message().body == body
    thread.join(20)
    up.send(OK)
    assert runtime.message().head.status == 202


def test_a_streamed_response_passes_chunk_by_chunk(runtime, upstream):
    """Each chunk is upstream before the next one is written; trailers come last."""
    runtime.send(
        b"POST /2018-06-01/runtime/invocation/r1/response HTTP/1.1\r\nHost: a\r\n"
        b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    up = upstream.accept()
    raw = up.sock.recv(65536)
    for number in range(3):
        chunk = http1.encode_chunk(b"chunk %d" % number)
        runtime.send(chunk)
        assert up.exactly(len(chunk)) == chunk
    end = b"0\r\nLambda-Runtime-Function-Error-Type: X\r\n\r\n"
    runtime.send(end)
    assert up.exactly(len(end)) == end
    up.send(OK)
    assert runtime.message().head.status == 202
    assert raw.endswith(b"\r\n\r\n")
