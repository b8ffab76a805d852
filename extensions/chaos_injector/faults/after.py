"""Faults after the handler: what becomes of a response between the runtime and the platform.

A response that is streamed is changed chunk by chunk, as it comes, and never collected; one that is not may be read whole.
"""

from __future__ import annotations

import time

from extensions.chaos_injector.dice import fraction
from extensions.chaos_injector.faults.before import Unfit, pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from extension_kit.proxy import Fail, Posted, Replace, Stream
    from extensions.chaos_injector.plan import Fault

    Transform = Callable[[Iterator[bytes]], Iterator[bytes]]

__all__ = ["OVERSIZE", "ORDER", "Response"]

#: in which faults of this phase are made; the first is the last where it happens
ORDER = ("error_after", "status_code", "body", "slow_stream", "cut_stream")

#: bytes: one more than Lambda takes of a response that is not streamed (AWS docs, Lambda quotas: 6 MB)
OVERSIZE = 6_291_556 + 1
_HTTP = b"application/vnd.awslambda.http-integration-response"
_PRELUDE_END = b"\0" * 8  # between the head of such a response and its body
_MOST_PRELUDE = 65_536
_MANGLED = "\N{REPLACEMENT CHARACTER}" * 3


class Response:
    """One response on its way to the platform; faults are made one upon the other. ``is_on``: as of `before.Event`.

    ``room_ms``: the most that all of it may be held back together; None: the invocation has no deadline.
    """

    def __init__(
        self, request_id: str, seed: str, posted: Posted, is_on: Callable[[], bool], room_ms: float | None
    ) -> None:
        self._request_id = request_id
        self._seed = seed
        self._posted = posted
        self._is_on = is_on
        self._room_ms = room_ms
        self._body: bytes | None = None
        self._transforms: list[Transform] = []

    def make(self, fault: Fault) -> Fail | None:
        """Make one fault; Fail where nothing is left to be changed. `Unfit` where it cannot be made of this response."""
        made: Fail | None = getattr(self, f"_make_{fault.type}")(fault)
        return made

    def outcome(self) -> Replace | Stream | None:
        """What the proxy is to do; None: nothing."""
        from extension_kit.proxy import Replace, Stream

        if self._transforms:
            return Stream(self._through_all)
        return None if self._body is None else Replace(self._body)

    def _through_all(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if self._body is not None:
            chunks = _pieces(self._body)
        for transform in self._transforms:
            chunks = transform(chunks)
        return chunks

    def _whole(self) -> bytes:
        return self._posted.body() if self._body is None else self._body

    def _unit(self, fault: Fault, what: str) -> float:
        return fraction(self._seed, self._request_id, fault.id, what)

    def _make_error_after(self, fault: Fault) -> Fail:
        from extension_kit.proxy import Fail

        return Fail(str(fault.params["error_type"]), str(fault.params["message"]))

    def _make_status_code(self, fault: Fault) -> None:
        code = fault.params["status_code"]
        if not self._posted.streaming:
            response = _object(self._whole())
            if response is None:
                raise Unfit("the response is no object, which has a statusCode")
            self._body = _dumps({**response, "statusCode": code})
        elif (self._posted.headers.get(b"content-type") or b"").startswith(_HTTP):
            self._transforms.append(lambda chunks: _other_status(chunks, code))
        else:
            raise Unfit("the response is streamed without a head that has a statusCode")

    def _body_of(self, fault: Fault) -> Callable[[bytes], bytes]:
        """How a body is changed, whole or a chunk of it."""
        mode, body = fault.params["mode"], str(fault.params["body"])
        if mode == "truncate":
            keep = float(fault.params["keep_percent"]) / 100
            return lambda data: data[: int(len(data) * keep)]
        if mode == "corrupt":
            return lambda data: _corrupted(data, self._unit(fault, "bytes"))
        if mode == "failure_lambda":
            if body:
                return lambda data: _with_field(data, lambda _old: body)
            keep = 0.3 + self._unit(fault, "keep") / 2
            return lambda data: _with_field(data, lambda old: old[: int(len(old) * keep)] + _MANGLED)
        return lambda _data: body.encode()

    def _make_body(self, fault: Fault) -> None:
        change = self._body_of(fault)
        mode = fault.params["mode"]
        if mode == "oversize":
            if self._posted.streaming:
                raise Unfit("the response is streamed, which may have 200 MB")
            self._body = _padded(self._whole())
        elif not self._posted.streaming:
            self._body = change(self._whole())
        elif mode == "replace" or (mode == "failure_lambda" and fault.params["body"]):
            self._transforms.append(lambda chunks: _instead(chunks, str(fault.params["body"]).encode()))
        elif mode == "failure_lambda":
            keep = 0.3 + self._unit(fault, "keep") / 2
            self._transforms.append(lambda chunks: _mangled(chunks, keep))
        else:
            self._transforms.append(lambda chunks: (change(chunk) for chunk in chunks))

    def _make_slow_stream(self, fault: Fault) -> None:
        params: Any = fault.params
        first_ms, chunk_ms, rate = float(params["first_byte_ms"]), float(params["chunk_ms"]), params["rate_kb"] * 1024

        def transform(chunks: Iterator[bytes]) -> Iterator[bytes]:
            self._pause(first_ms)
            free_at = time.monotonic()
            for chunk in chunks:
                self._pause(chunk_ms)
                for piece in _pieces(chunk, max(1, rate // 20)) if rate else (chunk,):
                    if rate:
                        self._pause((free_at - time.monotonic()) * 1000)
                        free_at = max(free_at, time.monotonic()) + len(piece) / rate
                    yield piece

        self._transforms.append(transform)

    def _pause(self, ms: float) -> None:
        """As long as there is room: what is left of a response then goes on at once, and in time."""
        if self._room_ms is not None:
            ms = min(ms, self._room_ms)
        if ms > 0:
            began = time.monotonic()
            pause(ms, self._is_on)
            if self._room_ms is not None:
                self._room_ms = max(0.0, self._room_ms - (time.monotonic() - began) * 1000)

    def _make_cut_stream(self, fault: Fault) -> None:
        if not self._posted.streaming:
            raise Unfit("the response is not streamed: Lambda takes it whole or not at all")
        left = int(fault.params["after_bytes"])
        self._transforms.append(lambda chunks: _cut(chunks, left))


def _cut(chunks: Iterator[bytes], left: int) -> Iterator[bytes]:
    from extension_kit.proxy import Cut

    for chunk in chunks:
        if len(chunk) > left:
            if left:
                yield chunk[:left]
            raise Cut
        left -= len(chunk)
        yield chunk
    raise Cut  # a shorter response loses its end


def _other_status(chunks: Iterator[bytes], code: object) -> Iterator[bytes]:
    """The prelude is held until it is whole; one that is none goes on as it is."""
    held = b""
    for chunk in chunks:
        held += chunk
        head, end, rest = held.partition(_PRELUDE_END)
        if end or len(held) > _MOST_PRELUDE:
            prelude = _object(head) if end else None
            yield held if prelude is None else _dumps({**prelude, "statusCode": code}) + end + rest
            break
    else:
        yield held
    yield from chunks


def _instead(chunks: Iterator[bytes], body: bytes) -> Iterator[bytes]:
    """The runtime's own is read and thrown away, so that it does not wait."""
    yield body
    for _ in chunks:
        pass


def _mangled(chunks: Iterator[bytes], keep: float) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk[: int(len(chunk) * keep)]
    yield _MANGLED.encode()


def _pieces(data: bytes, size: int = 65_536) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def _object(data: bytes) -> dict[str, Any] | None:
    import json

    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _dumps(value: object) -> bytes:
    import json

    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _with_field(data: bytes, change: Callable[[str], str]) -> bytes:
    """The response with another text in its ``body`` field; without such a field, another response."""
    response = _object(data)
    if response is not None and isinstance(response.get("body"), str):
        return _dumps({**response, "body": change(response["body"])})
    return change(data.decode("utf-8", "replace")).encode()


def _corrupted(data: bytes, unit: float) -> bytes:
    """Every 16th byte or so is another one, the first at a place that `unit` decides: UTF-8, JSON and checksums are broken."""
    changed = bytearray(data)
    for at in range(int(unit * min(16, len(data))), len(data), 16):
        changed[at] ^= 0x80 | (at & 0x0F) + 1
    return bytes(changed)


def _padded(data: bytes) -> bytes:
    """Too large by one byte, and still JSON where it was: white space at its end is none of its value."""
    return data + b" " * max(0, OVERSIZE - len(data))
