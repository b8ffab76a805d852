"""Where there is no engine, no root, no debootstrap, no package: one line each. None of these tests needs an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from extension_kit.errors import ConfigError
from layer_build.images import connect, rootfs
from layer_build.images import image as images
from tests.conftest import FUNCTION, ROOT

RUN = [sys.executable, "-m", "extension_kit.cli", "run", "--backend", "docker", "--function", str(FUNCTION)]
WITHOUT_DOCKER = (
    "import sys; sys.modules['docker'] = None; from extension_kit.cli import main; sys.exit(main(sys.argv[1:]))"
)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unix:///nonexistent", "no Docker engine answers at unix:///nonexistent (No such file or directory)"),
        ("tcp://127.0.0.1:1", "no Docker engine answers at tcp://127.0.0.1:1 (Connection refused)"),
        ("nonsense", "no Docker engine answers at nonsense (Invalid bind address format"),
    ],
)
def test_no_engine(host, said):
    """What was asked, what it said, what can be done."""
    done = subprocess.run(
        [*RUN, "--handler", "app.handler"], cwd=ROOT, env={**os.environ, "DOCKER_HOST": host},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.startswith(f"extension-kit: {said}")
    assert done.stderr.count("\n") == 1
    assert "DOCKER_HOST" in done.stderr


def test_an_engine_that_does_not_speak_docker(lab, monkeypatch):
    """Another server on the socket is not taken for one."""
    from tests.docker import registry

    with registry.serving() as address:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{address}")
        with pytest.raises(ConfigError, match=f"no Docker engine answers at tcp://{address}") as error:
            connect()
    assert "\n" not in str(error.value)


def test_no_package():
    """The extra that brings it is named."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DOCKER, *RUN[3:], "--handler", "app.handler"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr == "extension-kit: an image needs the package docker: pip install lambda-extension-kit[docker]\n"


def test_make_says_why_there_is_no_image(monkeypatch):
    """`python -m layer_build.images` ends with status 2 and a line."""
    done = subprocess.run(
        [sys.executable, "-m", "layer_build.images"], cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": "unix:///nonexistent"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("layer_build.images: no Docker engine answers")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A cache without a base."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_not_root(empty, monkeypatch):
    """debootstrap needs it; another image can be chosen."""
    monkeypatch.setattr(rootfs.os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match=r"needs root, for debootstrap: .*LAMBDA_IMAGE"):
        rootfs.debian("x86_64", lambda _text: None)


def test_no_debootstrap(empty, monkeypatch):
    """The package that has it is named."""
    monkeypatch.setattr(rootfs.os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(ConfigError, match=r"needs debootstrap: install .*LAMBDA_IMAGE"):
        rootfs.debian("x86_64", lambda _text: None)


def test_a_machine_that_lambda_does_not_have(empty):
    """Said with those that it has."""
    with pytest.raises(ConfigError, match="no image for riscv64: Lambda has x86_64 and aarch64"):
        rootfs.debian("riscv64", lambda _text: None)


@pytest.fixture
def debootstrap(tmp_path, monkeypatch):
    """A debootstrap, first on PATH, that does as the script says; `unshare` is only asked to start it."""
    monkeypatch.setattr(rootfs.os, "geteuid", lambda: 0)

    def make(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, text in (("debootstrap", script), ("unshare", 'shift; exec "$@"')):
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make


def test_a_base_that_cannot_be_built(empty, debootstrap):
    """Its last word is passed on, and nothing half-made stays."""
    debootstrap("echo I: Retrieving; echo E: no such mirror; exit 1")
    with pytest.raises(ConfigError, match="could not be built: debootstrap: E: no such mirror"):
        rootfs.debian("x86_64", lambda _text: None)

    assert [path.name for path in rootfs.cache().rglob("*") if path.is_file()] == ["lock"]


def test_a_base_is_built_once(empty, debootstrap):
    """The second time it is taken from the cache; what is left out is not in it."""
    debootstrap('for root in "$@"; do last=$root; [ "${root#/}" = "$root" ] || break; done; mkdir -p "$last/usr/share/man" '
                '"$last/etc"; touch "$last/usr/share/man/page" "$last/etc/kept"; echo once >>"$0.ran"')  # fmt: skip
    said: list[str] = []
    tar = rootfs.debian("x86_64", said.append)
    listed = subprocess.run(["tar", "-tf", str(tar)], capture_output=True, text=True, check=True).stdout

    assert "./etc/kept\n" in listed
    assert "page" not in listed
    assert rootfs.debian("x86_64", said.append) == tar
    assert (len(said), Path(empty, "bin", "debootstrap.ran").read_text()) == (2, "once\n")


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(rootfs.os, "geteuid", lambda: 0)
    monkeypatch.setattr(rootfs.shutil, "which", lambda _name: "/usr/sbin/debootstrap")
    with pytest.raises(ConfigError, match="cannot be kept"):
        rootfs.debian("x86_64", lambda _text: None)


def test_the_runtime_is_the_one_that_everything_else_is_tested_with():
    """The image's lock and the tests' constraints name the same versions."""
    from layer_build import lock
    from layer_build.targets import Target

    pinned = dict(line.split("==") for line in (ROOT / ".ci" / "constraints.txt").read_text().split())
    locked = lock.read(images._CONTEXT / "runtime.lock", Target("x86_64", ("3.11",)), "3.11")

    assert {one.name: one.version for one in locked} == {one.name: pinned[one.name] for one in locked}
    assert {one.name for one in locked} == {"awslambdaric", "simplejson", "snapshot-restore-py"}


def test_another_recipe_is_another_image(tmp_path, monkeypatch):
    """Its name depends on every file that goes into it, and on the emulator."""
    emulator = tmp_path / "aws-lambda-rie"
    emulator.write_bytes(b"one")
    first = images._key("x86_64", emulator)
    assert images._key("x86_64", emulator) == first
    assert images._key("aarch64", emulator) != first
    emulator.write_bytes(b"two")
    assert images._key("x86_64", emulator) != first
