"""``provenance.json``: what is written is read, and what is not understood is said in one line."""

from __future__ import annotations

import json

import pytest

from extension_kit.errors import ConfigError
from layer_build.provenance import Dependency, Provenance, parse

SHA = "0" * 64
ONE = Provenance(
    name="log-shipper",
    version="1.2.0",
    arch="arm64",
    pythons=("3.12", "3.13"),
    launcher="native",
    launcher_sha256=SHA,
    kit_version="0.1.0",
    zig="0.17.1",
    bytecode={"3.13": "3.13.0", "3.12": "3.12.1"},
    dependencies=(
        Dependency("certifi", "1", "certifi-1-py3-none-any.whl", SHA),
        Dependency("requests", "2", "requests-2-py3-none-any.whl", SHA),
    ),
)


def test_what_is_written_is_read():
    assert parse(ONE.to_json()) == ONE


def test_the_order_in_which_things_were_found_changes_nothing():
    other = Provenance(
        **{
            **vars(ONE),
            "bytecode": dict(reversed(ONE.bytecode.items())),
            "dependencies": ONE.dependencies[::-1],
        }
    )
    assert other.to_json() == ONE.to_json()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 2}, "not a provenance of format 1"),
        ({"name": 1}, "name is 1: a text wanted"),
        ({"launcher": "rusty"}, "launcher is 'rusty': native or python wanted"),
        ({"launcher_sha256": "ab"}, "launcher_sha256 is 'ab': a SHA-256 wanted"),
        ({"arch": "riscv"}, "architecture 'riscv': Lambda has x86_64 and arm64"),
        ({"pythons": "3.13"}, "pythons is '3.13': a list of versions wanted"),
        ({"pythons": []}, "no Python version"),
        ({"bytecode": ["3.13"]}, "bytecode is "),
        ({"dependencies": [1]}, "dependencies: a list of tables wanted"),
        ({"dependencies": [{"name": "a"}]}, "version is None: a text wanted"),
    ],
)
def test_what_is_not_understood_is_one_line(change, why):
    with pytest.raises(ConfigError, match=rf"^a\.zip: provenance: {why}"):
        parse(json.dumps({**json.loads(ONE.to_json()), **change}).encode(), "a.zip: provenance")


@pytest.mark.parametrize("data", [b"[]", b"nothing", b"\xff\xfe"])
def test_what_is_no_provenance_is_one_line(data):
    with pytest.raises(ConfigError, match=r"^provenance\.json: not [^\n]+$"):
        parse(data)
