"""Functions and their layers in templates: CloudFormation and SAM, CDK's cloud assembly, Terraform's plan, state and text.

What a deployment fills in stays open (``${AWS::Region}``); what cannot be followed (a parameter without a default, an import)
is no layer for us. Nothing of a template is executed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build.outdated.uses import Found, Use, arns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_FUNCTIONS = ("AWS::Lambda::Function", "AWS::Serverless::Function")
_DEEPEST = 60  # nestings of a template that are followed
_BLOCK = re.compile(r'^[ \t]*(resource|module|locals|variable)((?:[ \t]+"[^"\n]*")*)[ \t]*\{', re.MULTILINE)
_ASSIGNED = re.compile(r'^[ \t]*([A-Za-z_][\w-]*)[ \t]*=[ \t]*"([^"\n]*)"', re.MULTILINE)
_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|(?:#|//)[^\n]*|/\*.*?\*/', re.DOTALL)


def read(path: Path) -> Found:
    """What the file or folder at `path` has; ConfigError where it is none of these."""
    if path.is_dir():
        assembly, text = sorted(path.rglob("*.template.json")), sorted(path.glob("*.tf"))
        if not assembly and not text:
            raise ConfigError(f"{path}: neither CDK's *.template.json nor Terraform's *.tf in it")
        found = Found(0, ())
        for one in assembly:
            found += read(one)
        return found + _hcl({one.name: _text(one) for one in text})
    text_ = _text(path)
    if path.suffix == ".tf":
        return _hcl({path.name: text_})
    content = _json(text_, path) if text_.lstrip().startswith("{") else _yaml(text_, path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not a template")
    for key in ("planned_values", "values"):
        if isinstance(content.get(key), dict) and "root_module" in content[key]:
            return _terraform(content[key]["root_module"], path.name)
    if not isinstance(content.get("Resources"), dict):
        raise ConfigError(
            f"{path}: not a template: neither Resources (CloudFormation, SAM) nor planned_values (Terraform)"
        )
    return _cloudformation(content, path.name)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error


def _yaml(text: str, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("PyYAML is not installed: pip install 'lambda-extension-kit[publish]'") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Short forms of functions (``!Sub``) as their long ones."""

    def short(loader: Any, suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.ScalarNode):
            value = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}

    Loader.add_multi_constructor("!", short)
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise ConfigError(f"{path}: not YAML{line}: {getattr(error, 'problem', None) or 'not to be read'}") from error


def _cloudformation(template: dict[str, Any], name: str) -> Found:
    defaults = {
        key: str(one["Default"])
        for key, one in _table(template, "Parameters").items()
        if isinstance(one, dict) and "Default" in one
    }
    shared = _table(_table(template, "Globals"), "Function").get("Layers", [])
    uses: list[Use] = []
    functions = 0
    for key, resource in template["Resources"].items():
        if not isinstance(resource, dict) or resource.get("Type") not in _FUNCTIONS:
            continue
        functions += 1
        properties = _table(resource, "Properties")
        layers = [properties.get("Layers", []), shared if resource["Type"] == _FUNCTIONS[1] else []]
        found = dict.fromkeys(arn for text in _texts(layers, defaults) for arn in arns(text))
        runtime = properties.get("Runtime", "")
        uses += [Use(key, name, arn, runtime if isinstance(runtime, str) else "") for arn in found]
    return Found(functions, tuple(uses))


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def _texts(value: Any, defaults: Mapping[str, str], depth: int = 0, seen: set[int] | None = None) -> Iterator[str]:
    """All texts that `value` may become: of conditions both sides. What YAML's aliases repeat is looked at once."""
    seen = set() if seen is None else seen
    if depth > _DEEPEST or id(value) in seen:
        return
    if isinstance(value, list):
        seen.add(id(value))
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, defaults, depth + 1, seen)
    elif isinstance(value, dict):
        if "Ref" in value:
            yield defaults.get(str(value["Ref"]), "${" + str(value["Ref"]) + "}")
        elif "Fn::Sub" in value:
            inside = value["Fn::Sub"]
            text, more = (inside[0], inside[1]) if isinstance(inside, list) and len(inside) == 2 else (inside, {})
            own = {key: one for key, one in more.items() if isinstance(one, str)} if isinstance(more, dict) else {}
            known = {**defaults, **own}
            yield re.sub(r"\$\{([\w.:]+)\}", lambda one: known.get(one[1], one[0]), str(text))
        elif "Fn::Join" in value:
            inside = value["Fn::Join"]
            if isinstance(inside, list) and len(inside) == 2 and isinstance(inside[1], list):
                parts = [next(_texts(one, defaults, depth + 1), "${}") for one in inside[1]]
                yield str(inside[0]).join(parts)
        elif "Fn::If" in value and isinstance(value["Fn::If"], list):
            yield from _texts(value["Fn::If"][1:], defaults, depth + 1, seen)


def _terraform(module: Any, name: str) -> Found:
    """A module of a plan or a state, and those in it."""
    functions, uses = 0, []
    for resource in module.get("resources", []) if isinstance(module, dict) else []:
        if resource.get("type") != "aws_lambda_function" or resource.get("mode", "managed") != "managed":
            continue
        functions += 1
        values = resource.get("values") or {}
        for text in values.get("layers") or []:
            uses += [Use(resource["address"], name, arn, values.get("runtime") or "") for arn in arns(str(text))]
    found = Found(functions, tuple(uses))
    for child in module.get("child_modules", []) if isinstance(module, dict) else []:
        found += _terraform(child, name)
    return found


def _hcl(texts: Mapping[str, str]) -> Found:
    """Functions in Terraform's text: resources, and modules that are given layers. ``local.x`` and ``var.x`` are followed
    where their value is a string that stands there.
    """
    blocks = [
        (name, *block)
        for name, text in texts.items()
        for block in _blocks(_COMMENT.sub(lambda one: one[1] or "", text))
    ]
    known: dict[str, str] = {}
    for _, kind, labels, body in blocks:
        if kind == "locals":
            known |= {f"local.{key}": value for key, value in _ASSIGNED.findall(body)}
        elif kind == "variable" and labels:
            known |= {f"var.{labels[0]}": value for key, value in _ASSIGNED.findall(body) if key == "default"}
    functions, uses = 0, []
    for name, kind, labels, body in blocks:
        if kind == "resource" and labels[:1] == ["aws_lambda_function"]:
            functions += 1
        elif kind != "module" or not re.search(r"^[ \t]*layers[ \t]*=", body, re.MULTILINE):
            continue
        else:
            functions += 1
        whole = re.sub(r"\b(?:local|var)\.[\w-]+", lambda one: known.get(one[0], one[0]), body)
        address = ".".join((*labels,) if kind == "resource" else ("module", *labels))
        runtime = next((value for key, value in _ASSIGNED.findall(body) if key == "runtime"), "")
        uses += [Use(address, name, arn, runtime) for arn in dict.fromkeys(arns(whole))]
    return Found(functions, tuple(uses))


def _blocks(text: str) -> Iterator[tuple[str, list[str], str]]:
    """Kind, labels and body of each block at the top of `text`, its comments taken out."""
    for found in _BLOCK.finditer(text):
        depth, at = 1, found.end()
        while depth and at < len(text):
            if text[at] == '"':
                at = _string_end(text, at)
            depth += {"{": 1, "}": -1}.get(text[at : at + 1], 0)
            at += 1
        yield found[1], re.findall(r'"([^"]*)"', found[2]), text[found.end() : at - 1]


def _string_end(text: str, start: int) -> int:
    """Where the string that begins at `start` ends; braces in it are none of a block's."""
    at = start + 1
    while at < len(text) and text[at] not in '"\n':
        at += 2 if text[at] == "\\" else 1
    return at
