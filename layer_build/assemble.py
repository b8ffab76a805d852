"""Puts a layer together: what `build` does once for each architecture and Python version. Nothing is written here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import boot, bytecode, lock, reach, sbom, sources, wheels
from layer_build.interpreter import made, own, pins
from layer_build.launcher import build as launcher
from layer_build.manifest import FILE, Manifest, dump
from layer_build.provenance import Dependency, Provenance
from layer_build.tree import Entry, Tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from layer_build.interpreter.made import Interpreter
    from layer_build.targets import Target
    from layer_build.wheels import Wheel


_NO_SUCH_FILE = "layer.leave_out: {} matches no file of its own"


@dataclass(frozen=True)
class Choices:
    """How to build: ``launcher`` native or python; ``bytecode``; the kit's version.

    ``interpreters``: by architecture, the finished folder of what a layer for every runtime carries.
    """

    launcher: str = "native"
    bytecode: bool = True
    kit_version: str = ""
    interpreters: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """An extension's folder and its manifest."""

    folder: Path
    manifest: Manifest


def joint(parts: list[Source], name: str, version: str) -> Manifest:
    """The manifest of a layer that runs several extensions in one process: it may do what any of them may."""
    manifests = [part.manifest for part in parts]
    twice = {one.name for one in manifests if sum(other.name == one.name for other in manifests) > 1}
    if twice:
        raise ConfigError(f"{name}: {', '.join(sorted(twice))} was named twice")
    pythons = tuple(one for one in manifests[0].pythons if all(one in other.pythons for other in manifests))
    if not pythons:
        raise ConfigError(f"{name}: there is no Python that all of its extensions are for")
    ports = [replace(port, extension=one.name) for one in manifests for port in one.ports]
    if len({port.name for port in ports}) < len(ports):
        raise ConfigError(f"{name}: two of its extensions have a port of the same name")

    def all_of(field: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(value for one in manifests for value in getattr(one, field)))

    return replace(
        manifests[0], name=name, version=version, pythons=pythons, ports=tuple(ports),
        summary=" ".join(one.summary for one in manifests if one.summary), parts=tuple(one.name for one in manifests),
        plugins=all_of("plugins"), hosts=all_of("hosts"), variables=all_of("variables"), iam=all_of("iam"),
        events=tuple(sorted(all_of("events"))), telemetry=all_of("telemetry"),
        writes=(*all_of("writes"), f"/tmp/.extension-kit/{name}/"), leave_out=all_of("leave_out"),  # noqa: S108 - design
        own_leave_out=all_of("own_leave_out"), source_only=all_of("source_only"), only_if="",
        subprocesses=all_of("subprocesses"),
    )  # fmt: skip


def assemble(
    parts: list[Source], manifest: Manifest, target: Target, choices: Choices, say: Callable[[str], object]
) -> Tree:
    """The layer of `manifest` for `target`, made of the extensions `parts`; ConfigError in one line where that cannot be."""
    _check_pythons(manifest, target)
    own: Tree = {}
    wrappers: Tree = {}
    plan = Plan()
    for part in parts:
        files = sources.extension(part.folder, part.manifest)
        _leave_out(files, part.manifest.name, part.manifest.own_leave_out, _NO_SUCH_FILE)
        wrappers |= _wrapper(files, part.manifest.name)
        plan.add(part.manifest, files)
        own |= files
    dependencies = _dependencies(parts, target, say)
    foreign = _merged(dependencies)
    missing = "dependencies.leave_out: {} matches no file of its dependencies"
    _leave_out(foreign, manifest.name, manifest.leave_out, missing)
    kit = sources.kit()
    reached = reach.needed(kit, {**own, **foreign}, several=len(manifest.plugins) > 1)
    ours = {**{path: entry for path, entry in kit.items() if path in reached}, **own}
    clash = sorted(set(ours) & set(foreign))
    if clash:
        raise ConfigError(f"{manifest.name}: a dependency brings {clash[0]}, which is ours")
    name = manifest.name
    code, versions = _with_bytecode(ours, foreign, manifest, target, choices)
    layer: Tree = {f"{name}/lib/{path}": entry for path, entry in code.items()}
    layer[f"{name}/{FILE}"] = _manifest_text(parts, manifest)
    layer.update(wrappers)
    for wheel in dependencies:
        for path, entry in wheel.licences.items():
            layer[f"{name}/licenses/{wheel.name}-{wheel.version}/{path}"] = entry
    if choices.launcher == "native":
        layer[f"{name}/licenses/musl-{launcher.MUSL_VERSION}/COPYRIGHT"] = Entry(launcher.MUSL_LICENCE.read_bytes())
    program = _entry(layer, manifest, target, choices, plan, say)
    brought = _interpreter(layer, target, choices)
    made_by = Provenance(
        name=name, version=manifest.version, arch=target.arch, pythons=target.pythons, bytecode=versions,
        launcher=choices.launcher, launcher_sha256=program, zig=launcher.ZIG_VERSION if choices.launcher == "native" else "",
        kit_version=choices.kit_version,
        dependencies=tuple(Dependency(one.name, one.version, one.file, one.sha256) for one in dependencies),
        interpreter=brought.release if brought else "", interpreter_sha256=brought.sha256 if brought else "",
    )  # fmt: skip
    layer[f"{name}/provenance.json"] = Entry(made_by.to_json())
    layer[f"{name}/sbom.cdx.json"] = Entry(_sbom(manifest, dependencies, made_by, brought))
    return dict(sorted(layer.items()))


@dataclass
class Plan:
    """What is to be known of the plug-ins before any of them is imported, for `boot`.

    ``plugins``: ``NAME=MODULE:CLASS``; ``late`` and ``only``: as `boot.Late` and `boot.Only`.
    """

    plugins: tuple[str, ...] = ()
    late: boot.Late = ()
    only: boot.Only = field(default_factory=dict)

    def add(self, manifest: Manifest, files: Tree) -> None:
        """One extension with its own `files`."""
        names = [sources.name_of(files, plugin) for plugin in manifest.plugins]
        self.plugins += tuple(
            f"{name}={plugin}" if name else plugin for name, plugin in zip(names, manifest.plugins, strict=True)
        )
        known = all(names)
        who = tuple(f"{name}:{manifest.only_if}" if manifest.only_if else name for name in names)
        if known:
            self.only |= {port.name: who for port in manifest.ports if not port.optional}
        if sources.wants_before_register(files):
            self.late = True if not known or self.late is True else (*(self.late or ()), *who)


def _wrapper(files: Tree, name: str) -> Tree:
    """Takes an extension's wrapper out of its own `files`: it lies where it does in a layer of that extension alone."""
    found = sources.wrappers(files)
    if len(found) > 1:
        raise ConfigError(f"{name}: it has two wrappers, and AWS_LAMBDA_EXEC_WRAPPER names one")
    return {f"{name}/{sources.WRAPPER}": wrapper for wrapper in found}


def _check_pythons(manifest: Manifest, target: Target) -> None:
    for python in target.pythons:
        if python not in manifest.pythons:
            raise ConfigError(f"{manifest.name} is for Python {', '.join(manifest.pythons)}, not {python}")


def _dependencies(parts: list[Source], target: Target, say: Callable[[str], object]) -> list[Wheel]:
    """The wheels of all parts, for all of the target's versions; ConfigError where two parts pin the same differently."""
    found: dict[str, Wheel] = {}
    whose: dict[tuple[str, str], tuple[str, str]] = {}  # of a package for a Python: the version, and who pins it
    for part in parts:
        if not part.manifest.lock:
            continue
        for python in target.pythons:
            wanted = lock.read(part.folder / part.manifest.lock, target, python)
            say(f"{part.manifest.name}: {len(wanted)} dependencies for Python {python}, {target.arch}")
            for one in wanted:
                version, other_part = whose.setdefault((one.name, python), (one.version, part.manifest.name))
                if version != one.version:
                    raise ConfigError(
                        f"{one.name}: {other_part} pins {version}, {part.manifest.name} {one.version}: one process has one"
                    )
            fetched = wheels.fetch(wanted, target, python)
            wheels.require_all(fetched, wanted, target, python, part.manifest.without)
            for wheel in fetched:
                other = found.setdefault(wheel.file, wheel)
                if other.version != wheel.version or other.sha256 != wheel.sha256:
                    raise ConfigError(f"{wheel.file} is pinned with two hashes")
    return [found[file] for file in sorted(found)]


def _merged(dependencies: list[Wheel]) -> Tree:
    merged: Tree = {}
    for wheel in dependencies:
        for path, entry in wheel.files.items():
            if merged.setdefault(path, entry) != entry:
                raise ConfigError(
                    f"{wheel.file} and another wheel both bring {path}, with different content: build one zip for each "
                    "Python version, and pin one version of each package"
                )
    return merged


def _leave_out(files: Tree, name: str, patterns: tuple[str, ...], complaint: str) -> None:
    """Drop what the manifest says is never imported; a pattern that matches nothing is a mistake, and said."""
    for pattern in patterns:
        matched = [path for path in files if fnmatchcase(path, pattern)]
        if not matched:
            raise ConfigError(f"{name}: {complaint.format(pattern)}")
        for path in matched:
            del files[path]


def _with_bytecode(
    ours: Tree, foreign: Tree, manifest: Manifest, target: Target, choices: Choices
) -> tuple[Tree, dict[str, str]]:
    """Byte-code beside our sources, but for those that go without; in the place of others', where one version is served."""
    code: Tree = {**ours, **foreign}
    versions: dict[str, str] = {}
    if not choices.bytecode:
        return code, versions
    python_files = {
        path: entry
        for path, entry in code.items()
        if path.endswith(".py") and not any(fnmatchcase(path, pattern) for pattern in manifest.source_only)
    }
    alone = len(target.pythons) == 1
    for python in target.pythons:
        given = {path: (f"/opt/{manifest.name}/lib/{path}", entry.data) for path, entry in python_files.items()}
        by = own.native() if target.runtime == "any" and python == pins.PYTHON else None
        compiled, versions[python] = bytecode.compile_all(given, python, ours, by)
        for path, data in compiled.items():
            folder, _, file = path.rpartition("/")
            if alone and path in foreign:
                code[f"{path}c"] = Entry(data)
                del code[path]
            else:
                cached = f"__pycache__/{file.removesuffix('.py')}.{bytecode.tag(python)}.pyc"
                code[f"{folder}/{cached}" if folder else cached] = Entry(data)
    return code, versions


def _manifest_text(parts: list[Source], manifest: Manifest) -> Entry:
    """The author's own text with its comments; written anew for a layer of several."""
    if len(parts) == 1 and parts[0].manifest.name == manifest.name:
        return Entry((parts[0].folder / FILE).read_bytes())
    return Entry(dump(manifest).encode())


def _entry(
    layer: Tree, manifest: Manifest, target: Target, choices: Choices, plan: Plan, say: Callable[[str], object]
) -> str:
    """Adds what Lambda starts; its SHA-256."""
    name, given = manifest.name, (manifest.name, plan.plugins, target.pythons, boot.ports_of(manifest))
    may = boot.may_of(manifest)
    if choices.launcher == "python":
        text = boot.python_entry(*given, late=plan.late, only=plan.only, events=manifest.events, may=may)
        layer[f"extensions/{name}"] = Entry(text.encode(), 0o755)
        return hashlib.sha256(text.encode()).hexdigest()
    program = launcher.binary(target.arch, say)
    layer[f"extensions/{name}"] = Entry(program, 0o755)
    layer[f"{name}/launcher.conf"] = Entry(boot.launcher_conf(manifest, target.pythons, plan.late, plan.only).encode())
    text = boot.boot_source(*given, late=plan.late, only=plan.only, events=manifest.events, may=may)
    layer[f"{name}/boot.py"] = Entry(text.encode())
    return hashlib.sha256(program).hexdigest()


def _interpreter(layer: Tree, target: Target, choices: Choices) -> Interpreter | None:
    """Adds what a layer for every runtime brings along."""
    if target.runtime != "any":
        return None
    folder = choices.interpreters[target.arch]
    about = made.load(folder)
    if about.arch != target.arch or about.python not in target.pythons:
        raise ConfigError(
            f"{folder}: Python {about.python} for {about.arch}; this layer is for {' and '.join(target.pythons)}, {target.arch}"
        )
    if choices.launcher != "native":
        raise ConfigError("--launcher python needs the runtime's Python: a layer for any runtime has the native one")
    layer.update(made.tree(folder))
    return about


def _sbom(manifest: Manifest, dependencies: list[Wheel], made_by: Provenance, brought: Interpreter | None) -> bytes:
    parts = [sbom.kit(made_by.kit_version), *(sbom.interpreter(brought) if brought else ())]
    if made_by.launcher == "native":
        parts.append(sbom.launcher(made_by.kit_version, made_by.launcher_sha256, made_by.zig, launcher.MUSL_VERSION))
    subject = sbom.Component(manifest.name, manifest.version, "application")
    return sbom.sbom(subject, [*parts, *(wheel.component for wheel in dependencies)])
