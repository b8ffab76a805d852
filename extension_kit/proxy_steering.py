"""An exchange with hooks: what they return is done here. Imported when the first hook is set.

Whatever goes wrong in a hook leaves the exchange as it is; whatever upstream makes of what hooks post is reported, and the
runtime is served on: it has no part in that.
"""

from __future__ import annotations

from extension_kit.errors import LocalProtocolError, RemoteProtocolError
from extension_kit.io.relay import Ended, linger_reset
from extension_kit.protocol import http1, passing
from extension_kit.proxy_hooks import Answer, Cut, Deliver, Fail, Invocation, Posted, Replace, Stream
from extension_kit.proxy_messages import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from extension_kit.proxy import RuntimeProxy
    from extension_kit.proxy_bodies import Incoming
    from extension_kit.proxy_connection import Connection
    from extension_kit.proxy_messages import Reply, Request

__all__ = ["done", "exchange"]

_ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"status":"OK"}\n'
)
_BUFFERED = passing.FRAMING | {b"expect", b"lambda-runtime-function-response-mode"}
_MAX_VERDICT = 65_536  # bytes of upstream's answer to what hooks post
_AT_ONCE = 65_536
_INIT_ERROR = b"/2018-06-01/runtime/init/error"
_INVOCATION = b"/2018-06-01/runtime/invocation/"
#: what each hook may return, besides None
_ALLOWED: dict[str, tuple[type, ...]] = {
    "on_next": (Fail,),
    "on_event": (Answer, Fail, Deliver),
    "on_response": (Replace, Fail, Stream),
    "on_error": (Replace, Fail, Answer),
    "on_done": (),
}


def exchange(c: Connection, request: Request) -> bool:
    """One request and its answer; whether another may follow."""
    if c.proxy.hooks is None:
        c.proxy.settle()
        if c.proxy.steering is None:
            return c.forward(request)
    if request.call == passing.NEXT:
        return _next(c, request)
    if request.call == passing.RESTORE_NEXT:
        return _asks(c, request.first) and c.forward(request)
    if request.call in (passing.RESPONSE, passing.ERROR):
        invocation = c.proxy.answered(passing.request_id_of(request.head))
        if invocation is not None:
            return _posted(c, request, invocation)
    return c.forward(request)


def done(proxy: RuntimeProxy, invocation: Invocation) -> None:
    """It is over; told once."""
    if invocation.over:
        return
    invocation.over = True
    invocation.release()
    _hook(proxy, "on_done", invocation)


# hooks


def _hook(proxy: RuntimeProxy, name: str, *arguments: object, incoming: Incoming | None = None) -> object:
    """What a hook returns; None where there is none, where it raises, and where it returns what it may not.

    `Ended`, OSError where the connection that `incoming` comes from has failed meanwhile.
    """
    hooks = proxy.hooks
    if hooks is None or name not in proxy.wants:
        return None
    try:
        verdict = getattr(hooks, name)(*arguments)
    except Exception as error:
        if incoming is None or incoming.failure is None:
            what = f"{type(error).__name__}: {error}"
            proxy.trouble(f"{name}_failed", f"{name} raised {what}: the exchange goes on unchanged")
        verdict = None
    if incoming is not None and incoming.failure is not None:
        raise incoming.failure
    allowed = _ALLOWED[name]
    if verdict is None or (isinstance(verdict, allowed) and _is_sayable(verdict)):
        return verdict
    names = "".join(f", {kind.__name__}" for kind in allowed)
    text = f"{name} returned {verdict!r:.200}; allowed are None{names}: the exchange goes on unchanged"
    proxy.trouble(f"{name}_misused", text)
    return None


def _is_sayable(verdict: object) -> bool:
    """Whether its parts are of the right types, and what becomes a header field can be one."""
    try:
        if isinstance(verdict, (Answer, Replace)):
            content_type = "" if verdict.content_type is None else verdict.content_type
            return isinstance(verdict.body, bytes) and passing.sayable([(b"Content-Type", _latin(content_type))])
        if isinstance(verdict, Deliver):
            return isinstance(verdict.body, (bytes, type(None))) and passing.sayable(verdict.headers)
        return not isinstance(verdict, Fail) or isinstance(verdict.body, (bytes, type(None)))
    except (AttributeError, TypeError, ValueError):
        return False


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")


# next


def _next(c: Connection, request: Request) -> bool:
    for invocation in c.proxy.over():
        done(c.proxy, invocation)
    if not _asks(c, request.first):
        return False
    replay = c.proxy.take_replay()
    if replay is not None:
        c.took(request.incoming)
        return _again(c, replay) and request.keep_alive
    while True:
        if not c.pass_up(request):
            return False
        reply = c.read_final_reply()
        if reply is None:
            return False
        invocation = Invocation(http1.Headers(passing.fields(reply.head)), reply.incoming)
        if reply.status != 200 or not invocation.request_id:
            return c.pass_down(reply) and reply.keep_alive and request.keep_alive
        try:
            verdict = _hook(c.proxy, "on_event", invocation, incoming=reply.incoming)
            message = _message(c, invocation, verdict) if isinstance(verdict, (Answer, Fail)) else b""
            if not message:
                return _deliver(c, invocation, reply, verdict) and reply.keep_alive and request.keep_alive
            reply.incoming.drain()
        except BaseException:  # the runtime has not got it, and cannot answer it
            c.proxy.answered(invocation.request_id)
            done(c.proxy, invocation)
            raise
        if not (reply.keep_alive and request.keep_alive):
            c.drop_upstream()
        c.proxy.count("short_circuited")
        _post(c, message)
        done(c.proxy, invocation)


def _asks(c: Connection, first: bool) -> bool:
    """A runtime asks for its next event; False where its init has been made to fail."""
    verdict = _hook(c.proxy, "on_next", first)
    if not isinstance(verdict, Fail):
        return True
    if not first:
        c.proxy.trouble("on_next_misused", "on_next returned Fail after init: the exchange goes on unchanged")
        return True
    c.proxy.count("init_failed")
    _post(c, _error(c, _INIT_ERROR, verdict))
    linger_reset(c.runtime)
    return False


def _deliver(c: Connection, invocation: Invocation, reply: Reply, verdict: object) -> bool:
    head, body = reply.head, None
    if isinstance(verdict, Deliver):
        c.proxy.count("delivered_changed")
        head = passing.edited(head, verdict.headers)
        body = verdict.body
        if verdict.twice:
            body = _whole(c.proxy, invocation) if body is None else body
            invocation.twice = body is not None
    if body is not None:
        reply.incoming.drain()
        head = passing.edited(head, ((b"Content-Length", b"%d" % len(body)),), passing.FRAMING)
        invocation.second = head + body if invocation.twice else b""
    _opened(c, invocation)
    if body is None:
        return c.pass_down(reply, head)
    c.runtime.sendall(head + body)
    return True


def _whole(proxy: RuntimeProxy, invocation: Invocation) -> bytes | None:
    try:
        return invocation.body()
    except RemoteProtocolError:
        proxy.trouble("twice", "an event is too large to be delivered twice")
        return None


def _again(c: Connection, invocation: Invocation) -> bool:
    """The runtime is served the same event a second time."""
    second, invocation.second = invocation.second, b""
    _opened(c, invocation)
    c.proxy.count("delivered_again")
    c.runtime.sendall(second)
    return True


def _opened(c: Connection, invocation: Invocation) -> None:
    invocation.release()
    dropped = c.proxy.opened(invocation)
    if dropped is not None:
        done(c.proxy, dropped)


# response and error


def _posted(c: Connection, request: Request, invocation: Invocation) -> bool:
    if invocation.twice:
        invocation.twice = False
        if c.proxy.add_replay(invocation):
            request.incoming.drain()
            return _accept(c, request)
        c.proxy.trouble("twice", "too many events wait to be delivered twice: this one is not")
    incoming = request.incoming
    posted = Posted(http1.Headers(passing.fields(request.head)), incoming.length, incoming)
    name = "on_error" if request.call == passing.ERROR else "on_response"
    try:
        verdict = _hook(c.proxy, name, invocation, posted, incoming=incoming)
        return _answered(c, request, invocation, verdict)
    finally:
        done(c.proxy, invocation)


def _answered(c: Connection, request: Request, invocation: Invocation, verdict: object) -> bool:
    def heard() -> None:
        done(c.proxy, invocation)

    message = _changed(c, request, invocation, verdict)
    if message:
        c.proxy.count("answers_changed")
        request.incoming.drain()
        receipt = _post(c, message)
        heard()
        return _accept(c, request, receipt)
    if isinstance(verdict, Stream):
        c.proxy.count("answers_changed")
        return _stream(c, request, verdict, heard)
    if request.incoming.touched and request.expects:
        request.head = passing.edited(request.head, (), frozenset({b"expect"}))
    return c.forward(request, heard)


def _changed(c: Connection, request: Request, invocation: Invocation, verdict: object) -> bytes:
    """What goes upstream instead, b"" where it is to be the runtime's own."""
    if isinstance(verdict, Replace):
        fields = [(b"Content-Length", b"%d" % len(verdict.body))]
        if verdict.content_type is not None:
            fields.append((b"Content-Type", _latin(verdict.content_type)))
        return passing.edited(request.head, fields, _BUFFERED) + verdict.body
    return _message(c, invocation, verdict) if isinstance(verdict, (Answer, Fail)) else b""


def _accept(c: Connection, request: Request, receipt: bytes = b"") -> bool:
    """The runtime, whose answer has been read, hears what upstream has said of another one, or that all is well."""
    c.took(request.incoming)
    if not c.was_answered():
        c.runtime.sendall(receipt or _ACCEPTED)
    return request.keep_alive


def _stream(c: Connection, request: Request, verdict: Stream, heard: Callable[[], object]) -> bool:
    incoming = request.incoming
    chunked = ((b"Transfer-Encoding", b"chunked"),)
    c.send(passing.edited(request.head, chunked, frozenset({b"content-length", b"expect"})))
    pieces = _transformed(c.proxy, verdict, incoming)
    while True:
        try:
            piece = next(pieces, None)  # fails where the runtime's connection does
        except Cut:
            c.proxy.count("streams_cut")
            c.drop_upstream()
            incoming.drain()
            heard()
            return _accept(c, request)
        if piece is None:
            break
        if not c.offer(http1.encode_chunk(piece)):
            return _refused(c, request)
    incoming.drain()
    c.took(incoming)
    if not c.offer(http1.encode_last_chunk(incoming.trailers)):
        return _refused(c, request)
    return c.answer(b"POST", heard) and request.keep_alive


def _refused(c: Connection, request: Request) -> bool:
    """Upstream has refused, or hung up, in the middle of a stream: the runtime hears it, and may say the rest to nobody."""
    if not c.answer(b"POST"):
        return False
    c.drop_upstream()
    request.incoming.drain()
    c.took(request.incoming)
    return request.keep_alive


def _transformed(proxy: RuntimeProxy, verdict: Stream, incoming: Incoming) -> Iterator[bytes]:
    """What the transform makes of the body; where it fails, what it has not taken yet, as it is. `Cut`, `Ended`, OSError."""
    try:
        for piece in verdict.transform(incoming.chunks()):
            yield bytes(memoryview(piece))
    except Cut:
        raise
    except Exception as error:
        if incoming.failure is not None:
            raise incoming.failure from None
        what = f"{type(error).__name__}: {error}"
        proxy.trouble("stream_failed", f"the transform of a stream raised {what}: its rest passes unchanged")
        yield from incoming.chunks()


# what we post ourselves


def _message(c: Connection, invocation: Invocation, verdict: Answer | Fail) -> bytes:
    """An answer that the runtime knows nothing of; b"" where it cannot be said."""
    path = _INVOCATION + _latin(invocation.request_id)
    if isinstance(verdict, Fail):
        return _error(c, path + b"/error", verdict)
    return _request(c, path + b"/response", verdict.body, ((b"Content-Type", _latin(verdict.content_type)),))


def _error(c: Connection, path: bytes, verdict: Fail) -> bytes:
    body = verdict.body
    if body is None:
        import json

        content = {"errorMessage": str(verdict.message), "errorType": str(verdict.error_type), "stackTrace": []}
        body = json.dumps(content).encode()
    error_type = "".join(char if " " <= char <= "~" else "?" for char in str(verdict.error_type))
    fields = (
        (b"Content-Type", b"application/vnd.aws.lambda.error+json"),
        (b"Lambda-Runtime-Function-Error-Type", error_type.encode()),
    )
    return _request(c, path, body, fields)


def _request(c: Connection, path: bytes, body: bytes, fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    try:
        return http1.encode_request(b"POST", path, ((b"Host", c.proxy.host), *fields), body)
    except LocalProtocolError as error:
        c.proxy.trouble("unsayable", f"what a hook returned cannot be posted: {error}: the exchange goes on unchanged")
        return b""


def _post(c: Connection, message: bytes) -> bytes:
    """Upstream's answer to a whole request, as bytes, where it is 2xx; else it is reported, and b""."""
    proxy, taken = c.proxy, True
    early: list[Reply | None] = []
    try:
        c.send(message[:_AT_ONCE])
        if len(message) > _AT_ONCE:
            taken = c.offer(memoryview(message)[_AT_ONCE:], lambda: c.early(early.append))
        reply = early[0] if early else c.read_final_reply()
        if reply is None:
            raise ConnectionResetError("the connection was closed")
        body = reply.incoming.read(_MAX_VERDICT)
    except (Ended, OSError, RemoteProtocolError, Unreadable) as error:
        c.drop_upstream()
        proxy.trouble("unposted", f"what a hook returned was not taken: {error or type(error).__name__}")
        return b""
    if not (reply.keep_alive and taken) or reply.incoming.extra:
        c.drop_upstream()
    if 200 <= reply.status < 300:
        return passing.edited(reply.head, ((b"Content-Length", b"%d" % len(body)),), passing.FRAMING) + body
    proxy.trouble(f"refused_{reply.status}", f"what a hook returned was refused with {reply.status}: {body[:300]!r}")
    return b""
