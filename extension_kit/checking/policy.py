"""IAM policy documents, as far as they can be judged without an account: which actions on which resources they allow.

Source: AWS docs, "IAM JSON policy elements reference", "Policy evaluation logic". What only a request tells (conditions) is not
evaluated, and said. A role's boundary, the organisation's policies and those of the resources are not in these documents.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: answers of `judge`
ALLOWED, PERHAPS, DENIED, MISSING = "allowed", "perhaps", "denied", "missing"
#: how a document may be wrapped: as `aws iam get-role-policy`, `get-policy-version` print it, or in CloudFormation
_WRAPPERS = ("PolicyVersion", "PolicyDocument", "Document")
_VARIABLE = re.compile(r"\$?\{[^}]*\}")
#: letters that stand in no resource
_ALL, _ANY_ONE = "\0", "\1"


@dataclass(frozen=True)
class Statement:
    """``actions`` and ``resources`` are patterns; ``not_``: all but these are meant; ``conditional``: perhaps not now."""

    allows: bool
    actions: tuple[str, ...]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    conditional: bool

    def covers(self, action: str) -> bool:
        """Whether `action` is one of its actions; IAM's are the same in any case."""
        found = any(overlap(action.lower(), pattern.lower()) for pattern in self.actions)
        return found != self.not_actions

    def touches(self, resource: str) -> bool:
        """Whether something that `resource` (a pattern) stands for is among its resources."""
        if self.not_resources:
            return not _holds(resource, self.resources)
        return any(overlap(_plain(resource), _plain(pattern)) for pattern in self.resources)

    def holds_all(self, resource: str) -> bool:
        """Whether all that `resource` stands for is among its resources, as far as that can be seen."""
        if self.not_resources:
            return not any(overlap(_plain(resource), _plain(pattern)) for pattern in self.resources)
        return _holds(resource, self.resources)

    def grants_all(self, resource: str) -> bool:
        """Whether an operator who grants this grants all that is meant: a placeholder in `resource` becomes one region, account
        or name, and any will do, but a ``*`` is all there are.
        """
        if self.not_resources:
            return self.holds_all(resource)
        wanted = _every(resource)
        return resource == "*" or any(overlap(wanted, _plain(pattern)) for pattern in self.resources)


def _holds(resource: str, patterns: Iterable[str]) -> bool:
    """Whether one of `patterns` surely matches all that `resource` stands for."""
    plain = _plain(resource)
    is_one = "*" not in plain and "?" not in plain
    return any(_plain(one) in ("*", plain) or (is_one and overlap(plain, _plain(one))) for one in patterns)


def read(path: Path) -> list[Statement]:
    """The statements of the document in `path`; ConfigError where it is none."""
    try:
        document: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--policy {path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--policy {path}: not JSON: {error}") from error
    for wrapper in _WRAPPERS:
        if isinstance(document, dict) and wrapper in document:
            document = document[wrapper]
    if not isinstance(document, dict) or "Statement" not in document:
        raise ConfigError(f'--policy {path}: no IAM policy: {{"Version": "2012-10-17", "Statement": [...]}} is wanted')
    statements = document["Statement"]
    return [
        _statement(one, f"--policy {path}") for one in (statements if isinstance(statements, list) else [statements])
    ]


def _statement(one: object, place: str) -> Statement:
    if not isinstance(one, dict) or one.get("Effect") not in ("Allow", "Deny"):
        raise ConfigError(f'{place}: a statement without "Effect": "Allow" or "Deny"')
    for wanted, other in (("Action", "NotAction"), ("Resource", "NotResource")):
        if (wanted in one) == (other in one):
            raise ConfigError(f"{place}: a statement with neither {wanted} nor {other}, or both")
    actions, _open = _texts(one.get("Action", one.get("NotAction")))
    resources, is_open = _texts(one.get("Resource", one.get("NotResource")))
    return Statement(
        allows=one["Effect"] == "Allow",
        actions=actions,
        not_actions="NotAction" in one,
        resources=resources,
        not_resources="NotResource" in one,
        conditional=bool(one.get("Condition")) or is_open,
    )


def _texts(value: object) -> tuple[tuple[str, ...], bool]:
    """One or several; whether one is no text: CloudFormation's functions may become anything."""
    values = value if isinstance(value, list) else [value]
    texts = tuple(one if isinstance(one, str) else "*" for one in values)
    return texts, any(not isinstance(one, str) for one in values)


def judge(statements: list[Statement], action: str, resource: str) -> str:
    """Whether `action` may be done on what the pattern `resource` stands for; ``*``: on anything at all.

    PERHAPS: under a condition, or on a part of it only.
    """
    on = [one for one in statements if one.covers(action)]
    denials = [one for one in on if not one.allows and one.touches(resource)]
    if any(one.holds_all(resource) and not one.conditional for one in denials):
        return DENIED
    grants = [one for one in on if one.allows and one.touches(resource)]
    if not grants:
        return MISSING
    sure = any(one.grants_all(resource) and not one.conditional for one in grants) and not denials
    return ALLOWED if sure else PERHAPS


def overlap(left: str, right: str) -> bool:
    """Whether some text matches both patterns (``*`` any letters, ``?`` one); see `_every` for two letters more in `left`."""
    # Row by row: at which places of `right` one can be, having read so much of `left`.
    here = _through_stars({0}, right)
    for letter in left:
        if letter == "*":
            here = set(range(min(here), len(right) + 1)) if here else here
            continue
        there = set()
        for at in here:
            if at < len(right):
                if right[at] == "*":
                    there.add(at)
                elif right[at] == letter or (right[at] == "?" and letter != _ALL) or letter == "?":
                    there.add(at + 1)
        here = _through_stars(there, right)
    return len(right) in here


def _every(resource: str) -> str:
    """A pattern whose ``*`` only a ``*`` of the other one matches, its ``?`` a ``?`` as well: whatever they stand for."""
    parts = _VARIABLE.split(resource)
    return "*".join(re.sub(r"\*+", _ALL, part).replace("?", _ANY_ONE) for part in parts)


def _through_stars(places: set[int], pattern: str) -> set[int]:
    found = set(places)
    for at in sorted(places):
        while at < len(pattern) and pattern[at] == "*":
            at += 1
            found.add(at)
    return found


def _plain(resource: str) -> str:
    """A pattern without placeholders: a manifest's ``{region}``, CloudFormation's and IAM's ``${...}`` may be anything."""
    return re.sub(r"\*+", "*", _VARIABLE.sub("*", resource))
