"""The manifest beside a plug-in's module, against the plug-in itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.checking.findings import ERROR, NOTE, WARNING, Finding
from extension_kit.plugin import overridden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extension_kit.checking.subject import Attached, Subject
    from layer_build.manifest import Manifest

_GROUP = "manifest"


def check(subject: Subject) -> Iterator[Finding]:
    """What of a manifest is wrong, or says other than the code does."""
    for broken in subject.broken:
        yield Finding(broken.group, ERROR, broken.place, broken.why, broken.fix)
    if not (subject.plugins or subject.layers or subject.broken):
        other = subject.function is not None or subject.policies or subject.given
        yield Finding(
            _GROUP, NOTE if other else WARNING, "extension-kit",
            f"no plug-in, no layer, no */manifest.toml here: {'little' if other else 'nothing'} to look at",
            "name them with --plugin and --layer, or go to the project's folder",
        )  # fmt: skip
    for one in subject.plugins:
        if one.problem:
            yield Finding(
                _GROUP, ERROR, one.plugin.name, one.problem, "correct it: layer_build/README.md has the format"
            )
        elif one.manifest is None:
            yield Finding(
                _GROUP, NOTE, one.plugin.name, f"no manifest.toml beside {one.spec.partition(':')[0]}: it is no layer yet",
                "write one; `extension-kit new` makes a project that has one",
            )  # fmt: skip
        else:
            yield from _against(one, one.manifest)


def _against(one: Attached, manifest: Manifest) -> Iterator[Finding]:
    plugin, about = one.plugin, one.plugin.name
    if one.spec not in manifest.plugins:
        yield Finding(
            _GROUP, ERROR, about, f"its manifest has the plug-ins {', '.join(manifest.plugins)}, not {one.spec}",
            f'write plugins = ["{one.spec}"], or check what it names',
        )  # fmt: skip
    if len(manifest.plugins) == 1 and manifest.name != plugin.name:
        yield Finding(
            _GROUP, WARNING, about, f"it calls itself {plugin.name}, its layer would register as {manifest.name}",
            "give both the same name: people look for one in the log of the other",
        )  # fmt: skip
    if overridden(plugin, "on_invoke") and "INVOKE" not in manifest.events:
        yield Finding(
            _GROUP, ERROR, about, "it has an on_invoke hook, and its manifest does not name the event INVOKE",
            'add "INVOKE" to capabilities.events, or remove the hook',
        )  # fmt: skip
    for stream in plugin.telemetry:
        if stream not in manifest.telemetry:
            yield Finding(
                _GROUP, ERROR, about, f"it hears {stream} telemetry, which its manifest does not say",
                f'add "{stream}" to capabilities.telemetry',
            )  # fmt: skip
    if plugin.settings is not None:
        names = [name for setting in plugin.settings.declared() for name in (setting.variable, *setting.aliases)]
        missing = [name for name in names if not _covers(manifest, name)]
        if missing:
            yield Finding(
                _GROUP, ERROR, about, f"it reads {', '.join(missing)}, which its manifest does not say",
                f'add them to capabilities.variables, or "{plugin.settings.prefix}*" for all',
            )  # fmt: skip


def _covers(manifest: Manifest, variable: str) -> bool:
    return any(variable == one or (one.endswith("*") and variable.startswith(one[:-1])) for one in manifest.variables)
