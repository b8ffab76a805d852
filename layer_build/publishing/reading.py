"""What is there, region by region, before anything is done."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from layer_build.publishing import plan
from layer_build.publishing.aws import AwsError, code
from layer_build.publishing.plan import Grant, Region, Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layer_build.publishing.aws import Aws
    from layer_build.publishing.zips import Zip

_AT_ONCE = 10  # names; GetParameters takes no more
_DESCRIPTION = re.compile(r"([0-9A-Za-z][0-9A-Za-z.+-]*)(:|$)")
#: whom a statement lets in: an account's number, or an ARN that has it
_ACCOUNT = re.compile(r"\d{12}")


def region(aws: Aws, name: str, zips: Sequence[Zip], prefix: str) -> Region:
    """All that matters for `zips` there; AwsError for the first call that fails."""
    who = aws.call("sts", "get_caller_identity", name)
    found = Region(name, str(who["Arn"]).split(":")[1], str(who["Account"]))
    for one in zips:
        found.versions[one.layer_name] = versions(aws, name, one)
        mine = found.version(one)
        if mine is not None:
            found.grants[mine.arn] = grants(aws, name, one.layer_name, mine)
    names = sorted({parameter for one in zips for parameter in plan.parameters(one, prefix)}) if prefix else []
    for at in range(0, len(names), _AT_ONCE):
        answer = aws.call("ssm", "get_parameters", name, Names=names[at : at + _AT_ONCE])
        found.parameters |= {one["Name"]: one["Value"] for one in answer["Parameters"]}
    return found


def versions(aws: Aws, region: str, one: Zip) -> list[Version]:
    """Of the layer of `one`, newest first; their content's hash is asked for until that of `one` is met."""
    try:
        listed = aws.pages("lambda", "list_layer_versions", region, "LayerVersions", LayerName=one.layer_name)
    except AwsError as error:
        if code(error.__cause__) != "ResourceNotFoundException":
            raise
        listed = []
    found: list[Version] = []
    met = False
    for item in sorted(listed, key=lambda item: -int(item["Version"])):
        said = _DESCRIPTION.match(item.get("Description") or "")
        digest = "" if met else _digest(aws, region, one.layer_name, int(item["Version"]))
        met = met or digest == one.sha256
        found.append(Version(int(item["Version"]), item["LayerVersionArn"], said[1] if said else "", digest))
    return found


def _digest(aws: Aws, region: str, layer_name: str, number: int) -> str:
    answer = aws.call("lambda", "get_layer_version", region, LayerName=layer_name, VersionNumber=number)
    return sha256(answer["Content"])


def sha256(content: dict[str, Any]) -> str:
    """CodeSha256, which is in base64, in hexadecimal; "" where there is none."""
    return base64.b64decode(content.get("CodeSha256") or "").hex()


def grants(aws: Aws, region: str, layer_name: str, version: Version) -> list[Grant]:
    """Whom the version lets in."""
    try:
        answer = aws.call(
            "lambda", "get_layer_version_policy", region, LayerName=layer_name, VersionNumber=version.number
        )
    except AwsError as error:
        if code(error.__cause__) == "ResourceNotFoundException":  # nobody but its own account
            return []
        raise
    statements = json.loads(answer["Policy"])["Statement"]
    return [_grant(one) for one in statements if one.get("Effect") == "Allow"]


def _grant(statement: dict[str, Any]) -> Grant:
    principal = statement.get("Principal", "")
    if isinstance(principal, dict):
        principal = principal.get("AWS", "")
    number = _ACCOUNT.search(str(principal))
    equals = statement.get("Condition", {}).get("StringEquals", {})
    # moto keeps the field of the call.
    organization = str(equals.get("aws:PrincipalOrgID") or statement.get("OrganizationId") or "")
    return Grant(number[0] if number else str(principal), organization)
