"""``outdated``: the functions of an account in moto, and every kind of template."""

from __future__ import annotations

import io
import json
import zipfile

import boto3
import pytest

from layer_build.cli import main
from tests.layer_build import sample
from tests.layer_build.publishing.conftest import answer, layers, publish, publishable

pytestmark = pytest.mark.once

TWO = ("eu-west-1", "us-east-1")
CHANGELOG = """# Changelog

## Unreleased

- Not yet.

## [2.0.0] - 2026-11-01

### Added

- A second bucket,
  for audits.

### Removed

- The setting `LOG_SHIPPER_OLD`.

## 1.2.0

### Added

- The first.
"""
NEW = (
    sample.MANIFEST.replace("1.2.0", "2.0.0")
    .replace('"LOG_SHIPPER_ENDPOINT", ', "")
    .replace(
        'why = "a copy of each batch" }',
        'why = "a copy of each batch" }, { actions = ["s3:ListBucket"], resources = ["arn:aws:s3:::{audit}"] }',
    )
)
OLD_ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:log-shipper-x86_64-python313:1"
NEW_ARN = OLD_ARN[:-1] + "2"
OTHERS = "arn:aws:lambda:eu-west-1:210987654321:layer:Powertools:7"


@pytest.fixture
def index(wire, tmp_path):
    """Two versions in two regions; the second may do something else."""
    assert (
        publish(layers(tmp_path / "old", arches=("x86_64",)), "--yes", "--index", tmp_path / "index.json", regions=TWO)
        == 0
    )
    (tmp_path / "new").mkdir()
    files = publishable(sample.files(NEW, version="2.0.0"))
    sample.zipped(tmp_path / "new" / "log-shipper-2.0.0.zip", files)
    assert publish(tmp_path / "new", "--yes", "--index", tmp_path / "index.json", regions=TWO) == 0
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path / "index.json"


def outdated(index, *words):
    return main(
        ["outdated", *map(str, words), "--index", str(index), "--changelog", str(index.parent / "CHANGELOG.md")]
    )


def functions(region, layouts):
    """Functions in moto, one for each list of layers."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handler(event, context): pass")
    client, iam = boto3.client("lambda", region_name=region), boto3.client("iam", region_name=region)
    try:
        role = iam.get_role(RoleName="role")["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        role = iam.create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    for number, found in enumerate(layouts):
        client.create_function(
            FunctionName=f"function-{number:02}", Runtime="python3.13", Handler="app.handler", Role=role,
            Code={"ZipFile": code.getvalue()}, Layers=found,
        )  # fmt: skip


@pytest.fixture
def account(index):
    """60 functions in two regions: 12 with ours, old; 8 with ours, new; 10 with others'; 30 with none."""
    for region in TWO:
        client = boto3.client("lambda", region_name=region)
        content = {"ZipFile": next((index.parent / "old").glob("*.zip")).read_bytes()}
        other = client.publish_layer_version(LayerName="theirs", Content=content)["LayerVersionArn"]
        old, new = (arn.replace("eu-west-1", region) for arn in (OLD_ARN, NEW_ARN))
        functions(region, [[old]] * 3 + [[other, old]] * 3 + [[new]] * 4 + [[other]] * 5 + [[]] * 15)
    return index


def test_sixty_functions(account, capsys):
    capsys.readouterr()
    assert outdated(account, "--regions", ",".join(TWO)) == 1
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split() == ["FUNCTION", "WHERE", "LAYER", "HAS", "NEWEST"]
    rows = [line.split() for line in lines[1:13]]
    assert [row[:2] for row in rows] == [[f"function-{number:02}", region] for region in TWO for number in range(6)]
    assert all(row[2:] == ["log-shipper-x86_64-python313", "1.2.0", "(:1)", "2.0.0", "(:2)"] for row in rows)
    assert lines[-1] == "60 function(s), 20 with known layers: 12 layer(s) behind, 8 current"
    assert out.count("log-shipper 1.2.0 -> 2.0.0\n") == 1
    for said in (
        "  may break: 1.2.0 -> 2.0.0: by its number it may break what relied on the old one",
        "  may break: the function's role needs s3:ListBucket on arn:aws:s3:::{audit}",
        "  may break: it may no longer read the variable LOG_SHIPPER_ENDPOINT",
        "  may break: removed: The setting `LOG_SHIPPER_OLD`.",
        "  changed:   Added: A second bucket, for audits.",
        "  it may now use the IAM action s3:ListBucket on arn:aws:s3:::{audit}",
    ):
        assert said in lines
    assert "The first." not in out
    assert "Not yet." not in out
    assert outdated(account, "--regions", ",".join(TWO), "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["functions"] == 60
    states = [one["state"] for one in document["layers"]]
    assert (states.count("behind"), states.count("current"), len(states)) == (12, 8, 20)
    first = document["layers"][0]
    assert (first["has"], first["newest"], first["newest_arn"]) == ("1.2.0", "2.0.0", NEW_ARN)
    assert first["capabilities"] == [
        "may now use the IAM action s3:ListBucket on arn:aws:s3:::{audit}",
        "may no longer read the variable LOG_SHIPPER_ENDPOINT",
    ]


def test_all_are_current(account, capsys):
    client = boto3.client("lambda", region_name="us-east-1")
    for number in range(6):
        new = NEW_ARN.replace("eu-west-1", "us-east-1")
        client.update_function_configuration(FunctionName=f"function-{number:02}", Layers=[new])
    capsys.readouterr()
    assert outdated(account, "--regions", "us-east-1") == 0
    assert capsys.readouterr().out == "30 function(s), 10 with known layers: 0 layer(s) behind, 10 current\n"


def test_a_region_that_is_denied(index, wire, capsys):
    wire.fault = lambda region, name, request: (
        answer(request, 403, "AccessDeniedException") if region == "us-east-1" and name == "ListFunctions" else None
    )
    capsys.readouterr()
    assert outdated(index, "--regions", ",".join(TWO)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        "layer_build outdated: us-east-1: access denied: these credentials may not call ListFunctions"
    )


def template(arn):
    """SAM with all the ways to name a layer."""
    return f"""
Transform: AWS::Serverless-2016-10-31
Parameters:
  Layer: {{Type: String, Default: '{arn}'}}
Globals:
  Function:
    Layers: ['{arn}']
Resources:
  Plain:
    Type: AWS::Serverless::Function
    Properties: {{Runtime: python3.13}}
  Sub:
    Type: AWS::Lambda::Function
    Properties:
      Layers: [!Sub '{arn.replace("eu-west-1", "${AWS::Region}").replace("arn:aws:", "arn:${AWS::Partition}:")}']
  Ref:
    Type: AWS::Lambda::Function
    Properties: {{Layers: [!Ref Layer]}}
  If:
    Type: AWS::Lambda::Function
    Properties: {{Layers: [!If [Condition, '{arn}', !Ref 'AWS::NoValue']]}}
  Join:
    Type: AWS::Lambda::Function
    Properties: {{Layers: [!Join ['', ['arn:', !Ref 'AWS::Partition', '{arn.removeprefix("arn:aws")}']]]}}
  Theirs:
    Type: AWS::Lambda::Function
    Properties: {{Layers: ['{OTHERS}', !GetAtt Other.Arn, '{{{{resolve:ssm:/extension-kit/x}}}}']}}
  Role:
    Type: AWS::IAM::Role
"""


SAM_NAMES = ["Plain", "Sub", "Ref", "If", "Join"]
HCL = """
# layers = ["OLD"]
locals { logs = "OLD" }
variable "logs" {
  type    = string
  default = "OLD"
}
resource "aws_lambda_function" "plain" {
  runtime = "python3.13"
  layers  = ["OTHERS", "OLD"] // "braces } in text"
  environment { variables = { A = "}" } }
}
resource "aws_lambda_function" "local" { layers = [local.logs] }
resource "aws_lambda_function" "var" {
  layers = [
    var.logs,
  ]
}
resource "aws_lambda_function" "open" {
  layers = ["OPEN"]
}
resource "aws_lambda_function" "none" { handler = "x" }
module "api" {
  source = "terraform-aws-modules/lambda/aws"
  layers = ["OLD"]
}
module "bucket" { source = "x" }
"""
HCL_NAMES = ["aws_lambda_function." + name for name in ("plain", "local", "var", "open")] + ["module.api"]


def plan(arn):
    """``terraform show -json``: a plan with a module."""
    one = {
        "address": "aws_lambda_function.a",
        "mode": "managed",
        "type": "aws_lambda_function",
        "values": {"layers": [arn]},
    }
    none = {**one, "address": "aws_lambda_function.none", "values": {"layers": None}}
    role = {"address": "aws_iam_role.r", "mode": "managed", "type": "aws_iam_role", "values": {}}
    child = {"address": "module.m", "resources": [{**one, "address": "module.m.aws_lambda_function.b"}]}
    return {"root_module": {"resources": [one, none, role], "child_modules": [child]}}


def written(kind, folder, arn):
    """The template of this kind, and the functions in it that use ours."""
    openly = arn.replace("eu-west-1", "${data.aws_region.current.name}")
    if kind == "sam":
        (folder / "template.yaml").write_text(template(arn))
        return folder / "template.yaml", SAM_NAMES
    if kind == "cdk":
        (folder / "cdk.out").mkdir()
        function = {"Type": "AWS::Lambda::Function", "Properties": {"Layers": [arn], "Runtime": "python3.13"}}
        joined = {"Fn::Join": ["", ["arn:", {"Ref": "AWS::Partition"}, arn.removeprefix("arn:aws")]]}
        resources = {"A1": function, "B2": {**function, "Properties": {"Layers": [joined]}}}
        (folder / "cdk.out" / "Stack.template.json").write_text(json.dumps({"Resources": resources}))
        (folder / "cdk.out" / "manifest.json").write_text("{}")
        return folder / "cdk.out", ["A1", "B2"]
    if kind == "hcl":
        (folder / "main.tf").write_text(HCL.replace("OLD", arn).replace("OPEN", openly).replace("OTHERS", OTHERS))
        return folder / "main.tf", HCL_NAMES
    key = "planned_values" if kind == "plan" else "values"
    (folder / "plan.json").write_text(json.dumps({key: plan(arn)}))
    return folder / "plan.json", ["aws_lambda_function.a", "module.m.aws_lambda_function.b"]


@pytest.mark.parametrize("kind", ["sam", "cdk", "plan", "state", "hcl"])
def test_templates(index, tmp_path, capsys, kind, wire):
    calls = len(wire.calls)
    for arn, status, state in ((OLD_ARN, 1, "behind"), (NEW_ARN, 0, "current"), (OTHERS, 0, "")):
        folder = tmp_path / f"{kind}{state}"
        folder.mkdir()
        path, names = written(kind, folder, arn)
        capsys.readouterr()
        assert outdated(index, path, "--json") == status
        rows = json.loads(capsys.readouterr().out)["layers"]
        assert [(one["function"], one["state"]) for one in rows] == ([(name, state) for name in names] if state else [])
        assert outdated(index, path) == status
    assert len(wire.calls) == calls


def test_templates_of_our_own_are_read(index, tmp_path, capsys):
    """What ``template`` writes, with a version that is behind."""
    for kind in ("sam", "cloudformation", "terraform"):
        words = ["--kind", kind, "--layer-arn", OLD_ARN, "--out", str(tmp_path / "iac")]
        assert main(["template", str(next((index.parent / "old").glob("*.zip"))), *words]) == 0
    paths = sorted((tmp_path / "iac").iterdir())
    assert outdated(index, *paths) == 1
    assert "3 function(s), 3 with known layers: 3 layer(s) behind, 0 current" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (
            "9",
            0,
            "note: F uses arn:aws:lambda:eu-west-1:123456789012:layer:log-shipper-x86_64-python313:9, which is newer",
        ),
        ("1", 1, "the index does not know the version in use: what changed cannot be told"),
    ],
)
def test_a_version_that_the_index_does_not_have(index, tmp_path, capsys, number, status, said):
    document = json.loads(index.read_text())
    document["layers"] = [one for one in document["layers"] if one["version"] == "2.0.0"]
    index.write_text(json.dumps(document))
    resource = {"Type": "AWS::Lambda::Function", "Properties": {"Layers": [OLD_ARN[:-1] + number]}}
    (tmp_path / "t.json").write_text(json.dumps({"Resources": {"F": resource}}))
    assert outdated(index, tmp_path / "t.json") == status
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("a: [", "not YAML (line 1)"),
        ("- a", "not a template"),
        ("{}", "neither Resources (CloudFormation, SAM) nor planned_values (Terraform)"),
        ("a: &a [*a]", "not a template"),
    ],
)
def test_what_is_no_template_is_one_line(index, tmp_path, capsys, text, said):
    (tmp_path / "t").write_text(text)
    capsys.readouterr()
    assert outdated(index, tmp_path / "t") == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which layers are known? Name an index with --index"),
        (["--index", "none.json"], "none.json: no such index"),
        (["--index", "{index}"], "Name templates, or the account's regions with --regions"),
        (["none.yaml", "--index", "{index}"], "none.yaml: no such template"),
        (["{empty}", "--index", "{index}"], "neither CDK's *.template.json nor Terraform's *.tf in it"),
        (["--index", "{plain}", "--regions", "eu-west-1"], "nothing in it was published"),
        (["--index", "{index}", "--changelog", "none.md"], "--changelog none.md: cannot be read: No such file"),
        (["x", "--index", "{index}", "--regions", "eu-west-1"], "--regions is for the account's functions"),
    ],
)
def test_a_wrong_command_line_is_one_line(tmp_path, capsys, words, said):
    published = {"eu-west-1": {"arn": OLD_ARN, "sha256": "a"}}
    entry = {"name": "a", "version": "1", "architecture": "x86_64", "sha256": "a", "pythons": []}
    for name, layers_ in (("index", [{**entry, "published": published}]), ("plain", [entry])):
        (tmp_path / name).write_text(json.dumps({"format": 1, "layers": layers_}))
    (tmp_path / "empty").mkdir()
    places = {name: str(tmp_path / name) for name in ("index", "plain", "empty")}
    assert main(["outdated", *(word.format(**places) for word in words)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err
