"""CloudFormation: the layer from a bucket, a role with the least policy, a sample function. SAM shares its parts."""

from __future__ import annotations

from typing import Any

from layer_build.explain import one_line
from layer_build.templates.shared import HANDLER, Placeholder, Subject, comment, fill_in, parameter, pieces
from layer_build.templates.yaml_text import Block, Note, Tagged, dump

_PSEUDO = {"region": "AWS::Region", "account": "AWS::AccountId", "partition": "AWS::Partition"}


def file_name(subject: Subject) -> str:
    """Where it is written."""
    return f"{subject.manifest.name}.cloudformation.yaml"


def render(subject: Subject) -> str:
    """The template."""
    resources: dict[Any, Any] = {}
    if not subject.layer_arn:
        resources["Layer"] = {"Type": "AWS::Lambda::LayerVersion", "Properties": _layer(subject)}
    resources["Role"] = {"Type": "AWS::IAM::Role", "Properties": _role(subject)}
    resources[Note(("A function to try it with: yours needs Layers, and the statements of the role.",))] = None
    resources["Function"] = {"Type": "AWS::Lambda::Function", "Properties": _function(subject)}
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"{subject.manifest.name} as a layer, and a function with it",
        **_parameters(subject),
        "Resources": resources,
        "Outputs": {"LayerArn": {"Value": layer(subject)}},
    }
    put = [] if subject.layer_arn else [f"Put the zip there first: aws s3 cp {subject.zip} s3://BUCKET/{_key(subject)}"]
    return "\n".join(comment([*subject.header(), *put])) + "\n" + dump(template)


def _parameters(subject: Subject) -> dict[str, Any]:
    found: dict[Any, Any] = {}
    if not subject.layer_arn:
        found["LayerBucket"] = {"Type": "String", "Description": "The bucket that the layer's zip was put into"}
        found["LayerKey"] = {"Type": "String", "Default": _key(subject), "Description": "Where it lies there"}
    return {"Parameters": found | parameters(subject)} if found or subject.parameters else {}


def _key(subject: Subject) -> str:
    """A key of its own for each content: CloudFormation sees a new layer only under a new key."""
    stem = subject.zip.rpartition("/")[2].removesuffix(".zip")
    return f"{stem}-{subject.sha256[:12]}.zip" if subject.sha256 else f"{stem}.zip"


def parameters(subject: Subject) -> dict[str, Any]:
    """What only the operator knows, as parameters."""
    return {
        parameter(name): {"Type": "String", "Description": f"What {{{name}}} stands for in the policy"}
        for name in subject.parameters
    }


def _layer(subject: Subject) -> dict[str, Any]:
    return {
        "LayerName": subject.layer_name,
        "Description": subject.description,
        "Content": {"S3Bucket": Tagged("!Ref", "LayerBucket"), "S3Key": Tagged("!Ref", "LayerKey")},
        "CompatibleRuntimes": subject.runtimes,
        "CompatibleArchitectures": [subject.arch],
    }


def layer(subject: Subject) -> str | Tagged:
    """The layer version, however it comes."""
    return subject.layer_arn or Tagged("!Ref", "Layer")


def _role(subject: Subject) -> dict[str, Any]:
    may = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    basic = "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    role: dict[str, Any] = {
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [may]},
        "ManagedPolicyArns": [Tagged("!Sub", basic)],
    }
    if subject.manifest.iam:
        document = {"Version": "2012-10-17", "Statement": statements(subject)}
        role["Policies"] = [{"PolicyName": subject.layer_name, "PolicyDocument": document}]
    return role


def statements(subject: Subject) -> list[Any]:
    """The statements that the extension needs, and no more; each with its reason."""
    found: list[Any] = []
    for one in subject.manifest.iam:
        if one.why:
            found.append(Note((one_line(one.why),)))
        found.append(
            {"Effect": "Allow", "Action": list(one.actions), "Resource": [_resource(text) for text in one.resources]}
        )
    return found


def _resource(text: str) -> str | Tagged:
    found = pieces(text)
    if all(isinstance(piece, str) for piece in found):
        return text
    # "${!" is how Fn::Sub writes a "${" that is meant as it stands, e.g. of an IAM policy variable.
    return Tagged(
        "!Sub", "".join(_name(one) if isinstance(one, Placeholder) else one.replace("${", "${!") for one in found)
    )


def _name(one: Placeholder) -> str:
    return "${" + _PSEUDO.get(one.name, parameter(one.name)) + "}"


def _function(subject: Subject) -> dict[Any, Any]:
    return {
        "Runtime": subject.runtimes[-1],
        "Architectures": [subject.arch],
        "Handler": "index.handler",
        "Code": {"ZipFile": Block(HANDLER)},
        "Role": Tagged("!GetAtt", "Role.Arn"),
        "Layers": [layer(subject)],
        **environment(subject),
    }


def environment(subject: Subject) -> dict[Any, Any]:
    """The variables that it reads, to be filled in: an empty value would be a setting, so they are comments."""
    names, families = fill_in(subject.variables)
    if not names and not families:
        return {}
    lines = [
        "Environment:",
        "  Variables:",
        *(f'    {name}: ""' for name in names),
        *(f"    # {one}" for one in families),
    ]
    return {Note(tuple(lines)): None}
