"""Manifests to make templates of: a common one, one with next to nothing, one with all there is and hostile words."""

from __future__ import annotations

import json
from typing import Any

from layer_build.manifest import parse
from layer_build.templates.shared import Subject
from tests.layer_build import sample

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:log-shipper:7"
HOSTILE = (
    'a "b" \'c\' ${AWS::Region} ${d} %{if e} {{resolve:ssm:f}} \\ # */ """\nrm -rf: - !Ref g\u202e \u0007 \U0001f600'
)
MANY = f"""\
name = "9-many.parts"
version = "2.0.0"
summary = {json.dumps(HOSTILE, ensure_ascii=False)}
plugins = ["many:Many"]
[capabilities]
hosts = ["secretsmanager.{{region}}.amazonaws.com"]
variables = ["MANY_*", "AWS_LAMBDA_FUNCTION_NAME"]
ports = [{{ name = "http", port = 2773 }}, {{ name = "proxy", port = 0, fallback = true }}]
[[capabilities.iam]]
actions = ["secretsmanager:GetSecretValue", "kms:Decrypt"]
resources = ["arn:aws:secretsmanager:{{region}}:{{account}}:secret:{{secret_name}}-*", "arn:aws-cn:kms:*:*:key/{{key}}"]
why = {json.dumps(HOSTILE, ensure_ascii=False)}
[[capabilities.iam]]
actions = ["s3:Get*"]
resources = ["arn:aws:s3:::x/${{aws:username}}/{{key}}", "arn:aws-us-gov:s3:::${{aws:username}}"]
[[capabilities.iam]]
actions = ["ssm:GetParameter"]
"""
MANIFESTS = {"sample": sample.MANIFEST, "bare": sample.BARE, "many": MANY}


def made(manifest: str, **more: Any) -> Subject:
    pythons = more.pop("pythons", ("3.12", "3.13"))
    values = {"arch": "arm64", "zip": "dist/a layer.zip", "sha256": "ab" * 32, **more}
    return Subject(parse(manifest.encode(), "1.0.0"), pythons=pythons, **values)
