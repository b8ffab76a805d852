"""What is asked on port 2772, and how it is answered: the AWS AppConfig Agent's interface.

Source: AWS docs, "AWS AppConfig Agent", "Using the AWS AppConfig Agent Lambda extension". It has no token on Lambda, so that
a request that is not the function's own is known by its headers alone.
"""

from __future__ import annotations

from extensions.secret_cache import guard
from extensions.secret_cache.asks import ConfigurationAsk
from extensions.secret_cache.flags import FlagError, is_ion, read_context, select
from extensions.secret_cache.found import Configuration
from extensions.secret_cache.query import BadQuery, Query, decode, split_target
from extensions.secret_cache.replies import TEXT, error_headers, surely

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.aws import AwsError
    from extension_kit.io.server import Exchange
    from extensions.secret_cache.cache import Cache, Outcome

__all__ = ["handle"]

_PLACES = ["applications", "environments", "configurations"]
_MOST_FLAGS = 100


def handle(exchange: Exchange, cache: Cache) -> None:
    """Answer a request, now or later."""
    refusal = guard.foreign(exchange.head)
    if refusal is not None:
        exchange.respond(*refusal)
        return
    if exchange.head.method != b"GET":
        exchange.respond(405, (*TEXT, (b"Allow", b"GET")), b"Not allowed")
        return
    path, raw_query = split_target(exchange.head.target)
    if path == b"/ping":
        exchange.respond(200, TEXT, b"extension-kit secret-cache")
        return
    try:
        names = [decode(part) for part in path.strip(b"/").split(b"/")]
        query = Query(raw_query)
        context = read_context(decode(value) for value in exchange.head.headers.get_all(b"context"))
    except (BadQuery, FlagError) as error:
        exchange.respond(400, TEXT, str(error).encode())
        return
    wanted = query.get_all("flag")
    if len(names) != 6 or names[::2] != _PLACES or not all(names):
        exchange.respond(404, TEXT, b"Not found: /applications/A/environments/E/configurations/C is served here")
        return
    if len(wanted) > _MOST_FLAGS:
        exchange.respond(400, TEXT, b"more than %d flags" % _MOST_FLAGS)
        return
    answer = surely(exchange, lambda outcome: _answer(exchange, outcome, tuple(wanted), context))
    cache.get(ConfigurationAsk(*names[1::2]), answer)


def _answer(exchange: Exchange, outcome: Outcome, wanted: tuple[str, ...], context: dict[str, str]) -> None:
    found = outcome.found
    if not isinstance(found, Configuration):
        assert outcome.error is not None
        error = outcome.error
        exchange.respond(_status(error), (*TEXT, *error_headers(error)), f"{error.code}: {error.message}".encode())
        return
    try:
        body = select(found.body, wanted, context, found.content_type)
    except FlagError as error:
        exchange.respond(error.status, TEXT, str(error).encode())
        return
    version = found.version_label.encode("latin-1", "replace")
    content_type = "application/json" if is_ion(found.content_type) else found.content_type
    headers = [
        (b"Content-Type", content_type.encode("latin-1", "replace") or b"application/octet-stream"),
        # One spelling is that of AWS's OpenAPI description, the other that of recent agents.
        (b"Configuration-Version", version),
        (b"ConfigurationVersion", version),
        (b"X-Cache", outcome.state.encode()),
        (b"Age", b"%d" % (outcome.age_ms // 1000)),
    ]
    exchange.respond(200, headers, body)


def _status(error: AwsError) -> int:
    """The agent's: 400, 404, 500, 502 (AppConfig is in trouble), 504 (or too slow)."""
    by_code = {"ResourceNotFoundException": 404, "BadRequestException": 400, "AccessDeniedException": 400}
    by_kind = {"timeout": 504, "network": 502, "unavailable": 502, "throttled": 502}
    return by_code.get(error.code) or by_kind.get(error.kind, 500)
