"""What is to be done, as values: no AWS, no boto3."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from layer_build import index
from layer_build.cli import main
from layer_build.outdated.changes import from_changelog, may_break
from layer_build.outdated.uses import arns
from layer_build.publishing import aws, plan, record, zips
from layer_build.publishing.plan import Grant, Region, Version, order
from tests.layer_build import sample
from tests.layer_build.publishing.conftest import for_every_runtime, layers, publishable

ORDERED = ["x", "0.1.0rc1", "0.1.0", "0.1.1", "0.9", "0.10", "1.0.0-rc1", "1.0.0-rc2", "1.0.0", "1.9.0", "1.10.0", "2"]


def test_versions_are_sorted_as_people_do():
    assert sorted({*ORDERED}, key=order) == ORDERED
    assert order("1.0") == order("1.0.0")


@given(st.text(), st.text())
def test_any_text_has_a_place_among_versions(one, other):
    assert (order(one) < order(other)) + (order(one) > order(other)) <= 1


@pytest.fixture
def found(tmp_path):
    return zips.read([layers(tmp_path / "dist")])


def region(*versions):
    name = "log-shipper-x86_64-python313"
    return Region("eu-west-1", "aws", "1" * 12, {name: list(versions), "log-shipper-arm64-python313": []})


def test_what_is_there_is_not_published_again(found):
    arm, intel = found
    here = region(Version(4, "arn:4", "1.2.0", intel.sha256))
    assert [step.zip for step in plan.to_publish([here], found)] == [arm]
    assert here.predicted(intel).number == 5
    assert here.predicted(arm).arn == f"arn:aws:lambda:eu-west-1:{'1' * 12}:layer:log-shipper-arm64-python313:1"


def test_only_permissions_that_lack_are_added(found):
    here = region(Version(4, "arn:4", "1.2.0", found[1].sha256))
    here.grants["arn:4"] = [Grant("*")]
    wanted = [Grant("*"), Grant("*", "o-1234567890"), Grant("2" * 12)]
    assert [step.grant for step in plan.to_allow([here], found, wanted)] == wanted[1:]
    assert plan.more_grants([here], found, wanted[1:]) == [(here.versions[found[1].layer_name][0], Grant("*"))]


@pytest.mark.parametrize(
    ("others", "points"),
    [
        ([], ["latest", "1.2.0"]),
        ([Version(9, "arn:9", "1.1.0")], ["latest", "1.2.0"]),  # a fix of an older version, published later
        ([Version(3, "arn:3", "1.3.0")], ["1.2.0"]),
        ([Version(9, "arn:9", "1.2.0")], []),  # built again
        ([Version(9, "arn:9", "")], ["latest", "1.2.0"]),
    ],
)
def test_what_latest_names(found, others, points):
    mine = Version(4, "arn:4", "1.2.0", found[1].sha256)
    here = region(*sorted([mine, *others], key=lambda one: -one.number))
    steps = plan.to_point([here], found, "/p")
    assert [step.name.rpartition("/")[2] for step in steps] == points
    here.parameters |= {step.name: step.arn for step in steps}
    assert plan.to_point([here], found, "/p") == []


def test_a_changelog_keeps_what_is_in_it(found):
    here = region(Version(4, "arn:4", "1.2.0", found[1].sha256))
    text = record.changelog("", found[1:], [here])
    line = "- log-shipper 1.2.0 for x86_64, python3.13: layer log-shipper-x86_64-python313, version 4 in eu-west-1."
    assert text == f"# Changelog\n\n## Unreleased\n\n### Published\n\n{line}\n"
    assert record.changelog(text, found[1:], [here]) == text
    released = "# Changelog\n\n## 1.0.0\n\n- It.\n"
    assert record.changelog(released, found[1:], [here]).endswith(f"### Published\n\n{line}\n\n## 1.0.0\n\n- It.\n")


def test_one_zip_for_two_runtimes(tmp_path):
    """A parameter for each, so that nobody has to know how it was built."""
    files = sample.files(sample.MANIFEST.replace('["3.13"]', '["3.12", "3.13"]'), pythons=("3.12", "3.13"))
    (one,) = zips.read([sample.zipped(tmp_path / "a.zip", publishable(files))])
    assert one.layer_name == "log-shipper-x86_64-python312-python313"
    places = [f"/p/log-shipper/x86_64/python{python}" for python in ("3.12", "3.13")]
    assert plan.parameters(one, "/p") == [f"{place}/{word}" for place in places for word in ("latest", "1.2.0")]


def test_a_layer_for_every_runtime(tmp_path):
    """Beside the one for Python: a layer and a parameter of its own."""
    layers(tmp_path / "dist", arches=("x86_64",))
    for_every_runtime(tmp_path / "dist")
    one, python = zips.read([tmp_path / "dist"])
    assert (one.layer_name, python.layer_name) == ("log-shipper-x86_64-any", "log-shipper-x86_64-python313")
    assert plan.parameters(one, "/p") == ["/p/log-shipper/x86_64/any/latest", "/p/log-shipper/x86_64/any/1.2.0"]
    assert "| log-shipper | 1.2.0 | any runtime |" in index.markdown([one.entry])
    assert may_break({**one.entry, "version": "1.1.0"}, one.entry, "python3.11", []) == []


def test_a_page_in_the_place_of_an_answer_is_cut():
    from botocore.exceptions import ClientError

    error = ClientError({"Error": {"Code": "500", "Message": "<html>\n" * 500}}, "ListFunctions")
    assert len(aws.words(error)) < 400
    assert aws.words(error).startswith("ListFunctions was refused: 500: <html> <html>")


def test_two_zips_for_the_same_functions(tmp_path):
    folder = layers(tmp_path / "dist", arches=("x86_64",))
    layers(folder, "1.3.0", ("x86_64",))
    with pytest.raises(ConfigError, match=r"are both log-shipper for x86_64, python3\.13: publish one"):
        zips.read([folder])


def test_a_zip_that_changes_after_it_was_looked_at(found):
    found[0].path.write_bytes(b"other")
    with pytest.raises(ConfigError, match="changed after it had been verified"):
        found[0].data()


def test_a_zip_that_is_too_large_for_a_call(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "MAX_DIRECT", 1000)
    with pytest.raises(ConfigError, match="a layer of more than 1,000 cannot be uploaded in a call"):
        zips.read([layers(tmp_path / "dist")])


@pytest.mark.parametrize(("path", "said"), [("none.zip", "no such zip"), ("", "no zip in it")])
def test_nothing_to_publish(tmp_path, path, said):
    with pytest.raises(ConfigError, match=said):
        zips.read([tmp_path / path])


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": 2, "layers": []}', b'{"format": 1, "layers": [{}]}'])
def test_what_is_no_index(data):
    with pytest.raises(ConfigError, match=r"place: not an index"):
        record.parse(data, "place")


def test_regions_of_partitions():
    assert aws.regions("us-gov-west-1,eu-west-1,eu-west-1") == ["us-gov-west-1", "eu-west-1"]
    assert aws.regions("all:aws-cn", "cn-north-1") == ["cn-northwest-1"]
    assert len(aws.regions("all")) > 20
    assert [aws.partition(one) for one in ("eu-west-1", "cn-north-1", "us-gov-east-1")] == [
        "aws",
        "aws-cn",
        "aws-us-gov",
    ]
    assert aws.profiles(["one", "aws-cn=two"]) == {"": "one", "aws-cn": "two"}


def test_without_boto3_it_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert main(["publish", str(layers(tmp_path / "dist")), "--regions", "eu-west-1"]) == 2
    error = "layer_build publish: boto3 is not installed: pip install 'lambda-extension-kit[publish]'\n"
    assert capsys.readouterr().err == error


def test_arns_with_open_places():
    text = "a arn:aws:lambda:eu-west-1:123456789012:layer:x:12, arn:${P}:lambda:${AWS::Region}:${A}:layer:y_z-1:3 arn:aws:s3"
    found = arns(text)
    assert [(one.region, one.account, one.layer, one.number) for one in found] == [
        ("eu-west-1", "123456789012", "x", 12),
        ("", "", "y_z-1", 3),
    ]


def test_a_changelog_between_two_versions():
    text = "## 2.0.0\n### Added\n- a\n## [1.5.0] - day\n* b\n  more\n## 1.0.0\n- c\n"
    assert from_changelog(text, "1.0.0", "2.0") == [("Added", "a"), ("", "b more")]
    assert from_changelog(text, "2.0.0", "2.0.0") == []


@pytest.mark.parametrize(
    ("old", "new", "breaks"),
    [("1.0.0", "1.9.0", False), ("1.0.0", "2.0.0", True), ("0.1.0", "0.1.5", False), ("0.1.0", "0.2.0", True)],
)
def test_what_a_number_says(old, new, breaks):
    entries = [{"version": version, "pythons": ["3.13"]} for version in (old, new)]
    assert bool(may_break(*entries, "python3.13", [])) is breaks
    assert may_break(*entries, "python3.12", [])[-1] == "it is not for python3.12, but for Python 3.13"
