"""CDK in Python: a stack with the layer from the zip beside it, and a sample function with the least policy."""

from __future__ import annotations

from layer_build.templates.shared import (
    HANDLER,
    Placeholder,
    Subject,
    comment,
    escaped,
    fill_in,
    parameter,
    pieces,
    quoted,
)

_ARCHITECTURES = {"x86_64": "X86_64", "arm64": "ARM_64"}
_INSIDE = " " * 8


def file_name(subject: Subject) -> str:
    """Where it is written."""
    return f"{subject.snake}_stack.py"


def render(subject: Subject) -> str:
    """The module: importable, and an app when it is run."""
    class_ = f"{subject.camel}Stack"
    aws = ["App", *(["CfnParameter"] if subject.parameters else []), "Stack"]
    lines = [
        *comment(subject.header()),
        *([] if subject.layer_arn else ["from pathlib import Path", ""]),
        f"from aws_cdk import {', '.join(aws)}",
        *(["from aws_cdk import aws_iam as iam"] if subject.manifest.iam else []),
        "from aws_cdk import aws_lambda as lambda_",
        "",
        "",
        f"class {class_}(Stack):",
        "    def __init__(self, scope, construct_id, **options):",
        f"{_INSIDE}super().__init__(scope, construct_id, **options)",
        *_layer(subject),
        *_function(subject),
        *_statements(subject),
        "",
        "",
        'if __name__ == "__main__":',
        "    app = App()",
        f"    {class_}(app, {quoted(class_)})",
        "    app.synth()",
    ]
    return "\n".join(lines) + "\n"


def _layer(subject: Subject) -> list[str]:
    if subject.layer_arn:
        made = f'lambda_.LayerVersion.from_layer_version_arn(self, "Layer", {quoted(subject.layer_arn)})'
        return [f"{_INSIDE}layer = {made}"]
    runtimes = ", ".join(_runtime(one) for one in subject.pythons)
    return [
        f"{_INSIDE}layer = lambda_.LayerVersion(",
        f"{_INSIDE}    self,",
        f'{_INSIDE}    "Layer",',
        f"{_INSIDE}    code=lambda_.Code.from_asset(str(Path(__file__).parent / {quoted(subject.zip)})),",
        f"{_INSIDE}    layer_version_name={quoted(subject.layer_name)},",
        f"{_INSIDE}    description={quoted(subject.description)},",
        f"{_INSIDE}    compatible_runtimes=[{runtimes}],",
        f"{_INSIDE}    compatible_architectures=[{_architecture(subject)}],",
        f"{_INSIDE})",
    ]


def _runtime(python: str) -> str:
    return f"lambda_.Runtime.PYTHON_{python.replace('.', '_')}"


def _architecture(subject: Subject) -> str:
    return f"lambda_.Architecture.{_ARCHITECTURES[subject.arch]}"


def _function(subject: Subject) -> list[str]:
    names, families = fill_in(subject.variables)
    inside = [*(f'    "{name}": "",' for name in names), *(f"    # {one}" for one in families)]
    environment = ["environment={", *inside, "},"] if inside else []
    return [
        f"{_INSIDE}# A function to try it with: yours needs layers, and the statements.",
        f"{_INSIDE}function = lambda_.Function(",
        f"{_INSIDE}    self,",
        f'{_INSIDE}    "Function",',
        f"{_INSIDE}    runtime={_runtime(subject.pythons[-1])},",
        f"{_INSIDE}    architecture={_architecture(subject)},",
        f'{_INSIDE}    handler="index.handler",',
        f"{_INSIDE}    code=lambda_.Code.from_inline({quoted(HANDLER)}),",
        f"{_INSIDE}    layers=[layer],",
        # An empty value would be a setting, so they are comments.
        *(f"{_INSIDE}    # {line}" for line in environment),
        f"{_INSIDE})",
    ]


def _statements(subject: Subject) -> list[str]:
    """The statements that the extension needs, and no more; each with its reason."""
    lines = []
    for name in subject.parameters:
        words = quoted(f"What {{{name}}} stands for in the policy")
        lines.append(f"{_INSIDE}iam_{name} = CfnParameter(self, {quoted(parameter(name))}, description={words})")
    for one in subject.manifest.iam:
        if one.why:
            lines += comment([one.why], _INSIDE)
        lines += [
            f"{_INSIDE}function.add_to_role_policy(",
            f"{_INSIDE}    iam.PolicyStatement(",
            f"{_INSIDE}        actions=[{', '.join(map(quoted, one.actions))}],",
            f"{_INSIDE}        resources=[{', '.join(map(_resource, one.resources))}],",
            f"{_INSIDE}    )",
            f"{_INSIDE})",
        ]
    return lines


def _resource(text: str) -> str:
    found = pieces(text)
    if all(isinstance(piece, str) for piece in found):
        return quoted(text)
    return f'f"{"".join(map(_inside, found))}"'


def _inside(piece: str | Placeholder) -> str:
    """A piece of an f-string."""
    if isinstance(piece, str):
        return escaped(piece.replace("{", "{{").replace("}", "}}"))
    return (
        f"{{self.{piece.name}}}"
        if piece.name in ("region", "account", "partition")
        else f"{{iam_{piece.name}.value_as_string}}"
    )
