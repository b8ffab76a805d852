"""What a plug-in may do to what passes the Runtime API proxy: hooks, what they are given, what they may return."""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from extension_kit.protocol.http1 import Headers
    from extension_kit.proxy_bodies import Incoming

__all__ = ["Answer", "Cut", "Deliver", "Fail", "Hooks", "Invocation", "Posted", "Replace", "Stream"]

#: Bytes of a body that a hook may have whole. Lambda's own limit is 6 MiB; what is streamed may be 200 MB and is refused.
MAX_BODY = 16 * 1_048_576


class Answer(Value):
    """Posted upstream as the function's response: the runtime never sees the event, or its error is hidden."""

    __slots__ = ("body", "content_type")

    body: bytes
    content_type: str

    def __init__(self, body: bytes, content_type: str = "application/json") -> None:
        set_field(self, "body", body)
        set_field(self, "content_type", content_type)


class Fail(Value):
    """Posted upstream as the function's error. ``body``: instead of the usual one, with an empty stack trace."""

    __slots__ = ("body", "error_type", "message")

    error_type: str
    message: str
    body: bytes | None

    def __init__(self, error_type: str, message: str, body: bytes | None = None) -> None:
        set_field(self, "error_type", error_type)
        set_field(self, "message", message)
        set_field(self, "body", body)


class Deliver(Value):
    """The event, changed. ``body``: None for the same; ``headers`` replace those of the same name.

    ``twice``: the same event (same request id) is served again at the runtime's next ``next`` after its answer; that answer
    is taken with 202 and thrown away, the second one goes upstream.
    """

    __slots__ = ("body", "headers", "twice")

    body: bytes | None
    headers: tuple[tuple[bytes, bytes], ...]
    twice: bool

    def __init__(
        self, body: bytes | None = None, headers: tuple[tuple[bytes, bytes], ...] = (), twice: bool = False
    ) -> None:
        set_field(self, "body", body)
        set_field(self, "headers", headers)
        set_field(self, "twice", twice)


class Replace(Value):
    """Another body, buffered; ``content_type``: None for the runtime's own."""

    __slots__ = ("body", "content_type")

    body: bytes
    content_type: str | None

    def __init__(self, body: bytes, content_type: str | None = None) -> None:
        set_field(self, "body", body)
        set_field(self, "content_type", content_type)


class Stream(Value):
    """The runtime's body through ``transform``, chunk by chunk: what it yields leaves at once, in chunks; trailers are kept.

    The next chunk is read when the transform asks for it. It may sleep. `Cut` ends the connection upstream in mid-body.
    """

    __slots__ = ("transform",)

    transform: Callable[[Iterator[bytes]], Iterator[bytes]]

    def __init__(self, transform: Callable[[Iterator[bytes]], Iterator[bytes]]) -> None:
        set_field(self, "transform", transform)


class Cut(Exception):
    """Raised by the transform of a `Stream`: no more of this body, and no end of it either."""


class Invocation:
    """One event, from ``next`` to its answer. On Managed Instances there are several at once.

    ``headers``: of the answer to ``next``; the other fields are theirs ("" or 0 where there is none). ``notes`` is for hooks.
    """

    __slots__ = (
        "_incoming", "deadline_ms", "function_arn", "headers", "notes", "over", "request_id", "second", "tenant_id",
        "trace_id", "twice",
    )  # fmt: skip

    def __init__(self, headers: Headers, incoming: Incoming | None = None) -> None:
        self.headers = headers
        self.request_id = _text(headers, b"lambda-runtime-aws-request-id")
        deadline = _text(headers, b"lambda-runtime-deadline-ms")
        self.deadline_ms = int(deadline) if deadline.isascii() and deadline.isdigit() and len(deadline) < 19 else 0
        self.function_arn = _text(headers, b"lambda-runtime-invoked-function-arn")
        self.trace_id = _text(headers, b"lambda-runtime-trace-id")
        self.tenant_id = _text(headers, b"lambda-runtime-aws-tenant-id")
        self.notes: dict[str, object] = {}
        self.over = False
        self.twice = False  # its first answer is thrown away
        self.second = b""  # what the runtime is served then
        self._incoming = incoming

    def body(self) -> bytes:
        """The event, read whole (up to 16 MiB, else RemoteProtocolError). Only while `Hooks.on_event` runs; then b""."""
        return self._incoming.read(MAX_BODY) if self._incoming is not None else b""

    def release(self) -> None:
        """Its body is on its way."""
        self._incoming = None


class Posted:
    """What a runtime posts: a response or an error.

    ``length``: bytes, None where the runtime does not say; ``streaming``: it comes in chunks, as they are made.
    """

    __slots__ = ("_incoming", "headers", "length", "streaming")

    def __init__(self, headers: Headers, length: int | None, incoming: Incoming) -> None:
        self.headers = headers
        self.length = length
        mode = headers.get(b"lambda-runtime-function-response-mode") or b""
        self.streaming = length is None or mode.lower() == b"streaming"
        self._incoming = incoming

    def body(self) -> bytes:
        """Read whole, of a stream too: that ends its being one (up to 16 MiB, else RemoteProtocolError)."""
        return self._incoming.read(MAX_BODY)


class Hooks:
    """A plug-in overrides what it wants to know; what is not overridden costs nothing.

    Each runs on the thread of its runtime's connection, and may block: that delays this exchange, and no other. One that
    raises, or returns what it may not, is reported once for each kind, and the exchange goes on unchanged. Several may run
    at once.
    """

    def on_next(self, first: bool) -> Fail | None:
        """A runtime asks for its next event: what came before is over.

        ``first``: its init ends here, with ``next`` or with ``restore/next``; only then `Fail` is allowed: ``init/error`` is
        posted, and the runtime's connection is reset.
        """

    def on_event(self, invocation: Invocation) -> Answer | Fail | Deliver | None:
        """An event is here, of which the runtime has seen nothing yet."""

    def on_response(self, invocation: Invocation, response: Posted) -> Replace | Fail | Stream | None:
        """The head of the function's answer is here, nothing of it has gone upstream."""

    def on_error(self, invocation: Invocation, error: Posted) -> Replace | Fail | Answer | None:
        """The same of its error."""

    def on_done(self, invocation: Invocation) -> None:
        """Its answer has gone upstream, and the runtime has not heard that yet; or none will: a runtime asks for the next event
        (with several at once: after the deadline of this one), or has not got this one, since the connection has failed.
        """


def _text(headers: Headers, name: bytes) -> str:
    return (headers.get(name) or b"").decode("latin-1")
