"""Layers of this kit: held to what layer_build/README.md says about them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import elf, manifest
from layer_build.checks.findings import ERROR, rule
from layer_build.checks.subject import EXTENSIONS
from layer_build.sources import WRAPPER
from layer_build.targets import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.launcher_conf import Conf
    from layer_build.checks.subject import Own, Subject
    from layer_build.manifest import Manifest

_BUILD = "build it anew: python -m layer_build build {name}"
_NOT_STARTED = "the extension does not start, or not as its manifest says"

NO_ENTRY = rule(
    "own-no-entry",
    ERROR,
    "the folder {name}/ is an extension's, but extensions/{name} is not there",
    "Lambda starts nothing, and nothing says why",
    _BUILD,
)
INCOMPLETE = rule("own-incomplete", ERROR, "{missing} is missing", _NOT_STARTED, _BUILD)
ELSEWHERE = rule(
    "own-elsewhere",
    ERROR,
    "a file outside of extensions/{name} and {name}/",
    "it reaches into the function: python/ is on its import path, bin/ on PATH, lib/ on LD_LIBRARY_PATH; another "
    "file in extensions/ is started",
    _BUILD,
)
FOR_LAPTOPS = rule(
    "own-for-laptops",
    ERROR,
    "a part of the kit that runs on laptops only",
    "an extension cannot use it; it counts against the size, and it is more to look at for whoever reviews the layer",
    _BUILD,
)
MANIFEST = rule("own-manifest", ERROR, "the manifest cannot be used: {problem}", _NOT_STARTED, _BUILD)
OTHER_NAME = rule(
    "own-name",
    ERROR,
    "the manifest's name is {other!r}, the folder's {name!r}",
    "Lambda registers the file's name; the launcher looks for the folder of the same name",
    _BUILD,
)
CONF = rule("own-launcher-conf", ERROR, "{problem}", "the launcher does something else than the manifest says", _BUILD)
PROVENANCE = rule(
    "own-provenance",
    ERROR,
    "{problem}",
    "the layer is not what was built: nobody can tell from which sources it comes",
    _BUILD,
)
PYTHON = rule(
    "own-python",
    ERROR,
    "the layer supports Python {has}",
    "the launcher finds no interpreter of that version in the runtime: the extension idles (EXTENSION_KIT_ON_FAILURE)",
    "python -m layer_build build {name} --python {wanted}",
)

INTERPRETER = rule(
    "own-interpreter",
    ERROR,
    "{problem}",
    "in a runtime without Python the extension idles (EXTENSION_KIT_ON_FAILURE), or another interpreter runs than was built",
    "python -m layer_build build {name} --runtime any",
)

_KIT_FOR_LAPTOPS = (
    "emulator/",
    "report/",
    "backends/",
    "checking/",
    "commands/",
    "scaffold/",
    "testing.py",
    "cli.py",
    "pytest_plugin.py",
)
_ALWAYS = ("manifest.toml", "provenance.json", "sbom.cdx.json", "lib/extension_kit/__init__.py")
_WITH_LAUNCHER = ("launcher.conf", "boot.py")
_INTERPRETER = "extension-kit-python/"


def check(subject: Subject) -> Iterator[Finding]:
    """Every part of the layer that is of this kit; nothing where none is."""
    for own in subject.own:
        yield from _part(subject, own)
    if subject.own:
        yield from _elsewhere(subject)


def load_manifest(subject: Subject, own: Own) -> Manifest | None:
    """The part's manifest, None where it is missing or wrong."""
    entry = subject.find(f"{own.name}/{manifest.FILE}")
    try:
        return manifest.parse(entry.data, "0") if entry else None
    except ConfigError:
        return None


def _part(subject: Subject, own: Own) -> Iterator[Finding]:
    entry = subject.find(f"{EXTENSIONS}{own.name}")
    if entry is None:
        yield NO_ENTRY.at(f"{EXTENSIONS}{own.name}", name=own.name)
    native = entry is not None and entry.data.startswith(elf.MAGIC)
    for part in (*_ALWAYS, *(_WITH_LAUNCHER if native else ())):
        if f"{own.name}/{part}" not in subject.files:
            yield INCOMPLETE.at(f"{own.name}/{part}", missing=part, name=own.name)
    place = f"{own.name}/{manifest.FILE}"
    if place in subject.files:
        yield from _manifest(subject, own, place)
    if own.problem:
        yield PROVENANCE.at(f"{own.name}/provenance.json", problem=own.problem, name=own.name)
    if own.made_by and entry and hashlib.sha256(entry.data).hexdigest() != own.made_by.launcher_sha256:
        yield PROVENANCE.at(
            f"{EXTENSIONS}{own.name}", problem="its SHA-256 is not the one in provenance.json", name=own.name
        )
    for problem in _interpreter(subject, own):
        yield INTERPRETER.at(_INTERPRETER, problem=problem, name=own.name)
    not_served = tuple(python for python in subject.asked_pythons if own.pythons and python not in own.pythons)
    if not_served:
        has, wanted = " and ".join(own.pythons), ",".join(not_served)
        yield PYTHON.at(f"{own.name}/", subject.only(not_served), has=has, wanted=wanted, name=own.name)


def _interpreter(subject: Subject, own: Own) -> Iterator[str]:
    """What is wrong with the Python that the layer carries, or was to carry, a sentence each."""
    wanted = own.made_by.interpreter if own.made_by else ""
    version = ".".join(wanted.split(".")[:2])
    if wanted and version not in subject.brought:
        yield f"provenance.json says that the layer brings Python {wanted}, but it has no bin/python{version}"
    for python in subject.brought:
        folder = f"{_INTERPRETER}{python}"
        entry = subject.files[f"{folder}/bin/python{python}"]
        if python not in own.pythons:
            yield f"Python {python}: {own.name} is for {' and '.join(own.pythons) or 'no version'}, so nothing uses it"
        if not entry.executable:
            yield f"bin/python{python} has no execute bit"
        if (
            own.made_by
            and python == version
            and hashlib.sha256(entry.data).hexdigest() != own.made_by.interpreter_sha256
        ):
            yield f"the SHA-256 of bin/python{python} is not the one in provenance.json"
        if f"{folder}/lib/python{python}/os.pyc" not in subject.files:
            yield f"lib/python{python} has no os.pyc: it is no standard library"
        if f"{folder}/lib/python{python}/lib-dynload" not in subject.folders:
            yield f"lib/python{python}/lib-dynload is missing: CPython complains about that at every start"


def _manifest(subject: Subject, own: Own, place: str) -> Iterator[Finding]:
    try:
        said = manifest.parse(subject.files[place].data, "0")
    except ConfigError as error:
        yield MANIFEST.at(place, problem=str(error).removeprefix(f"{manifest.FILE}: "), name=own.name)
        return
    if said.name != own.name:
        yield OTHER_NAME.at(place, other=said.name, name=own.name)
    if own.conf:
        for problem in (*own.conf.problems, *_differences(own.conf, said)):
            yield CONF.at(f"{own.name}/launcher.conf", problem=problem, name=own.name)


def _differences(conf: Conf, said: Manifest) -> Iterator[str]:
    """Where the launcher's file and the manifest part, a sentence each."""
    if conf.problems:
        return
    if not conf.pythons:
        yield "no Python version"
    for python in conf.pythons:
        if python not in PYTHONS:
            yield f"Python {python!r}: {', '.join(PYTHONS)} are known"
        elif python not in said.pythons:
            yield f"Python {python}: the manifest has {', '.join(said.pythons)}"
    if set(conf.events) != set(said.events):
        yield f"events {' '.join(conf.events) or '(none)'}: the manifest has {' '.join(said.events) or '(none)'}"
    wanted = {one.name: (one.port, one.variables, said.port_file(one)) for one in said.ports if not one.optional}
    found = {one.name: (one.port, one.variables, one.file) for one in conf.ports}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            yield f"port {name}: {_port(found.get(name))}; the manifest has {_port(wanted.get(name))}"


def _port(one: tuple[int, tuple[str, ...], str] | None) -> str:
    return f"{one[0]} {','.join(one[1]) or '-'} {one[2] or '-'}" if one else "none"


def _elsewhere(subject: Subject) -> Iterator[Finding]:
    names = [own.name for own in subject.own]
    manifests = [load_manifest(subject, own) for own in subject.own]
    wrappers = {f"{part}/{WRAPPER}" for one in manifests if one for part in one.parts}
    listed = " or ".join(names)
    for path in subject.files:
        folder, _, inside = path.partition("/")
        if folder in names:
            part = inside.removeprefix("lib/extension_kit/")
            if part != inside and part.startswith(_KIT_FOR_LAPTOPS):
                yield FOR_LAPTOPS.at(path, name=folder)
        elif path in wrappers:
            continue  # where it is in a layer of that extension alone
        elif not (folder == "extensions" and inside in names) and not path.startswith(_INTERPRETER):
            yield ELSEWHERE.at(path, name=listed)
