"""What is checked: plug-ins with their manifests, layers, a function, and the variables that it will have."""

from __future__ import annotations

import importlib.util
import tomllib
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import extension_kit
from extension_kit.errors import ConfigError
from extension_kit.plugin import load
from extension_kit.settings import KitSettings
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
class Broken:
    """What could not be loaded: ``group`` is "manifest" or "plugin", ``place`` the file, ``why`` what is wrong with it."""

    group: str
    place: str
    why: str
    fix: str


@dataclass(frozen=True)
class Subject:
    """``given``: the function's variables; ``environ``: these, over those of this process. ``function``: a folder or a zip.

    ``broken``: what of a project in this directory could not be loaded.
    """

    plugins: tuple[Attached, ...]
    environ: Mapping[str, str]
    given: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Path, ...] = ()
    function: Path | None = None
    policies: tuple[Path, ...] = ()
    offline: bool = True
    broken: tuple[Broken, ...] = ()

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
    def chosen(self) -> tuple[str, ...]:
        """The names in EXTENSION_KIT_PLUGINS: of all others nothing runs. Empty: all run."""
        return KitSettings.parse(self.environ)[0].plugins

    def runs(self, name: str) -> bool:
        """Whether a plug-in of that name runs, where it is attached."""
        return not self.chosen or name in self.chosen

    @cached_property
    def settings(self) -> dict[str, type[Settings]]:
        """By plug-in that runs: of those attached, and of those in layers whose code can be imported here, as in their own
        project.
        """
        plugins = [one.plugin for one in self.plugins]
        for spec in self._in_layers:
            try:
                plugins.append(load(spec))
            except ConfigError:
                continue  # `unseen` has it
        return {one.name: one.settings for one in plugins if one.settings is not None and self.runs(one.name)}

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
        return [spec for one in self.manifests for spec in one.plugins if spec not in attached and self.may_run(spec)]

    def may_run(self, spec: str) -> bool:
        """Whether the plug-in ``MODULE:CLASS`` runs, as far as its module's name tells."""
        return not self.chosen or not self.names_in(spec).isdisjoint(self.chosen)

    @staticmethod
    def names_in(spec: str) -> set[str]:
        """What the plug-in of `spec` may be called: a joint layer has extensions.secret_cache.plugin:SecretCache, no name."""
        return {part.replace("_", "-") for part in spec.partition(":")[0].split(".")}

    @property
    def names(self) -> set[str]:
        """Of all extensions that are attached, and of the plug-ins in them."""
        found = {one.plugin.name for one in self.plugins} | {one.name for one in self.manifests}
        found |= {name for one in self.manifests for spec in one.plugins for name in self.names_in(spec)}
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


def project(directory: Path) -> tuple[tuple[Attached, ...], tuple[Broken, ...]]:
    """The plug-ins of the manifests in the folders of `directory`; what could not be loaded.

    The directory must be on sys.path.
    """
    plugins: list[Attached] = []
    broken: list[Broken] = []
    for path in sorted(directory.glob(f"*/{manifest.FILE}")):
        place = path.relative_to(directory)
        try:
            specs = _specs(path)
        except ConfigError as error:
            why = str(error).removeprefix(f"{path}: ")
            broken.append(
                Broken("manifest", str(place), _line(why), f"correct {place}: layer_build/README.md has the format")
            )
            continue
        for spec in specs:
            try:
                plugins.append(attach(spec))
            except ConfigError as error:
                broken.append(_unloaded(directory, place, error))
    return tuple(plugins), tuple(broken)


def _specs(path: Path) -> list[str]:
    """The plug-ins that a manifest names, whatever else of it is wrong; ConfigError where even that cannot be read."""
    try:
        specs = tomllib.loads(path.read_text(encoding="utf-8")).get("plugins", [])
    except (OSError, ValueError, RecursionError):
        specs = None
    if not isinstance(specs, list) or not specs:
        specs = manifest.load(path.parent, "0").plugins  # says what is wrong
    return [str(spec) for spec in specs]


def _unloaded(directory: Path, place: Path, error: ConfigError) -> Broken:
    """With the file and the line where an import has failed; the manifest, where it names what is not there."""
    cause = error.__cause__
    where = [(cause.filename, cause.lineno)] if isinstance(cause, SyntaxError) else []
    where += [
        (frame.filename, frame.lineno)
        for frame in reversed(traceback.extract_tb(cause.__traceback__ if cause else None))
    ]
    for name, line in where:
        if name is not None and directory in Path(name).parents:
            code = Path(name).relative_to(directory)
            return Broken("plugin", str(code), _line(str(error)), f"correct {code}, line {line}")
    return Broken("manifest", str(place), _line(str(error)), f"correct plugins in {place}, or what it names")


def _line(text: str) -> str:
    return " ".join(text.split())


def _is_entry(path: str) -> bool:
    return path.startswith("extensions/") and path.count("/") == 1
