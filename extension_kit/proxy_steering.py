"""An exchange with hooks: what they return is done here. Imported when the first hook is set.

Whatever goes wrong in a hook leaves the exchange as it is; whatever upstream makes of what hooks post is reported, and the
runtime is served on: it has no part in that.
"""

from __future__ import annotations

from extension_kit.errors import RemoteProtocolError
from extension_kit.io.relay import Ended, linger_reset
from extension_kit.protocol import http1, passing
from extension_kit.proxy_hooks import Answer, Cut, Deliver, Fail, Invocation, Posted, Replace, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.proxy import RuntimeProxy
    from extension_kit.proxy_connection import Connection, Reply, Request

__all__ = ["done", "exchange"]

_ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status":"OK"}\n'
)
_FRAMING = frozenset({b"transfer-encoding", b"trailer", b"content-length"})
_BUFFERED = _FRAMING | {b"expect", b"lambda-runtime-function-response-mode"}
_ERROR_FIELDS = frozenset({b"lambda-runtime-function-error-type", b"lambda-runtime-function-xray-error-cause"})
_MAX_VERDICT = 65_536  # bytes of upstream's answer to what hooks post


def exchange(c: Connection, request: Request) -> bool:
    """One request and its answer; whether another may follow."""
    if request.call == passing.NEXT:
        return _next(c, request)
    if request.call == passing.RESTORE_NEXT:
        return _asks(c) and c.forward(request)
    if request.call in (passing.RESPONSE, passing.ERROR):
        invocation = c.proxy.answered(passing.request_id_of(request.head))
        if invocation is not None:
            return _posted(c, request, invocation)
    return c.forward(request)


def done(proxy: RuntimeProxy, invocation: Invocation) -> None:
    """It is over."""
    invocation.release()
    _hook(proxy, "on_done", (type(None),), invocation)


def _hook(proxy: RuntimeProxy, name: str, allowed: tuple[type, ...], *arguments: object) -> object:
    """What a hook returns; None where there is none, where it raises, and where it returns what it may not."""
    hooks = proxy.hooks
    if hooks is None or name not in proxy.wants:
        return None
    try:
        verdict = getattr(hooks, name)(*arguments)
    except (Ended, OSError):
        raise  # a connection has failed while the hook read from it
    except Exception as error:
        proxy.trouble(
            f"{name}_failed", f"{name} raised {type(error).__name__}: {error}: the exchange goes on unchanged"
        )
        return None
    if verdict is None or isinstance(verdict, allowed):
        return verdict
    names = ", ".join(kind.__name__ for kind in allowed)
    text = f"{name} returned {verdict!r:.200}; allowed are None, {names}: the exchange goes on unchanged"
    proxy.trouble(f"{name}_misused", text)
    return None


# next


def _next(c: Connection, request: Request) -> bool:
    for invocation in c.proxy.over(lambda open_one: open_one.carrier is c or getattr(open_one.carrier, "gone", False)):
        done(c.proxy, invocation)
    if not _asks(c):
        return False
    replay = c.proxy.take_replay()
    if replay is not None:
        return _again(c, replay)
    while True:
        if not c.pass_up(request):
            return False
        reply = c.read_final_reply()
        if reply is None:
            return False
        if reply.status != 200:
            return c.pass_down(reply) and reply.keep_alive and request.keep_alive
        head = passing.fields(reply.head)
        invocation = Invocation(http1.Headers(head), reply.incoming)
        verdict = _hook(c.proxy, "on_event", (Answer, Fail, Deliver), invocation)
        if isinstance(verdict, (Answer, Fail)):
            reply.incoming.drain()
            c.proxy.count("short_circuited")
            _post(c, invocation, verdict)
            done(c.proxy, invocation)
            if not reply.keep_alive:
                c.drop_upstream()
            continue
        return _deliver(c, invocation, reply, verdict) and reply.keep_alive and request.keep_alive


def _asks(c: Connection) -> bool:
    """A runtime asks for its next event; False where its init has been made to fail."""
    first = c.proxy.is_first()
    verdict = _hook(c.proxy, "on_next", (Fail,), first)
    if verdict is None:
        return True
    if not first:
        c.proxy.trouble("on_next_misused", "on_next returned Fail after init: the exchange goes on unchanged")
        return True
    assert isinstance(verdict, Fail)
    c.proxy.count("init_failed")
    _send(c, b"/2018-06-01/runtime/init/error", *_error(verdict))
    linger_reset(c.runtime)
    return False


def _deliver(c: Connection, invocation: Invocation, reply: Reply, verdict: object) -> bool:
    incoming, head, body = reply.incoming, reply.head, None
    invocation.carrier = c
    if isinstance(verdict, Deliver):
        c.proxy.count("delivered_changed")
        body = verdict.body
        head = passing.edited(head, verdict.headers)
        if verdict.twice and body is None:
            try:
                body = invocation.body()
            except RemoteProtocolError:
                c.proxy.trouble("twice", "an event is too large to be delivered twice")
        if body is not None:
            incoming.drain()
            head = passing.edited(head, ((b"Content-Length", b"%d" % len(body)),), _FRAMING)
            invocation.twice = verdict.twice
            invocation.second = head + body if verdict.twice else b""
    invocation.release()
    dropped = c.proxy.opened(invocation)
    if dropped is not None:
        done(c.proxy, dropped)
    if body is None:
        return c.pass_down(reply, head)
    c.runtime.sendall(head + body)
    return True


def _again(c: Connection, invocation: Invocation) -> bool:
    """The runtime is served the same event a second time."""
    second, invocation.second = invocation.second, b""
    invocation.carrier = c
    c.proxy.opened(invocation)
    c.proxy.count("delivered_again")
    c.runtime.sendall(second)
    return True


# response and error


def _posted(c: Connection, request: Request, invocation: Invocation) -> bool:
    if invocation.twice:
        invocation.twice = False
        if c.proxy.add_replay(invocation):
            return _swallow(c, request)
        c.proxy.trouble("twice", "too many events wait to be delivered twice: this one is not")
    headers = http1.Headers(passing.fields(request.head))
    posted = Posted(headers, request.incoming.length, request.incoming)
    if request.call == passing.ERROR:
        verdict = _hook(c.proxy, "on_error", (Replace, Fail, Answer), invocation, posted)
    else:
        verdict = _hook(c.proxy, "on_response", (Replace, Fail, Stream), invocation, posted)
    try:
        return _answered(c, request, invocation, verdict)
    finally:
        done(c.proxy, invocation)


def _answered(c: Connection, request: Request, invocation: Invocation, verdict: object) -> bool:
    incoming = request.incoming
    if verdict is None:
        if incoming.touched and request.expects:
            request.head = passing.edited(request.head, (), frozenset({b"expect"}))
        return c.forward(request)
    c.proxy.count("answers_changed")
    if isinstance(verdict, Stream):
        return _stream(c, request, verdict)
    incoming.drain()
    c.took(incoming)
    if isinstance(verdict, Replace):
        fields = [(b"Content-Length", b"%d" % len(verdict.body))]
        if verdict.content_type is not None:
            fields.append((b"Content-Type", verdict.content_type.encode("latin-1", "replace")))
        return _settle(c, request, passing.edited(request.head, fields, _BUFFERED) + verdict.body)
    assert isinstance(verdict, (Answer, Fail))
    _post(c, invocation, verdict)
    c.runtime.sendall(_ACCEPTED)
    return request.keep_alive


def _settle(c: Connection, request: Request, message: bytes) -> bool:
    """A changed answer goes upstream; the runtime hears what it would have heard of its own, where that is good."""
    verdict = _exchange(c, message)
    c.runtime.sendall(verdict or _ACCEPTED)
    return request.keep_alive


def _swallow(c: Connection, request: Request) -> bool:
    request.incoming.drain()
    c.took(request.incoming)
    c.runtime.sendall(_ACCEPTED)
    return request.keep_alive


def _stream(c: Connection, request: Request, verdict: Stream) -> bool:
    incoming = request.incoming
    head = passing.edited(
        request.head, ((b"Transfer-Encoding", b"chunked"),), frozenset({b"content-length", b"expect"})
    )
    c.send(head)
    try:
        for piece in verdict.transform(incoming.chunks()):
            c.send_more(http1.encode_chunk(piece))
    except Cut:
        c.proxy.count("streams_cut")
        c.drop_upstream()
    except (Ended, OSError):
        raise
    except Exception as error:
        c.proxy.trouble(
            "stream_failed", f"the transform of a stream raised {type(error).__name__}: {error}: its rest passes"
        )
        for piece in incoming.chunks():
            c.send_more(http1.encode_chunk(piece))
    incoming.drain()
    c.took(incoming)
    if c.upstream is None:
        c.runtime.sendall(_ACCEPTED)
        return request.keep_alive
    c.send_more(http1.encode_last_chunk(incoming.trailers))
    return c.answer(b"POST") and request.keep_alive


# what we post ourselves


def _error(verdict: Fail) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    body = verdict.body
    if body is None:
        import json

        content = {"errorMessage": verdict.message, "errorType": verdict.error_type, "stackTrace": []}
        body = json.dumps(content).encode()
    error_type = "".join(char if " " <= char <= "~" else "?" for char in verdict.error_type)
    fields = [
        (b"Content-Type", b"application/vnd.aws.lambda.error+json"),
        (b"Lambda-Runtime-Function-Error-Type", error_type.encode()),
    ]
    return body, fields


def _post(c: Connection, invocation: Invocation, verdict: Answer | Fail) -> None:
    """Upstream gets an answer that the runtime knows nothing of."""
    path = b"/2018-06-01/runtime/invocation/" + invocation.request_id.encode("latin-1")
    if isinstance(verdict, Answer):
        content_type = verdict.content_type.encode("latin-1", "replace")
        _send(c, path + b"/response", verdict.body, [(b"Content-Type", content_type)])
    else:
        _send(c, path + b"/error", *_error(verdict))


def _send(c: Connection, path: bytes, body: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    try:
        message = http1.encode_request(b"POST", path, [(b"Host", c.proxy.host), *fields], body)
    except Exception as error:
        c.proxy.trouble("unsayable", f"what a hook returned cannot be posted: {error}")
        return
    _exchange(c, message)


def _exchange(c: Connection, message: bytes) -> bytes:
    """Upstream's answer to a whole request, as bytes, where it is 2xx; else it is reported, and b""."""
    proxy = c.proxy
    try:
        c.send(message)
        reply = c.read_final_reply()
        if reply is None:
            raise ConnectionResetError("the connection was closed")
        body = reply.incoming.read(_MAX_VERDICT)
    except (Ended, OSError, RemoteProtocolError) as error:
        c.drop_upstream()
        proxy.trouble("unposted", f"what a hook returned was not taken: {error or type(error).__name__}")
        return b""
    if not reply.keep_alive:
        c.drop_upstream()
    if 200 <= reply.status < 300:
        return passing.edited(reply.head, ((b"Content-Length", b"%d" % len(body)),), _FRAMING) + body
    proxy.trouble(f"refused_{reply.status}", f"what a hook returned was refused with {reply.status}: {body[:300]!r}")
    return b""
