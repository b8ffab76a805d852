"""The protocol that AWS's SDKs speak with Secrets Manager and Parameter Store (AWS JSON 1.1), answered from the cache.

A function whose ``AWS_ENDPOINT_URL_SECRETS_MANAGER`` points here needs no other code. Who calls is known by the session token
that its SDK signs with; the signature itself is not looked at, since only AWS could. What the cache has no answer to is
refused with a text that says where to send it.
"""

from __future__ import annotations

from extension_kit.protocol.jsontext import loads
from extensions.secret_cache import answers, guard
from extensions.secret_cache.asks import ParameterAsk, PathAsk, SecretAsk
from extensions.secret_cache.found import Parameter, Parameters, Secret
from extensions.secret_cache.query import split_selector
from extensions.secret_cache.replies import surely

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extension_kit.aws import AwsError
    from extension_kit.io.server import Exchange
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.cache import Cache, Outcome
    from extensions.secret_cache.tokens import Tokens

__all__ = ["AwsJson"]

_TYPE = (b"Content-Type", b"application/x-amz-json-1.1")
_MOST_SECRETS, _MOST_PARAMETERS = 20, 10  # API references: BatchGetSecretValue, GetParameters
_LONGEST_ID = 2_048
_SERVED = "GetSecretValue, BatchGetSecretValue, GetParameter, GetParameters and GetParametersByPath"


class _Refused(Exception):
    """``code`` and text of an answer with status 400."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class AwsJson:
    """Answers the requests of SDKs from `cache`."""

    def __init__(self, cache: Cache, tokens: Tokens, learn: Callable[[Callable[[], object]], bool]) -> None:
        self._cache = cache
        self._tokens = tokens
        self._learn = learn

    def handle(self, exchange: Exchange, *, may_learn: bool = True) -> None:
        """Answer a request with ``X-Amz-Target``, now or later."""
        try:
            if not self._is_known(exchange):
                # The function's SDK may have been given newer credentials than we.
                if may_learn and self._learn(lambda: self.handle(exchange, may_learn=False)):
                    return
                raise _Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
            if exchange.head.method != b"POST":
                raise _Refused("UnknownOperationException", "X-Amz-Target belongs to POST")
            operation = self._operation(exchange)
            try:
                params = loads(exchange.body or b"{}")
            except ValueError:
                raise _Refused("SerializationException", "the body is no JSON") from None
            if not isinstance(params, dict):
                raise _Refused("SerializationException", "the body is no JSON object")
            operation(exchange, params)
        except _Refused as refused:
            self._refuse(exchange, refused.code, str(refused))

    def _is_known(self, exchange: Exchange) -> bool:
        session = exchange.head.headers.get_all(b"x-amz-security-token")
        if self._tokens.accepts(guard.token_of(exchange.head)):
            return True
        return len(session) == 1 and self._tokens.accepts_session(session[0])

    def _operation(self, exchange: Exchange) -> Any:
        target = (exchange.head.headers.get(b"x-amz-target") or b"").decode("latin-1")
        operation = {
            "secretsmanager.GetSecretValue": self._secret,
            "secretsmanager.BatchGetSecretValue": self._secrets,
            "AmazonSSM.GetParameter": self._parameter,
            "AmazonSSM.GetParameters": self._parameters,
            "AmazonSSM.GetParametersByPath": self._path,
        }.get(target)
        if operation is None:
            name = "".join(character for character in target.rpartition(".")[2][:64] if character.isalnum())
            raise _Refused(
                "UnknownOperationException",
                f"The secret cache serves {_SERVED}, not {name}: give this client the endpoint of AWS",
            )
        return operation

    # Secrets Manager

    def _secret(self, exchange: Exchange, params: dict[str, Any]) -> None:
        stage = _text(params, "VersionStage", optional=True)
        ask = SecretAsk(_text(params, "SecretId"), _text(params, "VersionId", optional=True), stage)

        def answer(outcome: Outcome) -> None:
            if isinstance(outcome.found, Secret):
                self._send(exchange, _secret_fields(outcome.found))
            else:
                self._fail(exchange, outcome)

        self._cache.get(ask, surely(exchange, answer))

    def _secrets(self, exchange: Exchange, params: dict[str, Any]) -> None:
        if params.get("Filters") or params.get("NextToken"):
            raise _Refused("InvalidRequestException", "The secret cache takes SecretIdList, no Filters")
        ids = _texts(params, "SecretIdList", _MOST_SECRETS)

        def answer(outcomes: list[Outcome]) -> None:
            found = [_secret_fields(one.found) for one in outcomes if isinstance(one.found, Secret)]
            errors = [
                {"SecretId": id, "ErrorCode": one.error.code, "Message": one.error.message}
                for id, one in zip(ids, outcomes, strict=True)
                if one.error is not None
            ]
            self._send(exchange, {"SecretValues": found, "Errors": errors})

        self._cache.collect([SecretAsk(id) for id in ids], surely(exchange, answer))

    # Parameter Store

    def _parameter(self, exchange: Exchange, params: dict[str, Any]) -> None:
        name, decrypt = _text(params, "Name"), params.get("WithDecryption") is True

        def answer(outcome: Outcome) -> None:
            if isinstance(outcome.found, Parameter):
                self._send(exchange, {"Parameter": _parameter_fields(outcome.found)})
            else:
                self._fail(exchange, outcome)

        self._cache.get(_parameter_ask(name, decrypt), surely(exchange, answer))

    def _parameters(self, exchange: Exchange, params: dict[str, Any]) -> None:
        names, decrypt = _texts(params, "Names", _MOST_PARAMETERS), params.get("WithDecryption") is True

        def answer(outcomes: list[Outcome]) -> None:
            # The service fails as a whole for anything but names that do not exist.
            for one in outcomes:
                if one.error is not None and one.error.code not in _INVALID:
                    self._fail(exchange, one)
                    return
            found = [_parameter_fields(one.found) for one in outcomes if isinstance(one.found, Parameter)]
            invalid = [name for name, one in zip(names, outcomes, strict=True) if one.error is not None]
            self._send(exchange, {"Parameters": found, "InvalidParameters": invalid})

        asks: list[Ask] = [_parameter_ask(name, decrypt) for name in names]
        self._cache.collect(asks, surely(exchange, answer))

    def _path(self, exchange: Exchange, params: dict[str, Any]) -> None:
        if params.get("ParameterFilters"):
            raise _Refused("InvalidFilterKey", "The secret cache takes no ParameterFilters")
        recursive, decrypt = params.get("Recursive") is True, params.get("WithDecryption") is True
        ask = PathAsk(_text(params, "Path"), recursive, decrypt)
        most = params.get("MaxResults", _MOST_PARAMETERS)
        if not isinstance(most, int) or not 1 <= most <= _MOST_PARAMETERS:
            raise _Refused("ValidationException", f"MaxResults must be 1 to {_MOST_PARAMETERS}")
        written = _text(params, "NextToken", optional=True)
        if written and not (written.isascii() and written.isdigit() and len(written) < 9):
            raise _Refused("InvalidNextToken", "The specified token isn't valid.")
        begin = int(written or 0)

        def answer(outcome: Outcome) -> None:
            if not isinstance(outcome.found, Parameters):
                self._fail(exchange, outcome)
                return
            items = outcome.found.items
            page = {"Parameters": [_parameter_fields(one) for one in items[begin : begin + most]]}
            more = {"NextToken": str(begin + most)} if begin + most < len(items) else {}
            self._send(exchange, {**page, **more})

        self._cache.get(ask, surely(exchange, answer))

    # answers

    def _send(self, exchange: Exchange, fields: dict[str, Any]) -> None:
        exchange.respond(200, (_TYPE,), answers.dumps(fields))

    def _fail(self, exchange: Exchange, outcome: Outcome) -> None:
        assert outcome.error is not None
        self._refuse(exchange, outcome.error.code, outcome.error.message, _status(outcome.error))

    def _refuse(self, exchange: Exchange, code: str, text: str, status: int = 400) -> None:
        exchange.respond(status, (_TYPE,), answers.dumps({"__type": code, "message": text, "Message": text}))


#: Codes for which GetParameters names the parameter as invalid.
_INVALID = ("ParameterNotFound", "ParameterVersionNotFound", "ParameterVersionLabelNotFound")


def _status(error: AwsError) -> int:
    """AWS's own; where it has said nothing, one that makes an SDK try again."""
    return error.status or (503 if error.transient else 400)


def _secret_fields(found: Secret) -> dict[str, Any]:
    """As the service has it: no nulls, dates as numbers."""
    return _without_nothing(
        {
            "ARN": found.arn, "Name": found.name, "VersionId": found.version_id, "SecretString": found.string,
            "SecretBinary": found.binary, "VersionStages": list(found.stages), "CreatedDate": found.created,
        }
    )  # fmt: skip


def _parameter_fields(found: Parameter) -> dict[str, Any]:
    return _without_nothing(
        {
            "Name": found.name, "Type": found.type, "Value": found.value, "Version": found.version_number,
            "Selector": found.selector, "SourceResult": found.source, "LastModifiedDate": found.modified,
            "ARN": found.arn, "DataType": found.data_type,
        }
    )  # fmt: skip


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _parameter_ask(name: str, decrypt: bool) -> ParameterAsk:
    id, selector = split_selector(name)
    return ParameterAsk(id, selector, decrypt)


def _text(params: dict[str, Any], name: str, *, optional: bool = False) -> str:
    value = params.get(name)
    if value is None and optional:
        return ""
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_ID or not value.isprintable():
        raise _Refused("ValidationException", f"{name} must be a text of 1 to {_LONGEST_ID} characters")
    return value


def _texts(params: dict[str, Any], name: str, most: int) -> list[str]:
    values = params.get(name)
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise _Refused("ValidationException", f"{name} must have 1 to {most} members")
    return list(dict.fromkeys(_text({name: value}, name) for value in values))
