"""The SBOM: valid to CycloneDX's own schema, the same bytes for the same parts, and nothing left out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from layer_build import sbom
from layer_build.sbom import Component

SHA = hashlib.sha256(b"a wheel").hexdigest()
SUBJECT = Component("log-shipper", "1.2.0", "application", license="Apache-2.0", notes=(("arch", "arm64"),))
PARTS = (
    sbom.kit("0.1.0"),
    sbom.launcher("0.1.0", SHA, "0.17.1", "1.2.5"),
    Component("requests", "2.34.2", purl="pkg:pypi/requests@2.34.2", sha256=SHA, license="Apache-2.0"),
    Component("certifi", "2026.10.18", license="Mozilla Public License 2.0 (MPL 2.0)", spdx=False),
)
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def test_it_is_cyclonedx_1_6():
    assert VALIDATOR.validate_str(sbom.sbom(SUBJECT, PARTS).decode()) is None


def test_the_validator_can_say_no():
    broken = sbom.sbom(SUBJECT, PARTS).replace(b'"SHA-256"', b'"SHA-257"')
    assert VALIDATOR.validate_str(broken.decode()) is not None


def test_everything_is_named_and_depended_on():
    content = json.loads(sbom.sbom(SUBJECT, PARTS))
    names = [one["name"] for one in content["components"]]
    assert sorted(names) == ["certifi", "extension-kit-launcher", "lambda-extension-kit", "requests"]
    assert content["metadata"]["component"]["name"] == "log-shipper"
    depends = {one["ref"]: one.get("dependsOn") for one in content["dependencies"]}
    assert depends.pop("log-shipper@1.2.0") == sorted(one.ref for one in PARTS)
    assert depends == {one.ref: None for one in PARTS}


def test_the_launcher_says_what_it_is_made_of():
    shown = json.loads(sbom.sbom(SUBJECT, PARTS))["components"]
    (launcher,) = (one for one in shown if one["name"] == "extension-kit-launcher")
    assert launcher["hashes"] == [{"alg": "SHA-256", "content": SHA}]
    assert launcher["properties"] == [
        {"name": "compiler", "value": "zig 0.17.1"},
        {"name": "libc", "value": "musl 1.2.5, static"},
    ]


def test_the_order_of_the_parts_changes_nothing_and_a_part_changes_the_serial_number():
    first = sbom.sbom(SUBJECT, PARTS)
    assert sbom.sbom(SUBJECT, PARTS[::-1]) == first
    fewer = json.loads(sbom.sbom(SUBJECT, PARTS[1:]))
    assert fewer["serialNumber"].startswith("urn:uuid:")
    assert fewer["serialNumber"] != json.loads(first)["serialNumber"]
    assert b"timestamp" not in first


def test_what_is_written_is_read():
    subject, parts = sbom.read(sbom.sbom(SUBJECT, PARTS))
    assert subject == SUBJECT
    assert parts == tuple(sorted(PARTS, key=lambda part: part.ref))


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", b"nothing", b"\xff", b'{"bomFormat": "SPDX"}', b'{"bomFormat":"CycloneDX","components":[1]}']
)
def test_what_is_no_sbom_is_one_line(data):
    with pytest.raises(ConfigError, match=r"^SBOM: [^\n]+$"):
        sbom.read(data)


def test_a_part_that_is_given_twice_is_refused():
    with pytest.raises(ConfigError, match=r"log-shipper: pkg:pypi/requests@2\.34\.2\S+ is in the list of parts twice"):
        sbom.sbom(SUBJECT, (*PARTS, PARTS[2]))


def test_two_wheels_of_one_version_are_two_parts():
    other = replace(PARTS[2], sha256=hashlib.sha256(b"another").hexdigest())
    made = sbom.sbom(SUBJECT, (*PARTS, other)).decode()
    assert VALIDATOR.validate_str(made) is None
    assert made.count('"name": "requests"') == 2


@pytest.mark.parametrize(
    ("fields", "license_", "spdx"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: something else", "MIT OR Apache-2.0", True),
        ("License: BSD-3-Clause", "BSD-3-Clause", False),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License", False),
        (f"License: {'word ' * 40}\nClassifier: License :: OSI Approved :: BSD License", "BSD License", False),
        ("License: MIT License\n        Copyright (c) somebody", "MIT License", False),
        ("Classifier: License :: OSI Approved", "", False),
        ("Summary: none is named", "", False),
    ],
)
def test_a_wheels_licence(fields, license_, spdx):
    one = sbom.from_metadata(f"Metadata-Version: 2.4\nName: A_b.C\nVersion: 1+x\n{fields}\n\nText".encode(), "w", SHA)
    assert (one.license, one.spdx) == (license_, spdx)
    assert one.purl == "pkg:pypi/a-b-c@1%2Bx"
    assert (one.name, one.version, one.sha256, one.notes) == ("A_b.C", "1+x", SHA, (("wheel", "w"),))
    assert VALIDATOR.validate_str(sbom.sbom(SUBJECT, [one]).decode()) is None


def test_metadata_without_a_name_is_refused():
    with pytest.raises(ConfigError, match=r"x\.whl: its METADATA has no Name"):
        sbom.from_metadata(b"Version: 1\n", "x.whl", SHA)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"kind": "toy"}, "component a: kind 'toy': CycloneDX has application, framework, "),
        ({"sha256": "12"}, "component a: '12' is no SHA-256"),
    ],
)
def test_what_the_format_cannot_say_is_refused(made, why):
    with pytest.raises(ConfigError, match=why):
        Component("a", "1", **made)


TEXT = st.text(min_size=1, max_size=8)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), unique_by=lambda one: f"{one[0]}@{one[1]}", max_size=5))
def test_any_names_give_a_valid_sbom(found):
    parts = [Component(name, version, license=license_, spdx=False) for name, version, license_ in found]
    assert VALIDATOR.validate_str(sbom.sbom(Component("subject", "@", "application"), parts).decode()) is None
