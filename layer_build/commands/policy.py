"""``policy``: what the function's role must allow, for extensions with these settings, and nothing more."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import extension_kit
from extension_kit.checking.iam import PERHAPS, needed
from extension_kit.errors import ConfigError
from layer_build import contents, manifest
from layer_build.policy import document, held, settings

if TYPE_CHECKING:
    import argparse

    from layer_build.manifest import Manifest

_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z]+\*?")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("layers", nargs="+", type=Path, metavar="LAYER|FOLDER", help="zips, or extensions' folders")
    parser.add_argument(
        "--env", action="append", default=[], metavar="K=V", help="a setting of the function (repeatable)"
    )
    parser.add_argument("--all", action="store_true", help="whatever the settings, as templates have it")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what {NAME} in a resource stands for (repeatable)",
    )
    parser.add_argument(
        "--resource",
        action="append",
        default=[],
        metavar="ACTION=ARN,...",
        help="narrow an action to these (repeatable)",
    )
    parser.add_argument(
        "--json", action="store_true", help="the policy with what was left out and what is wide, as JSON"
    )


def run(options: argparse.Namespace) -> int:
    """The policy as JSON on standard output, for `aws iam put-role-policy`; remarks on standard error. Always 0."""
    environ = settings(options.env)
    values = {"region": "*", "account": "*", "partition": "aws", **settings(options.set, "--set")}
    narrowed = _narrowed(options.resource)
    chosen, left = [], []
    for found in (one for path in options.layers for one in _manifests(path)):
        kept, out = (found, ()) if options.all else held(found, environ)
        chosen += [(found.name, one) for one in kept.iam]
        left += [(found.name, one) for one in out]
    policy = document([one for _, one in chosen], values, narrowed)
    unused = sorted(set(narrowed) - {action for _, one in chosen for action in one.actions})
    if unused:
        raise ConfigError(f"--resource {unused[0]}: no extension needs this action with these settings")
    remarks = [
        *(_remark(name, one.actions, f"left out: only where {_conditions(one.when)}") for name, one in left),
        *(
            _remark(
                name, one.actions, f"in it, for the function may need it: {one.why or 'the manifest gives no reason'}"
            )
            for name, one in chosen
            if needed(one, environ) == PERHAPS
        ),
        *(_wide(statement) for statement in policy["Statement"] if "*" in statement["Resource"]),
    ]
    if options.json:
        print(json.dumps({"policy": policy, "remarks": remarks}, indent=1))
        return 0
    for one in remarks:
        print(f"layer_build policy: {one['about']}: {', '.join(one['actions'])}: {one['remark']}", file=sys.stderr)
    print(json.dumps(policy, indent=1))
    return 0


def _remark(about: str, actions: tuple[str, ...], text: str) -> dict[str, Any]:
    return {"about": about, "actions": list(actions), "remark": text}


def _conditions(when: tuple[str, ...]) -> str:
    return " or ".join(f"{one.removesuffix('?')}{' (then perhaps)' if one.endswith('?') else ''}" for one in when)


def _wide(statement: dict[str, Any]) -> dict[str, Any]:
    actions = tuple(statement["Action"])
    return _remark("resource *", actions, f"on everything; narrow it: --resource {actions[0]}=ARN")


def _manifests(path: Path) -> list[Manifest]:
    if (path / manifest.FILE).is_file():
        return [manifest.load(path, extension_kit.__version__)]
    layer = contents.read(path)
    found = [one.manifest for one in layer.ours if one.manifest]
    if not found:
        raise ConfigError(f"{path}: no manifest in it: {'; '.join(layer.problems) or 'nothing says what it may do'}")
    return found


def _narrowed(given: list[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for text in given:
        action, _, resources = text.partition("=")
        named = tuple(one.strip() for one in resources.split(",") if one.strip())
        if not _ACTION.fullmatch(action) or not named or not all(one == "*" or one.startswith("arn:") for one in named):
            raise ConfigError(f"--resource {text!r}: ACTION=ARN,... wanted, e.g. s3:PutObject=arn:aws:s3:::my-bucket/*")
        found[action] = named
    return found
