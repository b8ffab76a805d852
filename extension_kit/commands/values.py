"""What options may be, the same in every command: each says in one line what is wrong, and what is allowed."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_pictures(to: argparse._ActionsContainer) -> None:
    """The options for pictures of a run."""
    to.add_argument("--report", type=Path, metavar="FILE.html|-", help="draw the run: a page, or a text on stdout")
    to.add_argument("--trace", type=Path, metavar="FILE", help="a trace for chrome://tracing and Perfetto")


def positive(text: str) -> int:
    """A count."""
    return _whole(text, 1, 1_000_000, "a whole number from 1")


def natural(text: str) -> int:
    """Milliseconds, or a seed."""
    return _whole(text, 0, 3_600_000, "milliseconds, 0 to 3600000")


def memory(text: str) -> int:
    """A memory setting in MB."""
    return _whole(text, 128, 10_240, "megabytes, 128 to 10240")


def port(text: str) -> int:
    """A port; 0 for any free one."""
    return _whole(text, 0, 65_535, "a port, 0 to 65535")


def _whole(text: str, low: int, high: int, allowed: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
    return number


def seconds(text: str) -> float:
    """A function's timeout in seconds."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number <= 900.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, above 0 and up to 900")
    return number


def variable(text: str) -> tuple[str, str]:
    """Name and value of an environment variable."""
    name, equals, value = text.partition("=")
    if not name or not equals or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
