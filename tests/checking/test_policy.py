"""IAM policies, as `extension-kit check --policy` reads them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.checking import iam, policy
from extension_kit.checking.policy import ALLOWED, DENIED, MISSING, PERHAPS
from extension_kit.errors import ConfigError
from layer_build.manifest import Permission

GET = "secretsmanager:GetSecretValue"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-x"


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {**allow(action, resource, **more), "Effect": "Deny"}


def write(folder, *statements, wrapped=None):
    path = folder / "policy.json"
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    path.write_text(json.dumps(wrapped(document) if wrapped else document))
    return path


@pytest.mark.parametrize(
    ("statements", "resource", "answer"),
    [
        ([], "*", MISSING),
        ([allow(GET)], "*", ALLOWED),
        ([allow("secretsmanager:getsecretvalue")], "*", ALLOWED),  # actions are the same in any case
        ([allow("secretsmanager:Get*")], "*", ALLOWED),
        ([allow("*")], ARN, ALLOWED),
        ([allow("secretsmanager:Describe*")], "*", MISSING),
        ([allow([GET, "ssm:GetParameter"], [ARN])], "*", ALLOWED),
        ([allow(GET, ARN)], ARN, ALLOWED),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:prod/*")], ARN, ALLOWED),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:test/*")], ARN, MISSING),
        ([allow(GET, "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/*")],
         "arn:aws:secretsmanager:{region}:{account}:secret:{name}", ALLOWED),
        ([allow(GET, "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:*:secret:prod/db-x")], ARN, ALLOWED),
        # A manifest's placeholder becomes one name, which an operator may choose; its star is all there are.
        ([allow(GET, ARN)], "arn:aws:secretsmanager:*:*:secret:prod/*", PERHAPS),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:prod/a*")], "arn:aws:secretsmanager:*:*:secret:prod/*", PERHAPS),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:prod/????")], "arn:aws:secretsmanager:*:*:secret:prod/*", PERHAPS),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:prod/*")], "arn:aws:secretsmanager:*:*:secret:prod/*", ALLOWED),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:*")], "arn:aws:secretsmanager:*:*:secret:prod/*", ALLOWED),
        ([allow(GET, "*")], "arn:aws:secretsmanager:*:*:secret:prod/?", ALLOWED),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:prod/?")], "arn:aws:secretsmanager:*:*:secret:prod/?", ALLOWED),
        ([allow(GET, "arn:aws:secretsmanager:*:*:secret:prod/x")], "arn:aws:secretsmanager:*:*:secret:prod/?", PERHAPS),
        ([allow(GET, ARN), allow(GET)], "arn:aws:secretsmanager:*:*:secret:prod/*", ALLOWED),
        ([allow(GET, {"Fn::GetAtt": ["Secret", "Arn"]})], ARN, PERHAPS),
        ([allow(GET, Condition={"StringEquals": {"aws:RequestedRegion": "eu-west-1"}})], "*", PERHAPS),
        ([allow(GET), deny(GET)], "*", DENIED),
        ([allow(GET), deny("secretsmanager:*", ARN)], ARN, DENIED),
        ([allow(GET), deny(GET, ARN)], "*", PERHAPS),
        ([allow(GET), deny(GET, "arn:aws:secretsmanager:*:*:secret:test/*")], ARN, ALLOWED),
        ([allow(GET), deny(GET, Condition={"Bool": {"aws:SecureTransport": "false"}})], ARN, PERHAPS),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "*", ALLOWED),
        ([{"Effect": "Allow", "NotAction": "secretsmanager:*", "Resource": "*"}], "*", MISSING),
        ([{"Effect": "Allow", "Action": GET, "NotResource": "arn:aws:s3:::*"}], ARN, ALLOWED),
        ([{"Effect": "Allow", "Action": GET, "NotResource": [ARN]}], ARN, MISSING),
        ([allow(GET), {"Effect": "Deny", "Action": GET, "NotResource": [ARN]}], ARN, ALLOWED),
    ],
)  # fmt: skip
def test_what_a_policy_allows(statements, resource, answer, tmp_path):
    assert policy.judge(policy.read(write(tmp_path, *statements)), GET, resource) == answer


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda one: {"RoleName": "r", "PolicyDocument": one},  # aws iam get-role-policy
        lambda one: {"PolicyVersion": {"Document": one, "VersionId": "v1"}},  # aws iam get-policy-version
        lambda one: {**one, "Statement": one["Statement"][0]},  # one statement needs no list
    ],
)
def test_how_a_document_may_be_wrapped(wrapped, tmp_path):
    assert policy.judge(policy.read(write(tmp_path, allow(GET), wrapped=wrapped)), GET, "*") == ALLOWED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "no IAM policy"),
        ('{"Statement": ["x"]}', '"Effect": "Allow" or "Deny"'),
        ('{"Statement": [{"Effect": "Maybe"}]}', '"Effect": "Allow" or "Deny"'),
        ('{"Statement": [{"Effect": "Allow"}]}', "neither Action nor NotAction"),
        ('{"Statement": [{"Effect": "Allow", "Action": "*"}]}', "neither Resource nor NotResource"),
        (
            '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "NotResource": "*"}]}',
            "NotResource, or both",
        ),
    ],
)
def test_what_is_no_policy(text, says, tmp_path):
    (tmp_path / "policy.json").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(says)):
        policy.read(tmp_path / "policy.json")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        policy.read(tmp_path / "none.json")


PATTERNS = st.text("ab*?", max_size=6)
TEXTS = [""] + [a + b + c for a in ("", "a", "b") for b in ("", "a", "b") for c in ("a", "b")]


def matches(pattern, text):
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(one, one) for one in pattern), text) is not None


@given(PATTERNS, st.text("ab", max_size=6))
def test_overlap_with_a_text_is_a_match(pattern, text):
    assert policy.overlap(pattern, text) == policy.overlap(text, pattern) == matches(pattern, text)


@given(PATTERNS, PATTERNS)
def test_overlap_of_patterns_is_symmetric_and_never_misses_a_common_text(left, right):
    found = policy.overlap(left, right)
    assert found == policy.overlap(right, left)
    if any(matches(left, text) and matches(right, text) for text in TEXTS):
        assert found


@pytest.mark.parametrize(
    ("when", "environ", "wanted"),
    [
        ((), {}, iam.YES),
        (("SINK=s3",), {}, iam.NO),
        (("SINK=s3",), {"SINK": "http, S3"}, iam.YES),
        (("SINK=s3",), {"SINK": "s3x"}, iam.NO),
        (("SOURCE=ssm:*",), {"SOURCE": "ssm:/a"}, iam.YES),
        (("GROUP",), {"GROUP": " "}, iam.NO),
        (("GROUP",), {"GROUP": "g"}, iam.YES),
        (("?",), {}, iam.PERHAPS),
        (("SINK=s3", "CONFIG?"), {"CONFIG": "/x"}, iam.PERHAPS),
        (("SINK=s3", "CONFIG?"), {"CONFIG": "/x", "SINK": "s3"}, iam.YES),
    ],
)
def test_when_a_permission_is_needed(when, environ, wanted):
    assert iam.needed(Permission(("s3:PutObject",), when=when), environ) == wanted
