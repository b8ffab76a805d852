"""EMF by PutLogEvents, where the function's own log is no place for it. Needs logs:CreateLogStream and logs:PutLogEvents."""

from __future__ import annotations

from extension_kit.aws import Aws, AwsError
from extension_kit.aws.verdicts import verdict_of
from extension_kit.delivery import DELIVERED, REFUSED, Verdict
from extension_kit.io import environ
from extension_kit.protocol.jsontext import dumps, loads
from extension_kit.protocol.timestamps import format_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.plugin import Context

__all__ = ["LogGroup"]


class LogGroup:
    """``post(document, seconds)`` puts one document. The group must be there, the stream is made."""

    def __init__(self, group: str, context: Context) -> None:
        registration = context.registration
        self._clock = context.clock
        self._aws = Aws(environ.mapping(), clock=context.clock, retries=1, connect_timeout=2.0, read_timeout=10.0)
        day = format_ms(context.clock.wall_ms())[:10].replace("-", "/")
        version = (registration.function_version if registration else "") or "$LATEST"
        from os import urandom

        self._names = {"logGroupName": group, "logStreamName": f"{day}/[{version}]{urandom(16).hex()}"}
        self._made = False

    def post(self, item: bytes, seconds: float) -> Verdict:
        until_ms = self._clock.wall_ms() + int(seconds * 1000)
        at_ms = loads(item).get("_aws", {}).get("Timestamp", self._clock.wall_ms())
        event = {"timestamp": at_ms, "message": item.decode()}
        try:
            if not self._made:
                self._make_stream(until_ms)
            answer = self._aws.call(
                "logs", "PutLogEvents", dumps({**self._names, "logEvents": [event]}), deadline_ms=until_ms
            )
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                self._made = False
            return verdict_of(error)
        if answer.get("rejectedLogEventsInfo"):
            return Verdict(REFUSED, "has rejected a document for its time", reason="too old or too new for CloudWatch")
        return Verdict(DELIVERED)

    def forget(self) -> None:
        self._aws.forget_connections()
        self._aws.forget_credentials()

    def _make_stream(self, until_ms: int) -> None:
        try:
            self._aws.call("logs", "CreateLogStream", dumps(self._names), deadline_ms=until_ms)
        except AwsError as error:
            if error.code not in ("ResourceAlreadyExistsException", "AccessDeniedException"):
                raise
        self._made = True
