"""Secrets that were left in files. A finding says what kind and where, never the secret itself.

Whoever may read the layer has them: layers are shared with accounts, and lie in build caches. Sources of the shapes: AWS docs,
"IAM identifiers" (unique prefixes); GitHub docs, "About authentication to GitHub" (token formats); RFC 7468 (private keys); the
docs of npm, PyPI and Slack on tokens. AWS's own example keys end in EXAMPLE and are no secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layer_build.checks.findings import ERROR, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layer_build.checks.findings import Finding
    from layer_build.checks.subject import Subject

_WHY = "everybody who may attach or download the layer can read it, in every region and account that it is copied to"

IN_FILE = rule(
    "secret",
    ERROR,
    "{kind} in {where}",
    _WHY,
    "revoke it, remove it from the layer, and let the extension read it at run time (Secrets Manager, Parameter Store)",
)
FILE = rule(
    "secret-file",
    ERROR,
    "a file that is made to hold secrets: {kind}",
    _WHY,
    "leave it out of the layer; if something is in it, revoke that",
)


@dataclass(frozen=True)
class _Shape:
    """`begins`: cheap to look for, stands in everything that `pattern` finds."""

    kind: str
    begins: bytes
    pattern: re.Pattern[bytes]


def _shape(kind: str, begins: bytes, pattern: bytes) -> _Shape:
    return _Shape(kind, begins, re.compile(rb"(?<![A-Za-z0-9_])" + pattern + rb"(?![A-Za-z0-9_])"))


_SHAPES = (
    _shape("an AWS access key id", b"AKIA", rb"AKIA[A-Z0-9]{16}"),
    _shape("the id of temporary AWS credentials", b"ASIA", rb"ASIA[A-Z0-9]{16}"),
    _Shape(
        "an AWS secret access key",
        b"aws_secret_access_key",
        re.compile(rb"aws_secret_access_key['\"]?[ \t]*[=:][ \t]*['\"]?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"),
    ),
    _Shape(
        "a private key",
        b"PRIVATE KEY-----",
        re.compile(
            rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----(?:\r?\n|\\n)(?:[A-Za-z-]+: [^\n]*\r?\n|\r?\n)*[A-Za-z0-9+/=]{40,}"
        ),
    ),
    *(_shape("a GitHub token", f"gh{one}_".encode(), f"gh{one}_[A-Za-z0-9]{{36,}}".encode()) for one in "pousr"),
    _shape("a GitHub token", b"github_pat_", rb"github_pat_[A-Za-z0-9_]{40,}"),
    _shape("a PyPI token", b"pypi-AgEIcHlwaS5vcmc", rb"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{20,}"),
    _shape("an npm token", b"npm_", rb"npm_[A-Za-z0-9]{36}"),
    _Shape("an npm token", b"_authToken", re.compile(rb"_authToken[ \t]*=[ \t]*(?!\$)[A-Za-z0-9_.-]{16,}")),
    _shape("a Slack token", b"xox", rb"xox[baprs]-[0-9]{8,}-[A-Za-z0-9-]{16,}"),
)
_FILES = {
    ".env": "variables of a development machine",
    ".pypirc": "passwords of package indexes",
    ".netrc": "passwords of hosts",
    ".git-credentials": "passwords of Git hosts",
    "id_rsa": "a private SSH key",
    "id_ed25519": "a private SSH key",
    "id_ecdsa": "a private SSH key",
}
_FOLDERS = {
    ".git": "a Git repository, with everything that was ever in it",
    ".aws": "credentials of the AWS command line",
}
_EXAMPLE = b"EXAMPLE"


def check(subject: Subject) -> Iterator[Finding]:
    """Every file's name and bytes."""
    folders: set[str] = set()
    for path, entry in subject.files.items():
        parts = path.split("/")
        hidden = next((part for part in parts[:-1] if part in _FOLDERS), "")
        if hidden:
            place = "/".join(parts[: parts.index(hidden) + 1]) + "/"
            if place not in folders:
                folders.add(place)
                yield FILE.at(place, kind=_FOLDERS[hidden])
            continue
        if parts[-1] in _FILES and not entry.is_link:
            yield FILE.at(path, kind=_FILES[parts[-1]])
        for shape in _SHAPES:
            if shape.begins in entry.data:
                yield from _hits(path, entry.data, shape)


def _hits(path: str, data: bytes, shape: _Shape) -> Iterator[Finding]:
    """The first place only: one is enough to act on, and a file full of them is one finding."""
    for match in shape.pattern.finditer(data):
        if _EXAMPLE not in match[0]:
            binary = b"\0" in data[:4096]
            line = data.count(b"\n", 0, match.start()) + 1
            where = f"byte {match.start()}" if binary else f"line {line}"
            yield IN_FILE.at(path, kind=shape.kind, where=where)
            return
