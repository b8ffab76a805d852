"""YAML as text, always the same for the same values; a string that could be read as anything else is quoted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from layer_build.templates.shared import quoted

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(:+[A-Za-z0-9_./-]+)*")
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # YAML 1.1 takes them for something else


@dataclass(frozen=True)
class Note:
    """Comment lines, without their ``#``: a key of a mapping (its value is of no account), or an item of a list."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Tagged:
    """A short form of a CloudFormation function: ``!Ref Layer``."""

    tag: str
    text: str


@dataclass(frozen=True)
class Block:
    """A text of several lines, shown as it is; only for text of our own."""

    text: str


def dump(node: dict[Any, Any]) -> str:
    """The document."""
    return "\n".join(_mapping(node, "")) + "\n"


def _mapping(node: dict[Any, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in node.items():
        if isinstance(key, Note):
            lines += _note(key, indent)
        elif isinstance(value, dict):
            lines += [f"{indent}{key}:", *_mapping(value, indent + "  ")]
        elif isinstance(value, list):
            lines += [f"{indent}{key}:", *_sequence(value, indent + "  ")]
        elif isinstance(value, Block):
            lines += [f"{indent}{key}: |", *(f"{indent}  {line}" for line in value.text.splitlines())]
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


def _sequence(node: list[Any], indent: str) -> list[str]:
    lines: list[str] = []
    for value in node:
        if isinstance(value, Note):
            lines += _note(value, indent)
        elif isinstance(value, dict):
            inner = _mapping(value, indent + "  ")
            lines += [f"{indent}- {inner[0].lstrip()}", *inner[1:]]
        else:
            lines.append(f"{indent}- {_scalar(value)}")
    return lines


def _note(note: Note, indent: str) -> list[str]:
    return [f"{indent}# {line}".rstrip() for line in note.lines]


def _scalar(value: str | int | Tagged) -> str:
    if isinstance(value, Tagged):
        return f"{value.tag} {_scalar(value.text)}"
    if isinstance(value, int):
        return str(value)
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else quoted(value)
