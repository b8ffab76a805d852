"""``template``: infrastructure code for a layer, from its manifest, with the least IAM policy."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import extension_kit
from extension_kit.errors import ConfigError
from layer_build import contents, manifest
from layer_build.atomic import write
from layer_build.policy import held, settings
from layer_build.templates import cdk, cloudformation, dockerfile, sam, terraform
from layer_build.templates.shared import Subject

if TYPE_CHECKING:
    import argparse

KINDS = {
    "sam": sam,
    "cloudformation": cloudformation,
    "cdk": cdk,
    "terraform": terraform,
    "dockerfile": dockerfile,
}
_ARN = re.compile(r"arn:[a-z-]+:lambda:[a-z0-9-]+:\d{12}:layer:[A-Za-z0-9_-]+:\d+")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("layer", type=Path, metavar="LAYER|FOLDER", help="a layer's zip, or an extension's folder")
    parser.add_argument("--kind", choices=[*KINDS, "all"], required=True)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: printed)")
    parser.add_argument("--layer-arn", default="", metavar="ARN", help="use this published version; make no layer")
    parser.add_argument("--json", action="store_true", help="kind, file and text of each, as JSON")
    parser.add_argument(
        "--env",
        action="append",
        metavar="K=V",
        help="a setting of the function: only the permissions that it makes needed",
    )
    parser.add_argument("--force", action="store_true", help="write over files that are there and differ")


def run(options: argparse.Namespace) -> int:
    """Write or print the text, or all of them."""
    if options.kind == "all" and options.out is None and not options.json:
        raise ConfigError("--kind all makes several files: name a folder with --out")
    if options.layer_arn and not _ARN.fullmatch(options.layer_arn):
        raise ConfigError(
            f"--layer-arn {options.layer_arn!r}: the ARN of a layer version wanted, "
            "e.g. arn:aws:lambda:eu-west-1:123456789012:layer:NAME:1"
        )
    one = subject(options.layer, options.out or Path(), options.layer_arn)
    if options.env is not None:
        one = replace(one, manifest=held(one.manifest, settings(options.env))[0])
    kinds = list(KINDS) if options.kind == "all" else [options.kind]
    texts = {KINDS[kind].file_name(one): KINDS[kind].render(one) for kind in kinds}
    if options.out is not None:
        _write(texts, options.out, force=options.force)
    if options.json:
        made = zip(kinds, texts.items(), strict=True)
        print(json.dumps([_as_json(kind, *file, options.out) for kind, file in made], indent=1))
    elif options.out is None:
        print(*texts.values(), sep="", end="")
    else:
        print(*(options.out / name for name in texts), sep="\n")
    return 0


def _as_json(kind: str, name: str, text: str, out: Path | None) -> dict[str, str]:
    """``file``: where it was written, or the name that it should have."""
    return {"kind": kind, "file": str(out / name if out else name), "text": text}


def subject(path: Path, place: Path, layer_arn: str = "") -> Subject:
    """What the templates at `place` are for: the layer `path`, or the extension in the folder `path`, not built yet."""
    if (path / manifest.FILE).is_file():
        one = manifest.load(path, extension_kit.__version__)
        return Subject(one, "x86_64", one.pythons, f"{one.name}.zip", layer_arn=layer_arn)
    layer = contents.read(path)
    if len(layer.ours) != 1 or layer.ours[0].manifest is None or layer.ours[0].provenance is None:
        why = "; ".join(layer.problems) or f"{len(layer.ours)} extensions with a manifest in it, one is wanted"
        raise ConfigError(f"{path}: not a layer of ours, nor the folder of an extension: {why}")
    found, made = layer.ours[0].manifest, layer.ours[0].provenance
    return Subject(
        manifest=found,
        arch=made.arch,
        pythons=made.pythons,
        zip=Path(os.path.relpath(path, place)).as_posix() if layer.sha256 else f"{found.name}.zip",
        sha256=layer.sha256,
        layer_arn=layer_arn,
        has_links=any(entry.is_link for entry in layer.files.values()),
    )


def _write(texts: dict[str, str], folder: Path, *, force: bool) -> None:
    """All files; where one is there with other content, none is written, for somebody may have changed it by hand."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        other = [name for name, text in texts.items() if (folder / name).exists() and _read(folder / name) != text]
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be written: {error.strerror}") from error
    if other and not force:
        raise ConfigError(f"{folder / other[0]} is there and differs; nothing was written (--force writes over it)")
    for name, text in texts.items():
        write(folder / name, text.encode())


def _read(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")
