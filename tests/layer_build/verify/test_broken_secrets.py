"""Secrets that were left in a layer: told, and never shown."""

from __future__ import annotations

import pytest

from tests.layer_build.verify.cases import BASH, Case, refused
from tests.layer_build.verify.layers import File, changed

# Put together here, so that no scanner takes this file for a leak.
AKID = b"AKIA" + b"Q3EGRN5T7WVB2XYZ"
SECRETS = [
    Case(
        "an access key",
        changed(BASH, at="hello/conf", data=b"# keys\nid = " + AKID + b"\n"),
        "secret",
        ("an AWS access key id in line 2",),
    ),
    Case(
        "a secret key",
        changed(BASH, at="hello/conf", data=b"aws_secret_access_key = " + b"a1B2" * 10),
        "secret",
        ("secret access key",),
    ),
    Case(
        "a key in a binary",
        changed(BASH, at="hello/blob", data=bytes(70) + b"ASIA" + b"Q3EGRN5T7WVB2XYZ"),
        "secret",
        ("byte 70",),
    ),
    Case(
        "a private key",
        changed(BASH, at="hello/k.pem", data=b"-----BEGIN RSA " + b"PRIVATE KEY-----\n" + b"A" * 64),
        "secret",
        ("private key",),
    ),
    Case(
        "a GitHub token",
        changed(BASH, at="hello/conf", data=b"token=gh" + b"p_" + b"a" * 36),
        "secret",
        ("a GitHub token",),
    ),
    Case(
        "an npm token",
        changed(BASH, at="hello/.npmrc", data=b"//registry.npmjs.org/:_auth" + b"Token=" + b"b" * 36),
        "secret",
        ("npm",),
    ),
    Case(".env", changed(BASH, at="hello/.env", data=b"A=1"), "secret-file", ("development machine",)),
    Case(".pypirc", changed(BASH, at=".pypirc", data=b""), "secret-file", ("package indexes",)),
    Case(".git", {**BASH, ".git/config": File(b""), ".git/HEAD": File(b"")}, "secret-file", ("Git repository",)),
]


@pytest.mark.parametrize("case", SECRETS, ids=[case.name for case in SECRETS])
def test_a_broken_layer_is_refused(capsys, tmp_path, case):
    """Its own code, its own words, and nothing else is said."""
    refused(case, capsys, tmp_path)
