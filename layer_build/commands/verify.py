"""``verify``: what of a layer, ours or anybody's, would break on Lambda, and how it is put right."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import archive, checks, tree
from layer_build.checks.report import Report, grouped
from layer_build.checks.size import Budget
from layer_build.checks.subject import Subject
from layer_build.targets import ARCHITECTURES, PYTHONS, Target

if TYPE_CHECKING:
    import argparse

_NARROWEST = 60


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "layers",
        nargs="+",
        type=Path,
        metavar="LAYER|ARN",
        help="a zip, a folder that becomes /opt, or a published version",
    )
    parser.add_argument(
        "--arch", choices=tuple(ARCHITECTURES), default="", help="the functions' architecture; else what its files say"
    )
    parser.add_argument(
        "--python", default="", metavar="3.13,...", help="the functions' Python; else what its files say, or all"
    )
    parser.add_argument(
        "--with", dest="others", action="append", default=[], metavar="ZIP|DIR|SIZE",
        help="what is attached beside it, the function included: counted against 262,144,000 bytes (repeatable)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--index", metavar="FILE|URL", help="of an ARN: what was published, as `publish` wrote it")
    parser.add_argument("--no-index", action="store_true", help="of an ARN: look at its content only")
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="of an ARN: the SBOM that was kept")
    parser.add_argument("--signed", action="store_true", help="of an ARN: it must be signed")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="[PARTITION=]NAME", help="of AWS's configuration (repeatable)"
    )


def run(options: argparse.Namespace) -> int:
    """Look at each layer; 1 where one has an error. ConfigError for what cannot be looked at."""
    pythons = _pythons(options.python)
    others = tuple(_other(text) for text in options.others)
    with tempfile.TemporaryDirectory(prefix="layers-") as folder:
        layers, wrong = _here(options, Path(folder))
        reports = [report(path, options.arch, pythons, others) for path in layers]
    if options.json:
        json.dump(
            {"layers": [one.json() for one in reports], **({"published": wrong} if wrong else {})}, sys.stdout, indent=1
        )
        print()
    else:
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print("\n".join(one.text(max(columns, _NARROWEST) if columns else None) for one in reports), end="")
        for arn, lines in wrong.items():
            print(*(f"{arn}: {line}" for line in lines or ["what AWS has is what was published"]), sep="\n")
    return 1 if any(one.errors for one in reports) or any(wrong.values()) else 0


def _here(options: argparse.Namespace, folder: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """The layers, those of ARNs downloaded into `folder`, and what is not in order with these; {} where there are none."""
    if not any(map(_is_arn, options.layers)):
        return options.layers, {}
    from layer_build.publishing import aws, download, record

    if not options.index and not options.no_index:
        raise ConfigError("an ARN is compared with what was published: name the index with --index, or say --no-index")
    index = record.load(options.index) if options.index else None
    try:
        kept = options.sbom.read_bytes() if options.sbom else None
    except OSError as error:
        raise ConfigError(f"--sbom {options.sbom}: cannot be read: {error.strerror}") from error
    amazon = aws.Aws(aws.profiles(options.profile))
    layers, wrong = [], {}
    for at, path in enumerate(options.layers):
        if not _is_arn(path):
            layers.append(path)
            continue
        place = folder / str(at)
        place.mkdir()
        zip_, content = download.fetch(amazon, str(path), place)
        wrong[str(path)] = download.differences(str(path), zip_, content, index, kept, signed=options.signed)
        # What is no zip was told by then: there is nothing in it to look at.
        if zipfile.is_zipfile(zip_):
            layers.append(zip_)
    return layers, wrong


def _is_arn(path: Path) -> bool:
    return str(path).startswith("arn:")


def report(
    path: Path, arch: str = "", pythons: tuple[str, ...] = (), others: tuple[tuple[str, int], ...] = ()
) -> Report:
    """Everything about the layer at `path`; `others`: name and bytes of what is attached beside it."""
    subject = Subject(archive.read(path), arch, pythons)
    budget = Budget(tree.size(subject.files), others)
    findings = checks.all_findings(subject, budget.total - budget.layer)
    return Report(path.name or str(path), subject, budget, grouped(findings))


def _pythons(text: str) -> tuple[str, ...]:
    """Oldest first, as everywhere; ConfigError for a version that Lambda does not have."""
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text else ()
    if wanted:
        Target("x86_64", wanted)
    return tuple(python for python in PYTHONS if python in wanted)


def _other(text: str) -> tuple[str, int]:
    number = text.replace(",", "").replace("_", "")
    if number.isascii() and number.isdigit() and not os.path.exists(text):
        return f"{text} bytes", int(number)
    path = Path(text)
    if not path.exists():
        raise ConfigError(f"--with {text}: neither a zip, nor a folder, nor a number of bytes")
    return path.name or text, archive.unzipped_size(path)
