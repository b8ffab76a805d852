"""SAM: the layer from the zip beside the template, and a sample function with the least policy."""

from __future__ import annotations

from typing import Any

from layer_build.templates.cloudformation import environment, layer, parameters, statements
from layer_build.templates.shared import HANDLER, Subject, comment
from layer_build.templates.yaml_text import Block, Note, dump


def file_name(subject: Subject) -> str:
    """Where it is written."""
    return f"{subject.manifest.name}.sam.yaml"


def render(subject: Subject) -> str:
    """The template."""
    resources: dict[Any, Any] = {}
    if not subject.layer_arn:
        resources["Layer"] = {"Type": "AWS::Serverless::LayerVersion", "Properties": _layer(subject)}
    resources[Note(("A function to try it with: yours needs Layers, and the Policies.",))] = None
    resources["Function"] = {"Type": "AWS::Serverless::Function", "Properties": _function(subject)}
    found = parameters(subject)
    template: dict[Any, Any] = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Description": f"{subject.manifest.name} as a layer, and a function with it",
        **({"Parameters": found} if found else {}),
        "Resources": resources,
        "Outputs": {"LayerArn": {"Value": layer(subject)}},
    }
    return "\n".join(comment(subject.header())) + "\n" + dump(template)


def _layer(subject: Subject) -> dict[str, Any]:
    return {
        "LayerName": subject.layer_name,
        "Description": subject.description,
        "ContentUri": subject.zip,
        "CompatibleRuntimes": subject.runtimes,
        "CompatibleArchitectures": [subject.arch],
    }


def _function(subject: Subject) -> dict[Any, Any]:
    policies = (
        {"Policies": [{"Version": "2012-10-17", "Statement": statements(subject)}]} if subject.manifest.iam else {}
    )
    return {
        "Runtime": subject.runtimes[-1],
        "Architectures": [subject.arch],
        "Handler": "index.handler",
        "InlineCode": Block(HANDLER),
        "Layers": [layer(subject)],
        **policies,
        **environment(subject),
    }
