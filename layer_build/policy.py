"""The least IAM policy for an extension with given settings, from its manifest; templates have the same statements."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from extension_kit.checking.iam import NO, needed
from extension_kit.errors import ConfigError
from layer_build.templates.shared import Placeholder, pieces

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from layer_build.manifest import Manifest, Permission


def held(manifest: Manifest, environ: Mapping[str, str]) -> tuple[Manifest, tuple[Permission, ...]]:
    """`manifest` with those permissions only that these settings need or may need, and those that were left out."""
    kept = tuple(one for one in manifest.iam if needed(one, environ) != NO)
    return replace(manifest, iam=kept), tuple(one for one in manifest.iam if one not in kept)


def document(
    permissions: Iterable[Permission], values: Mapping[str, str], narrowed: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """The policy. `values`: what placeholders stand for; `narrowed`: an action's resources, in the place of the manifest's.

    ConfigError for placeholders without a value.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for permission in permissions:
        for action in permission.actions:
            resources = narrowed.get(action) or tuple(_filled(one, values) for one in permission.resources)
            actions = found.setdefault(resources, [])
            actions += [action] if action not in actions else []
    statements = [
        {"Effect": "Allow", "Action": actions, "Resource": list(resources)} for resources, actions in found.items()
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _filled(resource: str, values: Mapping[str, str]) -> str:
    words = []
    for piece in pieces(resource):
        if isinstance(piece, Placeholder) and piece.name not in values:
            raise ConfigError(f"{resource}: what does {{{piece.name}}} stand for? Say --set {piece.name}=VALUE")
        words.append(values[piece.name] if isinstance(piece, Placeholder) else piece)
    return "".join(words)


def settings(given: Iterable[str], option: str = "--env") -> dict[str, str]:
    """``NAME=VALUE`` each."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w]*", name):
            raise ConfigError(f"{option} {text!r}: NAME=VALUE wanted")
        found[name] = value
    return found
