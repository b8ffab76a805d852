"""Dependencies: the target's wheels by hash, and one clear line for everything else. pip is the real one."""

from __future__ import annotations

import re

import pytest
from packaging.tags import Tag

from extension_kit.errors import ConfigError
from layer_build import lock, wheels
from layer_build.lock import Locked
from layer_build.targets import Target
from layer_build.wheels import _fits
from tests.layer_build.wheelhouse import Wheelhouse

TARGET = Target("x86_64", ("3.13",))
OLD = Target("x86_64", ("3.11",))
SHA = "a" * 64


@pytest.fixture
def house(tmp_path, monkeypatch):
    return Wheelhouse(tmp_path / "wheelhouse", monkeypatch)


def fetched(house, target=TARGET):
    path = house.folder / "requirements.lock"
    path.write_text(house.lock)
    wanted = lock.read(path, target, target.pythons[0])
    path.unlink()
    return wheels.fetch(wanted, target, target.pythons[0])


def test_what_is_imported_is_taken_and_licences_are_kept(house):
    """Scripts, headers, types, pip's book-keeping and the read-me stay behind."""
    house.wheel("pure", files={
        "pure/__init__.py": b"A = 1\n", "pure/data.json": b"{}", "pure/types.pyi": b"", "pure/py.typed": b"",
        "pure-1.0.data/scripts/pure": b"#!python\n", "pure-1.0.data/purelib/more.py": b"B = 2\n",
    })  # fmt: skip
    (wheel,) = fetched(house)

    assert sorted(wheel.files) == ["more.py", "pure-1.0.dist-info/METADATA", "pure/__init__.py", "pure/data.json"]
    assert b"read me" not in wheel.files["pure-1.0.dist-info/METADATA"].data
    assert {path: entry.data for path, entry in wheel.licences.items()} == {
        "LICENSE": b"the licence's text\n", "vendored/LICENSE": b"another's text\n",
    }  # fmt: skip
    assert (wheel.name, wheel.version, wheel.component.license) == ("pure", "1.0", "MIT")


def test_the_target_chooses_the_wheel_not_this_machine(house):
    """The same lock gives each target its own."""
    for tag in (
        "cp313-cp313-manylinux_2_28_x86_64",
        "cp313-cp313-manylinux2014_aarch64",
        "cp311-cp311-manylinux2014_x86_64",
    ):
        house.wheel("native", tag=tag, files={"native.so": tag.encode()})
    house.lines = [f"native==1.0 {' '.join(line.split(chr(92))[1].split('#')[0].strip() for line in house.lines)}\n"]

    def chosen(target):
        return fetched(house, target)[0].files["native.so"].data.decode()

    assert chosen(TARGET) == "cp313-cp313-manylinux_2_28_x86_64"
    assert chosen(Target("arm64", ("3.13",))) == "cp313-cp313-manylinux2014_aarch64"
    assert chosen(OLD) == "cp311-cp311-manylinux2014_x86_64"


@pytest.mark.parametrize(
    ("tag", "target"),
    [
        ("cp313-cp313-manylinux_2_35_x86_64", TARGET),  # glibc 2.34 is what Amazon Linux 2023 has
        ("cp311-cp311-manylinux_2_28_x86_64", OLD),  # and 2.26 is Amazon Linux 2's
        ("cp313-cp313-manylinux2014_aarch64", TARGET),
        ("cp313-cp313-musllinux_1_2_x86_64", TARGET),
        ("cp312-cp312-manylinux2014_x86_64", TARGET),
        ("cp313-cp313-macosx_11_0_arm64", TARGET),
        ("cp313-cp313-linux_x86_64", TARGET),
    ],
)
def test_a_wheel_for_another_system_is_refused(house, tag, target):
    """The glibc, the architecture, the libc, the Python, the system."""
    house.wheel("native", tag=tag)
    with pytest.raises(
        ConfigError, match=r"native==1\.0: no wheel for Python 3\.1\d on x86_64, glibc 2\.\d\d; a source"
    ):
        fetched(house, target)


def test_a_source_distribution_is_refused(house):
    """It would be built by this machine, for this machine."""
    house.sdist("built")
    with pytest.raises(ConfigError, match=r"built==1\.0: no wheel for .*; a source distribution"):
        fetched(house)


def test_a_hash_that_does_not_match_is_refused(house):
    """With both hashes, so that one can be compared with what the author published."""
    real = house.wheel("pure")
    house.lines = [f"pure==1.0 --hash=sha256:{SHA}\n"]
    with pytest.raises(
        ConfigError, match=rf"pure==1\.0: the file has SHA-256 {real}, the lock says {SHA}: it is not used"
    ):
        fetched(house)


def test_an_entry_that_would_land_elsewhere_is_refused(house):
    house.wheel("evil", files={"../evil.py": b""})
    with pytest.raises(ConfigError, match=r"'\.\./evil\.py', which would land elsewhere"):
        fetched(house)


def test_the_tags_agree_with_packaging():
    """An independent judge of which tags a system accepts: every tag of the target is accepted by us, of others none."""
    from packaging.tags import compatible_tags, cpython_tags

    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(34, 4, -1)] + [
        "manylinux2014_x86_64",
        "manylinux1_x86_64",
    ]
    good = {*cpython_tags((3, 13), ["cp313", "abi3", "none"], platforms), *compatible_tags((3, 13), "cp313", platforms)}
    other = {*cpython_tags((3, 12), ["cp312"], platforms), *cpython_tags((3, 13), ["cp313"], ["manylinux_2_35_x86_64"])}

    assert {tag for tag in good if not _fits(tag, TARGET, "3.13")} == set()
    wrong = {tag for tag in other - good if _fits(tag, TARGET, "3.13")}
    assert wrong == set()
    assert not _fits(Tag("cp314", "abi3", "manylinux2014_x86_64"), TARGET, "3.13")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"a==1 --hash=sha256:{SHA}\na==2 --hash=sha256:{SHA}", ":2: a is pinned twice"),
        ("a==1", ":1: a has no --hash"),
        (f"# first\n\na>=1 --hash=sha256:{SHA}", ":3: a is not pinned"),
        (f"a==1.* --hash=sha256:{SHA}", ":1: a is not pinned"),
        (f"a @ https://example.com/a.whl --hash=sha256:{SHA}", ":1: a is not pinned"),
        ("--index-url https://example.com", ":1: --index-url: options do not belong here"),
        ("git+https://example.com/a", ":1: not NAME==VERSION"),
        ("a==1 --hash=md5:00", ":1: a has no --hash"),
    ],
)
def test_a_lock_that_pins_less_is_refused(tmp_path, line, said):
    """With the line's number."""
    (tmp_path / "l.lock").write_text(line)
    with pytest.raises(ConfigError) as caught:
        lock.read(tmp_path / "l.lock", TARGET, "3.13")
    assert said in str(caught.value)


def test_markers_ask_about_lambda_and_not_about_this_machine(tmp_path):
    """What is for Windows, for macOS or for another Python is not taken."""
    (tmp_path / "l.lock").write_text(
        "".join(
            f"{name}==1 ; {marker} --hash=sha256:{SHA}\n"
            for name, marker in (
                ("win", "sys_platform == 'win32'"),
                ("old", "python_version < '3.12'"),
                ("new", "python_version >= '3.13' and platform_machine == 'aarch64'"),
                ("any", "implementation_name == 'cpython'"),
            )
        )
    )
    read = lock.read(tmp_path / "l.lock", Target("arm64", ("3.13",)), "3.13")

    assert read == [Locked("new", "1", (SHA,)), Locked("any", "1", (SHA,))]


@pytest.mark.parametrize(
    ("requires", "without", "said"),
    [
        ("words>=1", (), ""),
        ("words>=2", (), "needs words>=2, and the lock pins 1.0"),
        ("other", (), "needs other, which the lock does not pin: pin it"),
        ("other", ("Other",), ""),
        ("other; sys_platform == 'win32'", (), ""),
        ("other; extra == 'more'", (), ""),
        ("other; python_version >= '3.13'", (), "needs other"),
    ],
)
def test_what_a_dependency_needs_must_be_pinned(house, requires, without, said):
    """It would show at an import, at the first cold start."""
    house.wheel("words")
    house.wheel("user", requires=(requires,))

    def build():
        found = fetched(house)
        wheels.require_all(found, [], TARGET, "3.13", without)

    if said:
        with pytest.raises(ConfigError, match=re.escape(said)):
            build()
    else:
        build()


def test_an_index_that_cannot_be_reached_is_not_a_missing_wheel(house, monkeypatch):
    house.wheel("words")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")

    with pytest.raises(ConfigError, match="the package index cannot be reached"):
        fetched(house)


def test_of_several_hashes_none_is_the_wrong_one(house):
    real = house.wheel("pure")
    house.lines = [f"pure==1.0 --hash=sha256:{SHA} --hash=sha256:{'b' * 64}\n"]

    with pytest.raises(ConfigError, match=rf"the file has SHA-256 {real}, none of the 2 in the lock: it is not used"):
        fetched(house)
