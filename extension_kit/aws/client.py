"""``Aws``: calls to the services that extensions share (`_TARGETS`, AppConfig Data). Blocking; for several threads."""

from __future__ import annotations

import _thread
import sys

from extension_kit.aws.credentials import AssumedRoles, OwnCredentials, between
from extension_kit.aws.retry import Retries
from extension_kit.aws.signature import Signer, encode_query
from extension_kit.aws.transport import CA_BUNDLE, Answer, Transport
from extension_kit.aws.values import AwsError
from extension_kit.endpoints import Endpoint, endpoint
from extension_kit.errors import ConfigError
from extension_kit.io.clock import Clock
from extension_kit.protocol.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from extension_kit.aws.values import Role

__all__ = ["Aws", "Request"]

#: What stands before the operation in X-Amz-Target, for the services that speak AWS's JSON 1.1.
_TARGETS = {
    "secretsmanager": "secretsmanager", "ssm": "AmazonSSM", "logs": "Logs_20140328", "firehose": "Firehose_20150804",
    "kinesis": "Kinesis_20131202",
}  # fmt: skip
_WITHOUT_OUTPUT = ("CreateLogStream",)  # whose success is an empty body
_SIGNED_AS = {"appconfigdata": "appconfig"}
_DEAD_TOKENS = (
    "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidToken",
    "UnrecognizedClientException",
)  # fmt: skip
_SKEWED = (
    "InvalidSignatureException", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
)  # fmt: skip
_SKEW_MS = 240_000  # a difference of clocks that AWS may refuse; it allows five minutes
#: connections with their TLS context, and credentials: one for all clients of a process with the same clock and variables
_SHARED: dict[tuple[object, ...], tuple[Transport, OwnCredentials]] = {}
_lock = _thread.allocate_lock()
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Aws:
    """The AWS of an execution environment.

    ``retries``: attempts of a call, the first included; ``connect_timeout``, ``read_timeout``: seconds, of one attempt.
    ``counters``: calls, attempts, retries, throttled, errors. Clients with the same `clock` and variables, those of several
    plug-ins in one process say, share their connections, TLS context and credentials.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        retries: int = 3,
        connect_timeout: float = 1.0,
        read_timeout: float = 2.0,
    ) -> None:
        self.region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
        self.counters = dict.fromkeys(("calls", "attempts", "retries", "throttled", "errors"), 0)
        self._environ = environ
        self.clock = clock or Clock()
        self._connect_s = connect_timeout
        self._read_s = read_timeout
        self._signer = Signer()
        self._retries = Retries(retries, _random)
        self._transport, self._own = self._shared(clock)
        self._roles = AssumedRoles(self.clock, self._ask_sts)
        self._skew_ms = 0

    def call(
        self,
        service: str,
        operation: str,
        params: dict[str, Any] | bytes,
        *,
        region: str = "",
        role: Role | None = None,
        deadline_ms: int | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """The answer of an operation of one of `_TARGETS`; AwsError where there is none.

        ``params``: bytes where they are JSON already; ``deadline_ms``: epoch ms after which nobody waits for the answer;
        ``timeout``: seconds of one attempt.
        """
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", f"{_TARGETS[service]}.{operation}")]
        body = params if isinstance(params, bytes) else dumps(params)
        request = Request(service, "POST", "/", "", headers, body)
        answer = self.send(request, region, role, deadline_ms, timeout)
        return _object(answer) if answer.body or operation not in _WITHOUT_OUTPUT else {}

    def appconfig_start(
        self,
        application: str,
        environment: str,
        profile: str,
        *,
        min_poll_seconds: int | None = None,
        region: str = "",
        role: Role | None = None,
        deadline_ms: int | None = None,
        timeout: float | None = None,
    ) -> str:
        """StartConfigurationSession: the first token. AwsError where there is none."""
        fields: dict[str, Any] = {
            "ApplicationIdentifier": application,
            "EnvironmentIdentifier": environment,
            "ConfigurationProfileIdentifier": profile,
        }
        if min_poll_seconds is not None:
            fields["RequiredMinimumPollIntervalInSeconds"] = min_poll_seconds
        headers = [("Content-Type", "application/json")]
        request = Request("appconfigdata", "POST", "/configurationsessions", "", headers, dumps(fields))
        token = _object(self.send(request, region, role, deadline_ms, timeout)).get("InitialConfigurationToken")
        if not isinstance(token, str) or not token:
            raise AwsError("BadAnswer", "AppConfig has answered no token")
        return token

    def appconfig_get(
        self,
        token: str,
        *,
        accept: str = "",
        region: str = "",
        role: Role | None = None,
        deadline_ms: int | None = None,
        timeout: float | None = None,
    ) -> tuple[bytes, str, str, str, int]:
        """GetLatestConfiguration: body (empty: unchanged), content type, version label, next token, seconds until the next.

        A token serves once. ``accept``: what is asked for; feature flags come with their rules to whom asks for Ion only.
        """
        query = encode_query([("configuration_token", token)])
        headers = [("Accept", accept)] if accept else []
        answer = self.send(
            Request("appconfigdata", "GET", "/configuration", query, headers, b""), region, role, deadline_ms, timeout
        )

        def header(name: bytes) -> str:
            return (answer.headers.get(name) or b"").decode("latin-1")

        seconds = header(b"next-poll-interval-in-seconds")
        return (
            answer.body,
            header(b"content-type"),
            header(b"version-label"),
            header(b"next-poll-configuration-token"),
            int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 9 else 0,
        )

    def issued_tokens(self, *, refresh: bool = False) -> tuple[str, ...]:
        """Session tokens of the environment's own credentials that are good now; `refresh` asks the local endpoint first."""
        return self._own.issued(refresh=refresh)

    @property
    def issues_tokens(self) -> bool:
        """Whether credentials come from a local endpoint, so that others may hold newer ones than we."""
        return bool(self._own.url)

    def forget_connections(self) -> None:
        """After a freeze they may be dead without knowing."""
        self._transport.forget()

    def forget_credentials(self) -> None:
        """After the restore of a snapshot."""
        self._own.forget()
        self._roles.forget()
        self._skew_ms = 0

    # one call, several attempts

    def send(
        self, request: Request, region: str, role: Role | None, deadline_ms: int | None, timeout: float | None
    ) -> Answer:
        """The answer to any request; AwsError where it is no success. See `call`."""
        self.counters["calls"] += 1
        try:
            return self._attempts(request, region or self.region, role, deadline_ms, timeout)
        except AwsError:
            self.counters["errors"] += 1
            raise

    def _attempts(
        self, request: Request, region: str, role: Role | None, deadline_ms: int | None, timeout: float | None
    ) -> Answer:
        if not region:
            raise AwsError("NoRegion", "AWS_REGION is not set", kind="credentials")
        self._wait(self._retries.wait_first(request.service, self.clock.wall_ms()), deadline_ms, None)
        mended = set()  # what was put right; once each
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._attempt(request, region, role, deadline_ms, timeout)
            except AwsError as error:
                self._retries.failed(request.service, error, self.clock.wall_ms())
                self.counters["throttled"] += error.kind == "throttled"
                mend = self._mend(error, role)
                if mend and mend not in mended:
                    mended.add(mend)
                    continue
                wait = self._retries.wait_again(attempt, error)
                if wait is None:
                    raise
                self._wait(wait, deadline_ms, error)
                self.counters["retries"] += 1
            else:
                self._retries.succeeded(request.service, attempt)
                return answer

    def _attempt(
        self, request: Request, region: str, role: Role | None, deadline_ms: int | None, timeout: float | None
    ) -> Answer:
        credentials = self._roles.get(role, deadline_ms) if role is not None else self._own.get()
        self.counters["attempts"] += 1
        where = self._endpoint(request.service, region)
        skew_ms = self._skew_ms  # another thread may learn of it while this request is under way
        headers = [("Host", where.authority), *request.headers]
        signed = self._signer.sign(
            credentials, region, _SIGNED_AS.get(request.service, request.service),
            self.clock.wall_ms() + skew_ms, request.method, request.path, request.query, headers, request.body,
        )  # fmt: skip
        target = f"{request.path}?{request.query}" if request.query else request.path
        seconds = self._seconds(deadline_ms, timeout or self._connect_s + self._read_s)
        answer = self._transport.send(
            where, request.method, target, signed, request.body, connect_s=timeout or self._connect_s, seconds=seconds
        )
        if 200 <= answer.status < 300:
            return answer
        raise self._error(answer, skew_ms)

    def _mend(self, error: AwsError, role: Role | None) -> str:
        """What an error is that we can do something about ourselves; "" for any other."""
        if error.code in _SKEWED and isinstance(error, _Skewed):
            self._skew_ms = error.ahead_ms
            return "clock"
        if error.code in _DEAD_TOKENS:
            if role is not None:
                self._roles.forget(role)
            else:
                self._own.forget()
            return "credentials"
        return ""

    def _error(self, answer: Answer, skew_ms: int) -> AwsError:
        """What a refusal means; ``skew_ms``: what the request's time was corrected by."""
        code, message = _said(answer)
        written = answer.headers.get(b"retry-after") or b""
        retry_after = float(written) if written.isdigit() and len(written) < 6 else None
        if code in _SKEWED:
            theirs = _http_date((answer.headers.get(b"date") or b"").decode("latin-1"))
            ours = self.clock.wall_ms()
            if theirs is not None and abs(theirs - ours - skew_ms) > _SKEW_MS:
                return _Skewed(code, message, answer.status, theirs - ours)
        return AwsError(code, message, status=answer.status, retry_after=retry_after)

    def _wait(self, seconds: float, deadline_ms: int | None, error: AwsError | None) -> None:
        """Sleep, unless the deadline would pass meanwhile."""
        if not seconds:
            return
        if deadline_ms is not None and self.clock.wall_ms() + seconds * 1000 >= deadline_ms:
            raise error or AwsError("ThrottlingException", "AWS has throttled, and no time is left to wait")
        self.clock.sleep(seconds)

    def _seconds(self, deadline_ms: int | None, most: float) -> float:
        if deadline_ms is None:
            return most
        left = (deadline_ms - self.clock.wall_ms()) / 1000
        if left <= 0:
            raise AwsError("TimeoutError", "no time is left to ask AWS")
        return min(most, left)

    def _endpoint(self, service: str, region: str) -> Endpoint:
        try:
            return endpoint(service, region, self._environ)
        except ConfigError as error:
            raise AwsError("BadEndpoint", str(error)) from None

    def _shared(self, clock: Clock | None) -> tuple[Transport, OwnCredentials]:
        given = (pair for pair in self._environ.items() if pair[0].startswith("AWS_") or pair[0] == CA_BUNDLE)
        key = (clock, *sorted(given))
        with _lock:
            found = _SHARED.get(key) if clock is not None else None
            if found is None:
                credentials = OwnCredentials(self._environ, self.clock, self._fetch_local)
                found = (Transport(self._environ, self.clock), credentials)
                if clock is not None:
                    _SHARED[key] = found
            return found

    # for credentials

    def _fetch_local(self, url: str, headers: list[tuple[str, str]]) -> Answer:
        scheme, _, rest = url.partition("://")
        authority, slash, path = rest.partition("/")
        try:
            where = Endpoint.of(f"{scheme}://{authority}")
        except ConfigError as error:
            raise AwsError("NoCredentials", str(error)) from None
        return self._transport.send(
            where, "GET", slash + path or "/", [("Host", where.authority), *headers], b"",
            connect_s=self._connect_s, seconds=self._connect_s + self._read_s,
        )  # fmt: skip

    def _ask_sts(self, form: str, deadline_ms: int | None) -> str:
        headers = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")]
        answer = self._attempts(
            Request("sts", "POST", "/", "", headers, form.encode()), self.region, None, deadline_ms, None
        )
        return answer.body.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Aws({self.region!r}, {self.counters})"


class Request:
    """``query``: encoded already; ``headers``: without Host."""

    __slots__ = ("body", "headers", "method", "path", "query", "service")

    def __init__(
        self, service: str, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        self.service = service
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body


class _Skewed(AwsError):
    """AWS's clock is ``ahead_ms`` ahead of ours."""

    def __init__(self, code: str, message: str, status: int, ahead_ms: int) -> None:
        super().__init__(code, message, status=status)
        self.ahead_ms = ahead_ms


def _object(answer: Answer) -> dict[str, Any]:
    try:
        fields = loads(answer.body)
    except ValueError:
        raise AwsError("BadAnswer", "AWS has answered no JSON", status=answer.status, kind="unavailable") from None
    if not isinstance(fields, dict):
        raise AwsError("BadAnswer", "AWS has answered no JSON object", status=answer.status, kind="unavailable")
    return fields


def _said(answer: Answer) -> tuple[str, str]:
    """Code and message of an error, from JSON, XML or the header, without namespace and link."""
    header = (answer.headers.get(b"x-amzn-errortype") or b"").decode("latin-1")
    text = answer.body.decode("utf-8", "replace")
    code, message = "", ""
    try:
        fields = loads(answer.body)
    except ValueError:
        if "<Code>" in text:
            code, message = between(text, "Code"), between(text, "Message")
    else:
        if isinstance(fields, dict):
            code = str(fields.get("__type") or fields.get("code") or "")
            message = str(fields.get("message") or fields.get("Message") or "")
    code = (header or code).partition(":")[0].rpartition("#")[2].strip()
    return code or f"Http{answer.status}", message


def _http_date(text: str) -> int | None:
    """``Mon, 23 Nov 2026 08:00:00 GMT`` as epoch ms; None where it is none."""
    from extension_kit.protocol.timestamps import parse_ms

    parts = text.split()
    if len(parts) != 6 or parts[2] not in _MONTHS:
        return None
    return parse_ms(f"{parts[3]}-{_MONTHS.index(parts[2]) + 1:02}-{parts[1]:0>2}T{parts[4]}Z")


def _random() -> float:
    """From 0 up to 1, without the module ``random``, which imports ``hashlib``."""
    from posix import urandom

    return int.from_bytes(urandom(4), sys.byteorder) / 2**32
