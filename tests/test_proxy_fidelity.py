"""Random exchanges through the proxy: both ends see what they would see without it, byte for byte.

The list of what may differ has one entry: ``Host`` names the Runtime API, as in a request that was sent there directly.
KIT_TESTS_EXCHANGES says how many exchanges (of each kind of proxy; `make soak`: 10,000).
"""

from __future__ import annotations

import contextlib
import os
import random
import select

import pytest

from extension_kit.protocol import http1
from extension_kit.proxy import Hooks, RuntimeProxy
from tests.proxying import PATIENCE, Runtime, Upstream

EXCHANGES = int(os.environ.get("KIT_TESTS_EXCHANGES", "150"))
SEEDS = (11, 12, 13)
HOST = b"@HOST@"
SIZES = (0, 1, 2, 700, 1_024, 5_000, 65_535, 65_536, 65_537, 131_072, 200_000, 1_000_000, 6_291_556, 6_291_457)
WEIGHTS = (20, 10, 10, 30, 40, 20, 4, 4, 4, 4, 3, 2, 1, 1)
TOKEN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
TEXT = bytes([*range(0x21, 0x7F), *range(0x80, 0x100)])
KNOWN = (
    b"Lambda-Runtime-Deadline-Ms", b"Lambda-Runtime-Invoked-Function-Arn", b"Lambda-Runtime-Trace-Id",
    b"Lambda-Runtime-Client-Context", b"Lambda-Runtime-Cognito-Identity", b"Lambda-Runtime-Aws-Tenant-Id", b"Date",
    b"Lambda-Runtime-Function-Error-Type", b"Lambda-Runtime-Function-XRay-Error-Cause", b"Content-Type", b"Keep-Alive", b"TE",
)  # fmt: skip


class Reading(Hooks):
    """Reads everything, changes nothing."""

    def on_event(self, invocation):
        invocation.body()

    def on_response(self, _invocation, response):
        response.body()

    def on_error(self, _invocation, error):
        error.body()


class Idle(Hooks):
    """Is told of everything."""

    def on_next(self, first):
        pass

    def on_event(self, invocation):
        pass

    def on_response(self, invocation, response):
        pass

    def on_error(self, invocation, error):
        pass

    def on_done(self, invocation):
        pass


class Exchange:
    """``request`` has `HOST` for the address; ``waits``: until ``interim`` has come, with what follows ``head``."""

    def __init__(self, rng, request_id):
        self.closes = False
        self.interim = b""
        self.head, self.rest, method = _request(rng, request_id, self)
        self.response = _response(rng, method, self)


def _cased(rng, name):
    return rng.choice((name, name.lower(), name.upper(), name.title()))


def _fields(rng):
    fields = [(_cased(rng, name), _value(rng)) for name in rng.sample(KNOWN, rng.randrange(6))]
    fields += [(bytes(rng.choices(TOKEN, k=rng.randrange(1, 20))), _value(rng)) for _ in range(rng.randrange(4))]
    framing = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"}
    return [(name, value) for name, value in fields if name.lower() not in framing]


def _value(rng):
    longest = rng.choice((5, 40, 40, 40, 2_000))
    return b" ".join(bytes(rng.choices(TEXT, k=rng.randrange(longest))) for _ in range(rng.randrange(1, 3))).strip()


def _head(rng, first, fields):
    rng.shuffle(fields)
    lines = [name + rng.choice((b": ", b": ", b": ", b":", b":  ")) + value for name, value in fields]
    return b"\r\n".join([first, *lines]) + b"\r\n\r\n"


def _body(rng):
    return rng.randbytes(rng.choices(SIZES, WEIGHTS)[0])


def _chunked(rng, body):
    """In chunks, with trailers now and then."""
    pieces = []
    while body:
        size = rng.choice((1, 10, 1_000, 30_000, 100_000, len(body)))
        pieces.append(http1.encode_chunk(body[:size]))
        body = body[size:]
    trailers = [(b"Lambda-Runtime-Function-Error-Type", b"X.Y"), (b"Lambda-Runtime-Function-Error-Body", b"e30=")]
    return b"".join(pieces) + http1.encode_last_chunk(trailers[: rng.randrange(3)])


def _request(rng, request_id, exchange):
    base = b"/2018-06-01/runtime/"
    method, target = rng.choice((
        (b"GET", base + b"invocation/next"), (b"GET", base + b"invocation/next"),
        (b"POST", base + b"invocation/" + request_id + b"/response"),
        (b"POST", base + b"invocation/" + request_id + b"/response"),
        (b"POST", base + b"invocation/" + request_id + b"/error"),
        (b"POST", base + b"init/error"), (b"GET", base + b"restore/next"), (b"POST", base + b"restore/error"),
        (b"PUT", b"/2022-07-01/telemetry"), (b"HEAD", b"/2018-06-01/ping"), (b"PATCH", b"/of/tomorrow?a=b&c=%20"),
    ))  # fmt: skip
    fields = [(rng.choice((b"Host", b"host", b"HOST")), HOST), *_fields(rng)]
    if rng.random() < 0.2:
        fields.append((_cased(rng, b"Connection"), rng.choice((b"keep-alive", b"Keep-Alive"))))
    body = b""
    if method not in (b"GET", b"HEAD"):
        body = _body(rng)
        if rng.random() < 0.4:
            body = _chunked(rng, body)
            fields.append((_cased(rng, b"Transfer-Encoding"), b"chunked"))
        else:
            fields.append((_cased(rng, b"Content-Length"), b"%d" % len(body)))
        if rng.random() < 0.1:
            fields.append((_cased(rng, b"Expect"), b"100-continue"))
            exchange.interim = http1.CONTINUE
    return _head(rng, method + b" " + target + b" HTTP/1.1", fields), body, method


def _response(rng, method, exchange):
    status = rng.choice((200, 200, 200, 202, 202, 204, 400, 403, 413, 500, 503))
    request_id = b"id-%d" % rng.randrange(4)
    fields = [(b"Lambda-Runtime-Aws-Request-Id", request_id), *_fields(rng)]
    first = b"HTTP/1.1 %d %b" % (status, rng.choice((b"OK", b"", b"Quite all right")))
    body = b"" if status == 204 else _body(rng)
    exchange.closes = rng.random() < 0.05
    if exchange.closes:
        fields.append((b"Connection", b"close"))
    kind = rng.random()
    if status == 204:
        pass
    elif kind < 0.25:
        fields.append((_cased(rng, b"Transfer-Encoding"), b"chunked"))
        body = _chunked(rng, body)
    elif kind < 0.3:
        exchange.closes |= method != b"HEAD"  # its end is the connection's
    else:
        fields.append((_cased(rng, b"Content-Length"), b"%d" % len(body)))
    return _head(rng, first, fields) + (b"" if method == b"HEAD" else body)


def hand(rng, sender, receiver, data, arrived):
    """`data` from one to the other, in pieces; until ``arrived(bytes so far)``: what has come."""
    at, got = 0, bytearray()
    size = rng.choice((len(data), len(data), 100_000, 1 + len(data) // 3, 1 + len(data) // 50))
    poll = select.poll()
    poll.register(receiver.sock, select.POLLIN)
    sender.sock.setblocking(False)
    try:
        poll.register(sender.sock, select.POLLOUT)
        while at < len(data) or not arrived(got):
            ready = poll.poll(PATIENCE * 1e3)
            assert ready, f"nothing has come for {PATIENCE} s: {len(got)} bytes so far, {at} of {len(data)} are sent"
            for fd, _events in ready:
                if fd == receiver.sock.fileno():
                    piece = receiver.sock.recv(1_048_576)
                    assert piece, f"the connection ended after {len(got)} bytes: {bytes(got[-200:])!r}"
                    got += piece
                elif at < len(data):
                    at += sender.sock.send(data[at : at + size])
                else:
                    poll.unregister(fd)
    finally:
        sender.sock.settimeout(PATIENCE)
    return bytes(got)


def exactly(data):
    return lambda got: len(got) >= len(data)


def complete(role, method):
    """Whether a whole message has come."""
    reader = http1.MessageReader(role, http1.Limits(max_head=131_072, max_body=None))
    reader.expect_response_to(method)
    seen = 0

    def arrived(got):
        nonlocal seen
        reader.receive(bytes(got[seen:]))
        seen = len(got)
        arrived.message = reader.next_message()
        return isinstance(arrived.message, http1.Message)

    return arrived


def parsed(role, method, data):
    """The message, without what says how it is framed."""
    arrived = complete(role, method)
    assert arrived(data)
    message = arrived.message
    start = message.head.target if role == http1.SERVER else (message.head.status, message.head.reason)
    return start, message.head.headers, message.body, message.trailers


class Ends:
    """A runtime and an upstream with what is to be tested between them; connected anew where an exchange has ended that."""

    PING = b"GET /2018-06-01/ping HTTP/1.1\r\nHost: @HOST@\r\n\r\n"
    PONG = http1.encode_response(200, (), b"pong")

    def __init__(self, rng, port, upstream):
        self.rng = rng
        self.port = port
        self.upstream = upstream
        self.runtime = self.platform = None
        self.connections = 0

    def connect(self):
        self.connections += 1
        self.runtime = Runtime(self.port)
        self.runtime.send(self.given(self.PING))
        self.platform = self.upstream.accept()
        assert self.platform.exactly(len(self.direct(self.PING))) == self.direct(self.PING)
        self.pass_down(self.PONG)

    def given(self, request):
        return request.replace(HOST, b"127.0.0.1:%d" % self.port, 1)

    def direct(self, request):
        return request.replace(HOST, self.upstream.address.encode(), 1)

    def run(self, exchange):
        """Each piece, as it arrives."""
        if self.runtime is None:
            self.connect()
        self.pass_up(self.given(exchange.head), self.direct(exchange.head))
        if exchange.interim:
            self.pass_down(exchange.interim)
        if exchange.rest:
            self.pass_up(exchange.rest, exchange.rest)
        self.pass_down(exchange.response)
        if exchange.closes:
            self.end()

    def run_whole(self, exchange):
        """Each message, as it is understood."""
        if self.runtime is None:
            self.connect()
        method = exchange.head.partition(b" ")[0]
        given, direct = self.given(exchange.head) + exchange.rest, self.direct(exchange.head) + exchange.rest
        got = hand(self.rng, self.runtime, self.platform, given, complete(http1.SERVER, b""))
        assert parsed(http1.SERVER, b"", got) == parsed(http1.SERVER, b"", direct)
        got = hand(self.rng, self.platform, self.runtime, exchange.response, complete(http1.CLIENT, method))
        assert parsed(http1.CLIENT, method, got) == parsed(http1.CLIENT, method, exchange.response)
        if exchange.closes:
            self.end()

    def pass_up(self, given, expected):
        assert hand(self.rng, self.runtime, self.platform, given, exactly(expected)) == expected

    def pass_down(self, data):
        assert hand(self.rng, self.platform, self.runtime, data, exactly(data)) == data

    def end(self):
        """The last answer was the connection's last, too."""
        if self.runtime is not None:
            self.platform.close()
            assert self.runtime.rest() == (b"", "closed")
            self.runtime.close()
        self.runtime = None


@contextlib.contextmanager
def between(kind, said):
    """A proxy (or two) of some kind: (port, upstream)."""
    with contextlib.ExitStack() as stack:
        upstream = Upstream()
        stack.callback(upstream.close)
        address = upstream.address
        for _ in range(2 if kind == "two in a row" else 1):
            proxy = RuntimeProxy(address, {"idle hooks": Idle(), "reading hooks": Reading()}.get(kind), say=said.append)
            port = proxy.listen()
            proxy.serve()
            stack.callback(proxy.close)
            address = f"127.0.0.1:{port}"
        yield port, upstream


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["none", "idle hooks", "two in a row", "reading hooks"])
def test_an_exchange_is_as_without_a_proxy(kind, seed):
    """Every byte of it; where hooks read bodies, chunks are cut anew: there, all fields, the body and the trailers."""
    rng = random.Random(f"{kind} {seed}")
    said = []
    with between(kind, said) as (port, upstream):
        ends = Ends(rng, port, upstream)
        for number in range(-(-EXCHANGES // len(SEEDS))):
            exchange = Exchange(rng, b"id-%d" % rng.randrange(4))
            try:
                if kind != "reading hooks":
                    ends.run(exchange)
                elif not exchange.interim and not exchange.closes:
                    ends.run_whole(exchange)
            except BaseException:
                print(f"{kind}, seed {seed}, exchange {number}: {exchange.head[:300]!r} {exchange.response[:300]!r}")
                raise
        if ends.runtime is not None:
            ends.runtime.close()
            assert ends.platform.rest() == (b"", "closed")
    assert said == []
