"""From what the cache has found to the answer of one exchange: status, headers, body."""

from __future__ import annotations

from extension_kit.protocol import http1
from extensions.secret_cache import answers
from extensions.secret_cache.found import Parameter, Parameters, Secret
from extensions.secret_cache.store import HIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extension_kit.aws import AwsError
    from extension_kit.io.server import Exchange
    from extensions.secret_cache.cache import Outcome
    from extensions.secret_cache.found import Found
    from extensions.secret_cache.query import Query
    from extensions.secret_cache.quick import Quick

__all__ = ["JSON", "TEXT", "Replies", "error_headers", "surely"]

TEXT = ((b"Content-Type", b"text/plain"),)
JSON = ((b"Content-Type", b"application/json"),)
#: What AWS's own extension answers to whatever goes wrong, with status 400.
_UNEXPECTED = b"an unexpected error occurred while executing request"
_LONGEST_HEADER = 200


class Replies:
    """``errors``: "extension" (as AWS's extension), "aws" (AWS's own status and JSON), "agent" (as the Workload Credentials
    Provider, which has a form of its own for secrets too).
    """

    __slots__ = ("_errors", "_quick")

    def __init__(self, errors: str, quick: Quick) -> None:
        self._errors = errors
        self._quick = quick

    def outcome(self, exchange: Exchange, query: Query, outcome: Outcome, *, lasting: bool) -> None:
        """The answer to a request for one thing; it may be given again to the same bytes where it is `lasting`."""
        found = outcome.found
        if outcome.error is not None or found is None:
            assert outcome.error is not None
            self._error(exchange, outcome.error, outcome.state)
            return
        try:
            content_type, body = _content(found, query, as_agent=self._errors == "agent")
        except _NoSuchKey as error:
            exchange.respond(400, (*TEXT, (b"X-Amzn-Errortype", b"JsonKeyNotFound")), str(error).encode())
            return
        headers = [content_type, (b"X-Cache", outcome.state.encode())]
        if outcome.limited_ms > 0:
            headers.append((b"Retry-After", b"%d" % -(-outcome.limited_ms // 1000)))
        if found.version and found.version.isascii() and found.version.isprintable():
            etag = f'"{_tag(found, body)}"'.encode()
            headers.append((b"ETag", etag))
            if etag.lower() in exchange.head.headers.tokens(b"if-none-match"):
                exchange.respond(304, headers)
                return
        headers.append((b"Age", b"%d" % (outcome.age_ms // 1000)))
        if lasting and outcome.state == HIT and outcome.limited_ms <= 0 and exchange.raw and outcome.entry is not None:
            answer = http1.encode_response(200, headers, body, keep_alive=True)
            self._quick.remember(exchange.raw, outcome.entry, answer)
        exchange.respond(200, headers, body)

    def _error(self, exchange: Exchange, error: AwsError, state: str) -> None:
        headers = [*error_headers(error), (b"X-Cache", state.encode())]
        if self._errors != "extension":
            body = answers.dumps({"__type": error.code, "message": error.message})
            exchange.respond(error.status or _status(error), (*JSON, *headers), body)
        else:
            exchange.respond(400, (*TEXT, *headers), _UNEXPECTED)


def _tag(found: Found, body: bytes) -> str:
    """What changes with the answer. A secret's versions have ids; a parameter that was made anew counts from 1 again."""
    if isinstance(found, Secret):
        return found.version
    from zlib import crc32

    return f"{found.version}-{crc32(body):08x}"


def surely(exchange: Exchange, answer: Callable[[Any], object]) -> Callable[[Any], None]:
    """`answer`, after which `exchange` is answered in any case: nobody shall wait for an answer that cannot be written."""

    def then(given: Any) -> None:
        try:
            answer(given)
        finally:
            if not exchange.answered:
                exchange.respond(500, TEXT, b"internal error")

    return then


def error_headers(error: AwsError) -> list[tuple[bytes, bytes]]:
    """What is said of an error beside its body: its true code, and when to come again."""
    code = "".join(character for character in error.code if character.isalnum() or character in "._-")
    headers = [(b"X-Amzn-Errortype", code[:_LONGEST_HEADER].encode("ascii", "replace"))]
    if error.retry_after:
        headers.append((b"Retry-After", b"%d" % max(1, round(error.retry_after))))
    return headers


def _status(error: AwsError) -> int:
    """For an error that AWS has not answered: as a gateway would say it."""
    return {"timeout": 504, "network": 502, "unavailable": 503, "credentials": 500}.get(error.kind, 400)


class _NoSuchKey(Exception):
    """Its text names no value."""


def _content(found: Found, query: Query, *, as_agent: bool) -> tuple[tuple[bytes, bytes], bytes]:
    """Content type and body."""
    key, pointer = query.get("jsonKey"), query.get("jsonPointer")
    if key or pointer:
        return _part(found, key, pointer)
    if isinstance(found, Secret):
        return JSON[0], answers.agent_secret(found) if as_agent else answers.secret(found)
    if isinstance(found, Parameter):
        return JSON[0], answers.parameter(found)
    assert isinstance(found, Parameters)
    return JSON[0], answers.parameters(found.items)


def _part(found: Found, key: str, pointer: str) -> tuple[tuple[bytes, bytes], bytes]:
    """One value of a secret or parameter that is JSON: a string as it is, anything else as JSON."""
    from extension_kit.protocol.jsontext import loads

    text = found.string if isinstance(found, Secret) else found.value if isinstance(found, Parameter) else None
    try:
        value = loads((text or "").encode("utf-8", "surrogatepass"))
    except ValueError:
        raise _NoSuchKey("the value is no JSON") from None
    for step in [key] if key else _steps(pointer):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 9 and int(step) < len(value):
            value = value[int(step)]
        else:
            raise _NoSuchKey("the value has no such key")
    return _whole(value)


def _whole(value: Any) -> tuple[tuple[bytes, bytes], bytes]:
    if isinstance(value, str):
        return (b"Content-Type", b"text/plain; charset=utf-8"), value.encode("utf-8", "replace")
    return JSON[0], answers.dumps(value)


def _steps(pointer: str) -> list[str]:
    """RFC 6901."""
    if not pointer.startswith("/"):
        raise _NoSuchKey("jsonPointer must begin with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
