"""``interpreter``: a Python that layers carry into runtimes without one; ``build --runtime any`` takes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import tree
from layer_build.interpreter import made, own, provider
from layer_build.targets import ARCHITECTURES

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arch", choices=(*ARCHITECTURES, "both"), default="both")
    parser.add_argument(
        "--from", dest="url", metavar="URL", help="not built here: an archive of python-build-standalone"
    )
    parser.add_argument("--sha256", metavar="HASH", help="of that archive")
    parser.add_argument(
        "--sources", type=Path, action="append", default=[], metavar="DIR", help="a folder that has sources already"
    )
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")


def run(options: argparse.Namespace) -> int:
    """Makes what the cache does not have, and says where it is."""
    arches = tuple(ARCHITECTURES) if options.arch == "both" else (options.arch,)
    if (options.url is None) != (options.sha256 is None):
        raise ConfigError("--from and --sha256 go together: what comes from elsewhere is named by its hash")
    if options.url is not None and len(arches) > 1:
        raise ConfigError("--from brings one architecture: name it with --arch")
    found = []
    for arch in arches:
        if options.url is not None:
            found.append(provider.get(options.url, options.sha256, arch, _say, options.sources))
        else:
            found.append(own.get(arch, _say, options.sources))
    rows = [_facts(folder) for folder in found]
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        print(row["folder"])
        print(f"  CPython {row['release']}, {row['arch']}, {row['files']} files, {row['unzipped']:,} bytes unzipped")
        print(f"  sha256 {row['sha256']} (program)")
        print(f"  tree   {row['tree']}")
    return 0


def _facts(folder: Path) -> dict[str, str | int]:
    about, files = made.load(folder), made.tree(folder)
    return {
        "folder": str(folder), "arch": about.arch, "release": about.release, "origin": about.origin, "sha256": about.sha256,
        "tree": tree.tree_hash(files), "files": len(files), "unzipped": tree.size(files),
    }  # fmt: skip


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
