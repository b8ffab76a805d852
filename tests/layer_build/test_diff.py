"""``diff``: what changes between two layers, and above all what the extension may do then."""

from __future__ import annotations

import json

import pytest

from layer_build.cli import main
from layer_build.tree import Entry
from tests.layer_build import sample


@pytest.fixture
def compared(tmp_path, capsys):
    """Compares two trees as zips: exit status and output."""

    def compare(old, new, *options):
        paths = [str(sample.zipped(tmp_path / f"{name}.zip", layer)) for name, layer in (("old", old), ("new", new))]
        status = main(["diff", *paths, *options])
        return status, capsys.readouterr().out

    return compare


def changed(*replacements):
    text = sample.MANIFEST
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return sample.files(text)


def test_the_same_layer(compared):
    status, out = compared(sample.files(), sample.files())
    assert status == 0
    assert out.splitlines()[2:] == ["the same files"]


def test_a_zip_and_its_folder_are_the_same(tmp_path, capsys):
    path, folder = sample.zipped(tmp_path / "layer.zip"), sample.unpacked(tmp_path / "opt")
    assert main(["diff", str(path), str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["the same files"]


@pytest.mark.parametrize(
    ("replacement", "sentences"),
    [
        (
            ('{ host = "logs.example.com", why = "where the lines go" }', '"logs.example.org"'),
            ["It may now talk to logs.example.org.", "It may no longer talk to logs.example.com (where the lines go)."],
        ),
        (("LOG_SHIPPER_ENDPOINT", "HOME"), ["It may now read the variable HOME.",
                                            "It may no longer read the variable LOG_SHIPPER_ENDPOINT."]),
        (
            ('["s3:PutObject"]', '["s3:PutObject", "s3:DeleteObject"]'),
            [
                "It may now use the IAM action s3:DeleteObject on arn:aws:s3:::{bucket}/{region}/* "
                "(a copy of each batch)."
            ],
        ),
        (
            ('"arn:aws:s3:::{bucket}/{region}/*"', '"*"'),
            [
                "It may now use the IAM action s3:PutObject on * (a copy of each batch).",
                "It may no longer use the IAM action s3:PutObject on arn:aws:s3:::{bucket}/{region}/* "
                "(a copy of each batch).",
            ],
        ),
        (
            ("port = 2773", "port = 2774"),
            [
                "It may now listen on 127.0.0.1:2774, or where LOG_SHIPPER_PORT says (what the function asks).",
                "It may no longer listen on 127.0.0.1:2773, or where LOG_SHIPPER_PORT says (what the function asks).",
            ],
        ),
        (('"/tmp/.extension-kit/log-shipper/"', ""), ["It may no longer write below /tmp/.extension-kit/log-shipper/."]),
        (('["INVOKE", "SHUTDOWN"]', '["SHUTDOWN"]'), ["It may no longer be told of INVOKE."]),
        (
            ('["platform", "function"]', '["platform", "function", "extension"]'),
            ["It may now hear extension telemetry (extensions' log lines)."],
        ),
        (("where the lines go", "because"), ["nothing changes"]),
    ],
)  # fmt: skip
def test_what_it_may_do(compared, replacement, sentences):
    status, out = compared(sample.files(), changed(replacement))
    assert status == 1
    assert out.split("what it may do\n")[1].split("\n\n")[0].splitlines() == [f"  {one}" for one in sentences]


def test_parts_launcher_pythons_and_sizes(compared):
    new = sample.files(
        version="1.3.0", launcher="python", pythons=("3.12", "3.13"), dependencies={"requests": "2.35.0", "idna": "3"}
    )
    status, out = compared(sample.files(), new)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 1
    for line in (
        "version 1.2.0 -> 1.3.0",
        "Python 3.13 -> 3.12, 3.13",
        "launcher native -> python",
        "zig 0.17.1 -> -",
        "requests 2.34.2 -> 2.35.0",
        "idna - -> 3",
        "certifi 2026.10.18 -> -",
        "extension-kit-launcher 0.1.0 -> -",
        "removed log-shipper/lib/certifi/__init__.pyc 6,300 -> -",
        "added log-shipper/lib/idna/__init__.pyc - -> 3,600",
    ):
        assert line in lines
    assert not any(line.startswith("lambda-extension-kit") for line in lines)


def test_a_mode_alone_makes_it_different(compared):
    new = sample.files()
    new["extensions/log-shipper"] = Entry(new["extensions/log-shipper"].data, 0o644)
    status, out = compared(sample.files(), new)
    assert status == 1
    assert "changed  extensions/log-shipper  120  ->  120  mode 0755 -> 0644" in out


def test_against_a_layer_that_says_nothing(compared):
    _, out = compared(sample.files(), sample.third_party())
    assert "  Lambda will now start extensions/agent.\n" in out
    assert "  Lambda will no longer start extensions/log-shipper.\n" in out
    assert "  Nothing in the new layer says what it may do.\n" in out


def test_a_manifest_that_is_gone_is_no_loss_of_abilities(compared):
    new = {path: entry for path, entry in sample.files().items() if not path.startswith("log-shipper/")}
    _, out = compared(sample.files(), new)
    assert "  log-shipper no longer has a manifest: nothing in the layer says what it may do.\n" in out
    assert "may no longer" not in out


def test_of_several_extensions_each_is_named(compared):
    bare = sample.files(sample.BARE, name="bare")
    _, out = compared(sample.files(), {**sample.files(), **bare, "extensions/bare": Entry(sample.elf("arm64"), 0o755)})
    assert "  Lambda will now start extensions/bare.\n" in out
    assert "  bare architecture" in out
    assert "It may" not in out


def test_an_extension_with_another_name_is_still_compared(compared):
    new = sample.files(sample.MANIFEST.replace("log-shipper", "shipper").replace("2773", "2774"), name="shipper")
    _, out = compared(sample.files(), new)
    assert "  name  log-shipper  ->  shipper\n" in out
    assert "  It may now listen on 127.0.0.1:2774" in out
    assert "It may now talk to" not in out


def test_json(compared):
    status, out = compared(sample.files(), sample.files(version="1.2.1", dependencies={"requests": "2.35.0"}), "--json")
    found = json.loads(out)
    assert status == 1
    assert found["same"] is False
    assert found["capabilities"] == []
    assert {"what": "version", "old": "1.2.0", "new": "1.2.1"} in found["made"]
    assert found["parts"] == [
        {"name": "requests", "old": "2.34.2", "new": "2.35.0"},
        {"name": "certifi", "old": "2026.10.18", "new": None},
    ]
    files = {one["path"]: one for one in found["files"]}
    assert files["log-shipper/lib/certifi/__init__.pyc"] == {
        "path": "log-shipper/lib/certifi/__init__.pyc",
        "old": {"size": 6300, "mode": "0644"},
        "new": None,
        "change": "removed",
    }


def test_json_of_the_same(compared):
    status, out = compared(sample.files(), sample.files(), "--json")
    found = json.loads(out)
    assert status == 0
    assert found["same"] is True
    assert found["files"] == found["parts"] == found["made"] == []


def test_what_cannot_be_read_is_one_line(tmp_path, capsys):
    assert main(["diff", str(sample.zipped(tmp_path / "a.zip")), str(tmp_path / "b.zip")]) == 2
    assert capsys.readouterr().err == f"layer_build diff: {tmp_path / 'b.zip'}: no such file or directory\n"
