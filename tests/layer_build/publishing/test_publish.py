"""``publish`` against moto: what a run leaves there, and that the next one leaves it alone."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from layer_build.cli import main
from tests.layer_build.publishing.conftest import REGIONS, for_every_runtime, held, layers, publish

pytestmark = pytest.mark.once


def test_without_yes_nothing_is_done(wire, zips, capsys):
    assert publish(zips, "--public") == 0
    out = capsys.readouterr().out
    assert "would make 6 version(s), 6 permission(s), 12 parameter(s); nothing was done (--yes does it)" in out
    assert not any(call.startswith(("Publish", "Add", "Put")) for call in wire.calls)
    assert not (zips / "index.json").exists()
    assert all(found == {"layers": {}, "parameters": {}} for found in held().values())


def test_three_regions_twice(wire, zips, capsys):
    assert publish(zips, "--public", "--organization", "o-a1b2c3d4e5", "--account", "210987654321", "--yes") == 0
    first = held()
    for region in REGIONS:
        assert sorted(first[region]["layers"]) == ["log-shipper-arm64-python313:1", "log-shipper-x86_64-python313:1"]
        for arch in ("x86_64", "arm64"):
            one = first[region]["layers"][f"log-shipper-{arch}-python313:1"]
            data = (zips / f"log-shipper-1.2.0-{arch}-python3.13.zip").read_bytes()
            assert one["sha256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
            assert (one["runtimes"], one["architectures"]) == (["python3.13"], [arch])
            assert one["description"].startswith("1.2.0: ")
            action = "lambda:GetLayerVersion"
            assert one["grants"] == [
                ("account-210987654321", "210987654321", None, action),
                ("organization-o-a1b2c3d4e5", "*", "o-a1b2c3d4e5", action),
                ("public", "*", None, action),
            ]
            arn = f"arn:aws:lambda:{region}:123456789012:layer:log-shipper-{arch}-python313:1"
            place = f"/extension-kit/log-shipper/{arch}/python3.13"
            assert first[region]["parameters"][f"{place}/latest"] == (arn, 1)
            assert first[region]["parameters"][f"{place}/1.2.0"] == (arn, 1)
    capsys.readouterr()
    wire.calls.clear()
    files = {path.name: path.read_bytes() for path in zips.iterdir()}
    assert publish(zips, "--public", "--organization", "o-a1b2c3d4e5", "--account", "210987654321", "--yes") == 0
    assert capsys.readouterr().out == "2 layer(s), 3 region(s): all of it is published, nothing to do\n"
    assert held() == first
    assert {path.name: path.read_bytes() for path in zips.iterdir()} == files
    assert not any(call.startswith(("Publish", "Add", "Put", "Delete", "Remove")) for call in wire.calls)


def test_a_layer_for_every_runtime_has_a_name_of_its_own(wire, zips):
    """No list of runtimes: it is for all of them, and beside the one for Python."""
    for_every_runtime(zips)
    assert publish(zips, "--yes", regions=("eu-west-1",)) == 0
    found = held(("eu-west-1",))["eu-west-1"]
    assert found["layers"]["log-shipper-x86_64-any:1"]["runtimes"] is None
    assert found["layers"]["log-shipper-x86_64-python313:1"]["runtimes"] == ["python3.13"]
    arn = "arn:aws:lambda:eu-west-1:123456789012:layer:log-shipper-x86_64-any:1"
    assert found["parameters"]["/extension-kit/log-shipper/x86_64/any/latest"] == (arn, 1)


def test_what_is_written_beside_them(wire, zips, tmp_path):
    log = tmp_path / "CHANGELOG.md"
    log.write_text("# Changelog\n\n## Unreleased\n\n### Added\n\n- Something.\n\n## 1.0.0\n")
    assert publish(zips, "--yes", "--changelog", log) == 0
    entries = json.loads((zips / "index.json").read_text())["layers"]
    assert [one["architecture"] for one in entries] == ["arm64", "x86_64"]
    place = entries[0]["published"]["us-east-1"]
    assert place["arn"] == "arn:aws:lambda:us-east-1:123456789012:layer:log-shipper-arm64-python313:1"
    assert place["sha256"] == entries[0]["sha256"]
    assert "host logs.example.com" in entries[0]["abilities"]
    line = "- log-shipper 1.2.0 for arm64, python3.13: layer log-shipper-arm64-python313, version 1 in " + ", ".join(
        REGIONS
    )
    assert f"## Unreleased\n\n### Published\n\n{line}.\n" in log.read_text()
    assert "### Added\n\n- Something.\n\n## 1.0.0\n" in log.read_text()
    statement = json.loads((zips / "log-shipper-1.2.0-arm64-python3.13.intoto.json").read_text())
    assert statement["subject"][0]["digest"]["sha256"] == entries[0]["sha256"]
    assert len(statement["predicate"]["buildDefinition"]["resolvedDependencies"]) == 2


def test_a_new_version_moves_latest_and_an_old_one_does_not_move_it_back(wire, tmp_path, capsys):
    old, new = layers(tmp_path / "old"), layers(tmp_path / "new", "1.10.0")
    shared = ("--index", tmp_path / "index.json", "--yes")
    assert publish(new, *shared) == 0
    assert publish(old, *shared) == 0
    assert "is not the newest: the parameter `latest` does not go back" in capsys.readouterr().err
    found = held()["eu-west-1"]["parameters"]
    arn = "arn:aws:lambda:eu-west-1:123456789012:layer:log-shipper-arm64-python313:"
    assert found["/extension-kit/log-shipper/arm64/python3.13/latest"] == (f"{arn}1", 1)
    assert found["/extension-kit/log-shipper/arm64/python3.13/1.2.0"] == (f"{arn}2", 1)
    assert publish(layers(tmp_path / "newer", "2.0.0"), *shared) == 0
    found = held()["eu-west-1"]["parameters"]
    assert found["/extension-kit/log-shipper/arm64/python3.13/latest"] == (f"{arn}3", 2)
    entries = json.loads((tmp_path / "index.json").read_text())["layers"]
    assert [one["version"] for one in entries] == ["1.2.0", "1.10.0", "2.0.0"] * 2


def test_permissions_beyond_what_is_asked_are_told_and_stay(wire, zips, capsys):
    assert publish(zips, "--public", "--yes") == 0
    before = held()
    assert publish(zips, "--yes") == 0
    err = capsys.readouterr().err
    assert err.count("may be used by everybody as well; that was not asked for, and stays") == 6
    assert held() == before


def test_json_is_one_document(wire, zips, capsys):
    assert publish(zips, "--yes", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["do"] for one in document["done"]] == ["publish"] * 6 + ["parameter"] * 12
    assert document["dry_run"] is False
    assert document["failed"] == []
    assert len(document["files"]) == 3


def test_no_parameters_when_none_are_wanted(wire, zips):
    assert publish(zips, "--yes", "--parameters", "") == 0
    assert all(found["parameters"] == {} for found in held().values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--regions", "mars"], "--regions: 'mars' is no region"),
        (["--regions", "all:mars"], "boto3 knows no such partition"),
        (["--regions", "eu-west-1", "--without", "eu-west-1"], "--regions: none is left"),
        (["--regions", "eu-west-1", "--account", "12"], "--account '12': twelve digits wanted"),
        (["--regions", "eu-west-1", "--organization", "x"], "--organization 'x': an organisation's identifier wanted"),
        (["--regions", "eu-west-1", "--parameters", "/aws/x"], "not below /aws or /ssm"),
        (["--regions", "eu-west-1", "--layer-name", "{version}"], "--layer-name: {version} is not known"),
        (["--regions", "eu-west-1", "--layer-name", "one"], "two zips would be versions of the one layer one"),
        (["--regions", "eu-west-1", "--sign", "p"], "--sign needs --bucket"),
        (["--regions", "eu-west-1", "--expect", "none.json"], "none.json: no such index"),
    ],
)
def test_a_wrong_command_line_is_one_line(wire, zips, capsys, words, said):
    assert main(["publish", str(zips), *words, "--yes"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err
    assert wire.calls == []
