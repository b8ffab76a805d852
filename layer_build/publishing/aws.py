"""boto3, a tool of the build: imported where it is needed, its errors told in one line.

Credentials, retries (``AWS_MAX_ATTEMPTS``) and endpoints are boto3's own configuration.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError, ExtensionKitError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 300  # characters of a message
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")
_DENIED = re.compile("AccessDenied|Unauthorized|Forbidden|NotAuthorized")
_CREDENTIALS = (
    "UnrecognizedClient",
    "InvalidClientTokenId",
    "ExpiredToken",
    "InvalidSignature",
    "SignatureDoesNotMatch",
)
_THROTTLED = re.compile("TooManyRequests|Throttl|RequestLimitExceeded|SlowDown")


class AwsError(ExtensionKitError):
    """A call that AWS refused, or that did not reach it; one line, which says where, what and why."""


class Aws:
    """The clients of one run. `profiles`: partition (``aws``, ``aws-cn``, ...) to a profile of AWS's configuration; "": all."""

    def __init__(self, profiles: Mapping[str, str]) -> None:
        self._boto3 = _boto3()
        self._profiles = profiles
        self._clients: dict[tuple[str, str, bool], Any] = {}

    def client(self, service: str, region: str, *, once: bool = False) -> Any:
        """boto3's client; with `once` it tries a call one time only: for what must not be done twice."""
        key = (service, region, once)
        if key not in self._clients:
            from botocore.config import Config

            retries: dict[str, Any] = {"mode": "standard"}
            if once:
                retries["total_max_attempts"] = 1
            try:
                self._clients[key] = self._session(region).client(
                    service, region_name=region, config=Config(retries=retries, connect_timeout=10, read_timeout=60)
                )
            except Exception as error:
                raise AwsError(f"{region}: {words(error)}") from error
        return self._clients[key]

    def _session(self, region: str) -> Any:
        profile = self._profiles.get(partition(region), self._profiles.get("", ""))
        return self._boto3.session.Session(profile_name=profile) if profile else self._boto3

    def call(self, service: str, operation: str, region: str, **arguments: Any) -> dict[str, Any]:
        """The answer of `operation` (boto3's name of it); AwsError for whatever goes wrong."""
        client = self.client(service, region)
        try:
            answer: dict[str, Any] = getattr(client, operation)(**arguments)
        except Exception as error:
            raise AwsError(f"{region}: {words(error)}") from error
        return answer

    def pages(self, service: str, operation: str, region: str, key: str, **arguments: Any) -> list[Any]:
        """The items below `key` of all pages."""
        client = self.client(service, region)
        try:
            pages = client.get_paginator(operation).paginate(**arguments)
            return [item for page in pages for item in page.get(key, [])]
        except Exception as error:
            raise AwsError(f"{region}: {words(error)}") from error


def _boto3() -> Any:
    try:
        import boto3
    except ImportError as error:
        raise ConfigError("boto3 is not installed: pip install 'lambda-extension-kit[publish]'") from error
    return boto3


def code(error: BaseException | None) -> str:
    """AWS's name of an error; "" where there was no answer."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


def throttled(error: BaseException | None) -> bool:
    """Refused for the rate of calls: nothing was done."""
    return bool(_THROTTLED.search(code(error)))


def unclear(error: BaseException | None) -> bool:
    """Nobody knows whether the call was carried out: no answer came, or one of status 500 and above."""
    answer = getattr(error, "response", None)
    if not isinstance(answer, dict):
        return True
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) >= 500


def words(error: BaseException) -> str:
    """What went wrong, in one line that says what can be done."""
    name, operation = code(error), str(getattr(error, "operation_name", ""))
    answer = getattr(error, "response", None) or {}
    message = " ".join(str(answer.get("Error", {}).get("Message", "") or error).split())
    # Between AWS and us may stand something that answers with a page.
    message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
    if _DENIED.search(name):
        return f"access denied: these credentials may not call {operation} ({message})"
    if name.startswith(_CREDENTIALS):
        return f"the credentials are not taken, or the region is not enabled for the account ({name} in {operation})"
    if throttled(error):
        return f"throttled: AWS takes no more calls of {operation} for now; run it again later ({name})"
    if name:
        return f"{operation} was refused: {name}: {message}"
    return f"{type(error).__name__}: {message}"


def partition(region: str) -> str:
    """The partition of a region, by its name (https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries)."""
    known = {"cn-": "aws-cn", "us-gov-": "aws-us-gov", "us-iso-": "aws-iso", "us-isob-": "aws-iso-b", "eu-isoe-": "aws-iso-e",
             "us-isof-": "aws-iso-f", "eusc-": "aws-eusc"}  # fmt: skip
    return next((name for prefix, name in known.items() if region.startswith(prefix)), "aws")


def regions(text: str, without: str = "") -> list[str]:
    """The regions named between commas; ``all``, or ``all:aws-cn`` for another partition: those that boto3 knows Lambda in."""
    found: list[str] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word == "all" or word.startswith("all:"):
            which = word.partition(":")[2] or "aws"
            known = _boto3().session.Session().get_available_regions("lambda", which)
            if not known:
                raise ConfigError(f"--regions {word}: boto3 knows no such partition")
            found += known
        elif _REGION.fullmatch(word):
            found.append(word)
        else:
            raise ConfigError(f"--regions: {word!r} is no region; e.g. eu-west-1,us-east-1, or all")
    left = [part.strip() for part in without.split(",")]
    chosen = [one for one in dict.fromkeys(found) if one not in left]
    if not chosen:
        raise ConfigError("--regions: none is left")
    return chosen


def profiles(given: list[str]) -> dict[str, str]:
    """``--profile NAME``, or PARTITION=NAME for each partition."""
    pairs = [text.rpartition("=") for text in given]
    return {where: name for where, _, name in pairs}
