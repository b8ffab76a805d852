"""Secrets as files: whole or not there, for their owner only, wherever links lead, gone at the end."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from extensions.secret_cache.files import ROOTS, Files, check, write


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def mode(path):
    return oct(path.lstat().st_mode & 0o7777)


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o377])
def test_a_file_and_its_folders_are_for_their_owner_only(root, mask):
    """Whatever the umask: one that forbids too much would leave the file unreadable."""
    before = os.umask(mask)
    try:
        write(f"{root}/db.json", b"s3cret", (str(root),))
    finally:
        os.umask(before)
    assert (root / "db.json").read_bytes() == b"s3cret"
    assert mode(root / "db.json") == "0o600"


def test_folders_are_made_for_their_owner_only(root):
    made: list[str] = []
    before = os.umask(0)
    try:
        write(f"{root}/a/b/c", b"x", (str(root),), made)
    finally:
        os.umask(before)

    assert made == [f"{root}/a", f"{root}/a/b"]
    assert (mode(root / "a"), mode(root / "a" / "b")) == ("0o700", "0o700")
    assert os.listdir(root / "a" / "b") == ["c"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "relative", "", "/tmp", "/tmp/", "/tmpx/a", "/tmp/../etc/x", "/tmp/a/../../x", "/tmp/./a", "/tmp//a",
        "/tmp/a/", "/tmp/a\0b", "/dev/shm", "/dev/shmem/x", "/tmp/" + "x" * 256,
    ],
)  # fmt: skip
def test_paths_that_are_refused(path):
    with pytest.raises(ConfigError):
        check(path)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=5).map("/".join))
def test_what_is_accepted_cannot_leave_its_root(rest):
    path = f"/tmp/{rest}"
    try:
        root, names = check(path)
    except ConfigError:
        return
    assert root == "/tmp"
    assert os.path.normpath(path) == path == "/".join(["/tmp", *names])


def test_the_roots_are_what_lambda_lets_us_write():
    assert ROOTS == ("/tmp", "/dev/shm")


def test_a_link_in_the_place_of_the_file_is_replaced_not_followed(root, tmp_path):
    target = tmp_path / "target"
    target.write_text("untouched")
    (root / "f").symlink_to(target)

    write(f"{root}/f", b"s3cret", (str(root),))

    assert target.read_text() == "untouched"
    assert not (root / "f").is_symlink()
    assert (root / "f").read_bytes() == b"s3cret"


def test_a_link_in_the_place_of_the_new_file_is_removed_not_followed(root, tmp_path):
    target = tmp_path / "target"
    (root / ".f.new").symlink_to(target)

    write(f"{root}/f", b"s3cret", (str(root),))

    assert not target.exists()
    assert os.listdir(root) == ["f"]


@pytest.mark.parametrize("kind", ["link", "file", "open"])
def test_a_folder_that_is_none_of_ours_is_not_gone_into(root, tmp_path, kind):
    outside = tmp_path / "outside"
    outside.mkdir()
    if kind == "link":
        (root / "a").symlink_to(outside)
    elif kind == "file":
        (root / "a").write_text("")
    else:
        (root / "a").mkdir()
        (root / "a").chmod(0o777)

    with pytest.raises(ConfigError, match=r"only a folder|everybody may write"):
        write(f"{root}/a/f", b"s3cret", (str(root),))
    with pytest.raises(ConfigError):
        Files({"id": f"{root}/a/f"}, (str(root),)).update("id", b"s3cret")
    assert os.listdir(outside) == []


def test_a_folder_of_that_name_stays_and_nothing_is_left_behind(root):
    (root / "f").mkdir()

    with pytest.raises(OSError, match="f"):
        write(f"{root}/f", b"s3cret", (str(root),))
    assert os.listdir(root) == ["f"]


def test_names_as_long_as_a_name_may_be(root):
    name = "\u00e9" * 127  # 254 bytes

    write(f"{root}/{name}", b"s3cret", (str(root),))

    assert os.listdir(root) == [name]


def test_only_a_change_is_written(root):
    """The inode tells: a rename brings another one."""
    files = Files({"db": f"{root}/f"}, (str(root),))
    assert files.ids == ("db",)
    assert files.update("db", b"one")
    inode = (root / "f").stat().st_ino

    assert not files.update("db", b"one")
    assert (root / "f").stat().st_ino == inode
    assert files.update("db", b"two")
    assert (root / "f").read_bytes() == b"two"
    assert files.update("db", b"")
    assert (root / "f").read_bytes() == b""


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"onx"),
        lambda path: path.write_bytes(b"one more"),
        lambda path: path.chmod(0o644),
        lambda path: (path.unlink(), os.mkfifo(path, 0o600)),
        lambda path: (path.rename(path.with_name("g")), path.symlink_to("g")),
    ],
)
def test_a_file_that_was_tampered_with_comes_back(root, spoil):
    files = Files({"db": f"{root}/f"}, (str(root),))
    files.update("db", b"one")
    spoil(root / "f")

    assert files.update("db", b"one")
    assert (root / "f").read_bytes() == b"one"
    assert mode(root / "f") == "0o600"


def test_two_secrets_cannot_share_a_file(root):
    with pytest.raises(ConfigError, match="cannot hold both a and b"):
        Files({"a": f"{root}/f", "b": f"{root}/f"}, (str(root),))


def test_removal_takes_what_was_made_and_nothing_else(root):
    (root / "theirs").mkdir()
    files = Files(
        {"a": f"{root}/made/deep/f", "b": f"{root}/theirs/f", "c": f"{root}/kept/f", "d": f"{root}/never"}, (str(root),)
    )
    for id in "abc":
        files.update(id, b"s3cret")
    (root / "kept" / "of the function").write_text("x")
    (root / "made" / "deep" / ".f.new").write_text("left by a crash")
    (root / "never").write_text("not ours: it was never written")

    files.remove()
    files.remove()

    found = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert found == ["kept", "kept/of the function", "never", "theirs"]


def test_removal_does_not_follow_a_link_either(root, tmp_path):
    files = Files({"a": f"{root}/made/f"}, (str(root),))
    files.update("a", b"s3cret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("theirs")
    (root / "made").rename(root / "moved")
    (root / "made").symlink_to(tmp_path / "outside")

    files.remove()

    assert (tmp_path / "outside" / "f").read_text() == "theirs"


def test_a_reader_never_sees_half_a_file(root):
    """It is read all the time while it changes between two contents of several pages."""
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    files = Files({"db": f"{root}/f"}, (str(root),))
    files.update("db", contents[0])
    stop = threading.Event()

    def change():
        turn = 0
        while not stop.is_set():
            turn += 1
            files.update("db", contents[turn % 2])

    thread = threading.Thread(target=change)
    thread.start()
    try:
        seen = {(root / "f").read_bytes() for _ in range(300)}
    finally:
        stop.set()
        thread.join(30)
    assert seen <= set(contents)


def test_no_descriptor_is_left_open(root):
    before = os.listdir("/proc/self/fd")
    files = Files({"db": f"{root}/a/b/f", "bad": f"{root}/x/f"}, (str(root),))
    (root / "x").symlink_to("/")
    for data in (b"one", b"one", b"two"):
        files.update("db", data)
        with pytest.raises(ConfigError):
            files.update("bad", data)
    files.remove()

    assert os.listdir("/proc/self/fd") == before


def test_what_is_said_holds_no_secret(root):
    (root / "f").mkdir()
    files = Files({"db": f"{root}/f"}, (str(root),))
    with pytest.raises(OSError, match="f") as caught:
        files.update("db", b"s3cret")

    assert "s3cret" not in f"{caught.value!r} {files!r}"
