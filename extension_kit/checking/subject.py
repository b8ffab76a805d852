"""What is checked: plug-ins with their manifests, layers, a function, and the variables that it will have."""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import extension_kit
from extension_kit.errors import ConfigError
from extension_kit.plugin import load
from layer_build import contents, manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extension_kit.plugin import Plugin
    from extension_kit.settings import Settings
    from layer_build.contents import Contents
    from layer_build.manifest import Manifest


@dataclass(frozen=True)
class Attached:
    """A plug-in; ``manifest``: None where there is none beside its module, or where ``problem`` says what is wrong with it."""

    spec: str
    plugin: Plugin
    folder: Path | None
    manifest: Manifest | None
    problem: str = ""


@dataclass(frozen=True)
class Subject:
    """``given``: the function's variables; ``environ``: these, over those of this process. ``function``: a folder or a zip.

    ``broken``: what of a project in this directory could not be loaded: path and reason.
    """

    plugins: tuple[Attached, ...]
    environ: Mapping[str, str]
    given: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    function: Path | None = None
    policies: tuple[Path, ...] = ()
    offline: bool = True
    broken: tuple[tuple[str, str], ...] = ()

    @cached_property
    def contents(self) -> tuple[Contents, ...]:
        """The layers, read; ConfigError for what is none."""
        return tuple(contents.read(path) for path in self.layers)

    @cached_property
    def manifests(self) -> tuple[Manifest, ...]:
        """Of the plug-ins, and of what the layers hold."""
        found = [one.manifest for one in self.plugins if one.manifest is not None]
        found += [own.manifest for layer in self.contents for own in layer.ours if own.manifest is not None]
        return tuple(dict.fromkeys(found))

    @cached_property
    def settings(self) -> dict[str, type[Settings]]:
        """By plug-in: of those attached, and of those in layers whose code can be imported here, as in their own project."""
        plugins = [one.plugin for one in self.plugins]
        for spec in self._in_layers:
            try:
                plugins.append(load(spec))
            except ConfigError:
                continue  # `unseen` has it
        return {plugin.name: plugin.settings for plugin in plugins if plugin.settings is not None}

    @property
    def unseen(self) -> list[str]:
        """The plug-ins in layers whose code cannot be imported here: nobody knows their settings but they."""
        found = []
        for spec in self._in_layers:
            try:
                load(spec)
            except ConfigError:
                found.append(spec)
        return found

    @property
    def _in_layers(self) -> list[str]:
        attached = {one.spec for one in self.plugins}
        return [spec for one in self.manifests for spec in one.plugins if spec not in attached]

    @property
    def names(self) -> set[str]:
        """Of all extensions that are attached, and of the plug-ins in them."""
        found = {one.plugin.name for one in self.plugins} | {one.name for one in self.manifests}
        # A joint layer names its plug-ins by module and class only: extensions.secret_cache.plugin:SecretCache.
        modules = {part for one in self.manifests for spec in one.plugins for part in spec.partition(":")[0].split(".")}
        found |= {module.replace("_", "-") for module in modules}
        return found | {path.rpartition("/")[2] for layer in self.contents for path in layer.files if _is_entry(path)}


def attach(spec: str) -> Attached:
    """The plug-in ``MODULE:CLASS`` and the manifest beside its module; ConfigError for what is no plug-in."""
    plugin = load(spec)
    found = importlib.util.find_spec(type(plugin).__module__)
    folder = Path(found.origin).parent if found is not None and found.origin else None
    if folder is None or not (folder / manifest.FILE).is_file():
        return Attached(spec, plugin, folder, None)
    try:
        return Attached(spec, plugin, folder, manifest.load(folder, extension_kit.__version__))
    except ConfigError as error:
        return Attached(spec, plugin, folder, None, str(error))


def project(directory: Path) -> tuple[tuple[Attached, ...], tuple[tuple[str, str], ...]]:
    """The plug-ins of the manifests in the folders of `directory`; what could not be loaded: path and reason.

    The directory must be on sys.path.
    """
    plugins, broken = [], []
    for path in sorted(directory.glob(f"*/{manifest.FILE}")):
        try:
            specs = tomllib.loads(path.read_text(encoding="utf-8")).get("plugins", [])
            if not isinstance(specs, list) or not specs:
                manifest.load(path.parent, "0")  # says what is wrong
            plugins += [attach(str(spec)) for spec in specs]
        except (ConfigError, OSError, ValueError) as error:
            broken.append((str(path.relative_to(directory)), " ".join(str(error).split())))
    return tuple(plugins), tuple(broken)


def _is_entry(path: str) -> bool:
    return path.startswith("extensions/") and path.count("/") == 1
