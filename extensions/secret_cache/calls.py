"""The calls to AWS: from asks to the parameters of an operation, from its answer to values. Blocking; any thread.

Operations, parameters and limits: the API references of Secrets Manager, Systems Manager and AppConfig Data.
"""

from __future__ import annotations

from extension_kit.aws import AwsError
from extensions.secret_cache.asks import ParameterAsk, SecretAsk, name_in_arn
from extensions.secret_cache.found import Configuration, Parameter, Parameters, Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from extension_kit.aws import Aws, Role
    from extension_kit.io.clock import Clock
    from extensions.secret_cache.asks import Ask, ConfigurationAsk, PathAsk
    from extensions.secret_cache.found import Found

__all__ = ["Calls"]

_PATH_PAGE = 10  # GetParametersByPath, MaxResults
_MOST_PAGES = 100  # of one path: 1,000 parameters
_LEAST_POLL_S = 15  # StartConfigurationSession, RequiredMinimumPollIntervalInSeconds
_DOWN_MS = 30_000  # how long a region that failed is asked last
_SHARE = 0.5  # of the time that is left, for the home region where there are replicas


class Calls:
    """``regions``: where replicas of secrets are, in the order in which they are tried; ``timeouts``: seconds of one try, by
    service, None for the client's own; ``poll_s``: how often a configuration may be asked for.
    """

    def __init__(
        self,
        aws: Aws,
        clock: Clock,
        *,
        regions: tuple[str, ...] = (),
        timeouts: dict[str, float | None] | None = None,
        poll_s: int = 45,
        configuration_role: Role | None = None,
        configuration_region: str = "",
        count: Callable[[str, int], object] = lambda _name, _n: None,
    ) -> None:
        self._aws = aws
        self._clock = clock
        self._regions = regions
        self._timeouts = timeouts or {}
        self._poll_s = poll_s
        self._configuration_role = configuration_role
        self._configuration_region = configuration_region
        self._count = count
        #: of single configurations, where a manifest names them
        self.configuration_roles: dict[ConfigurationAsk, Role] = {}
        self._down_until = 0  # wall ms
        self._may_describe = True
        self._tokens: dict[ConfigurationAsk, str] = {}  # each good for one call

    # Secrets Manager

    def secret(self, ask: SecretAsk, deadline_ms: int) -> Secret:
        """AwsError where it cannot be had."""
        params = {"SecretId": ask.id}
        if ask.version_id:
            params["VersionId"] = ask.version_id
        if ask.version_stage:
            params["VersionStage"] = ask.version_stage
        answer, region = self._somewhere("GetSecretValue", params, ask.role, deadline_ms)
        return _at_home(_secret(answer), region, self._aws.region)

    def secrets(self, asks: list[Ask], deadline_ms: int) -> dict[Ask, Found | AwsError]:
        """What AWS says of some of `asks`, which are all of one role; AwsError where it says nothing at all."""
        ids = [ask.id for ask in asks]
        role = asks[0].role  # type: ignore[union-attr]
        answer, region = self._somewhere("BatchGetSecretValue", {"SecretIdList": ids}, role, deadline_ms)
        results: dict[Ask, Found | AwsError] = {}
        for item in _items(answer, "SecretValues"):
            secret = _at_home(_secret(item), region, self._aws.region)
            for ask in asks:
                if _is_called(secret, ask.id):
                    results[ask] = secret
        for item in _items(answer, "Errors"):
            error = AwsError(str(item.get("ErrorCode", "")), str(item.get("Message", "")))
            results.update({ask: error for ask in asks if ask.id == item.get("SecretId") and not error.transient})
        return results

    def secrets_tagged(self, key: str, value: str | None, deadline_ms: int) -> list[Secret]:
        """All secrets with a tag; AwsError where they cannot be listed."""
        filters = [{"Key": "tag-key", "Values": [key]}]
        if value is not None:
            filters.append({"Key": "tag-value", "Values": [value]})
        found: list[Secret] = []
        params: dict[str, Any] = {"Filters": filters, "MaxResults": 20}
        for _ in range(_MOST_PAGES):
            answer = self._call("secretsmanager", "BatchGetSecretValue", params, None, deadline_ms)
            found += [_secret(item) for item in _items(answer, "SecretValues")]
            if not answer.get("NextToken"):
                break
            params["NextToken"] = answer["NextToken"]
        return found

    def current_version(self, ask: SecretAsk, deadline_ms: int) -> str:
        """The version that is current; "" where that cannot be told. Needs DescribeSecret, and is not tried again without."""
        if not self._may_describe:
            return ""
        try:
            answer = self._call("secretsmanager", "DescribeSecret", {"SecretId": ask.id}, ask.role, deadline_ms)
        except AwsError as error:
            self._may_describe = error.kind != "denied"
            return ""
        versions = answer.get("VersionIdsToStages")
        if isinstance(versions, dict):
            for version, stages in versions.items():
                if isinstance(stages, list) and "AWSCURRENT" in stages:
                    return str(version)
        return ""

    def _somewhere(
        self, operation: str, params: dict[str, Any], role: Role | None, deadline_ms: int
    ) -> tuple[dict[str, Any], str]:
        """The answer of the first region that gives one, and that region ("": home)."""
        regions = ["", *self._regions]
        now = self._clock.wall_ms()
        if now < self._down_until:
            regions = [*regions[1:], ""]
        for at, region in enumerate(regions):
            last = at == len(regions) - 1
            now = self._clock.wall_ms()
            until = deadline_ms if last else now + int((deadline_ms - now) * _SHARE)
            there = {name: _in_region(value, region) for name, value in params.items()} if region else params
            try:
                answer = self._call("secretsmanager", operation, there, role, until, region)
            except AwsError as error:
                if last or not error.transient or error.kind == "throttled":
                    raise
                if not region:
                    self._down_until = self._clock.wall_ms() + _DOWN_MS
                continue
            if region:
                self._count("failover", 1)
            return answer, region
        raise AssertionError("the last region answers or raises")

    # Parameter Store

    def parameter(self, ask: ParameterAsk, deadline_ms: int) -> Parameter:
        """AwsError where it cannot be had."""
        params = {"Name": ask.name, "WithDecryption": ask.decrypt}
        answer = self._call("ssm", "GetParameter", params, ask.role, deadline_ms)
        return _parameter(answer.get("Parameter"))

    def parameters(self, asks: list[Ask], deadline_ms: int) -> dict[Ask, Found | AwsError]:
        """What AWS has found of `asks`, which are all of one role and decryption. Of the rest it does not say why not."""
        first = asks[0]
        assert isinstance(first, ParameterAsk)
        names = [ask.name for ask in asks if isinstance(ask, ParameterAsk)]
        params = {"Names": names, "WithDecryption": first.decrypt}
        answer = self._call("ssm", "GetParameters", params, first.role, deadline_ms)
        results: dict[Ask, Found | AwsError] = {}
        for item in _items(answer, "Parameters"):
            parameter = _parameter(item)
            for ask in asks:
                assert isinstance(ask, ParameterAsk)
                selected = (parameter.selector or "").removeprefix(":") == ask.selector
                if selected and ask.id in (parameter.name, parameter.arn, name_in_arn(parameter.arn or "")):
                    results[ask] = parameter
        return results

    def parameters_below(self, ask: PathAsk, deadline_ms: int) -> Parameters:
        """AwsError where they cannot be had."""
        params = {"Path": ask.id, "Recursive": ask.recursive, "WithDecryption": ask.decrypt, "MaxResults": _PATH_PAGE}
        found: list[Parameter] = []
        for _ in range(_MOST_PAGES):
            answer = self._call("ssm", "GetParametersByPath", params, ask.role, deadline_ms)
            found += [_parameter(item) for item in _items(answer, "Parameters")]
            if not answer.get("NextToken"):
                return Parameters(tuple(found))
            params["NextToken"] = answer["NextToken"]
        raise AwsError(
            "TooManyParameters", f"below {ask.id} are more than {_MOST_PAGES * _PATH_PAGE} parameters", kind="refused"
        )

    # AppConfig

    def configuration(
        self, ask: ConfigurationAsk, previous: Found | None, deadline_ms: int
    ) -> tuple[Configuration, int | None]:
        """The configuration, and for how many ms AppConfig wants to be left alone (None: no longer than we would anyway).

        A token serves once, also where its answer is lost: after any failure a new session begins. An empty body says that
        nothing has changed since the last answer of the same session, so it needs `previous`.
        """
        token = self._tokens.pop(ask, "") if isinstance(previous, Configuration) else ""
        role = self.configuration_roles.get(ask, self._configuration_role)
        common: dict[str, Any] = {
            "role": role,
            "region": self._configuration_region,
            "deadline_ms": deadline_ms,
            "timeout": self._timeouts.get("appconfigdata"),
        }
        while True:
            fresh = not token
            if fresh:
                least = max(_LEAST_POLL_S, self._poll_s)
                token = self._aws.appconfig_start(
                    ask.application, ask.environment, ask.profile, min_poll_seconds=least, **common
                )
            try:
                from extensions.secret_cache.flags import ACCEPT  # most functions ask for no configurations

                body, content_type, label, token_after, poll_s = self._aws.appconfig_get(token, accept=ACCEPT, **common)
                break
            except AwsError as error:
                if fresh or error.code != "BadRequestException":
                    raise
                token = ""  # it has expired (after 24 hours), or was used by a call whose answer was lost
        if token_after:
            self._tokens[ask] = token_after
        ttl_ms = poll_s * 1000 if poll_s > self._poll_s else None
        if not body and not fresh and isinstance(previous, Configuration):
            return previous, ttl_ms
        return Configuration(body, content_type, label), ttl_ms

    def _call(
        self,
        service: str,
        operation: str,
        params: dict[str, Any],
        role: Role | None,
        deadline_ms: int,
        region: str = "",
    ) -> dict[str, Any]:
        timeout = self._timeouts.get(service)
        began = self._clock.monotonic_ns()
        try:
            return self._aws.call(
                service, operation, params, region=region, role=role, deadline_ms=deadline_ms, timeout=timeout
            )
        finally:
            self._count("upstream_calls", 1)
            self._count("upstream_ms", (self._clock.monotonic_ns() - began) // 1_000_000)


def _secret(answer: Any) -> Secret:
    try:
        return Secret(answer if isinstance(answer, dict) else {})
    except ValueError as error:
        raise _strange(error) from None


def _parameter(answer: Any) -> Parameter:
    try:
        return Parameter(answer if isinstance(answer, dict) else {})
    except ValueError as error:
        raise _strange(error) from None


def _strange(error: ValueError) -> AwsError:
    return AwsError("BadAnswer", f"AWS's answer cannot be used: {error}", kind="unavailable")


def _items(answer: dict[str, Any], name: str) -> Iterable[dict[str, Any]]:
    items = answer.get(name)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _is_called(secret: Secret, id: str) -> bool:
    """By its name, its ARN, or its ARN without what Secrets Manager puts behind a name: a dash and six characters, no more."""
    if id in (secret.name, secret.arn):
        return True
    behind = secret.arn[len(id) :]
    return (
        id.startswith("arn:")
        and secret.arn.startswith(id)
        and len(behind) == 7
        and behind[0] == "-"
        and behind[1:].isalnum()
    )


def _in_region(value: Any, region: str) -> Any:
    """An ARN, or a list of ids, as it is called in another region."""
    if isinstance(value, list):
        return [_in_region(one, region) for one in value]
    if isinstance(value, str) and value.startswith("arn:"):
        parts = value.split(":")
        return ":".join([*parts[:3], region, *parts[4:]])
    return value


def _at_home(secret: Secret, region: str, home: str) -> Secret:
    """A replica's ARN differs in its region alone; callers know the secret by the one at home."""
    return secret.but(arn=_in_region(secret.arn, home)) if region and home else secret
