"""Layer versions that functions use: what an ARN says, and the functions of an account."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layer_build.publishing.aws import Aws

_HOLE = r"\$\{[^}]*\}"  # words of a template language, which only a deployment knows
_ARN = re.compile(
    rf"arn:(?:[a-z-]+|{_HOLE}):lambda:([a-z0-9-]+|{_HOLE}):(\d{{12}}|{_HOLE}):layer:([A-Za-z0-9_-]+):(\d+)(?!\d)"
)


@dataclass(frozen=True)
class Arn:
    """A layer version's ARN; ``region`` and ``account`` are "" where a template leaves them open."""

    text: str
    region: str
    account: str
    layer: str
    number: int

    def meets(self, other: Arn) -> bool:
        """Whether both can be of one layer; an open region or account is any."""
        return (
            self.layer == other.layer
            and (self.region == other.region or not (self.region and other.region))
            and (self.account == other.account or not (self.account and other.account))
        )


@dataclass(frozen=True)
class Use:
    """A layer of a function. ``place``: a region, or a template's file; ``runtime``: "" where it is not known."""

    function: str
    place: str
    arn: Arn
    runtime: str = ""


@dataclass(frozen=True)
class Found:
    """What was looked at: the number of functions, and the layers that they use."""

    functions: int
    uses: tuple[Use, ...]

    def __add__(self, other: Found) -> Found:
        return Found(self.functions + other.functions, self.uses + other.uses)


def arns(text: str) -> list[Arn]:
    """The ARNs of layer versions in `text`."""
    found = []
    for one in _ARN.finditer(text):
        region, number = ("" if part.startswith("$") else part for part in (one[1], one[2]))
        found.append(Arn(one[0], region, number, one[3], int(one[4])))
    return found


def account(aws: Aws, region: str) -> Found:
    """The functions of the account in `region`, as they are now ($LATEST); AwsError where they cannot be listed."""
    functions: list[dict[str, Any]] = aws.pages("lambda", "list_functions", region, "Functions")
    uses = [
        Use(one["FunctionName"], region, arn, one.get("Runtime", ""))
        for one in functions
        for layer in one.get("Layers", [])
        for arn in arns(layer["Arn"])
    ]
    return Found(len(functions), tuple(uses))
