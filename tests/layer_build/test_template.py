"""``template``: what is generated is valid to the tools that read it, says what the manifest says, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from cfnlint.decode.cfn_yaml import loads
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from layer_build import tree
from layer_build.cli import main
from layer_build.commands.template import KINDS, subject
from layer_build.templates import cdk, cloudformation, dockerfile, sam, terraform
from layer_build.templates.shared import Placeholder, Subject, escaped, pieces, quoted
from layer_build.tree import Entry
from tests.layer_build import sample
from tests.layer_build.subjects import ARN, HOSTILE, MANIFESTS, MANY, made


@pytest.fixture(params=MANIFESTS)
def one(request):
    """A subject for each manifest."""
    return made(MANIFESTS[request.param])


# CloudFormation and SAM


def complaints(text: str) -> list[str]:
    """The errors and warnings of cfn-lint; its rules of taste (I...) are off by default, as on its command line."""
    return [str(match) for match in lint(text, config=ManualArgs(regions=["eu-west-1"]))]


@pytest.mark.parametrize("kind", [sam, cloudformation])
@pytest.mark.parametrize("arn", ["", ARN])
@pytest.mark.parametrize("name", MANIFESTS)
def test_cfn_lint_has_nothing_to_say(kind, arn, name):
    text = kind.render(made(MANIFESTS[name], layer_arn=arn, pythons=("3.11", "3.12", "3.13", "3.14")))
    assert complaints(text) == []


def test_cfn_lint_can_say_no():
    text = cloudformation.render(made(sample.MANIFEST)).replace("AWS::Lambda::LayerVersion", "AWS::Lambda::Layer")
    assert "AWS::Lambda::Layer" in " ".join(complaints(text))


def test_the_policy_is_the_manifests_and_nothing_else():
    for kind, place in ((sam, None), (cloudformation, "Role")):
        resources = loads(kind.render(made(MANY)))["Resources"]
        holder = resources[place or "Function"]["Properties"]["Policies"][0]
        statements = holder["PolicyDocument"]["Statement"] if place else holder["Statement"]
        assert statements == [
            {
                "Effect": "Allow",
                "Action": ["secretsmanager:GetSecretValue", "kms:Decrypt"],
                "Resource": [
                    {
                        "Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:"
                        "secret:${IamSecretName}-*"
                    },
                    {"Fn::Sub": "arn:aws-cn:kms:*:*:key/${IamKey}"},
                ],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:Get*"],
                "Resource": [
                    {"Fn::Sub": "arn:${AWS::Partition}:s3:::x/${!aws:username}/${IamKey}"},
                    "arn:aws-us-gov:s3:::${aws:username}",
                ],
            },
            {"Effect": "Allow", "Action": ["ssm:GetParameter"], "Resource": ["*"]},
        ]


def test_without_iam_there_is_no_policy():
    assert "Policies:" not in sam.render(made(sample.BARE))
    assert "PolicyDocument:" not in cloudformation.render(made(sample.BARE)).replace("AssumeRolePolicyDocument:", "")
    assert 'aws_iam_role_policy"' not in terraform.render(made(sample.BARE))
    assert "iam" not in cdk.render(made(sample.BARE)).split("class ")[1]


def test_the_layer_is_what_was_built():
    layer = loads(cloudformation.render(made(sample.MANIFEST)))["Resources"]["Layer"]["Properties"]
    assert layer["CompatibleRuntimes"] == ["python3.12", "python3.13"]
    assert layer["CompatibleArchitectures"] == ["arm64"]
    assert layer["LayerName"] == "log-shipper"
    assert layer["Description"] == "1.2.0: Sends log lines to my service."
    function = loads(sam.render(made(sample.MANIFEST)))["Resources"]["Function"]["Properties"]
    assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
    assert function["Layers"] == [{"Ref": "Layer"}]


def test_other_content_has_another_key_and_a_folder_none():
    def key(**more: str) -> str:
        found: str = loads(cloudformation.render(made(sample.MANIFEST, **more)))["Parameters"]["LayerKey"]["Default"]
        return found

    assert key() == "a layer-abababababab.zip"
    assert key(sha256="cd" * 32) == "a layer-cdcdcdcdcdcd.zip"
    assert key(sha256="") == "a layer.zip"


def test_a_published_layer_is_used_as_it_is(one):
    for name, kind in KINDS.items():
        text = kind.render(Subject(**{**vars(one), "layer_arn": ARN}))
        assert ARN in text
        # The Dockerfile says how to fetch it; the others make no layer.
        if name != "dockerfile":
            assert "LayerVersion\n" not in text
            assert "aws_lambda_layer_version" not in text
            assert "from_asset" not in text
            assert one.zip not in text


def test_variables_are_told_but_not_set(one):
    for kind in (sam, cloudformation):
        assert "Environment" not in loads(kind.render(one))["Resources"]["Function"]["Properties"]
    for kind in KINDS.values():
        text = kind.render(made(sample.MANIFEST))
        assert re.search(r"^ *#.*LOG_SHIPPER_ENDPOINT\W+$", text, re.MULTILINE)
        assert re.search(r"^ *#.*and any that begins with LOG_SHIPPER_$", text, re.MULTILINE)
        settings = [line for line in text.splitlines() if "It reads these variables" not in line]
        assert not any("AWS_REGION" in line for line in settings), "Lambda sets that one, and refuses it"


def test_what_the_extension_may_do_stands_above(one):
    for kind in KINDS.values():
        head = kind.render(one).splitlines()
        said = " ".join(line.removeprefix("#").strip() for line in head if line.startswith("#"))
        assert "It may talk to: " in said
        assert "It needs these IAM actions: " in said


# CDK


def _calls(text: str) -> dict[str, list[dict[str, Any]]]:
    """The calls in a module by the last name of what is called: arguments by keyword, evaluated with words for tokens."""

    class Token:
        def __getattr__(self, name: str) -> str:
            return f"<{name}>"

    names = {name: Token() for name in ("self", "iam_bucket", "iam_secret_name", "iam_key", "lambda_")}
    names["lambda_"] = type("Lambda", (), {"Runtime": Token(), "Architecture": Token()})()
    found: dict[str, list[dict[str, Any]]] = {}
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
        values = {}
        for keyword in node.keywords:
            if keyword.arg in ("code", "layers", None):
                continue
            values[keyword.arg] = eval(compile(ast.Expression(keyword.value), "keyword", "eval"), {}, names)
        found.setdefault(called, []).append(values)
    return found


def test_cdk_says_what_the_manifest_says():
    calls = _calls(cdk.render(made(MANY)))
    assert [call["resources"] for call in calls["PolicyStatement"]] == [
        [
            "arn:<partition>:secretsmanager:<region>:<account>:secret:<value_as_string>-*",
            "arn:aws-cn:kms:*:*:key/<value_as_string>",
        ],
        ["arn:<partition>:s3:::x/${aws:username}/<value_as_string>", "arn:aws-us-gov:s3:::${aws:username}"],
        ["*"],
    ]  # fmt: skip
    assert calls["PolicyStatement"][0]["actions"] == ["secretsmanager:GetSecretValue", "kms:Decrypt"]
    assert len(calls["CfnParameter"]) == 2
    (layer,) = calls["LayerVersion"]
    assert layer["compatible_runtimes"] == ["<PYTHON_3_12>", "<PYTHON_3_13>"]
    assert layer["compatible_architectures"] == ["<ARM_64>"]
    assert layer["layer_version_name"] == "9-many-parts"
    (function,) = calls["Function"]
    assert function == {"runtime": "<PYTHON_3_13>", "architecture": "<ARM_64>", "handler": "index.handler"}


def test_a_stack_has_a_name_that_cdk_allows(one):
    (name,) = re.findall(r'^    \w+\(app, "(.*)"\)$', cdk.render(one), re.MULTILINE)
    assert re.fullmatch("[A-Za-z][A-Za-z0-9-]*", name), "any other is refused when the stack is made"


def test_cdk_imports_what_it_uses_and_no_more(one):
    module = ast.parse(cdk.render(one))
    imported = {
        alias.asname or alias.name for node in module.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    used = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
    assert imported - used == set()
    assert {"Stack", "App", "lambda_"} <= imported


def test_nothing_that_an_author_wrote_becomes_code():
    """The same manifest with other words makes the same code: comments and texts are all that differs."""
    tame = MANY.replace(json.dumps(HOSTILE, ensure_ascii=False), '"tame"')

    class Texts(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            return ast.Constant("") if isinstance(node.value, str) else node

    trees = [ast.dump(Texts().visit(ast.parse(cdk.render(made(text))))) for text in (MANY, tame)]
    assert trees[0] == trees[1]
    for kind in (sam, cloudformation):
        hostile, harmless = (json.loads(json.dumps(loads(kind.render(made(text))))) for text in (MANY, tame))
        hostile["Resources"]["Layer"]["Properties"]["Description"] = "2.0.0: tame"
        assert hostile == harmless
    hostile, harmless = (
        [line for line in dockerfile.render(made(text)).splitlines() if not line.startswith("#")]
        for text in (MANY, tame)
    )
    assert hostile == harmless


# What they share


def test_a_long_summary_is_cut_where_lambda_cuts():
    long = sample.MANIFEST.replace("Sends log lines to my service.", "word " * 100)
    assert len(made(long).description) == 256


@given(st.text())
def test_a_quoted_text_is_read_alike_by_python_and_yaml(text):
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert ast.literal_eval(quoted(text)) == text
        assert loads(f"a: {quoted(text)}") == {"a": text}


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        ("arn:aws:s3:::b", ["arn:", Placeholder("partition"), ":s3:::b"]),
        ("arn:aws-cn:s3:::b", ["arn:aws-cn:s3:::b"]),
        ("{region}{account}", [Placeholder("region"), Placeholder("account")]),
        ("${region} {Region} {} {a-b}", ["${region} {Region} {} {a-b}"]),
    ],
)
def test_placeholders(resource, found):
    assert pieces(resource) == found


def test_two_placeholders_that_would_be_one_parameter_are_refused():
    with pytest.raises(
        ConfigError, match=r"^log-shipper: capabilities\.iam: two of a1, a_1 make the same parameter's name$"
    ):
        made(sample.MANIFEST.replace("{bucket}", "{a1}{a_1}"))


def test_names_that_begin_with_a_digit_or_hold_dots_become_names():
    one = made(MANY)
    assert (one.camel, one.snake, one.layer_name) == ("Layer9ManyParts", "layer_9_many_parts", "9-many-parts")


def test_escaped_is_plain_where_it_can_be():
    assert escaped("a-Ü/b's") == "a-Ü/b's"


# The command


def test_all_kinds_of_a_layer_at_once(tmp_path, capsys):
    path = sample.zipped(tmp_path / "layer.zip")
    out = tmp_path / "new" / "folder"
    assert main(["template", str(path), "--kind", "all", "--out", str(out)]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == [
        "log-shipper.sam.yaml",
        "log-shipper.cloudformation.yaml",
        "log_shipper_stack.py",
        "log-shipper.tf",
        "log-shipper.Dockerfile",
    ]
    assert sorted(one.name for one in out.iterdir()) == sorted(names)
    content = loads((out / "log-shipper.sam.yaml").read_text())["Resources"]["Layer"]["Properties"]["ContentUri"]
    assert (out / content).resolve() == path
    assert 'COPY ["layer.zip", "/layer.zip"]' in (out / "log-shipper.Dockerfile").read_text()


def test_one_kind_is_printed(tmp_path, capsys):
    path = sample.zipped(tmp_path / "layer.zip")
    assert main(["template", str(path), "--kind", "terraform"]) == 0
    assert capsys.readouterr().out == terraform.render(subject(path, Path()))


def test_an_extension_that_was_not_built_yet(tmp_path):
    (tmp_path / "manifest.toml").write_text(sample.BARE)
    one = subject(tmp_path, Path())
    assert (one.pythons[-1], one.arch, one.zip, one.sha256) == ("3.14", "x86_64", "bare.zip", "")
    for kind in KINDS.values():
        assert "bare.zip" in kind.render(one)


def test_a_layer_in_a_folder(tmp_path):
    one = subject(sample.unpacked(tmp_path / "opt"), Path())
    assert (one.pythons, one.zip, one.sha256) == (("3.13",), "log-shipper.zip", "")


def test_a_file_that_was_changed_by_hand_is_kept(tmp_path, capsys):
    words = ["template", str(sample.zipped(tmp_path / "layer.zip")), "--kind", "all", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert main(words) == 0, "the same content is no change"
    other = tmp_path / "out" / "log-shipper.tf"
    other.write_text("mine")
    (tmp_path / "out" / "log-shipper.sam.yaml").unlink()
    capsys.readouterr()
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"layer_build template: {other} is there and differs; nothing was written (--force writes over it)\n"
    )
    assert other.read_text() == "mine"
    assert not (tmp_path / "out" / "log-shipper.sam.yaml").exists()
    assert main([*words, "--force"]) == 0
    assert other.read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--kind", "all"], "--kind all makes several files: name a folder with --out"),
        (["--kind", "sam", "--layer-arn", "arn:aws:s3:::x"], "--layer-arn 'arn:aws:s3:::x': the ARN of a layer version wanted"),
        (["--kind", "sam", "--out", "FILE/x"], "--out FILE/x: cannot be written: "),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_one_line(tmp_path, capsys, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("")
    assert main(["template", str(sample.zipped(tmp_path / "layer.zip")), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"layer_build template: {why}")
    assert error.count("\n") == 1
    assert sorted(os.listdir()) == ["FILE", "layer.zip"]


def test_a_layer_of_somebody_else_is_refused(tmp_path, capsys):
    path = sample.zipped(tmp_path / "agent.zip", sample.third_party())
    assert main(["template", str(path), "--kind", "sam"]) == 2
    assert f"{path}: not a layer of ours, nor the folder of an extension: 0 extensions" in capsys.readouterr().err


def test_a_dockerfile_refuses_links(tmp_path, capsys):
    layer = {**sample.files(), "log-shipper/lib/link": Entry(b"x", 0o777, is_link=True)}
    tree.write_zip(layer, tmp_path / "layer.zip")
    assert main(["template", str(tmp_path / "layer.zip"), "--kind", "dockerfile"]) == 2
    assert "the layer has links, and those it cannot carry" in capsys.readouterr().err
