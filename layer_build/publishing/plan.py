"""What is to be done, as values: nothing here speaks to AWS.

A layer version is known by its content's SHA-256, a permission by whom it lets in, a parameter by its value. So what is left
to do can be told wherever an earlier run stopped, and no file has to remember how far it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layer_build.publishing.zips import Zip

_VERSION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})*)(.*)", re.DOTALL)


@dataclass(frozen=True)
class Version:
    """A layer version that is there. ``sha256``: of its content, hexadecimal; "" where nobody asked.

    ``extension``: the version of the extension, which begins the description; "" where it does not.
    """

    number: int
    arn: str
    extension: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Grant:
    """Who may use a layer version. `principal`: an account, or ``*`` for all (of `organization`, where one is named)."""

    principal: str
    organization: str = ""

    @property
    def statement(self) -> str:
        """The statement's identifier: the same one for the same grant."""
        if self.organization:
            return f"organization-{self.organization}"
        return "public" if self.principal == "*" else f"account-{self.principal}"

    def __str__(self) -> str:
        if self.organization:
            return f"organization {self.organization}"
        return "everybody" if self.principal == "*" else f"account {self.principal}"


@dataclass
class Region:
    """What was found in a region, kept up to date with what is done there.

    ``versions``: by the layer's name, newest first. ``grants``: by the version's ARN. ``parameters``: those of interest.
    """

    name: str
    partition: str
    account: str
    versions: dict[str, list[Version]] = field(default_factory=dict)
    grants: dict[str, list[Grant]] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)

    def version(self, one: Zip) -> Version | None:
        """The layer version that has the content of `one`."""
        return next((found for found in self.versions.get(one.layer_name, []) if found.sha256 == one.sha256), None)

    def predicted(self, one: Zip) -> Version:
        """What a version of `one` will be; its number is higher where newer ones were deleted."""
        number = max((found.number for found in self.versions.get(one.layer_name, [])), default=0) + 1
        arn = f"arn:{self.partition}:lambda:{self.name}:{self.account}:layer:{one.layer_name}:{number}"
        return Version(number, arn, one.version, one.sha256)

    def add(self, one: Zip, version: Version) -> None:
        """`version` is there now."""
        self.versions[one.layer_name] = [version, *self.versions.get(one.layer_name, [])]


@dataclass(frozen=True)
class Publish:
    """A layer version to be made."""

    region: Region
    zip: Zip


@dataclass(frozen=True)
class Allow:
    """A permission to be added to a version."""

    region: Region
    zip: Zip
    version: Version
    grant: Grant


@dataclass(frozen=True)
class Point:
    """A parameter to be written; ``before``: its value until now, "" where it is new."""

    region: Region
    name: str
    arn: str
    before: str


def to_publish(regions: Sequence[Region], zips: Sequence[Zip]) -> list[Publish]:
    """The contents that a region does not have."""
    return [Publish(region, one) for region in regions for one in zips if region.version(one) is None]


def to_allow(regions: Sequence[Region], zips: Sequence[Zip], grants: Iterable[Grant]) -> list[Allow]:
    """The permissions that a published version lacks."""
    wanted = list(grants)
    return [
        Allow(region, one, version, grant)
        for region in regions
        for one in zips
        if (version := region.version(one)) is not None
        for grant in wanted
        if grant not in region.grants.get(version.arn, [])
    ]


def more_grants(regions: Sequence[Region], zips: Sequence[Zip], grants: Iterable[Grant]) -> list[tuple[Version, Grant]]:
    """Whom published versions let in beyond what is asked for: told, never taken away."""
    wanted = list(grants)
    return [
        (version, grant)
        for region in regions
        for one in zips
        if (version := region.version(one)) is not None
        for grant in region.grants.get(version.arn, [])
        if grant not in wanted
    ]


def to_point(regions: Sequence[Region], zips: Sequence[Zip], prefix: str) -> list[Point]:
    """The parameters that do not say what they should."""
    found = []
    for region in regions:
        for one in zips:
            for name, arn in _parameters(region, one, prefix).items():
                before = region.parameters.get(name, "")
                if before != arn:
                    found.append(Point(region, name, arn, before))
    return found


def parameters(one: Zip, prefix: str) -> list[str]:
    """The names of the parameters of `one`: for each runtime that of the newest version, and one for its own."""
    places = [f"{prefix}/{one.name}/{one.architecture}/{runtime}" for runtime in one.runtimes]
    return [f"{place}/{word}" for place in places for word in ("latest", one.version)]


def _parameters(region: Region, one: Zip, prefix: str) -> dict[str, str]:
    """Name to ARN, for what `one` has a say in: ``latest`` is left alone where a newer version than `one` is there."""
    mine = region.version(one)
    if mine is None:
        return {}
    there = region.versions.get(one.layer_name, [])
    same = max(
        (found for found in there if found.extension == one.version), key=lambda found: found.number, default=mine
    )
    last = newest(there) or mine
    return {name: mine.arn for name in parameters(one, prefix) if mine == (last if name.endswith("/latest") else same)}


def behind(regions: Sequence[Region], zips: Sequence[Zip]) -> list[tuple[Version, Version]]:
    """Published versions that are not the newest of their layer, and which is: ``latest`` does not go back to them."""
    found = []
    for region in regions:
        for one in zips:
            mine, last = region.version(one), newest(region.versions.get(one.layer_name, []))
            if mine is not None and last is not None and mine != last:
                found.append((mine, last))
    return found


def newest(versions: Iterable[Version]) -> Version | None:
    """By the extension's version; among the same ones the last that was published."""
    return max(versions, key=lambda one: (order(one.extension), one.number), default=None)


def order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """Sorts versions: 1.10 after 1.9, 1.0.0-rc1 and 1.0.0rc1 before 1.0.0, what is no number before all."""
    found = _VERSION.fullmatch(version)
    if not found:
        return ((-1,), False, version)
    numbers = [int(part) for part in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest = found[2]
    return (tuple(numbers), not rest or rest.startswith(("+", ".post")), rest)
