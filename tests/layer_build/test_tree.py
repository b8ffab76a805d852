"""Trees and zips: the same content gives the same bytes."""

from __future__ import annotations

import os
import stat
import zipfile

import pytest

from extension_kit.errors import ConfigError
from layer_build import tree
from layer_build.tree import Entry

LAYER = {
    "extensions/x": Entry(b"#!/bin/sh\n", 0o755),
    "x/lib/a.py": Entry(b"a = 1\n"),
    "x/lib/link": Entry(b"a.py", 0o777, is_link=True),
}


def test_the_same_tree_is_the_same_zip_in_whatever_order_time_and_place(tmp_path):
    """Reproducible means that nothing of the machine gets in."""
    (tmp_path / "deep").mkdir()
    os.utime(tmp_path, (1, 1))
    first = tree.write_zip(LAYER, tmp_path / "one.zip")
    second = tree.write_zip(dict(reversed(LAYER.items())), tmp_path / "deep" / "two.zip")

    assert first == second
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        infos = {info.filename: info for info in archive.infolist()}
        assert {info.date_time for info in infos.values()} == {(1980, 1, 1, 0, 0, 0)}
        assert stat.filemode(infos["extensions/x"].external_attr >> 16) == "-rwxr-xr-x"
        assert stat.filemode(infos["x/lib/link"].external_attr >> 16) == "lrwxrwxrwx"


def test_what_is_written_is_read(tmp_path):
    """Zip and folder are two views of one layer."""
    tree.write_zip(LAYER, tmp_path / "layer.zip")
    from_zip = tree.read(tmp_path / "layer.zip")
    folder = tmp_path / "folder"
    for path, entry in LAYER.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if entry.is_link:
            (folder / path).symlink_to(entry.data.decode())
        else:
            (folder / path).write_bytes(entry.data)
            (folder / path).chmod(entry.mode)

    assert from_zip == LAYER
    assert tree.read(folder) == LAYER
    assert tree.tree_hash(from_zip) == tree.tree_hash(LAYER)


@pytest.mark.parametrize(
    "change",
    [
        {"extensions/x": Entry(b"#!/bin/sh\n", 0o644)},
        {"extensions/x": Entry(b"#!/bin/bash\n", 0o755)},
        {"x/lib/b.py": Entry(b"")},
        {"x/lib/link": Entry(b"a.py", 0o777)},
    ],
)
def test_the_tree_hash_sees_every_change(change):
    """Mode, content, path and kind."""
    assert tree.tree_hash(LAYER | change) != tree.tree_hash(LAYER)


def test_the_tree_hash_does_not_depend_on_the_compressor(tmp_path):
    """Another level stands for another zlib."""
    tree.write_zip(LAYER, tmp_path / "ours.zip")
    with zipfile.ZipFile(tmp_path / "ours.zip") as ours, zipfile.ZipFile(tmp_path / "stored.zip", "w") as stored:
        for info in ours.infolist():
            stored.writestr(info, ours.read(info), zipfile.ZIP_STORED)

    assert (tmp_path / "ours.zip").read_bytes() != (tmp_path / "stored.zip").read_bytes()
    assert tree.tree_hash(tree.read(tmp_path / "stored.zip")) == tree.tree_hash(LAYER)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"not a zip"])
def test_what_is_no_zip_is_one_line(tmp_path, content):
    """Whatever was downloaded by mistake."""
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.zip: not a readable zip"):
        tree.read(tmp_path / "bad.zip")


def test_what_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no such file or directory"):
        tree.read(tmp_path / "none.zip")
