"""What the services hold, and their answers: functions of (state, request) that raise `Refused`."""

from __future__ import annotations

import base64
import re
import secrets
import string
import time
import uuid
from dataclasses import dataclass, field

ACCOUNT = "111122223333"
ALPHABET = string.ascii_letters + string.digits


class Refused(Exception):
    """An error of a service: code, message, status."""

    def __init__(self, code, message, status=400):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@dataclass
class Secret:
    name: str
    arn: str
    versions: dict[str, dict] = field(
        default_factory=dict
    )  # id -> {"SecretString"|"SecretBinary", "stages", "created"}
    tags: dict[str, str] = field(default_factory=dict)

    def add(self, value, stage="AWSCURRENT"):
        """A new version; AWSCURRENT and AWSPREVIOUS move as Secrets Manager moves them."""
        id = str(uuid.uuid4())
        if stage == "AWSCURRENT":
            for version in self.versions.values():
                version["stages"].discard("AWSPREVIOUS")
            for version in self.versions.values():
                if "AWSCURRENT" in version["stages"]:
                    version["stages"] = {"AWSPREVIOUS"}
        kind = "SecretBinary" if isinstance(value, bytes) else "SecretString"
        value = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        self.versions[id] = {kind: value, "stages": {stage}, "created": round(time.time(), 3)}
        return id

    def answer(self, id=None, stage=None, arn=None):
        """As GetSecretValue has it."""
        wanted = stage or "AWSCURRENT"
        for version_id, version in self.versions.items():
            by_id = id is not None and version_id == id and (stage is None or stage in version["stages"])
            if by_id or (id is None and wanted in version["stages"]):
                value = {name: version[name] for name in ("SecretString", "SecretBinary") if name in version}
                return {
                    "ARN": arn or self.arn, "Name": self.name, "VersionId": version_id, **value,
                    "VersionStages": sorted(version["stages"]), "CreatedDate": version["created"],
                }  # fmt: skip
        what = f"staging label: {wanted}" if id is None else f"VersionId: {id}"
        raise Refused("ResourceNotFoundException", f"Secrets Manager can't find the specified secret value for {what}")


@dataclass
class Account:
    """Of one region."""

    region: str
    number: str = ACCOUNT
    secrets: dict[str, Secret] = field(default_factory=dict)
    parameters: dict[str, list[dict]] = field(default_factory=dict)

    def find(self, id):
        """By name, ARN, or ARN without its suffix."""
        for secret in self.secrets.values():
            if id in (secret.name, secret.arn) or secret.arn[:-7] == id:
                return secret
        raise Refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")


def new_secret(account, name):
    suffix = "".join(secrets.choice(ALPHABET) for _ in range(6))
    arn = f"arn:aws:secretsmanager:{account.region}:{account.number}:secret:{name}-{suffix}"
    return Secret(name, arn)


# Secrets Manager --------------------------------------------------------------------------------------------------------


def get_secret_value(account, body):
    _require(body, "SecretId")
    return account.find(body["SecretId"]).answer(body.get("VersionId"), body.get("VersionStage"))


def batch_get_secret_value(account, body):
    ids, filters = body.get("SecretIdList"), body.get("Filters")
    if bool(ids) == bool(filters):
        raise Refused("InvalidParameterException", "You must specify either SecretIdList or Filters.")
    if ids is None:
        if body.get("MaxResults", 20) > 20:
            raise Refused("InvalidParameterException", "MaxResults must be 1 to 20")
        found = [one for one in account.secrets.values() if all(_has(one, rule) for rule in filters)]
        begin, most = int(body.get("NextToken", 0)), body.get("MaxResults", 20)
        page = {"SecretValues": [one.answer() for one in found[begin : begin + most]], "Errors": []}
        return {**page, "NextToken": str(begin + most)} if begin + most < len(found) else page
    if len(ids) > 20:
        raise Refused("ValidationException", "Member must have length less than or equal to 20")
    values, errors = [], []
    for id in ids:
        try:
            values.append(account.find(id).answer())
        except Refused as refused:
            errors.append({"SecretId": id, "ErrorCode": refused.code, "Message": refused.message})
    return {"SecretValues": values, "Errors": errors}


def describe_secret(account, body):
    _require(body, "SecretId")
    secret = account.find(body["SecretId"])
    versions = {id: sorted(version["stages"]) for id, version in secret.versions.items() if version["stages"]}
    return {"ARN": secret.arn, "Name": secret.name, "VersionIdsToStages": versions}


def _has(secret, rule):
    if rule["Key"] == "tag-key":
        return any(key in rule["Values"] for key in secret.tags)
    if rule["Key"] == "tag-value":
        return any(value in rule["Values"] for value in secret.tags.values())
    if rule["Key"] == "name":
        return any(secret.name.startswith(value) for value in rule["Values"])
    raise Refused("ValidationException", "this filter is not known here")


# Parameter Store --------------------------------------------------------------------------------------------------------


def get_parameter(account, body):
    _require(body, "Name")
    return {"Parameter": _parameter(account, body["Name"], body.get("WithDecryption") is True)}


def get_parameters(account, body):
    names = body.get("Names") or []
    if not 1 <= len(names) <= 10 or len(set(names)) != len(names):
        raise Refused("ValidationException", "names: 1 to 10 of them, all different")
    found, invalid = [], []
    for name in names:
        try:
            found.append(_parameter(account, name, body.get("WithDecryption") is True))
        except Refused:
            invalid.append(name)
    return {"Parameters": found, "InvalidParameters": invalid}


def get_parameters_by_path(account, body):
    _require(body, "Path")
    path, most = body["Path"].rstrip("/") + "/", body.get("MaxResults", 10)
    if not body["Path"].startswith("/") or not 1 <= most <= 10:
        raise Refused("ValidationException", "the path begins with /, and MaxResults is 1 to 10")
    names = sorted(name for name in account.parameters if name.startswith(path))
    if not body.get("Recursive"):
        names = [name for name in names if "/" not in name.removeprefix(path)]
    begin = int(body.get("NextToken") or 0)
    page = [_parameter(account, name, body.get("WithDecryption") is True) for name in names[begin : begin + most]]
    more = {"NextToken": str(begin + most)} if begin + most < len(names) else {}
    return {"Parameters": page, **more}


def _parameter(account, name, decrypt):
    if name.startswith("/aws/reference/secretsmanager/"):
        return _reference(account, name, decrypt)
    bare, selector = name, ""
    if name.startswith("arn:"):
        match = re.fullmatch(r"arn:aws:ssm:[^:]+:\d+:parameter(/[^:]+)(?::(.+))?", name)
        if match is None:
            raise Refused("ValidationException", "no ARN of a parameter")
        bare, selector = match[1], match[2] or ""
        bare = bare if bare in account.parameters else bare[1:]
    elif ":" in name:
        bare, _, selector = name.partition(":")
    versions = account.parameters.get(bare)
    if not versions:
        raise Refused("ParameterNotFound", f"{name} not found.")
    chosen = versions[-1]
    if selector:
        matching = [one for one in versions if selector in (str(one["Version"]), *one["labels"])]
        if not matching:
            code = "ParameterVersionNotFound" if selector.isdigit() else "ParameterVersionLabelNotFound"
            raise Refused(code, f"Systems Manager could not find version {selector} of {bare}.")
        chosen = matching[-1]
    value = chosen["Value"] if decrypt or chosen["Type"] != "SecureString" else "AQICAHg" + "x" * 40
    slash = "" if bare.startswith("/") else "/"
    return {
        "Name": bare, "Type": chosen["Type"], "Value": value, "Version": chosen["Version"],
        "LastModifiedDate": chosen["modified"], "DataType": "text",
        "ARN": f"arn:aws:ssm:{account.region}:{account.number}:parameter{slash}{bare}",
        **({"Selector": f":{selector}"} if selector else {}),
    }  # fmt: skip


def _reference(account, name, decrypt):
    if not decrypt:
        raise Refused("ValidationException", "WithDecryption flag must be True for retrieving a Secret Manager secret.")
    id, _, stage = name.removeprefix("/aws/reference/secretsmanager/").partition(":")
    try:
        found = account.find(id).answer(stage=stage or None)
    except Refused as refused:
        raise Refused("ParameterNotFound", refused.message) from None
    return {
        "ARN": found["ARN"], "LastModifiedDate": found["CreatedDate"], "Name": name.partition(":")[0], "Version": 0,
        "SourceResult": "{}", "Type": "SecureString", "Value": found.get("SecretString"),
        **({"Selector": f":{stage}"} if stage else {}),
    }  # fmt: skip


def _require(body, name):
    if not isinstance(body.get(name), str) or not 1 <= len(body[name]) <= 2048:
        raise Refused("ValidationException", f"1 validation error detected: {name}")


OPERATIONS = {
    "secretsmanager.GetSecretValue": get_secret_value,
    "secretsmanager.BatchGetSecretValue": batch_get_secret_value,
    "secretsmanager.DescribeSecret": describe_secret,
    "AmazonSSM.GetParameter": get_parameter,
    "AmazonSSM.GetParameters": get_parameters,
    "AmazonSSM.GetParametersByPath": get_parameters_by_path,
}
