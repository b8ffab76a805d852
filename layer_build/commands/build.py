"""``build``: from an extension's folder to a zip that Lambda takes as a layer."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import interpreters, manifest, output
from layer_build.assemble import Choices, Source, assemble, joint
from layer_build.commands import verify
from layer_build.interpreter import made, own
from layer_build.targets import ARCHITECTURES, PYTHONS, RUNTIMES, Target

if TYPE_CHECKING:
    from layer_build.manifest import Manifest

#: where our own extensions are, in a checkout
OURS = Path(__file__).parents[2] / "extensions"
_JOINT = "extension-kit"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="an extension of ours, or the folder of any (default: all of ours)"
    )
    parser.add_argument(
        "--plugins", metavar="A,B", help="one layer, one process for these extensions (NAME: the layer's)"
    )
    parser.add_argument("--arch", choices=(*ARCHITECTURES, "both"), default="both")
    parser.add_argument("--python", metavar="3.13,...", help="versions (default: those of the extension that are here)")
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="python",
        help="any: for every runtime, with a Python of its own (default python)",
    )
    parser.add_argument(
        "--interpreter", type=Path, action="append", default=[], metavar="DIR",
        help="for --runtime any: what `interpreter` has made (default: our own, built where the cache has none)",
    )  # fmt: skip
    parser.add_argument("--joint", action="store_true", help="one zip for all versions, instead of one for each")
    parser.add_argument(
        "--out", type=Path, default=Path("dist"), metavar="DIR", help="where the zips go (default dist)"
    )
    parser.add_argument("--launcher", choices=("native", "python"), default="native")
    parser.add_argument("--bytecode", action=argparse.BooleanOptionalAction, default=True, help="(default: with)")
    parser.add_argument("--json", action="store_true", help="what was built, as JSON")


def run(options: argparse.Namespace) -> int:
    """Everything is made before anything is written: one layer that cannot be built leaves no half of the others."""
    version = kit_version()
    jobs = [(parts, one) for parts, one in _wanted(options, version)]
    output.check_folder(options.out)
    arches = tuple(ARCHITECTURES) if options.arch == "both" else (options.arch,)
    choices = Choices(options.launcher, options.bytecode, version, _interpreters(options, arches))
    built = []
    for parts, one in jobs:
        for pythons in _pythons(options, one, choices):
            for arch in arches:
                target = Target(arch, pythons, options.runtime)
                built.append(output.Made(one, target, assemble(parts, one, target, choices, _say)))
    written = output.write(built, options.out, _verified)
    _print(written, options)
    return 0


def _verified(path: Path) -> None:
    """ConfigError for a layer that `verify` refuses: what would break on Lambda does not leave this machine."""
    report = verify.report(path)
    if report.errors:
        _say(report.text())
        raise ConfigError(f"{path.name}: {report.errors} error(s) found by verify, see above; nothing was built")
    if report.notes:
        _say(report.text())


def kit_version() -> str:
    """The version of the installed kit; it stands in names, SBOM and provenance."""
    try:
        return metadata.version("lambda-extension-kit")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _wanted(options: argparse.Namespace, version: str) -> list[tuple[list[Source], Manifest]]:
    if options.plugins is None:
        names = options.names or sorted(path.parent.name for path in OURS.glob(f"*/{manifest.FILE}"))
        found = [_source(name, version) for name in names]
        if not found:
            raise ConfigError("which extension? Name its folder (ours are in a checkout of the project only)")
        return [([source], source.manifest) for source in found]
    if len(options.names) > 1:
        raise ConfigError(f"--plugins makes one layer; {len(options.names)} names were given")
    parts = [_source(name.strip(), version) for name in options.plugins.split(",") if name.strip()]
    if not parts:
        raise ConfigError("--plugins names no extension")
    return [(parts, joint(parts, options.names[0] if options.names else _JOINT, version))]


def _source(name: str, version: str) -> Source:
    folder = OURS / name.replace("-", "_")
    if "/" in name or not folder.is_dir():
        folder = Path(name)
        if not folder.is_dir():
            ours = sorted(path.parent.name.replace("_", "-") for path in OURS.glob(f"*/{manifest.FILE}"))
            raise ConfigError(f"{name}: no such folder, and none of ours ({', '.join(ours) or 'none is here'})")
    return Source(folder, manifest.load(folder, version))


def _interpreters(options: argparse.Namespace, arches: tuple[str, ...]) -> dict[str, Path]:
    """By architecture, what a layer for any runtime carries; empty for others."""
    if options.runtime != "any":
        if options.interpreter:
            raise ConfigError("--interpreter is for --runtime any: other layers take the runtime's Python")
        return {}
    if options.launcher != "native":
        raise ConfigError("--launcher python needs the runtime's Python: a layer for any runtime has the native one")
    given = {made.load(folder).arch: folder for folder in options.interpreter}
    lacking = [arch for arch in arches if given and arch not in given]
    if lacking:
        raise ConfigError(
            f"--interpreter: none for {lacking[0]} was named; --arch {next(iter(given))} builds the other one"
        )
    return {arch: given[arch] if given else own.get(arch, _say) for arch in arches}


def _pythons(options: argparse.Namespace, one: Manifest, choices: Choices) -> list[tuple[str, ...]]:
    """For which versions, one tuple for each zip."""
    brought = {made.load(folder).python for folder in choices.interpreters.values()}
    if brought and options.python is None:
        return [tuple(sorted(brought))]
    if options.python is not None:
        asked = {part.strip() for part in options.python.split(",") if part.strip()}
        unknown = sorted(asked - set(PYTHONS)) or ([] if asked else [options.python])
        if unknown:
            raise ConfigError(f"Python {unknown[0]!r}: layers can be built for {', '.join(PYTHONS)}")
        versions = [version for version in PYTHONS if version in asked]
    elif options.bytecode:
        versions = interpreters.found(one.pythons)
        missing = [version for version in one.pythons if version not in versions]
        if missing:
            _say(f"{one.name}: not built for Python {', '.join(missing)}, which this machine does not have")
    else:
        versions = list(one.pythons)
    if not versions:
        raise ConfigError(f"{one.name}: none of Python {', '.join(one.pythons)} is here; --no-bytecode builds without")
    return [tuple(versions)] if options.joint or brought else [(version,) for version in versions]


def _print(written: list[output.Written], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps([_as_json(one) for one in written], indent=1))
        return
    for one in written:
        print(f"{one.path}")
        print(f"  {one.zipped:>9,} bytes zipped, {one.unzipped:,} unzipped, {one.files} files")
        print(f"  sha256 {one.sha256}")
        print(f"  tree   {one.tree}")
    if options.joint and written and written[0].extra:
        for one in written:
            print(
                f"{one.path.name}: {one.extra:,} of its bytes unzipped are byte-code that any one function does not use"
            )


def _as_json(one: output.Written) -> dict[str, Any]:
    return {
        "file": one.path.name, "zipped": one.zipped, "unzipped": one.unzipped, "sha256": one.sha256, "tree": one.tree,
    }  # fmt: skip
