"""What is asked on port 2773, and how it is answered: AWS's own extension, the Workload Credentials Provider's additions, ours.

A request is looked at in this order: is it from somewhere else, does it know the token, is the method GET, is there such a
path, is the query complete. Then the cache answers, now or later, and the answer gets the headers that say where it is from.
"""

from __future__ import annotations

from extensions.secret_cache import answers, guard
from extensions.secret_cache.found import Parameter, Secret
from extensions.secret_cache.query import BadQuery, Query, decode, parameter_ask, path_ask, secret_ask, split_target
from extensions.secret_cache.replies import JSON, TEXT, Replies, surely

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extension_kit.aws import AwsError
    from extension_kit.io.server import Exchange
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.cache import Cache, Outcome
    from extensions.secret_cache.query import Roles
    from extensions.secret_cache.tokens import Tokens

__all__ = ["Front"]

_MOST_IN_BATCH = 100
_KNOWN = ("secretId", "versionId", "versionStage", "refreshNow", "roleArn", "jsonKey", "jsonPointer")


class Front:
    """``roles``: the role of an ARN that a caller names; ``learn(then)``: look for session tokens of late, then call
    `then`, or return False; ``count(name, n)`` adds to a counter.
    """

    def __init__(
        self,
        cache: Cache,
        tokens: Tokens,
        replies: Replies,
        *,
        roles: Roles,
        learn: Callable[[Callable[[], object]], bool],
        as_agent: bool = False,
        count: Callable[[str, int], object] = lambda _name, _n: None,
    ) -> None:
        self._cache = cache
        self._tokens = tokens
        self._replies = replies
        self._roles = roles
        self._learn = learn
        self._as_agent = as_agent
        self._count = count
        self._routes: dict[bytes, Callable[[Exchange, Query], object]] = {
            b"/secretsmanager/get": self._secret,
            b"/systemsmanager/parameters/get": self._parameter,
            b"/secretsmanager/batch": self._secrets,
            b"/systemsmanager/parameters/batch": self._parameters,
            b"/systemsmanager/parameters/path": self._path,
        }

    def handle(self, exchange: Exchange) -> None:
        """Answer a request of anybody's, now or later."""
        head = exchange.head
        refusal = guard.foreign(head)
        if refusal is not None:
            self._count("refused", 1)
            exchange.respond(*refusal)
            return
        path, query = split_target(head.target)
        if path == b"/ping" and head.method == b"GET":
            exchange.respond(200, TEXT, b"healthy")
        elif head.headers.get(b"x-amz-target") is not None:
            self._as_aws(exchange)
        elif not self._tokens.accepts(guard.token_of(head)):
            self._count("refused", 1)
            exchange.respond(*(guard.AGENT_BAD_TOKEN if self._as_agent else guard.BAD_TOKEN))
        elif head.method != b"GET":
            exchange.respond(405, (*TEXT, (b"Allow", b"GET")), b"Not allowed")
        else:
            self._route(exchange, path, query)

    def _as_aws(self, exchange: Exchange) -> None:
        """An SDK whose endpoint we are; what that takes is loaded when the first one comes."""
        from extensions.secret_cache.aws_json import AwsJson

        AwsJson(self._cache, self._tokens, self._learn).handle(exchange)

    def _route(self, exchange: Exchange, path: bytes, raw_query: bytes) -> None:
        try:
            query = Query(raw_query)
            if path.startswith(b"/v1/"):
                self._get(exchange, query, secret_ask(decode(path[4:]), query, self._roles))
                return
            route = self._routes.get(path.removesuffix(b"/"))
            if route is None:
                exchange.respond(404, TEXT, b"Not found")
            else:
                route(exchange, query)
        except BadQuery as error:
            exchange.respond(400, TEXT, str(error).encode())

    # one thing

    def _secret(self, exchange: Exchange, query: Query) -> None:
        if self._as_agent:
            _require_known(query)
        self._get(exchange, query, secret_ask(query.get("secretId"), query, self._roles))

    def _parameter(self, exchange: Exchange, query: Query) -> None:
        self._get(exchange, query, parameter_ask(query.get("name"), query, self._roles))

    def _path(self, exchange: Exchange, query: Query) -> None:
        self._get(exchange, query, path_ask(query, self._roles))

    def _get(self, exchange: Exchange, query: Query, ask: Ask) -> None:
        lasting = self._tokens.lasts(guard.token_of(exchange.head))

        def answer(outcome: Outcome) -> None:
            self._replies.outcome(exchange, query, outcome, lasting=lasting)

        self._cache.get(ask, surely(exchange, answer), refresh=query.flag("refreshNow"))

    # several

    def _secrets(self, exchange: Exchange, query: Query) -> None:
        ids = _batch(query.get_all("secretId"), "secretId")

        def answer(outcomes: list[Outcome]) -> None:
            found = [outcome.found for outcome in outcomes if isinstance(outcome.found, Secret)]
            exchange.respond(200, JSON, answers.secrets(found, _errors(ids, outcomes)))

        asks: list[Ask] = [secret_ask(id, query, self._roles) for id in ids]
        self._cache.collect(asks, surely(exchange, answer), refresh=query.flag("refreshNow"))

    def _parameters(self, exchange: Exchange, query: Query) -> None:
        names = _batch(query.get_all("name"), "name")

        def answer(outcomes: list[Outcome]) -> None:
            found = [outcome.found for outcome in outcomes if isinstance(outcome.found, Parameter)]
            exchange.respond(200, JSON, answers.parameters(found, _errors(names, outcomes)))

        asks: list[Ask] = [parameter_ask(name, query, self._roles) for name in names]
        self._cache.collect(asks, surely(exchange, answer), refresh=query.flag("refreshNow"))


def _require_known(query: Query) -> None:
    """The Workload Credentials Provider refuses what it does not know; AWS's extension looks past it."""
    for name, _value in query.pairs:
        if name not in _KNOWN:
            raise BadQuery(f"unknown parameter: {name[:64]}")


def _errors(ids: list[str], outcomes: list[Outcome]) -> list[tuple[str, AwsError]]:
    return [(id, outcome.error) for id, outcome in zip(ids, outcomes, strict=True) if outcome.error is not None]


def _batch(ids: Iterable[str], name: str) -> list[str]:
    unique = list(dict.fromkeys(ids))
    if not unique:
        raise BadQuery(f"missing parameter {name}")
    if len(unique) > _MOST_IN_BATCH:
        raise BadQuery(f"more than {_MOST_IN_BATCH} of {name}")
    return unique
