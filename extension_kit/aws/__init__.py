"""The few AWS calls that extensions share, on the standard library alone: the SDK costs a fifth of a second before its first
call, this costs what TLS costs.

``Aws(environ).call("secretsmanager", "GetSecretValue", {"SecretId": "db"})``. What fails is an `AwsError` whose ``kind`` says
what to make of it. The parts: `client` (what callers use), `retry`, `transport`, `signature`, `credentials`; where
services are is in `extension_kit.endpoints`.
"""

from __future__ import annotations

from extension_kit.aws.values import AwsError, Credentials, Role

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.aws.client import Aws

__all__ = ["Aws", "AwsError", "Credentials", "Role"]


def __getattr__(name: str) -> object:
    if name == "Aws":
        from extension_kit.aws.client import Aws

        return Aws
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
