"""What all kinds of template share: the layer that they are for, quoting, comments, and placeholders in resources."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build.explain import explain, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layer_build.manifest import Manifest

_PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z][a-z0-9_]*)\}")
#: what a resource may name that every template language knows by itself
KNOWN = ("region", "account", "partition")
#: set by Lambda: a function's configuration cannot have them (AWS docs, "Defined runtime environment variables")
_RESERVED = re.compile(
    r"_HANDLER|_X_AMZN_TRACE_ID|AWS_REGION|AWS_DEFAULT_REGION|AWS_EXECUTION_ENV|AWS_LAMBDA_(FUNCTION_|LOG_|RUNTIME_API|"
    r"INITIALIZATION_TYPE|METADATA_).*|AWS_ACCESS_KEY(_ID)?|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN|LAMBDA_TASK_ROOT|"
    r"LAMBDA_RUNTIME_DIR"
)
_DESCRIPTION = 256  # characters; a layer version's description (AWS API reference, PublishLayerVersion)
HANDLER = "def handler(event, context):\n    return {'status': 'ok'}\n"


@dataclass(frozen=True)
class Subject:
    """What a template is for. ``zip``: as seen from the template; ``sha256``: "" where no zip is known yet."""

    manifest: Manifest
    arch: str
    pythons: tuple[str, ...]
    zip: str
    sha256: str = ""
    layer_arn: str = ""
    has_links: bool = False

    def __post_init__(self) -> None:
        if len({parameter(name) for name in self.parameters}) < len(self.parameters):
            names = ", ".join(self.parameters)
            raise ConfigError(f"{self.manifest.name}: capabilities.iam: two of {names} make the same parameter's name")

    @property
    def camel(self) -> str:
        """Its name as CloudFormation and classes are named."""
        return camel(self.manifest.name)

    @property
    def snake(self) -> str:
        """Its name as Terraform and Python have names."""
        words = re.sub(r"[^a-z0-9]+", "_", self.manifest.name.lower()).strip("_")
        return words if words[:1].isalpha() else f"layer_{words}"

    @property
    def layer_name(self) -> str:
        """Its name as PublishLayerVersion allows it."""
        return re.sub(r"[^A-Za-z0-9_-]", "-", self.manifest.name)

    @property
    def description(self) -> str:
        """One line, as long as Lambda allows; nothing in it that CloudFormation could take for a reference."""
        text = one_line(f"{self.manifest.version}: {self.manifest.summary}".rstrip(": "))
        return text.replace("{{", "{ {").replace("${", "$ {")[:_DESCRIPTION]

    @property
    def runtimes(self) -> list[str]:
        """Lambda's names of the runtimes that the layer is for, oldest first."""
        return [f"python{one}" for one in self.pythons]

    @property
    def variables(self) -> list[str]:
        """Environment variables that a function's configuration can set for it; a star ends a family of them."""
        return [one for one in self.manifest.variables if not _RESERVED.fullmatch(one.rstrip("*"))]

    @property
    def parameters(self) -> list[str]:
        """Placeholders in resources that only the operator knows, e.g. the name of a bucket."""
        found = (piece for one in self.manifest.iam for resource in one.resources for piece in pieces(resource))
        return sorted({piece.name for piece in found if isinstance(piece, Placeholder)} - set(KNOWN))

    def header(self) -> list[str]:
        """What it is and what the extension may do, for a comment at the top."""
        one = self.manifest
        return [
            f"Made by `python -m layer_build template` for {one.name} {one.version}.",
            *([one.summary] if one.summary else []),
            *explain(one),
        ]


@dataclass(frozen=True)
class Placeholder:
    """A name in braces in a resource."""

    name: str


def pieces(resource: str) -> list[str | Placeholder]:
    """The text of a resource with its placeholders; ``arn:aws:`` at its beginning stands for whatever partition it is."""
    text = re.sub(r"^arn:aws:", "arn:{partition}:", resource)
    parts = _PLACEHOLDER.split(text)
    found = [Placeholder(part) if index % 2 else part for index, part in enumerate(parts)]
    return [part for part in found if part]


def camel(name: str) -> str:
    """``log-shipper`` as ``LogShipper``; begins with a letter always."""
    words = "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
    return words if words[:1].isalpha() else f"Layer{words}"


def parameter(name: str) -> str:
    """CloudFormation's parameter for the placeholder `name`; no resource of a template begins so."""
    return f"Iam{camel(name)}"


def quoted(text: str) -> str:
    """`text` between double quotes, escaped in a way that YAML, HCL, JSON's heirs and Python read alike."""
    return f'"{escaped(text)}"'


def escaped(text: str) -> str:
    """What stands between the quotes."""
    simple = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    letters = []
    for letter in text:
        code = ord(letter)
        if letter in simple:
            letters.append(simple[letter])
        elif letter.isprintable():
            letters.append(letter)
        else:
            letters.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(letters)


def comment(lines: Sequence[str], indent: str = "") -> list[str]:
    """`lines` as comments, each wrapped; what an author wrote cannot end one."""
    found: list[str] = []
    for line in lines:
        found += textwrap.wrap(
            one_line(line), 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ", break_on_hyphens=False
        )
    return found


def fill_in(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Variables to show in a commented block: those with whole names, and words on the families among them."""
    families = [f"and any that begins with {one[:-1]}" for one in names if one.endswith("*")]
    return [one for one in names if not one.endswith("*")], families
