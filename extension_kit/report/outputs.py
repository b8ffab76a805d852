"""Where pictures of a run go: files, and standard output. What cannot be written is found before the run."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

STDOUT = "-"


def require_writable(option: str, path: Path | None) -> None:
    """ConfigError, naming `option`, where `path` cannot be written; leaves nothing behind, and what is there as it is."""
    if path is None or str(path) == STDOUT:
        return
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise _refused(option, path, error) from error
    if not existed:
        path.unlink(missing_ok=True)


def write(option: str, path: Path, content: str) -> None:
    """Write a file; ConfigError, naming `option`, where that cannot be done."""
    try:
        path.write_text(content, encoding="utf-8", errors="replace")
    except OSError as error:
        raise _refused(option, path, error) from error


def _refused(option: str, path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{option} {path}: cannot be written: {error.strerror}")


def draw(record: dict[str, Any], report: Path | None, trace: Path | None) -> None:
    """The pictures that were asked for: a page (or, for ``-``, a text on standard output), and a trace."""
    if report is not None and str(report) == STDOUT:
        show(record)
    elif report is not None:
        from extension_kit.report.page import html

        write("--report", report, html(record))
    if trace is not None:
        from extension_kit.report.chrome import trace as traced

        write("--trace", trace, json.dumps(traced(record)) + "\n")


def show(record: dict[str, Any]) -> None:
    """The text, as wide as the terminal is and in what characters it has."""
    from extension_kit.report.text import text

    columns = shutil.get_terminal_size((100, 24)).columns
    encoding = sys.stdout.encoding or "ascii"
    shown = text(record, columns, encoding)
    print(shown.encode(encoding, "replace").decode(encoding), end="")
