"""``new``: a project for an extension, whose tests pass at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit import scaffold
from extension_kit.scaffold.names import Names

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("name", metavar="NAME", help="under which it registers, e.g. my-extension")
    parser.add_argument(
        "--directory", type=Path, default=Path(), metavar="DIR", help="where the folder NAME is made (default: here)"
    )
    parser.add_argument("--json", action="store_true", help="what was made, as JSON")


def run(options: argparse.Namespace) -> int:
    """Make it, and say what to do next."""
    names = Names.of(options.name)
    folder = options.directory / names.name
    files = [path.relative_to(folder).as_posix() for path in scaffold.write(names, folder)]
    if options.json:
        made = {"name": names.name, "module": names.module, "class": names.class_name, "prefix": names.prefix}
        print(json.dumps({**made, "folder": str(folder), "files": files}, indent=1))
        return 0
    print(f"{folder}: a project for the extension {names.name}")
    for file in files:
        print(f"  {file}")
    print(f"next: cd {folder}; python -m pytest (README.md says how to install the kit where it is not)")
    return 0
