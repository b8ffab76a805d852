"""Archives of others: what is unsafe is refused."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from extension_kit.errors import ConfigError
from layer_build.interpreter import unpack


def archive(path, *members, mode="w:xz"):
    """A tar of (name, content or TarInfo)."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = content if isinstance(content, bytes) else b""
            info.name, info.size = name, len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def test_without_its_first_folder(tmp_path):
    tar = archive(
        tmp_path / "a.tar.xz", ("top-1.0/a", b"one"), ("./top-1.0/b/c", b"two"), ("top-1.0/d", link("b/c")),
        ("top-1.0/e", link("top-1.0/a", tarfile.LNKTYPE)),
    )  # fmt: skip

    unpack.unpack(tar, tmp_path / "out")

    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"a", "b/c", "d", "e"}
    assert [(tmp_path / "out" / name).read_bytes() for name in "ade"] == [b"one", b"two", b"one"]


def test_only_what_is_wanted(tmp_path):
    tar = archive(tmp_path / "a.tar.xz", ("top/a", b"one"), ("top/test/b", b"two"))

    unpack.unpack(tar, tmp_path / "out", wanted=lambda path: not path.startswith("test/"))

    assert os.listdir(tmp_path / "out") == ["a"]


@pytest.mark.parametrize(
    "members",
    [
        [("/etc/evil", b"")],
        [("top/../../evil", b"")],
        [("top/out", link("/etc")), ("top/out/evil", b"")],
        [("top/out", link("../..")), ("top/out/evil", b"")],
        [("top/out", link("../../outside", tarfile.LNKTYPE))],
        [("top/device", link("", tarfile.CHRTYPE))],
    ],
    ids=["absolute", "dots", "link out", "link above", "hard link out", "device"],
)
def test_what_leads_out_is_refused(tmp_path, members):
    (tmp_path / "outside").write_text("mine")
    tar = archive(tmp_path / "a.tar", *members, mode="w")

    with pytest.raises(ConfigError, match=r"^a\.tar: cannot be unpacked: "):
        unpack.unpack(tar, tmp_path / "in" / "out")

    assert (tmp_path / "outside").read_text() == "mine"
    assert not list(tmp_path.rglob("evil"))


def test_more_than_was_to_be_expected_is_refused(tmp_path):
    tar = archive(tmp_path / "a.tar.xz", ("top/a", bytes(2_000_000)))

    with pytest.raises(ConfigError, match="more than 1000000 bytes"):
        unpack.unpack(tar, tmp_path / "out", largest=1_000_000)


@pytest.mark.parametrize("data", [b"", b"not a tar", b"\xfd7zXZ\x00broken"])
def test_no_archive(tmp_path, data):
    (tmp_path / "a.tar.xz").write_bytes(data)

    with pytest.raises(ConfigError, match=r"^a\.tar\.xz: cannot be unpacked: "):
        unpack.unpack(tmp_path / "a.tar.xz", tmp_path / "out")


def test_half_an_archive(tmp_path):
    tar = archive(tmp_path / "a.tar.gz", ("top/a", os.urandom(100_000)), mode="w:gz")
    tar.write_bytes(tar.read_bytes()[:50_000])

    with pytest.raises(ConfigError, match=r"^a\.tar\.gz: cannot be unpacked: "):
        unpack.unpack(tar, tmp_path / "out")
