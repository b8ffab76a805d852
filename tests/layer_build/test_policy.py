"""``policy``, and ``template --env``: what the settings make needed, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from extension_kit.checking import policy as judging
from layer_build.cli import main
from tests.layer_build import sample

EXTENSIONS = Path(__file__).parents[2] / "extensions"
SHIPPER = str(EXTENSIONS / "log_shipper")


def asked(capsys, *words):
    assert main(["policy", *map(str, words)]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def actions(policy):
    return [action for statement in policy["Statement"] for action in statement["Action"]]


def test_what_the_settings_need(capsys):
    found, err = asked(capsys, SHIPPER, "--env", "LOG_SHIPPER_SINK=s3")
    assert actions(found) == ["s3:PutObject"]
    assert found["Version"] == "2012-10-17"
    assert "log-shipper: kinesis:PutRecords: left out: only where LOG_SHIPPER_SINK=kinesis" in err
    assert "resource *: s3:PutObject: on everything; narrow it: --resource s3:PutObject=ARN" in err


def test_nothing_is_needed(capsys):
    assert asked(capsys, SHIPPER)[0]["Statement"] == []


def test_all(capsys):
    found, err = asked(capsys, SHIPPER, "--all")
    assert {"s3:PutObject", "kinesis:PutRecords", "ssm:GetParameter"} <= set(actions(found))
    assert "left out" not in err


def test_what_the_function_decides_is_in_it_and_told(capsys):
    found, err = asked(capsys, EXTENSIONS / "secret_cache")
    assert actions(found) == ["secretsmanager:GetSecretValue", "ssm:GetParameter"]
    assert "secretsmanager:GetSecretValue: in it, for the function may need it: each secret that is asked for" in err


def test_narrowed(capsys):
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:mine-*"
    words = (
        "--resource",
        f"secretsmanager:GetSecretValue={arn}",
        "--resource",
        f"ssm:GetParameter={arn},{arn}2",
        "--json",
    )
    found, err = asked(capsys, EXTENSIONS / "secret_cache", *words)
    statements = found["policy"]["Statement"]
    assert [one["Resource"] for one in statements] == [[arn], [arn, f"{arn}2"]]
    assert [one["about"] for one in found["remarks"]] == ["secret-cache"] * 2
    assert err == ""


def test_placeholders(tmp_path, capsys):
    layer = sample.zipped(tmp_path / "a.zip")
    assert main(["policy", str(layer)]) == 2
    error = (
        "layer_build policy: arn:aws:s3:::{bucket}/{region}/*: what does {bucket} stand for? Say --set bucket=VALUE\n"
    )
    assert capsys.readouterr().err == error
    found, _ = asked(capsys, layer, "--set", "bucket=mine", "--set", "partition=aws-cn")
    assert found["Statement"] == [
        {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws-cn:s3:::mine/*/*"]}
    ]


def test_several_extensions_are_one_policy(tmp_path, capsys):
    found, _ = asked(capsys, EXTENSIONS / "secret_cache", SHIPPER, "--env", "LOG_SHIPPER_API_KEY=ssm:/key")
    assert actions(found) == ["secretsmanager:GetSecretValue", "ssm:GetParameter"]
    assert len(found["Statement"]) == 1


@pytest.mark.parametrize("sink", ["cloudwatch", "firehose", "kinesis", "s3"])
def test_check_finds_nothing_to_add(tmp_path, capsys, sink):
    """The judge of policies, which does not know this command, allows all that it asks for."""
    found, _ = asked(capsys, SHIPPER, "--env", f"LOG_SHIPPER_SINK={sink}")
    (tmp_path / "policy.json").write_text(json.dumps(found))
    statements = judging.read(tmp_path / "policy.json")
    assert actions(found)
    assert all(judging.judge(statements, one, "*") == judging.ALLOWED for one in actions(found))


@pytest.mark.parametrize("kind", ["sam", "cloudformation", "cdk", "terraform"])
def test_a_template_for_settings(capsys, kind):
    assert main(["template", SHIPPER, "--kind", kind, "--env", "LOG_SHIPPER_SINK=s3"]) == 0
    text = capsys.readouterr().out
    assert "s3:PutObject" in text
    assert "kinesis:PutRecords" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env", "x"], "--env 'x': NAME=VALUE wanted"),
        (["--set", "=x"], "--set '=x': NAME=VALUE wanted"),
        (["--resource", "s3:PutObject"], "--resource 's3:PutObject': ACTION=ARN,... wanted"),
        (["--resource", "s3:PutObject=arn:aws:s3:::x"], "no extension needs this action with these settings"),
        (["none"], "none"),
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, words, said):
    assert main(["policy", SHIPPER, *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


def test_a_layer_of_somebody_else(tmp_path, capsys):
    assert main(["policy", str(sample.zipped(tmp_path / "a.zip", sample.third_party()))]) == 2
    assert "no manifest in it: nothing says what it may do" in capsys.readouterr().err
