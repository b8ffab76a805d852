"""The bodies of answers, in the shape of AWS's own extension: what Go makes of the SDK's output.

That is JSON with all fields, ``null`` where there is nothing, dates in RFC 3339 and ``ResultMetadata`` at the end. Written by
hand, since importing ``json`` takes longer than all answers of an environment's life. No I/O.
"""

from __future__ import annotations

from extension_kit.protocol import jsontext
from extension_kit.protocol.timestamps import format_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from extension_kit.aws import AwsError
    from extensions.secret_cache.found import Parameter, Secret

__all__ = ["agent_secret", "dumps", "parameter", "parameters", "secret", "secrets"]

# Go's encoding/json escapes these in every string, so that JSON may stand in HTML.
_LIKE_GO = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})
_TRAILER = {"ResultMetadata": dict[str, str]()}


def secret(found: Secret) -> bytes:
    """Of ``/secretsmanager/get``."""
    return dumps({**_secret_fields(found), **_TRAILER})


def agent_secret(found: Secret) -> bytes:
    """As the Workload Credentials Provider has it: only what is there, and the date as a text of seconds."""
    fields: dict[str, Any] = {"ARN": found.arn, "Name": found.name, "VersionId": found.version_id}
    if found.string is not None:
        fields["SecretString"] = found.string
    else:
        fields["SecretBinary"] = found.binary
    fields["VersionStages"] = list(found.stages)
    if found.created is not None:
        fields["CreatedDate"] = str(found.created)
    return jsontext.dumps(fields)


def secrets(found: Iterable[Secret], errors: Iterable[tuple[str, AwsError]]) -> bytes:
    """Of a batch: what was found, and why the rest was not."""
    return dumps(
        {
            "SecretValues": [_secret_fields(one) for one in found],
            "Errors": [_error_fields("SecretId", id, error) for id, error in errors],
            **_TRAILER,
        }
    )


def parameter(found: Parameter) -> bytes:
    """Of ``/systemsmanager/parameters/get``."""
    return dumps({"Parameter": _parameter_fields(found), **_TRAILER})


def parameters(found: Iterable[Parameter], errors: Iterable[tuple[str, AwsError]] | None = None) -> bytes:
    """Of a path; with `errors`, also if there are none, of a batch."""
    fields: dict[str, Any] = {"Parameters": [_parameter_fields(one) for one in found]}
    if errors is not None:
        told = list(errors)
        fields["InvalidParameters"] = [id for id, error in told if error.code == "ParameterNotFound"]
        fields["Errors"] = [_error_fields("Name", id, error) for id, error in told if error.code != "ParameterNotFound"]
    return dumps({**fields, **_TRAILER})


def _secret_fields(found: Secret) -> dict[str, Any]:
    return {
        "ARN": found.arn,
        "CreatedDate": _date(found.created),
        "Name": found.name,
        "SecretBinary": found.binary,
        "SecretString": found.string,
        "VersionId": found.version_id,
        "VersionStages": list(found.stages),
    }


def _parameter_fields(found: Parameter) -> dict[str, Any]:
    return {
        "ARN": found.arn,
        "DataType": found.data_type,
        "LastModifiedDate": _date(found.modified),
        "Name": found.name,
        "Selector": found.selector,
        "SourceResult": found.source,
        "Type": found.type,
        "Value": found.value,
        "Version": found.version_number,
    }


def _error_fields(of: str, id: str, error: AwsError) -> dict[str, str]:
    return {of: id, "ErrorCode": error.code, "Message": error.message}


def _date(seconds: float | None) -> str | None:
    """As Go writes a time: RFC 3339, milliseconds (the SDK knows no less), no zeros at the end of the fraction."""
    if seconds is None:
        return None
    text = format_ms(int(seconds * 1000))
    return text[:-1].rstrip("0").rstrip(".") + "Z"


def dumps(value: Any) -> bytes:
    """JSON as Go writes it."""
    return jsontext.dumps(value, _quote)


def _quote(text: str) -> str:
    return jsontext.in_json(text).translate(_LIKE_GO)
