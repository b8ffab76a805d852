"""Terraform (or OpenTofu): the layer from the zip, a role with the least policy, a sample function.

Everything is named after the extension and there is no ``terraform`` block, so that the files of several extensions lie in one
folder, beside the operator's own.
"""

from __future__ import annotations

import base64

from layer_build.templates.shared import HANDLER, KNOWN, Placeholder, Subject, comment, escaped, fill_in, pieces, quoted

_DATA = {
    "partition": ("aws_partition", "partition"),
    "region": ("aws_region", "id"),
    "account": ("aws_caller_identity", "account_id"),
}


def file_name(subject: Subject) -> str:
    """Where it is written."""
    return f"{subject.manifest.name}.tf"


def render(subject: Subject) -> str:
    """The configuration."""
    blocks = [
        comment(
            [*subject.header(), "Needs the provider hashicorp/aws, 5.0 or newer (one that knows the runtimes below)."]
        ),
        *_variables(subject),
        *_sources(subject),
    ]
    if not subject.layer_arn:
        blocks.append(_layer(subject))
    blocks += [*_role(subject), _function(subject), _output(subject)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _variables(subject: Subject) -> list[list[str]]:
    name = subject.snake
    code = "a zip with the sample function's index.py, which has " + HANDLER.splitlines()[0].removesuffix(":")
    return [
        _variable(f"{name}_function_zip", code),
        *(_variable(f"{name}_iam_{one}", f"what {{{one}}} stands for in the policy") for one in subject.parameters),
    ]


def _variable(name: str, description: str) -> list[str]:
    return [f'variable "{name}" {{', "  type        = string", f"  description = {text(description)}", "}"]


def _sources(subject: Subject) -> list[list[str]]:
    """Data sources for the placeholders that are used; the partition is always in the role."""
    used = {"partition"}
    for one in subject.manifest.iam:
        for resource in one.resources:
            used |= {piece.name for piece in pieces(resource) if isinstance(piece, Placeholder)}
    return [[f'data "{_DATA[name][0]}" "{subject.snake}" {{}}'] for name in KNOWN if name in used]


def _layer(subject: Subject) -> list[str]:
    zip_ = f'"${{path.module}}/{_inner(subject.zip)}"'
    digest = f"filebase64sha256({zip_})"
    if subject.sha256:
        digest = f'"{base64.b64encode(bytes.fromhex(subject.sha256)).decode()}"'
    return [
        f'resource "aws_lambda_layer_version" "{subject.snake}" {{',
        f"  layer_name               = {text(subject.layer_name)}",
        f"  description              = {text(subject.description)}",
        f"  filename                 = {zip_}",
        f"  source_code_hash         = {digest}",
        f"  compatible_runtimes      = [{', '.join(map(text, subject.runtimes))}]",
        f"  compatible_architectures = [{text(subject.arch)}]",
        "}",
    ]


def _layer_arn(subject: Subject) -> str:
    return text(subject.layer_arn) if subject.layer_arn else f"aws_lambda_layer_version.{subject.snake}.arn"


def _role(subject: Subject) -> list[list[str]]:
    name = subject.snake
    basic = f"arn:${{data.aws_partition.{name}.partition}}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    blocks = [
        [
            f'resource "aws_iam_role" "{name}" {{',
            f"  name_prefix = {text(subject.layer_name[:37] + '-')}",
            "  assume_role_policy = jsonencode({",
            '    Version = "2012-10-17"',
            "    Statement = [",
            '      { Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "lambda.amazonaws.com" } },',
            "    ]",
            "  })",
            "}",
        ],
        [
            f'resource "aws_iam_role_policy_attachment" "{name}" {{',
            f"  role       = aws_iam_role.{name}.name",
            f'  policy_arn = "{basic}"',
            "}",
        ],
    ]
    return [*blocks, _policy(subject)] if subject.manifest.iam else blocks


def _policy(subject: Subject) -> list[str]:
    name = subject.snake
    lines = [
        f'resource "aws_iam_role_policy" "{name}" {{',
        f"  name = {text(subject.layer_name)}",
        f"  role = aws_iam_role.{name}.name",
        "  policy = jsonencode({",
        '    Version = "2012-10-17"',
        "    Statement = [",
    ]
    for one in subject.manifest.iam:
        if one.why:
            lines += comment([one.why], "      ")
        lines += [
            "      {",
            '        Effect   = "Allow"',
            f"        Action   = [{', '.join(map(text, one.actions))}]",
            f"        Resource = [{', '.join(_resource(resource, name) for resource in one.resources)}]",
            "      },",
        ]
    return [*lines, "    ]", "  })", "}"]


def _resource(resource: str, name: str) -> str:
    words = []
    for piece in pieces(resource):
        if isinstance(piece, str):
            words.append(_inner(piece))
        elif piece.name in _DATA:
            source, attribute = _DATA[piece.name]
            words.append(f"${{data.{source}.{name}.{attribute}}}")
        else:
            words.append(f"${{var.{name}_iam_{piece.name}}}")
    return f'"{"".join(words)}"'


def text(words: str) -> str:
    """`words` as a string of HCL."""
    return f'"{_inner(words)}"'


def _inner(words: str) -> str:
    """Escaped for between the quotes; what would begin a template is doubled (HCL, "String Literals")."""
    return escaped(words).replace("${", "$${").replace("%{", "%%{")


def _function(subject: Subject) -> list[str]:
    name = subject.snake
    return [
        "# A function to try it with: yours needs layers, and the policy on its role.",
        f'resource "aws_lambda_function" "{name}" {{',
        f"  function_name    = {text(subject.layer_name[:57] + '-sample')}",
        f"  filename         = var.{name}_function_zip",
        f"  source_code_hash = filebase64sha256(var.{name}_function_zip)",
        '  handler          = "index.handler"',
        f"  runtime          = {text(subject.runtimes[-1])}",
        f"  architectures    = [{text(subject.arch)}]",
        f"  role             = aws_iam_role.{name}.arn",
        f"  layers           = [{_layer_arn(subject)}]",
        *_environment(subject),
        "}",
    ]


def _environment(subject: Subject) -> list[str]:
    """The variables that it reads, to be filled in: an empty value would be a setting, so they are comments."""
    names, families = fill_in(subject.variables)
    if not names and not families:
        return []
    inside = [*(f"      {name} = {quoted('')}" for name in names), *(f"      # {one}" for one in families)]
    return ["", *(f"  # {line[2:]}" for line in ["  environment {", "    variables = {", *inside, "    }", "  }"])]


def _output(subject: Subject) -> list[str]:
    return [f'output "{subject.snake}_layer_arn" {{', f"  value = {_layer_arn(subject)}", "}"]
