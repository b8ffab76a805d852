"""``index``: every layer of ours in a folder, the same bytes each time, and nothing half-written."""

from __future__ import annotations

import hashlib
import json

import pytest

from layer_build import tree
from layer_build.cli import main
from layer_build.index import index, markdown
from layer_build.tree import Entry
from tests.layer_build import sample


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "dist"
    made.mkdir()
    sample.zipped(made / "b.zip", sample.files(arch="arm64", pythons=("3.12", "3.13")))
    sample.zipped(made / "a.zip", sample.files(launcher="python"))
    sample.zipped(made / "agent.zip", sample.third_party())
    (made / "notes.txt").write_text("not a layer")
    (made / "broken.zip").write_text("not a zip")
    return made


def test_every_layer_with_what_finds_and_checks_it(folder):
    found = json.loads(index(folder))
    assert found["format"] == 1
    assert [one["file"] for one in found["layers"]] == ["a.zip", "b.zip"]
    data = (folder / "b.zip").read_bytes()
    layer = sample.files(arch="arm64", pythons=("3.12", "3.13"))
    assert found["layers"][1] == {
        "file": "b.zip",
        "name": "log-shipper",
        "version": "1.2.0",
        "architecture": "arm64",
        "pythons": ["3.12", "3.13"],
        "runtime": "python",
        "launcher": "native",
        "zipped": len(data),
        "unzipped": tree.size(layer),
        "sha256": hashlib.sha256(data).hexdigest(),
        "tree": tree.tree_hash(layer),
    }
    assert index(folder) == index(folder)


def test_what_is_left_out_is_told(folder, capsys):
    assert main(["index", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.out.encode() == index(folder)
    assert captured.err.splitlines() == [
        "layer_build index: agent.zip skipped: it has no provenance of ours",
        f"layer_build index: broken.zip skipped: {folder / 'broken.zip'}: not a readable zip: File is not a zip file",
    ]


def test_a_layer_whose_provenance_is_damaged_is_told(tmp_path, capsys):
    sample.zipped(tmp_path / "a.zip", {**sample.files(), "log-shipper/provenance.json": Entry(b"{}")})
    assert main(["index", str(tmp_path)]) == 0
    assert "a.zip skipped: log-shipper/provenance.json: not a provenance of format 1\n" in capsys.readouterr().err


def test_a_layer_with_two_extensions_is_told(tmp_path, capsys):
    sample.zipped(tmp_path / "a.zip", {**sample.files(), **sample.files(sample.BARE, name="bare")})
    assert main(["index", str(tmp_path)]) == 0
    assert "a.zip skipped: it holds 2 extensions; one to a layer is indexed\n" in capsys.readouterr().err


def test_it_is_written_over_the_old_one(folder, capsys):
    out = folder / "index.json"
    out.write_text("old")
    assert main(["index", str(folder), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 2 layers\n"
    assert out.read_bytes() == index(folder)


def test_an_empty_folder_has_an_empty_index(tmp_path):
    assert json.loads(index(tmp_path)) == {"format": 1, "layers": []}


@pytest.mark.parametrize("place", ["none/index.json", "notes.txt/index.json"])
def test_where_it_cannot_be_written_is_one_line(folder, capsys, place):
    before = sorted(folder.iterdir())
    assert main(["index", str(folder), "--out", str(folder / place)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"layer_build index: {folder / place}: cannot be written: ")
    assert sorted(folder.iterdir()) == before


def test_a_folder_in_the_place_of_the_file_stays(folder, capsys):
    (folder / "index.json").mkdir()
    before = sorted(folder.iterdir())
    assert main(["index", str(folder), "--out", str(folder / "index.json")]) == 2
    assert "cannot be written: Is a directory; nothing was changed" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_no_folder_is_one_line(tmp_path, capsys):
    assert main(["index", str(tmp_path / "none")]) == 2
    assert (
        capsys.readouterr().err
        == f"layer_build index: {tmp_path / 'none'}: cannot be read: No such file or directory\n"
    )


def test_the_table_of_sizes_has_a_row_for_each_layer_and_both_architectures():
    """What stands in the README is made by a command."""
    one = {"name": "a", "version": "1", "pythons": ["3.13"], "unzipped": 700_400}
    table = markdown([{**one, "architecture": "x86_64", "zipped": 350_400}, {**one, "architecture": "arm64", "zipped": 351_600},
                      {**one, "name": "b", "architecture": "arm64", "zipped": 1_000}])  # fmt: skip

    assert table.splitlines()[2:] == [
        "| a | 1 | 3.13 | 342 KB | 343 KB | 684 KB |",
        "| b | 1 | 3.13 | - | 1 KB | 684 KB |",
    ]
