"""Responses that are streamed: untouched when idle; faulted, each chunk still goes on before the next one comes."""

from __future__ import annotations

import json
import time

import pytest

from extension_kit.protocol import http1
from tests.extensions.chaos_injector.conftest import experiment
from tests.extensions.chaos_injector.injecting import Injecting
from tests.proxying import OK, event, posted

CHUNKS = [b"first;", b"second, which is longer;", b"third\0\xff;"]
WHOLE = b"".join(CHUNKS)
STREAMING = ((b"Lambda-Runtime-Function-Response-Mode", b"streaming"), (b"Transfer-Encoding", b"chunked"))
TRAILERS = b"Lambda-Runtime-Function-Error-Type: Midway\r\nLambda-Runtime-Function-Error-Body: e30=\r\n"
HTTP = b"application/vnd.awslambda.http-integration-response"


@pytest.fixture
def armed(tmp_path):
    """Starts a proxy with an experiment of these faults; the runtime has its event, and has begun to answer."""
    made = []

    def armed(*faults, content_type=b"text/plain", fields=STREAMING, deadline_ms=0, **more):
        one = Injecting(tmp_path, experiment(*faults, **more))
        made.append(one)
        one.runtime.ask()
        one.platform = one.upstream.accept()
        one.platform.message()
        told = ((b"Lambda-Runtime-Deadline-Ms", b"%d" % deadline_ms),)
        one.platform.send(event(b"r-1", fields=told) if deadline_ms else event(b"r-1"))
        one.runtime.message()
        head = [b"POST " + posted(b"r-1") + b" HTTP/1.1", b"Host: x", b"Content-Type: " + content_type]
        one.runtime.send(b"\r\n".join([*head, *(b": ".join(field) for field in fields), b"", b""]))
        return one

    yield armed
    for one in made:
        one.close()


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Arrivals:
    """What arrives at the platform, as it arrives."""

    def __init__(self, platform):
        self.platform = platform
        self.raw = b""
        self.body = b""
        self._taken = 0

    def until(self, size):
        """Read until the body has so much; what has come of it."""
        while len(self.body) < size:
            data = self.platform.sock.recv(65_536)
            assert data, self.raw
            self.take(data)
        return self.body

    def take(self, data):
        self.raw += data
        head, end, rest = self.raw.partition(b"\r\n\r\n")
        self.head = head
        self.body, self.ended = b"", False
        while end and b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            count = int(size, 16)
            if count == 0:
                self.ended, self.trailers = True, rest
                return
            self.body += rest[:count]
            rest = rest[count + 2 :]

    def to_the_end(self):
        data, self.how = self.platform.rest()
        self.take(data)

    def to_the_trailers(self):
        while not (self.raw.endswith(b"\r\n\r\n") and self.ended):
            self.take(self.platform.sock.recv(65_536))


def in_step(one, chunks, expected, trailers=TRAILERS):
    """Send each chunk only when all that is due of those before it has arrived: a proxy that collects would wait for ever."""
    arrivals = Arrivals(one.platform)
    due = b""
    for data, wanted in zip(chunks, expected, strict=True):
        one.runtime.send(chunk(data))
        due += wanted
        assert arrivals.until(len(due)) == due
    one.runtime.send(b"0\r\n" + trailers + b"\r\n")
    arrivals.to_the_trailers()
    one.platform.send(OK)
    assert one.runtime.message().head.status == 202
    return arrivals


def test_idle_it_passes_as_it_comes(armed):
    """An experiment is armed, and it is about something else."""
    one = armed(("status_code", {"status_code": 500}), scope={"functions": ["hello"], "tenants": ["red"]})

    arrivals = in_step(one, CHUNKS, CHUNKS)

    assert arrivals.trailers == TRAILERS + b"\r\n"
    assert one.audit("inject") == []
    (line,) = one.audit("skip")
    assert line["reason"].startswith("scope: ")
    assert "blue" in line["reason"]


@pytest.mark.parametrize("params", [{"chunk_ms": 150}, {"first_byte_ms": 450}, {"rate_kb": 1, "chunk_ms": 140}])
def test_slow(armed, params):
    one = armed(("slow_stream", params))
    began = time.monotonic()

    arrivals = in_step(one, CHUNKS, CHUNKS)

    assert time.monotonic() - began >= 0.42
    assert arrivals.trailers == TRAILERS + b"\r\n"
    assert [line["type"] for line in one.audit("inject")] == ["slow_stream"]


def test_slow_by_its_rate(armed):
    """64 KB at 256 KB/s; more is not asked for than leaves."""
    one = armed(("slow_stream", {"rate_kb": 256}))
    began = time.monotonic()

    in_step(one, [bytes(65_536)] * 2, [bytes(65_536)] * 2)

    assert time.monotonic() - began >= 0.4


def test_a_response_that_is_not_streamed_can_be_slowed_too(armed):
    one = armed(("slow_stream", {"first_byte_ms": 300}), fields=((b"Content-Length", b"5"),))
    began = time.monotonic()
    one.runtime.send(b"hello")

    message = one.platform.message()

    assert time.monotonic() - began >= 0.28
    assert message.body == b"hello"


@pytest.mark.parametrize(("after", "left"), [(0, b""), (3, b"fir"), (6, b"first;"), (10, b"first;seco")])
def test_cut(armed, after, left):
    one = armed(("cut_stream", {"after_bytes": after}))
    arrivals = Arrivals(one.platform)
    one.runtime.send(*map(chunk, CHUNKS))

    arrivals.to_the_end()

    assert (arrivals.body, arrivals.ended) == (left, False)
    assert [line["type"] for line in one.audit("inject")] == ["cut_stream"]


def test_a_response_that_is_shorter_loses_its_end(armed):
    one = armed(("cut_stream", {"after_bytes": 1_000}))
    arrivals = Arrivals(one.platform)
    one.runtime.send(*map(chunk, CHUNKS), b"0\r\n\r\n")

    arrivals.to_the_end()

    assert (arrivals.body, arrivals.ended) == (WHOLE, False)


def test_what_is_not_streamed_is_not_cut(armed):
    one = armed(("cut_stream", {}), fields=((b"Content-Length", b"5"),))
    one.runtime.send(b"hello")

    assert one.platform.message().body == b"hello"
    (line,) = one.audit("unable")
    assert line["reason"] == "the response is not streamed: Lambda takes it whole or not at all"
    assert line["request_id"] == "r-1"


def test_truncated_chunk_by_chunk(armed):
    in_step(armed(("body", {"mode": "truncate", "keep_percent": 50})), [b"12345678", b"1234"], [b"1234", b"12"])


def test_replaced(armed):
    """The new body leaves with the first chunk; the others are read, so that the runtime need not wait."""
    one = armed(("body", {"mode": "replace", "body": "other"}))

    in_step(one, CHUNKS, [b"other", b"", b""])


def test_corrupted_chunk_by_chunk(armed):
    one = armed(("body", {"mode": "corrupt"}))
    arrivals = Arrivals(one.platform)
    for number, data in enumerate(CHUNKS):
        one.runtime.send(chunk(data))
        size = sum(map(len, CHUNKS[: number + 1]))
        assert len(arrivals.until(size)) == size
    assert arrivals.body != WHOLE
    assert sum(before != after for before, after in zip(WHOLE, arrivals.body, strict=True)) >= 3


def test_mangled_as_failure_lambda_does(armed):
    one = armed(("body", {"mode": "failure_lambda"}))
    arrivals = Arrivals(one.platform)
    one.runtime.send(chunk(b"x" * 100))
    assert 30 <= len(arrivals.until(30)) <= 80
    one.runtime.send(b"0\r\n\r\n")
    arrivals.to_the_trailers()
    assert arrivals.body.endswith("\N{REPLACEMENT CHARACTER}".encode() * 3)


@pytest.mark.parametrize("cut", [1, 10, 20, 38, 42, 46, 50])
def test_status_code_in_the_head_of_a_streamed_http_response(armed, cut):
    """The head is in the first bytes, in chunks of any size; what is behind it goes on as it comes."""
    prelude = b'{"statusCode":200,"headers":{"a":"b"}}' + bytes(8)
    one = armed(("status_code", {"status_code": 503}), content_type=HTTP)
    arrivals = Arrivals(one.platform)
    whole = prelude + b"the body"
    one.runtime.send(chunk(whole[:cut]), chunk(whole[cut:]))
    expected = b'{"statusCode": 503, "headers": {"a": "b"}}' + bytes(8) + b"the body"

    assert arrivals.until(len(expected)) == expected
    one.runtime.send(chunk(b" goes on"))
    assert arrivals.until(len(expected) + 8) == expected + b" goes on"


@pytest.mark.parametrize("body", [b"no head at all", b"{broken" + bytes(8) + b"x"])
def test_a_head_that_is_none_goes_on_as_it_is(armed, body):
    one = armed(("status_code", {"status_code": 503}), content_type=HTTP)
    arrivals = Arrivals(one.platform)
    one.runtime.send(chunk(body), b"0\r\n\r\n")
    arrivals.to_the_trailers()
    assert arrivals.body == body


def test_a_stream_without_a_head_has_no_status(armed):
    one = armed(("status_code", {"status_code": 503}))

    in_step(one, CHUNKS, CHUNKS)

    assert "without a head" in one.audit("unable")[0]["reason"]


@pytest.mark.parametrize("params", [{"first_byte_ms": 60_000}, {"chunk_ms": 60_000}, {"rate_kb": 1}])
def test_it_leaves_the_invocation_its_time(armed, params):
    """All pauses together are no longer than the experiment allows; two of them as little as one."""
    deadline_ms = int(time.time() * 1000) + 15_000
    one = armed(
        ("slow_stream", params), ("slow_stream", params), limits={"max_fraction_of_deadline": 0.05},
        deadline_ms=deadline_ms,
    )  # fmt: skip
    data = bytes(20_000)
    began = time.monotonic()

    in_step(one, [data] * 3, [data] * 3)

    assert time.monotonic() - began >= 0.3, "it is slow at all"
    assert time.time() * 1000 < deadline_ms


def test_several_at_once(armed):
    """In their order: the body is changed, then it is slow."""
    one = armed(("slow_stream", {"chunk_ms": 100}), ("body", {"mode": "truncate", "keep_percent": 50}))
    began = time.monotonic()

    in_step(one, [b"12345678", b"1234"], [b"1234", b"12"])

    assert time.monotonic() - began >= 0.18
    assert [line["type"] for line in one.audit("inject")] == ["body", "slow_stream"]


def test_a_kill_switch_in_the_middle(armed, tmp_path):
    """What is left of the response goes on at once."""
    one = armed(("slow_stream", {"first_byte_ms": 60_000}))
    one.runtime.send(chunk(CHUNKS[0]))
    time.sleep(0.1)
    began = time.monotonic()
    (tmp_path / "off").write_text("")

    assert Arrivals(one.platform).until(len(CHUNKS[0])) == CHUNKS[0]
    print(f"from the kill switch to the first byte: {(time.monotonic() - began) * 1000:.0f} ms")
    assert time.monotonic() - began < 20


def test_error_after_a_stream_has_begun(armed):
    """Nothing of it has gone upstream: the function has failed, and its runtime is none the wiser."""
    one = armed(("error_after", {"error_type": "Custom.After"}))
    one.runtime.send(*map(chunk, CHUNKS), b"0\r\n\r\n")

    message = one.platform.message()

    assert message.head.target.endswith(b"/r-1/error")
    assert json.loads(message.body)["errorType"] == "Custom.After"
    one.platform.send(OK)
    assert one.runtime.message().head.status == 202


@pytest.mark.parametrize("backend", ["emulator", "rie"])
class TestNode:
    """A runtime that streams, as Lambda's for Node does: trailers and all."""

    EVENT = {"stream": ["one,", "two,", "three"], "gap_ms": 50}  # noqa: RUF012 - read only

    def test_idle(self, start, backend):
        chaos = start(
            experiment(("delay", {"ms": 1}), scope={"functions": ["another"]}), runtime="node", backend=backend
        )
        assert chaos.invoke(self.EVENT).payload == b"one,two,three"
        result = chaos.invoke({**self.EVENT, "stream_error": "Midway"})
        assert result.payload == b"one,two,three"
        # AWS's emulator does not look at trailers; that they come through it is seen in our own.
        assert result.error_type == ("Midway" if backend == "emulator" else "")
        assert chaos.answer({"x": 1})["event"] == {"x": 1}
        assert not chaos.audit("inject")

    def test_slow(self, start, backend):
        chaos = start(experiment(("slow_stream", {"chunk_ms": 200})), runtime="node", backend=backend)
        assert chaos.invoke(self.EVENT).payload == b"one,two,three"
        assert chaos.ms >= 600

    def test_cut(self, start, backend):
        """What the caller gets is the platform's affair; the function goes on, and nobody hangs."""
        chaos = start(experiment(("cut_stream", {"after_bytes": 5})), runtime="node", backend=backend, timeout=3.0)
        result = chaos.invoke(self.EVENT, patience=30)
        assert result.error_type == "Runtime.ExitError", "the platform refuses the runtime's next request, and it ends"
        assert chaos.told("inject")
        chaos.write("off", "")
        chaos.invoke()
        assert chaos.answer({"x": 1})["event"] == {"x": 1}


def test_the_scripted_platform_can_tell(armed):
    """A body that is cut is seen as one: the check itself can fail."""
    one = armed(("slow_stream", {"chunk_ms": 1}))
    one.runtime.send(chunk(b"x"))
    one.runtime.close()
    with pytest.raises((EOFError, http1.RemoteProtocolError, ConnectionError)):
        one.platform.message()
